"""What a user gets in M minutes on a real set, beside a script by hand, a paper's recipe, rung 0.

    python benchmarks/quality.py wbc --minutes 10 --out benchmarks/results/quality-wbc-10m.txt

All candidates have the same locked hold-out and the same folds, those of ``cellsearch run``:

ours      ``cellsearch run --time Mm``, the command as typed, and what its card says
hand      a Ray Tune script with M minutes (handwritten_search.py)
seed      one recipe of a paper, over the folds and refitted; not bounded by time
rung0     logistic regression on measured features, on those of a frozen network, and their mean

ours, seed and rung0 decide by the effective prior, the script by hand by its greatest output. Each
begins with an empty cache; seed and rung0 train with one thread. Differences are paired on the
cells of the hold-out, their intervals as in a card: drawn within classes, and by whole groups where
the set has groups, the wider of both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cheap_families import SETS
from numpy.typing import NDArray
from optuna.trial import TrialState

from cellsearch.card.metrics import CardMetrics
from cellsearch.card.predictions import predictions_of
from cellsearch.card.scoring import groups_of
from cellsearch.card.session import usable_cores
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits, draw_splits
from cellsearch.learn.evaluate import FoldResult, cross_validate
from cellsearch.learn.fit import fit
from cellsearch.learn.precision import Precision
from cellsearch.learn.threads import torch_threads
from cellsearch.run.config import RunConfig
from cellsearch.run.folder import read_record, storage_url, study_name
from cellsearch.run.inputs import cells_for
from cellsearch.run.observer import Silent
from cellsearch.space.recipe import Recipe, brief
from cellsearch.space.search_space import SearchSpace
from cellsearch.stats.comparison import compare
from cellsearch.stats.decision import Priors, decided
from cellsearch.stats.evaluation import Estimate, Evaluation, evaluate
from cellsearch.stats.metrics import Metric
from cellsearch.tune.rule import StudyRule
from cellsearch.tune.study import leaderboard, read_study
from cellsearch.tune.trial_predictions import out_of_fold

HERE = Path(__file__).parent
CANDIDATES = ("ours", "hand", "seed", "rung0")
SEED_RECIPE = str(HERE / "seeds" / "epfl_32px.yaml:12")
"""The best of all papers' recipes on the white blood cells, in results/seeds.txt."""
RUNG0: dict[str, dict[str, float | str]] = {
    "measured": {"model.features": "measured", "model.l2": 1.0},
    "backbone": {"model.features": "backbone", "model.l2": 100.0},
}
THREADS = 1
"""Of seed and rung 0, as a trial has. Two, on cores that others use too, took ten times as long."""
WORTH_HAVING = 0.05
MOST_TRIALS = 10_000
Classes = NDArray[np.int64]
Probabilities = NDArray[np.float32]
HALF = np.float32(0.5)


