"""What an undo stack holds in memory, and which of its steps change what is saved, counted as steps come and go."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from desktop.document.edits import Edit
from desktop.document.tiles import TileDelta


class Step(Protocol):
    """A step of the stack."""

    edit: Edit


class UndoMemory:
    """The steps of an undo stack, oldest first. Every change costs as much as the steps it is about, however many.

    Attributes:
        nbytes: memory that the steps hold.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._steps: list[Step] = []
        self._saved = [0]
        """How many of the first n steps change what files keep."""
        self._held: deque[tuple[int, TileDelta, int]] = deque()
        """Tiles in memory, oldest first: place of their step, the tiles, their bytes."""

    def add(self, step: Step) -> None:
        """A step was pushed."""
        place = len(self._steps)
        self._steps.append(step)
        self._saved.append(self._saved[-1] + step.edit.saved)
        for delta in step.edit.deltas():
            self._held.append((place, delta, delta.nbytes))
            self.nbytes += self._held[-1][2]

    def refresh_last(self) -> None:
        """The last step holds something else."""
        step = self._steps[-1]
        self.truncate(len(self._steps) - 1)
        self.add(step)

    def truncate(self, index: int) -> None:
        """The steps from an index on are gone."""
        del self._steps[index:], self._saved[index + 1 :]
        while self._held and self._held[-1][0] >= index:
            self.nbytes -= self._held.pop()[2]

    def changes_saved_work(self, one: int, other: int) -> bool:
        """Whether the steps between two indices of the stack change what files keep."""
        return self._saved[one] != self._saved[other]

    def take_oldest(self, excess: int) -> list[TileDelta]:
        """The oldest tiles that hold so many bytes; they are no longer counted."""
        taken = []
        while excess > 0 and self._held:
            _, delta, size = self._held.popleft()
            self.nbytes -= size
            excess -= size
            if size:
                taken.append(delta)
        return taken
