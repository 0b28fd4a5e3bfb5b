"""Masks, and PNGs in memory as project files hold them."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from engine import colour, imageio
from engine.errors import ReadError
from engine.jobs import Cancelled, JobContext
from engine.raster import Raster


def picture(dtype, channels, height=37, width=53):
    top = np.iinfo(dtype).max
    return np.random.default_rng(7).integers(0, top + 1, (height, width, channels), dtype)


def test_masks(tmp_path):
    mask = picture(np.uint8, 1)[..., 0]
    path = tmp_path / "mask.png"
    imageio.write_mask(mask, path)
    assert np.array_equal(imageio.read_mask(path), mask)
    assert imageio.probe(path).channels == 1
    imageio.write(Raster(mask[..., None].astype(np.uint16) * 257), tmp_path / "mask.tif")
    assert np.array_equal(imageio.read_mask(tmp_path / "mask.tif"), mask)
    deep = np.array([[0, 128, 129, 65407, 65535]], np.uint16)
    imageio.write(Raster(deep[..., None]), tmp_path / "deep.png")
    assert imageio.read_mask(tmp_path / "deep.png").tolist() == [[0, 0, 1, 255, 255]]
    Image.fromarray(np.dstack([mask, mask // 2, mask // 3])).save(path)
    assert np.array_equal(imageio.read_mask(path), mask)
    tifffile.imwrite(tmp_path / "mask.tif", 255 - mask, photometric="miniswhite")
    assert np.array_equal(imageio.read_mask(tmp_path / "mask.tif"), mask)
    Image.fromarray(mask > 100).save(tmp_path / "mask.bmp")
    assert np.array_equal(imageio.read_mask(tmp_path / "mask.bmp"), (mask > 100) * np.uint8(255))


def test_reading_a_mask_is_told_and_can_be_called_off(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.imageio.tiff._ROWS", 1 << 14)
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, picture(np.uint8, 1, 400, 300)[..., 0], photometric="minisblack", rowsperstrip=8)
    shares = []
    imageio.read_mask(path, JobContext(lambda share, _: shares.append(share)))
    assert shares == sorted(shares)
    assert len(shares) > 5
    context = JobContext(lambda share, _: context.cancel() if share > 0.3 else None)
    with pytest.raises(Cancelled):
        imageio.read_mask(path, context)


def test_masks_with_opacity(tmp_path):
    mask = picture(np.uint8, 1)[..., 0]
    red = np.zeros((*mask.shape, 4), np.uint8)
    red[..., 3] = mask
    red[mask > 0, 0] = 200
    path = tmp_path / "mask.png"
    Image.fromarray(red).save(path)
    assert np.array_equal(imageio.read_mask(path), mask)
    for associated in ("unassalpha", "assocalpha"):
        tifffile.imwrite(tmp_path / "mask.tif", red, photometric="rgb", extrasamples=[associated])
        assert np.array_equal(imageio.read_mask(tmp_path / "mask.tif"), mask)
    red[..., 3] = 255
    Image.fromarray(red).save(path)
    assert np.array_equal(imageio.read_mask(path), red[..., 0])
    mixed = np.dstack([mask, np.full_like(mask, 128)])
    path.write_bytes(imageio.encode_png(mixed))
    assert np.array_equal(imageio.read_mask(path), (mask.astype(int) * 128 + 127) // 255)
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(path)
    assert not imageio.read_mask(path).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_in_memory(dtype, channels):
    pixels = picture(dtype, channels)
    profile = colour.srgb() if channels >= 3 else None
    data = imageio.encode_png(pixels, profile)
    back = imageio.decode_png(data, 10_000)
    assert back.dtype == dtype
    assert np.array_equal(back, pixels)
    assert np.array_equal(imagecodecs.png_decode(data).reshape(pixels.shape), pixels)
    with pytest.raises(ReadError) as caught:
        imageio.decode_png(data, pixels.shape[0] * pixels.shape[1] - 1)
    assert caught.value.code == "read.size"
    for broken in (b"", b"no picture", data[:50], data[:-20], data[:-40] + b"xy" + data[-38:]):
        with pytest.raises(ReadError):
            imageio.decode_png(broken, 10_000)


def test_strided_pixels_can_be_packed():
    pixels = picture(np.uint16, 4)
    assert np.array_equal(imageio.decode_png(imageio.encode_png(pixels[::2, ::3, :3]), 10_000), pixels[::2, ::3, :3])
