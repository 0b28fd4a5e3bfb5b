"""The window with all models: what they are for, their licences and scores; to verify, add and remove."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QSplitter,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from desktop.dialogs.add_model import AddModelWindow, PickScan
from desktop.dialogs.export import FileDialogs
from desktop.language import sentence_of
from desktop.panels.widgets import JobBar, closing_buttons, size_window
from desktop.work.base import Urgency
from desktop.work.threads import JobCentre, Lane, Ticket, Work
from engine.errors import EngineError, ModelError
from engine.jobs import JobContext
from engine.runtime.cards import Entry, ModelCard, Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.third_party import ModelFile

_NAME, _LICENCE, _SIZE, _FILES = range(4)
_ENTRY = Qt.ItemDataRole.UserRole
_KB, _MB = 1e3, 1e6
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class ModelsWindow(QDialog):
    """The list of all models by task, and what the card of the chosen one says. Not modal. GUI thread.

    Closing it cancels a verification.

    Args:
        parent: the main window.
        jobs: verifies, reads and tries models.
        registry: the models.
        pick: freezes the picture on which models are tried; see ``AddModelWindow``.
        device: returns on which device they are tried: ``auto``, ``cpu`` or ``cuda``.

    Attributes:
        adding: the form for a new model, while it is open.

    Signals:
        changed: a model was added or removed.
    """

    changed = Signal()

    def __init__(
        self, parent: QWidget, jobs: JobCentre, registry: Registry, pick: PickScan, device: Callable[[], str]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Models"))
        size_window(self, 1080, 720)
        self._jobs, self._registry, self._pick, self._device = jobs, registry, pick, device
        self._rows: dict[str, QTreeWidgetItem] = {}
        self.adding: AddModelWindow | None = None
        self._tree = self._make_tree()
        self._card = _CardView()
        self._job = JobBar()
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._question = _Question()
        splitter = QSplitter()
        splitter.addWidget(self._tree)
        splitter.addWidget(self._card)
        splitter.setStretchFactor(0, 3)
        splitter.setStretchFactor(1, 2)
        splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.addWidget(splitter, 1)
        for widget in (self._question, self._job, self._note, self._make_buttons()):
            layout.addWidget(widget)
        self._tree.currentItemChanged.connect(self._on_chosen)
        self._question.agreed.connect(self._on_remove_agreed)
        self._fill("")

    def _make_tree(self) -> QTreeWidget:
        tree = QTreeWidget()
        tree.setHeaderLabels([self.tr("Model"), self.tr("Licence"), self.tr("Size"), self.tr("Files")])
        tree.setAccessibleName(self.tr("Models"))
        tree.setRootIsDecorated(False)
        tree.setUniformRowHeights(True)
        header = tree.header()
        header.setStretchLastSection(False)
        for column in (_LICENCE, _SIZE, _FILES):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        tree.headerItem().setTextAlignment(_SIZE, _RIGHT)
        return tree

    def _make_buttons(self) -> QDialogButtonBox:
        self._add = QPushButton(self.tr("Add a Model…"))
        self._add.setToolTip(self.tr("Add a third party's ONNX file"))
        self._remove = QPushButton(self.tr("Remove…"))
        self._remove.setToolTip(self.tr("Delete a model that you added"))
        self._verify = QPushButton(self.tr("Verify Checksums"))
        self._verify.setToolTip(self.tr("Read all files of all models and compare them with their cards"))
        return closing_buttons(
            self, [(self._add, self._on_add), (self._remove, self._on_remove), (self._verify, self.verify)]
        )

    def done(self, result: int) -> None:
        self._job.stop()
        if self.adding is not None:
            self.adding.reject()
        super().done(result)
        self.deleteLater()

    # -- the list ---------------------------------------------------------------------------------------------

    def _fill(self, chosen: str) -> None:
        """List all models, and choose one by its id; empty = the first."""
        from engine.tasks import TASKS

        self._tree.clear()
        self._rows.clear()
        entries = self._registry.entries()
        usable = [entry for entry in entries if entry.card is not None]
        defaults: set[str] = set()
        for id_ in TASKS:
            with suppress(ModelError):
                defaults.add(self._registry.default(id_).id)
        for id_, task in TASKS.items():
            of_task = [entry for entry in usable if entry.card is not None and entry.card.task == id_]
            work = [entry for entry in of_task if entry.card is not None and not entry.card.study]
            self._add_group(task.title, sorted(work, key=lambda entry: entry.id not in defaults), defaults)
        studies = [entry for entry in usable if entry.card is not None and entry.card.study]
        studies.sort(key=lambda entry: list(TASKS).index(entry.card.task) if entry.card is not None else 0)
        self._add_group(self.tr("Studies: to compare and to train further, not for work"), studies, defaults)
        broken = [entry for entry in entries if entry.card is None]
        self._add_group(self.tr("Cannot be used"), broken, defaults)
        current = self._rows.get(chosen, next(iter(self._rows.values()), None))
        if current is None:
            self._on_chosen(None)
        else:
            self._tree.setCurrentItem(current)

    def _add_group(self, title: str, entries: Iterable[Entry], defaults: set[str]) -> None:
        group: QTreeWidgetItem | None = None
        for entry in entries:
            if group is None:
                group = QTreeWidgetItem(self._tree, [title])
                group.setFlags(Qt.ItemFlag.ItemIsEnabled)
                group.setFirstColumnSpanned(True)
                font = group.font(0)
                font.setBold(True)
                group.setFont(0, font)
                group.setExpanded(True)
            item = QTreeWidgetItem(group, self._texts(entry, default=entry.id in defaults))
            item.setTextAlignment(_SIZE, _RIGHT)
            item.setData(_NAME, _ENTRY, entry)
            # Of two folders with one id only the first can be used.
            self._rows.setdefault(entry.id, item)

    def _texts(self, entry: Entry, *, default: bool) -> list[str]:
        """The texts of a model's row."""
        from engine.tasks import TASKS

        card = entry.card
        marks = [self.tr("default")] if default else []
        marks += [self.tr("for {0}").format(TASKS[card.task].title)] if card is not None and card.study else []
        marks += [self.tr("added by you")] if entry.added else []
        name = card.title if card is not None else entry.id or str(entry.folder)
        name += f" ({', '.join(marks)})" if marks else ""
        return [name, *((card.licence, _size_words(card.size)) if card is not None else ())]

    @property
    def _entry(self) -> Entry | None:
        """The chosen model."""
        item = self._tree.currentItem()
        entry = item.data(_NAME, _ENTRY) if item is not None else None
        return entry if isinstance(entry, Entry) else None

    def _on_chosen(self, _: QTreeWidgetItem | None) -> None:
        entry = self._entry
        self._question.hide()
        self._allow(idle=not self._job.busy)
        self._card.show_entry(entry)

    # -- verify -----------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Begin to compare all files with their checksums; a result a line as it comes."""
        if self._job.busy:
            return
        for item in self._rows.values():
            item.setText(_FILES, "")
        self._note.clear()
        registry = self._registry

        def work(context: JobContext) -> list[ModelError]:
            problems = []
            for entry, problem in registry.verify(context):
                ticket.told.emit((entry.id, problem))
                problems += [problem] if problem is not None else []
            return problems

        ticket = self._jobs.submit(self.tr("Verifying models"), Lane.IO, lambda: work)
        ticket.told.connect(self._on_verified)
        ticket.done.connect(self._on_all_verified)
        self._follow(ticket)

    def _on_verified(self, told: tuple[str, ModelError | None]) -> None:
        id_, problem = told
        item = self._rows.get(id_)
        if item is not None:
            item.setText(_FILES, self.tr("intact") if problem is None else self.tr("damaged"))
            item.setToolTip(_FILES, sentence_of(problem) if problem is not None else "")

    def _on_all_verified(self, problems: list[ModelError]) -> None:
        all_well = self.tr("All files of all models are what their cards say.")
        self._note.setText("\n".join(map(sentence_of, problems)) or all_well)

    # -- add and remove ---------------------------------------------------------------------------------------

    def _on_add(self) -> None:
        if self.adding is not None:
            self.adding.activateWindow()
            return
        path = FileDialogs.open_model(self)
        if path is None:
            return
        self._note.clear()

        def prepare() -> Work:
            from engine.third_party import read_model

            return lambda context: read_model(path, context)

        title = self.tr("Reading {0}").format(path.name)
        ticket = self._jobs.submit(title, Lane.COMPUTE, prepare, urgency=Urgency.REPAIR)
        ticket.done.connect(self._on_read)
        ticket.failed.connect(self._on_refused)
        self._follow(ticket)

    def _on_read(self, file: ModelFile) -> None:
        if not self.isVisible():
            return
        self.adding = AddModelWindow(self, file, self._jobs, self._registry, self._pick, self._device)
        self.adding.added.connect(self._on_added)
        self.adding.finished.connect(self._on_form_closed)
        self.adding.show()

    def _on_refused(self, error: EngineError) -> None:
        self._note.setText(sentence_of(error))

    def _follow(self, ticket: Ticket) -> None:
        """Show a job; until it ends no other one can be started here."""
        self._allow(idle=False)
        self._job.follow(ticket)
        ticket.ended.connect(self._on_ended)

    def _on_ended(self) -> None:
        self._allow(idle=True)

    def _allow(self, *, idle: bool) -> None:
        entry = self._entry
        for button in (self._add, self._verify):
            button.setEnabled(idle)
        self._remove.setEnabled(idle and entry is not None and entry.added)

    def _on_form_closed(self) -> None:
        self.adding = None

    def _on_added(self, card: ModelCard) -> None:
        self._fill(card.id)
        self._note.setText(self.tr("{0} was added; the Repair panel offers it.").format(card.title))
        self.changed.emit()

    def _on_remove(self) -> None:
        entry = self._entry
        if entry is not None and entry.added:
            names = ", ".join(str(path.relative_to(entry.folder.parent)) for path in entry.files)
            title = entry.card.title if entry.card is not None else entry.id
            said = self.tr("Remove {0}? In {1} these files are deleted: {2}.")
            self._question.ask(said.format(title, entry.folder.parent, names), self.tr("Delete These Files"))

    def _on_remove_agreed(self) -> None:
        entry = self._entry
        if entry is None:
            return
        try:
            self._registry.remove(entry.id)
        except EngineError as error:
            self._note.setText(sentence_of(error))
        else:
            title = entry.card.title if entry.card is not None else entry.id
            self._note.setText(self.tr("{0} was removed.").format(title))
        self._fill("")
        self.changed.emit()


