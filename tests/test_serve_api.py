"""The REST API of a served card: real files in, the card's own probabilities out."""

from __future__ import annotations

import csv
import io
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from cellsearch.card.config import read_config
from cellsearch.card.predict import CardPredictor
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import CardError, ReadError
from cellsearch.serve.app import create_app
from cellsearch.serve.decode import cells_of, kind_of
from cellsearch.serve.limits import DEFAULT
from cellsearch.serve.saliency import occlusion

from card_cases import Made, made
from conftest import REPOSITORY
from serve_cases import named, npy, npz, packed, pages, picture, served, tiff


@pytest.fixture(scope="module")
def card(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tiny_dataset, tmp_path_factory)


@pytest.fixture(scope="module")
def client(card: Made) -> Iterator[TestClient]:
    app = create_app(card.card.folder, threads=1, abstain="coverage=0.8", sets=0.9)
    with TestClient(app, base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
def sample(client: TestClient) -> Iterator[str]:
    token = client.post("/api/samples").json()["sample"]
    yield f"/api/samples/{token}"
    client.delete(f"/api/samples/{token}")


@pytest.fixture
def filled(client: TestClient, sample: str, card: Made) -> str:
    """All 90 cells, as one multi-page TIFF."""
    answer = client.post(f"{sample}/files", files=named(("all.tif", pages(card.dataset.images))))
    assert answer.json() == {"added": 90, "cells": 90, "brought": 0, "refused": []}
    return sample


def expected(card: Made) -> np.ndarray[Any, Any]:
    return card.card.predict(card.dataset.images)


def told(client: TestClient, sample: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{sample}/cells", params={"limit": 1000, **query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json()["cells"])
    cells: list[dict[str, Any]] = answer.json()["cells"]
    return cells


def test_the_card_is_told(client: TestClient, card: Made) -> None:
    facts = client.get("/api/card").json()
    assert facts["classes"] == list(card.card.classes)
    assert facts["channels"] == ["brightfield", "darkfield"]
    assert (facts["height"], facts["width"], facts["dtype"]) == (16, 16, "uint8")
    assert facts["headline"] == card.card.headline
    assert facts["abstention"]["rule"] == "coverage=0.8"
    assert set(facts["abstention"]["thresholds"]) == set(card.card.classes)
    assert facts["sets"] == {"coverage": 0.9}
    assert facts["explains"] is True
    assert "class-2" in facts["rare"]
    assert facts["limits"]["request_files"] == DEFAULT.request_files


def test_openapi_describes_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) >= {
        "/api/card",
        "/api/health",
        "/api/predict",
        "/api/samples",
        "/api/samples/{token}",
        "/api/samples/{token}/files",
        "/api/samples/{token}/cells",
        "/api/samples/{token}/cells.csv",
        "/api/samples/{token}/fractions.csv",
        "/api/samples/{token}/cells/{index}/image.png",
        "/api/samples/{token}/cells/{index}/saliency.png",
    }
    body = paths["/api/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["properties"]["files"]["items"]["format"] == "binary"
    # FastAPI's own pages load scripts of a CDN.
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert client.get("/api").headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in client.get("/").headers["content-security-policy"]


def test_probabilities_are_the_cards_own(client: TestClient, filled: str, card: Made) -> None:
    cells = told(client, filled, sort="input", order="asc")
    found = np.array([list(cell["probabilities"].values()) for cell in cells])
    np.testing.assert_allclose(found, expected(card), atol=1e-6)
    assert [cell["index"] for cell in cells] == list(range(90))
    assert cells[4]["id"] == "all.tif#5"
    assert (cells[4]["source"], cells[4]["object_number"]) == ("all.tif", 5)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("whole.npy", lambda x: npy(x)),
        ("last.npy", lambda x: npy(np.moveaxis(x, 1, 3))),
        ("wide.npy", lambda x: npy(x.astype(np.int64))),
        ("some.npz", lambda x: npz(images=x, labels=np.zeros(len(x), np.int64))),
        ("split.npz", lambda x: npz(train_images=x[:2], test_images=x[2:])),
        ("only.npz", lambda x: npz(anything=x)),
        ("pages.tif", lambda x: pages(x)),
        ("packed.tif", lambda x: tiff(x, photometric="minisblack", compression="zlib")),
        ("lzw.tif", lambda x: tiff(x, photometric="minisblack", compression="lzw")),
        ("ome.tif", lambda x: tiff(x, ome=True, metadata={"axes": "TCYX"})),
        ("slow.ome.tif", lambda x: tiff(x.swapaxes(0, 1), ome=True, metadata={"axes": "CTYX"})),
        ("imagej.tif", lambda x: tiff(x, imagej=True, metadata={"axes": "TCYX"})),
        ("no-matter.png", lambda x: pages(x)),
        ("a.zip", lambda x: packed({f"c{k}.tif": pages(c) for k, c in enumerate(x)})),
        ("b.zip", lambda x: packed({"in/x.npy": npy(x), "__MACOSX/._x": b"?", ".DS_Store": b"?"})),
    ],
)
def test_every_layout_gives_the_same_cells(
    client: TestClient, sample: str, card: Made, name: str, build: Any
) -> None:
    some = np.ascontiguousarray(card.dataset.images[[0, 40, 60, 85, 89]])
    answer = client.post(f"{sample}/files", files=named((name, build(some)))).json()
    assert answer == {"added": 5, "cells": 5, "brought": 0, "refused": []}
    cells = told(client, sample, sort="input", order="asc")
    found = np.array([list(cell["probabilities"].values()) for cell in cells])
    np.testing.assert_allclose(found, expected(card)[[0, 40, 60, 85, 89]], atol=1e-6)


