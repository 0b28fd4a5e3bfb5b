"""Healing with the shipped model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest

from engine import masks
from engine.errors import DeviceError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArrayMask, ArraySource, mix
from engine.runtime.cards import Registry
from engine.runtime.session import Device, OutOfMemory, Session
from engine.tasks import HealSettings, Patch, TaskInput, run_task
from tests.conftest import noise_raster

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))


def job(
    pixels: np.ndarray, mask: np.ndarray, registry: Registry, profile: bytes | None = None, **settings: float
) -> TaskInput:
    return TaskInput(
        "heal",
        ArraySource(pixels),
        profile,
        ArrayMask(mask),
        HealSettings(**{"texture": 0, **settings}),
        registry.default("heal"),
        Device.CPU,
    )


def scratch(shape: tuple[int, ...], soft: bool = False) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    height, width = shape[:2]
    for i in range(min(height, width) - 20):
        mask[10 + i : 14 + i, 10 + i] = 255
    if soft:
        mask[mask > 0] = np.random.default_rng(0).integers(1, 255, (mask > 0).sum())
    return mask


@pytest.mark.parametrize("profile", [None, ADOBE])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_changes_outside_the_mask_and_the_fill_is_close_to_the_original(
    registry: Registry, profile: bytes | None, dtype: type, channels: int
) -> None:
    if profile is not None and channels == 1:
        profile = bytes(imagecodecs.cms_profile("gray", gamma=2.2))
    pixels = noise_raster(channels=channels, dtype=dtype).pixels
    mask = scratch(pixels.shape)
    damaged = np.where(mask[..., None] > 0, np.iinfo(dtype).max, pixels).astype(dtype)
    patch = run_task(job(damaged, mask, registry, profile))
    healed = patch.apply_to(damaged)
    assert healed.dtype == dtype
    assert np.array_equal(healed[mask == 0], damaged[mask == 0])
    error = np.abs(healed[mask > 0].astype(float) - pixels[mask > 0]) / np.iinfo(dtype).max
    assert error.mean() < 0.03
    assert patch.device is Device.CPU
    assert patch.changed == (mask > 0).sum()


@pytest.mark.parametrize(("grow", "feather"), [(0, 0), (3, 0), (0, 5), (2.5, 4)])
def test_nothing_changes_outside_the_grown_and_feathered_mask(registry: Registry, grow: float, feather: float) -> None:
    pixels = noise_raster().pixels
    mask = scratch(pixels.shape)
    result = run_task(job(pixels, mask, registry, grow=grow, feather=feather)).apply_to(pixels)
    reach = masks.feather(masks.grow(mask, grow), feather)
    assert np.array_equal(result[reach == 0], pixels[reach == 0])
    assert (result[reach > 0] != pixels[reach > 0]).any()


def test_a_soft_mask_blends_and_hides_every_pixel_above_0_from_the_model(registry: Registry) -> None:
    pixels = noise_raster().pixels
    mask = scratch(pixels.shape, soft=True)
    first = run_task(job(pixels, mask, registry))
    other = pixels.copy()
    other[mask > 0] = 65535
    second = run_task(job(other, mask, registry))
    for a, b in zip(first.pieces, second.pieces, strict=True):
        assert np.array_equal(a.weight, b.weight)
        assert np.array_equal(a.pixels[a.weight > 0], b.pixels[b.weight > 0])


def test_pieces_carry_the_pictures_own_pixels_where_nothing_is_healed(registry: Registry) -> None:
    pixels = noise_raster().pixels
    for piece in run_task(job(pixels, scratch(pixels.shape), registry)).pieces:
        own = pixels[piece.rect.slices()]
        assert np.array_equal(piece.pixels[piece.weight == 0], own[piece.weight == 0])


@pytest.mark.parametrize("shape", [(40, 40, 3), (33, 900, 3), (7, 5, 1), (1, 2, 3), (300, 2, 3)])
def test_pictures_of_any_size_are_healed(registry: Registry, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 65535, shape, np.uint16)
    mask = np.zeros(shape[:2], np.uint8)
    mask[: max(1, shape[0] // 2), : max(1, shape[1] // 2)] = 255
    healed = run_task(job(pixels, mask, registry)).apply_to(pixels)
    assert healed.shape == shape
    assert np.array_equal(healed[mask == 0], pixels[mask == 0])


def test_hard_parts_of_a_soft_mask_are_feathered_like_the_soft_ones(registry: Registry) -> None:
    pixels = noise_raster(400, 900).pixels
    mask = np.zeros((400, 900), np.uint8)
    mask[200:280, 200:280] = 255
    mask[30:60, 800:840] = 120
    patch = run_task(job(pixels, mask, registry, feather=30.0))
    weights = np.zeros_like(mask)
    for piece in patch.pieces:
        weights[piece.rect.slices()] = piece.weight
    assert np.array_equal(weights, masks.feather(mask, 30))


@pytest.mark.parametrize("shape", [(100, 120, 3), (1, 1, 3), (700, 800, 1)])
def test_a_completely_masked_picture_is_refused(registry: Registry, shape: tuple[int, int, int]) -> None:
    pixels = np.zeros(shape, np.uint16)
    with pytest.raises(SettingsError, match="Everything is masked"):
        run_task(job(pixels, np.full(shape[:2], 255, np.uint8), registry))


def test_the_middle_of_a_loss_wider_than_a_window_gets_the_colour_of_its_surroundings(registry: Registry) -> None:
    height, width = 360, 400
    y = np.arange(height)[:, None, None] / height
    pixels = np.broadcast_to((0.3 + 0.3 * y) * np.array([1.0, 0.8, 0.6]) * 65535, (height, width, 3)).astype(np.uint16)
    mask = np.zeros((height, width), np.uint8)
    mask[20:-20, 20:-20] = 255
    healed = run_task(with_windows(job(pixels, mask, registry), 192)).apply_to(pixels)
    difference = healed.astype(float) - pixels
    assert np.abs(difference).max() < 0.12 * 65535
    assert np.abs(difference).mean() < 0.03 * 65535


def test_a_long_stroke_over_many_windows_has_no_seams(registry: Registry) -> None:
    height, width = 200, 1500
    x = np.arange(width) / width
    pixels = (
        np.repeat((20000 + 20000 * np.sin(x * 6))[None, :, None], height, axis=0).repeat(3, axis=2).astype(np.uint16)
    )
    mask = np.zeros((height, width), np.uint8)
    mask[90:110, 20:1480] = 255
    patch = run_task(job(pixels, mask, registry))
    healed = patch.apply_to(pixels).astype(float)
    jumps = np.abs(np.diff(healed[100, 25:1475], axis=0)).max()
    assert jumps < 65535 * 0.01


def test_the_result_does_not_depend_on_what_lies_far_away(registry: Registry) -> None:
    pixels = noise_raster(800, 800).pixels
    mask = np.zeros((800, 800), np.uint8)
    mask[100:120, 100:130] = 255
    first = run_task(job(pixels, mask, registry)).apply_to(pixels)
    other = pixels.copy()
    other[600:, 600:] = 0
    second = run_task(job(other, mask, registry)).apply_to(other)
    assert np.array_equal(first[:400, :400], second[:400, :400])


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((300, 400), np.uint8), "empty"),
        (np.full((30, 40), 255, np.uint8), "40 x 30"),
    ],
)
def test_an_impossible_mask_is_refused(registry: Registry, mask: np.ndarray, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        run_task(job(noise_raster().pixels, mask, registry))


def test_settings_out_of_range_are_refused() -> None:
    for values in ({"grow": -1}, {"feather": 1000}):
        with pytest.raises(SettingsError):
            HealSettings(**values)


def test_progress_rises_to_one_and_cancel_stops(registry: Registry) -> None:
    pixels = noise_raster().pixels
    shares: list[float] = []
    run_task(job(pixels, scratch(pixels.shape), registry), JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    context = JobContext()
    context.cancel()
    with pytest.raises(Cancelled):
        run_task(job(pixels, scratch(pixels.shape), registry), context)


def with_windows(given: TaskInput, side: int) -> TaskInput:
    """The same input for a model with windows of at most this side."""
    tile = dataclasses.replace(given.card.tile, default=side)
    return dataclasses.replace(given, card=dataclasses.replace(given.card, tile=tile))


def out_of_memory_above(limit: int, run: Callable, tried: list[int] | None = None) -> Callable:
    """``Session.run`` on a device that runs out of memory above a window side; tried sides are appended to a list."""

    def limited(self: Session, inputs: dict[str, np.ndarray], context: JobContext) -> list[np.ndarray]:
        side = max(inputs["mask"].shape[2:])
        if tried is not None:
            tried.append(side)
        if side > limit:
            raise OutOfMemory("too large", "device.memory")
        return run(self, inputs, context)

    return limited


def test_when_memory_runs_out_the_windows_shrink(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise_raster().pixels
    mask = np.zeros((300, 400), np.uint8)
    mask[100:104, 60:330] = 255
    given = job(pixels, mask, registry)
    wanted = run_task(with_windows(given, 128)).apply_to(pixels)
    tried: list[int] = []
    monkeypatch.setattr(Session, "run", out_of_memory_above(200, Session.run, tried))
    healed = run_task(given).apply_to(pixels)
    # Attempts with 1024, 512 and 256 stop at the first window that is too large, and leave nothing in the result.
    assert sum(side > 200 for side in tried) == 3
    assert np.array_equal(healed, wanted)
    assert np.array_equal(healed[mask == 0], pixels[mask == 0])


def test_too_little_memory_for_any_window_is_an_error(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise_raster().pixels
    monkeypatch.setattr(Session, "run", out_of_memory_above(0, Session.run))
    with pytest.raises(DeviceError, match="memory"):
        run_task(job(pixels, scratch(pixels.shape), registry))


def test_mixing_is_exact_at_the_ends() -> None:
    random = np.random.default_rng(0)
    below, above = random.integers(0, 65535, (2, 30, 30, 3), np.uint16)
    weight = random.integers(0, 256, (30, 30)).astype(np.uint8)
    weight[:10], weight[10:20] = 0, 255
    mixed = mix(below, above, weight)
    assert np.array_equal(mixed[:10], below[:10])
    assert np.array_equal(mixed[10:20], above[10:20])
    exact = below + (above.astype(float) - below) * (weight / 255.0)[..., None]
    assert np.abs(mixed - exact).max() <= 0.51


def test_the_record_of_a_repair_names_everything(registry: Registry) -> None:
    pixels = noise_raster().pixels
    mask = np.zeros((300, 400), np.uint8)
    mask[100:104, 50:90] = 255
    task = job(pixels, mask, registry, feather=2)
    patch: Patch = run_task(task)
    repair = patch.repair(task)
    assert repair.model == "heal"
    assert repair.checksum == task.card.checksum
    assert repair.device == "cpu"
    assert repair.settings == {"grow": 0.0, "feather": 2, "texture": 0, "variation": 0.0}
    assert repair.boxes == ((48, 98, 92, 106),)
