"""Offers autosaved work that a crash left behind, and work in the trash."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from desktop.dialogs.recover import RecoverDialog, Recovery
from desktop.photo.files import Files


def offer_recovery(parent: QWidget, files: Files, *, forgotten: bool = False) -> bool:
    """Ask whether autosaved work is opened, moved to the trash or kept for later, and do it.

    Args:
        parent: of the dialog.
        files: opens the work.
        forgotten: whether to offer the work in the trash too.

    Returns:
        Whether there was any.
    """
    files.empty_trash()
    abandoned, trash = files.abandoned_work(), files.forgotten_work() if forgotten else {}
    if not abandoned and not trash:
        return False
    answers = RecoverDialog.ask(parent, abandoned, trash)
    for folder, source in abandoned.items():
        answer = answers.get(folder, Recovery.LATER)
        if answer is Recovery.OPEN:
            files.recover(folder, source)
        elif answer is Recovery.FORGET:
            files.move_to_trash(folder)
        else:
            files.unlock(folder)
    for folder, source in trash.items():
        back = files.restore_from_trash(folder) if answers.get(folder) is Recovery.OPEN else None
        if back is not None:
            files.recover(back, source)
    return True
