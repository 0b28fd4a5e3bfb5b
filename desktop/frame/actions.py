"""An action of the window as one record; menus, tool bars, shortcuts and what can be used now follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from desktop.frame.context import Context

Condition = Callable[["Context"], bool]

MENUS = ("File", "Edit", "View", "Picture", "Mask", "Repair", "Defects", "Layer", "Help")


def always(_: Context) -> bool:
    """Whatever is open."""
    return True


def with_photo(context: Context) -> bool:
    """A photograph is shown."""
    return context.photo is not None


@dataclass(frozen=True, kw_only=True)
class Action:
    """One command of the window.

    Attributes:
        id: stable name, under which a changed shortcut is remembered.
        text: in the menu.
        menu: title of the menu; empty for none.
        run: what it does.
        toggle: what a switch does, which is told whether it is on now; instead of ``run``.
        enabled: whether it can be used now.
        checked: whether a switch is on now; None: it is on as the user left it.
        words: text and tooltip where they depend on what is chosen.
        shortcuts: in Qt's portable text; the first can be changed.
        tip: tooltip, if the text does not say enough.
        icon: name of an icon.
        group: only one of a group is on: the tools.
        starts_on: a switch that is on when the program starts.
        separator: a line above it in the menu.
        on_canvas: its shortcut holds only while the keyboard is on the picture or the list of defects.
        repeats: again and again while its key is held.
        while_dragging: it can be used while something is dragged on the picture.
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
