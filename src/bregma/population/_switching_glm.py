"""Spike counts whose rates depend on recent spikes, in another way in each hidden state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bregma.population._coupling import Coupling


class SwitchingGLM(nn.Module):
    """Poisson GLM of a population with one set of parameters for each state.

    The rate of unit n in state s is softplus(b[s, n] + sum_m w[s, n, m] sum_k phi[k] y[t-k, m] +
    sum_k h[s, n, k] y[t-k, n]), m running over the other units. The kernel phi is shared, is not
    negative and sums to 1; the own history h is free.

    Parameters
    ----------
    coupling : Coupling
        The weights w.
    bias : Float[Tensor, "state unit"]
        Where b begins.
    n_lags : int
        Bins of history.

    References
    ----------
    Pillow et al. (2008), Spatio-temporal correlations and visual signalling in a complete neuronal
    population. doi:10.1038/nature07140.
    """

    others: Tensor

    def __init__(self, coupling: Coupling, bias: Float[Tensor, "state unit"], n_lags: int) -> None:
        super().__init__()
        n_states, n_units = bias.shape
        self.coupling = coupling
        self.bias = nn.Parameter(bias.clone())
        self.own = nn.Parameter(bias.new_zeros(n_states, n_units, n_lags))
        self.raw_kernel = nn.Parameter(bias.new_zeros(n_lags))
        self.register_buffer("others", 1 - torch.eye(n_units, dtype=bias.dtype))

    @property
    def kernel(self) -> Float[Tensor, " lag"]:
        """Shape of the influence of a spike over time, from lag 1 on."""
        return F.softmax(self.raw_kernel, 0)

    def weight(self, generator: torch.Generator | None = None) -> Float[Tensor, "state unit unit"]:
        """Weights between different units, from the column to the row.

        Parameters
        ----------
        generator : torch.Generator, optional
            Of what is random in training mode.

        Returns
        -------
        Float[Tensor, "state unit unit"]
            Zero on the diagonal.
        """
        return self.coupling.weight(generator) * self.others

    def forward(
        self,
        history: Float[Tensor, "bin unit lag"],
        weight: Float[Tensor, "state unit unit"] | None = None,
    ) -> Float[Tensor, "bin state unit"]:
        """Expected counts.

        Parameters
        ----------
        history : Float[Tensor, "bin unit lag"]
            Counts before each bin, lag 1 first.
        weight : Float[Tensor, "state unit unit"], optional
            In place of `weight()`, which draws.

        Returns
        -------
        Float[Tensor, "bin state unit"]
            In each state.
        """
        weight = self.weight() if weight is None else weight
        from_others = torch.einsum("snm,tm->tsn", weight, history @ self.kernel)
        from_itself = torch.einsum("snk,tnk->tsn", self.own, history)
        return F.softplus(self.bias + from_others + from_itself)

    def log_likelihood(
        self,
        history: Float[Tensor, "bin unit lag"],
        counts: Float[Tensor, "bin unit"],
        weight: Float[Tensor, "state unit unit"] | None = None,
    ) -> Float[Tensor, "bin state"]:
        """Log-probability of the counts of each bin in each state.

        Parameters
        ----------
        history : Float[Tensor, "bin unit lag"]
            Counts before each bin, lag 1 first.
        counts : Float[Tensor, "bin unit"]
            Counts of the bin.
        weight : Float[Tensor, "state unit unit"], optional
            In place of `weight()`, which draws.

        Returns
        -------
        Float[Tensor, "bin state"]
            Summed over units, in nats.
        """
        rate = self(history, weight).clamp_min(torch.finfo(counts.dtype).tiny)
        y = counts[:, None]
        return (y * rate.log() - rate - torch.lgamma(y + 1)).sum(-1)
