"""What stands in Windows programs and libraries: their version, whether they are signed; and which C++ runtime wins.

Tried on Debian 12 with the libraries of the Windows wheels of shiboken6, PySide6, NumPy and onnxruntime, and with
signed and unsigned installers. Not run on Windows.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

RUNTIME = (
    "msvcp140.dll",
    "msvcp140_1.dll",
    "msvcp140_2.dll",
    "msvcp140_atomic_wait.dll",
    "msvcp140_codecvt_ids.dll",
    "vcruntime140.dll",
    "vcruntime140_1.dll",
    "concrt140.dll",
)
OLDEST_RUNTIME = (14, 38)
"""The oldest C++ runtime that onnxruntime 1.21 and later can be loaded with."""

_CERTIFICATES = 4
"""Place of the signatures in the table of data directories of a program."""


def file_version(path: Path) -> tuple[int, int, int, int]:
    """The file version that stands in a program or library, zeros where there is none.

    Source: VS_FIXEDFILEINFO in Microsoft's description of version resources.
    """
    data = path.read_bytes()
    key = data.find("VS_VERSION_INFO".encode("utf-16-le"))
    at = data.find(struct.pack("<I", 0xFEEF04BD), key, key + 64) if key >= 0 else -1
    if at < 0 or at + 16 > len(data):
        return (0, 0, 0, 0)
    high, low = struct.unpack_from("<II", data, at + 8)
    return (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)


def is_program(path: Path) -> bool:
    """Whether a file is a program or library of Windows (PE)."""
    with path.open("rb") as file:
        return _header(file.read(4096)) is not None


def is_signed(path: Path) -> bool:
    """Whether a program or library carries a signature; whether it is a good one is not looked at.

    Source: optional header and its data directories in Microsoft's PE format.
    """
    with path.open("rb") as file:
        data = file.read(4096)
    at = _header(data)
    if at is None:
        return False
    (magic,) = struct.unpack_from("<H", data, at)
    directories = at + (112 if magic == 0x20B else 96)  # 64 or 32 bit
    _, size = struct.unpack_from("<II", data, directories + 8 * _CERTIFICATES)
    return bool(size)


def unsigned_programs(folder: Path) -> list[Path]:
    """All programs and libraries below a folder that are not signed by whoever made them."""
    wanted = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".exe", ".dll", ".pyd")]
    return [path for path in wanted if path.is_file() and is_program(path) and not is_signed(path)]


def unify_runtime(app: Path, system: Path | None = None) -> list[str]:
    """Replace all copies of each library of the C++ runtime with the newest, which also lies in ``_internal``.

    Wheels bring their own, and Windows keeps the one that was loaded first: an old one of Qt's would be onnxruntime's
    too, which then cannot be loaded. Called before the program is tried and signed.

    Args:
        app: the frozen program.
        system: folder whose copies are considered too; None = Windows's own.

    Returns:
        A line for each library: name, version, and how many copies were replaced.

    Raises:
        SystemExit: the newest is older than ``OLDEST_RUNTIME``.
    """
    if system is None:
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"
    libraries = [path for path in app.rglob("*") if path.suffix.lower() == ".dll"]
    report = []
    for name in RUNTIME:
        copies = [path for path in libraries if path.name.lower() == name]
        if not copies:
            continue
        newest = max([*copies, *(path for path in [system / name] if path.is_file())], key=file_version)
        version = file_version(newest)
        if version[:2] < OLDEST_RUNTIME:
            raise SystemExit(
                f"{name} is {_dotted(version)}, and onnxruntime needs {_dotted(OLDEST_RUNTIME)} or later. "
                "Install the newest Visual C++ redistributable on the machine that builds."
            )
        place = app / "_internal" / name
        old = [path for path in {*copies, place} if not path.exists() or file_version(path) < version]
        for path in old:
            shutil.copyfile(newest, path)
        report.append(f"{name} {_dotted(version)}, {len(old)} of {len({*copies, place})} copies replaced")
    return report


def _header(data: bytes) -> int | None:
    """Where the optional header begins in the first bytes of a program; None for other files."""
    if len(data) < 64 or data[:2] != b"MZ":
        return None
    (at,) = struct.unpack_from("<I", data, 60)
    if data[at : at + 4] != b"PE\0\0" or at + 24 + 160 > len(data):
        return None
    return int(at) + 24


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
