"""Hard negatives: sound crops in which a detector in training finds damage."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from engine.train.data.batches import Batch, Batches
from engine.train.recipe import TrainingRecipe

_FIRST_ERROR = 0.002
"""Mean square probability that photographs are taken to have before they are searched: that of an average one."""
_SHARE_OF_NEW = 0.3
"""Weight of the newest crop in the mean error of a photograph."""


class Negatives:
    """A pool of hard negatives, which is extended with the current detector at regular intervals.

    Photographs in which the detector has found much false damage are searched more often than others.

    Args:
        recipe: the training recipe.
        batches: where sound crops are drawn from.
    """

    def __init__(self, recipe: TrainingRecipe, batches: Batches) -> None:
        self._settings, self._batches = recipe.negatives, batches
        self._random = torch.Generator().manual_seed(recipe.schedule.seed)
        self._pool: Tensor | None = None
        # Mean error lately found in crops of each photograph; all alike until they are known.
        self._errors = torch.full((len(batches.photographs.names),), _FIRST_ERROR)

    @torch.no_grad()
    def search(self, generator: Any) -> None:
        """Run a detector on sound crops; those with the largest mean square of the probability join the pool."""
        # Half of the draws are even, so that photographs in which the detector was right are seen again.
        crops, chosen = self._batches.draw_sound(self._settings.candidates, self._errors + self._errors.mean())
        with torch.autocast(crops.device.type, torch.bfloat16):
            logits = torch.cat([generator(part) for part in torch.split(crops, 8)])
        errors = torch.sigmoid(logits[:, :1].float()).square().mean(dim=(1, 2, 3))
        self._errors[chosen] += _SHARE_OF_NEW * (errors.cpu() - self._errors[chosen])
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
