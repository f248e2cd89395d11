"""README.md: what the model is, how far its figures hold, and how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellsearch.card.confidence import Confidence
from cellsearch.card.config import CardConfig
from cellsearch.card.evidence import Evidence
from cellsearch.card.front_matter import front_matter
from cellsearch.card.markdown import listed, plain, table
from cellsearch.card.readme_confidence import calibrated_or_not, confidence_sections
from cellsearch.card.readme_evidence import evidence_sections
from cellsearch.card.readme_figures import baseline_section, figures_section
from cellsearch.card.readme_search import importance_section, verdict_section
from cellsearch.card.usage import FILES, OPTIONAL, usage
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.evaluation import FEW_CELLS
from cellsearch.stats.metrics import TITLES, Metric, metric_named
from cellsearch.tune.findings import Found

_FITTED = {
    "refuse": "",
    "pad": "; smaller ones are padded to it about their centre, larger ones cut",
    "resize": "; others are resized to it",
    "shrink": "; smaller ones are padded to it about their centre, larger ones shrunk, aspect kept",
}
_STATES = {
    "complete": "complete",
    "pruned": "stopped early (pruned)",
    "failed": "failed",
    "fail": "failed",
}
_INTENDED = (
    "## Intended use\n\n"
    "Research on cells imaged like those it was trained on: the same channels in the same order, "
    "the same scale, raw intensities. **It is not a diagnostic device.** It has been neither "
    "built nor tested nor approved for decisions about patients, and must not be used for them.\n"
)


@dataclass(frozen=True)
class Story:
    """All that README.md tells.

    Attributes:
        config: of the card.
        notes: on the data.
        label_free: channels that need no label.
        grouped: whether groups (donors, plates) kept cells together in the splits.
        counts: cells of each class in the whole data set.
        folds: of the search.
        development: cells outside the hold-out.
        holdout: winner and baseline on the hold-out.
        oof: winner and baseline on out-of-fold predictions.
        search: facts of the search; see ``write_card``.
        command: that made the card.
        plots: names of the pictures of figures, without suffix.
        evidence: curves, saliency, the map of the hold-out and generated cells.
        confidence: calibration, abstention and prediction sets; None where not measured.
        found: verdict on the search, and which choice mattered.
        export_difference: largest between torch and onnxruntime.
        files: relative paths in the card.
    """

    config: CardConfig
    notes: str
    label_free: tuple[str, ...]
    grouped: bool
    counts: tuple[int, ...]
    folds: int
    development: int
    holdout: Comparison
    oof: Comparison
    search: Mapping[str, Any]
    command: str
    plots: tuple[str, ...]
    evidence: Evidence
    export_difference: float
    files: tuple[str, ...]
    confidence: Confidence | None = None
    found: Found | None = None


def write_readme(story: Story) -> str:
    """The text of README.md, front matter included."""
    config = story.config
    title = config.dataset.title or config.dataset.name
    parts = [
        front_matter(
            config, story.holdout.winner, model_name=f"cellsearch {config.dataset.name} classifier"
        ),
        f"# {plain(config.dataset.name)}: {len(config.classes)} classes of single cells\n",
        _warning(story),
        f"A classifier of single-cell images, chosen by a search over recipes (networks, losses, "
        f"augmentation, balancing, optimisers) with cellsearch {config.cellsearch_version} on "
        f"*{plain(title)}*. It takes {_shape(config)} and gives the probability of each of "
        f"{len(config.classes)} classes: {listed(config.classes)}. "
        f"{_network(config)}\n",
        _INTENDED,
        _data(story),
        _protocol(story),
        verdict_section(story.found, story.holdout, story.oof, _metric(story)),
        figures_section(story.holdout, story.oof, story.plots),
        baseline_section(story.holdout, story.oof, story.search),
        importance_section(
            None if story.found is None else story.found.importance,
            pictured="plots/importance.png" in story.files,
        ),
        *confidence_sections(story.confidence, config.classes, config.members),
        *evidence_sections(story.evidence),
        _recipe(story),
        _limits(story),
        usage(config),
        f"## How to repeat it\n\n```sh\n{story.command}\n```\n\n"
        "`recipe.yaml` holds the winner's parameters, `splits.json` the very cells of hold-out and "
        "folds, `versions.json` the packages.\n",
        _files(story),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _metric(story: Story) -> Metric:
    return metric_named(str(story.search.get("metric") or "balanced_accuracy"))


def _warning(story: Story) -> str:
    if not story.config.dataset.synthetic:
        return ""
    return (
        "> **GENERATED DATA.** These cells were drawn by a program, not by a microscope. The "
        "figures below say how the software works; they say NOTHING about real cells, and this "
        "model must not be used on any.\n"
    )


def _data(story: Story) -> str:
    config, facts = story.config, story.config.dataset
    total = sum(story.counts)
    rows = [
        [plain(name), f"{count:,}", f"{100 * count / total:.2f} %"]
        for name, count in zip(config.classes, story.counts, strict=True)
    ]
    lines = [
        f"- name: `{facts.name}`" + (f", variant `{facts.variant}`" if facts.variant else ""),
        f"- licence: {plain(facts.licence) or 'not stated'}",
        f"- cite: {plain(facts.citation) or 'not stated'}",
    ]
    if facts.url:
        lines.append(f"- source: {facts.url}")
    lines.append(f"- channels: {_channels(story)}")
    lines.append(
        f"- crops of {config.height} x {config.width} px, {config.dtype}"
        + (f", {facts.pixel_size_um:g} um a pixel" if facts.pixel_size_um else "")
        + _FITTED[config.fit]
    )
    lines.append(f"- sha256 of the cells: `{facts.sha256}`")
    lines += [f"- {plain(note)}" for note in story.notes.splitlines() if note.strip()]
    return (
        "## Data and licence\n\n" + "\n".join(lines) + "\n\n"
        "The `license` field above repeats the licence of the cells. The software's own licence "
        "is MIT.\n\n" + table(("class", "cells", "share"), rows)
    )


def _channels(story: Story) -> str:
    return ", ".join(
        f"{plain(name)} (label-free)" if name in story.label_free else plain(name)
        for name in story.config.channels
    )


def _protocol(story: Story) -> str:
    search = story.search
    held, total = story.holdout.winner.cells, sum(story.counts)
    final = (
        f"the {story.config.members} networks of the winner's folds, their probabilities averaged"
        if story.config.members > 1
        else f"the winner, trained anew on all {story.development:,} cells outside the hold-out"
    )
    metric = search.get("metric")
    lines = [
        f"- **Locked hold-out**: {held:,} of {total:,} cells ({100 * held / total:.0f} %), "
        f"stratified by class{', whole groups together' if story.grouped else ''}, set aside "
        "before the search and scored once, after the recipe was chosen, for the winner and the "
        "baseline.",
        _judged(story) + (f"; objective: {TITLES.get(metric, metric)}." if metric else "."),
        *_budget(search),
        f"- **Final model**: {final}.{_format(search)}",
        f"- **Export**: torch and ONNX agree to {story.export_difference:.1g} on hold-out cells.",
        f"- **Splits**: sha256 `{story.config.splits_sha256}` (`splits.json`).",
    ]
    return "## Protocol\n\n" + "\n".join(lines) + "\n"


def _format(search: Mapping[str, Any]) -> str:
    precision = search.get("precision")
    return f" Trained in {precision}, as its folds were." if precision else ""


def _judged(story: Story) -> str:
    if story.folds > 1:
        return (
            f"- **Search**: every recipe was judged on the same {story.folds} folds of the other "
            f"{story.development:,} cells, by its out-of-fold predictions pooled over the folds"
        )
    validated = story.oof.winner.cells
    return (
        f"- **Search**: one fixed split; of the other {story.development:,} cells the same "
        f"{validated:,} judged every recipe (they are called out-of-fold below) and the rest "
        "trained it"
    )


def _budget(search: Mapping[str, Any]) -> list[str]:
    lines = []
    trials = search.get("trials") or {}
    facts = []
    if search.get("budget") is not None:
        facts.append(f"{search['budget']} trials asked for")
    facts += [f"{trials[state]} {named}" for state, named in _STATES.items() if state in trials]
    if search.get("seconds") is not None:
        facts.append(f"{float(search['seconds']) / 60:.1f} minutes in trials")
    if facts:
        lines.append(f"- **Budget**: {', '.join(facts)}.")
    if search.get("space"):
        digest = f", sha256 `{search['space_sha256']}`" if search.get("space_sha256") else ""
        lines.append(f"- **Search space**: `{search['space']}`{digest}.")
    if search.get("seed") is not None:
        lines.append(f"- **Seed**: {search['seed']}.")
    return lines


def _recipe(story: Story) -> str:
    number = story.search.get("winner")
    which = f" (trial {number})" if number is not None else ""
    rows = [[f"`{name}`", f"`{value}`"] for name, value in story.config.recipe.items()]
    return f"## The winner's recipe{which}\n\n" + table(("parameter", "value"), rows, left=2)


def _limits(story: Story) -> str:
    config, held = story.config, story.holdout.winner
    lines = []
    few = [
        f"{plain(name)} ({cells})"
        for name, cells, known in zip(
            held.classes, held.support.tolist(), held.estimable, strict=True
        )
        if known and cells < FEW_CELLS
    ]
    if few:
        lines.append(
            f"- **Fewer than {FEW_CELLS} hold-out cells**: {', '.join(few)}. Their figures rest on "
            "a handful of cells, and so do the means over classes; read the intervals."
        )
    none = [
        f"{plain(name)} ({cells})"
        for name, cells, known in zip(
            held.classes, held.support.tolist(), held.estimable, strict=True
        )
        if not known
    ]
    if none:
        lines.append(
            f"- **Not estimable** (hold-out cells): {', '.join(none)}. The model can give these "
            "classes; how well is not known, and they count in no figure above."
        )
    lines += [
        f"- **Accepted error of the check of the cells**: {plain(each)}."
        for each in story.search.get("accepted") or ()
    ]
    lines += [
        f"- **Population**: the cells of `{config.dataset.name}` alone. "
        + (
            "Whole groups (donors, plates or slides) were held out together."
            if story.grouped
            else "No groups (donors, plates, days) were known, so hold-out cells come from the "
            "same samples as training cells: expect lower figures elsewhere."
        ),
        f"- **Input**: only {_shape(config)}; intensities seen in training: "
        + ", ".join(f"{plain(p.channel)} {p.low:g} to {p.high:g}" for p in config.ranges)
        + ". Intensities of another scale are refused; another exposure is not noticed.",
        "- **Every image gets a class**: debris, doublets and cells of other kinds too. "
        + calibrated_or_not(story.confidence),
        "- **Shares**: where classes are mixed otherwise than here, precision changes, and so does "
        "what a probability means. `cellsearch predict --fractions` corrects the shares of a whole "
        "sample, on the assumption that the cells of each class look as they do here.",
        "- **Not a diagnostic device.**",
    ]
    return "## Limits\n\n" + "\n".join(lines) + "\n"


def _files(story: Story) -> str:
    rows = [
        [f"`{name}`", what] for name, what in FILES if name not in OPTIONAL or name in story.files
    ]
    return "## Files\n\n" + table(("file", "what"), rows, left=2)


def _network(config: CardConfig) -> str:
    inside = f"are {config.members} networks, averaged" if config.members > 1 else "is one network"
    return f"Inside {inside}, of {config.parameters:,} parameters in all."


def _shape(config: CardConfig) -> str:
    return (
        f"crops of {config.height} x {config.width} px with {len(config.channels)} "
        f"channel{'s' * (len(config.channels) > 1)} ({listed(config.channels)}), {config.dtype}"
    )
