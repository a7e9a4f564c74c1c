"""The token cache that every model reads.

A *token cache* is a Hugging Face `datasets` directory with one column, `input_ids`: one row per line of
sequence, `[CLS] … [SEP]`, not padded, not truncated, in the smallest integer type that holds the vocabulary.
`datasets.load_from_disk` opens it; so does :func:`load_tokens`, which maps the file into memory and copies
nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dnalm.running.errors import InputError
from dnalm.tokenizers.encoder import token_dtype

# Lines per Arrow record batch, the unit in which a cache is written: about 2 MB for lines of 1000 bp.
LINES_PER_BATCH = 4096

# The one file of Arrow data, named as `datasets` names the first of one.
DATA = "data-00000-of-00001.arrow"

# https://arrow.apache.org/docs/format/Columnar.html: continuation mark, then a length of zero.
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class TokenLines:
    """Read-only view of the lines of one or several token caches, mapped into memory.

    `len(lines)`: number of lines. `lines.lengths`: int32[n_lines], tokens per line with [CLS] and [SEP].
    `lines.line(i)`: the ids of line i, uint16 (or int32), a view of the file that must not be written to.
    `lines.source(i)`: which cache (index into `directories`) and which line of it.
    Can be pickled: a worker process maps the files anew.
    """

    def __init__(self, directories: Sequence[str | Path]):
        self.directories = [Path(directory) for directory in directories]
        self._offsets: list[np.ndarray] = []  # per record batch: int32[n + 1] into its values
        self._values: list[np.ndarray] = []  # per record batch: the ids of all its lines
        starts, lengths, sources = [0], [], [0]
        for directory in self.directories:
            for column in _record_batches(directory):
                offsets = column.offsets.to_numpy(zero_copy_only=True)
                self._offsets.append(offsets)
                self._values.append(column.values.to_numpy(zero_copy_only=True))
                starts.append(starts[-1] + len(column))
                lengths.append(np.diff(offsets).astype(np.int32))
            sources.append(starts[-1])
        self._starts = np.array(starts, dtype=np.int64)  # first line of each record batch
        self._sources = np.array(sources, dtype=np.int64)  # first line of each directory
        self.lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.int32)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        return self.line(index)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.line(index) for index in range(len(self)))

    def line(self, index: int) -> np.ndarray:
        """The ids of line `index`, [CLS] and [SEP] included."""
        if not 0 <= index < len(self):
            raise IndexError(f"line {index} of {len(self)}")
        batch = int(np.searchsorted(self._starts, index, side="right")) - 1
        offsets = self._offsets[batch]
        row = index - int(self._starts[batch])
        return self._values[batch][offsets[row] : offsets[row + 1]]

    def source(self, index: int) -> tuple[int, int]:
        """(cache, line in that cache), both from 0, of line `index`."""
        cache = int(np.searchsorted(self._sources, index, side="right")) - 1
        return cache, index - int(self._sources[cache])

    def counts(self, vocabulary_size: int) -> np.ndarray:
        """How often each id occurs: int64[vocabulary_size], [CLS] and [SEP] included."""
        result = np.zeros(vocabulary_size, np.int64)
        for values in self._values:
            result += np.bincount(values, minlength=vocabulary_size)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenLines, (self.directories,)


def load_tokens(*directories: str | Path) -> TokenLines:
    """Open one or several token caches as one list of lines. Raises InputError if one is not a cache."""
    return TokenLines(directories)


def write_tokens(directory: str | Path, batches: Iterable[list[np.ndarray]], vocabulary_size: int) -> None:
    """Write lists of lines (id arrays) into the existing, empty `directory` as a `datasets` directory.

    Streams: memory holds one batch. The bytes depend on the lines and on nothing else: no date, no path.
    """
    dtype = token_dtype(vocabulary_size)
    # As the `datasets` library describes one column of lists. The library itself takes seconds to import.
    features = {"input_ids": {"feature": {"dtype": dtype.name, "_type": "Value"}, "_type": "List"}}
    column = pa.field("input_ids", pa.list_(pa.from_numpy_dtype(dtype)))
    schema = pa.schema([column], {"huggingface": json.dumps({"info": {"features": features}})})
    digest = hashlib.sha256()
    directory = Path(directory)
    with pa.OSFile(str(directory / DATA), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for batch in batches:
            offsets = np.zeros(len(batch) + 1, np.int32)
            np.cumsum([len(ids) for ids in batch], out=offsets[1:])
            values = np.concatenate(batch).astype(dtype, copy=False) if batch else np.zeros(0, dtype)
            # `pa.array` of NumPy arrays would import pandas, which takes a second.
            ids = pa.Array.from_buffers(column.type.value_type, len(values), [None, pa.py_buffer(values)])
            ends = [None, pa.py_buffer(offsets)]
            lines = pa.Array.from_buffers(column.type, len(batch), ends, children=[ids])
            stream.write_batch(pa.record_batch([lines], schema=schema))
            digest.update(offsets.data)
            digest.update(values.data)
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    state: dict[str, Any] = {
        "_data_files": [{"filename": DATA}],
        # By the fingerprint, `Dataset.map` finds what it has computed before: it must differ where tokens do.
        "_fingerprint": digest.hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    for name, content in (("dataset_info.json", info), ("state.json", state)):
        (directory / name).write_text(json.dumps(content, indent=2))


def _record_batches(directory: Path) -> Iterator[pa.ListArray]:
    """The columns `input_ids` of the record batches of a `datasets` directory, mapped into memory."""
    foreign = InputError(f"{directory}: not a token cache. Make one with scripts/tokenize_windows.py.")
    try:
        state = json.loads((directory / "state.json").read_text())
        files = [directory / entry["filename"] for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise foreign from None
    remedy = f"Delete {directory} and tokenize again."
    for path in files:
        # Arrow itself takes a file that was cut between two batches for a shorter one.
        if not path.is_file() or not ends_properly(path):
            raise InputError(f"{path}: damaged or missing (its end is missing). {remedy}")
        try:
            reader = pa.ipc.open_stream(pa.memory_map(str(path)))
            columns = [batch.column("input_ids") for batch in reader]
        except KeyError:
            raise foreign from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}). {remedy}") from None
        if any(not pa.types.is_list(column.type) for column in columns):
            raise foreign
        yield from columns


def ends_properly(path: Path) -> bool:
    """Does the Arrow stream in `path` end with its end mark?"""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - len(END_OF_STREAM)))
        return file.read() == END_OF_STREAM
