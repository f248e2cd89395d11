"""Predictor: a trained network with all that it needs between raw pixels and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsearch.data.dataset import CellDataset
from cellsearch.errors import TrialError
from cellsearch.learn.backbone_module import BackboneModule
from cellsearch.learn.cell_module import CellModule
from cellsearch.learn.kept_features import kept_features
from cellsearch.learn.models import build_network
from cellsearch.learn.normalise import Normalise
from cellsearch.learn.precision import Precision, autocast
from cellsearch.learn.provenance import Provenance
from cellsearch.learn.view import View
from cellsearch.space.models import ClassicalModel
from cellsearch.space.recipe import Recipe
from cellsearch.stats.decision import Priors

if TYPE_CHECKING:
    from cellsearch.learn.gans import Generated


CELLS_ON_CPU = 64
"""Cells of one prediction batch on a CPU; 512 at once leave its caches and take twice as long."""


VALUES_AT_ONCE = 12_000_000
"""Values that a layer of one prediction batch may hold on a CPU: 48 MB of float32."""


def build_module(
    recipe: Recipe, *, channels: int, classes: int, size: tuple[int, int]
) -> CellModule:
    """An untrained module of a recipe; its ``state_dict`` keys depend on the arguments alone.

    ``build_module(...).load_state_dict(weights)`` restores a ``Predictor.module``, statistics of
    the normalisation included.

    Args:
        recipe: the recipe.
        channels: C.
        classes: K.
        size: (H, W), px.

    Raises:
        TrialError: the family is unknown or cannot take such images.
    """
    if isinstance(recipe.model, ClassicalModel):
        # That module is made of this one's.
        from cellsearch.learn.classical_module import build_classical

        return build_classical(recipe, channels=channels, classes=classes, size=size)
    view = View(size, recipe.input)
    return CellModule(
        view,
        Normalise(channels, recipe.input.normalise),
        build_network(recipe.model, channels=channels, classes=classes, size=view.seen),
        test_flips=recipe.input.test_flips,
    )


@dataclass(frozen=True, eq=False)
class Predictor:
    """What ``fit`` hands over.

    Attributes:
        module: float32 raw intensities (B, C, H, W) to probabilities (B, K); in eval mode.
        device: where it lies.
        precision: in which it was trained; predictions are always float32.
        history: one record for each epoch: ``epoch``, ``loss``, ``lr``, ``seconds``, and
            ``watched`` where an inner split is watched.
        epochs: epochs trained.
        images_per_second: cells trained on in a second.
        generated: what generators made of its training cells.
        provenance: from which cells its parts were made.
        priors: what its training taught it of how frequent classes are.
    """

    module: CellModule
    device: torch.device
    precision: Precision
    history: tuple[dict[str, float], ...]
    epochs: int
    images_per_second: float
    generated: tuple[Generated, ...] = ()
    provenance: Provenance | None = None
    priors: Priors | None = None

    @property
    def network(self) -> nn.Module:
        """Normalised images to logits."""
        return self.module.network

    @property
    def measures(self) -> bool:
        """Whether the module takes measured features, (B, F), in place of pixels."""
        return self.module.measures

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)

    def predict_proba(
        self, dataset: CellDataset, indices: NDArray[np.int64], batch: int = 512
    ) -> NDArray[np.float32]:
        """Probabilities of the cells at ``indices``, in their order, computed in float32.

        Args:
            dataset: of the channels and size that the predictor was trained on.
            indices: (n,) int64.
            batch: most cells at once; fewer are taken where maps are large.

        Returns:
            (n, K) float32, finite, rows sum to 1.

        Raises:
            TrialError: a probability is not finite, or memory is short.
        """
        return probabilities(self.module, dataset, indices, device=self.device, batch=batch)


def probabilities(
    module: CellModule,
    dataset: CellDataset,
    indices: NDArray[np.int64],
    *,
    device: torch.device,
    batch: int = 512,
    precision: Precision | None = None,
) -> NDArray[np.float32]:
    """``Predictor.predict_proba`` of a module that may still be in training.

    Args:
        module: left in the mode (train or eval) in which it came.
        dataset: the cells.
        indices: (n,) int64.
        device: where the module lies.
        batch: most cells at once.
        precision: None for float32, as deployed.
    """
    # Channels-last float32 is never much slower and often twice as quick for convolutions.
    channels_last = device.type != "mps" and not module.measures
    precision = precision or Precision("float32", channels_last=channels_last)
    inputs, places = dataset.images, indices
    judge: nn.Module | Callable[[Tensor], Tensor] = module
    if module.measures or isinstance(module, BackboneModule):
        inputs, places = kept_features(module, dataset, indices), np.arange(len(indices))
        if isinstance(module, BackboneModule):
            # Features, which are kept, are judged without the backbone.
            precision, judge = Precision("float32"), module.judge
    classes = len(dataset.classes)
    out = np.empty((len(indices), classes), dtype=np.float32)
    if device.type == "cpu":
        batch = min(batch, CELLS_ON_CPU, max(1, VALUES_AT_ONCE // _values(module, dataset)))
    training = module.training
    module.eval()
    try:
        with torch.inference_mode(), autocast(precision, device):
            at = 0
            for images in batches(inputs, places, size=batch, device=device):
                rows = judge(precision.lay_out(images)).float().cpu().numpy()
                out[at : at + len(rows)] = rows
                at += len(rows)
    except RuntimeError as error:
        raise out_of_memory(error) from error
    finally:
        module.train(training)
    if not np.isfinite(out).all():
        raise TrialError("predict: a probability is not finite; the weights have diverged")
    return out


def _values(module: nn.Module, dataset: CellDataset) -> int:
    """An upper bound of the values of one cell in any convolution's output."""
    if isinstance(module, BackboneModule):
        return module.features
    widths = [layer.out_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    seen = module.view.seen if isinstance(module, CellModule) else dataset.images.shape[2:]
    return max(widths, default=1) * int(np.prod(seen))


def batches(
    images: NDArray[Any], indices: NDArray[np.int64], *, size: int, device: torch.device
) -> Iterator[Tensor]:
    """Float32 batches of raw intensities, sliced from the memory map as they are asked for.

    Args:
        images: (N, C, H, W).
        indices: (n,) int64, in the order wanted.
        size: cells in a batch; the last may be smaller.
        device: where to put them.

    Yields:
        (B, C, H, W) float32.
    """
    for at in range(0, len(indices), size):
        yield load(images, indices[at : at + size], device=device)


def load(images: NDArray[Any], indices: NDArray[np.int64], *, device: torch.device) -> Tensor:
    """(B, C, H, W) float32 on the device: one copy out of the map, converted where it lands."""
    # np.take drops the memmap's class and copies, so torch never sees a read-only array.
    raw = np.take(images.view(np.ndarray), indices, axis=0)
    return torch.from_numpy(raw).to(device).to(torch.float32)


def out_of_memory(error: RuntimeError) -> Exception:
    """A TrialError where ``error`` says that memory ran out, else the error itself."""
    text = str(error)
    short = isinstance(error, torch.OutOfMemoryError) or any(
        sign in text for sign in ("out of memory", "not enough memory", "can't allocate memory")
    )
    if not short:
        return error
    return TrialError(f"memory ran out: {text.splitlines()[0]}; a smaller width or batch would fit")