def test_many_files_keep_their_names(client: TestClient, sample: str, card: Made) -> None:
    files = [(f"cell-{k}.tif", pages(card.dataset.images[k])) for k in range(3)]
    client.post(f"{sample}/files", files=named(*files))
    client.post(f"{sample}/files", files=named(files[0]))
    assert [cell["id"] for cell in told(client, sample, sort="input", order="asc")] == [
        "cell-0.tif",
        "cell-1.tif",
        "cell-2.tif",
        "cell-0.tif (2)",
    ]


def test_a_summary_counts_and_corrects(client: TestClient, filled: str, card: Made) -> None:
    facts = client.get(filled).json()
    called = expected(card).argmax(axis=1)
    assert list(facts["counts"].values()) == np.bincount(called, minlength=3).tolist()
    assert facts["uncertain"] == len(told(client, filled, decision="uncertain"))
    assert 0.3 < facts["mean_confidence"] <= 1.0
    shares = facts["fractions"]
    assert [one["class"] for one in shares] == list(card.card.classes)
    assert abs(sum(one["share"] for one in shares) - 1) < 1e-6
    assert all(one["low"] <= one["share"] <= one["high"] for one in shares)
    assert {one["method"] for one in shares} <= {"adjusted count", "EM"}


def test_cells_are_sorted_and_filtered(client: TestClient, filled: str) -> None:
    by_confidence = [cell["confidence"] for cell in told(client, filled, sort="confidence")]
    assert by_confidence == sorted(by_confidence, reverse=True)
    ranked = [c["probabilities"]["class-2"] for c in told(client, filled, sort="p:class-2")]
    assert ranked == sorted(ranked, reverse=True)
    by_name = [c["object_number"] for c in told(client, filled, sort="id", order="asc")]
    assert by_name == list(range(1, 91))
    kinds = [c["predicted_class"] for c in told(client, filled, sort="class", order="asc")]
    assert kinds == sorted(kinds)
    only = told(client, filled, **{"class": "class-1"})
    assert only
    assert {cell["predicted_class"] for cell in only} == {"class-1"}
    middle = told(client, filled, min=0.4, max=0.6)
    assert len(middle) < 90
    assert all(0.4 <= cell["confidence"] <= 0.6 for cell in middle)
    sure, unsure = (told(client, filled, decision=one) for one in ("certain", "uncertain"))
    assert len(sure) + len(unsure) == 90
    assert unsure
    assert {cell["decision"] for cell in unsure} == {"uncertain"}
    page = client.get(f"{filled}/cells", params={"offset": 85, "limit": 10}).json()
    assert (page["total"], len(page["cells"])) == (90, 5)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sort": "beauty"}, "unknown order 'beauty'"),
        ({"sort": "p:nobody"}, "no class 'nobody'"),
        ({"class": "nobody"}, "no class 'nobody'"),
        ({"limit": "many"}, "limit"),
        ({"min": "2"}, "min"),
    ],
)
def test_wrong_questions_are_answered(
    client: TestClient, filled: str, query: dict[str, str], words: str
) -> None:
    answer = client.get(f"{filled}/cells", params=query)
    assert answer.status_code == 422
    assert words in answer.json()["error"]
    assert answer.json()["remedy"]


