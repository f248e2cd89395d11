"""Treated against control samples: what is a replicate, what is paired, what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cellsearch.cli import app
from cellsearch.compare.samples import compare_samples
from cellsearch.errors import CellsearchError, ConfigError, DataError

SIX = [f"s{k}" for k in range(6)]
TREATED = (0.30, 0.34, 0.38, 0.10, 0.12, 0.14)


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fractions(folder: Path, shares: Mapping[str, float], *, cells: int = 200) -> Path:
    """Two classes: the share given of ``rare``, the rest ``common``; EM as counted."""
    rows = []
    for sample, share in shares.items():
        for name, value in (("rare", share), ("common", 1 - share)):
            row = {"sample": sample, "class": name, "cells": round(value * cells), "raw": value}
            rows.append(row | {"adjusted_count": value, "em": value})
    return write(folder / "fractions.csv", rows)


def design(folder: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    return write(folder / "design.csv", rows)


def plain(folder: Path, **more: Sequence[object]) -> tuple[Path, Path]:
    """Three treated, three control samples; further columns of the design by name."""
    rows = [
        {"sample": name, "condition": "drug" if k < 3 else "DMSO"}
        | {column: values[k] for column, values in more.items()}
        for k, name in enumerate(SIX)
    ]
    return fractions(folder, dict(zip(SIX, TREATED, strict=True))), design(folder, rows)


def test_treated_less_control_and_what_three_can_tell(tmp_path: Path) -> None:
    report = compare_samples(*plain(tmp_path))
    assert (report.control, report.share, report.paired_by) == ("DMSO", "em", "")
    (only,) = report.conditions
    rare = only.classes["rare"]
    assert rare.difference.value == pytest.approx(0.22)
    assert rare.p == pytest.approx(0.1)
    assert rare.p_holm == pytest.approx(0.2)
    assert only.sentence.startswith(
        "3 against 3 replicates cannot give p below 0.1, after Holm over 2 comparisons 0.2"
    )
    assert rare.p_t < 0.01


def test_samples_of_one_replicate_are_averaged(tmp_path: Path) -> None:
    wells = {f"{kind}{r}{w}": 0.1 * r + 0.01 * w for kind in "tc" for r in (1, 2) for w in range(5)}
    rows = [
        {"sample": name, "condition": "drug" if name[0] == "t" else "control", "replicate": name[1]}
        for name in wells
    ]
    report = compare_samples(fractions(tmp_path, wells), design(tmp_path, rows))
    (only,) = report.conditions
    assert (only.treated, only.control, only.arrangements) == (2, 2, 6)
    assert [each.shares[0] for each in report.replicates] == pytest.approx([0.12, 0.22] * 2)
    assert report.replicates[0].cells == 1000


def test_donors_with_both_conditions_are_pairs_and_others_are_left_out(tmp_path: Path) -> None:
    shares, rows = {}, []
    for donor in range(7):
        for condition, more in (("control", 0.0), ("drug", 0.02 + 0.001 * donor)):
            for well in range(2):
                name = f"{donor}{condition}{well}"
                shares[name] = 0.1 * (donor + 1) + more + 0.004 * well
                rows.append({"sample": name, "condition": condition, "donor": f"d{donor}"})
    rows = [row for row in rows if not (row["donor"] == "d6" and row["condition"] == "drug")]
    kept = {row["sample"]: shares[row["sample"]] for row in rows}
    report = compare_samples(fractions(tmp_path, kept), design(tmp_path, rows))
    (only,) = report.conditions
    assert report.paired_by == "donor"
    assert (only.blocks, only.left_out, only.arrangements) == (6, ("d6",), 64)
    assert only.classes["rare"].p == pytest.approx(2 / 64)
    assert only.classes["rare"].difference.value == pytest.approx(0.0225)
    assert "within 6 donors" in only.sentence


def test_donors_of_one_condition_each_are_replicates(tmp_path: Path) -> None:
    report = compare_samples(*plain(tmp_path, donor=["a", "a", "b", "c", "d", "e"]))
    (only,) = report.conditions
    assert (only.treated, only.control, only.blocks) == (2, 3, 0)
    assert report.paired_by == ""


def test_batches_keep_their_replicates_and_a_confounded_batch_is_said(tmp_path: Path) -> None:
    report = compare_samples(*plain(tmp_path, batch=[1, 1, 2, 1, 2, 2]))
    (only,) = report.conditions
    assert (only.treated, only.control, only.blocks, only.arrangements) == (3, 3, 2, 9)
    told = compare_samples(*plain(tmp_path, batch=[1, 1, 1, 2, 2, 2])).notes
    assert any("cannot be told from what the treatment does" in note for note in told)


def test_holm_counts_every_class_and_condition(tmp_path: Path) -> None:
    names = [f"s{k}" for k in range(12)]
    rng = np.random.default_rng(0)
    shares = dict(zip(names, (0.2 + 0.1 * rng.random(12)).tolist(), strict=True))
    rows = [
        {"sample": name, "condition": ("control", "low", "high")[k % 3]}
        for k, name in enumerate(names)
    ]
    report = compare_samples(fractions(tmp_path, shares), design(tmp_path, rows))
    assert [each.condition for each in report.conditions] == ["low", "high"]
    every = [c for each in report.conditions for c in each.classes.values()]
    least = min(every, key=lambda c: c.p)
    assert least.p_holm == pytest.approx(min(1.0, 4 * least.p))


def test_a_class_without_a_corrected_share_is_left_out_and_said(tmp_path: Path) -> None:
    table, made = plain(tmp_path)
    rows = read(table)
    rows[0]["em"] = ""
    write(table, rows)
    report = compare_samples(table, made)
    assert list(report.conditions[0].classes) == ["common"]
    assert any("rare" in note for note in report.notes)
    assert len(compare_samples(table, made, share="raw").conditions[0].classes) == 2


def test_small_samples_are_named(tmp_path: Path) -> None:
    _, made = plain(tmp_path)
    few = fractions(tmp_path, dict.fromkeys(SIX, 0.5), cells=20)
    assert "fewer than 50 cells" in compare_samples(few, made).notes[0]


def refused(folder: Path, rows: Sequence[Mapping[str, object]], **more: str) -> CellsearchError:
    table = fractions(folder, dict(zip(SIX, TREATED, strict=True)))
    with pytest.raises(CellsearchError) as found:
        compare_samples(table, design(folder, rows), **more)
    return found.value


def test_what_is_wrong_with_a_design_is_said(tmp_path: Path) -> None:
    good = [{"sample": s, "condition": "AB"[k > 2]} for k, s in enumerate(SIX)]
    found = refused(tmp_path, good)
    assert isinstance(found, ConfigError)
    assert 'which condition is the control? give control="CONDITION", one of A, B' in str(found)
    assert "no such condition" in str(refused(tmp_path, good, control="a"))
    found = refused(tmp_path, [*good[:-1], {"sample": "s9", "condition": "B"}], control="A")
    assert isinstance(found, DataError)
    assert "s5" in str(found)
    assert "s9" in str(found)
    assert "sample s0 twice" in str(refused(tmp_path, [*good, good[0]], control="A"))
    assert "line 2: no condition" in str(
        refused(tmp_path, [good[0] | {"condition": ""}, *good[1:]])
    )
    alike = [row | {"condition": "A"} for row in good]
    assert "one condition, A" in str(refused(tmp_path, alike))
    single = [{"sample": s, "condition": "A" if k else "B"} for k, s in enumerate(SIX)]
    told = str(refused(tmp_path, single, control="A"))
    assert "B has 1 and A 5 replicates: at least two" in told
    both = [row | {"donor": 1, "batch": 1} for row in good]
    assert "donor and batch" in str(refused(tmp_path, both, control="A"))
    assert "no column sample" in str(refused(tmp_path, [{"name": s, "condition": 1} for s in SIX]))


def test_a_table_that_predict_did_not_write_is_refused(tmp_path: Path) -> None:
    _, made = plain(tmp_path)
    other = write(tmp_path / "other.csv", [{"sample": "s0", "share": 1}])
    with pytest.raises(ConfigError, match="no column class, cells, raw"):
        compare_samples(other, made)


def test_command_writes_table_and_picture(tmp_path: Path) -> None:
    table, made = plain(tmp_path, donor=["a", "b", "c", "a", "b", "c"])
    words = ["compare-samples", str(table), "--design", str(made)]
    out = ["--csv", str(tmp_path / "out.csv"), "--plot", str(tmp_path / "out.png")]
    done = CliRunner().invoke(app, [*words, *out])
    assert done.exit_code == 0, done.output
    assert "3 against 3 replicates within 3 donors cannot give p below 0.25" in done.output
    rows = read(tmp_path / "out.csv")
    assert [row["class"] for row in rows] == ["rare", "common"]
    assert float(rows[0]["difference"]) == pytest.approx(0.22)
    assert (tmp_path / "out.png").stat().st_size > 5000
    drawn = (tmp_path / "out.svg").read_text()
    assert "DMSO" in drawn
    assert "lines: one donor" in drawn
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert told["conditions"][0]["classes"]["rare"]["difference"]["value"] == pytest.approx(0.22)
