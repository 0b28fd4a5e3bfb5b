"""ICC colour conversion: to the screen, to another profile, to model space and back. No other module converts."""

from __future__ import annotations

import platform
import struct
from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from engine.errors import SettingsError
from engine.raster import Floats, Pixels, contiguous, from_float, to_float, to_grey

LARGEST_PROFILE = 64 << 20
"""Bytes of the largest profile that is read from a file."""
_SPACES = {1: (b"GRAY", "gray"), 3: (b"RGB ", "rgb")}
_SRGB_CURVE = struct.pack(">4sIHHiiiii", b"para", 0, 3, 0, 157286, 62119, 3417, 5072, 2651)
"""The sRGB transfer curve (IEC 61966-2-1) as an ICC parametric curve of type 3, s15Fixed16."""


@cache
def srgb() -> bytes:
    """An sRGB profile."""
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


@cache
def for_rgb(profile: bytes | None) -> bytes:
    """The RGB profile for a picture that is written with three channels, also if it was grey or untagged.

    Args:
        profile: the picture's own, for RGB or grey; None = sRGB, or grey with the sRGB curve.

    Returns:
        An RGB profile: the picture's own, or for grey one in which three equal channels have the same colour.
    """
    if profile is None or profile[16:20] != b"GRAY":
        return profile or srgb()
    curve = next((data for signature, data in _tags(profile) if signature == b"kTRC"), None)
    made = _with_curve(srgb(), curve) if curve is not None else None
    return made or srgb()


@cache
def fits(profile: bytes, channels: int) -> bool:
    """Whether a profile can be read and is for pictures with this number of channels (1 or 3)."""
    if len(profile) < 132 or profile[36:40] != b"acsp" or profile[16:20] != _SPACES[channels][0]:
        return False
    try:
        _transform(np.zeros((1, 1, channels), np.uint8), profile, srgb(), "u1")
    except (ValueError, RuntimeError):
        return False
    return True


@cache
def description(profile: bytes | None) -> str:
    """The description in the profile, such as ``Adobe RGB (1998)``; ``untagged`` for None."""
    if profile is None:
        return "untagged"
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.getProfileDescription(opened).strip() or "unnamed profile"
    except (OSError, ValueError, ImageCms.PyCMSError):
        return "unreadable profile"


@cache
def looks_like_srgb(profile: bytes | None) -> bool:
    """Whether conversion from this profile to sRGB changes no channel by more than 1/255."""
    if profile is None or profile == srgb():
        return True
    if not fits(profile, 3):
        return False
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 3)
    shown = _transform(cube, profile, srgb(), "u1")
    return bool(np.abs(shown.astype(int) - cube).max() <= 1)


def system_monitor_profile() -> bytes | None:
    """The profile of the main screen. Only Windows reports it; elsewhere None, and the user must choose a file."""
    if platform.system() != "Windows":
        return None
    from PIL import ImageCms

    profile = ImageCms.get_display_profile()
    data = profile.tobytes() if profile is not None else None
    return data if data is not None and fits(data, 3) else None


def to_screen(pixels: Pixels, profile: bytes | None, monitor: bytes | None = None) -> NDArray[np.uint8]:
    """Convert pixels for the screen.

    Args:
        pixels: (h, w, 1 or 3) in the encoding of ``profile``.
        profile: the picture's profile; None = sRGB, or grey with the sRGB curve.
        monitor: the screen's profile; None = sRGB.

    Returns:
        (h, w, 3) uint8.
    """
    if looks_like_srgb(monitor) and (profile is None or (pixels.shape[2] == 3 and looks_like_srgb(profile))):
        shown = to_eight_bit(pixels)
        return np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown
    if profile is None and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return _transform(pixels, profile or srgb(), monitor or srgb(), "u1")


