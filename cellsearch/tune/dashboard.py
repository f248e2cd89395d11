"""What Optuna's dashboard shows: a trial's confusion matrix and classes, the study's verdict."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.artifacts import upload_artifact

from cellsearch.errors import RunError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.space.recipe import Recipe
from cellsearch.stats.metrics import per_class
from cellsearch.tune.attachments import artifact_store, put_artifact, save_note_parts
from cellsearch.tune.learning_curves import FILE, learning_curves_svg
from cellsearch.tune.storage import open_storage
from cellsearch.util.hosts import KnownHosts, known_hosts, refusal_of
from cellsearch.util.markdown import plain
from cellsearch.util.messages import Setting

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from numpy.typing import NDArray


def attach(
    trial: optuna.Trial,
    run_folder: Path,
    recipe: Recipe,
    confusion: NDArray[Any],
    classes: Sequence[str],
    *,
    headline: str,
) -> Path:
    """Draw a trial's confusion matrix, upload it and write its note; before the trial is told.

    Returns:
        The PNG, ``trials/0007/confusion.png``.
    """
    path = run_folder / "trials" / f"{trial.number:04d}" / "confusion.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(confusion_png(confusion, classes, title=headline))
    upload_artifact(
        artifact_store=artifact_store(run_folder), file_path=str(path), study_or_trial=trial
    )
    body = f"{note(confusion, classes, headline=headline)}\n{recipe_note(recipe)}"
    save_note(trial, body)
    return path


def note(confusion: NDArray[Any], classes: Sequence[str], *, headline: str) -> str:
    """Markdown: one line and a table of precision, recall and F1 for each class."""
    lines = [headline, "", "| class | precision | recall | F1 | cells |", "|---|---|---|---|---|"]
    for name, figures in zip(classes, per_class(confusion), strict=True):
        shown = (figures.precision, figures.recall, figures.f1)
        texts = [
            "not estimable" if not figures.support else "-" if value is None else f"{value:.3f}"
            for value in shown
        ]
        lines.append(f"| {plain(name)} | {' | '.join(texts)} | {figures.support:,} |")
    return "\n".join(lines) + "\n"


def recipe_note(recipe: Recipe) -> str:
    """Markdown: a table of a recipe's parameters."""
    lines = ["| recipe | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in recipe.to_params().items()]
    return "\n".join(lines) + "\n"


def save_note(trial: optuna.Trial, body: str) -> None:
    """Write a trial's note where optuna-dashboard looks for it.

    The same attributes as ``optuna_dashboard.save_note``, whose import alone takes seconds.
    """
    storage, study_id = trial.storage, trial.study._study_id
    save_note_parts(storage, study_id, f"dashboard:{trial._trial_id}:note_", body, version=1)


def attach_to_study(study: optuna.Study, run_folder: Path, body: str, picture: Path | None) -> None:
    """Write the study's note, and upload a picture that its page shows."""
    if picture is not None:
        upload_artifact(
            artifact_store=artifact_store(run_folder), file_path=str(picture), study_or_trial=study
        )
    storage, study_id = study._storage, study._study_id
    version = storage.get_study_system_attrs(study_id).get("dashboard:note_ver", 0) + 1
    save_note_parts(storage, study_id, "dashboard:note_", body, version=version)


def attach_curves(
    storage: optuna.storages.BaseStorage,
    study_id: int,
    trial_id: int,
    run_folder: Path,
    folds: Sequence[FoldResult],
    *,
    number: int,
) -> bool:
    """Draw a trial's learning curves and upload them; False where no epoch was recorded.

    Also of a trial that has ended, whose own attributes can no longer be written.
    """
    text = learning_curves_svg(folds, title=f"trial {number}")
    if not text:
        return False
    path = run_folder / "trials" / f"{number:04d}" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    put_artifact(storage, study_id, run_folder, path, trial_id=trial_id)
    return True


def confusion_png(confusion: NDArray[Any], classes: Sequence[str], *, title: str) -> bytes:
    """Counts in cells coloured by the share of their true class."""
    # Not at the top: the import takes most of a second, and a study is also read without it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from cellsearch.util.fonts import lettered

    k = len(classes)
    side = min(12.0, 1.8 + 0.55 * k)
    figure = Figure(figsize=(side + 0.6, side), dpi=80)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.26, 0.24, 0.70, 0.66))
    support = confusion.sum(axis=1, keepdims=True)
    share = confusion / support.clip(min=1)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for true in range(k):
        for predicted in range(k):
            dark = share[true, predicted] > 0.6
            axes.text(
                predicted,
                true,
                f"{int(confusion[true, predicted]):,}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
    axes.set_xticks(range(k), classes, rotation=90, fontsize=7)
    axes.set_yticks(range(k), classes, fontsize=7)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    axes.set_title(title, fontsize=8)
    file = BytesIO()
    with lettered(figure):
        figure.savefig(file, format="png")
    return file.getvalue()


def warm_up() -> None:
    """Import matplotlib off the driver's path; the first trial to end needs it."""

    def load() -> None:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401

    threading.Thread(target=load, daemon=True).start()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A line for each request would hide what the command says."""
        del format, args


def _guarded(app: WSGIApplication, hosts: KnownHosts) -> WSGIApplication:
    """The dashboard asks no password, and changes and deletes what it is told to."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refused = refusal_of(
            environ["REQUEST_METHOD"],
            environ.get("HTTP_HOST", ""),
            origin=environ.get("HTTP_ORIGIN"),
            fetch_site=environ.get("HTTP_SEC_FETCH_SITE"),
            hosts=hosts,
        )
        if refused is None:
            return app(environ, start_response)
        text = f"{refused.error}\n"
        if refused.foreign_name:
            text += "give cellsearch dashboard --allow-host NAME where the name is one of yours\n"
        status = f"{refused.status} {HTTPStatus(refused.status).phrase}"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode()]

    return answer


