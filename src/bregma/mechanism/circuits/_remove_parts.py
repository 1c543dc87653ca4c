"""Take several heads and perceptrons out of a transformer at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._cache import Cache, mean_activity, observe
from bregma.mechanism.circuits._contrast import batches, check_baseline
from bregma.mechanism.circuits._graph import number_of
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Stream
from bregma.mechanism.circuits._walk import names_of
from bregma.run import spawn_torch


class PartRemoval:
    """A transformer without some of its heads and perceptrons, at all tokens.

    What is taken out does the same in all tasks that are compared: its mean over reference inputs
    from all of them.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    reference : Tensor (input, ...)
        Inputs of all tasks, as long as those that are asked about.
    baseline : {"mean", "zero", "resample"}
        What comes instead: the mean over the reference inputs, token by token; nothing; or the
        activity for one of them, drawn at random for each input and common to all parts.
    batch_size : int
        Inputs at a time.
    seed : int
        Draws reference inputs.

    Attributes
    ----------
    parts : list of str
        What can be taken out: ``"0.h1"`` (head 1 of layer 0), ``"0.mlp"``, ...
    layers : list of int
        The layer of each.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, there is no such baseline, or no input.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(9, 6, 16, heads=2, layers=2)
    >>> tokens = torch.arange(12).view(2, 6) % 9
    >>> removal = PartRemoval(net, tokens)
    >>> removal.parts
    ['0.h0', '0.h1', '0.mlp', '1.h0', '1.h1', '1.mlp']
    >>> removal(tokens, ["0.h1", "1.mlp"]).shape
    torch.Size([2, 9])
    """

    def __init__(
        self,
        model: Any,
        reference: Tensor,
        *,
        baseline: str = "mean",
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        check_baseline(baseline)
        if batch_size < 1 or not len(reference):
            raise InvalidArgument(
                f"batch_size must be 1 or more and there must be reference inputs, not "
                f"{batch_size} and {len(reference)}"
            )
        self.model, self.reference, self.baseline = model, reference, baseline
        self.batch_size, self.seed = batch_size, seed
        with as_stream(model, reference) as stream:
            self.parts = names_of(stream)[0][1:]
            self._mean = mean_activity(stream, reference, batch_size)
        self.layers = [int(part.split(".")[0]) for part in self.parts]

    def __call__(
        self, inputs: Tensor, removed: Sequence[str] = ()
    ) -> Float[Tensor, "input answer"]:
        """Answers without these parts.

        Parameters
        ----------
        inputs : Tensor (input, ...)
            Tokens or images.
        removed : sequence of str
            Names among `parts`.

        Returns
        -------
        Tensor (input, answer)
            Of the model as it is where nothing is removed.

        Raises
        ------
        UnknownName
            A part that is not there.
        InvalidArgument
            Inputs of another length than the reference.
        """
        for part in removed:
            number_of("part", part, self.parts)
        drawn = self._drawn(len(inputs))
        answers = []
        with as_stream(self.model, inputs) as stream:
            for rows in batches(len(inputs), self.batch_size):
                x = stream.embed(inputs[rows])
                if x.shape[1] != self._mean.before.shape[2]:
                    raise InvalidArgument(
                        f"inputs have {x.shape[1]} tokens, and the reference "
                        f"{self._mean.before.shape[2]}: means are taken token by token"
                    )
                answers.append(_run(stream, x, set(removed), self._given(stream, drawn[rows])))
        return torch.cat(answers)

    def _drawn(self, n: int) -> Int[Tensor, " input"]:
        rng = spawn_torch(self.seed, "PartRemoval")
        return torch.randint(len(self.reference), (n,), generator=rng)

    def _given(self, stream: Stream, rows: Int[Tensor, " input"]) -> Cache:
        if self.baseline == "mean":
            return self._mean
        if self.baseline == "zero":
            return self._mean.mapped(torch.zeros_like)
        return observe(stream, self.reference[rows])


def _run(
    stream: Stream, x: Tensor, removed: set[str], given: Cache
) -> Float[Tensor, "batch answer"]:
    for i, layer in enumerate(stream.layers):
        z = layer.attention.read(x)
        for h in range(layer.attention.n_heads):
            if f"{i}.h{h}" in removed:
                z[:, h] = given.heads[i][:, h]
        written = layer.attention.write(z)
        gone = f"{i}.mlp" in removed
        x = x + written + given.mlp[i] if gone else layer.after_heads(x, written)
    return stream.read_out(x)
