"""TIFF directories (IFDs), which TIFF files and EXIF blocks consist of: reading, building, changing in place.

Tags are {number: (TIFF data type, value)}, with the value as little-endian bytes whatever the file's byte order.
Offsets in files are checked: entries that point outside the file are left out, and loops are detected.
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
"""A directory and its subdirectories, by the tag that points to each."""

_RESOLUTION = {Tag.X_RESOLUTION, Tag.Y_RESOLUTION, Tag.RESOLUTION_UNIT}

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
_DTYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 11: "f4"}
_DTYPES |= {12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
_RATIONALS = (5, 10)
_POINTERS = (13, 18)
_LARGEST_VALUE = 1 << 26
_MOST_TAGS = 4096


class BrokenDirectory(Exception):  # noqa: N818 - a state of a file, not an error of the program
    """There is no valid directory at an offset."""


@dataclass(frozen=True)
class Entry:
    """A directory entry: TIFF data type, number of values, and the position of the first one in the file."""

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
    """The tags that can be written: those of known types with complete values. Project files may hold invalid ones."""
    known = {tag: (kind, data) for tag, (kind, data) in tags.items() if kind in _DTYPES and kind not in _POINTERS}
    return {
        tag: (kind, data)
        for tag, (kind, data) in known.items()
        if 0 < tag < 1 << 16 and data and len(data) % size_of(kind) == 0
    }


class Structure:
    """A TIFF file, or a block with the same structure.

    Args:
        file: open for binary reading.
        size: its size in bytes.

    Attributes:
        has_damage: whether a value outside the file was found.

    Raises:
        BrokenDirectory: it has no TIFF header.
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
        """``struct.unpack`` in the file's byte order."""
        return struct.unpack(self.order + layout, data)

    def pack(self, layout: str, *values: int) -> bytes:
        """``struct.pack`` in the file's byte order."""
        return struct.pack(self.order + layout, *values)

    def directory(self, offset: int) -> tuple[dict[int, Entry], int]:
        """The entries of a directory whose values lie inside the file, and the position of the pointer to the next one.

        Raises:
            BrokenDirectory: there is no directory at this offset.
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
        """The offset stored at a pointer's position, that of the next directory; 0 at the end."""
        data = self._at(pointer, 8 if self.big else 4)
        whole = len(data) == (8 if self.big else 4)
        return self.unpack("Q" if self.big else "I", data)[0] if whole else 0

    def pointer(self, entries: dict[int, Entry], tag: int) -> int:
        """The offset of a subdirectory that a tag holds; 0, which is never valid, if it is absent or not an offset."""
        entry = entries.get(tag)
        layout = {LONG: "I", 13: "I", LONG8: "Q", 18: "Q"}.get(entry.kind) if entry and entry.count == 1 else None
        return self.unpack(layout, self.raw(entry))[0] if entry and layout else 0

    def below(self, entries: dict[int, Entry], tag: int) -> dict[int, Entry]:
        """The entries of the subdirectory that a tag points to; empty if there is none."""
        try:
            return self.directory(self.pointer(entries, tag))[0]
        except BrokenDirectory:
            return {}

    def raw(self, entry: Entry) -> bytes:
        """A value as stored in the file; empty if it is longer than 64 MiB."""
        return self._at(entry.position, entry.size) if entry.size <= _LARGEST_VALUE else b""

    def data(self, entry: Entry) -> bytes:
        """A value as little-endian bytes."""
        raw, unit = self.raw(entry), _DTYPES[entry.kind]
        return np.frombuffer(raw, ">" + unit).astype("<" + unit).tobytes() if self.order == ">" else raw

    def tags(self, entries: dict[int, Entry], leave_out: Iterable[int] = ()) -> Tags:
        """The values of entries, without pointers to subdirectories and empty values."""
        skip, room, tags = set(leave_out), _LARGEST_VALUE, Tags()
        for tag, entry in entries.items():
            # Many entries of a small file may point to the same long value: their sum is limited.
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
    """A tag's values as numbers, rationals as quotients; empty if it is absent."""
    if tag not in tags:
        return ()
    kind, data = tags[tag]
    values = np.frombuffer(data, "<" + _DTYPES[kind])
    if kind in _RATIONALS:
        pairs = values.reshape(-1, 2).tolist()
        return tuple(above / below if below else 0.0 for above, below in pairs)
    return tuple(values.tolist())


