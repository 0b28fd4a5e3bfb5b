"""The File menu: open, save, export and close."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from desktop.frame.actions import Action, always

if TYPE_CHECKING:
    from desktop.frame.context import Context
    from desktop.photo.workspace import Workspace
    from desktop.work.threads import Ticket

_EXPORTED = (".tif", ".tiff", ".png")
"""Suffixes of scans that the suggested name of an export keeps."""


def ask_open(context: Context) -> None:
    """Ask for scans or projects and open them."""
    from desktop.dialogs.export import FileDialogs

    context.photos.open(FileDialogs.open_pictures(context.window, _folder(context)))


def open_sample(context: Context) -> None:
    """Open the picture that comes with the program."""
    from desktop.frame.photos import SAMPLE

    context.photos.open([SAMPLE])


def ask_recover(context: Context) -> None:
    """Offer autosaved work that was left for later or is in the trash."""
    from desktop.frame.recovery import offer_recovery

    if not offer_recovery(context.window, context.files, forgotten=True):
        context.strip.say(context.window.tr("There is no autosaved work to recover."))


def save(context: Context, photo: Workspace, *, ask: bool = False) -> Ticket | None:
    """Save a photograph as a project.

    Args:
        context: of the window.
        photo: the photograph.
        ask: ask for a file name even if there is a project file.

    Returns:
        The ticket; None when the user cancelled, or the file cannot be written.
    """
    from desktop.dialogs.export import FileDialogs
    from desktop.dialogs.questions import Conflict, Questions
    from desktop.document.project import SUFFIX

    path = photo.project
    if path is None or ask:
        suggestion = path or context.folder_of(photo) / photo.source.with_suffix(SUFFIX).name
        path = FileDialogs.save_project(context.window, suggestion)
    if path is None or not context.may_write(path, (SUFFIX,), _protected(context, photo)):
        return None
    if context.files.changed_elsewhere(photo, path):
        answer = Questions.changed_elsewhere(context.window, path.name)
        if answer is Conflict.SAVE_AS:
            return save(context, photo, ask=True)
        if answer is Conflict.OPEN_THEIRS:
            # Saving this one asks for a name.
            photo.project = None
            context.files.open(path)
        if answer is not Conflict.OVERWRITE:
            return None
    return context.files.save(photo, path)


def _protected(context: Context, photo: Workspace) -> list[Path]:
    """Files that saving a project must not overwrite: all files in use except its own project file.

    Its own project file is protected too if a newer version of this program wrote it or another tab has it open.
    """
    from desktop.document.project import SUFFIX

    others = [view.workspace for view in context.photos.views() if view.workspace not in (None, photo)]
    kept = {file for other in others if other is not None for file in other.files()}
    if photo.document.newer_project:
        kept.add(photo.source.resolve())
    own = {file for file in photo.files() if file.suffix.lower() == SUFFIX} - kept
    return [file for file in context.photos.files_in_use() if file.resolve() not in own]


def _save(context: Context) -> None:
    if context.photo is not None:
        save(context, context.photo)


def _save_as(context: Context) -> None:
    if context.photo is not None:
        save(context, context.photo, ask=True)


def _ask_export(context: Context) -> None:
    from desktop.dialogs.export import ExportDialog
    from desktop.dialogs.questions import Questions

    photo = context.photo
    if photo is None:
        return
    suffix = photo.source.suffix.lower()
    suffix = suffix if suffix in _EXPORTED else ".tif"
    output = ExportDialog.ask(
        context.window,
        context.photos.files_in_use(),
        photo.document.depth,
        context.folder_of(photo) / f"{photo.source.stem}-healed{suffix}",
        lambda wanted: context.files.measure(photo, wanted),
    )
    if output is None or not context.may_export(output):
        return
    if not output.path.exists() or Questions.overwrite(context.window, output.path):
        context.files.export(photo, output)


def _folder(context: Context) -> Path:
    """Where file dialogs start: the folder of the shown photograph, or of the most recent one; never the program's."""
    from desktop.frame.photos import SAMPLE

    files = [Path(path) for path in context.store.settings.recent]
    if context.photo is not None:
        files.insert(0, context.photo.source)
    folders = [file.parent for file in files]
    return next((folder for folder in folders if folder != SAMPLE.parent), Path.home())


ACTIONS = (
    Action(
        id="open",
        menu="File",
        text="Open…",
        run=ask_open,
        enabled=always,
        shortcuts=("Ctrl+O",),
        tip="Open scans or projects",
        icon="open",
        while_dragging=True,
    ),
    Action(
        id="open_sample",
        menu="File",
        text="Open the Sample",
        run=open_sample,
        enabled=always,
        tip="Open the picture that comes with Lacuna",
        while_dragging=True,
    ),
    Action(
        id="batch",
        menu="File",
        text="Batch…",
        run=lambda context: context.batches.show(),
        enabled=always,
        shortcuts=("Ctrl+Shift+B",),
        tip="Restore many scans and whole folders by one recipe",
        while_dragging=True,
    ),
    Action(
        id="recover",
        menu="File",
        text="Recover Work…",
        run=ask_recover,
        enabled=always,
        tip="Open autosaved work that was left for later or forgotten",
    ),
    Action(
        id="save",
        menu="File",
        text="Save Project",
        run=_save,
        shortcuts=("Ctrl+S",),
        tip="Save layers and masks as OpenRaster",
        icon="save",
        separator=True,
    ),
    Action(id="save_as", menu="File", text="Save Project As…", run=_save_as, shortcuts=("Ctrl+Shift+S",)),
    Action(
        id="export",
        menu="File",
        text="Export…",
        run=_ask_export,
        shortcuts=("Ctrl+Shift+E",),
        tip="Write the repaired picture",
        icon="export",
    ),
    Action(
        id="close",
        menu="File",
        text="Close",
        run=lambda context: context.photos.close_current(),
        shortcuts=("Ctrl+W",),
        separator=True,
        while_dragging=True,
    ),
    Action(
        id="quit",
        menu="File",
        text="Quit",
        run=lambda context: context.window.close(),
        enabled=always,
        shortcuts=("Ctrl+Q",),
        while_dragging=True,
    ),
)
