"""Settings of a corpus that is no genome."""

from pydantic import Field

from dnalm.running.settings import Settings


class CorpusSettings(Settings):
    """Sequences without labels to learn from, beside or instead of genomes."""

    task: str = Field(
        description="Name of a task: its training sequences, without their labels. Held out are those of "
        "its validation split. Its test split is never read.",
    )
