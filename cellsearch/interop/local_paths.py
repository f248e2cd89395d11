"""Places on this machine, taken out of what is handed to others."""

from __future__ import annotations

import re
from pathlib import Path

from cellsearch.util.passwords import without_password

# No .svg: pictures in one are base64, in which any text may turn up.
TEXT = (".md", ".json", ".yaml", ".yml", ".csv", ".txt")
_PART = r"[^\s\"'`<>|:;,()\\/]+"
_ROOT = r"(?:~?/|(?:\.\./)+|[A-Za-z]:[\\/]+)"
_QUOTED = re.compile(rf"(?<=[\"'`]){_ROOT}[^\"'`\n]+(?=[\"'`])")
_PLAIN = re.compile(
    # /home/anna/cells, ~/cells, ../cells, C:\Users\anna\cells; no address (https://...), no </tag>.
    rf"(?<![\w:/.<~])(?:/(?:{_PART}/)+|~/(?:{_PART}/)*|(?:\.\./)+(?:{_PART}/)*){_PART}/?"
    rf"|(?<!\w)[A-Za-z]:[\\/]+(?:{_PART}[\\/]+)*{_PART}[\\/]?"
)


def without_places(text: str) -> tuple[str, int]:
    """The text with each local path cut to its last part, and how many there were.

    Passwords in addresses, which cards of older versions may hold, go too.
    Someone's home folder becomes ``home``, since its name is theirs. Paths with spaces are known
    by their quotes.
    """
    text = without_password(text)
    text, quoted = _QUOTED.subn(lambda found: _last_part(found[0]), text)
    text, plain = _PLAIN.subn(lambda found: _last_part(found[0]), text)
    return text, quoted + plain


def _last_part(path: str) -> str:
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", "..", "~")]
    if parts and re.fullmatch("[A-Za-z]:", parts[0]):
        parts = parts[1:]
    if len(parts) == 2 and parts[0].lower() in ("home", "users"):
        return "home"
    return parts[-1] if parts else "."


def clean_folder(folder: Path) -> dict[str, int]:
    """Cut local paths in every text file of a folder; how many there were, by relative path."""
    changed = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in TEXT:
            text = path.read_bytes().decode("utf-8")
            cleaned, count = without_places(text)
            if cleaned != text:
                path.write_bytes(cleaned.encode("utf-8"))
            if count:
                changed[path.relative_to(folder).as_posix()] = count
    return changed
