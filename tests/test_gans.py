"""Generators learn from the cells they are given and no others, once, and say what they made."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import DataError, TrialError
from cellsearch.learn.gans import Generated, generated_cells, impossible, rare_classes, training
from cellsearch.learn.gans.generated import POOL, mixed
from cellsearch.learn.gans.losses import divergence_penalty, gradient_penalty
from cellsearch.learn.gans.networks import LATENT, Critic, Generator, sides, widths
from cellsearch.learn.gans.quality import judge
from cellsearch.learn.gans.scaling import Scaling
from cellsearch.learn.threads import torch_threads
from cellsearch.space.sections import Gan

CPU = torch.device("cpu")
QUICK = Gan(kind="wgan-gp", below=0.2, steps=5, critic_steps=2, batch=8, width=8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "cache"))
    # Networks this small gain nothing by a second thread, and lose much on a busy machine.
    with torch_threads(1):
        yield


def discs(
    counts: tuple[int, ...] = (60, 9),
    *,
    channels: int = 2,
    size: tuple[int, int] = (16, 16),
    dtype: type = np.uint8,
    seed: int = 0,
) -> CellDataset:
    """A bright disc in the centre on a dim ground, a little larger or smaller each time."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    tall, wide = (np.arange(side) - (side - 1) / 2 for side in size)
    radius = np.hypot(tall[:, None], wide[None]) / min(size)
    edges = rng.uniform(0.2, 0.32, (len(labels), channels, 1, 1))
    images = 60 + 120 * (radius < edges) + rng.normal(0, 6, (len(labels), channels, *size))
    if np.issubdtype(dtype, np.integer):
        images = images.clip(0, 255).round()
    return CellDataset.from_arrays(
        images.astype(dtype), labels, classes=[f"class-{k}" for k in range(len(counts))]
    )


def made(dataset: CellDataset, gan: Gan = QUICK, **more: Any) -> Generated:
    """The generated cells of the only rare class of all cells."""
    (cells,) = generated_cells(
        dataset,
        more.pop("indices", np.arange(len(dataset))),
        gan,
        seed=more.pop("seed", 3),
        device=CPU,
        **more,
    )
    return cells


def entry() -> Path:
    """The folder of the only generator in the cache."""
    (description,) = Path(os.environ["CELLSEARCH_CACHE"]).glob("gans/*/generator.json")
    return description.parent


# --- which classes -------------------------------------------------------------------------------


def test_rare_classes_are_those_below_a_share_of_the_largest() -> None:
    counts = np.array([100, 15, 14, 0, 1], dtype=np.int64)
    assert rare_classes(counts, Gan(kind="wgan-gp", below=0.15)) == (2, 4)
    assert rare_classes(counts, Gan(kind="wgan-gp", below=1.0)) == (1, 2, 4)
    assert rare_classes(np.zeros(3, np.int64), Gan(kind="wgan-gp")) == ()


def halves(dataset: CellDataset, train_only: tuple[int, ...] = ()) -> Splits:
    """Two folds: the odd cells and the even ones."""
    rest = np.setdiff1d(np.arange(len(dataset)), train_only)
    return Splits(
        holdout=np.empty(0, np.int64),
        folds=(rest[::2], rest[1::2]),
        train_only=np.array(train_only, dtype=np.int64),
        not_estimable=(),
        seed=0,
        dataset_sha256=dataset.sha256,
    )


def test_what_makes_generators_impossible() -> None:
    gan = Gan(kind="wgan-gp", below=0.15)
    enough = discs((100, 8))
    assert impossible(enough, halves(enough), gan) == ""

    few = discs((100, 7))
    assert impossible(few, halves(few), Gan()) == ""
    assert impossible(few, halves(few), gan) == (
        "gan.kind: class 'class-1' leaves 3 training cells, and a generator needs at least 4, in "
        "fold 1 of 2: merge or drop the class, or take gan out of the space"
    )
    one = discs((100, 1))
    assert "leaves 1 training cell," in impossible(one, halves(one, train_only=(100,)), gan)

    none = discs((100, 30))
    assert impossible(none, halves(none), gan) == (
        "gan.below: no class has fewer than 15 % of the training cells of the largest; the "
        "smallest has 30 %: raise gan.below, or take gan out of the space"
    )
    assert impossible(none, halves(none), Gan(kind="wgan-gp", below=0.31)) == ""


