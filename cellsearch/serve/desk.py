"""The card at work for its clients: what each request asks for, as plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.abstain import Abstention, confidence_of, kept
from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import problems_with, read_checksums
from cellsearch.card.config import CardConfig
from cellsearch.card.conformal import PredictionSets
from cellsearch.card.inputs import fit_rule
from cellsearch.card.predict import CardPredictor, Row, to_rows
from cellsearch.card.prevalence import Fractions, fraction_rows, fractions_of
from cellsearch.card.rules import rules_for
from cellsearch.card.whole_files import write_csv
from cellsearch.data.arrays import UNLABELLED
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.serve import answers, pictures, saliency, telling
from cellsearch.serve.intake import Intake, Outcome
from cellsearch.serve.limits import Limits
from cellsearch.serve.problems import Problem
from cellsearch.serve.queries import Query, chosen
from cellsearch.serve.store import Sample, Store, drop
from cellsearch.serve.uploads import Received
from cellsearch.serve.wording import on_page

MONTAGE = "montage"


@dataclass(frozen=True, eq=False)
class Desk:
    """A loaded card, its rules, and the samples it has been given.

    Attributes:
        headline: what the card is worth, in a line.
        predictor: of the card.
        abstention: when a cell is uncertain.
        sets: thresholds of prediction sets.
        limits: of what clients send.
        fit: how crops of another size are brought to the card's; None for the card's own rule.
        store: of the samples.
    """

    headline: str
    predictor: CardPredictor
    abstention: Abstention | None
    sets: PredictionSets | None
    limits: Limits
    fit: str | None
    store: Store

    @property
    def config(self) -> CardConfig:
        """What the card says of itself."""
        return self.predictor.config

    def facts(self) -> answers.CardFacts:
        """What a client must know of the card."""
        from cellsearch.util.version import __version__

        config, limits = self.config, self.limits
        abstention = self.abstention and answers.CardAbstention(
            rule=f"{self.abstention.rule}={self.abstention.level:g}",
            thresholds=dict(zip(config.classes, self.abstention.thresholds, strict=True)),
        )
        return answers.CardFacts(
            name=config.dataset.name,
            title=config.dataset.title or config.dataset.name,
            headline=self.headline,
            classes=list(config.classes),
            channels=list(config.channels),
            height=config.height,
            width=config.width,
            dtype=config.dtype,
            fit=self.fit or config.fit,
            synthetic=config.dataset.synthetic,
            licence=config.dataset.licence,
            abstention=abstention,
            sets=self.sets and answers.CardSets(coverage=self.sets.level),
            explains=True,
            rare=telling.rare(config),
            limits=answers.CardLimits(
                file_bytes=limits.file_bytes,
                request_bytes=limits.request_bytes,
                request_files=limits.request_files,
                sample_cells=limits.sample_cells,
                sample_bytes=limits.sample_bytes,
            ),
            version=__version__,
        )

    def add(self, files: Sequence[Received], sample: Sample) -> Outcome:
        """Decode, predict and keep some files."""
        intake = Intake(self.predictor, self.limits, fit=self.fit, store=self.store)
        return intake.take(files, sample)

    def summary(self, sample: Sample) -> answers.SampleFacts:
        """Counts and shares of a sample."""
        probabilities = sample.probabilities
        count = len(probabilities)
        given = self.config.decide(probabilities)
        called = np.bincount(given, minlength=len(self.config.classes))
        sure = self._sure(probabilities)
        shares = self._fractions(sample, probabilities)
        return answers.SampleFacts(
            cells=count,
            counts=dict(zip(self.config.classes, called.tolist(), strict=True)),
            uncertain=0 if sure is None else int((~sure).sum()),
            fractions=telling.shares(shares),
            notes=list(shares.notes) if shares else [],
            mean_confidence=float(confidence_of(probabilities, given).mean()) if count else None,
        )

    def cells(self, sample: Sample, query: Query, *, offset: int, limit: int) -> answers.Cells:
        """Some cells of a sample, in the order asked for."""
        probabilities = sample.probabilities
        sure = self._sure(probabilities)
        given = self.config.decide(probabilities)
        where = chosen(query, sample.cells, probabilities, given, sure, self.config.classes)
        return answers.Cells(
            total=len(where),
            contrast=pictures.contrast_cells(sample),
            cells=self._told(sample, probabilities, where[offset : offset + limit]),
        )

    def predict(self, files: Sequence[Received]) -> answers.Prediction:
        """Cells of files that are not kept."""
        sample = self.store.unlisted()
        try:
            outcome = self.add(files, sample)
            probabilities = sample.probabilities
            shares = self._fractions(sample, probabilities)
            return answers.Prediction(
                cells=self._told(sample, probabilities, np.arange(len(probabilities))),
                refused=telling.refused(outcome),
                fractions=None if shares is None else telling.shares(shares),
                notes=[
                    *telling.brought(outcome, self.config, self.fit or self.config.fit),
                    *(shares.notes if shares else ()),
                ],
            )
        finally:
            drop(sample)

    def image(self, sample: Sample, index: int, channel: str) -> bytes:
        """PNG of a channel of a cell, or of all side by side.

        Raises:
            Problem: 404, no such cell; 422, no such channel.
        """
        channels = self.config.channels
        if channel != MONTAGE and channel not in channels:
            raise Problem(
                422, f"no channel {channel[:50]!r}", f"take {', '.join(channels)} or {MONTAGE}"
            )
        planes = pictures.drawn(_cell(sample, index), pictures.contrast(sample), channels)
        if channel == MONTAGE:
            return pictures.png(pictures.montage(planes, channels))
        return pictures.png(planes[channels.index(channel)])

    def explained(self, sample: Sample, index: int, name: str | None) -> bytes:
        """PNG of what a class rests on in a cell; by default its predicted class.

        Raises:
            Problem: 404, no such cell, or this card cannot explain it; 422, no such class.
        """
        classes = self.config.classes
        if name is not None and name not in classes:
            raise Problem(422, f"no class {name[:50]!r}", f"the classes are {', '.join(classes)}")
        cell = np.asarray(_cell(sample, index))
        given = int(self.config.decide(sample.probabilities[index][None])[0])
        target = given if name is None else classes.index(name)
        try:
            found = saliency.occlusion(self.predictor, cell, target)
        except CardError as error:
            raise Problem(
                404, f"this cell cannot be explained: {on_page(error.message)}", "look at its image"
            ) from None
        planes = pictures.drawn(cell, pictures.contrast(sample), self.config.channels)
        return pictures.png(saliency.overlay(planes, found))

    def table(self, sample: Sample) -> bytes:
        """The CSV that ``cellsearch predict -o`` writes.

        Raises:
            Problem: 404, the sample has no cells.
        """
        probabilities = sample.probabilities
        named = sample.cells[: len(probabilities)]
        _require_cells(sample)
        cells = CellDataset(
            name="sample",
            images=sample.images()[: len(named)],
            labels=np.full(len(named), UNLABELLED, np.int64),
            classes=(),
            channels=self.config.channels,
            ids=np.array([one.id for one in named], np.str_),
            sources=np.array([one.source for one in named], np.str_),
            object_numbers=np.array([one.number for one in named], np.int64),
        )
        rows = to_rows(
            cells,
            probabilities,
            self.config.classes,
            called=self.config.decide(probabilities),
            abstention=self.abstention,
            sets=self.sets,
        )
        return _written(sample, "cells.csv", rows)

    def shares_table(self, sample: Sample) -> bytes:
        """The CSV that ``cellsearch predict --fractions`` writes.

        Raises:
            Problem: 404, the sample has no cells, or one.
        """
        shares = self._fractions(sample, sample.probabilities)
        if shares is None:
            raise Problem(404, "shares need two cells", "send the sample some more images")
        return _written(sample, "fractions.csv", fraction_rows(shares))

    def _sure(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        if self.abstention is None:
            return None
        return kept(probabilities, self.abstention, self.config.decide(probabilities))

    def _fractions(self, sample: Sample, probabilities: NDArray[np.float32]) -> Fractions | None:
        if len(probabilities) < 2:
            return None
        there = sample.kept.get("fractions")
        if there is not None and there[0] == len(probabilities):
            found: Fractions = there[1]
            return found
        found = fractions_of(probabilities, self.config)
        sample.kept["fractions"] = (len(probabilities), found)
        return found

    def _told(
        self, sample: Sample, probabilities: NDArray[np.float32], where: NDArray[np.int64]
    ) -> list[answers.Cell]:
        return telling.cells(
            sample.cells,
            probabilities,
            self.config.decide(probabilities),
            where,
            self.config.classes,
            abstention=self.abstention,
            sets=self.sets,
        )


def open_desk(
    card: Path,
    *,
    limits: Limits,
    threads: int | None = None,
    fit: str | None = None,
    abstain: str | None = None,
    sets: float | None = None,
) -> Desk:
    """Load a card whose every file is as it was written.

    Raises:
        CardError: no card, a file of it missing or changed, or rules that cannot be had.
    """
    whole = ModelCard.load(card)
    problems = problems_with(card, read_checksums(card))
    if problems:
        raise CardError(f"{card} cannot be trusted: {'; '.join(problems)}")
    predictor = CardPredictor.load(card, threads=threads)
    config = predictor.config
    fit_rule(config, fit)
    abstention, own_sets = rules_for(card, config, abstain=abstain, sets=sets)
    store = Store(limits, config.shape, np.dtype(config.dtype), len(config.classes))
    return Desk(whole.headline, predictor, abstention, own_sets, limits, fit, store)


def _cell(sample: Sample, index: int) -> NDArray[Any]:
    if not 0 <= index < len(sample):
        raise Problem(404, f"no cell {index}: the sample has {len(sample):,}", "cells count from 0")
    return np.asarray(sample.images()[index])


def _require_cells(sample: Sample) -> None:
    if not len(sample):
        raise Problem(404, "the sample has no cells", "send it some images first")


def _written(sample: Sample, name: str, rows: list[Row]) -> bytes:
    with sample.lock:
        path = sample.folder / name
        write_csv(path, rows, for_people=True)
        return path.read_bytes()
