"""Makes the Debian package of a frozen program, for Debian 12, Ubuntu 22.04 and later.

The program goes to /usr/lib/lacuna; what it needs of the system is read from its libraries, not listed by hand.

Tried on Debian 12: lintian, and trial.py in a clean root.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import textwrap
from datetime import UTC, datetime
from pathlib import Path

from elftools.elf.elffile import ELFFile

from desktop import system_libraries
from macos.info import IDENTIFIER

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MAINTAINER = "The Lacuna project <lacuna@localhost>"
PACKAGES = system_libraries.PACKAGES | {
    **dict.fromkeys(("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libdl.so.2", "libm.so.6"), "libc6"),
    **dict.fromkeys(("libpthread.so.0", "libresolv.so.2", "librt.so.1"), "libc6"),
    **dict.fromkeys(("libbrotlicommon.so.1", "libbrotlidec.so.1"), "libbrotli1"),
    "libgcc_s.so.1": "libgcc-s1",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libstdc++.so.6": "libstdc++6",
    "libuuid.so.1": "libuuid1",
    "libwayland-client.so.0": "libwayland-client0",
    "libwayland-cursor.so.0": "libwayland-cursor0",
    "libwayland-egl.so.1": "libwayland-egl1",
    "libz.so.1": "zlib1g",
    "libzstd.so.1": "libzstd1",
}
"""The Debian package of each library of the system that the program may need."""
_COMPILERS = {"3.4.29": "11", "3.4.30": "12", "3.4.31": "13.1", "3.4.32": "13.2", "3.4.33": "14"}
"""Version of libstdc++6 that has a version of its symbols, by the history of the GCC manual."""
_MACHINES = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64"}


def build_deb(app: Path, version: str, icons: Path, manuals: dict[str, str], out: Path) -> Path:
    """Make ``lacuna_VERSION_ARCHITECTURE.deb``.

    Args:
        app: the frozen program.
        version: of the program.
        icons: folder with ``lacuna-SIZE.png``.
        manuals: the pages of the manual, roff by the name of the command.
        out: folder for the package.

    Raises:
        SystemExit: the program needs a library that is not in ``PACKAGES``.
    """
    needs = Needs(app)
    name = f"lacuna_{version}_{needs.architecture}"
    tree = out / name
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(app, tree / "usr" / "lib" / "lacuna", symlinks=True)
    _programs(tree / "usr" / "bin")
    _desktop(tree / "usr" / "share", version, icons)
    _manuals(tree / "usr" / "share" / "man" / "man1", manuals)
    _documents(tree / "usr" / "share" / "doc" / "lacuna", version)
    _control(tree, version, needs)
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    target = out / f"{name}.deb"
    # Zstandard is unpacked several times faster than xz; all systems with this glibc read it.
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z12", "--build", str(tree), str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return target


class Needs:
    """What the programs and libraries of a folder need of the system.

    Attributes:
        architecture: Debian's name for the processor.
        packages: for ``Depends``, sorted.
        glibc: version of the C library, at least.

    Raises:
        SystemExit: a library belongs to no package of ``PACKAGES``.
    """

    def __init__(self, app: Path) -> None:
        inside, wanted, versions = set[str](), set[str](), dict[str, set[str]]()
        machines = set[str]()
        for path in app.rglob("*"):
            inside.add(path.name)
            if path.is_file() and not path.is_symlink():
                _read(path, wanted, versions, machines)
        self.glibc = _newest(versions, "GLIBC_")
        (self.architecture,) = {_MACHINES[machine] for machine in machines}
        missing = sorted(wanted - inside)
        unknown = [name for name in missing if name not in PACKAGES]
        if unknown:
            raise SystemExit(f"packaging/linux/deb.py does not know the packages of {', '.join(unknown)}.")
        least = {"libc6": self.glibc, "libstdc++6": _COMPILERS[_newest(versions, "GLIBCXX_")]}
        found = sorted({PACKAGES[name] for name in missing})
        self.packages = [f"{name} (>= {least[name]})" if name in least else name for name in found]


def forget_build_paths(app: Path) -> None:
    """Take out of the libraries of a folder the places of this machine in which they would look for others."""
    for path in app.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("r+b") as file:
            if file.read(4) != b"\x7fELF":
                continue
            elf = ELFFile(file)
            dynamic = elf.get_section_by_name(".dynamic")
            for number, tag in enumerate(dynamic.iter_tags() if dynamic is not None else ()):
                places = getattr(tag, "runpath", None) or getattr(tag, "rpath", "")
                if places and not all(place.startswith("$ORIGIN") for place in places.split(":")):
                    # The value is where the text begins among the names; the first of these is empty.
                    file.seek(dynamic["sh_offset"] + number * dynamic["sh_entsize"] + dynamic["sh_entsize"] // 2)
                    file.write(bytes(dynamic["sh_entsize"] // 2))


def _read(path: Path, wanted: set[str], versions: dict[str, set[str]], machines: set[str]) -> None:
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return
        elf = ELFFile(file)
        machines.add(elf["e_machine"])
        dynamic, needed = elf.get_section_by_name(".dynamic"), elf.get_section_by_name(".gnu.version_r")
        if dynamic is not None:
            wanted.update(tag.needed for tag in dynamic.iter_tags("DT_NEEDED"))
        for library, symbols in needed.iter_versions() if needed is not None else ():
            versions.setdefault(library.name, set()).update(symbol.name for symbol in symbols)


def _newest(versions: dict[str, set[str]], prefix: str) -> str:
    """The newest version of symbols of a kind, such as ``2.35``."""
    found = {name.removeprefix(prefix) for names in versions.values() for name in names if name.startswith(prefix)}
    numbers = [tuple(map(int, version.split("."))) for version in found if version.replace(".", "").isdigit()]
    return ".".join(map(str, max(numbers)))


def _programs(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("lacuna", "lacuna-cli"):
        (folder / name).symlink_to(f"../lib/lacuna/{name}")


def _desktop(share: Path, version: str, icons: Path) -> None:
    """The entry of the menu with the kinds of files, icons, and the description for software centres."""
    from engine.imageio.formats import FORMATS

    types = [f"image/{row.name.lower()}" for row in FORMATS] + ["image/openraster"]
    values = {
        "@MIME_TYPES@": ";".join(types),
        "@IDENTIFIER@": IDENTIFIER,
        "@VERSION@": version,
        "@DATE@": _built().date().isoformat(),
    }
    for source, target in (
        ("lacuna.desktop", share / "applications" / "lacuna.desktop"),
        ("metainfo.xml", share / "metainfo" / f"{IDENTIFIER}.metainfo.xml"),
    ):
        text = (HERE / source).read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(name, value)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    places = dict.fromkeys(icons.glob("lacuna-*.png"), share / "icons" / "hicolor")
    for icon, place in places.items():
        size = icon.stem.rpartition("-")[2]
        (place / f"{size}x{size}" / "apps").mkdir(parents=True)
        shutil.copyfile(icon, place / f"{size}x{size}" / "apps" / "lacuna.png")
    drawn = share / "icons" / "hicolor" / "scalable" / "apps"
    drawn.mkdir(parents=True)
    shutil.copyfile(ROOT / "resources" / "icons" / "lacuna.svg", drawn / "lacuna.svg")


def _manuals(folder: Path, manuals: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in manuals.items():
        _write_gz(folder / f"{name}.1.gz", text)


def _documents(folder: Path, version: str) -> None:
    folder.mkdir(parents=True)
    now = _built().strftime("%a, %d %b %Y %H:%M:%S +0000")
    news = f"lacuna ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {now}\n"
    _write_gz(folder / "changelog.gz", news)
    shutil.copyfile(ROOT / "CHANGELOG.md", folder / "NEWS.md")
    notes = "The licences of all that is inside stand in /usr/lib/lacuna/_internal/resources/licences/README.txt."
    (folder / "copyright").write_text(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Upstream-Name: Lacuna\n\n"
        "Files: *\nCopyright: 2026 The Lacuna project\nLicense: Apache-2.0\n"
        f"Comment: {notes}\n\n"
        "License: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n",
        encoding="utf-8",
    )


def _control(tree: Path, version: str, needs: Needs) -> None:
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    said = (
        "Open a scan, paint over a scratch, press Heal: a trained generator fills it in the background, and the repair "
        "comes back as a layer that can be painted away. The export differs from the scan nowhere else, bit for bit."
    )
    long = "\n".join(f" {line}" for line in textwrap.wrap(said, 76))
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        f"Package: lacuna\nVersion: {version}\nArchitecture: {needs.architecture}\nMaintainer: {MAINTAINER}\n"
        f"Installed-Size: {size // 1024}\nDepends: {', '.join(needs.packages)}\nRecommends: xdg-utils\n"
        f"Section: graphics\nPriority: optional\nDescription: restore photographs\n{long}\n",
        encoding="utf-8",
    )


def _built() -> datetime:
    """The time that the package states: ``SOURCE_DATE_EPOCH``, so that the same sources make the same package."""
    return datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)


def _write_gz(path: Path, text: str) -> None:
    # Without the time, so that the same contents make the same file.
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
