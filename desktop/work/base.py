"""Base classes of the jobs of a photograph. A job is a description in plain data; a runner executes it.

The description is made when the restorer asks for the job. When its turn comes, the runner freezes the input and
returns the work for an engine thread; afterwards it turns the outcome into one edit. No Qt here.
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
from engine.errors import ModelError
from engine.jobs import JobContext
from engine.record import Repair
from engine.tiles import TileMap

if TYPE_CHECKING:
    from engine.runtime.cards import Registry
    from engine.tasks import Task, TaskInput


@dataclass(frozen=True)
class TaskRequest:
    """A task with the choices of the Repair panel.

    Attributes:
        task: a key of ``engine.tasks.TASKS``.
        model: id of a model card.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: the task's settings by name.
        new_layer: put the result on a new layer even if the active one could take it.
    """

    task: str
    model: str
    device: str
    settings: dict[str, float]
    new_layer: bool = False


class Urgency(IntEnum):
    """Priority of a job. A job of a higher priority runs inside the next progress step of a running lower one."""

    WHOLE_PICTURE = 0
    """Takes long; the restorer works on meanwhile."""
    REPAIR = 1
    """A repair that the restorer asked for explicitly."""
    HAND = 2
    """The restorer waits for it: a stroke, a rotation."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The description of a job. Immutable.

    Attributes:
        mask: where it works, in the orientation in which it was asked for; None = the whole picture.
        claims: the mask is a part of the document's repair mask, and no other job may use that part meanwhile.
    """

    mask: TileMap | None = None
    claims: bool = False

    changes: ClassVar[bool] = True
    """Whether it changes the picture, and so counts as unsaved work until it is done."""

    @property
    def urgency(self) -> Urgency:
        """Its priority."""
        return Urgency.WHOLE_PICTURE if self.mask is None else Urgency.REPAIR


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Outcome:
    """What the work on an engine thread returns.

    Attributes:
        result: depends on the runner, whose ``edit`` reads it.
        device: on which the model ran.
        repairs: what was done, for the record.
    """

    result: Any
    device: str
    repairs: tuple[Repair, ...] = ()


AT_ONCE = 16
"""Number of tiles up to which a change is made on the GUI thread, without a job: about 50 ms."""

NextActive = int | EdgeMap | None
"""What becomes active after an edit: the layer with this id, the edge map as paint target, or None for no change."""


class Runner(ABC, Generic[J]):
    """Executes one job. GUI thread, except for the function that ``freeze`` returns.

    Args:
        job: the description.
        document: of the photograph.
        registry: the models.
    """

    def __init__(self, job: J, document: Document, registry: Registry) -> None:
        self._job, self._document, self._registry = job, document, registry
        self._asked_geometry = document.state.geometry
        self._frozen_geometry = self._asked_geometry

    @property
    def mask(self) -> TileMap | None:
        """The job's mask in the current orientation of the picture."""
        mask = self._job.mask
        return (
            self._document.state.geometry.transform_from(self._asked_geometry).tiles(mask) if mask is not None else None
        )

    @abstractmethod
    def freeze(self, active: Layer | None) -> Callable[[JobContext], Outcome]:
        """Freeze the input. Called when the job's turn comes, so that it includes the results of earlier jobs.

        Args:
            active: the active layer; None is the scan.

        Returns:
            The work, to be called on an engine thread.

        Raises:
            SettingsError: a setting is out of range.
            ModelError: the model is not installed any more.
        """

    def turn(self, outcome: Outcome) -> Callable[[JobContext], None] | None:
        """What must be done on an engine thread before ``edit``, if a large result is to be rotated or flipped.

        Returns:
            The work; None if there is little to do, or if it was done for the picture's current orientation.
        """
        del outcome
        return None

    @abstractmethod
    def edit(self, outcome: Outcome) -> tuple[Edit | None, NextActive]:
        """The result as one undo step, and what becomes active.

        If the picture was rotated or flipped while the job ran, so is the result.

        Returns:
            The edit (None = there is nothing to change), and what becomes active.
        """

    def _transform(self) -> Transform:
        """From the orientation in which the input was frozen to the current one."""
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
        """The task in ``TASKS``."""
        from engine.tasks import TASKS

        return TASKS[self._request.task]

    def _task_input(self, source: Composite, guide: TileMap | None = None, guided: TileMap | None = None) -> TaskInput:
        """Freeze the task's input.

        Args:
            source: the picture that is read.
            guide: the edge map; see ``TaskInput``.
            guided: the mask for which it was drawn.
        """
        from engine.runtime.session import Device
        from engine.tasks import TaskInput, make_settings

        request, card = self._request, self._registry.card(self._request.model)
        self._frozen_geometry = self._document.state.geometry
        try:
            default = self._registry.default(request.task).id
        except ModelError:
            default = ""
        # The default model is not named.
        self._model_suffix = f", {card.title}" if card.id != default else ""
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
    """The index just above a layer; above all layers for None or a removed layer."""
    ids = [other.id for other in document.state.layers]
    return ids.index(layer.id) + 1 if layer is not None and layer.id in ids else len(ids)
