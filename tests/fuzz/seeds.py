"""Valid files to mutate: small, and of as many variants as a reader supports."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from desktop.document.autosave_folder import AutosaveFolder
from desktop.document.edits import AddLayer
from desktop.document.model import Document
from desktop.document.opening import file_stamp
from desktop.document.project import OpenedFile, Snapshot, write_project
from engine import colour, imageio
from engine.batch.reviews import Look, accept, write_look
from engine.imageio.directories import ASCII, Exif
from engine.raster import Metadata, Pixels, Raster, Rect, Resolution
from engine.record import Repair, ScanFile
from tests import tiny_models
from tests.document.test_edits import filled_layer
from tests.document.test_judgements import put_review, review_of
from tests.fuzz.mutations import unzipped, zipped

ADOBE = bytes(imagecodecs.cms_profile("adobergb"))
SOURCE = "@SOURCE@"
"""Placeholder for the path of the photograph in autosave folders."""


def pixels(height: int = 20, width: int = 30, channels: int = 3, dtype: type = np.uint8) -> Pixels:
    """A smooth picture with noise."""
    random, top = np.random.default_rng(7), np.iinfo(dtype).max
    ramp = np.linspace(0.1, 0.8, width)[None, :, None] + np.linspace(0, 0.1, height)[:, None, None]
    return ((ramp + random.normal(0, 0.01, (height, width, channels))).clip(0, 1) * top).astype(dtype)


def _raster(channels: int = 3, dtype: type = np.uint16, profile: bytes | None = ADOBE) -> Raster:
    exif = Exif(
        main={270: (ASCII, b"a picture\0"), 274: (3, b"\1\0")},
        exif={36867: (ASCII, b"1969:07:20 20:17:40\0"), 40962: (4, b"\x1e\0\0\0")},
        gps={1: (ASCII, b"N\0")},
    )
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="1"/></x:xmpmeta>'
    metadata = Metadata(exif.block(), packet, b"\x1c\x02\x78\0\5hello", {65000: (ASCII, b"more\0")})
    return Raster(pixels(channels=channels, dtype=dtype), profile, Resolution(300, 300), metadata)


def _written(suffix: str, raster: Raster, **options: object) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        imageio.write(raster, path, imageio.WriteOptions(**options))  # type: ignore[arg-type]
        return path.read_bytes()


def _tiff(data: Pixels, **more: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, **more)  # type: ignore[arg-type]
    return buffer.getvalue()


def _saved(image: Image.Image, kind: str, **more: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def tiffs() -> list[bytes]:
    """Uncompressed, compressed, tiled, planar, BigTIFF, with palette, alpha, few bits, rotated, and big-endian."""
    rgb, deep = pixels(), pixels(dtype=np.uint16)
    palette = np.arange(768, dtype=np.uint16).reshape(3, 256) * 85
    turned = [(274, "H", 1, 6, True)]
    return [
        _written(".tif", _raster(), compression="none"),
        _written(".tif", _raster(1, np.uint8, None)),
        _written(".tif", _raster(), compression="lzw"),
        _tiff(rgb, photometric="rgb", tile=(16, 16), compression="deflate", predictor=True),
        _tiff(rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", extratags=turned),
        _tiff(deep, photometric="rgb", bigtiff=True, byteorder=">"),
        _tiff(rgb, photometric="ycbcr", compression="jpeg", subsampling=(2, 2)),
        _tiff(rgb[..., 0], photometric="palette", colormap=palette, compression="packbits"),
        _tiff(pixels(channels=4), photometric="rgb", extrasamples=["unassalpha"], rowsperstrip=3),
        _tiff(rgb[..., 0] > 99, photometric="miniswhite"),
        _tiff(np.stack([rgb, rgb]), photometric="rgb", compression="zstd"),
    ]


def pngs() -> list[bytes]:
    """Of all colour types, with profile and metadata."""
    rgb = pixels()
    opacity = np.full((20, 30, 1), 255, np.uint8)
    return [
        _written(".png", _raster()),
        _written(".png", _raster(1, np.uint8, None)),
        imageio.encode_png(np.concatenate([rgb, opacity], axis=2), colour.srgb()),
        imageio.encode_png(np.concatenate([rgb[..., :1], opacity], axis=2)),
        _saved(Image.fromarray(rgb).quantize(16), "PNG", transparency=3),
        _saved(Image.fromarray(rgb[..., 0] > 99), "PNG"),
        _saved(Image.fromarray(rgb), "PNG", dpi=(72, 72), exif=_raster().metadata.exif),
    ]


def jpegs() -> list[bytes]:
    """With profile and metadata, also in several segments; grey; progressive; CMYK."""
    image = Image.fromarray(pixels())
    return [
        _written(".jpg", _raster()),
        _written(".jpg", _raster(1, np.uint8, None), quality=70),
        _saved(image, "JPEG", progressive=True, comment=b"a comment", dpi=(72, 72)),
        _saved(image, "JPEG", restart_marker_blocks=1),
        _saved(image.convert("CMYK"), "JPEG"),
    ]


def webps() -> list[bytes]:
    """Lossy and lossless, with metadata, alpha and frames."""
    image = Image.fromarray(pixels())
    return [
        _written(".webp", _raster()),
        _written(".webp", _raster(), lossless=False, quality=60),
        _saved(image, "WEBP", quality=50),
        _saved(Image.fromarray(np.dstack([pixels(), np.full((20, 30), 200, np.uint8)])), "WEBP", exact=True),
        _saved(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
    ]


def bmps() -> list[bytes]:
    """Of 1, 8, 24 and 32 bits."""
    image = Image.fromarray(pixels())
    return [
        _saved(image, "BMP", dpi=(300, 300)),
        _saved(image.quantize(16), "BMP"),
        _saved(image.convert("L"), "BMP"),
        _saved(image.convert("1"), "BMP"),
        _saved(image.convert("RGBA"), "BMP"),
    ]


def masks() -> list[bytes]:
    """Pictures of all kinds that may be masks."""
    return [*pngs(), *tiffs()[6:10], *bmps()]


def profiles() -> list[bytes]:
    """RGB and grey, matrix and table, of versions 2 and 4."""
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    grey = (colour.srgb()[:16] + b"GRAY" + colour.srgb()[20:]).replace(b"rTRC", b"kTRC", 1)
    kinds = ("srgb", "adobergb", "gray")
    made = [bytes(imagecodecs.cms_profile(kind)) for kind in kinds]
    curved = colour.with_srgb_curve(ADOBE)
    return [*made, lab, grey, *([curved] if curved else [])]


def _document(channels: int = 3, dtype: type = np.uint16) -> Document:
    raster = _raster(channels, dtype, ADOBE if channels == 3 else None)
    document = Document(dataclasses.replace(raster, pixels=pixels(90, 270, channels, dtype)))
    for number, rect in enumerate((Rect(3, 5, 60, 40), Rect(200, 10, 265, 80))):
        layer = dataclasses.replace(filled_layer(document, rect), opacity=0.5 + number / 4)
        AddLayer("add", layer, number).apply(document)
    document.scan_file = ScanFile(Path("scan.tif"), "ab" * 32)
    return document


def _looked_at(document: Document) -> Document:
    """With a search for damage that found two."""
    put_review(document, review_of(document, (Rect(20, 20, 40, 28), 250, 0), (Rect(200, 40, 262, 52), 255, 1)))
    return document


def projects() -> list[bytes]:
    """Projects of several kinds of scans, and one without our own part, as other programs write it."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ora"
        for document in (_document(), _document(1, np.uint8), _looked_at(_document(3, np.uint8))):
            write_project(Snapshot.of(document), path)
            made.append(path.read_bytes())
    own = unzipped(made[2])
    return [*made, zipped({name: data for name, data in own.items() if not name.startswith("lacuna/")})]


