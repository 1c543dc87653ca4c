"""Differentiable brain-inspired layers, as torch modules; their equations live in dynamics."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