@pytest.mark.parametrize("size", [(15, 40), (40, 161)])
def test_crops_too_small_or_too_large_are_refused(size: tuple[int, int]) -> None:
    dataset = discs((40, 4), channels=1, size=size)
    problem = impossible(dataset, halves(dataset), QUICK)
    assert "sides of 16 to 160 px" in problem
    assert f"{size[0]} x {size[1]}" in problem
    with pytest.raises(TrialError, match="16 to 160"):
        made(dataset)


def test_nothing_is_generated_without_a_kind_or_a_rare_class() -> None:
    dataset = discs((20, 20))
    indices = np.arange(40)
    assert generated_cells(dataset, indices, Gan(), seed=0, device=CPU) == ()
    assert generated_cells(dataset, indices, QUICK, seed=0, device=CPU) == ()


def test_a_class_of_three_cells_is_refused_by_name() -> None:
    with pytest.raises(TrialError, match="'class-1' leaves 3 training cells"):
        made(discs((40, 3)))


def test_eligibility_is_known_without_torch() -> None:
    code = (
        "import sys; from cellsearch.learn.gans import impossible, rare_classes; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- networks and penalties ----------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (40, 40), (66, 66), (16, 160), (160, 159)])
def test_networks_fit_any_crop(channels: int, size: tuple[int, int]) -> None:
    generator, critic = Generator(channels, size, width=16), Critic(channels, size, width=16)
    cells = generator(torch.randn(2, LATENT))
    assert cells.shape == (2, channels, *size)
    assert cells.abs().max() <= 1
    assert critic(cells).shape == (2,)
    assert max(sides(size)[0]) <= 8


def test_maps_halve_from_the_widest() -> None:
    assert widths(64, 4) == [64, 32, 16, 16]
    assert widths(8, 3) == [8, 8, 8]


def test_no_generated_cell_depends_on_another() -> None:
    generator = Generator(1, (17, 23), width=8).eval()
    latent = torch.randn(3, LATENT)
    alone = generator(latent[:1])
    assert torch.allclose(generator(latent)[:1], alone, atol=1e-6)


def test_penalties_of_a_plane_are_known() -> None:
    slope = torch.full((1, 2, 4, 4), 0.5)
    norm = float(slope.norm())

    def plane(cells: Tensor) -> Tensor:
        return (cells * slope).sum(dim=(1, 2, 3))

    between = torch.randn(5, 2, 4, 4)
    assert float(gradient_penalty(plane, between)) == pytest.approx(10 * (norm - 1) ** 2, rel=1e-4)
    assert float(divergence_penalty(plane, between)) == pytest.approx(2 * norm**6, rel=1e-4)


@pytest.mark.parametrize("penalty", [gradient_penalty, divergence_penalty])
def test_penalties_reach_the_weights(penalty: Any) -> None:
    critic = Critic(1, (17, 23), width=8)
    penalty(critic, torch.randn(3, 1, 17, 23)).backward()
    assert all((w.grad is not None) and w.grad.abs().sum() > 0 for w in weights(critic))


def weights(critic: nn.Module) -> list[nn.Parameter]:
    # A bias moves scores and not their slope, but for the leak of a rectifier.
    return [w for name, w in critic.named_parameters() if name.endswith("weight")]


def test_scaling_comes_back() -> None:
    cells = discs((20, 4), dtype=np.uint16, channels=3).images.copy()
    cells[:, 1] = 7
    scaling = Scaling.of(cells)
    scaled = scaling.scaled(cells, CPU)
    assert scaled.abs().max() <= 1
    back = scaling.raw(scaled, cells.dtype)
    assert back.dtype == np.uint16
    low, high = np.percentile(cells[:, 0], [0.1, 99.9])
    inside = (cells[:, 0] >= low) & (cells[:, 0] <= high)
    assert np.array_equal(back[:, 0][inside], cells[:, 0][inside])
    assert (back[:, 1] == 7).all()


# --- what is generated ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wgan-gp", "wgan-div"])
@pytest.mark.parametrize(
    ("channels", "size", "dtype"),
    [(1, (17, 23), np.uint8), (3, (40, 40), np.uint16), (2, (24, 16), np.float32)],
)
def test_generated_cells_are_like_those_of_the_class(
    kind: str, channels: int, size: tuple[int, int], dtype: type
) -> None:
    dataset = discs((60, 8), channels=channels, size=size, dtype=dtype)
    gan = QUICK.model_copy(update={"kind": kind, "steps": 3})
    told: list[tuple[str, int, int]] = []
    cells = made(dataset, gan, on_step=lambda *step: told.append(step))
    assert (cells.label, cells.class_name, cells.kind) == (1, "class-1", kind)
    assert cells.images.shape == (POOL, channels, *size)
    assert cells.images.dtype == dtype
    own = dataset.images[60:]
    for channel in range(channels):
        assert cells.images[:, channel].min() >= own[:, channel].min()
        assert cells.images[:, channel].max() <= own[:, channel].max()
    assert np.array_equal(cells.learnt_from, np.arange(60, 68))
    assert cells.critic.shape == (3,)
    assert cells.critic.dtype == np.float32
    assert np.isfinite(cells.critic).all()
    assert cells.nearest_ratio > 0
    assert told == [("class-1", step, 3) for step in (1, 2, 3)]
    assert not cells.cached


def test_the_same_seed_makes_the_same_cells_and_leaves_torchs_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = discs()
    torch.manual_seed(1)
    first, drawn = made(dataset), float(torch.rand(()))
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "another"))
    torch.manual_seed(1)
    again = made(dataset)
    assert not again.cached
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.critic, again.critic)
    assert drawn == float(torch.rand(())) == float(torch.rand((), generator=_seeded(1)))
    assert not np.array_equal(first.images, made(dataset, seed=4).images)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_cell_outside_the_indices_is_looked_at() -> None:
    dataset = discs((40, 12, 5))
    indices = np.setdiff1d(np.arange(57), [41, 45, 50, 53, 3])
    marked = dataset.images.copy()
    outside = np.setdiff1d(np.arange(57), indices)
    marked[outside] = np.random.default_rng(9).integers(0, 255, marked[outside].shape)
    # Cells of other classes are read by nobody either.
    marked[indices[dataset.labels[indices] == 0]] = 255
    planted = CellDataset.from_arrays(marked, dataset.labels, classes=dataset.classes)
    gan = QUICK.model_copy(update={"below": 0.5, "mixup": 0.5})
    plain = generated_cells(dataset, indices, gan, seed=0, device=CPU)
    other = generated_cells(planted, indices[::-1], gan, seed=0, device=CPU)
    assert [cells.label for cells in plain] == [1, 2]
    for one, two in zip(plain, other, strict=True):
        assert not two.cached
        assert one.images.tobytes() == two.images.tobytes()
        assert one.critic.tobytes() == two.critic.tobytes()
        assert one.nearest_ratio == two.nearest_ratio
        assert np.isin(two.learnt_from, indices).all()
        assert (dataset.labels[two.learnt_from] == two.label).all()


