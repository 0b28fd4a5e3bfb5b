"""Freezes the program, tries it, and packs it. Run by build.py in the environment that it makes.

Leaves in ``dist``: ``lacuna/`` with the programs ``lacuna`` and ``lacuna-cli``, what this system's users download, the
list of parts as CycloneDX, and ``SHA256SUMS``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import zstandard

import build
import contents
from engine import __version__
from icons import write_icons

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DIST, WORK = ROOT / "dist", ROOT / "build"
APP = DIST / "lacuna"
SYSTEM = {"linux": "linux", "darwin": "macos", "win32": "windows"}[sys.platform]


def main() -> int:
    """Returns 0 when everything was built and the self-test passed."""
    parser = argparse.ArgumentParser(prog="make installer")
    parser.add_argument("--releases", default="", metavar="URL", help="the page on which new versions appear")
    options = parser.parse_args()
    # The build can be repeated: what it makes has the time of its sources.
    os.environ.setdefault("SOURCE_DATE_EPOCH", _commit("%ct") or "0")
    for old in DIST.glob("[Ll]acuna*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    freeze(options.releases)
    slim(APP)
    found = contents.parts(build.runtime(), APP)
    contents.write_licences(found, APP / "_internal" / "resources" / "licences")
    contents.write_sbom(found, ROOT / "resources" / "models", __version__, DIST / f"lacuna-{__version__}.cdx.json")
    if not passes(APP):
        return 1
    pack(APP)
    write_sums(DIST)
    show(DIST)
    return 0


def freeze(releases: str) -> None:
    """Freeze the program into ``dist/lacuna``."""
    icons = WORK / "icons"
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    write_icons(icons)
    (WORK / "build.json").write_text(json.dumps(facts(releases)), encoding="utf-8")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--distpath", str(DIST)]
    subprocess.run([*command, "--workpath", str(WORK / "pyinstaller"), str(HERE / "lacuna.spec")], cwd=ROOT, check=True)


def slim(app: Path) -> None:
    """Make one C++ runtime of several on Windows; elsewhere take out what debuggers read of Python, and build paths."""
    if SYSTEM == "windows":
        from windows.programs import unify_runtime

        print(*unify_runtime(app), sep="\n")
    elif shutil.which("strip"):
        for library in (app / "_internal").glob("libpython3.*.so*"):
            subprocess.run(["strip", "--strip-unneeded", str(library)], check=True)
    if SYSTEM == "linux":
        from linux.deb import forget_build_paths

        forget_build_paths(app)


def facts(releases: str) -> dict[str, object]:
    """What the program says of its build, in ``resources/build.json``."""
    return {
        "version": __version__,
        "commit": _commit("%H"),
        "date": time.strftime("%Y-%m-%d", time.gmtime(_epoch())),
        "releases": releases,
    }


def passes(app: Path) -> bool:
    """Whether the self-test of the frozen program passes; it runs in folders of its own, without this environment."""
    program = app / ("lacuna-cli.exe" if SYSTEM == "windows" else "lacuna-cli")
    hidden = ("VIRTUAL_ENV", "PYTHON", "QT_QPA_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    print(f"Trying {program.relative_to(ROOT)}", flush=True)
    result = subprocess.run([program, "--smoke"], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(result.stdout, end="", flush=True)
    return result.returncode == 0


def pack(app: Path) -> None:
    """Make what this system's users download."""
    if SYSTEM == "linux":
        from linux.deb import build_deb
        from linux.manual import manuals

        name = f"lacuna-{__version__}-linux-{platform.machine()}.tar.zst"
        write_archive(app, DIST / name)
        build_deb(app, __version__, WORK / "icons", manuals(), DIST)
    elif SYSTEM == "windows":
        from windows.installer import build_installer

        build_installer(app, __version__, DIST)
    else:
        from macos.bundle import build_bundle

        build_bundle(DIST / "Lacuna.app", __version__, DIST)


def write_archive(app: Path, target: Path) -> None:
    """Pack a folder as ``.tar.zst``; the same contents give the same file."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = _epoch()
        return entry

    # Level 19 takes ten times as long, for a twelfth less.
    how = zstandard.ZstdCompressionParameters.from_level(12, enable_ldm=True, window_log=27, threads=-1)
    packer = zstandard.ZstdCompressor(compression_params=how)
    with (
        target.open("wb") as file,
        packer.stream_writer(file) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for path in [app, *sorted(app.rglob("*"))]:
            tar.add(
                path,
                arcname=f"{target.name.removesuffix('.tar.zst')}/{path.relative_to(app)}",
                recursive=False,
                filter=plain,
            )


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` of all files in a folder, as ``sha256sum --check`` reads it."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "SHA256SUMS"]
    lines = []
    for path in files:
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8", newline="\n")


def show(folder: Path) -> None:
    """Print what is in a folder, with sizes."""
    for path in sorted(folder.iterdir()):
        files = [path, *path.rglob("*")] if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())
        print(f"{size / 1e6:8.1f} MB  {path.relative_to(ROOT)}")


def _epoch() -> int:
    """``SOURCE_DATE_EPOCH``, the time that files get; that of the last commit where it is not set."""
    return int(os.environ["SOURCE_DATE_EPOCH"])


def _commit(form: str) -> str:
    """Something of the last commit, in git's notation; empty without git."""
    command = ["git", "log", "-1", f"--format={form}"]
    shown = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return shown.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
