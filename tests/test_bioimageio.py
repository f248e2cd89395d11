"""A card as a BioImage.IO package, judged by bioimageio.core itself, without the network."""

from __future__ import annotations

import json
import re
import socket
import sys
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

with warnings.catch_warnings():
    # Of third parties, at import alone.
    warnings.simplefilter("ignore")
    from bioimageio.core import load_description_and_test
    from bioimageio.core import test_model as bioimageio_test
    from bioimageio.spec import load_description

from cellsearch.card.card import ModelCard
from cellsearch.card.checksums import write_checksums
from cellsearch.card.config import FeatureFacts
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError
from cellsearch.interop.bioimageio import Package, export_bioimageio
from cellsearch.interop.onnx_file import write_onnx
from cellsearch.interop.rdf import About, Author
from cellsearch.interop.references import Reference, references

from card_cases import Made, made

# bioimageio.spec leaves the files that it hashes to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning"
    ),
]
# Not a test of ours.
bioimageio_test.__test__ = False  # type: ignore[attr-defined]
ABOUT = About(
    authors=(Author("Ada Byron", "Analytical Engines", "0000-0002-1825-0097"),),
    licence="bsd-3-clause",
    cite=(Reference("Ada B. Cells. 2026", "10.1038/ncomms10256"),),
    pixel_size_um=0.5,
)


