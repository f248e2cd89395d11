"""A search repeated: inside each of K outer folds, or on R newly drawn hold-outs.

runs/jurkat-2026-11-21-1/
  nested.json    what was asked, and which kind of repetition
  outer-1/       a run like any other, whose hold-out is the first outer fold (or repeat-1/)
  summary.json   the estimate, written when all of them are done

An outer fold's cells have no part in choosing or training the model that predicts them, so the
pooled figures are of the whole procedure, search included (Varma & Simon 2006, BMC Bioinformatics
7:91; Cawley & Talbot 2010, JMLR 11:2079). They are not of one model, and no verdict is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cellsearch.card.card import ModelCard
from cellsearch.card.metrics import Figures
from cellsearch.card.predictions import predictions_of
from cellsearch.data.dataset import CellDataset
from cellsearch.data.plan import FOLDS
from cellsearch.errors import MismatchError, RunError
from cellsearch.run.check import Checked, check_cells, drawn_soundly
from cellsearch.run.config import IDENTITY, NestedRequest, RunConfig
from cellsearch.run.folder import (
    REQUEST,
    SUMMARY,
    new_folder,
    read_record,
    read_request,
    replace_text,
    require_same_storage,
)
from cellsearch.run.history import card_of, damage_to
from cellsearch.run.inputs import Given, cells_and_duplicates
from cellsearch.run.looks import looks_of
from cellsearch.run.observer import Silent
from cellsearch.run.search import Run, SearchResult
from cellsearch.stats.evaluation import Estimate, Evaluation, as_json, evaluate
from cellsearch.stats.groups import group_codes
from cellsearch.stats.intervals import Interval
from cellsearch.stats.metrics import METRICS, Metric, metric_named
from cellsearch.stats.predictions import Predictions
from cellsearch.stats.wording import difference, interval
from cellsearch.tune.looks import Looks, caution, together
from cellsearch.util.messages import Message, Setting, joined

if TYPE_CHECKING:
    from cellsearch.data.splits import Splits
    from cellsearch.run.observer import RunObserver
    from cellsearch.space.search_space import SearchSpace


@dataclass(frozen=True)
class NestedResult:
    """What repeated searches found.

    Attributes:
        folder: of all of them.
        runs: folders of the finished ones, in order.
        summary: None while some are missing.
        interrupted: ``resume(folder)`` goes on.
    """

    folder: Path
    runs: tuple[Path, ...]
    summary: NestedSummary | None
    interrupted: bool


def nested_search(
    config: RunConfig,
    *,
    outer: int | None = None,
    repeats: int | None = None,
    out: Path | None = None,
    runs: Path = Path("runs"),
    cells: CellDataset | None = None,
    space: SearchSpace | None = None,
    observer: RunObserver | None = None,
    command: str | None = None,
) -> NestedResult:
    """Repeat a whole search; caches of cells, features and generators are shared.

    Args:
        config: of each search; ``outer`` sets its hold-out.
        outer: K outer folds, each of them the hold-out of one search.
        repeats: R searches, each on a hold-out drawn by the next seed.
        out: folder; one that holds an unfinished request like this is gone on with.
        runs: where a new folder is made when ``out`` is not given.
        cells: in place of those that ``config.dataset`` names.
        space: in place of the one that ``config.space`` names.
        observer: who watches.
        command: what was typed.

    Raises:
        RunError: options that do not go together.
        MismatchError: ``out`` holds another request.
        SplitError: a class has too few cells for the outer folds.
    """
    observer = observer or Silent()
    request = NestedRequest.of(config, outer=outer, repeats=repeats)
    folder = out or new_folder(config, runs)
    begun = (folder / REQUEST).exists()
    if begun:
        old = read_request(folder)
        _require_same(old, request, folder)
        config = request.config.changed(accept=(*old.config.accept, *request.config.accept))
        request = request.model_copy(update={"id": old.id, "config": config})
    elif folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} holds other files; name a new folder: ", Setting("out", "FOLDER"))
    checked, splits = _sound(request, folder, cells, observer, begun=begun)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / REQUEST, request.model_dump_json(indent=2) + "\n")
    done: list[Path] = []
    for number in range(request.times):
        own = request.folder(folder, number)
        if not _finished(own):
            observer.message(f"{own.name} of {request.times}")
            config = request.config_of(number)
            run = Run.of(
                config,
                out=own,
                given=Given.of(config, cells, space, observer),
                splits=splits[number] if splits else None,
                checked=checked,
                observer=observer,
                command=command,
            )
            result = run.execute()
            if result.interrupted:
                return NestedResult(folder, tuple(done), None, interrupted=True)
            _require_card(result)
        done.append(own)
    summary = summarise(done, request)
    summary.save(folder)
    return NestedResult(folder, tuple(done), summary, interrupted=False)


def resume_nested(
    folder: Path, *, observer: RunObserver | None = None, **changes: Any
) -> NestedResult:
    """Go on with interrupted searches; ``changes`` as for ``run.resume``."""
    request = read_request(folder)
    require_same_storage(request.config, changes.get("storage"))
    config = request.config.changed(**changes)
    outer = request.times if request.kind == "outer" else None
    repeats = request.times if request.kind == "repeats" else None
    return nested_search(config, outer=outer, repeats=repeats, out=folder, observer=observer)


def _sound(
    request: NestedRequest,
    folder: Path,
    cells: CellDataset | None,
    observer: RunObserver,
    *,
    begun: bool,
) -> tuple[Checked, Sequence[Splits]]:
    """The check of the cells, made once for all searches, and the splits of the outer folds.

    The splits are drawn alike each time; none where each search draws its own. Searches that were
    ``begun`` are not stopped by what the check finds.
    """
    from cellsearch.data.outer_splits import draw_outer_splits

    config = request.config
    drawn_from, duplicates = cells_and_duplicates(
        config, request.folder(folder, 0), cells, observer
    )
    checked = check_cells(config, drawn_from, observer, named=cells is None, duplicates=duplicates)
    if begun:
        checked = replace(checked, errors=())

    def draw() -> Sequence[Splits]:
        if request.kind == "repeats":
            return ()
        return draw_outer_splits(
            drawn_from,
            outer=request.times,
            folds=config.folds or FOLDS,
            seed=config.seed,
            rare="keep" if config.rare == "keep" else "refuse",
            duplicates=checked.duplicates,
        )

    return checked, drawn_soundly(drawn_from.name, checked, config.accept, draw)


def _finished(folder: Path) -> bool:
    ended = (folder / "run.json").is_file() and read_record(folder).state == "finished"
    return ended and not damage_to(folder)


def _require_card(result: SearchResult) -> None:
    if result.card is None:
        raise RunError(f"{result.folder} ended without a card")


def _require_same(old: NestedRequest, new: NestedRequest, folder: Path) -> None:
    differences = [
        Message.of(f"{name}: was {getattr(old.config, name)!r}, is {getattr(new.config, name)!r}")
        for name in IDENTITY
        if getattr(old.config, name) != getattr(new.config, name)
    ]
    if (old.kind, old.times) != (new.kind, new.times):
        was, now = Setting(old.kind, old.times), Setting(new.kind, new.times)
        differences.append(Message.of("was ", was, ", is ", now))
    if differences:
        raise MismatchError(
            f"{folder} was started with other settings; name another folder with ",
            Setting("out", "FOLDER"),
            ", or undo: ",
            joined(differences, "; "),
        )


@dataclass(frozen=True)
class OneSearch:
    """One of the searches on its hold-out.

    Attributes:
        name: of its folder.
        trial: the winner.
        cells: of the hold-out.
        winner: each metric of the winner.
        baseline: each metric of trial 0; empty where it has none.
        development: cells that its final model was trained on.
    """

    name: str
    trial: int
    cells: int
    winner: dict[str, float]
    baseline: dict[str, float]
    development: int


class NestedSummary(BaseModel):
    """``summary.json``: the estimate of the whole procedure.

    Attributes:
        format_version: 1.
        kind: ``outer`` or ``repeats``.
        metric: that the searches maximised.
        headline: the estimate in one sentence, without a verdict.
        scored_before: of the cells of all hold-outs, how many were scored by 0, 1, ... other runs
            before; empty where that is not known.
        intervals_by: ``group`` or ``cell``.
        pooled: figures of all cells, each predicted once, with intervals by cells (by groups
            where there are groups); None for repeated hold-outs, which overlap.
        means: of repeated hold-outs the mean of the searches, of outer folds the pooled figure;
            the interval also holds what another search, trained anew, would differ by.
        differences: winner minus baseline, mean of the searches with its interval; empty where a
            search has no baseline.
        searches: one line for each.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    format_version: Literal[1] = 1
    kind: Literal["outer", "repeats"]
    metric: Metric
    headline: str
    scored_before: tuple[int, ...] = ()
    intervals_by: Literal["cell", "group"] = "cell"
    pooled: Figures | None = None
    means: dict[str, Estimate] = {}
    differences: dict[str, Estimate] = {}
    searches: tuple[OneSearch, ...]

    def save(self, folder: Path) -> None:
        """Write ``summary.json``, whole or not at all."""
        replace_text(folder / SUMMARY, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def of(cls, folder: Path) -> NestedSummary | None:
        """What ``save`` wrote; None where it is missing or damaged."""
        try:
            return cls.model_validate_json((folder / SUMMARY).read_bytes())
        except (OSError, ValidationError):
            return None


def summarise(runs: Sequence[Path], request: NestedRequest) -> NestedSummary:
    """Read the cards of finished runs.

    Raises:
        RunError: a cell is predicted twice by outer folds, or not all cells are there.
    """
    searches = tuple(_one(run) for run in runs)
    looks = together(looks_of(run) or Looks() for run in runs)
    metric = metric_named(request.config.metric)
    differences = _differences(searches, overlapping=request.kind == "repeats")
    if request.kind == "repeats":
        means = {
            name: _mean([each.winner[name] for each in searches], searches) for name in METRICS
        }
        what = f"mean of {len(searches)} newly drawn hold-outs"
        return NestedSummary(
            kind="repeats",
            metric=metric,
            headline=_headline(
                metric,
                means[metric],
                "corrected resampled t",
                what + _against_baseline(differences.get(metric)),
                looks,
            ),
            scored_before=looks.times,
            means={name: _rounded(each) for name, each in means.items()},
            differences={name: _rounded(each) for name, each in differences.items()},
            searches=searches,
        )
    dataset = CellDataset.open(read_record(runs[0]).dataset_folder)
    parts = [predictions_of(card_of(run), "holdout") for run in runs]
    pooled = _pooled(parts, dataset, seed=request.config.seed)
    by: Literal["cell", "group"] = "cell" if dataset.groups is None else "group"
    what = (
        f"{pooled.cells:,} cells, each predicted once by a search that never saw it "
        f"({len(searches)} outer folds)"
    )
    means = {
        name: _between(pooled.metrics[name], [each.winner[name] for each in searches])
        for name in METRICS
    }
    return NestedSummary(
        kind="outer",
        metric=metric,
        headline=_headline(
            metric,
            means[metric],
            f"over {by}s and searches",
            what + _against_baseline(differences.get(metric)),
            looks,
        ),
        scored_before=looks.times,
        intervals_by=by,
        pooled=Figures.model_validate(as_json(pooled)),
        means={name: _rounded(each) for name, each in means.items()},
        differences={name: _rounded(each) for name, each in differences.items()},
        searches=searches,
    )


def _headline(metric: Metric, found: Estimate, how: str, what: str, looks: Looks) -> str:
    said = (
        f"{metric.replace('_', ' ')} {found.value:.3f} (95 % interval {interval(found)}, {how}): "
        f"{what}"
    )
    more = caution(looks)
    return f"{said}; {more}" if more else said


def _against_baseline(found: Estimate | None) -> str:
    if found is None:
        return ""
    return f"; against the baseline {difference(found)}"


def _differences(searches: Sequence[OneSearch], *, overlapping: bool) -> dict[str, Estimate]:
    """Winner minus baseline, mean of the searches, each on its own hold-out.

    Of outer folds, which share no cell, by Student's t over the searches: it holds what cells and
    training anew move a difference by. Of repeated hold-outs, by ``_mean``.
    """
    if len(searches) < 2 or not all(each.baseline for each in searches):
        return {}
    found: dict[str, Estimate] = {}
    for name in METRICS:
        apart = [each.winner[name] - each.baseline[name] for each in searches]
        found[name] = _mean(apart, searches) if overlapping else _mean(apart, ())
    return found


def _between(pooled: Estimate, values: Sequence[float]) -> Estimate:
    """A pooled figure with the wider of two intervals: over cells, and over searches.

    The bootstrap of cells holds the networks fixed. Student's t over the searches' own figures
    also holds what another search and another training would move.
    """
    from scipy.stats import t

    count, of_cells = len(values), pooled.interval
    if count < 2 or of_cells is None:
        return pooled
    reach = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / count**0.5
    return Estimate(
        pooled.value,
        min(of_cells.low, max(-1.0, pooled.value - reach)),
        max(of_cells.high, min(1.0, pooled.value + reach)),
    )


def _rounded(found: Estimate) -> Estimate:
    within = found.interval
    rounded = within and Interval(round(within.low, 6), round(within.high, 6))
    return Estimate.of(round(found.value, 6), rounded)


def _one(run: Path) -> OneSearch:
    card = ModelCard.load(run / "card")
    holdout = card.figures.hold_out

    def values(side: Figures | None) -> dict[str, float]:
        return {name: side.metrics[name].value for name in METRICS} if side else {}

    return OneSearch(
        name=run.name,
        trial=int(card.figures.search.winner or 0),
        cells=holdout.winner.cells,
        winner=values(holdout.winner),
        baseline=values(holdout.baseline),
        development=int(card.config.dataset.cells) - holdout.winner.cells,
    )


def _pooled(parts: Sequence[Predictions], dataset: CellDataset, *, seed: int) -> Evaluation:
    ids = [name for part in parts for name in part.ids]
    if len(set(ids)) < len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise RunError(f"{len(twice)} cells are in two outer folds, such as {twice[0]}")
    not_estimable = parts[0].not_estimable
    asked = [name for name in dataset.classes if name not in not_estimable]
    wanted = int(np.isin(dataset.labels, [dataset.classes.index(name) for name in asked]).sum())
    if len(ids) != wanted:
        raise RunError(f"the outer folds hold {len(ids):,} cells, expected {wanted:,}")
    groups: NDArray[np.int64] | None = None
    if dataset.groups is not None:
        place = {name: n for n, name in enumerate(dataset.ids.tolist())}
        groups = group_codes(dataset.groups[[place[name] for name in ids]])
    return evaluate(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        dataset.classes,
        not_estimable=not_estimable,
        groups=groups,
        seed=seed,
    )


def _mean(values: Sequence[float], searches: Sequence[OneSearch]) -> Estimate:
    """Mean over hold-outs of ``searches`` that overlap, by the corrected resampled t interval.

    Nadeau & Bengio 2003 (Machine Learning 52:239), equation 13 and section 4: the variance of the
    mean is (1/R + n_test / n_train) s^2, since the training cells of two repeats overlap. Where
    ``searches`` is empty, no hold-out overlaps another and Student's t is taken.
    """
    from scipy.stats import t

    found = np.array(values)
    shares = [each.cells / max(1, each.development) for each in searches]
    share = float(np.mean(shares)) if shares else 0.0
    spread = float(found.std(ddof=1)) * float(np.sqrt(1.0 / len(found) + share))
    half = float(t.ppf(0.975, len(found) - 1)) * spread
    mean = float(found.mean())
    return Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half))
