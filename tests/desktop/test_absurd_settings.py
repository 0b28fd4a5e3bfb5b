"""Settings that no hand ever set, from a damaged or edited file: the window opens, and works with what makes sense."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from desktop.app import Program
from desktop.dialogs.questions import Closing, Questions
from desktop.settings import Settings, SettingsStore
from desktop.tools.base import MAXIMUM_SIZE, MINIMUM_SIZE
from engine.runtime.cards import Registry
from tests.desktop.acting import drag, mask, open_scan


@pytest.mark.parametrize(
    "settings",
    [
        {"tools": {"brushes": {"brush": {"size": 1e15}}}},
        {"tools": {"brushes": {"brush": {"size": -3}}}},
        {"tools": {"brushes": {"brush": {"size": 0, "hardness": 99, "opacity": -5}}}},
        {"repair": {"device": "quantum", "tasks": {"heal": {"model": "none", "values": {"feather": 1e15}}}}},
        {"look": {"veil": "no colour", "monitor": "a\0b"}},
        {"shortcuts": {"heal": "no key", "nothing": "Ctrl+Q", "undo": ""}},
        {"recent": ["a\0b", "", "x" * 5000]},
    ],
    ids=json.dumps,
)
def test_the_window_opens_and_paints_whatever_the_settings(
    qtbot: QtBot,
    tmp_path: Path,
    scan: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr(Questions, "unsaved", classmethod(lambda *_: Closing.DISCARD))
    file = tmp_path / "settings.ini"
    store = QSettings(str(file), QSettings.Format.IniFormat)
    store.setValue("settings", json.dumps(dataclasses.asdict(Settings()) | settings))
    store.sync()
    program = Program(tmp_path / "state", SettingsStore(file), registry)
    program.window.resize(1280, 860)
    program.start([])
    qtbot.waitUntil(lambda: program.ready and bool(program.contents.task.models))
    try:
        workspace, view = open_scan(qtbot, program, scan)
        drag(view, [(100, 100), (150, 100)])
        assert mask(workspace).any()
        brush = program.store.settings.tools.brush("brush")
        assert MINIMUM_SIZE <= brush.size <= MAXIMUM_SIZE
        assert 0 <= brush.hardness <= 1
        assert 0 <= brush.opacity <= 1
        program.contents._fill_recent()
        program.contents.task.request(new_layer=False)
    finally:
        program.window.close()
        program.stop()
        program.window.deleteLater()
