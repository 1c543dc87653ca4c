"""Neurons, synapses and networks as equations, and what runs them; trainable layers live in nn."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
