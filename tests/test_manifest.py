from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellsearch.data.manifest import json_schema, load_manifest
from cellsearch.data.source import bind
from cellsearch.errors import CatalogError, ConfigError, ManifestError
from cellsearch.util import yaml_files

WHOLE = """\
name: mine
title: Two classes
licence: CC-BY-4.0
source: {folder: images}
layout: {reader: folders}
classes:
  - {name: a, count: 3}
  - {name: b, count: 2}
channels:
  - {name: brightfield, label_free: true}
variants:
  one: {channels: [brightfield], merge: {ab: [a, b]}}
default_variant: one
"""
COUNTS = {"G1": 5400, "S": 900, "G2": 900}
MITOSIS = {"Prophase": 606, "Metaphase": 68, "Anaphase": 15, "Telophase": 27}


def manifest(tmp_path: Path, old: str = "", new: str = "") -> str:
    assert old in WHOLE
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE.replace(old, new) if old else WHOLE)
    return str(path)


@pytest.mark.parametrize("name", yaml_files.names("datasets"))
def test_built_in_manifests_are_sound(name: str) -> None:
    found = load_manifest(name)
    assert found.name == name
    assert bind(found, {}).reader == found.layout.reader
    if name.startswith("demo-"):
        assert found.synthetic
        return
    assert found.default_variant == "label-free"
    free = {channel.name for channel in found.channels if channel.label_free}
    assert set(found.variants["label-free"].channels or ()) == free == {"brightfield", "darkfield"}


def test_jurkat_is_the_published_cells() -> None:
    jurkat, full, demo = map(load_manifest, ("jurkat", "jurkat-full", "demo"))
    assert {kind.name: kind.count for kind in jurkat.classes} == COUNTS | MITOSIS
    assert sum(kind.count for kind in full.classes) == 32_266
    assert {k.name: k.count for k in full.classes if k.name in MITOSIS} == MITOSIS
    assert jurkat.source is not None
    assert full.source is not None
    assert len(jurkat.source.files) == 36
    assert all(file.sha256 for file in jurkat.source.files)
    montages = jurkat.layout.options["montages"]
    assert sum(montage["cells"] for montage in montages) == 7_916
    paths = {montage["path"].replace("{channel}", "Ch3") for montage in montages}
    assert paths <= {file.path for file in jurkat.source.files}
    assert full.source.files[0].size == 1_611_429_608
    assert "lossy" in full.notes
    assert demo.synthetic
    assert not jurkat.synthetic


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    found = load_manifest(manifest(tmp_path))
    assert found.variant(None)[0] == "one"
    with pytest.raises(CatalogError, match="mine has no variant 'onne'; did you mean 'one'"):
        found.variant("onne")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count: 3", "count: many", r"\$\.classes\.0\.count: .*got 'many' \(mine\.yaml:7\)"),
        ("licence", "license", r"unknown key; did you mean 'licence'\? \(mine\.yaml:3\)"),
        ("reader: folders", "reader: folder", r"\$\.layout\.reader: .*\(mine\.yaml:5\)"),
        ("name: b", "name: a", "class 'a' is given twice"),
        ("channels: [brightfield]", "channels: [brightfeld]", "did you mean 'brightfield'"),
        ("[a, b]", "[a, c]", "variant 'one': no class 'c'"),
        ("default_variant: one", "default_variant: two", "no variant 'two'"),
        ("{folder: images}", "{}", "needs either base and files, or folder"),
        ("{folder: images}", "{base: 'https://x.org/a'}", "belong together"),
        (
            "{folder: images}",
            "{base: 'https://x.org/a', files: [{path: b}]}",
            "needs its sha256, or at least its size",
        ),
        (
            "{folder: images}",
            "{base: 'https://x.org/a', files: [{path: ../b, size: 1}]}",
            "must lie below",
        ),
        (
            "{folder: images}",
            "{base: 'https://x.org/a', unpacked: b, files: [{path: b.tar, size: 1}]}",
            "one .zip",
        ),
        ("reader: folders", "reader: synthetic", "a synthetic layout has no source"),
        ("title: Two classes\n", "title: Two classes\ntitle: x\n", r"mine\.yaml:3"),
        ("name: mine", "name: My set", r"\$\.name: .*got 'My set'"),
    ],
)
def test_faults_are_located(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        load_manifest(manifest(tmp_path, old, new))


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = Path(manifest(tmp_path, "count: 3", "count: -1"))
    path.write_text(path.read_text().replace("label_free: true", "label_free: perhaps"))
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert "$.classes.0.count" in str(caught.value)
    assert "$.channels.0.label_free" in str(caught.value)


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(CatalogError, match="did you mean 'jurkat'"):
        load_manifest("jurkatt")


def test_reader_options_of_a_manifest_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"option tiles: .* did you mean 'tile'"):
        bind(load_manifest("jurkat"), {"tiles": "40"})


def test_the_schema_is_json_and_closed() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["additionalProperties"] is False
    assert {"name", "classes", "channels", "layout"} <= set(schema["required"])
