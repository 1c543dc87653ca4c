"""What heads do: where they look, and whether they say what they see there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.circuits._attend import head_names, values_of
from bregma.mechanism.circuits._contrast import Pairs, batches
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Layer, Stream

TARGETS = ("itself", "previous", "same", "behind same", "right", "wrong")


@dataclass(frozen=True)
class Roles:
    """What each head does on some prompts.

    Parameters
    ----------
    looks : DataArray (head, target)
        Attention, as a mean over the tokens that have such a target. From all tokens: to
        ``"itself"``, to the ``"previous"`` one, to earlier ones that are the ``"same"``, to those
        ``"behind same"``. From the last token: to the ``"right"`` and to the ``"wrong"`` answer
        where they stand in the prompt. 0 where no prompt has such a target.
    copying : DataArray (head)
        Of the places where one of the two answers stands in a prompt, the share at which a head
        that looked there alone would raise this very token among the `k` it raises most.
    """

    looks: xr.DataArray
    copying: xr.DataArray

    def agreement(self, other: Roles, heads: Iterable[str] | None = None) -> xr.DataArray:
        """How alike what heads do is in two tasks.

        Parameters
        ----------
        other : Roles
            Of the same model in another task.
        heads : iterable of str, optional
            Of which heads; of all without.

        Returns
        -------
        DataArray (head)
            The cosine between attention to all targets, times 1 less the difference in copying: 1
            where both are the same, 0 where a head looks elsewhere.

        Raises
        ------
        InvalidArgument
            Roles of models with other heads.
        UnknownName
            A head that is not there.
        """
        names = self.looks["head"].values.tolist()
        if names != other.looks["head"].values.tolist():
            raise InvalidArgument("the roles are of models with other heads")
        chosen = names if heads is None else list(heads)
        for head in chosen:
            if head not in names:
                raise UnknownName.of("head", head, names)
        a, b = self.looks.sel(head=chosen), other.looks.sel(head=chosen)
        lengths = np.sqrt((a * a).sum("target") * (b * b).sum("target"))
        cosine = (a * b).sum("target") / np.maximum(lengths, 1e-12)
        return cosine * (1 - abs(self.copying.sel(head=chosen) - other.copying.sel(head=chosen)))


def roles(model: Any, pairs: Pairs, *, k: int = 1, batch_size: int = 32) -> Roles:
    """Where each head looks in clean prompts, and whether it copies what it sees.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A causal transformer of tokens, as for `patch`.
    pairs : PromptPairs or Contrast
        Clean prompts and their answers.
    k : int
        Of how many answers a token has to be one to be copied; 5 is usual with 50,000 words.
    batch_size : int
        Prompts at a time.

    Returns
    -------
    Roles
        For every head.

    Raises
    ------
    InvalidArgument
        A model that is not read as a causal transformer of tokens, or numbers below 1.

    References
    ----------
    Wang, Variengien, Conmy, Shlegeris and Steinhardt (2023), Interpretability in the wild: a
    circuit for indirect object identification in GPT-2 small.
    Merullo, Eickhoff and Pavlick (2024), Circuit component reuse across tasks in transformer
    language models.

    Examples
    --------
    >>> from bregma.datasets import wired_induction
    >>> wired = wired_induction(8, seed=0)
    >>> found = roles(wired.net, wired.tasks["induction"])
    >>> where = {role: head for head, role in wired.roles.items()}
    >>> found.looks.sel(head=where["previous"], target="previous").item() > 0.9
    True
    """
    if k < 1 or batch_size < 1:
        raise InvalidArgument(f"k and batch_size must be 1 or more, not {k} and {batch_size}")
    with as_stream(model, pairs.clean) as stream:
        if stream.place != -1 or pairs.clean.ndim != 2:
            raise InvalidArgument("roles are those of causal transformers of tokens")
        names = head_names(stream)
        seen = torch.zeros(len(names), len(TARGETS), dtype=torch.float64)
        queries, copied, n_places = torch.zeros(len(TARGETS)), torch.zeros(len(names)), 0
        for rows in batches(len(pairs), batch_size):
            tokens, targets = pairs.clean[rows], _targets(pairs, rows)
            x = stream.embed(tokens)
            answer = targets[-2:, :, -1].any(0)  # places where one of the two stands
            found, says = [], []
            for layer in stream.layers:
                pattern = layer.attention.pattern(x).double()
                found.append(torch.einsum("bhqk,cbqk->hc", pattern, targets.double()))
                says.append(_copied(stream, layer, x[answer], tokens[answer], k))
                x = layer.advance(x)
            seen += torch.cat(found).cpu()
            copied += torch.cat(says).cpu()
            queries += targets.any(-1).sum((1, 2)).cpu()
            n_places += int(answer.sum())
    heads = {"head": names}
    looks = xr.DataArray(
        (seen / queries.clamp(min=1)).numpy(),
        dims=["head", "target"],
        coords={**heads, "target": list(TARGETS)},
    )
    copying = (copied / max(n_places, 1)).double().numpy()
    return Roles(looks, xr.DataArray(copying, dims=["head"], coords=heads))


def _targets(pairs: Pairs, rows: slice) -> Bool[Tensor, "target prompt query key"]:
    """Where each query would look if it looked at a target."""
    tokens = torch.as_tensor(pairs.clean[rows])
    length = tokens.shape[1]
    place = torch.arange(length, device=tokens.device)
    back = place[:, None] - place
    earlier = (tokens[:, :, None] == tokens[:, None]) & (back > 0)
    behind = torch.zeros_like(earlier)
    behind[:, :, 1:] = earlier[:, :, :-1] & (back[:, 1:] >= 0)
    end = place[:, None] == length - 1
    answers = [
        end & (tokens == torch.as_tensor(answer[rows], device=tokens.device)[:, None])[:, None]
        for answer in (pairs.right, pairs.wrong)
    ]
    near = [(back == steps).expand_as(earlier) for steps in (0, 1)]
    return torch.stack([*near, earlier, behind, *answers])


def _copied(
    stream: Stream,
    layer: Layer,
    x: Float[Tensor, "place width"],
    tokens: Int[Tensor, " place"],
    k: int,
) -> Int[Tensor, " head"]:
    """How many tokens each head would say if it looked at them alone."""
    written = layer.attention.write_apart(values_of(layer, x[None]))[0]  # of each, by itself
    raised = stream.answer_each(written)
    own = raised.gather(-1, tokens[:, None].expand(*raised.shape[:2], 1))
    return ((raised >= own).sum(-1) <= k).sum(1)