def to_eight_bit(pixels: Pixels) -> NDArray[np.uint8]:
    """Round to 8 bit without dithering, for the screen."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        import cv2

        scaled = cv2.convertScaleAbs(np.ascontiguousarray(pixels), alpha=1 / 257)
        return np.asarray(scaled, np.uint8).reshape(pixels.shape)
    return from_float(pixels, np.dtype(np.uint8))


def convert(pixels: Pixels, profile: bytes | None, target: bytes) -> Pixels:
    """Convert to another profile in the same sample type (relative colorimetric with black point compensation).

    Raises:
        SettingsError: the target cannot be converted to, or is not for RGB.
    """
    if not fits(target, 3):
        raise SettingsError("The chosen profile is not a readable RGB profile.", "colour.profile")
    source = profile
    if source is None:
        pixels, source = (np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels), srgb()
    try:
        return _transform(pixels, source, target, pixels.dtype.str[1:])
    except (ValueError, RuntimeError) as error:
        raise SettingsError(
            "The chosen profile cannot be converted to: {reason}.", "colour.profile", reason=error
        ) from error


class ModelSpace:
    """Model space: the scan's own primaries with the sRGB curve, three channels, float32.

    Values outside 0..1 are kept, so that converting to model space and back loses nothing. For a profile that does not
    consist of a matrix and curves (a scanner's lookup table, for example) values are not converted.

    Args:
        profile: the scan's ICC profile; None = sRGB.
        channels: 1 (repeated to three, averaged back) or 3.
    """

    def __init__(self, profile: bytes | None, channels: int) -> None:
        self._channels = channels
        self._scan = None if profile is None or looks_like_srgb(profile) else profile
        self._model = with_srgb_curve(self._scan) if self._scan else None

    def to_model(self, pixels: Pixels) -> Floats:
        """(h, w, channels) of any sample type -> (h, w, 3)."""
        values = to_float(pixels)
        if self._scan and self._model:
            values = _transform(values, self._scan, self._model, "f4")
        return np.repeat(values, 3, axis=2) if self._channels == 1 else values

    def from_model(self, values: Floats) -> Floats:
        """(h, w, 3) -> (h, w, channels) in the scan's encoding, not clipped."""
        if self._channels == 1:
            values = to_grey(values)
        if self._scan and self._model:
            return _transform(values, self._model, self._scan, "f4")
        return values


@cache
def with_srgb_curve(profile: bytes) -> bytes | None:
    """The profile with its curves replaced by sRGB's (ICC.1:2022, tags rTRC, gTRC, bTRC, kTRC); None without curves."""
    return _with_curve(profile, _SRGB_CURVE)


def _tags(profile: bytes) -> list[tuple[bytes, bytes]]:
    """Signature and data of each tag of a profile; empty where its tag table is truncated."""
    count = struct.unpack(">I", profile[128:132])[0]
    if len(profile) < 132 + 12 * count:
        return []
    entries = [struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i]) for i in range(count)]
    return [(signature, profile[offset : offset + size]) for signature, offset, size in entries]


def _with_curve(profile: bytes, curve: bytes) -> bytes | None:
    """A matrix or grey profile with all its curves replaced; None if it is neither."""
    signatures = [signature for signature, _ in _tags(profile)]
    curves = [signature for signature in signatures if signature in (b"rTRC", b"gTRC", b"bTRC", b"kTRC")]
    if len(curves) not in (1, 3) or any(name.startswith((b"A2B", b"B2A", b"D2B", b"B2D")) for name in signatures):
        return None
    start = (len(profile) + 3) // 4 * 4
    table = bytearray(profile[132 : 132 + 12 * len(signatures)])
    for i, signature in enumerate(signatures):
        if signature in curves:
            table[12 * i + 4 : 12 * i + 12] = struct.pack(">II", start, len(curve))
    body = (profile[:132] + bytes(table) + profile[132 + len(table) :]).ljust(start, b"\0") + curve
    # New size; version 4, because version 2 has no parametric curves; profile id of zeros = not computed.
    result = struct.pack(">I", len(body)) + body[4:8] + b"\x04\x00\x00\x00" + body[12:84] + bytes(16) + body[100:]
    return result if fits(result, len(curves)) else None


def _transform(pixels: Pixels, profile: bytes, target: bytes, dtype: str) -> Pixels:
    import imagecodecs

    flags = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    space = "gray" if profile[16:20] == b"GRAY" else "rgb"
    out_space = "gray" if target[16:20] == b"GRAY" else "rgb"
    result: Pixels = imagecodecs.cms_transform(
        contiguous(pixels[..., 0] if space == "gray" else pixels),
        profile,
        target,
        colorspace=space,
        outcolorspace=out_space,
        outdtype=dtype,
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=int(flags),
    )
    return result[..., None] if result.ndim == 2 else result
