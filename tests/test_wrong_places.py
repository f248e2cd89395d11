"""What is named in place of a run or a card: each is told what it is, and what to name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cellsearch.run.config import NestedRequest
from cellsearch.run.folder import REQUEST, SUMMARY, read_record
from cellsearch.run.nested import NestedSummary

RUN_COMMANDS = ("show", "audit", "report", "dashboard")


@pytest.fixture(scope="session")
def card(finished_card: Path) -> Path:
    return finished_card


@pytest.fixture(scope="module")
def nested(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of two repeated hold-outs, both done."""
    folder = tmp_path_factory.mktemp("nested") / "both"
    for number in (1, 2):
        shutil.copytree(card.parent, folder / f"repeat-{number}")
    config = read_record(card.parent).config
    request = NestedRequest.of(config, outer=None, repeats=2)
    (folder / REQUEST).write_text(request.model_dump_json())
    NestedSummary(
        kind="repeats",
        metric="balanced_accuracy",
        headline="mean of 2 hold-outs: 0.9",
        searches=(),
    ).save(folder)
    return folder


def unfinished(card: Path, folder: Path) -> Path:
    shutil.copytree(card.parent, folder, ignore=shutil.ignore_patterns("card"))
    return folder


@pytest.mark.parametrize("verb", RUN_COMMANDS)
def test_what_is_no_run_is_told_what_it_is(command, card: Path, tmp_path: Path, verb: str) -> None:
    run = card.parent
    alone = tmp_path / "copies" / "model"
    shutil.copytree(card, alone)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for place, what in (
        (tmp_path / "nowhere", "no such folder; `cellsearch runs` lists"),
        (tmp_path / "file", "it is a file; name a folder"),
        (card, f"give {run}\n"),
        (run / "run.json", f"give {run}\n"),
        (alone, "it is a card, not its run"),
        (run.parent, f"it contains runs; `cellsearch runs {run.parent}` lists them"),
        (tmp_path / "empty", "it holds no run.json"),
    ):
        code, out, error = command(verb, place)
        assert (code, out) == (2, "")
        assert error.startswith(f"cellsearch: {place}")
        assert what in error


def test_show_tells_of_repeated_searches(command, nested: Path, tmp_path: Path) -> None:
    code, out, error = command("show", nested)
    assert code == 0, error
    assert f"{nested}: 2 searches on repeats" in out
    assert out.count("finished") == 2
    assert "mean of 2 hold-outs: 0.9" in out
    assert f"look at one: cellsearch show {nested / 'repeat-1'}" in out
    facts = json.loads(command("show", nested, "--json")[1])
    assert facts["runs"] == [str(nested / "repeat-1"), str(nested / "repeat-2")]
    assert facts["interrupted"] is False
    begun = tmp_path / "begun"
    shutil.copytree(nested, begun, ignore=shutil.ignore_patterns("repeat-2", SUMMARY))
    code, out, _ = command("show", begun)
    assert code == 0
    assert "1 of 2 searches were started and not all have ended" in out
    assert json.loads(command("show", begun, "--json")[1])["interrupted"] is True


def test_repeated_searches_in_place_of_one_are_named(
    command, card: Path, nested: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "experts.csv"
    answers.write_text("id,class\n")
    both = f"name one of them: {nested / 'repeat-1'}, {nested / 'repeat-2'}\n"
    for words in (
        ("compare", card.parent, nested),
        ("compare", nested, "--answers", answers),
        ("dashboard", nested),
    ):
        code, _, error = command(*words)
        assert code == 2
        assert error.endswith(both)
    cards = f"{nested / 'repeat-1' / 'card'}, {nested / 'repeat-2' / 'card'}\n"
    for words in (("verify", nested), ("predict", nested, tmp_path), ("serve", nested)):
        code, _, error = command(*words)
        assert code == 2
        assert error.endswith(f"each with a card; name one of them: {cards}")


def test_compare_tells_a_missing_run_from_an_unfinished_one(
    command, card: Path, tmp_path: Path
) -> None:
    code, _, error = command("compare", card.parent, tmp_path / "nosuch")
    assert code == 2
    assert "nosuch: no such folder" in error
    assert "resume" not in error
    begun = unfinished(card, tmp_path / "not done")
    code, _, error = command("compare", card.parent, begun)
    assert code == 2
    assert error.endswith(f"has no card yet; finish it with `cellsearch resume '{begun}'`\n")


def test_an_unfinished_run_in_place_of_a_card_is_to_be_resumed(
    command, card: Path, tmp_path: Path
) -> None:
    begun = unfinished(card, tmp_path / "begun")
    out = tmp_path / "out"
    for place in (begun, begun / "card"):
        for words in (
            ("verify", place),
            ("predict", place, tmp_path),
            ("serve", place),
            ("push", place, "anna/x"),
            ("export", place, "--to", "onnx", "-o", out),
        ):
            code, _, error = command(*words)
            assert code == 2
            assert error == (
                f"cellsearch: {place} is not a card: {begun} has none yet; "
                f"finish it with `cellsearch resume {begun}`\n"
            )
    assert not out.exists()


def test_what_is_printed_of_runs_is_quoted(command, card: Path, tmp_path: Path) -> None:
    begun = unfinished(card, tmp_path / "my runs" / "one")
    code, out, _ = command("runs", begun.parent)
    assert code == 0
    assert f"look at one: cellsearch show '{begun}'" in out
    assert f"no card yet: cellsearch resume '{begun}'" in command("show", begun)[1]
    shutil.copytree(card, tmp_path / "my card")
    where = tmp_path / "hub"
    code, out, error = command("export", tmp_path / "my card", "--to", "huggingface", "-o", where)
    assert code == 0, error
    assert f"push it: cellsearch push '{tmp_path / 'my card'}' OWNER/NAME" in out
