"""The error tree. Every error holds one message only, so it crosses processes unharmed.

A message names settings as data (``Setting``): ``str(error)`` words them as Python parameters, the
command line as its options.

CellsearchError            what the command line prints as one line, exit code 2
├── ConfigError            a YAML file, a name or an option is wrong
│   ├── CatalogError       no dataset or search space of that name
│   ├── ManifestError      datasets/*.yaml does not fit its schema
│   └── SpaceError         search_spaces/*.yaml does not fit its language
├── DataError              the cells cannot be learnt from as they are
│   ├── ReadError          a file is missing, truncated or not an image
│   ├── FetchError         a source cannot be had; says what to fetch and where to put it
│   ├── InputError         what CellClassifier was given; a ValueError too, as scikit-learn asks
│   └── SplitError         a class has too few cells for the folds asked for
├── TrialError             one recipe failed; the search goes on without it
├── TimeUpError            the time limit came amid a training; the trial is put off
├── RunError               the run cannot start or go on
│   ├── StorageError       the study's database does not answer or is locked
│   └── MismatchError      resumed with another space, dataset or split
└── CardError              a card is incomplete, changed, or given unfit images
"""

from __future__ import annotations

from cellsearch.util.messages import Message, Setting


class CellsearchError(Exception):
    """Base of every error that cellsearch raises on purpose.

    Args:
        parts: texts, settings, messages and other errors, which join into one message:
            ``DataError(f"{path}: ", error)`` keeps the settings that ``error`` names.
    """

    def __init__(self, *parts: str | Setting | Message | CellsearchError) -> None:
        self.message: Message = Message.of(
            *(part.message if isinstance(part, CellsearchError) else part for part in parts)
        )
        super().__init__(*self.message.parts)

    def __str__(self) -> str:
        return str(self.message)


class ConfigError(CellsearchError):
    """A YAML file, a name or an option is wrong."""


class CatalogError(ConfigError):
    """No dataset or search space of that name."""


class ManifestError(ConfigError):
    """A dataset manifest does not fit its schema."""


class SpaceError(ConfigError):
    """A search space does not fit its language."""


class DataError(CellsearchError):
    """The cells cannot be learnt from as they are."""


class ReadError(DataError):
    """A file is missing, truncated, or not an image."""


class FetchError(DataError):
    """A source cannot be had; the message says what to fetch and where to put it."""


class InputError(DataError, ValueError):
    """What a ``CellClassifier`` was given cannot be learnt from or predicted.

    Also a ``ValueError``, which is what scikit-learn's tools expect of wrong input.
    """


class SplitError(DataError):
    """A class has too few cells for the folds asked for."""


class TrialError(CellsearchError):
    """One recipe failed; the search goes on without it."""


class TimeUpError(CellsearchError):
    """The time limit came amid a training; the trial is put off, not failed."""


class RunError(CellsearchError):
    """The run cannot start or go on."""


class StorageError(RunError):
    """The study's database does not answer or is locked."""


class MismatchError(RunError):
    """A run was resumed with another space, dataset or split."""


class CardError(CellsearchError):
    """A card is incomplete, changed, or was given images it cannot take."""
