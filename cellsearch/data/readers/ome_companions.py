"""OME-TIFF images that are spread over several files: which are needed, and each image once."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from cellsearch.data.arrays import listed
from cellsearch.errors import ReadError


def companions(path: Path) -> list[Path]:
    """The other files that an OME-TIFF's metadata name, whether they are there or not.

    Of a file that is not read as OME-TIFF, none.
    """
    root = _metadata(path)
    if root is None:
        return []
    own = root.get("UUID")
    names: dict[str, None] = {}
    for element in root.iter():
        tag = element.tag.rsplit("}", 1)[-1]
        if tag == "UUID" and (name := element.get("FileName")):
            # A file that was renamed still knows its own identifier.
            if own is None or (element.text or "").strip() != own:
                names[name] = None
        elif tag == "BinaryOnly" and (name := element.get("MetadataFile")):
            names[name] = None
    found = [path.parent / name.replace("\\", "/") for name in names]
    return [each for each in found if each.resolve() != path.resolve()]


def require_companions(path: Path) -> None:
    """Refuse an OME-TIFF of whose image parts lie in files that are not there.

    Raises:
        ReadError: their names; the message does not name ``path``.
    """
    gone = [each.name for each in companions(path) if not each.is_file()]
    if gone:
        raise ReadError(
            f"parts of its image lie in {listed(gone)}, which "
            f"{'is' if len(gone) == 1 else 'are'} not there: put the files of the set into one "
            "folder under their own names"
        )


def once_each(found: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Files and labels without those that an earlier file of the same set brings along.

    Each file of a set holds the metadata of all, so that each would give every cell.
    """
    taken: set[Path] = set()
    kept = []
    for path, label in found:
        if path.resolve() in taken:
            continue
        kept.append((path, label))
        others = companions(path)
        taken |= {other.resolve() for other in others if path.resolve() in _set_of(other)}
    return kept


def _set_of(path: Path) -> set[Path]:
    return {each.resolve() for each in companions(path)} if path.is_file() else set()


def _metadata(path: Path) -> ET.Element | None:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as tiff:
            text = tiff.ome_metadata
        return ET.fromstring(text) if text else None
    except Exception:  # whatever is wrong is said when it is read
        return None
