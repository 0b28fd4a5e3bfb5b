"""A generator of pictures from a latent vector, and an encoder from a picture to its latent vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.runtime.cards import Port, TileRules
from engine.train.nets.blocks import MASK, PICTURE, Export, Generator

LATENT = 64


class PictureGenerator(nn.Module):
    """Strided transposed convolutions with batch norm (Radford et al., DCGAN, 2015), for pictures of 64 px."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        sizes = [LATENT, *widths]
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for i, (a, b) in enumerate(zip(sizes, widths, strict=False)):
            self.layers.append(nn.ConvTranspose2d(a, b, 4, 1 if i == 0 else 2, 0 if i == 0 else 1, bias=False))
            self.norms.append(nn.BatchNorm2d(b))
        self.tail = nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1)
        for layer in [*self.layers, self.tail]:
            nn.init.normal_(layer.weight, 0.0, 0.02)

    def forward(self, latent: Tensor) -> Tensor:
        """Normally distributed latents (B, LATENT) to pictures (B, 3, 64, 64) in 0..1."""
        x = latent[:, :, None, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x)))
        picture: Tensor = torch.sigmoid(self.tail(x).float())
        return picture


class LatentEncoder(nn.Module):
    """Estimates the latent vector for which the generator makes a picture, from the unmasked part of the picture."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        sizes = [4, *widths]
        self.layers = nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(sizes, widths, strict=False)])
        self.tail = nn.Conv2d(widths[-1], LATENT, 4)

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """A picture (B, 3, 64, 64) and its mask (B, 1, 64, 64) to latents (B, LATENT)."""
        x = torch.cat([(picture - 0.5) * (1 - mask), mask], dim=1)
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
        latent: Tensor = self.tail(x)[:, :, 0, 0]
        return latent


class DCGAN(Generator):
    """The generator and its encoder.

    Args:
        widths: channels of the generator at 4, 8, 16 and 32 px.
        encoder: channels of the encoder at 32, 16, 8 and 4 px.
    """

    SIDE = 64
    TILE = TileRules(default=64, minimum=64, overlap=8, context=16, multiple=64)

    def __init__(self, widths: list[int] | None = None, encoder: list[int] | None = None) -> None:
        super().__init__()
        self.generator = PictureGenerator(widths or [96, 64, 48, 32])
        self.encoder = LatentEncoder(encoder or [16, 32, 48, 64])

    def forward(self, latent: Tensor, picture: Tensor | None = None, mask: Tensor | None = None) -> list[Tensor]:
        """Pictures made from latents; when a picture is given, also its reconstruction through the encoder."""
        made = [self.generator(latent)]
        if picture is not None and mask is not None:
            made.append(self.generator(self.encoder(picture, mask)))
        return made

    def exports(self) -> list[Export]:
        """Two files; between them the latent vector is optimised."""
        latent = Port("latent", "latent", channels=LATENT, low=-4.0, high=4.0, layout="NC")
        return [
            Export("encoder.onnx", self.encoder, (PICTURE, MASK), (latent,), 0),
            Export("generator.onnx", self.generator, (latent,), (Port("sample", "picture"),), 0),
        ]
