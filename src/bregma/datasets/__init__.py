"""Generators with known truth, and small real sets; readers of files live in recording."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
