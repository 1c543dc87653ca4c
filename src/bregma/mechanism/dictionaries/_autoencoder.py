"""Sparse autoencoders and transcoders: activity as a sum of few features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._codes import SparseCode, at_least_one
from bregma.mechanism.dictionaries._revive import revive
from bregma.run import spawn_torch


class DictionaryLoss(NamedTuple):
    """What a dictionary is trained on, and the code that it came from.

    Parameters
    ----------
    total : Tensor
        Squared error plus the cost of the code, a mean over samples.
    code : Tensor (sample, feature)
        The code.
    """

    total: Float[Tensor, ""]
    code: Float[Tensor, "sample feature"]


class SparseAutoencoder(nn.Module):
    r"""x = D^T z + b with few features in z above 0.

    z = code(W (x - b) + c). The loss is |D^T z + b - y|^2 plus the cost of the code, with y = x, or
    another activity for a transcoder (y = MLP(x)), where b is not subtracted from x. The rows of D
    have length 1; call `normalise_` after each step of an optimizer, as `fit_dictionary` does.

    Parameters
    ----------
    n_inputs : int
        Length of x.
    n_features : int
        Features; more than `n_inputs` makes the code overcomplete.
    code : SparseCode
        `ReLUCode`, `TopKCode`, `BatchTopKCode`, `JumpReLUCode`, `GatedCode`,
        `MatchingPursuitCode`, or one's own.
    n_outputs : int, optional
        Length of y: makes a transcoder.
    centred : bool, optional
        Whether b is subtracted from x first; not possible for transcoders.
    seed : int
        Draws the features; W starts as D (a transcoder's W on its own).

    Raises
    ------
    InvalidArgument
        If sizes do not fit, or a transcoder should be centred or have a code that needs no encoder.

    References
    ----------
    Bricken et al. (2023), Towards monosemanticity: decomposing language models with dictionary
    learning.
    Dunefsky, Chlenski and Nanda (2024), Transcoders find interpretable LLM feature circuits.

    Examples
    --------
    >>> from bregma.mechanism import SparseAutoencoder, TopKCode
    >>> sae = SparseAutoencoder(16, 64, TopKCode(4), seed=0)
    >>> x = torch.randn(10, 16)
    >>> sae(x).shape, bool((sae.encode(x) > 0).sum(1).max() <= 4)
    (torch.Size([10, 16]), True)
    """

    def __init__(
        self,
        n_inputs: int,
        n_features: int,
        code: SparseCode,
        *,
        n_outputs: int | None = None,
        centred: bool | None = None,
        seed: int,
    ) -> None:
        super().__init__()
        transcodes = n_outputs is not None
        if transcodes and (centred or code.selects_itself):
            raise InvalidArgument(
                "a transcoder's output is another activity than its input: it cannot be centred, "
                f"and needs a linear encoder, which {type(code).__name__} may not have"
            )
        n_outputs = n_inputs if n_outputs is None else n_outputs
        for number, name in ((n_inputs, "n_inputs"), (n_features, "n_features")):
            at_least_one(number, name)
        at_least_one(n_outputs, "n_outputs")
        for parameter in code.parameters():
            if parameter.shape != (n_features,):
                raise InvalidArgument(
                    f"{type(code).__name__} is made for {len(parameter)} features, not {n_features}"
                )
        self.transcodes, self.centred = transcodes, not transcodes if centred is None else centred
        self.code = code
        rng = spawn_torch(seed, "sparse autoencoder")
        decoder = _directions(n_features, n_outputs, rng)
        self.decoder = nn.Parameter(decoder)  # (feature, output)
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        self.encoder: nn.Linear | None = None
        if not code.selects_itself:
            self.encoder = nn.utils.skip_init(nn.Linear, n_inputs, n_features)
            weight = _directions(n_features, n_inputs, rng) if transcodes else decoder
            with torch.no_grad():
                self.encoder.weight.copy_(weight)
                self.encoder.bias.zero_()

    @property
    def n_inputs(self) -> int:
        """Length of x."""
        return self.decoder.shape[1] if self.encoder is None else self.encoder.in_features

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.decoder.shape[0]

    @property
    def n_outputs(self) -> int:
        """Length of y."""
        return self.decoder.shape[1]

    def encode(self, x: Float[Tensor, "*sample input"]) -> Float[Tensor, "*sample feature"]:
        """The sparse code of activity.

        Parameters
        ----------
        x : Tensor (..., input)
            Activity.

        Returns
        -------
        Tensor (..., feature)
            0 or more.
        """
        return self._coded(x)[1]

    def decode(self, code: Float[Tensor, "*sample feature"]) -> Float[Tensor, "*sample output"]:
        """The activity that a code stands for.

        Parameters
        ----------
        code : Tensor (..., feature)
            A code.

        Returns
        -------
        Tensor (..., output)
            D^T z + b.
        """
        return code @ self.decoder + self.bias

    def forward(self, x: Float[Tensor, "*sample input"]) -> Float[Tensor, "*sample output"]:
        """Reconstruction, or a transcoder's prediction.

        Parameters
        ----------
        x : Tensor (..., input)
            Activity.

        Returns
        -------
        Tensor (..., output)
            D^T z + b.
        """
        return self.decode(self.encode(x))

    def loss(
        self,
        x: Float[Tensor, "sample input"],
        y: Float[Tensor, "sample output"] | None = None,
    ) -> DictionaryLoss:
        """Squared error, summed over outputs, plus the cost of the code; a mean over samples.

        Parameters
        ----------
        x : Tensor (sample, input)
            Activity.
        y : Tensor (sample, output), optional
            What to predict; x itself where it is not given.

        Returns
        -------
        DictionaryLoss
            The loss and the code.

        Raises
        ------
        InvalidArgument
            If a transcoder gets no y.
        """
        if y is None and self.transcodes:
            raise InvalidArgument(
                "a transcoder is trained on pairs: give y, the activity to predict"
            )
        y = x if y is None else y
        pre, code = self._coded(x)
        error = (self.decode(code) - y).square().sum(-1).mean()

        def under_this_dictionary(other: Tensor) -> Tensor:
            output = other @ self.decoder.detach() + self.bias.detach()
            return (output - y).square().sum(-1).mean()

        return DictionaryLoss(
            error + self.code.cost(pre, code, self.norms(), under_this_dictionary), code
        )

    def norms(self) -> Float[Tensor, " feature"]:
        """Lengths of the features, as costs count them."""
        return self.decoder.norm(dim=1)

    @torch.no_grad()
    def normalise_(self) -> None:
        """Scale the rows of D to length 1, in place."""
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True).clamp_min(1e-12))

    @torch.no_grad()
    def start_from(self, y: Float[Tensor, "sample output"], *, seed: int) -> None:
        """Start b at the mean of samples and the features at directions of some of them.

        Parameters
        ----------
        y : Tensor (sample, output)
            Samples of what is to be reconstructed or predicted.
        seed : int
            Draws which; more features than samples keep the directions that they have.

        Raises
        ------
        InvalidArgument
            If the samples are not finite or too few to have a direction.
        """
        if len(y) < 2 or not bool(y.isfinite().all()):
            raise InvalidArgument("a start needs two samples or more, all of them finite")
        self.bias.copy_(y.mean(0))
        order = torch.randperm(len(y), generator=spawn_torch(seed, "start"))[: self.n_features]
        rows = y[order.to(y.device)] - self.bias
        rows = rows[rows.norm(dim=1) > 1e-6]
        self.decoder[: len(rows)] = rows
        self.normalise_()
        if self.encoder is not None and not self.transcodes:
            self.encoder.weight.copy_(self.decoder)

    def revive_(
        self,
        dead: Bool[Tensor, " feature"],
        x: Float[Tensor, "sample input"],
        y: Float[Tensor, "sample output"] | None,
        rng: torch.Generator,
    ) -> Bool[Tensor, " feature"]:
        """Start dead features anew, in place; see `revive`.

        Parameters
        ----------
        dead : Tensor (feature,)
            True where a feature is dead.
        x : Tensor (sample, input)
            Activity.
        y : Tensor (sample, output) or None
            What to predict from it; x itself where it is None.
        rng : torch.Generator
            Draws samples.

        Returns
        -------
        Tensor (feature,)
            True where a feature got a new start: no more of them than samples.
        """
        return revive(self, dead, x, x if y is None else y, rng)

    def _coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What drives the features, and the code."""
        if x.shape[-1] != self.n_inputs:
            raise InvalidArgument(
                f"activity of length {x.shape[-1]} does not fit a dictionary for {self.n_inputs}"
            )
        x = x - self.bias if self.centred else x
        if self.encoder is None:
            code = self.code(x, self.decoder)
            return code, code
        pre = self.encoder(x)
        return pre, self.code(pre)


def _directions(n: int, size: int, rng: torch.Generator) -> Tensor:
    rows = torch.randn(n, size, generator=rng)
    return rows / rows.norm(dim=1, keepdim=True)
