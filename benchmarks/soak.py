"""A run that is killed again and again must end like one that is left alone.

    python benchmarks/soak.py --kills 100 --backend ray > benchmarks/results/soak.txt

The same small search (generated cells, networks and quick models, a fixed seed, one trial at a
time) is made twice. One is left alone. The other is begun again and again by the command that a
user would type, and each time something of it is killed with SIGKILL after a random time: the
driver, a worker, the raylet, the GCS, or two at once; now and then the driver gets SIGTERM or
SIGINT instead. After each kill every fold that was finished must lie there with the same bytes. In
the end leaderboard, card and predictions must be those of the run that was left alone, ``verify``
and ``audit`` must pass, and nothing may be left: no process, no temporary file.

``--plant fold`` or ``--plant score`` changes a byte of a finished fold, or a trial's score, behind
the program's back, to show that the harness would notice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

Victim = Literal["driver", "worker", "raylet", "gcs", "driver and worker", "SIGTERM", "SIGINT"]
OF_DRIVER: tuple[Victim, ...] = ("driver", "driver", "SIGTERM", "SIGINT")
OF_RAY: tuple[Victim, ...] = (*OF_DRIVER, "worker", "worker", "raylet", "gcs", "driver and worker")
NAMES = {"worker": "ray::", "raylet": "raylet/raylet", "gcs": "gcs_server"}
SPACE = """name: soak
parameters:
  model.family: {choice: [cnn, logreg]}
  model.features: {value: pixels, when: {model.family: logreg}}
  model.depth: {value: 1, when: {model.family: cnn}}
  model.width: {value: 8, when: {model.family: cnn}}
  model.batch_norm: {value: true, when: {model.family: cnn}}
  loss.weighting: {choice: [none, sqrt, inv]}
  optim.lr: {float: [3.0e-3, 3.0e-2], log: true, when: {model.family: network}}
  train.epochs: {int: [6, 12], when: {model.family: network}}
"""


def write_cells(folder: Path) -> Path:
    """Noisy crops whose bright square grows with the class, as one ``.npz``."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [120, 60, 30])
    images = rng.normal(80.0, 25.0, (len(labels), 16, 16, 1))
    for cell, label in enumerate(labels):
        side = 4 + 3 * label
        top, left = rng.integers(0, 16 - side, 2)
        images[cell, top : top + side, left : left + side] += 45.0
    path = folder / "cells.npz"
    np.savez(path, images=images.clip(0, 255).astype(np.uint8), labels=labels)
    return path


