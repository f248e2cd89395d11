"""One search from its lock to its leaderboard."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Container, Iterator
from importlib import import_module

import numpy as np
import optuna
from sqlalchemy.exc import SQLAlchemyError

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import RunError, StorageError
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.metrics import metric_named
from cellsearch.tune.backend import Backend
from cellsearch.tune.dashboard import warm_up
from cellsearch.tune.draw import Refuse
from cellsearch.tune.driver import Driver
from cellsearch.tune.interrupt import Interrupted, Interrupts
from cellsearch.tune.job import SearchJob
from cellsearch.tune.limits import Bounds, too_large
from cellsearch.tune.lock import driver_lock
from cellsearch.tune.pool import Pool
from cellsearch.tune.record import Record
from cellsearch.tune.rule import DECISION_FILE, StudyRule
from cellsearch.tune.storage import brief, open_storage, shown_url
from cellsearch.tune.store import RunFacts, Store
from cellsearch.tune.study import SearchOutcome, StudyFacts, open_study, outcome_of
from cellsearch.tune.watch import SearchObserver
from cellsearch.util.passwords import without_password


def search(
    job: SearchJob,
    space: SearchSpace,
    observer: SearchObserver,
    backend: Backend,
    *,
    left_out: Container[Recipe] = (),
    impossible: Refuse | None = None,
) -> SearchOutcome:
    """Search until the budget or the time is spent, or a signal comes; then what there is.

    Initial trials that are ``left_out`` cannot be made on this machine; of draws, ``impossible``
    says so.

    Raises:
        MismatchError: the study was begun with other cells, splits, space or metric.
        StorageError: its database does not answer.
        RunError: another driver holds the run, no draw lies within the limits, or every trial
            fails.
    """
    with driver_lock(job.run_folder), _answering(job.storage_url):
        dataset = CellDataset.open(job.dataset_folder)
        splits = Splits.load(job.splits_path, dataset)
        facts = StudyFacts(space.sha256, dataset.sha256, splits.sha256, job.metric)
        storage = open_storage(job.storage_url)
        study = open_study(storage, job.study_name, facts, run_folder=job.run_folder, seed=job.seed)
        store = Store(job.storage_url)
        run_id = store.record_run(_run_facts(job, space, dataset, facts))
        record = Record(study, store, run_id, job.run_folder, dataset.classes, job.metric)
        pool = Pool(
            dataset,
            splits,
            metric=job.metric,
            run_folder=job.run_folder,
            rule=_rule(job, dataset, splits, begun=bool(study.get_trials(deepcopy=False))),
        )
        refuse = _refuse(Bounds.of(space.limits), dataset, impossible)
        driver = Driver(job, space, record, pool, observer, refuse=refuse, left_out=left_out)
        if plan := driver.plan():
            observer.message(plan)
        warm_up()
        state = "failed"
        try:
            interrupted = _run(job, driver, backend)
            state = "interrupted" if interrupted else "searched"
            if not interrupted:
                driver.close()
            outcome = outcome_of(study, interrupted=interrupted, timed_out=driver.timed_out)
        finally:
            with contextlib.suppress(SQLAlchemyError):
                store.finish_run(run_id, state)
            store.close()
            storage.remove_session()
            storage.engine.dispose()
        if driver.stopped and outcome.best is None:
            raise RunError(driver.stopped)
        return outcome


@contextlib.contextmanager
def _answering(url: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        # Optuna's own words speak of a commit; what happened, such as a full disk, is the cause.
        cause = error.__cause__
        reason = cause if isinstance(cause, SQLAlchemyError) else error
        raise StorageError(
            f"storage {shown_url(url)} stopped answering: {brief(reason)}; finished trials are kept"
        ) from None


def _rule(job: SearchJob, dataset: CellDataset, splits: Splits, *, begun: bool) -> StudyRule:
    """The study's rule; a study of an older version keeps the one that it was begun with."""
    if begun or (job.run_folder / DECISION_FILE).exists():
        return StudyRule.load(job.run_folder)
    known = np.array([name not in splits.not_estimable for name in dataset.classes])
    rule = StudyRule.of(metric_named(job.metric), splits.k, known)
    rule.save(job.run_folder)
    return rule


def _run(job: SearchJob, driver: Driver, backend: Backend) -> bool:
    """Whether a signal broke the search off."""
    with Interrupts() as interrupts:
        try:
            if not driver.finished:
                backend.run(job, driver, interrupts)
        except Interrupted:
            return True
    return False


def _refuse(
    bounds: Bounds | None, dataset: CellDataset, impossible: Refuse | None
) -> Refuse | None:
    """What keeps networks beyond the limits, and what cannot be made here, out of the study."""
    if bounds is None or (bounds.parameters is None and bounds.multiply_adds is None):
        return impossible
    # It needs torch, some seconds; Ray's processes take as long to start.
    threading.Thread(target=import_module, args=("cellsearch.learn.cost",), daemon=True).start()
    channels, height, width = dataset.images.shape[1:]
    shape, classes = (channels, height, width), len(dataset.classes)

    def refuse(recipe: Recipe) -> str:
        reason = impossible(recipe) if impossible is not None else ""
        return reason or too_large(bounds, recipe, shape, classes)

    return refuse


def _run_facts(
    job: SearchJob, space: SearchSpace, dataset: CellDataset, facts: StudyFacts
) -> RunFacts:
    return RunFacts(
        name=job.run_folder.name,
        study_name=job.study_name,
        folder=str(job.run_folder),
        dataset=dataset.name,
        dataset_sha256=facts.dataset_sha256,
        splits_sha256=facts.splits_sha256,
        space=space.name,
        space_sha256=facts.space_sha256,
        metric=job.metric,
        seed=job.seed,
        command=" ".join(map(without_password, sys.argv)),
    )
