"""Walking through the scans of a batch that wait for decisions: one after another in the same tab of the editor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from desktop.canvas.view import CanvasView
from desktop.frame.photos import Photos
from desktop.language import sentence_of
from desktop.panels.messages import MessageStrip
from desktop.panels.review_bar import ReviewBar
from desktop.photo.files import Files
from desktop.work.threads import JobCentre, Ticket
from engine.errors import EngineError
from engine.review import Verdict

if TYPE_CHECKING:
    from desktop.batch.decided import DecidedList
    from desktop.batch.judging import Judging
    from desktop.document.model import Document
    from engine.batch.rows import Row

LOG = logging.getLogger("lacuna")


class Reviewing(QObject):
    """The review of a batch in one window. GUI thread.

    Args:
        photos: the open photographs.
        files: opens files.
        jobs: the job centre.
        strip: messages.
        bar: shows where the restorer is.

    Signals:
        shown: a scan was opened for review; carries its Workspace.
        left: the review was ended, or everything is decided; carries whether it is all.
        changed: what can be done may have changed.
    """

    shown = Signal(object)
    left = Signal(bool)
    changed = Signal()

    def __init__(self, photos: Photos, files: Files, jobs: JobCentre, strip: MessageStrip, bar: ReviewBar) -> None:
        super().__init__(photos)
        self._photos, self._files, self._jobs, self._strip, self._bar = photos, files, jobs, strip, bar
        self._scans: DecidedList | None = None
        self._judging: Judging | None = None
        self._leaving: list[Judging] = []
        self._walk: list[int] = []
        self._opening: Row | None = None
        self._busy = False
        self._note = ""
        photos.shown.connect(self._on_tab)

    # -- what can be done -------------------------------------------------------------------------------------

    @property
    def is_shown(self) -> bool:
        """Whether the scan that is reviewed is the photograph that is shown."""
        return self._judging is not None and self._judging.photo is self._photos.photo

    @property
    def ready(self) -> bool:
        """Whether the defects are known, and no other scan is being opened."""
        judging = self._judging
        if judging is None or self._busy or self._opening is not None:
            return False
        defects, queue = judging.photo.defects, judging.photo.queue
        return not queue.pending and (defects.review is None or defects.outlines is not None)

    @property
    def has_previous(self) -> bool:
        """Whether there is a scan before this one in the walk."""
        return self._judging is not None and self._walk.index(self._judging.row.id) > 0

    # -- walking ----------------------------------------------------------------------------------------------

    def begin(self, scans: DecidedList, id_: int | None) -> None:
        """Review a scan, or the first that waits for decisions.

        Args:
            scans: the list of the batch.
            id_: the scan's row; None = the first that waits.
        """
        self._scans = scans
        scans.ask_waiting(partial(self._on_waiting, id_))

    def _on_waiting(self, id_: int | None, waiting: Sequence[int]) -> None:
        if self._judging is None:
            self._walk = []
        self._add(waiting)
        if id_ is None and waiting:
            id_ = waiting[0]
        if id_ is None:
            self._say(self.tr("No picture of the batch waits for review."))
            return
        self._add([id_])
        self._open(id_)

    def _add(self, ids: Sequence[int]) -> None:
        """Take scans into the walk that are not in it yet, in the order of the work."""
        known = set(self._walk)
        self._walk += [id_ for id_ in ids if id_ not in known]

    def go_on(self) -> None:
        """The scan is decided: go to the next that waits."""
        judging, scans = self._judging, self._scans
        if judging is None or scans is None or not self.ready:
            return
        defects = judging.photo.defects
        if defects.items and defects.counts[Verdict.TO_DO] == len(defects.items):
            # With nothing decided at all, a document heals all that it is sure of; here only what was accepted.
            defects.keep_rest()
            said = self.tr("Nothing was accepted in {0}, so nothing is healed there.")
            self._note = said.format(judging.row.path.name)
        ticket = judging.write(decided=True)
        if ticket is None:
            self._strip.say(self.tr("Another search was made in this picture, so it cannot be decided for the batch."))
            return
        self._wait_for(ticket)
        ticket.done.connect(lambda _: self._wait_for(scans.ask_waiting(partial(self._go_to_next, judging))))

    def _go_to_next(self, judging: Judging, waiting: Sequence[int]) -> None:
        self._add(waiting)
        if self._judging is not judging:
            return
        here = self._walk.index(judging.row.id)
        following = set(waiting) - {judging.row.id}
        id_ = next((id_ for id_ in [*self._walk[here + 1 :], *self._walk[:here]] if id_ in following), None)
        if id_ is None:
            self._leave(all_decided=True)
        else:
            self._open(id_)

    def go_back(self) -> None:
        """Go to the scan before this one."""
        if self._judging is not None and self.ready and self.has_previous:
            self._judging.write()
            self._open(self._walk[self._walk.index(self._judging.row.id) - 1])

    def end(self) -> None:
        """End the review; what was judged is kept."""
        if self._judging is not None:
            self._leave(all_decided=False)

    def _leave(self, *, all_decided: bool) -> None:
        self._let_go()
        self.left.emit(all_decided)

    def _wait_for(self, ticket: Ticket) -> None:
        """Nothing else can be done until a job has ended."""
        self._busy = True
        ticket.ended.connect(self._on_waited)
        self._refresh()

    def _on_waited(self) -> None:
        self._busy = False
        self._refresh()

    # -- opening and leaving ----------------------------------------------------------------------------------

    def _open(self, id_: int) -> None:
        from desktop.batch.deciding import open_looked_through
        from desktop.batch.words import is_looked_through

        scans = self._scans
        row = next(iter(scans.rows([id_])), None) if scans is not None else None
        if scans is None or row is None or self._opening is not None:
            return
        if self._judging is not None and self._judging.row.id == id_:
            self._photos.open([row.path])
            return
        if not is_looked_through(row):
            self._say(self.tr("{0} is being worked on, or is healed already.").format(row.path.name))
            return
        if self._photos.view_of(row.path.resolve()) is not None or row.path.resolve() in self._files.opening:
            self._say(self.tr("{0} is open already. Close it there to review it.").format(row.path.name))
            return
        table = scans.path
        ticket = self._files.open(row.path.resolve(), lambda _, context: open_looked_through(table, row, context))
        self._opening = row
        # What was said about the scan before is not about this one.
        self._strip.say(self._note, keep_offer=True)
        self._note = ""
        ticket.done.connect(lambda document: self._on_opened(row, document))
        ticket.failed.connect(partial(self._on_failed, row))
        ticket.ended.connect(self._on_opening_ended)
        self._bar.show_opening(row.path.name)
        self._refresh()

    def _on_failed(self, row: Row, error: EngineError) -> None:
        if self._scans is not None:
            # The restorer may be in the window of the batch.
            self._scans.failed.emit(error)
            self._scans.judged(row.id)

    def _say(self, sentence: str) -> None:
        """Say something in both windows: the restorer may be in that of the batch."""
        self._strip.say(sentence)
        if self._scans is not None:
            self._scans.said.emit(sentence)

    def _on_opening_ended(self) -> None:
        self._opening = None
        self._refresh()

    def _on_opened(self, row: Row, document: Document) -> None:
        from desktop.batch.judging import Judging

        view = next((v for v in self._photos.views() if v.workspace and v.workspace.document is document), None)
        if view is None or view.workspace is None or self._scans is None:
            return
        photo, tabs = view.workspace, self._photos.tabs
        place = self._let_go()
        if place >= 0:
            tabs.tabBar().moveTab(tabs.indexOf(view), place)
        tabs.setCurrentWidget(view)
        view.setFocus()
        self._add([row.id])
        self._judging = judging = Judging(photo, self._scans, row, self._jobs)
        judging.failed.connect(self._strip.warn)
        judging.written.connect(self._forget_written)
        photo.defects.changed.connect(self._refresh)
        photo.queue.changed.connect(self._refresh)
        self._opening = None
        self._go_to_first(judging)
        self.shown.emit(photo)
        self._refresh()

    def _go_to_first(self, judging: Judging) -> None:
        """Show the first defect that is to do, as soon as they are outlined."""
        defects = judging.photo.defects

        def go() -> None:
            if self._judging is judging and defects.outlines is not None:
                defects.changed.disconnect(go)
                defects.go_to_first()

        defects.changed.connect(go)
        go()

    def _let_go(self) -> int:
        """Keep what was judged, and close the scan if it holds no other work; else it is a photograph like others.

        Returns:
            The place of its tab; -1 if it stays, or there was none.
        """
        judging, self._judging = self._judging, None
        if judging is None:
            return -1
        self._keep(judging)
        view = self._view_of(judging)
        judging.photo.defects.changed.disconnect(self._refresh)
        judging.photo.queue.changed.disconnect(self._refresh)
        if view is None:
            return -1
        if judging.photo.unsaved:
            judging.photo.document.batch_review = None
            return -1
        place = self._photos.tabs.indexOf(view)
        self._photos.close(place)
        return place

    def _view_of(self, judging: Judging) -> CanvasView | None:
        return next((view for view in self._photos.views() if view.workspace is judging.photo), None)

    def _keep(self, judging: Judging) -> None:
        """Write what was judged for the last time; until that is done, ``flush`` can do it."""
        judging.end()
        self._leaving.append(judging)
        self._forget_written()

    def _forget_written(self) -> None:
        self._leaving = [judging for judging in self._leaving if judging.unwritten]

    def flush(self) -> None:
        """Write what is not on the disk yet, synchronously: the program is about to end, and its lanes do not work."""
        for judging in [*self._leaving, *([self._judging] if self._judging is not None else [])]:
            try:
                judging.write_at_once()
            except EngineError as error:
                LOG.info(sentence_of(error))
        self._leaving.clear()

    # -- what is shown ----------------------------------------------------------------------------------------

    def _on_tab(self) -> None:
        judging = self._judging
        if judging is not None and self._view_of(judging) is None:
            # Its tab was closed.
            self._judging = None
            self._keep(judging)
        elif judging is not None and not self.is_shown:
            judging.write()
        self._refresh()

    def _refresh(self) -> None:
        judging = self._judging
        if self._opening is not None and (judging is None or self.is_shown):
            self._bar.show_opening(self._opening.path.name)
        elif judging is None or not self.is_shown:
            self._bar.hide()
        else:
            defects = judging.photo.defects
            known = defects.review is not None and defects.outlines is not None
            decided = (len(defects.items) - defects.counts[Verdict.TO_DO], len(defects.items)) if known else None
            place = self._walk.index(judging.row.id) + 1
            self._bar.show_place(place, len(self._walk), judging.row.path.name, decided)
        self.changed.emit()
