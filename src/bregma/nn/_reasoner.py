"""Tokens in, an answer per token out, and a state that is thought over again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils import skip_init

from bregma.errors import InvalidArgument
from bregma.nn._post_norm_transformer import normal_
from bregma.nn._reasoning_core import States
from bregma.nn._token_embedding import check_tokens
from bregma.run import spawn_torch

SHY = -5.0  # first bias of the halting head: both values begin near 0


class Segment(NamedTuple):
    """What a segment of reasoning gives.

    Parameters
    ----------
    logits : Float[Tensor, "batch token answer"]
        Scores of the answers.
    halt : Float[Tensor, "batch 2"]
        Logits of the values of halting and of going on.
    state : tuple of Tensor (batch, token, width)
        Where to go on from.
    """

    logits: Tensor
    halt: Tensor
    state: States


class Reasoner(nn.Module):
    """A recurrent core between an embedding of tokens and two heads: the answer, and halting.

    Parameters
    ----------
    core : TwoTimescale or OneTimescale
        Or any module with ``n_states`` that maps (states, x) to states; heads read the first one.
    width : int
        Number of features of a token.
    length : int
        Number of tokens; each place has an embedding of its own.
    n_tokens : int
        Number of different tokens.
    n_answers : int
        Number of different answers.
    seed : int
        Of the first weights, and of the states that reasoning starts from, which stay fixed.

    Raises
    ------
    InvalidArgument
        If a number is below 1.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model.

    Examples
    --------
    >>> from bregma.nn import PostNormTransformer, TwoTimescale
    >>> core = TwoTimescale(PostNormTransformer(8, seed=0), PostNormTransformer(8, seed=1))
    >>> model = Reasoner(core, width=8, length=16, n_tokens=5, n_answers=4, seed=2)
    >>> [segment.logits.shape for segment in model.think(torch.zeros(3, 16).long(), segments=2)]
    [torch.Size([3, 16, 4]), torch.Size([3, 16, 4])]
    """

    initial: Tensor

    def __init__(
        self, core: nn.Module, *, width: int, length: int, n_tokens: int, n_answers: int, seed: int
    ) -> None:
        super().__init__()
        if min(width, length, n_tokens, n_answers) < 1:
            raise InvalidArgument(
                "width, length, n_tokens and n_answers must be 1 or more, not "
                f"{(width, length, n_tokens, n_answers)}"
            )
        self.core = core
        # skip_init: everything is drawn below, and nothing from the global generator.
        self.tokens = skip_init(nn.Embedding, n_tokens, width)
        self.places = skip_init(nn.Embedding, length, width)
        self.answer = skip_init(nn.Linear, width, n_answers, bias=False)
        self.halt = skip_init(nn.Linear, width, 2)
        generator = spawn_torch(seed, "reasoner")
        for part in (self.tokens, self.places, self.answer):
            normal_(part, generator)
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, SHY)
        initial = torch.empty(int(core.n_states), width)  # type: ignore[arg-type]
        self.register_buffer("initial", nn.init.trunc_normal_(initial, generator=generator))

    def start(self, tokens: Int[Tensor, "batch token"]) -> States:
        """The states before the first segment.

        Parameters
        ----------
        tokens : Int[Tensor, "batch token"]
            The input.

        Returns
        -------
        tuple of Tensor (batch, token, width)
            The same vector at every place.

        Raises
        ------
        InvalidArgument
            If the input has another length, or a token that does not exist.
        """
        length = self.places.num_embeddings
        if tokens.ndim != 2 or tokens.shape[1] != length or not len(tokens):
            raise InvalidArgument(
                f"the input must have the shape (batch, {length}), not {tuple(tokens.shape)}"
            )
        check_tokens(tokens, self.tokens.num_embeddings)
        return tuple(z.expand(*tokens.shape, -1) for z in self.initial)

    def forward(self, tokens: Int[Tensor, "batch token"], state: States | None = None) -> Segment:
        """One segment.

        Parameters
        ----------
        tokens : Int[Tensor, "batch token"]
            The input.
        state : tuple of Tensor (batch, token, width), optional
            What the segment before gave (`detach` it where derivatives should stop); the fixed
            first states by default.

        Returns
        -------
        Segment
            Answers, values of halting and of going on, and the states.
        """
        state = self.start(tokens) if state is None else state
        # Embeddings have length 1: scaled, each feature has the size of those of the states.
        size = self.places.embedding_dim**0.5
        x = size * 0.5**0.5 * (self.tokens(tokens) + self.places.weight)
        state = self.core(state, x)
        return Segment(self.answer(state[0]), self.halt(state[0][:, 0]), state)

    def think(self, tokens: Int[Tensor, "batch token"], *, segments: int) -> Iterator[Segment]:
        """Segment after segment, without derivatives.

        Parameters
        ----------
        tokens : Int[Tensor, "batch token"]
            The input.
        segments : int
            How many segments; more than in training, too.

        Yields
        ------
        Segment
            Each segment's answers, values and states.
        """
        state = None
        for _ in range(segments):
            with torch.no_grad():
                segment = self(tokens, state)
            state = segment.state
            yield segment


def solved(
    logits: Float[Tensor, "batch token answer"], targets: Int[Tensor, "batch token"]
) -> Bool[Tensor, " batch"]:
    """Which examples are answered right everywhere.

    Parameters
    ----------
    logits : Float[Tensor, "batch token answer"]
        Scores of the answers.
    targets : Int[Tensor, "batch token"]
        The right answers; -1 where nothing is asked.

    Returns
    -------
    Bool[Tensor, "batch"]
        One wrong token spoils an example.
    """
    return ((logits.argmax(-1) == targets) | (targets < 0)).all(-1)
