"""Libraries of the system that Qt needs on Linux, and the Debian packages that have them.

Uses only the standard library: ``packaging/linux/libraries.py`` imports it before anything else is installed.
"""

from __future__ import annotations

import sys

PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
"""File name of each library -> Debian package."""


def missing() -> list[str]:
    """The libraries that cannot be loaded, as file names; none on other systems than Linux."""
    if not sys.platform.startswith("linux"):
        return []
    import ctypes

    absent = []
    for library in PACKAGES:
        try:
            ctypes.CDLL(library)
        except OSError:
            absent.append(library)
    return absent


def packages(libraries: list[str]) -> str:
    """The Debian packages that have some libraries, for a command line."""
    return " ".join(PACKAGES[library] for library in libraries)


def complaint() -> str:
    """Sentences that name the missing libraries and the line that installs them; empty when none is missing."""
    absent = missing()
    if not absent:
        return ""
    return (
        f"Lacuna's window needs system libraries that are missing here: {', '.join(absent)}.\n"
        f"On Debian or Ubuntu:\n    sudo apt install {packages(absent)}"
    )
