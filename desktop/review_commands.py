"""What the commands of the Defects menu do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from desktop.defects import Found, found_sentence
from desktop.document.review import Verdict
from desktop.jobs import Ticket
from desktop.repairs import Outcome
from desktop.review import ReviewDesk
from desktop.workspace import Workspace
from engine.masks import TOO_MUCH

if TYPE_CHECKING:
    from desktop.window import Window

Handler = Callable[..., object]


class ReviewCommands:
    """The commands of one window that find, review and heal defects. GUI thread.

    Args:
        window: whose.
        on_workspace: makes a handler of what is to be done with the photograph that is shown.
        asked: queues a task and says what goes wrong with it; None when it cannot be done.
        say: says something about a photograph.
    """

    def __init__(
        self,
        window: Window,
        on_workspace: Callable[[Callable[[Workspace], object]], Handler],
        asked: Callable[[Callable[[], Ticket]], Ticket | None],
        say: Callable[[Workspace, str], None],
    ) -> None:
        self._window, self._on_workspace, self._asked, self._say = window, on_workspace, asked, say

    def handlers(self) -> dict[str, Handler]:
        """Id of a row -> what it does."""
        on = self._on_workspace

        def on_review(do: Callable[[ReviewDesk], object]) -> Handler:
            return on(lambda workspace: do(workspace.review))

        return {
            "defects_find": on(self._find),
            "defect_next": on(lambda workspace: self._step(workspace, 1)),
            "defect_previous": on(lambda workspace: self._step(workspace, -1)),
            "defect_accept": on(lambda workspace: self._judge(workspace, Verdict.ACCEPTED, "Accept defect")),
            "defect_keep": on(lambda workspace: self._judge(workspace, Verdict.KEPT, "Keep defect as it is")),
            "defect_repaint": on(self._repaint),
            "defects_accept_all": on_review(ReviewDesk.accept_all),
            "defects_heal": on(self.heal),
            "defects_clear": on_review(ReviewDesk.clear),
            "marks": self._show_marks,
        }

    def found(self, workspace: Workspace, outcome: Outcome) -> None:
        """Say what a search found, and show it in the photograph that is in front."""
        if not isinstance(outcome.result, Found):
            return
        self._say(workspace, found_sentence(outcome))
        if outcome.result.any and workspace is self._window.workspace:
            self._show()
            task = self._window.task.task
            if task is not None and task.gives == "findings":
                # What comes next, unless something else was chosen meanwhile.
                self._window.task.choose("heal")

    def heal(self, workspace: Workspace, *, sure: bool = False) -> None:
        """Heal the accepted defects; what is hardly all damage is asked for first."""
        window, desk = self._window, workspace.review
        review, items, share = desk.outlined, desk.to_heal, desk.share
        if review is None or workspace.closed:
            return
        if share > TOO_MUCH and not sure:
            sentence = window.tr("About {0} % of the picture would be healed, which is hardly all damage.")
            again = partial(self.heal, workspace, sure=True)
            window.strip.offer(sentence.format(round(100 * share)), window.tr("Heal it all the same"), again)
            return
        request = partial(window.task.request, new_layer=True, task="heal")
        ticket = self._asked(lambda: workspace.desk.heal_defects(request(), review, items))
        if ticket is not None:
            words = window.tr("Healed {0:,} defects on a layer of their own.") if len(items) > 1 else ""
            words = words or window.tr("Healed the defect on a layer of its own.")
            ticket.done.connect(workspace.while_open(lambda _: self._say(workspace, words.format(len(items)))))

    def _find(self, workspace: Workspace) -> None:
        request = partial(self._window.task.request, new_layer=False, task="detect")
        ticket = self._asked(lambda: workspace.desk.ask(request()))
        if ticket is not None:
            ticket.done.connect(workspace.while_open(partial(self.found, workspace)))

    def _step(self, workspace: Workspace, by: int) -> None:
        self._show()
        panel, view = self._window.defects, self._window.view
        if view is not None and not panel.isAncestorOf(self._window.shell.focusWidget() or view):
            # So that Return and Delete are about the defect that is shown now.
            view.setFocus()
        workspace.review.step(by)

    def _judge(self, workspace: Workspace, verdict: Verdict, label: str) -> None:
        if not workspace.review.judge(verdict, label):
            self._window.strip.say(self._window.tr("All defects are decided. Heal those that were accepted."))

    def _repaint(self, workspace: Workspace) -> None:
        item = workspace.review.current
        ticket = workspace.review.repaint()
        if item is None or ticket is None:
            return
        workspace.review.choose(item)
        ticket.done.connect(workspace.while_open(lambda _: self._on_repainting(workspace)))

    def _on_repainting(self, workspace: Workspace) -> None:
        """The brush in hand, and the mask to be seen."""
        window = self._window
        if workspace is not window.workspace:
            return
        workspace.set_target(None)
        window.task.choose("heal")
        window.select_tool("brush")
        window.actions_.by_id["veil"].setChecked(True)
        window.strip.say(window.tr("Shape the mask with brush and eraser, then press Heal."))

    def _show(self) -> None:
        """Bring the panel to the front, and the outlines to the picture."""
        self._window.shell.panels["Defects"].raise_()
        self._window.actions_.by_id["marks"].setChecked(True)

    def _show_marks(self, on: bool) -> None:  # noqa: FBT001 - Qt's signal
        for view in self._window.views():
            view.marks.set_shown(shown=on)
