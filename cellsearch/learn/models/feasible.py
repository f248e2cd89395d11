"""Whether a family can take such cells on this machine, told before any trial starts."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

from cellsearch.errors import TrialError
from cellsearch.learn.models.timm_weights import (
    anything_near,
    base_of,
    cached_weights,
    fetching,
    known_names,
)
from cellsearch.space.models import Model, TimmModel
from cellsearch.util.yaml_files import near_miss

SIDES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 240, 256, 288, 320, 384)
"""Sides tried where a network does not take a crop, px."""

SHOWN = 6
"""Most names that a message lists."""


def problem(model: Model, *, channels: int, classes: int, size: tuple[int, int]) -> str:
    """Why no network of a recipe can be trained here, in one line, or "".

    Only timm's networks can be out of reach: the other families take any crop of at least 1 px.
    A missing file or missing weights are told within a second, since neither torch nor timm is
    imported for it; all else imports timm (10 s, once).

    Args:
        model: the recipe's ``model`` section.
        channels: C.
        classes: K.
        size: (H, W) that the network sees, px.
    """
    if not isinstance(model, TimmModel):
        return ""
    # What the answer does not depend on, so that many recipes ask once.
    plain = model.model_copy(update={"dropout": 0.0})
    return (
        missing(plain)
        or _no_room(plain.name, channels, classes, size)
        or _no_fit(plain, channels, classes, size)
    )


def missing(model: TimmModel) -> str:
    """Why timm's network or its weights are not to be had on this machine, or ""."""
    return _no_file(model) or _no_name(model.name) or _no_weights(model)


def _no_file(model: TimmModel) -> str:
    if not model.weights:
        return ""
    if not model.pretrained:
        return "model.weights: a file is given, but model.pretrained is false; set it to true"
    path = Path(model.weights).expanduser()
    return "" if path.is_file() else f"model.weights: no file {str(path)!r}"


@cache
def _no_name(name: str) -> str:
    base, dot, tag = name.partition(".")
    if not dot and base in known_names():
        return ""
    import timm

    if not timm.is_model(base) or not base:
        listed = timm.list_models()
        hint = near_miss(base, listed) or f"; it knows {len(listed):,}, see timm.list_models()"
        return f"model.name: timm has no network {base!r}{hint}"
    tags = [found.partition(".")[2] for found in timm.list_pretrained(f"{base}.*")]
    if not dot or tag in tags:
        return ""
    known = ", ".join(f"{base}.{found}" for found in tags[:SHOWN]) or f"{base} without weights"
    return (
        f"model.name: timm has no weights {name!r}; it has {known}"
        f"{', ...' if len(tags) > SHOWN else ''}"
    )


def _no_weights(model: TimmModel) -> str:
    if not model.pretrained or model.weights:
        return ""
    missing = (
        f"model.pretrained: no weights of {model.name!r} on this machine and nothing is "
        f"downloaded during a search; fetch them once with `{fetching(model.name)}`, or name a "
        "file in model.weights"
    )
    if not anything_near(model.name):
        return missing
    import timm

    config = timm.get_pretrained_cfg(model.name)
    if config is None or not (config.hf_hub_id or config.url):
        tags = timm.list_pretrained(f"{base_of(model.name)}.*")
        hint = f"; it has {', '.join(tags[:SHOWN])}" if tags else ""
        return f"model.pretrained: timm has no weights of {model.name!r}{hint}"
    return missing if cached_weights(model.name) is None else ""


@cache
def _no_room(name: str, channels: int, classes: int, size: tuple[int, int]) -> str:
    """Why a network cannot take cells of that shape."""
    said = _try(name, channels, classes, size)
    if not said:
        return ""
    working = (side for side in SIDES if not _try(name, channels, classes, (side, side)))
    least = next(working, None)
    crops = f"{size[0]} x {size[1]}"
    if least is None:
        return f"model.name {name} cannot take {channels} channels of {crops} px: {said}"
    if least > min(size):
        roomy = least if _try(name, channels, classes, (2 * least, 2 * least)) else 2 * least
        return (
            f"model.name {name} needs crops of at least {least} px; these are {crops}: set "
            f"input.size (e.g. {roomy})"
        )
    nearest = next((side for side in working if side >= max(size)), least)
    return f"model.name {name} does not take crops of {crops} px: set input.size to {nearest}"


@cache
def _try(name: str, channels: int, classes: int, size: tuple[int, int]) -> str:
    import torch

    from cellsearch.learn.models.timm_net import build, fits

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Layers of no size at all warn before they fail.
        warnings.simplefilter("ignore")
        try:
            network = build(TimmModel(name=name), channels, classes, size)
        except TrialError as error:
            return str(error).removeprefix(f"model.name {name}: ")
        return fits(network, channels, size)


@cache
def _no_fit(model: TimmModel, channels: int, classes: int, size: tuple[int, int]) -> str:
    """Why weights or a frozen part do not fit a network that takes such cells."""
    if not model.pretrained and model.trainable == "all":
        return ""
    import torch

    from cellsearch.learn.models.timm_net import TimmNet, build, head_parameters

    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(0)
            begun = build(model, channels, classes, size)
            if not model.weights:
                return ""
            torch.manual_seed(0)
            drawn = build(TimmModel(name=model.name), channels, classes, size)
        except TrialError as error:
            return str(error)
    assert isinstance(begun, TimmNet)
    assert isinstance(drawn, TimmNet)
    # timm leaves what a file does not hold as it was drawn, and says nothing.
    fresh, head = dict(drawn.net.named_parameters()), head_parameters(drawn.net)
    left = [
        name
        for name, parameter in begun.net.named_parameters()
        if name not in head and parameter.ndim > 1 and torch.equal(parameter, fresh[name])
    ]
    if not left:
        return ""
    return (
        f"model.weights: {model.weights!r} does not fit {model.name}: nothing in it for {left[0]}"
        + (f" and {len(left) - 1} more" if len(left) > 1 else "")
    )
