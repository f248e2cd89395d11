"""A first look in words, and as facts for ``--json``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.data.arrays import listed
from cellsearch.data.rare import choices
from cellsearch.scan.choices import FOLDS
from cellsearch.scan.estimate import Estimate
from cellsearch.scan.found import FirstLook
from cellsearch.util.durations import spoken
from cellsearch.util.messages import Message

SHOWN = 3
KINDS: Mapping[str, str] = {
    "folders": "a folder per class",
    "channel_files": "a folder per class, with a file for each channel of a cell",
    "nested": "batches that hold a folder per class",
    "table": "a table of paths and classes",
    "flat": "images in one folder, without classes",
}


def lines(look: FirstLook) -> list[str | Message]:
    """What was found, a fact a line."""
    layout, crops = look.layout, look.crops
    found: list[str | Message] = [
        f"layout: {KINDS.get(layout.kind, f'read by the reader {layout.reader}')}"
    ]
    found += [f"  {n}" if isinstance(n, str) else Message.of("  ", n) for n in layout.notes]
    if look.others:
        there = ", ".join(f"{count} {suffix}" for suffix, count in list(look.others.items())[:5])
        found.append(f"  files that are not images: {there}")
    if look.hidden:
        found.append(f"  hidden and system files ignored: {look.hidden}")
    if crops.images:
        found += _of_pixels(look)
    found += _of_classes(look)
    for group in look.groups[:2]:
        state = "declared in the manifest" if group.declared else "not declared"
        found.append(f"groups, {state}: {group.description}. {group.why}")
    told = look.groups or layout.groups_noted
    if crops.images and not told and not layout.problems:
        found.append(
            "groups: names suggest none; declare them if the cells come from several donors or "
            "plates"
        )
    return [*found, *_findings(look)]


def _of_pixels(look: FirstLook) -> list[str]:
    crops = look.crops
    low, high = crops.ends
    dtype = crops.dtypes.most_common(1)[0][0]
    held = f"{dtype}, values {low:g} to {high:g}"
    if dtype == "uint16":
        held += f" ({max(1, int(np.ceil(np.log2(high + 1))))} of 16 bits used)"
    colour = "colour" if look.channels == ("red", "green", "blue") else "channels"
    if crops.grey_in_colour:
        colour = "colour files that hold grey (the manifest takes one plane)"
    seen = "" if crops.whole else f" ({crops.looked_at:,} of {crops.total:,} images looked at)"
    found = [f"channels: {', '.join(look.channels)} ({colour})" if look.channels else ""]
    found.append(f"pixels: {held}{seen}")
    sizes = crops.sizes
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        found.append(f"size: {height} x {width} px, all alike")
    else:
        common = ", ".join(f"{h} x {w} ({n:,})" for (h, w), n in sizes.most_common(SHOWN))
        found.append(f"sizes: {len(sizes)} different, most often {common}")
    if look.size:
        height, width = look.size.size
        found.append(f"  proposed: size {height} x {width}, fit {look.size.fit}. {look.size.why}")
    return [line for line in found if line]


def _of_classes(look: FirstLook) -> list[str | Message]:
    counts = look.layout.counts
    if not counts or look.layout.kind == "flat":
        return [f"cells: {len(look.layout.cells):,}"]
    total, most, least = sum(counts.values()), max(counts.values()), min(counts.values())
    named = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:20])
    more = f" and {len(counts) - 20} more" if len(counts) > 20 else ""
    found: list[str | Message] = [
        f"cells: {total:,} in {len(counts)} classes, imbalance {most / least:,.0f} to 1",
        f"classes: {named}{more}",
    ]
    small = [f"{name} ({count})" for name, count in counts.items() if count < FOLDS + 1]
    if small:
        found.append(
            Message.of(
                f"too small for {FOLDS} folds and a hold-out: {listed(small)}; ",
                choices(least - 1),
            )
        )
    rare = [f"{n} ({c})" for n, c in counts.items() if FOLDS + 1 <= c < 30]
    if rare:
        found.append(f"few cells, so wide intervals: {listed(rare)}")
    return found


def _findings(look: FirstLook) -> list[str | Message]:
    found: list[str | Message] = []
    kinds = list(dict.fromkeys(each.kind for each in look.findings))
    for kind in kinds:
        of_kind = [each for each in look.findings if each.kind == kind]
        found += [Message.of(f"{each.severity}: ", each.message) for each in of_kind[:SHOWN]]
        if len(of_kind) > SHOWN:
            found.append(f"  and {len(of_kind) - SHOWN} more of the kind {kind}")
    if not look.checked:
        return found
    part = "" if look.checked >= len(look.layout.cells) else f" of {len(look.layout.cells):,}"
    checked = (
        f"checked for near-duplicates, blank and saturated images: {look.checked:,}{part} cells"
    )
    return [*found, checked if kinds else f"{checked}, nothing found"]


def next_lines(
    look: FirstLook, written: list[Path], estimate: Estimate | None
) -> list[str | Message]:
    """What to type next."""
    if look.known_as:
        command = f"cellsearch run --dataset {look.known_as} --from {shlex.quote(str(look.path))}"
        return [
            f"these are the files of the built-in data set {look.known_as!r}, which already has "
            "their layout, classes, licence and citation; no manifest is needed",
            f"look at them: cellsearch datasets describe {look.known_as} --from "
            f"{shlex.quote(str(look.path))}",
            f"run:  {command}",
        ]
    found: list[str | Message] = [f"wrote {path}" for path in written]
    if look.layout.kind == "flat" or look.problems or look.run is None or not written:
        return found
    manifest = str(written[-1])
    found += [Message.of("because ", why) for why in look.run.why]
    quoted = shlex.quote(manifest)
    found += [
        "next, read its comments and fill in licence and channels: cellsearch datasets check "
        f"{quoted}",
        f"try it (minutes):  {shlex.join(look.run.trial_words(manifest))}",
        f"the full search:  {shlex.join(look.run.words(manifest))}",
    ]
    if estimate is not None:
        found.append(
            f"  takes at most about {spoken(estimate.seconds)} on this machine ({estimate.timed} "
            "recipes timed,"
            f" {estimate.slots} trials at a time; early stopping makes it shorter)"
        )
    return found


def facts(look: FirstLook, written: list[Path], estimate: Estimate | None) -> dict[str, Any]:
    """The same for programs."""
    layout, crops = look.layout, look.crops
    command = look.run.words(str(written[-1])) if look.run and written else None
    if look.known_as:
        command = ["cellsearch", "run", "--dataset", look.known_as, "--from", str(look.path)]
    return {
        "path": look.path,
        "layout": layout.kind,
        "reader": layout.reader,
        "built_in": look.known_as or None,
        "notes": layout.notes,
        "problems": look.problems,
        "not_images": look.others,
        "hidden": look.hidden,
        "cells": len(layout.cells),
        "looked_at": crops.looked_at,
        "unreadable": [{"file": file, "reason": why} for file, why in crops.bad.values()],
        "classes": layout.counts,
        "channels": look.channels,
        "dtype": crops.dtypes.most_common(1)[0][0] if crops.images else None,
        "values": crops.ends if crops.images else None,
        "grey_in_colour": crops.grey_in_colour,
        "sizes": [{"height": h, "width": w, "cells": n} for (h, w), n in crops.sizes.most_common()],
        "proposed_size": look.size,
        "groups": [
            {
                "what": group.what,
                "values": len(np.unique(group.names)),
                "pattern": group.pattern or None,
                "column": group.column or None,
                "declared": group.declared,
                "why": group.why,
            }
            for group in look.groups
        ],
        "checked": look.checked,
        "findings": look.findings,
        "written": written,
        "run": look.run,
        "command": command,
        "seconds_at_most": None if estimate is None else estimate.seconds,
    }
