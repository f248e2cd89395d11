"""A folder per class, as a microscope's export leaves it: check the cells, then search.

Run: python examples/folder_of_images.py [FOLDER]
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

import tifffile

from cellsearch import CellDataset, load_dataset, search
from cellsearch.data.check import check_dataset

root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp())

# A stand-in for your own folder: generated cells, one TIFF each, in images/<class>/.
generated = load_dataset("demo").select_channels(["brightfield"])
for index in range(0, len(generated), 3):
    folder = root / "images" / generated.classes[generated.labels[index]]
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"{index:04d}.tif", generated.images[index, 0])

cells = CellDataset.from_folder(root / "images")
for name, count in zip(cells.classes, cells.counts, strict=True):
    print(f"{name}: {count} cells")
for finding in check_dataset(cells, folds=2).findings:
    print(f"{finding.severity}: {finding.message}")

result = search(
    cells,
    "quick",
    budget=2,
    folds=2,
    rare="merge=mitosis",
    backend="local",
    threads=1,
    out=root / "run",
)
print(result.card.headline)
print("card:", result.card.folder)
