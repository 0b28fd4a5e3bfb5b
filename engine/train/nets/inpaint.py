"""Networks that fill masked parts of a picture."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.raster import LUMA
from engine.runtime.cards import Port, TileRules
from engine.train.nets.blocks import FILLED, MASK, PICTURE, Export, Generator, UNet, membrane, tile_rules


class HealUNet(UNet, Generator):
    """A U-Net that corrects a membrane filling (``membrane``); untrained, it gives the membrane filling itself.

    Args:
        widths, blocks: see ``UNet``.
        guides: number of further input channels beside picture and mask.
    """

    MULTIPLE = 32
    TILE = tile_rules(32, default=1024)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None, guides: int = 0) -> None:
        super().__init__(4 + guides, 3, widths or [48, 96, 128, 192], blocks or [1, 2, 3, 4])

    def forward(self, picture: Tensor, mask: Tensor, guide: Tensor | None = None) -> Tensor:
        """Fill the lost part.

        Args:
            picture: (B, 3, H, W) in 0..1; values under the mask have no influence.
            mask: (B, 1, H, W), 1 = lost.
            guide: (B, guides, H, W), if the network has guides.

        Returns:
            (B, 3, H, W), not clipped; equal to the picture where the mask is 0.
        """
        with torch.autocast(picture.device.type, enabled=False):
            rough = membrane(picture, mask, 5)
        planes = [rough - 0.5, mask] if guide is None else [rough - 0.5, mask, guide]
        return rough + mask * self.features(torch.cat(planes, dim=1))

    def exports(self) -> list[Export]:
        """One file."""
        return [Export("model.onnx", self, (PICTURE, MASK), (FILLED,), self.MULTIPLE)]


class ContextEncoder(Generator):
    """Encoder, channel-wise fully connected bottleneck, decoder (Pathak et al., Context encoders, 2016).

    The bottleneck connects all positions of a channel with each other, so that the middle of a large hole depends on
    all known pixels. Therefore pictures have one fixed size.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the resolution.
        side: height and width of the pictures, a multiple of 16.
    """

    def __init__(self, widths: list[int] | None = None, side: int = 128) -> None:
        super().__init__()
        widths = widths or [16, 32, 64, 48]
        self.side, self.TILE = side, TileRules(side, side, overlap=16, context=side // 4, multiple=side)
        sizes = [4, *widths]
        self.encoder = nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(sizes)])
        places = (side // 16) ** 2
        self.bottleneck = nn.Parameter(torch.randn(widths[-1], places, places) / places**0.5)
        self.mix = nn.Conv2d(widths[-1], widths[-1], 1)
        outward = list(reversed(widths))
        self.decoder = nn.ModuleList(
            [nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(outward, [*outward[1:], 3], strict=True)]
        )

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, side, side) and (B, 1, side, side) to (B, 3, side, side), not clipped."""
        x = torch.cat([(picture - 0.5) * (1 - mask), mask], dim=1)
        for layer in self.encoder:
            x = functional.leaky_relu(layer(x), 0.2)
        batch, channels, height, width = x.shape
        x = torch.einsum("bcp,cpq->bcq", x.flatten(2), self.bottleneck.to(x.dtype)).reshape(
            batch, channels, height, width
        )
        x = functional.leaky_relu(self.mix(x), 0.2)
        for layer in self.decoder[:-1]:
            x = functional.leaky_relu(layer(x), 0.2)
        filled: Tensor = self.decoder[-1](x).float() + 0.5
        return filled

    def exports(self) -> list[Export]:
        """One file for pictures of one size."""
        return [Export("model.onnx", self, (PICTURE, MASK), (FILLED,), 0)]


