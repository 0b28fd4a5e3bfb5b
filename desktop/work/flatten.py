"""Exports the flattened picture to a file: for the window, and for ``lacuna flatten``. No Qt here."""

from __future__ import annotations

from desktop.document.compose import Composite, flatten
from desktop.document.model import State
from desktop.document.project import Snapshot
from engine import masks
from engine.jobs import JobContext
from engine.output import Output, write_result
from engine.raster import Raster
from engine.record import LOCAL, Edited


def export(
    snapshot: Snapshot, output: Output, command: str = "export", context: JobContext | None = None
) -> tuple[str, ...]:
    """Flatten a snapshot and write it with its record. Any thread.

    Args:
        snapshot: what is exported.
        output: file, format and profile.
        command: name of the command for the record.
        context: progress and cancellation.

    Returns:
        Notices about what the format could not hold.

    Raises:
        EngineError, Cancelled: as ``write_result``.
    """
    context = context or JobContext()
    state = snapshot.state
    scan = state.scan.read(state.scan.bounds)
    pixels = flatten(Composite.of(state), context.part(0.0, 0.3))
    result = Raster(pixels, snapshot.profile, snapshot.resolution, snapshot.metadata)
    return write_result(
        result,
        output,
        scan=scan,
        source=snapshot.scan,
        repairs=state.repairs(),
        command=command,
        context=context.part(0.3, 1.0),
        edited=_edited(state),
    )


def _edited(state: State) -> Edited:
    """Where the visible picture may differ from the scan: where a layer's mask lets it show."""
    turn, shown = state.geometry, [layer for layer in state.layers if layer.shows]
    if any(repair.task not in LOCAL for layer in shown for repair in layer.made_by):
        return Edited((turn.bounds,), turn.mirrored, turn.quarters)
    areas = tuple(box for layer in shown for box in masks.damage_boxes(layer.mask, 0))
    return Edited(areas, turn.mirrored, turn.quarters)
