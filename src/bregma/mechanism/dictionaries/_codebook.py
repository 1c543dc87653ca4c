"""Codebooks: activity replaced by a few of a finite number of codes."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._autoencoder import DictionaryLoss
from bregma.mechanism.dictionaries._codes import at_least_one
from bregma.mechanism.dictionaries._revive import replacements
from bregma.run import derive, spawn_torch


class Codebook(nn.Module):
    r"""A bottleneck that passes on the mean of the k codes that point most like the activity.

    Put it behind an attention or a multilayer perceptron. Derivatives go straight through to the
    activity, as if it were not there, and to the chosen codes. ``forward`` leaves the squared error
    between activity and output in `error`: add some of it to the loss of the task. Setting
    `forced` makes it give out chosen codes whatever comes in, to steer the network.

    Parameters
    ----------
    n_inputs : int
        Length of the activity.
    n_codes : int
        Number of codes.
    k : int
        Codes per position; those of the highest cosine with the activity.
    commitment : float
        How much of the derivative of `error` reaches the activity, to keep it at the length of its
        codes: with 0 nothing does, and in training of a whole network it may grow without end.
    seed : int
        Draws the codes; `start_from` gives better ones.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    Attributes
    ----------
    codes : Tensor (code, input)
        The codebook.
    error : Tensor
        Squared error of the last forward pass, a mean over positions. It trains the codes, and the
        activity as far as there is `commitment`.
    forced : Tensor or None
        Indices of codes (k) that are given out at all positions, or (..., k) at each; where they
        are -1, it is the chosen ones.

    References
    ----------
    Tamkin, Taufeeque and Goodman (2023), Codebook features: sparse and discrete interpretability
    for neural networks.
    van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning.

    Examples
    --------
    >>> from bregma.mechanism import Codebook
    >>> layer = Codebook(8, 32, seed=0)
    >>> x = torch.randn(2, 5, 8)
    >>> layer(x).shape, layer.choose(x).shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 1]))
    """

    def __init__(
        self, n_inputs: int, n_codes: int, k: int = 1, *, commitment: float = 0.0, seed: int
    ) -> None:
        super().__init__()
        for number, name in ((n_inputs, "n_inputs"), (n_codes, "n_codes"), (k, "k")):
            at_least_one(number, name)
        if k > n_codes:
            raise InvalidArgument(f"k={k} of only {n_codes} codes; lower k")
        if not 0 <= commitment < math.inf:
            raise InvalidArgument(f"commitment must be 0 or more, not {commitment}")
        self.k, self.commitment = k, float(commitment)
        rng = spawn_torch(seed, "codebook")
        self.codes = nn.Parameter(torch.randn(n_codes, n_inputs, generator=rng))
        self.error: Tensor | None = None
        self.forced: Int[Tensor, "*position k"] | None = None

    @property
    def n_features(self) -> int:
        """Number of codes."""
        return len(self.codes)

    def choose(self, x: Float[Tensor, "*position input"]) -> Int[Tensor, "*position k"]:
        """The codes that stand for activity, best first.

        Parameters
        ----------
        x : Tensor (..., input)
            Activity.

        Returns
        -------
        Tensor (..., k)
            Their indices.
        """
        if x.shape[-1] != self.codes.shape[1]:
            raise InvalidArgument(
                f"activity of length {x.shape[-1]} does not fit codes of {self.codes.shape[1]}"
            )
        with torch.no_grad():  # the length of x does not change the order
            return (x @ F.normalize(self.codes, dim=1).T).topk(self.k, dim=-1).indices

    def forward(self, x: Float[Tensor, "*position input"]) -> Float[Tensor, "*position input"]:
        """Replace activity by codes.

        Parameters
        ----------
        x : Tensor (..., input)
            Activity.

        Returns
        -------
        Tensor (..., input)
            The mean of the chosen (or forced) codes.
        """
        index = self.choose(x)
        if self.forced is not None:
            forced = self.forced.to(x.device)
            index = torch.where(forced < 0, index, forced)
        output = self.codes[index].mean(-2)
        target = x.detach() + self.commitment * (x - x.detach())  # its value is x
        self.error = (output - target).square().sum(-1).mean()
        return output + (x - x.detach())  # its value is that of the codes

    def loss(
        self, x: Float[Tensor, "sample input"], y: Float[Tensor, "sample input"] | None = None
    ) -> DictionaryLoss:
        """Squared error of activity that is replaced by codes, to fit the codes alone.

        Parameters
        ----------
        x : Tensor (sample, input)
            Activity.
        y : Tensor (sample, input), optional
            What to reproduce; x itself where it is not given.

        Returns
        -------
        DictionaryLoss
            The loss, and 1/k for each chosen code.
        """
        index = self.choose(x)
        error = (self.codes[index].mean(-2) - (x if y is None else y)).square().sum(-1).mean()
        code = x.new_zeros(len(x), len(self.codes)).scatter(1, index, 1 / self.k)
        return DictionaryLoss(error, code)

    def normalise_(self) -> None:
        """Nothing: the length of a code is part of what it stands for."""

    @torch.no_grad()
    def start_from(self, x: Float[Tensor, "sample input"], *, seed: int) -> None:
        """Start the codes at the means of clusters of activity (k-means).

        Parameters
        ----------
        x : Tensor (sample, input)
            Activity; as many samples as codes, or more.
        seed : int
            Draws the first means.

        Raises
        ------
        InvalidArgument
            If there are too few samples, or some are not finite.
        """
        if len(x) < len(self.codes) or not bool(x.isfinite().all()):
            raise InvalidArgument(
                f"{len(self.codes)} codes need as many samples or more, all of them finite"
            )
        kmeans = MiniBatchKMeans(
            len(self.codes), random_state=derive(seed, "k-means") % 2**32, n_init=3
        )
        centres = kmeans.fit(x.cpu().numpy().astype(np.float32)).cluster_centers_
        self.codes.copy_(torch.from_numpy(centres))

    @torch.no_grad()
    def revive_(
        self,
        dead: Bool[Tensor, " code"],
        x: Float[Tensor, "sample input"],
        y: Float[Tensor, "sample input"] | None,
        rng: torch.Generator,
    ) -> Bool[Tensor, " code"]:
        """Put codes that are never chosen where activity is reproduced worst, in place.

        Parameters
        ----------
        dead : Tensor (code,)
            True where a code is never chosen.
        x : Tensor (sample, input)
            Activity.
        y : Tensor (sample, input) or None
            Not used.
        rng : torch.Generator
            Draws samples by their squared error.

        Returns
        -------
        Tensor (code,)
            True where a code got a new start: no more of them than samples.
        """
        error = (self.codes[self.choose(x)].mean(-2) - x).square().sum(1)
        features, rows = replacements(dead, error, rng)
        new = torch.zeros_like(dead)
        self.codes[features], new[features] = x[rows], True
        return new


def code_usage(index: Int[Tensor, "*position k"], n_codes: int) -> tuple[int, float]:
    """How many codes are in use, and their perplexity: a collapsed codebook has few.

    Parameters
    ----------
    index : Tensor (..., k)
        Chosen codes, from `Codebook.choose`.
    n_codes : int
        How many there are.

    Returns
    -------
    n_active : int
        Codes that were chosen at all.
    perplexity : float
        exp of the entropy of how often each was chosen: `n_codes` if equally often, 1 if one.

    Raises
    ------
    InvalidArgument
        If nothing was chosen, or an index is no code.

    Examples
    --------
    >>> from bregma.mechanism import code_usage
    >>> code_usage(torch.tensor([[0], [0], [3], [3]]), 8)
    (2, 2.0)
    """
    if index.numel() == 0 or int(index.min()) < 0 or int(index.max()) >= n_codes:
        raise InvalidArgument(f"indices of codes must be 0 to {n_codes - 1}, and at least one")
    counts = torch.bincount(index.flatten(), minlength=n_codes).double()
    share = counts[counts > 0] / counts.sum()
    return len(share), round(math.exp(-float((share * share.log()).sum())), 12)


def common_codes(
    index: Int[Tensor, " sample"], label: Int[Tensor, " sample"], n_labels: int
) -> Int[Tensor, " label"]:
    """The code that stands most often for each label: the one to force, to say that label.

    Parameters
    ----------
    index : Tensor (sample,)
        The code of each sample, from `Codebook.choose`.
    label : Tensor (sample,)
        What each sample is, such as the state that it is in.
    n_labels : int
        How many labels there are.

    Returns
    -------
    Tensor (label,)
        Indices of codes, the lowest of equals; -1 (which forces nothing) for a label that no sample
        has.

    Raises
    ------
    InvalidArgument
        If there are no samples, or an index or label is out of range.

    Examples
    --------
    >>> from bregma.mechanism import common_codes
    >>> common_codes(torch.tensor([7, 7, 2, 4]), torch.tensor([0, 0, 0, 2]), 3)
    tensor([ 7, -1,  4])
    """
    if index.numel() == 0 or index.shape != label.shape or int(index.min()) < 0:
        raise InvalidArgument("each sample needs a code and a label, and there must be samples")
    if not 0 <= int(label.min()) <= int(label.max()) < n_labels:
        raise InvalidArgument(f"labels must be 0 to {n_labels - 1}")
    counts = torch.zeros(n_labels, int(index.max()) + 1, dtype=torch.int64, device=index.device)
    counts.index_put_((label, index), torch.ones_like(index), accumulate=True)
    most, code = counts.max(1)
    return torch.where(most > 0, code, -1)
