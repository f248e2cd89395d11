"""From a name or a path to cells: read once, cached, memory-mapped afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellsearch import catalog
from cellsearch.data.arrays import slug
from cellsearch.data.cache import cache_folder, cached, fingerprint
from cellsearch.data.dataset import CellDataset, Provenance
from cellsearch.data.fetch import fetch
from cellsearch.data.manifest import DatasetManifest, load_manifest
from cellsearch.data.readers import Progress, RawCells, plain
from cellsearch.data.readers.folders import require_utf8
from cellsearch.data.readers.ome_tiff import holds_many
from cellsearch.data.readers.options import parse_options
from cellsearch.data.readers.plain import lie_loose
from cellsearch.data.readers.registry import (
    BY_SUFFIX,
    Layout,
    detect,
    is_zarr,
    layout,
    option_names,
    options_of,
)
from cellsearch.errors import ConfigError, DataError

__all__ = ["cache_folder", "cells_to_predict", "load_dataset", "read_unlabelled"]


def load_dataset(
    name_or_path: str | Path,
    *,
    variant: str | None = None,
    mirror: Path | None = None,
    cache: Path | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """Cells by the name of a built-in data set, or from a path.

    Args:
        name_or_path: a built-in name; a ``.yaml`` manifest, or a folder that holds one as
            ``dataset.yaml``; a folder with a folder per class; a ``.csv`` or ``.tsv`` table; an
            ``.npz``, ``.h5``, OME-TIFF, OME-Zarr or ``.cif``.
        variant: one of the manifest's variants; None takes its default.
        mirror: folder that holds the manifest's files, instead of downloading them.
        cache: where read cells are kept; default ``cache_folder()``.
        on_progress: told what is being done, how many are done, how many there are.
        reader_options: options of the reader; ``layout`` names another reader for a path.

    Returns:
        The cells, memory-mapped from the cache.

    Raises:
        ConfigError: a name, option or manifest is wrong.
        DataError: files cannot be had or read, or hold other counts than the manifest says.
    """
    home = cache or cache_folder()
    if is_path(name_or_path) or "layout" in reader_options:
        _refuse_of_manifests(variant, mirror)
        return _from_path(Path(name_or_path).expanduser(), reader_options, home, on_progress)
    manifest_path = catalog.find("datasets", str(name_or_path))
    manifest = load_manifest(name_or_path)
    bound = bind(manifest, reader_options)
    facts = {"manifest": manifest.model_dump(mode="json"), **bound.facts()}
    root = _folder(manifest, manifest_path)
    if root is not None:
        facts["files"] = fingerprint(root, bound.files(root))

    def build() -> CellDataset:
        place = root or Path()
        if manifest.source is not None and root is None:
            place = fetch(manifest, mirror=mirror, cache=home, on_progress=on_progress)
        return _assembled(bound.read(place, on_progress), manifest)

    chosen, settings = manifest.variant(variant)
    name = manifest.name
    if chosen and chosen != manifest.default_variant:
        name = f"{name}-{slug(chosen)}"

    def derive() -> CellDataset:
        dataset = cached(home, f"{manifest.name}-whole", facts, build)
        if settings.channels:
            dataset = dataset.select_channels(settings.channels)
        if settings.merge:
            dataset = dataset.merge_classes(settings.merge)
        return replace(dataset, name=name)

    return cached(home, name, {**facts, "variant": chosen}, derive)


def _folder(manifest: DatasetManifest, path: Path) -> Path | None:
    """Where a manifest's files lie; None where they are fetched or generated."""
    if manifest.source is None or manifest.source.folder is None:
        return None
    return (path.parent / manifest.source.folder).resolve()


def files_read(name_or_path: str, **reader_options: Any) -> list[Path]:
    """The file that a path is, or the manifest and every file that it has read; else nothing.

    Raises:
        ConfigError: a name, option or manifest is wrong.
        DataError: files that a table names are not there.
    """
    path = Path(name_or_path).expanduser()
    if is_path(name_or_path) or "layout" in reader_options:
        return [path] if path.is_file() else []
    manifest_path = catalog.find("datasets", name_or_path)
    manifest = load_manifest(name_or_path)
    root = _folder(manifest, manifest_path)
    return [] if root is None else [manifest_path, *bind(manifest, reader_options).files(root)]


