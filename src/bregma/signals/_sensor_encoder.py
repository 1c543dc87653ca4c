"""A vector for each sensor from where it is, which way it looks, and what it measures."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.signals._sensors import KINDS, Sensors

HEAD = 0.1  # metres: positions come to about 1


class SensorEncoder(nn.Module):
    """Embedding of sensors that extends to any cap or helmet.

    Parameters
    ----------
    width : int
        Length of the vector; even.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.

    Examples
    --------
    >>> from bregma.datasets import meg_layout
    >>> SensorEncoder(32)(Sensors.of_table(meg_layout(20))).shape
    torch.Size([60, 32])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        first = nn.Linear(6, width // 2)
        self.place = nn.Sequential(first, nn.SELU(), nn.Linear(width // 2, width))
        self.kind = nn.Embedding(len(KINDS), width)
        self.mix = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SELU(), nn.Linear(4 * width, width)
        )
        self.norm = nn.RMSNorm(width)
        # Geometry counts from the start: beside a large vector of its kind, and a small one of its
        # place, each sensor would look like all others.
        nn.init.normal_(self.kind.weight, std=0.1)
        nn.init.normal_(first.weight, std=0.7)

    def forward(self, sensors: Sensors) -> Float[Tensor, "sensor width"]:
        """Embed sensors.

        Parameters
        ----------
        sensors : Sensors
            Any number of them.

        Returns
        -------
        Tensor (sensor, width)
            Their vectors.
        """
        geometry = torch.cat([sensors.positions / HEAD, sensors.orientations], dim=1)
        h = self.place(geometry.to(self.kind.weight)) + self.kind(sensors.kinds)
        return self.norm(h + self.mix(h))
