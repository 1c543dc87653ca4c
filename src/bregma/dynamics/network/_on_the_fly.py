"""Synapses that are never stored: the row of a unit is drawn again at each of its spikes.

A rule is a pure function of its key, so that the row is the same each time. Memory for synapses is
0, and a spike costs the time of drawing its row. This is how networks of 10^8 synapses and more run
where memory would not do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bregma.dynamics.connect._connect import (
    FixedOutDegree,
    FixedProbability,
    Rows,
    Rule,
    check_slice,
    empty_rows,
)
from bregma.dynamics.connect._connect_part import Onto
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.network._network import Network, Projection
from bregma.dynamics.network._plan_parts import Drawn, ProjectionPlan
from bregma.dynamics.network._plan_projection import projection_plan
from bregma.errors import InvalidArgument
from bregma.run import derive


@dataclass(frozen=True)
class OnTheFly(Rule):
    """Connections that are drawn when they are needed, and never stored.

    For synapses that are all alike and do not change: one weight, one delay. The same graph as that
    of the rule itself, and the same spikes.

    Parameters
    ----------
    rule : FixedProbability or FixedOutDegree
        Who is connected.

    Raises
    ------
    InvalidArgument
        Another rule, whose rows cannot be drawn one by one.

    Examples
    --------
    >>> from bregma.dynamics import FixedProbability, OnTheFly, Projection, Synapse
    >>> kick = Synapse(on_pre="v += w", params={"w": 0.05})
    >>> Projection("E", "E", kick, OnTheFly(FixedProbability(0.1)), delay="1 ms").rule
    OnTheFly(rule=FixedProbability(p=0.1, self_connections=True))
    """

    rule: Rule

    def __post_init__(self) -> None:
        if not isinstance(self.rule, FixedProbability | FixedOutDegree):
            raise InvalidArgument(
                f"{type(self.rule).__name__} cannot be drawn on the fly; FixedProbability and "
                "FixedOutDegree can"
            )

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        return self.rule.rows(n_pre, n_post, key, first, last)


@dataclass(frozen=True)
class _Nobody(Rule):
    """No synapses."""

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        return empty_rows(first, last)


def planned(
    p: Projection, network: Network, dt: float, seed: int, dtype: np.dtype
) -> ProjectionPlan:
    """Give a projection its numbers, with its synapses or without.

    Parameters
    ----------
    p : Projection
        Of the network.
    network, dt, seed, dtype
        As for `plan`.

    Returns
    -------
    ProjectionPlan
        Without synapses where these are drawn on the fly.

    Raises
    ------
    InvalidArgument
        Synapses to be drawn on the fly that differ, change, or are cut or scaled.
    """
    rule, part = p.rule, (0, network.populations[p.post].size)
    if isinstance(p.rule, Onto):
        rule, part = p.rule.rule, (p.rule.begin, p.rule.end)
    if not isinstance(rule, OnTheFly):
        return projection_plan(p, network, dt, seed, dtype)
    sizes = network.populations[p.pre].size, network.populations[p.post].size
    key = derive(seed, "projection", p.label)
    rule.rows(*sizes, key, 0, 0)  # refuses what cannot be
    q = projection_plan(replace(p, rule=_Nobody()), network, dt, seed, dtype)
    simple = all(
        s.kind == "add" and s.target.startswith("post_") and names_of([s.value]) <= {*q.constants}
        for s in q.on_pre
    )
    more = q.variables or q.on_post or q.sums or p.severed
    if more or not simple or not isinstance(q.delay, int):
        raise InvalidArgument(
            f"synapses of {p.label} are to be drawn on the fly, so they must be alike and stay as "
            'they are: one delay, and on_pre="g += w" with one number w'
        )
    assert isinstance(rule.rule, FixedProbability | FixedOutDegree)
    return replace(q, drawn=Drawn(rule.rule, *sizes, key, *part))
