"""The ladder: which trial is trained further, which recipe is drawn, and what the time allows."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cellsearch.data.splits import draw_splits
from cellsearch.space.recipe import Recipe
from cellsearch.tune.clock import CARD_SHARE, Clock
from cellsearch.tune.ladder import (
    DRAW_UNTIL,
    HALF_UNTIL,
    Climber,
    Plan,
    Sent,
    Step,
    Time,
    next_step,
)
from cellsearch.tune.rungs import RUNGS, climbs, cost_ratio, shortened, training_cells

from conftest import squares

LADDER = {"model.family": "cnn", "train.epochs": 40, "train.batch_size": 32}


def never(_: Climber, __: Climber) -> bool:
    return False


def always(_: Climber, __: Climber) -> bool:
    return True


def short(number: int, loss: float, family: str = "cnn", seconds: float = 0.0) -> Climber:
    return Climber(number, family, 1, loss, half_seconds=seconds, full_seconds=2 * seconds)


def test_recipes_are_drawn_until_their_places_are_taken() -> None:
    waiting = [short(1, 0.5)]
    sent = Sent(short=1)
    assert next_step(waiting, sent, places=2, time=None, close=never) == Step("draw")
    step = next_step(waiting, sent, places=0, time=None, close=never)
    assert step == Step("train", 1, rung=2)


def test_the_plan_is_kept_and_the_best_go_first() -> None:
    waiting = [short(n, loss) for n, loss in enumerate([0.9, 0.4, 0.7, 0.5, 0.8, 0.6], 1)]
    above: list[Climber] = []
    while True:
        sent = Sent(short=6, half=tuple(above))
        step = next_step(waiting, sent, places=0, time=None, close=never)
        if step.kind == "wait":
            break
        assert step.rung == 2
        above += [each for each in waiting if each.number == step.number]
        waiting = [each for each in waiting if each.number != step.number]
    assert [each.number for each in above] == [2, 4]
    assert Plan.of(6) == Plan(6, 2, 1)
    assert str(Plan.of(24)) == "24 networks short, 8 half, 3 full"


def test_after_the_half_trainings_the_best_is_trained_in_full() -> None:
    half = [Climber(2, "cnn", 2, 0.4), Climber(4, "cnn", 2, 0.3)]
    sent = Sent(short=6, half=(short(2, 0.5), short(4, 0.4)))
    assert next_step(half, sent, places=0, time=None, close=never) == Step("train", 4)
    one = Sent(short=6, half=sent.half, full=(half[1],))
    assert next_step(half[:1], one, places=0, time=None, close=never).kind == "wait"


def test_one_place_is_kept_for_each_family() -> None:
    sent = Sent(short=3, half=(short(1, 0.3),))
    waiting = [short(2, 0.4), short(3, 0.9, "vit")]
    assert next_step(waiting, sent, places=0, time=None, close=never) == Step("train", 3, rung=2)


def test_who_is_as_good_as_the_last_gets_a_place_of_its_own_but_not_everybody() -> None:
    above = (short(1, 0.30), short(2, 0.31))
    waiting = [short(3, 0.32), short(4, 0.33)]
    sent = Sent(short=6, half=above)
    step = next_step(waiting, sent, places=0, time=None, close=always)
    assert step == Step("train", 3, rung=2)
    full = Sent(short=6, half=(*above, waiting[0]))
    assert next_step(waiting[1:], full, places=0, time=None, close=always).kind == "wait"


def test_with_a_time_limit_drawing_ends_in_time_and_what_does_not_fit_is_not_begun() -> None:
    waiting = [short(1, 0.3, seconds=100.0), short(2, 0.4, seconds=10.0)]
    sent = Sent(short=4)
    early = Time(used=DRAW_UNTIL / 2, left=500.0)
    assert next_step(waiting, sent, places=None, time=early, close=never) == Step("draw")
    later = Time(used=DRAW_UNTIL, left=500.0)
    step = next_step(waiting, sent, places=None, time=later, close=never)
    assert step == Step("train", 1, rung=2)
    late = Time(used=DRAW_UNTIL, left=60.0)
    step = next_step(waiting, sent, places=None, time=late, close=never)
    assert step == Step("train", 2, rung=2), "300 s do not fit into 60"


def test_late_a_half_trained_network_goes_before_one_more_half_training() -> None:
    waiting = [short(1, 0.3), Climber(2, "cnn", 2, 0.4, full_seconds=30.0)]
    sent = Sent(short=4, half=(short(2, 0.4),))
    late = Time(used=HALF_UNTIL, left=60.0)
    assert next_step(waiting, sent, places=None, time=late, close=never) == Step("train", 2)


def test_where_only_a_full_training_fits_the_best_network_goes_without_a_half_one() -> None:
    waiting = [short(1, 0.4, seconds=20.0), short(2, 0.3, seconds=20.0)]
    late = Time(used=DRAW_UNTIL, left=50.0)
    sent = Sent(short=2)
    assert next_step(waiting, sent, places=None, time=late, close=never) == Step("train", 2)
    taken = Sent(short=2, full=(waiting[1],))
    step = next_step(waiting[:1], taken, places=None, time=late, close=never)
    assert step == Step("draw_quick")


def test_the_rest_of_the_time_goes_to_families_of_seconds() -> None:
    late = Time(used=0.9, left=5.0)
    step = next_step(
        [short(1, 0.3, seconds=50.0)], Sent(short=1), places=None, time=late, close=never
    )
    assert step == Step("draw_quick")
    step = next_step([], Sent(), places=0, time=late, close=never)
    assert step == Step("wait")


def test_a_short_training_compresses_what_counts_in_epochs() -> None:
    params = LADDER | {
        "optim.schedule": "step",
        "optim.decay_epochs": 16,
        "train.patience": 8,
    }
    recipe = Recipe.from_params(params)
    found = shortened(recipe, RUNGS[0], 32 * 1000)
    assert (found.train.epochs, found.optim.decay_epochs, found.train.patience) == (10, 4, 2)
    assert found.model_copy(update={"train": recipe.train, "optim": recipe.optim}) == recipe
    few = shortened(recipe, RUNGS[0], 32 * 5)
    assert few.train.epochs == 20, "100 steps at least"
    assert shortened(recipe, RUNGS[0], 32).train.epochs == 40, "never more than in full"


def test_only_networks_that_a_short_training_makes_cheaper_climb() -> None:
    recipe = Recipe.from_params(LADDER)
    assert climbs(recipe, 32 * 10)
    assert not climbs(recipe, 32 * 7), "100 steps are 15 of its 40 epochs"
    assert not climbs(Recipe.from_params({"model.family": "logreg"}), 10_000)


def test_rare_classes_are_whole_on_the_first_rung_and_common_ones_capped() -> None:
    cells = squares(counts=(200, 20, 12))
    splits = draw_splits(cells, folds=2, holdout=0.2, seed=0, duplicates=())
    found = training_cells(splits, cells.labels, RUNGS[0], seed=0)
    for fold in range(2):
        whole = splits.training(fold)
        assert np.isin(found[fold], whole).all()
        counts = np.bincount(cells.labels[found[fold]])
        before = np.bincount(cells.labels[whole])
        median = np.median(before)
        assert counts.tolist() == [4 * median, before[1], before[2]]
        assert before[0] > 4 * median
    again = training_cells(splits, cells.labels, RUNGS[0], seed=0)
    assert all(np.array_equal(found[k], again[k]) for k in range(2))
    assert sorted(training_cells(splits, cells.labels, RUNGS[1], seed=0)) == [0, 1]


def test_what_a_full_training_costs_follows_from_a_short_one() -> None:
    recipe = Recipe.from_params(LADDER)
    ratio = cost_ratio(recipe, RUNGS[0], cells=6400, rung_cells=3200, folds=5, last=None)
    assert ratio == pytest.approx(5 * 40 * 2 / (2 * 10))
    half = cost_ratio(recipe, RUNGS[0], cells=6400, rung_cells=3200, folds=5, last=RUNGS[1])
    assert half == pytest.approx(2 * 20 * 2 / (2 * 10))


def test_a_clock_keeps_time_for_the_final_fits_and_the_card() -> None:
    assert Clock(None).end() is None
    clock = Clock(100.0, began=1000.0)
    assert clock.end() == pytest.approx(1100 - 100 * CARD_SHARE)
    clock.completed(0, 0.5, 8.0, baseline=True)
    clock.completed(3, 0.6, 4.0)
    assert clock.end() == pytest.approx(1100 - 100 * CARD_SHARE - 1.25 * (8 + 4))
    assert clock.end(10.0) == pytest.approx(1100 - 100 * CARD_SHARE - 1.25 * (8 + 10))
    assert clock.late
    now = Clock(100.0, began=time.time() - 30.0).time()
    assert now is not None
    assert now.used == pytest.approx(30 / 75, abs=0.05)
    assert now.left == pytest.approx(45, abs=5)
