"""The modules of classical families: what a card of one holds, before and after its fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cellsearch.errors import TrialError
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.models.trees import SoftTreeEnsemble, TreeEnsemble
from cellsearch.learn.normalise import Normalise
from cellsearch.learn.view import View
from cellsearch.space.models import ClassicalModel, DenseModel, HistGbdtModel, XgboostModel
from cellsearch.space.recipe import Recipe
from cellsearch.space.sections import Input


class ExactView(View):
    """The same view in float64.

    A tree asks whether a value reaches a threshold. In float64 the order in which a mean or a
    product is summed up no longer shows in what is rounded to float32 afterwards, so that
    training, prediction and ONNX take the same side.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) of any float to float64 (B, C, *seen)."""
        return super().forward(images.double())

    def _resized(self, images: Tensor) -> Tensor:
        if not self.resizes:
            return images
        return self.down.double() @ images.double() @ self.across.double().T


class ExactNormalise(Normalise):
    """The same normalisation in float64, rounded to float32 at its end."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float64 to float32."""
        return super().forward(images.double()).float()


class MeasuredModule(CellModule):
    """A cell module that takes measured features, (B, F), in place of pixels.

    A feature is treated as a channel of one px, so its mean and standard deviation over the
    training cells are those of ``normalise``; a constant feature has a standard deviation of 1.
    """

    measures = True

    def __init__(self, features: int, network: nn.Module) -> None:
        super().__init__(
            View((1, 1), Input()), Normalise(features, "channel"), network, test_flips=False
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, F) float32 features to (B, K) float32 probabilities."""
        return super().forward(images[:, :, None, None])


def build_classical(
    recipe: Recipe, *, channels: int, classes: int, size: tuple[int, int]
) -> CellModule:
    """The module of a classical recipe, empty: a fit or a card fills it.

    Args:
        recipe: of a classical family.
        channels: C.
        classes: K.
        size: (H, W), px.

    Raises:
        TrialError: crops too small to be measured, a backbone that timm does not know or that
            takes no such images, or the family is none of the classical ones.
    """
    model = recipe.model
    if not isinstance(model, ClassicalModel):
        raise TrialError(f"model.family: {model.family} is no classical family")
    if model.features == "pixels":
        view = ExactView(size, recipe.input)
        normalise = ExactNormalise(channels, recipe.input.normalise)
        network = _network(model, channels * view.seen[0] * view.seen[1], classes)
        return CellModule(view, normalise, network, test_flips=recipe.input.test_flips)
    if model.features == "backbone":
        # timm's import is what only this kind of features shall cost.
        from cellsearch.learn.backbone_module import BackboneModule

        module = BackboneModule(model, channels, size, recipe.input.crop)
        module.network = _network(model, module.features, classes)
        return module
    # scikit-image takes half a second to import, which pixels need not pay.
    from cellsearch.data.features import SMALLEST, feature_names

    if min(size) < SMALLEST:
        raise TrialError(
            f"model.features: measured takes crops of at least {SMALLEST} x {SMALLEST} px; these "
            f"have {size[0]} x {size[1]}: use pixels"
        )
    count = len(feature_names([""] * channels))
    return MeasuredModule(count, _network(model, count, classes))


def _network(model: ClassicalModel, features: int, classes: int) -> nn.Module:
    if isinstance(model, XgboostModel | HistGbdtModel):
        kind = SoftTreeEnsemble if model.features == "backbone" else TreeEnsemble
        return kind(rounds=model.rounds, depth=model.max_depth, classes=classes)
    layers: list[nn.Module] = [nn.Flatten()]
    if isinstance(model, DenseModel):
        layers += [nn.Dropout(model.drop), _zero(features, model.units), nn.GELU()]
        layers += [nn.Dropout(model.drop)]
        features = model.units
    return nn.Sequential(*layers, _zero(features, classes))


def _zero(features: int, units: int) -> nn.Linear:
    dense = nn.Linear(features, units)
    with torch.no_grad():
        dense.weight.zero_()
        dense.bias.zero_()
    return dense
