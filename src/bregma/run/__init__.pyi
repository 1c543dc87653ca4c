from ._checkpoint import Checkpoint as Checkpoint
from ._device import device as device
from ._device import dtype as dtype
from ._fit import fit as fit
from ._fit import minibatches as minibatches
from ._progress import progress as progress
from ._seed import derive as derive
from ._seed import spawn as spawn
from ._seed import spawn_torch as spawn_torch

__all__ = [
    "Checkpoint",
    "derive",
    "device",
    "dtype",
    "fit",
    "minibatches",
    "progress",
    "spawn",
    "spawn_torch",
]
