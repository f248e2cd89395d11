"""README.md of a BioImage.IO package: the card's own, without what stays behind."""

from __future__ import annotations

import re

from cellsearch.card.card import ModelCard

_LEFT_OUT = ("How to use it", "How to repeat it", "Files", "Saliency", "Embedding of the hold-out")


def documentation(card: ModelCard) -> str:
    """The text: without front matter, pictures and files that are not in the package."""
    body = re.sub(r"\A---\n.*?\n---\n+", "", card.readme, flags=re.DOTALL)
    parts = re.split(r"^(?=## )", body, flags=re.MULTILINE)
    kept = [part for part in parts if not part.startswith(tuple(f"## {n}" for n in _LEFT_OUT))]
    text = re.sub(r"^!\[[^\]]*\]\([^)]*\)\n?", "", "".join(kept), flags=re.MULTILINE)
    text = text.replace(
        "The `license` field above repeats the licence of the cells.",
        "That is the licence of the cells; the package names its own.",
    )
    return text.rstrip() + "\n\n" + _use(card) + "\n" + _validation(card)


def _use(card: ModelCard) -> str:
    config = card.config
    fit = {
        "pad": "Crops of another size must be padded or cut about their centre first",
        "shrink": "Smaller crops must be padded about their centre first, with the median of their "
        "border; larger ones shrunk, aspect kept, then padded",
    }.get(config.fit, "Crops of another size must be brought to this one first")
    return f"""## How to use this package

Input `{config.onnx.input}`: batch, channel ({", ".join(config.channels)}), y {config.height} px, \
x {config.width} px, raw intensities of {config.dtype}; they become float32 unchanged and nothing \
else is done to them, since normalisation is part of the graph. {fit}.
Output `{config.onnx.output}`: batch, channel ({", ".join(config.classes)}): probabilities, which \
add up to 1.

`config.json` holds the intensities seen in training, thresholds of abstention and prediction \
sets; `metrics.json` every figure with its interval. The whole card (out-of-fold predictions, \
splits, pictures) is made by `cellsearch`.
"""


def _validation(card: ModelCard) -> str:
    return f"""## Validation

{card.headline[0].upper()}{card.headline[1:]}; the cells were locked away before the search and \
scored once. To validate it on cells of your own, which must be labelled and must not be among \
the cells it was trained on, predict them, count the confusion matrix and read the recall of \
each class beside the table above, with an interval: a class of ten cells says little. Other \
instruments, stains and samples are other cells; expect lower figures there.
"""
