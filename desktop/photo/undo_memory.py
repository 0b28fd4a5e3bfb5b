"""Keeps account of the memory of an undo stack, and of the steps that change what is saved."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from desktop.document.edits import Edit
from engine.tiles import TileDelta


class Step(Protocol):
    """A step of the stack."""

    edit: Edit


class UndoMemory:
    """The steps of an undo stack, oldest first. The cost of each method depends only on the steps that it changes.

    Attributes:
        nbytes: memory that the steps hold, bytes.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._steps: list[Step] = []
        self._saved = [0]
        """For each n: how many of the first n steps change what is saved in files."""
        self._held: deque[tuple[int, TileDelta, int]] = deque()
        """Tiles in memory, oldest first: index of the step, the tiles, their bytes."""

    def add(self, step: Step) -> None:
        """A step was pushed."""
        place = len(self._steps)
        self._steps.append(step)
        self._saved.append(self._saved[-1] + step.edit.saved)
        for delta in step.edit.deltas():
            self._held.append((place, delta, delta.nbytes))
            self.nbytes += self._held[-1][2]

    def refresh_last(self) -> None:
        """The edit of the last step was replaced."""
        step = self._steps[-1]
        self.truncate(len(self._steps) - 1)
        self.add(step)

    def truncate(self, index: int) -> None:
        """The steps from an index on were removed."""
        del self._steps[index:], self._saved[index + 1 :]
        while self._held and self._held[-1][0] >= index:
            self.nbytes -= self._held.pop()[2]

    def changes_saved_work(self, one: int, other: int) -> bool:
        """Whether any step between two indices of the stack changes what is saved in files."""
        return self._saved[one] != self._saved[other]

    def take_oldest(self, excess: int) -> list[TileDelta]:
        """Remove the oldest tiles of at least ``excess`` bytes from the account, and return them."""
        taken = []
        while excess > 0 and self._held:
            _, delta, size = self._held.popleft()
            self.nbytes -= size
            excess -= size
            if size:
                taken.append(delta)
        return taken
