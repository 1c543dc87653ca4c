"""One layer of attention that guesses the last number of a prompt of vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument, UnknownName
from bregma.run import spawn_torch

KINDS = ("softmax", "sum", "mean")


class PromptAttention(nn.Module):
    r"""Heads look from the question at the examples of a prompt, and their readings are summed.

    .. math:: \hat y = \sum_h u_h^\top Z \, \mathrm{softmax}(Z^\top A_h z_q), \qquad
        A_h = K_h^\top Q_h, \quad u_h = V_h^\top o_h

    Parameters
    ----------
    n_entries : int
        Entries of the vectors z.
    heads : int
        How many.
    kind : {"softmax", "sum", "mean"}
        ``"sum"`` and ``"mean"`` have no softmax: linear attention, its scores as they are or
        divided by the number of examples.
    scale : float
        Standard deviation of the first weights.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        A number below 1, or a scale of 0 or less.
    UnknownName
        There is no such kind.

    References
    ----------
    He, Pan, Chen and Yang (2025), In-context linear regression demystified: training dynamics and
    mechanistic interpretability of multi-head softmax attention. arXiv:2503.12734.

    Examples
    --------
    >>> net = PromptAttention(6, heads=2)
    >>> net(torch.zeros(3, 41, 6)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        n_entries: int,
        *,
        heads: int,
        kind: str = "softmax",
        scale: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(n_entries, heads) < 1 or not scale > 0:
            raise InvalidArgument(
                f"n_entries and heads must be 1 or more and scale above 0, not {n_entries}, "
                f"{heads} and {scale}"
            )
        if kind not in KINDS:
            raise UnknownName.of("kind", kind, KINDS)
        self.kind = kind
        draw = spawn_torch(seed, "PromptAttention")
        shape = (heads, n_entries, n_entries)
        self.query, self.key, self.value = (
            nn.Parameter(scale * torch.randn(shape, generator=draw)) for _ in range(3)
        )
        self.out = nn.Parameter(scale * torch.randn(heads, n_entries, generator=draw))

    @property
    def look(self) -> Float[Tensor, "head entry entry"]:
        """Where heads look: A, all that keys and queries do together."""
        return self.key.mT @ self.query

    @property
    def say(self) -> Float[Tensor, "head entry"]:
        """What heads say of what they see: u, all that values and outputs do together."""
        return (self.out[:, None] @ self.value)[:, 0]

    def forward(self, prompts: Float[Tensor, "prompt token entry"]) -> Float[Tensor, " prompt"]:
        """A guess for each prompt.

        Parameters
        ----------
        prompts : Tensor (prompt, token, entry)
            Examples, of any number, and at last the question.

        Returns
        -------
        Tensor (prompt,)
            Guesses.
        """
        examples, question = prompts[:, :-1], prompts[:, -1]
        asked = torch.einsum("hij,pj->phi", self.look, question)
        scores = asked @ examples.mT  # (prompt, head, example)
        if self.kind == "softmax":
            scores = scores.softmax(-1)
        elif self.kind == "mean":
            scores = scores / scores.shape[-1]
        return (scores @ examples * self.say).sum((1, 2))
