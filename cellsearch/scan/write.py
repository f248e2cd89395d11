"""The manifest that a first look proposes, each doubtful choice with its comment; and tables."""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from cellsearch.data.arrays import slug
from cellsearch.data.manifest import DatasetManifest
from cellsearch.errors import ConfigError, DataError
from cellsearch.scan.choices import LABEL_FREE, looks_numbered
from cellsearch.scan.found import FirstLook
from cellsearch.scan.group_choice import GroupChoice
from cellsearch.util.messages import Setting

WIDTH = 96
UNFILLED = "not stated"


def manifest_name(look: FirstLook) -> str:
    """A name that a manifest may have, from the folder's or file's."""
    path = look.path.resolve()
    plain = {"labels", "label", "cells", "images", "table", "data"}
    stem = path.name if path.is_dir() else path.stem
    if stem.lower() in plain and path.parent.name:
        stem = path.parent.name if path.is_file() else stem
    return re.sub(r"^[^a-z0-9]+", "", slug(stem).lower()) or "cells"


def write(look: FirstLook, out: Path, *, force: bool = False) -> list[Path]:
    """Write the manifest, and beside it the table that it reads where folders do not do.

    A flat folder gets a table to fill in instead (``out`` ends in .csv then).

    Args:
        look: without problems, or flat.
        out: the manifest's, or the table's, path.
        force: replace files that are there.

    Returns:
        The files written.

    Raises:
        ConfigError: a file is there already, or cannot be written.
        DataError: the layout cannot be described in a manifest.
    """
    if look.layout.kind == "flat":
        if out.suffix.lower() != ".csv":
            raise ConfigError(
                Setting("out", str(out)),
                ": images without classes get a table to fill in, which ends in .csv: ",
                Setting("out", "labels.csv"),
            )
        return _put({out: table_text(look, out)}, force=force)
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(Setting("out", str(out)), ": a manifest ends in .yaml")
    files: dict[Path, str] = {}
    target = look.layout.target
    if look.needs_table:
        target = out.with_name(f"{out.stem}-cells.csv")
        files[target] = table_text(look, target)
    files[out] = manifest_text(look, out, target)
    return _put(files, force=force)


def require_free(*paths: Path, force: bool) -> None:
    """Refuse to replace files.

    Raises:
        ConfigError: one is there.
    """
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise ConfigError(
            f"{', '.join(there)} exists; replace it with ",
            Setting("force", True),
            ", or name another file with ",
            Setting("out", "FILE"),
        )


def _put(files: dict[Path, str], *, force: bool) -> list[Path]:
    require_free(*files, force=force)
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            Setting("out", str(path)), f": cannot be written ({reason}); name another place"
        ) from None
    return list(files)


def table_text(look: FirstLook, out: Path) -> str:
    """CSV with path, label and, where there are groups, group; paths relative to ``out``."""
    layout, text = look.layout, io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    groups = _groups(look)
    writer.writerow(["path", "label", *(["group"] if groups else [])])
    for row, k in enumerate(look.kept):
        place = Path(os.path.relpath(layout.cells[k][0].absolute(), out.absolute().parent))
        writer.writerow([place.as_posix(), layout.labels[k], *groups[row : row + 1]])
    return text.getvalue()


def _groups(look: FirstLook) -> list[str]:
    """Group of each cell that is kept; empty where none are declared."""
    if look.layout.groups is not None:
        return [look.layout.groups[k] for k in look.kept]
    return [] if look.group is None else look.group.names.tolist()


