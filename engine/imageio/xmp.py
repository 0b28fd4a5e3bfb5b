"""The digital source type in an XMP packet: how a picture came about, in the terms of the IPTC.

Only the bytes of this property change; all others of a packet stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ENHANCED = _TERMS + "algorithmicallyEnhanced"
"""A picture that an algorithm changed without adding anything to it."""
COMPOSITE = _TERMS + "compositeWithTrainedAlgorithmicMedia"
"""A picture with parts that were made by a trained model."""

_RISING = (
    "algorithmicallyEnhanced",
    "algorithmicMedia",
    "compositeSynthetic",
    "compositeWithTrainedAlgorithmicMedia",
    "trainedAlgorithmicMedia",
)
"""Terms by how little of the picture a camera or scanner made, rising; all other terms come before them."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PROPERTY = f"{{{_EXT}}}DigitalSourceType"
_DESCRIPTION = (
    '<rdf:Description xmlns:rdf="%s" rdf:about=%s xmlns:Iptc4xmpExt="%s">'
    "<Iptc4xmpExt:DigitalSourceType>%s</Iptc4xmpExt:DigitalSourceType></rdf:Description>"
)
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="%s">%s</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_TAG = re.compile(rb"<(?P<name>[^\s<>/\"']+)(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>")
_RESOURCE = re.compile(rb"\s[^\s=\"':]+:resource\s*=\s*(?P<value>\"[^\"]*\"|'[^']*')")
_ATTRIBUTE = re.compile(rb"\s(?P<prefix>[^\s=\"':]+):DigitalSourceType\s*=\s*(?P<value>\"[^\"]*\"|'[^']*')")


def source_types(packet: bytes) -> list[str]:
    """The digital source types that a packet states, in its order; normally one or none.

    Raises:
        ValueError: it is not well-formed XMP.
    """
    return [place.value for place in _parse(packet).places]


def strongest(terms: Iterable[str]) -> str:
    """The term that leaves least of the picture to the camera or scanner; of equals the first."""
    return max(terms, key=_rank)


def with_source_type(packet: bytes | None, term: str) -> bytes:
    """A packet that states a digital source type, or a stronger one that it states already.

    Args:
        packet: the packet; None makes one that states nothing else.
        term: ``ENHANCED`` or ``COMPOSITE``.

    Raises:
        ValueError: the packet is not well-formed XMP in an encoding that extends ASCII.
    """
    if packet is None:
        return (_PACKET % (_RDF, _DESCRIPTION % (_RDF, '""', _EXT, term))).encode()
    found = _parse(packet)
    if found.places:
        stated = strongest([*(place.value for place in found.places), term])
        changes = [(place.start, place.end, stated) for place in found.places if place.value != stated]
    else:
        stated, changes = term, []
    grafted = packet
    for start, end, value in reversed(changes):
        grafted = grafted[:start] + value.encode("ascii", "xmlcharrefreplace") + grafted[end:]
    if not found.places:
        grafted = _with_description(packet, found, term)
    if set(source_types(grafted)) != {stated}:
        raise ValueError("the property cannot be set")
    return grafted


def _rank(term: str) -> int:
    """The place of a term among ``_RISING``; -1 for others. Terms are addresses or words after a colon."""
    name = re.split(r"[/:]", term)[-1]
    return _RISING.index(name) if name in _RISING else -1


def _with_description(packet: bytes, found: _Finder, term: str) -> bytes:
    """The packet with one more description at the end of its RDF. It declares its own prefixes, so none can clash."""
    # It brings Python's modules of the web along, and is rarely needed.
    from xml.sax.saxutils import quoteattr

    added = (_DESCRIPTION % (_RDF, quoteattr(found.about or ""), _EXT, term)).encode("ascii", "xmlcharrefreplace")
    tag = _tag_at(packet, found.rdf_start)
    if tag.group().endswith(b"/>"):
        return packet[: tag.end() - 2] + b">" + added + b"</" + tag.group("name") + b">" + packet[tag.end() :]
    return packet[: found.rdf_end] + added + packet[found.rdf_end :]


