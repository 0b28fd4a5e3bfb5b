"""Heal with two-stage models: EdgeConnect, and a generator whose latent code is searched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ModelError, SettingsError
from engine.jobs import Cancelled, JobContext
from engine.raster import ArrayMask, ArraySource
from engine.runtime.cards import ModelCard, Registry
from engine.runtime.session import Device
from engine.tasks import HealSettings, Patch, TaskInput, draw_edges, make_settings, run_task, wants_edges
from tests import tiny_models
from tests.conftest import noise_raster

WHITE = 65535


def job(
    card: ModelCard, pixels: np.ndarray, mask: np.ndarray, guide: np.ndarray | None = None, **more: float
) -> TaskInput:
    drawn = ArrayMask(guide) if guide is not None else None
    settings = HealSettings(**{"texture": 0, **more})
    return TaskInput("heal", ArraySource(pixels), None, ArrayMask(mask), settings, card, Device.CPU, drawn)


def healed(
    card: ModelCard, pixels: np.ndarray, mask: np.ndarray, guide: np.ndarray | None = None, **more: float
) -> np.ndarray:
    patch: Patch = run_task(job(card, pixels, mask, guide, **more))
    result = patch.apply_to(pixels)
    assert np.array_equal(result[mask == 0], pixels[mask == 0])
    return result


def spot(shape: tuple[int, ...], top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    mask[top : top + side, left : left + side] = 255
    return mask


# -- along edges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_the_fill_follows_the_guide_and_only_inside_the_mask(tmp_path: Path, channels: int) -> None:
    card, pixels = tiny_models.edger(tmp_path), noise_raster(200, 300, channels).pixels
    mask = spot(pixels.shape, 50, 100, 20)
    own = healed(card, pixels, mask)
    assert (own[mask > 0] == 0).all()
    guide = np.zeros((200, 300), np.uint8)
    guide[60] = 255
    along = healed(card, pixels, mask, guide)
    assert (along[60, 100:120] == WHITE).all()
    changed = (along != own).any(axis=2)
    assert changed[60, 100:120].all()
    assert changed.sum() == 20


def test_a_thin_guide_survives_the_reduction(tmp_path: Path) -> None:
    card, pixels = tiny_models.edger(tmp_path), noise_raster(300, 300).pixels
    mask, guide = spot(pixels.shape, 50, 50, 200), np.zeros((300, 300), np.uint8)
    guide[150] = 255
    assert healed(card, pixels, mask, guide)[148:153, 150].max() > WHITE / 2


@pytest.mark.parametrize("side", [20, 200])
def test_a_guide_is_used_only_inside_its_own_mask(tmp_path: Path, side: int) -> None:
    """At full and reduced scale: other damage is filled along the model's own edges, which gives black here."""
    card, pixels = tiny_models.edger(tmp_path), noise_raster(300, 600).pixels
    first, second = spot(pixels.shape, 50, 50, side), spot(pixels.shape, 50, 350, side)
    whole = job(card, pixels, first | second, np.full((300, 600), 255, np.uint8))
    result = run_task(dataclasses.replace(whole, guided=ArrayMask(first))).apply_to(pixels)
    middle = 50 + side // 2
    assert (result[middle, middle] == WHITE).all()
    assert (result[middle, middle + 300] == 0).all()
    assert (result[second > 0] == 0).all()
    # The guide's mask is grown like the repair mask.
    grown = dataclasses.replace(whole, guided=ArrayMask(first), settings=HealSettings(grow=5, texture=0))
    assert (run_task(grown).apply_to(pixels)[47, middle] == WHITE).all()


