"""`cellsearch doctor`: what it says of this checks, and of broken ones."""

from __future__ import annotations

import json
import os
import py_compile
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from cellsearch.doctor import Check, checks, examine
from cellsearch.learn.precision import ALL
from cellsearch.util.wording import worded

from command_cases import cellsearch

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return lambda *words: cellsearch(capsys, monkeypatch, *words)


def one(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_this_machine(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    checks = list(examine(runs=tmp_path / "runs", on_progress=lambda *each: told.append(each)))
    assert not [check.line() for check in checks if check.state == "problem"]
    assert one(checks, "torch").found == metadata.version("torch")
    assert any(str(each) in one(checks, "device").found for each in ALL)
    assert f"{os.cpu_count()}" in one(checks, "CPU cores").found
    assert told[0] == ("loading torch and timing precisions", 0, 1)
    assert not (tmp_path / "runs").exists()


def test_json_and_exit_code(command: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "torch_devices", list)
    code, out, _ = command("doctor", "--json", "--runs", tmp_path)
    facts = json.loads(out)
    assert code == 0
    assert facts["problems"] == 0
    assert {"name", "state", "found", "remedy"} == set(facts["checks"][0])
    away = "postgresql://anna:secret@127.0.0.1:5499/x"
    code, out, error = command("doctor", "--storage", away, "--runs", tmp_path)
    assert code == 1
    assert "secret" not in out + error
    assert "127.0.0.1:5499" in out
    assert command("doctor", "--storage", "no url", "--runs", tmp_path)[0] == 1


def test_an_old_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "timm":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "optuna" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = list(checks.packages())
    assert one(found, "timm").state == "problem"
    assert "pip install" in one(found, "timm").remedy
    assert one(found, "optuna").state == "problem"
    assert "1.0" in one(found, "optuna").found


def test_a_torch_that_is_compiled_anew_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (check,) = checks.compiled()
    assert "PYTHONDONTWRITEBYTECODE" in check.found
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert not list(checks.compiled())
    py_compile.compile(str(tmp_path / "torch.py"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert not list(checks.compiled())


def test_missing_extras_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "h5py":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    check = next(checks.extras())
    assert check.state == "ok"
    assert "not installed: hdf5" in check.found


def test_limits_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    cores = next(checks.cores(tmp_path))
    assert cores.state == "warning"
    assert "--max-concurrent-trials 1" in worded(cores.remedy)
    assert next(checks.memory(tmp_path)).state == "warning"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert checks.core_limit(tmp_path) is None
    assert checks.memory_limit(tmp_path) is None
    old = tmp_path / "v1"
    (old / "cpu").mkdir(parents=True)
    (old / "cpu" / "cpu.cfs_quota_us").write_text("150000")
    (old / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert checks.core_limit(old) == 1.5


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    found = list(checks.folders(tmp_path / "file" / "runs"))
    assert one(found, "runs").state == "problem"
    assert "--out" in worded(one(found, "runs").remedy)
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "file"))
    assert one(list(checks.folders(tmp_path)), "cache").state == "problem"


def test_a_torch_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cellsearch.learn.machine", None)
    check = checks.torch_devices()[0]
    assert check.state == "problem"
    assert "pytorch.org" in check.remedy


def test_weights_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert "none here" in checks.weights().found
    (tmp_path / "models--timm--resnet18.a1_in1k").mkdir()
    assert "resnet18.a1_in1k" in checks.weights().found


@pytest.mark.slow
def test_ray_starts() -> None:
    assert checks.ray_starts() == Check("Ray", "ok", "starts and computes")


def test_ray_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_RAY", "raise SystemExit('no room in /dev/shm')")
    check = checks.ray_starts()
    assert check.state == "problem"
    assert "no room in /dev/shm" in check.found
    assert "--backend local" in worded(check.remedy)
