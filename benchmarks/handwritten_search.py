"""A search as users of Ray Tune write it today, kept as the peer that cellsearch is measured by.

OptunaSearch and ASHA, a DataLoader with torchvision transforms, fp32, the mean of the folds'
balanced accuracies. The networks and the search space are cellsearch's own, so that only the way
of searching differs. Run by against_handwritten.py and quality.py.

With --minutes Ray stops the search after that time, and --trials is only an upper bound. The best
is then a trial of all folds where there is one, else one of the most folds, else, where not even a
first fold was finished, one of the most epochs of it; it is refitted with all its epochs. Where the
folder of the development cells holds folds.npy, these are the folds.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from functools import partial
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"

import numpy as np
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, StratifiedKFold
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cellsearch.learn.models import build_network
from cellsearch.space.recipe import Recipe
from cellsearch.space.search_space import SearchSpace


class Cells(Dataset):
    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index].astype(np.float32))
        return self.transform(image), int(self.labels[index])


def train_and_score(recipe, train, test, classes, epochs, on_epoch=None):
    """One fold: train, return the predictions of the test cells; ``on_epoch`` gets them earlier."""
    images, labels = train
    mean = images.mean((0, 2, 3)).tolist()
    std = images.std((0, 2, 3)).tolist()
    steps = []
    if recipe.augment.flip:
        steps += [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    normalise = transforms.Normalize(mean, std)
    loader = DataLoader(
        Cells(images, labels, transforms.Compose([*steps, normalise])),
        batch_size=recipe.train.batch_size,
        shuffle=True,
        drop_last=True,
    )
    network = build_network(
        recipe.model, channels=images.shape[1], classes=classes, size=images.shape[2:]
    )
    weights = None
    counts = np.bincount(labels, minlength=classes)
    if recipe.loss.weighting in ("sqrt", "inv"):
        weights = 1 / counts ** (0.5 if recipe.loss.weighting == "sqrt" else 1.0)
        weights = torch.tensor(weights / weights.mean(), dtype=torch.float32)
    criterion = nn.CrossEntropyLoss(weight=weights)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.optim.lr, weight_decay=recipe.optim.weight_decay
    )

    def predict():
        network.eval()
        predicted = []
        with torch.no_grad():
            for batch, _ in DataLoader(Cells(*test, normalise), batch_size=256):
                predicted.append(network(batch).argmax(1).numpy())
        return np.concatenate(predicted)

    for epoch in range(1, epochs + 1):
        network.train()
        for batch, target in loader:
            optimiser.zero_grad()
            loss = criterion(network(batch), target)
            loss.backward()
            optimiser.step()
        if on_epoch is not None and epoch < epochs:
            on_epoch(epoch, predict())
    return predict()


def folds_of(folder, labels, folds, seed):
    """(train, test) of each fold: those of ``folds.npy``, or drawn."""
    given = Path(folder) / "folds.npy"
    if given.exists():
        return PredefinedSplit(np.load(given)).split()
    return StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)


def trainable(config, folder, folds, seed, hurried):
    """Cross-validate one recipe; report the running mean of the folds' scores.

    ``hurried``: report the epochs of the first fold too, since there may be no time for more.
    """
    torch.manual_seed(seed)
    recipe = Recipe.from_params(config)
    images, labels = np.load(f"{folder}/images.npy"), np.load(f"{folder}/labels.npy")
    scores = []
    for train, test in folds_of(folder, labels, folds, seed):

        def early(epoch, predicted, truth=labels[test]):
            score = balanced_accuracy_score(truth, predicted)
            tune.report({"score": float(score), "folds": 0, "epochs": epoch})

        predicted = train_and_score(
            recipe,
            (images[train], labels[train]),
            (images[test], labels[test]),
            int(labels.max()) + 1,
            recipe.train.epochs,
            early if hurried and not scores else None,
        )
        scores.append(balanced_accuracy_score(labels[test], predicted))
        epochs = len(scores) * recipe.train.epochs
        tune.report({"score": float(np.mean(scores)), "folds": len(scores), "epochs": epochs})


def best_of(results):
    """The best score among the results with the most folds, or epochs; None without any.

    A score of one fold is not held against one of five.
    """
    known = [result for result in results if result.metrics and "score" in result.metrics]

    def rank(result):
        found = result.metrics
        return found["folds"], 0 if found["folds"] else found["epochs"], found["score"]

    return max(known, key=rank, default=None)


def draw(path, trial):
    """A recipe's flat parameters, define-by-run."""
    return SearchSpace.load(path).suggest(trial).to_params()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="images.npy and labels.npy of the development")
    parser.add_argument("--space", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--minutes", type=float, help="of the search, its refit not counted")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--holdout", type=Path, required=True, help="the same of the hold-out")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    began = time.monotonic()
    ray.init(
        address="local", log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False
    )
    tuner = tune.Tuner(
        tune.with_parameters(
            trainable,
            folder=str(options.folder.resolve()),
            folds=options.folds,
            seed=options.seed,
            hurried=options.minutes is not None,
        ),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=options.trials,
            time_budget_s=None if options.minutes is None else 60 * options.minutes,
            search_alg=OptunaSearch(
                partial(draw, str(options.space)), seed=options.seed, metric="score", mode="max"
            ),
            scheduler=ASHAScheduler(
                time_attr="folds", max_t=options.folds, grace_period=1, reduction_factor=2
            ),
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=str(options.out.resolve().parent)),
    )
    results = tuner.fit()
    searched = time.monotonic() - began
    facts = {
        "search_seconds": searched,
        "total_seconds": searched,
        "trials": len(results),
        "folds_run": sum(r.metrics.get("folds", 0) for r in results if r.metrics),
        "whole_trials": sum(r.metrics.get("folds") == options.folds for r in results if r.metrics),
    }
    best = best_of(results)
    if best is None:
        options.out.write_text(json.dumps(facts | {"best": None}, indent=2))
        return
    recipe = Recipe.from_params(best.config)
    development = (
        np.load(options.folder / "images.npy"),
        np.load(options.folder / "labels.npy"),
    )
    holdout = (np.load(options.holdout / "images.npy"), np.load(options.holdout / "labels.npy"))
    torch.manual_seed(options.seed)
    predicted = train_and_score(
        recipe, development, holdout, int(development[1].max()) + 1, recipe.train.epochs
    )
    facts |= {
        "total_seconds": time.monotonic() - began,
        "best_mean_fold_score": best.metrics["score"],
        "best_folds": best.metrics["folds"],
        "best_epochs": best.metrics["epochs"],
        "holdout_balanced_accuracy": float(balanced_accuracy_score(holdout[1], predicted)),
        "holdout_predicted": predicted.tolist(),
        "best": recipe.to_params(),
    }
    options.out.write_text(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
