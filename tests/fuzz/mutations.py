"""Mutations of valid files: of bytes anywhere, and of the structures of a format.

Every function takes a ``random.Random`` and the contents of a file, and returns changed contents. Mutations of
structures keep checksums and lengths valid, so that the code behind those checks is reached.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

Mutation = Callable[[Random, bytes], bytes]

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 257, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
NUMBERS += [1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]


# -- bytes ----------------------------------------------------------------------------------------------------------


def flip(random: Random, data: bytes) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def number(random: Random, data: bytes) -> bytes:
    """Replace a number of 1, 2, 4 or 8 bytes, more often near the beginning or the end."""
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    if len(data) < size:
        return data
    at = _place(random, len(data) - size + 1)
    value = random.choice(NUMBERS) if random.random() < 0.7 else random.getrandbits(64)
    return data[:at] + (value % (1 << 8 * size)).to_bytes(size, order) + data[at + size :]


def cut(random: Random, data: bytes) -> bytes:
    """Remove a part, often the end."""
    if not data:
        return data
    start = random.randrange(len(data))
    stop = len(data) if random.random() < 0.4 else min(len(data), start + random.choice((1, 2, 4, 16, 300)))
    return data[:start] + data[stop:]


def repeat(random: Random, data: bytes) -> bytes:
    """Copy a part to another place."""
    if not data:
        return data
    start = random.randrange(len(data))
    part = data[start : start + random.choice((1, 4, 12, 64, 500))]
    at = random.choice((start, random.randrange(len(data) + 1)))
    return data[:at] + part * random.choice((1, 1, 2, 50)) + data[at:]


def fill(random: Random, data: bytes) -> bytes:
    """Overwrite a part with one repeated byte or with noise."""
    if not data:
        return data
    at, size = random.randrange(len(data)), random.choice((1, 4, 32, 256))
    new = random.randbytes(size) if random.random() < 0.5 else bytes([random.choice((0, 255, 32, 127))]) * size
    return data[:at] + new + data[at + size :]


BYTES: tuple[Mutation, ...] = (flip, number, number, cut, repeat, fill)


def any_bytes(random: Random, data: bytes) -> bytes:
    """One to three mutations of bytes."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(BYTES)(random, data)
    return data


def _place(random: Random, length: int) -> int:
    if random.random() < 0.5:
        return random.randrange(length)
    near = min(length, 512)
    return random.randrange(near) if random.random() < 0.7 else length - 1 - random.randrange(near)


# -- pictures -------------------------------------------------------------------------------------------------------

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(random: Random, data: bytes) -> bytes:
    """Mutate PNG chunks, with valid lengths and checksums; compressed data is mutated after decompression."""
    if random.random() < 0.15:
        return any_bytes(random, data)
    chunks = list(_chunks(data))
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(chunks))
        kind, body = chunks[at]
        act = random.random()
        if act < 0.1:
            del chunks[at]
            chunks = chunks or [(kind, body)]
        elif act < 0.2:
            chunks.insert(random.randrange(len(chunks) + 1), (kind, body))
        elif act < 0.3:
            chunks[at] = (random.choice(_KINDS), body)
        else:
            chunks[at] = (kind, _packed(random, kind, body))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


_KINDS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"pHYs", b"acTL")


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_SIGNATURE)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _packed(random: Random, kind: bytes, body: bytes) -> bytes:
    start = body.find(b"\0\0") + 2 if kind in (b"iCCP", b"zTXt") else 0
    if kind not in (b"IDAT", b"iCCP", b"zTXt") or random.random() < 0.3:
        return (tiff if kind == b"eXIf" else any_bytes)(random, body)
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(body[start:])
    except zlib.error:
        return any_bytes(random, body)
    changed = icc(random, plain) if kind == b"iCCP" else any_bytes(random, plain)
    return body[:start] + zlib.compress(changed, 1)


def tiff(random: Random, data: bytes) -> bytes:
    """Mutate the fields of TIFF directories."""
    places = list(_entries(data))
    if not places or random.random() < 0.2:
        return any_bytes(random, data)
    changed = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.choice(places)
        layout, offset, limit = random.choice((("H", 0, 16), ("H", 2, 16), ("I", 4, 32), ("I", 8, 32), ("H", 8, 16)))
        field = random.choice((random.choice(NUMBERS), random.getrandbits(32), random.randrange(len(data))))
        if layout == "H" and offset == 2:
            field = random.choice((*range(19), 0, 255))
        struct.pack_into(order + layout, changed, at + offset, field % (1 << limit))
    return bytes(changed) if random.random() < 0.8 else any_bytes(random, bytes(changed))


