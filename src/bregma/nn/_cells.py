"""Cells for `InternalTicks`: units with a memory of their inputs, and the LSTM beside them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import derive, private_randomness, spawn_torch


class HistoryCell(nn.Module):
    """Units that share information through synapses, and act on their own recent past.

    a = LayerNorm(GLU(W [observed, z] + b)) is what the synapses give; each unit keeps the last
    values of its a, from which its own model makes its next z. The first z and the first history
    are learned.

    Parameters
    ----------
    neurons : torch.nn.Module
        (batch, unit, memory) -> (batch, unit), such as `NeuronLevelModel`.
    size, memory : int
        How many units, and how many values each one keeps.
    n_observed : int
        Length of what is observed at a tick.
    seed : int
        Of the synapses and of the learned start.

    Raises
    ------
    InvalidArgument
        A number below 1.

    References
    ----------
    Darlow et al. (2025), Continuous thought machines. arXiv:2505.05522.

    Examples
    --------
    >>> from bregma.nn import NeuronLevelModel
    >>> cell = HistoryCell(NeuronLevelModel(8, 3, 2), size=8, memory=3, n_observed=4)
    >>> z, history = cell.begin(2)
    >>> z, history = cell(torch.ones(2, 4), z, history)
    >>> z.shape, history.shape
    (torch.Size([2, 8]), torch.Size([2, 8, 3]))
    """

    def __init__(
        self,
        neurons: nn.Module,
        *,
        size: int,
        memory: int,
        n_observed: int,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(size, memory, n_observed) < 1:
            raise InvalidArgument(
                f"size, memory and n_observed must be 1 or more, not {size}, {memory}, {n_observed}"
            )
        self.neurons, self.n_observed = neurons, n_observed
        rng = spawn_torch(seed, "HistoryCell")
        with private_randomness(derive(seed, "HistoryCell")):
            self.synapses = nn.Sequential(
                nn.Linear(n_observed + size, 2 * size), nn.GLU(), nn.LayerNorm(size)
            )
        bound, bound_all = size**-0.5, (size + memory) ** -0.5
        self.start = nn.Parameter(torch.empty(size).uniform_(-bound, bound, generator=rng))
        self.past = nn.Parameter(
            torch.empty(size, memory).uniform_(-bound_all, bound_all, generator=rng)
        )

    def begin(self, batch: int) -> tuple[Tensor, Tensor]:
        """Activity and history before the first tick.

        Parameters
        ----------
        batch : int
            How many examples.

        Returns
        -------
        (Tensor (batch, unit), Tensor (batch, unit, memory))
            The learned start, the same for all examples.
        """
        return self.start.expand(batch, -1), self.past.expand(batch, -1, -1)

    def forward(
        self,
        observed: Float[Tensor, "batch observed"],
        z: Float[Tensor, "batch unit"],
        history: Float[Tensor, "batch unit memory"],
    ) -> tuple[Float[Tensor, "batch unit"], Float[Tensor, "batch unit memory"]]:
        """Tick once.

        Parameters
        ----------
        observed : Float[Tensor, "batch observed"]
            What was seen.
        z : Float[Tensor, "batch unit"]
            Activity before.
        history : Float[Tensor, "batch unit memory"]
            Last values of the synapses, the newest one at the end.

        Returns
        -------
        (Float[Tensor, "batch unit"], Float[Tensor, "batch unit memory"])
            Activity and history after the tick.

        Raises
        ------
        InvalidArgument
            Observations of another length.
        """
        _check(observed, self.n_observed)
        arrived = self.synapses(torch.cat([observed, z], -1))
        history = torch.cat([history[..., 1:], arrived[..., None]], -1)
        return self.neurons(history), history


class GatedCell(nn.Module):
    """An LSTM whose start is learned: the usual recurrent network, for comparison.

    Parameters
    ----------
    size : int
        How many units.
    n_observed : int
        Length of what is observed at a tick.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        A number below 1.

    References
    ----------
    Hochreiter and Schmidhuber (1997), Long short-term memory.

    Examples
    --------
    >>> cell = GatedCell(8, n_observed=4)
    >>> z, memory = cell.begin(2)
    >>> z, memory = cell(torch.ones(2, 4), z, memory)
    >>> z.shape, memory.shape
    (torch.Size([2, 8]), torch.Size([2, 8]))
    """

    def __init__(self, size: int, *, n_observed: int, seed: int = 0) -> None:
        super().__init__()
        if min(size, n_observed) < 1:
            raise InvalidArgument(
                f"size and n_observed must be 1 or more, not {size}, {n_observed}"
            )
        self.n_observed = n_observed
        with private_randomness(derive(seed, "GatedCell")):
            self.lstm = nn.LSTMCell(n_observed, size)
        bound, rng = size**-0.5, spawn_torch(seed, "GatedCell")
        self.start = nn.Parameter(torch.empty(2, size).uniform_(-bound, bound, generator=rng))

    def begin(self, batch: int) -> tuple[Tensor, Tensor]:
        """Activity and memory before the first tick.

        Parameters
        ----------
        batch : int
            How many examples.

        Returns
        -------
        (Tensor (batch, unit), Tensor (batch, unit))
            The learned start, the same for all examples.
        """
        return self.start[0].expand(batch, -1), self.start[1].expand(batch, -1)

    def forward(
        self,
        observed: Float[Tensor, "batch observed"],
        z: Float[Tensor, "batch unit"],
        memory: Float[Tensor, "batch unit"],
    ) -> tuple[Float[Tensor, "batch unit"], Float[Tensor, "batch unit"]]:
        """Tick once.

        Parameters
        ----------
        observed : Float[Tensor, "batch observed"]
            What was seen.
        z : Float[Tensor, "batch unit"]
            Activity before.
        memory : Float[Tensor, "batch unit"]
            The LSTM's cells before.

        Returns
        -------
        (Float[Tensor, "batch unit"], Float[Tensor, "batch unit"])
            Activity and cells after the tick.

        Raises
        ------
        InvalidArgument
            Observations of another length.
        """
        _check(observed, self.n_observed)
        return self.lstm(observed, (z, memory))


def _check(observed: Tensor, wanted: int) -> None:
    if observed.shape[-1] != wanted:
        raise InvalidArgument(f"the cell observes {wanted} values, not {observed.shape[-1]}")
