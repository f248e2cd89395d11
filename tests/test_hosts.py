"""Which names a server on this machine answers to."""

from __future__ import annotations

import pytest

from cellsearch.errors import RunError
from cellsearch.util.hosts import KnownHosts, known_hosts, refusal_of


@pytest.mark.parametrize(
    ("listening", "host", "known"),
    [
        ("127.0.0.1", "localhost:8000", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("127.0.0.1", "192.168.0.7", False),
        ("127.0.0.1", "evil.example", False),
        ("0.0.0.0", "localhost", True),
        ("0.0.0.0", "192.168.0.7:8000", True),
        ("0.0.0.0", "[fe80::1]:8000", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "0.0.0.0.evil.example", False),
        ("0.0.0.0", "", False),
        ("::", "evil.example:8000", False),
        ("lab-pc", "LAB-PC:8000", True),
        ("lab-pc", "lab-pc.evil.example", False),
    ],
)
def test_only_names_of_its_own_are_answered_to(listening: str, host: str, *, known: bool) -> None:
    assert known_hosts(listening).knows(host) is known


def test_a_name_that_is_allowed_is_answered_to_and_may_be_the_origin() -> None:
    hosts = known_hosts("0.0.0.0", ["Cells.example.org"])
    assert hosts.knows("cells.example.org:443")

    def refused(origin: str) -> bool:
        return (
            refusal_of("POST", "127.0.0.1:8000", origin=origin, fetch_site=None, hosts=hosts)
            is not None
        )

    # A proxy may send its own name on, or not.
    assert not refused("https://cells.example.org")
    assert not refused("http://127.0.0.1:8000")
    assert refused("https://evil.example")
    assert refused("null")


@pytest.mark.parametrize("name", ["https://cells.example.org", "cells:8000", "a/b", "", "[::"])
def test_what_is_no_name_alone_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="give a name alone"):
        known_hosts("127.0.0.1", [name])


def test_what_only_reads_may_come_from_anywhere_but_not_to_any_name() -> None:
    def asked(method: str, host: str) -> int:
        refused = refusal_of(
            method,
            host,
            origin="https://evil.example",
            fetch_site="cross-site",
            hosts=KnownHosts(),
        )
        return 200 if refused is None else refused.status

    assert asked("GET", "localhost") == 200
    assert asked("GET", "evil.example") == 421
    assert asked("DELETE", "localhost") == 403
