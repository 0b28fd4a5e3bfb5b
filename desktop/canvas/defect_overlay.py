"""Draws the outlines of defects over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF, QTransform
from PySide6.QtWidgets import QWidget

from desktop.canvas.paint import DisplayOptions
from desktop.canvas.viewport import Viewport
from desktop.photo.workspace import Workspace
from engine.outlines import JudgedDefect
from engine.raster import Rect
from engine.review import Point, Verdict

_SMALL = 12.0
"""Logical pixels; a smaller defect gets a square around it, because its outline would hide it."""
_MANY = 400
"""Number of visible defects from which they are drawn without antialiasing and dark border."""
_GAP = 3.0
"""Distance between a defect and its square or selection frame, logical pixels."""
_CLICK = 5.0
"""Maximum distance of a click from the defect that it selects, logical pixels."""
_DARK, _GREY, _LIGHT = QColor(0, 0, 0, 80), QColor(190, 190, 190), QColor(255, 255, 255)


class DefectOverlay(QObject):
    """The outlines of a photograph's defects on a canvas; moves the view to a defect on request. GUI thread.

    Args:
        widget: the canvas.
        viewport: its pan and zoom.
        picture: its display options.
    """

    def __init__(self, widget: QWidget, viewport: Viewport, picture: DisplayOptions) -> None:
        super().__init__(widget)
        self._widget, self._viewport, self._picture = widget, viewport, picture
        self._workspace: Workspace | None = None
        self._shown = True
        self._items: Sequence[JudgedDefect] = ()
        self._boxes: NDArray[np.int64] = np.zeros((0, 4), np.int64)
        self._shapes: dict[Point, QPolygonF] = {}

    def show_workspace(self, workspace: Workspace | None) -> None:
        """Show the defects of a photograph, or none."""
        if self._workspace is not None:
            self._workspace.defects.changed.disconnect(self._widget.update)
            self._workspace.defects.selection_changed.disconnect(self._widget.update)
            self._workspace.defects.reveal_requested.disconnect(self._look_at)
        self._workspace = workspace
        if workspace is not None:
            workspace.defects.changed.connect(self._widget.update)
            workspace.defects.selection_changed.connect(self._widget.update)
            workspace.defects.reveal_requested.connect(self._look_at)

    def set_shown(self, *, shown: bool) -> None:
        """Show or hide the outlines."""
        self._shown = shown
        self._widget.update()

    def paint(self, painter: QPainter, clip: QRectF) -> None:
        """Draw the visible outlines: accent colour for "to do", filled for accepted, grey for kept.

        Args:
            painter: in widget coordinates.
            clip: the rectangle to repaint, widget coordinates.
        """
        viewport, workspace, split = self._viewport, self._workspace, self._picture.split
        if workspace is None or not self._shown or self._picture.before or not workspace.defects.items:
            return
        corner, scale = viewport.to_widget(0, 0), viewport.zoom / viewport.ratio
        place = QTransform(scale, 0, 0, scale, corner.x(), corner.y())
        if split is not None:
            # Left of the divider the scan is shown, without outlines.
            clip.setLeft(max(clip.left(), viewport.to_widget(split / viewport.zoom, 0).x()))
        painter.save()
        painter.setClipRect(clip)
        reach = place.inverted()[0].mapRect(clip.adjusted(-_SMALL, -_SMALL, _SMALL, _SMALL))
        seen = self._defects_in(reach, workspace.defects.items)
        self._draw_all(painter, seen, place)
        frames = [_frame(item.defect.box, place, 2 * _GAP) for item in seen if workspace.defects.is_selected(item)]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((QColor(0, 0, 0, 200), 4.0), (_LIGHT, 2.0)):
            painter.setPen(QPen(colour, width))
            painter.drawRects(frames)
        painter.restore()

    def defect_at(self, x: float, y: float) -> JudgedDefect | None:
        """The smallest visible defect that contains an image point, otherwise the nearest within ``_CLICK``."""
        viewport, split = self._viewport, self._picture.split
        covered = split is not None and x < split / viewport.zoom
        if self._workspace is None or not self._shown or self._picture.before or covered:
            return None
        near = _CLICK * viewport.ratio / viewport.zoom
        around = QRectF(x - near, y - near, 2 * near, 2 * near)
        hit = []
        for item in self._defects_in(around, self._workspace.defects.items):
            outline = np.array(item.defect.outline, np.float32)
            # The corners of an outline are pixel centres, so the defect extends half a pixel further.
            away = max(0.0, -cv2.pointPolygonTest(outline, (x - 0.5, y - 0.5), measureDist=True) - 0.75)
            if away <= near and item.verdict is not Verdict.HEALED:
                hit.append((away, item.defect.area, item))
        return min(hit, key=itemgetter(0, 1))[2] if hit else None

    def _look_at(self, item: JudgedDefect) -> None:
        self._viewport.look_at(item.defect.box)

    def _draw_all(self, painter: QPainter, seen: list[JudgedDefect], place: QTransform) -> None:
        accent, none = self._widget.palette().accent().color(), QColor(0, 0, 0, 0)
        fill = QColor(accent)
        fill.setAlpha(70)
        for verdict, line, inside in (
            (Verdict.KEPT, _GREY, none),
            (Verdict.TO_DO, accent, none),
            (Verdict.ACCEPTED, accent, fill),
        ):
            judged = [item for item in seen if item.verdict is verdict]
            self._draw([item for item in judged if not item.undecided], painter, place, line, inside)
            self._draw([item for item in judged if item.undecided], painter, place, line, inside, Qt.PenStyle.DashLine)

    def _defects_in(self, seen: QRectF, items: Sequence[JudgedDefect]) -> list[JudgedDefect]:
        if items is not self._items:
            boxes = [item.defect.box for item in items]
            corners = [(box.left, box.top, box.right, box.bottom) for box in boxes]
            self._boxes = np.array(corners, np.int64).reshape(-1, 4)
            self._items, self._shapes = items, {}
        edges = self._boxes
        across = (edges[:, 0] < seen.right()) & (edges[:, 2] > seen.left())
        rows = np.flatnonzero(across & (edges[:, 1] < seen.bottom()) & (edges[:, 3] > seen.top()))
        return [items[row] for row in rows.tolist()]

    def _draw(
        self,
        items: list[JudgedDefect],
        painter: QPainter,
        place: QTransform,
        line: QColor,
        inside: QColor,
        style: Qt.PenStyle = Qt.PenStyle.SolidLine,
    ) -> None:
        scale = place.m11()
        squares, shapes = [], []
        for item in items:
            box = item.defect.box
            if max(box.width, box.height) * scale < _SMALL:
                squares.append(_frame(box, place, _GAP))
            else:
                shapes.append(place.map(self._shape(item)))
        # Thousands of outlines are drawn in a simpler way, or scrolling would be slow.
        many = len(items) > _MANY
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, not many)
        passes = ((_DARK, 2.5, QColor(0, 0, 0, 0)), (line, 1.25, inside))
        for colour, width, brush in ((line, 0.0, inside),) if many else passes:
            painter.setPen(QPen(colour, width, style))
            painter.setBrush(brush)
            if squares:
                painter.drawRects(squares)
            for shape in shapes:
                painter.drawPolygon(shape)

    def _shape(self, item: JudgedDefect) -> QPolygonF:
        """The outline in image coordinates; its corners are pixel centres. Cached."""
        shape = self._shapes.get(item.point)
        if shape is None:
            shape = QPolygonF([QPointF(x + 0.5, y + 0.5) for x, y in item.defect.outline])
            self._shapes[item.point] = shape
        return shape


def _frame(box: Rect, place: QTransform, gap: float) -> QRectF:
    return place.mapRect(QRectF(box.left, box.top, box.width, box.height)).adjusted(-gap, -gap, gap, gap)
