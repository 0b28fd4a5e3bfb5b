"""Bad input gives an error with a stable code or a picture with a notice, and nothing else, for any bytes."""

import errno
import os
import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import colour, imageio
from engine.errors import ReadError
from engine.imageio import WriteOptions, directories, png, tiff
from engine.jobs import JobContext
from engine.raster import Metadata, Raster, Resolution


def pixels(height=24, width=33, channels=3):
    return np.random.default_rng(3).integers(0, 256, (height, width, channels), np.uint8)


def refused(path, code):
    with pytest.raises(ReadError) as caught:
        imageio.read(path)
    assert caught.value.code == code
    assert caught.value.text().endswith(".")
    assert path.name in caught.value.text()
    return caught.value.text()


def test_places_that_hold_no_file(tmp_path):
    refused(tmp_path / "missing.tif", "read.missing")
    refused(tmp_path, "read.folder")
    (tmp_path / "empty.tif").write_bytes(b"")
    refused(tmp_path / "empty.tif", "read.empty")
    with pytest.raises(ReadError):
        imageio.probe(tmp_path / "missing.tif")
    with pytest.raises(ReadError):
        imageio.read_mask(tmp_path / "missing.tif")


def test_a_file_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_ROWS", 1 << 10)
    path, other = tmp_path / "a.tif", tmp_path / "b.tif"
    for target, value in ((path, 10), (other, 200)):
        raster = Raster(np.full((3000, 200, 3), value, np.uint16))
        imageio.write(raster, target, WriteOptions(compression="none"))
    replaced = []

    def replace(share: float, _step: str) -> None:
        if share > 0 and not replaced:
            replaced.append(other.replace(path))

    with pytest.raises(ReadError) as caught:
        imageio.read(path, JobContext(replace))
    assert caught.value.code == "read.replaced"


@pytest.mark.parametrize(("failure", "code"), [(errno.EACCES, "read.denied"), (errno.EIO, "read.failed")])
def test_unreadable_file(tmp_path, monkeypatch, failure, code):
    def deny(*_):
        raise OSError(failure, os.strerror(failure))

    # Not with permissions, because root may read everything.
    monkeypatch.setattr(imageio, "open_plain", deny)
    refused(tmp_path / "a.tif", code)


@pytest.mark.parametrize("suffix", imageio.READABLE)
def test_files_that_are_no_pictures(tmp_path, suffix):
    for contents in (b"Dear restorer, this is a letter.", b"\0" * 500, b"PK\3\4" + bytes(60), b"x"):
        (tmp_path / f"a{suffix}").write_bytes(contents)
        refused(tmp_path / f"a{suffix}", "read.format")


