"""From what a table says of an image, a path or only a number, to its file."""

from __future__ import annotations

from pathlib import Path

from cellsearch.data.arrays import listed
from cellsearch.data.readers.folders import images_below
from cellsearch.errors import ConfigError, ReadError


class Finder:
    """Finds images below a folder; its listing is made once, when a path alone does not do."""

    def __init__(self, folder: Path, path_format: str | None = None) -> None:
        self.folder = folder
        self.path_format = path_format
        self._by_stem: dict[str, list[Path]] | None = None
        self._by_number: dict[int, list[Path]] = {}

    def find(self, value: str) -> Path:
        """The file of one row.

        Args:
            value: a path relative to the folder, a stem, or a number (17 finds ``017.bmp``).

        Raises:
            ConfigError: ``path_format`` cannot take the value.
            ReadError: no file, or several.
        """
        if self.path_format is not None:
            path = self.folder / self._formatted(self.path_format, value)
            if not path.is_file():
                raise ReadError(f"no such file: {path.relative_to(self.folder)}")
            return path
        path = self.folder / Path(value.replace("\\", "/"))
        if path.is_file():
            return path
        self._list()
        found = (self._by_stem or {}).get(value, [])
        if not found and value.isdecimal():
            found = self._by_number.get(int(value), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise ReadError(
                f"{value!r} could be {listed([path.relative_to(self.folder) for path in found])}; "
                "give option path_format"
            )
        raise ReadError(f"no such file: {value}")

    @staticmethod
    def _formatted(path_format: str, value: str) -> str:
        for candidate in (int(value), value) if value.isdecimal() else (value,):
            try:
                return path_format.format(candidate)
            except (ValueError, IndexError, KeyError, AttributeError):
                continue
        raise ConfigError(
            f"option path_format: {path_format!r} cannot take {value!r}; "
            "expected one place for it, such as images/{}.png or images/{:03d}.bmp"
        )

    def _list(self) -> None:
        if self._by_stem is not None:
            return
        self._by_stem = {}
        for path in images_below(self.folder):
            self._by_stem.setdefault(path.stem, []).append(path)
            if path.stem.isdecimal():
                self._by_number.setdefault(int(path.stem), []).append(path)
