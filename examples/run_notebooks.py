"""Runs the notebooks of this folder anew, each in an empty folder, and keeps what they print.

Run: python examples/run_notebooks.py [NOTEBOOK ...] [--out FOLDER]

Without --out the files themselves are written again. Outputs are made fit to be kept: no times of
execution, no names of the machine, and no progress, which is another at every run.
"""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run by this Python."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    # So that `!cellsearch` finds the command beside this Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with TemporaryDirectory() as folder, TemporaryDirectory() as ledger:
        # What was run here before is no part of what a notebook shows.
        os.environ["CELLSEARCH_LEDGER"] = ledger
        client = NotebookClient(
            notebook,
            timeout=1800,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for kept in cell.outputs if kept.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    asked = parser.parse_args()
    for name in asked.notebooks or sorted(HERE.glob("*.ipynb")):
        nbformat.write(executed(name), asked.out / name.name)
        print(asked.out / name.name)
