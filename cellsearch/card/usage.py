"""The part of README.md that says how to use the card, and what lies in it."""

from __future__ import annotations

from cellsearch.card.config import CardConfig

OUT_OF_FOLD = "out_of_fold.csv"
OPTIONAL = (OUT_OF_FOLD, "saliency.npz", "importance.json")
FILES = (
    (
        "model.onnx",
        "the model: raw intensities or features in, probabilities and class out",
    ),
    ("model.safetensors", "the same weights, for torch; the temperature is not in them"),
    ("config.json", "classes, channels, size, dtype, intensity ranges, recipe, data"),
    ("test_input.npy, test_output.npy", "hold-out cells and what the model gives for them"),
    ("predictions.csv", "every hold-out cell: true and predicted class, probabilities"),
    (OUT_OF_FOLD, "the same of the winner's out-of-fold predictions in the search"),
    ("metrics.json", "every figure with its interval, winner and baseline, and the verdict"),
    ("importance.json", "which parameters and choices mattered, class by class"),
    ("calibration.json", "reliability before and after the temperature, bin by bin"),
    ("curves.json", "ROC and precision-recall curves of each class, with their areas"),
    ("embedding.csv", "where each hold-out cell lies on the map"),
    ("saliency.npz", "saliency of some hold-out cells, float16"),
    ("splits.json", "which cells were hold-out and folds"),
    (
        "cells.npy",
        "a digest of each cell's pixels, by which `cellsearch run --init-from` knows them again",
    ),
    ("recipe.yaml", "the winner's parameters"),
    ("versions.json", "Python, packages and platform"),
    ("plots/", "the pictures, as PNG and SVG"),
    ("checksums.json", "sha256 of every other file"),
)


def usage(config: CardConfig) -> str:
    """How to use the card on the command line, with onnxruntime alone, and from Python."""
    shape = f"(N, {len(config.channels)}, {config.height}, {config.width})"
    needs, imported, given = "onnxruntime and numpy alone", "", 'images.astype("float32")'
    if config.features is not None:
        needs = "onnxruntime and what measures the features"
        imported = "from cellsearch.data.features import measure\n"
        given = "measure(images)"
    return f"""## How to use it

`card` stands for this folder. On the command line, after `pip install cellsearch`:

```sh
cellsearch verify card
cellsearch predict card IMAGES -o predictions.csv
```

With {needs}, run in this folder; normalisation and softmax are in the graph:

```python
import json, os, pathlib, numpy
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else onnxruntime reports to Microsoft
import onnxruntime
{imported}classes = json.loads(pathlib.Path("config.json").read_text("utf-8"))["classes"]
images = numpy.load("test_input.npy")  # {shape}, raw intensities of {config.dtype}
session = onnxruntime.InferenceSession("model.onnx")
probabilities, decided = session.run(None, {{"{config.onnx.input}": {given}}})
print([classes[k] for k in decided])
```

From Python, with dtype, size and intensity range checked:

```python
import numpy
from cellsearch import load_card

card = load_card("card")
images = numpy.load("card/test_input.npy")  # {shape}, {config.dtype}
probabilities = card.predict(images)  # (N, {len(config.classes)}) float32
decided = card.decide(probabilities)  # (N,) positions in card.classes
```
"""
