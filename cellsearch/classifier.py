"""CellClassifier: a search, or one recipe, as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from cellsearch.classifier_fit import as_params, search_recipe, train_recipe
from cellsearch.classifier_inputs import (
    Intensities,
    asked_images,
    known_labels,
    training_cells,
    weights_of,
)
from cellsearch.errors import InputError
from cellsearch.kept_card import KeptCard
from cellsearch.space.recipe import Recipe

if TYPE_CHECKING:
    from cellsearch.card.card import ModelCard
    from cellsearch.space.search_space import SearchSpace

OF_RECIPE = "recipe__"


class CellClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifies single-cell images; use it wherever scikit-learn takes a classifier.

    Without a ``recipe``, ``fit`` runs a whole search: a hold-out is drawn from the cells it is
    given and locked, recipes are tried in folds of the rest, the winner is refitted on all cells
    outside the hold-out, and the hold-out is scored once. So the model that predicts has not
    trained on the hold-out, the figures of ``card_`` are that model's own, and ``verdict_`` says
    whether the search was worth it. Nothing is refitted on the hold-out cells.

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
        folds: of the search.
        holdout: share of the cells that the search locks away.
        rare: what is done with classes too small for the folds: ``refuse``, or ``keep`` for
            training alone.
        accept: kinds of errors that the check of the cells finds, such as
            ``("twin-across-classes",)``, to go on with all the same.
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
        folds: int = 5,
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
        """(N,) the most probable class of each cell, as ``y`` spelt it; raises as above."""
        probabilities = self.predict_proba(X)
        named: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return named

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
        from cellsearch.learn.metrics import score

        predicted = self.predict_proba(X).argmax(axis=1)
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
        for name, facts in card.metrics["hold_out"]["winner"]["per_class"].items():
            recall = facts["recall"]
            said = "not estimable"
            if facts["estimable"] and recall is not None:
                said = f"recall {recall['value']:.3f} ({recall['low']:.3f} to {recall['high']:.3f})"
            lines.append(f"  {name}, {facts['support']} cells held out: {said}")
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
