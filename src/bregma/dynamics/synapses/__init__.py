"""Models of synapses and plasticity as text, one file each; those of neurons live next door."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
