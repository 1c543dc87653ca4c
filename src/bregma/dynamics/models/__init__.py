"""Models of neurons as text, one file each with its source; their language lives next door."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
