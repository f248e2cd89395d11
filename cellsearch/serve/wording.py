"""Settings as the page words them: it has no control for them, so whoever starts the server has."""

from __future__ import annotations

from cellsearch.util.messages import Message, Setting, as_parameter
from cellsearch.util.wording import as_option

OF_THE_SERVER = frozenset({"fit", "abstain", "sets", "threads", "max_upload", "allow_host"})
"""Settings that `cellsearch serve` takes for all who use its page."""


def as_control(setting: Setting) -> str:
    """A setting of the server as whoever starts it types it; all others as in Python."""
    if setting.name in OF_THE_SERVER and not setting.reader:
        return f"a server started with {as_option(setting)}"
    return as_parameter(setting)


def on_page(message: Message) -> str:
    """A message as the page shows it."""
    return message.worded(as_control)