def test_the_contents_decide_the_format_and_a_wrong_suffix_gives_a_notice(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(imageio.encode_png(pixels()))
    raster = imageio.read(path)
    assert np.array_equal(raster.pixels, pixels())
    assert raster.notices == ("The file is a PNG, although it is called a.jpg.",)


def written(tmp_path, suffix, **options):
    path = tmp_path / f"a{suffix}"
    metadata = Metadata(
        exif=directories.Exif({271: (2, b"Phase\0"), 274: (3, b"\6\0")}, {37500: (7, b"note" * 9)}).block(),
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        iptc=b"\x1c\x02\x5a\0\4Lyon",
    )
    raster = Raster(pixels(), profile=colour.srgb(), resolution=Resolution(300, 300), metadata=metadata)
    imageio.write(raster, path, WriteOptions(**options))
    return path


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp"])
def test_truncated_files_are_never_filled_up(tmp_path, suffix):
    whole = written(tmp_path, suffix).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in (*range(12, len(whole), 97), len(whole) - 1, len(whole) - 5, len(whole) - 13):
        path.write_bytes(whole[:length])
        try:
            raster = imageio.read(path)
        except ReadError as error:
            assert error.code in ("read.truncated", "read.damaged")  # noqa: PT017
        else:
            # Our TIFFs end with metadata: the pixels before it are complete.
            assert suffix == ".tif"
            assert np.array_equal(raster.pixels, pixels())
            assert any("metadata" in notice for notice in raster.notices)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
def test_truncated_tiffs_with_the_directory_in_front(tmp_path, compression):
    stream = BytesIO()
    tifffile.imwrite(stream, pixels(200, 200), photometric="rgb", compression=compression, rowsperstrip=20)
    whole = stream.getvalue()
    path = tmp_path / "a.tif"
    for length in (len(whole) - 1, len(whole) - 30_000, len(whole) // 2):
        path.write_bytes(whole[:length])
        refused(path, "read.truncated")


def test_truncated_bmp(tmp_path):
    stream = BytesIO()
    Image.fromarray(pixels()).save(stream, "BMP")
    for length in (20, 60, len(stream.getvalue()) // 2):
        (tmp_path / "a.bmp").write_bytes(stream.getvalue()[:length])
        refused(tmp_path / "a.bmp", "read.damaged")


def test_tiff_with_a_missing_strip(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(64, 64), photometric="rgb", rowsperstrip=16, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as opened:
        counts = opened.pages[0].tags["StripByteCounts"]
        counts.overwrite((counts.value[0], 0, *counts.value[2:]))
    refused(path, "read.truncated")


def claims(width, height, extra=b""):
    """A tiny TIFF whose header states a huge size."""
    tags = {
        256: (4, struct.pack("<I", width)),
        257: (4, struct.pack("<I", height)),
        258: (3, struct.pack("<3H", *[16] * 3)),
    }
    tags |= {259: (3, b"\1\0"), 262: (3, b"\2\0"), 273: (4, struct.pack("<I", 8)), 277: (3, b"\3\0")}
    tags |= {278: (4, struct.pack("<I", height)), 279: (4, struct.pack("<I", 100))}
    return b"II*\0" + struct.pack("<I", 8) + directories.pack((tags, {}), 8) + extra


def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path):
    (tmp_path / "a.tif").write_bytes(claims(10**6, 10**6))
    assert "1000000 × 1000000" in refused(tmp_path / "a.tif", "read.size")
    (tmp_path / "a.tif").write_bytes(claims(40_000, 40_000, bytes(1000)))
    refused(tmp_path / "a.tif", "read.size")
    (tmp_path / "a.tif").write_bytes(claims(2000, 2000, bytes(1_000_000)))
    refused(tmp_path / "a.tif", "read.truncated")
    (tmp_path / "a.tif").write_bytes(claims(0, 10))
    refused(tmp_path / "a.tif", "read.damaged")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for width, height, colour_type in ((2**31 - 1, 2**31 - 1, 2), (40_000, 40_000, 2), (1_500_000, 1, 0)):
        header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(5000))) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(png.SIGNATURE + body)
        refused(tmp_path / "a.png", "read.size")
    whole = bytearray(written(tmp_path, ".jpg").read_bytes())
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = struct.pack(">HH", 65_000, 30_000)
    (tmp_path / "a.jpg").write_bytes(whole)
    refused(tmp_path / "a.jpg", "read.size")
    Image.fromarray(pixels()).save(tmp_path / "a.bmp")
    whole = bytearray((tmp_path / "a.bmp").read_bytes())
    whole[18:26] = struct.pack("<ii", 100_000, 100_000)
    (tmp_path / "a.bmp").write_bytes(whole)
    refused(tmp_path / "a.bmp", "read.size")


def test_highly_compressed_blank_pictures_are_not_refused(tmp_path):
    Image.new("1", (12_000, 9_000)).save(tmp_path / "a.png", bits=1)
    assert not imageio.read_mask(tmp_path / "a.png").any()
    blank = np.zeros((5000, 6000, 1), np.uint16)
    for suffix in (".tif", ".png", ".jpg", ".webp"):
        imageio.write(Raster(blank), tmp_path / f"b{suffix}", WriteOptions(quality=10))
        assert imageio.read(tmp_path / f"b{suffix}").width == 6000


def test_the_number_of_overlapping_directories_is_limited(tmp_path):
    entries = b"".join(struct.pack("<HHII", 254, 4, 1, 0) for _ in range(40_000))
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 4000) + entries)
    with pytest.raises(ReadError):
        imageio.read(path)


