"""Settings as the command line spells them."""

from __future__ import annotations

import shlex

from cellsearch.util.messages import Setting

_OPTIONS = {"mirror": "--from"}
"""Options whose name is not the parameter's."""


def as_option(setting: Setting) -> str:
    """A setting as it is typed: ``--folds 3``, ``--option group_column=none``.

    A word in capitals, which stands for what the user chooses, is not quoted.
    """
    value = setting.value
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = setting.structure or text
    if setting.reader:
        return f"--option {shlex.quote(f'{setting.name}={text}' if text else setting.name)}"
    option = _OPTIONS.get(setting.name, "--" + setting.name.replace("_", "-"))
    return f"{option} {shlex.quote(text)}" if text else option