def _entries(data: bytes) -> list[int]:
    """Positions of the entries of the directories of a classic TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8 or struct.unpack_from(order + "H", data, 2)[0] != 42:
        return []
    found: list[int] = []
    todo, seen = [struct.unpack_from(order + "I", data, 4)[0]], set[int]()
    while todo:
        offset = todo.pop()
        if offset in seen or offset + 2 > len(data):
            continue
        seen.add(offset)
        count = struct.unpack_from(order + "H", data, offset)[0]
        for at in range(offset + 2, min(offset + 2 + 12 * count, len(data) - 12), 12):
            found.append(at)
            tag, value = struct.unpack_from(order + "H6xI", data, at)
            if tag in (34665, 34853, 40965):
                todo.append(value)
        if offset + 6 + 12 * count <= len(data):
            todo.append(struct.unpack_from(order + "I", data, offset + 2 + 12 * count)[0])
    return found


def jpeg(random: Random, data: bytes) -> bytes:
    """Mutate JPEG segments, with valid lengths; EXIF is mutated as a TIFF."""
    if random.random() < 0.3:
        return any_bytes(random, data)
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        segments.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    if not segments:
        return any_bytes(random, data)
    place = random.randrange(len(segments))
    marker, body = segments[place]
    act = random.random()
    if act < 0.1:
        del segments[place]
    elif act < 0.2:
        segments.insert(random.randrange(len(segments) + 1), (marker, body))
    elif body.startswith(b"Exif\0\0"):
        segments[place] = (marker, b"Exif\0\0" + tiff(random, body[6:]))
    elif body.startswith(b"ICC_PROFILE\0") and random.random() < 0.7:
        segments[place] = (marker, body[:14] + icc(random, body[14:]))
    else:
        segments[place] = (marker, any_bytes(random, body))
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(part) % 65534 + 2) + part[:65533] for kind, part in segments)
    return data[:2] + head + data[at:]


def webp(random: Random, data: bytes) -> bytes:
    """Mutate RIFF chunks, with valid lengths."""
    if random.random() < 0.3:
        return any_bytes(random, data)
    parts, at = [], 12
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    place = random.randrange(len(parts))
    kind, body = parts[place]
    act = random.random()
    if act < 0.1 and len(parts) > 1:
        del parts[place]
    elif act < 0.2:
        parts.insert(random.randrange(len(parts) + 1), (kind, body))
    else:
        change = {b"EXIF": tiff, b"ICCP": icc}.get(kind, any_bytes)
        parts[place] = (kind, change(random, body))
    body = b"".join(kind + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for kind, part in parts)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def icc(random: Random, data: bytes) -> bytes:
    """Mutate an ICC profile's tag table, the types of its data, or numbers in them."""
    if len(data) < 144 or random.random() < 0.2:
        return any_bytes(random, data)
    changed = bytearray(data)
    count = min(struct.unpack_from(">I", data, 128)[0], (len(data) - 132) // 12)
    for _ in range(random.choice((1, 1, 2, 4))):
        entry = 132 + 12 * random.randrange(max(1, count))
        offset = struct.unpack_from(">I", data, entry + 4)[0] if entry + 8 <= len(data) else 0
        act = random.random()
        if act < 0.3:
            value = random.choice((random.choice(NUMBERS), random.randrange(len(data))))
            struct.pack_into(">I", changed, entry + random.choice((0, 4, 8)), value % (1 << 32))
        elif act < 0.4:
            changed[random.randrange(128)] ^= 1 << random.randrange(8)
        elif act < 0.5:
            kind = random.choice((b"curv", b"para", b"XYZ ", b"mft1", b"mft2", b"mAB ", b"mluc", b"desc", b"A2B0"))
            at = random.choice((entry, offset if offset + 4 <= len(data) else entry))
            changed[at : at + 4] = kind
        elif offset + 8 < len(data):
            at = offset + random.randrange(min(64, len(data) - offset - 4))
            value = random.choice(NUMBERS) if random.random() < 0.5 else random.getrandbits(32)
            struct.pack_into(">I", changed, at, value % (1 << 32))
    struct.pack_into(">I", changed, 0, len(changed) if random.random() < 0.9 else random.getrandbits(32))
    return bytes(changed)


def picture(random: Random, data: bytes) -> bytes:
    """Mutate a picture of any format, recognised by its first bytes."""
    kinds: dict[bytes, Mutation] = {b"\x89P": png, b"II": tiff, b"MM": tiff, b"\xff\xd8": jpeg, b"RI": webp}
    return kinds.get(data[:2], any_bytes)(random, data)


# -- texts ----------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    rb'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z_][\w.-]*|[-+]?\d[\d.eE+_-]*|\n+|[ \t]+|[^\s\w]', re.DOTALL
)
_STRANGE = [
    *(
        b"0",
        b"-1",
        b"1",
        b"2",
        b"255",
        b"65536",
        b"1e400",
        b"-1e400",
        b"nan",
        b"NaN",
        b"inf",
        b"Infinity",
        b"0.5",
        b"-0",
    ),
    *(b"9007199254740993", b"9" * 30, b"1" + b"0" * 400, b"9" * 5000, b"0x" + b"f" * 5000, b"1e-400", b"3.5"),
    *(b"null", b"true", b"false", b"[]", b"{}", b'""', b'"x"', b"[[]]", b'{"a": 1}', b"[1, 2, 3]", b"{ a = 1 }"),
    *(b"[" * 20_000, b"[" * 500 + b"]" * 500, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"a." * 3000 + b"a", b"\n[a]\n"),
    *(b'"\\u0000"', b'"\\ud800"', b'"' + b"long" * 30_000 + b'"', b'"../../x"', b'"/etc/passwd"', b'"C:\\\\x"', b'"."'),
    *(
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\0",
        b'"',
        b"'",
        b"=",
        b",",
        b":",
        b"#",
        b"2020-01-01",
        b"12:00:00",
        b'"..\\\\x"',
    ),
]


