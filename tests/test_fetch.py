from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cellsearch.data.fetch import fetch
from cellsearch.data.manifest import DatasetManifest, load_manifest
from cellsearch.errors import FetchError

CONTENT = {"x/one.tif": b"first", "x/two.tif": b"second file"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The files as they lie on the server or in a mirror."""
    for name, content in CONTENT.items():
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "store"


@pytest.fixture
def server(store: Path) -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(store)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def _no_local_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLSEARCH_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def manifest(base: str, **source: Any) -> DatasetManifest:
    files = [
        {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in CONTENT.items()
    ]
    return DatasetManifest.model_validate(
        {
            "name": "mine",
            "title": "t",
            "licence": "l",
            "source": {"base": base, "files": files} | source,
            "layout": {"reader": "folders"},
            "classes": [{"name": "x", "count": 2}],
            "channels": [{"name": "c", "label_free": True}],
        }
    )


NOWHERE = "http://127.0.0.1:9/repo/images"


def test_downloads_are_verified_and_kept(server: str, store: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    root = fetch(
        manifest(server),
        mirror=None,
        cache=tmp_path / "cache",
        on_progress=lambda *event: told.append(event),
    )
    for name, content in CONTENT.items():
        assert (root / name).read_bytes() == content
    assert told
    (store / "x/one.tif").unlink()
    assert fetch(manifest(server), mirror=None, cache=tmp_path / "cache") == root


def test_a_changed_download_is_refused(server: str, store: Path, tmp_path: Path) -> None:
    (store / "x/two.tif").write_bytes(b"second_file")
    with pytest.raises(FetchError, match=r"mine: .*/x/two\.tif is not what it was") as caught:
        fetch(manifest(server), mirror=None, cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache/downloads/mine/x/two.tif").exists()


def test_a_file_that_is_gone_is_named(server: str, store: Path, tmp_path: Path) -> None:
    (store / "x/two.tif").unlink()
    with pytest.raises(FetchError, match=r"/x/two\.tif \(the server answered 404\)"):
        fetch(manifest(server), mirror=None, cache=tmp_path / "cache")


def test_without_a_network_nobody_waits_for_another_try(tmp_path: Path, slept: list[float]) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(manifest(NOWHERE), mirror=None, cache=tmp_path / "cache")
    assert sum(slept) < 5
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "no connection",
        f"2 files below {NOWHERE}/",
        'mirror="DIR"',
        "CELLSEARCH_DATA=DIR",
    ):
        assert part in message


@pytest.mark.parametrize("inside", [".", "mine", "images", "repo/images", "mine/images"])
def test_a_mirror_holds_the_files_or_a_part_of_the_address(
    inside: str, store: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    (mirror / inside).parent.mkdir(parents=True, exist_ok=True)
    store.rename(mirror / inside) if inside != "." else store.rename(mirror)
    root = fetch(manifest(NOWHERE), mirror=mirror, cache=tmp_path / "cache")
    assert (root / "x/one.tif").read_bytes() == b"first"
    assert not (tmp_path / "cache").exists()


def test_the_environment_names_a_mirror(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setenv("CELLSEARCH_DATA", str(store))
    assert fetch(manifest(NOWHERE), mirror=None, cache=tmp_path / "cache") == store
    # A mirror of other data sets does not stand in the way of a download.
    monkeypatch.setenv("CELLSEARCH_DATA", str(tmp_path / "empty"))
    assert fetch(manifest(server), mirror=None, cache=tmp_path / "cache") != store


def test_a_mirror_is_verified(store: Path, tmp_path: Path) -> None:
    for content, message in (
        (b"second_file", r"1 file in .* changed or incomplete: x/two\.tif \(sha256 "),
        (b"second", r"x/two\.tif \(6 bytes, expected 11\)"),
    ):
        (store / "x/two.tif").write_bytes(content)
        with pytest.raises(FetchError, match=message):
            fetch(manifest(NOWHERE), mirror=store, cache=tmp_path / "cache")
    (store / "x/two.tif").unlink()
    with pytest.raises(FetchError, match=r"1 of 2 files are not in .*: x/two\.tif; get them from"):
        fetch(manifest(NOWHERE), mirror=store, cache=tmp_path / "cache")
    with pytest.raises(FetchError, match="does not exist; it should hold the 2 files"):
        fetch(manifest(NOWHERE), mirror=tmp_path / "no", cache=tmp_path / "cache")
    (tmp_path / "bare").mkdir()
    with pytest.raises(FetchError, match=r"bare holds none of its 2 files \(x/one\.tif"):
        fetch(manifest(NOWHERE), mirror=tmp_path / "bare", cache=tmp_path / "cache")


def archive(folder: Path) -> dict[str, Any]:
    """A zip in a zip, as BBBC048 is."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "Cells.zip", "w") as inner:
        inner.writestr("Cells/a/1_Ch3.tif", b"pixels")
        inner.writestr("__MACOSX/Cells/._a", b"")
    with zipfile.ZipFile(folder / "v1.zip", "w") as outer:
        outer.write(folder / "Cells.zip", "Cells.zip")
        outer.writestr("Ground_truth.lst", "")
    size = (folder / "v1.zip").stat().st_size
    return {"unpacked": "Cells", "files": [{"path": "v1.zip", "size": size}]}


def test_archives_are_unpacked_from_every_stage(tmp_path: Path) -> None:
    source = archive(tmp_path / "a")
    mine = manifest(NOWHERE, **source)
    (tmp_path / "b").mkdir()
    (tmp_path / "a/Cells.zip").rename(tmp_path / "b/Cells.zip")
    for n, place in enumerate(("a", "a/v1.zip", "b", "b/Cells.zip")):
        root = fetch(mine, mirror=tmp_path / place, cache=tmp_path / f"cache{n}")
        assert (root / "a/1_Ch3.tif").read_bytes() == b"pixels"
        assert root.name == "Cells"
        assert [path.name for path in root.parent.iterdir()] == ["Cells"]
    for place in (root, root.parent):
        assert fetch(mine, mirror=place, cache=tmp_path / "other") == root
    assert not (tmp_path / "other").exists()


def test_what_was_unpacked_is_kept_by_its_archive_and_looked_at_again(tmp_path: Path) -> None:
    def changed(pixels: bytes) -> DatasetManifest:
        folder = tmp_path / pixels.decode()
        source = archive(folder)
        with zipfile.ZipFile(folder / "v1.zip", "w") as whole:
            whole.writestr("Cells/a/1_Ch3.tif", pixels)
        source["files"][0]["size"] = (folder / "v1.zip").stat().st_size
        return manifest(NOWHERE, **source)

    def root(pixels: bytes) -> Path:
        mine = changed(pixels) if not (tmp_path / pixels.decode()).exists() else kept[pixels]
        kept[pixels] = mine
        # Without it the folder within would be taken.
        (tmp_path / pixels.decode() / "Cells.zip").unlink(missing_ok=True)
        return fetch(mine, mirror=tmp_path / pixels.decode(), cache=tmp_path / "cache")

    kept: dict[bytes, DatasetManifest] = {}
    for pixels in (b"first", b"other"):
        assert (root(pixels) / "a/1_Ch3.tif").read_bytes() == pixels
    spoilt = root(b"first") / "a/1_Ch3.tif"
    spoilt.write_bytes(bytes(5))
    assert (root(b"first") / "a/1_Ch3.tif").read_bytes() == b"first"
    (root(b"first") / "a/more.tif").write_bytes(b"foreign")
    assert not (root(b"first") / "a/more.tif").exists()


def test_archives_are_verified(tmp_path: Path) -> None:
    mine = manifest(NOWHERE, **archive(tmp_path / "a"))
    (tmp_path / "a/Cells.zip").unlink()
    whole = (tmp_path / "a/v1.zip").read_bytes()
    (tmp_path / "a/v1.zip").write_bytes(whole[:-30])
    with pytest.raises(FetchError, match=r"v1\.zip \(\d+ bytes, expected"):
        fetch(mine, mirror=tmp_path / "a", cache=tmp_path / "cache")
    (tmp_path / "a/v1.zip").write_bytes(bytes(len(whole)))
    with pytest.raises(FetchError, match="not a whole zip file"):
        fetch(mine, mirror=tmp_path / "a", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tmp"))
    other = mine.model_copy(update={"source": mine.source.model_copy(update={"unpacked": "Else"})})
    (tmp_path / "a/v1.zip").write_bytes(whole)
    with pytest.raises(FetchError, match="holds no folder Else"):
        fetch(other, mirror=tmp_path / "a", cache=tmp_path / "cache")


def test_a_download_without_checksum_is_held_to_its_size(
    server: str, store: Path, tmp_path: Path
) -> None:
    source = archive(tmp_path / "a")
    (tmp_path / "a/v1.zip").rename(store / "v1.zip")
    root = fetch(manifest(server, **source), mirror=None, cache=tmp_path / "cache")
    assert (root / "a/1_Ch3.tif").read_bytes() == b"pixels"
    (store / "v1.zip").write_bytes(b"short")
    with pytest.raises(FetchError, match="has 5 bytes, expected"):
        fetch(manifest(server, **source), mirror=None, cache=tmp_path / "again")
    assert not list((tmp_path / "again").rglob("v1.zip"))


def test_jurkat_from_its_mirror(mlcp_root: Path, tmp_path: Path) -> None:
    jurkat = load_manifest("jurkat")
    assert fetch(jurkat, mirror=mlcp_root, cache=tmp_path) == mlcp_root
    assert fetch(jurkat, mirror=mlcp_root / "Experiment_1" / "..", cache=tmp_path).samefile(
        mlcp_root
    )
