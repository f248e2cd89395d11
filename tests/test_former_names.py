"""Names that users typed in older versions still work."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cellsearch import SearchSpace
from cellsearch.cli import app
from cellsearch.data.findings import FORMER_KINDS, Kind, unknown_kind
from cellsearch.errors import CellsearchError, SpaceError
from cellsearch.run.config import RunConfig
from cellsearch.util.wording import as_option


@pytest.mark.parametrize("former", FORMER_KINDS)
def test_a_former_kind_of_finding_is_accepted_by_its_present_name(former: str) -> None:
    assert unknown_kind(former) == ""
    present: Kind = FORMER_KINDS[former]
    assert RunConfig.of(dataset="demo", accept=(former, present)).accept == (present,)


@pytest.mark.parametrize(
    ("former", "present"),
    [("--sets", "--prediction-sets"), ("--slots", "--max-concurrent-trials")],
)
def test_a_former_option_works_and_is_hidden(tmp_path: Path, former: str, present: str) -> None:
    told = CliRunner().invoke(app, ["run", "--help"]).output
    assert present in told
    assert f"{former} " not in told
    for option in (former, present, f"{former}=0"):
        words = ["run", "--dataset", str(tmp_path / "none"), option]
        words += [] if "=" in option else ["0"]
        error = CliRunner().invoke(app, words).exception
        assert isinstance(error, CellsearchError)
        assert f"{present}: " in error.message.worded(as_option)


def test_keywords_may_be_spelt_as_the_options() -> None:
    config = RunConfig.of(dataset="demo", prediction_sets=0.8, max_concurrent_trials=3)
    assert config == RunConfig.of(dataset="demo", sets=0.8, slots=3)


def test_initial_trials_may_be_called_starts() -> None:
    rest = {"name": "x", "parameters": {"model.family": {"choice": ["cnn", "vit"]}}}
    initial = [{"model.family": "vit"}]
    space = SearchSpace.from_dict({**rest, "starts": initial})
    assert space.sha256 == SearchSpace.from_dict({**rest, "initial": initial}).sha256
    assert "initial:" in space.to_yaml()
    for key in ("starts", "initial"):
        with pytest.raises(SpaceError, match=rf"\$\.{key}: expected a list, got 3"):
            SearchSpace.from_dict({**rest, key: 3})
