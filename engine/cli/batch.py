"""The subcommand batch: the same recipe on many scans."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.common import Command, add_device_argument, add_format_arguments
from engine.errors import WriteError
from engine.jobs import Cancelled, JobContext

if TYPE_CHECKING:
    from engine.batch import Batch
    from engine.batch.rows import Outcome, Row
    from engine.batch.run import BatchRun
    from engine.batch.table import JobTable


def _batch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="scans and folders of scans")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--recipe",
        default="standard",
        metavar="NAME|FILE.toml",
        help="gentle, standard, strong, one of your own, or a recipe file (default: standard)",
    )
    parser.add_argument("--workers", type=_count, metavar="N", help="processes (default: by cores and memory)")
    parser.add_argument(
        "--exists",
        choices=["skip", "keep", "replace"],
        default="skip",
        help="where a result exists: skip it if scan, recipe and models are the same, and else replace it (default); "
        "keep both; replace it",
    )
    parser.add_argument(
        "--name",
        default="{name}",
        metavar="TEMPLATE",
        help="names of the results, of {name} {recipe} {date} {n:0000} {parent} (default: {name})",
    )
    parser.add_argument("--format", metavar="EXT", help="format of the results (default: that of a scan, if lossless)")
    add_format_arguments(parser)
    add_device_argument(parser)
    first = parser.add_mutually_exclusive_group()
    first.add_argument(
        "--review",
        action="store_true",
        help="look through the scans that are not decided about yet (see lacuna review), and heal those that are",
    )
    first.add_argument(
        "--detect-only", action="store_true", help="only write a mask of what the recipe would heal for each scan"
    )
    parser.add_argument(
        "--watch", action="store_true", help="then go on with what comes into the folders, until it is ended"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="work on a Dask cluster, such as tcp://host:8786 (extra cluster)"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="folder of the report (default: below the results)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="table of the batch (default: beside the report)")


def _count(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 256:
        raise argparse.ArgumentTypeError(f"{word} is not a whole number from 1 to 256")
    return int(word)


def _batch(options: argparse.Namespace, context: JobContext) -> int:
    from engine.batch import Cluster, Listener, open_batch
    from engine.batch.plan import plan_of
    from engine.batch.rows import State
    from engine.batch.watch import Settled, watch

    suffix = f".{options.format.lstrip('.').lower()}" if options.format else ""
    plan = plan_of(
        options.recipe,
        template=options.name,
        suffix=suffix,
        depth=options.depth,
        quality=options.quality,
        profile=options.profile,
        device=options.device,
        exists=options.exists,
        review=options.review,
        detect_only=options.detect_only,
    )
    settled, ending = Settled() if options.watch else None, threading.Event()
    runs: list[BatchRun] = []
    with contextlib.ExitStack() as stack:
        batch = stack.enter_context(
            open_batch(options.inputs, options.output, plan, options.table, options.report, settled, context.check)
        )
        cluster = stack.enter_context(Cluster(options.scheduler)) if options.scheduler else None

        def new_run() -> BatchRun:
            teller = _Teller(batch.table, context)
            listener = Listener(teller.finished, teller.progress, teller.notice)
            runs.append(batch.cluster_runner(cluster, listener) if cluster else batch.runner(options.workers, listener))
            if ending.is_set():
                runs[-1].stop(now=True)
            return runs[-1]

        def end() -> None:
            ending.set()
            for run in runs[-1:]:
                run.stop(now=True)

        try:
            with context.on_cancel(end):
                if options.watch:
                    watch(batch, new_run, ending, _say)
                else:
                    new_run().run()
        finally:
            # Who breaks a run off does not want to wait for the report of all scans; a watch ends in no other way.
            _report(batch, written=options.watch or not ending.is_set())
            _tell_waiting(batch)
        unread = batch.table.ignored().get("unreadable", 0)
        if unread:
            _say(f"{unread} files or folders could not be looked into.")
        return 3 if unread or batch.table.counts()[State.FAILED] else 0


def _report(batch: Batch, *, written: bool) -> None:
    """Tell how the run ended, and write the report; that it cannot be written must not hide that."""
    from engine.batch.report import counts_in_words, report_counts

    _say(f"{counts_in_words(report_counts(batch.table))}.")
    if not written:
        return
    try:
        _say(f"Report: {batch.write_report()}")
    except WriteError as error:
        _say(error.text())


def _tell_waiting(batch: Batch) -> None:
    """Say how many scans wait for decisions, and how to decide."""
    from engine.batch import TABLE, report_folder

    files, defects = batch.table.waiting()
    if not files:
        return
    place = batch.folder if batch.table.path == report_folder(batch.folder) / TABLE else batch.table.path
    which = "it" if files == 1 else "them"
    then = "The same command" + (" without --detect-only" if batch.plan.detect_only else "")
    _say(
        f"{files:,} {'file waits' if files == 1 else 'files wait'} for decisions about {defects:,} "
        f"{'defect' if defects == 1 else 'defects'}. Decide about {which} with lacuna review {place} "
        f"--accept certain|all|none, or in the window. {then} then heals what was accepted."
    )


def _say(sentence: str) -> None:
    """Print on stderr. A closed terminal or pipe must not end a batch."""
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr)


class _Teller:
    """Tells on stderr what became of each scan, and how far the batch is."""

    def __init__(self, table: JobTable, context: JobContext) -> None:
        from engine.batch.pace import Pace

        left, self._all = table.pending()
        self._context, self._pace, self._done = context, Pace(left), 0
        self._shares: dict[int, float] = {}

    def finished(self, row: Row, outcome: Outcome) -> None:
        self._shares.pop(row.id, None)
        from engine.batch.rows import State

        self._done += 1
        self._pace.finished(row.size, worked=outcome.state is not State.UP_TO_DATE)
        words = {State.DONE: "done", State.UP_TO_DATE: "up to date", State.FOUND: "looked through"}
        word = words.get(outcome.state, "failed")
        said = f"{word}: {row.relative}"
        if outcome.state is State.FAILED:
            said += f": {outcome.reason}"
        elif outcome.state is State.DONE:
            said += f" -> {row.output} ({outcome.seconds:.1f} s)"
        elif outcome.state is State.FOUND:
            said += f": {_found_in_words(outcome)} ({outcome.seconds:.1f} s)"
        _say(said)
        self._show()

    def progress(self, row: Row, share: float, _step: str) -> None:
        self._shares[row.id] = share
        self._show()

    def notice(self, sentence: str) -> None:
        _say(sentence)

    def _show(self) -> None:
        share = (self._done + sum(self._shares.values())) / max(1, self._all)
        seconds = self._pace.seconds_left()
        from engine.batch.pace import duration

        left = "" if seconds is None else f", {duration(seconds).text()} left"
        # The run itself ends when it is cancelled.
        with contextlib.suppress(Cancelled):
            self._context.progress(share, f"{self._done} of {self._all}{left}")


def _found_in_words(outcome: Outcome) -> str:
    from engine.batch.rows import CHIPS

    count = sum(outcome.found.values())
    found = ", ".join(f"{kind} {number}" for kind, number in sorted(outcome.found.items())) or "no damage"
    reasons = "; ".join(CHIPS[name] for name in outcome.chips)
    said = f"{found} ({reasons})" if reasons else found
    return " ".join([f"{count:,} found:" if count else "", said, *outcome.notices]).strip()


COMMANDS = (
    Command("batch", "restore many scans and whole folders by a recipe", _batch_arguments, _batch, own_status=True),
)
