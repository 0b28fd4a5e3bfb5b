"""Pages of restored pictures, the bench of the models, and held-out damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.errors import SettingsError
from engine.raster import Rect
from engine.runtime.cards import Registry
from engine.runtime.session import Device
from engine.train.data.photographs import is_validation, photograph_paths, read_photograph
from engine.train.data.textures import read_textures
from engine.train.measure import bench, metrics, pages, peers
from engine.train.measure.metrics import Picture
from engine.train.measure.protocols import PROTOCOLS, scanned_damage_case
from engine.train.measure.tones import HELD_OUT


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs, one of them for validation."""
    folder = tmp_path_factory.mktemp("photographs")
    held_out = next(name for name in (f"p{number}.png" for number in range(200)) if is_validation(name))
    for name in (held_out, "training_1.png"):
        Image.fromarray(scene(96, 112)).save(folder / name)
    return folder


def scene(height: int, width: int) -> np.ndarray:
    """Smooth patches, uint8 (H, W, 3)."""
    coarse = np.random.default_rng(1).uniform(30, 225, (height // 20 + 1, width // 20 + 1, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def test_a_page_of_samples_shows_the_square_with_the_most_damage(tmp_path: Path) -> None:
    picture = np.full((300, 400, 3), 120, np.uint8)
    picture[40:280, 300:303] = 255
    damage = np.zeros((300, 400), np.uint8)
    damage[40:280, 300:303] = 1
    prints = [pages.Print("a line", picture, damage), pages.Print("tiny", scene(40, 50))]
    page, sheet = pages.sample_page(prints, tmp_path, device=Device.CPU)
    text = page.read_text(encoding="utf-8")
    (found, missed, _), *_ = re.findall(r"a line<br>(\d+) found<br>(\d+) missed<br>(\d+) wrong", text)
    assert int(found) + int(missed) == 1
    assert "<th scope=row>tiny</th>" in text
    with Image.open(sheet) as shown:
        assert shown.width > 4 * 32
    with pytest.raises(SettingsError, match="at least one"):
        pages.sample_page([], tmp_path)


def test_the_square_that_is_shown_holds_the_face_and_then_the_most_damage() -> None:
    mask = np.zeros((600, 800), np.uint8)
    mask[500:600, 700:800] = 1
    mask[300:310, 90:110] = 1
    face = Rect(20, 200, 80, 290)
    alone, shown = pages._most_masked_square(mask, None), pages._most_masked_square(mask, face)
    assert mask[alone.slices()].sum() == 100 * 100
    assert shown & face == face
    assert mask[shown.slices()].sum() == 10 * 20
    assert shown.width == shown.height == pages.SIDE
    # A face that is larger than the square cannot be shown in full.
    assert pages._most_masked_square(mask, Rect(0, 0, 800, 600)) == alone


# -- the numbers that must hold -----------------------------------------------------------------------------------


def test_a_picture_goes_through_the_command_line_as_through_its_task(tmp_path: Path) -> None:
    picture, mask = scene(96, 112), np.zeros((96, 112), np.uint8)
    mask[40:44, 20:90] = 255
    measured = bench.Bench([picture], [], {}, [], tmp_path)
    toned = measured.run_command("tone", picture)
    assert np.array_equal(toned, bench._run_task(Registry().default("tone"), picture))
    assert not np.array_equal(toned, picture)
    healed = measured.run_command("heal --mask {mask} --texture 0", picture, mask)
    assert np.array_equal(healed, bench._run_task(Registry().default("heal"), picture, mask, texture=0.0))
    assert np.array_equal(healed[mask == 0], picture[mask == 0])
    with pytest.raises(SettingsError, match=r"lacuna heal --mask .* failed"):
        measured.run_command("heal --mask {mask} --texture 7", picture, mask)


@pytest.mark.parametrize("restore", [peers.untouched, peers.auto_levels, peers.grey_world])
def test_tone_is_measured_against_the_untouched_and_the_better_peer(
    restore: Callable[[Picture], Picture], photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known method replaces the model: each claim must have exactly that method's ratio."""
    monkeypatch.setattr(bench.Bench, "run_command", lambda _self, _words, picture: restore(picture))
    claims = list(bench.measure(photographs, None, 2, ["tone"]))
    (picture,) = (read_photograph(path) for path in photograph_paths(photographs, validation=True))
    assert all(claim.what.startswith("tone, ") for claim in claims)
    assert sum("(not in training)" in claim.what for claim in claims) == len(HELD_OUT)
    *measured, sound, tint = claims
    for protocol in PROTOCOLS["tone"][:-1]:
        case = protocol.make(picture, 0)
        error = {
            f: metrics.delta_e(f(case.given), case.original)
            for f in (peers.untouched, peers.auto_levels, peers.grey_world)
        }
        *own, over_peer = (claim for claim in measured if claim.what.split()[1].strip(":") == protocol.name)
        assert over_peer.value == pytest.approx(error[restore] / min(error[peers.auto_levels], error[peers.grey_world]))
        for claim in own:
            over = error[peers.untouched] if protocol.name in ("fading", "yellowing") else 1.0
            assert claim.value == pytest.approx(error[restore] / over)
            assert claim.holds == (claim.value <= (10.6 if protocol.name == "channels" else 0.6))
        assert len(own) == (protocol.name in ("fading", "yellowing", "channels"))
    assert sound.value == pytest.approx(metrics.delta_e(restore(picture), picture))
    assert tint.value == 0


def test_numbers_that_must_hold_are_those_of_the_command_line(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    textures = tmp_path / "film_dirt"
    textures.mkdir()
    cv2.imwrite(str(textures / "1.png"), cv2.circle(np.zeros((100, 100), np.uint8), (50, 50), 40, 255, -1))
    commands: list[str] = []

    def command(_: bench.Bench, words: str, picture: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A detector that finds every difference from the photograph, and a recipe that changes one row of it."""
        commands.append(words)
        changed = np.abs(picture.astype(int) - scene(96, 112)).max(axis=2) > 14
        restored = picture.copy()
        restored[0] ^= 1
        return np.where(changed, np.uint8(255), np.uint8(0)) if words.startswith("detect") else restored

    monkeypatch.setattr(bench.Bench, "run_command", command)
    f1, thin, flagged, calibration, unasked, as_trained, gentle = bench.measure(photographs, tmp_path, 2, ["detect"])
    assert set(commands) == {
        "detect --grow 0",
        f"detect --grow 0 --threshold {bench.BALANCED}",
        "detect --widest 1.5",
        "restore --recipe gentle",
    }
    assert "F1" in f1.what
    assert f1.value > 0.9
    assert (thin.value, flagged.value, unasked.value) == (0, 0, 0)
    assert 0 <= calibration.value <= 1
    assert as_trained.value > 0.7
    assert gentle.value == pytest.approx(100 / 96)
    assert [claim.holds for claim in (f1, thin, flagged, gentle)] == [True, False, True, False]


def test_a_part_that_does_not_exist_is_named(photographs: Path) -> None:
    with pytest.raises(SettingsError, match="There is no part heel"):
        list(bench.measure(photographs, None, 2, ["heel"]))


def test_a_claim_says_whether_it_holds() -> None:
    assert bench.Claim("x", 0.9, (0.75, 1)).line().startswith("ok")
    assert bench.Claim("x", 0.7, (0.75, 1)).line().startswith("MISS")
    assert "must <= 0.1" in bench.Claim("x", 0.7, (0, 0.1)).line()
    assert "aim >= 2" in bench.Claim("x", 0.7, (1, np.inf), (2, np.inf)).line()


def test_scanned_damage_is_composited_where_its_mask_says() -> None:
    texture = np.zeros((100, 100), np.uint8)
    texture[20:30, 20:80] = 255
    picture = np.full((120, 140, 3), 90, np.uint8)
    case = scanned_damage_case({"dust": [texture], "hair": [texture]}, picture, 3)
    assert case.mask is not None
    changed = np.abs(case.given.astype(int) - picture).max(axis=2)
    assert 0.03 < np.mean(case.mask > 0) < 0.3
    assert changed[case.mask > 0].mean() > 5 * changed[case.mask == 0].mean()
    again = scanned_damage_case({"dust": [texture], "hair": [texture]}, picture, 3)
    assert np.array_equal(case.given, again.given)


def test_textures_are_held_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "film_dirt").mkdir()
    for number in range(60):
        cv2.imwrite(str(tmp_path / "film_dirt" / f"{number}.png"), np.full((8, 8), 255, np.uint8))
    held_out = len(read_textures(tmp_path, validation=True)["dust"])
    assert 1 <= held_out <= 14
    assert len(read_textures(tmp_path, validation=False)["dust"]) == 60 - held_out
