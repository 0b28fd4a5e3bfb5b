"""The form that makes a model card for a third party's ONNX file, with a trial before the model is accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.language import sentence_of
from desktop.panels.pictures import DividedPicture, image_of
from desktop.panels.widgets import JobBar, size_window
from desktop.work.base import Urgency
from desktop.work.threads import JobCentre, Lane, Work
from engine.errors import EngineError
from engine.jobs import JobContext
from engine.runtime.cards import ModelCard, Registry

if TYPE_CHECKING:
    from engine.third_party import Answers, ModelFile, Scan, Shown

PickScan = Callable[[], tuple[str, Callable[[JobContext], "Scan"]]]
"""Freezes the picture for a trial on the GUI thread; gives its name, and what reads it on an engine thread."""
_LICENCES = ("MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC0-1.0", "unknown")
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)


class AddModelWindow(QDialog):
    """Asks what a model file does not say itself, tries the model on a part of a scan, and adds it. Not modal.

    Closing it cancels what runs. GUI thread.

    Args:
        parent: the window with the list of models.
        file: what was read of the model file.
        jobs: tries and copies the model.
        registry: gets the model.
        pick: freezes the picture on which the model is tried.
        device: returns on which device it is tried: ``auto``, ``cpu`` or ``cuda``.

    Signals:
        added: the model was added; carries its card.
    """

    added = Signal(object)

    def __init__(
        self,
        parent: QWidget,
        file: ModelFile,
        jobs: JobCentre,
        registry: Registry,
        pick: PickScan,
        device: Callable[[], str],
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Add a Model"))
        size_window(self, 1080, 640)
        self._jobs, self._registry, self._pick, self._device = jobs, registry, pick, device
        self._file = file
        self._tried: ModelCard | None = None
        self._make_fields()
        self._lay_out()
        self._fill()
        for combo in (self.task, self.output):
            combo.currentIndexChanged.connect(self._on_role)
        for combo in self._combos:
            combo.currentIndexChanged.connect(self._on_answer)
        for line in (self.title, self.summary, self.source, self.labels, self.licence.lineEdit()):
            if line is not None:
                line.textChanged.connect(self._on_answer)
        self._ask_for_task()

    def _make_fields(self) -> None:
        self.title, self.summary, self.source, self.labels = (QLineEdit() for _ in range(4))
        self.title.setPlaceholderText(self.tr("Name in the list of models"))
        self.summary.setPlaceholderText(self.tr("What it is for, in a sentence"))
        self.source.setPlaceholderText(self.tr("Address or author"))
        self.labels.setPlaceholderText(self.tr("Dust, scratch, …: one name for each channel"))
        self.licence = QComboBox()
        self.licence.setEditable(True)
        self.licence.addItems(_LICENCES)
        self.licence.setCurrentIndex(-1)
        line = self.licence.lineEdit()
        if line is not None:
            line.setPlaceholderText(self.tr("As its author says; unknown if nobody does"))
        self.task, self.picture, self.output, self.layout_of_axes = (QComboBox() for _ in range(4))
        self.order = _combo({self.tr("Red, green, blue"): "RGB", self.tr("Blue, green, red"): "BGR"})
        names = {f"{low:g} … {high:g}": (low, high) for low, high in _RANGES}
        self.takes, self.gives = _combo(names), _combo(names)
        masks: dict[str, Any] = {
            self.tr("1 marks what is lost, 0 what is kept"): (1.0, 1),
            self.tr("0 marks what is lost, 1 what is kept"): (1.0, 0),
            self.tr("255 marks what is lost, 0 what is kept"): (255.0, 1),
            self.tr("0 marks what is lost, 255 what is kept"): (255.0, 0),
        }
        self.mask_use = _combo(masks)
        self.multiple = _combo({self.tr("multiples of {0} px").format(side): side for side in _MULTIPLES})
        self.multiple.setCurrentIndex(_MULTIPLES.index(8))
        self.scale = QComboBox()
        self._combos = [self.task, self.picture, self.output, self.layout_of_axes, self.order, self.takes, self.gives]
        self._combos += [self.mask_use, self.multiple, self.scale]
        self._says = QLabel()
        self._says.setWordWrap(True)
        self._says.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._note, self._outcome = QLabel(), QLabel()
        for label in (self._note, self._outcome):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._job = JobBar()
        self._pair = DividedPicture(self.tr("Before and after"), enlarges=True)
        self._pair.hint = self.tr("A part of the picture is shown here before and after.")
        self.attempt = QPushButton()
        self.attempt.setAutoDefault(False)
        self.attempt.clicked.connect(self.try_it)

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setHorizontalSpacing(16)
        self._form.setVerticalSpacing(8)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows: list[tuple[str, QWidget]] = [
            (self.tr("Title"), self.title),
            (self.tr("What for"), self.summary),
            (self.tr("Licence"), self.licence),
            (self.tr("Source"), self.source),
            (self.tr("The file says"), self._says),
            (self.tr("Task"), self.task),
            (self.tr("Picture goes into"), self.picture),
            (self.tr("Result comes from"), self.output),
            (self.tr("Axes"), self.layout_of_axes),
            (self.tr("Colours"), self.order),
            (self.tr("Values it takes"), self.takes),
            (self.tr("Values it gives"), self.gives),
            (self.tr("Mask"), self.mask_use),
            (self.tr("Windows"), self.multiple),
            (self.tr("Enlarges"), self.scale),
            (self.tr("Kinds of damage"), self.labels),
        ]
        for title, field in rows:
            field.setAccessibleName(title)
            self._form.addRow(title, field)
        left, right = QVBoxLayout(), QVBoxLayout()
        left.addLayout(self._form)
        left.addStretch(1)
        right.setSpacing(8)
        right.addWidget(self.attempt, 0, Qt.AlignmentFlag.AlignLeft)
        right.addWidget(self._pair, 1)
        right.addWidget(self._outcome)
        both = QHBoxLayout()
        both.setSpacing(24)
        both.addLayout(left, 4)
        both.addLayout(right, 5)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.accept_button = self._buttons.addButton(self.tr("Add Model"), QDialogButtonBox.ButtonRole.AcceptRole)
        self.accept_button.setObjectName("primary")
        self._buttons.accepted.connect(self._on_accepted)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.addLayout(both, 1)
        for widget in (self._job, self._note, self._buttons):
            layout.addWidget(widget)

    @property
    def note(self) -> str:
        """What stands in the way, in a sentence; empty if nothing does."""
        return self._note.text()

    def done(self, result: int) -> None:
        self._job.stop()
        super().done(result)
        self.deleteLater()

    # -- the file ---------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Fill the form with what the file says."""
        from engine.tasks import TASKS

        file = self._file
        for task in file.tasks:
            self.task.addItem(TASKS[task].title, task)
        for name in file.pictures:
            self.picture.addItem(name, name)
        names = {"NCHW": self.tr("Channels first"), "NHWC": self.tr("Channels last")}
        for layout in file.layouts:
            self.layout_of_axes.addItem(names[layout], layout)
        if file.side:
            self.multiple.clear()
            self.multiple.addItem(self.tr("{0} x {0} px only").format(file.side), file.side)
        self.title.setText(file.path.stem.replace("_", " "))
        self.title.selectAll()
        given = [(self.tr("takes {0}"), tensor) for tensor in file.inputs]
        made = [(self.tr("gives {0}"), tensor) for tensor in file.outputs]
        lines = [(said.format(tensor.name), tensor.type, tensor.shape) for said, tensor in (*given, *made)]
        self._says.setText("\n".join(self._tensor_words(*line) for line in lines))

    def _tensor_words(self, name: str, kind: str, shape: tuple[int | None, ...]) -> str:
        sides = " x ".join(self.tr("any") if side is None else str(side) for side in shape)
        return f"{name}: {sides}, {kind}"

    # -- answers ----------------------------------------------------------------------------------------------

    def _on_role(self) -> None:
        """Another task or result was chosen."""
        self._ask_for_task()
        self._on_answer()

    def _ask_for_task(self) -> None:
        """Ask only what the chosen task needs and the file does not say."""
        from engine.third_party import SCALES

        file, task, chosen = self._file, str(self.task.currentData()), self.output.currentData()
        results = file.results(task)
        result = chosen if chosen in results else results[0]
        _refill(self.output, {name: name for name in results}, result)
        scales = (file.scale(result),) if file.scale(result) else SCALES
        _refill(self.scale, {self.tr("{0} times").format(scale): scale for scale in scales}, self.scale.currentData())
        wanted: dict[QWidget, bool] = {
            self.picture: len(file.pictures) > 1,
            self.output: len(results) > 1,
            self.layout_of_axes: len(file.layouts) > 1,
            self.mask_use: task == "heal",
            self.scale: task == "upscale",
            self.labels: task == "detect",
        }
        for field, shown in wanted.items():
            self._form.setRowVisible(field, shown)
        planes = file.planes(result)
        if task == "detect" and self.labels.text().count(",") != planes - 1:
            names = ["damage"] if planes == 1 else [f"damage {number}" for number in range(1, planes + 1)]
            with QSignalBlocker(self.labels):
                self.labels.setText(", ".join(names))
        self._check()

    def answers(self) -> Answers:
        """The answers in the form."""
        from engine.third_party import Answers

        task = str(self.task.currentData())
        mask_high, mask_means = self.mask_use.currentData()
        words = [word.strip() for word in self.labels.text().split(",")]
        return Answers(
            task=task,
            title=self.title.text(),
            licence=self.licence.currentText(),
            source=self.source.text(),
            summary=self.summary.text(),
            picture=str(self.picture.currentData()),
            result=str(self.output.currentData()),
            layout=str(self.layout_of_axes.currentData()),
            order=str(self.order.currentData()),
            takes=self.takes.currentData(),
            gives=self.gives.currentData(),
            mask_high=mask_high,
            mask_means=mask_means,
            multiple=int(self.multiple.currentData()),
            scale=int(self.scale.currentData()) if task == "upscale" else 1,
            labels=tuple(words) if task == "detect" else (),
        )

    def _card(self) -> ModelCard | None:
        """The card of the answers, or None, with what is missing shown below."""
        from engine.third_party import card_of

        try:
            card = card_of(self._file, self.answers(), self._registry)
        except EngineError as error:
            self._note.setText(sentence_of(error))
            return None
        self._note.clear()
        return card

    def _on_answer(self) -> None:
        if self._tried is not None:
            self._tried = None
            self._outcome.setText(self.tr("The answers are others now: try it again."))
        self._check()

    def _check(self) -> None:
        """Allow what the answers allow: a trial, and after it to add the model."""
        card, busy = self._card(), self._job.busy
        name, _ = self._pick()
        self.attempt.setText(self.tr("Try It on {0}").format(name))
        self.attempt.setEnabled(card is not None and not busy)
        self.accept_button.setEnabled(card is not None and card == self._tried and not busy)

    # -- trial ------------------------------------------------------------------------------------------------

    def try_it(self) -> None:
        """Begin to run the model on a part of the picture that is open, or of the sample."""
        card, device = self._card(), self._device()
        if card is None or self._job.busy:
            return
        _, read = self._pick()

        def prepare() -> Work:
            from engine.runtime.session import Device
            from engine.third_party import try_on

            return lambda context: (card, try_on(card, read(context), Device(device), context))

        self._outcome.clear()
        self._pair.show_images()
        ticket = self._jobs.submit(
            self.tr("Trying {0}").format(card.title), Lane.COMPUTE, prepare, urgency=Urgency.REPAIR
        )
        self._job.follow(ticket)
        ticket.done.connect(self._on_tried)
        ticket.failed.connect(self._on_failed)
        ticket.ended.connect(self._check)
        self._check()

    def _on_tried(self, result: tuple[ModelCard, Shown]) -> None:
        self._tried, shown = result
        self._pair.show_images(image_of(shown.before), image_of(shown.after))
        where = self.tr("the graphics card") if shown.device.value == "cuda" else self.tr("the processor")
        said = self.tr("It took {0:.1f} s on {1}.").format(shown.seconds, where)
        self._outcome.setText(f"{said} {self._change_words(shown)}")

    def _change_words(self, shown: Shown) -> str:
        task = self.task.currentData()
        if task == "upscale":
            return self.tr("The right picture must look like the left one, only sharper.")
        share = 100 * shown.changed
        if task == "detect":
            return self.tr("It marks {0:.2g} % of this part as damaged.").format(share)
        if not shown.changed:
            return self.tr("It changed nothing here.")
        said = self.tr("It changed {0:.2g} % of the pixels. Where it looks wrong, change the answers and try again.")
        return said.format(share)

    def _on_failed(self, error: EngineError) -> None:
        self._outcome.setText(sentence_of(error))

    # -- adding -----------------------------------------------------------------------------------------------

    def _on_accepted(self) -> None:
        card = self._tried
        if card is None or self._job.busy:
            return
        registry = self._registry
        ticket = self._jobs.submit(
            self.tr("Adding {0}").format(card.title),
            Lane.IO,
            lambda: lambda _: registry.add_card(card),
            urgency=Urgency.REPAIR,
        )
        self._job.follow(ticket)
        ticket.done.connect(self._on_added)
        ticket.failed.connect(self._on_failed)
        ticket.ended.connect(self._check)
        self._check()

    def _on_added(self, card: ModelCard) -> None:
        self.added.emit(card)
        self.accept()


def _combo(entries: dict[str, Any]) -> QComboBox:
    """A list of texts with what each means."""
    combo = QComboBox()
    for text, data in entries.items():
        combo.addItem(text, data)
    return combo


def _refill(combo: QComboBox, entries: dict[str, Any], chosen: object) -> None:
    """Replace the entries of a list, and choose one by its data, or the first. Emits nothing."""
    with QSignalBlocker(combo):
        combo.clear()
        for text, data in entries.items():
            combo.addItem(text, data)
        combo.setCurrentIndex(max(0, combo.findData(chosen)))
