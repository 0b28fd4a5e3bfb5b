"""Metadata: EXIF, XMP, IPTC, Photoshop resources; also checked with exiftool where it is installed."""

import hashlib
import itertools
import json
import shutil
import struct
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from engine import colour, imageio
from engine.imageio import blocks, directories, jpeg
from engine.imageio.tags import Tag
from engine.raster import Metadata, Raster, Resolution

SUFFIXES = (".tif", ".png", ".jpg", ".webp")
JUDGE = shutil.which("exiftool")
NOTE = b"MAKER" + bytes(range(256)) * 3
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" tiff:Orientation="6">'
    b"<dc:source>Plate 12</dc:source></rdf:Description></rdf:RDF></x:xmpmeta>"
    b'<?xpacket end="w"?>'
)
IPTC = b"\x1c\x02\x5a\0\4Lyon" + b"\x1c\x02\x19\0\5glass"
WISHES = [
    *("-IFD0:Make=Phase", "-IFD0:Model=Repro 100", "-IFD0:Artist=Ada Müller", "-IFD0:Copyright=(c) Archive"),
    *("-IFD0:Software=ScanTool 3", "-IFD0:ModifyDate=2020:01:02 03:04:05", "-IFD0:ImageDescription=Plate 12"),
    *("-IFD0:XResolution=300", "-IFD0:YResolution=300", "-ExifIFD:DateTimeOriginal=1999:05:06 07:08:09"),
    *("-ExifIFD:ExposureTime=1/125", "-ExifIFD:FNumber=5.6", "-ExifIFD:ISO=200", "-ExifIFD:LensModel=Macro 90"),
    *("-ExifIFD:UserComment=glass plate", "-ExifIFD:ColorSpace=Uncalibrated", "-ExifIFD:ExifImageWidth=60"),
    *("-ExifIFD:ExifImageHeight=40", "-InteropIFD:InteropIndex=R03", "-GPS:GPSLatitude=48.5", "-GPS:GPSLatitudeRef=N"),
    *("-GPS:GPSLongitude=2.25", "-GPS:GPSLongitudeRef=E", "-GPS:GPSAltitude=35", "-XMP-dc:Title=Title ü"),
    *("-XMP-dc:Subject=glass", "-XMP-dc:Subject=plate", "-XMP-xmp:Rating=4", "-XMP-photoshop:Credit=me"),
    *("-IPTC:Keywords=alpha", "-IPTC:Keywords=beta", "-IPTC:City=Lyon", "-IPTC:Caption-Abstract=A plate"),
]
GROUPS = ("IFD0", "ExifIFD", "InteropIFD", "GPS", "XMP", "IPTC", "ICC")
LAYOUT = {
    *("ImageWidth", "ImageHeight", "BitsPerSample", "Compression", "PhotometricInterpretation", "StripOffsets"),
    *("SamplesPerPixel", "RowsPerStrip", "StripByteCounts", "PlanarConfiguration", "Predictor", "Orientation"),
    *("YCbCrPositioning", "SubfileType"),
}


def pixels(height=40, width=60, channels=3):
    return np.random.default_rng(5).integers(0, 256, (height, width, channels), np.uint8)


def long(value):
    return directories.LONG, struct.pack("<I", value)


def short(value):
    return directories.SHORT, struct.pack("<H", value)


def block(orientation=1, width=60, height=40):
    main = {271: (2, b"Phase\0"), 274: short(orientation), **directories.resolution_tags(Resolution(300, 300))}
    exif = {37500: (7, NOTE), 40962: long(width), 40963: short(height), 33434: (5, struct.pack("<II", 1, 125))}
    return directories.Exif(main, exif, {1: (2, b"N\0")}, {1: (2, b"R03\0")}).block()


def full(orientation=1):
    metadata = Metadata(exif=block(orientation), xmp=XMP, iptc=IPTC)
    return Raster(pixels(), profile=colour.srgb(), resolution=Resolution(300, 300), metadata=metadata)


