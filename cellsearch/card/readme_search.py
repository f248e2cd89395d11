"""The parts of README.md that say what the search was worth, and which choice mattered."""

from __future__ import annotations

from cellsearch.card.markdown import difference, plain, table
from cellsearch.stats.comparison import Comparison
from cellsearch.stats.evaluation import FEW_GROUPS, LEVEL, Estimate
from cellsearch.stats.metrics import TITLES, Metric
from cellsearch.tune.findings import ChoiceEffect, Found, Importance, optimism

MOST_PARAMETERS = 10


def verdict_section(
    found: Found | None, holdout: Comparison, pooled: Comparison, metric: Metric
) -> str:
    """The verdict, the optimism of the search, and how many groups the intervals rest on."""
    verdict = None if found is None else found.verdict
    text = "## Verdict\n\n"
    if verdict is not None:
        text += f"**{_sentence(verdict.sentence)}**"
        if verdict.hold_out is not None and verdict.trials:
            text += (
                " Winner minus trial 0, paired by cell. The hold-out is one look and needs no "
                "correction; it compares the two final models. The out-of-fold interval holds for "
                f"the best of all {verdict.trials:,} others at once (bootstrap of the largest "
                "studentised difference, White 2000; Romano & Wolf 2005) and allows for what "
                "training anew changes."
            )
        text += "\n\n"
    gap = optimism(pooled.winner, holdout.winner)[metric]
    text += (
        f"Optimism of the search: the winner's out-of-fold {TITLES[metric]} less that of the "
        f"hold-out is **{difference(gap)}**. Being chosen for it flatters the one figure; training "
        "on more cells, as the final model did, favours the other.\n"
    )
    groups = holdout.winner.intervals.groups
    if groups is not None:
        few = f"fewer than {FEW_GROUPS} tell little of other groups" if groups < FEW_GROUPS else ""
        one = "with one group, nothing here tells how another would differ" if groups == 1 else ""
        note = one or few
        text += (
            f"\nCells come in groups, {groups:,} in the hold-out. Intervals are the wider of a "
            "bootstrap of cells and one of whole groups; recall and specificity have those of Korn "
            f"& Graubard (1998){'; ' + note if note else ''}.\n"
        )
    return text


def importance_section(found: Importance | None, *, pictured: bool) -> str:
    """Parameters by importance, and the effect of each choice on each class."""
    if found is None:
        return ""
    rested = f"{found.trials:,} complete trial{'s' * (found.trials != 1)}"
    text = f"## Which choice mattered\n\nFrom {rested}.\n\n"
    if found.parameters:
        rows = [
            [
                f"`{each.name}`",
                f"{100 * each.importance:.0f} %",
                f"{each.trials:,}",
                "yes" if each.p < 1.0 - LEVEL else "no",
            ]
            for each in found.parameters[:MOST_PARAMETERS]
        ]
        text += (
            "Importance for being among the best quarter (PED-ANOVA, Watanabe et al. 2023), as a "
            "share of all, and whether it is more than the largest that the same trials have with "
            "their scores dealt out at random:\n\n"
            + table(("parameter", "importance", "trials", "more than chance"), rows)
            + "\n"
        )
    if found.effects:
        text += (
            "Effect of a choice: mean of the trials that made it less that of those that did not, "
            f"other choices allowed for where trials suffice, with {100 * LEVEL:.0f} % intervals "
            "over trials and cells. *Not distinguishable* from no effect, corrected over all "
            f"{len(found.effects):,} (Holm 1979), is said and not the figure.\n\n"
            + _effects(found)
            + "\n"
        )
    if pictured:
        text += "![which choice mattered](plots/importance.png)\n\n"
    text += "".join(f"- {_sentence(plain(note))}\n" for note in found.notes)
    return text + "\nAll of it as numbers: `importance.json`.\n"


def _effects(found: Importance) -> str:
    columns = list(dict.fromkeys(effect.of for effect in found.effects))
    by: dict[tuple[str, str, str], dict[str, ChoiceEffect]] = {}
    for effect in found.effects:
        by.setdefault((effect.choice, effect.level, effect.reference), {})[effect.of] = effect
    rows = []
    for (choice, level, reference), effects in by.items():
        one = next(iter(effects.values()))
        rows.append(
            [
                f"`{choice}`: {plain(level)}, not {plain(reference)}",
                f"{one.trials:,} / {one.others:,}",
                *(_effect(effects.get(of)) for of in columns),
            ]
        )
    named = [f"recall of {plain(of)}" if of else TITLES[found.metric] for of in columns]
    return table(("choice", "trials with / without", *named), rows)


def _effect(effect: ChoiceEffect | None) -> str:
    if effect is None:
        return ""
    if effect.verdict == "not distinguishable":
        return "not distinguishable"
    figure: Estimate = effect.difference
    return difference(figure)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