def manifest_text(look: FirstLook, out: Path, target: Path) -> str:
    """YAML 1.2 with comments.

    Raises:
        DataError: the layout's reader cannot stand in a manifest.
    """
    tree = _tree(look, out, target)
    try:
        DatasetManifest.model_validate(_plain(tree))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{look.path}: no manifest can say this ({'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}); use it by its path: `cellsearch run --dataset "
            f"{shlex.quote(str(look.path))}`"
        ) from None
    yaml = YAML(typ="rt")
    yaml.width, yaml.allow_unicode = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(tree, text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _tree(look: FirstLook, out: Path, target: Path) -> CommentedMap:
    tree = CommentedMap()
    tree["name"] = manifest_name(look)
    tree["title"] = look.path.resolve().stem or tree["name"]
    tree["licence"] = UNFILLED
    tree["citation"] = ""
    tree["url"] = ""
    tree["notes"] = ""
    place = os.path.relpath(target.resolve(), out.absolute().parent.resolve())
    tree["source"] = CommentedMap(folder=Path(place).as_posix())
    tree["layout"] = CommentedMap(reader="table" if look.needs_table else look.layout.reader)
    options = _options(look)
    if options:
        tree["layout"]["options"] = options
    counts = dict.fromkeys(look.layout.classes, 0)
    for k in look.kept:
        if look.layout.labels[k]:
            counts[look.layout.labels[k]] += 1
    tree["classes"] = _rows([{"name": name, "count": n} for name, n in counts.items() if n])
    tree["channels"] = _channels(look)
    tree["pixel_size_um"] = None
    group = look.group
    tree["groups"] = f"cells of one {group.what}" if group else None
    if look.crops.grey_in_colour:
        tree["default_variant"] = "grey"
        grey = CommentedMap(channels=_flow(look.channels[:1]), description="one plane of three")
        tree["variants"] = CommentedMap(grey=grey)
    _comment(tree, look)
    return tree


def _options(look: FirstLook) -> CommentedMap:
    given = {
        name: value
        for name, value in look.layout.options.items()
        if name not in ("layout", "channels") and value is not None
    }
    if look.needs_table:
        sizes = ("size", "fit", "cut")
        kept: dict[str, Any] = {name: given[name] for name in sizes if name in given}
        given = {"path_column": "path", "label_column": "label", **kept}
        if _groups(look):
            given["group_column"] = "group"
    group = look.group
    if "group_column" in given and group is None:
        # By its name the column would be used again, and no fold could be drawn.
        given["group_column"] = "none"
    if group is not None and group.column:
        given["group_column"] = group.column
    options = CommentedMap(given)
    if "group_column" in given and look.groups:
        chosen = group or look.groups[0]
        _above(options, "group_column", f"{chosen.description}. {chosen.why}", 4)
    if look.size:
        options["size"] = _flow(look.size.size)
        options["fit"] = look.size.fit
        _above(options, "size", look.size.why, 4)
    if group is not None and group.pattern and not look.needs_table:
        options["group_pattern"] = group.pattern
        _above(options, "group_pattern", f"{group.description}. {group.why}", 4)
    return options


def _channels(look: FirstLook) -> CommentedSeq:
    codes = look.layout.codes or (None,) * len(look.channels)
    rows = []
    for name, code in zip(look.channels, codes, strict=True):
        row: dict[str, Any] = {"name": name}
        if code:
            row["code"] = code
        rows.append({**row, "label_free": LABEL_FREE.search(name) is not None})
    return _rows(rows)


def _rows(rows: list[dict[str, Any]]) -> CommentedSeq:
    found = CommentedSeq()
    for row in rows:
        each = CommentedMap(row)
        each.fa.set_flow_style()
        found.append(each)
    return found


def _flow(values: Any) -> CommentedSeq:
    found = CommentedSeq(values)
    found.fa.set_flow_style()
    return found


def _above(tree: CommentedMap, key: str, text: str, indent: int = 0) -> None:
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(paragraph, WIDTH - indent, break_on_hyphens=False) or [""]
    ]
    tree.yaml_set_comment_before_after_key(key, before="\n".join(lines), indent=indent)


def _comment(tree: CommentedMap, look: FirstLook) -> None:
    now = datetime.now(UTC).date()
    tree.yaml_set_start_comment(
        f"Written by `cellsearch init` on {now}. Read each comment and correct what is wrong.\n"
        "`cellsearch datasets check` and `cellsearch run --dataset` take this file.\n"
    )
    _above(tree, "licence", "FILL IN: who may use the images (an SPDX identifier such as CC-BY-4.0)"
           " and how to cite them; each card carries both.")  # fmt: skip
    _above(tree, "source", "\nRelative to this file.")
    said = [f"Read as {_said(look)}.", *map(str, look.layout.notes)]
    if look.group is None:
        said += [_not_declared(each) for each in look.groups[:2]]
    _above(tree, "layout", "\n" + "\n".join(each[0].upper() + each[1:] for each in said))
    text = "\nIn the order of the labels; the counts must be met, so that a lost file is noticed."
    if looks_numbered(look.layout.classes):
        text += (
            "\nClasses are called by numbers. Names read better in every table and picture: add to "
            "options class_names: {'1': neutrophil, '2': lymphocyte}, and use the names here."
        )
    _above(tree, "classes", text)
    text = "\nFILL IN: what each plane shows; label_free: true where it is visible without a stain."
    if look.crops.grey_in_colour:
        text += "\nAll three planes are alike: the variant below takes one of them."
    _above(tree, "channels", text)
    _above(tree, "pixel_size_um", "\nFILL IN if known: side of a pixel in micrometres, e.g. 0.5.")
    text = (
        "\nWhat cells of one donor, plate or day share must not lie on both sides of a split. "
        "Nothing was found that tells them apart; if you know it, name it with group_pattern "
        "(a regular expression with one group, searched in the path) or a column group in a table."
    )
    if look.group is not None:
        text = f"\n{look.group.description}. {look.group.why}"
    elif look.groups:
        text = "\nThere may be groups that are not declared: see layout above."
    _above(tree, "groups", text)


def _said(look: FirstLook) -> str:
    return {
        "folders": "a folder per class",
        "channel_files": "a folder per class, a file a channel",
        "nested": "batches of class folders, listed in a table",
        "table": "a table of paths and classes",
    }.get(look.layout.kind, f"{look.layout.reader}")


def _not_declared(group: GroupChoice) -> str:
    how = f" To declare them, options: group_pattern: '{group.pattern}'" if group.pattern else ""
    if group.column:
        how = f" To declare them, options: group_column: {group.column}"
    who = "names suggest" if group.pattern else "there are"
    return f"{who} groups: {group.description}. {group.why}{how}"
