"""Whether this installation can do what cellsearch does: each check with its remedy.

``installation`` looks at packages, ``machine`` at cores, memory and disks, ``services`` at what is
asked for elsewhere: databases, Ray, weights, Java.
"""

from __future__ import annotations

from cellsearch.doctor.checks import Check, State, examine

__all__ = ["Check", "State", "examine"]
