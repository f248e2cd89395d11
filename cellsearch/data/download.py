"""One file over HTTP, verified before it is kept; without a network, an answer at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.data.manifest import Source, SourceFile
from cellsearch.errors import FetchError
from cellsearch.util.messages import Setting, first_line
from cellsearch.util.progress import Progress

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 5
READ_SECONDS = 60


class _Bar:
    """What pooch takes for a progress bar, handing on to ``on_progress``."""

    def __init__(self, name: str, on_progress: Progress) -> None:
        self.total = 0
        self._name = name
        self._done = 0
        self._on_progress = on_progress

    def update(self, count: int) -> None:
        self._done += count
        self._on_progress(
            f"downloading {self._name} (bytes)", self._done, max(self.total, self._done)
        )

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def download(
    name: str, source: Source, file: SourceFile, folder: Path, on_progress: Progress | None
) -> Path:
    """Fetch one file of a source into ``folder``, unless it is there and unchanged.

    Raises:
        FetchError: no network, no such file, or another checksum or size.
    """
    target = folder / file.path
    if file.sha256 is None and target.is_file() and target.stat().st_size == file.size:
        return target
    address = f"{source.base}/{file.path}"
    # 0.5 s to import, and a cached data set needs them not.
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    large = on_progress is not None and (file.size or 0) > 50_000_000
    bar: Any = _Bar(target.name, on_progress) if large and on_progress else False
    downloader = pooch.HTTPDownloader(progressbar=bar, timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{file.sha256}" if file.sha256 else None,
            fname=target.name,
            path=target.parent,
            downloader=downloader,
        )
    except requests.RequestException as error:
        raise FetchError(
            f"{name}: cannot download {address} ({_reason(error)}); "
            f"fetch {_files(source)} elsewhere, put them into a folder DIR, and name it with ",
            Setting("mirror", "DIR"),
            " or CELLSEARCH_DATA=DIR",
        ) from None
    except ValueError as error:
        raise FetchError(f"{name}: {address} is not what it was: {first_line(error)}") from None
    if file.size is not None and target.stat().st_size != file.size:
        size = target.stat().st_size
        target.unlink()
        raise FetchError(f"{name}: {address} has {size:,} bytes, expected {file.size:,}; try again")
    return target


def _files(source: Source) -> str:
    count = len(source.files)
    return f"the {count} files below {source.base}/" if count > 1 else source.files[0].path


def _reason(error: requests.RequestException) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    response = error.response
    return f"the server answered {response.status_code}" if response is not None else str(error)
