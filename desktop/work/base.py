"""A job of one photograph: a description of what is wanted, and the runner that does it.

The description is frozen data, made when the restorer asks. The runner is made from it: it freezes the input when its
turn comes, gives the work for an engine thread, and turns the outcome into one edit. Nothing here knows Qt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from desktop.document.compose import Composite
from desktop.document.edits import Edit
from desktop.document.geometry import Transform
from desktop.document.model import Document, Layer
from desktop.document.targets import EdgeMap
from desktop.document.tiles import TileMap
from engine.jobs import JobContext
from engine.record import Repair

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Task, TaskInput


@dataclass(frozen=True)
class TaskRequest:
    """One task as the Repair panel asks for it.

    Attributes:
        task: a row of ``engine.tasks.TASKS``.
        model: id of a model card.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: the task's settings by name.
        new_layer: always on a layer of its own.
    """

    task: str
    model: str
    device: str
    settings: dict[str, float]
    new_layer: bool = False


class Urgency(IntEnum):
    """How soon a job is done. A higher one is done within the next step of a lower one that runs."""

    WHOLE_PICTURE = 0
    """Takes long, and the restorer goes on meanwhile."""
    REPAIR = 1
    """The restorer asked for it here and now."""
    HAND = 2
    """The hand waits for it: a stroke, a turn."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is wanted of one photograph. Frozen data.

    Attributes:
        mask: where, as it was when the job was asked for; None = the whole picture.
        claims: the mask is a part of the document's repair mask, and no second job works on it meanwhile.
    """

    mask: TileMap | None = None
    claims: bool = False

    changes: ClassVar[bool] = True
    """Whether it changes the picture: then it counts as unsaved work until it is done."""

    @property
    def urgency(self) -> Urgency:
        """How soon it is done."""
        return Urgency.WHOLE_PICTURE if self.mask is None else Urgency.REPAIR


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Outcome:
    """What comes back from the engine thread.

    Attributes:
        result: what the runner made; its ``edit`` knows what it is.
        device: where the model really ran.
        repairs: what was done, for the record.
    """

    result: Any
    device: str
    repairs: tuple[Repair, ...] = ()


NextActive = int | EdgeMap | None
"""What to go on with after an edit: a layer by its id, the edge map, or what it was."""


class Runner(ABC, Generic[J]):
    """Does one job. Used on the GUI thread, but for the work that ``freeze`` gives.

    Args:
        job: what is wanted.
        document: to read from and to write to.
        registry: the models.
    """

    def __init__(self, job: J, document: Document, registry: Registry) -> None:
        self._job, self._document, self._registry = job, document, registry
        self._asked_geometry = document.state.geometry
        self._frozen_geometry = self._asked_geometry

    @property
    def mask(self) -> TileMap | None:
        """The job's mask, as the picture lies now."""
        mask = self._job.mask
        return (
            self._document.state.geometry.transform_from(self._asked_geometry).tiles(mask) if mask is not None else None
        )

    @abstractmethod
    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Fix the input when the job's turn comes, so that it sees what the jobs before it did.

        Args:
            active: the layer that is chosen.

        Returns:
            The work, to be called on an engine thread.

        Raises:
            SettingsError: a setting is impossible.
            ModelError: the model is gone.
        """

    @abstractmethod
    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """What came of it as one undo step (None: nothing did), and what to go on with.

        When the picture was turned while the job ran, the result is turned with it.
        """

    def _transform(self) -> Transform:
        """From how the picture lay when the input was frozen to how it lies now."""
        return self._document.state.geometry.transform_from(self._frozen_geometry)


class TaskRunner(Runner[J]):
    """A runner of one engine task.

    Args:
        job, document, registry: see ``Runner``.
        request: the task.
    """

    def __init__(self, job: J, document: Document, registry: Registry, request: TaskRequest) -> None:
        super().__init__(job, document, registry)
        self._request = request
        self._model_suffix = ""

    @property
    def _task(self) -> Task:
        """The row of the task that is done."""
        from engine.tasks import TASKS

        return TASKS[self._request.task]

    def _task_input(self, source: Composite, guide: TileMap | None = None, guided: TileMap | None = None) -> TaskInput:
        """The task's input, frozen now."""
        from engine.runtime.session import Device
        from engine.tasks import TaskInput, make_settings

        request, card = self._request, self._registry.card(self._request.model)
        self._frozen_geometry = self._document.state.geometry
        # The task's own model goes without saying.
        self._model_suffix = f", {card.title}" if card.id != self._registry.default(request.task).id else ""
        return TaskInput(
            request.task,
            source,
            self._document.profile,
            self.mask,
            make_settings(request.task, card, request.settings),
            card,
            Device(request.device),
            guide=guide,
            guided=guided,
        )


def index_above(document: Document, layer: Layer | None) -> int:
    """The index just above a layer, or above all for the scan."""
    ids = [other.id for other in document.state.layers]
    return ids.index(layer.id) + 1 if layer is not None and layer.id in ids else len(ids)
