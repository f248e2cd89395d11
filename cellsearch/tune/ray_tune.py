"""The backend that runs trials with Ray Tune; the only file that imports ray.

Optuna's study is the truth (see driver.py), so Tune is kept ignorant: a searcher that passes on the
driver's tasks, a scheduler that passes on what workers report, and a fresh Tuner at every start.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellsearch.errors import RunError
from cellsearch.tune.bridge import WORKER_RETRIES, Bridge, Stop
from cellsearch.tune.driver import Driver
from cellsearch.tune.interrupt import Interrupted, Interrupts
from cellsearch.tune.job import SearchJob, Task
from cellsearch.tune.work import Compute, attempt, train

ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "3600",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "0",
    "RAY_AUTH_MODE": "token",
    # Ray's own 15 starves the trials wherever anything else runs.
    "RAY_worker_niceness": "5",
    # Compiled kernels of recipes long gone; the default keeps 1,024 of them in each worker.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Under `uv run` Ray would pack the working directory, cells and all, and install everything
    # anew for each worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""0 where Ray shall be of one machine."""
IMPORTED_BEFORE = "ray" in sys.modules
for _name, _value in ENVIRONMENT.items():
    # A ray that somebody imported before has made up its mind about tokens; the processes it
    # starts would read the environment and disagree with it.
    if _name != "RAY_AUTH_MODE" or not IMPORTED_BEFORE:
        os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

OBJECT_STORE_BYTES = 100 * 2**20
CONNECT_SECONDS = 5.0
LONGEST_FOLDER = 30
"""Characters; the path of a socket in it may have about a hundred."""


@dataclass(frozen=True)
class RayBackend:
    """Trials side by side, on this machine or on a Ray cluster.

    Attributes:
        compute: makes the folds, on the workers.
    """

    compute: Compute = train

    def run(self, job: SearchJob, driver: Driver, interrupts: Interrupts) -> None:
        """Run trials until the driver has no more.

        Raises:
            RunError: Ray does not start, or the cluster does not answer.
        """
        bridge = Bridge(driver, interrupts)
        with ExitStack() as stack:
            stack.callback(bridge.stop_ahead)
            if self.compute is train and job.address is None:
                bridge.start_ahead(job)
            with interrupts.breakable():
                up = cluster(slots=job.slots, threads=job.threads, address=job.address)
                stack.enter_context(up)
            # Ray takes SIGTERM for itself.
            interrupts.retake()
            stack.enter_context(_quiet())
            # Else Tune starts one worker after the other, some seconds each.
            os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(job.slots)
            results = job.run_folder / "ray"
            shutil.rmtree(results, ignore_errors=True)
            try:
                _tuner(job, self.compute, bridge, results, _gpus(job.device)).fit()
            except Stop:
                pass
            finally:
                shutil.rmtree(results, ignore_errors=True)
            if bridge.error is not None:
                raise bridge.error
            interrupts.check()


class _Searcher(Searcher):  # type: ignore[misc]
    """Passes on the driver's tasks."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(metric="fold", mode="max")
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self._bridge.ask(trial_id)
        if task is not None:
            return {"task": task.to_json(), "number": task.number, "rung": task.rung}
        self._bridge.check()
        return str(Searcher.FINISHED) if self._bridge.driver.finished else None

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        if error:
            self._bridge.lost(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study holds all there is."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Never: every start is a fresh one."""
        raise NotImplementedError


