"""One ONNX graph and one safetensors file from fitted networks, checked against each other."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from cellsearch.card.config import FeatureFacts
from cellsearch.card.graph import (
    Calibrated,
    Decided,
    FoldEnsemble,
    Part,
    TrialEnsemble,
    measures,
    takes_both,
)
from cellsearch.card.session import open_session, run_session
from cellsearch.errors import CardError
from cellsearch.stats.decision import CLEAR_MARGIN, Decision, decided, margin

INPUT = "image"
FEATURES = "features"
OUTPUT = "probabilities"
DECIDED = "decided_class"
TOLERANCE = 1e-4
CELLS_AT_ONCE = 32
_NOISY = ("torch.onnx", "torch.export", "torch._dynamo", "torch.fx", "onnxscript", "onnx_ir")


class Fitted(Protocol):
    """What is exported: a fitted network and the course of its training."""

    @property
    def module(self) -> nn.Module:
        """float32 raw intensities (B, C, H, W), or features (B, F), to probabilities (B, K)."""

    @property
    def history(self) -> Sequence[dict[str, float]]:
        """Figures of each epoch."""


@dataclass(frozen=True)
class Share:
    """How a predictor enters an ensemble of trials.

    Attributes:
        weight: its share of the mean; shares add up to 1.
        decision: of the predictor, which holds the prior of its training.
    """

    weight: float
    decision: Decision


@dataclass(frozen=True)
class Exported:
    """What an export is worth.

    Attributes:
        opset: of ``model.onnx``.
        input: name of the graph's first input.
        features: name of its second one; None where it has none.
        decided: name of its output of classes; the other is ``OUTPUT``.
        parameters: trained numbers, all members together.
        largest_difference: between torch and onnxruntime, over all cells compared.
    """

    opset: int
    input: str
    features: str | None
    decided: str
    parameters: int
    largest_difference: float


def whole_module(
    predictors: Sequence[Fitted],
    shares: Sequence[Share] = (),
    decision: Decision | None = None,
) -> nn.Module:
    """The network that the card holds: on the CPU, float32, in evaluation mode.

    A copy: the predictors stay as they are. One predictor gives its own module. Several give
    their mean, whose state is prefixed ``member.0.``, ``member.1.`` and so on.

    Args:
        predictors: of one recipe, or of the trials of an ensemble.
        shares: of each predictor in an ensemble of trials; empty where they are of one recipe.
        decision: of that ensemble.
    """
    if not predictors:
        raise CardError("nothing to export: no predictor was given")
    members = [
        copy.deepcopy(predictor.module)
        .to(device="cpu", dtype=torch.float32)
        .to(memory_format=torch.contiguous_format)
        .eval()
        for predictor in predictors
    ]
    if shares:
        if decision is None:
            raise CardError("an ensemble of trials needs the decision that it was joined by")
        parts = [
            Part(module, share.weight, share.decision)
            for module, share in zip(members, shares, strict=True)
        ]
        return TrialEnsemble(parts, decision).eval()
    return members[0] if len(members) == 1 else FoldEnsemble(members).eval()


def inputs_of(module: nn.Module, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What a module takes of raw (n, C, H, W) images: themselves, their (n, F) features, or both.

    By the names that the graph's inputs have, in their order.
    """
    if not measures(module) and not takes_both(module):
        return {INPUT: images}
    from cellsearch.data.features import measure

    pictures = {} if measures(module) else {INPUT: images}
    return {**pictures, FEATURES: measure(images)}


def feature_facts(module: nn.Module, channels: Sequence[str]) -> FeatureFacts | None:
    """Version and names of the features that a module takes; None where it takes images alone."""
    if not measures(module) and not takes_both(module):
        return None
    from cellsearch.data.features import FEATURES_VERSION, feature_names

    return FeatureFacts(version=FEATURES_VERSION, names=feature_names(channels))


