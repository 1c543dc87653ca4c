"""Group-relative policy optimisation (GRPO): answers are rewarded against others to one prompt."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bregma.errors import InvalidArgument


def group_advantage(
    rewards: Float[Tensor, "prompt sample"], *, eps: float = 1e-4
) -> Float[Tensor, "prompt sample"]:
    """How much better each sample is than the others to its prompt, in standard deviations.

    Parameters
    ----------
    rewards : Tensor (prompt, sample)
        Of several samples to each prompt.
    eps : float
        Added to the standard deviation (over all samples of a prompt).

    Returns
    -------
    Tensor (prompt, sample)
        Mean 0 for each prompt; 0 where all samples of a prompt are rewarded alike.

    Raises
    ------
    InvalidArgument
        Fewer than two samples, or rewards that are not finite.

    References
    ----------
    Shao et al. (2024), DeepSeekMath: pushing the limits of mathematical reasoning in open language
    models.

    Examples
    --------
    >>> group_advantage(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), eps=0.0)
    tensor([[ 1., -1., -1.,  1.]])
    """
    if rewards.shape[1] < 2 or not len(rewards):
        raise InvalidArgument(
            f"a prompt needs 2 or more samples to compare, not the shape {tuple(rewards.shape)}"
        )
    if not rewards.isfinite().all():
        raise InvalidArgument("rewards must be finite")
    off = rewards - rewards.mean(1, keepdim=True)
    # Rounding is all that is left where the rewards are alike, and must not be blown up.
    off = off.masked_fill((rewards == rewards[:, :1]).all(1, keepdim=True), 0.0)
    spread = off.square().mean(1, keepdim=True).sqrt() + eps
    return torch.where(off == 0, off, off / spread)


def group_relative_loss(
    log_p: Float[Tensor, "sample token"],
    old_log_p: Float[Tensor, "sample token"],
    reference_log_p: Float[Tensor, "sample token"],
    advantage: Float[Tensor, " sample"],
    *,
    mask: Bool[Tensor, "sample token"] | None = None,
    clip: float = 0.2,
    beta: float = 0.04,
) -> Float[Tensor, ""]:
    """The loss of GRPO: a clipped policy gradient, and a leash to a reference policy.

    Parameters
    ----------
    log_p : Tensor (sample, token)
        Log-probabilities of the tokens that were sampled, under the policy that learns.
    old_log_p : Tensor (sample, token)
        Under the policy that sampled them; no gradient flows there.
    reference_log_p : Tensor (sample, token)
        Under the policy that it has to stay near, such as the one that training began with.
    advantage : Tensor (sample,)
        Of each sample, see `group_advantage`.
    mask : Tensor (sample, token), optional
        True where there is a token, for samples of different lengths.
    clip : float
        How far the ratio of new to old probability may take the gradient from 1, below 1.
    beta : float
        Weight of the divergence from the reference (an unbiased estimate that is never negative).

    Returns
    -------
    Tensor
        One number: mean over tokens of each sample, then over samples.

    Raises
    ------
    InvalidArgument
        Numbers out of range, or a sample without a token.

    References
    ----------
    Shao et al. (2024), DeepSeekMath: pushing the limits of mathematical reasoning in open language
    models.
    Schulman et al. (2017), Proximal policy optimization algorithms.

    Examples
    --------
    >>> log_p = torch.tensor([[0.5], [0.2]]).log()
    >>> group_relative_loss(log_p, log_p, log_p, torch.tensor([1.0, -0.5])).item()
    -0.25
    """
    if not 0 < clip < 1 or not beta >= 0:
        raise InvalidArgument(
            f"clip must lie between 0 and 1 and beta be 0 or more, not {clip} and {beta}"
        )
    here = torch.ones_like(log_p, dtype=torch.bool) if mask is None else mask
    if not log_p.numel() or not here.any(1).all():
        raise InvalidArgument("every sample must have at least one token")
    # What is not there must not turn into NaN on the way back either.
    log_p, old, reference = (
        x.masked_fill(~here, 0.0) for x in (log_p, old_log_p.detach(), reference_log_p.detach())
    )
    ratio, gain = (log_p - old).exp(), advantage[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    apart = reference - log_p
    divergence = apart.exp() - apart - 1
    return -(((surrogate - beta * divergence) * here).sum(1) / here.sum(1)).mean()
