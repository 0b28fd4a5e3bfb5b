"""Texture synthesis: detail has the energy of its surroundings, and does not depend on the given area."""

from __future__ import annotations

import numpy as np
import pytest

from engine.raster import ArrayMask, ArraySource, Rect
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.tasks import HealSettings, Patch, TaskInput, run_task
from engine.tasks.texture import REACH, detail

WHOLE = Rect(0, 0, 320, 256)


def grainy(sigma: float, seed: int = 1) -> np.ndarray:
    """An even picture with white grain."""
    noise = np.random.default_rng(seed).normal(0, sigma, (WHOLE.height, WHOLE.width, 1))
    return np.asarray(0.5 + np.repeat(noise, 3, axis=2), np.float32)


def hole(*rect: int) -> np.ndarray:
    lost = np.zeros((WHOLE.height, WHOLE.width), bool)
    lost[Rect(*rect).slices()] = True
    return lost


def filled(picture: np.ndarray, lost: np.ndarray) -> np.ndarray:
    return np.where(lost[..., None], np.float32(0.5), picture)


@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_a_fill_gets_as_much_grain_as_is_around_it(sigma: float) -> None:
    lost = hole(100, 80, 180, 150)
    added = detail(filled(grainy(sigma), lost), lost, WHOLE, WHOLE)
    assert 0.7 * sigma < added[lost].std() < 1.1 * sigma
    assert abs(added[lost].mean()) < 0.1 * sigma
    assert not added[~lost].any()


def test_a_fill_in_smooth_surroundings_stays_smooth() -> None:
    picture = grainy(0.0)
    picture[:, 200:] = grainy(0.06)[:, 200:]
    lost = hole(60, 100, 120, 160)
    assert detail(filled(picture, lost), lost, WHOLE, WHOLE)[lost].std() < 0.004


def test_the_same_place_gets_the_same_detail_from_any_area() -> None:
    lost = hole(100, 80, 180, 150)
    picture = filled(grainy(0.04), lost)
    whole = detail(picture, lost, WHOLE, WHOLE)
    for part in (Rect(96, 64, 140, 130), Rect(131, 77, 187, 158)):
        area = part.grown(REACH) & WHOLE
        again = detail(picture[area.slices()], lost[area.slices()], area, part)
        assert np.allclose(again, whole[part.slices()], atol=1e-6)


def test_nothing_known_nearby_gives_no_detail() -> None:
    lost = np.ones((WHOLE.height, WHOLE.width), bool)
    assert not detail(grainy(0.0), lost, WHOLE, WHOLE).any()


def test_heal_puts_grain_in_and_leaves_everything_else() -> None:
    pixels = np.asarray(np.clip(np.rint(grainy(0.04) * 65535), 0, 65535), np.uint16)
    mask = np.where(hole(100, 80, 180, 150), np.uint8(255), np.uint8(0))
    result = {}
    for texture in (0.0, 0.5, 1.0):
        settings = HealSettings(texture=texture)
        job = TaskInput(
            "heal", ArraySource(pixels), None, ArrayMask(mask), settings, Registry().default("heal"), Device.CPU
        )
        patch: Patch = run_task(job)
        result[texture] = patch.apply_to(pixels)
        assert np.array_equal(result[texture][mask == 0], pixels[mask == 0])
    spread = {texture: np.diff(picture[90:140, 110:170, 1].astype(float)).std() for texture, picture in result.items()}
    assert spread[0.0] < 0.3 * spread[0.5] < 0.3 * spread[1.0]
    assert 0.6 < spread[1.0] / np.diff(pixels[..., 1].astype(float)).std() < 1.2