def export(
    module: nn.Module,
    inputs: Mapping[str, NDArray[Any]],
    folder: Path,
    *,
    temperature: float = 1.0,
    decision: Decision | None = None,
) -> Exported:
    """Write ``model.onnx`` and ``model.safetensors``, and compare torch with onnxruntime.

    Args:
        module: of ``whole_module``; on the CPU.
        inputs: of ``inputs_of``, of at least one real cell. All are compared in batches, and the
            first also alone, since a fixed batch would show there.
        folder: where the files go.
        temperature: of the graph's probabilities; ``model.safetensors`` holds the network without.
        decision: of the graph's classes; None takes the greatest probability.

    Raises:
        CardError: the network cannot be exported, its outputs are no probabilities, or the two
            differ by more than 1e-4, or in the class of a cell that is not on the edge of two.
    """
    path = folder / "model.onnx"
    inputs = {name: np.ascontiguousarray(v, np.float32) for name, v in inputs.items()}
    names = tuple(inputs)
    cells = len(inputs[names[0]])
    served = module if temperature == 1.0 else Calibrated(module, temperature).eval()
    bias = None if decision is None else decision.bias(temperature)
    _write_onnx(Decided(served, bias).eval(), inputs, path)
    opset = _strip(path)
    _write_state(module, folder / "model.safetensors")
    session = open_session(path)
    largest = 0.0
    starts = range(0, cells, CELLS_AT_ONCE)
    for part in (slice(0, 1), *(slice(start, start + CELLS_AT_ONCE) for start in starts)):
        batch = {name: values[part] for name, values in inputs.items()}
        with torch.inference_mode():
            tensors = [torch.from_numpy(values.copy()) for values in batch.values()]
            expected = served(*tensors).numpy()
        found = run_session(session, batch, output_name=OUTPUT)
        if found.shape != expected.shape:
            raise CardError(f"ONNX gives shape {found.shape} where torch gives {expected.shape}")
        _require_probabilities(expected)
        largest = max(largest, float(np.abs(found - expected).max()))
        classes = run_session(session, batch, output_name=DECIDED)
        clear = margin(expected, decision, temperature=temperature) > CLEAR_MARGIN
        same = classes == decided(expected, decision, temperature=temperature)
        if not same[clear].all():
            raise CardError(
                f"the exported model gives {int((~same[clear]).sum())} of {len(same)} cells "
                "another class than the trained one; no card is written"
            )
    # Written so that a NaN fails too.
    if not largest <= TOLERANCE:
        raise CardError(
            f"the exported model differs from the trained one by {largest:.2g} on "
            f"{cells} cells (at most {TOLERANCE:g} is allowed); no card is written"
        )
    parameters = sum(parameter.numel() for parameter in module.parameters())
    second = names[1] if len(names) > 1 else None
    return Exported(opset, names[0], second, DECIDED, parameters, largest)


def _write_onnx(module: nn.Module, inputs: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    # The exporter takes a batch of one for a constant, so at least two cells are traced.
    examples = tuple(
        torch.from_numpy(np.resize(values, (2, *values.shape[1:])).copy())
        for values in inputs.values()
    )
    batch = torch.export.Dim("batch")
    try:
        with _silence():
            torch.onnx.export(
                module,
                examples,
                path,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=list(inputs),
                output_names=[OUTPUT, DECIDED],
                dynamic_shapes=tuple({0: batch} for _ in examples),
            )
    except OSError as error:
        raise CardError(f"cannot write {path}: {error.strerror}") from None
    except Exception as error:
        # The exporter's own errors share no base below Exception.
        reason = str(error).strip().splitlines()
        raise CardError(
            f"the network cannot be exported to ONNX: {type(error).__name__}: "
            f"{reason[0] if reason else 'no reason given'}"
        ) from error


def _write_state(module: nn.Module, path: Path) -> None:
    # safetensors refuses tensors that share memory.
    state = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    # save_file would leave the file readable by its owner alone.
    path.write_bytes(save(state, metadata={"format": "pt"}))


def _strip(path: Path) -> int:
    """Drop stack traces (they name folders of this machine) and return the opset."""
    import onnx

    model = onnx.load(path)
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for item in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return int(next(entry.version for entry in model.opset_import if not entry.domain))


def _require_probabilities(values: NDArray[np.float32]) -> None:
    if values.ndim != 2 or not np.isfinite(values).all() or values.min() < 0.0:
        raise CardError("the network's outputs are not finite probabilities (cells, classes)")
    off = float(np.abs(values.sum(axis=1) - 1.0).max())
    if off > TOLERANCE:
        raise CardError(f"the network's probabilities do not add up to 1 (off by {off:.2g})")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's notes off the screen; its errors are raised all the same."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
