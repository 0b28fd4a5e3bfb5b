"""What a picture and its record say of the kind of change, in the IPTC's terms."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import cli, imageio
from engine.imageio import COMPOSITE, ENHANCED, source_types, with_source_type
from engine.output import Output, write_result
from engine.raster import Metadata, Raster
from engine.record import SOURCE_TYPES, Repair, record_path
from engine.tasks import TASKS
from tests.conftest import noise_raster

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
HEAL, CLEAN, DETECT = (Repair(task, task, "1", "00", "cpu") for task in ("heal", "clean", "detect"))
EXT = 'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
BEFORE = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f"<r:Description r:about='uuid:7 &lt; 8' xmlns:dc=\"http://purl.org/dc/elements/1.1/\" {EXT} "
)
AFTER = '</r:Description>\n  </r:RDF></x:xmpmeta>\n    <?xpacket end="w"?>'


def packet(
    attributes: str = 'dc:source="Plate > 12"', inside: str = "<dc:title>Männer &amp; Frauen</dc:title>"
) -> bytes:
    return f"{BEFORE}{attributes}>{inside}{AFTER}".encode()


def usual(inside: str = "<dc:title>Männer &amp; Frauen</dc:title>") -> bytes:
    """A packet with the prefixes that most programs write."""
    return packet('dc:source="Plate 12"', inside).replace(b"r:", b"rdf:").replace(b"ns:r=", b"ns:rdf=")


def test_a_new_packet_states_only_the_term() -> None:
    made = with_source_type(None, COMPOSITE)
    assert made.startswith(b"<?xpacket begin")
    assert source_types(made) == [COMPOSITE]


@pytest.mark.parametrize("zeros", [0, 3])
def test_all_other_bytes_of_a_packet_stay(zeros: int) -> None:
    before = packet() + bytes(zeros)
    assert source_types(before) == []
    after = with_source_type(before, ENHANCED)
    at = before.index(b"</r:RDF>")
    assert after.startswith(before[:at])
    assert after.endswith(before[at:])
    assert b'rdf:about="uuid:7 &lt; 8"' in after[at:]
    assert source_types(after) == [ENHANCED]
    assert with_source_type(after, ENHANCED) == after


@pytest.mark.parametrize(
    ("attributes", "inside"),
    [
        ('dc:source="a" e:DigitalSourceType = "TERM"', ""),
        ("e:DigitalSourceType='TERM' dc:source='>'", "<dc:title/>"),
        ("", "<e:DigitalSourceType>TERM</e:DigitalSourceType>"),
        ("", "<dc:title/><e:DigitalSourceType >TERM</e:DigitalSourceType ><dc:source/>"),
        ("", '<e:DigitalSourceType r:resource="TERM"/>'),
        ("", '<e:DigitalSourceType r:resource="TERM"></e:DigitalSourceType>'),
        ('e:DigitalSourceType="TERM"', "<e:DigitalSourceType>TERM</e:DigitalSourceType>"),
    ],
)
def test_a_stated_term_is_replaced_only_by_a_stronger_one(attributes: str, inside: str) -> None:
    def stating(term: str) -> bytes:
        return packet(attributes.replace("TERM", term), inside.replace("TERM", term))

    assert set(source_types(stating(TERMS + "print"))) == {TERMS + "print"}
    assert with_source_type(stating(TERMS + "print"), ENHANCED) == stating(ENHANCED)
    assert with_source_type(stating(ENHANCED), COMPOSITE) == stating(COMPOSITE)
    for stronger in (COMPOSITE, TERMS + "trainedAlgorithmicMedia", "digsrctype:compositeSynthetic"):
        assert with_source_type(stating(stronger), ENHANCED) == stating(stronger)


def test_the_property_of_something_else_in_the_packet_is_not_the_pictures() -> None:
    nested = '<dc:source r:parseType="Resource"><e:DigitalSourceType>other</e:DigitalSourceType></dc:source>'
    after = with_source_type(packet(inside=nested), ENHANCED)
    assert nested.encode() in after
    assert source_types(after) == [ENHANCED]


def test_an_empty_rdf_element_is_opened() -> None:
    before = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" />'
    after = with_source_type(before, ENHANCED)
    assert after.endswith(b"</rdf:RDF>")
    assert source_types(after) == [ENHANCED]


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + packet()
MALFORMED = [
    b"",
    b"<x/>",
    packet()[:-40],
    packet() + b"<",
    packet().decode().encode("utf-16"),
    BOMB,
    b"\xff" + packet(),
]


@pytest.mark.parametrize("broken", MALFORMED)
def test_malformed_packets_are_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        with_source_type(broken, ENHANCED)


@given(st.integers(0, len(packet())), st.binary(max_size=6))
def test_a_damaged_packet_is_refused_or_keeps_its_bytes(at: int, noise: bytes) -> None:
    damaged = packet()[:at] + noise + packet()[at + len(noise) :]
    try:
        after = with_source_type(damaged, COMPOSITE)
    except ValueError:
        return
    assert set(source_types(after)) == {COMPOSITE}


def test_every_task_that_changes_a_picture_has_a_term() -> None:
    assert set(SOURCE_TYPES) == {task.id for task in TASKS.values() if task.gives in ("patch", "picture")}


def write(path: Path, repairs: list[Repair], xmp: bytes | None, *, changes: bool = True, **more: Any) -> list[str]:
    """Write a repaired picture; returns the notices."""
    raster = noise_raster(40, 60, dtype=np.uint8)
    after = raster.pixels.copy()
    after[3, 5] ^= changes
    result = Raster(after, metadata=Metadata(xmp=xmp))
    return list(
        write_result(result, Output(path, **more), scan=raster.pixels, source=None, repairs=repairs, command="test")
    )


def stated(path: Path) -> list[str]:
    xmp = imageio.read(path).metadata.xmp
    return source_types(xmp) if xmp else []


def recorded(path: Path) -> str | None:
    term: str | None = json.loads(record_path(path).read_text())["digital_source_type"]
    return term


@pytest.mark.parametrize("suffix", imageio.WRITABLE)
@pytest.mark.parametrize("xmp", [None, packet()])
@pytest.mark.parametrize(
    ("repairs", "term"),
    [([HEAL], COMPOSITE), ([CLEAN], ENHANCED), ([CLEAN, HEAL], COMPOSITE), ([DETECT], None), ([], None)],
)
def test_every_format_says_it(
    tmp_path: Path, suffix: str, xmp: bytes | None, repairs: list[Repair], term: str | None
) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, repairs, xmp)
    assert stated(path) == [term] * bool(term)
    assert recorded(path) == term
    if term is None:
        assert imageio.read(path).metadata.xmp == xmp
    write(path, repairs, xmp, record=False)
    assert stated(path) == [term] * bool(term)


def test_nothing_is_said_when_nothing_was_changed(tmp_path: Path) -> None:
    path, before = tmp_path / "out.png", packet(f'e:DigitalSourceType="{TERMS}print"')
    write(path, [HEAL], before, changes=False)
    assert (recorded(path), imageio.read(path).metadata.xmp) == (None, before)


def test_the_stronger_term_of_the_scan_is_recorded(tmp_path: Path) -> None:
    path, strongest = tmp_path / "out.png", TERMS + "trainedAlgorithmicMedia"
    write(path, [HEAL], packet(f'e:DigitalSourceType="{strongest}"'))
    assert (recorded(path), stated(path)) == (strongest, [strongest])


@pytest.mark.parametrize("broken", MALFORMED[1:])
def test_malformed_metadata_of_the_scan_is_kept_and_told(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "out.png"
    (notice,) = write(path, [HEAL], broken)
    assert "XMP" in notice
    assert imageio.read(path).metadata.xmp == broken
    record = json.loads(record_path(path).read_text())
    assert (record["digital_source_type"], record["notices"]) == (COMPOSITE, [notice])


def test_a_packet_too_large_for_one_segment_of_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "out.jpg"
    write(path, [HEAL], usual("<dc:title>" + "Plate " * 30_000 + "</dc:title>"))
    assert stated(path) == [COMPOSITE]


def test_commands_say_what_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    imageio.write(noise_raster(80, 90, dtype=np.uint8), tmp_path / "scan.png")
    mask = np.zeros((80, 90), np.uint8)
    mask[20:24, 10:40] = 255
    imageio.write_mask(mask, tmp_path / "mask.png")
    assert cli.main(["heal", "scan.png", "-o", "healed.tif", "--mask", "mask.png"]) == 0
    assert cli.main(["convert", "healed.tif", "-o", "again.jpg"]) == 0
    assert cli.main(["convert", "scan.png", "-o", "plain.jpg"]) == 0
    said = [(recorded(tmp_path / name), stated(tmp_path / name)) for name in ("healed.tif", "again.jpg", "plain.jpg")]
    assert said == [(COMPOSITE, [COMPOSITE]), (None, [COMPOSITE]), (None, [])]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", imageio.WRITABLE)
@pytest.mark.parametrize("xmp", [None, usual()])
def test_exiftool_reads_it(tmp_path: Path, suffix: str, xmp: bytes | None) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, [HEAL], xmp)
    command = ["exiftool", "-j", "-n", "-G1", "-XMP:all", "-warning", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    assert told["XMP-iptcExt:DigitalSourceType"] == COMPOSITE
    assert "ExifTool:Warning" not in told
    if xmp:
        assert (told["XMP-dc:Source"], told["XMP-dc:Title"]) == ("Plate 12", "Männer & Frauen")
