"""``python live.py SECONDS MODULE WORDS...``: run a module as ``python -m`` does, and live for at least SECONDS.

A window looks for damage and is closed then; a command waits at the end, as a process does that goes on to the next
picture. The last line printed says whether onnxruntime was loaded.
"""

from __future__ import annotations

import atexit
import runpy
import sys
import time


def use_window(seconds: float) -> None:
    """Once the window runs: "Find Damage" as soon as it can be chosen, and an end after so many seconds."""
    from PySide6.QtCore import QTimer
    from PySide6.QtGui import QAction
    from PySide6.QtWidgets import QApplication, QMainWindow
    from shiboken6 import isValid

    run = QApplication.exec

    def run_for_a_while() -> int:
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        timer = QTimer(app)

        def find() -> None:
            for window in app.topLevelWidgets():
                for action in window.findChildren(QAction) if isinstance(window, QMainWindow) else []:
                    if isValid(action) and action.text() == "Find Damage" and action.isEnabled():
                        timer.stop()
                        action.trigger()
                        return

        timer.timeout.connect(find)
        timer.start(100)
        QTimer.singleShot(round(1000 * seconds), app, lambda: app.exit(0))
        return run()

    QApplication.exec = staticmethod(run_for_a_while)


def wait(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))
    print("onnxruntime" in sys.modules)


if __name__ == "__main__":
    seconds, module = float(sys.argv[1]), sys.argv[2]
    del sys.argv[1:3]
    if module == "desktop":
        use_window(seconds)
    atexit.register(wait, time.monotonic() + seconds)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