class _Question(QFrame):
    """A question in a strip, with a button to agree and one to keep everything as it is. Hidden while there is none.

    Signals:
        agreed: the first button was pressed.
    """

    agreed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("messageStrip")
        self._text = QLabel()
        self._text.setWordWrap(True)
        self.agree, self._keep = QPushButton(), QPushButton(self.tr("Keep"))
        for button in (self.agree, self._keep):
            button.setAutoDefault(False)
            button.clicked.connect(self.hide)
        self.agree.clicked.connect(self.agreed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.addWidget(self._text, 1)
        layout.addWidget(self.agree)
        layout.addWidget(self._keep)
        self.hide()

    @property
    def text(self) -> str:
        """The question; empty while there is none."""
        return "" if self.isHidden() else self._text.text()

    def ask(self, question: str, verb: str) -> None:
        """Show a question; ``verb`` is on the button that agrees."""
        self._text.setText(question)
        self.agree.setText(verb)
        self.show()
        self._keep.setFocus()


class _CardView(QScrollArea):
    """What a model's card says."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(360)

    def show_entry(self, entry: Entry | None) -> None:
        """Show a model's card, or why it cannot be used; None = nothing."""
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setSpacing(12)
        layout.setContentsMargins(16, 8, 16, 8)
        if entry is not None and entry.card is not None:
            self._add_card(layout, entry, entry.card)
        elif entry is not None:
            layout.addWidget(_text(entry.id, "title"))
            layout.addWidget(_text(sentence_of(entry.problem) if entry.problem is not None else ""))
            layout.addWidget(_text(str(entry.folder)))
        layout.addStretch(1)
        self.setWidget(inside)

    def _add_card(self, layout: QVBoxLayout, entry: Entry, card: ModelCard) -> None:
        from engine.tasks import TASKS

        layout.addWidget(_text(card.title, "title"))
        if card.summary:
            layout.addWidget(_text(card.summary))
        training = card.training
        seen = self.tr("{0:,} pictures in {1:g} minutes on {2}")
        trained = seen.format(training.pictures_seen, training.minutes, training.machine) if training.machine else ""
        rows = [
            (self.tr("Task"), TASKS[card.task].title),
            (self.tr("Licence"), card.licence),
            (self.tr("Source"), card.source or training.data),
            (self.tr("Version"), card.version),
            (self.tr("Size"), _size_words(card.size)),
            (self.tr("Parameters"), f"{training.parameters:,}" if training.parameters else ""),
            (self.tr("Trained"), trained),
            (self.tr("Windows"), self._window_words(card)),
            (self.tr("Folder"), str(entry.folder)),
        ]
        layout.addLayout(_form(rows))
        layout.addWidget(_text(self.tr("Scores"), "heading"))
        if card.scores:
            layout.addLayout(_form([(name, f"{value:g}") for name, value in card.scores.items()]))
            layout.addWidget(
                _text(self.tr("As on the card: the first word of a name is the test protocol."), faint=True)
            )
        else:
            layout.addWidget(_text(self.tr("The card has none."), faint=True))
        if training.credits:
            layout.addWidget(_text(self.tr("Credits: {0} photographs").format(len(training.credits)), "heading"))
            lines = QPlainTextEdit("\n".join(training.credits))
            lines.setReadOnly(True)
            lines.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
            lines.setMinimumHeight(120)
            lines.setAccessibleName(self.tr("Credits"))
            layout.addWidget(lines)

    def _window_words(self, card: ModelCard) -> str:
        tile = card.tile
        if tile.default == tile.minimum:
            return self.tr("{0} x {0} px").format(tile.default)
        said = self.tr("{0} to {1} px a side, multiples of {2}")
        return said.format(tile.minimum, tile.default, tile.multiple)


def _size_words(size: int) -> str:
    """Bytes in megabytes, or in kilobytes if there are few."""
    return f"{size / _MB:.1f} MB" if size >= _MB / 10 else f"{size / _KB:.1f} kB"


def _text(words: str, name: str = "", *, faint: bool = False) -> QLabel:
    """A label that wraps and can be selected; ``name`` is that of a style."""
    label = QLabel(words)
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if faint:
        label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    return label


def _form(rows: list[tuple[str, str]]) -> QFormLayout:
    """Names and values below each other; rows without a value are left out."""
    form = QFormLayout()
    form.setHorizontalSpacing(16)
    form.setVerticalSpacing(4)
    for name, value in rows:
        if value:
            title = QLabel(name)
            title.setForegroundRole(QPalette.ColorRole.PlaceholderText)
            form.addRow(title, _text(value))
    return form
