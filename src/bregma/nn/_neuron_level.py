"""Neurons that each have a small network of their own, which reads the neuron's recent input."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class NeuronLevelModel(nn.Module):
    """One private multilayer perceptron for every neuron, from its input history to its activity.

    Neuron d sees nothing but the last ``memory`` values of its own pre-activation, and shares its
    weights with nobody: a gated layer of ``hidden`` units, then a gated output.

    Parameters
    ----------
    size : int
        How many neurons.
    memory : int
        How many past values each one sees.
    hidden : int
        Hidden units of each.
    seed : int
        Of the first weights: uniform, with biases of 0.

    Raises
    ------
    InvalidArgument
        A number below 1.

    References
    ----------
    Darlow et al. (2025), Continuous thought machines. arXiv:2505.05522.

    Examples
    --------
    >>> neurons = NeuronLevelModel(16, 5, 4, seed=0)
    >>> neurons(torch.zeros(2, 16, 5)).shape
    torch.Size([2, 16])
    """

    def __init__(self, size: int, memory: int, hidden: int, *, seed: int = 0) -> None:
        super().__init__()
        if min(size, memory, hidden) < 1:
            raise InvalidArgument(
                f"size, memory and hidden must be 1 or more, not {size}, {memory}, {hidden}"
            )
        self.size, self.memory = size, memory
        rng = spawn_torch(seed, "NeuronLevelModel")

        def private(n_in: int, n_out: int) -> nn.Parameter:
            bound = (n_in + n_out / 2) ** -0.5  # half of the outputs are gates
            weight = torch.empty(size, n_in, n_out).uniform_(-bound, bound, generator=rng)
            return nn.Parameter(weight)

        self.weight_in, self.weight_out = private(memory, 2 * hidden), private(hidden, 2)
        self.bias_in = nn.Parameter(torch.zeros(size, 2 * hidden))
        self.bias_out = nn.Parameter(torch.zeros(size, 2))

    def forward(self, history: Float[Tensor, "batch unit memory"]) -> Float[Tensor, "batch unit"]:
        """Activity of every neuron.

        Parameters
        ----------
        history : Float[Tensor, "batch unit memory"]
            Last pre-activations of every neuron, the newest one at the end.

        Returns
        -------
        Float[Tensor, "batch unit"]
            Their activity.

        Raises
        ------
        InvalidArgument
            A history of another shape.
        """
        if history.shape[1:] != (self.size, self.memory):
            raise InvalidArgument(
                f"the history must have the shape (batch, {self.size}, {self.memory}), "
                f"not {tuple(history.shape)}"
            )
        # A batched product over neurons; (batch, unit, ...) is only turned round on the way.
        h = torch.baddbmm(self.bias_in[:, None], history.transpose(0, 1), self.weight_in)
        h = torch.baddbmm(self.bias_out[:, None], nn.functional.glu(h), self.weight_out)
        return nn.functional.glu(h).squeeze(-1).t()
