"""Which label image belongs to which image: by name, as segmentation programmes give it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cellsearch.data.arrays import listed
from cellsearch.data.folder_walk import walk
from cellsearch.data.readers.cell_table import bare
from cellsearch.data.readers.stack import relative
from cellsearch.errors import ReadError
from cellsearch.util.messages import Message, Setting
from cellsearch.util.named_path import named_path
from cellsearch.util.spelling import composed

_MASK = re.compile(
    r"(?i)(?<=.)[-_. ](?:cp[-_ ]masks?|masks?|labels?|label[-_ ]images?|instances?|"
    r"object[-_ ]identities)$"
)
"""What names of label images end in: Cellpose, StarDist, ilastik, QuPath, and by hand."""
_OTHER = re.compile(
    r"(?i)(?<=.)[-_. ](?:cp[-_ ])?(?:flows?|dp|cellprob|outlines?|probabilities|"
    r"simple[-_ ]segmentation|object[-_ ]predictions)$"
)
"""What the same programmes write beside them, which is neither."""
NAMES = "_cp_masks, _masks, _labels, _Object Identities"


@dataclass(frozen=True)
class Pair:
    """An image and the label image of its objects.

    Attributes:
        image: whole image.
        mask: its label image.
        source: the image's path below the folder of images, with forward slashes.
    """

    image: Path
    mask: Path
    source: str

    @property
    def name(self) -> str:
        """The source without its suffix."""
        return bare(self.source)


@dataclass(frozen=True)
class Pairs:
    """Images with their label images, and what stands alone.

    Attributes:
        found: in natural order of the images.
        problems: a line each; empty where every file has a partner.
    """

    found: tuple[Pair, ...]
    problems: tuple[Message, ...]


def find_pairs(images: Path, masks: Path | None = None) -> Pairs:
    """Pair images with label images.

    A label image is called as its image, or so with ``_cp_masks``, ``_masks``, ``-labels``,
    ``_Object Identities`` behind it; it lies in the folder of the same name below ``masks``, or
    anywhere below it where one image alone is called so.

    Args:
        images: a folder of images, however deep, or one image.
        masks: the same of label images; None: they lie beside the images.

    Raises:
        ReadError: a folder that is not there, or of which a part cannot be read.
    """
    images = named_path(images.expanduser())
    masks = images if masks is None else named_path(masks.expanduser())
    shared = images.resolve() == masks.resolve()
    if images.is_file() and masks.is_file() and not shared:
        return Pairs((Pair(images, masks, images.name),), ())
    root = images if images.is_dir() else images.parent
    below = masks if masks.is_dir() else masks.parent
    whole = _files(images)
    labelled = _files(below if masks == images else masks)
    # One folder may lie in the other.
    if below != root and below.is_relative_to(root):
        whole = [path for path in whole if not path.is_relative_to(below)]
    elif below != root and root.is_relative_to(below):
        labelled = [path for path in labelled if not path.is_relative_to(root)]
    if shared or (images.is_file() and below == root):
        # One folder holds both: names alone tell them apart.
        whole = [path for path in whole if not _MASK.search(bare(path.name))]
        labelled = [path for path in labelled if _MASK.search(bare(path.name))]
    if images.is_file():
        wanted = composed(bare(images.name))
        labelled = [path for path in labelled if _stem(path) == wanted]
    return _paired(whole, labelled, root, below)


def _files(place: Path) -> list[Path]:
    if not place.exists():
        raise ReadError(f"{place}: no such file or folder")
    if place.is_file():
        return [place]
    there = walk(place)
    there.require_whole()
    return [path for path in there.images if not _OTHER.search(bare(path.name))]


def _stem(mask: Path) -> str:
    return composed(_MASK.sub("", bare(mask.name)))


def _paired(whole: Sequence[Path], labelled: Sequence[Path], root: Path, below: Path) -> Pairs:
    exact, loose = defaultdict(list), defaultdict(list)
    for mask in labelled:
        # An image may itself be called so: of "a_masks" and "a", the longer name is meant first.
        for stem in {_stem(mask), composed(bare(mask.name))}:
            exact[composed(_folder(mask, below)), stem].append(mask)
            loose[stem].append(mask)
    names = [composed(bare(path.name)) for path in whole]
    found, problems, alone, used = [], [], [], set()
    for path, name in zip(whole, names, strict=True):
        source = relative(path, root)
        partners = exact[composed(_folder(path, root)), name]
        if not partners and names.count(name) == 1:
            partners = loose[name]
        if len(partners) == 1:
            found.append(Pair(path, partners[0], source))
        elif partners:
            several = listed([relative(mask, below) for mask in partners])
            problems.append(Message.of(f"{source}: {len(partners)} label images ({several})"))
        else:
            alone.append(source)
        used.update(partners)
    problems += _alone(alone, [relative(mask, below) for mask in labelled if mask not in used])
    shared: dict[Path, list[str]] = defaultdict(list)
    for pair in found:
        shared[pair.mask].append(pair.source)
    problems += [
        Message.of(f"{relative(mask, below)}: label image of {len(those)} images ({listed(those)})")
        for mask, those in shared.items()
        if len(those) > 1
    ]
    if not whole and not labelled:
        problems.append(Message.of(f"{root}: no images in it"))
    return Pairs(tuple(found), tuple(problems))


def _alone(images: Sequence[str], masks: Sequence[str]) -> list[Message]:
    found = []
    if images:
        text = f"{len(images)} without a label image: {listed(images)}; expected the same name"
        found.append(
            Message.of(
                f"{text}, or one that ends in {NAMES}; name their folder with ",
                Setting("masks", "FOLDER"),
            )
        )
    if masks:
        found.append(Message.of(f"{len(masks)} label images without an image: {listed(masks)}"))
    return found


def _folder(path: Path, root: Path) -> str:
    return relative(path.parent, root)
