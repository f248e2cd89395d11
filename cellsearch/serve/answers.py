"""What the API answers, as pydantic models, so that /openapi.json describes it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class CardLimits(BaseModel):
    """What a client may send."""

    file_bytes: int
    request_bytes: int
    request_files: int
    sample_cells: int
    sample_bytes: int


class CardAbstention(BaseModel):
    """When a cell is ``uncertain``; a threshold of null leaves every cell called so uncertain."""

    rule: str
    thresholds: dict[str, float | None]


class CardSets(BaseModel):
    """Prediction sets hold the true class this often."""

    coverage: float


class CardFacts(BaseModel):
    """The card that is served."""

    name: str
    title: str
    headline: str
    classes: list[str]
    channels: list[str]
    height: int
    width: int
    dtype: str
    fit: str
    synthetic: bool
    licence: str
    abstention: CardAbstention | None
    sets: CardSets | None
    explains: bool
    rare: list[str]
    limits: CardLimits
    version: str


class NewSample(BaseModel):
    """By what a sample is asked for."""

    sample: str


class RefusedFile(BaseModel):
    """A file, or a member of a zip, that was not taken, or not wholly."""

    file: str
    reason: str


class Added(BaseModel):
    """What became of some files."""

    added: int = Field(description="cells of this request")
    cells: int = Field(description="cells of the sample")
    brought: int = Field(description="cells of this request that had another size than the card's")
    refused: list[RefusedFile]


class ClassShare(BaseModel):
    """The share of a class in a sample.

    ``method`` is ``adjusted count``, ``EM`` or ``counted``; what is counted is not corrected for
    the card's mistakes and has no interval.
    """

    model_config = {"populate_by_name": True}

    name: str = Field(alias="class")
    count: int
    raw: float
    share: float
    low: float | None
    high: float | None
    method: str


class SampleFacts(BaseModel):
    """A sample as a whole."""

    cells: int
    counts: dict[str, int]
    uncertain: int
    fractions: list[ClassShare] | None
    notes: list[str]
    mean_confidence: float | None


class Cell(BaseModel):
    """One cell."""

    index: int
    id: str
    source: str
    object_number: int
    predicted_class: str
    confidence: float
    decision: str | None
    set: list[str] | None
    probabilities: dict[str, float]


class Cells(BaseModel):
    """Some cells of a sample, and how many the filter leaves.

    ``contrast`` is how many cells the sample had when the contrast of its pictures was found; with
    another number, pictures that were fetched before are no longer like those fetched now.
    """

    total: int
    cells: list[Cell]
    contrast: int


class Prediction(BaseModel):
    """What became of files that are not kept."""

    cells: list[Cell]
    refused: list[RefusedFile]
    fractions: list[ClassShare] | None
    notes: list[str]


class Health(BaseModel):
    """Whether the server is up, and what it holds."""

    status: str
    samples: int
    bytes: int