def listening(
    run_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    allow_host: Sequence[str] = (),
    storage_url: str | None = None,
) -> tuple[WSGIServer, str]:
    """optuna-dashboard bound to a port, to be served with ``serve_forever``; and its address.

    Args:
        run_folder: of the run.
        host: to listen at.
        port: Port to listen on; 0 takes a free one.
        allow_host: more names that it answers to.
        storage_url: of the study; by default what the run says.

    Raises:
        RunError: optuna-dashboard is not installed, the folder holds no run, or the port is taken.
        StorageError: the study's database does not answer.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise RunError(
            "dashboard needs the extra 'dashboard': pip install 'cellsearch[dashboard]'"
        ) from None
    storage = open_storage(storage_url or _storage_of(run_folder))
    app = _guarded(
        wsgi(storage, artifact_store=artifact_store(run_folder)), known_hosts(host, allow_host)
    )
    try:
        server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    except OSError as error:
        raise RunError(
            f"cannot listen at {host}:{port}: {(error.strerror or str(error)).lower()}; give "
            "another port: ",
            Setting("port"),
        ) from None
    shown = f"[{host}]" if ":" in host else host
    try:
        page = f"studies/{storage.get_study_id_from_name(run_folder.resolve().name)}"
    except KeyError:
        page = ""
    return server, f"http://{shown}:{server.server_port}/dashboard/{page}"


def _storage_of(run_folder: Path) -> str:
    """The storage that ``run.json`` names, or the run's own file."""
    try:
        record = json.loads((run_folder / "run.json").read_text())
        named = record["config"]["storage"]
    except (OSError, ValueError, KeyError, TypeError):
        named = None
    own = run_folder / "study.db"
    if named is None and not own.is_file():
        raise RunError(f"{run_folder} is not the folder of a run: it holds no study")
    return str(named) if named else f"sqlite:///{own.resolve()}"
