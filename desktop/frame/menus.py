"""Makes Qt actions from the action records: menus, shortcuts, tooltips and enabled states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSignalBlocker, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from desktop.frame.actions import MENUS, Action
from desktop.theme import icon

if TYPE_CHECKING:
    from desktop.frame.context import Context


class Menus(QObject):
    """The actions of one window. GUI thread. All are disabled until ``connect_to``.

    Args:
        window: gets the menus.
        actions: the records, in the order of the menus.
        shortcuts: changed shortcuts, id -> key in portable text.

    Attributes:
        actions: the records.
        by_id: the Qt actions by id.
        menus: the menus by title.
        recent: the menu of recent files.
    """

    def __init__(self, window: QMainWindow, actions: Sequence[Action], shortcuts: Mapping[str, str]) -> None:
        super().__init__(window)
        self._window, self.actions = window, actions
        self.by_id: dict[str, QAction] = {}
        self.menus: dict[str, QMenu] = {title: window.menuBar().addMenu("&" + window.tr(title)) for title in MENUS}
        self.recent = QMenu(window.tr("Open Recent"), window)
        self._groups: dict[str, QActionGroup] = {}
        self._context: Context | None = None
        for action in actions:
            self._add(action)
        self.set_shortcuts(shortcuts)
        self._show_tips()

    def _add(self, action: Action) -> None:
        qt_action = QAction(self.tr(action.text), self._window)
        qt_action.setAutoRepeat(action.repeats)
        qt_action.setCheckable(action.toggle is not None or bool(action.group))
        qt_action.setEnabled(False)
        qt_action.setVisible(action.offered())
        if action.group:
            self._groups.setdefault(action.group, QActionGroup(self._window)).addAction(qt_action)
        self.by_id[action.id] = qt_action
        if action.on_canvas:
            qt_action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        else:
            self._window.addAction(qt_action)
        if action.menu:
            if action.separator:
                self.menus[action.menu].addSeparator()
            self.menus[action.menu].addAction(qt_action)
        if action.id == "open_sample":
            self.menus[action.menu].addMenu(self.recent)

    def connect_to(self, context: Context) -> None:
        """Connect the actions, once all parts of the window exist."""
        self._context = context
        for action in self.actions:
            qt_action = self.by_id[action.id]
            if action.toggle is not None:
                qt_action.toggled.connect(partial(self._on_toggled, action))
            else:
                qt_action.triggered.connect(partial(self._on_triggered, action))
        for action in self.actions:
            if action.starts_on:
                self.by_id[action.id].setChecked(True)
        self.refresh()

    def _on_triggered(self, action: Action, _checked: bool = False) -> None:  # noqa: FBT001, FBT002 - Qt's signal
        if self._context is not None and action.run is not None and self._may_run(action):
            action.run(self._context)

    def _on_toggled(self, action: Action, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        if self._context is not None and action.toggle is not None and self._may_run(action):
            action.toggle(self._context, on)

    def _may_run(self, action: Action) -> bool:
        photo = self._context.photo if self._context is not None else None
        return action.while_dragging or photo is None or not photo.gesturing

    def refresh(self) -> None:
        """Update the enabled and checked states and the tooltips of all actions."""
        context = self._context
        if context is None:
            return
        for action in self.actions:
            qt_action = self.by_id[action.id]
            qt_action.setEnabled(action.enabled(context))
            if action.checked is not None:
                with QSignalBlocker(qt_action):
                    qt_action.setChecked(action.checked(context))
        self._show_tips()

    def switch(self, id_: str, on: bool) -> None:  # noqa: FBT001 - a switch's state
        """Check or uncheck an action; if that changes it, its ``toggle`` is called."""
        self.by_id[id_].setChecked(on)

    # -- words and shortcuts ----------------------------------------------------------------------------------

    def _show_tips(self) -> None:
        """Set the tooltips: what an action does, and its shortcut."""
        for action in self.actions:
            qt_action, text, tip = self.by_id[action.id], action.text, action.tip
            if action.words is not None and self._context is not None:
                text, tip = action.words(self._context)
                qt_action.setText(self.tr(text))
            shown = qt_action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
            qt_action.setToolTip(f"{self.tr(tip or text).rstrip('…')}{f' ({shown})' if shown else ''}")

    def set_shortcuts(self, changed: Mapping[str, str]) -> None:
        """Set the shortcuts of all actions. A key is used once: one that the user assigned is removed from others.

        Args:
            changed: the first shortcuts that the user changed, id -> key in portable text.
        """
        keys = {
            action.id: [changed.get(action.id, next(iter(action.shortcuts), "")), *action.shortcuts[1:]]
            for action in self.actions
        }
        owners: dict[QKeySequence, str] = {}
        for id_, key in (*changed.items(), *((id_, key) for id_, own in keys.items() for key in own)):
            if key and id_ in keys:
                owners.setdefault(QKeySequence(key), id_)
        for id_, own in keys.items():
            sequences = [QKeySequence(key) for key in own if key]
            self.by_id[id_].setShortcuts([key for key in sequences if owners[key] == id_])
        self._show_tips()

    def changed_shortcuts(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """The shortcuts, id -> key, that differ from the defaults in the records."""
        return {
            action.id: wanted[action.id]
            for action in self.actions
            if action.id in wanted and QKeySequence(wanted[action.id]) != QKeySequence(next(iter(action.shortcuts), ""))
        }

    def draw_icons(self) -> None:
        """Draw the icons in the theme's colours."""
        for action in self.actions:
            if action.icon:
                self.by_id[action.id].setIcon(icon(action.icon))
