"""Nulls, ceilings, intervals and tests of any score; the scores themselves live in method rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
