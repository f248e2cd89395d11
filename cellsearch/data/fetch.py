"""The files of a manifest's source: from a local folder, or downloaded; always verified."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cellsearch.data.arrays import listed
from cellsearch.data.download import download
from cellsearch.data.manifest import DatasetManifest, Source, SourceFile
from cellsearch.errors import FetchError
from cellsearch.util.atomic import remove, write_whole_text
from cellsearch.util.json_text import facts_in
from cellsearch.util.named_path import named_path
from cellsearch.util.progress import Progress

DATA_VARIABLE = "CELLSEARCH_DATA"


def fetch(
    manifest: DatasetManifest,
    *,
    mirror: Path | None,
    cache: Path,
    on_progress: Progress | None = None,
) -> Path:
    """Make the source's files available and verify them.

    Args:
        manifest: its source must be a base address with files.
        mirror: folder that holds the files (or the archive, or what it unpacks to); then nothing
            is downloaded.
        cache: where downloads and unpacked archives are kept.
        on_progress: told of each file.

    Returns:
        The folder to which the source's paths are relative; for an archive, what it unpacked to.

    Raises:
        FetchError: files are missing or their checksum is another, or there is no network; says
            what to fetch from where, and where to put it.
    """
    source = manifest.source
    if source is None or source.base is None:
        raise FetchError(f"{manifest.name} has nothing to fetch")
    local = local_copy(mirror)
    if local is not None:
        root = _local(manifest, source, local, cache, on_progress)
        if root is not None:
            return root
        if mirror is not None:
            fault = "holds none of its" if local.exists() else "does not exist; it should hold the"
            raise FetchError(
                f"{manifest.name}: {local} {fault} {_what(source)}; get them from {source.base}/"
            )
    folder = cache / "downloads" / manifest.name
    from filelock import FileLock

    try:
        (cache / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "locks" / f"download-{manifest.name}.lock"):
            for done, file in enumerate(source.files):
                if on_progress:
                    on_progress(f"downloading {manifest.name}", done, len(source.files))
                download(manifest.name, source, file, folder, on_progress)
            if source.unpacked is None:
                return folder
            archive = folder / source.files[0].path
            return _unpacked(manifest, archive, source.unpacked, cache, on_progress)
    except OSError as error:
        raise FetchError(
            f"{manifest.name}: cannot write to {folder} ({error.strerror or error}); "
            "name another folder with CELLSEARCH_CACHE"
        ) from error


def local_copy(mirror: Path | None) -> Path | None:
    """The folder asked for, or the one that the environment names, for a manifest's files."""
    named = mirror or os.environ.get(DATA_VARIABLE)
    return named_path(Path(named).expanduser()) if named else None


def _what(source: Source) -> str:
    first = source.files[0].path
    return f"{len(source.files)} files ({first} ...)" if len(source.files) > 1 else f"file {first}"


def _candidates(source: Source, name: str, folder: Path) -> Iterator[Path]:
    """The folder, one named after the data set, and ends of the address below either."""
    ends = [unquote(part) for part in urlsplit(source.base or "").path.split("/") if part]
    for start in (folder, folder / name):
        yield start
        for position in range(len(ends)):
            yield start.joinpath(*ends[position:])


def _local(
    manifest: DatasetManifest,
    source: Source,
    folder: Path,
    cache: Path,
    on_progress: Progress | None,
) -> Path | None:
    if source.unpacked is not None:
        return _local_archive(manifest, source, source.unpacked, folder, cache, on_progress)
    for root in _candidates(source, manifest.name, folder):
        there = [file for file in source.files if (root / file.path).is_file()]
        if not there:
            continue
        missing = [file.path for file in source.files if file not in there]
        if missing:
            raise FetchError(
                f"{manifest.name}: {len(missing)} of {len(source.files)} files are not in {root}: "
                f"{listed(missing)}; get them from {source.base}/"
            )
        verify(root, source.files, manifest.name, on_progress)
        return root
    return None


