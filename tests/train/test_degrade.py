"""Damage for training: degradations against known results, their table, and the shapes of masks."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.errors import ReadError, SettingsError
from engine.train.damage import ageing, pools, shapes
from engine.train.damage.degrade import (
    DEGRADATIONS,
    LOOK_NUMBER,
    LOOKS,
    add_marks,
    before_and_after_marks,
    check_degradations,
    composite,
    degrade,
    relief,
    veil,
)
from engine.train.data.textures import read_textures
from engine.train.measure.contact import contact_sheet

SIZE = 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Eight smooth colour pictures with two edges each, (8, 3, SIZE, SIZE)."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE), torch.linspace(0, 1, SIZE), indexing="ij")
    waves = torch.rand(8, 3, 3, 1, 1, generator=generator()) * 4 - 2
    photo = 0.5 + 0.25 * torch.sin(waves[:, :, 0] * x * 3 + waves[:, :, 1] * y * 3 + waves[:, :, 2])
    return photo + 0.2 * (x > 0.6) - 0.2 * (y > 0.5)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


# -- the table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(DEGRADATIONS))
def test_every_row_is_seeded_stays_in_range_and_grows_with_its_level(name: str, photos: Tensor) -> None:
    before = photos.clone()

    def change(level: float) -> float:
        result = DEGRADATIONS[name].apply(photos, torch.full((8,), level), generator(1))
        assert result.shape == photos.shape
        assert result.dtype == torch.float32
        assert result.min() >= 0
        assert result.max() <= 1
        return float((result - photos).abs().mean())

    none, some, much = change(0.0), change(0.2), change(1.0)
    assert none < 0.01
    assert none < some < much
    assert much > 0.01
    assert torch.equal(photos, before)
    one, same, other = (DEGRADATIONS[name].apply(photos, torch.full((8,), 0.7), generator(s)) for s in (2, 2, 3))
    assert torch.equal(one, same)
    # These have no random parameters.
    assert torch.equal(one, other) == (name in {"monochrome", "defocus_blur", "gaussian_blur"})


@pytest.mark.parametrize("name", list(DEGRADATIONS))
def test_every_row_works_on_black_white_and_odd_sizes(name: str) -> None:
    for value in (0.0, 1.0):
        flat = torch.full((2, 3, 37, 51), value)
        result = DEGRADATIONS[name].apply(flat, tensor(0.0, 1.0), generator())
        assert result.shape == flat.shape
        assert torch.isfinite(result).all()


def test_rows_come_in_physical_order() -> None:
    names = list(DEGRADATIONS)
    assert names.index("fading") < names.index("dust") < names.index("motion_blur") < names.index("gaussian_noise")
    assert names.index("gaussian_noise") < names.index("halftone") < names.index("jpeg")


def test_ageing_is_split_before_and_after_damage_but_scene_and_mount_are_only_before() -> None:
    chances = {"jpeg": 0.3, "mount": 0.2, "monochrome": 0.5, "grating": 0.1}
    before, after = before_and_after_marks(chances)
    assert before == {"jpeg": 0.15, "mount": 0.2, "monochrome": 0.25, "grating": 0.1}
    assert after == {"jpeg": 0.15, "monochrome": 0.25}
    assert chances["monochrome"] == 0.5


def test_degrade_leaves_what_is_not_chosen_and_is_seeded(photos: Tensor) -> None:
    many, level = photos.repeat(16, 1, 1, 1), torch.ones(128)
    result, rows = degrade(many, {"gaussian_noise": 0.5}, level, generator(4))
    changed = (result != many).flatten(1).any(dim=1)
    assert torch.equal(changed, rows["gaussian_noise"])
    assert 0.35 < changed.float().mean() < 0.65
    assert torch.equal(degrade(many, {"gaussian_noise": 0.0}, level, generator(4))[0], many)
    everything = dict.fromkeys(DEGRADATIONS, 0.5)
    one, _ = degrade(photos, everything, torch.ones(8), generator(5))
    assert torch.equal(one, degrade(photos, everything, torch.ones(8), generator(5))[0])
    assert torch.isfinite(one).all()
    assert one.min() >= 0
    assert one.max() <= 1


def test_a_share_of_the_pictures_has_one_degradation_alone(photos: Tensor) -> None:
    many, level = photos.repeat(16, 1, 1, 1), torch.full((128,), 0.5)
    chances = {"gaussian_noise": 0.8, "jpeg": 0.8, "film_grain": 0.8}
    _, rows = degrade(many, chances, level, generator(4), alone=1.0)
    together = torch.stack(list(rows.values())).sum(dim=0)
    assert together.max() == 1
    assert all(20 < got.sum() < 60 for got in rows.values())
    _, rows = degrade(many, chances, level, generator(4), alone=0.5)
    assert 30 < (torch.stack(list(rows.values())).sum(dim=0) > 1).sum() < 80


def test_unknown_degradations_and_impossible_chances_are_named(photos: Tensor) -> None:
    with pytest.raises(SettingsError, match="grian"):
        check_degradations({"grian": 0.5})
    with pytest.raises(SettingsError, match="jpeg"):
        check_degradations({"jpeg": 1.5})
    with pytest.raises(SettingsError, match="rust"):
        degrade(photos, {"rust": 0.5}, torch.ones(8), generator())


# -- tone ---------------------------------------------------------------------------------------------------------


def test_fading_ends_at_the_paper_and_begins_at_the_photograph(photos: Tensor) -> None:
    paper = tensor(0.9, 0.8, 0.6).expand(8, 3)
    assert torch.allclose(ageing.fading(photos, torch.zeros(8, 3), paper), photos, atol=1e-5)
    assert torch.allclose(ageing.fading(photos, torch.ones(8, 3), paper), ageing.as_planes(paper).expand_as(photos))
    half = ageing.fading(torch.full((1, 3, 4, 4), 0.25), torch.full((1, 3), 0.5), torch.ones(1, 3))
    assert torch.allclose(half, torch.tensor(0.5))


def test_tone_functions_have_the_values_of_their_formulas() -> None:
    grey = torch.full((1, 3, 5, 5), 0.5)
    tinted = ageing.yellowing(grey, tensor(0.5), tensor(1.0, 0.8, 0.4)[None])
    assert torch.allclose(tinted[0, :, 0, 0], tensor(0.5, 0.45, 0.35))
    cast = ageing.colour_cast(grey, tensor(1.2, 1.0, 0.5)[None])
    assert torch.allclose(cast[0, :, 0, 0], tensor(0.6, 0.5, 0.25))
    flat = ageing.contrast_loss(torch.rand(2, 3, 5, 5), tensor(1.0, 1.0), tensor(0.3, 0.7))
    assert torch.allclose(flat[0], torch.tensor(0.3))
    assert torch.allclose(flat[1], torch.tensor(0.7))
    dark = ageing.vignette(grey, tensor(0.8), torch.zeros(1, 2), torch.zeros(1, 3))
    assert float(dark[0, 0, 2, 2]) == pytest.approx(0.5)
    assert float(dark[0, 0, 0, 0]) == pytest.approx(0.1)


# -- optics -------------------------------------------------------------------------------------------------------


def test_blurs_keep_a_constant_and_at_nothing_the_picture(photos: Tensor) -> None:
    flat = torch.full((2, 3, 40, 30), 0.4)
    nothing, much = torch.zeros(8), tensor(3.0, 8.0)
    for function in (ageing.gaussian_blur, ageing.defocus_blur, lambda p, v: ageing.motion_blur(p, v, v)):
        assert torch.allclose(function(flat, much), flat, atol=1e-5)
        assert torch.allclose(function(photos, nothing), photos, atol=1e-5)


def test_an_impulse_shows_the_kernel() -> None:
    impulse = torch.zeros(2, 1, 41, 41)
    impulse[:, :, 20, 20] = 1
    line = ageing.motion_blur(impulse, tensor(9.0, 9.0), tensor(0.0, np.pi / 2))
    assert torch.allclose(line[0, 0, 20, 16:25], torch.full((9,), 1 / 9), atol=1e-5)
    assert float(line[0, 0, 20].sum()) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(line[1, 0], line[0, 0].T, atol=1e-6)
    disc = ageing.defocus_blur(impulse, tensor(5.0, 5.0))[0, 0]
    assert float((disc > 0.5 * disc.max()).sum()) == pytest.approx(np.pi * 25, rel=0.1)
    bell = ageing.gaussian_blur(impulse, tensor(2.0, 0.5))
    expected = cv2.GaussianBlur(impulse[0, 0].numpy(), (25, 25), 2.0)
    assert np.allclose(bell[0, 0].numpy(), expected, atol=1e-5)
    assert bell[1].max() > bell[0].max()


def test_a_blur_repeats_the_last_pixel_beyond_the_border(photos: Tensor) -> None:
    blurred = ageing.gaussian_blur(photos[:1], tensor(2.0))[0].permute(1, 2, 0).numpy()
    picture = photos[0].permute(1, 2, 0).numpy()
    expected = cv2.GaussianBlur(picture, (25, 25), 2.0, borderType=cv2.BORDER_REPLICATE)
    assert np.allclose(blurred, expected, atol=1e-4)


def test_down_up_is_area_and_bicubic(photos: Tensor) -> None:
    flat = torch.full((3, 3, 33, 47), 0.4)
    assert torch.allclose(ageing.down_up(flat, tensor(1.0, 2.3, 4.0), tensor(0.0, 0.5, 1.0)), flat, atol=1e-5)
    same = ageing.down_up(photos, torch.ones(8), torch.linspace(0, 1, 8))
    assert torch.allclose(same, photos, atol=1e-5)
    picture = photos[0].permute(1, 2, 0).numpy()
    small = cv2.resize(picture, (SIZE // 4, SIZE // 4), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    ours = ageing.down_up(photos[:1], tensor(4.0), tensor(0.0))[0].permute(1, 2, 0).numpy()
    inner = slice(8, -8)  # at the border OpenCV weighs the last pixel, we leave it out
    assert np.allclose(ours[inner, inner], expected[inner, inner], atol=1e-3)


# -- noise, press and file ----------------------------------------------------------------------------------------


def test_noise_has_the_strength_that_is_asked() -> None:
    grey = torch.full((2, 3, 128, 128), 0.5)
    noisy = ageing.gaussian_noise(grey, tensor(0.02, 0.1), ageing.normal(grey, generator(), 3)) - grey
    assert float(noisy[0].std()) == pytest.approx(0.02, rel=0.05)
    assert float(noisy[1].std()) == pytest.approx(0.1, rel=0.05)
    shot = ageing.poisson_noise(grey, tensor(50.0, 5000.0), generator()) - grey
    assert float(shot[0].std()) == pytest.approx((0.5 / 50) ** 0.5, rel=0.05)
    assert float(shot[1].std()) == pytest.approx((0.5 / 5000) ** 0.5, rel=0.05)
    assert float(shot[0].mean()) == pytest.approx(0, abs=0.005)


def test_grain_is_correlated_grey_and_strongest_in_middle_tones() -> None:
    grey = torch.full((2, 3, 160, 160), 0.5)
    grain = ageing.film_grain(grey, tensor(0.1, 0.1), tensor(0.1, 1.5), ageing.normal(grey, generator(), 1)) - grey
    for each in grain:
        assert float(each[0].std()) == pytest.approx(0.1, rel=0.1)
        assert torch.allclose(each[0], each[1])

    def correlation(plane: Tensor) -> float:
        return float((plane[:, 1:] * plane[:, :-1]).mean() / plane.square().mean())

    assert correlation(grain[0, 0]) == pytest.approx(0, abs=0.05)
    assert correlation(grain[1, 0]) == pytest.approx(np.exp(-1 / (4 * 1.5**2)), abs=0.05)
    white = torch.ones(1, 3, 160, 160)
    bright = ageing.film_grain(white, tensor(0.1), tensor(1.0), ageing.normal(white, generator(), 1)) - white
    assert float(bright.std()) == pytest.approx(0.025, rel=0.1)


def test_the_blocks_of_jpeg_begin_anywhere() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    ramp = (0.2 + 0.006 * x + 0.002 * y).expand(12, 3, 64, 96)
    coded = ageing.random_jpeg(ramp, torch.ones(12), generator(3))
    steps = (coded[:, :, :, 1:] - coded[:, :, :, :-1]).abs().mean(dim=(1, 2))
    by_place = torch.stack([steps[:, place:88:8].mean(dim=1) for place in range(8)], dim=1)
    assert len(set(by_place.argmax(dim=1).tolist())) > 3
    assert (coded - ramp).abs().mean() < 0.05


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_jpeg_is_what_pillow_writes(quality: int) -> None:
    random = np.random.default_rng(2)
    picture = cv2.GaussianBlur(random.integers(0, 256, (96, 80, 3), np.uint8), (0, 0), 2.0)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "JPEG", quality=quality, subsampling="4:2:0")
    pillow = torch.from_numpy(np.array(Image.open(packed))).permute(2, 0, 1)[None].float() / 255
    photo = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    ours = ageing.jpeg(photo, tensor(float(quality)))
    assert psnr(ours, pillow) > psnr(pillow, photo) + 3
    assert psnr(ours, photo) == pytest.approx(psnr(pillow, photo), abs=0.5)


def test_halftone_prints_two_tones_that_keep_the_grey() -> None:
    values = tensor(0.2, 0.5, 0.8)
    grey = values[:, None, None, None].expand(3, 3, 128, 128)
    zero, one = torch.zeros(3), torch.ones(3)
    printed = ageing.halftone(grey, torch.full((3,), 8.0), zero, one, one)
    assert torch.allclose(printed[:, 0], printed[:, 2])
    assert ((printed < 0.05) | (printed > 0.95)).float().mean() > 0.6
    assert torch.allclose(printed.mean(dim=(1, 2, 3)), values, atol=0.05)
    assert torch.equal(ageing.halftone(grey, torch.full((3,), 8.0), zero, one, zero), grey)
    red = tensor(1.0, 0.0, 0.0).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    four = ageing.halftone(red, tensor(6.0), tensor(0.3), tensor(0.0), tensor(1.0))
    assert torch.allclose(four, red, atol=1e-5)


# -- marks --------------------------------------------------------------------------------------------------------


def test_composite_changes_the_mask_alone_and_takes_its_colour(photos: Tensor) -> None:
    mask = torch.zeros(8, 1, SIZE, SIZE)
    mask[:, :, 10:30, 10:30] = 1
    hard = composite(photos, mask, tensor(1.0, 0.5, 0.0).expand(8, 3), torch.zeros(8), torch.ones(8))
    assert torch.allclose(hard[:, :, 10:30, 10:30], ageing.as_planes(tensor(1.0, 0.5, 0.0)[None]), atol=1e-5)
    assert torch.allclose(hard * (1 - mask), photos * (1 - mask), atol=1e-5)
    soft = composite(photos, mask, torch.ones(8, 3), torch.full((8,), 1.5), torch.full((8,), 0.5))
    assert torch.allclose(soft[:, :, 20, 20], (photos[:, :, 20, 20] + 1) / 2, atol=1e-3)
    assert (soft[:, :, 9, 20] > photos[:, :, 9, 20]).all()


def test_a_veil_multiplies_and_a_relief_has_a_light_and_a_dark_flank() -> None:
    grey, mask = torch.full((1, 3, 40, 40), 0.5), torch.zeros(1, 1, 40, 40)
    mask[:, :, :, 15:25] = 1
    tint, zero, one = tensor(0.8, 0.6, 0.4)[None], tensor(0.0), tensor(1.0)
    stained = veil(grey, mask, tint, zero, zero, one)
    assert torch.allclose(stained[0, :, 20, 20], 0.5 * tint[0], atol=1e-5)
    assert torch.allclose(stained[0, :, 20, 5], tensor(0.5, 0.5, 0.5), atol=1e-5)
    rimmed = veil(grey, mask, tint, tensor(1.0), one, tensor(0.5))
    assert rimmed[0, 0, 20, 15] < rimmed[0, 0, 20, 20]
    lit = relief(grey, mask, tensor(1.0), zero, one)
    assert lit[0, 0, 20, 14] > 0.55
    assert lit[0, 0, 20, 25] < 0.45
    assert torch.allclose(lit[0, :, 20, 20], tensor(0.5, 0.5, 0.5), atol=1e-3)


@pytest.mark.parametrize("name", LOOKS)
def test_marks_are_seen_where_their_mask_is(name: str, photos: Tensor) -> None:
    kind = next((kind for kind, of_class in shapes.CLASS_OF.items() if of_class == name), "hair")
    drawn = shapes.draw_mask(kind, (SIZE, SIZE), 0.05, np.random.default_rng(3))
    masks = torch.from_numpy(drawn).float().div(255).expand(8, 1, -1, -1)
    looks = torch.full((8, 1), LOOK_NUMBER[name])
    marked = add_marks(photos, masks, looks, generator(6))
    assert torch.equal(marked, add_marks(photos, masks, looks, generator(6)))
    assert marked.min() >= 0
    assert marked.max() <= 1
    change, inside = (marked - photos).abs().mean(dim=1, keepdim=True), masks > 0
    far = torch.nn.functional.max_pool2d(masks, 13, 1, 6) == 0
    assert change[inside].mean() > 0.05
    assert change[inside].mean() > 2 * change[far].mean()


def test_masks_of_several_classes_are_all_composited(photos: Tensor) -> None:
    masks = torch.zeros(8, 3, SIZE, SIZE)
    masks[:, 0, 5:15, 5:15] = 1
    masks[:, 1, 40:42, 5:60] = 1
    looks = torch.tensor([[LOOK_NUMBER[name] for name in ("loss", "scratch", "dust")]]).expand(8, 3)
    change = (add_marks(photos, masks, looks, generator()) - photos).abs().mean(dim=1)
    assert change[:, 7:13, 7:13].mean() > 0.1
    assert change[:, 40:42, 5:60].mean() > 0.1
    assert change[:, 48:, :].mean() < 0.05


# -- shapes -------------------------------------------------------------------------------------------------------


def borders(mask: np.ndarray) -> list[bool]:
    return [bool(edge.any()) for edge in (mask[0], mask[:, -1], mask[-1], mask[:, 0])]


def test_tears_reach_a_border_and_widen_towards_it() -> None:
    for seed in range(20):
        mask = np.zeros((120, 150), np.uint8)
        shapes.random_tear(mask, np.random.default_rng(seed))
        assert any(borders(mask))
    mask = np.zeros((100, 100), np.uint8)
    points = np.stack([np.full(11, 50.0), np.linspace(0, 80, 11)], axis=1)
    shapes.draw_tear(mask, points, np.linspace(16, 0, 11))
    widths = (mask > 0).sum(axis=1)
    assert widths[0] == pytest.approx(16, abs=2)
    assert widths[40] == pytest.approx(8, abs=2)
    assert widths[90] == 0


@pytest.mark.parametrize("corner", range(4))
def test_a_missing_corner_is_the_one_that_is_asked(corner: int) -> None:
    mask = np.zeros((60, 90), np.uint8)
    shapes.draw_corner(mask, corner, (30, 20), np.zeros(5))
    corners = [mask[0, 0], mask[0, -1], mask[-1, -1], mask[-1, 0]]
    assert [bool(value) for value in corners] == [number == corner for number in range(4)]
    assert np.count_nonzero(mask) == pytest.approx(300, rel=0.2)
    for seed in range(10):
        mask = np.zeros((60, 90), np.uint8)
        shapes.random_corner(mask, np.random.default_rng(seed))
        assert mask[0, 0] or mask[0, -1] or mask[-1, -1] or mask[-1, 0]


def test_a_dried_rim_is_the_edge_of_its_stain() -> None:
    full, ring = np.zeros((80, 80), np.uint8), np.zeros((80, 80), np.uint8)
    radii = np.full(24, 30.0)
    shapes.draw_stain(full, (40, 40), radii, 0)
    shapes.draw_stain(ring, (40, 40), radii, 5)
    assert full[40, 40] == 255
    assert ring[40, 40] == 0
    assert (full >= ring).all()
    assert np.count_nonzero(ring) == pytest.approx(np.pi * (30**2 - 25**2), rel=0.1)


def test_every_kind_has_a_class() -> None:
    assert set(shapes.CLASS_OF) == set(shapes.MASKS) == set(shapes.COVERAGE)
    assert set(shapes.CLASS_OF.values()) == set(shapes.CLASSES) == set(LOOKS) - {"film"}
    assert {shapes.CLASS_OF[kind] for kind in ("stroke", "box", "border", "corner")} == {"loss"}


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of textures: hairs and dirt."""
    folder = tmp_path_factory.mktemp("textures")
    for name in ("film_hair", "film_dirt"):
        (folder / "all" / name).mkdir(parents=True)
        texture = np.zeros((100, 100), np.uint8)
        texture[40:60, 10:90] = 255
        Image.fromarray(texture).save(folder / "all" / name / "1.png")
    return folder


