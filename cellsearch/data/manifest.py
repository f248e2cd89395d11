"""DatasetManifest: the schema of ``datasets/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cellsearch.data.notes import NoteKind
from cellsearch.data.readers.registry import VERSIONS
from cellsearch.errors import CatalogError, ConfigError, ManifestError
from cellsearch.util import yaml_files

Name = Annotated[str, Field(min_length=1)]
if TYPE_CHECKING:
    LayoutName = str
else:
    LayoutName = Literal[tuple(VERSIONS)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourceFile(_Section):
    """One file of the source."""

    path: Name = Field(description="relative to the base address, with forward slashes")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of the file's bytes")
    size: int | None = Field(None, ge=1, description="bytes; checked where no sha256 is known")

    @model_validator(mode="after")
    def _verifiable(self) -> Self:
        if self.sha256 is None and self.size is None:
            raise ValueError("a source file needs its sha256, or at least its size")
        if self.path.startswith("/") or ".." in Path(self.path).parts:
            raise ValueError("a source file's path must lie below the base address")
        return self


class Source(_Section):
    """Where the files are: downloaded from a base address, or in a folder on this machine."""

    base: str | None = Field(None, pattern="^https?://.*[^/]$", description="without a last slash")
    files: tuple[SourceFile, ...] = Field((), description="all of them, below the base address")
    folder: str | None = Field(None, description="folder or file, relative to the manifest")
    unpacked: str | None = Field(
        None,
        description="folder that an archive in files unpacks to; a mirror may hold it as it is",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.folder is None) == (self.base is None):
            raise ValueError("needs either base and files, or folder")
        if (self.base is None) != (not self.files):
            raise ValueError("base and files belong together")
        if self.unpacked and [Path(file.path).suffix for file in self.files] != [".zip"]:
            raise ValueError("unpacked needs one .zip in files")
        return self


class Layout(_Section):
    """How the files become cells."""

    reader: LayoutName = Field(description="which reader reads them")
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="see the options of the reader"
    )


class CellClass(_Section):
    """One class, and how many cells of it the files hold."""

    name: Name = Field(description="as in the labels; a folder's name where folders are classes")
    count: int = Field(ge=0, description="the cells read must match it")
    description: str = Field("", description="what the class is, for people")


class Channel(_Section):
    """One plane of the images."""

    name: Name = Field(description="name by which the channel is chosen")
    code: str | None = Field(None, description="as in file names, such as Ch3")
    label_free: bool = Field(description="visible without a stain")


class ReaderNote(_Section):
    """A note that a reader made, as ``Note`` has it."""

    kind: NoteKind = Field(description="what it is about")
    text: Name = Field(description="as in notes")
    severity: Literal["warning", "note"] = Field("note", description="warning: look at it")
    column: str = Field("", description="that the note is about")
    values: int = Field(0, ge=0, description="distinct ones of the column")


class Variant(_Section):
    """A choice of channels, and classes that are taken as one."""

    channels: tuple[Name, ...] | None = Field(None, min_length=1, description="null: all")
    merge: Mapping[str, tuple[Name, ...]] = Field(
        default_factory=dict, description="a new name, and the classes that it stands for"
    )
    description: str = Field("", description="what the variant is for")


class DatasetManifest(_Section):
    """What a data set is, where it comes from, and how it is read."""

    name: str = Field(
        pattern="^[a-z0-9][a-z0-9_.-]*$", description="name of the data set, by which it is chosen"
    )
    title: Name = Field(description="one line, as a model card shows it")
    licence: Name = Field(description="SPDX identifier where there is one")
    citation: str = Field("", description="what to cite, with a doi")
    url: str = Field("", description="where to find more")
    notes: str = Field(
        "", description="what a reader must know about the cells; repeated in the card"
    )
    reader_notes: tuple[ReaderNote, ...] = Field(
        (), description="those of the notes that a reader made, as cellsearch convert writes them"
    )
    synthetic: bool = Field(False, description="generated, not measured")
    source: Source | None = Field(None, description="null where the layout is synthetic")
    layout: Layout = Field(description="how the files become cells")
    classes: tuple[CellClass, ...] = Field(min_length=1, description="in the order of the labels")
    channels: tuple[Channel, ...] = Field(
        min_length=1, max_length=12, description="in the order of the planes"
    )
    pixel_size_um: float | None = Field(None, gt=0, description="micrometres; null: not known")
    groups: str | None = Field(
        None, description="what a group is, such as donor; null: cells are independent"
    )
    variants: Mapping[str, Variant] = Field(
        default_factory=dict, description="by the name that one is chosen by"
    )
    default_variant: str | None = Field(None, description="null: all channels, all classes")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = [*self._twice(), *self._unknown_names()]
        if (self.layout.reader == "synthetic") != (self.source is None):
            found.append("a synthetic layout has no source, every other layout needs one")
        if self.layout.reader == "synthetic" and not self.synthetic:
            found.append("a synthetic layout must say synthetic: true")
        if found:
            raise ValueError("; ".join(found))
        return self

    def _twice(self) -> list[str]:
        every = {
            "class": [item.name for item in self.classes],
            "channel": [item.name for item in self.channels],
            "source file": [item.path for item in self.source.files] if self.source else [],
        }
        return [
            f"{what} {name!r} is given twice"
            for what, names in every.items()
            for name in sorted({name for name in names if names.count(name) > 1})
        ]

    def _unknown_names(self) -> list[str]:
        classes = [item.name for item in self.classes]
        channels = [item.name for item in self.channels]
        found = []
        for name, variant in self.variants.items():
            members = [member for several in variant.merge.values() for member in several]
            for what, used, known in (
                ("channel", variant.channels or (), channels),
                ("class", members, classes),
            ):
                found += [
                    f"variant {name!r}: no {what} {item!r}{yaml_files.near_miss(item, known)}"
                    for item in used
                    if item not in known
                ]
        if self.default_variant is not None and self.default_variant not in self.variants:
            hint = yaml_files.near_miss(self.default_variant, self.variants)
            found.append(f"default_variant: no variant {self.default_variant!r}{hint}")
        return found

    def variant(self, name: str | None) -> tuple[str, Variant]:
        """The named variant, or the default one.

        Raises:
            CatalogError: there is no variant of that name.
        """
        chosen = name or self.default_variant
        if chosen is None:
            return "", Variant()
        if chosen not in self.variants:
            raise CatalogError(
                f"{self.name} has no variant {chosen!r}"
                f"{yaml_files.near_miss(chosen, self.variants)}; "
                f"variants: {', '.join(self.variants) or 'none'}"
            )
        return chosen, self.variants[chosen]


def load_manifest(name_or_path: str | Path) -> DatasetManifest:
    """Read a built-in manifest by name, or any by its path.

    Raises:
        CatalogError: no such name or file; the nearest name is offered.
        ManifestError: the file does not fit the schema; all problems with their lines.
    """
    path = yaml_files.find("datasets", str(name_or_path))
    try:
        document = yaml_files.read_yaml(path)
    except CatalogError:
        raise
    except ConfigError as error:
        raise ManifestError(error) from None
    return yaml_files.validate(DatasetManifest, document, error=ManifestError)


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a manifest, for editors."""
    schema = DatasetManifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
