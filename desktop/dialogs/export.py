"""Where to open from, where to save and export to, and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QTimer
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
from desktop.jobs import Ticket
from engine import imageio
from engine.errors import WriteError
from engine.imageio import WriteOptions
from engine.output import Output

_MEASURE_MS = 400


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
    def save_mask(cls, parent: QWidget, suggestion: Path) -> Path | None:
        """Ask where to save the mask; None when cancelled."""
        name, _ = QFileDialog.getSaveFileName(parent, parent.tr("Save mask"), str(suggestion), "PNG (*.png)")
        return (Path(name) if Path(name).suffix else Path(name + ".png")) if name else None


class ExportDialog(QDialog):
    """Name, format, depth, profile and compression of an export."""

    def __init__(
        self,
        parent: QWidget | None,
        source: Path,
        depth: int,
        suggestion: Path,
        measure: Callable[[Output], Ticket] | None = None,
    ) -> None:
        """Args: measure starts a job that finds out how large an export would be."""
        super().__init__(parent)
        self._measure = measure
        self._ticket: Ticket | None = None
        self.setWindowTitle(self.tr("Export"))
        self._source, self._scan_depth = source, depth
        self._path = QLineEdit(str(suggestion))
        self._path.setMinimumWidth(360)
        browse = QPushButton(self.tr("Browse…"))
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
        self._record = QCheckBox(self.tr("Write the record of repairs beside it"))
        self._record.setChecked(True)
        self._size = QLabel()
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_MEASURE_MS)
        self._later.timeout.connect(self._start_measuring)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self._export = self._buttons.addButton(self.tr("Export"), QDialogButtonBox.ButtonRole.AcceptRole)
        where = QHBoxLayout()
        where.addWidget(self._path, 1)
        where.addWidget(browse)
        form = QFormLayout()
        form.addRow(self.tr("File"), where)
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
        browse.clicked.connect(self._browse)
        self._path.textChanged.connect(self._check)
        self._lossless.toggled.connect(self._check)
        self._depth.currentIndexChanged.connect(self._check)
        self._quality.valueChanged.connect(self._check)
        self._profile.activated.connect(self._on_profile)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._check()

    @classmethod
    def ask(
        cls,
        parent: QWidget | None,
        source: Path,
        depth: int,
        suggestion: Path,
        measure: Callable[[Output], Ticket] | None = None,
    ) -> Output | None:
        """Ask how to export; None when cancelled."""
        dialog = cls(parent, source, depth, suggestion, measure)
        return dialog.choice() if dialog.exec() == QDialog.DialogCode.Accepted else None

    def done(self, result: int) -> None:
        self._stop_measuring()
        super().done(result)

    def choice(self) -> Output:
        """What is chosen now."""
        options = WriteOptions(
            depth=self._depth.currentData(), quality=self._quality.value(), lossless=self._lossless.isChecked()
        )
        path = Path(self._path.text())
        return Output(path, options, str(self._profile.currentData()), self._record.isChecked())

    def _browse(self) -> None:
        patterns = ";;".join(f"{suffix[1:].upper()} (*{suffix})" for suffix in imageio.WRITABLE)
        name, _ = QFileDialog.getSaveFileName(self, self.tr("Export"), self._path.text(), patterns)
        if name:
            self._path.setText(name)

    def _on_profile(self, row: int) -> None:
        if row == 2:
            name, _ = QFileDialog.getOpenFileName(self, self.tr("Profile"), "", "ICC (*.icc *.icm)")
            if name:
                self._profile.setItemData(2, name)
                self._profile.setItemText(2, Path(name).name)
            else:
                self._profile.setCurrentIndex(0)

    def _check(self) -> None:
        path = Path(self._path.text())
        suffix = path.suffix.lower()
        lossy = suffix in (".jpg", ".jpeg") or (suffix == ".webp" and not self._lossless.isChecked())
        self._quality.setEnabled(lossy)
        self._lossless.setEnabled(suffix == ".webp")
        self._depth.setEnabled(suffix in (".tif", ".tiff", ".png"))
        problem = ""
        try:
            imageio.check_target(path, [self._source])
        except WriteError as error:
            problem = error.sentence
        self._export.setEnabled(not problem)
        self._stop_measuring()
        if not problem and self._measure is not None:
            self._later.start()
        self._note.setText(problem or self._promise(suffix, lossy=lossy))

    def _stop_measuring(self) -> None:
        self._later.stop()
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

    def _promise(self, suffix: str, *, lossy: bool) -> str:
        if lossy:
            return self.tr("This format is re-encoded: samples outside the repair change a little, too.")
        depth = self._depth.currentData() or (8 if suffix == ".webp" else self._scan_depth)
        if depth < self._scan_depth:
            return self.tr("8 bit hold less than the scan; the reduction is dithered.")
        return self.tr("Outside the repair every sample will be the scan's, bit for bit.")
