"""The status bar: zoom, pointer position, samples, facts about the scan, device of the last repair, running job."""

from __future__ import annotations

import math
import time

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QLineEdit, QProgressBar, QSizePolicy, QStatusBar, QToolButton, QWidget

from desktop.canvas.view import CanvasView
from desktop.document.compose import Composite
from desktop.photo.workspace import Workspace
from desktop.theme import icon
from desktop.work.threads import JobCentre, Ticket
from engine import colour
from engine.jobs import JobState
from engine.raster import Rect

_SHOWN_AFTER_MS = 250
"""Shorter jobs are not shown, because they would only flicker."""
_SPACING = 8
"""Between two widgets, logical pixels."""


class StatusBar(QStatusBar):
    """Shows facts about the photograph on the canvas, and the running job. GUI thread."""

    def __init__(self, jobs: JobCentre) -> None:
        super().__init__()
        self.setSizeGripEnabled(False)
        # Long texts do not widen the window.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._view: CanvasView | None = None
        self._zoom = ZoomField()
        self._place, self._values = QLabel(), QLabel()
        self._kind, self._resolution, self._device, self._size = QLabel(), QLabel(), QLabel(), QLabel()
        self._size.setToolTip(self.tr("Size of the picture"))
        self._place.setToolTip(self.tr("Pixel under the pointer"))
        self._values.setToolTip(self.tr("Samples of the visible picture under the pointer, in the scan's own numbers"))
        self._kind.setToolTip(self.tr("Depth and colour profile of the scan"))
        self._resolution.setToolTip(self.tr("Resolution of the scan"))
        self._device.setToolTip(self.tr("Where the last repair really ran"))
        self._job = QLabel()
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setFixedWidth(140)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName(self.tr("Progress of the running job"))
        self._cancel = QToolButton()
        self._cancel.setIcon(icon("cancel"))
        self._cancel.setAutoRaise(True)
        self._cancel.setToolTip(self.tr("Cancel the running job"))
        self._cancel.setAccessibleName(self.tr("Cancel the running job"))
        self._cancel.clicked.connect(self._on_cancel)
        self._tickets: list[Ticket] = []
        self._since: dict[Ticket, float] = {}
        self.addWidget(self._zoom)
        for label, longest in ((self._place, "00000, 00000"), (self._values, "R 00000  G 00000  B 00000")):
            self.addWidget(label)
            # So that nothing moves with the pointer.
            label.setText(longest)
            label.setMinimumWidth(label.sizeHint().width())
            label.clear()
        for label in (self._size, self._kind, self._resolution, self._device):
            self.addWidget(label)
        for widget in (self._job, self._bar, self._cancel):
            self.addPermanentWidget(widget)
        self._zoom.wanted.connect(self._on_zoom)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SHOWN_AFTER_MS)
        self._timer.timeout.connect(self._show_job)
        jobs.added.connect(self._on_added)
        self._show_job()

    def show_view(self, view: CanvasView | None) -> None:
        """Show the facts of a canvas, or none."""
        if self._view is not None:
            self._view.viewport.moved.disconnect(self._show_zoom)
            self._view.pointed.disconnect(self._on_pointed)
            if self._view.workspace is not None:
                self._view.workspace.size_changed.disconnect(self._on_size_changed)
        self._view = view
        for label in (self._zoom, self._place, self._values, self._kind, self._resolution, self._size):
            label.clear()
        if view is not None and view.workspace is not None:
            view.viewport.moved.connect(self._show_zoom)
            view.pointed.connect(self._on_pointed)
            view.workspace.size_changed.connect(self._on_size_changed)
            self._show_zoom()
            self._show_scan(view.workspace)

    def show_device(self, text: str) -> None:
        """Show the device on which the last repair ran."""
        self._device.setText(text)
        self._fit()

    def _on_size_changed(self) -> None:
        if self._view is not None and self._view.workspace is not None:
            self._show_scan(self._view.workspace)

    def _show_zoom(self) -> None:
        if self._view is not None:
            self._zoom.show_zoom(self._view.viewport.zoom)

    def _on_zoom(self, zoom: float) -> None:
        if self._view is not None:
            self._view.viewport.zoom_to(zoom)
            self._view.setFocus()

    def _show_scan(self, workspace: Workspace) -> None:
        document = workspace.document
        name = colour.description(document.profile)
        if document.profile is None:
            name = self.tr("untagged, shown as sRGB") if document.channels == 3 else self.tr("grey, untagged")
        self._kind.setText(self.tr("{0} bit {1}").format(document.depth, name))
        resolution = document.resolution
        self._resolution.setText(self.tr("{0} dpi").format(f"{resolution.x:.4g}") if resolution else "")
        self._size.setText(f"{document.bounds.width} x {document.bounds.height} px")
        self._fit()

    def _on_pointed(self, point: tuple[float, float] | None) -> None:
        workspace = self._view.workspace if self._view is not None else None
        self._place.clear()
        self._values.clear()
        if point is None or workspace is None:
            return
        x, y = int(point[0] // 1), int(point[1] // 1)
        pixel = Rect(x, y, x + 1, y + 1)
        self._place.setText(f"{x}, {y}")
        if workspace.document.bounds.contains(pixel):
            samples = Composite.of(workspace.document.state).read(pixel)[0, 0]
            names = "RGB" if len(samples) == 3 else "K"
            self._values.setText("  ".join(f"{name} {value}" for name, value in zip(names, samples, strict=True)))

    # -- jobs -------------------------------------------------------------------------------------------------

    def _on_added(self, ticket: Ticket) -> None:
        self._tickets.append(ticket)
        ticket.changed.connect(self._show_job)
        ticket.ended.connect(self._on_ended)
        self._show_job()

    def _on_ended(self) -> None:
        ended = [ticket for ticket in self._tickets if ticket.state.ended]
        self._tickets = [ticket for ticket in self._tickets if not ticket.state.ended]
        for ticket in ended:
            self._since.pop(ticket, None)
        self._show_job()

    @property
    def _running(self) -> Ticket | None:
        """The running job; if several are, the one that interrupted the others."""
        return next((ticket for ticket in reversed(self._tickets) if ticket.state is JobState.RUNNING), None)

    def _show_job(self) -> None:
        running = self._running
        now = time.monotonic()
        elapsed = now - self._since.setdefault(running, now) if running is not None else 0.0
        shown = 1000 * elapsed >= _SHOWN_AFTER_MS
        for widget in (self._job, self._bar, self._cancel):
            widget.setVisible(shown)
        if running is not None and not shown and not self._timer.isActive():
            self._timer.start()
        if running is None or not shown:
            self._fit()
            return
        waiting = len(self._tickets) - 1
        count = self.tr(" ({0} waiting)").format(waiting) if waiting else ""
        left = ""
        if running.progress > 0.05 and elapsed > 2:
            left = self.tr(", {0} s left").format(max(1, round(elapsed / running.progress * (1 - running.progress))))
        text = f"{running.title}{count}{left}"
        self._job.setText(self._job.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, 360))
        self._bar.setValue(round(1000 * running.progress))
        self._fit()

    def _fit(self) -> None:
        """Hide the less important facts about the scan if the window is too narrow for all."""
        kept = (self._zoom, self._place, self._values, self._job, self._bar, self._cancel)
        room = self.width() - sum(_taken_width(widget) for widget in kept if not widget.isHidden())
        for label in (self._size, self._kind, self._resolution, self._device):
            room -= _taken_width(label)
            label.setVisible(room >= 0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _on_cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()


def _taken_width(widget: QWidget) -> int:
    """The width of a widget in the status bar, with the space beside it."""
    return max(widget.sizeHint().width(), widget.minimumWidth()) + _SPACING


class ZoomField(QLineEdit):
    """A field that shows the zoom in per cent, and in which it can be typed.

    Signals:
        wanted: a zoom was typed; carries it, 1 = 100 %.
    """

    wanted = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setFrame(False)
        self.setFixedWidth(72)
        self.setAccessibleName(self.tr("Zoom"))
        words = "Zoom: 100 % shows one pixel of the scan as one pixel of the screen; type another and press Return"
        self.setToolTip(self.tr(words))
        self._shown = ""
        self.returnPressed.connect(self._on_return)

    def show_zoom(self, zoom: float) -> None:
        """Show a zoom, unless one is being typed."""
        self._shown = f"{zoom * 100:.4g} %"
        if not (self.hasFocus() and self.isModified()):
            self.setText(self._shown)

    def _on_return(self) -> None:
        try:
            zoom = float(self.text().replace("%", "").replace(",", ".")) / 100
        except ValueError:
            zoom = math.nan
        self.setModified(False)
        self.setText(self._shown)
        if math.isfinite(zoom) and zoom > 0:
            self.wanted.emit(zoom)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        # Later, because the click that gave the focus still sets the text cursor.
        QTimer.singleShot(0, self, self.selectAll)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.setModified(False)
        self.setText(self._shown)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
        else:
            super().keyPressEvent(event)
