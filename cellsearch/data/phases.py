"""What tells the phases of generated cells apart, in numbers near those of Jurkat cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """What tells a phase from the others; lengths in pixels of a 40 px crop, as (mean, sd).

    Attributes:
        radius: of a lobe.
        apart: distance of the two lobes' centres; 0 makes one lobe.
        dna: content, in units of G1's.
        clumps: how textured the chromatin is.
        nucleus: radius of the nucleus over that of the lobe.
        plate: width over length of a division figure; None for a round nucleus.
        plates_apart: distance of the two figures.
        upright: sd of the division axis around the flow, degrees; above 90 any axis.
        granules: density over that of G1.
        shade: what chromatin does to the brightfield, grey levels.
        envelope: by how much the nuclear envelope darkens it, grey levels.
    """

    radius: tuple[float, float]
    dna: tuple[float, float]
    clumps: tuple[float, float]
    apart: tuple[float, float] = (0.0, 0.0)
    nucleus: float = 0.84
    plate: float | None = None
    plates_apart: tuple[float, float] = (0.0, 0.0)
    upright: float = 180.0
    granules: float = 1.0
    shade: float = 14.0
    envelope: float = 26.0


PHASES: Mapping[str, Phase] = {
    "G1": Phase(radius=(9.1, 0.65), dna=(1.0, 0.09), clumps=(0.25, 0.08)),
    "S": Phase(radius=(9.9, 0.7), dna=(1.35, 0.13), clumps=(0.28, 0.08), granules=1.15),
    "G2": Phase(radius=(10.7, 0.75), dna=(1.85, 0.16), clumps=(0.33, 0.1), granules=1.3),
    "Prophase": Phase(
        radius=(11.4, 0.8),
        dna=(2.1, 0.16),
        clumps=(0.75, 0.2),
        nucleus=0.88,
        granules=0.8,
        shade=-38.0,
        envelope=5.0,
    ),
    "Metaphase": Phase(
        radius=(11.4, 0.7),
        dna=(2.2, 0.16),
        clumps=(0.4, 0.1),
        plate=0.5,
        granules=1.1,
        shade=-62.0,
        envelope=0.0,
    ),
    "Anaphase": Phase(
        radius=(9.5, 0.6),
        apart=(8.8, 1.4),
        dna=(2.1, 0.14),
        clumps=(0.35, 0.1),
        plate=0.5,
        plates_apart=(11.4, 1.2),
        upright=50.0,
        shade=-55.0,
        envelope=0.0,
    ),
    "Telophase": Phase(
        radius=(8.1, 0.55),
        apart=(15.2, 1.4),
        dna=(2.05, 0.14),
        clumps=(0.3, 0.1),
        plate=0.62,
        plates_apart=(15.2, 1.2),
        upright=18.0,
        shade=-30.0,
        envelope=10.0,
    ),
}