class PartialConv(nn.Module):
    """A convolution over valid pixels alone (Liu et al., Image inpainting for irregular holes, 2018, equations 1, 2).

    y = W (x * v) * k / sum(v) + b and new mask 1 where any pixel under the kernel is valid, else both are 0.

    Args:
        inputs: channels of each input; each input has a mask of its own.
        outputs: channels of the output.
        size: side of the kernel.
        stride: of the convolution.
    """

    def __init__(self, inputs: list[int], outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.inputs, self.size, self.stride = inputs, size, stride
        self.convolution = nn.Conv2d(sum(inputs), outputs, size, stride, size // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, pictures: list[Tensor], valid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Convolve.

        Args:
            pictures: (B, inputs[i], H, W) each.
            valid: (B, 1, H, W) each, 1 = valid.

        Returns:
            (B, outputs, H', W') and its mask (B, 1, H', W').
        """
        y = self.convolution(torch.cat([p * v for p, v in zip(pictures, valid, strict=True)], dim=1))
        window = self.size * self.size
        count = torch.zeros(1, dtype=torch.float32, device=y.device)
        for channels, mask in zip(self.inputs, valid, strict=True):
            pooled = functional.avg_pool2d(mask.float(), self.size, self.stride, self.size // 2)
            count = count + channels * window * pooled
        known = (count > 0.5).to(y.dtype)
        share = (count / (sum(self.inputs) * window)).clamp_min(1e-6)
        return (y / share.to(y.dtype) + self.bias[None, :, None, None]) * known, known


class PartialUNet(Generator):
    """A U-Net of partial convolutions (Liu et al. 2018); pixels under the mask have no influence.

    Args:
        widths: channels at 1/2, 1/4, ... of the resolution, one for each halving.
    """

    def __init__(self, widths: list[int] | None = None) -> None:
        super().__init__()
        widths = widths or [32, 48, 64, 64, 64, 64]
        self.MULTIPLE = 2 ** len(widths)
        self.TILE = tile_rules(self.MULTIPLE)
        sizes = [3, *widths]
        self.encoder = nn.ModuleList(
            [PartialConv([a], b, 5 if i == 0 else 3, 2) for i, (a, b) in enumerate(zip(sizes, widths, strict=False))]
        )
        self.decoder = nn.ModuleList()
        for level in range(len(widths) - 1, -1, -1):
            outputs = widths[level - 1] if level else widths[0]
            self.decoder.append(PartialConv([widths[level], sizes[level]], outputs, 3))
        self.tail = PartialConv([widths[0]], 3, 3)

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) and (B, 1, H, W) to (B, 3, H, W), not clipped."""
        x, valid = (picture - 0.5) * (1 - mask), 1 - mask
        skips = []
        for layer in self.encoder:
            skips.append((x, valid))
            x, valid = layer([x], [valid])
            x = functional.leaky_relu(x, 0.1)
        for layer, (skip, known) in zip(self.decoder, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            valid = functional.interpolate(valid, scale_factor=2.0, mode="nearest")
            x, valid = layer([x, skip], [valid, known.to(valid.dtype)])
            x = functional.leaky_relu(x, 0.1)
        filled: Tensor = self.tail([x], [valid])[0].float() + 0.5
        return filled

    def exports(self) -> list[Export]:
        """One file."""
        return [Export("model.onnx", self, (PICTURE, MASK), (FILLED,), self.MULTIPLE)]


class EdgeMap(nn.Module):
    """Thin edges of a picture: Gaussian, Sobel, non-maximum suppression (Canny 1986, without the hysteresis).

    Consists of convolutions and comparisons only, so that it can be exported with the network.

    Args:
        threshold: least gradient of the luma of an edge, in 0..1 a pixel.
    """

    kernels: Tensor
    smooth: Tensor

    def __init__(self, threshold: float = 0.06) -> None:
        super().__init__()
        self.threshold = threshold
        line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        self.register_buffer("smooth", torch.outer(line, line)[None, None], persistent=False)
        self.register_buffer("kernels", torch.stack([sobel, sobel.T])[:, None], persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1, H, W) of 0 and 1."""
        # In half precision other pixels would become edges than in the exported file.
        with torch.autocast(picture.device.type, enabled=False):
            return self._thin(picture.float())

    def _thin(self, picture: Tensor) -> Tensor:
        grey = (picture * picture.new_tensor(LUMA)[None, :, None, None]).sum(dim=1, keepdim=True)
        grey = functional.conv2d(functional.pad(grey, (2, 2, 2, 2), mode="replicate"), self.smooth)
        gradient = functional.conv2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), self.kernels)
        across, down = gradient[:, :1], gradient[:, 1:]
        size = (across.square() + down.square() + 1e-12).sqrt()
        around = functional.pad(size, (1, 1, 1, 1))
        height, width = picture.shape[2], picture.shape[3]

        def shifted(dy: int, dx: int) -> Tensor:
            return around[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

        # The direction of the gradient, rounded to one of four; at an edge the gradient is largest along it.
        flat, steep = down.abs() < 0.4142 * across.abs(), across.abs() < 0.4142 * down.abs()
        slant = across * down > 0
        ahead = torch.where(
            flat, shifted(0, 1), torch.where(steep, shifted(1, 0), torch.where(slant, shifted(1, 1), shifted(1, -1)))
        )
        behind = torch.where(
            flat,
            shifted(0, -1),
            torch.where(steep, shifted(-1, 0), torch.where(slant, shifted(-1, -1), shifted(-1, 1))),
        )
        return ((size >= ahead) & (size > behind) & (size > self.threshold)).to(picture.dtype)


class EdgeGenerator(UNet):
    """Completes the edges of a picture inside the mask (Nazeri et al., EdgeConnect, 2019, section 3.1)."""

    MULTIPLE = 32

    def __init__(self, widths: list[int], blocks: list[int]) -> None:
        super().__init__(5, 1, widths, blocks)
        self.edges = EdgeMap()

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) and (B, 1, H, W) to edges (B, 1, H, W) in 0..1: found outside the mask, completed inside it."""
        with torch.autocast(picture.device.type, enabled=False):
            rough = membrane(picture, mask, 5)
            # Edges are found in the filled picture, because the rim of an unfilled hole would become an edge.
            found = self.edges(rough) * (1 - mask)
        completed = self.features(torch.cat([rough - 0.5, mask, found], dim=1)) - 2.0
        edges: Tensor = found + mask * torch.sigmoid(completed.float())
        return edges


class EdgeConnect(Generator):
    """Two networks: one completes the edges, one fills colours along them (Nazeri et al. 2019).

    Args:
        widths, blocks: of both; see ``UNet``.
    """

    MULTIPLE = 32
    TILE = tile_rules(32)

    def __init__(self, widths: list[int] | None = None, blocks: list[int] | None = None) -> None:
        super().__init__()
        widths, blocks = widths or [16, 32, 48, 48], blocks or [1, 1, 2, 2]
        self.edges = EdgeGenerator(widths, blocks)
        self.fill = HealUNet(widths, blocks, guides=1)

    def forward(self, picture: Tensor, mask: Tensor, edges: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Edges and fill; when edges are given, only the fill is computed."""
        edges = self.edges(picture, mask) if edges is None else edges
        return edges, self.fill(picture, mask, edges)

    def exports(self) -> list[Export]:
        """Two files; between them a restorer can correct the edges."""
        edges = Port("edges", "edges", channels=1)
        return [
            Export("edges.onnx", self.edges, (PICTURE, MASK), (edges,), self.MULTIPLE),
            Export("fill.onnx", self.fill, (PICTURE, MASK, edges), (FILLED,), self.MULTIPLE),
        ]
