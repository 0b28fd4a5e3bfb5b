"""Themes: neutral greys, one accent colour, and icons in the text colour."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

from engine.resources import resource

ICON = 20
"""Side of the icons in tool bars, logical pixels."""

_DARK = {
    "window": "#2b2b2b",
    "panel": "#333333",
    "base": "#262626",
    "button": "#404040",
    "hover": "#484848",
    "pressed": "#565656",
    "line": "#1c1c1c",
    "text": "#e4e4e4",
    "faint": "#a8a8a8",
    "disabled": "#6c6c6c",
    "accent": "#d9773f",
    "accenthover": "#e58a55",
    "onaccent": "#161616",
}
_LIGHT = {
    "window": "#e6e6e6",
    "panel": "#dedede",
    "base": "#f2f2f2",
    "button": "#ececec",
    "hover": "#d2d2d2",
    "pressed": "#c2c2c2",
    "line": "#b0b0b0",
    "text": "#1c1c1c",
    "faint": "#5a5a5a",
    "disabled": "#9c9c9c",
    "accent": "#a84a10",
    "accenthover": "#bd5a1c",
    "onaccent": "#ffffff",
}


def apply_theme(app: QApplication, name: str) -> None:
    """Set the theme of the program: ``dark``, ``light`` or ``system``."""
    colours = _colours(app, name)
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: "window",
        QPalette.ColorRole.WindowText: "text",
        QPalette.ColorRole.Base: "base",
        QPalette.ColorRole.AlternateBase: "panel",
        QPalette.ColorRole.Text: "text",
        QPalette.ColorRole.PlaceholderText: "faint",
        QPalette.ColorRole.Button: "button",
        QPalette.ColorRole.ButtonText: "text",
        QPalette.ColorRole.ToolTipBase: "base",
        QPalette.ColorRole.ToolTipText: "text",
        QPalette.ColorRole.Highlight: "pressed",
        QPalette.ColorRole.HighlightedText: "text",
        QPalette.ColorRole.Link: "accent",
        QPalette.ColorRole.Mid: "line",
        QPalette.ColorRole.Dark: "line",
    }
    for role, colour in roles.items():
        palette.setColor(role, QColor(colours[colour]))
    palette.setColor(QPalette.ColorRole.Accent, QColor(colours["accent"]))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(colours["disabled"]))
    app.setStyle("Fusion")
    app.setPalette(palette)
    sheet = resource("themes", "lacuna.qss").read_text(encoding="utf-8")
    for key, value in colours.items():
        sheet = sheet.replace(f"@{key}@", value)
    app.setStyleSheet(sheet)
    icon.cache_clear()


@cache
def icon(name: str) -> QIcon:
    """An icon in the theme's text colour, with a disabled state, in sizes for 100 to 300 % scaling. Cached.

    Args:
        name: of a file in ``resources/icons``, without suffix.
    """
    from PySide6.QtSvg import QSvgRenderer

    app = QApplication.instance()
    assert isinstance(app, QApplication)
    text = resource("icons", f"{name}.svg").read_text(encoding="utf-8")
    made = QIcon()
    for mode, group in (
        (QIcon.Mode.Normal, QPalette.ColorGroup.Active),
        (QIcon.Mode.Disabled, QPalette.ColorGroup.Disabled),
    ):
        colour = app.palette().color(group, QPalette.ColorRole.ButtonText)
        renderer = QSvgRenderer(QByteArray(text.replace("#000", colour.name()).encode()))
        for size in (16, ICON, 2 * ICON, 3 * ICON):
            pixmap = QPixmap(size, size)
            pixmap.fill(Qt.GlobalColor.transparent)
            with QPainter(pixmap) as painter:
                renderer.render(painter, QRectF(0, 0, size, size))
            made.addPixmap(pixmap, mode)
    return made


def surround(luminance: float) -> QColor:
    """A neutral grey for the area around the picture; ``luminance`` is 0..1 in the screen's encoding."""
    value = round(255 * luminance)
    return QColor(value, value, value)


def _colours(app: QApplication, name: str) -> dict[str, str]:
    if name == "system":
        name = "light" if app.styleHints().colorScheme() == Qt.ColorScheme.Light else "dark"
    return _LIGHT if name == "light" else _DARK
