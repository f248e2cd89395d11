"""fit: learns, repeats itself, keeps out of the caller's way and fails with a reason."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import ConfigError, DataError, TrialError
from cellsearch.learn import step as step_module
from cellsearch.learn import training as training_module
from cellsearch.learn.cost import minutes_per_fold
from cellsearch.learn.fit import fit
from cellsearch.learn.inner_split import inner_split
from cellsearch.learn.precision import ALL, Precision, candidates, fastest, resolve_device
from cellsearch.learn.step import RunningMean, optimiser, scheduler
from cellsearch.space.recipe import Augment, Balance, CnnModel, Input, Loss, Optim, Recipe, Train
from cellsearch.stats.metrics import confusion, score

PLAIN = Precision("float32", channels_last=False)
SMALL = CnnModel(depth=2, width=8, kernel=(3, 3), reduce="average", head_layers=0, head=())
LEARNER = Recipe(
    model=SMALL.model_copy(update={"batch_norm": True}),
    optim=Optim(lr=0.02),
    train=Train(batch_size=16, epochs=12),
)
EVERYTHING = Recipe(
    model=CnnModel(
        depth=2,
        width=8,
        kernel=(4, 3),
        pooling="avg",
        batch_norm=True,
        residual=True,
        reduce="average",
        dropout=0.2,
    ),
    loss=Loss(kind="focal", weighting="sqrt", label_smoothing=0.1),
    augment=Augment(flip=True, rotate90=True, shift=1, brightness=0.2, blur=0.5, mixup=0.2),
    balance=Balance(method="mixed", strength=0.5),
    optim=Optim(name="nadam", lr=0.01, schedule="onecycle", weight_decay=1e-3),
    train=Train(batch_size=16, epochs=3, patience=2, weight_average=0.9),
    input=Input(normalise="image", test_flips=True),
)


def everyone(dataset: CellDataset) -> np.ndarray:
    return np.arange(len(dataset), dtype=np.int64)


def weights(predictor: Any) -> dict[str, torch.Tensor]:
    return dict(predictor.module.state_dict())


def same(first: Any, second: Any) -> bool:
    one, other = weights(first), weights(second)
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_to_tell_unseen_cells(tiny_saved: CellDataset) -> None:
    training = everyone(tiny_saved)[::2]
    unseen = everyone(tiny_saved)[1::2]
    predictor = fit(LEARNER, tiny_saved, training, seed=0, device="cpu")
    probabilities = predictor.predict_proba(tiny_saved, unseen)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    matrix = confusion(tiny_saved.labels[unseen], probabilities.argmax(axis=1), 3)
    assert score("balanced_accuracy", matrix) > 0.8
    assert predictor.epochs == len(predictor.history) == 12
    assert predictor.history[-1]["loss"] < predictor.history[0]["loss"] / 2
    assert predictor.images_per_second > 0
    assert not predictor.module.training
    assert predictor.parameters == sum(p.numel() for p in predictor.network.parameters())


@pytest.mark.parametrize("precision", ALL[:3], ids=str)
def test_the_same_seed_gives_the_same_weights(
    tiny_dataset: CellDataset, precision: Precision
) -> None:
    first, again, other = (
        fit(
            EVERYTHING,
            tiny_dataset,
            everyone(tiny_dataset),
            seed=s,
            device="cpu",
            precision=precision,
        )
        for s in (4, 4, 5)
    )
    assert same(first, again)
    assert not same(first, other)


def test_timing_a_precision_leaves_the_training_as_it_is(
    tiny_dataset: CellDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[Precision] = []

    def all_then_plain(step_of: Any, among: Any, **_: Any) -> Precision:
        for candidate in among:
            step_of(candidate)()
            timed.append(candidate)
        return PLAIN

    given = fit(
        EVERYTHING, tiny_dataset, everyone(tiny_dataset), seed=1, device="cpu", precision=PLAIN
    )
    monkeypatch.setattr(training_module, "fastest", all_then_plain)
    chosen = fit(EVERYTHING, tiny_dataset, everyone(tiny_dataset), seed=1, device="cpu")
    assert tuple(timed) == candidates(torch.device("cpu"))
    assert chosen.precision == PLAIN
    assert same(given, chosen)


def test_the_callers_random_numbers_stay_his_own(tiny_dataset: CellDataset) -> None:
    torch.manual_seed(9)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit(EVERYTHING, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


def test_all_precisions_predict_much_the_same(tiny_dataset: CellDataset) -> None:
    recipe = LEARNER.model_copy(update={"train": Train(batch_size=16, epochs=4)})
    everything = everyone(tiny_dataset)
    plain, *others = (
        fit(recipe, tiny_dataset, everything, seed=0, device="cpu", precision=p).predict_proba(
            tiny_dataset, everything
        )
        for p in ALL
    )
    for other in others:
        assert (plain.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.85


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_every_optimiser_and_schedule_learns(
    tiny_dataset: CellDataset, name: str, schedule: str
) -> None:
    recipe = LEARNER.model_copy(
        update={
            "optim": Optim(name=name, lr=0.02, schedule=schedule, weight_decay=1e-4),
            "train": Train(batch_size=16, epochs=5),
        }
    )
    found = fit(recipe, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu", precision=PLAIN)
    assert found.history[-1]["loss"] < 0.8 * found.history[0]["loss"]
    rates = [record["lr"] for record in found.history]
    assert (len(set(rates)) == 1) == (schedule == "constant")


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "sgd"])
def test_optimisers_without_guards_step_like_those_of_torch(name: str) -> None:
    optim = Optim(name=name, lr=0.1, weight_decay=0.01)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam}
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.01}
    if name == "nadam":
        options["decoupled_weight_decay"] = True
    if name == "sgd":
        options |= {"momentum": 0.9, "nesterov": True}
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    pairs = (
        (ours, optimiser(ours, optim)),
        (theirs, kinds.get(name, torch.optim.SGD)(theirs.parameters(), **options)),
    )
    for _ in range(4):
        for layer, steps in pairs:
            layer(torch.ones(2, 4)).square().sum().backward()
            with torch.no_grad():
                steps.step()
            steps.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert ours.weight.grad is None


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 10, 11, 30])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_schedules_of_any_length_stay_within_the_rate(schedule: str, steps: int) -> None:
    optim = Optim(lr=0.1, schedule=schedule)
    steps_of = optimiser(nn.Linear(2, 2), optim)
    rates = scheduler(steps_of, optim, steps=steps)
    for _ in range(steps):
        assert 0 <= steps_of.param_groups[0]["lr"] <= 0.1 + 1e-12
        steps_of.step()
        rates.step()


def test_the_running_mean_follows_weights_and_statistics() -> None:
    live = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    mean = RunningMean(live, 0.5)
    expected = live[0].weight.detach().clone()
    for step in range(8):
        with torch.no_grad():
            live[0].weight.add_(1.0)
        live(torch.randn(4, 2))
        mean.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * live[0].weight.detach()
    averaged = mean.module
    torch.testing.assert_close(averaged[0].weight.detach(), expected)
    assert not torch.equal(averaged[1].running_mean, live[1].running_mean)
    assert averaged[1].running_mean.abs().max() > 0
    assert averaged[1].num_batches_tracked == 8


@pytest.mark.parametrize("batch_size", [89, 16, 2, 200])
def test_a_last_batch_of_one_cell_is_left_out(tiny_dataset: CellDataset, batch_size: int) -> None:
    recipe = LEARNER.model_copy(update={"train": Train(batch_size=batch_size, epochs=1)})
    few = everyone(tiny_dataset)[-17:] if batch_size < 89 else everyone(tiny_dataset)
    found = fit(recipe, tiny_dataset, few, seed=0, device="cpu", precision=PLAIN)
    assert np.isfinite(found.history[0]["loss"])


def test_patience_keeps_the_best_epoch(
    tiny_dataset: CellDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = iter([0.4, 0.7, 0.6, 0.7, 0.5, 0.9])
    after_two: list[dict[str, torch.Tensor]] = []

    def watch(module: nn.Module, *_: Any) -> float:
        value = next(watched)
        if value == 0.7 and not after_two:
            after_two.append({k: v.clone() for k, v in module.state_dict().items()})
        return value

    monkeypatch.setattr(training_module, "_watch", watch)
    recipe = LEARNER.model_copy(update={"train": Train(batch_size=16, epochs=9, patience=3)})
    epochs: list[int] = []
    found = fit(
        recipe,
        tiny_dataset,
        everyone(tiny_dataset),
        seed=0,
        device="cpu",
        precision=PLAIN,
        on_epoch=lambda epoch, record: epochs.append(epoch),
    )
    assert epochs == [1, 2, 3, 4, 5]
    assert found.epochs == 5
    assert all(torch.equal(v, after_two[0][k]) for k, v in weights(found).items())


def test_the_inner_split_holds_back_a_tenth_and_no_only_cell(tiny_dataset: CellDataset) -> None:
    labels = tiny_dataset.labels.copy()
    indices = everyone(tiny_dataset)[: 50 + 30 + 1]  # one cell of the rarest class
    inner, watched = inner_split(tiny_dataset, indices, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate([inner, watched])), indices)
    assert np.bincount(labels[watched], minlength=3).tolist() == [5, 3, 0]


def test_divergence_is_a_failed_trial_with_epoch_and_rate(tiny_dataset: CellDataset) -> None:
    recipe = Recipe(
        model=CnnModel(depth=4, width=32, kernel=(3,) * 4, head_layers=3, head=(64,) * 3),
        loss=Loss(weighting="inv"),
        optim=Optim(name="sgd", lr=1.0, momentum=0.99),
        train=Train(batch_size=8, epochs=30),
    )
    with pytest.raises(TrialError, match=r"not finite in epoch \d+ \(lr 1\)"):
        fit(recipe, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu", precision=PLAIN)


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("[enforce fail] DefaultCPUAllocator: can't allocate memory", TrialError, "memory ran out"),
        ("CUDA out of memory. Tried to allocate", TrialError, "memory ran out"),
        ("shapes cannot be multiplied", RuntimeError, "^shapes"),
    ],
)
def test_want_of_memory_fails_the_trial_and_a_bug_stays_one(
    tiny_dataset: CellDataset,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    kind: type[Exception],
    match: str,
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(step_module.TrainingStep, "__call__", fail)
    with pytest.raises(kind, match=match):
        fit(LEARNER, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu", precision=PLAIN)


def test_cells_that_cannot_train_are_refused(tiny_dataset: CellDataset) -> None:
    with pytest.raises(DataError, match="at least 2"):
        fit(LEARNER, tiny_dataset, np.array([3]), seed=0, device="cpu")
    nameless = replace(tiny_dataset, labels=np.full(len(tiny_dataset), -1, dtype=np.int64))
    with pytest.raises(DataError, match="needs a label"):
        fit(LEARNER, nameless, everyone(nameless), seed=0, device="cpu")


def test_a_device_that_is_not_there_is_refused(tiny_dataset: CellDataset) -> None:
    with pytest.raises(ConfigError, match="'abacus'"):
        fit(LEARNER, tiny_dataset, everyone(tiny_dataset), seed=0, device="abacus")
    assert resolve_device("cpu").type == "cpu"


def test_prediction_depends_neither_on_batch_nor_on_neighbours(tiny_dataset: CellDataset) -> None:
    predictor = fit(
        EVERYTHING, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu", precision=PLAIN
    )
    some = np.array([80, 3, 41, 3])
    whole = predictor.predict_proba(tiny_dataset, everyone(tiny_dataset))
    np.testing.assert_allclose(predictor.predict_proba(tiny_dataset, some), whole[some], atol=1e-6)
    alone = predictor.predict_proba(tiny_dataset, some, batch=1)
    np.testing.assert_allclose(alone, whole[some], atol=1e-5)
    assert predictor.predict_proba(tiny_dataset, some[:0]).shape == (0, 3)


def test_weights_that_are_not_finite_do_not_predict(tiny_dataset: CellDataset) -> None:
    predictor = fit(
        LEARNER, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu", precision=PLAIN
    )
    with torch.no_grad():
        next(predictor.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrialError, match="not finite"):
        predictor.predict_proba(tiny_dataset, np.array([0]))


def test_the_fastest_precision_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    seconds = {ALL[0]: 3, ALL[1]: 2, ALL[2]: 5}
    now = [0.0]
    monkeypatch.setattr("cellsearch.learn.precision.time.perf_counter", lambda: now[0])

    def step_of(precision: Precision) -> Any:
        def step() -> None:
            next(clock)
            now[0] += seconds[precision]

        return step

    assert fastest(step_of, ALL[:3], device=torch.device("cpu")) == ALL[1]
    # Turn 0 warms all three up; the slowest is dropped after its first timed turn.
    assert next(clock) == 3 + 3 + 2 + 2


def test_precision_reads_its_own_name() -> None:
    assert [Precision.parse(str(precision)) for precision in ALL] == list(ALL)
    with pytest.raises(ConfigError, match=r"fp32\+channels_last.*'fp16'"):
        Precision.parse("fp16")


def test_minutes_per_fold_grow_with_cells_and_epochs(
    tiny_dataset: CellDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock by which every batch takes as long, however busy the machine is.
    readings = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(readings) / 100)

    def minutes(cells: int, epochs: int, method: str = "none") -> float:
        recipe = Recipe(
            model=SMALL, balance=Balance(method=method), train=Train(batch_size=32, epochs=epochs)
        )
        return minutes_per_fold(recipe, tiny_dataset, cells, device="cpu", precision=PLAIN)

    once = minutes(80, 2)
    assert once > 0
    assert minutes(80, 60) > 5 * once
    assert minutes(4000, 2) > 5 * once


def test_a_giant_is_judged_without_being_trained(tiny_dataset: CellDataset) -> None:
    giant = CnnModel(depth=6, width=256, max_width=512, kernel=(10,) * 6, pooling="none")
    hours = minutes_per_fold(Recipe(model=giant), tiny_dataset, 5000, device="cpu") / 60
    assert hours > 1


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [LEARNER, EVERYTHING], ids=["plain", "everything"])
def test_the_module_exports_with_a_free_batch(
    tiny_dataset: CellDataset, recipe: Recipe, tmp_path: Any
) -> None:
    from cellsearch.card.export import export, whole_module

    predictor = fit(recipe, tiny_dataset, everyone(tiny_dataset), seed=0, device="cpu")
    exported = export(whole_module([predictor]), {"image": tiny_dataset.images[:40]}, tmp_path)
    assert exported.largest_difference < 1e-5
