"""Settings of exploring: what the report's pictures of the data show."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dnalm.running.settings import Seed, Settings, each_once


class BatchSettings(Settings):
    """The masked batch that is shown."""

    batch_lines: int = Field(3, ge=1, le=20, description="Lines of the first training batch that are shown.")
    batch_tokens: int = Field(48, ge=4, le=500, description="Tokens shown of each of these lines.")


class TaskSettings(Settings):
    """The maps of a task's embeddings."""

    maps: Annotated[tuple[Literal["pca", "umap"], ...], AfterValidator(each_once)] = Field(
        ("pca", "umap"),
        min_length=1,
        description="Maps of the embeddings of training sequences, in two dimensions. `umap` takes some 20 s "
        "per task, most of it to start.",
    )
    max_points: int = Field(
        500, ge=10, le=5000, description="At most this many sequences are drawn on a map; each is a dot."
    )
    neighbours: int = Field(
        15,
        ge=2,
        le=200,
        description="Neighbours of a sequence: what UMAP keeps together, and those whose labels are compared "
        "with its own.",
    )
    seed: Seed = Field(42, description="Seed of the choice of sequences and of UMAP.")


class ExploreSettings(BatchSettings, TaskSettings):
    """What the report's pictures of the data show. It changes no result."""
