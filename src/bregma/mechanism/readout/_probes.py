"""What probes found at each site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num
from scipy import stats
from sklearn.linear_model import Ridge

from bregma._style import PALETTE, styled_figure
from bregma.errors import InvalidArgument, UnknownName
from bregma.evidence import Evidence, Interval, Null
from bregma.mechanism._means import check_level
from bregma.mechanism._null_test import NO_CEILING, check_reachable
from bregma.mechanism.readout._held_out_predictions import HeldOut, logistic, reduction
from bregma.mechanism.readout._probe_task import ProbeTask, activity_by_site
from bregma.recording import Recording
from bregma.run import spawn

if TYPE_CHECKING:
    import plotly.graph_objects as go

N_RESAMPLES = 500  # of groups, for intervals


@dataclass(frozen=True, eq=False)
class Probes:
    """Held-out predictions of a target from the activity of each site.

    Parameters
    ----------
    sites : tuple of str
        What was probed.
    score : array (site,)
        Balanced accuracy of a label, R2 of a number, where groups were held out.
    control : array (site, task)
        The same of control tasks.
    predictions : array (site, presentation)
        Labels or numbers.
    penalty : array (site, fold)
        What was chosen.
    name : str
        Of the target.
    task : ProbeTask
        Targets and splits.
    recording : Recording
        The activity.
    by : str or None
        Coordinate of units that says the site.
    """

    sites: tuple[str, ...]
    score: Float[np.ndarray, " site"]
    control: Float[np.ndarray, "site task"]
    predictions: Any
    penalty: Float[np.ndarray, "site fold"]
    name: str
    task: ProbeTask = field(repr=False)
    recording: Recording = field(repr=False)
    by: str | None = field(repr=False)

    @property
    def selectivity(self) -> Float[np.ndarray, " site"]:
        """Score less the mean score of the control tasks."""
        return self.score - self.control.mean(1)

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each site.

        Parameters
        ----------
        level : float
            Of the interval, from resampled groups.

        Returns
        -------
        DataFrame
            ``score``, ``low`` and ``high``, ``control``, ``selectivity`` and ``chance``.

        Raises
        ------
        InvalidArgument
            A level outside (0, 1).
        """
        check_level(level)
        half = stats.norm.ppf((1 + level) / 2) * self._resampled().std(0, ddof=1)
        return pd.DataFrame(
            {
                "site": self.sites,
                "score": self.score,
                "low": self.score - half,
                "high": self.score + half,
                "control": self.control.mean(1),
                "selectivity": self.selectivity,
                "chance": self.task.chance,
            }
        )

    def direction(self, site: str | None = None, label: Any = None) -> Float[np.ndarray, " unit"]:
        """The direction in which the probe's answer grows, fitted to all presentations.

        Parameters
        ----------
        site : str, optional
            Where; not needed where there is one site.
        label : Any, optional
            Whose score grows, against the mean of the others'; the last one of two where it is not
            given. Not for numbers.

        Returns
        -------
        array (unit,)
            Of length 1, in the units of the activity and in their order.

        Raises
        ------
        UnknownName
            No such site or label.
        InvalidArgument
            A label is missing or makes no sense.
        """
        if site is None and len(self.sites) == 1:
            site = self.sites[0]
        if site not in self.sites:
            raise UnknownName.of("site", str(site), self.sites)
        classes = self.task.classes
        x = next(x for name, x in activity_by_site(self.recording, self.by) if name == site)
        seen = reduction(*x.shape).fit(x)
        penalty = float(np.median(self.penalty[self.sites.index(site)]))
        if classes is None:
            if label is not None:
                raise InvalidArgument("the target is a number, so that no label can be asked for")
            weights = Ridge(alpha=penalty).fit(seen.transform(x), self.task.y).coef_
        else:
            if label is None and len(classes) > 2:
                raise InvalidArgument(f"say which label= of {len(classes)}: {classes.tolist()}")
            label = classes[-1] if label is None else label
            if label not in classes.tolist():
                raise UnknownName.of("label", str(label), [str(c) for c in classes])
            coef = logistic(penalty, seen.transform(x), self.task.y).coef_
            coef = np.concatenate([-coef, coef]) if len(coef) == 1 else coef
            weights = (coef - coef.mean(0))[classes.tolist().index(label)]
        steps = seen.steps if hasattr(seen, "steps") else [("", seen)]
        if len(steps) == 2:
            weights = weights @ steps[1][1].components_
        weights = weights / steps[0][1].scale_
        return weights / np.linalg.norm(weights)

    def evidence(
        self,
        *,
        twins: Sequence[Recording] = (),
        n: int = 99,
        seed: int,
        level: float = 0.95,
    ) -> Evidence:
        """Whether the best site tells more than by chance, and more than in twins.

        The score is that of the best site, in the nulls as well: winners are compared with winners.

        Parameters
        ----------
        twins : sequence of Recording
            Of the same presentations, by networks that learned nothing (`bregma.system.untrained`).
            Animals have none.
        n : int
            How many exchanges of targets.
        seed : int
            Of the exchanges.
        level : float
            Of the interval; 1 - `level` is the level that p-values have to be able to reach.

        Returns
        -------
        Evidence
            `null` exchanges targets between groups that have one each, else within groups;
            `system_null` holds the twins, where there are any.

        Raises
        ------
        NotIdentifiable
            Too few exchanges or twins for the level.
        InvalidArgument
            Twins that were not shown the same.
        """
        check_reachable(n, level)
        if len(twins):
            check_reachable(len(twins), level)
        task, best = self.task, float(self.score.max())
        rng = spawn(seed, "probe", "exchange")
        targets = [task.exchanged(rng) for _ in range(n)]
        between = "the targets of groups with each other" if task.one_each else (
            "the targets of presentations in the same group with each other"
        )  # fmt: skip
        null = Null.of(
            best,
            task.scores(self.recording, self.by, targets).max(0),
            exchanged=between,
            n_arrangements=task.n_arrangements,
        )
        half = stats.norm.ppf((1 + level) / 2) * self._resampled().max(1).std(ddof=1)
        kind = f"score ± z × standard deviation over {N_RESAMPLES} resamples of groups"
        what = "R2" if task.classes is None else "balanced accuracy"
        name = self.recording.name or "recording"
        return Evidence(
            question=f"{self.name} in {name}",
            brain=self.name,
            model=name,
            score=best,
            null=null,
            system_null=self._null_of(twins, best) if len(twins) else None,
            interval=Interval(best - half, best + half, level, kind),
            method=f"held-out {what} of a linear probe, the best of {len(self.sites)} sites",
            n={
                "presentations": len(task.y),
                "groups": int(task.groups.max()) + 1,
                "sites": len(self.sites),
                "twins": len(twins),
            },
            ceiling_reason=NO_CEILING,
            settings={"site": self.sites[int(self.score.argmax())], "penalties": task.penalties,
                      "folds": len(task.splits), "n": n, "level": level},
            seed=seed,
            citations=("hewitt2019control", "phipson2010permutation"),
        )  # fmt: skip

    def plot(self) -> go.Figure:
        """Scores with intervals and those of control tasks, site by site.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        import plotly.graph_objects as go

        table = self.to_frame()
        bars = {"type": "data", "array": table["high"] - table["score"]}
        figure = go.Figure()
        for name, color, error in (("score", PALETTE[0], bars), ("control", PALETTE[6], None)):
            figure.add_scatter(
                x=table["site"], y=table[name], error_y=error, name=name, line={"color": color}
            )
        figure.add_hline(self.task.chance, line={"dash": "dot", "color": PALETTE[6]})
        score = "R2" if self.task.classes is None else "balanced accuracy"
        return styled_figure(figure, height=320, x=self.by or "", y=score)

    def _null_of(self, twins: Sequence[Recording], best: float) -> Null:
        values = []
        for i, twin in enumerate(twins):
            if twin.has_time or not np.array_equal(twin.stimuli, self.recording.stimuli):
                raise InvalidArgument(f"twin {i} was not shown the same stimuli in the same order")
            values.append(float(self.task.scores(twin, self.by, [self.task.y]).max()))
        return Null.of(best, values, exchanged="the network with twins that were given")

    def _resampled(self) -> Float[np.ndarray, "resample site"]:
        """Scores of the same predictions over groups that are drawn with replacement."""
        task = self.task
        n = int(task.groups.max()) + 1
        rng = spawn(task.seed, "probe", "interval")
        counts = rng.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES).astype(float)
        weight = counts[:, task.groups]
        coded: Any = self.predictions
        if task.classes is not None:
            coded = np.searchsorted(task.classes, self.predictions)
        return np.stack([np.atleast_1d(task.score(task.y, p, weight)) for p in coded], 1)


def solve(
    task: ProbeTask, recording: Recording, by: str | None, *, n_control: int, name: str
) -> Probes:
    """Fit probes at all sites of a recording."""
    sites, score, control, predictions, penalty = [], [], [], list[Num[np.ndarray, " row"]](), []
    tasks = task.controls(n_control)
    for site, x in activity_by_site(recording, by):
        held_out = HeldOut(x, task.splits, task.penalties)
        predicted, chosen = task.predicted(held_out, task.y)
        sites.append(site)
        score.append(float(task.score(task.y, predicted)))
        control.append([float(task.score(y, task.predicted(held_out, y)[0])) for y in tasks])
        predictions.append(predicted if task.classes is None else task.classes[predicted])
        penalty.append(chosen)
    return Probes(
        tuple(sites), np.array(score), np.array(control), np.array(predictions),
        np.array(penalty), name, task, recording, by,
    )  # fmt: skip
