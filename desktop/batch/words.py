"""What the window of batches says: states, counts and times in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from PySide6.QtCore import QCoreApplication

from engine.batch.rows import CHIPS, Row, State

_STATES = {
    State.PENDING: "waiting",
    State.RUNNING: "working",
    State.DONE: "done",
    State.UP_TO_DATE: "up to date",
    State.FAILED: "failed",
    State.FOUND: "to review",
    State.CANCELLED: "cancelled",
}
_LEFT_OUT = {
    "junk": "{0} hidden or of the system",
    "no picture": "{0} no pictures",
    "output": "{0} results of Lacuna",
    "twice": "{0} listed already",
    "unreadable": "{0} unreadable",
}


def words(text: str) -> str:
    """A translated text of this room."""
    return QCoreApplication.translate("batch", text)


def state_title(state: State) -> str:
    """A state in one or two words."""
    return words(_STATES[state])


def counts_in_words(counts: Mapping[State, int], decided: int = 0) -> str:
    """How many scans have each state, as a part of a sentence; only states that some have.

    Args:
        counts: the number of scans of each state.
        decided: how many of those that were looked through are decided about.
    """
    shown = (
        State.RUNNING,
        State.DONE,
        State.UP_TO_DATE,
        State.FAILED,
        State.CANCELLED,
        State.PENDING,
    )
    parts = [f"{counts[state]:,} {state_title(state)}" for state in shown if counts.get(state)]
    if decided:
        parts.append(words("{0:,} decided").format(decided))
    if waiting := counts.get(State.FOUND, 0) - decided:
        parts.append(words("{0:,} to review").format(waiting))
    return ", ".join(parts)


def added_in_words(added: int, left_out: Mapping[str, int]) -> str:
    """What a drop of files and folders added, and what it left out, in a sentence or two."""
    said = words("Added one scan.") if added == 1 else words("Added {0:,} scans.").format(added)
    parts = [words(_LEFT_OUT[reason]).format(f"{count:,}") for reason, count in left_out.items() if count]
    if not parts:
        return said
    return f"{said} {words('Left out')}: {', '.join(parts)}."


def found_in_words(row: Row) -> str:
    """What was found in a scan: the number of damages, most frequent first; empty if it was not looked for."""
    found = row.outcome.found if row.outcome is not None and (row.state in _LOOKED or is_looked_through(row)) else {}
    if not found and is_looked_through(row):
        return words("no damage")
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {count:,}" for kind, count in ordered)


_LOOKED = (State.DONE, State.UP_TO_DATE)


def is_looked_through(row: Row) -> bool:
    """Whether a scan was looked through, and is not healed yet."""
    if row.state is State.FOUND:
        return True
    return row.state is State.PENDING and row.outcome is not None and row.outcome.state is State.FOUND


def is_decided(row: Row) -> bool:
    """Whether a scan is healed by the next run, because a person has decided about what was found in it."""
    return row.decided and is_looked_through(row)


def waiting_in_words(files: int, defects: int) -> str:
    """How many scans wait for decisions, with how many defects."""
    pictures = words("1 picture waits for you") if files == 1 else words("{0:,} pictures wait for you").format(files)
    found = words("1 defect") if defects == 1 else words("{0:,} defects").format(defects)
    return f"{pictures}, {found}"


def decisions_in_words(row: Row) -> str:
    """How far the decisions about a scan are; empty if it was not looked through, or nothing is decided yet."""
    numbers = row.numbers
    if not is_looked_through(row):
        return ""
    if row.decided:
        if not numbers.accepted:
            return words("Nothing to heal")
        return words("To heal: {0:,} of {1:,}").format(numbers.accepted, numbers.found)
    done = numbers.accepted + numbers.kept
    return words("{0:,} of {1:,} decided").format(done, numbers.found) if done else ""


def chips_of(row: Row) -> tuple[str, ...]:
    """Why a person should look at what was found in a scan, each in a few words; empty once it is decided."""
    chips = row.outcome.chips if row.outcome is not None and is_looked_through(row) and not row.decided else ()
    return tuple(words(CHIPS[chip]) for chip in chips if chip in CHIPS)


def told_in_words(row: Row) -> str:
    """What was done with a scan in a few words, or why it failed in a sentence."""
    outcome = row.outcome
    if is_looked_through(row):
        return decisions_in_words(row)
    if outcome is None or row.state in (State.PENDING, State.RUNNING):
        return ""
    if row.state is State.FAILED:
        return outcome.reason
    if row.state is State.UP_TO_DATE and not outcome.steps:
        return words("The result was there already.")
    from engine.tasks import TASKS

    def titles(tasks: Iterable[str]) -> str:
        return ", ".join(TASKS[task].title for task in tasks if task in TASKS and TASKS[task].gives != "findings")

    done, left = titles(outcome.steps), titles(outcome.left_out)
    said = done or words("Nothing was changed")
    return words("{0}; left out: {1}").format(said, left) if left else said


def details_of(row: Row) -> str:
    """All sentences about what became of a scan, a line each."""
    outcome, chips = row.outcome, chips_of(row)
    lines = [words("Look at it: {0}.").format(", ".join(chips))] if chips else []
    if row.renamed:
        lines.append(words("Another result has the name of the template, so this one gets a name of its own."))
    if outcome is not None and row.state not in (State.PENDING, State.RUNNING):
        lines += [outcome.reason, *outcome.left_out.values(), *outcome.notices]
    return "\n".join(dict.fromkeys(line for line in lines if line))
