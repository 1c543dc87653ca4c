"""Prompts to train on that are none of those to be tested on."""

from __future__ import annotations

import torch

from bregma.datasets._prompt_pairs import PromptPairs
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def training_task(parts: list[Task], held_out: list[PromptPairs], seed: int) -> Task:
    """Tasks in one, in random order, without the prompts that are held out."""
    inputs, targets = (torch.cat([getattr(p, w) for p in parts]) for w in ("inputs", "targets"))
    known = {tuple(row) for p in held_out for row in torch.cat([p.clean, p.corrupt]).tolist()}
    fresh = torch.tensor([tuple(row) not in known for row in inputs.tolist()])
    if not fresh.any():
        raise InvalidArgument("all prompts to train on are among the pairs: draw fewer pairs")
    kept = fresh.nonzero().flatten()
    kept = kept[torch.randperm(len(kept), generator=spawn_torch(seed, "training_task"))]
    return Task(
        inputs[kept],
        targets[kept],
        parts[0].n_classes,
        chance=float(targets[kept].bincount().max() / len(kept)),
        best=sum(p.best * len(p) for p in parts) / len(inputs),
    )
