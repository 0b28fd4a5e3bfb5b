"""The Layers panel: visibility, thumbnails, name, opacity, blend mode and order of the layers.

A click on the thumbnail of a mask makes it the paint target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import (
    QAbstractItemModel,
    QAbstractListModel,
    QEvent,
    QMimeData,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSignalBlocker,
    QSize,
    Qt,
    QTimer,
)
from PySide6.QtGui import QAction, QColor, QImage, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop.document.blend import BlendMode
from desktop.document.edits import SetLayer
from desktop.document.model import Layer
from desktop.document.targets import REPAIR_MASK, LayerMask
from desktop.panels.widgets import Drags, ValueSlider, WheelGuard
from desktop.photo.workspace import Workspace
from desktop.theme import icon
from engine import colour
from engine.tiles import LEVELS, TileMap, time_limit

_THUMB = 36
_EMPTY = 40.0
"""Grey level of the empty parts of a thumbnail, 0..255."""
_MIME = "application/x-lacuna-layer"
_REFRESH_MS = 250
_SECONDS = 0.002
"""Time in one repaint for computing the reductions of a thumbnail."""
Index = QModelIndex | QPersistentModelIndex
_NONE = QModelIndex()


class LayerModel(QAbstractListModel):
    """The list model of the layers of a photograph, top first; the scan is the last row."""

    def __init__(self) -> None:
        super().__init__()
        self._workspace: Workspace | None = None
        self._rows: tuple[Layer, ...] = ()

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show the layers of a photograph, or the changed layers of the same one."""
        rows = tuple(reversed(workspace.document.state.layers)) if workspace is not None else ()
        same = workspace is self._workspace and [la.id for la in rows] == [la.id for la in self._rows]
        if same:
            self._rows = rows
            self.dataChanged.emit(self.index(0), self.index(max(0, self.rowCount() - 1)))
            return
        self.beginResetModel()
        self._workspace, self._rows = workspace, rows
        self.endResetModel()

    def layer(self, index: Index) -> Layer | None:
        """The layer of a row; None is the scan."""
        return self._rows[index.row()] if 0 <= index.row() < len(self._rows) else None

    def row_of(self, id_: int | None) -> int:
        """The row of a layer, or of the scan."""
        return next((row for row, layer in enumerate(self._rows) if layer.id == id_), len(self._rows))

    def rowCount(self, parent: Index = _NONE) -> int:
        if parent.isValid() or self._workspace is None:
            return 0
        return len(self._rows) + 1

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        layer = self.layer(index)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return layer.name if layer is not None else self.tr("Scan")
        if role == Qt.ItemDataRole.ToolTipRole:
            if layer is None:
                return self.tr("The scan itself; it is never changed. Its eye hides it on the canvas alone")
            tip = self.tr("{0}, {1} %, {2}").format(layer.name, round(layer.opacity * 100), layer.blend.title)
            models = ", ".join(dict.fromkeys(repair.model for repair in layer.made_by))
            return tip + self.tr("\nMade with {0}").format(models) if models else tip
        return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        layer = self.layer(index)
        name = str(value).strip()
        if role != Qt.ItemDataRole.EditRole or layer is None or self._workspace is None or not name:
            return False
        if name != layer.name:
            self._workspace.push(SetLayer(self.tr("Rename layer"), layer, {"name": name}))
        return True

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if not index.isValid():
            return Qt.ItemFlag.ItemIsDropEnabled
        if self.layer(index) is not None:
            flags |= Qt.ItemFlag.ItemIsEditable | Qt.ItemFlag.ItemIsDragEnabled
        return flags

    def supportedDropActions(self) -> Qt.DropAction:
        return Qt.DropAction.MoveAction

    def mimeTypes(self) -> list[str]:
        return [_MIME]

    def mimeData(self, indexes: Any) -> QMimeData:
        data = QMimeData()
        layer = self.layer(indexes[0])
        data.setData(_MIME, f"{id(self._workspace)} {layer.id if layer is not None else 0}".encode())
        return data

    def dropMimeData(self, data: QMimeData, action: Qt.DropAction, row: int, column: int, parent: Index) -> bool:
        del action, column
        if self._workspace is None or not data.hasFormat(_MIME):
            return False
        # By id, because rows or photograph may have changed since the drag began.
        whose, layer_id = bytes(data.data(_MIME).data()).split()
        start = self.row_of(int(layer_id)) if int(whose) == id(self._workspace) else len(self._rows)
        end = row if row >= 0 else (parent.row() if parent.isValid() else len(self._rows))
        end = min(end, len(self._rows))
        end -= 1 if end > start else 0
        if start < len(self._rows) and end != start:
            self._workspace.move_layer(self._rows[start].id, len(self._rows) - 1 - end)
        # False: the model is updated from the document, so the view must not remove the row.
        return False


