"""The front matter of README.md, as the Hugging Face Hub reads it."""

from __future__ import annotations

import re

from cellsearch.card.config import CardConfig
from cellsearch.card.metrics import Figures
from cellsearch.stats.metrics import TITLES, Metric, metric_named

# Ids of https://huggingface.co/docs/hub/repositories-licenses that data sets of cells bear.
LICENCES = frozenset(
    (
        *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "unlicense"),
        *("gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "agpl-3.0"),
        *("cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
        *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
        *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
        *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
        *("odc-by", "odbl", "pddl", "etalab-2.0", "eupl-1.1", "eupl-1.2"),
    )
)
_HUB_METRICS: dict[Metric, str] = {
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "f1",
    "weighted_f1": "f1",
    "mcc": "matthews_correlation",
    "worst_recall": "recall",
    "accuracy": "accuracy",
}


def licence_id(licence: str) -> tuple[str, str | None]:
    """The Hub's id of a licence and, where it has none, ``other`` and a name for it."""
    if not licence.strip():
        return "unknown", None
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    plain = re.sub(r"-(only|or-later|license|licence)$", "", slug)
    if plain in LICENCES:
        return plain, None
    return "other", slug or "other"


def front_matter(config: CardConfig, holdout: Figures, *, model_name: str) -> str:
    """YAML between ``---`` lines, with a model-index of the hold-out's figures."""
    from huggingface_hub import EvalResult, ModelCardData

    licence, licence_name = licence_id(config.dataset.licence)
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="single-cell image classification",
            dataset_type=config.dataset.name,
            dataset_name=config.dataset.title or config.dataset.name,
            dataset_config=config.dataset.variant,
            dataset_split="hold-out",
            metric_type=_HUB_METRICS[metric_named(metric)],
            metric_name=TITLES[metric_named(metric)],
            metric_value=round(estimate.value, 4),
        )
        for metric, estimate in holdout.metrics.items()
    ]
    tags = ["cellsearch", "onnx", "microscopy", "single-cell", "class-imbalance", "biology"]
    if config.dataset.synthetic:
        tags.append("synthetic-data")
    data = ModelCardData(
        license=licence,
        license_name=licence_name,
        library_name="cellsearch",
        pipeline_tag="image-classification",
        tags=tags,
        datasets=[config.dataset.name],
        metrics=sorted(set(_HUB_METRICS.values())),
        model_name=model_name,
        eval_results=results,
    )
    return f"---\n{data.to_yaml().strip()}\n---\n"
