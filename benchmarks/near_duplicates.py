"""How many copies of cells are found that were turned, shifted, brightened or saved anew?

    python benchmarks/near_duplicates.py ../shared/data > benchmarks/results/near_duplicates.txt

Of each set (at most 6,000 cells) up to 60 cells a change are copied, no cell twice, and searched
for among all. What is found among the set's own cells is listed: whether it is a false link only a
look at the pictures tells. In the end 30,000 cells, each the mean of two, are timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellsearch.data.dataset import CellDataset
from cellsearch.data.near_duplicates import find_duplicates
from cellsearch.data.source import load_dataset

MOST, COPIES = 6_000, 60
Pixels = NDArray[np.float64]
SETS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "Jurkat": ("jurkat", {}),
    "HEp-2": ("hep2-icpr2014/labels.csv", {}),
    "Chula red cells": ("chula-rbc/labels.csv", {}),
    "Herlev Pap": ("herlev-pap/labels.csv", {}),
    "MHSMA": ("mhsma-sperm/labels.csv", {"label_column": "acrosome"}),
    "BBBC021": ("bbbc021-moa/labels.csv", {"label_column": "label"}),
    "white blood cells": ("wbc/labels.csv", {}),
}


def shifted(cell: Pixels, down: int, right: int) -> Pixels:
    """Moved; what comes in at the edges repeats them."""
    height, width = cell.shape[1:]
    most = max(abs(down), abs(right))
    wide = np.pad(cell, ((0, 0), (most, most), (most, most)), mode="edge")
    top, left = most + down, most + right
    return wide[:, top : top + height, left : left + width]


def saved_as_jpeg(cell: Pixels) -> Pixels:
    """Each channel as JPEG of quality 90, from its darkest to its brightest pixel."""
    planes = []
    for plane in cell:
        low, scale = plane.min(), 255 / max(float(np.ptp(plane)), 1e-9)
        file = BytesIO()
        Image.fromarray(np.round((plane - low) * scale).astype(np.uint8)).save(
            file, "JPEG", quality=90
        )
        planes.append(np.asarray(Image.open(file), np.float64) / scale + low)
    return np.stack(planes)


def noisy(cell: Pixels) -> Pixels:
    """With noise of 5 % of the standard deviation."""
    rng = np.random.default_rng(int(cell.sum()) % 2**32)
    return cell + 0.05 * cell.std((1, 2), keepdims=True) * rng.standard_normal(cell.shape)


CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "flip": lambda cell: cell[:, :, ::-1],
    "rotate 90": lambda cell: np.rot90(cell, 1, (1, 2)),
    "transpose": lambda cell: cell.swapaxes(1, 2),
    "shift 1 px": lambda cell: shifted(cell, 1, 0),
    "shift 2 px": lambda cell: shifted(cell, 2, -2),
    "brighten 3 %": lambda cell: 1.03 * cell,
    "brighten 10 %": lambda cell: 1.10 * cell,
    "offset 5 %": lambda cell: cell + 0.05 * np.ptp(cell),
    "JPEG 90": saved_as_jpeg,
    "noise 5 %": noisy,
    "rotate, shift 1 px, brighten 3 %": lambda cell: (
        1.03 * shifted(np.rot90(cell, 1, (1, 2)), 1, -1)
    ),
}


def stored(cell: Pixels, dtype: np.dtype[Any]) -> NDArray[Any]:
    """As the set's files hold it: rounded, and cut off where the range ends."""
    if not np.issubdtype(dtype, np.integer):
        return cell.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(cell), limits.min, limits.max).astype(dtype)


def cells_of(name: str, data: Path) -> CellDataset:
    """One of the sets, read as ``data/README.md`` says."""
    place, options = SETS[name]
    if place == "jurkat":
        return load_dataset("jurkat", mirror=data / "mlcp")
    return load_dataset(data / place, **options)


def measure(name: str, data: Path) -> None:
    """Recall of each change, and what is found among the cells themselves."""
    cells = cells_of(name, data)
    images = np.asarray(cells.images[:MOST])
    count = len(images)
    began = time.perf_counter()
    own = find_duplicates(images)
    seconds = time.perf_counter() - began
    side = " x ".join(map(str, images.shape[1:]))
    print(f"\n{name}: {count:,} cells of {side}, {seconds:.1f} s")
    each = min(COPIES, count // (len(CHANGES) + 1))
    drawn = np.random.default_rng(0).permutation(count)[: each * len(CHANGES)]
    sources = dict(zip(CHANGES, drawn.reshape(len(CHANGES), each), strict=True))
    copies = [
        stored(change(images[cell].astype(np.float64)), images.dtype)
        for what, change in CHANGES.items()
        for cell in sources[what]
    ]
    found = {(pair.a, pair.b): pair for pair in find_duplicates(np.concatenate([images, copies]))}
    for at, (what, cells_copied) in enumerate(sources.items()):
        wanted = [(int(cell), count + at * each + n) for n, cell in enumerate(cells_copied)]
        there = [found[pair] for pair in wanted if pair in found]
        unmoved = sum(pair.alignment is None for pair in there)
        print(f"  {what:34s} {len(there):3d} of {each}, {unmoved:3d} without aligning them")
    known = {(pair.a, pair.b) for pair in own}
    more = [pair for pair in found if pair[1] < count and pair not in known]
    print(f"  among its own cells {len(own)}; {len(more)} more with the copies there")
    for pair in own:
        how = "" if pair.alignment is None else pair.alignment.words
        ids = " and ".join(str(cells.ids[cell]) for cell in (pair.a, pair.b))
        print(f"    {ids}: {pair.kind}{', ' * bool(how)}{how}")


def time_many(data: Path) -> None:
    """Seconds of 30,000 cells: means of two Jurkat cells, so that no two are the same."""
    images = np.asarray(cells_of("Jurkat", data).images).astype(np.float32)
    one, other = np.random.default_rng(0).integers(0, len(images), (2, 30_000))
    mixed = ((images[one] + images[other][..., ::-1]) / 2).astype(np.uint16)
    began = time.perf_counter()
    find_duplicates(mixed)
    print(f"\n30,000 cells of 2 x 40 x 40: {time.perf_counter() - began:.0f} s")


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--many", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    for name in options.sets:
        measure(name, options.data)
    if options.many:
        time_many(options.data)


if __name__ == "__main__":
    main()
