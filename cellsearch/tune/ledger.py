"""The ledger of looks: which cells were scored as a hold-out, by which run.

It lies in the user's data folder, and in the database that several users share. A cell is known
again by its pixels, channel by channel, whatever it is called and wherever its run lies. Cells of
one hold-out are kept as 8 bytes a channel, once for all runs that scored the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cellsearch.data.digests import NO_PICTURE
from cellsearch.errors import StorageError
from cellsearch.tune.looks import Looks
from cellsearch.tune.storage import brief, open_engine, shown_url
from cellsearch.util.user_folders import ledger_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "looks.db"
WAIT_SECONDS = 10
"""For another run that writes its look."""
_LARGEST = 2**30
"""Bytes of the digests of one hold-out, for databases that ask how large a blob may become."""


class Base(DeclarativeBase):
    """The tables ``cellsearch_look*``."""


class CellsTable(Base):
    """Digests of the cells of a hold-out, once however many runs scored them."""

    __tablename__ = "cellsearch_looked_at"

    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    digests: Mapped[bytes] = mapped_column(sa.LargeBinary(_LARGEST))


class LookTable(Base):
    """A hold-out that was scored."""

    __tablename__ = "cellsearch_looks"

    id: Mapped[int] = mapped_column(primary_key=True)
    look: Mapped[str] = mapped_column(sa.String(64), unique=True)
    family: Mapped[str] = mapped_column(sa.String(64))
    cells: Mapped[str] = mapped_column(sa.ForeignKey("cellsearch_looked_at.sha256"))
    dataset: Mapped[str] = mapped_column(sa.String(255))
    folder: Mapped[str] = mapped_column(sa.Text)
    scored: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


@dataclass(frozen=True)
class Look:
    """A run that scores its hold-out.

    Attributes:
        id: of the run and its winner, wherever its folder lies; a second time is the same look.
        family: searches whose figures are one estimate are no further looks for each other.
        dataset: its name.
        folder: of the run.
    """

    id: str
    family: str
    dataset: str
    folder: str


@dataclass(frozen=True, eq=False)
class EarlierLook:
    """A look of another family, before this one.

    Attributes:
        look: the run.
        scored: when.
        digests: of its cells, sorted.
    """

    look: Look
    scored: datetime
    digests: NDArray[np.uint64]


def own_ledger() -> str:
    """URL of the user's ledger; its folder is made where there is none.

    Raises:
        StorageError: the folder cannot be made.
    """
    folder = ledger_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from None
    return f"sqlite:///{(folder / FILE).absolute()}"


def record_look(
    url: str, look: Look, digests: NDArray[np.uint64], *, shared: bool
) -> list[EarlierLook]:
    """Write down that the cells are scored now, and find what was scored before.

    Args:
        url: of the database.
        look: the run.
        digests: (N, C) of its hold-out.
        shared: the database that a study lies in; the user's own ledger is a file for itself.

    Raises:
        StorageError: the database does not answer, or cannot be written or read.
    """
    with _opened(url, shared=shared) as engine:
        _write(engine, look, digests)
        with Session(engine) as session:
            return _earlier(session, look)


def earlier_looks(url: str, look: Look, *, shared: bool) -> list[EarlierLook]:
    """What was scored before by others; nothing of this run is written down. As ``record_look``."""
    with _opened(url, shared=shared) as engine, Session(engine) as session:
        return _earlier(session, look)


@contextmanager
def _opened(url: str, *, shared: bool) -> Iterator[sa.Engine]:
    try:
        # A write-ahead log does not work on the network folders that a home often lies in.
        engine = (
            open_engine(url)
            if shared
            else sa.create_engine(url, connect_args={"timeout": WAIT_SECONDS})
        )
        try:
            Base.metadata.create_all(engine)
            yield engine
        finally:
            engine.dispose()
    except (SQLAlchemyError, ValueError) as error:
        raise StorageError(f"{shown_url(url)}: {brief(error)}") from None


def _write(engine: sa.Engine, look: Look, digests: NDArray[np.uint64]) -> None:
    known = np.unique(digests[digests != NO_PICTURE]).astype("<u8").tobytes()
    sha256 = hashlib.sha256(known).hexdigest()
    with Session(engine) as session:
        if session.scalar(sa.select(LookTable.id).where(LookTable.look == look.id)) is not None:
            return
    row = LookTable(
        look=look.id,
        family=look.family,
        cells=sha256,
        dataset=look.dataset,
        folder=look.folder,
        scored=datetime.now(UTC),
    )
    for rows in ((CellsTable(sha256=sha256, digests=known),), (row,)):
        with Session(engine) as session:
            session.add_all(rows)
            try:
                session.commit()
            except IntegrityError:
                # Written by another run of the same cells, or by this one before.
                session.rollback()


def _earlier(session: Session, look: Look) -> list[EarlierLook]:
    own = session.scalar(sa.select(LookTable.id).where(LookTable.look == look.id))
    query = (
        sa.select(LookTable, CellsTable.digests)
        .join(CellsTable, CellsTable.sha256 == LookTable.cells)
        .where(LookTable.family != look.family, *([] if own is None else [LookTable.id < own]))
        .order_by(LookTable.id)
    )
    return [
        EarlierLook(
            Look(row.look, row.family, row.dataset, row.folder),
            row.scored,
            np.frombuffer(stored, "<u8").astype(np.uint64),
        )
        for row, stored in session.execute(query)
    ]


def count_looks(
    digests: NDArray[np.uint64], earlier: Iterable[EarlierLook]
) -> tuple[Looks, Sequence[Path]]:
    """How often each cell was scored before, and the folders of the runs that did.

    A cell is the same where the pixels of one of its channels are, so that a run on fewer channels
    is a look, too. Several searches of a family have scored a cell once.

    Args:
        digests: (N, C) of the hold-out.
        earlier: of one ledger or several; the same look may come twice.
    """
    families: dict[str, NDArray[np.bool_]] = {}
    folders: dict[str, Path] = {}
    for each in earlier:
        seen = (np.isin(digests, each.digests) & (digests != NO_PICTURE)).any(axis=1)
        if seen.any():
            before = families.get(each.look.family, np.zeros(len(seen), np.bool_))
            families[each.look.family] = before | seen
            folders[each.look.id] = Path(each.look.folder)
    times = np.zeros(len(digests), np.int64)
    for seen in families.values():
        times += seen
    return Looks(tuple(np.bincount(times).tolist())), tuple(folders.values())