def _local_archive(
    manifest: DatasetManifest,
    source: Source,
    unpacked: str,
    folder: Path,
    cache: Path,
    on_progress: Progress | None,
) -> Path | None:
    file = source.files[0]
    if folder.is_file() and folder.name in (Path(file.path).name, f"{unpacked}.zip"):
        folder = folder.parent
    if folder.name == unpacked and folder.is_dir():
        return folder
    for root in _candidates(source, manifest.name, folder):
        if (root / unpacked).is_dir():
            return root / unpacked
        if (root / file.path).is_file():
            verify(root, [file], manifest.name, on_progress)
            return _unpacked(manifest, root / file.path, unpacked, cache, on_progress)
        inner = root / f"{unpacked}.zip"
        if inner.is_file():
            return _unpacked(manifest, inner, unpacked, cache, on_progress)
    return None


def verify(
    root: Path,
    files: tuple[SourceFile, ...] | list[SourceFile],
    name: str,
    on_progress: Progress | None,
) -> None:
    """Compare size and sha256 of each file.

    Raises:
        FetchError: names every file that differs, with what was expected.
    """
    bad: list[str] = []
    for done, file in enumerate(files):
        if on_progress:
            on_progress(f"verifying {name}", done, len(files))
        size = (root / file.path).stat().st_size
        if file.size is not None and size != file.size:
            bad.append(f"{file.path} ({size:,} bytes, expected {file.size:,})")
        elif file.sha256 is not None:
            with (root / file.path).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != file.sha256:
                bad.append(f"{file.path} (sha256 {found[:12]}..., expected {file.sha256[:12]}...)")
    if on_progress:
        on_progress(f"verifying {name}", len(files), len(files))
    if bad:
        raise FetchError(
            f"{name}: {len(bad)} {'file' if len(bad) == 1 else 'files'} in {root} "
            f"changed or incomplete: {listed(bad)}; get them again"
        )


def _unpacked(
    manifest: DatasetManifest,
    archive: Path,
    unpacked: str,
    cache: Path,
    on_progress: Progress | None,
) -> Path:
    """Folder ``unpacked`` of the archive, or of ``<unpacked>.zip`` within it, kept in the cache.

    It is kept by what the archive holds, not by its name, and is unpacked anew where a file of it
    is no longer what was unpacked.
    """
    target = cache / "unpacked" / manifest.name / _digest(archive)[:16] / unpacked
    listing = target.parent.with_suffix(".json")
    if target.is_dir() and _is_as_unpacked(target, listing):
        return target
    temporary = target.parent.parent / f".{secrets.token_hex(6)}.tmp"
    try:
        temporary.mkdir(parents=True)
        with zipfile.ZipFile(archive) as outer:
            inner = next((n for n in outer.namelist() if Path(n).name == f"{unpacked}.zip"), None)
            if inner is None:
                _extract(outer, temporary, unpacked, on_progress)
            else:
                nested = Path(outer.extract(inner, temporary))
                with zipfile.ZipFile(nested) as within:
                    _extract(within, temporary, unpacked, on_progress)
                nested.unlink()
        if not (temporary / unpacked).is_dir():
            raise FetchError(f"{manifest.name}: {archive} holds no folder {unpacked}")
        remove(target.parent)
        target.parent.mkdir()
        write_whole_text(listing, json.dumps(_checks(temporary / unpacked)))
        (temporary / unpacked).replace(target)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise FetchError(f"{manifest.name}: {archive} is not a whole zip file ({error})") from None
    except OSError as error:
        raise FetchError(
            f"{manifest.name}: cannot unpack {archive} to {target}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror}") from None


def _checks(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _is_as_unpacked(folder: Path, listing: Path) -> bool:
    found = facts_in(listing)
    return found is not None and found == _checks(folder)


def _extract(
    archive: zipfile.ZipFile, folder: Path, unpacked: str, on_progress: Progress | None
) -> None:
    members = [name for name in archive.namelist() if name.startswith(f"{unpacked}/")]
    for done, name in enumerate(members):
        if on_progress and done % 512 == 0:
            on_progress("unpacking", done, len(members))
        archive.extract(name, folder)