def judged(path):
    command = ["exiftool", "-j", "-G1", "-n", "-a", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(run.stdout)[0]
    complaints = [value for name, value in told.items() if name.endswith((":Warning", ":Error"))]
    # exiftool does not know the invented maker note.
    assert set(complaints) <= {"[minor] Unrecognized MakerNotes"}
    return told


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for suffix in SUFFIXES:
        imageio.write(
            Raster(pixels(), profile=colour.srgb(), resolution=Resolution(300, 300)), folder / f"scan{suffix}"
        )
    if JUDGE:
        files = [str(folder / f"scan{suffix}") for suffix in SUFFIXES]
        subprocess.run(
            ["exiftool", "-q", "-m", "-overwrite_original", *WISHES, *files], check=True, capture_output=True
        )
    return folder


@pytest.mark.skipif(JUDGE is None, reason="exiftool is not installed; our own reader judges in the tests below")
@pytest.mark.parametrize("source", SUFFIXES)
def test_exiftool_finds_everything_again(sources, tmp_path, source):
    scan = sources / f"scan{source}"
    before = judged(scan)
    wanted = {
        name: value
        for name, value in before.items()
        if name.startswith(GROUPS) and name.partition(":")[2] not in LAYOUT
    }
    assert len(wanted) > 40
    raster = imageio.read(scan)
    assert raster.notices == ()
    for target in SUFFIXES:
        notices = imageio.write(raster, tmp_path / f"out{target}")
        after = judged(tmp_path / f"out{target}")
        lost = {name for name, value in wanted.items() if after.get(name) != value}
        if target == ".webp":
            assert any("IPTC" in notice for notice in notices) == (source != ".webp")
            lost = {name for name in lost if not name.startswith("IPTC")}
        assert lost == set(), target


@pytest.mark.skipif(JUDGE is None, reason="exiftool is not installed; our own reader judges in the tests below")
def test_exiftool_reads_what_we_make_from_nothing(tmp_path):
    for suffix in SUFFIXES:
        imageio.write(full(), tmp_path / f"a{suffix}")
        told = judged(tmp_path / f"a{suffix}")
        assert told["IFD0:Make"] == "Phase"
        assert told["XMP-dc:Source"] == "Plate 12"
        assert suffix == ".webp" or told["IPTC:City"] == "Lyon"
        assert told["IFD0:XResolution"] == 300


@pytest.mark.parametrize(("source", "target"), list(itertools.product(SUFFIXES, SUFFIXES)))
def test_blocks_survive_every_pair_of_formats(tmp_path, source, target):
    imageio.write(full(orientation=1), tmp_path / f"a{source}")
    first = imageio.read(tmp_path / f"a{source}")
    imageio.write(first, tmp_path / f"b{target}")
    back = imageio.read(tmp_path / f"b{target}")
    exif = directories.parse(back.metadata.exif)
    assert exif.exif[37500] == (7, NOTE)
    assert (exif.main[271], exif.gps[1], exif.interop[1]) == ((2, b"Phase\0"), (2, b"N\0"), (2, b"R03\0"))
    assert back.metadata.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert back.metadata.iptc == (None if ".webp" in (source, target) else IPTC)
    assert back.resolution == Resolution(300, 300)
    assert back.profile == colour.srgb()
    assert back.notices == ()
    assert imageio.probe(tmp_path / f"b{target}").metadata == tuple(back.metadata.names())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_of_turned_pictures_says_upright_and_stays_in_place(tmp_path, suffix):
    exif = block(orientation=6)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels()).save(path, exif=exif if suffix == ".png" else b"Exif\0\0" + exif)
    raster = imageio.read(path)
    assert (raster.width, raster.height) == (40, 60)
    patched = directories.parse(raster.metadata.exif)
    assert directories.number(patched.main, 274, 0) == 1
    assert directories.number(patched.exif, 40962, 0) == 40
    assert directories.number(patched.exif, 40963, 0) == 60
    assert len(raster.metadata.exif) == len(exif)
    assert raster.metadata.exif.index(NOTE) == exif.index(NOTE)


