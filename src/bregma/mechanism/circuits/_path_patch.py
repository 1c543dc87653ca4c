"""Path patching: what one part does to another directly, with everything else held."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bregma.mechanism.circuits._contrast import Metric, Pairs, batches, logit_difference
from bregma.mechanism.circuits._effects import Effects
from bregma.mechanism.circuits._graph import number_of
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Vectors
from bregma.mechanism.circuits._walk import Received, Sent, n_seen, names_of, walk, whole
from bregma.run import progress as show_progress


def path_patch(
    model: Any,
    pairs: Pairs,
    receivers: str | Sequence[str] = "logits",
    senders: Sequence[str] | None = None,
    *,
    through_mlps: bool = True,
    metric: Metric = logit_difference,
    batch_size: int = 8,
    progress: bool = False,
) -> Effects:
    """Give receivers what they would get if one sender had seen the corrupt input.

    All other heads do what they do for the clean input, so that only the direct paths from the
    sender to the receivers count; then the network runs with the clean input and the receivers'
    changed inputs. Plain patching of the sender counts the paths through other heads as well.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    pairs : PromptPairs or Contrast
        Clean and corrupt inputs and their answers.
    receivers : str or sequence of str
        ``"logits"``, ``"9.h6.q"``, ``"9.h6.k"``, ``"9.h6.v"``, ``"9.mlp"``; several are changed
        together.
    senders : sequence of str, optional
        ``"embed"``, ``"7.h3"``, ``"7.mlp"``, one at a time; by default all heads that come before
        one of the receivers.
    through_mlps : bool
        Whether perceptrons between sender and receivers see the change and answer to it; else
        they are held like heads.
    metric : callable
        Answers (pair, answer) and their pairs to one number each.
    batch_size : int
        Pairs at a time.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    Effects
        (pair, sender): the measure less that of the clean run. The total is that of the corrupt
        run less that of the clean one.

    Raises
    ------
    UnknownName
        A sender or receiver that the model does not have.
    InvalidArgument
        The model is not read as a transformer.

    References
    ----------
    Wang, Variengien, Conmy, Shlegeris and Steinhardt (2023), Interpretability in the wild: a
    circuit for indirect object identification in GPT-2 small.
    Goldowsky-Dill, MacLeod, Sato and Arora (2023), Localizing model behavior with path patching.
    """
    to = [receivers] if isinstance(receivers, str) else list(receivers)
    with as_stream(model, pairs.clean) as stream:
        every, places = names_of(stream)
        targets = [number_of("receiver", name, places) for name in to]
        before = max(n_seen(stream)[r] for r in targets)
        heads = [name for name in every[:before] if ".h" in name]
        chosen = heads if senders is None else list(senders)
        which = [number_of("sender", name, every) for name in chosen]
        parts = batches(len(pairs), batch_size)
        found, totals = [], []
        with show_progress[Any](
            what="path patching", total=len(parts) * len(which), show=progress
        ) as bar:
            for rows in parts:
                x = stream.embed(pairs.clean[rows])
                clean, sent = walk(stream, x)
                corrupt, other = walk(stream, stream.embed(pairs.corrupt[rows]))
                measured = metric(clean, pairs[rows])
                totals.append(metric(corrupt, pairs[rows]) - measured)
                effects = []
                for sender in which:
                    held = _Held(every, sent, other, sender, through_mlps)
                    got = _Noted(targets)
                    walk(stream, x, got, held)
                    answers, _ = walk(stream, x, _Given(got.received))
                    effects.append(metric(answers, pairs[rows]) - measured)
                    bar.advance()
                found.append(torch.stack(effects, 1))
    values = xr.DataArray(
        torch.cat(found).double().cpu().numpy(),
        dims=["pair", "sender"],
        coords={"pair": np.arange(len(pairs)), "sender": chosen},
    )
    again = partial(
        path_patch, pairs=pairs, receivers=to, senders=chosen, through_mlps=through_mlps,
        metric=metric, batch_size=batch_size,
    )  # fmt: skip
    total = torch.cat(totals).double().cpu().numpy()
    return Effects(values, total, f"path patching to {', '.join(to)}", model, again)


class _Held:
    """One sender sends what it sent for the corrupt input, others what they sent for the clean."""

    def __init__(
        self, names: Sequence[str], clean: Sent, corrupt: Sent, sender: int, free_mlps: bool
    ) -> None:
        self.names, self.clean, self.corrupt = names, clean, corrupt
        self.sender, self.free_mlps = sender, free_mlps

    def __call__(self, first: int, sent: Sent) -> Sent:
        own = slice(first, first + len(sent))
        free = self.free_mlps and self.names[first].endswith("mlp")
        held = sent if free else self.clean[own]
        if own.start <= self.sender < own.stop:
            held = held.clone()
            held[self.sender - first] = self.corrupt[self.sender]
        return held


class _Noted:
    """Notes what some receivers get."""

    def __init__(self, receivers: Sequence[int]) -> None:
        self.wanted, self.received = set(receivers), dict[int, Tensor]()

    def __call__(self, first: int, n: int, x: Vectors, sent: list[Tensor]) -> Received:
        self.received |= dict.fromkeys(self.wanted & {*range(first, first + n)}, x)
        return whole(first, n, x, sent)


class _Given:
    """Gives some receivers what was noted."""

    def __init__(self, received: dict[int, Tensor]) -> None:
        self.received = received

    def __call__(self, first: int, n: int, x: Vectors, sent: list[Tensor]) -> Received:
        got = whole(first, n, x, sent)
        mine = [r for r in self.received if first <= r < first + n]
        if mine:
            got = got.clone()
            for r in mine:
                got[r - first] = self.received[r]
        return got
