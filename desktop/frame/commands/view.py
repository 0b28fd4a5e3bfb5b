"""The View menu: zoom, what is shown, and keyboard focus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.frame.actions import Action, always, with_photo

if TYPE_CHECKING:
    from desktop.canvas.view import CanvasView
    from desktop.canvas.viewport import Viewport
    from desktop.frame.context import Context


def _for_viewport(do: Callable[[Viewport], object]) -> Callable[[Context], object]:
    """A command on the viewport of the shown photograph."""

    def run(context: Context) -> None:
        if context.view is not None:
            do(context.view.viewport)

    return run


def _for_all_views(do: Callable[[CanvasView, bool], object]) -> Callable[[Context, bool], object]:
    """A switch that applies to all photographs."""

    def run(context: Context, on: bool) -> None:  # noqa: FBT001 - a switch's state
        for view in context.photos.views():
            do(view, on)

    return run


def _hold_before(context: Context) -> None:
    if context.view is not None:
        context.view.hold_before(held=True)


def _show_divider(context: Context, on: bool) -> None:  # noqa: FBT001 - a switch's state
    if context.view is not None:
        context.view.set_divider(shown=on)


def _show_scan(context: Context, on: bool) -> None:  # noqa: FBT001 - a switch's state
    if context.photo is not None:
        context.photo.show_scan(shown=on)


def _full_screen(context: Context, on: bool) -> None:  # noqa: FBT001 - a switch's state
    full, state = Qt.WindowState.WindowFullScreen, context.window.windowState()
    # The other flags are kept, so that a maximised window is maximised again afterwards.
    context.window.setWindowState(state | full if on else state & ~full)


def _escape(context: Context) -> None:
    """Cancel the current drag; otherwise set the repair mask as paint target; otherwise leave full screen."""
    from desktop.document.targets import REPAIR_MASK

    view, photo = context.view, context.photo
    if view is not None and view.input.cancel():
        return
    if photo is not None and photo.target != REPAIR_MASK:
        photo.set_target(REPAIR_MASK)
    else:
        context.switch("full_screen", False)
    if view is not None:
        view.setFocus()


def _reset_panels(context: Context) -> None:
    context.switch("panels", False)
    context.window.reset_panels()


def _next_area(context: Context) -> None:
    """Move the keyboard focus from picture to options, tools and panels, and back to the picture."""
    window, view = context.window, context.view
    areas: list[QWidget] = [window.options, window.tools, *window.shown_panels()]
    if view is not None:
        areas.insert(0, view)
    focused = window.focusWidget()
    present = next(
        (i for i, area in enumerate(areas) if focused and (area is focused or area.isAncestorOf(focused))), -1
    )
    for step in range(1, len(areas) + 1):
        area = areas[(present + step) % len(areas)]
        target = area if area is view else _first_focusable(area)
        if target is not None:
            target.setFocus()
            return


def _first_focusable(area: QWidget) -> QWidget | None:
    children = area.findChildren(QWidget)
    return next(
        (w for w in children if w.isVisible() and w.isEnabled() and w.focusPolicy() & Qt.FocusPolicy.TabFocus), None
    )


ACTIONS = (
    Action(
        id="fit",
        menu="View",
        text="Fit in Window",
        run=_for_viewport(lambda viewport: viewport.fit()),
        shortcuts=("Ctrl+0",),
        icon="fit",
        while_dragging=True,
    ),
    Action(
        id="actual",
        menu="View",
        text="100 %",
        run=_for_viewport(lambda viewport: viewport.zoom_to(1.0)),
        shortcuts=("Ctrl+1",),
        while_dragging=True,
    ),
    Action(
        id="zoom_in",
        menu="View",
        text="Zoom In",
        run=_for_viewport(lambda viewport: viewport.zoom_step(1)),
        shortcuts=("Ctrl++", "Ctrl+="),
        repeats=True,
        while_dragging=True,
    ),
    Action(
        id="zoom_out",
        menu="View",
        text="Zoom Out",
        run=_for_viewport(lambda viewport: viewport.zoom_step(-1)),
        shortcuts=("Ctrl+-",),
        repeats=True,
        while_dragging=True,
    ),
    Action(
        id="veil",
        menu="View",
        text="Show Mask",
        toggle=_for_all_views(lambda view, on: view.set_veil(shown=on)),
        enabled=with_photo,
        shortcuts=("Q",),
        tip="Show or hide the mask's veil",
        icon="veil",
        starts_on=True,
        separator=True,
        while_dragging=True,
    ),
    Action(
        id="marks",
        menu="View",
        text="Show Defects",
        toggle=_for_all_views(lambda view, on: view.overlay.set_shown(shown=on)),
        enabled=lambda context: context.photo is not None and context.photo.defects.review is not None,
        shortcuts=("Shift+Q",),
        tip="Show or hide the outlines of the defects",
        starts_on=True,
        while_dragging=True,
    ),
    Action(
        id="scan",
        menu="View",
        text="Show Scan",
        toggle=_show_scan,
        checked=lambda context: context.photo is None or not context.photo.scan_hidden,
        tip="Show the layers with the scan below them, or alone; what is saved stays as it is",
        while_dragging=True,
    ),
    Action(
        id="before",
        text="Show Before While Held",
        run=_hold_before,
        shortcuts=("\\",),
        tip="Show the scan as long as the key is held",
        while_dragging=True,
    ),
    Action(
        id="divider",
        menu="View",
        text="Before/After Divider",
        toggle=_show_divider,
        checked=lambda context: context.view is not None and context.view.divider,
        shortcuts=("Shift+\\",),
        tip="Scan on the left, repaired picture on the right",
        icon="compare",
        while_dragging=True,
    ),
    Action(
        id="panels",
        menu="View",
        text="Hide Panels",
        toggle=lambda context, on: context.window.hide_panels(hidden=on),
        enabled=always,
        shortcuts=("Tab",),
        separator=True,
        on_canvas=True,
        while_dragging=True,
    ),
    Action(
        id="reset_panels",
        menu="View",
        text="Reset Panels",
        run=_reset_panels,
        enabled=always,
        tip="Put all panels where they were at the first start",
    ),
    Action(
        id="full_screen",
        menu="View",
        text="Full Screen",
        toggle=_full_screen,
        enabled=always,
        shortcuts=("F",),
        while_dragging=True,
    ),
    Action(
        id="next_area",
        menu="View",
        text="Next Area",
        run=_next_area,
        enabled=always,
        shortcuts=("F6",),
        tip="Move the keyboard to the next part of the window",
        while_dragging=True,
    ),
    Action(
        id="escape",
        text="Cancel, or Back to the Repair Mask",
        run=_escape,
        enabled=always,
        shortcuts=("Esc",),
        while_dragging=True,
    ),
)
