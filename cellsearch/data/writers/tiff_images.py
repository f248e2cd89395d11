"""One cell as one small OME-TIFF: its channels as pages, with their names and the pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.dataset import CellDataset


def ome_facts(cells: CellDataset) -> dict[str, Any]:
    """Channel names and pixel size as tifffile takes them."""
    facts: dict[str, Any] = {"Channel": {"Name": list(cells.channels)}}
    size = cells.provenance.pixel_size_um
    if size is not None:
        facts |= {"PhysicalSizeX": size, "PhysicalSizeY": size}
        facts |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    return facts


def write_image(path: Path, image: NDArray[Any], facts: dict[str, Any]) -> None:
    """Write (C, H, W) as C pages."""
    import tifffile

    tifffile.imwrite(
        path,
        np.ascontiguousarray(image),
        ome=True,
        photometric="minisblack",
        metadata={"axes": "CYX", **facts},
    )
