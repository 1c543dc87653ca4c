"""Searching over perturbations, and testing what is found; single perturbations are system."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
