"""The preview in the recipe editor: a picture before and after a recipe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from desktop.language import sentence_of
from desktop.panels.pictures import DividedPicture, image_of
from desktop.panels.widgets import JobBar
from desktop.work.base import Urgency
from desktop.work.preview import Preview, TakeSample, preview
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.recipes import Recipe
from engine.runtime.cards import Registry


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
        self.picture = DividedPicture(self.tr("Preview, before and after"))
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
        self._job = JobBar()
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        # A fixed height, so that nothing moves when the text changes.
        self.note.setMinimumHeight(3 * self.fontMetrics().height())
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        top = QHBoxLayout()
        top.addWidget(self.extent, 1)
        top.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(top)
        layout.addWidget(self.picture, 1)
        layout.addWidget(self._job)
        layout.addWidget(self.note)

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
        ticket.done.connect(partial(self._on_done, ticket))
        ticket.failed.connect(partial(self._on_failed, ticket))
        for signal in (ticket.cancelled, ticket.crashed):
            signal.connect(lambda *_: self._end(ticket))
        self.note.setText("")
        self._job.follow(ticket)

    def cancel(self) -> None:
        """Cancel a preview that is under way."""
        self._ticket = None
        self._job.stop()

    def clear(self, hint: str) -> None:
        """Show no picture, but how to get one."""
        self.cancel()
        self.picture.hint, self._recipe = hint, None
        self.picture.show_images()
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
        return True

    def _on_done(self, ticket: Ticket, made: Preview) -> None:
        if self._end(ticket):
            self.picture.show_images(image_of(made.before), image_of(made.after))
            healed = [self.tr("{0:,} defects were healed.").format(made.healed)] if made.healed else []
            self.note.setText(" ".join([*healed, *made.notices]))

    def _on_failed(self, ticket: Ticket, error: EngineError) -> None:
        if self._end(ticket):
            self.note.setText(sentence_of(error))
