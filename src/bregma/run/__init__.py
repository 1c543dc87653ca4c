"""Seeds, progress, atomic checkpoints and devices; what is computed with them lives in the other rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