class _RowPainter(QStyledItemDelegate):
    """Draws a row, and handles clicks on its eye icon and mask thumbnail."""

    def __init__(self, panel: LayersPanel) -> None:
        super().__init__(panel)
        self._panel = panel

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        del option, index
        return QSize(160, _THUMB + 8)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        layer = self._panel.model.layer(index)
        rect: QRect = option.rect
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, option.palette.highlight())
        icon("eye" if self._panel.is_visible(layer) else "eye-off").paint(painter, self.eye_rect(rect))
        self._draw_thumbnail(painter, self.picture_rect(rect), self._panel.thumbnail(layer))
        left = self.picture_rect(rect).right() + 8
        if layer is not None:
            frame = self.mask_rect(rect)
            self._draw_thumbnail(painter, frame, self._panel.mask_thumbnail(layer))
            if self._panel.is_target(layer):
                painter.setPen(QPen(option.palette.accent().color(), 3))
                painter.drawRect(frame.adjusted(0, 0, -1, -1))
            left = frame.right() + 8
        painter.setPen(option.palette.text().color())
        text = painter.fontMetrics().elidedText(
            str(index.data()), Qt.TextElideMode.ElideRight, max(16, rect.right() - left - 4)
        )
        painter.drawText(
            QRect(left, rect.top(), rect.right() - left, rect.height()), Qt.AlignmentFlag.AlignVCenter, text
        )

    def _draw_thumbnail(self, painter: QPainter, rect: QRect, image: QImage | None) -> None:
        painter.fillRect(rect, QColor(40, 40, 40))
        if image is not None:
            size = image.size().scaled(rect.size(), Qt.AspectRatioMode.KeepAspectRatio)
            place = QRect(rect.center().x() - size.width() // 2, rect.center().y() - size.height() // 2, 0, 0)
            painter.drawImage(QRect(place.topLeft(), size), image)

    def editorEvent(self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index) -> bool:
        layer = self._panel.model.layer(index)
        if event.type() == QEvent.Type.MouseButtonPress and isinstance(event, QMouseEvent):
            rect: QRect = option.rect
            if self.eye_rect(rect).contains(event.position().toPoint()):
                self._panel.toggle_visible(layer)
                return True
            if layer is not None and self.mask_rect(rect).contains(event.position().toPoint()):
                self._panel.toggle_target(layer)
                return True
            self._panel.leave_target()
        return super().editorEvent(event, model, option, index)

    def eye_rect(self, row: QRect) -> QRect:
        """The rectangle of the eye icon in a row."""
        return QRect(row.left() + 4, row.center().y() - 9, 20, 20)

    def picture_rect(self, row: QRect) -> QRect:
        """The rectangle of the layer's thumbnail in a row."""
        return QRect(row.left() + 28, row.top() + 4, _THUMB, _THUMB)

    def mask_rect(self, row: QRect) -> QRect:
        """The rectangle of the mask's thumbnail in a row."""
        return QRect(row.left() + 32 + _THUMB, row.top() + 4, _THUMB, _THUMB)

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: Index) -> None:
        del index
        rect: QRect = option.rect
        left = self.mask_rect(rect).right() + 6
        editor.setGeometry(QRect(left, rect.center().y() - 12, rect.right() - left - 4, 24))


