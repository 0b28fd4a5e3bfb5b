"""The Help menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always

if TYPE_CHECKING:
    from desktop.frame.context import Context


def _show_log(context: Context) -> None:
    from desktop.frame.notifier import show_log

    if not show_log():
        context.strip.say(context.window.tr("The system has no program that shows the log."))


def show(context: Context, page: str) -> None:
    """Show a page of the help."""
    from desktop.dialogs.help import HelpWindow

    context.open_window(HelpWindow, lambda: HelpWindow(context.window)).show_page(page)


def _check_computer(context: Context) -> None:
    from desktop.dialogs.doctor import DoctorWindow

    window = context.open_window(DoctorWindow, lambda: DoctorWindow(context.window, context.jobs, context.registry))
    window.start()


def _about(context: Context) -> None:
    from desktop.dialogs.questions import Questions

    Questions.about(context.window)


ACTIONS = (
    Action(
        id="help",
        menu="Help",
        text="Lacuna Help",
        run=lambda context: show(context, "start.md"),
        shortcuts=("F1",),
        enabled=always,
        tip="What to do first, batches, and all that is not obvious",
        while_dragging=True,
    ),
    Action(
        id="doctor",
        menu="Help",
        text="Check This Computer…",
        run=_check_computer,
        enabled=always,
        tip="Test every model, and see what it runs on and how fast",
        while_dragging=True,
    ),
    Action(
        id="log",
        menu="Help",
        text="Show Log",
        run=_show_log,
        enabled=always,
        tip="Open the file with all messages and problems",
        while_dragging=True,
    ),
    Action(id="about", menu="Help", text="About Lacuna", run=_about, enabled=always, while_dragging=True),
)
