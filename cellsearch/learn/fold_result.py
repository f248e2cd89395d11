"""FoldResult: out-of-fold predictions of one fold, and their file; read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import RunError
from cellsearch.learn.provenance import Provenance
from cellsearch.stats.decision import Priors
from cellsearch.util.atomic import whole_file
from cellsearch.util.json_text import from_json


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What a recipe said of the validation cells of one fold.

    Attributes:
        fold: number of the fold, from 0.
        cells: (n,) int64, indices of the fold's validation cells in the data set.
        probabilities: (n, K) float32, rows in the order of ``cells``.
        seconds: of training and prediction.
        images_per_second: cells trained on in a second.
        epochs: epochs trained.
        history: one record for each epoch, as in ``Predictor.history``.
        precision: in which it was trained, as ``bf16+channels_last``.
        provenance: from which cells the model was made; None in folds of older versions.
        priors: of its training cells; None in folds of older versions, which were judged by
            their greatest probabilities.
    """

    fold: int
    cells: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    seconds: float
    images_per_second: float
    epochs: int
    history: tuple[dict[str, float], ...]
    precision: str = "fp32"
    provenance: Provenance | None = None
    priors: Priors | None = None

    def save(self, path: Path) -> None:
        """Write durably: a reader finds the whole file or none, even after a loss of power.

        Raises:
            RunError: the file cannot be written.
        """
        facts: dict[str, Any] = {
            "fold": self.fold,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "epochs": self.epochs,
            "history": list(self.history),
            "precision": self.precision,
        }
        made_from: dict[str, Any] = {}
        if self.provenance is not None:
            facts["provenance"] = self.provenance.facts()
            made_from = self.provenance.arrays()
        if self.priors is not None:
            made_from["effective_prior"] = np.array(self.priors.effective)
            made_from["natural_prior"] = np.array(self.priors.natural)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                np.savez(
                    file,
                    cells=self.cells,
                    probabilities=self.probabilities,
                    facts=np.array(json.dumps(facts, allow_nan=False)),
                    **made_from,
                )
        except OSError as error:
            raise RunError(f"fold {self.fold}: cannot be written to {path} ({error})") from error

    @classmethod
    def load(cls, path: Path) -> FoldResult:
        """Read what ``save`` wrote.

        Raises:
            RunError: the file is missing or not one of ours.
        """
        try:
            # numpy leaves a file that it cannot read open, so it is opened here.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                facts: dict[str, Any] = from_json(str(stored["facts"]))
                facts["history"] = tuple(facts["history"])
                if "provenance" in facts:
                    facts["provenance"] = Provenance.of(facts["provenance"], stored)
                if "effective_prior" in stored:
                    facts["priors"] = Priors(
                        tuple(stored["effective_prior"].tolist()),
                        tuple(stored["natural_prior"].tolist()),
                    )
                return cls(cells=stored["cells"], probabilities=stored["probabilities"], **facts)
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise RunError(f"{path}: is not a fold's record ({error})") from error
