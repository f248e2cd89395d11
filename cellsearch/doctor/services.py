"""What lies beside Python: torch's devices, databases, Ray, weights, Java."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from cellsearch.doctor.checks import Check
from cellsearch.errors import CellsearchError
from cellsearch.util.messages import Message, Setting

WITHOUT_RAY = Message.of("run with ", Setting("backend", "local"))
RAY_SECONDS = 180
_RAY = """
import ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print("answer", ray.get(ray.remote(lambda: 42).remote()))
ray.shutdown()
"""


def torch_devices() -> list[Check]:
    """What torch can train on, and the fastest precision there."""
    try:
        from cellsearch.learn.machine import devices, fastest_precision

        found = devices()
        precision = fastest_precision()
    except Exception as error:
        # Whatever a broken installation raises: a wrong driver, a library that is not there.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [
            Check("torch", "problem", f"does not work ({reason})", "reinstall torch: pytorch.org")
        ]
    checks = []
    if found.cuda:
        names = ", ".join(f"{name} ({size / 2**30:.0f} GiB)" for name, size in found.cuda)
        checks.append(Check("CUDA", "ok", names))
    elif shutil.which("nvidia-smi"):
        why = "no device answers" if found.built_for_cuda else "this torch is built without CUDA"
        checks.append(Check("CUDA", "warning", why, "install torch for your driver: pytorch.org"))
    elif found.mps:
        checks.append(Check("MPS", "ok", "Apple's GPU is there"))
    else:
        checks.append(Check("GPU", "ok", "none; small crops train well on CPU"))
    text = f"{found.chosen}, {found.threads} threads by itself; fastest precision {precision}"
    return [*checks, Check("device", "ok", text)]


def sqlite() -> Check:
    """The default storage: a file in the run's folder."""
    from cellsearch.tune.storage import open_engine

    with tempfile.TemporaryDirectory() as folder:
        try:
            open_engine(f"sqlite:///{Path(folder) / 'study.db'}").dispose()
        except CellsearchError as error:
            return Check("storage", "problem", error.message, "check the disk of the runs folder")
    text = Message.of(
        "SQLite, a file in each run (", Setting("storage", "URL"), " tries a database)"
    )
    return Check("storage", "ok", text)


def database(url: str) -> Check:
    """A database that several machines share."""
    from cellsearch.tune.storage import open_engine, shown_url

    try:
        shown = shown_url(url)
        engine = open_engine(url)
        version = ".".join(map(str, engine.dialect.server_version_info or ()))
        engine.dispose()
    except CellsearchError as error:
        remedy = "check host, port, user and that the server runs"
        return Check("storage", "problem", error.message, remedy)
    return Check("storage", "ok", f"{shown} answers ({engine.dialect.name} {version})")


def weights() -> Check:
    """Pretrained weights on this machine; spaces that name them are refused without."""
    from cellsearch.learn.models.timm_weights import checkpoints, hub_cache

    found = sorted(path.name for path in hub_cache().glob("models--timm--*"))
    found += sorted(path.name for path in checkpoints().glob("*"))
    names = [name.removeprefix("models--timm--") for name in found]
    if not names:
        text = "none here; only spaces that name pretrained networks need some"
        return Check("timm weights", "ok", text)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Check("timm weights", "ok", f"{', '.join(names[:5])}{more}")


def java() -> Check:
    """Needed only to convert .cif files of ImageStream."""
    home = os.environ.get("JAVA_HOME")
    there = shutil.which("java") or (home and shutil.which("java", path=str(Path(home) / "bin")))
    if find_spec("jpype") is None:
        return Check("Java", "ok", "not looked at; only .cif files need it (the extra 'cif')")
    if not there:
        remedy = "to convert .cif files install a Java runtime, or name it in JAVA_HOME"
        return Check("Java", "warning", "none, though the extra 'cif' is installed", remedy)
    from cellsearch.data.readers.cif import bioformats_jar

    try:
        return Check("Java", "ok", f"{there}, Bio-Formats at {bioformats_jar()}")
    except CellsearchError as error:
        return Check("Java", "warning", f"{there}, but no Bio-Formats", error.message)


def ray_starts() -> Check:
    """Start Ray in a process of its own, and let it compute."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RAY],
            capture_output=True,
            text=True,
            timeout=RAY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("Ray", "problem", f"does not start within {RAY_SECONDS} s", WITHOUT_RAY)
    if "answer 42" in done.stdout:
        return Check("Ray", "ok", "starts and computes")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Check("Ray", "problem", f"does not start ({last})", WITHOUT_RAY)
