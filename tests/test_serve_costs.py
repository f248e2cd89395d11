"""What a small upload may cost a served card: counted before it is decoded, never by the clock."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import tifffile
from starlette.types import Receive

import cellsearch.serve.intake as intake_module
from cellsearch.card.predict import CardPredictor
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.images import read_image, read_pages
from cellsearch.data.readers.ome_tiff import holds_many
from cellsearch.errors import ReadError
from cellsearch.serve.decode import cells_of
from cellsearch.serve.guard import Guard
from cellsearch.serve.intake import Intake
from cellsearch.serve.limits import DEFAULT, MB, Limits
from cellsearch.serve.problems import Problem
from cellsearch.serve.store import Store
from cellsearch.serve.tiff import axes_of, look_at, require_bounded, slices_of
from cellsearch.serve.unpack import is_npz
from cellsearch.serve.uploads import Received
from cellsearch.util.hosts import KnownHosts

from card_cases import Made, made
from serve_cases import npy


@pytest.fixture(scope="module")
def card(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


def test_no_more_is_padded_and_predicted_than_a_sample_takes(
    card: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    prepare = intake_module.prepare

    def counted(images: Any, *args: Any, **kwargs: Any) -> Any:
        prepared.append(len(images))
        return prepare(images, *args, **kwargs)

    monkeypatch.setattr(intake_module, "prepare", counted)
    monkeypatch.setattr(intake_module, "AT_ONCE", 2 * MB)
    limits = replace(DEFAULT, sample_cells=3000)
    predictor = CardPredictor.load(card.card.folder, threads=1)
    config = predictor.config
    store = Store(limits, config.shape, np.dtype(config.dtype), len(config.classes))
    dots = npy(np.full((100_000, len(config.channels), 1, 1), 90, np.uint8))
    files = [Received("dots.npy", len(dots), io.BytesIO(dots)) for _ in range(2)]
    with closing(store):
        outcome = Intake(predictor, limits, fit="pad", store=store).take(files, store.new())
    assert outcome.added == 3000
    assert sum(prepared) == 3000
    padded = 4 * int(np.prod(config.shape))
    assert max(prepared) * padded <= 2 * MB
    (refused,) = outcome.refused
    assert refused.reason.startswith("197,000 of its cells were not taken")


def deflated(path: Path, strips: list[bytes], *, side: int) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter(strips),
            shape=(side * len(strips), side),
            rowsperstrip=side,
            dtype=np.uint8,
            photometric="minisblack",
            compression="zlib",
            metadata=None,
        )


def share_bytes(path: Path, strips: int) -> None:
    """Let all strips of a file begin where the first one does."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        for code, value in ((273, page.dataoffsets[0]), (279, page.databytecounts[0])):
            tag = page.tags[code]
            kind = {3: "<H", 4: "<L", 16: "<Q"}[int(tag.dtype)]
            for k in range(strips):
                struct.pack_into(kind, data, tag.valueoffset + k * struct.calcsize(kind), value)
    path.write_bytes(data)


def test_strips_that_share_bytes_are_refused_before_one_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shared.tif"
    strip = zlib.compress(bytes(64 * 64), 9)
    deflated(path, [strip] * 64, side=64)
    require_bounded(path)
    share_bytes(path, 64)
    monkeypatch.setattr(zlib, "decompressobj", None)
    with pytest.raises(ReadError, match="overlap"):
        require_bounded(path)


def test_a_short_strip_that_unpacks_to_more_than_it_declares_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    bomb = zlib.compress(bytes(20 * MB), 9)
    assert len(bomb) < 100_000
    deflated(path, [bomb] * 8, side=64)
    with pytest.raises(ReadError, match="unpacks to more pixels"):
        require_bounded(path)


def test_a_tile_far_larger_than_the_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([zlib.compress(b"")]),
            shape=(16, 16),
            tile=(32_000, 32_000),
            dtype=np.uint8,
            photometric="minisblack",
            compression="zlib",
            metadata=None,
        )
    with pytest.raises(ReadError, match="most of them padding"):
        require_bounded(path)


@pytest.mark.parametrize("big", [False, True])
def test_pages_are_counted_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, big: bool
) -> None:
    path = tmp_path / "many.tif"
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        for _ in range(12):
            writer.write(np.zeros((8, 8), np.uint8), metadata=None, photometric="minisblack")
    assert look_at(path, most=12).pages == 12
    monkeypatch.setattr(tifffile, "TiffFile", None)
    with pytest.raises(ReadError, match="more than 11 pages"):
        look_at(path, most=11)


def test_pages_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    path.write_bytes(b"II*\0" + struct.pack("<LHL", 8, 0, 8))
    with pytest.raises(ReadError, match="pages"):
        look_at(path)


def zip_of(path: Path, entries: int, *, comment: bytes = b"", told: int | None = None) -> None:
    """A zip of empty members that says to hold ``told`` of them."""
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(entries):
            archive.writestr(f"{k}.npy", b"")
        archive.comment = comment
    if told is not None:
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x05\x06")
        struct.pack_into("<2H", data, at + 8, told, told)
        path.write_bytes(data)