class LayersPanel(QWidget):
    """The Layers panel. GUI thread.

    Args:
        actions: the window's actions that are shown as buttons below the list.
    """

    def __init__(self, actions: list[QAction]) -> None:
        super().__init__()
        self._workspace: Workspace | None = None
        self._drags = Drags()
        self._thumbnails: dict[tuple[int, str], tuple[tuple[object, object], QImage | None]] = {}
        self.model = LayerModel()
        self._blend = QComboBox()
        self._blend.setAccessibleName(self.tr("Blend mode"))
        self._blend.setToolTip(self.tr("How the layer meets what is below"))
        for mode in BlendMode:
            self._blend.addItem(mode.title, mode)
        self._opacity = ValueSlider(self.tr("Opacity"), 0, 100, unit=" %", tooltip=self.tr("Opacity of the layer"))
        self._view = QListView()
        self._view.setModel(self.model)
        self.rows = _RowPainter(self)
        self._view.setItemDelegate(self.rows)
        self._view.setDragDropMode(QListView.DragDropMode.InternalMove)
        self._view.setEditTriggers(QListView.EditTrigger.DoubleClicked | QListView.EditTrigger.EditKeyPressed)
        self._view.setAccessibleName(self.tr("Layers"))
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addStretch(1)
        for action in actions:
            button = QToolButton()
            button.setDefaultAction(action)
            button.setAutoRaise(True)
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(8)
        for widget in (self._blend, self._opacity, self._view):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        self._blend.activated.connect(self._on_blend)
        self._opacity.changed.connect(self._on_opacity)
        self._opacity.pressed.connect(lambda: self._drags.begin(self._workspace))
        self._opacity.released.connect(self._drags.end)
        WheelGuard(self._blend)
        self._view.selectionModel().currentChanged.connect(self._on_current)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh_thumbnails)
        self._show()

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show the layers of a photograph, or none."""
        if self._workspace is not None:
            self._workspace.layers_changed.disconnect(self._show)
            self._workspace.scan_shown.disconnect(self._show)
            self._workspace.picture_changed.disconnect(self._refresh_later)
        self._workspace = workspace
        self._thumbnails.clear()
        if workspace is not None:
            workspace.layers_changed.connect(self._show)
            workspace.scan_shown.connect(self._show)
            workspace.picture_changed.connect(self._refresh_later)
        self._show()

    @property
    def view(self) -> QListView:
        """The list."""
        return self._view

    def rename(self) -> None:
        """Start editing the name of the active layer."""
        self._view.setFocus()
        self._view.edit(self._view.currentIndex())

    def is_visible(self, layer: Layer | None) -> bool:
        """Whether a layer, or the scan (None), is visible."""
        if layer is not None:
            return layer.visible
        return self._workspace is None or not self._workspace.scan_hidden

    def toggle_visible(self, layer: Layer | None) -> None:
        """Show or hide a layer, or the scan (None), which is hidden only on the canvas."""
        if self._workspace is not None and layer is None:
            self._workspace.show_scan(shown=self._workspace.scan_hidden)
        elif self._workspace is not None and layer is not None:
            label = self.tr("Hide layer") if layer.visible else self.tr("Show layer")
            self._workspace.push(SetLayer(label, layer, {"visible": not layer.visible}))

    def toggle_target(self, layer: Layer) -> None:
        """Make a layer's mask the paint target, or the repair mask if it is already."""
        if self._workspace is not None:
            target = LayerMask(layer.id)
            self._workspace.set_target(REPAIR_MASK if self._workspace.target == target else target)

    def leave_target(self) -> None:
        """Make the repair mask the paint target."""
        if self._workspace is not None:
            self._workspace.set_target(REPAIR_MASK)

    def is_target(self, layer: Layer) -> bool:
        """Whether a layer's mask is the paint target."""
        return self._workspace is not None and self._workspace.target == LayerMask(layer.id)

    def thumbnail(self, layer: Layer | None) -> QImage | None:
        """A thumbnail of a layer, or of the scan (None); None if it is not computed yet, or has no pixels."""
        if self._workspace is None:
            return None
        document = self._workspace.document
        if layer is not None and not layer.has_pixels:
            return None
        tiles = document.state.scan if layer is None else layer.pixels
        return self._cached_thumbnail(
            layer, "picture", tiles, document.profile, layer.mask if layer is not None else None
        )

    def mask_thumbnail(self, layer: Layer) -> QImage | None:
        """A thumbnail of a layer's mask; None if it is not computed yet."""
        return self._cached_thumbnail(layer, "mask", layer.mask, None)

    def _cached_thumbnail(
        self, layer: Layer | None, kind: str, tiles: TileMap, profile: bytes | None, mask: TileMap | None = None
    ) -> QImage | None:
        key = (layer.id if layer is not None else 0, kind)
        sources = (tiles, mask)
        known, image = self._thumbnails.get(key, (None, None))
        if known is None or (known != sources and not self._timer.isActive()):
            if not all(_prepare_in_time(one) for one in (tiles, mask) if one is not None):
                # The old thumbnail is shown until the reductions are computed.
                self._refresh_later()
                return image
            image = _thumbnail(tiles, profile, mask)
            self._thumbnails[key] = sources, image
        return image

    def _refresh_later(self) -> None:
        """Refresh the thumbnails soon, once for many changes."""
        self._timer.start()

    def _refresh_thumbnails(self) -> None:
        self._view.viewport().update()

    def _show(self) -> None:
        workspace = self._workspace
        with QSignalBlocker(self._view.selectionModel()):
            self.model.show_workspace(workspace)
            active = workspace.active if workspace is not None else None
            self._view.setCurrentIndex(self.model.index(self.model.row_of(active.id if active else None)))
        for widget in (self._blend, self._opacity):
            widget.setEnabled(active is not None)
        self._blend.setCurrentIndex(list(BlendMode).index(active.blend) if active is not None else 0)
        self._opacity.set_value(active.opacity * 100 if active is not None else 100)
        self._view.viewport().update()

    def _on_current(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if self._workspace is not None and current.isValid():
            layer = self.model.layer(current)
            self._workspace.set_active(layer.id if layer is not None else None)

    def _on_blend(self, row: int) -> None:
        layer = self._workspace.active if self._workspace is not None else None
        mode = list(BlendMode)[row]
        if self._workspace is not None and layer is not None and mode is not layer.blend:
            self._workspace.push(SetLayer(self.tr("Blend mode"), layer, {"blend": mode}))

    def _on_opacity(self, value: float) -> None:
        layer = self._workspace.active if self._workspace is not None else None
        if self._workspace is not None and layer is not None:
            self._workspace.push(
                SetLayer(self.tr("Layer opacity"), layer, {"opacity": value / 100}, self._drags.number)
            )


def _thumbnail_level(tiles: TileMap) -> int:
    """The level from which a thumbnail is computed."""
    return next((k for k in range(LEVELS + 1) if max(tiles.shape[:2]) >> k <= 4 * _THUMB), LEVELS)


def _prepare_in_time(tiles: TileMap) -> bool:
    """Compute the reductions for a thumbnail within ``_SECONDS``; whether all are computed."""
    level = _thumbnail_level(tiles)
    return tiles.prepare(tiles.bounds_at(level), level, time_limit(_SECONDS))


def _thumbnail(tiles: TileMap, profile: bytes | None, mask: TileMap | None) -> QImage | None:
    """A thumbnail for the screen, of about ``2 * _THUMB`` px; what the mask hides is grey.

    Args:
        tiles: of a picture (h, w, c) or a mask (h, w).
        profile: ICC profile of the picture.
        mask: (h, w), 255 = shown; None = everything is shown.
    """
    level = _thumbnail_level(tiles)
    whole = tiles.bounds_at(level)
    step = max(1, max(whole.width, whole.height) // (2 * _THUMB))
    small = np.ascontiguousarray(tiles.read(whole, level)[::step, ::step])
    shown = colour.to_screen(small if small.ndim == 3 else small[..., None], profile)
    if mask is not None:
        # The square root keeps thin repairs visible, of which little is left in the reduction.
        share = np.sqrt(mask.read(whole, level)[::step, ::step] / 255)[..., None]
        shown = (_EMPTY + (shown - _EMPTY) * share).astype(np.uint8)
    return QImage(
        shown.tobytes(), shown.shape[1], shown.shape[0], shown.shape[1] * 3, QImage.Format.Format_RGB888
    ).copy()
