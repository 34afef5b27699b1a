"""`datdot simulate`: attack coinflip, audits and chain in a simulation; a seed replays a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from offchain_worker.errors import OperationError, UsageError

app = typer.Typer(no_args_is_help=True, help="Attack coinflip, audits and chain, simulated.")


@app.command(epilog="Example: `datdot simulate coinflip --seed 17 --trace`")
def coinflip(
    seed: Annotated[int | None, typer.Option("--seed", help="Run this one again.", min=0)] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Print one line for each event of that run.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Run seeds for so long.", min=0)
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Run so many seeds.", min=1)
    ] = None,
    first: Annotated[int, typer.Option("--first", help="The first seed.", min=0)] = 0,
    processes: Annotated[
        int | None, typer.Option("--processes", help="How many; all cores if not given.", min=1)
    ] = None,
    twins: Annotated[
        bool,
        typer.Option("--twins", help="Two live copies of one key, another partition each round."),
    ] = False,
) -> None:
    """Run whole coinflips against dishonest seats on bad networks, and check the invariants.

    A round is one challenge from its start to R or Void. Ends with status 1 if an invariant broke;
    the last line is `N rounds, M broken, R rounds/s/core`.
    """
    from offchain_worker.simulation import draw
    from offchain_worker.simulation.campaign import Tally, campaign, table

    chosen = draw.twin_scenario if twins else draw.scenario
    if seed is not None:
        raise typer.Exit(_replay(seed, trace=trace, twins=twins))
    if trace:
        raise UsageError("--trace goes with --seed.")
    if seconds is None and rounds is None:
        seconds = 60.0

    def progress(tally: Tally) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{tally.rounds} rounds, {tally.failures} broken ")

    tally = campaign(
        first=first,
        rounds=rounds,
        seconds=seconds,
        processes=processes,
        draw=chosen,
        progress=progress,
    )
    command = f"datdot simulate coinflip{' --twins' if twins else ''}"
    for line in table(tally, command, whole=not twins):
        typer.echo(line)
    raise typer.Exit(1 if tally.failures else 0)


def _replay(seed: int, *, trace: bool, twins: bool) -> int:
    from offchain_worker.simulation import draw
    from offchain_worker.simulation.invariants import Broken
    from offchain_worker.simulation.trace import Trace, describe_event, describe_scenario
    from offchain_worker.simulation.world import World

    scenario = draw.twin_scenario(seed) if twins else draw.scenario(seed)
    world = World(scenario, Trace(typer.echo) if trace else None)
    for line in describe_scenario(world):
        typer.echo(line)
    try:
        report = world.run()
    except Broken as broken:
        typer.echo(f"{broken.letter} broken: {broken.sentence}")
        if broken.__cause__ is not None:
            import traceback

            typer.echo("".join(traceback.format_exception(broken.__cause__)))
        return 1
    typer.echo(f"the chain: {describe_event(report.verdict)}")
    return 0


@app.command(epilog="Example: `datdot simulate bias --rounds 2000 --plot docs/coinflip-bias.svg`")
def bias(
    rounds: Annotated[
        int, typer.Option("--rounds", help="For each number of seats.", min=1)
    ] = 1_000,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write the picture to this SVG file.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="How many; all cores if not given.", min=1)
    ] = None,
) -> None:
    """Measure how often seats that withhold get their wish, beside the exact figure."""
    from offchain_worker.simulation.bias import bias_table, measure_bias
    from offchain_worker.simulation.plot import bias_plot

    rows = measure_bias(rounds, processes=processes)
    for line in bias_table(rows):
        typer.echo(line)
    if plot is not None:
        try:
            plot.write_text(bias_plot(rows), encoding="utf-8")
        except OSError as error:
            raise OperationError(f"{plot} cannot be written: {error}") from error


@app.command(epilog="Example: `datdot simulate detection --challenges 1000 --seed 1`")
def detection(
    challenges: Annotated[
        int, typer.Option("--challenges", help="For each kind of loss.", min=1)
    ] = 1_000,
    sessions: Annotated[
        int, typer.Option("--sessions", help="Real audited sessions besides.", min=0)
    ] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Replays a run.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how often audits see that chunks are missing, beside the exact figure.

    Ends with status 1 if simulated and exact figures differ by more than chance allows, or if a
    session came to a wrong end.
    """
    import trio

    from offchain_worker.simulation.detection import detection_table, measure_detection, unlikely
    from offchain_worker.simulation.detection_sessions import measure_sessions, sessions_lines

    _log_errors_only()
    rows = measure_detection(challenges, seed=seed)
    held = None
    if sessions:
        held = trio.run(lambda: measure_sessions(sessions, seed=seed))
    figures = [figure for row in rows for figure in row.figures]
    if held is not None:
        figures.append(held.drawn)
    off = unlikely(figures)
    found = {"seed": seed, "losses": rows, "sessions": held, "unlikely": off}
    lines = [
        *detection_table(rows),
        *([] if held is None else sessions_lines(held)),
        f"{len(off)} of {len(figures)} figures are off by more than chance allows",
    ]
    _conclude(found, lines, json=json, good=not off and (held is None or not held.wrong))


@app.command(epilog="Example: `datdot simulate day --hosters 6 --attestors 14 --challenges 60`")
def day(
    hosters: Annotated[int, typer.Option("--hosters", help="How many.", min=1)] = 50,
    attestors: Annotated[
        int, typer.Option("--attestors", help="How many; rosters of 10 from 40 on.", min=8)
    ] = 100,
    challenges: Annotated[
        int, typer.Option("--challenges", help="The day ends after so many.", min=1)
    ] = 2_000,
    seed: Annotated[int, typer.Option("--seed", help="Replays a day.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Live through a day on one chain, where a fifth of all providers cheats in every way.

    The runtime is the real one, so are coinflip, draws, receipts, reports, demands and proofs; time
    is simulated. Then every challenge is recomputed as by `datdot challenge verify`, and every
    balance from that. Ends with status 1 if a balance is not explained, somebody honest lost
    something, the chain took what it must refuse, or a cheat never happened.
    """
    import msgspec

    from offchain_worker.simulation.day.day import Day, DayPlan
    from offchain_worker.simulation.day.verdict import fairness_lines, judge

    _log_errors_only()

    def progress(what: str) -> Callable[[int, int], None]:
        def show(done: int, count: int) -> None:
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{done} of {count} challenges {what} ")

        return show

    lived = Day(DayPlan(hosters, attestors, challenges, seed), progress("settled"))
    lived.run()
    found = judge(lived, progress("verified"))
    plan, said = msgspec.to_builtins(lived.plan), msgspec.to_builtins(found)
    whole = plan | said | {"fair": found.fair}
    _conclude(whole, fairness_lines(lived, found), json=json, good=found.fair)


def _log_errors_only() -> None:
    import logging

    from offchain_worker.service.logs import LogFormat, configure

    configure(LogFormat.TEXT, level=logging.ERROR, stream=sys.stderr)


def _conclude(found: object, lines: Iterable[str], *, json: bool, good: bool) -> NoReturn:
    """Print what was found, as JSON or as lines, and end with status 1 unless it is good."""
    import msgspec

    for line in [msgspec.json.encode(found).decode()] if json else lines:
        typer.echo(line)
    raise typer.Exit(0 if good else 1)
