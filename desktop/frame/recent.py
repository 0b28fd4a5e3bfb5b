"""Recent files on the start page: their thumbnails, and whether they are still there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QImage

from desktop.document.project import SUFFIX
from desktop.frame.photos import Photos
from desktop.frame.start_page import StartPage
from desktop.panels.widgets import show_file
from desktop.photo.thumbnails import Thumbnails
from desktop.photo.workspace import Workspace
from desktop.settings import SettingsStore
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.jobs import JobContext


class Recent(QObject):
    """Keeps the cards of the start page and their thumbnails. GUI thread.

    Args:
        page: the start page.
        photos: opens files.
        store: has the list.
        jobs: looks at files and makes thumbnails.
        folder: of the thumbnails.
    """

    def __init__(self, page: StartPage, photos: Photos, store: SettingsStore, jobs: JobCentre, folder: Path) -> None:
        super().__init__(page)
        self._page, self._photos, self._store, self._jobs = page, photos, store, jobs
        self._thumbnails = Thumbnails(folder)
        self._looking: list[Ticket] = []
        page.file_wanted.connect(lambda name: photos.open([Path(name)]))
        page.folder_wanted.connect(lambda name: show_file(Path(name).parent))
        page.forgotten.connect(self._forget)
        photos.remembered.connect(self._on_remembered)
        photos.shown.connect(self.refresh)

    def refresh(self) -> None:
        """Show the recent files as they are now, if the start page is shown: drives are asked, which may take long."""
        for ticket in self._looking:
            ticket.cancel()
        self._page.show_recent(self._store.settings.recent)
        if self._photos.view is not None or not self._page.names:
            return
        # A lane of its own: a drive that does not answer holds up nothing that anybody waits for.
        pictures = self._look(partial(_read_pictures, self._thumbnails, self._page.names))
        # Slots of an object, and no lambdas: the work emits on its own thread.
        pictures.told.connect(self._on_picture)
        files = self._look(partial(_find_files, self._page.names))
        files.told.connect(self._on_found)
        self._looking = [pictures, files]

    def _on_picture(self, told: tuple[str, QImage]) -> None:
        if self._page.cards is not None:
            self._page.cards.show_picture(*told)

    def _on_found(self, told: tuple[str, float | None]) -> None:
        if self._page.cards is not None:
            self._page.cards.show_found(*told)

    def _look(self, look: Callable[[Ticket, JobContext], None]) -> Ticket:
        def prepare() -> Work:
            return lambda context: look(ticket, context)

        ticket = self._jobs.submit(self.tr("Recent files"), Lane.BACKGROUND, prepare, shown=False)
        return ticket

    def _forget(self, names: list[str] | None) -> None:
        self._store.forget_files(self._store.settings.recent if names is None else names)
        self._tidy()
        self.refresh()

    def _on_remembered(self, photo: Workspace, path: Path) -> None:
        def prepare() -> Work:
            # Work that was recovered, or done meanwhile, is not what the file shows.
            project = path.suffix.lower() == SUFFIX
            if photo.closed or (project and photo.unsaved):
                return lambda _: None
            state = photo.document.state if project else replace(photo.document.state, layers=())
            return self._thumbnails.make(str(path), state, photo.document.profile)

        # On the lane on which the view is prepared, and after that: then there is a small picture to begin with.
        self._jobs.submit(self.tr("Thumbnail"), Lane.IO, prepare, shown=False)
        self._tidy()

    def _tidy(self) -> None:
        """Delete the thumbnails of files that are not on the list."""

        def prepare() -> Work:
            names = self._store.settings.recent
            return lambda _: self._thumbnails.keep_only(names)

        self._jobs.submit(self.tr("Thumbnail"), Lane.IO, prepare, shown=False)


def _read_pictures(thumbnails: Thumbnails, names: list[str], ticket: Ticket, context: JobContext) -> None:
    """Tell name and image of each thumbnail that there is. Any thread."""
    for name in names:
        context.check()
        image = QImage.fromData(thumbnails.read(name))
        if not image.isNull():
            ticket.told.emit((name, image))


def _find_files(names: list[str], ticket: Ticket, context: JobContext) -> None:
    """Tell name and time of the last change of each file, None where it is not found. Any thread."""
    for name in names:
        context.check()
        try:
            changed: float | None = Path(name).stat().st_mtime
        except (OSError, ValueError):
            changed = None
        ticket.told.emit((name, changed))
