"""Cells of an AnnData object."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import DataError

CROPS = np.random.default_rng(5).integers(0, 255, (4, 2, 6, 5)).astype(np.uint8)


def made(**obs: object) -> anndata.AnnData:
    table = pd.DataFrame(obs, index=["c1", "c2", "c3", "c4"])
    adata = anndata.AnnData(X=np.zeros((4, 1), np.float32), obs=table)
    adata.obsm["crops"] = CROPS
    adata.obsm["flat"] = CROPS.reshape(4, -1)
    return adata


def test_images_labels_groups_and_ids() -> None:
    adata = made(
        kind=pd.Categorical(["T", "B", "T", "B"], categories=["T", "NK", "B"]),
        donor=[1, 1, 2, 2],
        file=["a", "a", "b", "b"],
        number=[7, 8, 7, 8],
    )
    adata.uns["channels"] = np.array(["bf", "dapi"])
    cells = CellDataset.from_anndata(
        adata,
        images="crops",
        label_key="kind",
        group_key="donor",
        source_key="file",
        number_key="number",
    )
    np.testing.assert_array_equal(cells.images, CROPS)
    assert cells.classes == ("T", "B")
    assert cells.labels.tolist() == [0, 1, 0, 1]
    assert cells.ids.tolist() == ["c1", "c2", "c3", "c4"]
    assert cells.channels == ("bf", "dapi")
    assert cells.groups is not None
    assert cells.groups.tolist() == ["1", "1", "2", "2"]
    assert cells.sources.tolist() == ["a", "a", "b", "b"]
    assert cells.object_numbers.tolist() == [7, 8, 7, 8]


def test_flattened_crops_need_their_shape() -> None:
    adata = made()
    cells = CellDataset.from_anndata(adata, images="flat", shape=(2, 6, 5))
    np.testing.assert_array_equal(cells.images, CROPS)
    assert cells.classes == ()
    with pytest.raises(DataError, match=r"flat of shape \(4, 60\) is flattened: give shape=\(C"):
        CellDataset.from_anndata(adata, images="flat")
    with pytest.raises(DataError, match=r"does not hold crops of \(3, 6, 5\)"):
        CellDataset.from_anndata(adata, images="flat", shape=(3, 6, 5))
    one = CellDataset.from_anndata(adata, images="X", shape=(1, 1, 1))
    assert one.images.shape == (4, 1, 1, 1)


def test_missing_labels_are_not_known_and_missing_groups_refused() -> None:
    adata = made(kind=["b", None, "a", "b"], donor=["x", None, "y", "y"])
    cells = CellDataset.from_anndata(adata, images="crops", label_key="kind")
    assert cells.classes == ("a", "b")
    assert cells.labels.tolist() == [1, -1, 0, 1]
    with pytest.raises(DataError, match=r"1 cells without donor"):
        CellDataset.from_anndata(adata, images="crops", group_key="donor")
    with pytest.raises(DataError, match=r"not among the classes .a.: b"):
        CellDataset.from_anndata(adata, images="crops", label_key="kind", classes=["a"])


def test_all_unknown_keys_are_named_at_once() -> None:
    with pytest.raises(DataError) as caught:
        CellDataset.from_anndata(made(kind=list("abab")), images="crop", label_key="kinds")
    assert "obs has no column 'kinds'; did you mean 'kind'?" in str(caught.value)
    assert "obsm has no 'crop'; did you mean 'crops'?" in str(caught.value)
    assert "it holds crops, flat; columns of obs: kind" in str(caught.value)
