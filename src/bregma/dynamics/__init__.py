"""Neurons, synapses and plasticity as equations, and the engines that run them; trainable layers live in nn."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