@dataclass(frozen=True, eq=False)
class Scene:
    """What all candidates share: the request, the cells, the splits, and a folder to work in."""

    config: RunConfig
    cells: CellDataset
    splits: Splits
    work: Path
    minutes: float
    hand_space: Path

    def evaluated(self, predicted: Classes) -> Evaluation:
        """Figures of (n,) classes given to the hold-out, as a card finds them."""
        held = self.splits.holdout
        return evaluate(
            self.cells.labels[held],
            predicted,
            self.cells.classes,
            not_estimable=tuple(self.splits.not_estimable),
            groups=groups_of(self.cells, held),
            seed=self.config.seed,
        )

    def rule(self, metric: Metric) -> StudyRule:
        """How probabilities become classes for a metric that asks for a tau."""
        known = np.array([name not in self.splits.not_estimable for name in self.cells.classes])
        return StudyRule.of(metric, self.splits.k, known)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one candidate gave.

    Attributes:
        name: in the table.
        seconds: from its start to its scored hold-out.
        pooled: balanced accuracy out-of-fold; bounds NaN where it is a mean of folds.
        predicted: (n,) classes of the hold-out in the order of the splits; None: it has nothing.
        weighted_f1: of the hold-out by the natural decision.
        facts: lines to print below the table.
    """

    name: str
    seconds: float
    pooled: Estimate | None = None
    predicted: Classes | None = None
    weighted_f1: float | None = None
    facts: tuple[str, ...] = ()


def scene_of(options: argparse.Namespace, work: Path) -> Scene:
    """Cells and splits as ``cellsearch run`` would draw them."""
    if options.set == "jurkat":
        given = {"dataset": "jurkat", "mirror": options.data / "mlcp"}
    else:
        folder, reader = SETS[options.set]
        given = {"dataset": str(options.data / folder / "labels.csv"), "options": reader}
    config = RunConfig.of(
        **given, rare="drop", seed=options.seed, budget=None, seconds=60 * options.minutes
    )
    with own_cache(work / "cache-shared"):
        cells = cells_for(config, None, None, Silent())
    splits = draw_splits(cells, folds=config.folds, holdout=config.holdout, seed=config.seed)
    return Scene(config, cells, splits, work, options.minutes, options.hand_space)


@contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keep what cellsearch caches in this folder, so that no candidate finds another's features."""
    before = os.environ.get("CELLSEARCH_CACHE")
    os.environ["CELLSEARCH_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("CELLSEARCH_CACHE")
        if before is not None:
            os.environ["CELLSEARCH_CACHE"] = before


def ours(scene: Scene) -> list[Outcome]:
    """The command as a user types it, and what its run folder holds."""
    config, run = scene.config, scene.work / "run"
    command = [sys.executable, "-m", "cellsearch", "run", "--dataset", config.dataset]
    for name, value in config.options.items():
        command += ["--option", f"{name}={value}"]
    if config.mirror is not None:
        command += ["--from", str(config.mirror)]
    command += ["--space", "default", "--time", f"{60 * scene.minutes:g}s"]
    command += ["--rare", config.rare, "--seed", str(config.seed), "--out", str(run)]
    typed, began = datetime.now(UTC), time.monotonic()
    with own_cache(scene.work / "cache-ours"):
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.monotonic() - began
    if ended.returncode:
        said = ended.stderr.strip().splitlines()[-3:]
        return [Outcome("ours", seconds, facts=("gave no model: " + " / ".join(said),))]
    require_same_splits(scene, run)
    metrics = CardMetrics.read(run / "card")
    predicted = holdout_of(run, scene)
    told = metrics.hold_out.winner.metrics["balanced_accuracy"]
    found = scene.evaluated(predicted).metrics["balanced_accuracy"]
    if abs(told.value - found.value) > 1e-5:
        raise SystemExit(f"{run}: the card says {told.value}, its predictions {found.value}")
    natural = metrics.decisions["natural"].metrics["weighted_f1"]
    return [
        Outcome(
            "ours",
            seconds,
            metrics.out_of_fold.winner.metrics["balanced_accuracy"],
            predicted,
            natural.value,
            (
                f"hold-out weighted F1, natural decision: {shown(natural)}",
                *story(run, metrics, typed, seconds),
            ),
        )
    ]


def require_same_splits(scene: Scene, run: Path) -> None:
    """End unless the run's frozen splits are those of all candidates."""
    theirs = Splits.load(run / "splits.json", scene.cells)  # refuses other cells
    if theirs.digest() != scene.splits.digest():
        raise SystemExit(f"{run}: the run drew other splits than this benchmark")


def holdout_of(run: Path, scene: Scene) -> Classes:
    """(n,) classes that the card's model gave, in the order of the splits."""
    given = predictions_of(run / "card", "holdout")
    place = {name: at for at, name in enumerate(given.ids)}
    held = scene.splits.holdout
    order = np.array([place[str(name)] for name in scene.cells.ids[held]])
    own = [scene.cells.classes.index(name) for name in given.classes]
    if sorted(place.values()) != sorted(order) or not np.array_equal(
        np.take(own, given.labels[order]), scene.cells.labels[held]
    ):
        raise SystemExit(f"{run}: predictions.csv holds other cells than the hold-out")
    return np.asarray(np.take(own, given.predicted[order]), np.int64)


def story(run: Path, metrics: CardMetrics, typed: datetime, seconds: float) -> Iterator[str]:
    """What the search did with its time, from its study; seconds since the command."""
    record = read_record(run)
    study = read_study(storage_url(record.config, run), study_name(record, run))
    rows = {row.number: row for row in leaderboard(study)}
    winner = rows[metrics.search.winner or 0]
    family = winner.recipe.model.family
    yield f"winner: trial {winner.number}, family {family}: {brief(winner.recipe)}"
    states = [row.state for row in rows.values()]
    yield "trials: " + ", ".join(
        f"{states.count(name)} {word}"
        for name, word in (
            ("COMPLETE", "complete"),
            ("PRUNED", "pruned"),
            ("FAIL", "failed"),
            ("RUNNING", "unfinished"),
        )
    )

    def since(moment: datetime) -> float:
        # Optuna writes local times without a zone.
        return (moment.astimezone(UTC) - typed).total_seconds()

    done = sorted(
        (since(trial.datetime_complete), trial.value, trial.number)
        for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if trial.datetime_complete is not None and trial.value is not None
    )
    yield f"first trial complete after {done[0][0]:.0f} s"
    final = max(score for _, score, _ in done)
    worth = next(each for each in done if each[1] >= final - WORTH_HAVING)
    begun = since(datetime.fromisoformat(record.created))
    searched = since(
        datetime.fromisoformat(json.loads((run / "holdout.json").read_text())["scored"])
    )
    yield (
        f"first model worth having ({worth[1]:.3f}, within {WORTH_HAVING} of the final "
        f"{final:.3f}): trial {worth[2]} after {worth[0]:.0f} s, {worth[0] / seconds:.0%} of the "
        f"wall and {worth[0] / searched:.0%} of the time to the end of the search"
    )
    paths = [*run.glob("trials/*/fold-*.npz"), *run.glob("trials/*/rung-*/fold-*.npz")]
    folds = [FoldResult.load(path) for path in sorted(paths)]
    busy = sum(fold.seconds for fold in folds)
    slots = record.config.slots or max(1, (os.cpu_count() or 1) // (record.config.threads or 1))
    yield (
        f"search from {begun:.0f} s to {searched:.0f} s, then refits, figures and card to "
        f"{seconds:.0f} s"
    )
    yield (
        f"{busy:.0f} s in {len(folds)} folds of trials, "
        f"{busy / slots / (searched - begun):.0%} of the search's time on {slots} slots"
    )
    yield "course of the best out-of-fold score: second, score, trial"
    best = -np.inf
    for when, score, number in done:
        if score > best:
            best = score
            yield f"  {when:6.0f}  {score:.3f}  {number:3d}: {brief(rows[number].recipe)}"


def hand(scene: Scene) -> list[Outcome]:
    """The script by hand, on the cells of the same splits."""
    cells, splits = scene.cells, scene.splits
    fold_of = np.full(len(cells), -1)
    for fold, part in enumerate(splits.folds):
        fold_of[part] = fold
    for name, chosen in (("development", splits.development), ("holdout", splits.holdout)):
        folder = scene.work / name
        folder.mkdir()
        np.save(folder / "images.npy", cells.images[chosen])
        np.save(folder / "labels.npy", cells.labels[chosen])
    np.save(scene.work / "development" / "folds.npy", fold_of[splits.development])
    out = scene.work / "hand.json"
    command = [sys.executable, str(HERE / "handwritten_search.py"), str(scene.work / "development")]
    command += ["--holdout", str(scene.work / "holdout"), "--space", str(scene.hand_space)]
    command += ["--minutes", str(scene.minutes), "--trials", str(MOST_TRIALS)]
    command += ["--folds", str(splits.k), "--seed", str(scene.config.seed), "--out", str(out)]
    began = time.monotonic()
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(command, check=False, env=quiet, capture_output=True, text=True)
    seconds = time.monotonic() - began
    if ended.returncode:
        raise SystemExit(f"the script by hand failed:\n{ended.stderr[-2000:]}")
    facts = json.loads(out.read_text())
    tried = (
        f"{facts['trials']} trials begun, {facts['whole_trials']} with all folds, "
        f"{facts['folds_run']} folds; searched {facts['search_seconds']:.0f} s"
    )
    if facts["best"] is None:
        return [Outcome("hand", seconds, facts=(tried, "has nothing: no epoch ended in time"))]
    predicted = np.array(facts["holdout_predicted"], np.int64)
    refit = facts["total_seconds"] - facts["search_seconds"]
    of = f"{facts['best_folds']} of {splits.k} folds"
    if not facts["best_folds"]:
        of = f"{facts['best_epochs']} epochs of the first fold"
    score = facts["best_mean_fold_score"]
    return [
        Outcome(
            "hand",
            seconds,
            Estimate(score, np.nan, np.nan),
            predicted,
            scene.evaluated(predicted).metrics["weighted_f1"].value,
            (
                tried + f", refit {refit:.0f} s",
                f"best by {of}: {brief(Recipe.from_params(facts['best']))}",
            ),
        )
    ]


@dataclass(frozen=True, eq=False)
class Trained:
    """Folds of a recipe, and its refit's probabilities of the hold-out, with what they took."""

    folds: tuple[FoldResult, ...]
    holdout: Probabilities
    priors: Priors | None
    seconds: float

    def outcome(self, name: str, scene: Scene, *facts: str) -> Outcome:
        """Decided by the effective prior, as the trials of a run are."""
        rule, natural = scene.rule("balanced_accuracy"), scene.rule("weighted_f1")
        pooled = out_of_fold(self.folds, scene.cells, scene.splits, rule)
        figures = evaluate(
            pooled.labels,
            pooled.predicted,
            pooled.classes,
            not_estimable=pooled.not_estimable,
            groups=pooled.groups,
            seed=scene.config.seed,
        )
        alike = scene.evaluated(decided(self.holdout, natural.decision([self.priors])))
        return Outcome(
            name,
            self.seconds,
            figures.metrics["balanced_accuracy"],
            decided(self.holdout, rule.decision([self.priors])),
            alike.metrics["weighted_f1"].value,
            facts,
        )


def trained(recipe: Recipe, scene: Scene) -> Trained:
    """Over the folds, then on all development cells, as ``cellsearch run`` refits its winner."""
    began = time.monotonic()
    cells, splits, seed = scene.cells, scene.splits, scene.config.seed
    folds = tuple(cross_validate(recipe, cells, splits, seed=seed, threads=THREADS))
    precision = Precision.parse(folds[0].precision)
    with torch_threads(THREADS):
        final = fit(recipe, cells, splits.development, seed=seed, precision=precision)
        holdout = final.predict_proba(cells, splits.holdout)
    return Trained(folds, holdout, final.priors, time.monotonic() - began)


def seed_recipe(scene: Scene, named: str) -> list[Outcome]:
    """One given recipe of a paper: NAME, or NAME:N for the N-th."""
    name, _, number = named.partition(":")
    space = SearchSpace.load(name)
    recipe = (*space.starts, *space.whole)[int(number or 1) - 1]
    with own_cache(scene.work / "cache-seed"):
        found = trained(recipe, scene)
    return [found.outcome("seed", scene, f"{space.name}, recipe {number or 1}: {brief(recipe)}")]


def rung0(scene: Scene) -> list[Outcome]:
    """Logistic regression on both kinds of features, and the mean of the two."""
    with own_cache(scene.work / "cache-rung0"):
        measured, backbone = (
            trained(Recipe.from_params({"model.family": "logreg", **params}), scene)
            for params in RUNG0.values()
        )
    mean = Trained(
        tuple(
            replace(one, probabilities=HALF * (one.probabilities + other.probabilities))
            for one, other in zip(measured.folds, backbone.folds, strict=True)
        ),
        HALF * (measured.holdout + backbone.holdout),
        measured.priors,
        measured.seconds + backbone.seconds,
    )
    named = zip((*RUNG0, "mean"), (measured, backbone, mean), strict=True)
    return [each.outcome(f"rung0 {name}", scene) for name, each in named]


def shown(estimate: Estimate | None) -> str:
    """Value and interval."""
    if estimate is None:
        return "none"
    if np.isnan(estimate.low):
        return f"{estimate.value:.3f} (mean of folds)"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def report(scene: Scene, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Table, what is behind each row, and the paired differences."""
    cells, held = scene.cells, scene.splits.holdout
    groups = "" if cells.groups is None else f", {len(np.unique(cells.groups))} groups"
    counts = zip(cells.classes, cells.counts, strict=True)
    yield f"{cells.name}: {len(cells):,} cells{groups}; {scene.splits.describe()}"
    yield "classes: " + ", ".join(f"{name} {count:,}" for name, count in counts)
    yield "\nbalanced accuracy (95 %); weighted F1 of the hold-out by the natural decision"
    columns = f"{'':15}  {'out-of-fold':24}  {'hold-out':24}  {'weighted F1':>11}  {'seconds':>7}"
    yield columns
    for each in outcomes:
        figure, f1 = None, "none" if each.weighted_f1 is None else f"{each.weighted_f1:.3f}"
        if each.predicted is not None:
            figure = scene.evaluated(each.predicted).metrics["balanced_accuracy"]
        yield (
            f"{each.name:15}  {shown(each.pooled):24}  {shown(figure):24}  {f1:>11}  "
            f"{each.seconds:7.0f}"
        )
    first = outcomes[0]
    if first.name == "ours" and first.predicted is not None and len(outcomes) > 1:
        yield f"\nours less the other, hold-out balanced accuracy, paired, {len(held)} cells"
        for each in outcomes[1:]:
            if each.predicted is None:
                yield f"{each.name:15}  has nothing"
                continue
            found = compare(
                cells.labels[held],
                first.predicted,
                each.predicted,
                cells.classes,
                not_estimable=tuple(scene.splits.not_estimable),
                groups=groups_of(cells, held),
                seed=scene.config.seed,
            ).differences["balanced_accuracy"]
            yield f"{each.name:15}  {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    for each in outcomes:
        if each.facts:
            yield f"\n{each.name}"
            yield from (f"  {fact}" for fact in each.facts)


def machine() -> Iterator[str]:
    """Cores and vector units, versions, command, and what else ran."""
    lines = []
    if (facts := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in facts.read_text().splitlines()]
    named = {name.strip(): value.strip() for name, _, value in lines}
    flags = [each for each in named.get("flags", "").split() if each.startswith(("avx", "amx"))]
    yield (
        f"{usable_cores()} cores, {named.get('model name', platform.processor())}, "
        f"{' '.join(flags) or 'no AVX flags known'}"
    )
    commit = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()
    packages = ("torch", "ray", "optuna", "scikit-learn", "numpy")
    yield (
        f"cellsearch at {commit or 'no commit'}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
    )
    yield "python " + " ".join(sys.argv)
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f} before it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=[*SETS, "jurkat"])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=CANDIDATES)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--seed-recipe", default=SEED_RECIPE, metavar="NAME[:N]", help="N-th recipe of a space"
    )
    parser.add_argument("--hand-space", type=Path, default=HERE / "peer_space.yaml")
    parser.add_argument("--work", type=Path, help="keep run folder and caches in this new folder")
    parser.add_argument("--out", type=Path, help="write what is printed here too")
    options = parser.parse_args()
    said = list(machine())
    print(*said, sep="\n", flush=True)
    with TemporaryDirectory() as name:
        if options.work is not None:
            options.work.mkdir(parents=True)
        scene = scene_of(options, (options.work or Path(name)).resolve())
        steps: dict[str, Callable[[], list[Outcome]]] = {
            "ours": lambda: ours(scene),
            "hand": lambda: hand(scene),
            "seed": lambda: seed_recipe(scene, options.seed_recipe),
            "rung0": lambda: rung0(scene),
        }
        outcomes: list[Outcome] = []
        for candidate in CANDIDATES:
            if candidate in options.only:
                print(f"... {candidate}", file=sys.stderr, flush=True)
                outcomes += steps[candidate]()
        found = [*report(scene, outcomes), f"\nload {os.getloadavg()[0]:.1f} at the end"]
    print(*found, sep="\n", flush=True)
    if options.out is not None:
        options.out.write_text("\n".join([*said, *found]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
