"""The Defects menu: find damage, review it, and heal it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from desktop.frame.actions import Action

if TYPE_CHECKING:
    from desktop.frame.context import Context
    from desktop.photo.workspace import Workspace
    from desktop.work.base import Outcome
    from desktop.work.threads import Ticket
    from engine.recipes import Recipe
    from engine.review import Verdict


def find(context: Context) -> None:
    """Queue a search for damage in the whole picture; filters of an earlier search are kept."""
    photo = context.photo
    if photo is None:
        return

    def ask() -> Ticket:
        request = context.task.request(new_layer=False, task="detect")
        if photo.defects.review is not None:
            filters = asdict(photo.defects.review.filters)
            request = replace(request, settings={name: filters[name] for name in request.settings})
        return photo.queue.find(request)

    ticket = context.start_task(ask)
    if ticket is not None:
        ticket.done.connect(photo.while_open(partial(_on_found, context, photo)))


def _on_found(context: Context, photo: Workspace, outcome: Outcome) -> None:
    """Show a message about what a search found, and the defects if the photograph is shown."""
    from desktop.work.find import found_sentence

    context.say_of(photo, found_sentence(outcome))
    if outcome.result.any_damage and photo is context.photo:
        show(context)
        if context.task.task is not None and context.task.task.gives == "findings":
            # Healing is the next step; not if the user chose another task meanwhile.
            context.task.choose("heal")


def show(context: Context) -> None:
    """Show the Defects panel, and the outlines on the picture."""
    context.window.panels["Defects"].raise_()
    context.switch("marks", True)


def heal(context: Context, photo: Workspace, *, sure: bool = False) -> None:
    """Heal ``DefectList.to_heal``, or continue the recipe to which the search belongs.

    Args:
        context: of the window.
        photo: whose defects are healed.
        sure: heal even if they cover so much of the picture that most of it is probably no damage; otherwise the user
            is asked.
    """
    from engine.masks import MAX_DAMAGE_SHARE

    found, items = photo.defects, photo.defects.to_heal
    if found.outlined_review is None or photo.closed:
        return
    if found.heal_share > MAX_DAMAGE_SHARE and not sure:
        sentence = context.window.tr("About {0} % of the picture would be healed, which is hardly all damage.")
        again = partial(heal, context, photo, sure=True)
        verb = context.window.tr("Heal Anyway")
        context.offer_of(photo, sentence.format(round(100 * found.heal_share)), verb, again)
        return
    if found.outlined_review.recipe and continue_recipe(context, photo, found.outlined_review.recipe):
        return
    ticket = context.start_task(lambda: photo.queue.heal_defects(context.task.request(new_layer=True, task="heal")))
    if ticket is not None:
        words = context.window.tr("Healed {0:,} defects on a layer of their own.") if len(items) > 1 else ""
        words = words or context.window.tr("Healed the defect on a layer of its own.")
        ticket.done.connect(photo.while_open(lambda _: context.say_of(photo, words.format(len(items)))))


def continue_recipe(context: Context, photo: Workspace, name: str) -> bool:
    """Queue the steps of a recipe after its search; they heal ``DefectList.to_heal``.

    Nothing is queued if there are no defects to heal and the recipe has no other steps.

    Returns:
        False, after a message, if the recipe cannot be used any more.
    """
    from engine.errors import EngineError
    from engine.recipes import read_recipe

    try:
        recipe = read_recipe(name)
    except EngineError as error:
        context.strip.warn(error)
        return False
    if photo.defects.to_heal or any(step.task not in ("detect", "heal") for step in recipe.steps):
        restore(context, photo, recipe)
    return True


def restore(context: Context, photo: Workspace, recipe: Recipe) -> None:
    """Queue a recipe; if it is one whose damage is reviewed, it heals ``DefectList.to_heal``."""
    from desktop.work.restore import is_reviewed

    reviewed = is_reviewed(recipe)
    count = len(photo.defects.to_heal) if reviewed else None
    ticket = context.start_task(lambda: photo.queue.restore(recipe, context.task.device, reviewed=reviewed))
    if ticket is not None:
        ticket.done.connect(photo.while_open(partial(_on_restored, context, photo, count)))


def _on_restored(context: Context, photo: Workspace, count: int | None, outcome: Outcome) -> None:
    if count is None and outcome.result.marks is not None and "heal" not in outcome.result.left_out:
        count = len(outcome.result.marks.defects)
    done = context.window.tr("Restored.")
    if count is not None:
        done = context.window.tr("Restored; {0:,} defects were healed.").format(count)
    context.say_of(photo, " ".join([done, *outcome.result.notices]))


def _heal(context: Context) -> None:
    if context.photo is not None:
        heal(context, context.photo)


def _step(by: int) -> Callable[[Context], object]:
    """The command that goes to the next (1) or previous (-1) defect."""

    def run(context: Context) -> None:
        photo, view = context.photo, context.view
        if photo is None or view is None:
            return
        show(context)
        if not context.window.panels["Defects"].isAncestorOf(context.window.focusWidget() or view):
            # So that Return and Delete apply to the defect.
            view.setFocus()
        photo.defects.step(by)

    return run


def _judge(verdict: str, label: str) -> Callable[[Context], object]:
    """The command that decides about the selected defects, by a name of ``Verdict``."""

    def run(context: Context) -> None:
        from engine.review import Verdict

        wanted: Verdict = Verdict[verdict]
        if context.photo is not None and not context.photo.defects.judge(wanted, label):
            context.strip.say(context.window.tr("All defects are decided. Heal those that were accepted."))

    return run


def _repaint(context: Context) -> None:
    photo = context.photo
    item = photo.defects.current if photo is not None else None
    ticket = photo.defects.repaint() if photo is not None else None
    if photo is None or item is None or ticket is None:
        return
    photo.defects.choose(item)
    ticket.done.connect(photo.while_open(lambda _: _on_repainted(context, photo)))


def _on_repainted(context: Context, photo: Workspace) -> None:
    """Prepare the window for painting the repair mask."""
    from desktop.document.targets import REPAIR_MASK

    if photo is not context.photo:
        return
    photo.set_target(REPAIR_MASK)
    context.task.choose("heal")
    context.tools.select("brush")
    context.switch("veil", True)
    context.strip.say(context.window.tr("Shape the mask with brush and eraser, then press Heal."))


def _reopen(context: Context) -> None:
    if context.photo is not None:
        context.photo.defects.reopen()


def _keep_rest(context: Context) -> None:
    if context.photo is not None:
        context.photo.defects.keep_rest()


def _accept_all(context: Context) -> None:
    if context.photo is not None:
        context.photo.defects.accept_all()


def _clear(context: Context) -> None:
    if context.photo is not None:
        context.photo.defects.clear()


def _has_review(context: Context) -> bool:
    return context.photo is not None and context.photo.defects.review is not None


def _has_open(context: Context) -> bool:
    """Whether there are defects that are not healed."""
    from engine.review import Verdict

    photo = context.photo
    return photo is not None and photo.defects.counts.total() > photo.defects.counts[Verdict.HEALED]


def _has_chosen(context: Context) -> bool:
    return context.photo is not None and bool(context.photo.defects.selected_rows)


def _has_acceptable(context: Context) -> bool:
    return context.photo is not None and bool(context.photo.defects.acceptable)


def _has_reopenable(context: Context) -> bool:
    return context.photo is not None and bool(context.photo.defects.reopenable)


def _has_to_do(context: Context) -> bool:
    from engine.review import Verdict

    return context.photo is not None and context.photo.defects.counts[Verdict.TO_DO] > 0


def _has_to_heal(context: Context) -> bool:
    return context.photo is not None and bool(context.photo.defects.to_heal)


ACTIONS = (
    Action(
        id="defects_find",
        menu="Defects",
        text="Find Damage",
        run=find,
        tip="Look for damage in the whole picture",
        icon="find",
    ),
    Action(
        id="defect_next",
        menu="Defects",
        text="Next Defect",
        run=_step(1),
        enabled=_has_open,
        shortcuts=("N",),
        icon="down",
        separator=True,
    ),
    Action(
        id="defect_previous",
        menu="Defects",
        text="Previous Defect",
        run=_step(-1),
        enabled=_has_open,
        shortcuts=("P",),
        icon="up",
    ),
    Action(
        id="defect_accept",
        menu="Defects",
        text="Accept Defect",
        run=_judge("ACCEPTED", "Accept defect"),
        enabled=_has_chosen,
        shortcuts=("Return", "Enter"),
        tip="Accept the defect to be healed, and go to the next",
        separator=True,
        on_canvas=True,
    ),
    Action(
        id="defect_keep",
        menu="Defects",
        text="Keep Defect as It Is",
        run=_judge("KEPT", "Keep defect as it is"),
        enabled=_has_chosen,
        shortcuts=("Del",),
        tip="Leave the defect alone, and go to the next",
        on_canvas=True,
    ),
    Action(
        id="defect_reopen",
        menu="Defects",
        text="To Do Again",
        run=_reopen,
        enabled=_has_reopenable,
        shortcuts=("Backspace",),
        tip="Take the decision about the defect back",
        on_canvas=True,
    ),
    Action(
        id="defect_repaint",
        menu="Defects",
        text="Repaint Defect",
        run=_repaint,
        enabled=_has_chosen,
        tip="Put the defect into the repair mask and shape it with the brush",
        icon="brush",
    ),
    Action(
        id="defects_accept_all",
        menu="Defects",
        text="Accept All",
        run=_accept_all,
        enabled=_has_acceptable,
        tip="Accept all that is still to do, but for large areas of which Lacuna is unsure",
    ),
    Action(
        id="defects_keep_rest",
        menu="Defects",
        text="Keep the Rest",
        run=_keep_rest,
        enabled=_has_to_do,
        tip="Leave alone all that is still to do",
    ),
    Action(
        id="defects_heal",
        menu="Defects",
        text="Heal Defects",
        run=_heal,
        enabled=_has_to_heal,
        shortcuts=("Ctrl+Shift+Return",),
        tip="Heal the accepted defects on a layer of their own; all but large ones as long as nothing is decided",
        icon="heal",
        separator=True,
    ),
    Action(
        id="defects_clear",
        menu="Defects",
        text="Clear Defects",
        run=_clear,
        enabled=_has_review,
        tip="Forget the search and what was decided; repairs stay",
        icon="trash",
    ),
)
