"""The Defects panel: filters, the list of defects, and buttons for decisions about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter, is_
from typing import Any

import numpy as np
from PySide6.QtCore import (
    QAbstractListModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSignalBlocker,
    QSize,
    Qt,
)
from PySide6.QtGui import QAction, QImage, QPainter, QPalette
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListView,
    QStackedLayout,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.document.compose import Composite
from desktop.panels.pictures import image_of
from desktop.panels.task_settings import TaskSetting, task_settings
from desktop.panels.widgets import Drags, ValueSlider, WheelGuard, action_button
from desktop.photo.workspace import Workspace
from engine import colour
from engine.outlines import JudgedDefect, Order
from engine.raster import Rect
from engine.review import Point, Verdict
from engine.tiles import LEVELS

_THUMB = 44
_LEAST = 48
"""Minimum side of the area that a thumbnail shows, image pixels."""
_KEPT_THUMBNAILS = 300
Index = QModelIndex | QPersistentModelIndex
_NONE = QModelIndex()
_DEFECT = attrgetter("defect")


class DefectModel(QAbstractListModel):
    """The list model of the defects."""

    def __init__(self) -> None:
        super().__init__()
        self.items: Sequence[JudgedDefect] = ()

    def show_items(self, items: Sequence[JudgedDefect]) -> None:
        """Show a list of defects; if only decisions changed, the view keeps its selection."""
        before = self.items
        if len(items) == len(before) and all(map(is_, map(_DEFECT, items), map(_DEFECT, before))):
            self.items = items
            if items:
                self.dataChanged.emit(self.index(0), self.index(len(items) - 1))
            return
        self.beginResetModel()
        self.items = items
        self.endResetModel()

    def forget_place(self) -> None:
        """Reset the model, so that views forget the current row."""
        self.beginResetModel()
        self.endResetModel()

    def rowCount(self, parent: Index = _NONE) -> int:
        return 0 if parent.isValid() else len(self.items)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        item = self.items[index.row()]
        text = self.tr("{0}, {1}, {2:,} px, {3}")
        sure = self.tr("large, unsure") if item.unsure else self.tr("{0} % sure").format(round(100 * item.defect.score))
        return text.format(item.kind, sure, item.defect.area, item.verdict.title)


class _RowPainter(QStyledItemDelegate):
    """Draws a row: thumbnail, class and decision, and below them score and size."""

    def __init__(self, panel: DefectsPanel) -> None:
        super().__init__(panel)
        self._panel = panel

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        del option, index
        return QSize(160, _THUMB + 8)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        item = self._panel.model.items[index.row()]
        rect: QRect = option.rect
        palette: QPalette = option.palette
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, palette.highlight())
        image = self._panel.thumbnail(item)
        if image is not None:
            painter.drawImage(QRect(rect.left() + 4, rect.top() + 4, _THUMB, _THUMB), image)
        words = QRect(rect.left() + _THUMB + 12, rect.top() + 6, rect.width() - _THUMB - 20, (_THUMB - 4) // 2)
        left, right = (
            side | Qt.AlignmentFlag.AlignVCenter for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight)
        )
        done = item.verdict in (Verdict.KEPT, Verdict.HEALED)
        faint = palette.placeholderText().color()
        painter.setPen(faint if done else palette.text().color())
        painter.drawText(words, left, item.kind)
        if item.verdict is not Verdict.TO_DO:
            painter.setPen(palette.accent().color() if item.verdict is Verdict.ACCEPTED else faint)
            painter.drawText(words, right, item.verdict.title)
        words.translate(0, words.height())
        painter.setPen(faint)
        sure = self._panel.tr("large, unsure") if item.unsure else f"{round(100 * item.defect.score)} %"
        painter.drawText(words, left, sure)
        painter.drawText(words, right, f"{item.defect.area:,} px")


class DefectsPanel(QWidget):
    """The Defects panel. GUI thread.

    Args:
        actions: the window's actions by id; several are shown as buttons.
    """

    def __init__(self, actions: dict[str, QAction]) -> None:
        super().__init__()
        self._actions = actions
        self._workspace: Workspace | None = None
        self._drags = Drags()
        self._thumbnails: dict[tuple[Rect, int], QImage] = {}
        self._looked_at: Point | None = None
        self.model = DefectModel()
        self._make_list()
        self._kinds: dict[str, QCheckBox] = {}
        self.sliders = self._make_sliders()
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._nothing_page())
        self._pages.addWidget(self._review_page())
        for id_ in ("defect_accept", "defect_keep", "defect_reopen"):
            # The shortcuts Return, Delete and Backspace work only in this panel and on the picture.
            self.addAction(actions[id_])
        self.show_workspace(None)

    # -- construction -----------------------------------------------------------------------------------------

    def _make_list(self) -> None:
        self.view = QListView()
        self.view.setModel(self.model)
        self.view.setItemDelegate(_RowPainter(self))
        self.view.setUniformItemSizes(True)
        self.view.setMinimumHeight(2 * (_THUMB + 8))
        self.view.setAccessibleName(self.tr("Defects"))
        self.view.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.view.selectionModel().selectionChanged.connect(self._on_selection)
        self._kind, self._order = QComboBox(), QComboBox()
        self._kind.setAccessibleName(self.tr("Class of the defect"))
        self._kind.setToolTip(self.tr("What the defect is; choose another if it was taken for the wrong thing"))
        self._kind.activated.connect(self._on_kind)
        self._order.setAccessibleName(self.tr("Order"))
        self._order.setToolTip(self.tr("The order of the list, in which next and previous go"))
        for order in Order:
            self._order.addItem(order.title, order)
        self._order.activated.connect(self._on_order)
        for combo in (self._kind, self._order):
            WheelGuard(combo)

    def _make_sliders(self) -> dict[str, ValueSlider]:
        sliders = {}
        for setting in task_settings("detect"):
            sliders[setting.name] = slider = setting.slider(setting.default)
            slider.changed.connect(partial(self._on_slider, setting))
            slider.pressed.connect(lambda: self._drags.begin(self._workspace))
            slider.released.connect(self._drags.end)
        return sliders

    def _nothing_page(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(12)
        words = QLabel(self.tr("Dust, scratches, stains and other damage that a search finds are listed here."))
        words.setWordWrap(True)
        words.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        layout.addWidget(words)
        layout.addWidget(action_button(self._actions["defects_find"], self.tr("Find damage")))
        layout.addStretch(1)
        return page

    def _review_page(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        self._counts = QLabel()
        self._counts.setWordWrap(True)
        layout.addWidget(self._counts)
        layout.addWidget(self.sliders["threshold"])
        layout.addLayout(self._more_filters())
        layout.addWidget(self.view, 1)
        choice = QHBoxLayout()
        choice.setSpacing(4)
        choice.addWidget(self._kind, 1)
        choice.addWidget(self._order, 1)
        for id_ in ("defect_previous", "defect_next"):
            button = QToolButton()
            button.setDefaultAction(self._actions[id_])
            choice.addWidget(button)
        layout.addLayout(choice)
        buttons = QGridLayout()
        buttons.setSpacing(4)
        buttons.addWidget(action_button(self._actions["defect_accept"], self.tr("Accept")), 0, 0)
        buttons.addWidget(action_button(self._actions["defect_keep"], self.tr("Keep as is")), 0, 1)
        buttons.addWidget(action_button(self._actions["defect_repaint"], self.tr("Repaint")), 0, 2)
        self.heal_button = action_button(self._actions["defects_heal"])
        self.heal_button.setObjectName("primary")
        buttons.addWidget(action_button(self._actions["defects_accept_all"], self.tr("Accept all")), 1, 0)
        buttons.addWidget(self.heal_button, 1, 1, 1, 2)
        layout.addLayout(buttons)
        return page

    def _more_filters(self) -> QVBoxLayout:
        """The filter by class, and the collapsible filters by size and shape."""
        box = QVBoxLayout()
        box.setSpacing(4)
        self._classes = QGridLayout()
        self._classes.setSpacing(4)
        box.addLayout(self._classes)
        more, sizes = QToolButton(), QWidget()
        more.setText(self.tr("Size and shape"))
        more.setToolTip(self.tr("Show or hide the filters by size and shape, and how far the mask reaches"))
        more.setCheckable(True)
        more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        more.setArrowType(Qt.ArrowType.RightArrow)
        inside = QVBoxLayout(sizes)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        for name, slider in self.sliders.items():
            if name != "threshold":
                inside.addWidget(slider)
        sizes.hide()
        more.toggled.connect(sizes.setVisible)
        more.toggled.connect(lambda on: more.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow))
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(more)
        line.addStretch(1)
        clear = QToolButton()
        clear.setDefaultAction(self._actions["defects_clear"])
        clear.setAutoRaise(True)
        line.addWidget(clear)
        box.addLayout(line)
        box.addWidget(sizes)
        return box

    # -- updates ----------------------------------------------------------------------------------------------

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show the defects of a photograph, or none."""
        if self._workspace is not None:
            self._workspace.defects.changed.disconnect(self._show)
            self._workspace.defects.selection_changed.disconnect(self._show_current)
            self._workspace.picture_changed.disconnect(self._forget_thumbnails)
        self._workspace = workspace
        self._thumbnails.clear()
        if workspace is not None:
            workspace.defects.changed.connect(self._show)
            workspace.defects.selection_changed.connect(self._show_current)
            workspace.picture_changed.connect(self._forget_thumbnails)
        self._show()

    def _show(self) -> None:
        defects = self._workspace.defects if self._workspace is not None else None
        review = defects.review if defects is not None else None
        self._pages.setCurrentIndex(0 if review is None else 1)
        if defects is None or review is None:
            self.model.show_items(())
            return
        with QSignalBlocker(self.view.selectionModel()):
            self.model.show_items(defects.items)
        self._counts.setText(self._count_words())
        self.heal_button.setText(self._heal_words())
        for setting in task_settings("detect") if not self._drags.number else []:
            self.sliders[setting.name].set_value(setting.shown(getattr(review.filters, setting.name)))
        self._show_kinds(review.labels, review.filters.without)
        self._order.setCurrentIndex(self._order.findData(defects.order))
        self._show_current()

    def _count_words(self) -> str:
        assert self._workspace is not None
        defects = self._workspace.defects
        if defects.outlining and not defects.items:
            return self.tr("Outlining the defects…")
        shown = (Verdict.ACCEPTED, Verdict.KEPT, Verdict.HEALED, Verdict.TO_DO)
        parts = [f"{defects.counts[verdict]:,} {verdict.title}" for verdict in shown if defects.counts[verdict]]
        if unsure := sum(item.undecided for item in defects.items):
            parts.append(self.tr("{0:,} large, unsure").format(unsure))
        return " · ".join([self.tr("{0:,} found").format(len(defects.items)), *parts])

    def _heal_words(self) -> str:
        assert self._workspace is not None
        chosen = self._workspace.defects.to_heal
        if not chosen:
            return self.tr("Heal accepted")
        accepted = chosen[0].verdict is Verdict.ACCEPTED
        text = self.tr("Heal {0:,} accepted") if accepted else self.tr("Heal all {0:,}")
        review = self._workspace.defects.review
        if review is not None and review.recipe:
            text = self.tr("{0}, continue").format(text)
        return text.format(len(chosen))

    def _show_kinds(self, labels: tuple[str, ...], without: frozenset[str]) -> None:
        """Show a check box with the number of defects for each class that was found or is filtered out."""
        assert self._workspace is not None
        if tuple(self._kinds) != labels:
            for box in self._kinds.values():
                box.deleteLater()
            self._kinds = {}
            self._kind.clear()
            for kind in labels:
                box = QCheckBox(self)
                box.setToolTip(self.tr("Whether this class counts: {0}").format(kind))
                box.toggled.connect(partial(self._on_class, kind))
                self._kinds[kind] = box
                self._kind.addItem(kind)
        place = 0
        for kind, box in self._kinds.items():
            number = self._workspace.defects.kinds[kind]
            box.setText(f"{kind} {number:,}")
            box.setAccessibleName(self.tr("{0}, {1} found").format(kind, number))
            self._classes.removeWidget(box)
            if number or kind in without:
                self._classes.addWidget(box, place // 3, place % 3)
                place += 1
            box.setVisible(number > 0 or kind in without)
            with QSignalBlocker(box):
                box.setChecked(kind not in without)

    def _show_current(self) -> None:
        if self._workspace is None:
            return
        defects = self._workspace.defects
        row, item = defects.row, defects.current
        if self._selected_rows() != defects.selected_rows:
            with QSignalBlocker(self.view.selectionModel()):
                # Otherwise Shift would extend the selection from the row that was clicked last.
                self.model.forget_place()
                self.view.setCurrentIndex(self.model.index(row) if row is not None else QModelIndex())
                self._select(defects.selected_rows)
        point = item.point if item is not None else None
        if row is not None and point != self._looked_at:
            self.view.scrollTo(self.model.index(row))
        self._looked_at = point
        self._kind.setEnabled(item is not None)
        self._kind.setCurrentIndex(self._kind.findText(item.kind) if item is not None else -1)
        self.view.viewport().update()

    def _selected_rows(self) -> list[int]:
        return sorted(index.row() for index in self.view.selectionModel().selectedIndexes())

    def _select(self, rows: list[int]) -> None:
        selection = QItemSelection()
        # Within a run of adjacent rows, row minus position in the list is constant.
        for _, run in groupby(enumerate(rows), lambda one: one[1] - one[0]):
            together = [row for _, row in run]
            selection.select(self.model.index(together[0]), self.model.index(together[-1]))
        self.view.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def thumbnail(self, item: JudgedDefect) -> QImage | None:
        """A thumbnail of the picture around a defect; computed when it is first drawn. None without a photograph."""
        workspace = self._workspace
        if workspace is None:
            return None
        scale = 2 if self.devicePixelRatioF() > 1 else 1
        key = item.defect.box, scale
        if key not in self._thumbnails:
            while len(self._thumbnails) >= _KEPT_THUMBNAILS:
                del self._thumbnails[next(iter(self._thumbnails))]
            self._thumbnails[key] = _thumbnail(workspace, item.defect.box, _THUMB * scale)
        return self._thumbnails[key]

    def _forget_thumbnails(self, rect: Rect) -> None:
        self._thumbnails = {key: image for key, image in self._thumbnails.items() if not _around(key[0]) & rect}
        self.view.viewport().update()

    # -- slots ------------------------------------------------------------------------------------------------

    def _on_selection(self, *_: object) -> None:
        if self._workspace is None:
            return
        rows, current = self._selected_rows(), self.view.currentIndex().row()
        items = [self.model.items[row] for row in rows]
        if len(items) > 1:
            nearest = self.model.items[min(rows, key=lambda row: abs(row - current))]
            # Do not scroll the list, in which the user is selecting.
            self._looked_at = nearest.point
            self._workspace.defects.select(items, nearest)
        elif items:
            self._looked_at = items[0].point
            self._workspace.defects.choose(items[0])
        else:
            # The current defect stays selected.
            self._show_current()

    def _on_kind(self) -> None:
        if self._workspace is not None and not self._workspace.gesturing:
            self._workspace.defects.set_kind(self._kind.currentText())

    def _on_order(self) -> None:
        if self._workspace is not None:
            self._workspace.defects.set_order(self._order.currentData())

    def _on_class(self, kind: str, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        review = self._workspace.defects.review if self._workspace is not None else None
        if self._workspace is not None and review is not None:
            without = review.filters.without - {kind} if on else review.filters.without | {kind}
            self._workspace.defects.filter(dataclasses.replace(review.filters, without=without))

    def _on_slider(self, setting: TaskSetting, shown: float) -> None:
        review = self._workspace.defects.review if self._workspace is not None else None
        if self._workspace is not None and review is not None:
            filters = dataclasses.replace(review.filters, **{setting.name: setting.value(shown)})  # type: ignore[arg-type]
            self._workspace.defects.filter(filters, self._drags.number)


def _around(box: Rect) -> Rect:
    """The square that a thumbnail shows; may extend beyond the picture."""
    half = max(_LEAST, round(1.5 * max(box.width, box.height))) // 2
    x, y = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    return Rect(x - half, y - half, x + half, y + half)


def _thumbnail(workspace: Workspace, box: Rect, side: int) -> QImage:
    document, around = workspace.document, _around(box)
    level = next((k for k in range(LEVELS) if around.width >> (k + 1) < side), LEVELS)
    needed = Rect(around.left >> level, around.top >> level, -(-around.right >> level), -(-around.bottom >> level))
    part = needed & document.state.scan.bounds_at(level)
    pixels = Composite.of(document.state).read(part, level)
    shown = colour.to_screen(np.ascontiguousarray(pixels), document.profile)
    square = np.full((needed.height, needed.width, 3), 40, np.uint8)
    square[part.slices(needed)] = shown
    ways = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
    return image_of(square).scaled(side, side, *ways)
