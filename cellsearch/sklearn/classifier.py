"""CellClassifier: a search, or one recipe, as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from cellsearch.data.arrays import readings, seems_last, to_images
from cellsearch.data.columns import column
from cellsearch.data.crop_sizes import bring, choose_fitting, listed_sizes, ragged, sizes_of
from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import unknown_kind
from cellsearch.data.storage import rows_per_chunk
from cellsearch.errors import DataError, InputError, RunError
from cellsearch.run.check import require_sound
from cellsearch.sklearn.pickled_card import KeptCard, scratch_folder
from cellsearch.space.recipe import Recipe
from cellsearch.stats.decision import Decision, decided, usual_tau
from cellsearch.stats.metrics import metric_named
from cellsearch.stats.wording import figure

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard
    from cellsearch.data.dataset import CellDataset
    from cellsearch.learn.portable import PortableNetwork
    from cellsearch.run.search import SearchResult
    from cellsearch.space.search_space import SearchSpace


OF_RECIPE = "recipe__"


class CellClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifies single-cell images; use it wherever scikit-learn takes a classifier.

    Without a ``recipe``, ``fit`` runs a whole search: a hold-out is drawn from the cells it is
    given and locked, recipes are tried in folds of the rest, the winner is refitted on all cells
    outside the hold-out, and the hold-out is scored once. So the model that predicts has not
    trained on the hold-out, the figures of ``card_`` are that model's own, and ``verdict_`` says
    whether the search was worth it, and which look at these hold-out cells it was where other fits
    had scored them. Nothing is refitted on the hold-out cells.

    With a ``recipe``, ``fit`` trains that one recipe on every cell it is given. Then nothing is
    held out, there is no card and no figure: ask ``cross_val_score``.

    ``GridSearchCV`` may vary whole recipes (``{"recipe": [...]}``) or one parameter of a recipe
    (``{"recipe__optim.lr": [...]}``). Classes are not weighted by the estimator; a recipe or a
    space does that (``loss.weighting``).

    Args:
        recipe: a ``Recipe``, or its flat parameters as ``{"model.depth": 2}``; None searches.
        space: what to search: a ``SearchSpace``, or the name or path of one.
        budget: trials to complete, the baseline included; None is no bound.
        time: bound on the search, as ``"30m"`` or in seconds.
        metric: what the search chooses by, and what ``score`` gives.
        folds: of the search; by default 5, or fewer so that three groups can be held out.
        holdout: share of the cells that the search locks away.
        rare: what is done with classes too small for the folds: ``refuse``, or ``keep`` for
            training alone.
        accept: kinds of errors that the check of the cells finds, such as
            ``("duplicate-across-classes",)``, to go on with all the same.
        seed: of splits, sampler and training, 0 or more. On a CPU the same seed gives the same
            model, of a search too where it runs in this process and not against the clock.
        backend: who runs the trials: ``local`` (this process) or ``ray``.
        out: folder below which each fit makes a run of its own, ``fit-1``, ``fit-2``, ...; None
            keeps runs until the process ends (``card_.save(folder)`` keeps a card).
        device: ``auto`` or a torch device, for training. Predictions are made on the CPU.
        threads: of one trial.
        image_shape: (channels, height, width) of flat rows, of which one may be -1, as
            ``reshape`` has it; None takes no flat rows.
        channels: C names; by default ``channel-1``, ...
        verbose: show progress on standard error.

    Attributes:
        classes_: (K,) classes as ``y`` spells them, sorted; columns of the probabilities.
        n_features_in_: values of a cell, channels x height x width.
        image_shape_: (channels, height, width) of a cell.
        size_rule_: what is done with cells of another size: ``shrink`` where ``fit`` was given
            cells of several sizes, else ``refuse``.
        recipe_: the recipe that was trained, or that won.
        result_: ``SearchResult``; None where one recipe was trained.
        card_: ``ModelCard``; None where one recipe was trained.
        verdict_: whether the search was worth it, or that there is no verdict, in a sentence.
    """

    def __init__(
        self,
        *,
        recipe: Recipe | Mapping[str, Any] | None = None,
        space: SearchSpace | str = "quick",
        budget: int | None = 20,
        time: str | float | None = None,
        metric: str = "balanced_accuracy",
        folds: int | None = None,
        holdout: float = 0.2,
        rare: str = "refuse",
        accept: Sequence[str] = (),
        seed: int = 0,
        backend: str = "local",
        out: Path | str | None = None,
        device: str = "auto",
        threads: int | None = None,
        image_shape: Sequence[int] | None = None,
        channels: Sequence[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.space = space
        self.budget = budget
        self.time = time
        self.metric = metric
        self.folds = folds
        self.holdout = holdout
        self.rare = rare
        self.accept = accept
        self.seed = seed
        self.backend = backend
        self.out = out
        self.device = device
        self.threads = threads
        self.image_shape = image_shape
        self.channels = channels
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None) -> Self:
        """Search, or train the one recipe.

        Args:
            X: (N, C, H, W) or (N, H, W) raw intensities; uint8, uint16 and float32 are kept, other
                numbers become float32. With ``image_shape`` also flat rows, (N, C * H * W). A list
                of (h, w) or (C, h, w) of several sizes is brought to one: padded to a square that
                holds 99 % of them, and what is larger is shrunk; so are the cells of ``predict``.
            y: (N,) classes: names or integers.
            groups: (N,) donor, plate or slide, which the search's splits never tear apart; an
                inner split of ``train.patience`` neither.

        Raises:
            InputError: shapes, labels or pixels that do not fit; also a ``ValueError``.
            ConfigError: a parameter of the recipe, the space or the metric is wrong.
            DataError: the check of the cells finds errors that ``accept`` does not name.
            SplitError: a class has too few cells for the folds.
            RunError: the search was interrupted, or completed no trial.
        """
        cells, classes = training_cells(self, X, y, groups)
        fitted = (search_recipe if self.recipe is None else train_recipe)(self, cells)
        channels, height, width = (int(side) for side in cells.images.shape[1:])
        self.classes_ = classes
        self.image_shape_ = (channels, height, width)
        self.size_rule_ = cells.provenance.fit or "refuse"
        self.recipe_ = fitted.recipe
        self.result_ = fitted.result
        self.verdict_ = fitted.verdict
        self._model = fitted.model
        self._decision = fitted.decision
        self._intensities = Intensities.of(cells.images)
        return self

    @property
    def card_(self) -> ModelCard | None:
        """The model with its evidence; None where one recipe was trained."""
        check_is_fitted(self)
        return self._model.card if isinstance(self._model, KeptCard) else None

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """(N, K) float32 probabilities; columns are ``classes_``, rows add up to 1.

        Raises:
            NotFittedError: before ``fit``.
            InputError: cells of another shape, dtype or scale than in ``fit``; also a
                ``ValueError``.
            CardError: after a search, intensities of quite another scale than in ``fit``.
        """
        check_is_fitted(self)
        # A card knows more of its intensities, and refuses others itself.
        fitted = None if isinstance(self._model, KeptCard) else self._intensities
        return self._model.probabilities(asked_images(self, X, self.image_shape_, fitted))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(N,) the class that each cell is given, as ``y`` spelt it; raises as above.

        Decided for ``metric``, which is seldom the most probable one where classes are rare: for
        balanced accuracy probabilities are divided by the prior of the training.
        """
        given = self._decided(self.predict_proba(X))
        named: NDArray[Any] = self.classes_[given]
        return named

    def _decided(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        if isinstance(self._model, KeptCard):
            return self._model.card.decide(probabilities)
        # Pickles of older versions have none.
        return decided(probabilities, getattr(self, "_decision", None))

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """``metric`` (balanced accuracy by default) of these cells, not scikit-learn's accuracy.

        It is over the classes that ``y`` holds: one of which no cell is given has no recall or F1,
        and cells wrongly called so count against the classes that they are of.

        Args:
            X: as in ``fit``.
            y: (N,) true classes, all known to ``fit``.
            sample_weight: (N,) weights of the cells, 0 or more.

        Raises:
            InputError: a label that the classifier was not fitted on, or weights that are none;
                also a ``ValueError``.
        """
        from cellsearch.stats.metrics import score

        predicted = self._decided(self.predict_proba(X))
        truth = known_labels(y, self.classes_, len(predicted))
        k = len(self.classes_)
        weights = weights_of(sample_weight, len(truth))
        counts = np.bincount(truth * k + predicted, weights=weights, minlength=k * k)
        return float(score(self.metric, counts.reshape(k, k)))

    def report(self) -> str:
        """What was fitted and how good it is, in a few lines of text.

        Raises:
            NotFittedError: before ``fit``.
        """
        check_is_fitted(self)
        card = self.card_
        if card is None:
            named = ", ".join(f"{name}={value}" for name, value in self.recipe_.to_params().items())
            return f"one recipe, trained on every cell given: {named}\n{self.verdict_}"
        lines = [card.headline, f"verdict: {self.verdict_}"]
        for name, own in card.figures.hold_out.winner.per_class.items():
            shown = "not estimable"
            if own.estimable and own.recall is not None:
                shown = f"recall {figure(own.recall)}"
            lines.append(f"  {name}, {own.support} cells held out: {shown}")
        lines.append("the model was refitted on all cells outside the hold-out, and on none of it")
        return "\n".join(lines)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002
        """Parameters by name; ``deep`` adds those of the recipe, as ``recipe__optim.lr``."""
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep and isinstance(self.recipe, Recipe | Mapping):
            flat = self.recipe.to_params() if isinstance(self.recipe, Recipe) else self.recipe
            params |= {f"{OF_RECIPE}{name}": value for name, value in flat.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``recipe__optim.lr`` and the like change a copy of the recipe.

        Raises:
            InputError: a parameter of a recipe, but there is no recipe; also a ``ValueError``.
        """
        inner = {
            name.removeprefix(OF_RECIPE): params.pop(name)
            for name in [*params]
            if name.startswith(OF_RECIPE)
        }
        super().set_params(**params)
        if not inner:
            return self
        if not isinstance(self.recipe, Recipe | Mapping):
            raise InputError(
                f"{OF_RECIPE}{next(iter(inner))}: there is no recipe to change; give recipe={{}}, "
                "the baseline, or another one"
            )
        self.recipe = {**as_params(self.recipe), **inner}
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = self.image_shape is not None
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A card that has predicted holds an open model, which no pickle takes; ``_model`` keeps it.
        result = getattr(self, "result_", None)
        closed = {} if result is None else {"result_": replace(result, card=None)}
        return {**super().__getstate__(), **closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if getattr(self, "result_", None) is not None:
            self.result_ = replace(self.result_, card=self.card_)  # type: ignore[type-var]


NO_VERDICT = (
    "no verdict: one recipe was trained on every cell given; none was held out, so nothing is "
    "known of how good it is (cross_val_score asks)"
)


RARE = ("refuse", "keep")


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit made.

    Attributes:
        model: gives probabilities, and can be pickled.
        recipe: that was trained, or that won.
        verdict: on the search, or that there is none.
        result: of the search; None where one recipe was trained.
        decision: of the one recipe; a card holds its own.
    """

    model: PortableNetwork | KeptCard
    recipe: Recipe
    verdict: str
    result: SearchResult | None = None
    decision: Decision | None = None


def train_recipe(estimator: CellClassifier, cells: CellDataset) -> Fitted:
    """The estimator's one recipe, trained on all cells.

    Raises:
        SpaceError: the recipe is none.
        InputError: the check of the cells finds errors that are not accepted.
        TrialError: the training diverged, or memory ran out.
    """
    from cellsearch.learn.fit import fit
    from cellsearch.learn.portable import PortableNetwork, repeatable_precision
    from cellsearch.learn.threads import torch_threads

    recipe = as_recipe(estimator.recipe)
    try:
        require_sound(cells, tuple(estimator.accept))
    except DataError as error:
        raise InputError("fit: ", error) from None
    with torch_threads(estimator.threads):
        predictor = fit(
            recipe,
            cells,
            np.arange(len(cells)),
            seed=estimator.seed,
            device=estimator.device,
            precision=repeatable_precision(estimator.device),
        )
    tau = usual_tau(metric_named(estimator.metric))
    return Fitted(
        PortableNetwork.of(predictor, recipe, cells),
        recipe,
        NO_VERDICT,
        decision=None if predictor.priors is None else Decision(tau, predictor.priors),
    )


def search_recipe(estimator: CellClassifier, cells: CellDataset) -> Fitted:
    """A whole run on the cells, and its card.

    Raises:
        RunError: it was interrupted, or completed no trial.
    """
    from cellsearch.learn.portable import repeatable_precision
    from cellsearch.run.observer import Silent
    from cellsearch.run.search import search
    from cellsearch.terminal.progress import Terminal
    from cellsearch.util.durations import seconds

    if estimator.rare not in RARE:
        raise InputError(
            f"rare: must be one of {', '.join(RARE)}; got {estimator.rare!r} (leave classes out "
            "of y, or merge them there)"
        )
    precision = repeatable_precision(estimator.device)
    folder = new_folder(estimator.out)
    result = search(
        cells.save(folder / "cells"),
        estimator.space,
        out=folder / "run",
        observer=Terminal() if estimator.verbose else Silent(),
        budget=estimator.budget,
        seconds=seconds(estimator.time) if isinstance(estimator.time, str) else estimator.time,
        metric=estimator.metric,
        folds=estimator.folds,
        holdout=estimator.holdout,
        rare=estimator.rare,
        accept=estimator.accept,
        seed=estimator.seed,
        backend=estimator.backend,
        device=estimator.device,
        precision="auto" if precision is None else str(precision),
        threads=estimator.threads,
    )
    if result.card is None or result.best is None:
        raise RunError(
            f"the search was interrupted; resume with cellsearch.resume({str(result.folder)!r})"
        )
    verdict = result.card.figures.verdict
    return Fitted(
        model=KeptCard(result.card.folder),
        recipe=result.best.recipe,
        verdict=verdict.sentence if verdict else "no verdict: the card holds none",
        result=result,
    )


def as_params(recipe: Recipe | Mapping[str, Any]) -> dict[str, Any]:
    """Flat parameters of a recipe, however it is given."""
    return recipe.to_params() if isinstance(recipe, Recipe) else dict(recipe)


def as_recipe(recipe: Recipe | Mapping[str, Any] | None) -> Recipe:
    """The recipe, however it is given.

    Raises:
        InputError: neither a recipe nor a mapping.
        SpaceError: a name is not known or a value is out of bounds; all are listed.
    """
    if not isinstance(recipe, Recipe | Mapping):
        raise InputError(
            f"recipe: expected a Recipe, a mapping of flat parameters, or None; got {recipe!r}"
        )
    return recipe if isinstance(recipe, Recipe) else Recipe.from_params(recipe)


def new_folder(out: Path | str | None) -> Path:
    """A folder that no other fit has, also where several processes ask at once."""
    if out is None:
        return scratch_folder("cellsearch-fit-")
    parent, number = Path(out), 1
    while True:
        try:
            (parent / f"fit-{number}").mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise RunError(f"cannot write to {parent}: {error.strerror or error}") from None
        else:
            return parent / f"fit-{number}"


Shape = tuple[int, int, int]


FREE = -1


UNIT = 1.0
"""Where intensities end that were divided by the largest that a camera gives."""


@dataclass(frozen=True)
class Intensities:
    """What pixels a classifier was fitted on.

    Attributes:
        dtype: as the cells hold them: uint8, uint16 or float32.
        low: the smallest.
        high: the largest.
        whole: whether all are whole numbers.
    """

    dtype: str
    low: float
    high: float
    whole: bool

    @classmethod
    def of(cls, images: NDArray[Any]) -> Intensities:
        """Those of (N, C, H, W) cells."""
        return cls(str(images.dtype), float(images.min()), float(images.max()), _all_whole(images))


def training_cells(
    estimator: CellClassifier, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None
) -> tuple[CellDataset, NDArray[Any]]:
    """What ``fit`` learns from; sets ``n_features_in_`` (and the names of a frame's columns).

    Returns:
        The cells, and the (K,) classes as ``y`` spells them, sorted.

    Raises:
        InputError: shapes that do not fit, one class only, or pixels that float32 cannot hold.
        ValueError: whatever else scikit-learn refuses: NaN, no cells, a continuous target.
    """
    require_parameters(estimator)
    crops = ragged(X)
    pixels: NDArray[Any] | list[NDArray[Any]]
    if crops is not None or _dimensions(X) in (3, 4):
        pixels = _stack(X) if crops is None else crops
        if isinstance(pixels, np.ndarray):
            _require_one_reading(pixels.shape, estimator.image_shape)
        if y is None:
            # scikit-learn's own words for it come with a table of numbers only.
            raise InputError("fit: y is needed, a class for each cell; got None")
        targets = column_or_1d(y, warn=True)
        check_consistent_length(pixels, targets)
    else:
        rows, targets = validate_data(estimator, X, y, dtype="numeric")
        pixels = _unfold(rows, estimator.image_shape)
    if targets.dtype.kind == "O":
        _require_known(targets)
    check_classification_targets(targets)
    classes, positions = np.unique(targets, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"fit: 2 classes or more are needed; y holds 1 class, {str(classes[0])!r}, "
            f"for {len(targets)} cells"
        )
    try:
        cells = CellDataset.from_arrays(
            _numbers(pixels) if isinstance(pixels, np.ndarray) else [*map(_numbers, pixels)],
            positions,
            classes=[str(name) for name in classes],
            channels=estimator.channels,
            groups=groups,
            name="cells",
            layout="NCHW",
        )
    except DataError as error:
        raise InputError("fit: ", error) from error
    estimator.n_features_in_ = int(np.prod(cells.images.shape[1:]))
    return cells, classes


def require_parameters(estimator: CellClassifier) -> None:
    """Refuse parameters of the estimator that are out of bounds, all at once.

    Raises:
        InputError: what is wrong.
    """
    found = []
    seed, threads, shape = estimator.seed, estimator.threads, estimator.image_shape
    if not _whole(seed) or seed < 0:
        found.append(f"seed: expected an integer of 0 or more, got {seed!r}")
    if threads is not None and (not _whole(threads) or threads < 1):
        found.append(f"threads: expected None or an integer of 1 or more, got {threads!r}")
    if shape is not None and not (
        isinstance(shape, Sequence | np.ndarray) and len(shape) == 3 and all(map(_whole, shape))
    ):
        found.append(
            f"image_shape: expected (channels, height, width) as integers, of which one may be -1; "
            f"got {shape!r}"
        )
    accept = estimator.accept
    if isinstance(accept, str) or not isinstance(accept, Iterable):
        found.append(f"accept: expected kinds of findings, as ('duplicate-id',); got {accept!r}")
    else:
        found += [f"accept: {text}" for each in accept if (text := unknown_kind(each))]
    if found:
        raise InputError("; ".join(found))


def weights_of(sample_weight: ArrayLike | None, cells: int) -> NDArray[np.float64] | None:
    """(N,) float64 weights of cells, 0 or more.

    Raises:
        InputError: another length, weights below 0 or not finite, or none above 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (cells,):
        raise InputError(f"sample_weight: {cells} cells, but weights of shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InputError("sample_weight: expected finite weights of 0 or more, and one above 0")
    return weights


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require_known(targets: NDArray[Any]) -> None:
    try:
        column(targets, "y", len(targets), remedy="leave these cells out of X and y")
    except DataError as error:
        raise InputError("fit: ", error) from None


def asked_images(
    estimator: CellClassifier, X: ArrayLike, shape: Shape, fitted: Intensities | None
) -> NDArray[Any]:
    """(N, C, H, W) of what a fitted classifier is asked about.

    Args:
        estimator: the classifier.
        X: (N, C, H, W), (N, H, W) or flat rows.
        shape: (C, H, W) of a cell.
        fitted: what ``fit`` saw, to compare with; None where the model compares itself.

    Raises:
        InputError: cells of another shape, dtype or scale than those it was fitted on.
        ValueError: whatever else scikit-learn refuses.
    """
    crops = ragged(X)
    if crops is not None or _dimensions(X) in (3, 4):
        pixels = _of_size(_stack(X) if crops is None else crops, estimator.size_rule_, shape)
        found = pixels.shape[1:] if pixels.ndim == 4 else (1, *pixels.shape[1:])
        if found != shape:
            raise InputError(
                f"predict: fitted on cells of {_spelt(shape)} (channels x height x width); "
                f"these are {_spelt(found)}"
            )
    else:
        rows = validate_data(estimator, X, dtype="numeric", reset=False)
        pixels = rows.reshape(len(rows), *shape)
    try:
        numbers = _numbers(pixels)
        return to_images(numbers if fitted is None else _as_fitted(numbers, fitted), "NCHW")[0]
    except InputError:
        raise
    except DataError as error:
        raise InputError("predict: ", error) from error


def _of_size(crops: NDArray[Any] | list[NDArray[Any]], rule: str, shape: Shape) -> NDArray[Any]:
    """Cells of other sizes brought to the one fitted on, where ``fit`` was given several.

    Raises:
        InputError: they are refused, or cannot be brought to it.
    """
    wanted = shape[1:]
    if isinstance(crops, np.ndarray) and (rule == "refuse" or crops.shape[-2:] == wanted):
        return crops
    deep = [crop if crop.ndim == 3 else crop[None] for crop in crops]
    names = [f"cell {number}" for number in range(len(deep))]
    if rule == "refuse":
        found = listed_sizes(sizes_of(deep), names)
        raise InputError(f"predict: fitted on cells of {_spelt(wanted)} px; these are {found}")
    kinds = {(len(crop), crop.dtype) for crop in deep}
    if len(kinds) > 1 or len(deep[0]) != shape[0]:
        there = sorted(f"{depth} channels of {dtype}" for depth, dtype in kinds)
        raise InputError(
            f"predict: fitted on cells of {shape[0]} channels; these have {', '.join(there)}"
        )
    try:
        fitting = choose_fitting(sizes_of(deep), names, size=wanted, fit="shrink")
    except DataError as error:
        raise InputError("predict: ", error) from error
    return np.stack(deep) if fitting is None else bring(deep, fitting)


def known_labels(y: ArrayLike, classes: NDArray[Any], cells: int) -> NDArray[np.int64]:
    """(N,) positions of true labels in the classes of a fitted classifier.

    Raises:
        InputError: another number of labels, or one that the classifier never saw.
    """
    labels = column_or_1d(y)
    if len(labels) != cells:
        raise InputError(f"score: {cells} cells, but {len(labels)} labels")
    position = {name: k for k, name in enumerate(classes.tolist())}
    unknown = sorted({str(name) for name in labels.tolist() if name not in position})
    if unknown:
        raise InputError(
            f"score: labels that the classifier was not fitted on: {', '.join(unknown[:10])}; "
            f"it knows {', '.join(map(str, classes.tolist()))}"
        )
    return np.array([position[name] for name in labels.tolist()], np.int64)


def _dimensions(X: ArrayLike) -> int:
    found = getattr(X, "ndim", None)
    return int(np.asarray(X).ndim if found is None else found)


def _stack(X: ArrayLike) -> NDArray[Any]:
    pixels: NDArray[Any] = check_array(X, dtype="numeric", ensure_2d=False, allow_nd=True)
    return pixels


def _require_one_reading(shape: Sequence[int], image_shape: Sequence[int] | None) -> None:
    """Refuse (N, A, B, C) whose channels may come last, unless ``image_shape`` says otherwise."""
    if len(shape) != 4 or not seems_last(shape):
        return
    said = tuple(image_shape or ())
    if said and all(a in (FREE, b) for a, b in zip(said, shape[1:], strict=True)):
        return
    raise InputError(
        f"fit: X of shape {tuple(shape)} may be {readings(shape)}: give image_shape="
        f"{tuple(shape[1:])} for the first, or np.moveaxis(X, -1, 1) in place of X for the second"
    )


def _as_fitted(pixels: NDArray[Any], fitted: Intensities) -> NDArray[Any]:
    """Pixels in the dtype of those in ``fit``, where they are on the same scale.

    Whole numbers in floats or in wide integers are the same intensities in another container. 16
    bits whose values happen to fit 8 are a dim picture of another camera.

    Raises:
        InputError: another dtype or scale.
    """
    wanted = np.dtype(fitted.dtype)
    given = pixels.dtype.newbyteorder("=")
    if pixels.size == 0 or (given in (wanted, np.dtype(bool)) and wanted.kind == "u"):
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    whole = _all_whole(pixels)
    unit = given.kind == "f" and low >= 0 and 0 < high <= UNIT < fitted.high
    if wanted.kind == "u":
        container = given.kind == "f" or given.itemsize >= 4
        limits = np.iinfo(wanted)
        fits = container and whole and low >= limits.min and high <= limits.max and not unit
        if fits:
            return pixels.astype(wanted)
    elif fitted.whole:
        fits = whole or not unit
    else:
        # Fractions in fit: camera counts, or a scale that ends far beyond, are not the same.
        span = fitted.high - fitted.low
        beyond = low < fitted.low - span or high > fitted.high + span
        unit_in_fit = fitted.low >= 0 and fitted.high <= UNIT
        fits = not beyond if given.kind in "iub" or unit_in_fit else True
    if not fits:
        raise InputError(
            f"predict: fitted on {fitted.dtype} pixels from {fitted.low:g} to {fitted.high:g}; "
            f"these are {pixels.dtype} from {low:g} to {high:g}: give raw intensities of the same "
            "camera settings as for fit, and rescale both or neither"
        )
    return pixels


def _all_whole(pixels: NDArray[Any]) -> bool:
    if pixels.dtype.kind != "f":
        return True
    step = rows_per_chunk(pixels)
    return all(
        bool((pixels[start : start + step] % 1 == 0).all()) for start in range(0, len(pixels), step)
    )


def _unfold(rows: NDArray[Any], shape: Sequence[int] | None) -> NDArray[Any]:
    """(N, F) flat rows to (N, C, H, W)."""
    if shape is None:
        raise InputError(
            f"fit: X has shape {rows.shape}, a flat row for each cell; give cells as "
            "(N, channels, height, width) or (N, height, width), or say how a row is laid out: "
            "image_shape=(channels, height, width)"
        )
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or sides.count(FREE) > 1 or any(side < 1 for side in sides if side != FREE):
        raise InputError(
            "image_shape: expected (channels, height, width), of which one may be -1 (what is "
            f"left); got {shape!r}"
        )
    known = int(np.prod([side for side in sides if side != FREE]))
    values = rows.shape[1]
    if values % known or (FREE not in sides and values != known):
        raise InputError(f"image_shape: {_spelt(sides)} does not hold the {values} values of a row")
    return rows.reshape(len(rows), *sides)


def _numbers(pixels: NDArray[Any]) -> NDArray[Any]:
    """Integers and float32 as they are, all else as the nearest float32."""
    if pixels.dtype.kind in "iub" or pixels.dtype == np.float32:
        return pixels
    with np.errstate(over="ignore"):
        converted = pixels.astype(np.float32)
    if not np.isfinite(converted).all():
        raise InputError("X holds a value too large for float32; rescale the pixels")
    return converted


def _spelt(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
