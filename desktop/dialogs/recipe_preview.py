"""The preview in the recipe editor: a picture before and after a recipe, with a divider to drag."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from desktop.canvas.paint import paint_divider
from desktop.language import sentence_of
from desktop.work.base import Urgency
from desktop.work.preview import Preview, TakeSample, preview
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.recipes import Recipe
from engine.runtime.cards import Registry

_KEY_STEP = 0.05


class DividedPicture(QWidget):
    """Two pictures of the same place, the first left of a divider, which follows the mouse and the arrow keys."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(QSize(280, 240))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Preview, before and after"))
        self._images: tuple[QImage, ...] = ()
        self._split = 0.5
        self.hint = ""

    @property
    def images(self) -> tuple[QImage, ...]:
        """The pictures before and after; empty if there are none."""
        return self._images

    def show_pair(self, *pixels: NDArray[np.uint8]) -> None:
        """Show two pictures of one size, (h, w, 3) uint8, or none."""
        # Copied, because an image of an array does not own its pixels.
        self._images = tuple(
            QImage(one.data, one.shape[1], one.shape[0], 3 * one.shape[1], QImage.Format.Format_RGB888).copy()
            for one in pixels
        )
        self.setCursor(Qt.CursorShape.SplitHCursor if pixels else Qt.CursorShape.ArrowCursor)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), self.palette().base())
            if not self._images:
                painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
                room = self.rect().adjusted(24, 24, -24, -24)
                painter.drawText(room, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.hint)
                return
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            x, target = self._split * self.width(), self._target()
            for image, side in zip(
                self._images, (QRectF(0, 0, x, self.height()), QRectF(x, 0, self.width(), self.height())), strict=True
            ):
                painter.setClipRect(side)
                painter.drawImage(target, image)
            painter.setClipping(False)
            paint_divider(painter, x, self.rect(), self.tr("Before"), self.tr("After"))

    def _target(self) -> QRectF:
        """Where the pictures are drawn: at one pixel of theirs for one of the screen, or smaller."""
        size = self._images[0].size().toSizeF() / self.devicePixelRatioF()
        if size.width() > self.width() or size.height() > self.height():
            size.scale(self.size().toSizeF(), Qt.AspectRatioMode.KeepAspectRatio)
        return QRectF(
            round((self.width() - size.width()) / 2),
            round((self.height() - size.height()) / 2),
            size.width(),
            size.height(),
        )

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._divide(event.position().x() / max(1, self.width()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._divide(event.position().x() / max(1, self.width()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        by = {Qt.Key.Key_Left: -_KEY_STEP, Qt.Key.Key_Right: _KEY_STEP}.get(Qt.Key(event.key()))
        if by is None:
            super().keyPressEvent(event)
        else:
            self._divide(self._split + by)

    def _divide(self, share: float) -> None:
        self._split = min(1.0, max(0.0, share))
        self.update()


class RecipePreview(QWidget):
    """Tries a recipe on a picture in a job and shows the result. GUI thread.

    Args:
        registry: the models.
        jobs: runs the job.
        device: returns where models run: ``auto``, ``cpu`` or ``cuda``.
        monitor: returns the screen's ICC profile; None is sRGB.
    """

    def __init__(
        self,
        registry: Registry,
        jobs: JobCentre,
        device: Callable[[], str],
        monitor: Callable[[], bytes | None],
    ) -> None:
        super().__init__()
        self._registry, self._jobs, self._device, self._monitor = registry, jobs, device, monitor
        self._ticket: Ticket | None = None
        self._recipe: Recipe | None = None
        self.picture = DividedPicture()
        self.extent = QComboBox()
        self.extent.addItem(self.tr("Middle of the view, at 100 %"), False)
        self.extent.addItem(self.tr("Whole picture, reduced"), True)
        self.extent.setAccessibleName(self.tr("What the preview shows"))
        self.extent.setToolTip(
            self.tr(
                "At 100 % damage and noise are as in the scan; the whole picture shows tone as it will be, but fine "
                "damage is lost in the reduction"
            )
        )
        self.button = QPushButton(self.tr("Preview"))
        self.button.setToolTip(self.tr("Try the recipe as it is here; the picture is not changed"))
        self._cancel = QPushButton(self.tr("Cancel"))
        self._cancel.clicked.connect(self.cancel)
        self._bar = QProgressBar()
        self._bar.setRange(0, 100)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        # A fixed height, so that nothing moves when the text changes.
        self.note.setMinimumHeight(3 * self.fontMetrics().height())
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        top = QHBoxLayout()
        top.addWidget(self.extent, 1)
        top.addWidget(self.button)
        top.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(top)
        layout.addWidget(self.picture, 1)
        layout.addWidget(self._bar)
        layout.addWidget(self.note)
        self._show_running()

    @property
    def whole(self) -> bool:
        """Whether the whole picture is wanted, reduced."""
        return bool(self.extent.currentData())

    @property
    def running(self) -> bool:
        """Whether a preview is being made."""
        return self._ticket is not None

    def start(self, recipe: Recipe, take: TakeSample, title: str) -> None:
        """Try a recipe on a picture; a preview that is under way is cancelled.

        Args:
            recipe: the recipe.
            take: takes the sample of the picture.
            title: name of the picture.
        """
        self.cancel()
        ratio = self.devicePixelRatioF()
        size = round(self.picture.width() * ratio), round(self.picture.height() * ratio)
        device, monitor, registry = self._device(), self._monitor(), self._registry

        def work(context: JobContext) -> Preview:
            return preview(recipe, take, size, registry, device, monitor, context)

        def prepare() -> Work:
            return work

        self._recipe = recipe
        words = self.tr("Preview of {0}").format(title)
        self._ticket = ticket = self._jobs.submit(words, Lane.COMPUTE, prepare, urgency=Urgency.REPAIR)
        ticket.changed.connect(lambda: self._bar.setValue(round(100 * ticket.progress)))
        ticket.done.connect(partial(self._on_done, ticket))
        ticket.failed.connect(partial(self._on_failed, ticket))
        for signal in (ticket.cancelled, ticket.crashed):
            signal.connect(lambda *_: self._end(ticket))
        self.note.setText("")
        self._bar.setValue(0)
        self._show_running()

    def cancel(self) -> None:
        """Cancel a preview that is under way."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.cancel()
        self._show_running()

    def clear(self, hint: str) -> None:
        """Show no picture, but how to get one."""
        self.cancel()
        self.picture.hint, self._recipe = hint, None
        self.picture.show_pair()
        self.note.setText("")

    def follow(self, recipe: Recipe) -> None:
        """Say so if the recipe is not any more the one of which the preview was made."""
        if self._recipe is not None and self._recipe.steps != recipe.steps and not self.running:
            self.note.setText(self.tr("The recipe was changed since this preview."))

    def _end(self, ticket: Ticket) -> bool:
        """Whether an ended job is the latest; then nothing runs any more."""
        if ticket is not self._ticket:
            return False
        self._ticket = None
        self._show_running()
        return True

    def _on_done(self, ticket: Ticket, made: Preview) -> None:
        if self._end(ticket):
            self.picture.show_pair(made.before, made.after)
            healed = [self.tr("{0:,} defects were healed.").format(made.healed)] if made.healed else []
            self.note.setText(" ".join([*healed, *made.notices]))

    def _on_failed(self, ticket: Ticket, error: EngineError) -> None:
        if self._end(ticket):
            self.note.setText(sentence_of(error))

    def _show_running(self) -> None:
        self._cancel.setEnabled(self.running)
        policy = self._bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._bar.setSizePolicy(policy)
        self._bar.setVisible(self.running)
