"""The Navigator panel: the whole picture, and a frame around the part in view that can be dragged."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from desktop.canvas.render import Frame, picture_pixels, source_region
from desktop.canvas.view import CanvasView
from desktop.document.compose import Composite
from engine.tiles import time_limit

_REFRESH_MS = 300
_SECONDS = 0.01
"""Time in one refresh for computing reductions."""


class Navigator(QWidget):
    """Shows the photograph of one canvas. A click or drag scrolls the canvas to that point."""

    def __init__(self) -> None:
        super().__init__()
        self._view: CanvasView | None = None
        self._image: QImage | None = None
        self._pixels: np.ndarray | None = None
        self.setMinimumHeight(80)
        self.setToolTip(self.tr("Click or drag to look at another part of the picture"))
        self.setAccessibleName(self.tr("Navigator"))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._render)

    def show_view(self, view: CanvasView | None) -> None:
        """Show the photograph of a canvas, or none."""
        if self._view is not None:
            self._view.viewport.moved.disconnect(self.update)
            if self._view.workspace is not None:
                self._view.workspace.picture_changed.disconnect(self._refresh_later)
                self._view.workspace.size_changed.disconnect(self._refresh_later)
        self._view, self._image = view, None
        if view is not None and view.workspace is not None:
            view.viewport.moved.connect(self.update)
            view.workspace.picture_changed.connect(self._refresh_later)
            view.workspace.size_changed.connect(self._refresh_later)
        self._render()

    def _refresh_later(self) -> None:
        """Refresh soon, once for many changes."""
        self._timer.start()

    def sizeHint(self) -> QSize:
        return QSize(280, 160)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        # The painter must be closed even after an exception, or Qt aborts the program.
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.fillRect(self.rect(), self.palette().base())
        if self._image is None or self._view is None or self._view.workspace is None:
            return
        target = self._target()
        painter.drawImage(target, self._image)
        bounds, seen = self._view.workspace.document.bounds, self._view.viewport.visible_image()
        scale = target.width() / bounds.width
        box = QRectF(
            target.x() + seen.x() * scale, target.y() + seen.y() * scale, seen.width() * scale, seen.height() * scale
        )
        painter.setPen(QPen(QColor(255, 255, 255), 1))
        painter.drawRect(box.adjusted(0, 0, -1, -1))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._go(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._go(event.position())

    def _go(self, position: QPointF) -> None:
        if self._view is None or self._view.workspace is None or self._image is None:
            return
        target = self._target()
        scale = self._view.workspace.document.bounds.width / target.width()
        self._view.viewport.centre_on((position.x() - target.x()) * scale, (position.y() - target.y()) * scale)

    def _target(self) -> QRectF:
        assert self._image is not None
        size = QSize(self._image.width(), self._image.height()).scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        return QRectF(
            (self.width() - size.width()) / 2, (self.height() - size.height()) / 2, size.width(), size.height()
        )

    def _render(self) -> None:
        if self._view is not None and self._view.workspace is not None:
            document = self._view.workspace.document
            bounds, composite = document.bounds, Composite.of(document.state)
            zoom = min(1.0, 280 / bounds.width, 200 / bounds.height)
            frame = Frame(zoom, bounds.width, bounds.height)
            if not composite.prepare(*source_region(composite, frame, frame.bounds), time_limit(_SECONDS)):
                # The old image is shown until the reductions are computed.
                self._refresh_later()
                return
            self._pixels = picture_pixels(composite, frame, frame.bounds, document.profile, self._view.display.monitor)
            height, width = self._pixels.shape[:2]
            self._image = QImage(self._pixels.data, width, height, width * 4, QImage.Format.Format_RGB32)
        self.update()
