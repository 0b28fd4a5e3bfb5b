"""Make the sample scan: scikit-image's astronaut (NASA, public domain), aged by ``engine.train.degrade``.

Run from the top of the repository; needs scikit-image, which nothing else does. Writes
``resources/samples/astronaut.tif`` (16 bit, Adobe RGB, 300 dpi) and its repair mask.
"""

from pathlib import Path

import imagecodecs
import numpy as np
from skimage.data import astronaut

from engine import colour, imageio, masks
from engine.raster import Metadata, Raster, Resolution
from engine.train import degrade

LIGHT, DARK = (0.95, 0.93, 0.88), (0.16, 0.12, 0.1)


def main() -> None:
    """Write the scan and the mask."""
    random = np.random.default_rng(1969)
    photo = degrade.grain(degrade.fade(astronaut().astype(np.float32) / 255, 0.35), 0.012, 0.7, random)
    lost = np.zeros(photo.shape[:2], np.uint8)
    for kind, coverage, tone, softness, strength in (
        ("dust", 0.004, LIGHT, 0.5, 1.0),
        ("dust", 0.002, DARK, 0.5, 0.9),
        ("hair", 0.006, DARK, 0.5, 0.85),
        ("scratch", 0.012, LIGHT, 0.5, 0.9),
        ("crease", 0.02, LIGHT, 0.6, 1.0),
    ):
        mask = degrade.draw_mask(kind, lost.shape, coverage, random)
        photo = degrade.composite(photo, mask, tone, softness, strength)
        lost = np.maximum(lost, mask)
    adobe = bytes(imagecodecs.cms_profile("adobergb"))
    pixels = colour.convert(np.clip(photo, 0, 1), colour.srgb(), adobe)
    scan = np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    raster = Raster(scan, adobe, Resolution(300, 300), Metadata())
    imageio.write(raster, Path("resources/samples/astronaut.tif"))
    imageio.write_mask(masks.grow(lost, 2), Path("resources/samples/astronaut-mask.png"))


if __name__ == "__main__":
    main()
