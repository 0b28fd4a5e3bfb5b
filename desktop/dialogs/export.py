"""File dialogs, and the export dialog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from desktop.document.project import SUFFIX
from desktop.language import sentence_of
from desktop.work.threads import Ticket
from engine import imageio
from engine.errors import WriteError
from engine.imageio import WriteOptions
from engine.output import Output, check_place

_MEASURE_MS = 400
_FORMATS = tuple(row for row in imageio.FORMATS if row.writer is not None)


class FileDialogs:
    """The system's own file dialogs."""

    @classmethod
    def open_pictures(cls, parent: QWidget, folder: Path) -> list[Path]:
        """Ask for scans or projects to open; empty when cancelled."""
        patterns = " ".join(f"*{suffix}" for suffix in (*imageio.READABLE, SUFFIX))
        names, _ = QFileDialog.getOpenFileNames(
            parent, parent.tr("Open"), str(folder), f"{parent.tr('Scans and projects')} ({patterns})"
        )
        return [Path(name) for name in names]

    @classmethod
    def choose_folder(cls, parent: QWidget, title: str, folder: str) -> Path | None:
        """Ask for a folder; None when cancelled."""
        name = QFileDialog.getExistingDirectory(parent, title, folder)
        return Path(name) if name else None

    @classmethod
    def open_file(cls, parent: QWidget, title: str, kind: str, patterns: Sequence[str]) -> Path | None:
        """Ask for a file of a kind, such as a recipe; None when cancelled."""
        name, _ = QFileDialog.getOpenFileName(parent, title, "", f"{kind} ({' '.join(patterns)})")
        return Path(name) if name else None

    @classmethod
    def save_project(cls, parent: QWidget, suggestion: Path) -> Path | None:
        """Ask where to save the project; None when cancelled."""
        name, _ = QFileDialog.getSaveFileName(
            parent, parent.tr("Save project"), str(suggestion), f"{parent.tr('OpenRaster project')} (*{SUFFIX})"
        )
        return (Path(name) if Path(name).suffix else Path(name + SUFFIX)) if name else None

    @classmethod
    def open_mask(cls, parent: QWidget, folder: Path) -> Path | None:
        """Ask for a mask picture; None when cancelled."""
        patterns = " ".join(f"*{suffix}" for suffix in imageio.READABLE)
        name, _ = QFileDialog.getOpenFileName(
            parent, parent.tr("Load mask"), str(folder), f"{parent.tr('Masks')} ({patterns})"
        )
        return Path(name) if name else None

    @classmethod
    def open_model(cls, parent: QWidget) -> Path | None:
        """Ask for an ONNX file; None when cancelled."""
        name, _ = QFileDialog.getOpenFileName(parent, parent.tr("Add a model"), "", "ONNX (*.onnx)")
        return Path(name) if name else None

    @classmethod
    def save_report(cls, parent: QWidget, suggestion: Path) -> Path | None:
        """Ask where to write a report as JSON; None when cancelled."""
        name, _ = QFileDialog.getSaveFileName(parent, parent.tr("Save as JSON"), str(suggestion), "JSON (*.json)")
        return (Path(name) if Path(name).suffix else Path(name + ".json")) if name else None

    @classmethod
    def save_mask(cls, parent: QWidget, suggestion: Path) -> Path | None:
        """Ask where to save the mask; None when cancelled."""
        name, _ = QFileDialog.getSaveFileName(parent, parent.tr("Save mask"), str(suggestion), "PNG (*.png)")
        return (Path(name) if Path(name).suffix else Path(name + ".png")) if name else None

    @classmethod
    def open_recipe(cls, parent: QWidget) -> Path | None:
        """Ask for a recipe file; None when cancelled."""
        name, _ = QFileDialog.getOpenFileName(
            parent, parent.tr("Import Recipe"), str(Path.home()), f"{parent.tr('Recipes')} (*.toml)"
        )
        return Path(name) if name else None

    @classmethod
    def save_recipe(cls, parent: QWidget, suggestion: Path) -> Path | None:
        """Ask where to write a recipe file; None when cancelled."""
        name, _ = QFileDialog.getSaveFileName(
            parent, parent.tr("Export Recipe"), str(suggestion), f"{parent.tr('Recipes')} (*.toml)"
        )
        return (Path(name) if Path(name).suffix else Path(name + ".toml")) if name else None

    @classmethod
    def save_picture(cls, parent: QWidget, title: str, suggestion: Path) -> Path | None:
        """Ask where to write a picture; None when cancelled. Without a suffix it gets the suggestion's."""
        patterns = " ".join(f"*{suffix}" for suffix in imageio.WRITABLE)
        asked = f"{parent.tr('Pictures')} ({patterns})"
        name, _ = QFileDialog.getSaveFileName(parent, title, str(suggestion), asked)
        return (Path(name) if Path(name).suffix else Path(name + suggestion.suffix)) if name else None


