"""``cellsearch push``: a card to a repository of the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cellsearch.card.card import ModelCard
from cellsearch.errors import CardError, ConfigError
from cellsearch.interop.hub import HubFolder, write_hub_folder

CONNECT_SECONDS = 5.0
TRANSFER_SECONDS = 120.0


@dataclass(frozen=True)
class Pushed:
    """What went, or would go.

    Attributes:
        repository: ``owner/name``.
        files: relative paths with their bytes.
        cleaned: text files in which local paths were cut, and how many.
        url: of the commit; None in a dry run.
    """

    repository: str
    files: dict[str, int]
    cleaned: dict[str, int]
    url: str | None


def push(
    card: ModelCard,
    repository: str,
    *,
    private: bool = False,
    token: str | None = None,
    dry_run: bool = False,
    endpoint: str | None = None,
) -> Pushed:
    """Upload a card as the Hub's folder of it; the repository is made where it is not there.

    Args:
        card: which must verify.
        repository: ``owner/name``.
        private: make a new repository private; an old one stays as it is.
        token: by default ``HF_TOKEN`` or the one of ``hf auth login``.
        dry_run: list what would go; neither token nor network is needed.
        endpoint: address of the Hub; by default ``HF_ENDPOINT`` or https://huggingface.co.

    Raises:
        ConfigError: the repository has no such name.
        CardError: no token, a refused one, no network, or the Hub refuses the card.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(
            f"REPO must be OWNER/NAME, such as anna/jurkat-phases; got {repository!r}"
        )
    with TemporaryDirectory(prefix="cellsearch-push-") as temporary:
        made = write_hub_folder(card, Path(temporary) / "card")
        if dry_run:
            return Pushed(repository, made.files, made.cleaned, None)
        url = _upload(made, repository, private=private, token=token, endpoint=endpoint)
    return Pushed(repository, made.files, made.cleaned, url)


def _upload(
    made: HubFolder, repository: str, *, private: bool, token: str | None, endpoint: str | None
) -> str:
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars, get_session

    token = token or get_token()
    if not token:
        raise CardError(
            "no token of the Hugging Face Hub: make a token that may write at "
            "https://huggingface.co/settings/tokens and run `hf auth login`, or set HF_TOKEN"
        )
    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    # The library's own client waits for ever.
    get_session().timeout = (CONNECT_SECONDS, TRANSFER_SECONDS, TRANSFER_SECONDS, CONNECT_SECONDS)
    # Nothing is told to anybody but what was asked for.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    hub = HfApi(endpoint=endpoint, token=token)
    try:
        hub.whoami()
        hub.create_repo(repository, private=private or None, exist_ok=True)
        commit: Any = hub.upload_folder(
            repo_id=repository,
            folder_path=made.folder,
            commit_message="Card of cellsearch",
        )
    except HfHubHTTPError as error:
        raise CardError(f"{endpoint} refuses: {_reason(error)}") from None
    except ValueError as error:
        # Of the front matter, as the Hub reads it.
        raise CardError(f"{endpoint} refuses the card: {_reason(error)}") from None
    except Exception as error:
        # Errors of the connection share no base below Exception over the library's versions.
        raise CardError(
            f"{endpoint} cannot be reached within {CONNECT_SECONDS:g} s "
            f"({type(error).__name__}: {_reason(error)}); try again where there is a network, or "
            "write the folder with `cellsearch export CARD --to huggingface` and push that"
        ) from None
    return str(commit.commit_url)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] or type(error).__name__
