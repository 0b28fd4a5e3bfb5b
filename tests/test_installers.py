"""What the installers for Windows and macOS are made of. ``packaging/windows/trial.py`` runs one, under Wine."""

from __future__ import annotations

import plistlib
import re
import struct
import sys
from pathlib import Path

import pytest
from PIL import Image

import engine
from desktop.document.project import SUFFIX
from engine.imageio.formats import READABLE

PACKAGING = Path(__file__).parents[1] / "packaging"
NSIS = PACKAGING / "windows" / "lacuna.nsi"


@pytest.fixture(autouse=True)
def packaging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PACKAGING)
    for name in ("LACUNA_SIGN_WINDOWS", "LACUNA_SIGN_MACOS", "LACUNA_NOTARY"):
        monkeypatch.delenv(name, raising=False)


def program(folder: Path) -> Path:
    """A frozen program with names that NSIS would misread, were they not quoted."""
    for name in ("lacuna.exe", "lacuna-cli.exe", "_internal/a b/c.dll", "_internal/a b/修复/$1.txt", "_internal/x.pyd"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"MZ")
    return folder


def test_the_uninstaller_removes_the_files_that_were_installed_and_no_others(tmp_path: Path) -> None:
    from windows.installer import payload_script

    app = program(tmp_path / "app")
    script = payload_script(app)
    installed, folder = [], ""
    for line in script.splitlines():
        if found := re.fullmatch(r'  SetOutPath "(.*)"', line):
            folder = found[1]
        elif found := re.fullmatch(r'  File "/oname=(.*)" "(.*)"', line):
            installed.append(f"{folder}\\{found[1]}")
            assert Path(found[2]).name == found[1].replace("$$", "$")
    wanted = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    assert {name.removeprefix("$INSTDIR\\").replace("$$", "$").replace("\\", "/") for name in installed} == wanted
    assert sorted(re.findall(r'  Delete "(.*)"', script)) == sorted(installed)
    assert re.findall(r'  RMDir "(.*)"', script) == [
        "$INSTDIR\\_internal\\a b\\修复",
        "$INSTDIR\\_internal\\a b",
        "$INSTDIR\\_internal",
    ]


def test_nothing_is_removed_with_what_is_in_it() -> None:
    commands = [line.split(";")[0].split() for line in NSIS.read_text(encoding="utf-8").splitlines()]
    removed = [words for words in commands if words and words[0] in ("RMDir", "Delete")]
    assert removed
    assert not [words for words in removed if "/r" in words or any("*" in word for word in words)]


def test_a_name_that_windows_cannot_write_stops_the_build(tmp_path: Path) -> None:
    from windows.installer import LONGEST_NAME, payload_files

    app = program(tmp_path / "app")
    (app / "n" / ("x" * (LONGEST_NAME - 2))).parent.mkdir()
    (app / "n" / ("x" * (LONGEST_NAME - 2))).touch()
    assert payload_files(app)
    (app / "n" / ("x" * (LONGEST_NAME - 1))).touch()
    with pytest.raises(SystemExit, match="too long"):
        payload_files(app)


def test_every_kind_of_file_that_is_opened_is_offered_on_windows_and_macos() -> None:
    from macos.info import INFO_PLIST
    from windows.trial import SUFFIXES

    wanted = {*READABLE, SUFFIX}
    script = NSIS.read_text(encoding="utf-8")
    assert set(re.findall(r'ro \$\{MACRO\} "(\.\w+)"', script)) == wanted
    assert set(SUFFIXES) == wanted
    plist = plistlib.loads(plistlib.dumps(INFO_PLIST))
    rows = plist["CFBundleDocumentTypes"]
    assert {f".{ending}" for row in rows for ending in row["CFBundleTypeExtensions"]} == wanted
    assert {row["LSHandlerRank"] for row in rows} == {"Alternate"}
    assert plist["CFBundleShortVersionString"] == engine.__version__
    assert plist["LSBackgroundOnly"] is False
    assert not [key for key in plist if key.startswith(("NSCamera", "NSMicrophone", "NSAppTransport", "NSLocal"))]


def test_the_installer_says_all_in_both_languages() -> None:
    texts = (NSIS.parent / "texts.nsh").read_text(encoding="utf-8")
    said = re.findall(r"^LangString (\w+) \$\{LANG_(\w+)\} \"[^\"]+\"$", texts, re.MULTILINE)
    names = {name for name, _ in said}
    assert sorted(said) == sorted((name, language) for name in names for language in ("ENGLISH", "GERMAN"))
    assert names == set(re.findall(r"\$\((\w+)\)", NSIS.read_text(encoding="utf-8") + texts))


