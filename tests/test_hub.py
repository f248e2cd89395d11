"""The Hub's folder of a card as huggingface_hub reads it, and a push to a Hub on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from typer.testing import CliRunner

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import write_checksums
from cellsearch.card.front_matter import LICENCES
from cellsearch.cli import app
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError, ConfigError
from cellsearch.interop import push as push_module
from cellsearch.interop.hub import write_hub_folder
from cellsearch.interop.local_paths import without_places
from cellsearch.interop.push import push

from card_cases import Made, made

COMMAND = "cellsearch run --dataset /home/anna/cells --out ../runs/x --from C:\\Users\\anna\\raw"


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def leaky(case: Made, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """A card whose README tells where somebody keeps cells."""
    folder = case.copy(tmp_path_factory.mktemp("leaky"))
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("cellsearch run"))
    readme.write_text(text.replace(first, COMMAND), encoding="utf-8")
    write_checksums(folder)
    return ModelCard.load(folder)


def test_huggingface_hub_reads_the_folder(leaky: ModelCard, tmp_path: Path) -> None:
    made_ = write_hub_folder(leaky, tmp_path / "hub")
    read = huggingface_hub.ModelCard.load(tmp_path / "hub" / "README.md")
    read = huggingface_hub.ModelCard(read.content, ignore_metadata_errors=False)
    assert read.data.library_name == "cellsearch"
    assert read.data.license in LICENCES | {"unknown", "other"}
    figures = {result.metric_name: result.metric_value for result in read.data.eval_results}
    expected = leaky.metrics["hold_out"]["winner"]["metrics"]["balanced_accuracy"]["value"]
    assert figures["balanced accuracy"] == pytest.approx(expected, abs=1e-4)
    assert set(made_.files) == {
        ".gitattributes",
        *(p.relative_to(leaky.folder).as_posix() for p in leaky.folder.rglob("*") if p.is_file()),
    }
    attributes = (tmp_path / "hub" / ".gitattributes").read_text()
    assert "*.onnx filter=lfs diff=lfs merge=lfs -text" in attributes.splitlines()


def test_no_place_of_this_machine_is_told_and_the_card_still_verifies(
    leaky: ModelCard, tmp_path: Path
) -> None:
    made_ = write_hub_folder(leaky, tmp_path / "hub")
    assert made_.cleaned == {"README.md": 3}
    text = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert "cellsearch run --dataset cells --out x --from raw\n" in text
    for path in (tmp_path / "hub").rglob("*"):
        if path.is_file():
            assert b"anna" not in path.read_bytes(), path
    for picture in (leaky.folder / "plots").iterdir():
        copy = tmp_path / "hub" / "plots" / picture.name
        assert copy.read_bytes() == picture.read_bytes()
    assert ModelCard.load(tmp_path / "hub").verify().cells > 0
    assert "/home/anna" in leaky.readme


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--out /tmp/runs/demo --budget 4", "--out demo --budget 4"),
        ("in '/home/anna lee/cells/1'", "in '1'"),
        ("--from /home/anna --out /Users/anna/", "--from home --out home"),
        ('{"from": "C:\\\\Users\\\\anna lee\\\\raw"}', '{"from": "raw"}'),
        ("~/cells and ../cells.csv", "cells and cells.csv"),
        ("D:\\data\\x.csv", "x.csv"),
        ("https://github.com/minh-doan/MLCP", "https://github.com/minh-doan/MLCP"),
        (
            "plots/roc.png, true / predicted, 1/2, </b>",
            "plots/roc.png, true / predicted, 1/2, </b>",
        ),
    ],
)
def test_places(text: str, expected: str) -> None:
    assert without_places(text)[0] == expected


def test_a_link_that_leads_nowhere_is_refused(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    with (folder / "README.md").open("a", encoding="utf-8") as file:
        file.write("\n![gone](plots/gone.png)\n")
    write_checksums(folder)
    with pytest.raises(CardError, match=r"not in the card: plots/gone\.png"):
        write_hub_folder(ModelCard.load(folder), tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_a_changed_card_is_not_handed_over(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    (folder / "metrics.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CardError, match=r"metrics\.json has changed"):
        write_hub_folder(ModelCard.load(folder), tmp_path / "hub")


@dataclass
class Hub:
    """What the Hub's API gives and is given, as far as a push needs it."""

    address: str
    token: str = "hf_good"
    asked: list[str] = field(default_factory=list)
    created: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    summary: str = ""
    refuse_yaml: bool = False


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        if self.headers.get("authorization") != f"Bearer {self.hub.token}":
            self.answer(401, {"error": "Invalid user token."})
        elif self.path == "/api/whoami-v2":
            self.answer(200, {"name": "anna", "type": "user", "auth": {"type": "access_token"}})
        else:
            self.answer(404, {"error": f"no {self.path}"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.hub.asked.append(self.path)
        if self.path == "/api/repos/create":
            self.hub.created = json.loads(body)
            self.answer(200, {"url": f"{self.hub.address}/anna/cells"})
        elif self.path == "/api/validate-yaml":
            message = {"message": '"license" must be one of [...]', "line": 3}
            wrong = [message] if self.hub.refuse_yaml else []
            self.answer(400 if wrong else 200, {"errors": wrong, "warnings": []})
        elif self.path.startswith("/api/models/anna/cells/preupload/"):
            files = json.loads(body)["files"]
            # As small files are sent: within the commit.
            self.answer(
                200,
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for f in files
                    ]
                },
            )
        elif self.path.startswith("/api/models/anna/cells/commit/"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "header":
                    self.hub.summary = entry["value"]["summary"]
                elif entry["key"] == "file":
                    self.hub.files[entry["value"]["path"]] = base64.b64decode(
                        entry["value"]["content"]
                    )
            self.answer(
                200,
                {
                    "commitUrl": f"{self.hub.address}/anna/cells/commit/abc",
                    "commitOid": "abc",
                    "pullRequestUrl": None,
                    "success": True,
                },
            )
        else:
            self.answer(404, {"error": f"no {self.path}"})

    def answer(self, code: int, facts: dict[str, Any]) -> None:
        data = json.dumps(facts).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    class Own(Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", Own.hub.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    yield Own.hub
    server.shutdown()
    server.server_close()


def test_a_push_sends_the_whole_folder_in_one_commit(
    leaky: ModelCard, hub: Hub, tmp_path: Path
) -> None:
    done = push(leaky, "anna/cells", private=True, token="hf_good")
    assert done.url == f"{hub.address}/anna/cells/commit/abc"
    assert hub.created["name"] == "cells"
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    assert "/api/validate-yaml" in hub.asked
    assert {name: len(data) for name, data in hub.files.items()} == done.files
    for name, data in hub.files.items():
        path = tmp_path / "fetched" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    # Whoever fetches it has a card that verifies.
    assert ModelCard.load(tmp_path / "fetched").verify().cells > 0
    assert not any(b"anna" in data for data in hub.files.values())


def test_a_dry_run_lists_and_sends_nothing(
    leaky: ModelCard, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    result = CliRunner().invoke(
        app, ["push", str(leaky.folder), "anna/cells", "--dry-run", "--json"]
    )
    facts = json.loads(result.stdout)
    assert facts["url"] is None
    assert facts["files"]["model.onnx"] == (leaky.folder / "model.onnx").stat().st_size
    assert hub.asked == []


def test_without_a_token_one_line_says_how(
    leaky: ModelCard, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(CardError) as caught:
        push(leaky, "anna/cells")
    assert "hf auth login" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hub.asked == []


def test_a_refused_token_and_a_refused_card(leaky: ModelCard, hub: Hub) -> None:
    with pytest.raises(CardError, match=r"refuses: .*(401|token)") as caught:
        push(leaky, "anna/cells", token="hf_bad")
    assert "hf_bad" not in str(caught.value)
    assert hub.created == {}
    hub.refuse_yaml = True
    with pytest.raises(CardError, match="refuses"):
        push(leaky, "anna/cells", token="hf_good")
    assert hub.files == {}


def test_nobody_waits_for_a_hub_that_does_not_answer(
    leaky: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(push_module, "TRANSFER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CardError, match="cannot be reached") as caught:
            push(leaky, "anna/cells", token="hf_good", endpoint=address)
    assert "\n" not in str(caught.value)
    with pytest.raises(CardError, match="cannot be reached"):
        push(leaky, "anna/cells", token="hf_good", endpoint=address)


def test_a_repository_has_an_owner(leaky: ModelCard) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        push(leaky, "cells")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "torchscript", "-o", "x"], "TorchScript is not written"),
        (["--to", "huggingface", "-o", "x", "--licence", "MIT"], "only for --to bioimageio"),
        (["--to", "bioimageio", "-o", "x", "--cite", "a book"], "no DOI in 'a book'"),
        (["--to", "bioimageio", "-o", "x", "--author", "; a"], "expected 'NAME; AFFILIATION"),
        (["--to", "huggingface", "-o", "CARD"], "holds the card itself"),
    ],
)
def test_wrong_words_of_export(leaky: ModelCard, arguments: list[str], message: str) -> None:
    given = [str(leaky.folder) if word == "CARD" else word for word in arguments]
    result = CliRunner().invoke(app, ["export", str(leaky.folder), *given])
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_export_to_the_hub_from_the_command_line(leaky: ModelCard, tmp_path: Path) -> None:
    out = tmp_path / "hub"
    arguments = ["export", str(leaky.folder), "--to", "huggingface", "-o", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "exists" in str(CliRunner().invoke(app, arguments).exception)
    again = CliRunner().invoke(app, [*arguments, "--force", "--json"])
    assert json.loads(again.stdout)["cleaned"] == {"README.md": 3}
