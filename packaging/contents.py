"""What is inside a frozen program: its parts with their licences, as files beside it and as a CycloneDX list (SBOM)."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TEXTS = Path(__file__).resolve().parent / "licences"
_LICENCE = re.compile(r"(?i)^(licen[cs]e|copying|notice|thirdpartynotices|third.party)")
_LGPL = [TEXTS / "LGPL-3.0.txt", TEXTS / "GPL-3.0.txt"]


@dataclass(frozen=True)
class Part:
    """Something inside the program that others made.

    Attributes:
        name, version: of it.
        licence: its name, an SPDX expression where its maker gives one.
        texts: files with its licence and those of what it brings along, with the names to give them.
        kind: ``pypi`` (a Python package), ``deb`` (of this system), ``generic``.
    """

    name: str
    version: str
    licence: str
    texts: dict[str, Path] = field(default_factory=dict)
    kind: str = "generic"


def parts(requirements: list[str], app: Path) -> list[Part]:
    """All parts of a frozen program, by name.

    Args:
        requirements: what the program needs of Python packages; what these need in turn is found here.
        app: the frozen program.

    Raises:
        SystemExit: a part has no licence text.
    """
    found = [_python(), _bootloader(), *_packages(requirements), *_system_libraries(app)]
    without = [part.name for part in found if not part.texts]
    if without:
        raise SystemExit(f"No licence text was found for {', '.join(without)}.")
    return sorted(found, key=lambda part: part.name.lower())


def write_licences(found: list[Part], folder: Path) -> None:
    """Write the texts of all parts into a folder, with Lacuna's own and a table of contents."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / "LICENSE", folder / "Lacuna.txt")
    lines = ["Lacuna is under the Apache License 2.0 (Lacuna.txt). It contains these parts of others:", ""]
    for part in found:
        lines.append(f"{part.name} {part.version}: {part.licence}")
        for name, source in part.texts.items():
            target = folder / part.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    lines += [
        "",
        "Qt for Python and the FFmpeg libraries of OpenCV are under the LGPL: they lie beside the program as libraries",
        "of their own, and may be replaced there by others that fit. Their sources are to be had from their makers.",
        "The credits of the models stand in resources/models, in the card of each.",
        "",
    ]
    (folder / "README.txt").write_text("\n".join(lines), encoding="utf-8")


def write_sbom(found: list[Part], models: Path, version: str, target: Path) -> None:
    """Write a CycloneDX 1.6 list of all parts and models.

    Raises:
        SystemExit: it is not valid by CycloneDX's schema.
    """
    bom = Bom()
    program = Component(name="lacuna", version=version, type=ComponentType.APPLICATION, bom_ref="lacuna")
    program.licenses.add(DisjunctiveLicense(id="Apache-2.0"))
    bom.metadata.component = program
    listed = [_component(part) for part in found] + [_model(card) for card in sorted(models.glob("*/card.toml"))]
    for component in listed:
        bom.components.add(component)
    bom.register_dependency(program, listed)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise SystemExit(f"The list of parts is not valid: {problem}")
    target.write_text(text + "\n", encoding="utf-8")


def _component(part: Part) -> Component:
    reference = f"{part.name}@{part.version}"
    component = Component(name=part.name, version=part.version, type=ComponentType.LIBRARY, bom_ref=reference)
    space = "debian" if part.kind == "deb" else None
    component.purl = PackageURL(part.kind, space, part.name, part.version)
    component.licenses.add(DisjunctiveLicense(name=part.licence))
    return component


def _model(card: Path) -> Component:
    facts = tomllib.loads(card.read_text(encoding="utf-8"))
    name = card.parent.name
    component = Component(name=name, type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref=f"model/{name}")
    component.supplier = OrganizationalEntity(name="Lacuna")
    component.licenses.add(DisjunctiveLicense(name=facts["licence"]))
    for file in sorted(card.parent.glob("*.onnx")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        component.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=digest))
    return component


def _python() -> Part:
    version = ".".join(map(str, sys.version_info[:3]))
    text = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    if not text.is_file():
        # Where the makers of Python's installers put it on Windows, and Debian.
        places = [
            Path(sys.base_prefix) / "LICENSE.txt",
            Path(f"/usr/share/doc/python3.{sys.version_info[1]}/copyright"),
        ]
        text = next((place for place in places if place.is_file()), text)
    return Part("Python", version, "PSF-2.0", {"LICENSE.txt": text} if text.is_file() else {})


def _bootloader() -> Part:
    """The start of the programs, which PyInstaller puts in front of them."""
    found = _package("pyinstaller")
    licence = "GPL-2.0-or-later WITH Bootloader-exception"
    return Part("PyInstaller bootloader", found.version, licence, found.texts)


def _packages(requirements: list[str]) -> list[Part]:
    """The installed packages that these requirements name, and those that they need in turn."""
    names, left = set[str](), list(requirements)
    while left:
        requirement = Requirement(left.pop())
        name = requirement.name.lower().replace("_", "-")
        if name in names or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        names.add(name)
        left += metadata.requires(name) or []
    return [_package(name) for name in sorted(names)]


def _package(name: str) -> Part:
    found = metadata.distribution(name)
    facts = found.metadata
    # Older packages put the whole text where the name should be.
    licence = facts.get("License-Expression") or (facts.get("License") or "").partition("\n")[0]
    texts = {}
    for file in found.files or ():
        place = Path(str(found.locate_file(file)))
        if (_LICENCE.match(file.name) or "licenses" in file.parts[:-1]) and place.suffix not in (".py", ".pyc"):
            texts[re.sub(r"^[^/]*\.dist-info/(licenses/)?", "", file.as_posix())] = place
    if name in ("pyside6-essentials", "shiboken6"):
        texts = {path.name: path for path in _LGPL}
    if name == "flatbuffers":
        # Its package has no text of its own.
        texts = {"Apache-2.0.txt": ROOT / "LICENSE"}
    return Part(found.name, found.version, licence or "see its text", texts, "pypi")


def _system_libraries(app: Path) -> list[Part]:
    """The Debian packages of which libraries of this system came along; nothing on other systems."""
    if not shutil.which("dpkg-query"):
        return []
    packages = dict[str, Part]()
    for path in sorted((app / "_internal").glob("lib*.so*")):
        if path.is_symlink() or path.name.startswith("libpython"):
            continue
        # By the name in its folder: /lib and /usr/lib are one.
        owner = subprocess.run(["dpkg-query", "-S", f"*/{path.name}"], check=False, capture_output=True, text=True)
        name = owner.stdout.partition(":")[0].strip()
        if owner.returncode or name in packages:
            continue
        shown = ["dpkg-query", "-W", "-f", "${Version}", name]
        version = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
        text = Path("/usr/share/doc") / name / "copyright"
        packages[name] = Part(name, version, "see its text", {"copyright": text} if text.is_file() else {}, "deb")
    return list(packages.values())
