"""Settings as the command line spells them."""

from __future__ import annotations

import shlex
from dataclasses import replace

from cellsearch.util.messages import Message, Setting

_OPTIONS = {
    "mirror": "--from",
    "seconds": "--time",
    "options": "--option",
    "sets": "--prediction-sets",
    "slots": "--max-concurrent-trials",
}
"""Options whose name is not the parameter's."""


def as_option(setting: Setting) -> str:
    """A setting as it is typed: ``--folds 3``, ``--option group_column=none``.

    A word in capitals, which stands for what the user chooses, is not quoted. An option that takes
    several values is given once for each; one of yes or no is a flag.
    """
    value = setting.value
    if isinstance(value, bool) and not setting.reader:
        return ("--" if value else "--no-") + setting.name.replace("_", "-")
    if isinstance(value, tuple):
        return " ".join(as_option(replace(setting, value=each)) for each in value)
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = setting.structure or text
    if setting.reader:
        return f"--option {shlex.quote(f'{setting.name}={text}' if text else setting.name)}"
    option = _OPTIONS.get(setting.name, "--" + setting.name.replace("_", "-"))
    return f"{option} {shlex.quote(text)}" if text else option


def worded(text: str | Message) -> str:
    """A text with its settings as they are typed."""
    return text if isinstance(text, str) else text.worded(as_option)
