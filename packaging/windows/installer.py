"""Makes the Windows installer of a frozen program with NSIS (``lacuna.nsi``).

The installer writes each file of the folder by name, and its uninstaller removes the same files by name and then the
folders that are empty: it never removes a folder with what is in it.

Tried on Debian 12 with makensis 3.08; the installers were run under Wine 8 by ``trial.py``. Not run on Windows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

HERE = Path(__file__).resolve().parent
PACKAGING = HERE.parent
LONGEST_NAME = 195
"""Most characters of a name in the folder: 259, which is what NSIS can write, less those of
``C:\\Users\\`` with a user name of 20 and ``\\AppData\\Local\\Programs\\Lacuna\\``, and a few."""


def build_installer(app: Path, version: str, out: Path, *, target: str = "") -> Path:
    """Make ``lacuna-VERSION-setup.exe``, signed where there is a key, as its uninstaller and what it installs.

    Args:
        app: the frozen program, a folder with ``lacuna.exe``; its programs and libraries are signed first.
        version: of the program.
        out: folder for the installer.
        target: NSIS target; "" = x86-unicode, which every NSIS has.

    Returns:
        The installer.

    Raises:
        SystemExit: makensis is missing or failed, or a name in the folder is too long; the text says which.
    """
    from icons import draw, write_icons
    from signing import sign, signs
    from windows.programs import unsigned_programs

    makensis = shutil.which("makensis") or shutil.which("makensis", path=r"C:\Program Files (x86)\NSIS")
    if makensis is None:
        raise SystemExit("makensis is missing. Install NSIS 3.08 or later.")
    payload_files(app)  # before files are changed
    sign(unsigned_programs(app))
    installer = out.resolve() / f"lacuna-{version}-setup.exe"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_icons(work)
        _draw_side(draw(256), work / "side.bmp")
        payload = work / "payload.nsh"
        payload.write_text(payload_script(app.resolve()), encoding="utf-8-sig")
        definitions = {
            "VERSION": version,
            "VERSION_FOUR": ".".join(map(str, four_numbers(version))),
            "PAYLOAD": str(payload),
            "ICON": str(work / "lacuna.ico"),
            "SIDE_PICTURE": str(work / "side.bmp"),
            "OUTPUT": str(installer),
        }
        if target:
            definitions["TARGET"] = target
        if signs("windows"):
            # cmd removes the outer quotes of a command that begins with one.
            call = "call " if os.name == "nt" else ""
            definitions["SIGN_UNINSTALLER"] = f'{call}"{sys.executable}" "{PACKAGING / "signing.py"}"'
        command = [makensis, "-V2", "-INPUTCHARSET", "UTF8"]
        command += [f"-D{key}={value}" for key, value in definitions.items()]
        if subprocess.run([*command, str(HERE / "lacuna.nsi")], cwd=HERE, check=False).returncode:
            raise SystemExit("makensis failed, so there is no Windows installer.")
    sign([installer])
    return installer


def payload_files(app: Path) -> list[PurePosixPath]:
    """The names of all files in a folder, relative to it, sorted.

    Raises:
        SystemExit: a name is too long for Windows, or the folder holds no program.
    """
    files = sorted(PurePosixPath(path.relative_to(app).as_posix()) for path in app.rglob("*") if path.is_file())
    if PurePosixPath("lacuna.exe") not in files:
        raise SystemExit(f"There is no lacuna.exe in {app}.")
    longest = max(files, key=lambda name: len(str(name)))
    if len(str(longest)) > LONGEST_NAME:
        raise SystemExit(f"The name {longest} is too long: {len(str(longest))} characters of {LONGEST_NAME}.")
    return files


def payload_script(app: Path) -> str:
    """What ``lacuna.nsi`` includes: macros that write and remove each file of a folder, and its size.

    Raises:
        SystemExit: as ``payload_files``.
    """
    files = payload_files(app)
    folders = sorted({folder for name in files for folder in name.parents if folder != PurePosixPath()})
    kilobytes = sum(-(-(app / name).stat().st_size // 1024) for name in files)
    lines = [f"!define PAYLOAD_KB {kilobytes}", f"!define PAYLOAD_LONGEST {max(len(str(name)) for name in files)}"]
    lines.append("!macro InstallFiles")
    for folder in (PurePosixPath(), *folders):
        inside = [name for name in files if name.parent == folder]
        if inside:
            lines.append(f'  SetOutPath "{_installed(folder)}"')
            # The name to write is a text of the running installer, the one to read is taken as it stands.
            lines += [f'  File "/oname={_quoted(name.name)}" "{app / name}"' for name in inside]
    lines.append("!macroend")
    lines.append("!macro RemoveFiles")
    lines += [f'  Delete "{_installed(name)}"' for name in files]
    lines.append("!macroend")
    lines.append("!macro RemoveFolders")
    # A folder sorts before those in it.
    lines += [f'  RMDir "{_installed(folder)}"' for folder in reversed(folders)]
    lines.append("!macroend")
    return "\n".join(lines) + "\n"


def four_numbers(version: str) -> tuple[int, int, int, int]:
    """A version as the four numbers that Windows keeps in a program: ``1.2.0rc1`` gives 1, 2, 0, 0."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match.group().split(".")] if match else []
    first, second, third, fourth = ([*numbers, 0, 0, 0, 0])[:4]
    return first, second, third, fourth


def _draw_side(icon: Image.Image, path: Path) -> None:
    """The picture beside the first and the last page: the icon on its own grey."""
    from PIL import Image

    side = Image.new("RGB", (328, 628), "#2b2b2b")  # twice its size on a screen without scaling
    side.paste(icon, ((side.width - icon.width) // 2, 96), icon)
    side.save(path)


def _installed(name: PurePosixPath) -> str:
    """The path of a file or folder of the program where it is installed, in NSIS's notation."""
    return "\\".join(("$INSTDIR", *(_quoted(part) for part in name.parts)))


def _quoted(text: str) -> str:
    return text.replace("$", "$$")
