"""Pictures that the tests of the training make for themselves."""

from __future__ import annotations

import cv2
import numpy as np


def scene(height: int = 200, width: int = 220, seed: int = 0) -> np.ndarray:
    """Smooth patches with edges and some texture, uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(30, 225, (height // 20 + 1, width // 20 + 1, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture[:, width // 2 :] = 255 - picture[:, width // 2 :]
    texture = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 1.2)
    return np.clip(picture + 25 * texture[..., None], 0, 255).astype(np.uint8)
