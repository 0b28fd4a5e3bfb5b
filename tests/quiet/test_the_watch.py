"""The watch sees what it is there for; otherwise that it sees nothing would say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quiet.watch import NEEDS, Watched, python

pytestmark = pytest.mark.skipif(bool(NEEDS), reason=NEEDS or "-")

NOISY = """
import contextlib, os, socket, subprocess, sys, tempfile
from pathlib import Path
home = Path.home()
for deed in (
    lambda: socket.socket().connect(("203.0.113.9", 80)),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("203.0.113.10", 53)),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("203.0.113.11", 53)),
    lambda: socket.socket(socket.AF_UNIX).connect("/nowhere/socket"),
    lambda: socket.getaddrinfo("one.example", 80),
    lambda: socket.gethostbyname("two.example"),
    lambda: (home / "opened").write_text("x"),
    lambda: os.close(os.open("relative", os.O_WRONLY | os.O_CREAT)),
    lambda: os.makedirs(home / "folder" / "inner"),
    lambda: os.rename("relative", home / "renamed"),
    lambda: os.symlink("opened", home / "linked"),
    lambda: tempfile.mkstemp(),
    lambda: subprocess.run(["sh", "-c", "echo > " + str(home / "child")]),
):
    with contextlib.suppress(OSError):
        deed()
"""
QUIET = (
    "import sys; print(open(sys.executable, 'rb').read(4)); open('own', 'w').close(); open('/dev/null', 'w').close()"
)


@pytest.mark.usefixtures("lives")  # they begin now and live while the other tests run
def test_the_watch_sees_connections_look_ups_and_files_and_lets_nothing_out(tmp_path: Path) -> None:
    seen = Watched(python("-c", NOISY), tmp_path / "noisy").wait()
    home = tmp_path / "noisy" / "home"
    calls = {where for kind, where in seen.events if kind == "connect"}
    assert calls == {"203.0.113.9", "203.0.113.10", "203.0.113.11", "2001:db8::1", "unix /nowhere/socket"}
    assert {where for kind, where in seen.events if kind == "look-up"} == {"one.example", "two.example"}
    written = {Path(where) for kind, where in seen.events if kind == "write"}
    named = {home / name for name in ("opened", "folder", "folder/inner", "renamed", "linked", "child")}
    assert named | {tmp_path / "noisy" / "work" / "relative"} <= written
    assert any(path.parent == tmp_path / "noisy" / "tmp" for path in written)
    assert {"home/opened", "home/renamed", "home/child"} <= seen.files
    foreign = seen.foreign([tmp_path / "noisy" / "work"])
    assert ("write", str(home / "opened")) in foreign
    assert ("look-up", "one.example") in foreign
    assert ("write", str(tmp_path / "noisy" / "work" / "relative")) not in foreign


def test_the_watch_sees_nothing_in_a_quiet_process(tmp_path: Path) -> None:
    seen = Watched(python("-c", QUIET), tmp_path / "quiet").wait()
    assert "ELF" in seen.output
    assert not seen.foreign([tmp_path / "quiet" / "work"])
    assert seen.files == {"work/own"}
