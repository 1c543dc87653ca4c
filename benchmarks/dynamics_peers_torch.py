"""A training step in eager torch, snnTorch, SpikingJelly and Norse: time and peak memory.

All have the same weights and inputs. Peak memory is that of all steps, above what the model
and its inputs hold (Linux with glibc). Their neurons differ a little: SpikingJelly's reset decays
with the potential and its surrogate is the arctangent; Norse resets to zero.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

import dynamics_settings as s

Model = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # hidden and output spikes


class FastSigmoid(torch.autograd.Function):
    """A step forward, and backward the derivative of x / (1 + slope |x|)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slope: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad / (1 + ctx.slope * x.abs()) ** 2, None


def eager(task: s.TrainingStep, weights: list[nn.Parameter]) -> Model:
    """The equations as a loop; products with the input are taken out of it."""
    w_hidden, w_out, w_recurrent = weights

    def layer(current: torch.Tensor, recurrent: torch.Tensor | None) -> torch.Tensor:
        v = z = torch.zeros_like(current[0])
        spikes = []
        for now in current.unbind(0):  # indexing would make a gradient of full size each step
            if recurrent is not None:
                now = now + linear(z, recurrent)
            v = task.beta * v + now - z.detach()
            z = FastSigmoid.apply(v - 1, task.slope)
            spikes.append(z)
        return torch.stack(spikes)

    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = layer(linear(x, w_hidden), w_recurrent if task.recurrent else None)
        return hidden, layer(linear(hidden, w_out), None)

    return model


def snntorch(task: s.TrainingStep, weights: list[nn.Parameter], hoisted: bool = False) -> Model:
    """The loop of its tutorials; ``hoisted`` takes the first product out of it."""
    import snntorch as snn
    from snntorch import surrogate

    grad = surrogate.fast_sigmoid(slope=task.slope)
    w_hidden, w_out, w_recurrent = weights
    if task.recurrent:
        lif1 = snn.RLeaky(beta=task.beta, linear_features=task.sizes[1], spike_grad=grad)
        lif1.recurrent.weight = w_recurrent
        nn.init.zeros_(lif1.recurrent.bias)
    else:
        lif1 = snn.Leaky(beta=task.beta, spike_grad=grad)
    lif2 = snn.Leaky(beta=task.beta, spike_grad=grad)

    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state1 = lif1.reset_mem() if task.recurrent else (lif1.reset_mem(),)
        mem2 = lif2.reset_mem()
        currents = linear(x, w_hidden).unbind(0) if hoisted else x.unbind(0)
        hidden, out = [], []
        for now in currents:
            state1 = lif1(now if hoisted else linear(now, w_hidden), *state1)
            spk1 = state1[0]
            state1 = state1 if task.recurrent else state1[1:]
            spk2, mem2 = lif2(linear(spk1, w_out), mem2)
            hidden.append(spk1)
            out.append(spk2)
        return torch.stack(hidden), torch.stack(out)

    return model


def snntorch_hoisted(task: s.TrainingStep, weights: list[nn.Parameter]) -> Model:
    return snntorch(task, weights, hoisted=True)


def spikingjelly(task: s.TrainingStep, weights: list[nn.Parameter]) -> Model:
    """Multi-step layers; the recurrent layer steps, for its own container has another model."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    def lif(step_mode: str) -> nn.Module:
        return neuron.LIFNode(
            tau=1 / (1 - task.beta), decay_input=False, v_threshold=1.0, v_reset=None,
            surrogate_function=surrogate.ATan(), detach_reset=True, step_mode=step_mode,
        )  # fmt: skip

    w_hidden, w_out, w_recurrent = weights
    lif1, lif2 = lif("s" if task.recurrent else "m"), lif("m")

    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        functional.reset_net(lif1)
        functional.reset_net(lif2)
        current = linear(x, w_hidden)
        if not task.recurrent:
            hidden = lif1(current)
            return hidden, lif2(linear(hidden, w_out))
        spikes = [torch.zeros_like(current[0])]
        for now in current.unbind(0):
            spikes.append(lif1(now + linear(spikes[-1], w_recurrent)))
        hidden = torch.stack(spikes[1:])
        return hidden, lif2(linear(hidden, w_out))

    return model


def norse(task: s.TrainingStep, weights: list[nn.Parameter]) -> Model:
    """Its LIF with a synapse that is forgotten in one step: the same neuron, one step later."""
    import norse.torch as n

    parameters = n.LIFParameters(
        tau_mem_inv=torch.as_tensor((1 - task.beta) / 1e-3), tau_syn_inv=torch.as_tensor(1e3),
        alpha=torch.as_tensor(task.slope),
    )  # fmt: skip
    gain = 1 / (1 - task.beta)  # its potential takes in (1 - beta) of the current
    w_hidden, w_out, w_recurrent = (nn.Parameter(w.detach() * gain) for w in weights)
    if task.recurrent:
        lif1 = n.LIFRecurrent(
            *task.sizes[:2], p=parameters, input_weights=w_hidden, recurrent_weights=w_recurrent
        )
    else:
        lif1 = n.SequentialState(nn.Linear(*task.sizes[:2], bias=False), n.LIF(p=parameters))
        lif1[0].weight = w_hidden
    lif2 = n.SequentialState(nn.Linear(*task.sizes[1:], bias=False), n.LIF(p=parameters))
    lif2[0].weight = w_out

    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, _ = lif1(x)
        return hidden, lif2(hidden)[0]

    return model


MODELS = {
    "eager": ("torch", eager), "documented loop": ("snntorch", snntorch),
    "hoisted product": ("snntorch", snntorch_hoisted), "SequentialState": ("norse", norse),
    "step_mode m": ("spikingjelly", spikingjelly),
}  # fmt: skip


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    request = s.Request.from_command_line(s.TrainingStep)
    task = request.task
    torch.set_num_threads(request.threads)
    package, build = MODELS[request.mode]
    model = build(task, [nn.Parameter(torch.from_numpy(w)) for w in task.weights()])
    x, labels = map(torch.from_numpy, task.inputs())

    def step(x: torch.Tensor, labels: torch.Tensor) -> tuple[float, float, float]:
        hidden, out = model(x)
        loss = cross_entropy(out.sum(0), labels)
        loss.backward()
        return loss.item(), hidden.mean().item(), out.mean().item()

    step(x[:2, :2], labels[:2])  # loads what is loaded late
    ctypes.CDLL(None).malloc_trim(0)  # else what the imports left free would hide what is used
    before = resident_mb()
    step(x, labels)
    times = s.Times()
    for _ in range(request.rounds):
        loss, hidden, out = times.add(lambda: step(x, labels))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - before
    s.report(
        package, version(package), request, times, precision="float32", build_s=0.0,
        peak_memory_mb=round(peak, 1), loss=loss, hidden_rate=hidden, output_rate=out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
