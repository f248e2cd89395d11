"""The first look at somebody's own cells: what they are, a manifest, the command to run.

``survey`` lists names, ``layout`` and ``table`` say which files are cells of which class,
``crops`` opens them, ``weigh`` says what pixels tell and ``choices`` proposes; ``look`` joins
these in what ``found`` holds, ``write`` writes the manifest.
"""

from __future__ import annotations

from cellsearch.scan.found import FirstLook
from cellsearch.scan.look import first_look
from cellsearch.scan.write import write

__all__ = ["FirstLook", "first_look", "write"]