def windows_library(path: Path, version: tuple[int, int], *, signed: bool = False) -> Path:
    """The parts of a 64-bit library that are read: headers, the place of its signature, its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0".ljust(24, b"\0") + struct.pack("<H", 0x20B)
    directories = header.ljust(88 + 112 + 8 * 4, b"\0") + struct.pack("<II", 9000, 800 if signed else 0)
    key = "VS_VERSION_INFO".encode("utf-16-le") + b"\0\0\0\0"
    fixed = struct.pack("<IIII", 0xFEEF04BD, 0x10000, version[0] << 16 | version[1], 35211 << 16)
    path.write_bytes(directories.ljust(4096, b"\0") + key + fixed)
    return path


def test_the_newest_runtime_wins_in_every_folder(tmp_path: Path) -> None:
    from windows.programs import file_version, unify_runtime

    app, system = tmp_path / "app", tmp_path / "system"
    copies = [windows_library(app / "_internal" / name / "MSVCP140.dll", (14, 29)) for name in ("PySide6", "shiboken6")]
    with pytest.raises(SystemExit, match=r"msvcp140\.dll is 14\.29.*14\.38"):
        unify_runtime(app, system)
    assert [file_version(path)[:2] for path in copies] == [(14, 29)] * 2
    windows_library(system / "msvcp140.dll", (14, 44))
    assert unify_runtime(app, system) == ["msvcp140.dll 14.44.35211.0, 3 of 3 copies replaced"]
    assert {file_version(path) for path in [*copies, app / "_internal" / "msvcp140.dll"]} == {(14, 44, 35211, 0)}


def test_programs_without_a_signature_are_found(tmp_path: Path) -> None:
    from windows.programs import unsigned_programs

    ours = windows_library(tmp_path / "_internal" / "ours.pyd", (1, 0))
    windows_library(tmp_path / "_internal" / "theirs.dll", (1, 0), signed=True)
    (tmp_path / "text.dll").write_text("no program")
    assert unsigned_programs(tmp_path) == [ours]


SIGNER = "import sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read() + b'signed')"


def test_files_are_signed_by_the_command_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from signing import sign

    monkeypatch.setattr(sys, "platform", "win32")
    file = tmp_path / "a file.exe"
    file.write_bytes(b"program ")
    sign([file])
    assert file.read_bytes() == b"program "
    assert capsys.readouterr().out == "Not signed, as LACUNA_SIGN_WINDOWS is not set: a file.exe.\n"
    monkeypatch.setenv("LACUNA_SIGN_WINDOWS", f'"{sys.executable}" -c "{SIGNER}" {{file}} {{signed}}')
    sign([file])
    assert file.read_bytes() == b"program signed"
    assert [path.name for path in tmp_path.iterdir()] == ["a file.exe"]
    monkeypatch.setenv("LACUNA_SIGN_WINDOWS", f'"{sys.executable}" -c "raise SystemExit(\'wrong PIN\')" {{file}}')
    with pytest.raises(SystemExit, match="wrong PIN"):
        sign([file])


RECORDER = """#!{python}
import json, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
with open({log!r}, "a") as file:
    print(json.dumps([name, *sys.argv[1:]]), file=file)
if name == "xcrun" and sys.argv[1:3] == ["notarytool", "submit"]:
    print(json.dumps({{"id": "7", "status": {status!r}}}))
if name == "xcrun" and sys.argv[1:3] == ["notarytool", "log"]:
    print("the reasons")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are scripts with a first line")
@pytest.mark.parametrize("status", ["Accepted", "Invalid"])
def test_a_bundle_is_signed_from_the_inside_out_and_notarised(
    status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from macos.bundle import build_bundle

    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("codesign", "hdiutil", "xcrun", "spctl"):
        (tools / name).write_text(RECORDER.format(python=sys.executable, log=str(log), status=status))
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("LACUNA_SIGN_MACOS", "Developer ID Application: Someone (TEAM)")
    monkeypatch.setenv("LACUNA_NOTARY", "profile")
    monkeypatch.setattr(sys, "platform", "darwin")
    contents = tmp_path / "Lacuna.app" / "Contents"
    framework = "Frameworks/PySide6/Qt/lib/QtCore.framework"
    order = [
        "Frameworks/lib.dylib",
        "Frameworks/engine.abi3.so",
        "Frameworks/Python",
        framework,
        "MacOS/lacuna-cli",
    ]
    for name in ["MacOS/lacuna", f"{framework}/Versions/A/QtCore", *(name for name in order if name != framework)]:
        path = contents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes.fromhex("cffaedfe") + b"code")
    (contents / "Resources").mkdir()
    (contents / "Resources" / "card.toml").write_text("no code")
    (contents / "Resources" / "lib.dylib").symlink_to("../Frameworks/lib.dylib")
    (contents / "Info.plist").write_bytes(plistlib.dumps({"CFBundleExecutable": "lacuna"}))

    if status == "Accepted":
        assert build_bundle(tmp_path / "lacuna", "1.0", tmp_path).suffix == ".dmg"
    else:
        with pytest.raises(SystemExit, match="did not notarise"):
            build_bundle(tmp_path / "lacuna", "1.0", tmp_path)
    assert "the reasons" in capsys.readouterr().out
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    signed = [Path(words[-1]) for words in calls if words[:2] == ["codesign", "--force"]]
    assert signed[:-1] == [*(contents / name for name in order), contents.parent]
    assert signed[-1].suffix == ".dmg"
    with_rights = [Path(words[-1]).name for words in calls if "--entitlements" in words]
    assert with_rights == ["lacuna-cli", "Lacuna.app"]
    assert [words[:2] for words in calls if words[0] == "hdiutil"] == [["hdiutil", "create"]]
    assert (["xcrun", "stapler"] in [words[:2] for words in calls]) == (status == "Accepted")


def test_icons_hold_every_size(tmp_path: Path) -> None:
    from icons import ICO_SIZES, PNG_SIZES, write_icons

    write_icons(tmp_path)
    for size in PNG_SIZES:
        with Image.open(tmp_path / f"lacuna-{size}.png") as picture:
            assert picture.size == (size, size)
            assert picture.getpixel((0, 0))[3] < 30  # its corners are round
            assert picture.getpixel((size // 2, size // 2))[3] == 255
    with Image.open(tmp_path / "lacuna.ico") as icon:
        assert icon.info["sizes"] == {(size, size) for size in ICO_SIZES}
    with Image.open(tmp_path / "lacuna.icns") as icon:
        assert max(icon.info["sizes"]) == (512, 512, 2)
