"""Hard negatives: sound crops in which a detector in training finds damage."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from engine.train.data.batches import Batch, Batches
from engine.train.recipe import TrainingRecipe


class Negatives:
    """A pool of hard negatives, which is extended with the current detector at regular intervals.

    Args:
        recipe: the training recipe.
        batches: where sound crops are drawn from.
    """

    def __init__(self, recipe: TrainingRecipe, batches: Batches) -> None:
        self._settings, self._batches = recipe.negatives, batches
        self._random = torch.Generator().manual_seed(recipe.schedule.seed)
        self._pool: Tensor | None = None

    @torch.no_grad()
    def search(self, generator: Any) -> None:
        """Run a detector on sound crops; those with the largest mean square of the probability join the pool."""
        crops = self._batches.draw_sound(self._settings.candidates)
        with torch.autocast(crops.device.type, torch.bfloat16):
            logits = torch.cat([generator(part) for part in torch.split(crops, 8)])
        errors = torch.sigmoid(logits.float()).square().mean(dim=(1, 2, 3))
        worst = crops[errors.topk(self._settings.kept).indices]
        known = worst if self._pool is None else torch.cat([self._pool, worst])
        self._pool = known[-self._settings.pool :]

    def add_to(self, batch: Batch) -> Batch:
        """A batch whose first pictures are replaced by hard negatives, by their share of the recipe."""
        count = round(self._settings.share * len(batch.photo))
        if self._pool is None or not count:
            return batch
        chosen = torch.randint(len(self._pool), (count,), generator=self._random).to(self._pool.device)
        damaged, truth, labelled = batch.damaged.clone(), batch.truth.clone(), batch.labelled.clone()
        damaged[:count], truth[:count], labelled[:count] = self._pool[chosen], 0, True
        return dataclasses.replace(batch, damaged=damaged, truth=truth, labelled=labelled)
