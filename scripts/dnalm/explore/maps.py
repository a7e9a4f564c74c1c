"""Maps: embeddings in two dimensions, and how often neighbours share a label."""

from typing import Any

import numpy as np

# UMAP needs some sequences to find neighbours among.
FEWEST_FOR_UMAP = 10


def choose(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` row numbers, ascending: int64[m], drawn at random."""
    if len(labels) <= most:
        return np.arange(len(labels))
    # argsort of random numbers: unlike `permutation`, its result cannot change with numpy's version.
    return np.sort(np.argsort(np.random.Generator(np.random.PCG64(seed)).random(len(labels)))[:most])


def pca(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """The first two principal components float64[n, 2], and the share of the variance of each.

    Signs are such that the vector furthest out on an axis lies on its positive side.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2
    points = np.zeros((len(vectors), 2))
    kept = min(2, len(singular))
    points[:, :kept] = left[:, :kept] * singular[:kept]
    furthest = points[np.abs(points).argmax(axis=0), [0, 1]]
    shares = np.zeros(2)
    shares[:kept] = variance[:kept] / max(float(variance.sum()), 1e-300)
    return points * np.where(furthest < 0, -1, 1), shares.tolist()


def umap(vectors: np.ndarray, neighbours: int, seed: int) -> np.ndarray:
    """UMAP (McInnes et al. 2018), float64[n, 2], begun from the principal components, in one thread."""
    from umap import UMAP

    reducer = UMAP(
        n_neighbors=min(neighbours, len(vectors) - 1),
        init="pca",
        random_state=seed,
        n_jobs=1,
        low_memory=False,
    )
    return np.asarray(reducer.fit_transform(vectors), np.float64)


def neighbour_agreement(vectors: np.ndarray, labels: np.ndarray, neighbours: int) -> dict[str, Any]:
    """How many of each sequence's nearest neighbours have its label: `value`; `chance`: of any others.

    Neighbours are found among all dimensions (cosine distance), not on a map, which always distorts.
    """
    unit = vectors.astype(np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
    closeness = unit @ unit.T
    np.fill_diagonal(closeness, -np.inf)
    nearest = np.argsort(-closeness, axis=1, kind="stable")[:, : min(neighbours, len(labels) - 1)]
    same = labels[:, None] == labels[None, :]
    others = len(labels) * (len(labels) - 1)
    return {
        "neighbours": nearest.shape[1],
        "value": round(float((labels[nearest] == labels[:, None]).mean()), 6),
        "chance": round(float((same.sum() - len(labels)) / others), 6),
    }


def by_label(points: np.ndarray, labels: np.ndarray, names: list[str]) -> dict[str, list[list[float]]]:
    """The points of each label, scaled to whole numbers of 0 to 1000 along the longer axis."""
    low = points.min(axis=0)
    scale = 1000 / max(float((points.max(axis=0) - low).max()), 1e-300)
    scaled = np.round((points - low) * scale).astype(int)
    return {name: scaled[labels == name].tolist() for name in names}
