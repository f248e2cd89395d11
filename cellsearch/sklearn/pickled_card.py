"""A card that travels inside a pickled ``CellClassifier``: all of its files, as bytes."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import files_of, read_checksums

CHECKSUMS = "checksums.json"


def scratch_folder(prefix: str) -> Path:
    """A new folder that is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(eq=False)
class KeptCard:
    """Where a card lies; where it lies no more, it is unpacked anew.

    Attributes:
        folder: of the card.
    """

    folder: Path
    _card: ModelCard | None = field(default=None, repr=False)

    @property
    def card(self) -> ModelCard:
        """The card, opened once in a process.

        Raises:
            CardError: its folder has gone, or its files have changed.
        """
        if self._card is None:
            self._card = ModelCard.load(self.folder)
        return self._card

    def probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """(N, K) float32 of (N, C, H, W) raw images, by onnxruntime.

        Pipelines hand whole numbers on as floats; they are taken back to the card's dtype where
        each value stays what it is. 16 bits whose values happen to fit 8 are another camera's.

        Raises:
            CardError: values of quite another range than those it was trained on, or that its
                dtype cannot hold.
        """
        dtype = np.dtype(self.card.config.dtype)
        if images.dtype != dtype and "f" in (images.dtype.kind, dtype.kind):
            with np.errstate(invalid="ignore"):
                cast = images.astype(dtype)
            images = cast if np.array_equal(cast, images) else images
        return self.card.predict(images)

    def __getstate__(self) -> dict[str, Any]:
        # Says so where the folder has gone, instead of keeping nothing.
        ModelCard.load(self.folder)
        listed = [CHECKSUMS, *read_checksums(self.folder)]
        present = {**files_of(self.folder), CHECKSUMS: self.folder / CHECKSUMS}
        files = {name: present[name].read_bytes() for name in listed if name in present}
        return {"folder": self.folder, "files": files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._card = None
        self.folder = Path(state["folder"])
        files: dict[str, bytes] = state["files"]
        try:
            same = (self.folder / CHECKSUMS).read_bytes() == files[CHECKSUMS]
        except OSError:
            same = False
        if same:
            return
        self.folder = scratch_folder("cellsearch-card-") / "card"
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