@pytest.fixture(scope="module", autouse=True)
def _no_network() -> Iterator[None]:
    """Whatever asks for the network fails at once and by name."""
    patch = pytest.MonkeyPatch()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    patch.setattr(socket.socket, "connect", refuse)
    patch.setattr(socket, "getaddrinfo", refuse)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def case(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def package(case: Made, tmp_path_factory: pytest.TempPathFactory) -> Package:
    return export_bioimageio(case.card, tmp_path_factory.mktemp("zoo") / "squares", ABOUT)


def outcomes(summary: Any) -> dict[str, str]:
    return {detail.name: detail.status for detail in summary.details}


def test_the_folder_passes_the_test_of_bioimageio_core(package: Package) -> None:
    described = load_description_and_test(package.folder, expected_type="model")
    found = outcomes(described.validation_summary)
    assert described.validation_summary.status == "passed", described.validation_summary.format()
    assert found["Reproduce test outputs from test inputs (onnx)"] == "passed"
    assert sum("inference for inputs with batch_size" in name for name in found) == 2
    assert set(found.values()) == {"passed"}


def test_the_zip_passes_as_it_would_be_uploaded(package: Package) -> None:
    summary = bioimageio_test(package.archive)
    assert summary.status == "passed", summary.format()
    with zipfile.ZipFile(package.archive) as archive:
        inside = {info.filename: archive.read(info) for info in archive.infolist()}
    assert inside == {path.name: path.read_bytes() for path in package.folder.iterdir()}


def test_the_test_can_fail(package: Package, tmp_path: Path) -> None:
    expected = np.load(package.folder / "test_output.npy")
    for path in package.folder.iterdir():
        text = path.read_bytes()
        if path.name == "rdf.yaml":
            # Without checksums, so that the tensors themselves are what is judged.
            text = re.sub(rb"\n *sha256: .*", b"", text)
        (tmp_path / path.name).write_bytes(text)
    np.save(tmp_path / "test_output.npy", expected[:, ::-1].copy())
    summary = bioimageio_test(tmp_path / "rdf.yaml")
    assert summary.status != "passed"
    failed = [name for name, status in outcomes(summary).items() if status == "failed"]
    assert failed == ["Reproduce test outputs from test inputs (onnx)"]


def test_it_says_what_goes_in_and_comes_out(case: Made, package: Package) -> None:
    described: Any = load_description(package.folder / "rdf.yaml", format_version="latest")
    (image,), (chances,) = described.inputs, described.outputs
    assert image.id == "image"
    assert image.dtype == "uint8"
    assert image.axes[1].channel_names == ["brightfield", "darkfield"]
    assert [(axis.size, axis.scale, axis.unit) for axis in image.axes[2:]] == [
        (16, 0.5, "micrometer")
    ] * 2
    # The raw intensities, as numbers of another type and nothing else.
    kinds = [(step.id, step.kwargs["dtype"]) for step in image.preprocessing]
    assert kinds[-1] == ("ensure_dtype", "float32")
    assert {name for name, _ in kinds} == {"ensure_dtype"}
    assert chances.axes[1].channel_names == list(case.card.classes)
    np.testing.assert_array_equal(
        np.load(package.folder / "test_input.npy"), np.load(case.card.folder / "test_input.npy")
    )
    assert described.weights.onnx.opset_version == case.card.config.onnx.opset
    assert described.authors[0].orcid == "0000-0002-1825-0097"
    assert str(described.license) == "BSD-3-Clause"
    assert [str(work.doi) for work in described.cite] == ["10.1038/ncomms10256"]
    assert package.notes == ()
    tolerance = described.config.bioimageio.reproducibility_tolerance[0]
    assert (tolerance.absolute_tolerance, tolerance.mismatched_elements_per_million) == (1e-4, 0)


def test_the_documentation_names_no_picture_and_no_place(package: Package) -> None:
    text = (package.folder / "README.md").read_text(encoding="utf-8")
    assert not text.startswith("---")
    assert re.search("^## Validation$", text, re.MULTILINE)
    assert "not a diagnostic device" in text
    assert "![" not in text
    assert "cellsearch run" not in text
    from PIL import Image

    with Image.open(package.folder / "cover.png") as cover:
        assert cover.width == 2 * cover.height
    assert (package.folder / "cover.png").stat().st_size < 500_000


@pytest.mark.slow
def test_what_is_not_known_is_named_and_not_made_up(case: Made, tmp_path: Path) -> None:
    bare = export_bioimageio(case.card, tmp_path / "bare")
    assert bare.status == "passed"
    assert [str(note).split(" (")[0] for note in bare.notes] == [
        "authors",
        "a licence",
        "a work to cite",
    ]
    text = (bare.folder / "rdf.yaml").read_text(encoding="utf-8")
    assert not re.search("^(authors|license|cite):", text, re.MULTILINE)
    assert str(tmp_path) not in bare.report
    with pytest.raises(CardError, match=r"bare(\.zip)? exists; .*force=True"):
        export_bioimageio(case.card, tmp_path / "bare")
    again = export_bioimageio(case.card, tmp_path / "bare", ABOUT, force=True)
    assert again.notes == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare", "bare.zip"]


def test_a_wrong_licence_or_orcid_leaves_nothing_behind(case: Made, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="'free' is not an SPDX id"):
        export_bioimageio(case.card, tmp_path / "zoo", replace(ABOUT, licence="free"))
    wrong = replace(ABOUT, authors=(Author("Ada", orcid="0000-0002-1825-0098"),))
    with pytest.raises(CardError, match="refuses"):
        export_bioimageio(case.card, tmp_path / "zoo", wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_card_of_measured_features_is_refused(case: Made, tmp_path: Path) -> None:
    config = case.card.config.model_copy(
        update={"features": FeatureFacts(version=1, names=("area",))}
    )
    with pytest.raises(CardError, match="takes features that cellsearch measures"):
        export_bioimageio(replace(case.card, config=config), tmp_path / "zoo")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_said_in_one_line(
    case: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bioimageio.core", None)
    with pytest.raises(CardError, match=r"pip install 'cellsearch\[bioimageio\]'"):
        export_bioimageio(case.card, tmp_path / "zoo")


def test_citations_are_parted_by_their_dois() -> None:
    text = (
        "Blasi T. Label-free. Nature 7 (2016), doi:10.1038/ncomms10256. Hennig H. Methods 112 "
        "(2017), https://doi.org/10.1016/j.ymeth.2016.08.018."
    )
    assert references(text) == [
        Reference("Blasi T. Label-free. Nature 7 (2016)", "10.1038/ncomms10256"),
        Reference("Hennig H. Methods 112 (2017)", "10.1016/j.ymeth.2016.08.018"),
    ]
    assert references("not stated") == []


def test_citation_and_scale_of_the_cells_are_the_packages(case: Made, tmp_path: Path) -> None:
    folder = case.copy(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["dataset"] |= {"citation": "A < B, doi:10.1234/x", "pixel_size_um": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    write_checksums(folder)
    made = export_bioimageio(ModelCard.load(folder), tmp_path / "package", About())
    text = (tmp_path / "package" / "rdf.yaml").read_text()
    assert "10.1234/x" in text
    assert "scale: 0.5" in text
    assert not any("cite" in str(note) for note in made.notes)


def test_one_onnx_file_says_what_it_takes(case: Made, tmp_path: Path) -> None:
    path = write_onnx(case.card, tmp_path / "squares.onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["classes"]) == list(case.card.classes)
    assert (facts["dtype"], facts["height"]) == ("uint8", "16")
    from cellsearch.card.session import open_session, run_session

    found = run_session(
        open_session(path),
        {"image": np.load(case.card.folder / "test_input.npy")},
        output_name="probabilities",
    )
    np.testing.assert_allclose(found, np.load(case.card.folder / "test_output.npy"), atol=1e-5)
    with pytest.raises(CardError, match="force=True"):
        write_onnx(case.card, path)
