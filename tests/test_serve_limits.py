"""Bad input to a served card: a clear answer, the server stays up, memory bounded."""

from __future__ import annotations

import http.client
import json
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import ReadError
from cellsearch.serve.app import create_app
from cellsearch.serve.limits import DEFAULT, MB, Limits
from cellsearch.serve.store import Store
from cellsearch.serve.tiff import require_bounded
from cellsearch.serve.unpack import members

from card_cases import Made, made
from serve_cases import Served, named, npy, packed, pages, picture, served

SMALL = replace(
    DEFAULT,
    file_bytes=300_000,
    request_bytes=500_000,
    request_files=5,
    sample_cells=20,
    zip_bytes=2 * MB,
    zip_members=50,
    decoded_bytes=4 * MB,
    pages=100,
    side=1024,
    samples=3,
)
GIGABYTES = 2_000_000_000
HEAD = b'--B\r\nContent-Disposition: form-data; name="files"; filename="big.tif"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"


@pytest.fixture(scope="module")
def card(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def client(card: Made) -> Iterator[TestClient]:
    with TestClient(
        create_app(card.card.folder, threads=1, limits=SMALL), base_url="http://localhost"
    ) as client:
        yield client


@pytest.fixture(scope="module")
def server(card: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(card.card.folder, tmp_path_factory.mktemp("served"), "--threads", "1") as server:
        yield server


def refusal(client: TestClient, name: str, data: bytes) -> str:
    """Why a file alone is refused; the server must answer the next request."""
    answer = client.post("/api/predict", files=named((name, data)))
    assert answer.status_code == 200, answer.text
    assert answer.json()["cells"] == []
    assert client.get("/api/health").json()["status"] == "ok"
    (refused,) = answer.json()["refused"]
    return str(refused["reason"])


def test_too_long_a_request(client: TestClient) -> None:
    data = bytes(600_000)
    answer = client.post("/api/predict", files=named(("a.tif", data)))
    assert answer.status_code == 413
    assert "500 kB" in answer.json()["error"]
    assert "several requests" in answer.json()["remedy"]

    def unmeasured() -> Iterator[bytes]:
        yield HEAD
        yield from (bytes(10_000) for _ in range(100))
        yield TAIL

    answer = client.post(
        "/api/predict",
        content=unmeasured(),
        headers={"Content-Type": "multipart/form-data; boundary=B"},
    )
    assert answer.status_code == 413
    assert "holds more" in answer.json()["error"]


def test_too_large_a_file_among_others(client: TestClient, card: Made) -> None:
    files = named(("big.npy", bytes(400_000)), ("good.npy", npy(card.dataset.images[:1])))
    answer = client.post("/api/predict", files=files).json()
    assert len(answer["cells"]) == 1
    assert "a file may hold 300 kB, this one holds 400 kB" in answer["refused"][0]["reason"]


def test_ten_thousand_files_at_once(client: TestClient, card: Made) -> None:
    limits = replace(DEFAULT, request_files=500)
    app = create_app(card.card.folder, threads=1, limits=limits)
    one = pages(card.dataset.images[0])
    with TestClient(app, base_url="http://localhost") as client:
        token = client.post("/api/samples").json()["sample"]
        files = named(*((f"{k}.tif", one) for k in range(10_000)))
        answer = client.post(f"/api/samples/{token}/files", files=files)
        assert answer.status_code == 413
        assert "500 files" in answer.json()["error"]
        assert "zip" in answer.json()["remedy"]
        # What is just allowed works.
        answer = client.post(f"/api/samples/{token}/files", files=files[:500])
        assert answer.json() == {"added": 500, "cells": 500, "brought": 0, "refused": []}


def test_many_fields_that_are_no_files(client: TestClient) -> None:
    answer = client.post("/api/predict", data={f"f{k}": "x" for k in range(50)}, files={"a": b""})
    assert answer.status_code == 400
    assert answer.json()["remedy"]


def test_a_zip_bomb(client: TestClient, tmp_path: Path) -> None:
    generous = replace(SMALL, zip_bytes=200 * MB, file_bytes=200 * MB)
    bomb = packed({"a.tif": bytes(100 * MB)})
    assert len(bomb) < 200_000
    assert "unpacks to more than 2 MB" in refusal(client, "b.zip", bomb)
    (tmp_path / "b.zip").write_bytes(bomb)
    with pytest.raises(ReadError, match="more than 100 times its size"):
        list(members(tmp_path / "b.zip", tmp_path / "member", generous))
    assert not (tmp_path / "member").exists()


def test_a_zip_that_lies_about_its_size(client: TestClient) -> None:
    bomb = bytearray(packed({"a.tif": bytes(3 * MB)}))
    for at in (bomb.index(b"PK\x03\x04") + 22, bomb.index(b"PK\x01\x02") + 24):
        assert struct.unpack_from("<L", bomb, at) == (3 * MB,)
        struct.pack_into("<L", bomb, at, 1000)
    # zipfile reads no more than was declared, and then the checksum differs.
    assert "damaged" in refusal(client, "b.zip", bytes(bomb))


def test_zips_in_zips_and_locked_ones(client: TestClient, card: Made) -> None:
    good = pages(card.dataset.images[0])
    nested = packed({"in.zip": packed({"a.tif": good})})
    assert "within a zip" in refusal(client, "n.zip", nested)
    locked = bytearray(packed({"a.tif": good}))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "password" in refusal(client, "l.zip", bytes(locked))
    many = packed({f"{k}.tif": b"x" for k in range(60)})
    assert "more than 50 files" in refusal(client, "m.zip", many)
    endless = packed({"a.tif": good})
    at = endless.rindex(b"PK\x05\x06")
    zip64 = b"PK\x06\x07" + bytes(16)
    assert "more than 50 files" in refusal(client, "e.zip", endless[:at] + zip64 + endless[at:])
    assert "damaged zip" in refusal(client, "t.zip", endless[: len(endless) // 2])


def test_links_in_a_zip_lead_nowhere(client: TestClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = zipfile.ZipInfo("link.tif")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, str(secret))
    assert "text" in refusal(client, "a.zip", path.read_bytes())


def test_images_that_declare_to_be_huge(client: TestClient) -> None:
    header = struct.pack(">LLBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    png = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">L", 13)
        + chunk
        + struct.pack(">L", zlib.crc32(chunk))
        + struct.pack(">L", 0)
        + b"IDAT"
        + struct.pack(">L", zlib.crc32(b"IDAT"))
    )
    reason = refusal(client, "huge.png", png)
    assert "too many pixels" in reason or "60000 x 60000" in reason
    wide = picture(np.zeros((2000, 2000), np.uint8))
    assert "2000 x 2000 px" in refusal(client, "wide.png", wide)
    tiff = bytearray(pages(np.zeros((2, 16, 16), np.uint8)))
    for tag in (256, 257):
        at = tiff.index(struct.pack("<HHL", tag, 4, 1)) + 8
        struct.pack_into("<L", tiff, at, 60_000)
    assert "px" in refusal(client, "huge.tif", bytes(tiff))
    stack = pages(np.zeros((102, 16, 16), np.uint8))
    assert "102 pages; 100 are taken" in refusal(client, "stack.tif", stack)
    header_only = npy(np.zeros((1, 2, 16, 16), np.uint8)).replace(b"(1, 2,", b"(9, 2,")
    assert ".npy" in refusal(client, "short.npy", header_only)


def test_a_strip_that_unpacks_to_more_than_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    bomb = zlib.compress(bytes(200 * MB), 9)
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([bomb]),
            shape=(16, 16),
            dtype=np.uint8,
            photometric="minisblack",
            compression="zlib",
            metadata=None,
        )
    with pytest.raises(ReadError, match="unpacks to more pixels"):
        require_bounded(path)
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="lzma", metadata=None)
    with pytest.raises(ReadError, match="LZMA is not read here"):
        require_bounded(path)


def test_a_full_sample_says_so(client: TestClient, card: Made) -> None:
    token = client.post("/api/samples").json()["sample"]
    files = named(("a.npy", npy(card.dataset.images[:30])), ("b.npy", npy(card.dataset.images[:2])))
    answer = client.post(f"/api/samples/{token}/files", files=files).json()
    assert (answer["added"], answer["cells"]) == (20, 20)
    reasons = {one["file"]: one["reason"] for one in answer["refused"]}
    assert "10 of its cells were not taken: a sample may hold 20 cells" in reasons["a.npy"]
    assert "2 of its cells" in reasons["b.npy"]


def test_the_oldest_sample_makes_room(client: TestClient) -> None:
    first, *others = (client.post("/api/samples").json()["sample"] for _ in range(3))
    assert client.get(f"/api/samples/{first}").status_code == 200
    newest = client.post("/api/samples").json()["sample"]
    assert client.get(f"/api/samples/{others[0]}").status_code == 404
    gone = client.get(f"/api/samples/{others[0]}").json()
    assert "dropped to make room" in gone["error"]
    for token in (first, others[1], newest):
        assert client.get(f"/api/samples/{token}").status_code == 200
    assert client.get("/api/health").json()["samples"] == 3


def test_the_store_keeps_within_its_bytes() -> None:
    limits = Limits(store_bytes=1000, samples=10)
    store = Store(limits, (1, 10, 10), np.dtype(np.uint8), 2)
    images = np.zeros((4, 1, 10, 10), np.uint8)
    probabilities = np.full((4, 2), 0.5, np.float32)
    samples = [store.new() for _ in range(4)]
    for sample in samples:
        store.make_room(400, keep=sample)
        sample.append(images, probabilities, ["a"] * 4, [1, 2, 3, 4])
    count, held = store.figures()
    assert held <= 1000
    assert count == 2
    assert not samples[0].folder.exists()
    folder = store.folder
    assert samples[3].images().shape == (4, 1, 10, 10)
    store.close()
    assert not folder.exists()


def test_too_many_uploads_at_once(card: Made) -> None:
    limits = replace(DEFAULT, uploads=0)
    with TestClient(
        create_app(card.card.folder, threads=1, limits=limits), base_url="http://localhost"
    ) as client:
        answer = client.post("/api/predict", files=named(("a.npy", b"x")))
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_a_full_disk_is_told(
    client: TestClient, card: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cellsearch.serve.uploads import Received

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Received, "save", refuse)
        answer = client.post("/api/predict", files=named(("a.npy", b"x")))
    assert answer.status_code == 507
    assert "temporary" in answer.json()["error"]
    assert refusal(client, "a.npy", b"x")


def _asked(server: Served, headers: dict[str, str], body: Iterator[bytes]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=500)
    headers = {"Content-Type": "multipart/form-data; boundary=B", **headers}
    connection.putrequest("POST", "/api/predict")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    for piece in body:
        try:
            connection.send(piece)
        except OSError:
            # It may stop to listen once it has answered.
            break
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_two_gigabytes_that_say_so_are_refused_before_they_are_sent(server: Served) -> None:
    status, answer = _asked(server, {"Content-Length": str(GIGABYTES)}, iter([HEAD]))
    assert (status, set(answer)) == (413, {"error", "remedy"})
    assert "200 MB" in answer["error"]
    assert "2 GB" in answer["error"]


def test_two_gigabytes_that_do_not_say_so(server: Served) -> None:
    """Streamed until the server has had enough; its memory is watched all the while."""
    before = server.memory()
    most = before

    def zeros() -> Iterator[bytes]:
        nonlocal most
        piece = bytes(4 * MB)
        framed = b"%x\r\n" % len(piece) + piece + b"\r\n"
        yield b"%x\r\n" % len(HEAD) + HEAD + b"\r\n"
        for _ in range(GIGABYTES // len(piece)):
            yield framed
            most = max(most, server.memory())
        yield b"%x\r\n" % len(TAIL) + TAIL + b"\r\n0\r\n\r\n"

    status, answer = _asked(server, {"Transfer-Encoding": "chunked"}, zeros())
    assert status == 413
    assert "200 MB" in answer["error"]
    assert most - before < 300 * MB
    health = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    health.request("GET", "/api/health")
    assert json.loads(health.getresponse().read()) == {"status": "ok", "samples": 0, "bytes": 0}
    health.close()


def test_two_users_at_once(server: Served, card: Made) -> None:
    """Each gets their own cells, and the server answers others meanwhile."""
    import httpx

    images = np.tile(card.dataset.images, (40, 1, 1, 1))
    shares = [images, images[::-1]]
    heard = 0
    done = threading.Event()

    def ask() -> None:
        nonlocal heard
        with httpx.Client(base_url=server.url, timeout=500) as third:
            while not done.is_set():
                assert third.get("/api/health").status_code == 200
                heard += 1
                time.sleep(0.02)

    def use(cells: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        with httpx.Client(base_url=server.url, timeout=500) as client:
            token = client.post("/api/samples").json()["sample"]
            for part in np.array_split(cells, 6):
                answer = client.post(
                    f"/api/samples/{token}/files", files=named(("part.npy", npy(part)))
                )
                assert answer.json()["added"] == len(part)
            query = {"sort": "input", "order": "asc", "limit": 1000}
            found: list[dict[str, Any]] = []
            for offset in range(0, len(cells), 1000):
                page = client.get(
                    f"/api/samples/{token}/cells", params={**query, "offset": offset}
                ).json()
                found += page["cells"]
            return found

    with ThreadPoolExecutor(3) as pool:
        third = pool.submit(ask)
        found = list(pool.map(use, shares))
        done.set()
        third.result()
    own = card.card.predict(card.dataset.images)
    for cells, order in zip(found, (slice(None), slice(None, None, -1)), strict=True):
        expected = np.tile(own, (40, 1))[order]
        probabilities = [list(cell["probabilities"].values()) for cell in cells]
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert heard > 3, "a server that is at two uploads answers nobody else"


def test_the_command_helps(card: Made) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "cellsearch", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "Example: cellsearch serve" in found.stdout
    assert "--max-upload" in found.stdout
