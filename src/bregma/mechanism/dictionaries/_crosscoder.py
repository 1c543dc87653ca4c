"""Crosscoders: one sparse code for the activity of several layers, or of several networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._codes import SparseCode


class Crosscoder(SparseAutoencoder):
    r"""A sparse autoencoder of layers side by side, whose cost counts a feature in each of them.

    z = code(sum over layers of W^l (x^l - b^l) + c), and each layer is D^l z + b^l. In costs the
    length of a feature is the *sum* of its lengths |d_i^l| over layers, so that it pays to leave a
    layer out where the feature is not; over all layers together its length is 1.

    Parameters
    ----------
    widths : sequence of int
        Lengths of the layers; their activity is given side by side (`torch.cat` along the last
        axis). Bring layers of unlike size to a common scale first.
    n_features : int
        Features.
    code : SparseCode
        As for `SparseAutoencoder`.
    seed : int
        Draws the features.

    References
    ----------
    Lindsey et al. (2024), Sparse crosscoders for cross-layer features and model diffing.

    Examples
    --------
    >>> from bregma.mechanism import Crosscoder, ReLUCode
    >>> both = Crosscoder([8, 4], 32, ReLUCode(0.1), seed=0)
    >>> [part.shape[1] for part in both.split(both(torch.randn(5, 12)))]
    [8, 4]
    """

    def __init__(
        self, widths: Sequence[int], n_features: int, code: SparseCode, *, seed: int
    ) -> None:
        if not widths or min(widths) < 1:
            raise InvalidArgument(f"widths must be numbers of 1 or more, not {list(widths)}")
        super().__init__(sum(widths), n_features, code, seed=seed)
        self.widths = tuple(widths)

    def split(self, x: Float[Tensor, "*sample input"]) -> list[Float[Tensor, "*sample width"]]:
        """Activity, or features, of each layer.

        Parameters
        ----------
        x : Tensor (..., input)
            Layers side by side.

        Returns
        -------
        list of Tensor
            One for each layer.
        """
        return list(x.split(self.widths, dim=-1))

    def norms(self) -> Float[Tensor, " feature"]:
        return self.layer_norms().sum(1)

    def layer_norms(self) -> Float[Tensor, "feature layer"]:
        """Length of each feature in each layer: where it lives.

        Returns
        -------
        Tensor (feature, layer)
            0 where the layer does not have the feature.
        """
        return torch.stack([part.norm(dim=1) for part in self.split(self.decoder)], 1)