def test_a_png_in_the_wrong_order(tmp_path):
    data = imageio.encode_png(pixels())
    (tmp_path / "a.png").write_bytes(data[:8] + data[33:-12] + data[8:33] + data[-12:])
    refused(tmp_path / "a.png", "read.damaged")


def test_tags_of_invalid_types(tmp_path):
    path = tmp_path / "a.tif"
    layout = {256: (3, b"\4\0"), 257: (3, b"\4\0"), 258: (3, b"\x08\0"), 259: (3, b"\1\0"), 262: (3, b"\3\0")}
    layout |= {273: (3, b"\x08\0"), 277: (3, b"\1\0"), 279: (3, b"\x10\0")}
    not_a_number, negative = (11, b"\0\0\xc0\x7f"), (9, b"\xff\xff\xff\xff")
    large = (4, struct.pack("<I", 70_000))
    for value in (not_a_number, negative, large):
        for tag in layout:
            for extra in (
                {320: (value[0], value[1] * 768)},
                {320: (3, bytes(1536)), 339: value},
                {320: (3, bytes(1536))},
            ):
                tags = {**layout, tag: value, **extra}
                path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directories.pack((tags, {}), 8))
                survives(path)


def test_the_size_of_decompressed_texts_is_limited(tmp_path):
    bomb = zlib.compress(bytes(1 << 26), 9)
    data = imageio.encode_png(pixels())
    chunks = b""
    for kind, body in ((b"iCCP", b"x\0\0" + bomb), (b"zTXt", b"Author\0\0" + bomb)):
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "a.png").write_bytes(data[:33] + chunks + data[33:])
    raster = imageio.read(tmp_path / "a.png")
    assert raster.profile is None
    assert raster.metadata.exif is None


def test_kinds_of_tiff_that_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "a.tif"
    grey = pixels()[..., 0]
    cases = [
        (pixels(channels=4), {"photometric": "separated"}, "CMYK"),
        (grey.astype(np.float32), {}, "floating-point"),
        (grey.astype(np.float16), {}, "floating-point"),
        (grey.astype(np.complex64), {}, "complex"),
        (grey.astype(np.int16), {}, "negative"),
        (grey.astype(np.uint32), {}, "32 bits"),
        (pixels(), {"photometric": "cielab"}, "Lab"),
        (
            grey,
            {"photometric": "cfa", "extratags": [(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes(4), True)]},
            "raw",
        ),
        (pixels(), {"photometric": "ycbcr"}, "colours of a kind"),
        (pixels(), {"photometric": "rgb", "extratags": [(50706, 1, 4, b"\1\4\0\0", True)]}, "raw"),
        (grey, {"subfiletype": 1}, "previews"),
    ]
    for data, options, word in cases:
        tifffile.imwrite(path, data, **{"photometric": "minisblack", **options})
        assert word in refused(path, "read.mode"), word
        if word != "previews":
            assert word in imageio.probe(path).refusal


def test_cmyk_jpegs_are_refused(tmp_path):
    Image.fromarray(pixels()).convert("CMYK").save(tmp_path / "a.jpg")
    assert "convert it to RGB" in refused(tmp_path / "a.jpg", "read.mode")


