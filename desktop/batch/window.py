"""The window of batches: many scans by one recipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
    QShortcut,
)
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from desktop.batch.decision_bar import DecisionBar
from desktop.batch.keeper import BatchKeeper, Phase
from desktop.batch.model import ORDERS, BatchModel
from desktop.batch.options import Options
from desktop.batch.pictures import Pictures
from desktop.batch.preview import Preview
from desktop.batch.run_bar import RunBar
from desktop.batch.runner import Snapshot
from desktop.batch.table import BatchTable
from desktop.batch.words import is_looked_through, state_title
from desktop.dialogs.export import FileDialogs
from desktop.language import sentence_of
from desktop.panels.messages import MessageStrip
from desktop.panels.widgets import show_file, size_window
from desktop.settings import SettingsStore
from desktop.theme import icon
from desktop.work.threads import JobCentre
from engine.batch.rows import State
from engine.batch.views import Order
from engine.errors import EngineError, ReadError

_SEARCH_MS = 200
_DECIDED = "decided"
"""Data of the entry of the filter that shows what is decided."""
_MOST_TOLD = 500
"""Selected rows whose defects are counted."""


class BatchWindow(QWidget):
    """The window of batches. GUI thread. Closing it hides it, and a run goes on.

    Args:
        keeper: the batch.
        jobs: the job centre.
        store: settings; the geometry is kept in it.

    Signals:
        open_wanted: a scan or a result is to be opened in the editor; carries its path.
        try_wanted: its recipe is to be tried on a scan; carries the scan's path and the name of the recipe.
        help_wanted: the help on batches is to be shown.
        review_wanted: what was found in a scan is to be reviewed; carries its row's number, or None for the first.
    """

    open_wanted = Signal(object)
    try_wanted = Signal(object, str)
    help_wanted = Signal()
    review_wanted = Signal(object)

    def __init__(self, keeper: BatchKeeper, jobs: JobCentre, store: SettingsStore) -> None:
        super().__init__(None, Qt.WindowType.Window)
        self.setWindowTitle(self.tr("Batch - Lacuna"))
        self.setWindowIcon(icon("lacuna"))
        self.setAttribute(Qt.WidgetAttribute.WA_QuitOnClose, False)
        self.setAcceptDrops(True)
        self.keeper, self._store = keeper, store
        self.pictures = Pictures(jobs)
        self.model = BatchModel(keeper.rows, self.pictures)
        self.options = Options(store.settings.batch)
        self.table = BatchTable(self.model)
        self.preview = Preview(self.model, self.pictures)
        self.run_bar = RunBar(keeper, leaves_core=store.settings.batch.leave_core)
        self.decision_bar = DecisionBar(keeper)
        self.strip = MessageStrip()
        self.strip.show_offer_of(None)
        self._search_soon = QTimer(self)
        self._search_soon.setSingleShot(True)
        self._search_soon.setInterval(_SEARCH_MS)
        self._search_soon.timeout.connect(self._on_search)
        self._make_commands()
        self._lay_out()
        self._connect()
        self._order_by_keyboard()
        self._restore_geometry()

    # -- construction -----------------------------------------------------------------------------------------

    def _make_commands(self) -> None:
        table = self.table
        self.open_scan = table.add_command(self.tr("Open Scan"), "Shift+Return", lambda: self._open(result=False))
        self.open_result = table.add_command(self.tr("Open Result"), "Ctrl+Return", lambda: self._open(result=True))
        self.show_folder = table.add_command(self.tr("Show in Folder"), "Ctrl+Shift+F", self._show_folder)
        self.try_recipe = table.add_command(self.tr("Try the Recipe on It"), "Ctrl+T", self._try_recipe)
        for text, key, change in (
            (self.tr("Retry"), "Ctrl+R", self.keeper.retry),
            (self.tr("Cancel"), "Ctrl+.", self._cancel_scans),
            (self.tr("Move First"), "Ctrl+Home", lambda ids: self.keeper.move(ids, first=True)),
            (self.tr("Move Last"), "Ctrl+End", lambda ids: self.keeper.move(ids, first=False)),
            (self.tr("Remove from the List"), "Delete", self.keeper.remove),
        ):
            table.add_command(text, key, partial(self._on_selected, change))
        self.decision_bar.add_commands(table)
        for keys, action in (
            (QKeySequence.StandardKey.Close, self.close),
            (QKeySequence.StandardKey.Find, self._focus_search),
            (QKeySequence("F1"), self.help_wanted.emit),
        ):
            QShortcut(QKeySequence(keys), self).activated.connect(action)

    def _lay_out(self) -> None:
        self._pages = QStackedWidget()
        self._pages.addWidget(self._empty_page())
        splitter = self._splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(self.table)
        splitter.addWidget(self.preview)
        splitter.setStretchFactor(0, 1)
        splitter.setChildrenCollapsible(False)
        splitter.setSizes([1080, 320])
        self._pages.addWidget(splitter)
        middle = QVBoxLayout()
        middle.setContentsMargins(12, 4, 12, 0)
        middle.setSpacing(8)
        middle.addLayout(self._bar_above())
        middle.addWidget(self._pages, 1)
        middle.addWidget(self.decision_bar)
        # Full HD at 200 % is lower than all this needs. Start stays in view.
        body, area = QWidget(), QScrollArea()
        area.setWidget(body)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout, outer = QVBoxLayout(body), QVBoxLayout(self)
        outer.addWidget(area)
        for each in (layout, outer):
            each.setContentsMargins(0, 0, 0, 0)
            each.setSpacing(0)
        layout.addWidget(self.options)
        layout.addLayout(middle, 1)
        outer.addWidget(self.strip)
        outer.addWidget(self.run_bar)

    def _bar_above(self) -> QHBoxLayout:
        """The line over the table: adding, filter and search."""
        line = QHBoxLayout()
        line.setSpacing(8)
        for text, tip, ask in (
            (self.tr("Add folder…"), self.tr("Add all pictures of a folder, to the bottom"), self._add_folder),
            (self.tr("Add files…"), self.tr("Add picture files"), self._add_files),
        ):
            line.addWidget(_push(text, tip, ask))
        self._listing = QLabel()
        line.addWidget(self._listing, 1)
        self._filter = QComboBox()
        self._filter.setAccessibleName(self.tr("Shown states"))
        self._filter.setToolTip(self.tr("Show only scans of one state"))
        self._filter.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self._filter.addItem(self.tr("All"), None)
        for state in State:
            self._filter.addItem(state_title(state), state)
        self._filter.addItem(self.tr("Decided"), _DECIDED)
        self._filter.activated.connect(self._on_filter)
        line.addWidget(self._filter)
        self._order = QComboBox()
        self._order.setAccessibleName(self.tr("Order"))
        self._order.setToolTip(self.tr("The order of the table; a click on a column's title does the same"))
        self._order.addItem(self.tr("In the order of the work"), -1)
        for column in ORDERS:
            title = self.model.headerData(column, Qt.Orientation.Horizontal)
            self._order.addItem(self.tr("By {0}").format(str(title).lower()), int(column))
        self._order.activated.connect(self._on_order)
        line.addWidget(self._order)
        self._search = QLineEdit()
        self._search.setPlaceholderText(self.tr("Search names"))
        self._search.setAccessibleName(self.tr("Search names"))
        self._search.setToolTip(self.tr("Show only scans whose path has these letters (Ctrl+F)"))
        self._search.setClearButtonEnabled(True)
        self._search.setFixedWidth(200)
        self._search.textChanged.connect(self._search_soon.start)
        line.addWidget(self._search)
        return line

    def _empty_page(self) -> QWidget:
        page = QWidget()
        page.setObjectName("welcome")
        block = QVBoxLayout()
        block.setSpacing(8)
        for text in (
            self.tr("1   Drop folders and scans here"),
            self.tr("2   Choose a recipe and where the results go"),
            self.tr("3   Press Start"),
        ):
            label = QLabel(text)
            label.setObjectName("step")
            block.addWidget(label)
        line = QHBoxLayout()
        line.addStretch(1)
        line.addLayout(block)
        line.addStretch(1)
        layout = QVBoxLayout(page)
        layout.addStretch(2)
        layout.addLayout(line)
        layout.addStretch(3)
        return page

    def _connect(self) -> None:
        keeper = self.keeper
        keeper.shown.connect(self._on_snapshot)
        keeper.touched.connect(self.model.touch)
        keeper.changed.connect(self._on_changed)
        keeper.listing.connect(self._listing.setText)
        keeper.said.connect(self.strip.say)
        keeper.noticed.connect(self.strip.warn)
        keeper.decided.connect(self._on_decided)
        keeper.failed.connect(self._on_failed)
        keeper.ended.connect(self._on_ended)
        keeper.remembered.connect(self._store.save)
        keeper.began.connect(self.strip.dismiss_problems)
        self.options.changed.connect(self._on_options)
        self.table.pointed.connect(self.preview.show_row)
        self.table.sorted.connect(self._on_sorted)
        self.table.activated.connect(lambda _: self._open(result=None))
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_selected())
        self.model.modelReset.connect(self._show_selected)
        self.decision_bar.review_wanted.connect(lambda every: self._review(every=every))
        self.run_bar.report_wanted.connect(lambda: keeper.write_report(self._show_report))

    def _order_by_keyboard(self) -> None:
        """The order in which Tab goes is that in which things are seen."""
        seen = (self._search, self.table, self.preview.picture, *self.run_bar.in_order())
        for one, following in itertools.pairwise(seen):
            self.setTabOrder(one, following)

    def _restore_geometry(self) -> None:
        geometry, columns = self._store.batch_geometry()
        if geometry.isEmpty() or not self.restoreGeometry(geometry):
            size_window(self, 1440, 840)
        if not columns.isEmpty():
            self.table.horizontalHeader().restoreState(columns)

    # -- from outside -----------------------------------------------------------------------------------------

    def bring(self) -> None:
        """Show the window in front."""
        self.show()
        self.raise_()
        self.activateWindow()
        self.options.list_recipes()
        self.keeper.refresh()

    def end(self) -> None:
        """The program ends: close the window for good."""
        self.close()
        self.pictures.stop()
        self.keeper.stop()
        self.deleteLater()

    def add(self, paths: Sequence[Path]) -> None:
        """Add files and folders."""
        self.keeper.add(paths)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and self.isActiveWindow():
            # Recipes may have been made in their window meanwhile.
            self.options.list_recipes()

    def closeEvent(self, event: QCloseEvent) -> None:
        self._store.save_batch_geometry(self.saveGeometry(), self.table.horizontalHeader().saveState())
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.add([Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()])
        event.acceptProposedAction()

    # -- updates ----------------------------------------------------------------------------------------------

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.pictures.use_folder(self.keeper.folder)
        self.table.show_ids(snapshot.ids)
        self._show_example()

    def _on_changed(self) -> None:
        keeper = self.keeper
        self._pages.setCurrentIndex(1 if keeper.total else 0)
        self.options.setEnabled(keeper.phase is Phase.IDLE)
        self.model.show_held(on=keeper.phase is Phase.HELD)
        self.options.show_settings()
        for number in range(self._filter.count()):
            state = self._filter.itemData(number)
            if state == _DECIDED:
                title, count = self.tr("Decided"), keeper.undone[1]
            else:
                title = self.tr("All") if state is None else state_title(state).capitalize()
                count = keeper.total if state is None else keeper.counts.get(state, 0)
            if state is State.FOUND:
                title, count = self.tr("Waits for review"), keeper.waiting[0]
            self._filter.setItemText(number, f"{title} ({count:,})")
        self._show_selected()

    def _on_failed(self, error: EngineError) -> None:
        if error.code == "batch.table" and isinstance(error, ReadError) and self.keeper.snapshot is None:
            begin = self.tr("Begin a new list")
            self.strip.offer(sentence_of(error), begin, self.keeper.begin_anew, None)
        else:
            self.strip.warn(error)

    def _on_ended(self, sentence: str) -> None:
        self.strip.say(sentence)
        QApplication.alert(self)

    def _on_options(self) -> None:
        self._store.save()
        self.keeper.settings_changed()
        self._show_example()

    def _show_example(self) -> None:
        """Show what the template makes of the first scans, or why it cannot be used."""
        snapshot = self.keeper.snapshot
        try:
            parts = [f"{scan} → {result}" for scan, result in self.keeper.example()]
        except EngineError as error:
            self.options.show_example(sentence_of(error), problem=True)
            return
        if snapshot is not None and snapshot.renamed:
            parts.insert(0, self.tr("≠ {0:,} with another name, as theirs was taken").format(snapshot.renamed))
        self.options.show_example("     ".join(parts))

    # -- what the restorer does -------------------------------------------------------------------------------

    def _on_selected(self, change: Callable[[list[int]], object]) -> None:
        ids = self.table.selected_ids()
        if ids:
            change(ids)

    def _cancel_scans(self, ids: list[int]) -> None:
        self.model.show_cancelling(ids)
        self.keeper.cancel_scans(ids)

    def _add_folder(self) -> None:
        path = FileDialogs.choose_folder(self, self.tr("Add folder"), "")
        if path is not None:
            self.add([path])

    def _add_files(self) -> None:
        self.add(FileDialogs.open_pictures(self, Path.home()))

    def _on_filter(self) -> None:
        state = self._filter.currentData()
        states = {None: None, _DECIDED: frozenset([State.FOUND, State.PENDING])}.get(state, frozenset([state]))
        decided = {State.FOUND: False, _DECIDED: True}.get(state)
        self.keeper.view = replace(self.keeper.view, states=states, decided=decided)
        self.keeper.refresh()

    def _focus_search(self) -> None:
        self._search.setFocus()

    def _on_search(self) -> None:
        self.keeper.view = replace(self.keeper.view, search=self._search.text().strip())
        self.keeper.refresh()

    def _on_order(self) -> None:
        self.table.horizontalHeader().setSortIndicator(self._order.currentData(), Qt.SortOrder.AscendingOrder)

    def _on_sorted(self, order: str, descending: bool) -> None:  # noqa: FBT001 - Qt's signal
        section = next((int(column) for column, its in ORDERS.items() if its == order), -1)
        self._order.setCurrentIndex(self._order.findData(section))
        self.keeper.view = replace(self.keeper.view, order=cast(Order, order), descending=descending)
        self.keeper.refresh()

    def _show_selected(self) -> None:
        """Show what is selected in the bar of decisions, if there is anything to decide about."""
        if self.decision_bar.isHidden():
            return
        ids = self.table.selected_ids()
        self.decision_bar.show_selected(ids, self.keeper.rows(ids) if len(ids) <= _MOST_TOLD else None)

    def _review(self, *, every: bool) -> None:
        """Review the current row, or the first that waits for decisions."""
        row = self.table.current_row()
        if every or row is None:
            self.review_wanted.emit(None)
        elif is_looked_through(row):
            self.review_wanted.emit(row.id)

    def _on_decided(self, sentence: str, take_back: Callable[[], object]) -> None:
        self.strip.offer(sentence, self.tr("Take Back"), take_back, None)

    def _open(self, *, result: bool | None) -> None:
        """Open the current row's scan or result in the editor; None: the result if there is one."""
        row = self.table.current_row()
        if row is None:
            return
        if result is None and is_looked_through(row):
            self.review_wanted.emit(row.id)
            return
        made = row.state in (State.DONE, State.UP_TO_DATE)
        wanted = made if result is None else result
        if wanted and not made:
            self.strip.say(self.tr("There is no result yet."))
            return
        self.open_wanted.emit(self.keeper.folder / row.output if wanted else row.path)

    def _show_report(self, page: Path) -> None:
        self.strip.say(self.tr("The report is {0}.").format(page))
        show_file(page)

    def _try_recipe(self) -> None:
        row = self.table.current_row()
        if row is not None:
            self.try_wanted.emit(row.path, self._store.settings.batch.recipe)

    def _show_folder(self) -> None:
        row = self.table.current_row()
        if row is not None:
            made = row.state in (State.DONE, State.UP_TO_DATE)
            show_file((self.keeper.folder / row.output if made else row.path).parent)


def _push(text: str, tip: str, run: object) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleName(text.rstrip("…"))
    button.clicked.connect(run)
    return button
