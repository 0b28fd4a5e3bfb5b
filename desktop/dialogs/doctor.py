"""The window that shows what ``lacuna doctor`` finds out about this computer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QPalette
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from desktop.dialogs.export import FileDialogs
from desktop.language import sentence_of
from desktop.panels.widgets import JobBar, closing_buttons, size_window
from desktop.work.threads import JobCentre, Lane, Work
from engine import imageio
from engine.errors import EngineError
from engine.runtime.cards import Registry

if TYPE_CHECKING:
    from engine.doctor import Diagnosis, ModelTest, Trial
    from engine.runtime.driver import GraphicsCard

_GB = 1e9
_DEVICES = {
    "CPUExecutionProvider": "processor (CPU)",
    "CUDAExecutionProvider": "graphics card (CUDA)",
    "TensorrtExecutionProvider": "TensorRT, which Lacuna does not use",
}
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class DoctorWindow(QDialog):
    """Looks at the computer and tests every model, on the compute thread; a line a model as it comes. Not modal.

    Closing it cancels the test. GUI thread.

    Args:
        parent: the main window.
        jobs: runs the test.
        registry: the models.
    """

    def __init__(self, parent: QWidget, jobs: JobCentre, registry: Registry) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("This Computer"))
        size_window(self, 860, 680)
        self._jobs, self._registry = jobs, registry
        self._found: Diagnosis | None = None
        self._whole = False
        self._titles: dict[str, str] = {}
        self._verdict, self._advice, self._note = QLabel(), QLabel(), QLabel()
        for label in (self._verdict, self._advice, self._note):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._verdict.setObjectName("verdict")
        self._facts = QFormLayout()
        self._facts.setHorizontalSpacing(24)
        self._facts.setVerticalSpacing(4)
        self._table = self._make_table()
        self._job = JobBar()
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.addWidget(self._verdict)
        layout.addWidget(self._advice)
        layout.addLayout(self._facts)
        layout.addWidget(self._table, 1)
        layout.addWidget(self._job)
        layout.addWidget(self._note)
        buttons = self._make_buttons()
        layout.addWidget(buttons)
        buttons.button(QDialogButtonBox.StandardButton.Close).setFocus()

    def _make_table(self) -> QTableWidget:
        titles = [self.tr("Model"), self.tr("Task"), self.tr("Loads"), self.tr("Result")]
        titles += [self.tr("Processor, MP/s"), self.tr("Graphics card, MP/s")]
        table = QTableWidget(0, len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.setAccessibleName(self.tr("Tests of the models"))
        table.verticalHeader().hide()
        table.setShowGrid(False)
        table.setWordWrap(True)
        table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
        for column in range(len(titles)):
            header_item = table.horizontalHeaderItem(column)
            if header_item is not None:
                header_item.setTextAlignment(_RIGHT if column > 3 else _LEFT)
        return table

    def _make_buttons(self) -> QDialogButtonBox:
        self._again = QPushButton(self.tr("Check Again"))
        self._copy = QPushButton(self.tr("Copy as Text"))
        self._save = QPushButton(self.tr("Save as JSON…"))
        return closing_buttons(
            self, [(self._again, self.start), (self._copy, self._on_copy), (self._save, self._on_save)]
        )

    def start(self) -> None:
        """Begin the test; the window shows what it tells."""
        if self._job.busy:
            return
        self._found, self._whole = None, False
        self._titles = {card.id: card.title for card in self._registry.cards()}
        self._table.setRowCount(0)
        for text in (self._advice, self._note):
            text.clear()
            text.hide()
        self._verdict.setText(self.tr("Looking at this computer…"))
        self._allow(ended=False)
        registry = self._registry

        def prepare() -> Work:
            from engine.doctor import examine

            return lambda context: examine(registry, context, ticket.told.emit)

        ticket = self._jobs.submit(self.tr("Checking this computer"), Lane.COMPUTE, prepare)
        self._job.follow(ticket)
        ticket.told.connect(self._show)
        ticket.done.connect(self._on_done)
        ticket.cancelled.connect(self._on_cancelled)
        ticket.failed.connect(self._on_failed)
        ticket.ended.connect(self._on_ended)

    def done(self, result: int) -> None:
        self._job.stop()
        super().done(result)
        self.deleteLater()

    # -- what was found ---------------------------------------------------------------------------------------

    def _show(self, found: Diagnosis) -> None:
        """Show what is known so far: the facts once, and the tests that are new."""
        if self._found is None:
            self._show_facts(found)
            self._verdict.setText(self.tr("Testing {0} models…").format(len(self._titles)))
        self._found = found
        for test in found.tests[self._table.rowCount() :]:
            self._add_row(self._cells(test), failed=test.problem is not None)

    def _on_done(self, found: Diagnosis) -> None:
        self._show(found)
        self._whole = True
        self._show_facts(found)
        for problem in found.problems:
            self._add_row(["", "", self.tr("no"), sentence_of(problem), "", ""], failed=True)
        first, *more = map(sentence_of, found.advice)
        failed, total = found.failed, len(found.tests) + len(found.problems)
        if not total:
            first, more = self.tr("No model is installed."), []
        elif failed:
            more = [first, *more]
            first = self.tr("{0} of {1} models do not work.").format(failed, total)
        else:
            more = [first, *more]
            first = self.tr("All {0} models work.").format(total)
        self._verdict.setText(first)
        self._advice.setText(" ".join(more))
        self._advice.setVisible(bool(more))

    def _on_cancelled(self) -> None:
        self._verdict.setText(self.tr("The check was cancelled after {0} models.").format(self._table.rowCount()))

    def _on_failed(self, error: EngineError) -> None:
        self._verdict.setText(sentence_of(error))

    def _on_ended(self) -> None:
        self._allow(ended=True)

    def _allow(self, *, ended: bool) -> None:
        self._again.setEnabled(ended)
        for button in (self._copy, self._save):
            button.setEnabled(ended and self._whole)

    def _show_facts(self, found: Diagnosis) -> None:
        while self._facts.rowCount():
            self._facts.removeRow(0)
        library, driver, memory = found.library, found.driver, found.memory
        built = self.tr(", built for CUDA {0}").format(library.cuda) if library.cuda else ""
        used = ", ".join(_DEVICES.get(name, name) for name in found.used)
        rows = [
            (self.tr("Really used"), used or self.tr("not known yet")),
            (self.tr("Present"), ", ".join(_DEVICES.get(name, name) for name in reversed(library.providers))),
            *((self.tr("Graphics card"), self._card_words(card)) for card in (driver.cards if driver else ())),
            (
                self.tr("Driver"),
                self.tr("{0}, CUDA up to {1}").format(driver.version, driver.cuda)
                if driver
                else self.tr("none of NVIDIA's"),
            ),
            (self.tr("Library"), f"{library.package} {library.version}{built}"),
            (self.tr("Processor"), self.tr("{0} cores").format(found.cores)),
            (
                self.tr("Memory"),
                self.tr("{0:.1f} of {1:.1f} GB free, {2:.1f} GB used by Lacuna").format(
                    memory.available / _GB, memory.total / _GB, memory.own / _GB
                ),
            ),
            (self.tr("System"), f"{found.system}, Python {found.python}, Lacuna {found.version}"),
        ]
        for title, value in rows:
            name, text = QLabel(title), QLabel(value)
            name.setForegroundRole(QPalette.ColorRole.PlaceholderText)
            text.setWordWrap(True)
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._facts.addRow(name, text)

    def _card_words(self, card: GraphicsCard) -> str:
        free = self.tr("{0:.1f} of {1:.1f} GB free").format(card.free / _GB, card.memory / _GB)
        return f"{card.name}, {free}"

    # -- the table --------------------------------------------------------------------------------------------

    def _cells(self, test: ModelTest) -> list[str]:
        """The texts of the row of a model."""
        from engine.tasks import TASKS

        speeds = {trial.device.value: f"{trial.megapixels:.3g}" for trial in test.trials}
        loads = self.tr("yes") if test.trials else self.tr("no")
        return [
            self._titles.get(test.id, test.id),
            TASKS[test.task].title,
            loads,
            sentence_of(test.problem) if test.problem is not None else self._result_words(test.trials),
            speeds.get("cpu", ""),
            speeds.get("cuda", ""),
        ]

    def _result_words(self, trials: tuple[Trial, ...]) -> str:
        """How the results of a model that passed agree."""
        differences = [trial.difference for trial in trials if trial.difference is not None]
        if differences:
            return self.tr("agrees with the processor ({0:.4f})").format(max(differences))
        return self.tr("two runs agree")

    def _add_row(self, texts: list[str], *, failed: bool) -> None:
        row = self._table.rowCount()
        self._table.insertRow(row)
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setTextAlignment(_RIGHT if column > 3 else _LEFT)
            if failed:
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            self._table.setItem(row, column, item)
        self._table.resizeRowToContents(row)
        self._table.scrollToBottom()

    # -- copies -----------------------------------------------------------------------------------------------

    def _on_copy(self) -> None:
        from engine.doctor import lines_of

        if self._found is not None:
            QGuiApplication.clipboard().setText("\n".join(lines_of(self._found)) + "\n")
            self._say(self.tr("Copied."))

    def _on_save(self) -> None:
        from engine.doctor import json_of

        path = FileDialogs.save_report(self, Path.home() / "lacuna-doctor.json")
        if path is None or self._found is None:
            return
        try:
            imageio.check_target(path, (), (".json",))
            imageio.atomic_write_bytes(path, (json_of(self._found) + "\n").encode())
        except EngineError as error:
            self._say(sentence_of(error))
        else:
            self._say(self.tr("Written to {0}.").format(path))

    def _say(self, sentence: str) -> None:
        self._note.setText(sentence)
        self._note.show()
