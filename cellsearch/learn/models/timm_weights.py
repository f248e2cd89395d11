"""Where timm's names and weights lie on this machine; nothing here opens a connection.

Asking the network for weights that cannot be had takes 47 s a try, so nobody asks: files are
looked for first, and timm is handed a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_FILES = ("model.safetensors", "pytorch_model.bin")
_ENTRY = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)
_OWNER = re.compile(r"hf_hub_id=['\"]([\w-]+)/")


def base_of(name: str) -> str:
    """``resnet50`` of ``resnet50.a1_in1k``: the network without the tag of its weights."""
    return name.partition(".")[0]


def known_names() -> frozenset[str]:
    """Names of timm's networks, read from its sources: 0.1 s, where its import takes 9 s.

    Empty where the sources cannot be found.
    """
    return _declared()[0]


@cache
def _declared() -> tuple[frozenset[str], frozenset[str]]:
    """Names of networks, and owners on the Hugging Face hub."""
    spec = find_spec("timm")
    folders = (spec.submodule_search_locations if spec else None) or ()
    sources = [path for folder in folders for path in Path(folder, "models").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(sources))
    return frozenset(_ENTRY.findall(text)), frozenset(_OWNER.findall(text)) - {"timm"}


def anything_near(name: str) -> bool:
    """Whether any file is there that could hold weights of ``name``; timm is not imported.

    True is no promise: ``cached_weights`` looks exactly.
    """
    pattern = name if "." in name else f"{name}.*"
    patterns = [f"models--timm--{pattern}", f"models--timm--{base_of(name)}"]
    patterns += [f"models--{owner}--*" for owner in _declared()[1]]
    if any(_holds(hub_cache(), pattern) for pattern in patterns):
        return True
    return _holds(checkpoints(), "*")


def cached_weights(name: str) -> Path | None:
    """The file of the weights that timm means by a name it knows; None where it is not here.

    Imports timm. Weights of a name without a tag are those of timm's first tag.
    """
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        owner, _, revision = config.hf_hub_id.partition("@")
        for file in (config.hf_hub_filename,) if config.hf_hub_filename else _FILES:
            found: object = try_to_load_from_cache(
                owner, file, cache_dir=hub_cache(), revision=revision or None
            )
            if isinstance(found, str):
                return Path(found)
    if config.url:
        path = checkpoints() / str(config.url).rpartition("/")[2]
        if path.is_file():
            return path
    return None


def fetching(name: str) -> str:
    """The shell command that puts timm's weights of a name where ``cached_weights`` looks."""
    return f"python -c \"import timm; timm.create_model('{name}', pretrained=True)\""


def hub_cache() -> Path:
    """The Hugging Face hub's cache, as huggingface_hub finds it."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or str(_user_cache() / "huggingface")
    return Path(home).expanduser() / "hub"


def checkpoints() -> Path:
    """Where torch.hub keeps what it has downloaded."""
    home = os.environ.get("TORCH_HOME") or str(_user_cache() / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _holds(folder: Path, pattern: str) -> bool:
    entries: Iterator[Path] = folder.glob(pattern) if folder.is_dir() else iter(())
    return next(entries, None) is not None
