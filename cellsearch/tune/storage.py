"""The database of studies: any SQLAlchemy URL, or one line that says why not."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from cellsearch.errors import StorageError
from cellsearch.util.file_systems import is_on_network
from cellsearch.util.messages import Setting
from cellsearch.util.passwords import without_password

CONNECT_SECONDS = 5


def engine_options(url: str) -> tuple[URL, dict[str, Any]]:
    """The URL as SQLAlchemy shall see it, and arguments of its ``create_engine``.

    Raises:
        StorageError: not a URL of a database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(
            Setting("storage"),
            ": expected a URL such as postgresql+psycopg://user@host/name or "
            f"sqlite:///path.db, got {_without_password(url)!r}",
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed, {"connect_args": {"timeout": 60}}
    if backend == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return parsed, {
            "connect_args": {"connect_timeout": CONNECT_SECONDS},
            "pool_pre_ping": True,
        }
    return parsed, {"pool_pre_ping": True}


def open_engine(url: str) -> sa.Engine:
    """An engine on which a connection has been made.

    Raises:
        StorageError: it does not answer; the password is not shown.
    """
    parsed, options = engine_options(url)
    shown = shown_url(url)
    try:
        engine = _swift(sa.create_engine(parsed, **options))
        with engine.connect():
            return engine
    except (ImportError, NoSuchModuleError) as error:
        raise StorageError(
            f"storage {shown}: its driver is not installed ({error}); for PostgreSQL: "
            "pip install 'cellsearch[postgresql]'"
        ) from None
    except SQLAlchemyError as error:
        reason = _one_line(error, parsed)
        raise StorageError(
            f"storage {shown} does not answer: {reason}", *_password_hint(parsed, reason)
        ) from None


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage at any SQLAlchemy URL; its tables are made where there are none.

    Raises:
        StorageError: it does not answer within a few seconds, or holds something else.
    """
    open_engine(url).dispose()
    parsed, options = engine_options(url)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(
            parsed.render_as_string(hide_password=False), engine_kwargs=options
        )
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(f"storage {shown_url(url)}: {_one_line(error, parsed)}") from None
    storage.engine.dispose()
    _swift(storage.engine)
    # Whoever reads a study lets go of it in the end; its connections would linger at the server.
    weakref.finalize(storage, storage.engine.dispose)
    return storage


def _swift(engine: sa.Engine) -> sa.Engine:
    """SQLite with a write-ahead log: a commit need not wait for the disk.

    A loss of power may then cost the last commits, never the file; the folds they told of are on
    disk and are told again. The log needs memory that its users share, which those of a network
    file system do not: there SQLite keeps its own way, and waits.
    """
    if engine.dialect.name == "sqlite":
        file = engine.url.database
        shared = bool(file) and file != ":memory:" and is_on_network(Path(str(file)))

        def set_up(connection: Any, _: Any) -> None:
            if shared:
                connection.execute("PRAGMA journal_mode=DELETE")
                return
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        sa.event.listen(engine, "connect", set_up)
    return engine


def shown_url(url: str) -> str:
    """A storage URL without its password."""
    shown = engine_options(url)[0].render_as_string(hide_password=True)
    return without_password(shown) if "?" in shown else shown


def _password_hint(url: URL, reason: str) -> tuple[str | Setting, ...]:
    if url.password is not None or "password" not in reason.lower():
        return ()
    return (
        "; a run does not keep the password of its database: give it in PGPASSWORD or ~/.pgpass, "
        "or with ",
        Setting("storage", "URL"),
    )


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and ":" in head else url


def brief(error: BaseException) -> str:
    """One line of a database's complaint, without SQLAlchemy's wrapping."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    cause = getattr(cause, "orig", None) or cause
    return " ".join(str(cause).split()) or type(cause).__name__


def _one_line(error: Exception, url: URL) -> str:
    text, password = brief(error), url.password
    return text.replace(str(password), "***") if password else text
