"""Reading and writing pixels in every format, orientation, profiles, resolution, masks, depth."""

import functools
import itertools
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from engine import colour, imageio
from engine.errors import SettingsError, WriteError
from engine.imageio import WriteOptions, tiffwrite
from engine.imageio.common import upright_view
from engine.jobs import Cancelled, JobContext
from engine.raster import Raster, Resolution


def picture(dtype, channels, height=37, width=53):
    top = np.iinfo(dtype).max
    return np.random.default_rng(7).integers(0, top + 1, (height, width, channels), dtype)


def smooth(channels, height=64, width=96):
    y, x = np.mgrid[:height, :width]
    planes = [(x * 2 + 20 * c) % 256 // 2 + y for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.uint8)


@functools.cache  # the profile holds the time of its making
def grey_profile():
    return bytes(imagecodecs.cms_profile("gray", whitepoint=(0.345702914918791, 0.358538596679933), gamma=2.2))


KINDS = list(itertools.product((np.uint8, np.uint16), (1, 3)))


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".png", ".TIF"])
def test_lossless_formats_keep_every_sample(tmp_path, dtype, channels, suffix):
    pixels = picture(dtype, channels)
    path = tmp_path / f"a{suffix}"
    assert imageio.write(Raster(pixels.copy(), resolution=Resolution(300, 600)), path) == ()
    back = imageio.read(path)
    assert back.pixels.dtype == dtype
    assert np.array_equal(back.pixels, pixels)
    assert back.pixels.flags.c_contiguous
    assert not back.pixels.flags.writeable
    assert back.resolution == Resolution(300, 600)
    assert back.notices == ()
    assert back.profile is None


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("compression", ["deflate", "lzw", "none"])
@pytest.mark.parametrize("big", [False, True])
def test_written_tiff_is_understood_by_others(tmp_path, monkeypatch, dtype, channels, compression, big):
    if big:
        monkeypatch.setattr(tiffwrite, "CLASSIC_LIMIT", 0)
    monkeypatch.setattr(tiffwrite, "_STRIP", 700)
    pixels = picture(dtype, channels)
    path = tmp_path / "a.tif"
    imageio.write(Raster(pixels.copy()), path, WriteOptions(compression=compression))
    with tifffile.TiffFile(path) as opened:
        assert opened.is_bigtiff is big
        assert len(opened.pages) == 1
        assert len(opened.pages[0].dataoffsets) > 2
        assert np.array_equal(opened.pages[0].asarray().reshape(pixels.shape), pixels)
    assert np.array_equal(imageio.read(path).pixels, pixels)
    if dtype == np.uint8:
        with Image.open(path) as opened:
            assert np.array_equal(np.asarray(opened).reshape(pixels.shape), pixels)
    names = {"deflate": "Deflate", "lzw": "LZW", "none": "none"}
    assert imageio.probe(path).compression == names[compression]


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_tiffs_of_other_programs(tmp_path, dtype, channels, compression, tile):
    pixels = picture(dtype, channels)
    path = tmp_path / "a.tif"
    for order, planar, big, predictor in itertools.product("<>", (False, True), (False, True), (False, True)):
        if (planar and channels == 1) or (predictor and compression is None):
            continue
        tifffile.imwrite(
            path,
            pixels.transpose(2, 0, 1) if planar else pixels if channels == 3 else pixels[..., 0],
            byteorder=order,
            bigtiff=big,
            compression=compression,
            predictor=predictor,
            tile=tile,
            rowsperstrip=None if tile else 8,
            planarconfig=("separate" if planar else "contig") if channels == 3 else None,
            photometric="rgb" if channels == 3 else "minisblack",
            metadata=None,
        )
        raster = imageio.read(path)
        assert np.array_equal(raster.pixels, pixels), (order, planar, big, predictor)
        assert raster.notices == ()


