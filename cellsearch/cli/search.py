"""``cellsearch run`` and ``cellsearch resume``: the whole job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellsearch.cli import completion
from cellsearch.cli.options import (
    Abstain,
    Channels,
    Json,
    Merge,
    Mirror,
    OneVsRest,
    Only,
    ReaderOptions,
    RunArgument,
    Sets,
    Variant,
    reader_options,
    task_options,
)

if TYPE_CHECKING:
    from cellsearch.run.nested import NestedResult
    from cellsearch.run.search import SearchResult

Budget = Annotated[int | None, typer.Option(help="Trials to complete, the baseline included.")]
Time = Annotated[
    str | None, typer.Option(help="Time limit of the search, such as 30m.", metavar="SPAN")
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--max-concurrent-trials",
        help="How many trials may run at the same time; default: one per core.",
        metavar="N",
    ),
]
Threads = Annotated[int | None, typer.Option(help="Threads per trial.")]
Address = Annotated[str | None, typer.Option(help="An existing Ray cluster.", metavar="HOST:PORT")]
Backend = Annotated[
    str,
    typer.Option(help="What runs the trials: ray or local.", autocompletion=completion.backends),
]


def run(
    dataset: Annotated[
        str,
        typer.Option(
            help="A built-in name, a manifest, or a folder, table or file of cells.",
            autocompletion=completion.datasets,
        ),
    ],
    space: Annotated[
        str,
        typer.Option(
            help="A built-in search space, or a YAML file.", autocompletion=completion.spaces
        ),
    ] = "default",
    init_from: Annotated[
        Path | None,
        typer.Option(
            help="Warm start: a card whose weights the networks start from.",
            metavar="CARD",
            autocompletion=completion.cards,
        ),
    ] = None,
    budget: Budget = None,
    time: Time = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the run (default runs/<dataset>-<date>-<n>)."),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="balanced_accuracy, macro_f1, weighted_f1, mcc, worst_recall or accuracy.",
            autocompletion=completion.metrics,
        ),
    ] = "balanced_accuracy",
    variant: Variant = None,
    mirror: Mirror = None,
    option: ReaderOptions = None,
    channels: Channels = None,
    merge: Merge = None,
    only: Only = None,
    one_vs_rest: OneVsRest = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of the cross-validation (default 5).")
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Share of cells the search never sees (default 0.2).")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="One fixed split instead of folds: training/validation/hold-out in percent.",
            metavar="70/10/20",
        ),
    ] = None,
    rare: Annotated[
        str,
        typer.Option(
            help="Classes too small for the folds: keep, drop or merge=NAME.",
            autocompletion=completion.rare,
        ),
    ] = "refuse",
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="Run although `datasets check` finds this kind of error; may be given several "
            "times.",
            metavar="FINDING",
            autocompletion=completion.findings,
        ),
    ] = None,
    final: Annotated[
        str,
        typer.Option(
            help="The card's model: refit (trained again on all folds) or ensemble (of their "
            "networks).",
            autocompletion=completion.finals,
        ),
    ] = "refit",
    abstain: Abstain = None,
    sets: Sets = None,
    seed: Annotated[int, typer.Option(help="Seed of splits, draws and training.")] = 0,
    backend: Backend = "ray",
    slots: Slots = None,
    threads: Threads = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or mps.", autocompletion=completion.devices)
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="Number format of training: auto takes the fastest for each trial; fp32 with "
            "--max-concurrent-trials 1 is reproducible on a CPU; also bf16, each with "
            "+channels_last.",
            autocompletion=completion.precisions,
        ),
    ] = "auto",
    storage: Annotated[
        str | None, typer.Option(help="Database of the study (default SQLite in the run folder).")
    ] = None,
    address: Address = None,
    race: Annotated[
        bool,
        typer.Option("--race/--no-race", help="Stop trials early that are very probably worse."),
    ] = True,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Start a new run although an unfinished one like it could be resumed."
        ),
    ] = False,
    outer: Annotated[
        int | None,
        typer.Option(
            help="Repeat the whole search in K outer folds; each cell is held out once.",
            metavar="K",
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="Repeat the whole search on R newly drawn hold-outs.", metavar="R"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search, refit the winner, score the hold-out once, and write a model card.

    With --json, prints one document at the end: verdict, figures and the folder of the card.

    Example: cellsearch run --dataset demo --space quick --budget 10

    Example: cellsearch run --dataset cells.yaml --time 2h --rare keep --abstain coverage=0.9
    """
    from cellsearch.run.config import RunConfig
    from cellsearch.run.search import start
    from cellsearch.terminal.progress import Terminal
    from cellsearch.util.durations import seconds

    parts = {"folds": folds, "holdout": holdout, "split": split}
    config = RunConfig.of(
        dataset=dataset,
        space=space,
        init_from=init_from,
        budget=budget if budget is not None or time else 50,
        seconds=seconds(time) if time else None,
        metric=metric,
        variant=variant,
        mirror=mirror,
        options=reader_options(option),
        **task_options(channels, merge, only, one_vs_rest),
        **{name: value for name, value in parts.items() if value is not None},
        rare=rare,
        accept=tuple(accept or ()),
        final=final,
        abstain=abstain,
        sets=sets,
        seed=seed,
        backend=backend,
        slots=slots,
        threads=threads,
        device=device,
        precision=precision,
        storage=storage,
        address=address,
        race=race,
    )
    command = shlex.join(["cellsearch", *sys.argv[1:]])
    if outer is not None or repeats is not None:
        from cellsearch.run.nested import nested_search

        nested = nested_search(
            config, outer=outer, repeats=repeats, out=out, observer=Terminal(), command=command
        )
        _nested_ends(nested, as_json=as_json)
        return
    result = start(config, out=out, fresh=fresh, observer=Terminal(), command=command)
    _ends(result, metric, as_json=as_json)


