"""The options bar: size, hardness, opacity and pen of the brush, add or remove, the paint target, and Heal."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QSizePolicy, QToolBar, QToolButton, QWidget

from desktop.frame.toolbox import Toolbox
from desktop.panels.widgets import ValueSlider
from desktop.theme import icon
from desktop.tools.base import MAXIMUM_SIZE, MINIMUM_SIZE

_NOTE_WIDTH = 130
"""Width for the name of the paint target, logical pixels."""
_CLOSE_WIDTH = 32
"""Width for the cross behind it."""
_NARROW_NOTE_WIDTH = 90
"""Width of both in a narrow window."""


class OptionsBar(QObject):
    """Fills a tool bar with the settings of the chosen tool. GUI thread.

    Signals:
        target_left: the user wants to paint the repair mask again.
    """

    target_left = Signal()

    def __init__(self, bar: QToolBar, tools: Toolbox, actions: Mapping[str, QAction]) -> None:
        super().__init__(bar)
        self._tools = tools
        self._make_fields()
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(4, 0, 4, 0)
        layout.setSpacing(6)
        for slider in (self._size, self._hardness, self._opacity):
            slider.setMaximumWidth(240)
            layout.addWidget(slider, 1)
        for widget in (self._pen_size, self._pen_opacity, self._adding):
            layout.addWidget(widget)
        # After the fields, with its place reserved, so that they do not move when it appears.
        layout.addWidget(self._target)
        layout.addStretch(0)
        for id_ in ("undo", "redo", "heal"):
            button = QToolButton()
            button.setDefaultAction(actions[id_])
            button.setIconSize(bar.iconSize())
            layout.addWidget(button)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        # Wide enough for the names of all tasks.
        button.setMinimumWidth(button.fontMetrics().horizontalAdvance("M" * 10) + bar.iconSize().width())
        # One widget that shrinks; a tool bar would hide the items that do not fit.
        row.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        bar.addWidget(row)
        self._row, self._full_width = row, layout.minimumSize().width()
        row.installEventFilter(self)
        tools.changed.connect(self.redraw)
        self._size.changed.connect(tools.set_size)
        self._hardness.changed.connect(lambda value: tools.set_hardness(value / 100))
        self._opacity.changed.connect(lambda value: tools.set_opacity(value / 100))
        self._pen_size.toggled.connect(lambda on: tools.set_pen(pen_size=on))
        self._pen_opacity.toggled.connect(lambda on: tools.set_pen(pen_opacity=on))
        self._adding.toggled.connect(lambda off: tools.set_adding(adding=not off))
        self.show_target("")
        self.redraw()

    def _make_fields(self) -> None:
        self._size = ValueSlider(
            self.tr("Size"),
            MINIMUM_SIZE,
            MAXIMUM_SIZE,
            unit=" px",
            power=3.0,
            tooltip=self.tr("Diameter of the brush in pixels of the picture ([ and ])"),
        )
        self._hardness = ValueSlider(
            self.tr("Hardness"),
            0,
            100,
            unit=" %",
            tooltip=self.tr("How sharp the brush's edge is (Shift+[ and Shift+])"),
        )
        self._opacity = ValueSlider(
            self.tr("Opacity"), 1, 100, unit=" %", tooltip=self.tr("The most that one stroke covers (keys 1 to 0)")
        )
        self._pen_size = QCheckBox(self.tr("Pen: size"))
        self._pen_size.setToolTip(self.tr("The pen's pressure scales the size"))
        self._pen_opacity = QCheckBox(self.tr("opacity"))
        self._pen_opacity.setToolTip(self.tr("The pen's pressure scales the opacity"))
        self._adding = QToolButton()
        self._adding.setObjectName("adding")
        self._adding.setCheckable(True)
        self._adding.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._adding.setToolTip(self.tr("Whether the tools add to the mask or remove from it; Alt for one drag (X)"))
        self._target = QToolButton()
        self._target.setObjectName("targetNote")
        self._target.setFixedWidth(_NOTE_WIDTH + _CLOSE_WIDTH)
        policy = self._target.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._target.setSizePolicy(policy)
        self._target.clicked.connect(self.target_left)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._row and event.type() == QEvent.Type.Resize:
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        """Without the pen's boxes and the place for the target if the window is too narrow for all of it."""
        wide = self._row.width() >= self._full_width
        for box in (self._pen_size, self._pen_opacity):
            box.setVisible(wide)
        self._target.setFixedWidth(_NOTE_WIDTH + _CLOSE_WIDTH if wide else _NARROW_NOTE_WIDTH)
        policy = self._target.sizePolicy()
        policy.setRetainSizeWhenHidden(wide)
        self._target.setSizePolicy(policy)

    def show_target(self, name: str) -> None:
        """Show the name of the paint target, a part of a sentence; empty for the repair mask."""
        text = name.removeprefix("the ")
        text = text[:1].upper() + text[1:]
        short = self._target.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, _NOTE_WIDTH)
        self._target.setText(f"{short} ✕")
        note = self.tr("The brush paints {0}; press to paint the repair mask again (Esc)")
        self._target.setToolTip(note.format(name))
        self._target.setAccessibleName(text)
        self._target.setVisible(bool(name))

    def redraw(self) -> None:
        """Show the current settings of the brush, with icons in the theme's colours."""
        brush, adding = self._tools.brush, self._tools.settings.adding
        self._size.set_value(brush.size)
        self._hardness.set_value(brush.hardness * 100)
        self._opacity.set_value(brush.opacity * 100)
        for widget, on in (
            (self._pen_size, brush.pen_size),
            (self._pen_opacity, brush.pen_opacity),
            (self._adding, not adding),
        ):
            with QSignalBlocker(widget):
                widget.setChecked(on)
        self._adding.setText(self.tr("Add") if adding else self.tr("Remove"))
        self._adding.setIcon(icon("add" if adding else "remove"))
