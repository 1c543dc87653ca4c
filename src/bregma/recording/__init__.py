"""Labelled responses and stimuli, readers and writers; questions to them live in other rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