def resume(
    run: RunArgument,
    budget: Budget = None,
    time: Time = None,
    slots: Slots = None,
    threads: Threads = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="What runs the trials: ray or local.", autocompletion=completion.backends
        ),
    ] = None,
    address: Address = None,
    abstain: Abstain = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Resume an interrupted run. Finished trials are kept.

    Example: cellsearch resume runs/jurkat-2026-11-21-1 --budget 100
    """
    from cellsearch.run.folder import is_nested, read_record
    from cellsearch.run.history import require_run
    from cellsearch.run.nested import resume_nested
    from cellsearch.run.search import resume
    from cellsearch.terminal.progress import Terminal
    from cellsearch.util.durations import seconds

    changes = {
        "budget": budget,
        "seconds": seconds(time) if time else None,
        "slots": slots,
        "threads": threads,
        "backend": backend,
        "address": address,
        "abstain": abstain,
        "sets": sets,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    require_run(run, repeated=True)
    if is_nested(run):
        _nested_ends(resume_nested(run, observer=Terminal(), **given), as_json=as_json)
        return
    command = shlex.join(["cellsearch", *sys.argv[1:]])
    result = resume(run, observer=Terminal(), command=command, **given)
    _ends(result, read_record(result.folder).config.metric, as_json=as_json)


def _ends(result: SearchResult, metric: str, *, as_json: bool) -> None:
    from cellsearch.cli.json_output import result_facts
    from cellsearch.terminal.results import run_result
    from cellsearch.terminal.tables import say_json

    if as_json:
        say_json(result_facts(result, metric))
    else:
        run_result(result, metric)
    if result.interrupted:
        raise typer.Exit(130)


def _nested_ends(nested: NestedResult, *, as_json: bool) -> None:
    from cellsearch.cli.json_output import nested_facts
    from cellsearch.terminal.results import nested_result
    from cellsearch.terminal.tables import say_json

    if as_json:
        say_json(nested_facts(nested))
    else:
        nested_result(nested)
    if nested.interrupted:
        raise typer.Exit(130)
