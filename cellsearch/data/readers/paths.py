"""From what a table says of an image, a path or only a number, to its file."""

from __future__ import annotations

from pathlib import Path

from cellsearch.data.arrays import listed
from cellsearch.data.folder_walk import images_below
from cellsearch.errors import ConfigError, ReadError
from cellsearch.util.named_path import Listings, named_path, special_kind, taken_for
from cellsearch.util.spelling import Spellings


class Finder:
    """Finds images below a folder; its listing is made once, when a path alone does not do."""

    def __init__(self, folder: Path, path_format: str | None = None) -> None:
        self.folder = folder
        self.path_format = path_format
        self._by_stem: dict[str, list[Path]] = {}
        self._stems: Spellings | None = None
        self._by_number: dict[int, list[Path]] = {}
        self._listings: Listings = {}

    def find(self, value: str) -> Path:
        """The file of one row.

        Args:
            value: a path relative to the folder, a stem, or a number (17 finds ``017.bmp``);
                letters may be composed otherwise than on disk.

        Raises:
            ConfigError: ``path_format`` cannot take the value.
            ReadError: no file, or several; a name that differs in case alone is offered.
        """
        if self.path_format is not None:
            path = self._named(self._formatted(self.path_format, value))
            if not path.is_file():
                name = path.relative_to(self.folder)
                raise ReadError(f"no such file: {name}{taken_for(path, self._listings)}")
            return path
        path = self._named(value.replace("\\", "/"))
        if path.is_file():
            return path
        if kind := special_kind(path):
            raise ReadError(f"{value} is {kind}, not a file")
        stems = self._list()
        found = [path for stem in stems.meant(value) for path in self._by_stem[stem]]
        if not found and is_number(value):
            found = self._by_number.get(int(value), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise ReadError(
                f"{value!r} could be {listed([path.relative_to(self.folder) for path in found])}; "
                "give option path_format"
            )
        near = taken_for(path, self._listings) or stems.taken_for(value)
        raise ReadError(f"no such file: {value}{near}")

    def _named(self, relative: str) -> Path:
        return named_path(self.folder / relative, self._listings)

    @staticmethod
    def _formatted(path_format: str, value: str) -> str:
        for candidate in (int(value), value) if is_number(value) else (value,):
            try:
                return path_format.format(candidate)
            except (ValueError, IndexError, KeyError, AttributeError):
                continue
        raise ConfigError(
            f"option path_format: {path_format!r} cannot take {value!r}; "
            "expected one place for it, such as images/{}.png or images/{:03d}.bmp"
        )

    def _list(self) -> Spellings:
        """Names of the images below the folder, without their suffixes."""
        if self._stems is None:
            for path in images_below(self.folder):
                self._by_stem.setdefault(path.stem, []).append(path)
                if is_number(path.stem):
                    self._by_number.setdefault(int(path.stem), []).append(path)
            self._stems = Spellings.of(self._by_stem)
        return self._stems


def is_number(text: str) -> bool:
    """Whether a text is a number that Python reads; of 4,300 digits it reads none."""
    return text.isdecimal() and len(text) < 19
