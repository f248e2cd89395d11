"""ModelCard: the folder that is handed over, opened, checked and used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.checksums import copy_listed
from cellsearch.card.config import CardConfig, read_config
from cellsearch.card.inputs import Images
from cellsearch.card.metrics import CardMetrics
from cellsearch.card.predict import CardPredictor
from cellsearch.card.replay import README, REQUIRED, VerifyReport, verify
from cellsearch.card.tables import short_class_table
from cellsearch.errors import CardError
from cellsearch.stats.decision import Decide
from cellsearch.stats.wording import interval
from cellsearch.util.atomic import whole_folder
from cellsearch.util.html import Markup, block, line, note, table
from cellsearch.util.named_path import require_nameable


@dataclass(frozen=True, eq=False)
class ModelCard:
    """A model with the evidence for it.

    Attributes:
        folder: where it lies.
        config: what a program needs to use it.
        figures: ``metrics.json``: every figure with its interval, winner and baseline.
    """

    folder: Path
    config: CardConfig
    figures: CardMetrics

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Open a card; its bytes are looked at by ``verify``.

        Raises:
            CardError: not a card, files missing (all are named), or from a newer cellsearch.
        """
        folder = Path(folder)
        config = read_config(folder)
        missing = [name for name in REQUIRED if not (folder / name).is_file()]
        if missing:
            raise CardError(f"{folder} is not a complete card: {', '.join(missing)} missing")
        return cls(folder, config, CardMetrics.read(folder))

    def __repr__(self) -> str:
        return f"ModelCard({str(self.folder)!r}, {len(self.classes)} classes, {self.headline})"

    def _repr_html_(self) -> str:

        return card_html(self)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``figures`` as plain values, as they stand in ``metrics.json``."""
        return self.figures.model_dump(exclude_unset=True)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        return self.config.classes

    @property
    def headline(self) -> str:
        """Balanced accuracy on the hold-out with its interval, and the baseline's."""
        holdout = self.figures.hold_out
        parts = []
        for name, side in (("winner", holdout.winner), ("baseline", holdout.baseline)):
            if side is not None:
                found = side.metrics["balanced_accuracy"]
                what = "" if found.interval is None else "95 % interval "
                parts.append(f"{name} {found.value:.3f} ({what}{interval(found)})")
        return f"hold-out balanced accuracy: {', '.join(parts)}"

    @property
    def readme(self) -> str:
        """The text of README.md."""
        return (self.folder / README).read_text(encoding="utf-8")

    @cached_property
    def predictor(self) -> CardPredictor:
        """The model, opened once.

        Raises:
            CardError: the model or its description has changed since the card was written.
        """
        return CardPredictor.load(self.folder)

    def predict(self, images: Images, *, fit: str | None = None) -> NDArray[np.float32]:
        """(N, K) float32 probabilities; rows add up to 1, columns are ``classes``.

        Args:
            images: (N, C, H, W) raw intensities of the card's dtype and channels, or a list of
                (C, h, w) crops of any sizes.
            fit: ``refuse``, ``pad``, ``shrink`` or ``resize`` crops of another size; by default
                as the cells of the training were brought to one.

        Raises:
            CardError: images that do not suit the card, or a model that was changed.
        """
        return self.predictor.predict(images, fit=fit)

    def decide(
        self, probabilities: NDArray[np.floating[Any]], decide: Decide | None = None
    ) -> NDArray[np.int64]:
        """(N,) positions in ``classes`` that cells are given, of (N, K) probabilities.

        Args:
            probabilities: of ``predict``.
            decide: ``balanced`` finds rare classes, ``natural`` makes the fewest mistakes where
                classes are as frequent as in the training; by default the card's own rule.

        Raises:
            CardError: another rule is asked for than the only one that an older card has.
        """
        return self.config.decide(probabilities, decide)

    def verify(self) -> VerifyReport:
        """Check every checksum and replay the test cells.

        Raises:
            CardError: what has changed, is missing, or no longer gives the same.
        """
        return verify(self.folder)

    def save(self, folder: Path | str) -> Self:
        """Copy the verified card to a new folder: the files that its checksums list.

        Raises:
            CardError: this card does not verify, the folder exists, or cannot be written.
            ReadError: no folder can have such a name.
        """
        target = Path(folder)
        require_nameable(target)
        if target.exists():
            raise CardError(f"{target} exists; name a folder that does not")
        self.verify()
        try:
            with whole_folder(target) as building:
                copy_listed(self.folder, building)
        except OSError as error:
            raise CardError(f"cannot write {target}: {error.strerror or error}") from None
        return type(self).load(target)


def load_card(folder: Path | str) -> ModelCard:
    """Open a card; the same as ``ModelCard.load``.

    Args:
        folder: of the card.

    Raises:
        CardError: no card there, files missing, or written by a newer cellsearch.
    """
    return ModelCard.load(folder)


def card_html(card: ModelCard) -> str:
    """Figures of the hold-out: the winner's, and the baseline's recall beside it."""
    config, data = card.config, card.config.dataset
    made = ", of generated cells, not real ones" if data.synthetic else ""
    return block(
        f"model card: {data.title or data.name}{made}",
        *headline_parts(card),
        note(
            f"takes {len(config.channels)} x {config.height} x {config.width} px of {config.dtype} "
            f"({', '.join(config.channels)}); {config.parameters:,} parameters; {card.folder}"
        ),
    )


def headline_parts(card: ModelCard) -> list[Markup]:
    """Headline, verdict, and the table of classes."""
    parts = [line(card.headline)]
    figures = card.figures
    if figures.verdict is not None:
        parts.append(line(f"verdict: {figures.verdict.sentence}"))
    held = figures.hold_out
    parts.append(table(short_class_table(held.winner, figures.baseline("hold_out"))))
    parts.append(note(f"{held.winner.cells:,} cells of the hold-out; 95 % intervals"))
    return parts
