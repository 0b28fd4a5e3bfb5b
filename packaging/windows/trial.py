"""Tries the Windows installer under Wine with a stand-in program: install, upgrade, move, refuse, uninstall.

Usage: python packaging/windows/trial.py [--target amd64-unicode]

Checked: every file, and the whole registry of the user, before and after; names with spaces, Chinese characters and
dollar signs, and as long as they may be; a file that vanished between versions; files of the user's in the folder and
beside; a running program; a folder of another program; an installation that was broken off; a copy of the uninstaller
elsewhere; all users; with osslsigncode and openssl also the signatures of installer and uninstaller.

Needs makensis and Wine, otherwise says so and ends with 0. ``WINE`` is the command for Wine, whose last word is
``wine``. It must run 32-bit programs on a 64-bit Windows (Debian: wine64, and wine32 of i386). Where it runs no 32-bit
ones, ``--target amd64-unicode`` needs Debian's NSIS and tries the same script as a 64-bit installer.

Tried on Debian 12 with Wine 8.0, 32 and 64 bit. Wine is no Windows: administrator prompts, antivirus programs and the
list of Open with are not tried by this.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[1]
UNINSTALL = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\Lacuna"
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ora")
REFUSED = 2
WAITER = """
Unicode true
{target}
Name waiter
OutFile "{path}"
RequestExecutionLevel user
SilentInstall silent
Section
  FileOpen $0 "$EXEDIR\\running" w
  FileClose $0
  wait:
  Sleep 100
  IfFileExists "$EXEDIR\\running" wait