class ExportDialog(QDialog):
    """Name, format, depth, profile and compression of an export.

    Args:
        parent: of the dialog.
        protected: files that must not be overwritten.
        depth: bits per sample of the scan.
        suggestion: the initial file name.
        measure: starts a job that finds out how large the export would be.
    """

    def __init__(
        self,
        parent: QWidget | None,
        protected: list[Path],
        depth: int,
        suggestion: Path,
        measure: Callable[[Output], Ticket] | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export"))
        self._measure, self._protected, self._scan_depth = measure, protected, depth
        self._ticket: Ticket | None = None
        self._make_fields(depth, suggestion)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self._export = self._buttons.addButton(self.tr("Export"), QDialogButtonBox.ButtonRole.AcceptRole)
        self._lay_out()
        self._measure_timer = QTimer(self)
        self._measure_timer.setSingleShot(True)
        self._measure_timer.setInterval(_MEASURE_MS)
        self._measure_timer.timeout.connect(self._start_measuring)
        self._format.activated.connect(self._on_format)
        self._path.textChanged.connect(self._check)
        self._lossless.toggled.connect(self._check)
        self._depth.currentIndexChanged.connect(self._check)
        self._quality.valueChanged.connect(self._check)
        self._profile.activated.connect(self._on_profile)
        self._record.toggled.connect(self._check)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._check()

    @classmethod
    def ask(
        cls,
        parent: QWidget | None,
        protected: list[Path],
        depth: int,
        suggestion: Path,
        measure: Callable[[Output], Ticket] | None = None,
    ) -> Output | None:
        """Show the dialog; None when it was cancelled. See the class for the arguments."""
        dialog = cls(parent, protected, depth, suggestion, measure)
        accepted = dialog.exec() == QDialog.DialogCode.Accepted
        # Otherwise the parent keeps it, and it keeps the photograph.
        dialog.deleteLater()
        return dialog.choice() if accepted else None

    def choice(self) -> Output:
        """The current choices."""
        options = WriteOptions(
            depth=self._depth.currentData(), quality=self._quality.value(), lossless=self._lossless.isChecked()
        )
        return Output(self._target(), options, str(self._profile.currentData()), self._record.isChecked())

    def done(self, result: int) -> None:
        self._stop_measuring()
        super().done(result)

    # -- construction -----------------------------------------------------------------------------------------

    def _make_fields(self, depth: int, suggestion: Path) -> None:
        self._path = QLineEdit(str(suggestion))
        self._path.setMinimumWidth(420)
        self._format = QComboBox()
        for row in _FORMATS:
            self._format.addItem(row.name, row.suffixes)
        self._depth = QComboBox()
        self._depth.addItem(self.tr("As the scan ({0} bit)").format(depth), None)
        self._depth.addItem(self.tr("8 bit"), 8)
        self._depth.addItem(self.tr("16 bit"), 16)
        self._profile = QComboBox()
        self._profile.addItem(self.tr("Keep the scan's"), "keep")
        self._profile.addItem(self.tr("Convert to sRGB"), "srgb")
        self._profile.addItem(self.tr("Convert to a profile file…"), "file")
        self._quality = QSpinBox()
        self._quality.setRange(1, 100)
        self._quality.setValue(92)
        self._lossless = QCheckBox(self.tr("Lossless"))
        self._lossless.setChecked(True)
        policy = self._lossless.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._lossless.setSizePolicy(policy)
        self._record = QCheckBox(self.tr("Write the record of repairs beside it"))
        self._record.setChecked(True)
        self._size = QLabel()
        self._note = QLabel()
        self._note.setWordWrap(True)
        # A fixed height, so that nothing moves when the text changes.
        self._note.setMinimumHeight(3 * self.fontMetrics().height())
        self._note.setAlignment(Qt.AlignmentFlag.AlignTop)

    def _lay_out(self) -> None:
        browse = QPushButton(self.tr("Browse…"))
        browse.clicked.connect(self._browse)
        where = QHBoxLayout()
        where.addWidget(self._path, 1)
        where.addWidget(browse)
        form = QFormLayout()
        form.addRow(self.tr("File"), where)
        form.addRow(self.tr("Format"), self._format)
        form.addRow(self.tr("Depth"), self._depth)
        form.addRow(self.tr("Profile"), self._profile)
        form.addRow(self.tr("Quality"), self._quality)
        form.addRow("", self._lossless)
        form.addRow("", self._record)
        form.addRow(self.tr("Size"), self._size)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self._note)
        layout.addWidget(self._buttons)

    # -- answers ----------------------------------------------------------------------------------------------

    def _target(self) -> Path:
        """The file to write: with ``~`` expanded, and with the format's suffix if none was typed."""
        path = Path(self._path.text().strip())
        with suppress(RuntimeError):
            # ``~name`` of an unknown user is taken literally.
            path = path.expanduser()
        return path if path.suffix or not path.name else path.with_suffix(self._format.currentData()[0])

    def _browse(self) -> None:
        patterns = ";;".join(f"{row.name} ({' '.join('*' + suffix for suffix in row.suffixes)})" for row in _FORMATS)
        name, _ = QFileDialog.getSaveFileName(self, self.tr("Export"), self._path.text(), patterns)
        if name:
            self._path.setText(name)

    def _on_format(self) -> None:
        path = Path(self._path.text().strip())
        if path.name:
            self._path.setText(str(path.with_suffix(self._format.currentData()[0])))

    def _on_profile(self, row: int) -> None:
        if row == 2:
            name, _ = QFileDialog.getOpenFileName(self, self.tr("Profile"), "", "ICC (*.icc *.icm)")
            if name:
                self._profile.setItemData(2, name)
                self._profile.setItemText(2, Path(name).name)
            else:
                self._profile.setCurrentIndex(0)
        self._check()

    def _check(self) -> None:
        path = self._target()
        suffix = path.suffix.lower()
        row = imageio.format_of(suffix)
        if row in _FORMATS:
            self._format.setCurrentIndex(_FORMATS.index(row))
        lossy = row is not None and not imageio.is_lossless(suffix, WriteOptions(lossless=self._lossless.isChecked()))
        self._quality.setEnabled(lossy)
        self._lossless.setVisible(row is not None and row.lossless == "choice")
        deep = imageio.stored_depth(suffix, 16) == 16
        self._depth.setEnabled(deep)
        as_scan = self.tr("As the scan ({0} bit)").format(self._scan_depth)
        self._depth.setItemText(0, as_scan if deep else self.tr("8 bit, which is all the format holds"))
        problem = ""
        try:
            check_place(self.choice(), self._protected)
        except WriteError as error:
            problem = sentence_of(error)
        self._export.setEnabled(not problem)
        self._stop_measuring()
        if not problem and self._measure is not None:
            self._measure_timer.start()
        self._note.setText(problem or self._promise(suffix, lossy=lossy))

    def _promise(self, suffix: str, *, lossy: bool) -> str:
        if lossy:
            text = self.tr("This format is re-encoded: samples outside the repair change a little, too.")
            return text + (self.tr(" It holds 8 bit, less than the scan.") if self._scan_depth > 8 else "")
        if self._profile.currentData() != "keep":
            return self.tr("All samples are converted to the other profile.")
        depth = imageio.stored_depth(suffix, self._depth.currentData() or self._scan_depth)
        if depth < self._scan_depth:
            return self.tr("8 bit hold less than the scan; the reduction is dithered.")
        return self.tr("Outside the repair every sample will be the scan's, bit for bit.")

    # -- size -------------------------------------------------------------------------------------------------

    def _stop_measuring(self) -> None:
        self._measure_timer.stop()
        self._size.clear()
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.cancel()

    def _start_measuring(self) -> None:
        if self._measure is not None:
            self._size.setText(self.tr("measuring…"))
            self._ticket = ticket = self._measure(self.choice())
            ticket.done.connect(lambda size: self._show_size(ticket, size))
            ticket.failed.connect(lambda _: self._show_size(ticket, None))

    def _show_size(self, ticket: Ticket, size: int | None) -> None:
        if ticket is self._ticket:
            self._ticket = None
            self._size.setText(self.tr("{0:.1f} MB").format(size / 1e6) if size is not None else "")
