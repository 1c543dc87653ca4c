"""Searching over architectures: spaces and moves; training one of them is run."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
