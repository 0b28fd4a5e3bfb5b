r"""Signs programs: nothing is done, and one line says so, where there is no key.

What signs is told by the environment, so that no key is ever in the project:

LACUNA_SIGN_WINDOWS
    The command that signs one file, with ``{file}`` for it, and ``{signed}`` where the command writes a new file. Any
    tool and any kind of key will do. For example, with backslashes only inside quotes on Windows::

        signtool sign /fd SHA256 /td SHA256 /tr http://TIMESTAMP /dlib "C:\...\Dlib.dll" /dmdf metadata.json {file}
        osslsigncode sign -certs cert.pem -key key.pem -h sha256 -ts http://TIMESTAMP -in {file} -out {signed}

LACUNA_SIGN_MACOS
    The identity for codesign, as ``Developer ID Application: NAME (TEAM)``. Without it, programs get an ad-hoc
    signature, without which Apple's own processors run nothing.

``python packaging/signing.py FILE...`` signs files; NSIS calls it so for the uninstaller.

Tried on Debian 12 with osslsigncode 2.9 and a self-made certificate. Not tried: signtool, codesign, real certificates.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_VARIABLES = {"windows": "LACUNA_SIGN_WINDOWS", "macos": "LACUNA_SIGN_MACOS"}
ENTITLEMENTS = Path(__file__).resolve().parent / "macos" / "entitlements.plist"


def signs(system: str) -> bool:
    """Whether there is a key for ``windows`` or ``macos``."""
    return bool(os.environ.get(_VARIABLES[system], "").strip())


def sign(paths: Iterable[Path]) -> None:
    """Sign files or bundles in this order, those of macOS with codesign, others as Windows programs.

    Raises:
        SystemExit: there is a key, but the signing failed.
    """
    wanted = list(paths)
    if not wanted:
        return
    if sys.platform == "darwin":
        if not signs("macos"):
            print(f"Signed ad hoc only, as {_VARIABLES['macos']} is not set: {wanted[-1].name}.")
        for path in wanted:
            _run(codesign_command(path))
    elif signs("windows"):
        for path in wanted:
            _sign_windows(path)
    else:
        names = ", ".join(path.name for path in wanted[:1]) + (f" and {len(wanted) - 1} more" if wanted[1:] else "")
        print(f"Not signed, as {_VARIABLES['windows']} is not set: {names}.")


def codesign_command(path: Path) -> list[str]:
    """The command that signs one file or bundle for macOS.

    With an identity: hardened runtime and a time stamp, which notarisation wants; what is run gets the entitlements.
    """
    identity = os.environ.get(_VARIABLES["macos"], "").strip()
    command = ["codesign", "--force", "--sign", identity or "-"]
    if identity:
        command.append("--timestamp")
        if path.suffix != ".dmg":
            command += ["--options", "runtime"]
        if path.suffix == ".app" or path.parent.name == "MacOS":
            command += ["--entitlements", str(ENTITLEMENTS)]
    return [*command, str(path)]


def _sign_windows(path: Path) -> None:
    signed = path.with_name(path.name + ".signed")
    words = shlex.split(os.environ[_VARIABLES["windows"]], posix=os.name != "nt")
    # Without POSIX rules backslashes stay, and so do the quotes around a word.
    command = [word.strip('"').replace("{file}", str(path)).replace("{signed}", str(signed)) for word in words]
    _run(command)
    if any("{signed}" in word for word in words):
        signed.replace(path)


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        # Not the command itself: a password may stand in it.
        raise SystemExit(f"Signing with {Path(command[0]).name} failed:\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    sign([Path(name) for name in sys.argv[1:]])
