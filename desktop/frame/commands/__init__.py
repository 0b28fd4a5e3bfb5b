"""The commands of the window: the action records of each menu. To add a command, add a record to its menu's module.

These modules are imported before the window is shown: heavy modules are imported inside the functions.
"""

from __future__ import annotations

from desktop.frame.actions import Action
from desktop.frame.commands import defects, edit, file, help_, layer, mask, picture, repair, review, tools, view

ACTIONS: tuple[Action, ...] = (
    *file.ACTIONS,
    *edit.ACTIONS,
    *view.ACTIONS,
    *picture.ACTIONS,
    *mask.ACTIONS,
    *repair.ACTIONS,
    *tools.ACTIONS,
    *defects.ACTIONS,
    *review.ACTIONS,
    *layer.ACTIONS,
    *help_.ACTIONS,
)
