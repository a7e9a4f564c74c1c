"""Vectors of sequences without labels: as a Parquet table, and how similar some of them are."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dnalm.running.files import atomic_file


def cosine_similarities(vectors: np.ndarray) -> np.ndarray:
    """float64[n, n]: the cosine of the angle between every two of float32[n, hidden]; of a zero vector 0."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    directions = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    return np.clip(directions @ directions.T, -1, 1)


def write_similarities(path: Path, names: Sequence[str], similarities: np.ndarray) -> None:
    """A square TSV: the column `id`, then one column per name; four decimal places."""
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        # Only names with quotation marks are written otherwise than they are.
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(["id", *names])
        for name, row in zip(names, similarities, strict=True):
            rows.writerow([name, *(f"{value:.4f}" for value in row)])


def write_parquet(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """A Parquet table with a column per array; of float32[n, hidden] each cell is a list of floats.

    `about` stands in the schema's metadata as JSON text. The same content gives the same bytes.
    """
    columns = {name: _column(array) for name, array in arrays.items()}
    table = pa.table(columns).replace_schema_metadata({"about": json.dumps(about)})
    # Hardly two numbers of a vector are alike, so a dictionary of them would only cost time.
    repeated = [name for name, array in arrays.items() if array.dtype.kind == "U"]
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=repeated)


def _column(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
