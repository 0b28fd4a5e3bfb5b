"""TIFF directories, the structure that TIFF files and EXIF blocks share: reading, building, changing in place.

Tags are kept as {number: (TIFF data type, value)} with the value as little-endian bytes, whatever the file's order was.
Positions in files are never trusted: what points outside is left out, what runs in circles ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from typing import BinaryIO

import numpy as np

from engine.imageio.common import sensible_resolution
from engine.imageio.tags import Tag
from engine.raster import Resolution

Tags = dict[int, tuple[int, bytes]]
Branch = tuple[Tags, dict[int, "Branch"]]
"""A directory and the directories below it, by the tag that points to each."""

_RESOLUTION = {Tag.X_RESOLUTION, Tag.Y_RESOLUTION, Tag.RESOLUTION_UNIT}

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
_DTYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 11: "f4"}
_DTYPES |= {12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
_RATIONALS = (5, 10)
_POINTERS = (13, 18)
_LARGEST_VALUE = 1 << 26
_MOST_TAGS = 4096


class BrokenDirectory(Exception):  # noqa: N818 - a state of a file, not an error of the program
    """There is no directory where one should be."""


@dataclass(frozen=True)
class Entry:
    """Where a tag's value lies: TIFF data type, number of values, position of the first in the file."""

    kind: int
    count: int
    position: int

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return self.count * size_of(self.kind)


def size_of(kind: int) -> int:
    """Bytes of one value of a TIFF data type."""
    return np.dtype(_DTYPES[kind]).itemsize * (2 if kind in _RATIONALS else 1)


def valid_tags(tags: Tags) -> Tags:
    """The tags that can be written: known types, whole values. Project files may come from anywhere."""
    known = {tag: (kind, data) for tag, (kind, data) in tags.items() if kind in _DTYPES and kind not in _POINTERS}
    return {
        tag: (kind, data)
        for tag, (kind, data) in known.items()
        if 0 < tag < 1 << 16 and data and len(data) % size_of(kind) == 0
    }


class Structure:
    """A file or block that begins like a TIFF.

    Args:
        file: open for binary reading.
        size: its bytes.

    Attributes:
        has_damage: whether a value was met that does not lie inside the file.

    Raises:
        BrokenDirectory: it does not begin like a TIFF.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size = file, size
        self.has_damage = False
        head = self._at(0, 16)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        magic = struct.unpack(self.order + "H", head[2:4])[0] if self.order and len(head) >= 8 else 0
        self.big = magic == 43
        if magic not in (42, 43) or (self.big and (len(head) < 16 or self.unpack("HH", head[4:8]) != (8, 0))):
            raise BrokenDirectory
        self.first: int = self.unpack("Q", head[8:16])[0] if self.big else self.unpack("I", head[4:8])[0]

    def unpack(self, layout: str, data: bytes) -> tuple[int, ...]:
        """Numbers in the file's byte order."""
        return struct.unpack(self.order + layout, data)

    def pack(self, layout: str, *values: int) -> bytes:
        """Numbers in the file's byte order."""
        return struct.pack(self.order + layout, *values)

    def directory(self, offset: int) -> tuple[dict[int, Entry], int]:
        """The entries of a directory whose values lie inside the file, and the position of the pointer to the next one.

        Raises:
            BrokenDirectory: there is none at this offset.
        """
        head, step, word = (8, 20, 8) if self.big else (2, 12, 4)
        start = self._at(offset, head) if offset >= 8 else b""
        count = self.unpack("Q" if self.big else "H", start)[0] if len(start) == head else 0
        table = self._at(offset + head, count * step) if 0 < count <= _MOST_TAGS else b""
        if not table or len(table) != count * step:
            raise BrokenDirectory
        entries: dict[int, Entry] = {}
        for i in range(count):
            tag, kind, number, value = self.unpack("HHQQ" if self.big else "HHII", table[i * step : (i + 1) * step])
            if kind not in _DTYPES:
                continue
            position = offset + head + (i + 1) * step - word if number * size_of(kind) <= word else value
            entry = Entry(kind, number, position)
            if position + entry.size <= self.size:
                entries.setdefault(tag, entry)
            else:
                self.has_damage = True
        return entries, offset + head + count * step

    def following(self, pointer: int) -> int:
        """The offset that is stored at a pointer's position, 0 at the end."""
        data = self._at(pointer, 8 if self.big else 4)
        whole = len(data) == (8 if self.big else 4)
        return self.unpack("Q" if self.big else "I", data)[0] if whole else 0

    def pointer(self, entries: dict[int, Entry], tag: int) -> int:
        """The offset that a tag holds; 0, where no directory can be, when it is absent or no offset."""
        entry = entries.get(tag)
        layout = {LONG: "I", 13: "I", LONG8: "Q", 18: "Q"}.get(entry.kind) if entry and entry.count == 1 else None
        return self.unpack(layout, self.raw(entry))[0] if entry and layout else 0

    def below(self, entries: dict[int, Entry], tag: int) -> dict[int, Entry]:
        """The entries of the directory that a tag points to; none when there is none."""
        try:
            return self.directory(self.pointer(entries, tag))[0]
        except BrokenDirectory:
            return {}

    def raw(self, entry: Entry) -> bytes:
        """A value as it lies in the file; empty where it is absurdly long."""
        return self._at(entry.position, entry.size) if entry.size <= _LARGEST_VALUE else b""

    def data(self, entry: Entry) -> bytes:
        """A value as little-endian bytes."""
        raw, unit = self.raw(entry), _DTYPES[entry.kind]
        return np.frombuffer(raw, ">" + unit).astype("<" + unit).tobytes() if self.order == ">" else raw

    def tags(self, entries: dict[int, Entry], leave_out: Iterable[int] = ()) -> Tags:
        """The values of entries; pointers to further directories and empty values are left out."""
        skip, room, tags = set(leave_out), _LARGEST_VALUE, Tags()
        for tag, entry in entries.items():
            # Many entries may point to the same long stretch of a small file: what they add up to is bounded.
            if tag not in skip and entry.kind not in _POINTERS and 0 < entry.size <= room:
                tags[tag] = (entry.kind, self.data(entry))
                room -= entry.size
        return tags

    def _at(self, position: int, size: int) -> bytes:
        if position >= self.size:
            return b""
        self._file.seek(position)
        return self._file.read(size)


