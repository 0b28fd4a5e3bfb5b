"""Profiles, the screen and model space."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from engine import colour
from engine.errors import SettingsError
from engine.raster import from_float

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
SRGB = bytes(imagecodecs.cms_profile("srgb"))
GREY = bytes(imagecodecs.cms_profile("gray", gamma=2.2))


def noise(channels: int = 3, dtype: type = np.uint16) -> np.ndarray:
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(2).integers(0, top, (40, 50, channels), dtype, endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, top
    pixels[0, 2] = (0, top, 0)[:channels]
    return pixels


def test_profiles_are_recognised() -> None:
    assert colour.fits(ADOBE, 3)
    assert not colour.fits(ADOBE, 1)
    assert colour.fits(GREY, 1)
    assert not colour.fits(b"", 3)
    assert not colour.fits(ADOBE[:300], 3)
    assert not colour.fits(b"x" * 400, 3)
    assert colour.looks_like_srgb(None)
    assert colour.looks_like_srgb(SRGB)
    assert not colour.looks_like_srgb(ADOBE)
    assert colour.description(None) == "untagged"
    assert "Adobe" in colour.description(ADOBE)
    assert colour.description(b"rubbish") == "unreadable profile"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("profile", [None, SRGB, ADOBE])
def test_model_space_holds_the_whole_gamut(dtype: type, profile: bytes | None) -> None:
    pixels = noise(dtype=dtype)
    space = colour.ModelSpace(profile, 3)
    values = space.to_model(pixels)
    assert values.dtype == np.float32
    assert values.min() >= -1e-4
    assert values.max() <= 1 + 1e-4
    assert np.array_equal(from_float(space.from_model(values), pixels.dtype), pixels)


def test_model_space_has_the_srgb_curve_and_the_scans_primaries() -> None:
    pixels = noise()
    linear = (pixels / 65535) ** (563 / 256)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(colour.ModelSpace(ADOBE, 3).to_model(pixels) - expected).max() < 1e-4


@pytest.mark.parametrize("profile", [None, GREY])
def test_grey_scans_stay_grey(profile: bytes | None) -> None:
    pixels = noise(1)
    space = colour.ModelSpace(profile, 1)
    values = space.to_model(pixels)
    assert values.shape == (40, 50, 3)
    assert np.array_equal(from_float(space.from_model(values), pixels.dtype), pixels)


def test_values_with_a_table_profile_are_not_converted_to_model_space() -> None:
    table = ADOBE.replace(b"rTRC", b"A2B0")
    assert colour.with_srgb_curve(table) is None
    pixels = noise()
    space = colour.ModelSpace(table, 3)
    assert np.array_equal(from_float(space.from_model(space.to_model(pixels)), pixels.dtype), pixels)


def test_the_screen_gets_srgb() -> None:
    plain = noise()
    assert np.array_equal(colour.to_screen(plain, None), np.rint(plain / 257).astype(np.uint8))
    shown = colour.to_screen(np.full((2, 2, 3), (30000, 50000, 30000), np.uint16), ADOBE)
    assert shown[0, 0, 0] < 30000 / 257 - 10
    grey = colour.to_screen(noise(1), None)
    assert grey.shape == (40, 50, 3)
    assert (grey[..., 0] == grey[..., 2]).all()
    assert colour.to_screen(noise(1), GREY).shape == (40, 50, 3)
    on_adobe = colour.to_screen(plain, ADOBE, ADOBE)
    assert np.abs(on_adobe.astype(int) - np.rint(plain / 257)).max() <= 1


def test_conversion_keeps_the_type_and_refuses_rubbish() -> None:
    pixels = noise()
    there = colour.convert(pixels // 2 + 16000, None, ADOBE)
    assert there.dtype == np.uint16
    back = colour.convert(there, ADOBE, SRGB)
    assert np.abs(back.astype(int) - (pixels // 2 + 16000)).max() < 300
    assert colour.convert(noise(1), None, ADOBE).shape == (40, 50, 3)
    with pytest.raises(SettingsError):
        colour.convert(pixels, None, b"rubbish")
    with pytest.raises(SettingsError):
        colour.convert(pixels, None, GREY)
