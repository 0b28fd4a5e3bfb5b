"""Scores against known answers, and the classical peers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.train.measure import metrics, peers
from tests.train.scenes import scene

# -- metrics ------------------------------------------------------------------------------------------------------


def test_equal_pictures_score_best() -> None:
    picture = scene()
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[50:80, 50:90] = 255
    assert metrics.psnr(picture, picture) == metrics.psnr(picture, picture, mask) == 100
    assert metrics.ssim(picture, picture) == pytest.approx(1)
    assert metrics.ssim(picture, picture, mask) == pytest.approx(1)
    assert metrics.ms_ssim(picture, picture) == pytest.approx(1)
    assert metrics.structure(picture, picture) == pytest.approx(1, abs=1e-4)
    assert metrics.high_frequency_ratio(picture, picture, mask) == 1
    assert metrics.delta_e(picture, picture) == 0


def test_places_are_found_missed_or_wrongly_flagged() -> None:
    true, found = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    assert metrics.count_objects(found, true) == (0, 0, 0)
    true[10:20, 10:20] = true[40:44, 10:30] = true[10, 60] = 1
    found[12:20, 12:20] = found[40:44, 10:14] = found[30:34, 60:70] = 255
    # The first is found, of the second too little, the third is missed; the last find is wrong.
    assert metrics.count_objects(found, true) == (1, 2, 1)
    assert metrics.count_objects(true, true) == (3, 0, 0)


def test_psnr_of_a_known_error_counts_only_what_is_asked() -> None:
    picture = np.full((40, 50, 3), 100, np.uint8)
    other = picture.copy()
    other[10:20] += 10
    other[0] = 255
    mask = np.zeros((40, 50), np.uint8)
    mask[10:20] = 1
    assert metrics.psnr(other, picture, mask) == pytest.approx(20 * np.log10(255 / 10))
    assert metrics.psnr(other, picture) == pytest.approx(10 * np.log10(255**2 / ((10 * 100 + 155**2) / 40)))
    assert metrics.psnr(other, picture, np.zeros_like(mask)) == 100


def test_ssim_is_that_of_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    picture = scene()
    noisy = np.clip(picture + np.random.default_rng(1).normal(0, 15, picture.shape), 0, 255).astype(np.uint8)
    mean, full = structural_similarity(
        metrics.luma(picture).astype(np.float64),
        metrics.luma(noisy).astype(np.float64),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert metrics.ssim(picture, noisy) == pytest.approx(mean, abs=1e-4)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[60:90, 40:100] = 255
    assert metrics.ssim(picture, noisy, mask) == pytest.approx(full[mask > 0].mean(), abs=1e-4)


def test_ms_ssim_is_the_weighted_product_of_its_scales() -> None:
    picture = scene(192, 208)
    noisy = np.clip(picture + np.random.default_rng(2).normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    x, y = (metrics.luma(p).astype(np.float64) for p in (picture, noisy))
    distance = np.arange(-5, 6)
    window = np.exp(-(distance**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2

    def valid(values: np.ndarray) -> np.ndarray:
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(values, (11, 11)), window)

    product = 1.0
    for scale, weight in enumerate(metrics.SCALE_WEIGHTS):
        mx, my = valid(x), valid(y)
        vx, vy, vxy = valid(x * x) - mx**2, valid(y * y) - my**2, valid(x * y) - mx * my
        term = (2 * vxy + 58.5225) / (vx + vy + 58.5225)
        if scale == 4:
            term = term * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
        product *= term.mean() ** weight
        x, y = (v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean(axis=(1, 3)) if scale < 4 else v for v in (x, y))
    assert metrics.ms_ssim(picture, noisy) == pytest.approx(product, abs=1e-4)


@pytest.mark.parametrize("shape", [(7, 9), (11, 30), (45, 61), (180, 33)])
def test_small_pictures_have_scores_too(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(3).integers(0, 255, (*shape, 3), np.uint8)
    worse = 255 - picture
    assert metrics.ms_ssim(picture, picture) == pytest.approx(1)
    assert 0 <= metrics.ms_ssim(picture, worse) < 0.5
    assert metrics.ssim(picture, worse) < metrics.ssim(picture, picture) == pytest.approx(1)


def test_a_blurred_fill_lacks_detail_and_a_noisy_one_has_too_much() -> None:
    picture = scene()
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[40:160, 40:160] = 255
    random = np.random.default_rng(4)
    blurred = cv2.GaussianBlur(picture, (0, 0), 2)
    noisy = np.clip(picture + random.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    assert metrics.high_frequency_ratio(blurred, picture, mask) < 0.3
    assert metrics.high_frequency_ratio(noisy, picture, mask) > 1.5
    # Only the inside of the hole counts, not the step at its edge.
    flat = np.full_like(picture, 90)
    fill = np.where(mask[..., None] > 0, flat, np.uint8(255))
    assert metrics.high_frequency_ratio(fill, flat, mask) == 1
    thin = np.zeros_like(mask)
    thin[100, 20:180] = 255
    assert metrics.high_frequency_ratio(blurred, picture, thin) < 1


def test_colour_difference_of_known_pairs() -> None:
    grey = np.full((4, 4, 3), 119, np.uint8)
    assert metrics.delta_e(grey, grey + 1) == pytest.approx(0.38, abs=0.1)
    white, black = np.full((4, 4, 3), 255, np.uint8), np.zeros((4, 4, 3), np.uint8)
    assert metrics.delta_e(white, black) == pytest.approx(100, abs=0.5)


def test_structure_ignores_tone_and_sees_movement() -> None:
    picture = scene()
    faded = (80 + 0.5 * picture * np.array([1.0, 0.9, 0.8])).astype(np.uint8)
    gamma = (255 * (picture / 255) ** 1.8).astype(np.uint8)
    assert metrics.structure(picture, gamma) > 0.98
    assert metrics.structure(faded, picture) > 0.97
    assert metrics.structure(picture, np.roll(picture, 3, axis=1)) < 0.95
    assert metrics.structure(picture, cv2.GaussianBlur(picture, (0, 0), 2)) < 0.95


@pytest.mark.parametrize(("shift", "score"), [(1, 1.0), (2, 1.0), (3, 0.0)])
def test_detection_tolerates_two_pixels(shift: int, score: float) -> None:
    true = np.zeros((40, 40), np.uint8)
    true[20] = 255
    found = np.roll(true, shift, axis=0)
    assert metrics.detection_scores(found, true) == pytest.approx((score, score, score))


def test_detection_counts_what_is_missed_and_what_is_wrong() -> None:
    true, found, empty = (np.zeros((40, 40), np.uint8) for _ in range(3))
    true[10], true[30] = 255, 255
    found[10] = 255
    assert metrics.detection_scores(found, true) == pytest.approx((1.0, 0.5, 2 / 3))
    assert metrics.detection_scores(true, found) == pytest.approx((0.5, 1.0, 2 / 3))
    assert metrics.detection_scores(empty, empty) == (1, 1, 1)
    assert metrics.detection_scores(empty, true) == metrics.detection_scores(true, empty) == (0, 0, 0)


# -- peers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(peers.PEERS["heal"]))
def test_the_classical_fillings_fill_and_leave_the_rest_alone(name: str) -> None:
    picture = scene(40, 48)
    mask = np.zeros((40, 48), np.uint8)
    mask[18:22, 5:40] = 255
    damaged = np.where(mask[..., None] > 0, np.uint8(255), picture)
    filled = peers.PEERS["heal"][name](damaged, mask)
    assert filled.dtype == np.uint8
    assert np.abs(filled[mask == 0].astype(int) - picture[mask == 0]).max() <= 1
    assert metrics.psnr(filled, picture, mask) > metrics.psnr(damaged, picture, mask) + 5


def test_the_classical_cleaners_do_what_they_are_for() -> None:
    picture = cv2.GaussianBlur(scene(64, 64), (0, 0), 2)
    noisy = np.clip(picture + np.random.default_rng(5).normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    assert 9 < peers.noise_level(noisy) < 15  # the luma of three independent channels: 0.67 of their noise
    before = metrics.psnr(noisy, picture)
    assert metrics.psnr(peers.non_local_means(noisy), picture) > before + 3
    assert metrics.psnr(peers.bicubic(noisy), picture) > before + 2
    assert peers.unsharp_mask(picture).std() > picture.std()
    assert peers.untouched(picture) is picture
    for row in peers.PEERS["clean"].values():
        result = row(noisy, None)
        assert (result.shape, result.dtype) == (noisy.shape, np.uint8)


def test_the_classical_tone_corrections_undo_a_cast() -> None:
    picture = scene(64, 64)
    faded = (70 + picture * np.array([0.6, 0.5, 0.4])).astype(np.uint8)
    assert metrics.delta_e(peers.auto_levels(faded), picture) < 0.6 * metrics.delta_e(faded, picture)
    means = peers.grey_world(faded).mean(axis=(0, 1))
    assert np.ptp(means) < 3 < np.ptp(faded.mean(axis=(0, 1)))
    assert peers.auto_levels(np.full((8, 8, 3), 7, np.uint8)).max() <= 255


def test_the_top_hat_finds_a_scratch_and_nothing_on_a_plain() -> None:
    picture = np.full((60, 60, 3), 120, np.uint8)
    assert not peers.top_hat(picture).any()
    picture[30, 5:55] = 230
    true = (picture[..., 0] == 230).astype(np.uint8)
    assert metrics.detection_scores(peers.top_hat(picture), true)[2] > 0.9