def test_one_strip_or_one_tile_is_read(tmp_path):
    pixels = picture(np.uint16, 3, 32, 48)
    path = tmp_path / "a.tif"
    for options in (
        {"tile": (32, 48)},
        {"tile": (16, 48)},
        {"rowsperstrip": 32, "compression": "zlib"},
        {"tile": (64, 64)},
    ):
        tifffile.imwrite(path, pixels, photometric="rgb", **options)
        assert np.array_equal(imageio.read(path).pixels, pixels), options


def test_jpeg_in_tiff(tmp_path):
    path = tmp_path / "a.tif"
    for channels, tile in itertools.product((1, 3), (None, (16, 16))):
        pixels = smooth(channels)
        options = {"photometric": "rgb" if channels == 3 else "minisblack", "tile": tile, "compression": "jpeg"}
        tifffile.imwrite(path, pixels if channels == 3 else pixels[..., 0], compressionargs={"level": 97}, **options)
        assert np.abs(imageio.read(path).pixels.astype(int) - pixels).max() < 24


def test_white_as_zero_is_inverted(tmp_path):
    for dtype, compression in itertools.product((np.uint8, np.uint16), (None, "zlib")):
        pixels = picture(dtype, 1)
        tifffile.imwrite(tmp_path / "a.tif", pixels[..., 0], photometric="miniswhite", compression=compression)
        raster = imageio.read(tmp_path / "a.tif")
        assert np.array_equal(raster.pixels, ~pixels)
        assert "inverted" in raster.notices[0]


