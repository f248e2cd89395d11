"""``python -m``: decodes one .cif in a Java machine of its own, which a process starts only once.

Arguments: jar, .cif, and a file for the pixels. One JSON line on standard output says what the
file holds; after a line on standard input, each object's image (uint16, C x h x w) and mask
(uint8, C x h x w) go to the file, and the number done to standard output, a line each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

_answers: TextIO = sys.stdout

OBJECT_TYPE_TAG, IMAGE, MASK = 33002, 2, 3
OBJECT_NUMBER_TAG = 33003


def main(jar: str, path: str, out: str) -> None:
    """Start Java, describe, wait, decode."""
    import jpype

    global _answers
    # Java's logging shares standard output: what it says goes to standard error instead.
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        jpype.startJVM("-Xrs", classpath=[jar], convertStrings=True)
        jpype.JClass("loci.common.DebugTools").setRootLevel("ERROR")
        reader = jpype.JClass("loci.formats.in.FlowSightReader")()
    except jpype.JVMNotFoundException:
        _say({"error": "no_java"})
        return
    except Exception as error:
        _say({"error": "no_java", "reason": str(error).splitlines()[0]})
        return
    try:
        reader.setMetadataStore(jpype.JClass("loci.formats.MetadataTools").createOMEXMLMetadata())
        reader.setId(path)
        objects, channels = _objects(jpype, reader, path)
        _say({"objects": objects, "channels": channels})
        if sys.stdin.readline():
            _decode(reader, objects, Path(out))
    except jpype.JException as error:
        _say({"error": "unreadable", "reason": str(error.getMessage())})


def _objects(jpype: Any, reader: Any, path: str) -> tuple[list[dict[str, int]], list[str]]:
    """Series of image and mask, number and size of each object; channel names."""
    stream = jpype.JClass("loci.common.RandomAccessInputStream")(path)
    parser = jpype.JClass("loci.formats.tiff.TiffParser")(stream)
    parser.setDoCaching(False)
    stream.order(bool(parser.checkHeader()))
    offsets = parser.getIFDOffsets()
    eight_bits = int(jpype.JClass("loci.formats.FormatTools").UINT8)
    found: list[dict[str, int]] = []
    for series in range(reader.getSeriesCount()):
        reader.setSeries(series)
        directory = parser.getIFD(offsets[series + 1])
        kind = _number(directory, OBJECT_TYPE_TAG)
        number = _number(directory, OBJECT_NUMBER_TAG)
        is_mask = kind == MASK if kind in (IMAGE, MASK) else reader.getPixelType() == eight_bits
        if is_mask:
            if found:
                found[-1]["mask"] = series
            continue
        found.append(
            {
                "image": series,
                "mask": -1,
                "number": len(found) if number is None else number,
                "height": int(reader.getSizeY()),
                "width": int(reader.getSizeX()),
            }
        )
    store = reader.getMetadataStore()
    count = int(reader.getSizeC())
    channels = [str(store.getChannelName(found[0]["image"], c)) for c in range(count)]
    stream.close()
    return found, channels


def _number(directory: Any, tag: int) -> int | None:
    value = directory.getIFDValue(tag)
    if value is None:
        return None
    if hasattr(value, "length") or "[]" in str(type(value)):
        value = value[0]
    return int(str(value))


def _decode(reader: Any, objects: list[dict[str, int]], out: Path) -> None:
    with out.open("wb") as file:
        for done, each in enumerate(objects, start=1):
            for series in (each["image"], each["mask"]):
                if series < 0:
                    continue
                reader.setSeries(series)
                for channel in range(reader.getSizeC()):
                    file.write(_plane(reader, channel))
            file.flush()
            _say({"done": done})


def _plane(reader: Any, channel: int) -> bytes:
    import numpy as np

    plane = np.array(reader.openBytes(channel), dtype=np.int8).view(np.uint8)
    if int(reader.getBitsPerPixel()) > 8:
        order = "<u2" if reader.isLittleEndian() else ">u2"
        return plane.view(order).astype("<u2").tobytes()
    return plane.tobytes()


def _say(facts: dict[str, Any]) -> None:
    _answers.write(json.dumps(facts) + "\n")
    _answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
