"""The open photographs in tabs: opens them, shows one, and closes them after questions about unsaved work."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QObject, QSize, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QMainWindow, QTabBar, QTabWidget, QToolButton

from desktop.canvas.view import CanvasView
from desktop.dialogs.questions import Closing, Questions, Waiting
from desktop.document.model import State
from desktop.panels.messages import MessageStrip
from desktop.photo.files import Files
from desktop.photo.workspace import Workspace
from desktop.settings import SettingsStore
from desktop.theme import icon
from desktop.work.threads import Ticket
from engine.errors import EngineError
from engine.resources import resource

SAMPLE = resource("samples", "astronaut.tif")

Answer = TypeVar("Answer")


class Photos(QObject):
    """The open photographs of one window. GUI thread.

    Args:
        window: the main window, whose title names the photograph.
        store: settings.
        files: opens and writes files.
        strip: messages.

    Attributes:
        tabs: the widget.
        save: saves a photograph, asking where the first time; returns the ticket, or None when the user cancelled.

    Signals:
        opened: a photograph was opened; carries its CanvasView.
        shown: another photograph is shown, or none.
        changed: the actions that can be used on the shown photograph may have changed.
        remembered: a file is first in the list of recent files now; carries its Workspace and its path.
    """

    opened = Signal(object)
    shown = Signal()
    changed = Signal()
    remembered = Signal(object, object)

    def __init__(self, window: QMainWindow, store: SettingsStore, files: Files, strip: MessageStrip) -> None:
        super().__init__(window)
        self._window, self._store, self._files, self._strip = window, store, files, strip
        self._closing = self._asking = False
        self._discarded: dict[CanvasView, State] = {}
        self._saving: set[CanvasView] = set()
        self._finishing: set[CanvasView] = set()
        self._last: CanvasView | None = None
        self.save: Callable[[Workspace], Ticket | None] = lambda _: None
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.setMovable(True)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tabs.currentChanged.connect(self._on_tab)
        files.opened.connect(self._on_opened)
        files.failed.connect(self._on_failed)
        files.crashed.connect(self._abort_closing)
        files.written.connect(self._on_written)

    # -- access -----------------------------------------------------------------------------------------------

    @property
    def view(self) -> CanvasView | None:
        """The canvas that is shown."""
        widget = self.tabs.currentWidget()
        return widget if isinstance(widget, CanvasView) else None

    @property
    def photo(self) -> Workspace | None:
        """The photograph that is shown."""
        return self.view.workspace if self.view is not None else None

    def views(self) -> list[CanvasView]:
        """All canvases, in the order of the tabs."""
        widgets = [self.tabs.widget(i) for i in range(self.tabs.count())]
        return [widget for widget in widgets if isinstance(widget, CanvasView)]

    def view_of(self, path: Path) -> CanvasView | None:
        """The canvas of a file that is open; None if it is not.

        Args:
            path: the file, resolved.
        """
        return next((view for view in self.views() if view.workspace and path in view.workspace.files()), None)

    def files_in_use(self) -> list[Path]:
        """Files that must not be overwritten: of all open photographs with their scans, and files being written."""
        open_ = [view.workspace for view in self.views() if view.workspace is not None]
        scans = [photo.document.scan_file for photo in open_]
        files = [path for photo in open_ for path in photo.files()]
        return [*files, *(scan.path for scan in scans if scan), *self._files.targets]

    # -- opening ----------------------------------------------------------------------------------------------

    def open(self, paths: list[Path]) -> None:
        """Open files. One that is open already is shown instead, and one that is being opened is skipped."""
        self._abort_closing()
        for path in dict.fromkeys(path.resolve() for path in paths):
            known = self.view_of(path)
            if known is not None:
                self.tabs.setCurrentWidget(known)
            elif path in self._files.targets:
                self._strip.say(self.tr("{0} is being written; open it after that.").format(path.name))
            elif path not in self._files.opening:
                self._files.open(path)

    def _on_opened(self, photo: Workspace) -> None:
        view = CanvasView(self._store.settings.tools)
        view.show_workspace(photo)
        photo.setParent(view)
        photo.modified.connect(self._show_titles)
        for signal in (
            photo.layers_changed,
            photo.defects.changed,
            photo.defects.selection_changed,
            photo.queue.changed,
        ):
            signal.connect(self.changed)
        for signal in (photo.undo.canUndoChanged, photo.undo.canRedoChanged):
            signal.connect(lambda _: self.changed.emit())
        photo.scan_shown.connect(self.changed)
        photo.message.connect(self._strip.warn)
        photo.offered.connect(partial(self._strip.offer, of=photo))
        self.opened.emit(view)
        index = self.tabs.addTab(view, photo.title)
        self.tabs.tabBar().setTabButton(index, QTabBar.ButtonPosition.RightSide, self._close_button(view))
        if self.photo is None or not self.photo.gesturing:
            self.tabs.setCurrentIndex(index)
            view.setFocus()
        if photo.source != SAMPLE and photo.document.batch_review is None:
            self._remember(photo, photo.source)
        photo.modified.connect(self._remember_project)
        self._show_titles()

    def _close_button(self, view: CanvasView) -> QToolButton:
        button = QToolButton()
        button.setIcon(icon("cancel"))
        button.setIconSize(QSize(12, 12))
        button.setAutoRaise(True)
        button.setToolTip(self.tr("Close this photograph"))
        button.setAccessibleName(button.toolTip())
        button.clicked.connect(lambda: self.close(self.tabs.indexOf(view)))
        return button

    # -- closing ----------------------------------------------------------------------------------------------

    def close_current(self) -> None:
        """Close the photograph that is shown."""
        self.close(self.tabs.currentIndex())

    def close(self, index: int) -> None:
        """Close a photograph, after asking about running repairs and unsaved work.

        If the user wants these finished or saved, it is closed when that is done.
        """
        view = self.tabs.widget(index)
        if not isinstance(view, CanvasView) or view in self._saving or view in self._finishing:
            return
        self._abort_closing()
        view.input.finish()
        if not self._has_unsaved_work(view) or (self._ask(view) and not self._has_unsaved_work(view)):
            self._remove(view)

    def _has_unsaved_work(self, view: CanvasView) -> bool:
        """Whether a photograph has work that is neither saved nor discarded by the user."""
        photo = view.workspace
        if photo is None or not photo.unsaved:
            return False
        discarded = self._discarded.get(view)
        return discarded is None or photo.queue.pending or not photo.document.state.same_work(discarded)

    def _ask(self, view: CanvasView) -> bool:
        """Ask whether to save, discard or finish work, and start that.

        Returns:
            False when the user cancelled closing.
        """
        photo = view.workspace
        assert photo is not None
        self.tabs.setCurrentWidget(view)
        if photo.queue.pending:
            return self._ask_waiting(view, photo)
        answer = self._answer(partial(Questions.unsaved, self._window, photo.title))
        if answer is Closing.DISCARD:
            self._discarded[view] = photo.document.state
            return True
        ticket = self.save(photo) if answer is Closing.SAVE else None
        if ticket is None:
            return False
        self._saving.add(view)
        ticket.ended.connect(lambda: self._saving.discard(view))
        ticket.done.connect(photo.while_open(lambda _: self._on_saved_to_close(view)))
        ticket.cancelled.connect(self._abort_closing)
        return True

    def _ask_waiting(self, view: CanvasView, photo: Workspace) -> bool:
        """``_ask`` for waiting and running repairs: finish or discard them."""
        answer = self._answer(partial(Questions.waiting, self._window, photo.title))
        if answer is Waiting.CANCEL:
            return False
        if answer is Waiting.DISCARD:
            photo.queue.cancel_all()
            return not self._has_unsaved_work(view) or self._ask(view)
        self._finishing.add(view)
        if not self._closing:
            self._strip.say(self.tr("{0} is closed when its repairs are done.").format(photo.title), keep_offer=True)
        photo.queue.changed.connect(lambda: self._on_finished_to_close(view))
        self._on_finished_to_close(view)
        return True

    def _answer(self, ask: Callable[[], Answer]) -> Answer:
        self._asking = True
        try:
            return ask()
        finally:
            self._asking = False

    def _on_finished_to_close(self, view: CanvasView) -> None:
        photo = view.workspace
        if view in self._finishing and (photo is None or not photo.queue.pending):
            # Not inside the queue's signal.
            QTimer.singleShot(0, view, lambda: self._go_on_closing(view))

    def _go_on_closing(self, view: CanvasView) -> None:
        if view not in self._finishing:
            return
        self._finishing.discard(view)
        if self._closing:
            self._window.close()
        else:
            self.close(self.tabs.indexOf(view))

    def _on_saved_to_close(self, view: CanvasView) -> None:
        # ``close`` asks again about changes made during saving. A closing window continues in ``_on_written``.
        self._saving.discard(view)
        if not self._closing:
            self.close(self.tabs.indexOf(view))

    def _abort_closing(self) -> None:
        """Cancel the closing of the window, and forget the answers to its questions."""
        self._closing = False
        self._discarded.clear()

    def _remove(self, view: CanvasView) -> None:
        # Ending a drag applies results that were held back, which may close this tab.
        view.input.cancel()
        photo, index = view.workspace, self.tabs.indexOf(view)
        if index < 0 or photo is None:
            return
        self._discarded.pop(view, None)
        self._last = None if self._last is view else self._last
        self.tabs.removeTab(index)
        view.show_workspace(None)
        self._strip.forget_offer_of(photo)
        self._files.close(photo)
        view.deleteLater()
        # Signals and slots create reference cycles, which keep hundreds of megabytes until the next collection.
        QTimer.singleShot(0, self, gc.collect)

    def allow_closing(self) -> bool:
        """Close all photographs, after questions about work.

        Returns:
            False when the user cancelled, or when jobs must end first; then the window is closed when they have.
        """
        self._closing = True
        for view in self.views():
            view.input.finish()
        # Checked again after each question, since results of jobs may arrive while it is open.
        while unsaved := [v for v in reversed(self.views()) if self._has_unsaved_work(v) and not self._busy(v)]:
            if not self._ask(unsaved[0]):
                self._abort_closing()
                return False
        if self._finishing:
            self._strip.say(self.tr("Lacuna closes when the repairs are done."))
            return False
        if self._files.writing:
            self._strip.say(self.tr("Lacuna closes when the file is written."))
            return False
        for view in self.views():
            self._remove(view)
        return True

    def _busy(self, view: CanvasView) -> bool:
        return view in self._saving or view in self._finishing

    def _on_written(self) -> None:
        if self._closing:
            QTimer.singleShot(0, self, self._close_after_writing)

    def _close_after_writing(self) -> None:
        photo, dialog = self.photo, QApplication.activeModalWidget()
        if photo is not None and photo.gesturing:
            photo.while_open(self._close_after_writing)()
        elif dialog is not None and not self._asking:
            # The user has opened a dialog, so the window stays.
            self._abort_closing()
        elif self._closing and not self._files.writing and not self._asking:
            self._window.close()

    # -- updates ----------------------------------------------------------------------------------------------

    def _on_tab(self) -> None:
        if self._last is not None and self._last is not self.view:
            # All canvases use the same tool objects.
            self._last.input.cancel()
        self._last = self.view
        self.shown.emit()
        self.changed.emit()
        self._show_titles()

    def _show_titles(self) -> None:
        for view in self.views():
            photo, index = view.workspace, self.tabs.indexOf(view)
            if photo is not None:
                self.tabs.setTabText(index, photo.title + ("*" if photo.unsaved else ""))
                self.tabs.setTabToolTip(index, str(photo.project or photo.source))
        photo = self.photo
        name = f"{photo.title}{'*' if photo.unsaved else ''} - Lacuna" if photo is not None else "Lacuna"
        self._window.setWindowTitle(name)

    def redraw(self) -> None:
        """Set the icons in the theme's colours."""
        for view in self.views():
            button = self.tabs.tabBar().tabButton(self.tabs.indexOf(view), QTabBar.ButtonPosition.RightSide)
            if isinstance(button, QToolButton):
                button.setIcon(icon("cancel"))

    def _remember_project(self) -> None:
        photo = self.photo
        if photo is not None and photo.project is not None and not photo.unsaved:
            self._remember(photo, photo.project)

    def _remember(self, photo: Workspace, path: Path) -> None:
        self._store.remember_file(path)
        self.remembered.emit(photo, path)

    def _on_failed(self, error: EngineError) -> None:
        self._abort_closing()
        self._strip.warn(error)
