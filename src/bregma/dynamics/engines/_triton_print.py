"""The spelling of expressions in Triton, and how generated kernels are loaded."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from types import ModuleType

import sympy

from bregma.dynamics.engines._compile import import_text
from bregma.dynamics.language._functions import dexprel, exprel
from bregma.dynamics.language._print import Dialect

# What the engine adds ends with two underscores, which no name of an equation does
TRITON = Dialect(
    number="tl__.full((), {}, F__)",
    functions={
        sympy.exp: "math__.exp",
        sympy.log: "math__.log",
        sympy.sin: "math__.sin",
        sympy.cos: "math__.cos",
        sympy.tanh: "math__.tanh",
        sympy.floor: "math__.floor",
        "sqrt": "math__.sqrt",
        "pow": "math__.power",
        exprel: "math__.exprel",
        dexprel: "math__.dexprel",
    },
    where="tl__.where({c}, {a}, {b})",
    conjunction=" & ",
    disjunction=" | ",
    negation="(~({}))",
    quotient="math__.divide({a}, {b})",
)

HEADER = """\
from triton import jit as kernel__
from triton import language as tl__
from triton.language import constexpr
from bregma.dynamics.engines import _math_triton as math__
from bregma.dynamics.randomness import _random_triton as random__
from bregma.dynamics.engines import _triton_kernels as kernels__
F__ = constexpr(tl__.{dtype})
"""


@lru_cache(maxsize=512)
def load(source: str, dtype: str, name: str) -> ModuleType:
    """Import generated source; Triton keeps what it compiles by itself.

    Parameters
    ----------
    source : str
        Functions decorated with ``@kernel__``, in the names of `HEADER`.
    dtype : {"float32", "float64"}
        Precision of literals.
    name : str
        How the file begins, for tracebacks.

    Returns
    -------
    module
        Its functions compile when they are first launched.
    """
    text = f"{HEADER.format(dtype=dtype)}\n\n{source}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return import_text(text, f"{name}_{digest}")
