"""Singular components of an output head: which of them go with words that one does not want."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument, NotIdentifiable


@dataclass(frozen=True, eq=False)
class HeadComponents:
    """W = U S V^T of an output head, and how each component goes with what is unwanted.

    Parameters
    ----------
    u : Tensor (answer, component)
        What each component says.
    s : Tensor (component,)
        How loudly, from the loudest on.
    vh : Tensor (component, width)
        What each one listens to, in rows.
    difference : array (component,)
        Mean of v . h before unwanted answers less that before others. Its sign has no meaning, as
        the signs of u and v are arbitrary.
    separation : array (component,)
        Absolute difference in units of the pooled standard deviation.
    head : torch.nn.Linear
        The head.
    """

    u: Float[Tensor, "answer component"]
    s: Float[Tensor, " component"]
    vh: Float[Tensor, "component width"]
    difference: Float[np.ndarray, " component"]
    separation: Float[np.ndarray, " component"]
    head: nn.Linear = field(repr=False)

    def top(self, k: int | None = None) -> Int[np.ndarray, " component"]:
        """The components that separate best.

        Parameters
        ----------
        k : int, optional
            How many; by default a thousandth of the width, rounded up.

        Returns
        -------
        array of int (component,)
            Their numbers, the best one first.

        Raises
        ------
        InvalidArgument
            There are not as many.
        """
        k = -(-self.vh.shape[1] // 1000) if k is None else k
        if not 1 <= k <= len(self.s):
            raise InvalidArgument(f"k must be from 1 to {len(self.s)}, not {k}")
        return np.argsort(-self.separation, kind="stable")[:k]

    def scaled(
        self, components: Int[np.ndarray, " component"] | Sequence[int], factor: float = 0.1
    ) -> nn.Linear:
        """A head in which some components are louder or softer.

        It is a layer of its own: where the head shares its weights with the embedding, put it in
        the head's place, and the embedding stays as it is.

        Parameters
        ----------
        components : array of int
            Which ones.
        factor : float
            What their singular values are multiplied with.

        Returns
        -------
        torch.nn.Linear
            W + (factor - 1) times the sum of s u v^T over the components; the bias is the same.

        Raises
        ------
        InvalidArgument
            No such component, or a factor that is not finite.
        """
        index = np.unique(np.asarray(components, dtype=np.int64))
        if not len(index) or index[0] < 0 or index[-1] >= len(self.s) or not np.isfinite(factor):
            raise InvalidArgument(
                f"components are 0 to {len(self.s) - 1} and the factor is finite, not {components} "
                f"and {factor}"
            )
        chosen = torch.from_numpy(index).to(self.s.device)
        part = (self.u[:, chosen] * self.s[chosen]) @ self.vh[chosen]
        head = deepcopy(self.head)  # with the bias
        weight = self.head.weight.detach()
        head.weight = nn.Parameter((weight.double() + (factor - 1) * part).to(weight))
        return head


def head_components(
    head: nn.Linear,
    states: Float[np.ndarray, "sample width"] | Float[Tensor, "sample width"],
    unwanted: Bool[np.ndarray, " sample"] | Bool[Tensor, " sample"],
) -> HeadComponents:
    """Find the singular components of a head that go with unwanted answers.

    What the network detects is not touched: components are of the last matrix alone. Scale them
    down with ``scaled``.

    Parameters
    ----------
    head : torch.nn.Linear
        Gives the answers, in full precision.
    states : array or Tensor (sample, width)
        What the head gets, behind the last norm: in a `TorchSystem` the site ``lm_head.input``.
    unwanted : array or Tensor (sample,)
        Whether what follows is unwanted. Take samples of which the model's own first answer is
        flagged, and such of which it is not.

    Returns
    -------
    HeadComponents
        With their separation.

    Raises
    ------
    InvalidArgument
        A head without plain weights, marks that are not true or false, or shapes that do not fit.
    NotIdentifiable
        Fewer than 2 samples of one kind.

    References
    ----------
    Shaik, Mazhar, Srivastava and Akhtar (2025), Redefining experts: interpretable decomposition of
    language models for toxicity mitigation.

    Examples
    --------
    >>> head = nn.Linear(3, 4, bias=False)
    >>> v = torch.linalg.svd(head.weight.double()).Vh[1]  # the second component
    >>> noise = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    >>> unwanted = torch.arange(20) < 10
    >>> found = head_components(head, noise + 9 * unwanted[:, None] * v.detach(), unwanted)
    >>> found.top().tolist()
    [1]
    """
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise InvalidArgument(
            f"a head needs a matrix of weights in full precision; {type(head).__name__} has none"
        )
    h, bad = (torch.as_tensor(x).to(weight.device) for x in (states, unwanted))
    if h.ndim != 2 or h.shape[1] != weight.shape[1] or bad.shape != h.shape[:1]:
        raise InvalidArgument(
            f"states of the shape {tuple(h.shape)} and {tuple(bad.shape)} marks do not fit a head "
            f"of width {weight.shape[1]}"
        )
    if bad.dtype != torch.bool:  # numbers would be taken for those of rows
        raise InvalidArgument(f"unwanted is true or false for each sample, not {bad.dtype}")
    if not torch.isfinite(h).all():
        raise InvalidArgument("states hold NaN or infinity")
    with torch.no_grad():
        u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
        a = h.double() @ vh.T  # v . h of every component
    n_bad = int(bad.sum())
    if min(n_bad, len(h) - n_bad) < 2:
        raise NotIdentifiable(
            f"{n_bad} unwanted samples and {len(h) - n_bad} others: at least 2 of each are needed"
        )
    one, other = a[bad].cpu().numpy(), a[~bad].cpu().numpy()
    difference = one.mean(0) - other.mean(0)
    squares = ((one - one.mean(0)) ** 2).sum(0) + ((other - other.mean(0)) ** 2).sum(0)
    pooled = np.sqrt(squares / (len(a) - 2))
    # A component that nothing moves separates nothing.
    separation = np.abs(difference) / np.maximum(pooled, 1e-12 * max(float(pooled.max()), 1e-300))
    return HeadComponents(u, s, vh, difference, separation, head)
