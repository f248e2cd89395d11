"""Whole searches of real cells whose labels were dealt out at random: nothing may be found.

    python benchmarks/shuffled_labels.py mhsma hep2 chula > benchmarks/results/shuffled_labels.txt

Each set's table is written anew with its labels shuffled and searched by the command as a user
types it. What it says must be "no evidence", and no interval may lie above guessing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cheap_families import SETS


def shuffled(table: Path, column: str, target: Path, seed: int) -> None:
    """The table with the labels of this column dealt out anew, and paths that hold anywhere."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = [row[column] for row in rows]
    dealt = np.random.default_rng(seed).permutation(len(rows))
    for row, place in zip(rows, dealt, strict=True):
        row[column] = labels[place]
        row["path"] = str((table.parent / row["path"]).resolve())
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Print what each search says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", choices=[each for each in SETS if each != "wbc"])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    for name in options.sets:
        folder, reader = SETS[name]
        with tempfile.TemporaryDirectory(prefix="shuffled-") as place:
            work = Path(place)
            column = str(reader.get("label_column", "label"))
            shuffled(options.data / folder / "labels.csv", column, work / "l.csv", options.seed)
            command = [
                *(sys.executable, "-m", "cellsearch", "run", "--dataset", str(work / "l.csv")),
                *(f"--option={key}={value}" for key, value in reader.items()),
                *("--rare", "drop", "--time", f"{options.minutes:g}m", "--out", str(work / "run")),
                *("--accept", "duplicate-across-classes"),
            ]
            began = time.time()
            environment = os.environ | {"CELLSEARCH_LEDGER": str(work / "ledger")}
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            found = json.loads((work / "run" / "card" / "metrics.json").read_text())
            held = found["hold_out"]["winner"]["metrics"]["balanced_accuracy"]
            chance = 1.0 / sum(
                bool(each["estimable"])
                for each in found["hold_out"]["winner"]["per_class"].values()
            )
            print(
                f"{name} ({time.time() - began:.0f} s): hold-out balanced accuracy "
                f"{held['value']:.3f} ({held['low']:.3f} to {held['high']:.3f}), guessing "
                f"{chance:.3f}; {found['verdict']['sentence']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
