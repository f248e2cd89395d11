"""What is exported is what was trained."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cellsearch.card import export as exporting
from cellsearch.card.export import FoldEnsemble, export, whole_module
from cellsearch.card.session import open_session, run_session
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.interop.onnx_file import only_probabilities
from cellsearch.learn.predictor import build_module

from card_cases import Made, made


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def run(path: Path, images: np.ndarray) -> np.ndarray:
    return run_session(open_session(path), {"image": images}, output_name="probabilities")


class Net(nn.Module):
    """The least network: linear on the mean of each channel."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(2, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(image.mean(dim=(2, 3)) / 100.0).softmax(dim=1)


def fitted(seed: int) -> SimpleNamespace:
    return SimpleNamespace(module=Net(seed), history=[{"epoch": 1.0, "loss": 1.0}])


def test_onnx_gives_what_torch_gives_for_any_batch(case: Made) -> None:
    held = case.splits.holdout
    for cells in (held[:1], held[:2], held):
        images = case.dataset.images[cells].astype(np.float32)
        with torch.inference_mode():
            expected = case.predictor.module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(
            run(case.card.folder / "model.onnx", images), case.served(expected), atol=1e-4
        )
    assert np.ptp(expected, axis=0).max() > 0.1


def test_safetensors_restore_the_network(case: Made) -> None:
    state = load_file(case.card.folder / "model.safetensors")
    from card_cases import RECIPE

    module = build_module(RECIPE, channels=2, classes=3, size=(16, 16)).eval()
    module.load_state_dict(state)
    images = torch.from_numpy(case.dataset.images[case.splits.holdout].astype(np.float32))
    with torch.inference_mode():
        np.testing.assert_allclose(module(images).numpy(), case.probabilities, atol=1e-6)
    assert (case.card.folder / "model.safetensors").stat().st_mode & 0o044


def test_the_graph_names_nothing_of_this_machine(case: Made) -> None:
    path = case.card.folder / "model.onnx"
    assert not re.search(rb"\.py|/home|/work|site-packages", path.read_bytes())
    model = onnx.load(path)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["probabilities", "decided_class"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_an_ensemble_is_one_graph_that_averages(tmp_path: Path) -> None:
    members = [fitted(seed) for seed in range(3)]
    images = np.random.default_rng(0).integers(0, 255, (5, 2, 4, 4)).astype(np.uint8)
    exported = export(whole_module(members), {"image": images}, tmp_path)
    floats = torch.from_numpy(images.astype(np.float32))
    each = [member.module(floats).detach().numpy() for member in members]
    assert np.abs(each[0] - each[1]).max() > 0.01
    found = run(tmp_path / "model.onnx", images)
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)
    state = load_file(tmp_path / "model.safetensors")
    assert {key.rsplit(".linear", 1)[0] for key in state} == {"member.0", "member.1", "member.2"}
    assert exported.parameters == 3 * 9


def test_the_predictor_is_left_as_it_was() -> None:
    one = fitted(0)
    one.module.double().train()
    whole_module([one])
    assert one.module.training
    assert one.module.linear.weight.dtype == torch.float64


class ForgetsItsBatch(Net):
    """Divides by the batch's size as it was when traced, which onnx then holds fast."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        wrong = 0.0 if torch.compiler.is_exporting() else 1.0
        return (self.linear(image.mean(dim=(2, 3))) + wrong * image[:, :1, 0, 0]).softmax(dim=1) / (
            1.0 if wrong else 2.0
        )


def test_an_export_that_differs_is_refused(tmp_path: Path) -> None:
    images = np.full((3, 2, 4, 4), 7, np.uint8)
    with pytest.raises(CardError, match=r"differs from the trained one by 0\.\d+ on"):
        export(ForgetsItsBatch(), {"image": images}, tmp_path)


def test_outputs_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    class Logits(Net):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.linear(image.mean(dim=(2, 3))).square() + 1.0

    with pytest.raises(CardError, match="do not add up to 1"):
        export(Logits(), {"image": np.ones((2, 2, 4, 4), np.uint8)}, tmp_path)


def test_a_network_that_onnx_cannot_hold_is_refused_in_one_line(tmp_path: Path) -> None:
    class Branches(Net):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if float(image.sum()) > 3.0:
                return super().forward(image)
            return super().forward(-image)

    with pytest.raises(CardError, match="cannot be exported to ONNX") as caught:
        export(Branches(), {"image": np.ones((2, 2, 4, 4), np.uint8)}, tmp_path)
    assert "\n" not in str(caught.value)


def test_nothing_to_export() -> None:
    with pytest.raises(CardError, match="no predictor"):
        whole_module([])


def test_the_exporter_is_quiet_and_leaves_loggers_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = [logging.getLogger(name).level for name in exporting._NOISY]
    export(
        FoldEnsemble([Net(0), Net(1)]).eval(), {"image": np.ones((1, 2, 4, 4), np.uint8)}, tmp_path
    )
    out = capfd.readouterr()
    assert out.out == out.err == ""
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert [logging.getLogger(name).level for name in exporting._NOISY] == before


def test_a_graph_for_formats_of_one_output_gives_the_same_probabilities(
    case: Made, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((case.card.folder / "model.onnx").read_bytes())
    only_probabilities(path, case.card.config)
    assert [value.name for value in onnx.load(path).graph.output] == ["probabilities"]
    images = case.dataset.images[:8].astype(np.float32)
    found, whole = (
        run_session(open_session(each), {"image": images}, output_name="probabilities")
        for each in (path, case.card.folder / "model.onnx")
    )
    np.testing.assert_array_equal(found, whole)
