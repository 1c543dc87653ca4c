"""The MT stage: local motion travels over a graph of places until objects move as one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.vision._affinity import CosineAffinity

Responses = Float[Tensor, "movie unit place_y place_x"]


class MotionIntegration(nn.Module):
    """Recurrent integration of motion signals over a graph of places.

    Every place has a state a, which decides with whom it is linked, and a value h, the motion
    there. An iteration sends the values along the normalised links, and both are updated by
    convolutional gated recurrent units with the message. All iterations share their weights.

    Parameters
    ----------
    units : int
        Units of the stage before.
    iterations : int
        How often values travel.
    affinity : Module, optional
        Gives the links (movie, place, place) for states; `CosineAffinity` by default.

    Raises
    ------
    InvalidArgument
        If there are no units or iterations.

    References
    ----------
    Sun et al. (2023), Modeling human visual motion processing with trainable motion energy
    sensing and a self-attention network.
    Sun et al. (2025), Machine learning modelling for multi-order human visual motion processing.
    """

    def __init__(self, units: int, iterations: int = 6, affinity: nn.Module | None = None) -> None:
        super().__init__()
        if units < 1 or iterations < 1:
            raise InvalidArgument(f"no units or iterations: {units}, {iterations}")
        self.iterations = iterations
        self.affinity = CosineAffinity() if affinity is None else affinity
        self.value = nn.Conv2d(units, units, 1)
        self.message = nn.Sequential(
            nn.Conv2d(2 * units, units, 1), nn.ReLU(), nn.Conv2d(units, units, 1)
        )
        self.update_state = ConvGRU(units)
        self.update_value = ConvGRU(units)
        self.features = nn.Conv2d(units, units, 1, bias=False)

    def forward(self, energy: Responses) -> Float[Tensor, "iteration movie unit place_y place_x"]:
        """Integrate.

        Parameters
        ----------
        energy : Tensor (movie, unit, place_y, place_x)
            Normalised motion energy.

        Returns
        -------
        Tensor (iteration, movie, unit, place_y, place_x)
            Activity of MT units after every iteration: squared outputs, relative to their mean.
        """
        state = energy + _position_code(energy)
        value = energy
        found = []
        for _ in range(self.iterations):
            sent = self.value(value).flatten(2) @ self.affinity(state)  # links are symmetric
            message = self.message(torch.cat([value, sent.view_as(value)], 1))
            state = self.update_state(message, state)
            value = self.update_value(message, value)
            squared = self.features(value).square()
            found.append(squared / (squared.mean(1, keepdim=True) + 1e-3))
        return torch.stack(found)


class ConvGRU(nn.Module):
    """A gated recurrent unit at every place that also looks along its row, then its column.

    Parameters
    ----------
    units : int
        Units of the input and of the hidden state.
    reach : int
        Places to either side that it looks at.

    References
    ----------
    Teed and Deng (2020), RAFT: recurrent all-pairs field transforms for optical flow.
    """

    def __init__(self, units: int, reach: int = 1) -> None:
        super().__init__()
        side = 2 * reach + 1
        kernels = [((1, side), (0, reach)), ((side, 1), (reach, 0))]
        self.gates = nn.ModuleList(
            nn.Conv2d(2 * units, 2 * units, k, padding=p) for k, p in kernels
        )
        self.candidates = nn.ModuleList(
            nn.Conv2d(2 * units, units, k, padding=p) for k, p in kernels
        )

    def forward(self, x: Responses, hidden: Responses) -> Responses:
        """One step.

        Parameters
        ----------
        x, hidden : Tensor (movie, unit, place_y, place_x)
            Input and hidden state.

        Returns
        -------
        Tensor (movie, unit, place_y, place_x)
            New hidden state.
        """
        for gates, candidate in zip(self.gates, self.candidates, strict=True):
            update, reset = gates(torch.cat([x, hidden], 1)).sigmoid().chunk(2, 1)
            new = candidate(torch.cat([x, reset * hidden], 1)).tanh()
            hidden = (1 - update) * hidden + update * new
        return hidden


def _position_code(like: Responses) -> Float[Tensor, "unit place_y place_x"]:
    """Sines and cosines of rows and columns, a quarter of the units each."""
    units, rows, columns = like.shape[1:]
    y, x = torch.meshgrid(
        torch.linspace(0, 1, rows).to(like), torch.linspace(0, 1, columns).to(like), indexing="ij"
    )
    k = torch.arange(units, device=like.device)
    frequency = (torch.pi * (1 + k // 4))[:, None, None]
    waves = torch.stack([(frequency * y).sin(), (frequency * y).cos(),
                         (frequency * x).sin(), (frequency * x).cos()])  # fmt: skip
    return waves[k % 4, k]
