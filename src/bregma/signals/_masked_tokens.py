"""Masked pretraining: predict the codes of tokens that are hidden, from those around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from bregma.errors import InvalidArgument
from bregma.run import derive, minibatches, private_randomness
from bregma.signals._factorised_attention import FactorisedAttention

SWAPPED = 0.2  # share of the hidden tokens that become another token instead of a blank


class HiddenTokens(NamedTuple):
    """Tokens of which some are hidden.

    Parameters
    ----------
    values : Tensor (window, source, token, width)
        Vectors of the tokens; some of the hidden ones are those of other tokens of the batch.
    blank : Tensor (window, source, token)
        Which ones the model is to see as a blank.
    hidden : Tensor (window, source, token)
        Which ones are to be predicted.
    codes : Tensor (window, source, token, level)
        The true codes of all of them.
    """

    values: Tensor
    blank: Tensor
    hidden: Tensor
    codes: Tensor


def hide_tokens(
    values: Float[Tensor, "window source token width"],
    codes: Int[Tensor, "window source token level"],
    *,
    ratio: float = 0.5,
    generator: torch.Generator,
) -> HiddenTokens:
    """Hide a share of the tokens: most become blank, one in five another token of the batch.

    Parameters
    ----------
    values : Tensor (window, source, token, width)
        Vectors of the tokens.
    codes : Tensor (window, source, token, level)
        Their codes.
    ratio : float
        Expected share that is hidden, from above 0 to 1.
    generator : torch.Generator
        Draws which ones, on the CPU.

    Returns
    -------
    HiddenTokens
        At least one token is hidden.

    Raises
    ------
    InvalidArgument
        If the ratio is out of range, or codes do not fit the vectors.

    References
    ----------
    Devlin et al. (2018), BERT: pre-training of deep bidirectional transformers.
    """
    if not 0 < ratio <= 1:
        raise InvalidArgument(f"ratio must be from above 0 to 1, not {ratio}")
    shape = values.shape[:-1]
    if codes.shape[:-1] != shape or not values.numel():
        raise InvalidArgument(
            f"vectors {tuple(values.shape)} and codes {tuple(codes.shape)} are of other tokens"
        )
    hidden = torch.rand(shape, generator=generator) < ratio
    if not hidden.any():
        hidden.view(-1)[0] = True
    swapped = hidden & (torch.rand(shape, generator=generator) < SWAPPED)
    flat = values.flatten(0, 2)
    other = flat[torch.randperm(len(flat), generator=generator).to(values.device)]
    hidden, swapped = hidden.to(values.device), swapped.to(values.device)
    mixed = torch.where(swapped[..., None], other.view_as(values), values)
    return HiddenTokens(mixed, hidden & ~swapped, hidden, codes)


def hidden_token_batches(
    values: Float[Tensor, "window source token width"],
    codes: Int[Tensor, "window source token level"],
    *,
    size: int,
    ratio: float = 0.5,
) -> Callable[[torch.Generator], Iterator[HiddenTokens]]:
    """Batches for `bregma.run.fit`: other tokens are hidden each time.

    Parameters
    ----------
    values : Tensor (window, source, token, width)
        Vectors of the tokens.
    codes : Tensor (window, source, token, level)
        Their codes.
    size : int
        Windows in a batch.
    ratio : float
        Expected share of tokens that is hidden.

    Returns
    -------
    callable
        Given a generator, one epoch.

    Raises
    ------
    InvalidArgument
        If there are no tokens, vectors and codes differ in number, or size is below 1.
    """
    shuffled = minibatches(values, codes, size=size)

    def epoch(generator: torch.Generator) -> Iterator[HiddenTokens]:
        for batch_values, batch_codes in shuffled(generator):
            yield hide_tokens(batch_values, batch_codes, ratio=ratio, generator=generator)

    return epoch


class MaskedTokenModel(nn.Module):
    """Predicts the codes of hidden tokens; its inner layers are features of EEG or MEG.

    Works on the tokens of latent sources, so any layout of sensors gives it the same input (see
    `SensorTokenizer`, which stays as it is meanwhile).

    Parameters
    ----------
    token_width : int
        Length of the vectors of tokens.
    n_sources : int
        Latent sources.
    n_levels, n_codes : int
        Of the residual quantisation: one softmax for each level.
    width : int
        Features.
    depth : int
        Blocks, 2 or more.
    n_heads : int
        Of each half of a block; 4 n_heads divides the width.
    seed : int
        Draws the first weights.

    Raises
    ------
    InvalidArgument
        Sizes that do not fit.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.

    Examples
    --------
    >>> model = MaskedTokenModel(64, 8, 4, 64, seed=0)
    >>> values = torch.randn(2, 8, 10, 64)
    >>> model(values).shape, model.features(values).shape
    (torch.Size([2, 8, 10, 4, 64]), torch.Size([2, 8, 10, 64]))
    """

    def __init__(
        self,
        token_width: int,
        n_sources: int,
        n_levels: int,
        n_codes: int,
        *,
        width: int = 64,
        depth: int = 2,
        n_heads: int = 2,
        seed: int,
    ) -> None:
        super().__init__()
        if min(token_width, n_sources, n_levels, n_codes, n_heads) < 1 or depth < 2:
            raise InvalidArgument("all sizes must be 1 or more, and depth 2 or more")
        if width % (4 * n_heads):
            raise InvalidArgument(f"4 n_heads = {4 * n_heads} must divide the width {width}")
        self.n_levels = n_levels
        with private_randomness(derive(seed, "MaskedTokenModel")):
            self.enter = nn.Linear(token_width, width)
            self.blank = nn.Parameter(torch.randn(width) * width**-0.5)
            self.source = nn.Parameter(torch.randn(n_sources, 1, width) * width**-0.5)
            self.blocks = nn.ModuleList(FactorisedAttention(width, n_heads) for _ in range(depth))
            self.head = nn.Linear(width, n_levels * n_codes)

    def forward(
        self,
        values: Float[Tensor, "window source token width"],
        blank: Bool[Tensor, "window source token"] | None = None,
    ) -> Float[Tensor, "window source token level code"]:
        """Logits of the codes of all tokens.

        Parameters
        ----------
        values : Tensor (window, source, token, width)
            Vectors of the tokens.
        blank : Tensor (window, source, token), optional
            Which ones it must not see; all are seen unless given.

        Returns
        -------
        Tensor (window, source, token, level, code)
            Logits.

        Raises
        ------
        InvalidArgument
            If the number of sources or the width is another one.
        """
        x = self._entered(values, blank)
        for block in self.blocks:
            x = block(x)
        return self.head(x).unflatten(-1, (self.n_levels, -1))

    @torch.no_grad()
    def features(
        self, values: Float[Tensor, "window source token width"]
    ) -> Float[Tensor, "window source token feature"]:
        """What the last but one block makes of tokens: features of length 1 for any use.

        Parameters
        ----------
        values : Tensor (window, source, token, width)
            Vectors of the tokens.

        Returns
        -------
        Tensor (window, source, token, feature)
            Unit vectors.

        Raises
        ------
        InvalidArgument
            As `forward`.
        """
        x = self._entered(values, None)
        for block in self.blocks[:-1]:
            x = block(x)
        return normalize(x, dim=-1)

    def _entered(self, values: Tensor, blank: Tensor | None) -> Tensor:
        wanted = (len(self.source), self.enter.in_features)
        if values.ndim != 4 or (values.shape[1], values.shape[3]) != wanted:
            raise InvalidArgument(
                f"tokens must be (window, {wanted[0]}, token, {wanted[1]}), not "
                f"{tuple(values.shape)}"
            )
        x = self.enter(values * values.shape[-1] ** 0.5)  # unit vectors come to RMS 1
        if blank is not None:
            x = torch.where(blank[..., None], self.blank, x)
        return x + self.source


def masked_token_loss(model: nn.Module, tokens: HiddenTokens) -> Float[Tensor, ""]:
    """Cross-entropy of the codes of hidden tokens, mean over them and over levels.

    Parameters
    ----------
    model : Module
        Such as `MaskedTokenModel`.
    tokens : HiddenTokens
        Of `hide_tokens`.

    Returns
    -------
    Tensor ()
        Nats per code.
    """
    logits = model(tokens.values, tokens.blank)[tokens.hidden]
    return cross_entropy(logits.flatten(0, 1), tokens.codes[tokens.hidden].flatten())
