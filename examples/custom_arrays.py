"""A data set from arrays, a space built in Python, and a search: from numpy to a card.

Run: python examples/custom_arrays.py [FOLDER]
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from cellsearch import CellDataset, SearchSpace, search

rng = np.random.default_rng(0)
labels = np.repeat(["round", "long", "split"], [150, 60, 18])
rows, columns = np.mgrid[-12:12, -12:12]
images = rng.normal(90, 18, (len(labels), 24, 24))
for image, label in zip(images, labels, strict=True):
    squeeze = {"round": 1.0, "long": 2.2, "split": 1.4}[label]
    cell = (rows / 8) ** 2 + (columns * squeeze / 8) ** 2 < 1
    if label == "split":
        cell &= abs(rows) > 1
    image[cell] += rng.uniform(25, 45)

cells = CellDataset.from_arrays(images.clip(0, 255).astype(np.uint8), labels, name="shapes")
space = SearchSpace.from_dict(
    {
        "name": "shapes",
        "parameters": {
            "model.depth": {"int": [1, 3]},
            "model.width": {"choice": [8, 16]},
            "model.batch_norm": True,
            "loss.weighting": {"choice": ["none", "sqrt", "inv"]},
            "augment.flip": {"choice": [True, False]},
            "optim.lr": {"float": [1e-3, 1e-2], "log": True},
            "train.epochs": {"int": [4, 8]},
        },
    }
)
out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp()) / "shapes"
result = search(cells, space, budget=3, folds=2, backend="local", threads=1, out=out)

for row in result.leaderboard():
    print(f"trial {row.number}: out-of-fold balanced accuracy {row.score:.3f}")
print(result.card.headline)
print("card:", result.card.folder)
