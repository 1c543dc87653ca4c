"""Path patching: what one part does to another directly, with everything else held."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from bregma.mechanism.circuits._contrast import Metric, Pairs, batches, logit_difference
from bregma.mechanism.circuits._effects import Effects
from bregma.mechanism.circuits._graph import number_of
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Layer, Stream, Vectors
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
                clean = _Clean(stream, pairs.clean[rows])
                corrupt, other = walk(stream, stream.embed(pairs.corrupt[rows]))
                measured = metric(clean.answers, pairs[rows])
                totals.append(metric(corrupt, pairs[rows]) - measured)
                effects = []
                for sender in which:
                    received = clean.received(targets, sender, other, through_mlps)
                    effects.append(metric(clean.given(received), pairs[rows]) - measured)
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


class _Clean:
    """A clean run: its answers, what was sent, and the stream before every layer."""

    def __init__(self, stream: Stream, inputs: Tensor) -> None:
        self.stream, self.before = stream, list[Vectors]()
        self.answers, self.sent = walk(stream, stream.embed(inputs), self._noted)

    def _noted(self, first: int, n: int, x: Vectors, sent: list[Tensor]) -> Received:
        if n > 1:  # queries, keys and values of a layer
            self.before.append(x)
        return whole(first, n, x, sent)

    def received(
        self, receivers: Collection[int], sender: int, other: Sent, free_mlps: bool
    ) -> dict[int, Vectors]:
        """What receivers get where one sender sends something else, and all other heads the same.

        No head is computed: each sends what is known.
        """
        change = other[sender] - self.sent[sender]
        x = self.sent[0] + change if sender == 0 else self.sent[0]
        got, to, n_sent = dict[int, Vectors](), 0, 1
        for layer in self.stream.layers:
            n, bias = layer.attention.n_heads, layer.attention.bias
            got |= {r: x for r in receivers if to <= r < to + 3 * n}
            before = x
            x = x + self.sent[n_sent : n_sent + n].sum(0) + (0 if bias is None else bias)
            x = x + change if n_sent <= sender < n_sent + n else x
            to, n_sent = to + 3 * n, n_sent + n
            if layer.mlp is not None:
                at = before if layer.parallel else x
                got |= {to: at} if to in receivers else {}
                free = free_mlps and n_sent != sender
                x = x + (layer.mlp(layer.norm(at)) if free else self.sent[n_sent])
                x = x + change if n_sent == sender else x
                to, n_sent = to + 1, n_sent + 1
            if to > max(receivers):
                break
        return got | ({to: x} if to in receivers else {})

    def given(self, received: Mapping[int, Vectors]) -> Float[Tensor, "batch answer"]:
        """The answers where receivers get this; layers before the first one are as they were."""
        x, to = None, 0
        for layer, before in zip(self.stream.layers, self.before, strict=True):
            n = 3 * layer.attention.n_heads + (layer.mlp is not None)
            mine = {r - to: got for r, got in received.items() if to <= r < to + n}
            x = before if x is None and mine else x
            x = x if x is None else _advanced(layer, x, mine)
            to += n
        return self.stream.read_out(received.get(to, x))  # type: ignore[arg-type]


def _advanced(layer: Layer, x: Vectors, received: Mapping[int, Vectors]) -> Vectors:
    """The stream after a layer some parts of which, counted from its first query, get this."""
    attention, n = layer.attention, 3 * layer.attention.n_heads
    if min(received, default=n) < n:
        got = x.expand(n, *x.shape).clone()
        for r in received.keys() - {n}:
            got[r] = received[r]
        z = attention.read_apart(*got.unflatten(0, (3, -1)).transpose(1, 2))
    else:
        z = attention.read(x)
    written = attention.write(z)
    if n not in received or layer.mlp is None:
        return layer.after_heads(x, written)
    return x + written + layer.mlp(layer.norm(received[n]))
