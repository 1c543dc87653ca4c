"""Image-computable front ends: motion energy, sparse coding; recorded visual areas are datasets."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
