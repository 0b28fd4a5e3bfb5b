"""The help pages and their window."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtWidgets import QWidget

from desktop.dialogs.help import FIRST, HelpWindow
from desktop.frame.commands import ACTIONS
from engine.resources import resource

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_every_link_and_picture_of_the_help_is_there() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in resource("help").glob("*.md")}
    named = {name for text in pages.values() for name in re.findall(r"\]\(([^)#]+)", text)}
    assert named
    for name in named:
        assert resource("help", name).is_file(), name
    # No page that nobody is led to.
    assert set(pages) == {name for name in named if name.endswith(".md")} | {FIRST}


def test_every_command_that_the_help_names_is_in_a_menu() -> None:
    texts = {(action.menu, action.text.rstrip("…")) for action in ACTIONS}
    for path in resource("help").glob("*.md"):
        for menu, text in re.findall(r"\*\*(\w+) > ([^*…]+)…?\*\*", path.read_text(encoding="utf-8")):
            assert (menu, text) in texts, (path.name, menu, text)


def test_the_window_shows_pages_and_goes_back(qtbot: QtBot) -> None:
    owner = QWidget()
    qtbot.addWidget(owner)
    window = HelpWindow(owner)
    window.show()
    assert "Drop a scan" in window.pages.toPlainText()
    window.show_page("batches.md")
    assert window.pages.source() == QUrl("batches.md")
    assert window.pages.isBackwardAvailable()
    window.pages.backward()
    assert window.pages.source() == QUrl(FIRST)
    assert not window.pages.openExternalLinks()