SectionEnd
"""
"""A program that makes a file ``running`` beside it, and ends when it is deleted."""


class Windows:
    """A fresh Wine prefix.

    Args:
        folder: to put it into.
    """

    def __init__(self, folder: Path) -> None:
        self._command = shlex.split(os.environ.get("WINE", "wine"))
        self._environment = os.environ | {
            "WINEPREFIX": str(folder / "prefix"),
            "TMPDIR": str(folder),
            "WINEDEBUG": "-all",
            "LC_ALL": "C.UTF-8",  # Wine takes the encoding of names from it
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }
        self._environment.pop("DISPLAY", None)
        self.run("wineboot", "--init")
        self.drive = folder / "prefix" / "drive_c"
        profile = next(path for path in (self.drive / "users").iterdir() if path.name != "Public")
        self.local = profile / "AppData" / "Local"
        self.roaming = profile / "AppData" / "Roaming"
        self.program = self.local / "Programs" / "Lacuna"

    def stop(self) -> None:
        """End all its programs, and wait until the last file is written."""
        for option in ("-k", "-w"):
            subprocess.run([*self._command[:-1], "wineserver", option], env=self._environment, check=False)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a Windows program."""
        return subprocess.Popen(
            [*self._command, *words], env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def run(self, *words: str) -> int:
        """Run a Windows program; its exit status."""
        with self.start(*words) as process:
            process.communicate()
        return process.returncode

    def pretend(self, version: str) -> None:
        """Be this version of Windows, as winecfg calls it."""
        self.run("winecfg", "-v", version)

    def value(self, key: str, name: str) -> str:
        """A value of the registry, "" where there is none; the name "" is the default value."""
        with self.start("reg", "query", key, *(["/v", name] if name else ["/ve"]), "/reg:64") as process:
            output = process.communicate()[0].decode(errors="replace")
        rows = [line.split(None, 2) for line in output.splitlines() if line.startswith("    ")]
        return next((row[2].strip() if len(row) > 2 else "" for row in rows), "")

    def registry(self) -> set[str]:
        r"""All lines of ``HKCU\Software`` and of what programs wrote for everybody."""
        lines: set[str] = set()
        for number, key in enumerate((r"HKCU\Software", r"HKLM\Software\Classes", rf"HKLM\{UNINSTALL}")):
            file = self.drive / f"export-{number}.reg"
            self.run("reg", "export", key, f"C:\\{file.name}", "/y", "/reg:64")
            part = ""
            for line in file.read_text(encoding="utf-16").splitlines() if file.exists() else ():
                part = line if line.startswith("[") else part
                lines.add(f"{part} {line}")
            file.unlink(missing_ok=True)
        # Wine notes there which programs ran.
        return {line for line in lines if r"HKEY_CURRENT_USER\Software\Wine" not in line}

    def files(self) -> set[str]:
        """All files of the drive, but those in temporary folders."""
        found = {path.relative_to(self.drive).as_posix() for path in self.drive.rglob("*") if not path.is_dir()}
        return {name for name in found if "/Temp/" not in name and not name.startswith("windows/temp/")}

    def uninstall(self, folder: Path) -> None:
        """Run an uninstaller, which goes on in a copy of itself, until its folder is as it leaves it."""
        self.run(str(folder / "uninstall.exe"), "/S")
        wait(lambda: not (folder / "uninstall.exe").exists())
        key = rf"HKCU\{UNINSTALL}"
        wait(lambda: not self.value(key, "DisplayName"))


def wait(done: Callable[[], bool]) -> None:
    """Wait until something holds, a minute at most."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def expect(what: str, *, holds: bool) -> None:
    """Print a line, or end the trial."""
    print(f"{'ok' if holds else 'FAILED':6} {what}", flush=True)
    if not holds:
        raise SystemExit(1)


def make_program(folder: Path, files: dict[str, str], target: str) -> Path:
    """A stand-in for the frozen program, with these files and what they hold."""
    folder.mkdir(parents=True)
    script = folder.with_suffix(".nsi")
    script.write_text(
        WAITER.format(path=folder / "lacuna.exe", target=f"Target {target}" if target else ""), encoding="utf-8"
    )
    subprocess.run(["makensis", "-V1", str(script)], check=True)
    shutil.copy(folder / "lacuna.exe", folder / "lacuna-cli.exe")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holds_program(folder: Path, program: Path) -> bool:
    """Whether a folder holds a program, its uninstaller, and nothing else."""
    found = tree(folder)
    return bool(found.pop("uninstall.exe", b"")) and found == tree(program)


@contextmanager
def running(windows: Windows, program: Path) -> Iterator[None]:
    """The installed program runs meanwhile."""
    with windows.start(str(program / "lacuna.exe")):
        wait((program / "running").exists)
        yield
        (program / "running").unlink()


def main() -> int:
    """Run the trial; 0 when all holds or something for it is missing."""
    parser = argparse.ArgumentParser(description="Tries the Windows installer under Wine.")
    parser.add_argument("--target", default="", help="NSIS target, for a Wine without 32-bit programs: amd64-unicode")
    arguments = parser.parse_args()
    for tool in ("makensis", shlex.split(os.environ.get("WINE", "wine"))[0]):
        if shutil.which(tool) is None:
            print(f"{tool} is missing, so the Windows installer is not tried.")
            return 0
    with tempfile.TemporaryDirectory(prefix="lacuna-trial-") as name:
        windows = Windows(Path(name))
        try:
            trial = Trial(Path(name), windows, arguments.target)
            trial.install_and_upgrade()
            trial.refuse()
            trial.move()
            trial.all_users()
            trial.signatures()
        finally:
            windows.stop()
    print("The Windows installer passed its trial.")
    return 0


class Trial:
    """Two versions of a stand-in, their installers, and a fresh Windows.

    Args:
        work: folder for all of it.
        windows: a fresh one.
        target: NSIS target, or "".
    """

    def __init__(self, work: Path, windows: Windows, target: str) -> None:
        from windows.installer import LONGEST_NAME, build_installer

        long = "_internal/" + "/".join(["n" * 40] * 4)
        long += "/" + "x" * (LONGEST_NAME - len(long) - 1)
        both = {
            "_internal/base_library.zip": "zip",
            "_internal/with space/a file.txt": "a",
            "_internal/修复/照片 $1 $INSTDIR.txt": "b",
            long: "long",
        }
        old = both | {"_internal/gone/old.dll": "old", "vanished.txt": "old", "changed.txt": "1"}
        self._work, self._target = work, target
        self.old = make_program(work / "old", old, target)
        self.new = make_program(work / "new", both | {"_internal/fresh.dll": "new", "changed.txt": "2"}, target)
        installers = work / "installers"
        installers.mkdir()
        self.first = build_installer(self.old, "0.9.0", installers, target=target)
        self.second = build_installer(self.new, "1.0.0", installers, target=target)
        self.windows = windows
        self.windows.pretend("win10")
        self.windows.run("reg", "add", r"HKCU\Software\Classes\.tif", "/ve", "/d", "Someone.Else", "/f")
        self.windows.run("reg", "add", r"HKCU\Software\Classes\.tif\OpenWithProgids", "/v", "Someone.Else", "/f")
        self.windows.run("reg", "add", r"HKCU\Software\RegisteredApplications", "/v", "Someone", "/d", "Else", "/f")
        self.clean_registry, self.clean_files = self.windows.registry(), self.windows.files()

    def install(self, installer: Path, *words: str) -> int:
        """Run an installer without questions; its exit status."""
        # NSIS wants no quotes around /D=, and Wine puts them around a word with spaces.
        return self.windows.run(str(installer), "/S", *(part for word in words for part in word.split(" ")))

    def check_clean(self, what: str, rest: set[str]) -> None:
        """Nothing but the files in ``rest`` was left on the drive or in the registry."""
        left = self.windows.files() ^ self.clean_files
        expect(f"{what}: only the user's files stay", holds=left == rest or bool(print(left ^ rest)))
        keys = self.windows.registry() ^ self.clean_registry
        expect(f"{what}: the registry is as before", holds=not keys or bool(print(*sorted(keys), sep="\n")))

    def install_and_upgrade(self) -> None:
        """An old Windows, a silent installation, an upgrade with a vanished file, and the uninstallation."""
        windows, program = self.windows, self.windows.program
        windows.pretend("win7")
        expect("Windows 7 is refused", holds=self.install(self.first) == REFUSED)
        windows.pretend("win10")
        expect("the first version installs", holds=self.install(self.first) == 0)
        expect("its files are those of the program", holds=holds_program(program, self.old))
        entry = {name: windows.value(rf"HKCU\{UNINSTALL}", name) for name in ("DisplayVersion", "QuietUninstallString")}
        expect("it is listed with its version", holds=entry["DisplayVersion"] == "0.9.0")
        expect("and with a silent uninstaller", holds=entry["QuietUninstallString"].endswith('uninstall.exe" /S'))
        link = windows.roaming / "Microsoft/Windows/Start Menu/Programs/Lacuna.lnk"
        expect("it is in the start menu", holds=link.exists())
        tif = windows.value(r"HKCU\Software\Classes\.tif", "")
        expect("the default of .tif is not taken over", holds=tif == "Someone.Else")
        offered = windows.registry() - self.clean_registry
        for suffix in SUFFIXES:
            key = rf"[HKEY_CURRENT_USER\Software\Classes\{suffix}\OpenWithProgids]"
            expect(f"it is offered for {suffix}", holds=any(line.startswith(f'{key} "Lacuna.') for line in offered))
        mine = [program / "my scan.tif", program / "_internal" / "with space" / "mine.txt"]
        for path in mine:
            path.write_text("mine", encoding="utf-8")
        with running(windows, program):
            expect("an upgrade of a running program is refused", holds=self.install(self.second) == REFUSED)
            expect("and changes nothing", holds=(program / "vanished.txt").exists())
        expect("the second version installs over it", holds=self.install(self.second) == 0)
        found = tree(program)
        for path in mine:
            expect(f"{path.name} stays", holds=found.pop(path.relative_to(program).as_posix(), b"") == b"mine")
        found.pop("uninstall.exe")
        expect("all else is the second version", holds=found == tree(self.new))
        expect("vanished folders are gone", holds=not (program / "_internal" / "gone").exists())
        expect("the version follows", holds=windows.value(rf"HKCU\{UNINSTALL}", "DisplayVersion") == "1.0.0")
        expect("the shortcut is still there", holds=link.exists())
        windows.uninstall(program)
        rest = {path.relative_to(windows.drive).as_posix() for path in mine}
        self.check_clean("uninstalled", rest)
        expect("it installs beside what was left", holds=self.install(self.second) == 0)
        windows.uninstall(program)
        self.check_clean("uninstalled again", rest)
        shutil.rmtree(program)

    def refuse(self) -> None:
        """Folders that cannot be used, and an uninstaller that was copied elsewhere."""
        windows = self.windows
        far = "C:\\" + "\\".join(["f" * 30] * 3)
        expect("a folder with too long a name is refused", holds=self.install(self.first, f"/D={far}") == REFUSED)
        other = windows.drive / "other" / "_internal"
        other.mkdir(parents=True)
        (other / "base_library.zip").write_bytes(b"theirs")
        expect("a folder of another program is refused", holds=self.install(self.first, r"/D=C:\other") == REFUSED)
        expect("and it stays as it was", holds=tree(other.parent) == {"_internal/base_library.zip": b"theirs"})
        shutil.rmtree(other.parent)
        blocked = windows.program / "changed.txt"
        blocked.mkdir(parents=True)
        expect("a file that cannot be written ends it", holds=self.install(self.first) == REFUSED)
        blocked.rmdir()
        windows.uninstall(windows.program)
        self.check_clean("broken off and uninstalled", set())
        expect("the first version installs again", holds=self.install(self.first) == 0)
        copy = windows.drive / "copy"
        copy.mkdir()
        (copy / "changed.txt").write_bytes(b"mine")
        shutil.copy(windows.program / "uninstall.exe", copy)
        windows.run(r"C:\copy\uninstall.exe", "/S", r"_?=C:\copy")
        expect("a copied uninstaller removes nothing", holds=(copy / "changed.txt").read_bytes() == b"mine")
        shutil.rmtree(copy)
        windows.uninstall(windows.program)
        self.check_clean("after refusals", set())

    def move(self) -> None:
        """An upgrade into another folder, with spaces and Chinese characters, as long as it may be."""
        windows = self.windows
        expect("the first version installs", holds=self.install(self.first) == 0)
        place = "修复 照片 " + "p" * 54
        expect("the second installs elsewhere", holds=self.install(self.second, f"/D=C:\\{place}") == 0)
        expect("its files are there", holds=holds_program(windows.drive / place, self.new))
        expect("the first is gone", holds=not windows.program.exists())
        windows.uninstall(windows.drive / place)
        self.check_clean("moved and uninstalled", set())

    def all_users(self) -> None:
        """An installation for everybody; under Wine everybody is administrator."""
        windows, program = self.windows, self.windows.drive / "Program Files" / "Lacuna"
        expect("it installs for all users", holds=self.install(self.second, "/ALLUSERS") == 0)
        expect("into Program Files", holds=holds_program(program, self.new))
        expect("listed for all", holds=windows.value(rf"HKLM\{UNINSTALL}", "DisplayVersion") == "1.0.0")
        windows.uninstall(program)
        self.check_clean("uninstalled for all users", set())

    def signatures(self) -> None:
        """Installer and uninstaller signed with a certificate made for the trial."""
        from windows.installer import build_installer

        if shutil.which("osslsigncode") is None or shutil.which("openssl") is None:
            print("osslsigncode or openssl is missing, so signing is not tried.")
            return
        key, certificate = self._work / "key.pem", self._work / "cert.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Trial", "-days", "2"]
        make += ["-addext", "extendedKeyUsage=codeSigning", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(make, check=True, capture_output=True)
        os.environ["LACUNA_SIGN_WINDOWS"] = (
            f"osslsigncode sign -certs {certificate} -key {key} -h sha256 -in {{file}} -out {{signed}}"
        )
        signed = build_installer(self.new, "1.0.1", self._work, target=self._target)
        expect("a signed installer installs", holds=self.install(signed) == 0)
        for path in (signed, self.windows.program / "uninstall.exe"):
            verify = ["osslsigncode", "verify", "-CAfile", str(certificate), "-in", str(path)]
            result = subprocess.run(verify, check=False, capture_output=True, text=True)
            expect(f"the signature of {path.name} is good", holds=result.returncode == 0)
        self.windows.uninstall(self.windows.program)
        self.check_clean("the signed one uninstalled", set())


if __name__ == "__main__":
    sys.path.insert(0, str(PACKAGING))
    sys.exit(main())
