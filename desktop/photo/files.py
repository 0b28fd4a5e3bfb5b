"""Opens, saves, exports and recovers photographs in jobs of the io lane. Questions to the user are asked elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from PySide6.QtCore import QLockFile, QObject, Signal

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.edits import Edit
from desktop.document.model import Document, State
from desktop.document.opening import file_stamp, open_document
from desktop.document.project import write_project
from desktop.document.recovery import Recovered, autosaved_source, holds_work, recover
from desktop.document.targets import Target
from desktop.photo.workspace import Workspace
from desktop.tools.select import replace_mask
from desktop.work.flatten import export
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine import imageio
from engine.errors import SettingsError, WriteError
from engine.jobs import JobContext
from engine.output import Output
from engine.runtime.cards import Registry

TRASH_DAYS = 30
"""How long autosaved work is kept in the trash."""
_DAY = 24 * 60 * 60
_FORGOTTEN = "forgotten"
"""Name of an empty file in each folder in the trash; its modification time is when the folder was put there."""


class Files(QObject):
    """Opens and writes the files of photographs. GUI thread.

    Signals:
        opened: a photograph was opened; carries its Workspace.
        failed: a file could not be read or written; carries the EngineError.
        crashed: writing raised an unexpected exception, which is reported elsewhere.
        said: carries a sentence for the user.
        written: no file is being written any more, whether writing succeeded or not.
    """

    opened = Signal(object)
    failed = Signal(object)
    crashed = Signal()
    said = Signal(str)
    written = Signal()

    def __init__(self, jobs: JobCentre, registry: Registry, state: Path) -> None:
        """Args: state: the program's folder for autosaved work."""
        super().__init__()
        self._jobs, self._registry = jobs, registry
        self._sessions, self._trash = state / "sessions", state / "trash"
        self._locks: dict[Path, QLockFile] = {}
        self._closing: set[Path] = set()
        self._opening: set[Path] = set()
        self._targets: list[Path] = []
        self._reserved: list[Path] = []

    # -- opening ----------------------------------------------------------------------------------------------

    @property
    def opening(self) -> set[Path]:
        """The files that are being read."""
        return self._opening

    def open(self, path: Path, read: Callable[[Path, JobContext], Document] = open_document) -> Ticket:
        """Start reading a scan or a project.

        Args:
            path: the file.
            read: reads it as a document, on a thread.
        """

        def work(context: JobContext) -> Document:
            return read(path, context)

        ticket = self._open(self.tr("Opening {0}").format(path.name), path, work)
        ticket.done.connect(lambda document: self._on_opened(document, path))
        return ticket

    def _open(self, title: str, path: Path, work: Work) -> Ticket:
        self._opening.add(path)
        ticket = self._jobs.submit(title, Lane.IO, lambda: work)
        ticket.ended.connect(lambda: self._opening.discard(path))
        ticket.failed.connect(self.failed)
        return ticket

    def _on_opened(self, document: Document, path: Path) -> None:
        workspace = Workspace(document, path, AutosaveFolder(self._new_folder()), self._jobs, self._registry)
        if document.own_project:
            # A project of another program is not overwritten without asking: unknown parts of it were not read.
            workspace.project, workspace.project_stamp = path, document.stamp
        self.opened.emit(workspace)
        for notice in document.notices:
            self.said.emit(notice)

    def _new_folder(self) -> Path:
        """A name for a new autosave folder, locked by this program; the folder is created on the first write."""
        for _ in range(100):
            folder = self._sessions / uuid4().hex
            if self._lock(folder):
                break
        return folder

    def _lock(self, folder: Path) -> bool:
        """Lock an autosave folder; False when another program has locked it, or nothing can be written."""
        try:
            self._sessions.mkdir(parents=True, exist_ok=True)
        except OSError:
            # Autosaving will fail too, and then there is a message.
            return False
        lock = QLockFile(str(folder.with_suffix(".lock")))
        lock.setStaleLockTime(0)
        if not lock.tryLock(0):
            return False
        self._locks[folder] = lock
        return True

    # -- recovery ---------------------------------------------------------------------------------------------

    def abandoned_work(self) -> dict[Path, Path]:
        """Autosave folders left by a crash -> file of the photograph. Locks them.

        Deletes those without work; moves those whose work cannot be read to the trash.
        """
        found: dict[Path, Path] = {}
        folders = {path.with_suffix("") for path in _entries(self._sessions)}
        for folder in sorted(folders):
            if folder in self._locks or not self._lock(folder):
                continue
            source = autosaved_source(folder)
            if source is not None:
                found[folder] = source
            elif holds_work(folder):
                self.move_to_trash(folder)
            else:
                self._remove(folder)
        return found

    def forgotten_work(self) -> dict[Path, Path]:
        """Autosave folders in the trash -> file of the photograph, latest first."""
        kept = [folder for folder in _entries(self._trash) if not _is_outdated(folder)]
        sources = {folder: autosaved_source(folder) for folder in sorted(kept, key=_age)}
        return {folder: source for folder, source in sources.items() if source is not None}

    def empty_trash(self) -> None:
        """Start deleting what has been in the trash for more than ``TRASH_DAYS``."""
        outdated = [folder for folder in _entries(self._trash) if _is_outdated(folder)]

        def work(_: JobContext) -> None:
            for folder in outdated:
                shutil.rmtree(folder, ignore_errors=True)

        if outdated:
            self._jobs.submit(self.tr("Tidying up"), Lane.AUTOSAVE, lambda: work)

    def restore_from_trash(self, folder: Path) -> Path | None:
        """Move autosaved work back from the trash; returns its new folder, or None if that is impossible."""
        wanted = self._new_folder()
        try:
            folder.rename(wanted)
        except OSError:
            self.unlock(wanted)
            return None
        return wanted

    def move_to_trash(self, folder: Path) -> None:
        """Move autosaved work to the trash, where it is kept for ``TRASH_DAYS``."""
        target = self._trash / folder.name
        with contextlib.suppress(OSError):
            self._trash.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
            # Its age is counted from now.
            (target / _FORGOTTEN).touch()
        self.unlock(folder)

    def recover(self, folder: Path, source: Path) -> Ticket:
        """Start opening a photograph with its autosaved work; later autosaves use the same folder."""

        def work(context: JobContext) -> Recovered:
            return recover(folder, context)

        ticket = self._open(self.tr("Opening the saved work on {0}").format(source.name), source, work)
        ticket.done.connect(lambda recovered: self._on_recovered(recovered, folder))
        return ticket

    def _on_recovered(self, recovered: Recovered, folder: Path) -> None:
        workspace = Workspace(recovered.document, recovered.source, AutosaveFolder(folder), self._jobs, self._registry)
        # Saving asks for a name: it may have been saved under another one before the crash.
        workspace.mark_recovered()
        self.opened.emit(workspace)
        for notice in recovered.document.notices:
            self.said.emit(notice)

    def unlock(self, folder: Path) -> None:
        """Unlock an autosave folder, so that it can be offered again."""
        lock = self._locks.pop(folder, None)
        if lock is not None:
            lock.unlock()

    def _remove(self, folder: Path) -> None:
        """Delete and unlock an autosave folder."""
        AutosaveFolder(folder).remove()
        self.unlock(folder)

    # -- writing ----------------------------------------------------------------------------------------------

    @property
    def writing(self) -> bool:
        """Whether a project, an export or a mask is being written; the program must not end then."""
        return bool(self._targets)

    @property
    def targets(self) -> list[Path]:
        """The files that are being written or are reserved."""
        return [*self._targets, *self._reserved]

    def reserve(self, target: Path, ticket: Ticket) -> None:
        """Reserve a file for a job that will write it, until the job ends. The program may end before that."""
        target = target.resolve()
        self._reserved.append(target)
        for signal in (ticket.done, ticket.failed, ticket.cancelled, ticket.crashed):
            signal.connect(lambda *_: self._reserved.remove(target))

    def _write(
        self,
        title: str,
        target: Path,
        work: Work,
        done: Callable[..., None],
        check: Callable[[], None] = lambda: None,
    ) -> Ticket:
        def prepare() -> Work:
            check()
            return work

        target = target.resolve()
        self._targets.append(target)
        ticket = self._jobs.submit(title, Lane.IO, prepare)
        ticket.done.connect(done)
        ticket.failed.connect(self.failed)
        ticket.crashed.connect(lambda _: self.crashed.emit())
        ticket.ended.connect(lambda: self._on_written(target))
        return ticket

    def _on_written(self, target: Path) -> None:
        self._targets.remove(target)
        if not self._targets:
            self.written.emit()

    def changed_elsewhere(self, workspace: Workspace, path: Path) -> bool:
        """Whether another program changed a project since this program last read or wrote it."""
        opened = workspace.autosave.opened
        known = None
        if workspace.project is not None and imageio.same_file(path, workspace.project):
            known = workspace.project_stamp
        elif imageio.same_file(path, opened.path):
            known = opened.stamp
        return known is not None and file_stamp(path) not in (known, None)

    def save(self, workspace: Workspace, path: Path) -> Ticket:
        """Start saving a project; the job fails if another program changes the file before its turn comes."""
        snapshot, found = workspace.snapshot(), file_stamp(path)

        def check() -> None:
            # The job may wait for a long export. An earlier save of this photograph is no conflict.
            if file_stamp(path) not in (found, None) and self.changed_elsewhere(workspace, path):
                raise WriteError(
                    "{file} was changed by another program meanwhile. Nothing was written; please save again.",
                    "write.changed",
                    file=path.name,
                )

        def work(context: JobContext) -> tuple[int, int] | None:
            write_project(snapshot, path, context)
            return file_stamp(path)

        def on_saved(stamp: tuple[int, int] | None) -> None:
            workspace.mark_saved(path, snapshot, stamp)
            self.said.emit(self.tr("Saved {0}.").format(path.name))

        return self._write(self.tr("Saving {0}").format(path.name), path, work, on_saved, check)

    def export(self, workspace: Workspace, output: Output) -> Ticket:
        """Start writing the visible picture and its record."""
        snapshot = workspace.snapshot()

        def work(context: JobContext) -> tuple[tuple[str, ...], int]:
            notices = export(snapshot, output, "export", context)
            return notices, output.path.stat().st_size

        def on_exported(result: tuple[tuple[str, ...], int]) -> None:
            notices, size = result
            written = self.tr("Exported {0}, {1:.1f} MB.").format(output.path.name, size / 1e6)
            self.said.emit(" ".join([written, *notices]))

        return self._write(self.tr("Exporting {0}").format(output.path.name), output.path, work, on_exported)

    def measure(self, workspace: Workspace, output: Output) -> Ticket:
        """Start an export to the autosave folder to find out its size; ``done`` carries the bytes."""
        # If the program is killed meanwhile, the file is deleted together with that folder.
        snapshot, folder = workspace.snapshot(), workspace.autosave.folder.folder
        trial = replace(output, path=folder / f"trial{output.path.suffix}", record=False)

        def work(context: JobContext) -> int:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                export(snapshot, trial, "export", context)
                return trial.path.stat().st_size
            except OSError as error:
                raise WriteError(
                    "{file} cannot be written: {reason}.", "write.failed", file=trial.path.name, reason=error.strerror
                ) from error
            finally:
                trial.path.unlink(missing_ok=True)

        return self._jobs.submit(self.tr("Measuring the export"), Lane.IO, lambda: work)

    def load_mask(self, workspace: Workspace, path: Path) -> None:
        """Replace the mask of the paint target by that of a picture file, in a job."""

        def make(state: State, target: Target, context: JobContext) -> Edit | None:
            mask = imageio.read_mask(path, context.part(0.0, 0.5))
            height, width = state.mask.shape
            if mask.shape != (height, width):
                said = "The mask is {own_width} x {own_height} px, but the picture is {width} x {height} px."
                own_height, own_width = mask.shape
                raise SettingsError(
                    said, "mask.size", own_width=own_width, own_height=own_height, width=width, height=height
                )
            return replace_mask(state, target, self.tr("Load mask"), mask, context.part(0.5, 1.0))

        workspace.change_mask(self.tr("Load mask"), make)

    def save_mask(self, workspace: Workspace, path: Path) -> Ticket:
        """Start writing the mask of the paint target as a PNG."""
        mask = workspace.mask()

        def work(_: JobContext) -> None:
            imageio.write_mask(mask.read(mask.bounds), path)

        def on_saved(_: object) -> None:
            self.said.emit(self.tr("Saved {0}.").format(path.name))

        return self._write(self.tr("Saving {0}").format(path.name), path, work, on_saved)

    def close(self, workspace: Workspace) -> None:
        """Close a photograph whose work was saved or discarded: cancel its jobs and delete its autosave folder."""
        workspace.close()
        folder = workspace.autosave.folder.folder

        def work(_: JobContext) -> None:
            AutosaveFolder(folder).remove()

        # On the same lane, so that it runs after an autosave that is still writing.
        ticket = self._jobs.submit(self.tr("Tidying up"), Lane.AUTOSAVE, lambda: work)
        ticket.done.connect(lambda: self._remove(folder))
        self._closing.add(folder)

    def shut_down(self) -> None:
        """Delete the autosave folders of closed photographs. Called after the job centre has stopped."""
        for folder in self._closing:
            self._remove(folder)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it is missing or cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_outdated(folder: Path) -> bool:
    return _age(folder) > TRASH_DAYS * _DAY


def _age(folder: Path) -> float:
    """Seconds since an autosave folder was moved to the trash."""
    try:
        return time.time() - (folder / _FORGOTTEN).stat().st_mtime
    except OSError:
        return 0.0
