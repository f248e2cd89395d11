"""From a name or a path to cells: read once, cached, memory-mapped afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellsearch.data.arrays import slug
from cellsearch.data.cache import cached, fingerprint
from cellsearch.data.dataset import CellDataset, Provenance
from cellsearch.data.fetch import fetch, local_copy
from cellsearch.data.manifest import DatasetManifest, load_manifest
from cellsearch.data.notes import Note
from cellsearch.data.readers import RawCells
from cellsearch.data.readers.registry import BY_SUFFIX, Layout, chosen, layout, option_names
from cellsearch.errors import ConfigError, DataError
from cellsearch.util import yaml_files
from cellsearch.util.messages import Setting
from cellsearch.util.named_path import named_path, require_no_pipe, require_utf8, taken_for
from cellsearch.util.progress import Progress
from cellsearch.util.user_folders import cache_folder


def load_dataset(
    name_or_path: str | Path,
    *,
    variant: str | None = None,
    mirror: Path | None = None,
    cache: Path | None = None,
    verified: bool = False,
    on_progress: Progress | None = None,
    **reader_options: Any,
) -> CellDataset:
    """Cells by the name of a built-in data set, or from a path.

    Args:
        name_or_path: a built-in name; a ``.yaml`` manifest, or a folder that holds one as
            ``dataset.yaml``; a folder with a folder per class; a ``.csv`` or ``.tsv`` table; an
            ``.npz``, ``.h5``, OME-TIFF, OME-Zarr, ``.cif`` or ``.rtdc``.
        variant: one of the manifest's variants; None takes its default.
        mirror: folder that holds the manifest's files, instead of downloading them.
        cache: where read cells are kept; default ``cache_folder()``.
        verified: read every byte that the cache holds of them, and build anew what was damaged.
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
        refuse_of_manifests(variant, mirror)
        path = named_path(Path(name_or_path).expanduser())
        return _from_path(path, reader_options, home, on_progress, verified=verified)
    manifest_path = yaml_files.find("datasets", str(name_or_path))
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
        dataset = cached(home, f"{manifest.name}-whole", facts, build, verified=verified)
        if settings.channels:
            dataset = dataset.select_channels(settings.channels)
        if settings.merge:
            dataset = dataset.merge_classes(settings.merge)
        return replace(dataset, name=name)

    return cached(home, name, {**facts, "variant": chosen}, derive, verified=verified)


def _folder(manifest: DatasetManifest, path: Path) -> Path | None:
    """Where a manifest's files lie; None where they are fetched or generated."""
    if manifest.source is None or manifest.source.folder is None:
        return None
    folder = Path(os.path.realpath(named_path(path.parent / manifest.source.folder)))
    require_no_pipe(folder)
    return folder


def files_read(
    name_or_path: str, *, mirror: Path | None = None, **reader_options: Any
) -> list[Path]:
    """What reading cells reads, and nobody may write over.

    Of a path, the file that it is, or nothing; of a manifest, itself and each file that it has
    read, or the folder that holds a built-in data set's.

    Raises:
        ConfigError: a name, option or manifest is wrong.
        DataError: files that a table names are not there.
    """
    path = named_path(Path(name_or_path).expanduser())
    if is_path(name_or_path) or "layout" in reader_options:
        return [path] if path.is_file() else []
    manifest_path = yaml_files.find("datasets", name_or_path)
    manifest = load_manifest(name_or_path)
    root = _folder(manifest, manifest_path)
    if root is not None:
        return [manifest_path, *bind(manifest, reader_options).files(root)]
    local = local_copy(mirror)
    return [manifest_path, *([] if local is None else [local])]


def refuse_of_manifests(variant: str | None, mirror: Path | None) -> None:
    """Refuse for a path what only manifests have.

    Raises:
        ConfigError: a variant or a mirror.
    """
    if variant is not None:
        raise ConfigError(Setting("variant", variant), ": only a manifest has variants")
    if mirror is not None:
        raise ConfigError(Setting("mirror", str(mirror)), ": only a manifest has files to fetch")


def is_path(name_or_path: str | Path) -> bool:
    """Whether files are meant, rather than a built-in name or a manifest (also within a folder)."""
    path = named_path(Path(name_or_path).expanduser())
    if path.suffix.lower() in (".yaml", ".yml") or str(name_or_path) in yaml_files.names(
        "datasets"
    ):
        return False
    if (path / yaml_files.WITHIN).is_file():
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
    origin = raw.provenance
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
            pixel_size_um=manifest.pixel_size_um or (origin.pixel_size_um if origin else None),
            notes=manifest.notes,
            fit=origin.fit if origin else "",
            reader_notes=tuple(Note(**dict(each)) for each in manifest.reader_notes),
        )
        .with_notes(origin.notes if origin else "")
        .with_notes(*(origin.reader_notes if origin else ())),
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
    path: Path,
    options: Mapping[str, Any],
    cache: Path,
    on_progress: Progress | None,
    *,
    verified: bool,
) -> CellDataset:
    require_utf8([str(path)])
    reader, rest = chosen(path, options)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder{taken_for(path)}")
    require_no_pipe(path)
    bound = layout(reader, rest)
    base = path if path.is_dir() else path.parent
    facts = {**bound.facts(), "files": fingerprint(base, bound.files(path)), "name": path.name}

    def build() -> CellDataset:
        raw = bound.read(path, on_progress)
        try:
            return CellDataset.from_raw(raw)
        except DataError as error:
            raise DataError(f"{path}: ", error) from None

    return cached(cache, path.stem or path.name, facts, build, verified=verified)