def test_entries_of_a_zip_are_counted_not_believed(tmp_path: Path) -> None:
    limits = replace(DEFAULT, zip_members=50)
    path = tmp_path / "a.zip"
    zip_of(path, 50)
    assert is_npz(path, limits)
    zip_of(path, 300, told=3)
    with pytest.raises(ReadError, match="more than 50 files"):
        is_npz(path, limits)


def test_a_long_comment_hides_no_longer_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, 3)
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06")
    comment = b"c" * 65_535
    locator = b"PK\x06\x07" + bytes(16)
    end = data[at:-2] + struct.pack("<H", len(comment))
    path.write_bytes(data[:at] + locator + end + comment)
    with pytest.raises(ReadError, match="more than 50,000 files"):
        is_npz(path, DEFAULT)


def ome(elsewhere: str) -> bytes:
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        'Type="uint8" SizeX="16" SizeY="16" SizeC="2" SizeZ="1" SizeT="1">'
        '<Channel ID="Channel:0"/><Channel ID="Channel:1"/>'
        '<TiffData IFD="0" PlaneCount="1"/>'
        f'<TiffData FirstC="1" IFD="0" PlaneCount="1"><UUID FileName="{elsewhere}">urn:uuid:2'
        "</UUID></TiffData></Pixels></Image></OME>"
    )
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for number in range(2):
            writer.write(
                np.full((16, 16), 90 + number, np.uint8),
                photometric="minisblack",
                description=text if number == 0 else None,
                metadata=None,
            )
    return out.getvalue()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_no_other_file_that_an_ome_text_names_is_opened(
    card: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    other = tmp_path / "elsewhere" / "secret.tif"
    other.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(other)
    else:
        tifffile.imwrite(other, np.zeros((16, 16), np.uint8))
    path = tmp_path / "cell.tif"
    path.write_bytes(ome(str(other)))
    opened: list[str] = []
    whole = os.path.realpath

    def noted(name: Any, **options: Any) -> Any:
        opened.append(str(name))
        return whole(name, **options)

    monkeypatch.setattr("tifffile.tifffile.os.path.realpath", noted)
    config = CardPredictor.load(card.card.folder, threads=1).config
    assert slices_of(path) == 1
    found = axes_of(path)
    assert found is not None
    assert found.lengths == (2,)
    assert cells_of(path, ".tif", config, DEFAULT).shape == (1, 2, 16, 16)
    assert read_pages(path).shape == (2, 16, 16)
    assert read_image(path).shape == (2, 16, 16)
    assert not holds_many(path)
    assert str(other) not in opened


def test_axes_are_those_of_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    for options in ({"ome": True}, {"imagej": True}):
        tifffile.imwrite(
            path, np.zeros((5, 3, 2, 16, 16), np.uint8), metadata={"axes": "TZCYX"}, **options
        )
        found = axes_of(path)
        assert found is not None
        assert (found.lengths, found.channel) == ((5, 3, 2), 2)
        assert slices_of(path) == 3
        tifffile.imwrite(path, np.zeros((5, 16, 16), np.uint8), metadata={"axes": "TYX"}, **options)
        assert axes_of(path) is None
        assert slices_of(path) == 1


def test_a_name_that_thousands_of_cells_bear_is_numbered_on() -> None:
    looked_up = 0

    class Counting(set[str]):
        def __contains__(self, name: object) -> bool:
            nonlocal looked_up
            looked_up += 1
            return super().__contains__(name)

    count = 1000
    images, probabilities = np.zeros((count, 1, 1, 1), np.uint8), np.zeros((count, 2), np.float32)
    with closing(Store(DEFAULT, (1, 1, 1), np.dtype(np.uint8), 2)) as store:
        sample = store.new()
        sample._ids = Counting()
        sample.append(images, probabilities, ["a"] * count, [0] * count)
    names = [cell.id for cell in sample.cells]
    assert names[:3] == ["a", "a (2)", "a (3)"]
    assert len(set(names)) == count
    assert looked_up <= 3 * count


def asked(limits: Limits, receive: Receive, *, times: int = 1) -> list[Any]:
    """What the guard lets through of a body."""
    guard = Guard(lambda *_: anyio.sleep(0), limits=limits, hosts=KnownHosts())

    async def ask() -> list[Any]:
        counted = guard._counted(receive)
        return [await counted() for _ in range(times)]

    return anyio.run(ask)


def test_a_body_that_does_not_come_ends() -> None:
    limits = replace(DEFAULT, body_seconds=0)

    async def silent() -> Any:
        await anyio.sleep(3600)

    async def trickle() -> Any:
        await anyio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    for receive in (silent, trickle):
        with pytest.raises(Problem) as problem:
            asked(limits, receive, times=10_000)
        assert problem.value.status == 408


def test_who_has_sent_all_waits_for_the_answer() -> None:
    parts = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        if len(parts) == 1:
            # Longer than a body may take.
            await anyio.sleep(1.5)
        return parts.pop(0)

    found = asked(replace(DEFAULT, body_seconds=1), receive, times=2)
    assert [message["type"] for message in found] == ["http.request", "http.disconnect"]
