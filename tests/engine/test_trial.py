"""The self-test of formats: it covers all that the reader has a name for, and it can fail."""

from pathlib import Path

import imagecodecs
import pytest

from engine.imageio import WRITABLE, tiff
from engine.imageio.trial import try_formats


def test_every_compression_with_a_name_is_tried(tmp_path: Path) -> None:
    tried = dict(try_formats(tmp_path))
    assert set(tried.values()) == {""}
    # No library here writes JPEG of the kind that was withdrawn in 1995.
    claimed = {f"TIFF {name}" for name in tiff.COMPRESSIONS.values()} - {"TIFF old JPEG"}
    assert claimed <= tried.keys()
    assert {"PNG", "JPEG", "WebP", "WebP lossless", "BMP"} <= tried.keys()
    assert len(WRITABLE) == 6
    assert list(tmp_path.iterdir()) == []


def test_a_codec_that_is_missing_or_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: object, **_settings: object) -> bytes:
        raise ImportError("DLL load failed")

    monkeypatch.setattr(imagecodecs, "png_encode", gone)
    right = imagecodecs.lzw_encode
    monkeypatch.setattr(imagecodecs, "lzw_encode", lambda data, **options: right(bytes(len(data)), **options))
    failed = {name: why for name, why in try_formats(tmp_path) if why}
    assert failed.keys() == {"PNG", "TIFF LZW"}
    assert "DLL load failed" in failed["PNG"]
    assert "differ" in failed["TIFF LZW"]
