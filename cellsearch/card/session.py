"""onnxruntime, opened quietly and with a thread count that fits the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.errors import CardError
from cellsearch.util.messages import first_line

MOST_THREADS = 8
MOST_IMAGES = 256
PIXELS_AT_ONCE = 100_000


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(path: Path, *, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        path: an ONNX file.
        threads: for one call; by default the usable cores, at most 8.

    Raises:
        CardError: onnxruntime cannot load the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(usable_cores(), MOST_THREADS)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        # onnxruntime's errors share no base below Exception.
        raise CardError(f"onnxruntime cannot load {path}: {first_line(error)}") from error


def run_session(
    session: Any,
    inputs: Mapping[str, NDArray[Any]],
    *,
    output_name: str,
    batch: int | None = None,
) -> NDArray[np.float32]:
    """(N, C, H, W) images, (N, F) features or both, as float32, to the graph's (N, K) output.

    Args:
        session: of ``open_session``.
        inputs: by the names of the graph's inputs; of any dtype, in the shape that it takes.
        output_name: of the graph.
        batch: cells in one call; by default at most 256, and of images about 100,000 pixels'
            worth, so that wide feature maps of large crops stay within some hundred MB.

    Raises:
        CardError: the graph does not take these inputs.
    """
    parts = []
    cells = len(next(iter(inputs.values())))
    pixels = max(math.prod(values.shape[2:]) for values in inputs.values())
    batch = batch or max(1, min(MOST_IMAGES, PIXELS_AT_ONCE // pixels))
    try:
        for start in range(0, cells, batch):
            pieces = {
                name: np.ascontiguousarray(values[start : start + batch], dtype=np.float32)
                for name, values in inputs.items()
            }
            parts.append(session.run([output_name], pieces)[0])
    except Exception as error:
        raise CardError(f"the card's model cannot be run: {first_line(error)}") from error
    return np.concatenate(parts).astype(np.float32, copy=False)
