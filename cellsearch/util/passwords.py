"""Passwords taken out of what is written down: records, cards, databases, the terminal."""

from __future__ import annotations

import re

# The last @ of a word ends the password, which may hold others.
_IN_ADDRESS = re.compile(r"([A-Za-z][\w+.-]*://[^\s:/@?\"']*):[^\s\"']*(?=@)")
_IN_QUERY = re.compile(
    r"(?<=[?&])(?:password|passwd|pwd|sslpassword|token|secret)=[^&\s\"']*&?", re.IGNORECASE
)


def without_password(text: str) -> str:
    """A text whose addresses (``scheme://user:password@host/name?password=...``) hold none."""
    if "://" not in text:
        return text
    found = _IN_QUERY.sub("", _IN_ADDRESS.sub(r"\1", text))
    return found if found == text else re.sub(r"[?&](?=[\s\"']|$)", "", found)