def test_big_endian_exif_and_its_thumbnail(tmp_path):
    thumbnail = b"\xff\xd8thumbnail\xff\xd9"
    main = struct.pack(">HHHIHxx", 2, 274, 3, 1, 8)
    main += struct.pack(">HHII", 271, 2, 6, 38) + struct.pack(">I", 44) + b"Phase\0"
    first = struct.pack(">H", 2) + struct.pack(">HHII", 513, 4, 1, 74) + struct.pack(">HHII", 514, 4, 1, len(thumbnail))
    exif = b"MM\0*\0\0\0\x08" + main + first + bytes(4) + thumbnail
    assert exif.index(b"Phase") == 38
    assert exif.index(thumbnail) == 74
    Image.fromarray(pixels()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    raster = imageio.read(tmp_path / "a.jpg")
    assert (raster.width, raster.height) == (40, 60)
    kept = raster.metadata.exif
    assert kept.startswith(b"MM")
    assert b"thumbnail" not in kept
    assert directories.parse(kept).main[271] == (2, b"Phase\0")
    assert directories.orientation(kept) == 1
    imageio.write(raster, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert opened.pages[0].tags["Make"].value == "Phase"
        assert opened.pages[0].tags["Orientation"].value == 1


def test_tiff_tags_of_a_big_endian_scan(tmp_path):
    tags = [(285, 2, 0, "Page", True), (65000, 12, 2, (1.5, -2.5), True), (65001, 3, 3, (1, 2, 3), True)]
    tags += [(700, 1, len(XMP), XMP, True), (33723, 7, len(IPTC), IPTC, True)]
    for order, big in itertools.product("<>", (False, True)):
        options = {"byteorder": order, "bigtiff": big, "software": "Tool", "metadata": None, "description": "Glass"}
        tifffile.imwrite(tmp_path / "a.tif", pixels(), photometric="rgb", extratags=tags, **options)
        raster = imageio.read(tmp_path / "a.tif")
        assert raster.metadata.tags[65000] == (12, struct.pack("<2d", 1.5, -2.5))
        assert raster.metadata.tags[65001] == (3, struct.pack("<3H", 1, 2, 3))
        assert raster.metadata.iptc == IPTC
        (tmp_path / "a.tif").unlink()
        imageio.write(raster, tmp_path / "b.tif")
        with tifffile.TiffFile(tmp_path / "b.tif") as opened:
            found = opened.pages[0].tags
            assert found["Software"].value == "Tool"
            assert found["ImageDescription"].value == "Glass"
            assert found[285].value == "Page"
            assert found[65000].value == (1.5, -2.5)
            assert found[65001].value == (1, 2, 3)
        (notice,) = imageio.write(raster, tmp_path / "b.png")
        assert "65000" in notice


def test_transfer_curves_go_with_their_depth(tmp_path):
    curve = (3, np.arange(256, dtype="<u2").tobytes())
    raster = Raster(pixels(), metadata=Metadata(tags={301: curve}))
    imageio.write(raster, tmp_path / "a.tif")
    assert imageio.read(tmp_path / "a.tif").metadata.tags[301] == curve
    imageio.write(raster, tmp_path / "a.tif", imageio.WriteOptions(depth=16))
    assert 301 not in imageio.read(tmp_path / "a.tif").metadata.tags


def resource(number, data, name=b"\0\0"):
    return b"8BIM" + struct.pack(">H", number) + name + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(SUFFIXES[:3], SUFFIXES[:3])))