def test_pictures(client: TestClient, filled: str, card: Made) -> None:
    def get(name: str, **query: str) -> Image.Image:
        answer = client.get(f"{filled}/cells/85/{name}", params=query)
        assert answer.headers["content-type"] == "image/png"
        return Image.open(io.BytesIO(answer.content))

    assert get("image.png").size == (16 + 2 + 16, 16)
    one = np.asarray(get("image.png", channel="darkfield")).astype(int)
    assert one.shape == (16, 16)
    raw = card.dataset.images[85, 1]
    # The same order of grey levels: brighter stays brighter.
    assert one[raw > np.percentile(raw, 80)].min() >= one[raw < np.percentile(raw, 20)].max()
    assert get("saliency.png").size == (16, 16)
    shown = {get("saliency.png", **{"class": f"class-{k}"}).tobytes() for k in range(3)}
    assert len(shown) > 1
    assert client.get(f"{filled}/cells/90/image.png").status_code == 404
    assert client.get(f"{filled}/cells/-1/saliency.png").status_code == 404
    assert client.get(f"{filled}/cells/1/image.png?channel=x").status_code == 422
    assert client.get(f"{filled}/cells/1/saliency.png?class=x").status_code == 422


def test_occlusion_finds_what_the_class_rests_on(card: Made) -> None:
    predictor = CardPredictor.load(card.card.folder, threads=1)
    inside, outside = [], []
    for cell in np.flatnonzero(card.dataset.labels == 2):
        image = card.dataset.images[cell]
        found = occlusion(predictor, image, 2)
        assert found.shape == (16, 16)
        bright = image.mean(axis=0) > 110
        inside.append(found[bright].mean())
        outside.append(found[~bright].mean())
    assert np.mean(inside) > 3 * np.mean(outside)
    assert np.mean(inside) > 0.005


@pytest.mark.slow
def test_occlusion_does_not_load_torch(card: Made, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", card.dataset.images[:4])
    code = (
        "import sys; from pathlib import Path; from starlette.testclient import TestClient\n"
        "from cellsearch.serve.app import create_app\n"
        f"app = create_app(Path({str(card.card.folder)!r}), threads=1)\n"
        "with TestClient(app, base_url='http://localhost') as c:\n"
        "    s = c.post('/api/samples').json()['sample']\n"
        f"    f = open({str(tmp_path / 'x.npy')!r}, 'rb')\n"
        "    assert c.post(f'/api/samples/{s}/files', files={'files': f}).json()['added'] == 4\n"
        "    assert c.get(f'/api/samples/{s}/cells/1/saliency.png').status_code == 200\n"
        "    assert c.get(f'/api/samples/{s}').status_code == 200\n"
        "assert not {'torch', 'ray', 'captum'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_tables_are_those_of_predict(
    client: TestClient, filled: str, card: Made, tmp_path: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get(f"{filled}/cells.csv").text)))
    assert list(rows[0]) == [
        *("id", "source", "object_number", "predicted_class", "confidence", "decision", "set"),
        *card.card.classes,
    ]
    np.testing.assert_allclose(
        [[float(row[name]) for name in card.card.classes] for row in rows],
        expected(card),
        atol=1e-5,
    )
    shares = list(csv.DictReader(io.StringIO(client.get(f"{filled}/fractions.csv").text)))
    assert [row["class"] for row in shares] == list(card.card.classes)
    assert "adjusted_count_low" in shares[0]


