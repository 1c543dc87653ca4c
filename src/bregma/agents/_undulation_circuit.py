"""The motor circuit of a nematode as a policy: a beat in the head, stretch along the body."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument

Joints = Float[Tensor, "*batch joint"]


class UndulationCircuit(nn.Module):
    r"""Torques of a segmented body from the bending of each segment's neighbour in front.

    Dorsal and ventral motor neurons B sense how far the joint in front of them is bent to their
    side; the first pair is driven by an oscillator. Muscles M are excited by their own side and
    inhibited by the other. With f(x) = min(max(x, 0), 1) and q the angle of a joint,

    B_i = f(w_prop f(+-q_{i-1}) + w_osc o(t) [i = 0] - w_speed (1 - speed)
    + w_turn max(+-turn, 0) [i = 0]),
    M_i = f(w_ipsi B_i + w_contra B'_i), torque_i = M_dorsal - M_ventral.

    All segments share their weights, whose signs are fixed; they start at +1 and -1, so that an
    untrained circuit swims.

    Parameters
    ----------
    period : int
        Steps of the oscillator; dorsal in the first half, ventral in the second.
    signed : bool
        Whether weights keep their signs. Without, they are free: an ablation.

    Raises
    ------
    InvalidArgument
        If the period is below 2.

    References
    ----------
    Bhattasali, Zador and Engel (2022), Neural circuit architectural priors for embodied control.

    Examples
    --------
    >>> circuit = UndulationCircuit()
    >>> circuit(torch.zeros(5), step=0)
    tensor([1., 0., 0., 0., 0.], grad_fn=<SubBackward0>)
    """

    def __init__(self, period: int = 60, *, signed: bool = True) -> None:
        super().__init__()
        if period < 2:
            raise InvalidArgument(f"the oscillator needs a period of 2 steps or more, not {period}")
        self.period, self.signed = period, signed
        self.proprioception = nn.Parameter(torch.tensor(1.0))
        self.oscillator = nn.Parameter(torch.tensor(1.0))
        self.ipsilateral = nn.Parameter(torch.tensor(1.0))
        self.contralateral = nn.Parameter(torch.tensor(-1.0))
        self.speed = nn.Parameter(torch.tensor(1.0))
        self.turn = nn.Parameter(torch.tensor(1.0))

    def forward(
        self, angles: Joints, step: int, *, speed: float = 1.0, turn: float = 0.0
    ) -> Joints:
        """Torques for the bending that is sensed.

        Parameters
        ----------
        angles : Tensor (..., joint)
            Angles from head to tail as shares of their limit, -1 to 1; dorsal is positive.
        step : int
            Which step it is, for the oscillator.
        speed : float
            From 0 (all motor neurons are silenced) to 1.
        turn : float
            Above 0 bends the head to the dorsal side, below 0 to the ventral one.

        Returns
        -------
        Tensor (..., joint)
            Torques, -1 to 1.
        """
        dorsal_phase = step % self.period < self.period / 2
        sides = []
        for side, beat in ((1, dorsal_phase), (-1, not dorsal_phase)):
            stretch = (side * angles).clamp(0, 1)
            sensed = self._excites(self.proprioception) * stretch[..., :-1]
            head = self._excites(self.oscillator) * float(beat) + self._excites(self.turn) * max(
                side * turn, 0.0
            )
            drive = torch.cat([head.expand_as(angles[..., :1]), sensed], -1)
            sides.append((drive - self._excites(self.speed) * (1 - speed)).clamp(0, 1))
        dorsal, ventral = sides
        return self._muscle(dorsal, ventral) - self._muscle(ventral, dorsal)

    def _muscle(self, own: Joints, other: Joints) -> Joints:
        inhibition = -self._excites(-self.contralateral)
        return (self._excites(self.ipsilateral) * own + inhibition * other).clamp(0, 1)

    def _excites(self, weight: Tensor) -> Tensor:
        return weight.clamp_min(0) if self.signed else weight