def test_only_the_images_of_the_class_are_read() -> None:
    dataset = discs()
    seen: list[Any] = []
    real = np.asarray(dataset.images)

    class Images:
        shape, dtype = real.shape, real.dtype

        def view(self, kind: type) -> Images:
            return self

        def __getitem__(self, key: Any) -> Any:
            seen.append(key)
            return real[key]

    object.__setattr__(dataset, "images", Images())
    made(dataset, indices=np.arange(2, 66))
    assert [list(key) for key in seen] == [list(range(60, 66))]


def test_classes_can_be_named() -> None:
    dataset = discs((20, 18, 19))
    cells = generated_cells(dataset, np.arange(57), QUICK, seed=0, device=CPU, classes=[2])
    assert [one.class_name for one in cells] == ["class-2"]


def test_a_training_that_diverges_fails_the_trial_and_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(critic: Any, between: Tensor) -> Tensor:
        return critic(between).mean() * torch.nan

    def kept() -> set[Path]:
        return set(Path(os.environ["CELLSEARCH_CACHE"]).glob("gans/*/generator.json"))

    monkeypatch.setattr(training, "PENALTIES", {"wgan-gp": broken})
    with pytest.raises(TrialError, match=r"gan\.lr: the wgan-gp diverged at step 1 of 5"):
        made(discs())
    assert not kept()