class _Scheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes on reports; Tune tells the searcher nothing of a report that stops a trial."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(
        self,
        tune_controller: Any,  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
    ) -> str:
        stop = self._bridge.receive(trial.trial_id, result)
        return str(self.STOP if stop else self.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """A worker died; Tune calls this for those it retries, too."""
        self._bridge.worker_died(trial.trial_id, trial.error_file)


class _Pulse(tune.Callback):  # type: ignore[misc]
    """Looks for Ctrl-C and errors at every step of Tune's loop."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_step_begin(self, **_: Any) -> None:
        self._bridge.check()


def _tuner(
    job: SearchJob, compute: Compute, bridge: Bridge, results: Path, gpus: float
) -> tune.Tuner:
    def run_trial(config: dict[str, Any]) -> None:
        for report in attempt(job, Task.from_json(config["task"]), compute=compute):
            tune.report(report.to_dict())

    resources = {"cpu": job.threads, "gpu": _share(gpus, job.slots)}
    return tune.Tuner(
        tune.with_resources(run_trial, resources),
        tune_config=tune.TuneConfig(
            search_alg=_Searcher(bridge),
            scheduler=_Scheduler(bridge),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_name_of,
            trial_dirname_creator=_name_of,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(results),
            callbacks=[_Pulse(bridge)],
            failure_config=tune.FailureConfig(max_failures=WORKER_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )


def _name_of(trial: Any) -> str:
    """Unlike those of the trial's other trainings."""
    return f"trial-{trial.config['number']:04d}-{trial.config['rung']}"


def _share(gpus: float, slots: int) -> float:
    """GPUs of one trial, so that all slots fit; whole ones where there are enough."""
    if gpus == 0 or slots <= gpus:
        return float(gpus // slots)
    per_gpu = -(-slots // int(gpus))
    return int(10_000 / per_gpu) / 10_000


@contextmanager
def cluster(*, slots: int, threads: int, address: str | None = None) -> Iterator[None]:
    """Ray, up within: joined at ``address``, else started here; one that is up already is kept.

    Raises:
        RunError: it does not start, or does not answer.
    """
    if ray.is_initialized():
        yield
        return
    session: str | None = None
    finished = False
    try:
        if address is None:
            session = _started(slots * threads)
        else:
            _join(address)
        yield
        finished = True
    except Interrupted:
        finished = True
        raise
    finally:
        ray.shutdown()
        if finished and session is not None:
            # Logs of a search that went well; each start would leave some megabytes.
            shutil.rmtree(session, ignore_errors=True)


def _started(cpus: int) -> str:
    """The folder of the new session."""
    place = private_folder()
    try:
        keep_token_private()
        with _on_loopback():
            context = ray.init(
                address="local",
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                _temp_dir=place,
            )
    except Exception as error:
        raise RunError(f"Ray does not start: {_one_line(error)}") from None
    if IMPORTED_BEFORE and not _asks_for_a_token():
        warnings.warn(
            "ray was imported before cellsearch, and the Ray started here asks for no token: other "
            "users of this machine can run programs in it. Import cellsearch first, or set "
            "RAY_AUTH_MODE=token before ray is imported",
            stacklevel=2,
        )
    return str(Path(place).parent) if place else str(context.address_info["session_dir"])


def private_folder() -> str | None:
    """A folder for Ray's sockets and logs that no other user enters; None where its path is long.

    Ray's own, ``/tmp/ray``, is open to all, and who reaches the sockets reads the object store.
    """
    folder = tempfile.mkdtemp(prefix="ray-")
    if len(folder) > LONGEST_FOLDER:
        Path(folder).rmdir()
        return None
    # Ray opens its own folder to all, so it lies in one that is not.
    return f"{folder}/r"


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Within, what Ray starts listens on loopback alone, as it does on Windows and macOS.

    Its servers bind to all interfaces unless the address of its node is loopback, which Ray
    decides by this switch and not by ``ray.init``.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    told = os.environ.get(ALONE)
    os.environ[ALONE], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        if told is None:
            del os.environ[ALONE]
        else:
            os.environ[ALONE] = told


def keep_token_private() -> None:
    """Let nobody else read the token, by which programs can be run here; Ray writes it for all."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    token = Path.home() / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made by one of several that start at once, and whole when it is there.
    descriptor, written = tempfile.mkstemp(dir=token.parent)
    with os.fdopen(descriptor, "w") as file:
        # As Ray makes it: 32 random bytes in hexadecimal digits.
        file.write(secrets.token_hex(32))
    with suppress(FileExistsError):
        token.hardlink_to(written)
    Path(written).unlink()
    if token.stat().st_mode & 0o077:
        token.chmod(0o600)


def _asks_for_a_token() -> bool:
    from ray import _raylet

    raylet: Any = _raylet
    return bool(raylet.get_authentication_mode() == raylet.AuthenticationMode.TOKEN)


def _join(address: str) -> None:
    """Connect to a cluster; one that is not there is refused in seconds, by Ray in minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise RunError(
            f"the Ray cluster at {address} does not answer: {_one_line(error)}"
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _gpus(device: str) -> float:
    """GPUs that trials may use."""
    if device in ("cpu", "mps"):
        return 0.0
    return float(ray.cluster_resources().get("GPU", 0.0))


@contextmanager
def _quiet() -> Iterator[None]:
    """Loggers of Tune's at CRITICAL, while it runs."""
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air", "ray")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