def reviews() -> list[bytes]:
    """The reviews of a scan of a batch: with nothing decided, and with all accepted."""
    found, made = _looked_at(_document(3, np.uint8)).state.review, []
    assert found is not None
    search = Repair("detect", "finder", "1", "", "cpu", {"threshold": 0.5}, recipe="mine")
    look = Look(dataclasses.replace(found, search=search), "ab" * 32, "cd" * 32, {"scratch": 2}, ("unsure",))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        for review in (look.review, accept(look.review, "all")):
            write_look(path, dataclasses.replace(look, review=review))
            made.append(path.read_bytes())
    return made


def autosaves() -> list[bytes]:
    """An autosave folder, and the photograph that it belongs to."""
    made = []
    for document in (_document(), _looked_at(_document(1, np.uint8))):
        with tempfile.TemporaryDirectory() as place:
            scan, folder = Path(place) / "source.tif", Path(place) / "autosave"
            state = document.state
            imageio.write(Raster(state.scan.read(state.scan.bounds)), scan)
            opened = OpenedFile(scan, file_stamp(scan))
            AutosaveFolder(folder).autosave(Snapshot.of(document, opened, 1))
            members = {
                str(path.relative_to(place)): path.read_bytes() for path in Path(place).rglob("*") if path.is_file()
            }
            manifest = members["autosave/manifest.json"].replace(str(scan).encode(), SOURCE.encode())
            made.append(zipped({**members, "autosave/manifest.json": manifest}))
    return made


def cards() -> list[bytes]:
    """Cards of models of every task."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        makers: list[Callable[[Path], object]] = [tiny_models.cleaner, tiny_models.toner, tiny_models.finder]
        makers += [tiny_models.edger, tiny_models.prior, tiny_models.enlarger]
        for make in makers:
            make(folder)
        return [path.read_bytes() for path in sorted(folder.glob("*/card.toml"))]


def models() -> list[bytes]:
    """Models, each with its card."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for make in (tiny_models.smoother, tiny_models.dimmer, tiny_models.finder, tiny_models.toner):
            make(folder)
        return [
            zipped({path.name: path.read_bytes() for path in sorted(one.iterdir())}) for one in sorted(folder.iterdir())
        ]
