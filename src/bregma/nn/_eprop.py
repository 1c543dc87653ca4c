"""e-prop: learning of recurrent spiking layers forward in time, with nothing kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bregma.dynamics.training._eager_scan import eager_step
from bregma.dynamics.training._eligibility import Eligibility, StepJacobian
from bregma.dynamics.training._scan_program import SPIKE, out_of
from bregma.errors import InvalidArgument, UnknownName
from bregma.nn._event_linear import EventLinear
from bregma.nn._recurrent import SpikingRecurrent
from bregma.nn._spiking import Spiking
from bregma.run import spawn_torch

FEEDBACKS = ("symmetric", "random")


class EProp:
    """Gradients of a spiking layer from eligibility traces, computed forward in time.

    The gradient of a weight is a learning signal of its unit, from the error of this very step,
    times a trace at the synapse. What a spike does through other units later is left out: with
    symmetric feedback and no recurrent weights this is the gradient of backpropagation through
    time; with such weights it is an approximation. Memory does not grow with time.

    Parameters
    ----------
    inputs : EventLinear or torch.nn.Linear
        From the input to the layer.
    layer : Spiking or SpikingRecurrent
        The layer.
    readout : torch.nn.Linear
        From spikes to outputs.
    leak : float
        How much of an output is left after a step: y[k] = leak y[k-1] + readout(spikes[k]).
    feedback : {"symmetric", "random"}
        How errors come back to the units: through the weights of the readout, or through fixed
        random ones.
    seed : int
        Of the random feedback: normal with the standard deviation 1/sqrt(outputs).

    Raises
    ------
    InvalidArgument
        Sizes that do not fit, or equations without spikes.
    UnknownName
        Another feedback.

    References
    ----------
    Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein and Maass (2020), A solution to the
    learning dilemma for recurrent networks of spiking neurons.

    Examples
    --------
    >>> from bregma.dynamics import Neuron
    >>> lif = Neuron("dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"})
    >>> parts = EventLinear(5, 8), SpikingRecurrent(lif, 8, dt="1 ms"), nn.Linear(8, 2)
    >>> x = (torch.arange(200).reshape(20, 2, 5) % 3 == 0).float()
    >>> y, loss = EProp(*parts)(x, lambda y, k: (y - 1).square().mean())
    >>> y.shape, parts[1].weight.grad.shape
    (torch.Size([20, 2, 2]), torch.Size([8, 8]))
    """

    def __init__(
        self,
        inputs: EventLinear | nn.Linear,
        layer: Spiking,
        readout: nn.Linear,
        *,
        leak: float = 0.0,
        feedback: str = "symmetric",
        seed: int = 0,
    ) -> None:
        if feedback not in FEEDBACKS:
            raise UnknownName.of("feedback", feedback, FEEDBACKS)
        if not layer.program.fires:
            raise InvalidArgument("e-prop needs equations with spikes (spike=...)")
        if inputs.out_features != layer.size or readout.in_features != layer.size:
            raise InvalidArgument(
                f"the layer has {layer.size} units, but the input leads to {inputs.out_features} "
                f"and the readout takes {readout.in_features}"
            )
        if not 0 <= leak < 1:
            raise InvalidArgument(f"leak must be 0 or more and below 1, it is {leak}")
        self.inputs, self.layer, self.readout, self.leak = inputs, layer, readout, leak
        self.jacobian = StepJacobian(layer.program, layer.input)
        self.random: Tensor | None = None
        if feedback == "random":
            shape, rng = readout.weight.shape, spawn_torch(seed, "EProp")
            self.random = torch.randn(shape, generator=rng) * shape[0] ** -0.5

    @torch.no_grad()
    def __call__(self, x: Tensor, loss: Callable[[Tensor, int], Tensor]) -> tuple[Tensor, Tensor]:
        """Run forward and add the gradients to ``.grad`` of the weights, as ``backward()`` would.

        Parameters
        ----------
        x : Tensor (time, batch, in_features)
            Input.
        loss : callable
            From the outputs (batch, out_features) of a step and its number to the loss of the step,
            one number.

        Returns
        -------
        (Tensor, Tensor)
            Outputs (time, batch, out_features), and the sum of the losses.

        Raises
        ------
        InvalidArgument
            An input of another shape or on another device, or a loss that is no number.
        """
        layer, program = self.layer, self.layer.program
        current = self.inputs(x)
        layer._check(current)
        if current.device.type != "cpu":
            raise InvalidArgument(f"e-prop runs on the CPU, not on {current.device}")
        batch = x.shape[1]
        state = layer.initial_state(batch, like=current)
        given = layer._inputs(current, state, None)
        constants, recurrent = layer._constants(current), isinstance(layer, SpikingRecurrent)
        resting = state.get("refractory", torch.zeros(batch, layer.size, dtype=torch.int32))
        now = {n: state[n] for n in program.step.states}
        fired = torch.zeros_like(current[0])
        n_sources = x.shape[2] + layer.size * recurrent
        traces = Eligibility(len(now), batch, layer.size, n_sources, self.leak, current.dtype)
        y = torch.zeros(batch, self.readout.out_features, dtype=current.dtype)
        filtered, outputs, total = torch.zeros_like(fired), [], torch.zeros(())
        grad_readout, grad_bias = torch.zeros_like(self.readout.weight), torch.zeros_like(y[0])
        steps = torch.zeros(())
        for k in range(len(x)):
            env = {n: s[k] for n, s in given.items()}
            sources = x[k].to(current)
            if isinstance(layer, SpikingRecurrent):
                env[layer.input] = env[layer.input] + fired @ layer.weight.t()
                sources = torch.cat([sources, fired], 1)
            env, resting = eager_step(program, {**constants, **env, **now}, resting, layer.rest)
            now, fired = {n: env[out_of(n)] for n in now}, env[SPIKE]
            traces.step(self.jacobian(env), sources)
            filtered = self.leak * filtered + fired
            steps = self.leak * steps + 1
            y = self.leak * y + self.readout(fired)
            value, error = _error(loss, y, k)
            feedback = self.readout.weight if self.random is None else self.random
            traces.learn(error @ feedback.to(error))
            grad_readout += error.t() @ filtered
            grad_bias += error.sum(0) * steps
            outputs.append(y)
            total = total + value
        _add(self.inputs.weight, traces.gradient[:, : x.shape[2]])
        if isinstance(layer, SpikingRecurrent):
            _add(layer.weight, traces.gradient[:, x.shape[2] :])
        _add(self.readout.weight, grad_readout)
        if self.readout.bias is not None:
            _add(self.readout.bias, grad_bias)
        return torch.stack(outputs), total


def _error(loss: Callable[[Tensor, int], Tensor], y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Loss of a step, and its derivative by the outputs."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        value = loss(y, k)
        if value.dim() or not value.requires_grad:
            raise InvalidArgument("loss must give one number that depends on the outputs")
        (error,) = torch.autograd.grad(value, y)
    return value.detach(), error


def _add(parameter: Tensor, gradient: Tensor) -> None:
    gradient = gradient.to(parameter)
    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient
