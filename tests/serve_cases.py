"""Files that are sent to a served card, and a real server in a process of its own."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Parts = list[tuple[str, tuple[str, bytes]]]


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def pages(array: NDArray[Any]) -> bytes:
    """A grey page for each plane of (..., H, W), whatever its shape would be taken for."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for plane in array.reshape(-1, *array.shape[-2:]):
            writer.write(plane, photometric="minisblack", metadata=None)
    return out.getvalue()


def picture(array: NDArray[Any], kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def packed(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def parts(**files: bytes) -> Parts:
    """``parts(a=b"...")``: a file called ``a``."""
    return [("files", (name, data)) for name, data in files.items()]


def named(*files: tuple[str, bytes]) -> Parts:
    return [("files", one) for one in files]


class Served:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found
        return 1024 * int(found[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=300)


@contextmanager
def served(card: Path, temporary: Path, *options: str) -> Iterator[Served]:
    """``cellsearch serve CARD --port 0`` with its temporary files in a folder of ours."""
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "cellsearch", "serve", str(card), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    try:
        port = 0
        for line in process.stdout:
            found = re.search(r"http://[^:]+:(\d+)/ ", line)
            if found:
                port = int(found[1])
                break
        assert port, "the server did not start"
        # Else it would wait for somebody to read.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Served(process, port)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
