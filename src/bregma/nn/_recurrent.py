"""A population of equations that hears its own spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bregma.dynamics import Neuron
from bregma.dynamics.training._eager_scan import eager_scan
from bregma.dynamics.training._recurrent_scan import recurrent_scan
from bregma.dynamics.training._scan_run import ScanSettings
from bregma.errors import InvalidArgument
from bregma.nn._spiking import Spiking, State
from bregma.run import spawn_torch


class SpikingRecurrent(Spiking):
    """A population whose spikes come back to its input one step later, through dense weights.

    Parameters
    ----------
    neuron : Neuron
        The equations; they have spikes.
    size : int
        How many units.
    input : str
        Name in the equations that the layer's input and its own spikes are fed to.
    output : str or sequence of str, optional
        What comes out at every step, as for `Spiking`.
    learnable : sequence of str
        Parameters of the equations that become parameters of the module.
    dt : float or str, optional
        Duration of a step, as for `Spiking`.
    detached : bool
        Whether derivatives take the reset as a constant.
    seed : int
        Of the first weights: normal with standard deviation 1/sqrt(size).

    Attributes
    ----------
    weight : Parameter (post, pre)
        What the spike of one unit adds to the input of another in the next step.

    Raises
    ------
    UnknownName
        A name that the equations do not have.
    InvalidArgument
        Equations without spikes, or a size, step or parameter that does not fit.

    Examples
    --------
    >>> lif = Neuron("dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"})
    >>> layer = SpikingRecurrent(lif, 30, dt="1 ms", seed=0)
    >>> spikes, state = layer(torch.full((50, 2, 30), 1.5))
    >>> spikes.shape, sorted(state)
    (torch.Size([50, 2, 30]), ['spikes', 'v'])
    """

    def __init__(
        self,
        neuron: Neuron,
        size: int,
        *,
        input: str = "I",
        output: str | Sequence[str] | None = None,
        learnable: Sequence[str] = (),
        dt: float | str | None = None,
        detached: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            neuron, size, input=input, output=output, learnable=learnable, dt=dt, detached=detached
        )
        if not self.program.fires:
            raise InvalidArgument("a recurrent layer needs equations with spikes (spike=...)")
        rng = spawn_torch(seed, "SpikingRecurrent")
        self.weight = nn.Parameter(torch.randn(size, size, generator=rng) * size**-0.5)

    def _more_state(self, shape: tuple[int, int], like: Tensor) -> State:
        fired = torch.zeros(shape, dtype=like.dtype, device=like.device)
        return super()._more_state(shape, like) | {"spikes": fired}

    def _run(
        self,
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor],
        start: State,
        resting: Tensor,
        state: State,
    ) -> tuple[dict[str, Tensor], State, Tensor]:
        weight, fired = self.weight.to(resting.device, state["spikes"].dtype), state["spikes"]
        if resting.device.type == "cpu":
            settings = ScanSettings(self.program, self._outputs, self.rest)
            run = settings, inputs, constants, start, resting, fired, weight
            outputs, end, resting = recurrent_scan(*run)
        else:
            kept: dict[str, list[Tensor]] = {}
            end = start
            for k in range(len(inputs[self.input])):
                now = {n: x[k : k + 1] for n, x in inputs.items()}
                now[self.input] = now[self.input] + fired @ weight.t()
                found, end, resting = eager_scan(
                    self.program, now, constants, end, resting, self.rest
                )
                fired = found["spikes"][0]
                for n, x in found.items():
                    kept.setdefault(n, []).append(x)
            outputs = {n: torch.cat(x) for n, x in kept.items()}
        end["spikes"] = outputs["spikes"][-1].clone()  # a view would hold the memory of all steps
        return outputs, end, resting
