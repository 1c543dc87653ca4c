"""Seeds, progress, checkpoints, devices, a training loop; what uses them lives in other rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