def _tag_at(packet: bytes, at: int) -> re.Match[bytes]:
    match = _TAG.match(packet, at)
    if match is None:
        raise ValueError("a tag has an unusual form")
    return match


@dataclass(frozen=True)
class _Place:
    """A value of the property, and the bytes to replace to change it."""

    start: int
    end: int
    value: str


class _Finder:
    """Target of the XML parser: finds the RDF element, and the values of the property directly in its descriptions.

    Attributes:
        places: values of the property.
        about: what the first description is about.
        rdf_start, rdf_end: bytes where the start tag and the end tag of the RDF element begin; -1 = there is none.
    """

    def __init__(self, packet: bytes) -> None:
        self.parser: Any = None
        self.places: list[_Place] = []
        self.about: str | None = None
        self.rdf_start = self.rdf_end = -1
        self._packet = packet
        self._depth = self._rdf_depth = 0
        self._prefixes: set[bytes] = set()
        self._begun = -1
        self._text: list[str] = []

    def start_ns(self, prefix: str, uri: str) -> None:
        if uri == _EXT:
            self._prefixes.add(prefix.encode())

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        at, inside = self.parser.parser.CurrentByteIndex, self._depth - self._rdf_depth
        self._depth += 1
        if self.rdf_start < 0:
            if tag == f"{{{_RDF}}}RDF":
                self.rdf_start, self._rdf_depth = at, self._depth
        elif self.rdf_end >= 0:
            return
        elif inside == 0 and tag == f"{{{_RDF}}}Description":
            if self.about is None:
                self.about = attributes.get(f"{{{_RDF}}}about", attributes.get("about", ""))
            if _PROPERTY in attributes:
                self._add_attribute(at, attributes[_PROPERTY])
        elif inside == 1 and tag == _PROPERTY:
            self._begun, self._text = at, [attributes.get(f"{{{_RDF}}}resource", "")]

    def data(self, text: str) -> None:
        if self._begun >= 0:
            self._text.append(text)

    def end(self, _tag: str) -> None:
        at, inside = self.parser.parser.CurrentByteIndex, self._depth - self._rdf_depth
        self._depth -= 1
        if self.rdf_start >= 0 and self.rdf_end < 0 and inside == 0:
            self.rdf_end = at
        elif self._begun >= 0 and inside == 2:
            self._add_element(at)
            self._begun = -1

    def close(self) -> None:
        """Called at the end of the packet."""

    def _add_attribute(self, at: int, value: str) -> None:
        tag = _tag_at(self._packet, at)
        for match in _ATTRIBUTE.finditer(tag.group()):
            if match.group("prefix") in self._prefixes:
                self._add(at, match.span("value"), value)
                return
        raise ValueError("a tag has an unusual form")

    def _add_element(self, end: int) -> None:
        value, tag = "".join(self._text), _tag_at(self._packet, self._begun)
        if resource := _RESOURCE.search(tag.group()):
            self._add(self._begun, resource.span("value"), value)
        elif tag.group().endswith(b"/>"):
            raise ValueError("a property has an unusual form")
        else:
            self.places.append(_Place(tag.end(), end, value.strip()))

    def _add(self, tag: int, quoted: tuple[int, int], value: str) -> None:
        """Add an attribute's value; ``quoted`` is its place in the tag, with the quotation marks."""
        self.places.append(_Place(tag + quoted[0] + 1, tag + quoted[1] - 1, value.strip()))


def _parse(packet: bytes) -> _Finder:
    """Raises ValueError: the packet is not well-formed, has no RDF, or is in an encoding that does not extend ASCII."""
    from defusedxml.ElementTree import DefusedXMLParser

    # TIFF writers pad packets with zeros.
    text = packet.rstrip(b"\0")
    if b"\0" in text:
        raise ValueError("its encoding does not extend ASCII")
    finder = _Finder(packet)
    parser = DefusedXMLParser(target=finder, forbid_dtd=True)
    finder.parser = parser
    try:
        parser.feed(text)
        parser.close()
    except (SyntaxError, LookupError) as error:
        raise ValueError(str(error)) from error
    finally:
        # They refer to each other.
        finder.parser = None
    if finder.rdf_start < 0:
        raise ValueError("it has no RDF")
    return finder
