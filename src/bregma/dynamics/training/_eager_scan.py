"""Reference of training: a plain loop over time in torch; autograd takes the derivatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from bregma.dynamics.language._evaluate import evaluate, spike_with_surrogate
from bregma.dynamics.language._grammar import symbol
from bregma.dynamics.language._integrate import next_of
from bregma.dynamics.language._surrogate import surrogate_of
from bregma.dynamics.training._scan_program import (
    DISTANCE,
    FIRED,
    RESTING,
    SPIKE,
    STAYS,
    ScanProgram,
    out_of,
)


def eager_scan(
    program: ScanProgram,
    inputs: Mapping[str, Float[Tensor, "time ..."]],
    constants: Mapping[str, Float[Tensor, ...]],
    start: Mapping[str, Float[Tensor, "batch unit"]],
    resting: Int[Tensor, "batch unit"],
    rest: int,
) -> tuple[dict[str, Float[Tensor, "time batch unit"]], dict[str, Tensor], Shaped[Tensor, ...]]:
    """Run a population over time.

    Parameters
    ----------
    program : ScanProgram
        The step.
    inputs : mapping
        Input to its values (time, batch, unit), or (time,).
    constants : mapping
        Constant to a tensor of shape () or (unit,).
    start : mapping
        Variable to its first values.
    resting : tensor
        For how many steps each unit is still refractory.
    rest : int
        For how many steps a unit is refractory after a spike.

    Returns
    -------
    (dict, dict, tensor)
        ``"spikes"`` and the variables after each step; the variables at the end; `resting` then.
    """
    outputs = [*(["spikes"] if program.fires else []), *program.step.states]
    state, kept = dict(start), {n: list[Tensor]() for n in outputs}
    # unbound once: an index for each step would cost a tensor of full size on the way back
    for now in zip(*map(torch.unbind, inputs.values()), strict=True):
        given = {**constants, **dict(zip(inputs, now, strict=True)), **state}
        env, resting = eager_step(program, given, resting, rest)
        state = {n: env[out_of(n)] for n in state}
        for n in outputs:
            kept[n].append(env[SPIKE] if n == "spikes" else state[n])
    return {n: torch.stack(x) for n, x in kept.items()}, state, resting


def eager_step(
    program: ScanProgram,
    given: Mapping[str, Tensor],
    resting: Int[Tensor, "batch unit"],
    rest: int,
) -> tuple[dict[str, Tensor], Int[Tensor, "batch unit"]]:
    """One step: all names of the program with their values, and for how long units still rest."""
    env, like = dict(given), given[program.step.states[0]]
    env[RESTING] = (resting > 0).to(like)
    for a in program.advance:
        env[a.target] = torch.as_tensor(evaluate(a.value, env)).to(like).expand_as(like)
    if program.fires:
        slope = surrogate_of(program.surrogate, symbol(DISTANCE))
        s = spike_with_surrogate(env[DISTANCE], slope, env)
        env[SPIKE] = torch.where(resting > 0, torch.zeros_like(s), s)
        env[FIRED] = env[SPIKE].detach()
        if program.step.refractory_while is None:
            left, after = torch.clamp(resting - 1, min=0), torch.full_like(resting, rest)
        else:
            left = ((resting > 0) & (env[STAYS] > 0)).to(resting.dtype)
            after = torch.ones_like(resting)
        resting = torch.where(env[FIRED] > 0, after, left)
    for a in program.reset:
        env[a.target] = torch.as_tensor(evaluate(a.value, env)).to(like).expand_as(like)
    if program.fires and not program.detached:
        for n in program.step.states:
            jump = _after_reset(program, n, env) - env[next_of(n)]
            env[out_of(n)] = env[out_of(n)] + (env[SPIKE] - env[FIRED]) * jump
    return env, resting


def _after_reset(program: ScanProgram, state: str, env: Mapping[str, Tensor]) -> Tensor:
    """Value of a variable if the unit fires."""
    everywhere = {**env, FIRED: torch.ones_like(env[FIRED])}
    value = next(a.value for a in program.reset if a.target == out_of(state))
    return torch.as_tensor(evaluate(value, everywhere))
