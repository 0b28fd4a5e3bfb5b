"""Makes the sample scan: scikit-image's astronaut (NASA, public domain), aged by ``engine.train.damage``.

Needs the packages for training. Writes ``resources/samples/astronaut.tif`` (16 bit, Adobe RGB, 300 dpi) and its repair
mask.
"""

import imagecodecs
import numpy as np
import torch
from skimage.data import astronaut

from engine import colour, imageio, masks
from engine.raster import Metadata, Raster, Resolution
from engine.resources import resource
from engine.train.damage.ageing import fading, film_grain
from engine.train.damage.degrade import composite
from engine.train.damage.shapes import draw_mask

PAPER = (0.93, 0.87, 0.74)
LIGHT, DARK = (0.95, 0.93, 0.88), (0.16, 0.12, 0.1)


def main() -> None:
    """Write the scan and the mask."""
    random = np.random.default_rng(1969)
    photo = torch.from_numpy(astronaut()).permute(2, 0, 1)[None].float() / 255
    noise = torch.from_numpy(random.normal(0, 1, (1, 1, *photo.shape[2:]))).float()
    photo = fading(photo, torch.full((1, 3), 0.25), torch.tensor([PAPER]))
    photo = film_grain(photo, torch.tensor([0.012]), torch.tensor([0.7]), noise)
    lost = np.zeros(photo.shape[2:], np.uint8)
    for kind, coverage, tone, softness, strength in (
        ("dust", 0.004, LIGHT, 0.5, 1.0),
        ("dust", 0.002, DARK, 0.5, 0.9),
        ("hair", 0.006, DARK, 0.5, 0.85),
        ("scratch", 0.012, LIGHT, 0.5, 0.9),
        ("crease", 0.02, LIGHT, 0.6, 1.0),
    ):
        mask = draw_mask(kind, lost.shape, coverage, random)
        cover = torch.from_numpy(mask)[None, None].float() / 255
        photo = composite(photo, cover, torch.tensor([tone]), torch.tensor([softness]), torch.tensor([strength]))
        lost = np.maximum(lost, mask)
    picture = photo[0].clamp(0, 1).permute(1, 2, 0).numpy()
    adobe = bytes(imagecodecs.cms_profile("adobergb"))
    pixels = colour.convert(np.ascontiguousarray(picture), colour.srgb(), adobe)
    scan = np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    raster = Raster(scan, adobe, Resolution(300, 300), Metadata())
    imageio.write(raster, resource("samples", "astronaut.tif"))
    imageio.write_mask(masks.grow(lost, 2), resource("samples", "astronaut-mask.png"))


if __name__ == "__main__":
    main()
