"""Generated whole images with label images, as a segmentation programme leaves them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import disk

SIZE = (120, 150)
CENTRES = ((25, 25), (25, 70), (30, 120), (75, 30), (70, 75), (80, 118), (3, 50))
"""The last reaches the border."""
RADII = (9, 7, 10, 8, 9, 7, 6)


def labels_of(seed: int = 0) -> NDArray[np.uint16]:
    """(H, W) of seven discs, numbered from 1; the last reaches the border."""
    rng = np.random.default_rng(seed)
    found = np.zeros(SIZE, np.uint16)
    for number, (centre, radius) in enumerate(zip(CENTRES, RADII, strict=True), start=1):
        moved = centre + rng.integers(-2, 3, 2)
        moved[0] = min(moved[0], centre[0])
        found[disk(moved, radius, shape=SIZE)] = number
    return found


def image_of(labels: NDArray[np.integer], channels: int = 1, seed: int = 0) -> NDArray[np.uint16]:
    """(C, H, W) uint16: level 1000 behind, 2000 and its number in each object, and noise."""
    rng = np.random.default_rng(seed)
    plain = np.where(labels > 0, 2000 + 50 * labels, 1000)
    noise = rng.integers(0, 20, (channels, *labels.shape))
    return (plain + noise).astype(np.uint16)


def make_fields(folder: Path, images: int = 6, *, channels: int = 1) -> Path:
    """``images/field_1.tif`` ..., ``masks/field_1_cp_masks.png`` ..., ``labels.csv``."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "object", "label"])
        for number in range(1, images + 1):
            labels = labels_of(number)
            tifffile.imwrite(
                folder / f"images/field_{number}.tif",
                image_of(labels, channels, number),
                imagej=True,
                resolution=(2.0, 2.0),
                metadata={"unit": "um", "axes": "CYX"},
            )
            Image.fromarray(labels).save(folder / f"masks/field_{number}_cp_masks.png")
            for one in range(1, len(CENTRES) + 1):
                rows.writerow([f"field_{number}.tif", one, "large" if one % 2 else "small"])
    return folder
