"""Project rules that import contracts cannot check."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from engine import errors

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for room in ("desktop", "engine") for path in (ROOT / room).rglob("*.py"))


def names_used(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def modules_imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("QThread", "desktop/work/threads.py"),
        ("QUndoCommand", "desktop/photo/editor.py"),
        ("QSettings", "desktop/settings.py"),
        ("InferenceSession", "engine/runtime/session.py"),
    ],
)
def test_each_of_these_names_is_used_in_one_module(name: str, home: str) -> None:
    assert [path.relative_to(ROOT).as_posix() for path in SOURCES if name in names_used(path)] == [home]


def test_nothing_calls_the_network_and_nothing_is_pickled() -> None:
    forbidden = {
        "socket",
        "http",
        "urllib.request",
        "ftplib",
        "smtplib",
        "requests",
        "ssl",
        "pickle",
        "shelve",
        "marshal",
    }
    forbidden |= {"PySide6.QtNetwork", "PySide6.QtWebEngineCore"}
    for path in SOURCES:
        # Local sockets join several starts of the program. They cannot leave the computer.
        local = {"PySide6.QtNetwork"} if path == ROOT / "desktop" / "instance.py" else set()
        assert not modules_imported(path) & (forbidden - local), path
    names = names_used(ROOT / "desktop" / "instance.py")
    assert {"QLocalServer", "QLocalSocket"} <= names
    others = {
        "QTcpSocket",
        "QTcpServer",
        "QUdpSocket",
        "QNetworkAccessManager",
        "QSslSocket",
        "QHostInfo",
        "QDnsLookup",
    }
    assert not names & others


def test_the_programs_own_files_are_found_in_one_place() -> None:
    """``Path(__file__)`` is wrong in a frozen program. Exception: the training recipes are package data."""
    using = [path.relative_to(ROOT).as_posix() for path in SOURCES if "__file__" in path.read_text(encoding="utf-8")]
    assert [name for name in using if not name.startswith("engine/train/")] == ["engine/resources.py"]


def templates(path: Path) -> Iterator[tuple[ast.Call, ast.expr, set[str]]]:
    """The calls that make errors: the call, its template, and the names of the values for the template."""
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type)} | {"Refusal", "OutOfMemory"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
            yield node, node.args[0], {word.arg or "**" for word in node.keywords}


def test_error_sentences_are_not_formatted_before_they_are_shown() -> None:
    """A template that is formatted already, or has other fields than there are values, cannot be translated."""
    found = 0
    for path in SOURCES:
        for call, template, given in templates(path):
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            assert not isinstance(template, ast.JoinedStr | ast.BinOp | ast.Call), place
            if isinstance(template, ast.Constant) and "**" not in given:
                named = {name for _, name, _, _ in Formatter().parse(template.value) if name is not None}
                assert named == given, place
                found += 1
    assert found > 100


def test_no_painter_stays_open() -> None:
    """Each QPainter is a context manager: Qt aborts if one is still active after an exception."""
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        opened = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        closed = {
            ast.unparse(item.context_expr)
            for node in ast.walk(tree)
            if isinstance(node, ast.With)
            for item in node.items
        }
        assert {call for call in opened if call.startswith("QPainter(")} <= closed, path


def test_torch_loads_only_plain_weights() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), path


def test_files_have_at_most_500_lines() -> None:
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    for line in wanted:
        name = line.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower().replace("_", "-")
        # onnxruntime without GPU is used only on macOS and is not pinned.
        assert name in ("lacuna", "onnxruntime") or f"\n{name}==" in pinned, line


def test_no_unknown_files_at_the_top_level() -> None:
    """Files left there by a tool must not be committed."""
    known = {".ci", ".git", ".github", "desktop", "engine", "packaging", "resources", "tests"}
    known |= {".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"}
    known |= {"constraints.txt", "pyproject.toml"}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split("/")[0] for line in tracked.splitlines()} <= known
