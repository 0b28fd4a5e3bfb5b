"""The outlines of found defects over the picture, and the way to look at one of them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF, QTransform

from desktop.defects import Item
from desktop.document.review import Point, Verdict
from desktop.workspace import Workspace
from engine.raster import Rect

if TYPE_CHECKING:
    from desktop.canvas.view import CanvasView

_SMALL = 12.0
"""A defect that is smaller on the screen is marked by a square around it: it must not be hidden by its own outline."""
_MANY = 400
_GAP = 3.0
"""Between a defect and what marks it, logical pixels."""
_CLICK = 5.0
"""How far from a defect a click still means it, logical pixels."""
_ROOM = 1.25
"""How much more than the defect itself is looked at."""
_DARK, _GREY, _LIGHT = QColor(0, 0, 0, 80), QColor(190, 190, 190), QColor(255, 255, 255)


class DefectMarks(QObject):
    """The outlines of a photograph's defects on a canvas, which goes to the one that is chosen. GUI thread."""

    def __init__(self, view: CanvasView) -> None:
        super().__init__(view)
        self._view = view
        self._workspace: Workspace | None = None
        self._shown = True
        self._items: Sequence[Item] = ()
        self._boxes: NDArray[np.int64] = np.zeros((0, 4), np.int64)
        self._shapes: dict[Point, QPolygonF] = {}

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Follow a photograph, or none."""
        if self._workspace is not None:
            self._workspace.review.changed.disconnect(self._view.update)
            self._workspace.review.chosen.disconnect(self._view.update)
            self._workspace.review.sought.disconnect(self._look_at)
        self._workspace = workspace
        if workspace is not None:
            workspace.review.changed.connect(self._view.update)
            workspace.review.chosen.connect(self._view.update)
            workspace.review.sought.connect(self._look_at)

    def set_shown(self, *, shown: bool) -> None:
        """Show or hide them."""
        self._shown = shown
        self._view.update()

    def paint(self, painter: QPainter, clip: QRectF) -> None:
        """Draw those in view: in the accent what is to do, filled what is accepted, grey what is kept.

        Args:
            painter: in widget coordinates.
            clip: what is drawn.
        """
        view, workspace = self._view, self._workspace
        if workspace is None or not self._shown or view.shown.before or not workspace.review.items:
            return
        corner, scale = view.to_widget(0, 0), view.zoom / view.devicePixelRatioF()
        place = QTransform(scale, 0, 0, scale, corner.x(), corner.y())
        if view.shown.split is not None:
            # Left of the divider the scan is as it was.
            clip.setLeft(max(clip.left(), view.to_widget(view.shown.split / view.zoom, 0).x()))
        painter.save()
        painter.setClipRect(clip)
        reach = place.inverted()[0].mapRect(clip.adjusted(-_SMALL, -_SMALL, _SMALL, _SMALL))
        seen = self._within(reach, workspace.review.items)
        self._draw_all(painter, seen, place)
        frames = [_frame(item.defect.box, place, 2 * _GAP) for item in seen if workspace.review.is_selected(item)]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((QColor(0, 0, 0, 200), 4.0), (_LIGHT, 2.0)):
            painter.setPen(QPen(colour, width))
            painter.drawRects(frames)
        painter.restore()

    def at(self, x: float, y: float) -> Item | None:
        """The smallest defect that holds an image point, or the nearest within a hand's inaccuracy; None unseen."""
        view = self._view
        covered = view.shown.split is not None and x < view.shown.split / view.zoom
        if self._workspace is None or not self._shown or view.shown.before or covered:
            return None
        near = _CLICK * view.devicePixelRatioF() / view.zoom
        around = QRectF(x - near, y - near, 2 * near, 2 * near)
        hit = []
        for item in self._within(around, self._workspace.review.items):
            outline = np.array(item.defect.outline, np.float32)
            # Corners are centres of pixels: half a pixel more is the defect, too.
            away = max(0.0, -cv2.pointPolygonTest(outline, (x - 0.5, y - 0.5), measureDist=True) - 0.75)
            if away <= near and item.verdict is not Verdict.HEALED:
                hit.append((away, item.defect.area, item))
        return min(hit, key=itemgetter(0, 1))[2] if hit else None

    def _look_at(self, item: Item) -> None:
        look_at(self._view, item.defect.box)

    def _draw_all(self, painter: QPainter, seen: list[Item], place: QTransform) -> None:
        accent, none = self._view.palette().accent().color(), QColor(0, 0, 0, 0)
        fill = QColor(accent)
        fill.setAlpha(70)
        for verdict, line, inside in (
            (Verdict.KEPT, _GREY, none),
            (Verdict.TO_DO, accent, none),
            (Verdict.ACCEPTED, accent, fill),
        ):
            self._draw([item for item in seen if item.verdict is verdict], painter, place, line, inside)

    def _within(self, seen: QRectF, items: Sequence[Item]) -> list[Item]:
        if items is not self._items:
            boxes = [item.defect.box for item in items]
            corners = [(box.left, box.top, box.right, box.bottom) for box in boxes]
            self._boxes = np.array(corners, np.int64).reshape(-1, 4)
            self._items, self._shapes = items, {}
        edges = self._boxes
        across = (edges[:, 0] < seen.right()) & (edges[:, 2] > seen.left())
        rows = np.flatnonzero(across & (edges[:, 1] < seen.bottom()) & (edges[:, 3] > seen.top()))
        return [items[row] for row in rows.tolist()]

    def _draw(self, items: list[Item], painter: QPainter, place: QTransform, line: QColor, inside: QColor) -> None:
        scale = place.m11()
        squares, shapes = [], []
        for item in items:
            box = item.defect.box
            if max(box.width, box.height) * scale < _SMALL:
                squares.append(_frame(box, place, _GAP))
            else:
                shapes.append(place.map(self._shape(item)))
        # Thousands at a time are drawn more simply: the hand must not wait for them.
        many = len(items) > _MANY
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, not many)
        passes = ((_DARK, 2.5, QColor(0, 0, 0, 0)), (line, 1.25, inside))
        for colour, width, brush in ((line, 0.0, inside),) if many else passes:
            painter.setPen(QPen(colour, width))
            painter.setBrush(brush)
            if squares:
                painter.drawRects(squares)
            for shape in shapes:
                painter.drawPolygon(shape)

    def _shape(self, item: Item) -> QPolygonF:
        """The outline in image coordinates; its corners are centres of pixels."""
        shape = self._shapes.get(item.point)
        if shape is None:
            shape = QPolygonF([QPointF(x + 0.5, y + 0.5) for x, y in item.defect.outline])
            self._shapes[item.point] = shape
        return shape


def look_at(view: CanvasView, box: Rect) -> None:
    """Bring a part of the picture to the middle: at 100 % or nearer as it is, and from farther away if it is large."""
    ratio = view.devicePixelRatioF()
    room = min(view.width() * ratio / box.width, view.height() * ratio / box.height) / _ROOM
    view.zoom_to(min(max(view.zoom, 1.0), room))
    view.centre_on((box.left + box.right) / 2, (box.top + box.bottom) / 2)


def _frame(box: Rect, place: QTransform, gap: float) -> QRectF:
    return place.mapRect(QRectF(box.left, box.top, box.width, box.height)).adjusted(-gap, -gap, gap, gap)
