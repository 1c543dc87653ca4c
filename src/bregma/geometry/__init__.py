"""How representations compare (RSA, CKA, Procrustes, ridge, SVCCA); stimulus-to-response models live in encoding."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
