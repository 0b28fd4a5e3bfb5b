"""The Edit menu: undo, shortcuts and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always

if TYPE_CHECKING:
    from desktop.frame.context import Context


def _can_undo(context: Context) -> bool:
    photo = context.photo
    return photo is not None and (photo.undo.canUndo() or photo.queue.can_cancel_latest)


def _undo(context: Context) -> None:
    """Cancel the job that was queued last, if it is later than the last undo step; otherwise undo that step."""
    photo = context.photo
    if photo is None:
        return
    if photo.queue.cancel_latest():
        context.strip.say(context.window.tr("The repair was cancelled."))
    else:
        photo.undo.undo()


def _redo(context: Context) -> None:
    if context.photo is not None:
        context.photo.undo.redo()


def _ask_settings(context: Context) -> None:
    from desktop.dialogs.settings import SettingsDialog, copy_look

    look = SettingsDialog.ask(context.window, context.store.settings.look)
    if look is not None:
        copy_look(context.store.settings.look, look)
        context.store.save()
        context.apply_look()


ACTIONS = (
    Action(
        id="undo",
        menu="Edit",
        text="Undo",
        run=_undo,
        enabled=_can_undo,
        shortcuts=("Ctrl+Z",),
        icon="undo",
        repeats=True,
    ),
    Action(
        id="redo",
        menu="Edit",
        text="Redo",
        run=_redo,
        enabled=lambda context: context.photo is not None and context.photo.undo.canRedo(),
        shortcuts=("Ctrl+Shift+Z", "Ctrl+Y"),
        icon="redo",
        repeats=True,
    ),
    Action(
        id="shortcuts",
        menu="Edit",
        text="Shortcuts…",
        run=lambda context: context.ask_shortcuts(),
        enabled=always,
        shortcuts=("Ctrl+Alt+K",),
        separator=True,
        while_dragging=True,
    ),
    Action(
        id="settings",
        menu="Edit",
        text="Settings…",
        run=_ask_settings,
        enabled=always,
        shortcuts=("Ctrl+,",),
        while_dragging=True,
    ),
)
