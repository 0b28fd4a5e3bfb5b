"""The record of an action of the window, from which menus, tool bars, shortcuts and enabled states are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desktop.frame.context import Context

Condition = Callable[["Context"], bool]

MENUS = ("File", "Edit", "View", "Picture", "Mask", "Repair", "Defects", "Layer", "Help")


def always(_: Context) -> bool:
    """Enabled even without a photograph."""
    return True


def with_photo(context: Context) -> bool:
    """Enabled while a photograph is shown."""
    return context.photo is not None


@dataclass(frozen=True, kw_only=True)
class Action:
    """One command of the window.

    Attributes:
        id: stable name, under which a changed shortcut is saved.
        text: in the menu.
        menu: title of the menu; empty for none.
        run: called when it is triggered.
        toggle: for a checkable action, instead of ``run``; called with whether it is checked now.
        enabled: whether it can be used now.
        checked: whether a checkable action is checked now; None: as the user left it.
        words: text and tooltip, if they depend on the context.
        shortcuts: in Qt's portable text; the first can be changed by the user.
        tip: tooltip, if the text does not say enough.
        icon: name of an icon.
        group: name of a group of which exactly one action is checked, such as the tools.
        starts_on: whether a checkable action is checked when the program starts.
        separator: whether there is a line above it in the menu.
        on_canvas: its shortcut works only while the picture or the list of defects has the keyboard focus.
        repeats: whether it is repeated while its key is held.
        while_dragging: whether it can be used during a drag on the picture.
        offered: whether this installation has it; asked once, when the menus are made.
    """

    id: str
    text: str
    menu: str = ""
    run: Callable[[Context], object] | None = None
    toggle: Callable[[Context, bool], object] | None = None
    enabled: Condition = with_photo
    checked: Condition | None = None
    words: Callable[[Context], tuple[str, str]] | None = None
    shortcuts: tuple[str, ...] = ()
    tip: str = ""
    icon: str = ""
    group: str = ""
    starts_on: bool = False
    separator: bool = False
    on_canvas: bool = False
    repeats: bool = False
    while_dragging: bool = False
    offered: Callable[[], bool] = lambda: True
