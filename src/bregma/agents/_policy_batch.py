"""One policy with many sets of parameters, run side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bregma.errors import InvalidArgument

Policies = Callable[..., Float[np.ndarray, "policy action"]]


def policy_batch(policy: nn.Module, parameters: Float[np.ndarray, "policy parameter"]) -> Policies:
    """Act with many sets of parameters at once.

    Parameters
    ----------
    policy : Module
        From an observation to an action; what else it takes is the same for all.
    parameters : ndarray (policy, parameter)
        Every row replaces the parameters of the module, in the order of
        `torch.nn.utils.parameters_to_vector`.

    Returns
    -------
    callable
        ``act(observations, *more)`` with observations (policy, feature) gives the actions (policy,
        action); more is handed on.

    Raises
    ------
    InvalidArgument
        If the number of parameters is not that of the module.

    Examples
    --------
    >>> act = policy_batch(nn.Linear(1, 1, bias=False), np.array([[2.0], [3.0]]))
    >>> act(np.array([[1.0], [1.0]])).ravel()
    array([2., 3.])
    """
    sizes = [p.numel() for p in policy.parameters()]
    if parameters.ndim != 2 or parameters.shape[1] != sum(sizes):
        raise InvalidArgument(
            f"the policy has {sum(sizes)} parameters; rows of them are needed, not "
            f"{parameters.shape}"
        )
    like = next(policy.parameters())
    rows = torch.as_tensor(parameters).to(like).split(sizes, dim=1)
    named = {
        name: row.view(-1, *p.shape)
        for (name, p), row in zip(policy.named_parameters(), rows, strict=True)
    }

    def act(
        observations: Float[np.ndarray, "policy feature"], *more: Any
    ) -> Float[np.ndarray, "policy action"]:
        def one(own: dict[str, Tensor], observed: Tensor) -> Tensor:
            return functional_call(policy, own, (observed, *more))

        with torch.no_grad():
            actions = vmap(one)(named, torch.as_tensor(observations).to(like))
        return actions.double().cpu().numpy()

    return act