def test_textures_are_read_by_class_and_cut(textures: Path, tmp_path: Path) -> None:
    found = read_textures(textures, validation=False)
    assert {name: len(those) for name, those in found.items()} == {"hair": 1, "dust": 1}
    piece = pools.texture_mask(found["hair"][0], 64, np.random.default_rng(1))
    assert piece.shape == (64, 64)
    assert set(np.unique(piece)) == {0, 255}
    assert np.array_equal(piece, pools.texture_mask(found["hair"][0], 64, np.random.default_rng(1)))
    with pytest.raises(SettingsError, match="no damage textures"):
        read_textures(tmp_path, validation=False)
    (tmp_path / "film_lint").mkdir()
    (tmp_path / "film_lint" / "1.png").write_bytes(b"rubbish")
    with pytest.raises(ReadError, match="damaged"):
        read_textures(tmp_path, validation=False)


def test_the_mark_pool_holds_drawn_shapes_textures_and_parts_of_frames_with_soft_edges(textures: Path) -> None:
    scanned, frame = read_textures(textures, validation=False), np.zeros((300, 400), np.uint8)
    frame[100:140, 100:300] = 3
    masks, looks, classes = pools.mark_pool(dict.fromkeys(shapes.MASKS, 1.0), 60, 64, 5, scanned, [frame])
    assert masks.shape == (60, 64, 64)
    assert ((masks >= shapes.DAMAGED).any(axis=(1, 2))).all()
    assert ((masks > 0) & (masks < 255)).any(axis=(1, 2)).sum() > 40
    assert 15 <= looks.count("film") <= 45
    assert set(looks) <= {"film", *shapes.CLASSES}
    assert {class_ for look, class_ in zip(looks, classes, strict=True) if look == "film"} == {"", "dust", "hair"}
    assert {class_ for look, class_ in zip(looks, classes, strict=True) if look == "crease"} == {"crease"}
    again, same, _ = pools.mark_pool(dict.fromkeys(shapes.MASKS, 1.0), 60, 64, 5, scanned, [frame])
    assert np.array_equal(masks, again)
    assert looks == same
    _, drawn, of_class = pools.mark_pool({"hair": 1.0}, 8, 32, 5)
    assert set(drawn) == set(of_class) == {"hair"}
    _, drawn, of_class = pools.mark_pool({"fingerprint": 1.0}, 8, 32, 5)
    assert (set(drawn), set(of_class)) == ({"scratch"}, {"stain"})


