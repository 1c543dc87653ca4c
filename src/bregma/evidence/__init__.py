"""Statistics of any score (nulls, ceilings, intervals, p-values); the scores themselves live in the method rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
