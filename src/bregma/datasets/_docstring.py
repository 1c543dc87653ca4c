"""Which argument does the docstring describe next? The one that is next in the definition."""

from __future__ import annotations

import torch

from bregma.datasets._lexicon import Lexicon, distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

CODE = Lexicon(
    start="<start>",
    functions="load save fit draw send parse",
    arguments="size name path color mode shape key line date text rate port step file user item",
    says="optional required integer string list positive",
    others="def ( self , ) : param",
)


def docstring(n: int, *, seed: int) -> PromptPairs:
    """A function of four arguments, of which a docstring has described two: name the third.

    ``def load ( self , size , path , key , date ) : param size optional : param path list : param``
    asks for key. Names are drawn anew for each prompt. Corrupt prompts define the last two
    arguments in the other order, and so ask for the wrong answer.

    Parameters
    ----------
    n : int
        How many pairs.
    seed : int
        Draws them.

    Returns
    -------
    PromptPairs
        Chance is 1 in 16 names; an argument that was not yet described is right in half of the
        cases.

    Raises
    ------
    InvalidArgument
        Nothing is asked for.

    References
    ----------
    Heimersheim and Janiak (2023), A circuit for Python docstrings in a 4-layer attention-only
    transformer.

    Examples
    --------
    >>> definition, *described = docstring(1, seed=0).text(0).splitlines()[0].split(" : ")
    >>> definition
    'clean:   <start> def fit ( self , shape , path , date , port )'
    >>> described
    ['param shape string', 'param path list', 'param -> date, not port']
    """
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    rng = spawn_torch(seed, "docstring")
    arguments = distinct(CODE["arguments"], n, 4, rng)
    (function,) = distinct(CODE["functions"], n, 1, rng)
    says = distinct(CODE["says"], n, 2, rng)

    def prompts(third: torch.Tensor, fourth: torch.Tensor) -> torch.Tensor:
        return CODE.fill(
            "<start> def function ( self , a , b , c , d ) : param a x : param b y : param",
            function=function,
            **dict(zip("abcdxy", [*arguments[:2], third, fourth, *says], strict=True)),
        )

    return PromptPairs(
        clean=prompts(arguments[2], arguments[3]),
        corrupt=prompts(arguments[3], arguments[2]),
        right=arguments[2],
        wrong=arguments[3],
        words=CODE.words,
        name="docstring",
    )
