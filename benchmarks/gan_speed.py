"""Seconds to train a generator of one class, and to read it back from the cache.

Run: python benchmarks/gan_speed.py [STEPS]

Prophase cells of one fold of the `jurkat` data set, 2 x 40 x 40 px, settings as in `Gan`. Aim:
under 120 s to train on two cores, under 1 s for a trial that finds it in the cache.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

import numpy as np


def main() -> None:
    """Print both figures for each kind."""
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    import torch

    from cellsearch import load_dataset
    from cellsearch.data.splits import draw_splits
    from cellsearch.learn.gans import generated_cells
    from cellsearch.space.sections import Gan

    steps = int(sys.argv[1]) if len(sys.argv) > 1 else Gan().steps
    cells = load_dataset("jurkat")
    training = draw_splits(cells, seed=0).training(0)
    label = cells.classes.index("Prophase")
    of_class = int(np.sum(cells.labels[training] == label))
    threads = torch.get_num_threads()
    print(f"{of_class} prophase cells of one fold, {steps} steps, {threads} threads")
    for kind in ("wgan-gp", "wgan-div"):
        gan = Gan(kind=kind, steps=steps)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CELLSEARCH_CACHE"] = folder
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                generated_cells(
                    cells, training, gan, seed=0, device=torch.device("cpu"), classes=[label]
                )
                seconds.append(time.perf_counter() - started)
        print(f"{kind}: trained in {seconds[0]:.1f} s, read from the cache in {seconds[1]:.3f} s")


if __name__ == "__main__":
    main()
