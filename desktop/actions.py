"""The action table: every command of the window as a row of data. Menus, tool bars and shortcuts are built from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from desktop.theme import icon


class When(Enum):
    """When a command can be used."""

    ALWAYS = auto()
    DOCUMENT = auto()
    LAYER = auto()
    LOWER_LAYER = auto()
    UPPER_LAYER = auto()
    UNDO = auto()
    REDO = auto()
    MASKED_TASK = auto()
    EDGE_MODEL = auto()
    EDGES = auto()
    REVIEW = auto()
    DEFECTS = auto()
    DEFECT = auto()
    TO_DO = auto()
    HEALABLE = auto()


@dataclass(frozen=True)
class Row:
    """One command.

    Attributes:
        id: stable name, under which a changed shortcut is remembered.
        menu: title of the menu; empty for none.
        text: in the menu.
        shortcut: in Qt's portable text; empty for none.
        when: when it can be used.
        tip: tooltip, if the text does not say enough.
        icon: name of an icon.
        checkable: it is a switch.
        group: only one of a group is on: the tools.
        separator: a line above it in the menu.
        also: a second shortcut.
        canvas: its shortcut holds only while the keyboard is on the picture.
    """

    id: str
    menu: str
    text: str
    shortcut: str = ""
    when: When = When.DOCUMENT
    tip: str = ""
    icon: str = ""
    checkable: bool = False
    group: str = ""
    separator: bool = False
    also: str = ""
    canvas: bool = False


def _rows() -> tuple[Row, ...]:
    always = When.ALWAYS
    tools = (
        ("brush", "Brush", "B", "Paint the mask"),
        ("eraser", "Eraser", "E", "Take away from the mask"),
        ("rectangle", "Rectangle", "M", "Mask a rectangle"),
        ("lasso", "Lasso", "L", "Mask a free outline"),
        ("spot", "Spot heal", "J", "Each stroke is healed on release"),
        ("hand", "Hand", "H", "Move the picture; a click chooses the defect under it"),
        ("zoom", "Zoom", "Z", "Zoom in; with Alt, out"),
    )
    opacities = [
        Row(f"opacity_{digit}", "", f"Brush opacity {digit * 10 or 100} %", str(digit)) for digit in (*range(1, 10), 0)
    ]
    return (
        Row("open", "File", "Open…", "Ctrl+O", always, "Open scans or projects", "open"),
        Row("open_sample", "File", "Open the Sample", "", always, "Open the picture that comes with Lacuna"),
        Row(
            "save",
            "File",
            "Save Project",
            "Ctrl+S",
            tip="Save layers and masks as OpenRaster",
            icon="save",
            separator=True,
        ),
        Row("save_as", "File", "Save Project As…", "Ctrl+Shift+S"),
        Row("export", "File", "Export…", "Ctrl+Shift+E", tip="Write the repaired picture", icon="export"),
        Row("close", "File", "Close", "Ctrl+W", separator=True),
        Row("quit", "File", "Quit", "Ctrl+Q", always),
        Row("undo", "Edit", "Undo", "Ctrl+Z", When.UNDO, icon="undo"),
        Row("redo", "Edit", "Redo", "Ctrl+Shift+Z", When.REDO, icon="redo"),
        Row("shortcuts", "Edit", "Shortcuts…", "Ctrl+Alt+K", always, separator=True),
        Row("settings", "Edit", "Settings…", "Ctrl+,", always),
        Row("fit", "View", "Fit in Window", "Ctrl+0", icon="fit"),
        Row("actual", "View", "100 %", "Ctrl+1"),
        Row("zoom_in", "View", "Zoom In", "Ctrl++", also="Ctrl+="),
        Row("zoom_out", "View", "Zoom Out", "Ctrl+-"),
        Row(
            "veil",
            "View",
            "Show Mask",
            "Q",
            tip="Show or hide the mask's veil",
            icon="veil",
            checkable=True,
            separator=True,
        ),
        Row(
            "marks",
            "View",
            "Show Defects",
            "Shift+Q",
            When.REVIEW,
            tip="Show or hide the outlines of the defects",
            checkable=True,
        ),
        Row("before", "", "Show Before While Held", "\\", tip="Show the scan as long as the key is held"),
        Row(
            "divider",
            "View",
            "Before/After Divider",
            "Shift+\\",
            tip="Scan on the left, repaired picture on the right",
            icon="compare",
            checkable=True,
        ),
        Row("panels", "View", "Hide Panels", "Tab", always, checkable=True, separator=True, canvas=True),
        Row("full_screen", "View", "Full Screen", "F", always, checkable=True),
        Row("next_area", "View", "Next Area", "F6", always, "Move the keyboard to the next part of the window"),
        Row("rotate_left", "Picture", "Rotate Left", "Ctrl+Alt+L", icon="rotate-left"),
        Row("rotate_right", "Picture", "Rotate Right", "Ctrl+Alt+R", icon="rotate-right"),
        Row("rotate_half", "Picture", "Rotate by 180°"),
        Row("flip_horizontal", "Picture", "Flip Horizontally", separator=True),
        Row("flip_vertical", "Picture", "Flip Vertically"),
        Row("mask_invert", "Mask", "Invert", "Ctrl+Shift+I"),
        Row("mask_clear", "Mask", "Clear", "Ctrl+D"),
        Row("mask_grow", "Mask", "Grow", tip="Enlarge the mask by the amount in the Repair panel", separator=True),
        Row("mask_shrink", "Mask", "Shrink", tip="Reduce the mask by the amount in the Repair panel"),
        Row("mask_feather", "Mask", "Feather", tip="Fade the mask outwards over the amount in the Repair panel"),
        Row("mask_load", "Mask", "Load…", separator=True),
        Row("mask_save", "Mask", "Save…"),
        Row(
            "edges_draw",
            "Mask",
            "Draw Edges",
            when=When.EDGE_MODEL,
            tip="Show the edges that the repair will follow, to add to them or take some away",
            separator=True,
        ),
        Row(
            "edges_paint",
            "Mask",
            "Paint Edges",
            when=When.EDGES,
            tip="The brush adds edges, the eraser takes them away",
            icon="brush",
            checkable=True,
        ),
        Row(
            "edges_clear",
            "Mask",
            "Clear Edges",
            when=When.EDGES,
            tip="Clear the edges: the model finds them by itself again",
            icon="trash",
        ),
        Row("escape", "", "Call Off, or Back to the Repair Mask", "Esc", always),
        Row("heal", "Repair", "Heal", "Ctrl+Return", tip="Fill what is masked", icon="heal"),
        Row("heal_new", "Repair", "Heal on a New Layer", "Ctrl+Alt+Return", When.MASKED_TASK),
        *(
            Row(f"tool_{id_}", "Repair", text, key, always, tip, id_, True, "tool", id_ == "brush")
            for id_, text, key, tip in tools
        ),
        Row(
            "restore_gentle",
            "Repair",
            "Restore, Gentle",
            tip="Heal certain damage and touch nothing else",
            separator=True,
        ),
        Row("restore_standard", "Repair", "Restore, Standard", tip="Heal, take off some noise, bring back some tone"),
        Row(
            "restore_strong", "Repair", "Restore, Strong", tip="Heal faint damage too, clean and correct the tone fully"
        ),
        Row("enlarge_2", "Repair", "Enlarge x2…", tip="Make a picture twice as wide and as high", separator=True),
        Row("enlarge_4", "Repair", "Enlarge x4…", tip="Make a picture four times as wide and as high"),
        Row("swap", "Repair", "Swap Add and Remove", "X", always, separator=True),
        Row("smaller", "Repair", "Smaller Brush", "[", always),
        Row("larger", "Repair", "Larger Brush", "]", always),
        Row("softer", "Repair", "Softer Brush", "Shift+[", always),
        Row("harder", "Repair", "Harder Brush", "Shift+]", always),
        *_defect_rows(),
        Row("layer_duplicate", "Layer", "Duplicate", "Ctrl+J", When.LAYER, icon="duplicate"),
        Row("layer_merge", "Layer", "Merge Down", "Ctrl+E", When.LOWER_LAYER, icon="merge"),
        Row("layer_rename", "Layer", "Rename", "F2", When.LAYER),
        Row("layer_mask", "Layer", "Paint the Layer's Mask", "", When.LAYER, icon="mask", checkable=True),
        Row("layer_up", "Layer", "Move Up", "Ctrl+]", When.UPPER_LAYER, icon="up", separator=True),
        Row("layer_down", "Layer", "Move Down", "Ctrl+[", When.LOWER_LAYER, icon="down"),
        Row("layer_delete", "Layer", "Delete Layer", "Ctrl+Delete", When.LAYER, icon="trash", separator=True),
        Row("log", "Help", "Show Log", "", always, "Open the file with all messages and problems"),
        Row("about", "Help", "About Lacuna", "", always),
        *opacities,
    )


def _defect_rows() -> tuple[Row, ...]:
    return (
        Row("defects_find", "Defects", "Find Damage", tip="Look for damage in the whole picture", icon="find"),
        Row("defect_next", "Defects", "Next Defect", "N", When.DEFECTS, icon="down", separator=True),
        Row("defect_previous", "Defects", "Previous Defect", "P", When.DEFECTS, icon="up"),
        Row(
            "defect_accept",
            "Defects",
            "Accept Defect",
            "Return",
            When.DEFECT,
            "Accept the defect to be healed, and go to the next",
            separator=True,
            also="Enter",
            canvas=True,
        ),
        Row(
            "defect_keep",
            "Defects",
            "Keep Defect as It Is",
            "Del",
            When.DEFECT,
            "Leave the defect alone, and go to the next",
            canvas=True,
        ),
        Row(
            "defect_repaint",
            "Defects",
            "Repaint Defect",
            "",
            When.DEFECT,
            "Put the defect into the repair mask and shape it with the brush",
            icon="brush",
        ),
        Row("defects_accept_all", "Defects", "Accept All", "", When.TO_DO, "Accept all that is still to do"),
        Row(
            "defects_heal",
            "Defects",
            "Heal Defects",
            "Ctrl+Shift+Return",
            When.HEALABLE,
            "Heal the accepted defects on a layer of their own; all of them as long as nothing is decided",
            icon="heal",
            separator=True,
        ),
        Row(
            "defects_clear",
            "Defects",
            "Clear Defects",
            "",
            When.REVIEW,
            "Forget the search and what was decided; repairs stay",
            icon="trash",
        ),
    )


ROWS = _rows()
MENUS = ("File", "Edit", "View", "Picture", "Mask", "Repair", "Defects", "Layer", "Help")


class Actions:
    """The actions of one window, built from ``ROWS``.

    Args:
        window: gets the menus.
        shortcuts: changed shortcuts, id -> key in portable text.
    """

    def __init__(self, window: QMainWindow, shortcuts: Mapping[str, str]) -> None:
        self._window = window
        self.by_id: dict[str, QAction] = {}
        self._tips = {row.id: window.tr(row.tip or row.text).rstrip("…") for row in ROWS}
        self.menus: dict[str, QMenu] = {}
        groups: dict[str, QActionGroup] = {}
        for title in MENUS:
            self.menus[title] = window.menuBar().addMenu("&" + window.tr(title))
        for row in ROWS:
            action = QAction(window.tr(row.text), window)
            action.setAutoRepeat(
                row.id in ("undo", "redo", "smaller", "larger", "softer", "harder", "zoom_in", "zoom_out")
            )
            action.setCheckable(row.checkable)
            if row.group:
                group = groups.setdefault(row.group, QActionGroup(window))
                group.addAction(action)
            self.by_id[row.id] = action
            if row.canvas:
                action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            else:
                window.addAction(action)
            if row.id == "open_sample":
                self.recent = self.menus["File"].addMenu(window.tr("Open Recent"))
            if row.menu:
                if row.separator:
                    self.menus[row.menu].addSeparator()
                self.menus[row.menu].addAction(action)
        self.set_shortcuts(shortcuts)

    def connect(self, handlers: Mapping[str, Callable[..., object]]) -> None:
        """Say what the commands do: id -> function; a switch's is given whether it is on now."""
        for row in ROWS:
            action = self.by_id[row.id]
            (action.toggled if row.checkable and not row.group else action.triggered).connect(handlers[row.id])

    def rename(self, id_: str, text: str, tip: str) -> None:
        """Give a command that does what is chosen elsewhere the words for it."""
        action, before = self.by_id[id_], self._tips[id_]
        action.setText(text)
        self._tips[id_] = tip
        action.setToolTip(action.toolTip().replace(before, tip, 1))

    def set_shortcuts(self, changed: Mapping[str, str]) -> None:
        """Give every command its shortcut; tooltips end in it."""
        for row in ROWS:
            action = self.by_id[row.id]
            keys = changed.get(row.id, row.shortcut)
            action.setShortcuts([QKeySequence(key) for key in (keys, row.also) if key])
            shown = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
            action.setToolTip(f"{self._tips[row.id]}{f' ({shown})' if shown else ''}")

    def changed_shortcuts(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Those that differ from the table's."""
        return {row.id: wanted[row.id] for row in ROWS if QKeySequence(wanted[row.id]) != QKeySequence(row.shortcut)}

    def enable(self, conditions: Sequence[When]) -> None:
        """Let only those commands be used whose condition holds."""
        for row in ROWS:
            self.by_id[row.id].setEnabled(row.when in conditions)

    def draw_icons(self) -> None:
        """Draw the icons in the theme's colours."""
        for row in ROWS:
            if row.icon:
                self.by_id[row.id].setIcon(icon(row.icon))
