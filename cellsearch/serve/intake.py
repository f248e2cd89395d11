"""From received files to predicted cells: what cannot be used is refused file by file."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.inputs import prepare
from cellsearch.card.predict import CardPredictor
from cellsearch.data.crop_sizes import sizes_of
from cellsearch.errors import CardError, ReadError
from cellsearch.serve.decode import cells_of, kind_of
from cellsearch.serve.limits import MB, Limits
from cellsearch.serve.store import Sample, Store
from cellsearch.serve.unpack import is_npz, members
from cellsearch.serve.uploads import Received, label, too_large
from cellsearch.serve.wording import on_page

AT_ONCE = 32 * MB
"""Bytes of raw cells that are predicted together."""

LEAST_COST = 1000
"""Bytes that a cell costs as an object, however small."""

MOST_REFUSED = 500
SPLITS = ("train_images", "val_images", "test_images")


@dataclass(frozen=True)
class Refused:
    """A file, or a member of a zip, that no cell was taken of, or not all."""

    file: str
    reason: str


@dataclass
class Outcome:
    """What became of a request's files.

    Attributes:
        added: cells.
        brought: cells of another size than the card's that were brought to it.
        larger: those of them that were shrunk or cut.
        refused: files, with reasons; at most ``MOST_REFUSED`` and one that counts the others.
        missed: cells of each file that found no room.
    """

    added: int = 0
    brought: int = 0
    larger: int = 0
    refused: list[Refused] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    _more: int = 0

    def refuse(self, file: str, reason: str) -> None:
        """Note a file that is refused."""
        if len(self.refused) < MOST_REFUSED:
            self.refused.append(Refused(file, reason))
            return
        self._more += 1
        self.refused[MOST_REFUSED:] = [Refused(f"{self._more:,} more", "refused likewise")]

    def miss(self, names: Iterable[tuple[str, int]]) -> None:
        """Note cells that found no room, by file and number."""
        self.missed.update(source for source, _ in names)

    def tell_missed(self, reason: str) -> None:
        """Refuse the cells that found no room, a line a file."""
        for source, count in self.missed.items():
            self.refuse(source, f"{count:,} of its cells were not taken: {reason}")


@dataclass(frozen=True, eq=False)
class _Piece:
    """Cells of one file: (n, C, h, w), their numbers in it (0 for the only one), and their cost.

    The cost is in bytes, of what is needed to predict them: tiny crops are padded.
    """

    source: str
    cells: NDArray[Any]
    numbers: Sequence[int]
    cost: int


class Intake:
    """Decodes, predicts and keeps the files of one request.

    Args:
        predictor: of the card.
        limits: of files, and of the sample.
        fit: how crops of another size are brought to the card's; None for the card's own rule.
        store: where room is made.
    """

    def __init__(
        self, predictor: CardPredictor, limits: Limits, *, fit: str | None, store: Store
    ) -> None:
        self._predictor, self._limits, self._fit, self._store = predictor, limits, fit, store
        # As float32, in which the network sees it.
        self._cell_bytes = 4 * int(np.prod(predictor.config.shape))

    def take(self, files: Sequence[Received], sample: Sample) -> Outcome:
        """Add the cells of some files to a sample, in order; runs for as long as it takes.

        Raises:
            Problem: 404, the sample was dropped meanwhile.
            OSError: the disk refuses.
        """
        outcome = Outcome()
        scratch = self._store.folder / f"scratch-{secrets.token_hex(16)}"
        scratch.mkdir(mode=0o700)
        try:
            pending: list[_Piece] = []
            for one in files:
                for piece in self._pieces(one, scratch, outcome):
                    if not self._store.room_in(sample).cells:
                        outcome.missed[piece.source] += len(piece.numbers)
                        continue
                    if sum(part.cost for part in pending) + piece.cost > AT_ONCE:
                        self._keep(pending, sample, outcome)
                        pending = []
                    pending.append(piece)
            self._keep(pending, sample, outcome)
            outcome.tell_missed(self._store.room_in(sample).reason)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return outcome

    def _pieces(self, one: Received, scratch: Path, outcome: Outcome) -> Iterator[_Piece]:
        reason = too_large(one, self._limits)
        if reason is not None:
            outcome.refuse(one.label, reason)
            return
        path = scratch / "file"
        one.save(path)
        try:
            kind = kind_of(path)
            if kind != ".zip":
                yield from self._decoded(path, kind, one.label)
            elif is_npz(path, self._limits):
                yield from self._arrays(path, scratch, one.label)
            else:
                yield from self._members(path, scratch, one.label, outcome)
        except ReadError as error:
            outcome.refuse(one.label, on_page(error.message))

    def _members(self, path: Path, scratch: Path, name: str, outcome: Outcome) -> Iterator[_Piece]:
        held = False
        for member in members(path, scratch / "member", self._limits):
            held = True
            inner = label(f"{name}/{member.name}")
            if member.path is None:
                outcome.refuse(inner, member.reason)
                continue
            try:
                kind = kind_of(member.path)
                if kind == ".zip":
                    raise ReadError("a zip, or an .npz, within a zip is not opened")
                yield from self._decoded(member.path, kind, inner)
            except ReadError as error:
                outcome.refuse(inner, on_page(error.message))
        if not held:
            raise ReadError("a zip without an image")

    def _arrays(self, path: Path, scratch: Path, name: str) -> Iterator[_Piece]:
        from zipfile import ZipFile

        with ZipFile(path) as archive:
            names = [one.removesuffix(".npy") for one in archive.namelist()]
        wanted = ["images"] if "images" in names else [one for one in SPLITS if one in names]
        wanted = wanted or names
        if len(wanted) != 1 and wanted == names and not set(names) <= set(SPLITS):
            raise ReadError(
                f"an .npz with the arrays {', '.join(names[:5])}; one must be called images"
            )
        many = len(wanted) > 1
        for member in members(path, scratch / "member", self._limits):
            array = member.name.removesuffix(".npy")
            if array not in wanted:
                continue
            if member.path is None:
                raise ReadError(f"{array}: {member.reason}")
            if kind_of(member.path) != ".npy":
                raise ReadError(f"{array}: not an array")
            yield from self._decoded(member.path, ".npy", f"{name}/{array}" if many else name)

    def _decoded(self, path: Path, kind: str, name: str) -> Iterator[_Piece]:
        # A decoder goes by the suffix, which is ours; an array is mapped, so its file must stay.
        own = path.with_name(f"{secrets.token_hex(8)}{kind}")
        path.replace(own)
        cells = cells_of(own, kind, self._predictor.config, self._limits)
        if kind != ".npy":
            own.unlink()
        each = max(cells[0].nbytes, self._cell_bytes, LEAST_COST)
        step = max(1, AT_ONCE // each)
        numbers = range(1, len(cells) + 1) if len(cells) > 1 else range(1)
        for start in range(0, len(cells), step):
            part = cells[start : start + step]
            yield _Piece(name, part, numbers[start : start + step], each * len(part))

    def _keep(self, pieces: Sequence[_Piece], sample: Sample, outcome: Outcome) -> None:
        if not pieces:
            return
        config = self._predictor.config
        # What finds no room is not padded and predicted first.
        room = self._store.room_in(sample).cells
        names = [(piece.source, number) for piece in pieces for number in piece.numbers]
        crops = [cell for piece in pieces for cell in piece.cells][:room]
        if not crops:
            outcome.miss(names)
            return
        same = len({cell.shape for cell in crops}) == 1 and len({c.dtype for c in crops}) == 1
        try:
            images = prepare(np.stack(crops) if same else crops, config, fit=self._fit)
            probabilities = self._predictor.predict(images)
        except CardError as error:
            if len(pieces) == 1:
                outcome.refuse(pieces[0].source, on_page(error.message))
                return
            # One of them is to blame: each by itself then.
            for piece in pieces:
                self._keep([piece], sample, outcome)
            return
        # Another request may have filled it meanwhile.
        taken = min(self._store.room_in(sample).cells, len(images))
        if taken:
            sources, numbers = zip(*names[:taken], strict=True)
            self._store.make_room(taken * sample.cell_bytes, keep=sample)
            sample.append(images[:taken], probabilities[:taken], sources, numbers)
            outcome.added += taken
            wanted = (config.height, config.width)
            sizes = [size for size in sizes_of(crops[:taken]) if size != wanted]
            outcome.brought += len(sizes)
            outcome.larger += sum(h > wanted[0] or w > wanted[1] for h, w in sizes)
        outcome.miss(names[taken:])
