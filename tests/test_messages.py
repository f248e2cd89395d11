"""A message names settings as data; Python and the command line word them differently."""

from __future__ import annotations

import copy

import pytest

from cellsearch.cli.wording import as_option
from cellsearch.errors import DataError, ReadError
from cellsearch.util.messages import Message, Setting, joined


@pytest.mark.parametrize(
    ("setting", "parameter", "option"),
    [
        (Setting("folds", 3), "folds=3", "--folds 3"),
        (Setting("rare", "keep"), 'rare="keep"', "--rare keep"),
        (Setting("one_vs_rest", "NK, dim"), 'one_vs_rest="NK, dim"', "--one-vs-rest 'NK, dim'"),
        (Setting("mirror"), "mirror", "--from"),
        (Setting("cut", True, reader=True), "cut=True", "--option cut=true"),
        (
            Setting("group_column", "donor id", reader=True),
            'group_column="donor id"',
            "--option 'group_column=donor id'",
        ),
    ],
)
def test_each_surface_words_a_setting_in_its_own_way(
    setting: Setting, parameter: str, option: str
) -> None:
    message = Message.of("choose ", setting)
    assert str(message) == f"choose {parameter}"
    assert message.worded(as_option) == f"choose {option}"


def test_an_error_that_wraps_another_keeps_its_settings() -> None:
    inner = ReadError("too few cells; choose ", Setting("folds", 2), " or more cells")
    outer = DataError("cells.csv: ", inner)
    assert str(outer) == "cells.csv: too few cells; choose folds=2 or more cells"
    assert outer.message.worded(as_option).endswith("choose --folds 2 or more cells")


def test_an_error_crosses_processes_with_its_settings() -> None:
    error = ReadError("choose ", Setting("folds", 2))
    again = copy.deepcopy(error)  # rebuilt as a process rebuilds what it receives
    assert type(again) is ReadError
    assert again.message == error.message


def test_messages_are_joined_with_their_settings() -> None:
    whole = joined([Message.of("a ", Setting("folds", 2)), Message.of("b")], "; ")
    assert whole.worded(as_option) == "a --folds 2; b"