@dataclass
class Scene:
    """Where both runs happen, and the command of each."""

    folder: Path
    backend: str
    budget: int
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, run: Path) -> list[str]:
        """What a user types, each time the same."""
        return [
            *(sys.executable, "-m", "cellsearch", "run"),
            *("--dataset", str(self.folder / "cells.npz"), "--space", str(self.folder / "s.yaml")),
            *("--budget", str(self.budget), "--folds", "3", "--seed", "7", "--out", str(run)),
            *("--backend", self.backend, "--precision", "fp32", "--threads", "1"),
            *("--max-concurrent-trials", "1"),
        ]

    def begin(self, run: Path) -> subprocess.Popen[bytes]:
        with (self.folder / f"{run.name}.log").open("ab") as log:
            return subprocess.Popen(
                self.command(run),
                stdout=log,
                stderr=subprocess.STDOUT,
                # The second run is no second look at the same hold-out.
                env=self.environment | {"CELLSEARCH_LEDGER": str(self.folder / f"of-{run.name}")},
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """All of ours that are alive, the driver's and those of its Ray."""
        found = []
        for each in psutil.process_iter():
            try:
                words = each.environ() if each.uids().real == os.getuid() else {}
                if words.get("SOAK") == self.environment["SOAK"] and each.pid != os.getpid():
                    found.append(each)
            except psutil.Error:
                continue
        return found


def finished(run: Path) -> bool:
    try:
        return bool(json.loads((run / "run.json").read_text())["state"] == "finished")
    except (OSError, ValueError, KeyError):
        return False


def folds_of(run: Path) -> dict[str, str]:
    """Digest of every finished fold."""
    found = {}
    for path in sorted((run / "trials").glob("*/fold*.npz")):
        found[str(path.relative_to(run))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def probabilities_of(run: Path) -> dict[str, bytes]:
    """What each finished fold holds beside its times, which no two runs share."""
    found = {}
    for path in sorted((run / "trials").glob("*/fold*.npz")):
        with np.load(path) as stored:
            found[str(path.relative_to(run))] = stored["probabilities"].tobytes()
    return found


def leaderboard(run: Path) -> list[tuple[int, str, float | None]]:
    """Number, state and score of each trial, from the database itself."""
    with sqlite3.connect(run / "study.db") as database:
        rows = database.execute(
            "select t.number, t.state, v.value from trials t "
            "left join trial_values v on v.trial_id = t.trial_id order by t.number"
        ).fetchall()
    return [(int(n), str(state), None if v is None else round(float(v), 9)) for n, state, v in rows]


def shoot(scene: Scene, driver: subprocess.Popen[bytes], victim: Victim) -> str:
    """Kill what was chosen; the driver where there is no such process."""
    ours = scene.processes()
    chosen: list[psutil.Process] = []
    for kind, sign in NAMES.items():
        if kind in victim:
            chosen += [p for p in ours if sign in " ".join(_words(p))][:1]
    signum = signal.SIGKILL
    if victim in ("SIGTERM", "SIGINT"):
        signum = signal.Signals[victim]
    if "driver" in victim or victim in ("SIGTERM", "SIGINT") or not chosen:
        os.kill(driver.pid, signum)
    for process in chosen:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    return victim


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def left_behind(scene: Scene, run: Path, *, seconds: float) -> list[str]:
    """Processes that are still there after so long, and temporary files."""
    until = time.time() + seconds
    while time.time() < until and scene.processes():
        time.sleep(0.5)
    left = [" ".join(_words(each))[:80] for each in scene.processes()]
    left += [str(path.relative_to(run)) for path in run.rglob("*.tmp")]
    return left


def plant(run: Path, what: str) -> None:
    """Damage done behind the program's back."""
    if what == "fold":
        path = next(iter(sorted((run / "trials").glob("*/fold*.npz"))))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    else:
        with sqlite3.connect(run / "study.db") as database:
            database.execute("update trial_values set value = value - 0.01")


def compare(calm: Path, shaken: Path) -> list[str]:
    """In what the two runs differ."""
    wrong = []
    if leaderboard(calm) != leaderboard(shaken):
        wrong.append(f"leaderboards: {leaderboard(calm)} and {leaderboard(shaken)}")
    if probabilities_of(calm) != probabilities_of(shaken):
        wrong.append("the folds hold other probabilities")
    for name in ("predictions.csv", "out_of_fold.csv"):
        ours, theirs = ((run / "card" / name).read_bytes() for run in (calm, shaken))
        if ours != theirs:
            wrong.append(f"card/{name} differs")
    parts: list[Mapping[str, object]] = [
        json.loads((run / "card" / "metrics.json").read_text()) for run in (calm, shaken)
    ]
    for key in ("hold_out", "out_of_fold", "verdict", "decisions"):
        if parts[0].get(key) != parts[1].get(key):
            wrong.append(f"metrics.json: {key} differs")
    return wrong


def run_soak(scene: Scene, kills: int, planted: str, seed: int) -> list[str]:
    """Shake a run, and say what went wrong."""
    rng = random.Random(seed)
    calm, shaken = scene.folder / "calm", scene.folder / "shaken"
    began = time.time()
    scene.begin(calm).wait(timeout=1800)
    alone = time.time() - began
    print(f"left alone: {alone:.0f} s, {len(folds_of(calm))} folds", flush=True)
    if not finished(calm):
        return ["the calm run did not finish"]
    wrong: list[str] = []
    shots: dict[str, int] = {}
    done = 0
    for start in range(1, kills + 50):
        before = folds_of(shaken)
        driver = scene.begin(shaken)
        if done < kills:
            wait = rng.uniform(2.0, max(6.0, 0.4 * alone))
            try:
                driver.wait(timeout=wait)
            except subprocess.TimeoutExpired:
                victim = rng.choice(OF_RAY if scene.backend == "ray" else OF_DRIVER)
                shots[shoot(scene, driver, victim)] = shots.get(victim, 0) + 1
                done += 1
        try:
            driver.wait(timeout=900)
        except subprocess.TimeoutExpired:
            wrong.append(f"start {start}: the driver hangs")
            driver.kill()
        after = folds_of(shaken)
        lost = [name for name, sha in before.items() if after.get(name) != sha]
        if lost:
            wrong.append(f"start {start}: {len(lost)} finished folds lost or changed: {lost[:3]}")
        if planted and after and done >= kills // 2:
            plant(shaken, planted)
            planted = ""
        if finished(shaken):
            break
    print(f"{done} kills in {start} starts: {shots}", flush=True)
    if not finished(shaken):
        return [*wrong, "the shaken run did not finish"]
    wrong += compare(calm, shaken)
    for run in (calm, shaken):
        for check in ("verify", "audit"):
            target = run / "card" if check == "verify" else run
            command = [sys.executable, "-m", "cellsearch", check, str(target)]
            if subprocess.run(command, env=scene.environment, capture_output=True).returncode:
                wrong.append(f"{check} {run.name} fails")
    wrong += [f"left behind: {each}" for each in left_behind(scene, shaken, seconds=90.0)]
    return wrong


def main() -> int:
    """Print what was done and found; 1 where anything was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--backend", choices=("local", "ray"), default="local")
    parser.add_argument("--plant", choices=("fold", "score"), default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    environment = os.environ | {
        "SOAK": folder.name,
        "CELLSEARCH_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    scene = Scene(folder, options.backend, options.budget, environment)
    write_cells(folder)
    (folder / "s.yaml").write_text(SPACE)
    wrong = run_soak(scene, options.kills, options.plant, options.seed)
    for line in wrong:
        print(f"WRONG: {line}")
    print("nothing was lost, and both runs ended alike" if not wrong else f"{len(wrong)} wrong")
    if options.keep:
        print(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
