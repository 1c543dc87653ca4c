"""What steering did: effects by dose, beside random directions and side effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma._style import NULL, PALETTE, styled_figure
from bregma.evidence import Evidence, Interval, Null
from bregma.mechanism._means import student_half
from bregma.mechanism._null_test import NO_CEILING, check_reachable

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False, kw_only=True)
class Steering:
    """Effects of a direction that is added to the activity of a site.

    Parameters
    ----------
    doses : array (dose,)
        What the direction was multiplied with.
    effect : array (stimulus, dose)
        The metric with the direction less the one without.
    random : array (draw, dose)
        Mean effects of random directions of the same length.
    side : array (neutral, dose) or None
        What changes for stimuli that should stay as they are.
    random_side : array (draw, dose) or None
        Means of the same for random directions.
    name : str
        What was done, in words.
    system : str
        To whom.
    seed : int
        Of the random directions.
    """

    doses: Float[np.ndarray, " dose"]
    effect: Float[np.ndarray, "stimulus dose"]
    random: Float[np.ndarray, "draw dose"]
    side: Float[np.ndarray, "neutral dose"] | None
    random_side: Float[np.ndarray, "draw dose"] | None
    name: str
    system: str
    seed: int

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each dose.

        Parameters
        ----------
        level : float
            Of the interval of the mean effect over stimuli (Student), and the share of random
            directions that lie in their band.

        Returns
        -------
        DataFrame
            ``effect``, ``low``, ``high``; ``random``, ``random_low``, ``random_high``; where there
            were neutral stimuli, ``side`` and ``random_side``.

        Raises
        ------
        InvalidArgument
            A level outside (0, 1).
        """
        mean, half = self.effect.mean(0), student_half(self.effect, level)
        low, high = np.quantile(self.random, [(1 - level) / 2, (1 + level) / 2], axis=0)
        table = {
            "dose": self.doses, "effect": mean, "low": mean - half, "high": mean + half,
            "random": self.random.mean(0), "random_low": low, "random_high": high,
        }  # fmt: skip
        if self.side is not None and self.random_side is not None:
            table |= {"side": self.side.mean(0), "random_side": self.random_side.mean(0)}
        return pd.DataFrame(table)

    def evidence(self, *, level: float = 0.95) -> Evidence:
        """Whether the direction raises the metric more than random ones of its length do.

        The score is the slope of the effect over doses, through the origin. A direction that is to
        lower the metric has a negative score: change the sign of one of the two.

        Parameters
        ----------
        level : float
            Of the interval over stimuli (Student); 1 - `level` is the level that the p-value has to
            be able to reach.

        Returns
        -------
        Evidence
            `null` holds the random directions.

        Raises
        ------
        NotIdentifiable
            Too few random directions for the level.
        """
        check_reachable(len(self.random), level)
        each = self._slope(self.effect)
        score = float(each.mean())
        half = float(student_half(each, level))
        exchanged = "the direction with random ones of its length"
        return Evidence(
            question=f"{self.name} in {self.system}",
            brain="the metric",
            model=self.name,
            score=score,
            null=Null.of(score, self._slope(self.random), exchanged=exchanged),
            interval=Interval(score - half, score + half, level, "Student over stimuli"),
            method="slope of the effect over doses",
            n={"stimuli": len(each), "doses": len(self.doses), "directions": len(self.random)},
            ceiling_reason=NO_CEILING,
            settings={"doses": self.doses.tolist(), "level": level},
            seed=self.seed,
            citations=("phipson2010permutation",),
        )

    def plot(self) -> go.Figure:
        """The effect over doses with its interval, above the band of random directions.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        import plotly.graph_objects as go

        table = self.to_frame().sort_values("dose")
        figure = go.Figure()
        for name, fill in (("random_high", {}), ("random_low", {"fill": "tonexty"})):
            figure.add_scatter(
                x=table["dose"], y=table[name], line={"width": 0}, name="random", mode="lines",
                showlegend=bool(fill), fillcolor=NULL, **fill,
            )  # fmt: skip
        bars = {"type": "data", "array": table["high"] - table["effect"]}
        blue, red = ({"color": PALETTE[i]} for i in (0, 5))
        figure.add_scatter(
            x=table["dose"], y=table["effect"], error_y=bars, name="effect", line=blue
        )
        if "side" in table:
            figure.add_scatter(x=table["dose"], y=table["side"], name="side effect", line=red)
        return styled_figure(figure, height=340, x="dose", y="change")

    def _slope(self, effect: Float[np.ndarray, "row dose"]) -> Float[np.ndarray, " row"]:
        return effect @ self.doses / (self.doses @ self.doses)
