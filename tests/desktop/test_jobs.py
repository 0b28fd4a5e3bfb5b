"""The job centre: lanes, order, cancelling, failures and crashes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QThread
from pytestqt.qtbot import QtBot

from desktop.work.base import Urgency
from desktop.work.threads import JobCentre, Lane
from engine.errors import SettingsError
from engine.jobs import JobContext, JobState


@pytest.fixture
def centre(qtbot: QtBot) -> Iterator[JobCentre]:
    centre = JobCentre()
    yield centre
    centre.stop()


def test_jobs_of_a_lane_run_in_order_on_a_thread_of_their_own(qtbot: QtBot, centre: JobCentre) -> None:
    order: list[int] = []
    threads: set[object] = set()

    def job(number: int):
        def work(_: JobContext) -> int:
            order.append(number)
            threads.add(QThread.currentThread())
            return number

        return lambda: work

    tickets = [centre.submit(f"job {number}", Lane.COMPUTE, job(number)) for number in range(5)]
    results: list[int] = []
    for ticket in tickets:
        ticket.done.connect(results.append)
    assert all(ticket.state is JobState.WAITING for ticket in tickets)
    with qtbot.waitSignal(tickets[-1].ended):
        pass
    assert order == results == [0, 1, 2, 3, 4]
    assert threads
    assert QThread.currentThread() not in threads


def test_a_job_that_is_not_ready_lets_others_go_first(qtbot: QtBot, centre: JobCentre) -> None:
    order: list[str] = []
    ready: list[bool] = []
    first = centre.submit("first", Lane.COMPUTE, lambda: lambda _: order.append("first"), ready=lambda: bool(ready))
    gone = centre.submit("gone", Lane.COMPUTE, lambda: lambda _: order.append("gone"), ready=lambda: bool(ready))
    second = centre.submit("second", Lane.COMPUTE, lambda: lambda _: order.append("second"))
    with qtbot.waitSignal(second.done):
        pass
    assert first.state is JobState.WAITING
    gone.cancel()
    ready.append(True)
    with qtbot.waitSignal(first.done):
        centre.recheck()
    assert order == ["second", "first"]


def test_the_io_lane_does_not_wait_for_compute(qtbot: QtBot, centre: JobCentre) -> None:
    release = threading.Event()

    def slow(_: JobContext) -> None:
        release.wait(10)

    compute = centre.submit("slow", Lane.COMPUTE, lambda: slow)
    io = centre.submit("save", Lane.IO, lambda: lambda _: "saved")
    with qtbot.waitSignal(io.done):
        pass
    assert compute.state is JobState.RUNNING
    with qtbot.waitSignal(compute.done):
        release.set()


def test_the_input_is_frozen_when_a_job_gets_its_turn(qtbot: QtBot, centre: JobCentre) -> None:
    shared = [0]

    def job():
        seen = shared[0]
        return lambda _: seen

    results: list[int] = []
    first = centre.submit("first", Lane.COMPUTE, job)
    first.done.connect(lambda value: shared.__setitem__(0, value + 10))
    second = centre.submit("second", Lane.COMPUTE, job)
    second.done.connect(results.append)
    with qtbot.waitSignal(second.ended):
        pass
    assert results == [10]


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_soon(qtbot: QtBot, centre: JobCentre) -> None:
    started = threading.Event()

    def endless(context: JobContext) -> None:
        started.set()
        while True:
            context.check()

    running = centre.submit("running", Lane.COMPUTE, lambda: endless)
    waiting = centre.submit("waiting", Lane.COMPUTE, lambda: pytest.fail)
    qtbot.waitUntil(started.is_set)
    waiting.cancel()
    assert waiting.state is JobState.CANCELLED
    with qtbot.waitSignal(running.cancelled):
        running.cancel()
    running.cancel()
    after = centre.submit("after", Lane.COMPUTE, lambda: lambda _: 1)
    with qtbot.waitSignal(after.done):
        pass


def test_expected_failures_and_crashes_go_different_ways(qtbot: QtBot, centre: JobCentre) -> None:
    def failing(_: JobContext) -> None:
        raise SettingsError("no", "x")

    def crashing(_: JobContext) -> None:
        raise ZeroDivisionError

    crashes: list[object] = []
    centre.crashed.connect(crashes.append)
    ticket = centre.submit("fails", Lane.COMPUTE, lambda: failing)
    with qtbot.waitSignal(ticket.failed) as failed:
        pass
    assert failed.args[0].text() == "no"
    assert crashes == []
    ticket = centre.submit("crashes", Lane.COMPUTE, lambda: crashing)
    with qtbot.waitSignal(centre.crashed):
        pass
    assert isinstance(crashes[0], ZeroDivisionError)


def test_a_job_that_cannot_be_prepared_fails_and_the_next_one_runs(qtbot: QtBot, centre: JobCentre) -> None:
    def unprepared():
        raise SettingsError("turned", "x")

    first = centre.submit("first", Lane.COMPUTE, unprepared)
    second = centre.submit("second", Lane.COMPUTE, lambda: lambda _: 2)
    with qtbot.waitSignals([first.failed, second.done]):
        pass


def test_a_job_that_crashes_while_it_is_prepared_is_reported_and_the_next_one_runs(
    qtbot: QtBot, centre: JobCentre
) -> None:
    def broken():
        raise ZeroDivisionError

    first = centre.submit("first", Lane.COMPUTE, broken)
    second = centre.submit("second", Lane.COMPUTE, lambda: lambda _: 2)
    with qtbot.waitSignals([centre.crashed, first.crashed, first.ended, second.done]):
        pass
    assert first.state is JobState.FAILED


def test_progress_reaches_the_ticket(qtbot: QtBot, centre: JobCentre) -> None:
    def work(context: JobContext) -> None:
        for step in range(1000):
            context.progress(step / 1000, "working")
        context.progress(1.0, "done")

    ticket = centre.submit("work", Lane.COMPUTE, lambda: work)
    seen: list[float] = []
    ticket.changed.connect(lambda: seen.append(ticket.progress))
    with qtbot.waitSignal(ticket.done):
        pass
    assert ticket.progress == 1.0
    assert seen == sorted(seen)
    assert len(seen) < 200


def test_stopping_cancels_everything(qtbot: QtBot) -> None:
    centre = JobCentre()
    started = threading.Event()

    def endless(context: JobContext) -> None:
        started.set()
        while True:
            context.check()

    centre.submit("running", Lane.COMPUTE, lambda: endless)
    waiting = centre.submit("waiting", Lane.COMPUTE, lambda: pytest.fail)
    qtbot.waitUntil(started.is_set)
    centre.stop()
    assert waiting.state is JobState.CANCELLED


def test_a_more_urgent_job_is_done_within_the_next_step_of_the_one_that_runs(qtbot: QtBot, centre: JobCentre) -> None:
    order: list[str] = []
    running, release = threading.Event(), threading.Event()

    def long(context: JobContext) -> None:
        running.set()
        assert release.wait(10)
        for step in range(3):
            context.progress(step / 3, "step")
            order.append(f"step {step}")

    whole = centre.submit("whole", Lane.COMPUTE, lambda: long)
    second = centre.submit("second", Lane.COMPUTE, lambda: lambda _: order.append("second"))
    qtbot.waitUntil(running.is_set)
    repair = centre.submit("repair", Lane.COMPUTE, lambda: lambda _: order.append("repair"), urgency=Urgency.REPAIR)
    qtbot.waitUntil(lambda: repair.state is JobState.RUNNING)
    release.set()
    with qtbot.waitSignal(second.done):
        pass
    assert whole.state is JobState.DONE
    assert order == ["repair", "step 0", "step 1", "step 2", "second"]


def test_a_job_interrupts_only_less_urgent_ones(qtbot: QtBot, centre: JobCentre) -> None:
    order: list[str] = []
    begun = {name: threading.Event() for name in ("whole", "repair")}
    go = {name: threading.Event() for name in ("whole", "repair")}

    def job(name: str):
        def work(context: JobContext) -> None:
            if name in begun:
                begun[name].set()
                assert go[name].wait(10)
            context.progress(0.5)
            order.append(name)

        return lambda: work

    centre.submit("whole", Lane.COMPUTE, job("whole"))
    qtbot.waitUntil(begun["whole"].is_set)
    repair = centre.submit("repair", Lane.COMPUTE, job("repair"), urgency=Urgency.REPAIR)
    qtbot.waitUntil(lambda: repair.state is JobState.RUNNING)
    go["whole"].set()
    qtbot.waitUntil(begun["repair"].is_set)
    centre.submit("another", Lane.COMPUTE, job("another"), urgency=Urgency.REPAIR)
    hand = centre.submit("hand", Lane.COMPUTE, job("hand"), urgency=Urgency.HAND)
    qtbot.waitUntil(lambda: hand.state is JobState.RUNNING)
    go["repair"].set()
    qtbot.waitUntil(lambda: len(order) == 4)
    assert order[:2] == ["hand", "repair"]
    assert set(order[2:]) == {"whole", "another"}


def test_an_interrupting_job_that_fails_or_is_cancelled_leaves_the_interrupted_one_alone(
    qtbot: QtBot, centre: JobCentre
) -> None:
    running, release = threading.Event(), threading.Event()

    def long(context: JobContext) -> str:
        running.set()
        assert release.wait(10)
        context.progress(0.5)
        return "done"

    def failing(_: JobContext) -> None:
        raise SettingsError("No.", "test.no")

    results: list[str] = []
    whole = centre.submit("whole", Lane.COMPUTE, lambda: long)
    whole.done.connect(results.append)
    qtbot.waitUntil(running.is_set)
    fails = centre.submit("fails", Lane.COMPUTE, lambda: failing, urgency=Urgency.HAND)
    gone = centre.submit("gone", Lane.COMPUTE, lambda: pytest.fail, urgency=Urgency.HAND)
    qtbot.waitUntil(lambda: fails.state is JobState.RUNNING)
    gone.cancel()
    release.set()
    with qtbot.waitSignal(whole.ended):
        pass
    assert fails.state is JobState.FAILED
    assert gone.state is JobState.CANCELLED
    assert results == ["done"]


def test_a_drive_that_does_not_answer_holds_up_neither_other_lanes_nor_the_end(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desktop.work.threads._BACKGROUND_SECONDS", 0.01)
    centre, asked, answer = JobCentre(), threading.Event(), threading.Event()

    def ask(_: JobContext) -> None:
        asked.set()
        assert answer.wait(60)

    centre.submit("asks", Lane.BACKGROUND, lambda: ask)
    qtbot.waitUntil(asked.is_set)
    with qtbot.waitSignal(centre.submit("works", Lane.COMPUTE, lambda: lambda _: None).done):
        pass
    assert not centre.stop()
    answer.set()
    assert centre._lanes[Lane.BACKGROUND].wait(10_000)
    assert centre.stop()
