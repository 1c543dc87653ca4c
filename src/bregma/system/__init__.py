"""Things that can be driven and recorded, what can be done to them, and systems that know nothing; layers to build them from live in nn."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
