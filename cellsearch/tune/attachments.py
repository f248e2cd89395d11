"""What hangs on a study or a trial in its database: artifacts and notes, as the dashboard reads."""

from __future__ import annotations

import json
import math
import mimetypes
import uuid
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore

NOTE_CHUNK = 2045
"""Characters that the dashboard keeps in one attribute (optuna_dashboard._note)."""


def artifact_store(run_folder: Path) -> FileSystemArtifactStore:
    """``artifacts/`` of a run, made where it is missing."""
    folder = run_folder / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(str(folder))


def put_artifact(
    storage: optuna.storages.BaseStorage,
    study_id: int,
    run_folder: Path,
    path: Path,
    *,
    trial_id: int | None = None,
) -> str:
    """Upload a file to a study or a trial; one of the same name there is written over.

    Returns:
        Its id: the dashboard serves it at ``/artifacts/<study id>/[<trial id>/]<id>``.
    """
    prefix = "artifacts:" if trial_id is None else f"dashboard:artifacts:{trial_id}:"
    known = artifacts_of(storage, study_id, trial_id)
    artifact = known.get(path.name, str(uuid.uuid4()))
    with path.open("rb") as file:
        artifact_store(run_folder).write(artifact, file)
    if path.name not in known:
        mimetype, encoding = mimetypes.guess_type(path.name)
        facts = {
            "artifact_id": artifact,
            "filename": path.name,
            "mimetype": mimetype or "application/octet-stream",
            "encoding": encoding,
        }
        storage.set_study_system_attr(study_id, prefix + artifact, json.dumps(facts))
    return artifact


def artifacts_of(
    storage: optuna.storages.BaseStorage, study_id: int, trial_id: int | None = None
) -> dict[str, str]:
    """Ids by file name of what ``put_artifact`` uploaded and nobody deleted since."""
    prefix = "artifacts:" if trial_id is None else f"dashboard:artifacts:{trial_id}:"
    found = [
        json.loads(value)
        for key, value in storage.get_study_system_attrs(study_id).items()
        if key.startswith(prefix)
    ]
    return {each["filename"]: each["artifact_id"] for each in found if each}


def read_note(
    storage: optuna.storages.BaseStorage, study_id: int, trial_id: int | None = None
) -> str:
    """The note of a study or a trial; "" where there is none."""
    prefix = _note_prefix(trial_id)
    attrs = storage.get_study_system_attrs(study_id)
    chunks = sum(key.startswith(f"{prefix}str:") for key in attrs)
    return "".join(str(attrs[f"{prefix}str:{chunk}"]) for chunk in range(chunks))


def write_note(
    storage: optuna.storages.BaseStorage, study_id: int, body: str, trial_id: int | None = None
) -> None:
    """Write the note of a study or a trial, unless it says so already."""
    if read_note(storage, study_id, trial_id) == body:
        return
    prefix = _note_prefix(trial_id)
    version = storage.get_study_system_attrs(study_id).get(f"{prefix}ver", 0) + 1
    save_note_parts(storage, study_id, prefix, body, version=version)


def _note_prefix(trial_id: int | None) -> str:
    return "dashboard:note_" if trial_id is None else f"dashboard:{trial_id}:note_"


def save_note_parts(
    storage: optuna.storages.BaseStorage, study_id: int, prefix: str, body: str, *, version: int
) -> None:
    """Write a note in the pieces that the dashboard joins; ``prefix`` names study or trial."""
    chunks = math.ceil(len(body) / NOTE_CHUNK)
    for chunk in range(chunks):
        text = body[chunk * NOTE_CHUNK : (chunk + 1) * NOTE_CHUNK]
        storage.set_study_system_attr(study_id, f"{prefix}str:{chunk}", text)
    # The dashboard joins all chunks that there are, so those of a longer note must go.
    old = sum(key.startswith(f"{prefix}str:") for key in storage.get_study_system_attrs(study_id))
    for chunk in range(chunks, old):
        storage.set_study_system_attr(study_id, f"{prefix}str:{chunk}", "")
    storage.set_study_system_attr(study_id, f"{prefix}ver", version)
