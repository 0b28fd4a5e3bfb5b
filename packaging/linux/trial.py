"""Tries the Debian package in a clean root: installs, starts and removes it, and looks at what stays.

Usage: python packaging/linux/trial.py dist/lacuna_VERSION_amd64.deb [--suite bookworm] [--root FOLDER]

Needs root, mmdebstrap and a mirror of Debian. Nothing of this project and no development package is in the clean root:
Debian's smallest system and a virtual screen.

Tried on Debian 12 with bookworm.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "restorer"
SAMPLE = "usr/lib/lacuna/_internal/resources/samples/astronaut.tif"
MASK = "usr/lib/lacuna/_internal/resources/samples/astronaut-mask.png"
LIMIT = 60
"""Seconds from the installation to the first healed scratch."""
KEPT = (
    "home/",
    "root/",
    "tmp/",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/",
    "var/log/",
    "run/",
    "proc/",
    "sys/",
    "dev/",
)
"""Where things may change: the user's files, and the package system's own books."""
GENERATED = ("usr/share/mime/", "usr/share/applications/mimeinfo.cache", "usr/share/icons/hicolor/icon-theme.cache")
"""What other packages make of what is installed."""


class Root:
    """A clean system in a folder.

    Args:
        folder: of the system.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, user: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, with nothing of this environment.

        Raises:
            SystemExit: it failed, and ``check`` is set; what it printed is in the text.
        """
        home = "/root" if user == "root" else f"/home/{user}"
        environment = ["env", "-i", f"--chdir={home}", f"HOME={home}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        environment += ["LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        inside = words if user == "root" else ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *words)
        command = ["chroot", str(self.folder), *environment, *inside]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if check and result.returncode:
            raise SystemExit(f"{' '.join(words)} failed ({result.returncode}):\n{result.stdout}{result.stderr}")
        return result

    def files(self) -> set[str]:
        """All paths, without those that change anyhow."""
        found = set()
        for folder, folders, names in os.walk(self.folder):
            above = Path(folder).relative_to(self.folder)
            folders[:] = [name for name in folders if not f"{above / name}/".startswith(KEPT)]
            found.update((above / name).as_posix() for name in [*folders, *names])
        return {path for path in found if not path.startswith((*KEPT, *GENERATED))}


def main() -> int:
    """Returns 0 when everything was as it should be."""
    parser = argparse.ArgumentParser(description="Try the Debian package in a clean root.")
    parser.add_argument("package", type=Path)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--root", type=Path, help="a clean root to use, which is made if it does not exist, and kept")
    options = parser.parse_args()
    if not shutil.which("mmdebstrap"):
        print("mmdebstrap is missing: apt-get install mmdebstrap", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = options.root or Path(name) / "root"
        if not folder.exists():
            print("Making a clean root", flush=True)
            needs = "--include=xvfb,xauth,x11-utils"
            command = ["mmdebstrap", "--mode=root", "--variant=apt", needs, "--quiet", options.suite, str(folder)]
            subprocess.run(command, check=True)
        root = Root(folder)
        with _processes(root):
            report = try_package(root, options.package)
    print(json.dumps(report))
    return 0


def try_package(root: Root, package: Path) -> dict[str, object]:
    """Install, use and remove a package.

    Returns:
        Times in seconds, and sizes.

    Raises:
        SystemExit: something is not as it should be.
    """
    if not (root.folder / "home" / USER).exists():
        root.run("useradd", "--create-home", USER)
    for compiler in ("python3", "gcc", "make"):
        if root.run("which", compiler, check=False).returncode == 0:
            raise SystemExit(f"The root is not clean: it has {compiler}.")
    root.run("apt-get", "update", "--quiet")
    root.run("apt-get", "purge", "--yes", "--quiet", "lacuna", check=False)
    shutil.copyfile(package, root.folder / "lacuna.deb")
    # What the package needs comes first, so that the time is that of the package.
    depends = subprocess.run(["dpkg-deb", "-f", package, "Depends"], check=True, capture_output=True, text=True).stdout
    first = [wish.split("|")[0].split("(")[0].strip() for wish in depends.split(",")]
    root.run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *first)
    before, start = root.files(), time.perf_counter()
    root.run("dpkg", "-i", "/lacuna.deb")
    installed = time.perf_counter() - start
    root.run("lacuna-cli", "heal", f"/{SAMPLE}", "-o", "healed.tif", "--mask", f"/{MASK}", user=USER)
    healed = time.perf_counter() - start
    if healed > LIMIT:
        raise SystemExit(f"The first scratch was healed after {healed:.0f} s; at most {LIMIT} s are allowed.")
    inside = (root.folder / "usr" / "lib" / "lacuna").rglob("*")
    size = sum(path.stat().st_size for path in inside if path.is_file() and not path.is_symlink())
    _check_use(root)
    root.run("apt-get", "purge", "--yes", "--quiet", "lacuna")
    after = root.files()
    if after != before:
        raise SystemExit(
            f"After its removal there is {sorted(after - before)[:9]} more, {sorted(before - after)[:9]} less."
        )
    if not (root.folder / "home" / USER / "healed.tif").is_file():
        raise SystemExit("The user's file is gone.")
    return {"installed": round(installed, 1), "healed": round(healed, 1), "megabytes": round(size / 1e6)}


def _check_use(root: Root) -> None:
    """Use the installed program as its user."""
    root.run("lacuna-cli", "verify", "healed.tif", "--source", f"/{SAMPLE}", user=USER)
    smoke = root.run("xvfb-run", "--auto-servernum", "lacuna-cli", "--smoke", user=USER)
    found = json.loads(smoke.stdout.splitlines()[-1])
    if not found["ok"] or found["screen"] != "xcb":
        raise SystemExit(f"The self-test does not pass: {smoke.stdout}")
    # The window itself, as the menu starts it: shown, with the sample in its title, and ended as a session ends it.
    script = (
        f"lacuna /{SAMPLE} & for i in $(seq 100); do sleep 0.3; "
        "xwininfo -root -tree | grep -q astronaut && kill $! && wait $! ; [ $? -eq 1 ] && exit 0; done; exit 9"
    )
    root.run("xvfb-run", "--auto-servernum", "sh", "-c", script, user=USER)
    for file in ("applications/lacuna.desktop", "man/man1/lacuna.1.gz", "icons/hicolor/256x256/apps/lacuna.png"):
        if not (root.folder / "usr/share" / file).exists():
            raise SystemExit(f"/usr/share/{file} is missing.")


@contextmanager
def _processes(root: Root) -> Iterator[None]:
    """The kernel's /proc in a root, while it is used."""
    place = str(root.folder / "proc")
    subprocess.run(["mount", "-t", "proc", "proc", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


if __name__ == "__main__":
    sys.exit(main())
