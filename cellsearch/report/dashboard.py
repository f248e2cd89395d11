"""A run as Optuna's dashboard shows it: the study's note, the report, each trial's curves."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

import optuna
from sqlalchemy.exc import SQLAlchemyError

from cellsearch.card.readme import importance_section
from cellsearch.card.tables import metric_table
from cellsearch.errors import CellsearchError, RunError
from cellsearch.report.facts import RunFacts, gather
from cellsearch.report.tables import named
from cellsearch.report.write import REPORT, write_report
from cellsearch.run.folder import is_nested, nested_runs, read_record, storage_url, study_name
from cellsearch.space.recipe import Recipe
from cellsearch.tune import dashboard
from cellsearch.tune.attachments import artifacts_of, put_artifact, read_note, write_note
from cellsearch.tune.job import finished_folds
from cellsearch.tune.learning_curves import FILE
from cellsearch.tune.study import has_recipe, read_study, recipe_params
from cellsearch.util.markdown import table
from cellsearch.util.progress import Progress

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


BEGIN = "[//]: # (from here to the end mark, cellsearch writes this note anew)"
END = "[//]: # (end of what cellsearch writes)"
"""Markdown that is not shown; what a person writes outside of the two is kept."""


def open_dashboard(
    run: Path,
    *,
    host: str,
    port: int,
    allow_host: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> tuple[WSGIServer, str, str]:
    """Bind the dashboard to a port, then bring the study's note, report and curves up to date.

    Returns:
        The server, its address, and what could not be brought up to date; "" if all was.

    Raises:
        RunError: not the folder of one run, the extra is missing, or the port is taken.
        StorageError: the study's database does not answer.
    """
    if is_nested(run):
        named_runs = ", ".join(str(each) for each in nested_runs(run)) or "none has started yet"
        raise RunError(f"{run} holds repeated searches, each with its own study: {named_runs}")
    server, url = dashboard.listening(run, host=host, port=port, allow_host=allow_host)
    try:
        complaint = refresh(run, on_progress=on_progress)
    except BaseException:
        server.server_close()
        raise
    return server, url, complaint


def refresh(run: Path, *, on_progress: Progress | None = None) -> str:
    """Write what the dashboard of a run shows besides the trials; also of runs made long before.

    Returns:
        What could not be written; "" if all was.
    """
    try:
        record = read_record(run)
        study = read_study(storage_url(record.config, run), study_name(record, run))
        _trials(run, study, on_progress)
        facts = gather(run)
        report = _report(run, study, on_progress) if facts.ended else ""
        own = study_note(facts, study._study_id, report)
        storage, number = study._storage, study._study_id
        old = read_note(storage, number)
        write_note(storage, number, merged(old, own, facts.verdict))
    except (
        CellsearchError,
        OSError,
        SQLAlchemyError,
        optuna.exceptions.OptunaError,
    ) as error:
        # Whoever wants to look at trials is not kept from it.
        return f"note and report of the dashboard are not up to date: {error}"
    return ""


def study_note(facts: RunFacts, study: int, report: str) -> str:
    """Markdown: verdict, link to the report, headline figures, best trial, which choice mattered.

    Args:
        facts: of the run.
        study: its number in the storage.
        report: id of the report's artifact; empty where there is none.
    """
    lines = [f"**{facts.verdict[0].upper()}{facts.verdict[1:].rstrip('.')}.**", ""]
    if report:
        lines.append(f"- [The report of this run](/artifacts/{study}/{report}), one HTML file")
    else:
        lines.append(
            f"- the run has not ended; so far: `cellsearch report {shlex.quote(str(facts.folder))}`"
        )
    winner = facts.winner
    if winner is not None and winner.row.score is not None:
        where = f"/dashboard/studies/{study}/trials?numbers={winner.number}"
        lines.append(
            f"- best: [trial {winner.number}]({where}), out-of-fold "
            f"{named(facts.record.config.metric)} {winner.row.score:.4f}"
        )
    lines.append(f"- folder: `{facts.folder.resolve()}`")
    lines += [f"- missing: {each}" for each in facts.missing]
    text = "\n".join(lines) + "\n"
    if facts.card is not None:
        metrics = facts.card.metrics
        found = metric_table(metrics.hold_out, metrics.baseline("hold_out"))
        cells = metrics.hold_out.winner.cells
        text += f"\nHold-out, {cells:,} cells, 95 % intervals:\n\n"
        text += table(found)
        if facts.card.importance is not None:
            text += "\n" + importance_section(facts.card.importance, pictured=False)
    return text


def merged(old: str, own: str, verdict: str) -> str:
    """The note with our part written anew; what a person wrote beside it is kept."""
    ours = f"{BEGIN}\n\n{own.rstrip()}\n\n{END}\n"
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if begin and end:
        return f"{head}{ours.rstrip()}{tail}"
    # Runs made before the marks have a note that is ours as a whole.
    if not old.strip() or old.startswith(verdict):
        return ours
    return f"{ours}\n{old.lstrip()}"


def _report(run: Path, study: optuna.Study, on_progress: Progress | None) -> str:
    """The report as an artifact of the study, made where it is missing or older than its card."""
    file = run / REPORT
    made_of = (run / "card" / "metrics.json", run / "run.json")
    newest = max(path.stat().st_mtime for path in made_of)
    if not file.is_file() or file.stat().st_mtime < newest:
        write_report(run, on_progress=on_progress)
    return put_artifact(study._storage, study._study_id, run, file)


def _trials(run: Path, study: optuna.Study, on_progress: Progress | None) -> None:
    """Learning curves and a note of each trial that has ended and has none."""
    storage, number = study._storage, study._study_id
    ended = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and has_recipe(trial)
    ]
    for done, trial in enumerate(ended, start=1):
        if on_progress is not None:
            on_progress("learning curves of trials", done, len(ended))
        if not read_note(storage, number, trial._trial_id):
            write_note(storage, number, _trial_note(trial), trial._trial_id)
        if FILE in artifacts_of(storage, number, trial._trial_id):
            continue
        try:
            folds = finished_folds(run, trial.number, sorted(trial.intermediate_values))
        except RunError:
            # Nothing to draw of folds that are lost.
            continue
        dashboard.attach_curves(storage, number, trial._trial_id, run, folds, number=trial.number)


def _trial_note(trial: FrozenTrial) -> str:
    reason = trial.user_attrs.get("reason") or "no fold was finished"
    recipe = Recipe.from_params(recipe_params(trial))
    headline = f"trial {trial.number}, {trial.state.name.lower()}: {reason}\n"
    return f"{headline}\n{dashboard.recipe_note(recipe)}"
