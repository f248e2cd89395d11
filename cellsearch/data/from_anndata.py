"""What an AnnData object holds of cells, as the arguments of ``CellDataset.from_arrays``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellsearch.data.arrays import array_of, listed
from cellsearch.data.notes import Note
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import column_notes
from cellsearch.data.readers.beside import source_columns
from cellsearch.data.source_columns import SourceColumns
from cellsearch.errors import DataError
from cellsearch.util.messages import Message, Setting
from cellsearch.util.yaml_files import near_miss

if TYPE_CHECKING:
    from anndata import AnnData


def arguments(
    adata: AnnData,
    *,
    images: str,
    shape: Sequence[int] | None,
    keys: Mapping[str, str | None],
    classes: Sequence[str] | None,
    channels: Sequence[str] | None,
    provenance: Provenance,
) -> dict[str, Any]:
    """Images, labels, ids and what else ``obs`` holds, and notes on columns passed over.

    Args:
        adata: N observations.
        images: key in ``obsm``, or ``X``.
        shape: (C, H, W) or (H, W) of flattened crops.
        keys: argument (labels, groups, sources, object_numbers) -> column of ``obs``, or None.
        classes: class names in order, or None.
        channels: channel names, or None.
        provenance: of the cells, to which the notes are added.

    Raises:
        DataError: keys that are not there, all at once; pixels that do not fit ``shape``.
    """
    unknown = [
        f"obs has no column {key!r}{near_miss(key, adata.obs.columns)}"
        for key in keys.values()
        if key is not None and key not in adata.obs.columns
    ]
    if images != "X" and images not in adata.obsm:
        unknown.append(
            f"obsm has no {images!r}{near_miss(images, list(adata.obsm))}; "
            f"it holds {listed(list(adata.obsm)) or 'nothing'}"
        )
    if unknown:
        columns = listed(list(adata.obs.columns)) or "none"
        raise DataError(f"AnnData: {'; '.join(unknown)}; columns of obs: {columns}")
    named = adata.uns.get("channels")
    found: dict[str, Any] = {
        "images": _pixels(adata, images, shape),
        "layout": "auto" if shape is None else "NCHW",
        "labels": np.full(adata.n_obs, -1),
        "classes": classes or (),
        "ids": [str(name) for name in adata.obs_names],
        "provenance": provenance.with_notes(*_notes(adata, keys["labels"], keys["groups"])),
        "columns": _columns(adata, keys["labels"], keys["groups"]),
        "channels": channels if channels is not None or named is None else [str(n) for n in named],
    }
    for argument, key in keys.items():
        if key is None:
            continue
        column = adata.obs[key]
        if argument == "labels":
            found["labels"], found["classes"] = _labels(column, classes)
        elif argument == "object_numbers":
            found[argument] = column.to_numpy()
        else:
            if column.isna().any():
                raise DataError(f"AnnData: {int(column.isna().sum())} cells without {key}")
            found[argument] = [str(value) for value in column]
    return found


def _notes(adata: AnnData, label_key: str | None, group_key: str | None) -> list[Note]:
    """What is told of columns of ``obs`` that look like donors or plates and are not the groups."""
    if label_key is None:
        return []
    labels = _texts(adata.obs[label_key])
    names = [n for n in adata.obs.columns if isinstance(n, str) and n not in (label_key, group_key)]
    # A name borne by two columns gives a frame.
    single = [name for name in names if names.count(name) == 1]
    columns = {name: _texts(adata.obs[name]) for name in column_notes.group_like(single)}
    remedies = {
        name: Message.of("declare them with ", Setting("group_key", name)) for name in columns
    }
    if group_key is None:
        found = column_notes.of_groups(columns, labels, remedies=remedies)
    else:
        groups = _texts(adata.obs[group_key])
        found = column_notes.of_crossing(
            columns, labels, groups, taken=group_key, remedies=remedies
        )
    return [each.of("obs column") for each in found]


def _columns(adata: AnnData, label_key: str | None, group_key: str | None) -> SourceColumns:
    names = [name for name in adata.obs.columns if isinstance(name, str)]
    columns = {name: _texts(adata.obs[name]) for name in names if names.count(name) == 1}
    return source_columns(
        columns,
        used={label_key},
        group=group_key,
        declare=lambda name: Setting("group_key", name),
        without=None,
    )


def _texts(column: Any) -> list[str]:
    gone = column.isna().to_numpy()
    return ["" if missing else str(value) for value, missing in zip(column, gone, strict=True)]


def _pixels(adata: AnnData, images: str, shape: Sequence[int] | None) -> NDArray[Any]:
    held = adata.X if images == "X" else adata.obsm[images]
    if held is None:
        raise DataError("AnnData: X is empty")
    array = held.toarray() if hasattr(held, "toarray") else array_of(held)
    if array.ndim > 2:
        return array
    if shape is None:
        raise DataError(
            f"AnnData: {images} of shape {array.shape} is flattened: give shape=(C, H, W)"
        )
    if array.ndim != 2 or int(np.prod(shape)) != array.shape[1]:
        raise DataError(
            f"AnnData: {images} of shape {array.shape} does not hold crops of {tuple(shape)}"
        )
    return array.reshape(len(array), *shape)


def _labels(column: Any, classes: Sequence[str] | None) -> tuple[NDArray[np.int64], Sequence[str]]:
    texts = _texts(column)
    if classes is None:
        used = set(texts) - {""}
        ordered = getattr(column, "cat", None)
        listed_first = [str(c) for c in ordered.categories] if ordered is not None else sorted(used)
        classes = [name for name in listed_first if name in used]
    place = {name: k for k, name in enumerate(classes)}
    unknown = sorted(set(texts) - {""} - set(place))
    if unknown:
        raise DataError(
            f"AnnData: labels that are not among the classes ({', '.join(classes)}): "
            f"{listed(unknown)}"
        )
    return np.array([place.get(text, -1) for text in texts], np.int64), classes