def test_predict_keeps_nothing(client: TestClient, card: Made) -> None:
    before = client.get("/api/health").json()
    files = named(("a.npy", npy(card.dataset.images[:3])), ("b.tif", b"this is a text"))
    answer = client.post("/api/predict", files=files).json()
    assert len(answer["cells"]) == 3
    assert [one["file"] for one in answer["refused"]] == ["b.tif"]
    assert len(answer["fractions"]) == 3
    assert client.get("/api/health").json() == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"id,class\n1,G1\n", "text"),
        (b"", "empty"),
        (b"II*\0" + b"\xff" * 200, "TIFF without an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "not an image"),
        (b"\x93NUMPY\x01\x00" + b"\xff" * 60, "not a .npy"),
        (b"PK\x03\x04" + b"\0" * 60, "damaged zip"),
        (picture(np.zeros((16, 16), np.uint8)), "1 channel; this card takes 2"),
        (picture(np.zeros((16, 16, 3), np.uint8), "JPEG"), "3 channels; this card takes 2"),
        (tiff(np.zeros((16, 16, 3), np.uint8), photometric="rgb"), "3 channels"),
        (pages(np.zeros((3, 16, 16), np.uint8)), "multiples of 2"),
        (npy(np.zeros((4, 5, 16, 16), np.uint8)), "this card takes (cells, 2, height, width)"),
        (npy(np.array([{"a": 1}], dtype=object)), "plain numbers"),
        (npz(a=np.zeros(3), b=np.zeros(3)), "one must be called images"),
        (pages(np.zeros((2, 16, 16), np.uint16)), "trained on uint8"),
        (pages(np.zeros((2, 20, 20), np.uint8)), "crops of 16 x 16 px"),
        (npy(np.full((1, 2, 16, 16), np.nan, np.float32)), "trained on uint8"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    client: TestClient, sample: str, card: Made, data: bytes, reason: str
) -> None:
    good = pages(card.dataset.images[0])
    answer = client.post(f"{sample}/files", files=named(("x.tif", data), ("good.tif", good)))
    assert answer.status_code == 200
    assert answer.json()["added"] == 1
    (refused,) = answer.json()["refused"]
    assert refused["file"] == "x.tif"
    assert reason in refused["reason"]


def test_names_are_labels_alone(client: TestClient, sample: str, card: Made) -> None:
    good = pages(card.dataset.images[0])
    names = ["../../etc/passwd.tif", "/abs/x.tif", "C:\\cells\\y.tif", "a\u202eb.tif", "n" * 999]
    for name in names:
        assert client.post(f"{sample}/files", files=named((name, good))).json()["added"] == 1
    evil = packed({"../../up.tif": good, "/root/z.tif": good})
    assert client.post(f"{sample}/files", files=named(("e.zip", evil))).json()["added"] == 2
    sources = [cell["source"] for cell in told(client, sample, sort="input", order="asc")]
    assert sources[:4] == ["etc/passwd.tif", "abs/x.tif", "y.tif", "ab.tif"]
    assert len(sources[4]) == 200
    assert sources[5:] == ["e.zip/up.tif", "e.zip/root/z.tif"]


def test_other_sizes_are_fitted_where_asked(card: Made) -> None:
    larger = np.pad(card.dataset.images[:4], ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
    app = create_app(card.card.folder, threads=1, fit="pad")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        files = named(("l.npy", npy(larger)), ("s.npy", npy(card.dataset.images[4:6])))
        answer = client.post("/api/predict", files=files).json()
    assert answer["refused"] == []
    found = np.array([list(cell["probabilities"].values()) for cell in answer["cells"]])
    np.testing.assert_allclose(found, expected(card)[:6], atol=1e-6)


def test_grey_and_colour_cards_read_pictures(card: Made, tmp_path: Path) -> None:
    config = read_config(card.card.folder)
    rng = np.random.default_rng(0)
    grey = config.model_copy(update={"channels": ("grey",)})
    colour = config.model_copy(update={"channels": ("red", "green", "blue")})
    image = rng.integers(0, 255, (16, 16, 3), np.uint8)
    cases = [
        (grey, picture(image[..., 0]), image[None, None, ..., 0]),
        (grey, picture(image[..., 0], "BMP"), image[None, None, ..., 0]),
        (grey, pages(np.moveaxis(image, 2, 0)), np.moveaxis(image, 2, 0)[:, None]),
        (grey, npy(np.moveaxis(image, 2, 0)), np.moveaxis(image, 2, 0)[:, None]),
        (colour, picture(image), np.moveaxis(image, 2, 0)[None]),
        (colour, tiff(np.stack([image] * 4), photometric="rgb"), None),
        (colour, npy(image), np.moveaxis(image, 2, 0)[None]),
    ]
    for at, (wanted, data, cells) in enumerate(cases):
        path = tmp_path / f"{at}"
        path.write_bytes(data)
        own = path.with_suffix(kind_of(path))
        path.rename(own)
        found = cells_of(own, own.suffix, wanted, DEFAULT)
        if cells is None:
            cells = np.stack([np.moveaxis(image, 2, 0)] * 4)
        np.testing.assert_array_equal(found, cells)
    (tmp_path / "rgb.png").write_bytes(picture(image))
    with pytest.raises(ReadError, match="3 channels; this card takes 1"):
        cells_of(tmp_path / "rgb.png", ".png", grey, DEFAULT)


def test_errors_are_json_with_a_remedy(client: TestClient) -> None:
    for method, path, status in (
        ("GET", "/api/samples/nobody", 404),
        ("DELETE", "/api/samples/nobody", 404),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/card", 405),
        ("POST", "/api/predict", 415),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status, path
        assert set(answer.json()) == {"error", "remedy"}
        assert all(answer.json().values())
    answer = client.post("/api/predict", files=[("other", ("a.tif", b"x"))])
    assert answer.status_code == 422
    assert "'files'" in answer.json()["error"]
    broken = client.post(
        "/api/predict", content=b"--x", headers={"Content-Type": "multipart/form-data"}
    )
    assert broken.status_code == 400


def test_a_deleted_sample_is_gone(client: TestClient) -> None:
    token = client.post("/api/samples").json()["sample"]
    assert len(token) >= 32
    assert client.delete(f"/api/samples/{token}").status_code == 204
    assert client.get(f"/api/samples/{token}").status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil", "", "[::"])
def test_another_name_of_the_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/card", headers={"Host": host})
    assert answer.status_code == 421
    assert client.get("/api/card", headers={"Host": "[::1]:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:8000"}, 201),
        ({}, 201),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:9000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_another_sites_page_changes_nothing(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    before = client.get("/api/health").json()["samples"]
    answer = client.post("/api/samples", headers=headers)
    assert answer.status_code == status
    if status == 201:
        client.delete(f"/api/samples/{answer.json()['sample']}")
    assert client.get("/api/health").json()["samples"] == before


def test_a_changed_card_is_not_served(card: Made, tmp_path: Path) -> None:
    folder = card.copy(tmp_path)
    (folder / "README.md").write_text("better than it is\n")
    with pytest.raises(CardError, match=r"cannot be trusted: .*README\.md"):
        create_app(folder)
    with pytest.raises(CardError, match="fit: must"):
        create_app(card.card.folder, fit="squash")


def test_a_taken_port_is_said(card: Made) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = subprocess.run(
            [sys.executable, "-m", "cellsearch", "serve", card.card.folder, "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert found.returncode == 2
    assert f"port {port}: address already in use" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_missing_extra_is_one_line(card: Made) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        f"sys.argv = ['cellsearch', 'serve', {str(card.card.folder)!r}]\n"
        "from cellsearch.cli import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 2
    assert found.stderr == (
        "cellsearch: cellsearch serve needs the extra 'serve': pip install 'cellsearch[serve]'\n"
    )


@pytest.mark.slow
def test_the_guide_works_and_the_server_ends_cleanly(card: Made, tmp_path: Path) -> None:
    """The curl and Python examples of docs/guides/serving.md, against a real server."""
    images = card.dataset.images
    (tmp_path / "crops").mkdir()
    for at in range(3):
        (tmp_path / f"cell-{at}.tif").write_bytes(pages(images[at]))
        (tmp_path / "crops" / f"{at}.tif").write_bytes(pages(images[30 * at]))
    (tmp_path / "cells.zip").write_bytes(packed({"a.npy": npy(images)}))
    guide = REPOSITORY / "docs" / "guides" / "serving.md"
    part = guide.read_text(encoding="utf-8").split("## From a shell")[1].split("## What the")[0]
    examples = re.findall(r"```(bash|python)\n(.*?)```", part, re.DOTALL)
    assert [kind for kind, _ in examples] == ["bash", "bash", "python"]
    with served(card.card.folder, tmp_path / "t", "--threads", "1") as server:
        for kind, text in examples:
            text = text.replace("http://127.0.0.1:8000", server.url).replace("Anaphase", "class-2")
            text = text.replace("curl ", "curl -sSf ").replace("| python ", f"| {sys.executable} ")
            runner = ["bash", "-e", "-c"] if kind == "bash" else [sys.executable, "-c"]
            found = subprocess.run(
                [*runner, text], cwd=tmp_path, capture_output=True, text=True, timeout=300
            )
            assert found.returncode == 0, f"{text}\n{found.stdout}{found.stderr}"
        assert "class-2 " in found.stdout
        rows = (tmp_path / "cells.csv").read_text().splitlines()
        assert len(rows) == 4
        with Image.open(tmp_path / "saliency.png") as saliency:
            assert saliency.size == (16, 16)
        assert any((tmp_path / "t").glob("cellsearch-serve-*"))
        assert server.stop() == 0
    assert not any((tmp_path / "t").glob("cellsearch-serve-*"))
