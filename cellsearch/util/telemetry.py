"""Nobody is told what is done here: libraries that report home unasked are asked not to.

onnxruntime reports sessions and models to Microsoft since 1.29, on Linux too, unless
``ORT_DISABLE_TELEMETRY`` is set before it is first used (its pull request 27379 on GitHub). Seen of
1.31 without it: an identifier of the machine, and a queue of events, under ``~/.cache/Microsoft``.
"""

from __future__ import annotations

import os

SILENCED = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}


def keep_silent() -> None:
    """Set what has not been set; whoever wants to report says so in the environment."""
    for name, value in SILENCED.items():
        os.environ.setdefault(name, value)
