"""A population of equations as a layer of a network: current over time in, spikes over time out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bregma.dynamics import Neuron
from bregma.dynamics.language import _units
from bregma.dynamics.language._evaluate import prepare
from bregma.dynamics.language._initial import initial_values
from bregma.dynamics.language._integrate import noise_of
from bregma.dynamics.language._stability import stability
from bregma.dynamics.language._step import step_of
from bregma.dynamics.randomness import _random_torch
from bregma.dynamics.training._eager_scan import eager_scan
from bregma.dynamics.training._scan import scan
from bregma.dynamics.training._scan_program import ScanProgram
from bregma.dynamics.training._scan_run import ScanSettings
from bregma.errors import InvalidArgument, UnknownName
from bregma.run import derive

State = dict[str, Tensor]
REFRACTORY = "refractory"  # key of a state: steps for which a unit stays refractory


class Spiking(nn.Module):
    """A population of neurons that are trained like any other layer.

    The loop over time is compiled from the equations, forward and backward, in float32 or float64:
    on the CPU for torch's number of threads, on a CUDA device by Triton. On other devices the same
    equations run as a plain loop of torch operations: right, differentiable and slow.

    Parameters
    ----------
    neuron : Neuron
        The equations. Its ``surrogate`` stands for the derivative of a spike.
    size : int
        How many units.
    input : str
        Name in the equations that the layer's input is fed to.
    output : str or sequence of str, optional
        What comes out at every step: ``"spikes"`` or a variable; a sequence gives a dict. Spikes
        where the equations have some, else the first variable.
    learnable : sequence of str
        Parameters of the equations that become parameters of the module, under their names:
        one number, or one for each unit where the neuron's params give that many.
    dt : float or str, optional
        Duration of a step, ``"1 ms"`` or seconds; 1 where no parameter is a duration.
    detached : bool
        Whether derivatives take the reset as a constant, as is usual, or flow through it.
    checkpoint : bool
        Keep variables at about sqrt(time) steps only, and compute the others again on the way
        back from the input: less memory, half as much time again. Nothing changes where no more
        than one variable is kept anyway, as with equations that are linear between spikes.

    Raises
    ------
    UnknownName
        A name that the equations do not have.
    InvalidArgument
        A size, step or parameter that does not fit.
    UnstableSimulation
        A step that is too long for the equations and their method.

    References
    ----------
    Neftci, Mostafa and Zenke (2019), Surrogate gradient learning in spiking neural networks.

    Examples
    --------
    >>> lif = Neuron("dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"})
    >>> layer = Spiking(lif, 3, learnable=["tau"], dt="1 ms")
    >>> spikes, state = layer(torch.full((50, 2, 3), 1.2))
    >>> spikes.shape, spikes.sum().item(), layer.tau
    (torch.Size([50, 2, 3]), 6.0, Parameter containing:
    tensor(0.0200, requires_grad=True))
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
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if size < 1:
            raise InvalidArgument(f"size must be 1 or more, it is {size}")
        if input not in neuron.names:
            raise UnknownName.of("input in the equations", input, sorted(neuron.names))
        if input in neuron.states or input in neuron.params:
            raise InvalidArgument(f"{input!r} has a value in the equations, so it cannot be fed")
        self.neuron, self.size, self.input, self.checkpoint = neuron, size, input, checkpoint
        self.dt = _duration(neuron, dt)
        step = step_of(neuron, fed=[input])
        self.program = ScanProgram(step, neuron.surrogate, (input,), detached)
        self.rest = round(step.refractory_time / self.dt)
        self.output = self._checked_output(output)
        for name in learnable:
            if name not in neuron.params:
                raise UnknownName.of("parameter with a value", name, sorted(neuron.params))
            if hasattr(self, name):
                raise InvalidArgument(
                    f"a module has {name!r} already, so it cannot be learned under that name; "
                    "rename it in the equations"
                )
            self.register_parameter(name, nn.Parameter(self._value(name).float()))
        self.learnable = tuple(learnable)
        self._fixed = {n: self._value(n) for n in neuron.values if n not in learnable}
        self._prepared: dict[torch.dtype, dict[str, Tensor]] = {}
        stability(neuron, initial_values(neuron, size, 0), self.dt, fed=[input])

    def _value(self, name: str) -> Tensor:
        value = torch.as_tensor(self.neuron.values[name], dtype=torch.float64)
        if value.shape not in ((), (self.size,)):
            raise InvalidArgument(
                f"{name!r} has the shape {tuple(value.shape)}; give one number, or {self.size}"
            )
        return value.detach().clone()

    def _checked_output(self, output: str | Sequence[str] | None) -> str | tuple[str, ...]:
        states = self.neuron.states
        there = ("spikes", *states) if self.program.fires else states
        if not states:
            raise InvalidArgument("a layer needs equations with a variable (dx/dt = ...)")
        if output is None:
            return there[0]
        for name in [output] if isinstance(output, str) else output:
            if name not in there:
                raise UnknownName.of("output of these equations", name, there)
        return output if isinstance(output, str) else tuple(output)

    def initial_state(self, batch: int, *, seed: int = 0, like: Tensor | None = None) -> State:
        """The state before the first step.

        Parameters
        ----------
        batch : int
            Number of sequences.
        seed : int
            Of the first values that the neuron draws at random.
        like : Tensor, optional
            Whose type and device to take.

        Returns
        -------
        dict
            Variable to (batch, unit); and ``"refractory"``, in steps, where there is such a time.
        """
        like = torch.empty(0) if like is None else like
        key = derive(seed, "initial values")
        drawn = initial_values(self.neuron, batch * self.size, key) if self._draws() else (
            initial_values(self.neuron, self.size, key)
        )  # fmt: skip
        shape = (batch, self.size)
        state = {
            n: torch.from_numpy(np.broadcast_to(x.reshape(-1, self.size), shape).copy()).to(like)
            for n, x in drawn.items()
        }
        if self.program.rests:
            state[REFRACTORY] = torch.zeros(shape, dtype=torch.int32, device=like.device)
        return state | self._more_state(shape, like)

    def _draws(self) -> bool:
        return any("rand" in str(value) for value in self.neuron.init.values())

    def _more_state(self, shape: tuple[int, int], like: Tensor) -> State:
        if "t" not in self.program.inputs:
            return {}
        return {"t": torch.zeros((), dtype=torch.float64, device=like.device)}

    def forward(
        self, x: Tensor, state: State | None = None, *, seed: int | None = None
    ) -> tuple[Any, State]:
        """Run over time.

        Parameters
        ----------
        x : Tensor (time, batch, unit)
            Input at every step, held constant during the step.
        state : dict, optional
            Where to begin: what an earlier call returned (``detach()`` its tensors where
            derivatives should stop), or `initial_state`, which is the default.
        seed : int, optional
            Of noise and of random first values; needed where the equations have noise.

        Returns
        -------
        (Tensor or dict, dict)
            The output (time, batch, unit), and the state after the last step. The module itself
            keeps nothing.

        Raises
        ------
        InvalidArgument
            An input of the wrong shape or type, or with a value that is not finite.
        UnstableSimulation
            A variable that is no longer finite, with step and unit.
        """
        self._check(x)
        state = self._checked_state(x, state, seed)
        inputs = self._inputs(x, state, seed)
        constants = self._constants(x)
        start = {n: state[n] for n in self.program.step.states}
        resting = state.get(REFRACTORY)
        if resting is None:
            resting = torch.zeros(x.shape[1:], dtype=torch.int32, device=x.device)
        outputs, end, resting = self._run(inputs, constants, start, resting, state)
        if self.program.rests:
            end[REFRACTORY] = resting
        if "t" in state:
            end["t"] = state["t"] + len(x) * self.dt
        if isinstance(self.output, str):
            return outputs[self.output], end
        return {n: outputs[n] for n in self.output}, end

    def _run(
        self,
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor],
        start: State,
        resting: Tensor,
        state: State,
    ) -> tuple[dict[str, Tensor], State, Tensor]:
        if resting.device.type not in ("cpu", "cuda"):
            return eager_scan(self.program, inputs, constants, start, resting, self.rest)
        n_steps = len(inputs[self.input])
        segment = max(1, round(n_steps**0.5)) if self.checkpoint else None
        settings = ScanSettings(self.program, self._outputs, self.rest, segment)
        return scan(settings, inputs, constants, start, resting)

    @property
    def _outputs(self) -> tuple[str, ...]:
        return (self.output,) if isinstance(self.output, str) else self.output

    def _check(self, x: Tensor) -> None:
        if x.dim() != 3 or x.shape[2] != self.size or 0 in x.shape:
            raise InvalidArgument(
                f"the input must have the shape (time, batch, {self.size}), not {tuple(x.shape)}"
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise InvalidArgument(f"the input must be float32 or float64, not {x.dtype}")

    def _checked_state(self, x: Tensor, state: State | None, seed: int | None) -> State:
        if state is None:
            return self.initial_state(x.shape[1], seed=seed or 0, like=x)
        wanted = self.initial_state(1, like=x)
        if state.keys() != wanted.keys():
            raise InvalidArgument(f"a state has {sorted(wanted)}, not {sorted(state)}")
        for n, s in state.items():
            shape = x.shape[1:] if wanted[n].dim() else ()
            if s.shape != shape or s.dtype != wanted[n].dtype or s.device != x.device:
                raise InvalidArgument(
                    f"{n!r} of the state must be {wanted[n].dtype} of the shape {tuple(shape)} on "
                    f"{x.device}, not {s.dtype} of the shape {tuple(s.shape)} on {s.device}"
                )
        return state

    def _inputs(self, x: Tensor, state: State, seed: int | None) -> dict[str, Tensor]:
        inputs = {self.input: x}
        noises = self.program.step.noises
        if noises and seed is None:
            raise InvalidArgument(f"{noises[0]!r} has noise: give seed=, another at each call")
        for stream, n in enumerate(noises):
            inputs[noise_of(n)] = _noise(x, derive(seed or 0, "noise"), stream)
        if "t" in self.program.inputs:
            steps = torch.arange(len(x), dtype=torch.float64, device=x.device)
            inputs["t"] = (state["t"] + steps * self.dt).to(x)
        return inputs

    def _constants(self, x: Tensor) -> dict[str, Tensor]:
        """Constants of the step in double precision, then in that of the input."""
        if not self.learnable and x.dtype in self._prepared and x.device.type == "cpu":
            return self._prepared[x.dtype]
        values = self._fixed | {n: getattr(self, n).cpu().double() for n in self.learnable}
        made = prepare(self.program.step.constants, values, self.dt)
        found = {n: made[n].to(x) for n in self.program.constants}
        if not self.learnable and x.device.type == "cpu":
            self._prepared[x.dtype] = found
        return found

    def extra_repr(self) -> str:
        """What the module shows of itself.

        Returns
        -------
        str
            Size, variables and step.
        """
        variables = ", ".join(self.neuron.states)
        return f"{self.size} units, {self.input} -> ({variables}) -> {self.output}, dt={self.dt:g}"


def _duration(neuron: Neuron, dt: float | str | None) -> float:
    if dt is None:
        durations = [n for n, d in neuron.dimensions.items() if d == _units.time_dimension()]
        named = [n for n in durations if n in neuron.params]
        if named:
            raise InvalidArgument(f"{named[0]} is a duration: give dt=, such as '1 ms'")
        return 1.0
    found = _units.seconds(dt, "dt")
    if not found > 0:
        raise InvalidArgument(f"dt must be above 0, it is {dt!r}")
    return found


def _noise(x: Tensor, key: int, stream: int) -> Tensor:
    """Standard normal numbers of the shape of x, the same on every device."""
    n_steps, n_units = len(x), x[0].numel()
    units = torch.arange(n_units, device=x.device)
    steps = torch.arange(n_steps, device=x.device)[:, None]
    drawn = _random_torch.normal(key, units, steps, stream, dtype=x.dtype)
    return drawn.view(x.shape)