def text(random: Random, data: bytes) -> bytes:
    """Mutate words, numbers, strings and brackets of JSON, TOML or XML."""
    tokens = _TOKEN.findall(data)
    words = [at for at, token in enumerate(tokens) if token.strip()]
    if not words or random.random() < 0.1:
        return any_bytes(random, data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at, act = random.choice(words), random.random()
        if act < 0.55:
            tokens[at] = random.choice(_STRANGE)
        elif act < 0.7:
            tokens[at] = b""
        elif act < 0.85:
            tokens[at] = tokens[random.choice(words)]
        else:
            stop = min(len(tokens), at + random.choice((2, 5, 20)))
            tokens[at:at] = tokens[at:stop] * random.choice((1, 1, 30))
            words = [at for at, token in enumerate(tokens) if token.strip()]
    return b"".join(tokens)


# -- archives -------------------------------------------------------------------------------------------------------


def by_name(name: str) -> Mutation:
    """The mutation for a file of this name."""
    kinds: dict[str, Mutation] = {"png": png, "json": text, "xml": text, "toml": text, "icc": icc, "exif": tiff}
    return kinds.get(name.rsplit(".", 1)[-1].rsplit("/", 1)[-1], any_bytes)


def unzipped(data: bytes) -> dict[str, bytes]:
    """The members of a ZIP archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes]) -> bytes:
    """A ZIP archive of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def archive(random: Random, data: bytes) -> bytes:
    """Mutate a ZIP archive: members are mutated by their type, removed, swapped or renamed."""
    if random.random() < 0.1:
        return any_bytes(random, data)
    members = unzipped(data)
    for _ in range(random.choice((1, 1, 2))):
        name, act = random.choice(list(members)), random.random()
        if act < 0.07:
            del members[name]
        elif act < 0.12:
            members[name] = members[random.choice(list(members))]
        elif act < 0.15:
            strange = random.choice(("../x", "/x", "a/../../x", "C:/x", "x" * 300, "mimetype", "\u0130", "lacuna/"))
            members[strange] = members.pop(name)
        else:
            members[name] = by_name(name)(random, members[name])
    return zipped(members)
