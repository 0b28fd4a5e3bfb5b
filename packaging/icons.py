"""Makes the icons of the program for all systems from ``resources/icons/lacuna.svg``.

Usage: python packaging/icons.py FOLDER

Tried on Debian 12: read back with Pillow, icotool and icns2png. Not looked at on Windows or macOS.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SOURCE = Path(__file__).resolve().parents[1] / "resources" / "icons" / "lacuna.svg"
PNG_SIZES = (16, 24, 32, 48, 64, 128, 256, 512)
ICO_SIZES = (16, 20, 24, 32, 40, 48, 64, 128, 256)
ICNS_SIZES = (32, 64, 128, 256, 512, 1024)


def write_icons(folder: Path) -> None:
    """Write ``lacuna-SIZE.png`` for each of ``PNG_SIZES``, ``lacuna.ico`` and ``lacuna.icns`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {size: draw(size) for size in sorted({*PNG_SIZES, *ICO_SIZES, *ICNS_SIZES})}
    for size in PNG_SIZES:
        pictures[size].save(folder / f"lacuna-{size}.png")
    # Pillow would scale the largest where a size is not among those that are appended.
    for name, sizes in (("lacuna.ico", ICO_SIZES), ("lacuna.icns", ICNS_SIZES)):
        largest, others = pictures[sizes[-1]], [pictures[size] for size in sizes[:-1]]
        # Bitmaps, because older tools read no PNG in an .ico; .icns knows only PNG and takes no notice.
        largest.save(folder / name, append_images=others, sizes=[(size, size) for size in sizes], bitmap_format="bmp")


def draw(size: int) -> Image.Image:
    """The icon as a square RGBA picture of ``size`` px."""
    from PIL import Image
    from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRectF
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    image = QImage(size, size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    with QPainter(image) as painter:
        QSvgRenderer(str(SOURCE)).render(painter, QRectF(0, 0, size, size))
    encoded = QByteArray()
    buffer = QBuffer(encoded)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]  # the stub wants bytes where Qt wants a name
    return Image.open(BytesIO(encoded.data())).convert("RGBA")


if __name__ == "__main__":
    write_icons(Path(sys.argv[1]))
