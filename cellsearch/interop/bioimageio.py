"""A card as a BioImage.IO model package (https://bioimage.io, model format 0.5)."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cellsearch.card.card import ModelCard
from cellsearch.errors import CardError
from cellsearch.interop.cover import write_cover
from cellsearch.interop.documentation import documentation
from cellsearch.interop.exporters import Exported
from cellsearch.interop.files import new_folder
from cellsearch.interop.local_paths import clean_folder
from cellsearch.interop.onnx_file import only_probabilities
from cellsearch.interop.rdf import ATTACHED, RDF, About, described
from cellsearch.util.messages import Message, Setting, joined

_TENSORS = ("model.onnx", "test_input.npy", "test_output.npy")


@dataclass(frozen=True)
class Package:
    """A package that was written and has passed.

    Attributes:
        folder: with ``rdf.yaml``.
        archive: the same as one zip, which is what is uploaded.
        status: of ``bioimageio.core``'s test: passed.
        report: its summary, Markdown.
        notes: what bioimage.io will ask for that is not there.
    """

    folder: Path
    archive: Path
    status: str
    report: str
    notes: tuple[Message, ...] = field(default=())


def export(card: ModelCard, out: Path, *, about: About, force: bool) -> Exported:
    """``export_bioimageio`` as an exporter; see ``exporters``."""
    package = export_bioimageio(card, out, about, force=force)
    lines: list[str | Message] = [
        f"{out} and {package.archive}: bioimageio.core's test {package.status}"
    ]
    if package.notes:
        lines.append(
            Message.of("before an upload bioimage.io will ask for ", joined(package.notes, ", "))
        )
    facts = {
        "folder": out,
        "archive": package.archive,
        "status": package.status,
        "missing": package.notes,
        "report": package.report,
    }
    return Exported(facts, tuple(lines))


def export_bioimageio(
    card: ModelCard, folder: Path, about: About | None = None, *, force: bool = False
) -> Package:
    """Write a card as a package, folder and zip, and test it with ``bioimageio.core``.

    Nothing of it goes on the network: works are cited by DOI, whose form alone is checked, and
    no address is named. The test loads the package, reproduces the test outputs, and runs batches
    of one and two.

    Args:
        card: of a model that takes images.
        folder: of the package; ``<folder>.zip`` is written beside it.
        about: what the card does not know.
        force: replace an older package.

    Raises:
        CardError: the card takes measured features, or does not verify; the extra is missing; a
            licence or ORCID is none; the package does not pass; or something is there already.
    """
    about = about or About()
    joined = bool(card.config.ensemble)
    if card.config.features is not None:
        raise CardError(
            f"{card.folder} cannot become a BioImage.IO package: its model takes features that "
            "cellsearch measures on each image, and the format has no such step; search again "
            "with networks alone",
            *((" or, since several trials are joined, with ", Setting("final", "single")) * joined),
            ", or give away the card itself (",
            Setting("to", "huggingface"),
            ")",
        )
    archive = folder.with_name(f"{folder.name}.zip")
    if archive.exists() and not force:
        raise CardError(
            f"{archive} exists; name another folder, or replace it with ", Setting("force", True)
        )
    card.verify()
    with quiet_bioimageio() as spec, new_folder(folder, mark=RDF, force=force) as building:
        _write_files(card, building)
        found, notes = described(spec, card, about, building)
        summary = _tested(building, found)
        packed = building.with_name(f"{building.name}.zip")
        try:
            _zip(building, packed)
            packed.replace(archive)
        finally:
            packed.unlink(missing_ok=True)
    # The folder was written and tested under another name.
    report = summary.format().replace(str(building.resolve()), folder.name)
    return Package(folder, archive, str(summary.status), report, tuple(notes))


@contextmanager
def quiet_bioimageio() -> Iterator[Any]:
    """``bioimageio.spec.model.v0_5`` with its log off.

    Raises:
        CardError: the extra is not installed.
    """
    try:
        import bioimageio.core  # noqa: F401
        from bioimageio.spec.model import v0_5
        from loguru import logger
    except ImportError:
        raise CardError(
            "a BioImage.IO package needs the extra 'bioimageio': "
            "pip install 'cellsearch[bioimageio]'"
        ) from None
    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            # It leaves the files that it hashes to the garbage collector.
            warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
            yield v0_5
    finally:
        logger.enable("bioimageio")


def _write_files(card: ModelCard, folder: Path) -> None:
    for name in (*_TENSORS, *(n for n in ATTACHED if (card.folder / n).is_file())):
        shutil.copyfile(card.folder / name, folder / name)
    only_probabilities(folder / "model.onnx", card.config)
    (folder / "README.md").write_text(documentation(card), encoding="utf-8")
    write_cover(folder / "cover.png", np.load(folder / "test_input.npy", allow_pickle=False))
    clean_folder(folder)


def _tested(folder: Path, description: Any) -> Any:
    """Write ``rdf.yaml`` and give the summary of ``bioimageio.core``'s own test."""
    from bioimageio.core import load_description_and_test
    from bioimageio.spec import ValidationContext, save_bioimageio_package_as_folder

    with ValidationContext(root=folder, file_name=RDF, log_warnings=False):
        save_bioimageio_package_as_folder(description, output_path=folder)
    summary = load_description_and_test(
        folder / RDF, format_version="latest", expected_type="model"
    ).validation_summary
    if summary.status != "passed":
        raise CardError(f"the package does not pass bioimageio.core's test:\n{summary.format()}")
    return summary


def _zip(folder: Path, archive: Path) -> None:
    from zipfile import ZIP_DEFLATED, ZipFile

    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
