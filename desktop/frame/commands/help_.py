"""The Help menu."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always
from engine.resources import build

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


def check_computer(context: Context) -> None:
    """Show the window that tests this computer, and start the test."""
    from desktop.dialogs.doctor import DoctorWindow

    window = context.open_window(DoctorWindow, lambda: DoctorWindow(context.window, context.jobs, context.registry))
    window.start()


def show_crashes(context: Context) -> None:
    """Show the reports of crashes."""
    from desktop.dialogs.crashes import CrashesWindow

    context.open_window(CrashesWindow, lambda: CrashesWindow(context.window, context.crashes)).fill()


def _releases() -> str:
    made = build()
    return made.releases if made is not None else ""


def _check_updates(context: Context) -> None:
    from PySide6.QtCore import QUrl
    from PySide6.QtGui import QDesktopServices

    if not QDesktopServices.openUrl(QUrl(_releases())):
        context.strip.say(context.window.tr("The system has no browser. The page is {0}.").format(_releases()))


def _about(context: Context) -> None:
    from desktop.dialogs.about import AboutWindow
    from desktop.frame.commands import repair

    def make() -> AboutWindow:
        window = AboutWindow(context.window)
        window.models_wanted.connect(partial(repair.show_models, context))
        return window

    context.open_window(AboutWindow, make)


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
        run=check_computer,
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
    Action(
        id="crashes",
        menu="Help",
        text="Crash Reports…",
        run=show_crashes,
        enabled=always,
        tip="Read what was kept of crashes; it is sent nowhere",
        while_dragging=True,
    ),
    Action(
        id="updates",
        menu="Help",
        text="Check for Updates…",
        run=_check_updates,
        enabled=always,
        tip="Open the page with all releases in the browser",
        separator=True,
        while_dragging=True,
        offered=lambda: bool(_releases()),
    ),
    Action(id="about", menu="Help", text="About Lacuna", run=_about, enabled=always, while_dragging=True),
)
