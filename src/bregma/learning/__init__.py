"""Learning rules and optimizers of torch modules, continual learning; architectures are nn."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