def test_photoshop_resources(tmp_path, source, target):
    dots = struct.pack(">IHHIHH", 72 << 16, 1, 1, 72 << 16, 1, 1)
    path_resource = resource(2000, b"clipping path", b"\4edge\0")
    everything = resource(1005, dots) + path_resource + resource(1036, b"thumbnail") + resource(1028, IPTC)
    kept, iptc = blocks.split_resources(everything)
    assert iptc == IPTC
    metadata = Metadata(iptc=iptc, tags={Tag.PHOTOSHOP: (directories.BYTE, kept)})
    imageio.write(Raster(pixels(), resolution=Resolution(300, 600), metadata=metadata), tmp_path / f"a{source}")
    imageio.write(imageio.read(tmp_path / f"a{source}"), tmp_path / f"b{target}")
    back = imageio.read(tmp_path / f"b{target}")
    assert back.metadata.iptc == IPTC
    _, found = back.metadata.tags[Tag.PHOTOSHOP]
    assert path_resource in found
    assert b"thumbnail" not in found
    assert resource(1005, struct.pack(">IHHIHH", 300 << 16, 1, 1, 600 << 16, 1, 1)) in found


def test_broken_photoshop_resources_end_where_they_break():
    good = resource(2000, b"path")
    for broken in (b"8BIM", resource(2001, b"long")[:-2], b"8BIM\0\1\xff" + bytes(20), b"XXXX" + bytes(20)):
        assert blocks.split_resources(good + broken)[0] == good
    assert blocks.split_resources(b"") == (None, None)


def test_long_metadata_in_a_jpeg(tmp_path):
    packet = XMP.replace(b"Plate 12", b"Plate " * 30_000)
    iptc = b"".join(b"\x1c\x02\x19" + struct.pack(">H", 30_000) + bytes(30_000) for _ in range(5))
    exif = directories.Exif({271: (2, b"Phase\0")}, {37500: (7, bytes(70_000))}).block()
    raster = Raster(pixels(), metadata=Metadata(exif=exif, xmp=packet, iptc=iptc))
    notices = imageio.write(raster, tmp_path / "a.jpg")
    assert any("EXIF data is too long" in notice for notice in notices)
    back = imageio.read(tmp_path / "a.jpg")
    assert back.metadata.iptc == iptc
    assert b"Plate " * 30_000 in back.metadata.xmp
    assert b"HasExtendedXMP" not in back.metadata.xmp
    assert b'tiff:Orientation="1"' in back.metadata.xmp
    if JUDGE:
        assert judged(tmp_path / "a.jpg")["XMP-dc:Source"].startswith("Plate Plate")


def test_a_damaged_xmp_extension_gives_a_notice(tmp_path):
    imageio.write(Raster(pixels(), metadata=Metadata(xmp=XMP.replace(b"12", b"1" * 200_000))), tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"1" * 1000) + 500] = ord("2")
    (tmp_path / "a.jpg").write_bytes(data)
    raster = imageio.read(tmp_path / "a.jpg")
    assert any("XMP" in notice for notice in raster.notices)


def test_an_xmp_extension_with_namespaces_on_its_root_is_not_merged():
    extension = XMP.replace(b"Plate", b"More")
    name = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    packet = blocks.pointer_packet(name).replace(b"<rdf:RDF ", b'<rdf:RDF xmlns:dc="http://purl.org/dc/elements/1.1/" ')
    assert blocks.extension_id(packet) == name
    assert blocks.merge_xmp(packet, extension) is None
    assert b"More" in blocks.merge_xmp(blocks.pointer_packet(name), extension)


