"""Labelled responses and stimuli, their readers and writers; what is asked of them lives in the method rooms."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