def test_edges_are_drawn_around_the_damage_too(tmp_path: Path) -> None:
    card, pixels = tiny_models.edger(tmp_path), np.full((600, 700, 1), 5000, np.uint16)
    pixels[300:310] = WHITE
    mask = spot(pixels.shape, 290, 250, 40)
    marks = draw_edges(job(card, pixels, mask))
    drawn = marks.mask()
    assert drawn.shape == (600, 700)
    assert set(np.unique(drawn)) == {0, 255}
    assert not drawn[mask > 0].any()
    assert (drawn[300:310, 244:250] == 255).all()
    assert not drawn[:300].any()
    assert not drawn[:, :200].any()
    for rect, piece in marks.pieces:
        assert len(list(rect.cells())) == 1
        assert piece.any()
    # Lost pixels are those of the grown mask.
    grown = draw_edges(job(card, pixels, mask, grow=5)).mask()
    assert not grown[300:310, 245:250].any()
    assert np.array_equal(healed(card, pixels, mask, drawn), healed(card, pixels, mask))


def test_only_models_of_two_stages_draw_edges(tmp_path: Path, registry: Registry) -> None:
    card, pixels = registry.default("heal"), noise_raster(60, 60).pixels
    mask = spot(pixels.shape, 20, 20, 5)
    assert wants_edges(tiny_models.edger(tmp_path))
    assert not wants_edges(card)
    with pytest.raises(SettingsError, match="does not work along edges"):
        draw_edges(job(card, pixels, mask))
    with pytest.raises(SettingsError, match="does not work along edges"):
        run_task(job(card, pixels, mask, mask))
    with pytest.raises(SettingsError, match="edge map is 9 x 8 px"):
        run_task(job(tiny_models.edger(tmp_path), pixels, mask, np.zeros((8, 9), np.uint8)))


# -- the prior ----------------------------------------------------------------------------------------------------


def test_the_same_variation_gives_the_same_fill_and_another_another(tmp_path: Path) -> None:
    card, pixels = tiny_models.prior(tmp_path), noise_raster(150, 160).pixels
    mask = spot(pixels.shape, 60, 70, 12)
    first = healed(card, pixels, mask)
    assert np.array_equal(healed(card, pixels, mask), first)
    other = healed(card, pixels, mask, variation=3)
    assert not np.array_equal(other, first)
    assert np.array_equal(healed(card, pixels, mask, variation=3), other)


def test_a_prior_finds_a_picture_it_can_generate_and_matches_its_tone_at_the_rim(tmp_path: Path) -> None:
    """A picture that the generator can produce is found although it is a tenth darker."""
    from engine.runtime.session import SESSIONS

    card = tiny_models.prior(tmp_path)
    generator = SESSIONS.open(card, card.stages[1], Device.CPU)
    code = np.zeros((1, 64), np.float32)
    code[0, :8] = [0.6, -0.4, 0.8, -0.7, 0.3, 0.2, -0.5, 0.4]
    made = generator.run({"latent": code}, JobContext())[0][0].transpose(1, 2, 0)
    pixels = (np.clip(made * 0.9, 0, 1) * WHITE).astype(np.uint16)
    mask = spot(pixels.shape, 22, 22, 20)
    result = healed(card, pixels, mask)
    error = np.abs(result.astype(float) - pixels)[mask > 0] / WHITE
    flat = np.abs(pixels[mask > 0] - pixels[mask == 0].mean(axis=0)) / WHITE
    assert error.mean() < flat.mean() / 3
    rim = np.abs(result[22, 22:42].astype(float) - result[21, 22:42]) / WHITE
    assert rim.mean() < np.abs(np.diff(pixels.astype(float), axis=0)).mean() / WHITE + 0.02


def test_a_prior_fills_damage_larger_than_its_window(tmp_path: Path) -> None:
    pixels = np.full((300, 320, 1), 30000, np.uint16)
    mask = spot(pixels.shape, 80, 90, 80)
    result = healed(tiny_models.prior(tmp_path), pixels, mask)
    assert np.abs(result.astype(float) - 30000)[mask > 0].mean() < 0.2 * WHITE


