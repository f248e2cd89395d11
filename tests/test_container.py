"""The container installs what was tested, to the byte."""

from __future__ import annotations

import re

from conftest import REPOSITORY

CONTAINERS = REPOSITORY / "containers"


def pins(text: str) -> set[tuple[str, str]]:
    """Name and version of each pinned package; several where they hang on the Python."""
    return set(re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", text, re.M))


def test_every_package_of_the_container_is_pinned_as_it_was_tested_and_has_a_hash() -> None:
    lock = (CONTAINERS / "serve.lock").read_text()
    held, tested = pins(lock), pins((REPOSITORY / "requirements.lock").read_text())
    assert held <= tested
    asked = re.findall(r"^([a-z0-9.-]+)>=", (CONTAINERS / "serve.txt").read_text(), re.M)
    assert {name.replace(".", "-") for name in asked} <= {name for name, _ in held}
    for entry in re.split(r"\n(?=[a-z])", lock):
        assert "--hash=sha256:" in entry, entry


def test_the_containerfile_takes_nothing_without_a_hash() -> None:
    text = (CONTAINERS / "Containerfile").read_text()
    installs = [line for line in text.splitlines() if line.startswith("RUN pip install")]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    # What is left is this checkout.
    assert installs[1] == "RUN pip install --no-deps ."
