"""Networks by name. Tensors are (B, C, H, W); pictures are RGB in 0..1, masks 1 = lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from engine.errors import SettingsError
from engine.train.nets.blocks import Export, Generator
from engine.train.nets.critics import PatchDiscriminator, PictureDiscriminator, ToneDiscriminator
from engine.train.nets.detect import DamageUNet
from engine.train.nets.enlarge import EdgeUpscaler
from engine.train.nets.faces import FaceNet
from engine.train.nets.inpaint import ContextEncoder, EdgeConnect, HealUNet, PartialUNet
from engine.train.nets.prior import DCGAN
from engine.train.nets.restore import Autoencoder, CleanUNet, EnhanceUNet, ToneCycle, Upscaler
from engine.train.nets.tone import ToneStatistics

N = TypeVar("N", bound=nn.Module)

NETWORKS: dict[str, Callable[..., Generator]] = {
    "autoencoder": Autoencoder,
    "context_encoder": ContextEncoder,
    "partial_unet": PartialUNet,
    "edge_connect": EdgeConnect,
    "heal_unet": HealUNet,
    "dcgan": DCGAN,
    "tone_cycle": ToneCycle,
    "tone_statistics": ToneStatistics,
    "enhance_unet": EnhanceUNet,
    "clean_unet": CleanUNet,
    "upscaler": Upscaler,
    "edge_upscaler": EdgeUpscaler,
    "damage_unet": DamageUNet,
    "face_net": FaceNet,
}
"""Name -> class of the networks that a recipe may name; called with the recipe's ``network.options``."""

DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "patch_discriminator": PatchDiscriminator,
    "picture_discriminator": PictureDiscriminator,
    "tone_discriminator": ToneDiscriminator,
}
"""Name -> class of the discriminators; called with the number of channels of their input."""


def build(table: dict[str, Callable[..., N]], name: str, options: dict[str, Any] | None = None) -> N:
    """Build a network by its name in a table.

    Raises:
        SettingsError: the table has no such network, or the network does not take these options.
    """
    if name not in table:
        raise SettingsError(
            "Unknown network {name!r}. Known: {table}.", "train.setting", name=name, table=", ".join(table)
        )
    try:
        return table[name](**(options or {}))
    except (TypeError, IndexError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise SettingsError(
            "The network {name} does not take these options: {reason}.", "train.setting", name=name, reason=error
        ) from error


__all__ = ["DISCRIMINATORS", "NETWORKS", "Export", "Generator", "build"]
