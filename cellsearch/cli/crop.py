"""``cellsearch crop``: cells cut out of whole images by label images."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from cellsearch.cli import completion
from cellsearch.cli.convert import FORMATS
from cellsearch.cli.options import Json, ReaderOptions, reader_options


def crop(
    images: Annotated[
        Path, typer.Argument(help="Folder of whole images, or one image.", metavar="IMAGES")
    ],
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder or file to write.", metavar="PATH")
    ],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Label images, 0 for the background: called as the images, or with _cp_masks, "
            "_masks, -labels, _Object Identities behind the name. Default: beside the images.",
            metavar="MASKS",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Table with columns image, object, label, and optionally group; objects without "
            "a row are left out.",
            metavar="TABLE",
        ),
    ] = None,
    class_folders: Annotated[
        bool,
        typer.Option("--class-folders", help="The folders in IMAGES are the classes."),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of a crop, px. Default: the 95th percentile of the objects' extents and a "
            "margin, in steps of 8.",
            metavar="PX",
        ),
    ] = None,
    margin: Annotated[
        int | None,
        typer.Option(
            help="Margin on each side, px. Default: a tenth of that percentile.", metavar="PX"
        ),
    ] = None,
    background: Annotated[
        Literal["keep", "mask"],
        typer.Option(
            help="keep what lies around an object, or mask it: all but the object gets the median "
            "of the crop's background, channel by channel."
        ),
    ] = "keep",
    scale: Annotated[
        float | None,
        typer.Option(
            help="Side of a pixel in um. Default: what OME or ImageJ metadata say.", metavar="UM"
        ),
    ] = None,
    border: Annotated[
        Literal["drop", "keep"],
        typer.Option(help="drop or keep objects that reach the border of their image."),
    ] = "drop",
    least_area: Annotated[
        int, typer.Option(help="Leave out objects of fewer px.", metavar="PX")
    ] = 15,
    to: Annotated[
        str | None,
        typer.Option(
            help="table (CSV and images), folder, npz, zarr, hdf5 or tiff. Default: by the suffix "
            "of the name, else table.",
            metavar="FORMAT",
            autocompletion=completion.among(FORMATS),
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file, or a folder that crop wrote.")
    ] = False,
    option: ReaderOptions = None,
    as_json: Json = False,
) -> None:
    """Crop cells out of whole images by label images of Cellpose, StarDist or ilastik.

    Pixels stay as they are. Cells keep their image, object number and scale, and cells of one image
    are a group, which no split tears apart. What is written is read by --dataset and by predict.

    Example: cellsearch crop images --masks masks -o cells --labels labels.csv
    """
    from cellsearch.data.cropping.crop import crop_cells
    from cellsearch.data.writers.place import refuse_overlap, refuse_taken
    from cellsearch.data.writers.registry import BY_SUFFIX, format_of, write_cells
    from cellsearch.terminal.progress import Terminal
    from cellsearch.terminal.results import cropped_report
    from cellsearch.terminal.tables import say, say_json
    from cellsearch.util.named_path import named_path

    out = named_path(out.parent) / out.name
    form = to or BY_SUFFIX.get(out.suffix.lower()) or "table"
    # Said before a long reading rather than after it.
    format_of(out, form)
    refuse_taken(out, force=force)
    for read in (images, masks):
        if read is not None:
            refuse_overlap(out, named_path(read))
    watch = Terminal()
    cropped = crop_cells(
        images,
        masks,
        labels=labels,
        class_folders=class_folders,
        size=size,
        margin=margin,
        background=background,
        scale=scale,
        border=border,
        least_area=least_area,
        name=out.name.split(".")[0],
        options=reader_options(option),
        on_progress=watch.progress,
    )
    cells = cropped.cells
    written = write_cells(cells, out, to=form, force=force, on_progress=watch.progress)
    if as_json:
        say_json(
            {
                "out": written.path,
                "read_as": written.readable,
                "format": written.format,
                "counts": cropped.counts,
                "labelled": written.labelled,
                "classes": dict(zip(cells.classes, cells.counts.tolist(), strict=True)),
                "channels": cells.channels,
                "height": cells.images.shape[2],
                "width": cells.images.shape[3],
                "pixel_size_um": cells.provenance.pixel_size_um,
                "groups": None if cells.groups is None else len(set(cells.groups.tolist())),
                "not_held": written.losses,
            }
        )
        return
    cropped_report(cropped)
    say(f"{written.cells:,} cells in {written.path} ({written.format})")
    if written.losses:
        say(f"a {written.format} does not keep: {', '.join(written.losses)}")
    readable = shlex.quote(str(written.readable))
    if written.labelled:
        say(f"train on them: cellsearch run --dataset {readable}")
        return
    say(f"no labels; classify them: cellsearch predict CARD {readable} -o predicted.csv")
    if written.format == "table":
        say(
            f"or add a column label to {readable} (rows without one taken out), and train: "
            f"cellsearch run --dataset {readable}"
        )
