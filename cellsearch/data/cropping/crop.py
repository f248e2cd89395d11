"""Whole images and their label images as a data set of crops, one for each object."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import MAX_CHANNELS, listed, slug
from cellsearch.data.crop_sizes import LARGEST_CROP, STEP
from cellsearch.data.cropping import windows
from cellsearch.data.cropping.label_images import Object, Size, objects_in, read_labels
from cellsearch.data.cropping.pairs import Pair, find_pairs
from cellsearch.data.cropping.windows import Background
from cellsearch.data.dataset import CellDataset
from cellsearch.data.natural_order import natural
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, tiff_pages
from cellsearch.data.readers.cell_table import LabelOptions, labelled_by
from cellsearch.data.readers.images import TIFF_SUFFIXES, in_plain_words, read_image
from cellsearch.data.readers.options import ImageOptions, parse_options
from cellsearch.data.readers.spool import spooled
from cellsearch.data.readers.stack import find_groups, name_channels
from cellsearch.data.readers.tiff_facts import TiffFacts, facts_of
from cellsearch.errors import CellsearchError, ConfigError, DataError, ReadError
from cellsearch.util.messages import Message, Setting, joined
from cellsearch.util.named_path import named_path
from cellsearch.util.progress import Progress

Border = Literal["drop", "keep"]
LEAST_AREA = 15
"""px; what is smaller is no cell. Cellpose leaves out the same."""

OPTIONS = (
    "channels",
    "group_pattern",
    "label_column",
    "number_column",
    "file_column",
    "group_column",
    "class_names",
    "classes",
    "encoding",
    "separator",
)
_SHOWN = 20
_PLANES = ReadError(
    "slices, times or several images in one file, and the planes of an image are its channels: "
    "save one plane or a projection of them (ImageJ: Image > Stacks > Z Project)"
)


@dataclass(frozen=True)
class Counts:
    """What became of the objects.

    Attributes:
        images: pairs of an image and its label image.
        objects: in all label images.
        tiny: left out, as smaller than the least area.
        on_border: left out, as they reach the border of their image.
        unlabelled: left out, as the table of labels has no row for them.
        cells: cropped.
        larger: of those, how many are larger than their crop, and are cut at its edge.
        largest: the longest extent of a cropped object, px.
    """

    images: int
    objects: int
    tiny: int
    on_border: int
    unlabelled: int
    cells: int
    larger: int
    largest: int

    def side_for_all(self, margin: int) -> int:
        """Side in px of a crop that would hold every object."""
        return STEP * -(-(self.largest + 2 * margin) // STEP)


@dataclass(frozen=True, eq=False)
class Cropped:
    """Crops as a data set, and how they were cut.

    Attributes:
        cells: ids ``image#number``, sources and object numbers; groups are the images where
            nothing else was declared and there are two or more.
        counts: what became of the objects.
        margin: px between an object of the 95th percentile and the edge of its crop, at least.
    """

    cells: CellDataset
    counts: Counts
    margin: int


@dataclass(frozen=True)
class _Looked:
    """One pair, read once to see what is in it."""

    pair: Pair
    size: Size
    depth: int
    dtype: np.dtype[Any]
    objects: tuple[Object, ...]
    facts: TiffFacts


def crop_cells(
    images: str | Path,
    masks: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    class_folders: bool = False,
    size: int | None = None,
    margin: int | None = None,
    background: Background = "keep",
    scale: float | None = None,
    border: Border = "drop",
    least_area: int = LEAST_AREA,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> Cropped:
    """Crop each object of label images out of the whole images; pixels stay as they are.

    Args:
        images: a folder of images, however deep, or one image; 1 to 12 channels.
        masks: the label images, 0 for the background, such as ``a_cp_masks.png`` for ``a.tif``;
            None: beside the images.
        labels: a table with columns image, object and label, and optionally group; objects
            without a row are left out.
        class_folders: the folder that an image lies in, directly below ``images``, is the class
            of its cells.
        size: side of a crop, px; by default the 95th percentile of the objects' extents and a
            margin, in steps of 8 px.
        margin: px on each side; by default a tenth of that percentile.
        background: ``keep``, or ``mask``: all but the object gets the median of the crop's
            background.
        scale: side of a pixel in micrometres; by default what OME or ImageJ metadata say.
        border: whether objects that reach the border of their image are left out.
        least_area: px; smaller objects are left out.
        name: of the data set; by default that of the folder of images.
        options: ``channels``, ``group_pattern``, and of the table of labels ``label_column``,
            ``number_column``, ``file_column``, ``group_column``, ``class_names``, ``classes``,
            ``encoding`` and ``separator``, as readers have them.
        on_progress: told what is being done, how many are done, how many there are.

    Raises:
        ConfigError: settings that do not fit.
        DataError: files without a partner or that cannot be read, label images of another size
            or kind, images that differ in channels, dtype or scale; all at once, a line each.

    Example:
        >>> cropped = crop_cells("images", "masks", labels="labels.csv")
        >>> cropped.cells.counts
    """
    asked = _options(options or {})
    root = named_path(Path(images).expanduser())
    _refuse_settings(
        size=size,
        margin=margin,
        scale=scale,
        least_area=least_area,
        both=labels is not None and class_folders,
    )
    looked, problems = _looked_at(
        root,
        None if masks is None else Path(masks),
        named=bool(asked.channels),
        on_progress=on_progress,
    )
    problems += _differences(looked, scale)
    if class_folders:
        problems += _without_folder(looked)
    if not problems and not any(each.objects for each in looked):
        problems.append(Message.of(f"no objects in {len(looked)} label images"))
    if problems:
        raise DataError(f"{root}: ", _lines(problems))

    table = None if labels is None else named_path(Path(labels).expanduser())
    every = _labelled(looked, table, asked, class_folders=class_folders)
    owners = [(each, one) for each in looked for one in each.objects]
    told = [owners[place] for place in every.images]
    tiny = [one.area < least_area for _, one in told]
    outside = [border == "drop" and one.touches(each.size) for each, one in told]
    kept = [k for k in range(len(told)) if not tiny[k] and not outside[k]]
    dropped = sum(out and not small for out, small in zip(outside, tiny, strict=True))
    if not kept:
        raise DataError(
            f"{root}: no object is left: {sum(tiny)} of {len(told)} are smaller than ",
            Setting("least_area", least_area),
            f", and {dropped} reach the border of their image, which ",
            Setting("border", "keep"),
            " keeps",
        )
    extents = [told[k][1].extent for k in kept]
    margin = windows.default_margin(extents) if margin is None else margin
    side = size or windows.side_for(extents, margin)
    if side > LARGEST_CROP:
        raise DataError(
            f"{root}: objects of {max(extents)} px: crops would be {side} px wide, and "
            f"{LARGEST_CROP} px are taken; scale the images down, or give ",
            Setting("size", LARGEST_CROP),
        )
    counts = Counts(
        images=len(looked),
        objects=len(owners),
        tiny=sum(tiny),
        on_border=dropped,
        unlabelled=len(owners) - len(told),
        cells=len(kept),
        larger=sum(extent > side for extent in extents),
        largest=max(extents),
    )
    raw = _taken(every, kept)
    pixels = spooled(
        _crops(
            [told[k] for k in kept],
            side,
            background,
            named=bool(asked.channels),
            on_progress=on_progress,
        ),
        len(kept),
        ImageOptions(),
        root.name,
        None,
    )
    channels = _channels(looked, asked)
    sizes = {each.facts.pixel_size_um for each in looked}
    provenance = (raw.provenance or Provenance()).with_notes(Note("other", _how(side, background)))
    provenance = replace(provenance, pixel_size_um=scale or sizes.pop())
    raw = replace(raw, images=pixels, channels=channels, provenance=provenance)
    return Cropped(
        CellDataset.from_raw(raw, name=slug(name or root.resolve().name)), counts, margin
    )


def _options(options: Mapping[str, Any]) -> LabelOptions:
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise ConfigError(
            f"cells are cropped without the option {listed(unknown)}; options: {', '.join(OPTIONS)}"
        )
    return parse_options(LabelOptions, options, reader="crop")


def _refuse_settings(
    *, size: int | None, margin: int | None, scale: float | None, least_area: int, both: bool
) -> None:
    found = []
    if size is not None and margin is not None:
        found.append(
            Message.of(
                "give ",
                Setting("size", size),
                " or ",
                Setting("margin", margin),
                ": a margin is that of a size found by the objects",
            )
        )
    if size is not None and not STEP <= size <= LARGEST_CROP:
        found.append(Message.of(Setting("size", size), f": {STEP} to {LARGEST_CROP} px are taken"))
    if margin is not None and margin < 0:
        found.append(Message.of(Setting("margin", margin), ": 0 px or more"))
    if scale is not None and not 0 < scale < float("inf"):
        found.append(Message.of(Setting("scale", scale), ": micrometres above 0"))
    if least_area < 1:
        found.append(Message.of(Setting("least_area", least_area), ": 1 px or more"))
    if both:
        found.append(
            Message.of(
                "give ",
                Setting("labels"),
                " or ",
                Setting("class_folders", True),
                ": each names the classes",
            )
        )
    if found:
        raise ConfigError(joined(found))


def _looked_at(
    root: Path, masks: Path | None, *, named: bool, on_progress: Progress | None
) -> tuple[list[_Looked], list[Message]]:
    """Every pair that can be read, and what is wrong with the others."""
    pairs = find_pairs(root, masks)
    looked, problems = [], list(pairs.problems)
    for done, pair in enumerate(pairs.found):
        if on_progress:
            on_progress("looking at images", done, len(pairs.found))
        faults: list[Message] = []
        objects: tuple[Object, ...] = ()
        shape: Size | None = None
        try:
            numbers = read_labels(pair.mask)
            shape, objects = (numbers.shape[0], numbers.shape[1]), tuple(objects_in(numbers))
        except ReadError as error:
            faults.append(Message.of(f"{pair.mask.name}: ", error.message))
        try:
            image = read_whole(pair.image, shape, named=named)
            if not faults:
                facts = _facts(pair.image)
                looked.append(
                    _Looked(pair, image.shape[1:], len(image), image.dtype, objects, facts)
                )
        except ReadError as error:
            faults.append(Message.of(f"{pair.source}: ", error.message))
        problems += faults
    if on_progress:
        on_progress("looking at images", len(pairs.found), len(pairs.found))
    return looked, problems


def read_whole(path: Path, size: Size | None, *, named: bool) -> NDArray[Any]:
    """(C, H, W) of a whole image, channels first or last, of the size of its label image.

    Args:
        path: the image.
        size: (H, W) of the label image; None where it could not be read.
        named: whether the channels are named, so that slices or times may be channels.

    Raises:
        ReadError: as ``read_image``; another size than the label image's, or too many channels.
    """
    try:
        image = read_image(path, named=named)
    except ReadError as error:
        settings = [part.name for part in error.message.parts if isinstance(part, Setting)]
        raise (_PLANES if "layout" in settings else error) from None
    if size is not None and image.shape[1:] != size:
        if image.shape[:2] == size:
            image = np.moveaxis(image, 2, 0)
        else:
            height, width = image.shape[1:]
            turned = " (height and width are exchanged)" if (width, height) == size else ""
            raise ReadError(
                f"{height} x {width} px, but its label image has {size[0]} x {size[1]}{turned}"
            )
    if len(image) > MAX_CHANNELS:
        raise ReadError(f"{len(image)} channels; 1 to {MAX_CHANNELS} are taken")
    return image


def _facts(path: Path) -> TiffFacts:
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return TiffFacts()
    with in_plain_words(), tiff_pages.opened_alone(path) as tiff:
        return facts_of(tiff)


def _differences(looked: Sequence[_Looked], scale: float | None) -> list[Message]:
    """Images that cannot be of one data set."""
    found = []
    kinds: dict[str, list[str]] = defaultdict(list)
    sizes: dict[str, list[str]] = defaultdict(list)
    for each in looked:
        kinds[f"{each.depth} channels of {each.dtype}"].append(each.pair.source)
        said = each.facts.pixel_size_um
        sizes["no scale" if said is None else f"{said:.4g} um a pixel"].append(each.pair.source)
    for parts, what, remedy in (
        (kinds, "channels or dtypes", Message.of("crop each kind alone")),
        (
            sizes,
            "scales",
            Message.of("crop each alone, or say what is true of all with ", Setting("scale", "UM")),
        ),
    ):
        if len(parts) > 1 and not (parts is sizes and scale is not None):
            told = "; ".join(f"{kind}: {listed(those, most=3)}" for kind, those in parts.items())
            found.append(Message.of(f"images of different {what} ({told}): ", remedy))
    names = {each.facts.channels for each in looked}
    if len(names) > 1 and len(kinds) == 1:
        told = "; ".join(sorted(", ".join(each) if each else "no names" for each in names))
        found.append(
            Message.of(
                f"images of different channel names ({told}): give ",
                Setting("channels", "NAME,NAME", reader=True),
            )
        )
    return found


def _without_folder(looked: Sequence[_Looked]) -> list[Message]:
    loose = [each.pair.source for each in looked if "/" not in each.pair.source]
    if not loose:
        return []
    return [Message.of(f"{len(loose)} images lie in no folder of a class: {listed(loose)}")]


def _lines(problems: Sequence[Message]) -> Message:
    shown = list(problems[:_SHOWN])
    if len(problems) > _SHOWN:
        shown.append(Message.of(f"and {len(problems) - _SHOWN} more"))
    if len(problems) == 1:
        return problems[0]
    head = Message.of(f"{len(problems)} problems")
    return joined([head, *(Message.of("  ", each) for each in shown)])


def _labelled(
    looked: Sequence[_Looked], table: Path | None, options: LabelOptions, *, class_folders: bool
) -> RawCells:
    """Every object that has a class, or may be without one; its images are its positions."""
    owners = [(each.pair, one.number) for each in looked for one in each.objects]
    sources = [pair.source for pair, _ in owners]
    raw = RawCells(
        images=np.arange(len(owners)),
        labels=[source.split("/")[0] if class_folders else "" for source in sources],
        ids=[f"{pair.source}#{number}" for pair, number in owners],
        sources=sources,
        object_numbers=[number for _, number in owners],
        channels=(),
        groups=find_groups(options.group_pattern, sources),
    )
    if class_folders:
        raw = replace(raw, classes=tuple(sorted(set(raw.labels), key=natural)))
    raw = labelled_by(table, raw, options)
    if raw.groups is None and len(looked) > 1:
        # Cells of one image are more alike than those of two.
        names = {pair.source: pair.name for pair, _ in owners}
        twice = Counter(names.values())
        groups = [s if twice[names[s]] > 1 else names[s] for s in raw.sources]
        raw = replace(raw, groups=groups)
    return raw


def _taken(raw: RawCells, kept: Sequence[int]) -> RawCells:
    """The cells at these positions; classes that no cell has left are gone."""
    labels = [raw.labels[k] for k in kept]
    classes = raw.classes and tuple(name for name in raw.classes if name in set(labels))
    return replace(
        raw,
        labels=labels,
        ids=[raw.ids[k] for k in kept],
        sources=[raw.sources[k] for k in kept],
        object_numbers=[raw.object_numbers[k] for k in kept],
        groups=None if raw.groups is None else [raw.groups[k] for k in kept],
        classes=classes,
    )


def _crops(
    cells: Sequence[tuple[_Looked, Object]],
    side: int,
    background: Background,
    *,
    named: bool,
    on_progress: Progress | None,
) -> Iterator[NDArray[Any]]:
    """(n, C, side, side) of each image in turn; a second reading, for all do not fit in memory."""
    by_image: dict[Path, list[tuple[_Looked, Object]]] = defaultdict(list)
    for each, one in cells:
        by_image[each.pair.image].append((each, one))
    done = 0
    for those in by_image.values():
        looked = those[0][0]
        numbers = read_labels(looked.pair.mask)
        image = read_whole(looked.pair.image, looked.size, named=named)
        yield np.stack([windows.cut(image, numbers, one, side, background) for _, one in those])
        done += len(those)
        if on_progress:
            on_progress("cropping cells", done, len(cells))


def _channels(looked: Sequence[_Looked], options: LabelOptions) -> tuple[str, ...]:
    first = looked[0]
    # Three planes of a TIFF need not be colours.
    colour = first.pair.image.suffix.lower() not in TIFF_SUFFIXES
    said = first.facts.channels
    # A colour image is one channel to OME.
    said = said if said is not None and len(said) == first.depth else None
    try:
        return name_channels(options.channels or said, first.depth, colour=colour)
    except CellsearchError as error:
        raise DataError(f"{first.pair.source}: ", error) from None


def _how(side: int, background: Background) -> str:
    behind = {
        "keep": "with what lies around it",
        "mask": "all around it set to the median of the crop's background",
    }
    return f"cropped to {side} x {side} px about each object of a label image, {behind[background]}"
