"""The way from the main window to the window of batches, which is made when it is first needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QMainWindow

from desktop.document.project import SUFFIX
from desktop.frame.photos import Photos
from desktop.frame.reviewing import Reviewing
from desktop.panels.messages import MessageStrip
from desktop.settings import SettingsStore
from desktop.work.threads import JobCentre

if TYPE_CHECKING:
    from desktop.batch.window import BatchWindow

MOST_OPENED = 8
"""Files up to which a drop asks whether they are to be opened; more are a batch."""


class Batches(QObject):
    """Decides what a drop on the main window is, and keeps the window of batches. GUI thread.

    Args:
        window: the main window.
        store: settings.
        jobs: the job centre.
        photos: the open photographs.
        reviewing: the review of the batch.
        strip: the main window's messages.
        folder: the program's folder for the table of the batch.

    Signals:
        help_wanted: the help on batches is to be shown.
        try_wanted: a recipe is to be tried on a scan of the batch; see ``BatchWindow``.
    """

    help_wanted = Signal()
    try_wanted = Signal(object, str)

    def __init__(
        self,
        window: QMainWindow,
        store: SettingsStore,
        jobs: JobCentre,
        photos: Photos,
        reviewing: Reviewing,
        strip: MessageStrip,
        folder: Path,
    ) -> None:
        super().__init__(window)
        self._main, self._store, self._jobs = window, store, jobs
        self._photos, self._strip, self._folder = photos, strip, folder
        self._made: BatchWindow | None = None
        self._reviewing = reviewing
        reviewing.left.connect(self._on_review_left)

    @property
    def window(self) -> BatchWindow:
        """The window of batches, which may be hidden."""
        if self._made is None:
            from desktop.batch.keeper import BatchKeeper
            from desktop.batch.window import BatchWindow

            keeper = BatchKeeper(self._jobs, self._store.settings.batch, self._folder, self._photos.files_in_use)
            self._made = BatchWindow(keeper, self._jobs, self._store)
            self._made.open_wanted.connect(self._open)
            self._made.try_wanted.connect(self.try_wanted)
            self._made.help_wanted.connect(self.help_wanted)
            self._made.review_wanted.connect(partial(self._reviewing.begin, keeper))
            keeper.ended.connect(self._on_ended)
        return self._made

    def show(self) -> None:
        """Show the window of batches in front."""
        self.window.bring()

    def drop(self, paths: Sequence[Path]) -> None:
        """Files and folders were dropped on the main window: open them, add them to the batch, or ask which."""
        if len(paths) > MOST_OPENED or any(os.path.isdir(path) for path in paths):  # noqa: PTH112 - never raises
            self._add(paths)
        elif len(paths) == 1 or any(path.suffix.lower() == SUFFIX for path in paths):
            self._photos.open(list(paths))
        elif paths:
            self._strip.offer(
                self.tr("{0} pictures were dropped.").format(len(paths)),
                self.tr("Open here"),
                partial(self._photos.open, list(paths)),
                self._photos.photo,
                (self.tr("Add to batch"), partial(self._add, paths)),
            )

    def stop(self) -> None:
        """The program ends; its lanes have stopped."""
        self._reviewing.flush()
        if self._made is not None:
            self._made.end()
            self._made = None

    def _add(self, paths: Sequence[Path]) -> None:
        self.window.bring()
        self.window.add(paths)

    def _open(self, path: Path) -> None:
        self._photos.open([path])
        self._main.raise_()
        self._main.activateWindow()

    def _on_review_left(self, all_decided: bool) -> None:  # noqa: FBT001 - Qt's signal
        self.show()
        if all_decided:
            later = self.tr("All pictures that were looked through so far are decided.")
            self.window.strip.say(later if self.window.keeper.running else self.tr("All pictures are decided."))

    def _on_ended(self, sentence: str) -> None:
        """One notification when a run has ended, in whichever window the restorer is."""
        self._strip.say(sentence, keep_offer=True)
        QApplication.alert(self._main)
