"""Our own tables, beside Optuna's in the same database: runs, folds, and where artefacts lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cellsearch.errors import StorageError
from cellsearch.tune.storage import brief, open_engine, shown_url

if TYPE_CHECKING:
    from numpy.typing import NDArray


CARD = "card"
"""Kind of the artifact that is a run's card."""


class Base(DeclarativeBase):
    """The tables ``cellsearch_*``; Optuna owns the other names."""


class RunTable(Base):
    """One run, known by its study."""

    __tablename__ = "cellsearch_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(255))
    study_name: Mapped[str] = mapped_column(sa.String(255), unique=True)
    folder: Mapped[str] = mapped_column(sa.Text)
    dataset: Mapped[str] = mapped_column(sa.String(255))
    dataset_sha256: Mapped[str] = mapped_column(sa.String(64))
    splits_sha256: Mapped[str] = mapped_column(sa.String(64))
    space: Mapped[str] = mapped_column(sa.String(255))
    space_sha256: Mapped[str] = mapped_column(sa.String(64))
    metric: Mapped[str] = mapped_column(sa.String(64))
    seed: Mapped[int] = mapped_column(sa.BigInteger)
    command: Mapped[str] = mapped_column(sa.Text)
    created: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    finished: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    state: Mapped[str] = mapped_column(sa.String(16))


class FoldTable(Base):
    """One finished fold of one trial."""

    __tablename__ = "cellsearch_folds"

    run_id: Mapped[int] = mapped_column(sa.ForeignKey("cellsearch_runs.id"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True)
    fold: Mapped[int] = mapped_column(primary_key=True)
    seconds: Mapped[float]
    images_per_second: Mapped[float]
    confusion: Mapped[list[list[int]]] = mapped_column(sa.JSON)
    path: Mapped[str] = mapped_column(sa.Text)


class ArtifactTable(Base):
    """A file that a run left, of one trial or (trial NULL) of the whole."""

    __tablename__ = "cellsearch_artifacts"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(sa.ForeignKey("cellsearch_runs.id"), index=True)
    trial: Mapped[int | None]
    kind: Mapped[str] = mapped_column(sa.String(64))
    path: Mapped[str] = mapped_column(sa.Text)


@dataclass(frozen=True)
class RunFacts:
    """What is written of a run when it starts; columns of ``cellsearch_runs``."""

    name: str
    study_name: str
    folder: str
    dataset: str
    dataset_sha256: str
    splits_sha256: str
    space: str
    space_sha256: str
    metric: str
    seed: int
    command: str = ""


@dataclass(frozen=True)
class RunRow:
    """One run of a storage.

    Attributes:
        id: of its row.
        facts: what was written when it started.
        created: when.
        finished: when it ended; None while it goes on.
        state: "searching", "searched", "interrupted", "failed", or "finished" with a card.
        card: where its card lies, on the machine of the run; "" where there is none.
    """

    id: int
    facts: RunFacts
    created: datetime
    finished: datetime | None
    state: str
    card: str = ""


class Store:
    """Writes of the driver; one short transaction each."""

    def __init__(self, url: str) -> None:
        """Connect, and make the tables where there are none.

        Raises:
            StorageError: the database does not answer.
        """
        self._engine = open_engine(url)
        self._shown = shown_url(url)
        try:
            Base.metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise StorageError(f"storage {self._shown}: {brief(error)}") from None

    def record_run(self, facts: RunFacts) -> int:
        """Write a run that starts or goes on; its id."""
        with self._session() as session:
            found = session.scalar(
                sa.select(RunTable).where(RunTable.study_name == facts.study_name)
            )
            if found is None:
                found = RunTable(**vars(facts), created=datetime.now(UTC), state="searching")
                session.add(found)
            else:
                found.folder, found.state, found.finished = facts.folder, "searching", None
            session.commit()
            return found.id

    def record_fold(
        self,
        run_id: int,
        trial: int,
        fold: int,
        *,
        seconds: float,
        images_per_second: float,
        confusion: NDArray[Any],
        path: Path,
    ) -> None:
        """Write a finished fold; a second time changes nothing but its figures."""
        row = FoldTable(
            run_id=run_id,
            trial=trial,
            fold=fold,
            seconds=float(seconds),
            images_per_second=float(images_per_second),
            confusion=[[int(cell) for cell in line] for line in confusion],
            path=str(path),
        )
        with self._session() as session:
            session.merge(row)
            session.commit()

    def record_artifact(self, run_id: int, kind: str, path: Path, *, trial: int | None) -> None:
        """Write where a file lies."""
        with self._session() as session:
            session.add(ArtifactTable(run_id=run_id, trial=trial, kind=kind, path=str(path)))
            session.commit()

    def record_card(self, study_name: str, path: Path) -> None:
        """Write that a run is finished, and where its card lies."""
        with self._session() as session:
            found = session.scalar(sa.select(RunTable).where(RunTable.study_name == study_name))
            if found is None:
                return
            session.execute(
                sa.delete(ArtifactTable).where(
                    ArtifactTable.run_id == found.id, ArtifactTable.kind == CARD
                )
            )
            session.add(ArtifactTable(run_id=found.id, trial=None, kind=CARD, path=str(path)))
            found.state, found.finished = "finished", datetime.now(UTC)
            session.commit()

    def finish_run(self, run_id: int, state: str) -> None:
        """Write how a run ended: "searched", "interrupted" or "failed"."""
        with self._session() as session:
            found = session.get(RunTable, run_id)
            if found is not None:
                found.finished, found.state = datetime.now(UTC), state
            session.commit()

    def runs(self) -> list[RunRow]:
        """All runs, newest first."""
        with self._session() as session:
            query = (
                sa.select(RunTable, ArtifactTable.path)
                .outerjoin(
                    ArtifactTable,
                    sa.and_(ArtifactTable.run_id == RunTable.id, ArtifactTable.kind == CARD),
                )
                .order_by(RunTable.id.desc())
            )
            return [_row(run, card or "") for run, card in session.execute(query)]

    def folds(self, run_id: int) -> Sequence[FoldTable]:
        """Finished folds of a run, by trial and fold."""
        with self._session() as session:
            query = sa.select(FoldTable).where(FoldTable.run_id == run_id)
            return session.scalars(query.order_by(FoldTable.trial, FoldTable.fold)).all()

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()

    def _session(self) -> Session:
        return Session(self._engine, expire_on_commit=False)


def runs(url: str) -> list[RunRow]:
    """All runs of a storage, newest first; nothing is written.

    Raises:
        StorageError: it does not answer, or there is no such file.
    """
    place = sa.make_url(url)
    if place.get_backend_name() == "sqlite" and not Path(place.database or "").is_file():
        raise StorageError(f"storage {shown_url(url)}: there is no file {place.database}")
    engine = open_engine(url)
    try:
        if not sa.inspect(engine).has_table(RunTable.__tablename__):
            return []
    except SQLAlchemyError as error:
        raise StorageError(f"storage {shown_url(url)}: {brief(error)}") from None
    finally:
        engine.dispose()
    store = Store(url)
    try:
        return store.runs()
    finally:
        store.close()


def _row(run: RunTable, card: str) -> RunRow:
    names = RunFacts.__dataclass_fields__
    facts = RunFacts(**{name: getattr(run, name) for name in names})
    return RunRow(run.id, facts, run.created, run.finished, run.state, card)