def test_a_search_reports_progress_and_can_be_cancelled(tmp_path: Path) -> None:
    card, pixels = tiny_models.prior(tmp_path), noise_raster(150, 160).pixels
    task = job(card, pixels, spot(pixels.shape, 40, 40, 50))
    shares: list[float] = []
    run_task(task, JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert len(set(shares)) > 40
    context = JobContext(lambda share, word: context.cancel() if word == "searching" and share > 0.05 else None)
    with pytest.raises(Cancelled):
        run_task(task, context)


def test_a_generator_with_pictures_of_another_size_is_refused(tmp_path: Path) -> None:
    pixels = noise_raster(150, 160).pixels
    with pytest.raises(ModelError, match="another size"):
        run_task(job(tiny_models.prior(tmp_path, side=32), pixels, spot(pixels.shape, 40, 40, 5)))


@pytest.mark.parametrize("mask_means", [0, 1])
def test_the_mask_means_what_the_card_says(tmp_path: Path, mask_means: int) -> None:
    pixels = noise_raster(60, 60).pixels
    mask = spot(pixels.shape, 20, 20, 5)
    result = healed(tiny_models.masker(tmp_path, mask_means), pixels, mask)
    assert (result[mask > 0] == WHITE * mask_means).all()


# -- cards --------------------------------------------------------------------------------------------------------


def test_a_variation_is_for_models_that_have_it_and_within_their_range(tmp_path: Path, registry: Registry) -> None:
    card, pixels = tiny_models.prior(tmp_path), noise_raster(150, 160).pixels
    with pytest.raises(SettingsError, match="from 0 to 99"):
        run_task(job(card, pixels, spot(pixels.shape, 40, 40, 5), variation=100))
    with pytest.raises(SettingsError, match="has no variation"):
        make_settings("heal", registry.default("heal"), {"variation": 2})
    assert make_settings("heal", card, {"grow": 3, "feather": None}) == HealSettings(3, 0)


def test_models_that_heal_cannot_run_are_refused_in_a_sentence(tmp_path: Path) -> None:
    pixels, edger = noise_raster(60, 60).pixels, tiny_models.edger(tmp_path)
    mask = spot(pixels.shape, 20, 20, 5)
    first, second = edger.stages
    wrong = [
        dataclasses.replace(edger, stages=(second, first)),
        dataclasses.replace(edger, stages=(first,)),
        dataclasses.replace(edger, tile=dataclasses.replace(edger.tile, scale=2)),
        dataclasses.replace(edger, settings=(tiny_models.STRENGTH,)),
        dataclasses.replace(edger, stages=(first, dataclasses.replace(second, outputs=(tiny_models.EDGES,)))),
        tiny_models.finder(tmp_path, "wrong", "heal"),
    ]
    for card in wrong:
        with pytest.raises(ModelError, match="kind that heal can run"):
            run_task(job(card, pixels, mask))


def test_a_grey_picture_in_three_channels_stays_grey(registry: Registry) -> None:
    pixels = np.repeat(noise_raster(150, 160, channels=1).pixels, 3, axis=2)
    mask = spot(pixels.shape, 40, 40, 24)
    for card in registry.cards("heal"):
        result = healed(card, pixels, mask)[mask > 0].astype(int)
        assert np.ptp(result, axis=1).max() <= 1, card.id


def test_a_fill_in_faintly_toned_paper_has_its_tone(registry: Registry) -> None:
    tone = np.array([6, 0, -8])
    grey = np.repeat(noise_raster(150, 160, channels=1, dtype=np.uint8).pixels, 3, axis=2) // 2 + 60
    pixels = (grey + tone).astype(np.uint8)
    mask = spot(pixels.shape, 40, 40, 24)
    for card in registry.cards("heal"):
        result = healed(card, pixels, mask)[mask > 0].astype(int)
        assert result[:, 0] - result[:, 1] == pytest.approx(6, abs=1), card.id
        assert result[:, 2] - result[:, 1] == pytest.approx(-8, abs=1), card.id