def numbers(tags: Tags, tag: int) -> tuple[float, ...]:
    """A tag's values as numbers, rationals divided out; empty when it is absent."""
    if tag not in tags:
        return ()
    kind, data = tags[tag]
    values = np.frombuffer(data, "<" + _DTYPES[kind])
    if kind in _RATIONALS:
        pairs = values.reshape(-1, 2).tolist()
        return tuple(above / below if below else 0.0 for above, below in pairs)
    return tuple(values.tolist())


def number(tags: Tags, tag: int, default: int) -> int:
    """A tag's first value as a whole number."""
    values = numbers(tags, tag)
    return int(values[0]) if values and np.isfinite(values[0]) else default


def resolution_of(tags: Tags) -> Resolution | None:
    """Dots per inch, from a TIFF or EXIF main directory; None where it names no unit of length."""
    x, y = numbers(tags, Tag.X_RESOLUTION), numbers(tags, Tag.Y_RESOLUTION)
    inch = {2: 1.0, 3: 2.54}.get(number(tags, Tag.RESOLUTION_UNIT, 2))
    if not x or not y or inch is None:
        return None
    return sensible_resolution(round(x[0] * inch, 6), round(y[0] * inch, 6))


def resolution_tags(resolution: Resolution) -> Tags:
    """The tags that say so."""

    def rational(value: float) -> tuple[int, bytes]:
        ratio = Fraction(value).limit_denominator(10_000)
        return RATIONAL, struct.pack("<II", ratio.numerator, ratio.denominator)

    inch = SHORT, struct.pack("<H", 2)
    x, y = rational(resolution.x), rational(resolution.y)
    return {Tag.X_RESOLUTION: x, Tag.Y_RESOLUTION: y, Tag.RESOLUTION_UNIT: inch}


def pack(branch: Branch, position: int, *, big: bool = False) -> bytes:
    """A directory, its values and the directories below it as little-endian bytes of even length.

    Args:
        branch: what to write.
        position: where the bytes will lie in the file, even.
        big: as BigTIFF.
    """
    tags, below = branch
    word, layout = (8, "<HHQ") if big else (4, "<HHI")
    names = sorted(tags.keys() | below.keys())
    table = bytearray(struct.pack("<Q" if big else "<H", len(names)))
    after = position + len(table) + len(names) * (20 if big else 12) + word
    tail = bytearray()
    for name in names:
        if name in below:
            kind, count, data = (LONG8 if big else LONG), 1, pack(below[name], after + len(tail), big=big)
        else:
            kind, data = tags[name]
            count = len(data) // size_of(kind)
        table += struct.pack(layout, name, kind, count)
        if name not in below and len(data) <= word:
            table += data.ljust(word, b"\0")
            continue
        table += struct.pack("<Q" if big else "<I", after + len(tail))
        tail += data + b"\0" * (len(data) % 2)
    return bytes(table + bytes(word) + tail)


@dataclass
class Exif:
    """The directories of an EXIF block, without thumbnail."""

    main: Tags = field(default_factory=dict)
    exif: Tags = field(default_factory=dict)
    gps: Tags = field(default_factory=dict)
    interop: Tags = field(default_factory=dict)

    @property
    def is_informative(self) -> bool:
        """Whether it says more than the resolution."""
        return bool(self.exif or self.gps or self.main.keys() - _RESOLUTION)

    def below(self) -> dict[int, Branch]:
        """The directories that the main one points to."""
        exif: Branch = (self.exif, {Tag.INTEROP: (self.interop, {})} if self.interop else {})
        branches: dict[int, Branch] = {Tag.EXIF: exif, Tag.GPS: (self.gps, {})}
        return {tag: branch for tag, branch in branches.items() if branch[0] or branch[1]}

    def block(self) -> bytes:
        """As a TIFF-structured block."""
        return b"II*\0\x08\0\0\0" + pack((self.main, self.below()), 8)


