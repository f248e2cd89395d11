"""cellsearch against a search by hand: same cells, space, number of trials, hold-out, machine.

Both run one after the other, in fresh processes, several times in turn; medians are printed.

    python benchmarks/against_handwritten.py --dataset jurkat --from ../shared/data/mlcp
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cellsearch.data.source import load_dataset
from cellsearch.data.splits import draw_splits

HERE = Path(__file__).parent
SPACE = HERE / "peer_space.yaml"


def by_hand(folder: Path, options: argparse.Namespace, seed: int) -> dict[str, float]:
    out = folder / f"hand-{seed}.json"
    command = [sys.executable, str(HERE / "handwritten_search.py"), str(folder / "development")]
    command += ["--holdout", str(folder / "holdout"), "--space", str(SPACE), "--out", str(out)]
    command += ["--trials", str(options.trials), "--folds", str(options.folds)]
    began = time.monotonic()
    subprocess.run([*command, "--seed", str(seed)], check=True, env=plain_environment())
    facts = json.loads(out.read_text())
    facts["wall"] = time.monotonic() - began
    return facts


def by_cellsearch(folder: Path, options: argparse.Namespace, seed: int) -> dict[str, float]:
    out = folder / f"run-{seed}"
    command = [sys.executable, "-m", "cellsearch", "run", "--dataset", options.dataset]
    command += ["--space", str(SPACE), "--budget", str(options.trials), "--out", str(out)]
    command += ["--folds", str(options.folds), "--seed", str(seed)]
    if options.mirror:
        command += ["--from", str(options.mirror)]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - began
    metrics = json.loads((out / "card" / "metrics.json").read_text())
    holdout = metrics["hold_out"]["winner"]["metrics"]["balanced_accuracy"]["value"]
    return {"wall": wall, "holdout_balanced_accuracy": holdout}


def plain_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "ignore"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="jurkat")
    parser.add_argument("--from", dest="mirror", type=Path)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    cells = load_dataset(options.dataset, mirror=options.mirror)
    rows = []
    for seed in range(options.repeats):
        with TemporaryDirectory() as name:
            folder = Path(name)
            splits = draw_splits(cells, folds=options.folds, seed=seed)
            for part, chosen in (("development", splits.development), ("holdout", splits.holdout)):
                (folder / part).mkdir()
                np.save(folder / part / "images.npy", cells.images[chosen])
                np.save(folder / part / "labels.npy", cells.labels[chosen])
            ours = by_cellsearch(folder, options, seed)
            theirs = by_hand(folder, options, seed)
        rows.append((ours, theirs))
        print(
            f"seed {seed}: cellsearch {ours['wall']:.0f} s, hold-out "
            f"{ours['holdout_balanced_accuracy']:.3f}; by hand {theirs['wall']:.0f} s, hold-out "
            f"{theirs['holdout_balanced_accuracy']:.3f} ({theirs['folds_run']} folds run)",
            flush=True,
        )
    ratio = statistics.median(theirs["wall"] / ours["wall"] for ours, theirs in rows)
    print(
        f"{options.dataset}, {len(cells):,} cells, {options.trials} trials, {options.folds} folds, "
        f"{os.cpu_count()} cores: by hand takes {ratio:.2f} times the wall time (command to "
        f"hold-out score; cellsearch also trains and scores its baseline and writes its card)"
    )
    for name, side in (("cellsearch", 0), ("by hand", 1)):
        scores = [row[side]["holdout_balanced_accuracy"] for row in rows]
        print(f"{name}: median hold-out balanced accuracy {statistics.median(scores):.3f}")


if __name__ == "__main__":
    main()