def test_unknown_compression(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as opened:
        opened.pages[0].tags["Compression"].overwrite(60_001)
    refused(path, "read.compression")


@pytest.mark.parametrize(
    ("suffix", "grey"), [(".tif", False), (".tif", True), (".png", False), (".png", True), (".webp", False)]
)
def test_opacity(tmp_path, suffix, grey):
    path = tmp_path / f"a{suffix}"
    colours = pixels(channels=1 if grey else 3)

    def save(alpha):
        data = np.dstack([colours, alpha])
        if suffix == ".tif":
            kind = "minisblack" if grey else "rgb"
            tifffile.imwrite(
                path, data, photometric=kind, planarconfig="contig", extrasamples=["unassalpha"], rowsperstrip=5
            )
        else:
            Image.fromarray(data, "LA" if grey else "RGBA").save(
                path, **({"lossless": True, "exact": True} if suffix == ".webp" else {})
            )

    opaque = np.full(colours.shape[:2], 255, np.uint8)
    save(opaque)
    raster = imageio.read(path)
    assert np.array_equal(raster.pixels, colours)
    assert suffix == ".webp" or "opacity" in raster.notices[0]
    opaque[-1, -1] = 254
    save(opaque)
    assert "transparent" in refused(path, "read.transparent")
    assert np.array_equal(imageio.read_mask(path).shape, colours.shape[:2])


def test_transparent_palette_and_key_colour(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).quantize(16).save(path, transparency=3)
    refused(path, "read.transparent")
    Image.fromarray(pixels()).save(path, transparency=tuple(map(int, pixels()[2, 2])))
    refused(path, "read.transparent")


def test_further_channels_are_dropped_with_a_notice(tmp_path):
    path = tmp_path / "a.tif"
    data = np.dstack([pixels(), pixels()[..., :1]]).astype(np.uint16) * 257
    for planar in ("contig", "separate"):
        stored = data if planar == "contig" else data.transpose(2, 0, 1)
        for compression in (None, "zlib"):
            options = {"planarconfig": planar, "extrasamples": ["unspecified"], "compression": compression}
            tifffile.imwrite(path, stored, photometric="rgb", **options)
            raster = imageio.read(path)
            assert np.array_equal(raster.pixels, data[..., :3])
            assert "infrared" in raster.notices[0]


def test_pages(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(pixels()[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(pixels(), photometric="rgb", metadata=None)
        file.write(pixels()[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    raster = imageio.read(path)
    assert np.array_equal(raster.pixels, pixels())
    assert raster.notices == ()
    assert imageio.probe(path).pages == 1
    with tifffile.TiffWriter(path) as file:
        for shift in range(3):
            file.write(np.roll(pixels(), shift, axis=0), photometric="rgb", metadata=None)
    raster = imageio.read(path)
    assert np.array_equal(raster.pixels, pixels())
    assert "3 pictures" in raster.notices[0]
    assert imageio.probe(path).pages == 3
    frames = [Image.fromarray(np.roll(pixels(), shift, axis=0)) for shift in range(4)]
    for suffix, options in ((".png", {}), (".webp", {"lossless": True})):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=100, **options)
        raster = imageio.read(tmp_path / f"a{suffix}")
        assert np.array_equal(raster.pixels, pixels())
        assert any("pictures" in notice for notice in raster.notices)


def test_photoshop_layers_give_a_notice(tmp_path):
    tags = [(37724, 7, 40, b"Adobe Photoshop Document Data Block\0" + bytes(4), True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels(), photometric="rgb", extratags=tags)
    raster = imageio.read(tmp_path / "a.tif")
    assert any("layers" in notice for notice in raster.notices)
    assert 37724 not in raster.metadata.tags


def test_oddities_leave_no_log_lines(tmp_path, caplog, capfd):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(), photometric="rgb", extratags=[(65000, 2, 3, b"\xff\xfe\0", True)])
    whole = path.read_bytes()
    imageio.read(path)
    for at in range(8, 200, 3):
        path.write_bytes(whole[:at] + b"\xf7" + whole[at + 1 :])
        with suppress(ReadError):
            imageio.read(path)
    for suffix in (".png", ".jpg", ".webp"):
        imageio.write(Raster(pixels(), profile=b"no profile"), tmp_path / f"a{suffix}")
        imageio.read(tmp_path / f"a{suffix}")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


SEEDS: dict[str, bytes] = {}


def seeds(folder):
    """Small valid files of every kind."""
    if SEEDS:
        return SEEDS
    for suffix in (".tif", ".png", ".jpg", ".webp"):
        SEEDS[f"ours{suffix}"] = written(folder, suffix).read_bytes()
    for name, options in {
        "tiled": {"tile": (16, 16), "compression": "zlib", "predictor": True},
        "lzw": {"compression": "lzw", "byteorder": ">"},
        "packbits": {"compression": "packbits", "rowsperstrip": 5},
        "jpeg": {"compression": "jpeg", "tile": (16, 16)},
        "big": {"bigtiff": True, "byteorder": ">"},
    }.items():
        stream = BytesIO()
        tifffile.imwrite(stream, pixels(), photometric="rgb", **options)
        SEEDS[f"{name}.tif"] = stream.getvalue()
    for mode, suffix in (("P", "tiff"), ("1", "tiff"), ("P", "png"), ("RGBA", "png"), ("P", "bmp"), ("RGB", "bmp")):
        stream = BytesIO()
        original = Image.fromarray(pixels())
        (original.quantize(30) if mode == "P" else original.convert(mode)).save(stream, suffix)
        SEEDS[f"{mode}.{suffix}"] = stream.getvalue()
    return SEEDS


def survives(path):
    """Read a file: it must give a picture or an ``EngineError``."""
    for look in (imageio.read, imageio.probe, imageio.read_mask):
        with suppress(ReadError):
            assert isinstance(look(path), Raster | imageio.Probe | np.ndarray)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_damage_gives_a_picture_or_a_sentence(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    every = seeds(folder)
    name = data.draw(st.sampled_from(sorted(every)))
    damaged = bytearray(every[name])
    places = st.integers(0, min(len(damaged) - 1, 400)) | st.integers(0, len(damaged) - 1)
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        damaged[at] = value
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    path = folder / name
    path.write_bytes(damaged)
    survives(path)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from(
        [
            b"",
            b"II*\0\x08\0\0\0",
            b"MM\0*",
            b"II+\0\x08\0\0\0",
            png.SIGNATURE,
            b"\xff\xd8\xff",
            b"RIFF\x40\0\0\0WEBP",
            b"BM",
        ]
    ),
    st.binary(max_size=300),
)
def test_random_bytes_give_a_sentence(tmp_path_factory, beginning, rest):
    path = tmp_path_factory.getbasetemp() / "random.tif"
    path.write_bytes(beginning + rest)
    survives(path)
    with pytest.raises(ReadError):
        imageio.decode_png(beginning + rest, 1000)


any_bytes = st.none() | st.binary(max_size=80)
any_exif = any_bytes | st.binary(max_size=80).map(lambda rest: b"II*\0\x08\0\0\0" + rest)
any_tags = st.dictionaries(st.integers(-1, 70_000), st.tuples(st.integers(0, 20), st.binary(max_size=20)), max_size=4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.builds(Metadata, exif=any_exif, xmp=any_bytes, iptc=any_bytes, tags=any_tags),
    any_bytes,
    st.builds(Resolution, st.floats(), st.floats()),
    st.sampled_from((".tif", ".png", ".jpg", ".webp")),
)
def test_hostile_metadata_does_not_spoil_a_picture(tmp_path_factory, metadata, profile, resolution, suffix):
    path = tmp_path_factory.getbasetemp() / f"hostile{suffix}"
    imageio.write(Raster(pixels(), profile=profile, resolution=resolution, metadata=metadata), path)
    back = imageio.read(path)
    assert back.pixels.shape == pixels().shape
    assert suffix == ".jpg" or np.array_equal(back.pixels, pixels())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_random_metadata_is_parsed_or_refused(data):
    assert directories.parse(data) is None or directories.parse(data).block()
    directories.parse(b"II*\0\x08\0\0\0" + data)
    directories.parse(b"MM\0*\0\0\0\x08" + data)