def read_exif(structure: Structure, entries: dict[int, Entry], leave_out: Iterable[int] = ()) -> Exif:
    """The EXIF directories that a main directory leads to; broken ones are empty."""
    exif = structure.below(entries, Tag.EXIF)
    return Exif(
        structure.tags(entries, {Tag.EXIF, Tag.GPS, *leave_out}),
        structure.tags(exif, {Tag.INTEROP}),
        structure.tags(structure.below(entries, Tag.GPS)),
        structure.tags(structure.below(exif, Tag.INTEROP)),
    )


def parse(block: bytes) -> Exif | None:
    """The directories of an EXIF block; None when it is none."""
    try:
        structure = Structure(BytesIO(block), len(block))
        return read_exif(structure, structure.directory(structure.first)[0])
    except BrokenDirectory:
        return None


def orientation(block: bytes) -> int:
    """The number that an EXIF block says, 1 where it says none."""
    exif = parse(block)
    return number(exif.main, Tag.ORIENTATION, 1) if exif else 1


def normalise_exif(block: bytes, width: int, height: int, resolution: Resolution | None) -> bytes:
    """An EXIF block for an upright picture of a given size.

    Orientation becomes 1, pixel sizes and resolution, where the block names them, become the picture's, and the
    thumbnail goes, since it shows the unrepaired picture. All else stays where it is, byte for byte, so that makers'
    notes with inner offsets stay readable.
    """
    structure = Structure(BytesIO(block), len(block))
    main, pointer = structure.directory(structure.first)
    patched = bytearray(block)

    def put(entry: Entry | None, value: int) -> None:
        if entry and entry.kind in (SHORT, LONG) and value < 1 << (16 if entry.kind == SHORT else 32):
            data = structure.pack("H" if entry.kind == SHORT else "I", value)
            patched[entry.position : entry.position + len(data)] = data

    put(main.get(Tag.ORIENTATION), 1)
    tags = structure.tags(main)
    exif = structure.below(main, Tag.EXIF)
    put(exif.get(Tag.PIXEL_WIDTH), width)
    put(exif.get(Tag.PIXEL_HEIGHT), height)
    if resolution and (old := resolution_of(tags)) and not nearly_equal(old, resolution):
        for tag, (_, data) in resolution_tags(resolution).items():
            values = struct.unpack(f"<{len(data) // 4}I", data) if tag != Tag.RESOLUTION_UNIT else ()
            if values and main[tag].kind == RATIONAL:
                patched[main[tag].position : main[tag].position + 8] = structure.pack("II", *values)
        put(main.get(Tag.RESOLUTION_UNIT), 2)
    return _without_thumbnail(structure, patched, pointer)


def nearly_equal(one: Resolution, other: Resolution) -> bool:
    """Whether two resolutions are the same up to rounding."""
    return abs(one.x - other.x) < 1e-4 * one.x and abs(one.y - other.y) < 1e-4 * one.y


def with_resolution(block: bytes | None, resolution: Resolution) -> bytes:
    """An EXIF block that says the resolution; rebuilt when there was no place for it."""
    exif = (parse(block) if block else None) or Exif()
    if block and resolution_of(exif.main):
        return block
    exif.main.update(resolution_tags(resolution))
    return exif.block()


def _without_thumbnail(structure: Structure, patched: bytearray, pointer: int) -> bytes:
    word = 8 if structure.big else 4
    following = structure.following(pointer)
    patched[pointer : pointer + word] = bytes(word)
    try:
        tags = structure.tags(structure.directory(following)[0])
    except BrokenDirectory:
        return bytes(patched)
    start, size = number(tags, Tag.THUMBNAIL, 0), number(tags, Tag.THUMBNAIL_SIZE, 0)
    # The thumbnail is cut off where it is the last thing in the block; elsewhere nothing leads to it any more.
    if following < start and 0 < len(patched) - (start + size) + 4 <= 8 and _extent(structure) <= following:
        del patched[following:]
    return bytes(patched)


def _extent(structure: Structure) -> int:
    """Where the last value of the main, EXIF, GPS and interoperability directories ends."""
    ends, todo, seen = [0], [structure.first], set[int]()
    while todo:
        offset = todo.pop()
        if offset in seen:
            continue
        seen.add(offset)
        try:
            entries, pointer = structure.directory(offset)
        except BrokenDirectory:
            continue
        ends += [pointer + (8 if structure.big else 4), *(entry.position + entry.size for entry in entries.values())]
        todo += [structure.pointer(entries, tag) for tag in (Tag.EXIF, Tag.GPS, Tag.INTEROP)]
    return max(ends)
