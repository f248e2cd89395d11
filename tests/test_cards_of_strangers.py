"""Cards that somebody made to do harm: one line, nothing opened beside them, no memory taken."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import MODEL
from cellsearch.errors import CardError
from cellsearch.terminal.progress import Terminal
from cellsearch.terminal.tables import say, table

DEEP = "[" * 100_000


@pytest.fixture
def card(finished_card: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_card, tmp_path / "card"))


def onnx_with(card: Path, change: Callable[[onnx.ModelProto], str]) -> None:
    """A model whose probabilities hang on a tensor of a stranger's."""
    model = onnx.load(card / MODEL)
    name, graph = change(model), model.graph
    out = graph.output[0].name
    for node in graph.node:
        for at, made in enumerate(node.output):
            if made == out:
                node.output[at] = "before"
    graph.node.append(helper.make_node("Cast", [name], ["number"], to=onnx.TensorProto.FLOAT))
    graph.node.append(helper.make_node("ReduceSum", ["number"], ["sum"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["before", "sum"], [out]))
    (card / MODEL).write_bytes(model.SerializeToString())


def declared(model: onnx.ModelProto) -> str:
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type, tensor.raw_data = "declared", onnx.TensorProto.FLOAT, b"1234"
    tensor.dims.append(500_000_000)
    return "declared"


def elsewhere(model: onnx.ModelProto, place: str) -> str:
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type = "elsewhere", onnx.TensorProto.UINT8
    tensor.dims.append(10)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place
    return "elsewhere"


def lying_npy(card: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000, 2, 16, 16), }"
    header = header.ljust(117) + b"\n"
    magic = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (card / "test_input.npy").write_bytes(magic + header + bytes(100))


CHANGES: dict[str, Callable[[Path], object]] = {
    "config nested": lambda card: (card / "config.json").write_text(DEEP),
    "metrics nested": lambda card: (card / "metrics.json").write_text(DEEP),
    "metrics in Latin-1": lambda card: (card / "metrics.json").write_bytes(b'{"search": "\xe9"}'),
    "cells of terabytes": lying_npy,
    "weights of gigabytes": lambda card: onnx_with(card, declared),
    "weights of another file": lambda card: onnx_with(
        card, lambda model: elsewhere(model, "/etc/passwd")
    ),
    "weights of a file outside": lambda card: onnx_with(
        card, lambda model: elsewhere(model, "../secret")
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_card_that_was_made_to_do_harm_is_refused(card: Path, change: str) -> None:
    (card.parent / "secret").write_bytes(b"0123456789")
    CHANGES[change](card)
    write_checksums(card)
    with pytest.raises(CardError):
        ModelCard.load(card).verify()


def test_checksums_that_nest_or_lead_out_of_the_card_are_refused(card: Path) -> None:
    (card.parent / "secret").write_text("secret")
    sums = json.loads((card / "checksums.json").read_text())
    for name in ("../secret", str(card.parent / "secret"), ".hidden"):
        (card / "checksums.json").write_text(json.dumps(sums | {name: "0" * 64}))
        with pytest.raises(CardError, match="is missing"):
            ModelCard.load(card).verify()
        with pytest.raises(CardError, match="is missing"):
            ModelCard.load(card).save(card.parent / "saved")
    (card / "checksums.json").write_text(DEEP)
    with pytest.raises(CardError, match="nested too deeply"):
        ModelCard.load(card).verify()


def test_nothing_of_a_card_is_unpickled(card: Path) -> None:
    np.save(card / "test_input.npy", np.array([{}], dtype=object), allow_pickle=True)
    write_checksums(card)
    with pytest.raises(CardError, match="cannot be read"):
        ModelCard.load(card).verify()


def test_a_name_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J\x1b]0;title\x07\x9b31m"
    say(f"predicted: {name}")
    table([name], [[name]], title=name)
    Terminal().message(name)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert r"\x1b[2J" in text
        assert not any(letter in text for letter in "\x1b\x07\x9b")
