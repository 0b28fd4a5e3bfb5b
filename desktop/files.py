"""Opening, saving, exporting and recovering, as jobs of the io lane. Asking the user is the window's part."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QLockFile, QObject, Signal

from desktop.document.model import Document
from desktop.document.project import SUFFIX, write_project
from desktop.document.session import Recovered, Session, autosaved_source, open_document, recover
from desktop.flatten import export
from desktop.jobs import JobCentre, Lane, Ticket
from desktop.tools.select import replaced
from desktop.workspace import Workspace
from engine import imageio
from engine.errors import SettingsError
from engine.jobs import JobContext
from engine.output import Output
from engine.raster import Mask
from engine.runtime.cards import Registry


class Files(QObject):
    """The way of photographs from and to the disk. GUI thread.

    Signals:
        opened: a photograph is ready; carries its Workspace.
        failed: carries the EngineError.
        said: something good to know, a sentence.
    """

    opened = Signal(object)
    failed = Signal(object)
    said = Signal(str)

    def __init__(self, jobs: JobCentre, registry: Registry, sessions: Path) -> None:
        super().__init__()
        self._jobs, self._registry, self._sessions = jobs, registry, sessions
        self._locks: dict[Path, QLockFile] = {}
        self._closing: set[Path] = set()

    # -- opening ----------------------------------------------------------------------------------------------

    def open(self, path: Path) -> Ticket:
        """Read a scan or a project."""

        def work(context: JobContext) -> Document:
            return open_document(path, context)

        ticket = self._jobs.submit(self.tr("Opening {0}").format(path.name), Lane.IO, lambda: work)
        ticket.done.connect(lambda document: self._opened(document, path))
        ticket.failed.connect(self.failed)
        return ticket

    def _opened(self, document: Document, path: Path) -> None:
        workspace = Workspace(document, path, Session(self._new_folder()), self._jobs, self._registry)
        if path.suffix.lower() == SUFFIX:
            workspace.project = path
        self.opened.emit(workspace)
        for notice in document.notices:
            self.said.emit(notice)

    def _new_folder(self) -> Path:
        """A folder of this program's own for one photograph, marked as in use."""
        from uuid import uuid4

        folder = self._sessions / uuid4().hex
        self._lock(folder)
        return folder

    def _lock(self, folder: Path) -> bool:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            # Then there is no autosave either; the first one says so.
            return False
        lock = QLockFile(str(folder / "lock"))
        lock.setStaleLockTime(0)
        if not lock.tryLock(0):
            return False
        self._locks[folder] = lock
        return True

    # -- recovery ---------------------------------------------------------------------------------------------

    def abandoned(self) -> dict[Path, Path]:
        """Session folders that a crash left behind -> the photograph; those without work are tidied away."""
        found: dict[Path, Path] = {}
        for folder in sorted(self._sessions.glob("*/")):
            if folder in self._locks or not self._lock(folder):
                continue
            source = autosaved_source(folder)
            if source is None:
                self.forget(folder)
            else:
                found[folder] = source
        return found

    def recover(self, folder: Path) -> Ticket:
        """Open a photograph with its autosaved work; the session goes on in the same folder."""

        def work(context: JobContext) -> Recovered:
            return recover(folder, context)

        ticket = self._jobs.submit(self.tr("Opening the saved work"), Lane.IO, lambda: work)
        ticket.done.connect(lambda recovered: self._recovered(recovered, folder))
        ticket.failed.connect(self.failed)
        return ticket

    def _recovered(self, recovered: Recovered, folder: Path) -> None:
        workspace = Workspace(recovered.document, recovered.source, Session(folder), self._jobs, self._registry)
        workspace.mark_recovered()
        self.opened.emit(workspace)

    def forget(self, folder: Path) -> None:
        """Delete a session folder."""
        lock = self._locks.pop(folder, None)
        if lock is not None:
            lock.unlock()
        Session(folder).remove()

    # -- writing ----------------------------------------------------------------------------------------------

    def save(self, workspace: Workspace, path: Path) -> Ticket:
        """Save the project."""
        snapshot = workspace.snapshot()
        index = workspace.undo.index()

        def work(context: JobContext) -> None:
            write_project(snapshot, path, context)

        def saved() -> None:
            workspace.mark_saved(path, index)
            self.said.emit(self.tr("Saved {0}.").format(path.name))

        ticket = self._jobs.submit(self.tr("Saving {0}").format(path.name), Lane.IO, lambda: work)
        ticket.done.connect(saved)
        ticket.failed.connect(self.failed)
        return ticket

    def export(self, workspace: Workspace, output: Output) -> Ticket:
        """Write the visible picture and its record."""
        snapshot = workspace.snapshot()

        def work(context: JobContext) -> tuple[str, ...]:
            return export(snapshot, output, "export", context)

        def exported(notices: tuple[str, ...]) -> None:
            size = output.path.stat().st_size / 1e6
            written = self.tr("Exported {0}, {1:.1f} MB.").format(output.path.name, size)
            self.said.emit(" ".join([written, *notices]))

        ticket = self._jobs.submit(self.tr("Exporting {0}").format(output.path.name), Lane.IO, lambda: work)
        ticket.done.connect(exported)
        ticket.failed.connect(self.failed)
        return ticket

    def measure(self, workspace: Workspace, output: Output) -> Ticket:
        """Find out how large an export would be, by making it in a temporary folder; done carries the bytes."""
        snapshot = workspace.snapshot()

        def work(context: JobContext) -> int:
            with tempfile.TemporaryDirectory(prefix="lacuna-") as folder:
                trial = replace(output, path=Path(folder) / f"trial{output.path.suffix}", record=False)
                export(snapshot, trial, "export", context)
                return trial.path.stat().st_size

        return self._jobs.submit(self.tr("Measuring the export"), Lane.IO, lambda: work)

    def load_mask(self, workspace: Workspace, path: Path) -> Ticket:
        """Replace the mask that is painted by a picture's."""

        def work(_: JobContext) -> Mask:
            return imageio.read_mask(path)

        def loaded(mask: Mask) -> None:
            state, target = workspace.document.state, workspace.target
            height, width = state.mask.shape
            if mask.shape != (height, width):
                sentence = self.tr("The mask is {0} x {1} px, but the picture is {2} x {3} px.")
                text = sentence.format(mask.shape[1], mask.shape[0], width, height)
                self.failed.emit(SettingsError(text, "mask.size"))
                return
            workspace.push(replaced(state, target, self.tr("Load mask"), mask))

        ticket = self._jobs.submit(self.tr("Loading {0}").format(path.name), Lane.IO, lambda: work)
        ticket.done.connect(loaded)
        ticket.failed.connect(self.failed)
        return ticket

    def save_mask(self, workspace: Workspace, path: Path) -> Ticket:
        """Write the mask that is painted as a PNG."""
        mask = workspace.mask()

        def work(_: JobContext) -> None:
            imageio.write_mask(mask.read(mask.bounds), path)

        ticket = self._jobs.submit(self.tr("Saving {0}").format(path.name), Lane.IO, lambda: work)
        ticket.done.connect(lambda: self.said.emit(self.tr("Saved {0}.").format(path.name)))
        ticket.failed.connect(self.failed)
        return ticket

    def close(self, workspace: Workspace) -> None:
        """End a photograph whose work was saved or given up: jobs are called off, its session is forgotten."""
        workspace.close()
        folder = workspace.session.folder

        def work(_: JobContext) -> None:
            Session(folder).remove()

        # On the io lane, behind an autosave that may still be writing there.
        ticket = self._jobs.submit(self.tr("Tidying up"), Lane.IO, lambda: work)
        ticket.done.connect(lambda: self.forget(folder))
        self._closing.add(folder)

    def shut_down(self) -> None:
        """After the job centre has stopped: forget the sessions of photographs that were closed."""
        for folder in self._closing:
            self.forget(folder)
