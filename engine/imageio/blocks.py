"""Metadata blocks: Photoshop image resources with IPTC, XMP packets, and PNG raw profile texts."""

from __future__ import annotations

import re
import struct

from engine.raster import Resolution

_RESOLUTION, _IPTC, _OLD_THUMBNAIL, _THUMBNAIL, _PROFILE, _EXIF, _XMP = 1005, 1028, 1033, 1036, 1039, 1058, 1060
_STALE = {_IPTC, _OLD_THUMBNAIL, _THUMBNAIL, _PROFILE, _EXIF, _XMP}
"""Photoshop resources that are not kept: rewritten, stored elsewhere too, or thumbnails of the unrepaired picture."""

Resource = tuple[bytes, int, bytes, bytes]
"""Signature, number, padded name, data."""

_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>)\s*)[2-8](?=\s*[\"'<])")
_RDF = re.compile(rb"<rdf:RDF\b([^>]*)>(.*)</rdf:RDF\s*>", re.DOTALL)
_EXTENDED = re.compile(rb"\s*xmpNote:HasExtendedXMP\s*=\s*[\"']([0-9A-Fa-f]{32})[\"']")


def resources(data: bytes) -> list[Resource]:
    """Parse the resources of a Photoshop block, up to the first broken one."""
    found: list[Resource] = []
    at = 0
    while at + 12 <= len(data) and data[at : at + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
        name_end = at + 6 + (data[at + 6] + 2) // 2 * 2
        if name_end + 4 > len(data):
            break
        size = struct.unpack_from(">I", data, name_end)[0]
        body = data[name_end + 4 : name_end + 4 + size]
        if len(body) < size:
            break
        found.append((data[at : at + 4], struct.unpack_from(">H", data, at + 4)[0], data[at + 6 : name_end], body))
        at = name_end + 4 + (size + 1) // 2 * 2
    return found


def split_resources(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The resources of a Photoshop block that are kept, as a block, and its IPTC records; None for either if absent."""
    every = resources(data)
    iptc = next((body for _, number, _, body in every if number == _IPTC and body), None)
    return _block([resource for resource in every if resource[1] not in _STALE]) or None, iptc


def join_resources(kept: bytes | None, iptc: bytes | None, resolution: Resolution | None) -> bytes:
    """A Photoshop block of kept resources and IPTC records; a resolution resource is set to the picture's."""
    found = [
        (signature, number, name, _with_resolution(number, body, resolution))
        for signature, number, name, body in resources(kept or b"")
    ]
    if iptc:
        found.append((b"8BIM", _IPTC, b"\0\0", iptc))
    return _block(found)


def records(data: bytes) -> bytes:
    """IPTC records without the zero padding of TIFF; unchanged if anything else follows them."""
    at = 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        size = struct.unpack_from(">H", data, at + 3)[0]
        extra = size & 0x7FFF if size & 0x8000 else 0
        at += 5 + extra + (int.from_bytes(data[at + 5 : at + 5 + extra], "big") if extra else size)
    return data if data[at:].strip(b"\0") else data[:at]


def upright_xmp(packet: bytes) -> bytes:
    """An XMP packet with its orientation set to 1, upright."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)


def extension_id(packet: bytes) -> bytes | None:
    """The identifier (MD5) of the extension that an XMP packet in a JPEG refers to; None without one."""
    match = _EXTENDED.search(packet)
    return match.group(1).upper() if match else None


def merge_xmp(packet: bytes, extension: bytes) -> bytes | None:
    """Merge a JPEG's XMP packet with its extension; None if that is not possible."""
    packet = _EXTENDED.sub(b"", packet)
    inner, outer = _RDF.search(packet), _RDF.search(extension)
    # Namespace prefixes declared on the root element would be lost.
    if not inner or not outer or re.search(rb"xmlns:(?!rdf\b)", inner.group(1)):
        return None
    return extension[: outer.end(2)] + inner.group(2) + extension[outer.end(2) :]


def pointer_packet(digest: bytes) -> bytes:
    """An XMP packet that contains only the reference to its extension."""
    return (
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"/></rdf:RDF></x:xmpmeta>'
        b'<?xpacket end="w"?>' % digest
    )


def to_text_profile(kind: str, data: bytes) -> bytes:
    """Encode bytes as the text of PNG's ``Raw profile type`` chunks: name, length, lines of hexadecimal digits."""
    digits = data.hex()
    lines = [digits[i : i + 72] for i in range(0, len(digits), 72)]
    return "\n".join(["", kind, f"{len(data):8}", *lines, ""]).encode("ascii")


def from_text_profile(text: bytes) -> bytes | None:
    """The inverse of ``to_text_profile``; None if the text is not valid."""
    match = re.match(rb"\n[^\n]*\n\s*(\d{1,9})\n([0-9a-fA-F\s]*)$", text)
    if not match:
        return None
    digits = b"".join(match.group(2).split())
    return bytes.fromhex(digits.decode("ascii")) if len(digits) == 2 * int(match.group(1)) else None


def _with_resolution(number: int, body: bytes, resolution: Resolution | None) -> bytes:
    if number != _RESOLUTION or len(body) != 16 or resolution is None or max(resolution.x, resolution.y) >= 1 << 15:
        return body
    x, y = (struct.pack(">I", round(value * 65536)) for value in (resolution.x, resolution.y))
    return x + body[4:8] + y + body[12:]


def _block(found: list[Resource]) -> bytes:
    return b"".join(
        signature + struct.pack(">H", number) + name + struct.pack(">I", len(body)) + body + b"\0" * (len(body) % 2)
        for signature, number, name, body in found
    )
