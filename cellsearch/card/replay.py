"""A card proves itself: checksums, front matter, and a replay of its test cells."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellsearch.card.checksums import CHECKSUMS, problems_with, read_checksums
from cellsearch.card.config import CONFIG, MODEL
from cellsearch.card.inputs import graph_inputs, prepare
from cellsearch.card.predict import CardPredictor
from cellsearch.card.session import run_session
from cellsearch.errors import CardError
from cellsearch.stats.decision import CLEAR_MARGIN, margin

README = "README.md"
TEST_INPUT = "test_input.npy"
TEST_OUTPUT = "test_output.npy"
REQUIRED = (
    CONFIG,
    MODEL,
    "model.safetensors",
    TEST_INPUT,
    TEST_OUTPUT,
    "metrics.json",
    "predictions.csv",
    "splits.json",
    "recipe.yaml",
    "versions.json",
    README,
    CHECKSUMS,
)
TOLERANCE = 1e-4


@dataclass(frozen=True)
class VerifyReport:
    """What a verified card has shown.

    Attributes:
        folder: of the card.
        files: whose checksums agree.
        cells: replayed.
        largest_difference: between expected and replayed probabilities.
        seconds: the whole took.
    """

    folder: Path
    files: int
    cells: int
    largest_difference: float
    seconds: float


def verify(folder: Path) -> VerifyReport:
    """Check every file of a card and replay its test cells.

    Raises:
        CardError: files are missing, changed or foreign (each is named), the front matter of
            README.md does not parse, or the model no longer gives the expected probabilities.
    """
    start = time.perf_counter()
    sums = read_checksums(folder)
    problems = problems_with(folder, sums)
    unlisted = [name for name in REQUIRED if name not in sums and name != CHECKSUMS]
    problems += [f"{name} is not listed in {CHECKSUMS}" for name in unlisted]
    if problems:
        raise CardError(
            f"{folder} has changed since it was written:\n"
            + "\n".join(f"  {line}" for line in problems)
        )
    check_front_matter(folder / README)
    cells, difference = _replay(folder)
    return VerifyReport(folder, len(sums), cells, difference, time.perf_counter() - start)


def check_front_matter(readme: Path) -> None:
    """Read the front matter as the Hugging Face Hub does.

    Raises:
        CardError: it is missing or does not parse.
    """
    from huggingface_hub import ModelCard as HubCard

    try:
        data = HubCard.load(readme, ignore_metadata_errors=False).data.to_dict()
    except Exception as error:
        # YAML, value and key errors of three libraries arrive here.
        raise CardError(f"the front matter of {readme} does not parse: {error}") from error
    missing = [key for key in ("license", "library_name", "model-index") if not data.get(key)]
    if missing:
        raise CardError(f"the front matter of {readme} lacks {', '.join(missing)}")


def _replay(folder: Path) -> tuple[int, float]:
    predictor = CardPredictor.load(folder)
    try:
        images = np.load(folder / TEST_INPUT, mmap_mode="r", allow_pickle=False)
        expected = np.load(folder / TEST_OUTPUT, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError) as error:
        raise CardError(f"the test cells of {folder} cannot be read: {error}") from None
    found = predictor.predict(images)
    config = predictor.config
    if config.onnx.decided is not None:
        images = prepare(images, config)
        given = run_session(
            predictor.session,
            graph_inputs(images, config),
            output_name=config.onnx.decided,
        )
        temperature = config.temperature or 1.0
        clear = margin(found, config.decision, temperature=temperature) > CLEAR_MARGIN
        if not np.array_equal(given[clear], config.decide(found)[clear]):
            raise CardError(
                f"{folder} contradicts itself: its model gives test cells other classes than the "
                f"rule in {CONFIG}"
            )
    if found.shape != expected.shape:
        raise CardError(
            f"{folder} gives probabilities of shape {found.shape}, expected {expected.shape}"
        )
    difference = float(np.abs(found - expected).max())
    # Written so that a NaN fails too.
    if not difference <= TOLERANCE:
        raise CardError(
            f"{folder} no longer gives the predictions it gave when it was written: its "
            f"probabilities for {len(found)} test cells differ by up to"
            f" {difference:.2g} "
            f"(at most {TOLERANCE:g} is allowed)"
        )
    return len(found), difference
