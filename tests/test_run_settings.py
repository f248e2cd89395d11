"""Settings of a run that do not go together, and what resuming may change."""

from __future__ import annotations

import pytest

from cellsearch.errors import RunError
from cellsearch.run.config import RunConfig


def test_a_cluster_is_rays_alone() -> None:
    with pytest.raises(RunError, match="address: only Ray runs on clusters") as caught:
        RunConfig.of(dataset="demo", backend="local", address="1.2.3.4:6379", budget=0)
    assert "budget: " in str(caught.value)
    there = RunConfig.of(dataset="demo", address="1.2.3.4:6379")
    # Who goes on without the cluster is not asked to take its address back.
    assert there.changed(backend="local").address is None
    assert there.changed(budget=3).address == "1.2.3.4:6379"
    old = there.model_dump() | {"backend": "local"}
    assert RunConfig.model_validate(old).changed(budget=3).address is None
    with pytest.raises(RunError, match="address: only Ray runs on clusters"):
        there.changed(backend="local", address="1.2.3.4:6379")
