"""Stimuli and behaviour as tokens, and what pulls tokens of one moment together."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from bregma.errors import InvalidArgument
from bregma.run import derive, private_randomness


class LinearTokens(nn.Module):
    """A token for each sample of a signal with few features, such as speed or a drive.

    Parameters
    ----------
    n_features : int
        Features of a sample.
    n_tokens : int
        Samples of a window.
    width : int
        Features of a token.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        A number below 1.

    Examples
    --------
    >>> LinearTokens(2, 4, 16)(torch.zeros(3, 4, 2)).shape
    torch.Size([3, 4, 16])
    """

    def __init__(self, n_features: int, n_tokens: int, width: int, *, seed: int = 0) -> None:
        super().__init__()
        if min(n_features, n_tokens, width) < 1:
            raise InvalidArgument(
                "n_features, n_tokens and width must be 1 or more, not "
                f"{n_features}, {n_tokens} and {width}"
            )
        with private_randomness(derive(seed, "LinearTokens")):
            self.project = nn.Linear(n_features, width)
            self.place = nn.Parameter(0.5 * torch.randn(n_tokens, width))

    def forward(
        self, signal: Float[Tensor, "window token feature"]
    ) -> Float[Tensor, "window token width"]:
        """Tokens of samples.

        Parameters
        ----------
        signal : Float[Tensor, "window token feature"]
            As from `signal_windows`, scaled to about 1.

        Returns
        -------
        Float[Tensor, "window token width"]
            One for each sample.

        Raises
        ------
        InvalidArgument
            Another number of samples or features.
        """
        asked = (len(self.place), self.project.in_features)
        if tuple(signal.shape[1:]) != asked:
            raise InvalidArgument(
                f"samples and features must be {asked}, not {tuple(signal.shape[1:])}"
            )
        return self.project(signal) + self.place


class MovieTokens(nn.Module):
    """A token for each patch of a movie: some frames of a square of pixels.

    Parameters
    ----------
    frames, height, width_px : int
        Size of a movie.
    width : int
        Features of a token.
    kernel, stride : (int, int, int)
        Frames, rows and columns of a patch, and from patch to patch.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        If the movie is smaller than a patch.

    References
    ----------
    Antoniades et al. (2024), Neuroformer. arXiv:2311.00136.

    Examples
    --------
    >>> MovieTokens(6, 16, 16, 32)(torch.zeros(2, 6, 16, 16)).shape  # 2 x 3 x 3 patches
    torch.Size([2, 18, 32])
    """

    def __init__(
        self,
        frames: int,
        height: int,
        width_px: int,
        width: int,
        *,
        kernel: tuple[int, int, int] = (3, 8, 8),
        stride: tuple[int, int, int] = (3, 4, 4),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size = (frames, height, width_px)
        if any(n < k or s < 1 for n, k, s in zip(self.size, kernel, stride, strict=True)):
            raise InvalidArgument(f"a movie of {self.size} holds no patch of {kernel}")
        n = [(n - k) // s + 1 for n, k, s in zip(self.size, kernel, stride, strict=True)]
        with private_randomness(derive(seed, "MovieTokens")):
            self.convolve = nn.Conv3d(1, width, kernel, stride)
            self.place = nn.Parameter(0.5 * torch.randn(n[0] * n[1] * n[2], width))

    def forward(
        self, movie: Float[Tensor, "window frame row column"]
    ) -> Float[Tensor, "window token width"]:
        """Tokens of patches.

        Parameters
        ----------
        movie : Float[Tensor, "window frame row column"]
            The frames of each window, scaled to about 1.

        Returns
        -------
        Float[Tensor, "window token width"]
            Frames first, then rows, then columns.

        Raises
        ------
        InvalidArgument
            Another size.
        """
        if tuple(movie.shape[1:]) != self.size:
            raise InvalidArgument(f"a movie must be {self.size}, not {tuple(movie.shape[1:])}")
        return self.convolve(movie[:, None]).flatten(2).transpose(1, 2) + self.place


def contrastive_loss(
    a: Float[Tensor, "window feature"], b: Float[Tensor, "window feature"], temperature: float = 0.5
) -> Float[Tensor, ""]:
    """How badly two views of the same moments are told from views of other moments (InfoNCE).

    The mean over both directions of -log softmax_j(cos(a_i, b_j) / temperature) at j = i.

    Parameters
    ----------
    a, b : Float[Tensor, "window feature"]
        Two views, a row for each moment.
    temperature : float
        How sharp.

    Returns
    -------
    Float[Tensor, ""]
        In nats; log(number of windows) where nothing is told apart.

    Raises
    ------
    InvalidArgument
        If the views have different shapes, there are fewer than 2 moments, or the temperature is
        not positive.

    References
    ----------
    Radford et al. (2021), Learning transferable visual models from natural language supervision.
    arXiv:2103.00020.

    Examples
    --------
    >>> contrastive_loss(torch.eye(2), torch.eye(2), 1.0)  # log(1 + exp(-1))
    tensor(0.3133)
    """
    if a.shape != b.shape or len(a) < 2 or not temperature > 0:
        raise InvalidArgument(
            f"two views of the same 2 or more moments and a temperature above 0 are needed, not "
            f"{tuple(a.shape)}, {tuple(b.shape)} and {temperature}"
        )
    alike = normalize(a, dim=1) @ normalize(b, dim=1).T / temperature
    same = torch.arange(len(a), device=a.device)
    return (cross_entropy(alike, same) + cross_entropy(alike.T, same)) / 2
