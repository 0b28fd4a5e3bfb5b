"""Signs ``Lacuna.app``, puts it into a disk image, and has Apple notarise that where there are keys for it.

The bundle is made by the spec (PyInstaller's BUNDLE), which puts code and data where codesign wants them. Here each
piece of code is signed by itself, from the inside out, as ``codesign --deep`` signs neither all nor in the right order.

LACUNA_SIGN_MACOS   the identity, see ``signing.py``; without it: ad hoc, and nothing is notarised
LACUNA_NOTARY       a keychain profile of ``xcrun notarytool store-credentials``; without it nothing is notarised

Tried on Debian 12 with recorders in place of Apple's tools: which commands, in which order, and what is done with an
answer that is not Accepted. Never run on macOS.
"""

from __future__ import annotations

import json
import os
import platform
import plistlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from signing import sign, signs

MACHO = {
    bytes.fromhex(magic)
    for magic in ("feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe", "bebafeca", "cafebabf", "bfbafeca")
}
"""First bytes of programs and libraries of macOS, for one processor or several."""


def build_bundle(app: Path, version: str, out: Path) -> Path:
    """Sign the bundle and make ``lacuna-VERSION-macos-PROCESSOR.dmg``, notarised where there are keys.

    Args:
        app: ``Lacuna.app``, or the frozen folder that it lies beside.
        version: of the program.
        out: folder for the disk image.

    Returns:
        The disk image.

    Raises:
        SystemExit: there is no bundle, or a tool failed; the text says which.
    """
    bundle = app if app.suffix == ".app" else app.with_name("Lacuna.app")
    if not (bundle / "Contents" / "Info.plist").is_file():
        raise SystemExit(f"There is no {bundle}. The spec makes it on macOS.")
    sign(signing_order(bundle))
    _run("codesign", "--verify", "--strict", "--deep", str(bundle))
    image = out / f"lacuna-{version}-macos-{platform.machine()}.dmg"
    _make_image(bundle, image)
    sign([image])
    profile = os.environ.get("LACUNA_NOTARY", "").strip()
    if not (profile and signs("macos")):
        print(f"{image.name}: not notarised, as LACUNA_NOTARY or LACUNA_SIGN_MACOS is not set.")
        return image
    notarise(image, profile)
    return image


def signing_order(bundle: Path) -> list[Path]:
    """All code of a bundle in the order to sign it: libraries, extensions, frameworks, programs, the bundle itself.

    The main program and those of the frameworks are not listed: they are signed with the bundle they belong to.
    """
    with (bundle / "Contents" / "Info.plist").open("rb") as file:
        main = bundle / "Contents" / "MacOS" / plistlib.load(file)["CFBundleExecutable"]
    code = [path for path in sorted(bundle.rglob("*")) if _is_code(path) and path != main]
    code = [path for path in code if f"{path.name}.framework" not in path.parts]
    libraries = [path for path in code if path.suffix == ".dylib"]
    extensions = [path for path in code if path.suffix == ".so"]
    programs = [path for path in code if path.parent == main.parent]
    others = [path for path in code if path not in {*libraries, *extensions, *programs}]
    frameworks = [path for path in bundle.rglob("*.framework") if path.is_dir() and not path.is_symlink()]
    # The deepest first: a signature covers those of what lies inside.
    frameworks.sort(key=lambda path: (-len(path.parts), path))
    return [*libraries, *extensions, *others, *frameworks, *programs, bundle]


def notarise(image: Path, profile: str) -> None:
    """Have Apple check a disk image, and attach its ticket.

    Raises:
        SystemExit: it was not accepted; Apple's log was printed.
    """
    keys = ("--keychain-profile", profile)
    submit = ["xcrun", "notarytool", "submit", str(image), *keys, "--wait", "--output-format", "json"]
    result = subprocess.run(submit, check=False, capture_output=True, text=True)
    try:
        answer = json.loads(result.stdout)
        number, status = str(answer["id"]), str(answer["status"])
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"notarytool gave no answer:\n{result.stdout}{result.stderr}") from None
    print(_run("xcrun", "notarytool", "log", number, *keys))
    if status != "Accepted":
        raise SystemExit(f"Apple did not notarise {image.name}: {status}. The reasons stand above.")
    _run("xcrun", "stapler", "staple", str(image))
    _run("spctl", "--assess", "--type", "open", "--context", "context:primary-signature", str(image))


def _is_code(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in MACHO


def _make_image(bundle: Path, image: Path) -> None:
    """A compressed disk image with the bundle and a link to the folder of programs, to drag it to."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(bundle, Path(name) / bundle.name, symlinks=True)
        (Path(name) / "Applications").symlink_to("/Applications")
        command = ["hdiutil", "create", "-volname", "Lacuna", "-srcfolder", name, "-fs", "HFS+", "-format", "UDZO"]
        for _ in range(4):
            # It fails at times with "Resource busy" while the system still indexes the new files.
            if not subprocess.run([*command, "-ov", str(image)], check=False).returncode:
                return
            time.sleep(10)
        _run(*command, "-ov", str(image))


def _run(*command: str) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{result.stdout}{result.stderr}")
    return result.stdout