# --- the cache -----------------------------------------------------------------------------------


def test_a_generator_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = discs()
    first = made(dataset)
    monkeypatch.setattr(training, "Generator", None)
    again = made(dataset)
    assert again.cached
    assert again.images.tobytes() == first.images.tobytes()
    assert (again.nearest_ratio, again.notes) == (first.nearest_ratio, first.notes)
    # Other shares, thresholds and mixups need no other generator.
    other = QUICK.model_copy(update={"below": 0.5, "share": 0.5, "mixup": 0.5})
    assert made(dataset, other).cached


def test_what_a_generator_depends_on_makes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = discs()
    made(dataset)
    changes: list[dict[str, Any]] = [
        {"kind": "wgan-div"},
        {"steps": 4},
        {"critic_steps": 1},
        {"batch": 7},
        {"width": 9},
        {"lr": 2e-3},
        {"beta1": 0.5},
    ]
    for change in changes:
        assert not made(dataset, QUICK.model_copy(update=change)).cached, change
    assert not made(dataset, seed=8).cached
    assert not made(dataset, indices=np.arange(68)).cached
    # A cell of another class is none of its business.
    assert made(dataset, indices=np.arange(1, 69)).cached


def test_the_cells_learnt_from_are_on_record() -> None:
    cells = made(discs())
    digest = hashlib.sha256(np.arange(60, 69, dtype="<i8").tobytes()).hexdigest()
    assert cells.indices_sha256 == digest
    kept = json.loads((entry() / "generator.json").read_text())
    assert kept["indices_sha256"] == digest
    assert kept["settings"]["lr"] == QUICK.lr
    assert kept["more"]["class"] == "class-1"
    assert kept["more"]["cells"] == 9


@pytest.mark.parametrize(
    "harm", ["flip a byte", "lose weights", "cut the json", "other cells", "no list"]
)
def test_a_damaged_entry_is_trained_again(harm: str) -> None:
    dataset = discs()
    first = made(dataset).images.tobytes()
    folder = entry()
    if harm == "flip a byte":
        raw = bytearray((folder / "generated.npy").read_bytes())
        raw[-1] ^= 1
        (folder / "generated.npy").write_bytes(raw)
    elif harm == "lose weights":
        (folder / "generator.safetensors").unlink()
    elif harm == "cut the json":
        path = folder / "generator.json"
        path.write_text(path.read_text()[:-20])
    else:
        path = folder / "generator.json"
        kept = json.loads(path.read_text())
        kept["indices_sha256"] = "0" * 64
        path.write_text("[]" if harm == "no list" else json.dumps(kept))
    again = made(dataset)
    assert not again.cached
    assert again.images.tobytes() == first
    assert made(dataset).cached


def test_the_weights_make_the_cells_on_record() -> None:
    from safetensors.torch import load_file

    made(discs())
    generator = Generator(2, (16, 16), width=8)
    generator.load_state_dict(load_file(entry() / "generator.safetensors"))
    scaling = Scaling(**json.loads((entry() / "generator.json").read_text())["more"]["scaling"])
    seed = int(np.random.SeedSequence([3, 1]).generate_state(3)[1])
    with torch.inference_mode():
        some = generator.eval()(torch.randn(POOL, LATENT, generator=_seeded(seed))[:20])
    stored = np.load(entry() / "generated.npy")[:20].astype(int)
    assert np.abs(scaling.raw(some, np.dtype(np.uint8)).astype(int) - stored).max() <= 1


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written .*CELLSEARCH_CACHE"):
        made(discs())


