"""Residual vector quantisation: each codebook quantises what the ones before left over."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.signals._vector_quantizer import Gradient, Quantized, VectorQuantizer, rotation_trick


class ResidualVQ(nn.Module):
    """Several codebooks, coarse to fine; a vector is the sum of one code of each.

    Parameters
    ----------
    n_levels : int
        How many codebooks.
    n_codes : int
        Codes in each.
    width : int
        Length of a vector.
    decay : float
        Of the running means (see `VectorQuantizer`).
    gradient : callable
        How derivatives pass from the sum to the vector, once for all levels.

    Raises
    ------
    InvalidArgument
        If there is no level, or as `VectorQuantizer` does.

    References
    ----------
    Zeghidour et al. (2021), SoundStream: an end-to-end neural audio codec.

    Examples
    --------
    >>> x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    >>> quantizer = ResidualVQ(3, 16, 8)
    >>> quantizer(x).codes.shape
    torch.Size([200, 3])
    """

    def __init__(
        self,
        n_levels: int,
        n_codes: int,
        width: int,
        *,
        decay: float = 0.99,
        gradient: Gradient = rotation_trick,
    ) -> None:
        super().__init__()
        if n_levels < 1:
            raise InvalidArgument(f"n_levels must be 1 or more, not {n_levels}")
        self.gradient = gradient
        self.levels = nn.ModuleList(
            VectorQuantizer(n_codes, width, decay=decay) for _ in range(n_levels)
        )

    def forward(self, x: Float[Tensor, "*batch width"]) -> Quantized:
        """Quantise, and learn in training mode.

        Parameters
        ----------
        x : Tensor (..., width)
            Vectors.

        Returns
        -------
        Quantized
            The sum of the chosen codes, their numbers (..., level), and the mean squared distance
            to the partial sums.

        Raises
        ------
        InvalidArgument
            As `VectorQuantizer.forward`.
        """
        total, codes, commitment = torch.zeros_like(x), [], x.new_zeros(())
        for level in self.levels:
            with torch.no_grad():
                found = level(x.detach() - total)
            total = total + found.values
            codes.append(found.codes)
            commitment = commitment + ((x - total) ** 2).mean()
        return Quantized(
            self.gradient(x, total), torch.stack(codes, dim=-1), commitment / len(self.levels)
        )

    def values(self, codes: Int[Tensor, "*batch level"]) -> Float[Tensor, "*batch width"]:
        """Sum of some codes; fewer levels than there are give a coarser value.

        Parameters
        ----------
        codes : Tensor (..., level)
            Numbers of codes, of the first levels.

        Returns
        -------
        Tensor (..., width)
            The sum.

        Raises
        ------
        InvalidArgument
            If there are more levels than codebooks, or no such code.
        """
        books = [level.get_buffer("book") for level in self.levels]
        if not 0 < codes.shape[-1] <= len(books):
            raise InvalidArgument(f"{codes.shape[-1]} levels of codes; there are {len(books)}")
        if int(codes.min()) < 0 or int(codes.max()) >= len(books[0]):
            raise InvalidArgument(f"codes are from 0 to {len(books[0]) - 1}")
        chosen = [book[code] for book, code in zip(books, codes.unbind(-1), strict=False)]
        return torch.stack(chosen).sum(0)

    @property
    def usage(self) -> Float[Tensor, " level"]:
        """Effective share of each codebook: exp(entropy of recent choices) / size."""
        shares = torch.stack([cast(VectorQuantizer, level).share for level in self.levels])
        return torch.special.entr(shares).sum(1).exp() / shares.shape[1]
