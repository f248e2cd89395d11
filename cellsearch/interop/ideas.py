"""Predictions as lists of object numbers, from which IDEAS makes populations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cellsearch.card.predict import Row
from cellsearch.card.whole_files import write_csv
from cellsearch.errors import CardError
from cellsearch.interop.decided import decided, decisions, safe_names
from cellsearch.interop.files import new_folder
from cellsearch.interop.numbering import Place, origins
from cellsearch.util.messages import Setting

INDEX = "populations.csv"
WITHOUT_NUMBER = "without_number.csv"


def write(
    rows: Sequence[Row],
    classes: Sequence[str],
    places: Sequence[Place],
    path: Path,
) -> list[Path]:
    """Write ``<source>/<class>.txt``: object numbers in rising order, one a line (CRLF).

    A class without cells in a source has no file. ``populations.csv`` says which file is of which
    source and class; ``without_number.csv`` names cells that are in no list, as they have no
    number of their own. A folder written before is replaced.

    Raises:
        CardError: no cell has a number, the folder holds other things, or the disk refuses.
    """
    if not any(place.given for place in places):
        raise CardError(
            Setting("to", "ideas"),
            ": none of these cells has an object number, by which alone IDEAS knows "
            "cells; predict from what ImageStream gave (.cif files, montages, or single images "
            "named <number>_Ch<k>), or from a table with a column object_number",
        )
    kinds = decisions(rows, classes)
    lists: dict[tuple[str, str], list[int]] = {}
    for row, place in zip(rows, places, strict=True):
        if place.given:
            lists.setdefault((place.origin, decided(row)), []).append(place.number)
    names = [origin.name for origin in origins(places) if origin.counted < origin.cells]
    folders = dict(zip(names, safe_names(names), strict=True))
    files = dict(zip(kinds, safe_names(kinds), strict=True))
    written = []
    with new_folder(path, mark=INDEX, force=True) as building:
        index: list[Row] = []
        for name in names:
            for kind in kinds:
                numbers = sorted(lists.get((name, kind), []))
                file = f"{folders[name]}/{files[kind]}.txt" if numbers else ""
                index.append(
                    {"file": file, "source": name, "class": kind, "cells": str(len(numbers))}
                )
                if numbers:
                    (building / folders[name]).mkdir(exist_ok=True)
                    # CRLF: IDEAS is a programme for Windows.
                    text = "".join(f"{number}\r\n" for number in numbers)
                    (building / file).write_bytes(text.encode("ascii"))
                    written.append(path / file)
        write_csv(building / INDEX, index)
        left: list[Row] = [
            {"id": row["id"], "source": row["source"], "class": decided(row)}
            for row, place in zip(rows, places, strict=True)
            if not place.given
        ]
        if left:
            write_csv(building / WITHOUT_NUMBER, left)
    return [path / INDEX, *written]
