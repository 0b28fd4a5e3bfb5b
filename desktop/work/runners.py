"""The runner of each kind of job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from desktop.document.model import Document
from desktop.work.base import Job, Runner
from desktop.work.edges import DrawEdges, EdgesRunner
from desktop.work.enlarge import Enlarge, EnlargeRunner
from desktop.work.find import FindDamage, FindRunner
from desktop.work.repair import ApplyTask, ApplyTaskRunner
from desktop.work.restore import Restore, RestoreRunner

if TYPE_CHECKING:
    from engine.runtime.cards import Registry

_RUNNERS: dict[type[Job], type[Runner[Any]]] = {
    ApplyTask: ApplyTaskRunner,
    DrawEdges: EdgesRunner,
    Enlarge: EnlargeRunner,
    FindDamage: FindRunner,
    Restore: RestoreRunner,
}


def runner_of(job: Job, document: Document, registry: Registry) -> Runner[Any]:
    """A runner for a job on a document."""
    return _RUNNERS[type(job)](job, document, registry)