def test_few_bits_and_palettes_of_tiff(tmp_path):
    path = tmp_path / "a.tif"
    grey = smooth(1)[..., 0]
    for compression in ("raw", "group4", "packbits"):
        bilevel = Image.fromarray(grey).convert("1")
        bilevel.save(path, compression=compression)
        raster = imageio.read(path)
        assert np.array_equal(raster.pixels[..., 0], np.asarray(bilevel) * np.uint8(255))
        assert "1 bit a sample" in "".join(raster.notices)
    for bits in (2, 4):
        values = (grey >> (8 - bits)).astype(np.uint8)
        tifffile.imwrite(path, values, bitspersample=bits, photometric="minisblack")
        assert np.array_equal(imageio.read(path).pixels[..., 0], values * (255 // ((1 << bits) - 1)))
    coloured = Image.fromarray(smooth(3)).quantize(40)
    coloured.save(path)
    raster = imageio.read(path)
    assert np.array_equal(raster.pixels, np.asarray(coloured.convert("RGB")))
    assert "palette" in raster.notices[0]


def test_few_bits_and_palettes_of_png(tmp_path):
    path = tmp_path / "a.png"
    grey = smooth(1)[..., 0]
    for bits in (1, 2, 4):
        coloured = Image.fromarray(smooth(3)).quantize(1 << bits)
        coloured.save(path, bits=bits)
        raster = imageio.read(path)
        assert np.array_equal(raster.pixels, np.asarray(coloured.convert("RGB")))
        assert "palette" in raster.notices[0]
    bilevel = Image.fromarray(grey).convert("1")
    bilevel.save(path)
    assert np.array_equal(imageio.read(path).pixels[..., 0], np.asarray(bilevel) * np.uint8(255))


def interlaced(samples):
    """A PNG in Adam7's seven passes, without filters."""
    height, width, channels = samples.shape
    depth = samples.dtype.itemsize * 8
    rows = b""
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    for top, down, left, right in passes:
        for row in samples[top::down, left::right]:
            rows += b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, 2 if channels == 3 else 0, 0, 0, 1)
    chunks = (b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_interlaced_png(tmp_path, dtype, channels):
    pixels = picture(dtype, channels)
    (tmp_path / "a.png").write_bytes(interlaced(pixels))
    assert np.array_equal(imageio.read(tmp_path / "a.png").pixels, pixels)
    assert imageio.probe(tmp_path / "a.png").compression == "Deflate, interlaced"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_bmp(tmp_path, mode):
    original = Image.fromarray(smooth(3)).convert(mode)
    path = tmp_path / "a.bmp"
    original.save(path, dpi=(300, 300))
    raster = imageio.read(path)
    expected = np.asarray(original.convert("RGB" if mode in ("RGB", "P") else "L"))
    assert np.array_equal(raster.pixels, expected.reshape(raster.pixels.shape))
    assert raster.resolution == Resolution(300, 300)
    assert imageio.probe(path).format == "BMP"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_are_close_and_give_a_notice(tmp_path, channels, suffix):
    pixels = smooth(channels)
    path = tmp_path / f"a{suffix}"
    notices = imageio.write(Raster(pixels.copy()), path, WriteOptions(quality=98, lossless=False))
    assert any("differ" in notice for notice in notices)
    back = imageio.read(path)
    assert back.channels == (3 if suffix == ".webp" else channels)
    assert np.abs(back.pixels.astype(int) - pixels).mean() < 4


def test_lossless_webp(tmp_path):
    for channels in (1, 3):
        pixels = picture(np.uint8, channels)
        assert imageio.write(Raster(pixels.copy()), tmp_path / "a.webp") == ()
        back = imageio.read(tmp_path / "a.webp")
        assert np.array_equal(back.pixels, np.broadcast_to(pixels, back.pixels.shape))
        assert imageio.probe(tmp_path / "a.webp").compression == "WebP, lossless"


def test_sixteen_bits_into_eight_bit_formats(tmp_path):
    pixels = smooth(3).astype(np.uint16) * 257
    for suffix in (".jpg", ".webp"):
        notices = imageio.write(Raster(pixels.copy()), tmp_path / f"a{suffix}")
        assert any("16 bits were reduced" in notice for notice in notices)
    assert np.array_equal(imageio.read(tmp_path / "a.webp").pixels, smooth(3))


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_depth_can_be_chosen(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    imageio.write(Raster(picture(np.uint8, 3)), path, WriteOptions(depth=16))
    assert np.array_equal(imageio.read(path).pixels, picture(np.uint8, 3).astype(np.uint16) * 257)
    imageio.write(Raster(picture(np.uint16, 3)), path, WriteOptions(depth=8))
    back = imageio.read(path).pixels
    assert back.dtype == np.uint8
    assert np.abs(back.astype(float) - picture(np.uint16, 3) / 257).max() < 1
    imageio.write(Raster(np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 2, 3)), path)
    assert imageio.read(path).pixels.dtype == np.uint16


def test_to_depth():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    eight = imageio.to_depth(every, 8)
    assert np.array_equal(eight, imageio.to_depth(every, 8))
    assert np.abs(eight - every / 257).max() < 1
    assert abs((eight - every / 257).mean()) < 0.01
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    wide = np.tile(imageio.to_depth(levels, 16), (1000, 20, 1))
    assert wide.dtype == np.uint16
    assert np.array_equal(wide[:16, :16], levels.astype(np.uint16) * 257)
    assert np.array_equal(imageio.to_depth(wide, 8), np.tile(levels, (1000, 20, 1)))
    floats = (levels / np.float32(255)).astype(np.float32)
    assert np.array_equal(imageio.to_depth(floats, 8), levels)
    assert np.array_equal(imageio.to_depth(floats, 16), levels.astype(np.uint16) * 257)
    assert imageio.to_depth(levels, 8) is levels


def with_orientation(path, suffix, stored, number, planar=False):
    """Write a file with an EXIF orientation."""
    if suffix == ".tif":
        tags = [(274, 3, 1, number, True)]
        data = stored.transpose(2, 0, 1) if planar else stored
        config = "separate" if planar else "contig"
        tifffile.imwrite(path, data, photometric="rgb", planarconfig=config, extratags=tags, rowsperstrip=8)
        return
    exif = Image.Exif()
    exif[274] = number
    options = {"quality": 95, "subsampling": 0} if suffix == ".jpg" else {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(stored).save(path, exif=exif, **options)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
def test_orientation_is_applied_once(tmp_path, number, suffix):
    stored = picture(np.uint8, 3, 24, 40) if suffix != ".jpg" else smooth(3, 24, 40)
    path = tmp_path / f"a{suffix}"
    with_orientation(path, suffix, stored, number)
    turn = Image.Transpose
    turns = [turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE]
    turns += [turn.ROTATE_270, turn.TRANSVERSE, turn.ROTATE_90]
    with Image.open(path) as opened:
        # Pillow applies the orientation of TIFFs itself.
        plain = Image.fromarray(stored) if suffix == ".tif" else opened.convert("RGB")
    upright = np.asarray(plain.transpose(turns[number - 2]) if number > 1 else plain)
    raster = imageio.read(path)
    assert np.array_equal(raster.pixels, upright)
    assert raster.pixels.flags.c_contiguous
    assert (imageio.probe(path).width, imageio.probe(path).height) == (raster.width, raster.height)
    for target in (".tif", ".png"):
        imageio.write(raster, tmp_path / f"b{target}")
        assert np.array_equal(imageio.read(tmp_path / f"b{target}").pixels, upright)


@pytest.mark.parametrize("number", range(1, 9))
def test_orientation_of_planar_and_packed_tiffs(tmp_path, number):
    stored = picture(np.uint8, 3, 24, 40)
    path = tmp_path / "a.tif"
    with_orientation(path, ".tif", stored, number, planar=True)
    assert np.array_equal(imageio.read(path).pixels, upright_view(stored, number))
    tags = [(274, 3, 1, number, True)]
    tifffile.imwrite(path, stored, photometric="rgb", compression="zlib", tile=(16, 16), extratags=tags)
    assert np.array_equal(imageio.read(path).pixels, upright_view(stored, number))


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
def test_profiles_travel_as_they_are(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    imageio.write(Raster(smooth(3), profile=profile), path)
    assert imageio.read(path).profile == profile
    assert imageio.probe(path).profile == profile
    with Image.open(path) as opened:
        assert opened.info["icc_profile"] == profile
    imageio.write(Raster(smooth(3)), path)
    assert imageio.read(path).profile is None
    with Image.open(path) as opened:
        assert not opened.info.keys() & {"icc_profile", "srgb", "gamma"}


def test_grey_profiles(tmp_path):
    for suffix in (".tif", ".png", ".jpg"):
        imageio.write(Raster(smooth(1), profile=grey_profile()), tmp_path / f"a{suffix}")
        assert imageio.read(tmp_path / f"a{suffix}").profile == grey_profile()
    notices = imageio.write(Raster(smooth(1), profile=grey_profile()), tmp_path / "a.webp")
    assert any("profile" in notice for notice in notices)
    assert imageio.read(tmp_path / "a.webp").notices == ()


def test_profile_longer_than_a_jpeg_segment(tmp_path):
    profile = bytearray(colour.srgb() + bytes(200_000))
    profile[:4] = len(profile).to_bytes(4, "big")
    imageio.write(Raster(smooth(3), profile=bytes(profile)), tmp_path / "a.jpg")
    assert imageio.read(tmp_path / "a.jpg").profile == bytes(profile)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
def test_broken_and_foreign_profiles_are_dropped_with_a_notice(tmp_path, suffix):
    for profile in (b"not a profile", colour.srgb()[:200], grey_profile()):
        imageio.write(Raster(smooth(3), profile=profile), tmp_path / f"a{suffix}")
        raster = imageio.read(tmp_path / f"a{suffix}")
        assert raster.profile is None
        assert any("profile" in notice for notice in raster.notices)
        assert np.abs(raster.pixels.astype(int) - smooth(3)).mean() < 8
        assert imageio.probe(tmp_path / f"a{suffix}").profile is None


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
@pytest.mark.parametrize("dots", [(300, 300), (72, 144), (299.9994, 299.9994), (4000, 1200)])
def test_resolution(tmp_path, suffix, dots):
    imageio.write(Raster(smooth(3), resolution=Resolution(*dots)), tmp_path / f"a{suffix}")
    back = imageio.read(tmp_path / f"a{suffix}").resolution
    assert back is not None
    assert (back.x, back.y) == pytest.approx(dots, abs=0.02)
    imageio.write(Raster(smooth(3)), tmp_path / f"a{suffix}")
    assert imageio.read(tmp_path / f"a{suffix}").resolution is None


def test_resolution_in_centimetres(tmp_path):
    for order in "<>":
        options = {"resolution": (100, 200), "resolutionunit": "CENTIMETER", "byteorder": order}
        tifffile.imwrite(tmp_path / "a.tif", smooth(3), photometric="rgb", **options)
        assert imageio.read(tmp_path / "a.tif").resolution == Resolution(254, 508)
    tifffile.imwrite(tmp_path / "a.tif", smooth(3), photometric="rgb", resolution=(1, 1), resolutionunit="NONE")
    assert imageio.read(tmp_path / "a.tif").resolution is None


def test_progress_and_cancelling(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    pixels = picture(np.uint16, 3, 400, 300)
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", rowsperstrip=8)
    plain = tmp_path / "b.tif"
    tifffile.imwrite(plain, pixels, photometric="rgb")
    monkeypatch.setattr("engine.imageio.tiff._ROWS", 1 << 14)
    for source in (path, plain):
        shares = []
        imageio.read(source, JobContext(lambda share, _, shares=shares: shares.append(share)))
        assert len(shares) > 10
        assert shares == sorted(shares)
        assert shares[-1] == 1
        context = JobContext(lambda share, _: context.cancel() if share > 0.3 else None)  # noqa: B023
        with pytest.raises(Cancelled):
            imageio.read(source, context)
    target = tmp_path / "c.tif"
    target.write_bytes(b"old")
    context = JobContext(lambda share, _: context.cancel() if share > 0.3 else None)
    monkeypatch.setattr(tiffwrite, "_STRIP", 1 << 14)
    with pytest.raises(Cancelled):
        imageio.write(Raster(pixels), target, context=context)
    assert target.read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "b.tif", "c.tif"]


def test_probe_reads_only_the_header(tmp_path):
    options = {"compression": "lzw", "resolution": (300, 300), "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", picture(np.uint16, 3), **options)
    probe = imageio.probe(tmp_path / "a.tif")
    assert (probe.format, probe.width, probe.height, probe.channels, probe.depth) == ("TIFF", 53, 37, 3, 16)
    assert (probe.compression, probe.pages, probe.resolution) == ("LZW", 1, Resolution(300, 300))
    assert probe.refusal is None
    Image.fromarray(smooth(3)).convert("CMYK").save(tmp_path / "b.jpg")
    assert "CMYK" in (imageio.probe(tmp_path / "b.jpg").refusal or "")


def test_losslessness():
    assert all(imageio.is_lossless(name) for name in ("a.tif", ".TIFF", "b.png", ".png", Path("x/y.webp")))
    assert not any(imageio.is_lossless(name) for name in ("a.jpg", ".jpeg", "a.ora", ""))
    assert not imageio.is_lossless("a.webp", WriteOptions(lossless=False))


def test_options_are_checked():
    for wrong in ({"depth": 12}, {"quality": 0}, {"quality": 101}, {"compression": "zip"}):
        with pytest.raises(SettingsError):
            WriteOptions(**wrong)


def test_too_large_for_a_format(tmp_path):
    for suffix, width in ((".webp", 16_384), (".jpg", 65_501), (".png", 1_000_001)):
        with pytest.raises(WriteError) as caught:
            imageio.write(Raster(np.zeros((1, width, 1), np.uint8)), tmp_path / f"a{suffix}")
        assert caught.value.code == "write.size"
    assert list(tmp_path.iterdir()) == []


def test_no_codec_is_imported_before_the_first_picture():
    program = (
        "import sys, engine.imageio;"
        "heavy = {'PIL', 'tifffile', 'imagecodecs', 'tifftools', 'cv2'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
