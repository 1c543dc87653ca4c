"""The literature as experiments that anyone re-runs; the mechanisms live in the other rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
