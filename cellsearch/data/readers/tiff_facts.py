"""What OME and ImageJ metadata of a TIFF say of its channels and the size of a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MICROMETRES: Mapping[str, float] = {
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter, not the sign
    "\\u00B5m": 1.0,  # as ImageJ writes it
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
}
X_RESOLUTION = 282


@dataclass(frozen=True)
class TiffFacts:
    """What is told beside the pixels.

    Attributes:
        channels: their names; None where they have none, or one for several.
        pixel_size_um: side of a pixel in micrometres; None where it is not told in a unit.
    """

    channels: tuple[str, ...] | None = None
    pixel_size_um: float | None = None


def facts_of(tiff: Any) -> TiffFacts:
    """What the metadata of an open ``TiffFile`` say."""
    if tiff.is_ome:
        return in_ome(ome_of(tiff.ome_metadata))
    if not tiff.is_imagej:
        return TiffFacts()
    unit = MICROMETRES.get(str((tiff.imagej_metadata or {}).get("unit", "")))
    pixels, units = tiff.pages.first.tags.valueof(X_RESOLUTION, (0, 1))
    # The tag counts pixels in a unit.
    return TiffFacts(pixel_size_um=unit * units / pixels if unit and pixels else None)


def ome_of(xml: str | None) -> Mapping[str, Any]:
    """The element OME of a description; empty where there is none."""
    import tifffile

    found = tifffile.xml2dict(xml).get("OME") if xml else None
    return found if isinstance(found, Mapping) else {}


def in_ome(ome: Mapping[str, Any]) -> TiffFacts:
    """Channel names and pixel size of the first image."""
    images = several(ome.get("Image"))
    pixels = images[0].get("Pixels", {}) if images else {}
    named = tuple(str(channel.get("Name") or "") for channel in several(pixels.get("Channel")))
    unit = MICROMETRES.get(str(pixels.get("PhysicalSizeXUnit", "µm")))
    size = pixels.get("PhysicalSizeX")
    return TiffFacts(
        channels=named if named and all(named) and len(set(named)) == len(named) else None,
        pixel_size_um=float(size) * unit if unit and size else None,
    )


def several(value: Any) -> list[Any]:
    """Elements of a name, of which there may be none, one or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