def number(tags: Tags, tag: int, default: int) -> int:
    """A tag's first value as an integer; ``default`` if it is absent or not finite."""
    values = numbers(tags, tag)
    return int(values[0]) if values and np.isfinite(values[0]) else default


def resolution_of(tags: Tags) -> Resolution | None:
    """Dots per inch from a TIFF or EXIF main directory; None if it is absent or without a unit."""
    x, y = numbers(tags, Tag.X_RESOLUTION), numbers(tags, Tag.Y_RESOLUTION)
    inch = {2: 1.0, 3: 2.54}.get(number(tags, Tag.RESOLUTION_UNIT, 2))
    if not x or not y or inch is None:
        return None
    return sensible_resolution(round(x[0] * inch, 6), round(y[0] * inch, 6))


def resolution_tags(resolution: Resolution) -> Tags:
    """The TIFF tags for a resolution in dots per inch."""

    def rational(value: float) -> tuple[int, bytes]:
        ratio = Fraction(value).limit_denominator(10_000)
        return RATIONAL, struct.pack("<II", ratio.numerator, ratio.denominator)

    inch = SHORT, struct.pack("<H", 2)
    x, y = rational(resolution.x), rational(resolution.y)
    return {Tag.X_RESOLUTION: x, Tag.Y_RESOLUTION: y, Tag.RESOLUTION_UNIT: inch}


def pack(branch: Branch, position: int, *, big: bool = False) -> bytes:
    """Serialise a directory with its values and subdirectories as little-endian bytes of even length.

    Args:
        branch: the directory.
        position: position of the bytes in the file, even.
        big: whether the file is a BigTIFF.
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
        """Whether it holds more than the resolution."""
        return bool(self.exif or self.gps or self.main.keys() - _RESOLUTION)

    def below(self) -> dict[int, Branch]:
        """The subdirectories of the main directory that are not empty."""
        exif: Branch = (self.exif, {Tag.INTEROP: (self.interop, {})} if self.interop else {})
        branches: dict[int, Branch] = {Tag.EXIF: exif, Tag.GPS: (self.gps, {})}
        return {tag: branch for tag, branch in branches.items() if branch[0] or branch[1]}

    def block(self) -> bytes:
        """The EXIF block, with a TIFF header."""
        return b"II*\0\x08\0\0\0" + pack((self.main, self.below()), 8)


def read_exif(structure: Structure, entries: dict[int, Entry], leave_out: Iterable[int] = ()) -> Exif:
    """The EXIF directories of a main directory; broken ones are empty."""
    exif = structure.below(entries, Tag.EXIF)
    return Exif(
        structure.tags(entries, {Tag.EXIF, Tag.GPS, *leave_out}),
        structure.tags(exif, {Tag.INTEROP}),
        structure.tags(structure.below(entries, Tag.GPS)),
        structure.tags(structure.below(exif, Tag.INTEROP)),
    )


def parse(block: bytes) -> Exif | None:
    """Parse an EXIF block; None if it is not valid."""
    try:
        structure = Structure(BytesIO(block), len(block))
        return read_exif(structure, structure.directory(structure.first)[0])
    except BrokenDirectory:
        return None


def orientation(block: bytes) -> int:
    """The orientation in an EXIF block; 1 if there is none."""
    exif = parse(block)
    return number(exif.main, Tag.ORIENTATION, 1) if exif else 1


def normalise_exif(block: bytes, width: int, height: int, resolution: Resolution | None) -> bytes:
    """Change an EXIF block to that of an upright picture of a given size.

    The orientation is set to 1; pixel sizes and resolution, where the block has them, are set to the picture's; the
    thumbnail, which shows the unrepaired picture, is removed. All other bytes keep their position, so that maker notes
    with internal offsets stay readable.

    Raises:
        BrokenDirectory: the block is not valid.
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
    """An EXIF block that has a resolution; rebuilt with it if it had none."""
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
    # A thumbnail at the end of the block is cut off; elsewhere its bytes stay, but nothing points to them.
    if following < start and 0 < len(patched) - (start + size) + 4 <= 8 and _extent(structure) <= following:
        del patched[following:]
    return bytes(patched)


def _extent(structure: Structure) -> int:
    """The end of the last value of the main, EXIF, GPS and interoperability directories."""
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
