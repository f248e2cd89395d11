"""Private memory of a worker beyond torch's own import, on Jurkat's shape and on ten times of it.

Each measurement is a process of its own that imports torch, notes its private memory (RssAnon:
pages of the memory-mapped images are the system's cache and shared by all workers), then trains
on every cell of the map and predicts them; a thread notes the peak. Linux alone has these counts.

    python benchmarks/worker_memory.py [--cells 7916]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

LIMIT = 250
STEPS = {"2-conv baseline": "baseline", "4-layer, batch norm, resampled, all augmentation": "large"}


def private_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not count private memory (RssAnon)")


def worker(folder: Path, which: str, cells: int) -> None:
    """Train and predict in this process; print the peak beyond torch's import, in MB."""
    import torch

    torch.set_num_threads(1)
    before = private_megabytes()
    peak = before
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, private_megabytes())

    threading.Thread(target=watch, daemon=True).start()
    from cellsearch.data.dataset import CellDataset
    from cellsearch.learn.fit import fit
    from cellsearch.space.recipe import Augment, Balance, CnnModel, Recipe, Train

    large = Recipe(
        model=CnnModel(
            depth=4,
            width=32,
            max_width=128,
            kernel=(3, 3, 3, 3),
            batch_norm=True,
            reduce="average",
            head_layers=0,
            head=(),
        ),
        balance=Balance(method="under", strength=0.7),
        augment=Augment(flip=True, rotate90=True, shift=3, brightness=0.2, blur=1.0, mixup=0.2),
        train=Train(epochs=1, weight_average=0.99),
    )
    recipe = large if which == "large" else Recipe(train=Train(epochs=1))
    dataset = CellDataset.open(folder)
    indices = np.arange(len(dataset), dtype=np.int64)
    # The large recipe takes as many cells from ten times the data set, from all over the map.
    chosen = indices if which == "baseline" else indices[:: max(1, len(indices) // cells)]
    fit(recipe, dataset, chosen, seed=0, device="cpu").predict_proba(
        dataset, indices[:: 1 + len(indices) // 8000]
    )
    done.set()
    print(round(max(peak, private_megabytes()) - before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=7916)
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "WHICH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(Path(options.worker[0]), options.worker[1], options.cells)
        return
    from cellsearch.data.dataset import CellDataset

    rng = np.random.default_rng(0)
    print(f"{'':<52}{'cells':>8}{'private MB':>12}{'seconds':>9}")
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "cells"
            cells = options.cells * times
            CellDataset.from_arrays(
                rng.integers(0, 4096, (cells, 2, 40, 40), dtype=np.uint16),
                rng.choice(7, cells, p=(0.45, 0.25, 0.2, 0.06, 0.02, 0.01, 0.01)),
                classes=[f"class-{k}" for k in range(7)],
            ).save(folder)
            for title, which in STEPS.items():
                command = [sys.executable, __file__, "--cells", str(options.cells)]
                command += ["--worker", str(folder), which]
                started = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds = time.perf_counter() - started
                print(f"{title:<52}{cells:>8}{int(done.stdout):>12}{seconds:>9.0f}", flush=True)
    print(f"\nlimit {LIMIT} MB, and the same for ten times the cells")


if __name__ == "__main__":
    main()