def _refuse_of_manifests(variant: str | None, mirror: Path | None) -> None:
    if variant is not None:
        raise ConfigError(f"variant {variant!r}: only a manifest has variants")
    if mirror is not None:
        raise ConfigError(f"--from {mirror}: only a manifest has files to fetch")


def is_path(name_or_path: str | Path) -> bool:
    """Whether files are meant, rather than a built-in name or a manifest (also within a folder)."""
    path = Path(name_or_path).expanduser()
    if path.suffix.lower() in (".yaml", ".yml") or str(name_or_path) in catalog.names("datasets"):
        return False
    if (path / catalog.WITHIN).is_file():
        return False
    return path.exists() or len(path.parts) > 1 or path.suffix.lower() in BY_SUFFIX


def bind(manifest: DatasetManifest, overrides: Mapping[str, Any]) -> Layout:
    """The manifest's reader with its options, its channels, and what overrides them."""
    reader = manifest.layout.reader
    names = option_names(reader)
    options: dict[str, Any] = dict(manifest.layout.options)
    codes = [channel.code for channel in manifest.channels]
    if "codes" in names and all(codes):
        options.setdefault("codes", codes)
    if "channels" in names:
        options.setdefault("channels", [channel.name for channel in manifest.channels])
    if reader in ("folders", "channel_files", "table"):
        options.setdefault("classes", [kind.name for kind in manifest.classes])
    return layout(reader, {**options, **overrides})


def _assembled(raw: RawCells, manifest: DatasetManifest) -> CellDataset:
    """The raw cells as the manifest describes them; its counts must be met."""
    names = tuple(channel.name for channel in manifest.channels)
    if raw.channels != names:
        raise DataError(
            f"{manifest.name}: channels {', '.join(raw.channels)} were read, "
            f"the manifest says {', '.join(names)}"
        )
    dataset = CellDataset.from_raw(
        replace(raw, classes=tuple(kind.name for kind in manifest.classes)),
        name=manifest.name,
        provenance=Provenance(
            title=manifest.title,
            licence=manifest.licence,
            citation=manifest.citation,
            url=manifest.url,
            synthetic=manifest.synthetic,
            label_free=tuple(c.name for c in manifest.channels if c.label_free),
            pixel_size_um=manifest.pixel_size_um,
            notes=manifest.notes,
            fit=raw.provenance.fit if raw.provenance else "",
        ).with_notes(raw.provenance.notes if raw.provenance else ""),
    )
    differing = [
        f"{kind.name} {int(found):,} (manifest: {kind.count:,})"
        for kind, found in zip(manifest.classes, dataset.counts, strict=True)
        if found != kind.count
    ]
    if differing:
        raise DataError(
            f"{manifest.name}: the cells read differ from the manifest: {', '.join(differing)}"
        )
    return dataset


