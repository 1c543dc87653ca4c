"""Things that can be driven and recorded, what is done to them, and nulls; layers live in nn."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
