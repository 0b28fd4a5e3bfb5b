"""Several starts, one window: a later start gives its files to the program that runs already, and ends.

The program that runs holds a lock file and listens on a local socket, which only the same user can open. The only
module that uses QtNetwork, and nothing of it but local sockets. Conversation, a line each: the one who listens greets,
so that nothing is given to a program that hangs; the later start sends JSON with paths and activation token; the answer
ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCryptographicHash, QLockFile, QObject, Signal

if TYPE_CHECKING:
    from PySide6.QtNetwork import QLocalServer, QLocalSocket

PATIENCE = 2.0
"""Seconds after which a program that does not answer is left alone."""
_GREETING = b"lacuna 1\n"
_TAKEN = b"taken\n"


class Instance(QObject):
    """This start among all of the same user, with the same settings, on the same display. GUI thread.

    Args:
        folder: of the settings. Lock and socket are there if the system has no folder for such files.

    Signals:
        asked: a later start wants the window; carries its paths, as list of ``Path``, and the activation token with
            which the window may come to the front, or "".
    """

    asked = Signal(object, str)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        user = str(os.getuid()) if sys.platform != "win32" else ""
        own = [user, *(os.environ.get(name, "") for name in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"))]
        screen = [os.environ.get(name, "") for name in ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY", "DISPLAY")]
        known = "\0".join([str(folder), *own, *screen]).encode(errors="surrogateescape")
        # Not hashlib, whose import would take a noticeable part of the start.
        digest = bytes(QCryptographicHash.hash(known, QCryptographicHash.Algorithm.Sha256).toHex().data()).decode()
        name = f"lacuna-{digest[:12]}"
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        place = Path(runtime) if os.path.isabs(runtime) and os.access(runtime, os.W_OK) else folder  # noqa: PTH117
        # Windows has no files for sockets, only names.
        self._name = name if sys.platform == "win32" else str(place / name)
        self._folder = place
        self._lock = QLockFile(str(place / f"{name}.lock"))
        # A lock is outdated when its process is gone, and never by its age.
        self._lock.setStaleLockTime(0)
        self._server: QLocalServer | None = None

    def give(self, paths: list[Path]) -> bool:
        """Give files to the program that runs already and bring it to the front.

        Args:
            paths: absolute; may be empty.

        Returns:
            Whether it took them. False: none runs, or it has not answered for ``PATIENCE``; this start needs a window.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        if self._is_first():
            return False
        try:
            from PySide6.QtNetwork import QLocalSocket
        except ImportError:
            # QtNetwork needs a library of its own (Kerberos), which is not worth a window.
            return False
        until = time.monotonic() + PATIENCE
        socket = QLocalSocket()
        while True:
            socket.connectToServer(self._name)
            if socket.waitForConnected(_left(until)):
                return _converse(socket, paths, until)
            # It is starting and does not listen yet, or has ended.
            if self._is_first() or time.monotonic() >= until:
                return False
            time.sleep(0.02)

    def listen(self) -> None:
        """Take the files of later starts from now on."""
        if not self._lock.isLocked():
            return
        try:
            from PySide6.QtNetwork import QLocalServer
        except ImportError as error:
            self._give_up(str(error))
            return
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._on_connection)
        # A program that was killed leaves its socket; who has the lock knows that nobody listens there.
        QLocalServer.removeServer(self._name)
        if not self._server.listen(self._name):
            self._give_up(self._server.errorString())

    def stop(self) -> None:
        """The next start is the first again. Can be called more than once."""
        if self._server is not None:
            self._server.close()
        self._lock.unlock()

    def _give_up(self, reason: str) -> None:
        """Later starts open windows of their own, without waiting."""
        import logging

        self._lock.unlock()
        logging.getLogger("lacuna").info("Later starts cannot be heard: %s", reason)

    def _is_first(self) -> bool:
        """Whether nobody else holds the lock; also where there can be no lock."""
        return self._lock.tryLock(0) or self._lock.error() is not QLockFile.LockError.LockFailedError

    def _on_connection(self) -> None:
        assert self._server is not None
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.disconnected.connect(socket.deleteLater)
            socket.readyRead.connect(partial(self._on_line, socket))
            socket.write(_GREETING)

    def _on_line(self, socket: QLocalSocket) -> None:
        if not socket.canReadLine():
            return
        try:
            message = json.loads(bytes(socket.readLine().data()))
            paths = [Path(os.fsdecode(_bytes(name))) for name in message["paths"]]
            token = str(message["token"])
        except (ValueError, TypeError, KeyError, AttributeError):
            # Not a start of this program.
            socket.abort()
            return
        self.asked.emit(paths, token)
        socket.write(_TAKEN)
        socket.disconnectFromServer()


def _converse(socket: QLocalSocket, paths: list[Path], until: float) -> bool:
    """Give paths over a connection; whether they were taken."""
    if _line(socket, until) != _GREETING:
        return False
    if sys.platform == "win32":
        # Only the program that the user has just started may let another come to the front.
        import ctypes

        ctypes.windll.user32.AllowSetForegroundWindow(-1)
    token = os.environ.get("XDG_ACTIVATION_TOKEN", "")
    # As bytes, since the two starts may have different encodings for names; JSON holds them as surrogates.
    names = [os.fsencode(path).decode(errors="surrogateescape") for path in paths]
    socket.write(json.dumps({"paths": names, "token": token}).encode() + b"\n")
    return _line(socket, until) == _TAKEN


def _line(socket: QLocalSocket, until: float) -> bytes:
    """The next line; b"" when the other is gone or silent."""
    while not socket.canReadLine():
        if not socket.waitForReadyRead(_left(until)):
            return b""
    return bytes(socket.readLine().data())


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _left(until: float) -> int:
    """Milliseconds until a time, at least 1."""
    return max(1, round(1000 * (until - time.monotonic())))