def _from_path(
    path: Path, options: Mapping[str, Any], cache: Path, on_progress: Progress | None
) -> CellDataset:
    require_utf8([str(path)])
    rest = dict(options)
    reader = rest.pop("layout", None) or detect(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    bound = layout(str(reader), rest)
    base = path if path.is_dir() else path.parent
    facts = {**bound.facts(), "files": fingerprint(base, bound.files(path)), "name": path.name}

    def build() -> CellDataset:
        raw = bound.read(path, on_progress)
        try:
            return CellDataset.from_raw(raw)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    return cached(cache, path.stem or path.name, facts, build)


def read_unlabelled(
    path: str | Path,
    *,
    channels: int | None,
    defaults: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """Images without labels, or whose labels do not matter; not cached.

    Args:
        path: one image; a folder of images, however deep, or of channel files
            (``<id>_Ch<k>``; one such file stands for its cell when it holds one channel and more
            are needed); a ``.csv`` or ``.tsv`` table with a path column; or a file of many cells:
            ``.npz``, ``.h5``, OME-TIFF, OME-Zarr, ``.cif``.
        channels: number of channels that the images must have; None takes what they have.
        defaults: options where none is given; those that the reader lacks are passed over.
        on_progress: told what is being done, how many are done, how many there are.
        reader_options: options of the reader, such as ``size="40x40"`` and ``codes="Ch3,Ch6"``.

    Returns:
        Cells with ``labels`` all ``UNLABELLED`` and no classes.

    Raises:
        ConfigError: an option is not known or does not fit.
        DataError: images that cannot be read, differ in size, or have other channels.
    """
    return _unlabelled(Path(path).expanduser(), channels, defaults, on_progress, reader_options)


def _unlabelled(
    root: Path,
    channels: int | None,
    defaults: Mapping[str, Any] | None,
    on_progress: Progress | None,
    reader_options: dict[str, Any],
) -> CellDataset:
    """As ``read_unlabelled``; readers have an option that is called ``channels``, too."""
    require_utf8([str(root)])
    reader = _many_celled(root, reader_options)
    schema = plain.Options if reader is None else options_of(reader)
    known = {k: v for k, v in (defaults or {}).items() if k in schema.model_fields}
    reader_options = known | reader_options
    if reader is not None:
        # Readers without the option have labels in the names of files; nobody asks for them here.
        without = {"labelled": False} if "labelled" in schema.model_fields else {}
        raw = layout(reader, {**without, **reader_options}).read(root, on_progress)
        raw = replace(raw, labels=[""] * len(raw.labels), classes=None)
    else:
        asked = parse_options(plain.Options, reader_options, reader="prediction")
        raw = plain.read(root, channels, asked, on_progress)
    dataset = CellDataset.from_raw(raw)
    if channels is not None and len(dataset.channels) != channels:
        raise DataError(
            f"{root}: {len(dataset.channels)} channels ({', '.join(dataset.channels)}), "
            f"but {channels} are needed"
        )
    return dataset


def _many_celled(root: Path, options: dict[str, Any]) -> str | None:
    """The reader of one file (or store) of many cells; None for images of one cell each."""
    if "layout" in options:
        return str(options.pop("layout"))
    if root.is_dir():
        return "ome_zarr" if is_zarr(root) else None
    reader = BY_SUFFIX.get(root.suffix.lower()) if root.is_file() else None
    # One cell of several pages is an image as any other.
    return None if reader == "ome_tiff" and not holds_many(root) else reader


def cells_to_convert(
    name_or_path: str,
    *,
    variant: str | None = None,
    mirror: Path | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """As ``load_dataset``; a folder of images and nothing else is read too, without labels.

    Raises:
        ConfigError: a name, option or manifest is wrong.
        DataError: files cannot be had or read.
    """
    path = Path(name_or_path).expanduser()
    if is_path(name_or_path) and "layout" not in reader_options and lie_loose(path):
        _refuse_of_manifests(variant, mirror)
        return _unlabelled(path, None, None, on_progress, reader_options)
    return load_dataset(
        name_or_path, variant=variant, mirror=mirror, on_progress=on_progress, **reader_options
    )


def cells_to_predict(
    name_or_path: str,
    *,
    channels: Sequence[str],
    variant: str | None = None,
    mirror: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """Images by path, or the cells of a data set by name, with a card's channels.

    A data set that has these channels among others gives them in this order. ``defaults`` are as in
    ``read_unlabelled``, and come before what a manifest says.

    Raises:
        ConfigError: a name or option is wrong.
        DataError: images cannot be read, or have other channels.
    """
    if is_path(name_or_path):
        _refuse_of_manifests(variant, mirror)
        path = Path(name_or_path).expanduser()
        return _unlabelled(path, len(channels), defaults, on_progress, reader_options)
    taken = option_names(load_manifest(name_or_path).layout.reader)
    known = {name: value for name, value in (defaults or {}).items() if name in taken}
    cells = load_dataset(
        name_or_path,
        variant=variant,
        mirror=mirror,
        on_progress=on_progress,
        **(known | reader_options),
    )
    if cells.channels != tuple(channels) and set(channels) <= set(cells.channels):
        return cells.select_channels(channels)
    return cells
