"""The commands of a review of a batch, in the Defects menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from desktop.frame.actions import Action

if TYPE_CHECKING:
    from desktop.frame.context import Context


def _is_shown(context: Context) -> bool:
    return context.reviewing.is_shown


def _may_go_on(context: Context) -> bool:
    return context.reviewing.is_shown and context.reviewing.ready


def _has_previous(context: Context) -> bool:
    return _may_go_on(context) and context.reviewing.has_previous


ACTIONS = (
    Action(
        id="review_next",
        menu="Defects",
        text="Done, Next Picture",
        run=lambda context: context.reviewing.go_on(),
        enabled=_may_go_on,
        shortcuts=("Ctrl+Shift+N",),
        tip="What was accepted is healed with the batch, the rest stays as it is; go to the next picture",
        separator=True,
    ),
    Action(
        id="review_previous",
        menu="Defects",
        text="Previous Picture",
        run=lambda context: context.reviewing.go_back(),
        enabled=_has_previous,
        shortcuts=("Ctrl+Shift+P",),
        tip="Go back to the picture before in the review of the batch",
    ),
    Action(
        id="review_end",
        menu="Defects",
        text="End Review",
        run=lambda context: context.reviewing.end(),
        enabled=_is_shown,
        tip="Go back to the batch; what was judged is kept",
    ),
)