def test_textures_and_frames_are_placed_at_many_sizes() -> None:
    texture = np.full((100, 100), 255, np.uint8)
    random = np.random.default_rng(1)
    areas = [np.count_nonzero(pools.place_texture(texture, 256, random) > 128) for _ in range(40)]
    assert min(areas) < 60**2
    assert max(areas) > 120**2
    frame = np.zeros((700, 700), np.uint8)
    frame[::20] = 2
    lines = [np.count_nonzero(pools.frame_part(frame, 100, random)) / 100 for _ in range(30)]
    assert min(lines) < 12
    assert max(lines) > 30


def test_unknown_mask_kinds_are_named() -> None:
    with pytest.raises(SettingsError, match="rust"):
        pools.mask_pool({"dust": 1.0, "rust": 1.0}, 2, 32, 0)


# -- the contact sheet --------------------------------------------------------------------------------------------


def test_the_contact_sheet_shows_every_row_and_every_kind(tmp_path: Path) -> None:
    picture = np.full((70, 90, 3), 128, np.uint8)
    contact_sheet(picture, tmp_path / "sheet.png", size=64)
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    lines = -(-(len(DEGRADATIONS) + len(shapes.MASKS)) // 4)
    assert sheet.shape == (lines * (64 + 22 + 6) + 6, 4 * (128 + 6) + 6, 3)
    contact_sheet(picture, tmp_path / "again.png", size=64)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()
