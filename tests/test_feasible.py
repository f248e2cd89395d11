"""What cannot be trained here is said before anything starts, and without a network."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cellsearch.errors import TrialError
from cellsearch.learn.models import FAMILIES, build_network
from cellsearch.learn.models.feasible import problem
from cellsearch.learn.models.timm_weights import cached_weights, known_names
from cellsearch.space.models import MODELS, Model, TimmModel

CELLS = {"channels": 2, "classes": 3}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and an error where anything opens a connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "TORCH_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def said(model: Model, side: int = 64) -> str:
    return problem(model, **CELLS, size=(side, side))


def backbone(channels: int = 3) -> dict[str, torch.Tensor]:
    """Weights of timm's smallest residual network, each tensor all of one number."""
    model = TimmModel(name="test_resnet")
    network = build_network(model, channels=channels, classes=1000, size=(64, 64))
    state = {n.removeprefix("net."): v for n, v in network.state_dict().items()}
    return {n: v if v.ndim == 0 else torch.full_like(v, 0.01) for n, v in state.items()}


def in_hub_cache(home: Path, name: str, *, weights: bool = True) -> Path:
    """A cache as huggingface_hub leaves it behind."""
    folder = home / "huggingface" / "hub" / f"models--timm--{name}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    path = snapshot / ("model.safetensors" if weights else "config.json")
    save_file(backbone(), path) if weights else path.write_text("{}")
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_wrong_with_the_defaults(family: str) -> None:
    assert problem(MODELS[family](), **CELLS, size=(40, 33)) == ""


def test_missing_weights_are_told_without_loading_torch_or_timm(home: Path) -> None:
    script = """
import json, sys
from cellsearch.learn.models.feasible import problem
from cellsearch.space.models import TimmModel
model = TimmModel(name="resnet50", pretrained=True)
text = problem(model, channels=3, classes=2, size=(224, 224))
print(json.dumps([text, sorted({"torch", "timm", "huggingface_hub"} & set(sys.modules))]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(home)},
    )
    text, imported = json.loads(done.stdout)
    assert text == (
        "model.pretrained: no weights of 'resnet50' on this machine and nothing is downloaded "
        "during a search; fetch them once with "
        "`python -c \"import timm; timm.create_model('resnet50', pretrained=True)\"`, "
        "or name a file in model.weights"
    )
    assert imported == []


def test_names_are_those_of_timm() -> None:
    import timm

    assert known_names() == set(timm.list_models())


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (TimmModel(name="resnet5O"), r"model\.name: timm has no network 'resnet5O'; did you mean"),
        (TimmModel(name="???"), r"timm has no network '\?\?\?'; it knows 1,\d+, see timm\."),
        (TimmModel(name=".a1_in1k"), "timm has no network ''"),
        (
            TimmModel(name="test_resnet.other", pretrained=True),
            r"timm has no weights 'test_resnet\.other'; it has test_resnet\.r160_in1k$",
        ),
        (
            TimmModel(name="resnet50", weights="w.pth"),
            r"model\.weights: a file is given, but model\.pretrained is false; set it to true",
        ),
        (
            TimmModel(name="resnet50", pretrained=True, weights="nowhere.pth"),
            r"model\.weights: no file 'nowhere\.pth'",
        ),
    ],
)
def test_names_and_files_that_are_not_there(model: TimmModel, text: str) -> None:
    assert re.search(text, said(model))


def test_weights_of_the_cache_are_found_and_read(home: Path) -> None:
    model = TimmModel(name="test_resnet", pretrained=True)
    assert "no weights of 'test_resnet'" in said(model)
    with pytest.raises(TrialError, match=r"no weights of 'test_resnet'.*timm\.create_model"):
        build_network(model, **CELLS, size=(64, 64))
    path = in_hub_cache(home, "test_resnet.r160_in1k")
    assert cached_weights("test_resnet") == path
    assert said(model) == ""
    network = build_network(model, **CELLS, size=(64, 64))
    assert (network.net.layer1[0].conv1.weight == 0.01).all()
    assert (network.net.conv1[0].weight > 0).all()
    assert network.net.fc.weight.std() > 0


def test_a_cache_of_other_files_is_not_taken_for_weights(home: Path) -> None:
    in_hub_cache(home, "test_resnet.r160_in1k", weights=False)
    in_hub_cache(home, "test_resnet2.r160_in1k", weights=False)
    assert "no weights of 'test_resnet'" in said(TimmModel(name="test_resnet", pretrained=True))


def test_a_file_of_weights_must_fit_the_network(tmp_path: Path) -> None:
    good, half, bad = (tmp_path / f"{name}.safetensors" for name in ("good", "half", "bad"))
    state = backbone()
    save_file(state, good)
    save_file({n: v for n, v in state.items() if not n.startswith("layer4")}, half)
    bad.write_bytes(b"no tensors at all")

    def model(path: Path) -> TimmModel:
        return TimmModel(name="test_resnet", pretrained=True, weights=str(path))

    assert said(model(good)) == ""
    assert "does not fit test_resnet: nothing in it for layer4" in said(model(half))
    assert said(model(bad)).startswith("model.name test_resnet: ")
    assert "\n" not in said(model(bad))


def test_crops_too_small_for_a_network() -> None:
    assert said(TimmModel(name="convnext_atto"), 24) == (
        "model.name convnext_atto needs crops of at least 32 px; these are 24 x 24: set "
        "input.size (e.g. 64)"
    )
    assert said(TimmModel(name="convnext_atto"), 32) == ""


def test_crops_of_a_side_that_a_network_cannot_cut() -> None:
    text = said(TimmModel(name="test_maxvit"), 40)
    assert text == "model.name test_maxvit does not take crops of 40 x 40 px: set input.size to 48"
    assert said(TimmModel(name="test_maxvit"), 48) == ""


def test_nothing_is_drawn_from_the_callers_generator() -> None:
    before = torch.get_rng_state()
    assert said(TimmModel(name="test_byobnet"), 33) == ""
    assert torch.equal(torch.get_rng_state(), before)