@pytest.mark.slow
def test_two_processes_that_ask_at_once_train_once(tmp_path: Path) -> None:
    discs().save(tmp_path / "cells")
    code = textwrap.dedent(
        """
        import sys, time
        import numpy as np, torch
        from cellsearch.data.dataset import CellDataset
        from cellsearch.learn.gans.generated import generated_cells
        from cellsearch.space.sections import Gan

        torch.set_num_threads(1)
        dataset = CellDataset.open(sys.argv[1])
        gan = Gan(kind="wgan-gp", below=0.2, steps=20, critic_steps=1, batch=8, width=8)
        print("ready", flush=True)
        sys.stdin.readline()
        (cells,) = generated_cells(
            dataset, np.arange(69), gan, seed=0, device=torch.device("cpu"),
            on_step=lambda *step: time.sleep(0.05),
        )
        print(cells.cached, int(cells.images.astype(int).sum()), flush=True)
        """
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "cells")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        said = sorted(worker.communicate(timeout=500)[0].split() for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
    assert [cached for cached, _ in said] == ["False", "True"]
    assert said[0][1] == said[1][1]


# --- mixup and quality ---------------------------------------------------------------------------


def test_mixup_blends_its_share_of_the_cells() -> None:
    dataset = discs()
    plain = made(dataset).images
    half = QUICK.model_copy(update={"mixup": 0.5})
    blended = made(dataset, half).images
    changed = (blended != plain).any(axis=(1, 2, 3))
    # Hardly trained, some cells are so alike that their blend rounds to one of them.
    assert 0.4 * POOL <= changed.sum() <= 0.5 * POOL
    assert blended.dtype == plain.dtype
    assert blended.min() >= plain.min()
    assert blended.max() <= plain.max()
    assert np.array_equal(blended, made(dataset, half).images)
    assert not np.array_equal(blended, made(dataset, half, seed=4).images)


def test_a_blend_lies_between_two_cells() -> None:
    corners = np.eye(6, dtype=np.float32).reshape(6, 1, 2, 3)
    blended = mixed(corners, 1.0, seed=0)
    assert np.allclose(blended.sum(axis=(1, 2, 3)), 1.0)
    assert ((blended > 0).sum(axis=(1, 2, 3)) == 2).all()
    third = mixed(corners, 1 / 3, seed=0)
    assert (third != corners).any(axis=(1, 2, 3)).sum() == 2
    assert mixed(corners, 0.0, seed=0) is corners


def test_copies_are_called_copies() -> None:
    real = discs((50,)).images
    fresh = discs((60,), seed=7).images
    assert judge(real, fresh).nearest_ratio == pytest.approx(1.0, abs=0.1)
    assert judge(real, fresh).notes == ()
    copies = judge(real, real[np.random.default_rng(0).integers(0, 50, 300)])
    assert copies.nearest_ratio < 0.05
    assert [note.split(":")[0] for note in copies.notes] == ["memorises"]
    same = judge(real, np.repeat(fresh[:1], 100, axis=0))
    assert [note.split(":")[0] for note in same.notes] == ["collapsed"]


def test_duplicates_do_not_make_others_look_far() -> None:
    real = discs((40,)).images
    duplicates = np.repeat(real, 2, axis=0)
    fresh = discs((60,), seed=7).images
    assert judge(duplicates, fresh).nearest_ratio == pytest.approx(
        judge(real, fresh).nearest_ratio, rel=0.02
    )
    one = np.repeat(real[:1], 5, axis=0)
    assert judge(one, one).nearest_ratio == 1.0


@pytest.mark.slow
def test_a_generator_learns_what_the_class_looks_like() -> None:
    dataset = discs((400, 50), channels=1)
    real = dataset.images[400:].mean(axis=0).ravel()

    def likeness(steps: int, lr: float) -> float:
        gan = Gan(kind="wgan-gp", steps=steps, critic_steps=3, width=16, lr=lr)
        mean = made(dataset, gan).images.mean(axis=0).ravel()
        return float(np.corrcoef(real, mean)[0, 1])

    assert abs(likeness(1, 1e-9)) < 0.5
    assert likeness(200, 1e-3) > 0.8
