"""Run-length BMP files whose runs leave pixels out, which Pillow fills with zeros."""

from __future__ import annotations

from typing import BinaryIO

from cellsearch.errors import ReadError

_RLE8, _RLE4 = 1, 2


def refuse_gaps(file: BinaryIO) -> None:
    """Refuse a run-length BMP that does not give each of its pixels; the file is rewound.

    Raises:
        ReadError: runs that skip pixels, or end early.
    """
    head = file.read(54)
    file.seek(0)
    if len(head) < 54 or int.from_bytes(head[14:18], "little") < 40:
        return
    packing = int.from_bytes(head[30:34], "little")
    if packing not in (_RLE8, _RLE4):
        return
    width = int.from_bytes(head[18:22], "little", signed=True)
    height = int.from_bytes(head[22:26], "little", signed=True)
    start = int.from_bytes(head[10:14], "little")
    file.seek(start)
    runs = file.read()
    file.seek(0)
    # Pillow aligns literal runs to the file, and the format to the runs.
    if height < 0 or start % 2 or not _whole(runs, width, height, four_bits=packing == _RLE4):
        raise ReadError("a run-length BMP that leaves pixels out; save it as PNG or TIFF")


def _whole(runs: bytes, width: int, height: int, *, four_bits: bool) -> bool:
    x = y = at = 0
    while at + 1 < len(runs) and x <= width:
        count, value = runs[at], runs[at + 1]
        at += 2
        if count:
            x += count
        elif value == 0:
            if x != width:
                return False
            x, y = 0, y + 1
        elif value <= 2:
            # 1 ends the picture, 2 skips pixels.
            break
        else:
            size = (value + 1) // 2 if four_bits else value
            x, at = x + value, at + size + size % 2
    return (x, y) in ((width, height - 1), (0, height)) and at <= len(runs)