def test_texts_and_gamma_of_a_png(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Ada")
    texts.add_text("Description", "Plate", zip=True)
    texts.add_itxt("Copyright", "Archive")
    texts.add_text("Weather", "rain")
    texts.add(b"gAMA", struct.pack(">I", 100_000))
    Image.fromarray(pixels()).save(tmp_path / "a.png", pnginfo=texts)
    raster = imageio.read(tmp_path / "a.png")
    main = directories.parse(raster.metadata.exif).main
    assert (main[315], main[270], main[33432]) == ((2, b"Ada\0"), (2, b"Plate\0"), (2, b"Archive\0"))
    assert any("Weather" in notice for notice in raster.notices)
    assert any("gamma" in notice for notice in raster.notices)


def test_raw_profiles_of_a_png(tmp_path):
    texts = PngImagePlugin.PngInfo()
    for kind, data in (("exif", b"Exif\0\0" + block(6)), ("iptc", IPTC), ("xmp", XMP), ("icc", colour.srgb())):
        texts.add_text(f"Raw profile type {kind}", blocks.to_text_profile(kind, data).decode(), zip=True)
    Image.fromarray(pixels()).save(tmp_path / "a.png", pnginfo=texts)
    raster = imageio.read(tmp_path / "a.png")
    assert (raster.width, raster.height) == (40, 60)
    assert raster.metadata.names() == ["exif", "xmp", "iptc"]
    assert raster.metadata.iptc == IPTC
    assert raster.profile == colour.srgb()
    assert raster.notices == ()


def test_damaged_chunks_and_blocks_give_a_notice(tmp_path):
    imageio.write(full(), tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes().replace(b"Plate 12", b"Plate 13")
    (tmp_path / "b.png").write_bytes(data)
    raster = imageio.read(tmp_path / "b.png")
    assert raster.metadata.xmp is None
    assert any("metadata is damaged" in notice for notice in raster.notices)
    for suffix in (".jpg", ".webp"):
        Image.fromarray(pixels()).save(tmp_path / f"c{suffix}", exif=b"Exif\0\0no exif at all")
        raster = imageio.read(tmp_path / f"c{suffix}")
        assert raster.metadata.exif is None
        assert any("EXIF" in notice for notice in raster.notices)


def test_jpeg_comments_give_a_notice(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.jpg", comment=b"hello")
    assert any("comment" in notice for notice in imageio.read(tmp_path / "a.jpg").notices)


def test_jpeg_density(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels()).save(path, dpi=(240, 240))
    assert imageio.read(path).resolution == Resolution(240, 240)
    data = bytearray(path.read_bytes())
    at = data.index(b"JFIF\0") + 7
    data[at : at + 5] = struct.pack(">BHH", 2, 100, 100)
    path.write_bytes(data)
    assert imageio.read(path).resolution == Resolution(254, 254)
    data[at] = 0
    path.write_bytes(data)
    assert imageio.read(path).resolution is None


def test_missing_profile_parts_of_a_jpeg(tmp_path):
    imageio.write(Raster(pixels(), profile=colour.srgb()), tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"ICC_PROFILE\0") + 13] = 2
    (tmp_path / "a.jpg").write_bytes(data)
    raster = imageio.read(tmp_path / "a.jpg")
    assert raster.profile is None
    assert any("profile" in notice for notice in raster.notices)
    with (tmp_path / "a.jpg").open("rb") as file:
        assert jpeg.inspect(file, len(data)).profile == b""


def test_a_new_size_and_resolution_reach_the_exif(tmp_path):
    raster = full().with_pixels(pixels(80, 120))
    bigger = Raster(raster.pixels, resolution=Resolution(600, 600), metadata=raster.metadata)
    for suffix in SUFFIXES:
        imageio.write(bigger, tmp_path / f"a{suffix}")
        back = imageio.read(tmp_path / f"a{suffix}")
        exif = directories.parse(back.metadata.exif)
        assert (directories.number(exif.exif, 40962, 0), directories.number(exif.exif, 40963, 0)) == (120, 80)
        assert directories.resolution_of(exif.main) == back.resolution == Resolution(600, 600)


def test_looping_directories_end():
    ring = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 34665, 4, 1, 8) + struct.pack("<I", 8)
    parsed = directories.parse(ring)
    assert parsed is not None
    assert directories.parse(parsed.block()) is not None
    assert directories.normalise_exif(ring, 1, 1, None)


def test_iptc_padding_is_removed():
    assert blocks.records(IPTC + b"\0\0\0") == IPTC
    assert blocks.records(IPTC + b"rest") == IPTC + b"rest"
    extended = b"\x1c\x02\x19\x80\4" + struct.pack(">I", 3) + b"abc"
    assert blocks.records(extended + b"\0") == extended
