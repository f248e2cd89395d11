"""Cells and runs as facts for programs: what ``--json`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellsearch.card.predict import Row, class_columns, set_names
from cellsearch.errors import CellsearchError
from cellsearch.run.folder import read_record
from cellsearch.run.history import PastRun, past_run

if TYPE_CHECKING:
    from cellsearch.data.dataset import CellDataset
    from cellsearch.run.nested import NestedResult
    from cellsearch.run.search import SearchResult
    from cellsearch.run.shared import SharedRun
    from cellsearch.tune.study import TrialRow


def dataset_facts(cells: CellDataset) -> dict[str, object]:
    """What a data set holds."""
    return {
        "name": cells.name,
        "cells": len(cells),
        "channels": cells.channels,
        "height": cells.images.shape[2],
        "width": cells.images.shape[3],
        "dtype": str(cells.images.dtype),
        "classes": dict(zip(cells.classes, cells.counts.tolist(), strict=True)),
        "groups": None if cells.groups is None else len(set(cells.groups.tolist())),
        "provenance": cells.provenance,
        "sha256": cells.sha256,
        "folder": cells.folder,
    }


def trial_facts(row: TrialRow | None) -> dict[str, Any] | None:
    """One trial; its recipe as in ``recipe.yaml``."""
    if row is None:
        return None
    return {
        "trial": row.number,
        "state": row.state,
        "score": row.score,
        "folds": row.folds,
        "seconds": row.seconds,
        "baseline": row.baseline,
        "reason": row.reason or None,
        "short_loss": row.short_loss,
        "half_loss": row.half_loss,
        "origin": row.origin or None,
        "recipe": row.recipe.model_dump(mode="json"),
    }


def card_facts(card: Path) -> dict[str, Any] | None:
    """Verdict and figures of a card; None where there is none.

    Raises:
        CardError: the card is damaged.
    """
    from cellsearch.card.card import ModelCard

    if not card.is_dir():
        return None
    opened = ModelCard.load(card)
    verdict = opened.figures.verdict
    return {
        "folder": card,
        "verdict": verdict.sentence if verdict else None,
        "hold_out": opened.metrics["hold_out"],
        "out_of_fold": opened.metrics["out_of_fold"],
    }


def result_facts(result: SearchResult, metric: str) -> dict[str, Any]:
    """How a run ended."""
    return {
        "run": result.folder,
        "metric": metric,
        "interrupted": result.interrupted,
        "best": trial_facts(result.best),
        "baseline": trial_facts(result.baseline),
        "trials": len(result.trials),
        "card": None if result.card is None else card_facts(result.card.folder),
    }


def nested_facts(nested: NestedResult) -> dict[str, Any]:
    """How repeated searches ended."""
    return {
        "run": nested.folder,
        "interrupted": nested.interrupted,
        "runs": nested.runs,
        "summary": None if nested.summary is None else nested.summary.model_dump(mode="json"),
    }


def past_facts(past: PastRun) -> dict[str, Any]:
    """A run with all its trials, best first."""
    return {
        "run": past.folder,
        "state": past.record.state,
        "config": past.record.config.model_dump(mode="json"),
        "command": past.record.command,
        "created": past.record.created,
        "trials": [trial_facts(row) for row in past.rows],
        "card": card_facts(past.folder / "card"),
    }


def shared_facts(run: SharedRun) -> dict[str, Any]:
    """A run of a shared database."""
    facts = run.row.facts
    return {
        "run": facts.name,
        "study": facts.study_name,
        "folder": facts.folder,
        "is_here": run.is_here,
        "dataset": facts.dataset,
        "dataset_sha256": facts.dataset_sha256,
        "splits_sha256": facts.splits_sha256,
        "space": facts.space,
        "metric": facts.metric,
        "seed": facts.seed,
        "command": facts.command,
        "created": run.row.created.isoformat(),
        "finished": run.row.finished.isoformat() if run.row.finished else None,
        "state": run.row.state,
        "card": run.row.card or None,
        "best": trial_facts(run.best),
        "baseline": trial_facts(run.baseline),
        "trials": len(run.trials),
    }


def run_facts(folder: Path) -> dict[str, Any]:
    """A run as one of many; a storage that does not answer is said, not raised."""
    record = read_record(folder)
    config = record.config
    facts: dict[str, Any] = {
        "run": folder,
        "dataset": config.dataset,
        "space": config.space,
        "metric": config.metric,
        "budget": config.budget,
        "state": record.state,
        "created": record.created,
        "card": folder / "card" if (folder / "card").is_dir() else None,
    }
    try:
        past = past_run(folder)
    except CellsearchError as error:
        return facts | {"problem": error.message}
    scores = {
        name: None if row is None else row.score
        for name, row in (("best", past.best), ("baseline", past.baseline))
    }
    done = sum(row.state in ("COMPLETE", "PRUNED") for row in past.rows)
    return facts | scores | {"trials": done}


def cell_facts(rows: Sequence[Row], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of ``to_rows`` as the REST API gives them: numbers as numbers, sets as lists.

    ``decision`` is null where the card has no rule of abstention, ``set`` where it has no sets.
    """
    columns = dict(zip(classes, class_columns(classes), strict=True))
    return [
        {
            "index": index,
            "id": row["id"],
            "source": row["source"],
            "object_number": int(row["object_number"]),
            "predicted_class": row["predicted_class"],
            "confidence": float(row["confidence"]),
            "decision": row.get("decision"),
            "set": set_names(row["set"], classes) if "set" in row else None,
            "probabilities": {name: float(row[column]) for name, column in columns.items()},
        }
        for index, row in enumerate(rows)
    ]
