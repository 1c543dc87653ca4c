"""Vector quantisation: the nearest of a learned set of codes, and gradients past the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument

FEW = 0.05  # of an even share of the inputs: a code with less is dead
ROUNDS = 10  # of k-means on the first batch
TINY = 1e-6


class Quantized(NamedTuple):
    """What a quantiser makes of vectors.

    Parameters
    ----------
    values : Tensor (..., width)
        The codes that stand for the vectors; gradients pass to the vectors.
    codes : Tensor (...) or (..., level)
        Which ones.
    commitment : Tensor ()
        Mean squared distance to them, to be added to a loss: it draws vectors to codes.
    """

    values: Tensor
    codes: Tensor
    commitment: Tensor


def straight_through(
    x: Float[Tensor, "*batch width"], chosen: Float[Tensor, "*batch width"]
) -> Float[Tensor, "*batch width"]:
    """The chosen codes forward, the identity backward.

    Parameters
    ----------
    x : Tensor (..., width)
        Vectors.
    chosen : Tensor (..., width)
        Codes.

    Returns
    -------
    Tensor (..., width)
        Equal to `chosen`; its derivative with respect to `x` is the identity.

    References
    ----------
    Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning.
    """
    return x + (chosen - x).detach()


def rotation_trick(
    x: Float[Tensor, "*batch width"], chosen: Float[Tensor, "*batch width"]
) -> Float[Tensor, "*batch width"]:
    """The chosen codes forward; backward, the rotation and stretch that turn x into them.

    The gradient keeps its angle to the vector when it moves from the code to the vector.

    Parameters
    ----------
    x : Tensor (..., width)
        Vectors.
    chosen : Tensor (..., width)
        Codes.

    Returns
    -------
    Tensor (..., width)
        Equal to `chosen` up to rounding.

    References
    ----------
    Fifty et al. (2024), Restructuring vector quantization with the rotation trick.
    """
    with torch.no_grad():
        size_x = x.norm(dim=-1, keepdim=True).clamp_min(TINY)
        size = chosen.norm(dim=-1, keepdim=True)
        from_, to = x / size_x, chosen / size.clamp_min(TINY)
        half = nn.functional.normalize(from_ + to, dim=-1)
    turned = x - 2 * (x * half).sum(-1, keepdim=True) * half
    turned = turned + 2 * (x * from_).sum(-1, keepdim=True) * to
    return turned * (size / size_x)


Gradient = Callable[[Tensor, Tensor], Tensor]


class VectorQuantizer(nn.Module):
    """The nearest code of a codebook that follows its inputs.

    The codebook is a set of running means, not of parameters: in training mode each code moves
    towards the mean of the inputs that chose it. The first batch starts it, by k-means; a code
    that hardly any input chooses is put onto an input. Nothing is drawn at random.

    Parameters
    ----------
    n_codes : int
        Size of the codebook.
    width : int
        Length of a vector.
    decay : float
        Share of the running means that stays at each call, from 0 to below 1.
    gradient : callable
        How derivatives pass the choice: `straight_through` or `rotation_trick`.

    Raises
    ------
    InvalidArgument
        A size below 1, or a decay out of range.

    References
    ----------
    Van den Oord, Vinyals and Kavukcuoglu (2017), Neural discrete representation learning
    (appendix A.1, exponential moving averages).

    Examples
    --------
    >>> x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> quantizer = VectorQuantizer(16, 8)
    >>> quantizer(x).codes.shape, quantizer.share.shape
    (torch.Size([100]), torch.Size([16]))
    """

    book: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(
        self,
        n_codes: int,
        width: int,
        *,
        decay: float = 0.99,
        gradient: Gradient = straight_through,
    ) -> None:
        super().__init__()
        if n_codes < 1 or width < 1 or not 0 <= decay < 1:
            raise InvalidArgument(
                f"n_codes and width must be 1 or more and decay from 0 to below 1, not {n_codes}, "
                f"{width} and {decay}"
            )
        self.decay, self.gradient = decay, gradient
        self.register_buffer("book", torch.zeros(n_codes, width))
        self.register_buffer("counts", torch.zeros(n_codes))  # running means, per call
        self.register_buffer("sums", torch.zeros(n_codes, width))
        self.register_buffer("started", torch.tensor(False))

    @property
    def share(self) -> Float[Tensor, " code"]:
        """Share of recent inputs that chose each code."""
        return self.counts / self.counts.sum().clamp_min(TINY)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Quantized:
        """Quantise, and learn in training mode.

        Parameters
        ----------
        x : Tensor (..., width)
            Vectors.

        Returns
        -------
        Quantized
            Codes and their values.

        Raises
        ------
        InvalidArgument
            If the vectors are of another width or not finite, or the codebook is still empty.
        """
        codes = self.choose(x)
        chosen = self.book[codes]
        if self.training:
            self._follow(x.reshape(-1, x.shape[-1]).to(self.book.dtype), codes.reshape(-1))
        commitment = ((x - chosen) ** 2).mean()
        return Quantized(self.gradient(x, chosen), codes, commitment)

    @torch.no_grad()
    def choose(self, x: Float[Tensor, "*batch width"]) -> Int[Tensor, "*batch"]:
        """The nearest code of each vector; in training mode the first call starts the codebook.

        Parameters
        ----------
        x : Tensor (..., width)
            Vectors.

        Returns
        -------
        Tensor (...)
            Numbers of codes.

        Raises
        ------
        InvalidArgument
            As `forward`.
        """
        if x.shape[-1] != self.book.shape[1] or not x.numel():
            raise InvalidArgument(
                f"vectors have the width {self.book.shape[1]}; the input is {tuple(x.shape)}"
            )
        if not torch.isfinite(x).all():
            raise InvalidArgument("the input holds NaN or infinite values")
        flat = x.reshape(-1, x.shape[-1]).to(self.book.dtype)
        if not self.started:
            if not self.training:
                raise InvalidArgument("the codebook is empty: call .train() and feed data first")
            self._start(flat)
        return _nearest(flat, self.book).reshape(x.shape[:-1])

    def _start(self, x: Float[Tensor, "vector width"]) -> None:
        """Codes by a few rounds of k-means."""
        book = _spread(x, len(self.book)).clone()
        for _ in range(ROUNDS):
            counts, sums = _totals(x, _nearest(x, book), len(book))
            book = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), book)
        counts, sums = _totals(x, _nearest(x, book), len(book))
        self.book.copy_(book)
        self.counts.copy_(counts)
        self.sums.copy_(sums)
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, x: Float[Tensor, "vector width"], codes: Int[Tensor, " vector"]) -> None:
        """N <- d N + (1 - d) n, m <- d m + (1 - d) sum of x, e = m / N; revive the dead."""
        counts, sums = _totals(x, codes, len(self.book))
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        even = self.counts.sum() / len(self.counts)
        dead = self.counts < FEW * even
        if dead.any():
            revived = _spread(x, int(dead.sum()))
            self.counts[dead] = even
            self.sums[dead] = revived * even
        self.book.copy_(self.sums / self.counts[:, None].clamp_min(TINY))


def _nearest(x: Tensor, book: Tensor) -> Tensor:
    """Number of the nearest code: |x|^2 is the same for all of them."""
    return ((book**2).sum(1) - 2 * x @ book.T).argmin(dim=1)


def _totals(x: Tensor, codes: Tensor, n_codes: int) -> tuple[Tensor, Tensor]:
    """How many vectors chose each code, and their sum."""
    counts = torch.bincount(codes, minlength=n_codes).to(x)
    return counts, torch.zeros(n_codes, x.shape[1]).to(x).index_add_(0, codes, x)


def _spread(x: Tensor, n: int) -> Tensor:
    """Vectors evenly over the batch, again from its beginning where there are too few."""
    return x[torch.arange(n, device=x.device) * max(len(x) // n, 1) % len(x)]
