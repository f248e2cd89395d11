"""One file per format that cells are written in; each has ``SUFFIX``, ``refusals`` and ``write``.

``write(cells, path, on_progress)`` fills a path where nothing lies yet; ``refusals(cells)`` lists
what the format cannot hold at all, ``losses(cells)`` what is left out.
"""

from __future__ import annotations
