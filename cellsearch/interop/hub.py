"""A card as a folder for the Hugging Face Hub: complete, links that hold, no local paths."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import copy_listed, write_checksums
from cellsearch.card.config import CONFIG
from cellsearch.card.replay import README, check_front_matter
from cellsearch.errors import CardError
from cellsearch.interop.exporters import Exported
from cellsearch.interop.files import new_folder
from cellsearch.interop.local_paths import clean_folder
from cellsearch.interop.rdf import About

ATTRIBUTES = ".gitattributes"
_LARGE = ("*.onnx", "*.safetensors", "*.npy", "*.npz", "*.png")


@dataclass(frozen=True)
class HubFolder:
    """A folder that can be pushed.

    Attributes:
        folder: where it lies.
        files: relative paths with their bytes.
        cleaned: text files in which local paths were cut to their last part, and how many.
    """

    folder: Path
    files: dict[str, int]
    cleaned: dict[str, int]


def export(
    card: ModelCard,
    out: Path,
    *,
    about: About,
    force: bool,
) -> Exported:
    """``write_hub_folder`` as an exporter; see ``exporters``."""
    made = write_hub_folder(card, out, force=force)
    lines = (
        f"{out}: {len(made.files)} files, front matter and links checked, card verified",
        *shortened_paths(made.cleaned),
        f"push it: cellsearch push {shlex.quote(str(card.folder))} OWNER/NAME",
    )
    return Exported({"folder": out, "files": made.files, "cleaned": made.cleaned}, lines)


def shortened_paths(cleaned: Mapping[str, int]) -> tuple[str, ...]:
    """A line on the local paths that were shortened in text files; none where none were."""
    if not cleaned:
        return ()
    named = ", ".join(f"{count} in {file}" for file, count in cleaned.items())
    return (f"paths of this machine shortened to their last part: {named}",)


def write_hub_folder(card: ModelCard, folder: Path, *, force: bool = False) -> HubFolder:
    """Copy a verified card, add ``.gitattributes``, and check it as the Hub would.

    The front matter with its model-index is parsed by ``huggingface_hub``, every link of README.md
    must be relative and lead to a file, and the copy must verify as the card does. The Hub's own
    validation of the front matter needs the network; ``push`` has it made.

    Raises:
        CardError: the card does not verify, a link leads nowhere, or something is there already.
    """
    card.verify()
    with new_folder(folder, mark=CONFIG, force=force) as building:
        copy_listed(card.folder, building)
        cleaned = clean_folder(building)
        write_checksums(building)
        (building / ATTRIBUTES).write_text(
            "".join(f"{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in _LARGE),
            encoding="utf-8",
        )
        check_front_matter(building / README)
        _require_links(building)
        ModelCard.load(building).verify()
        files = {
            path.relative_to(building).as_posix(): path.stat().st_size
            for path in sorted(building.rglob("*"))
            if path.is_file()
        }
    return HubFolder(folder, files, cleaned)


def _require_links(folder: Path) -> None:
    text = (folder / README).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    wrong = [
        link
        for link in links
        if not re.match(r"(https?:|mailto:|#)", link) and not (folder / link).is_file()
    ]
    if wrong:
        raise CardError(f"README.md links to what is not in the card: {', '.join(wrong)}")
