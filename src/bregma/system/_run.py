"""One run of a network over stimuli: which sites to read, and what to change on the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording import Stimuli
from bregma.run._private import reseed
from bregma.system._conflicts import check_conflicts, content_key
from bregma.system._edits import Edit, apply_edits, check_selected, listed
from bregma.system._perturbations import Perturbation, Target
from bregma.system._probe import Feed, Found, Heard, Moment, Probe, Reduce, reduced
from bregma.system._site import Place, Site, find_tensor, replace_tensor
from bregma.system._tap import Enough, Taps


class Run:
    """Reads of a network, and edits to it, prepared on the first stimuli.

    Parameters
    ----------
    modules : mapping of str to torch.nn.Module
        Parts of the network by name.
    feed : callable
        Stimuli to what the network is called with.
    sites : sequence of Site
        What to read.
    certain : collection of Site
        Those that were named one by one: it is an error if they give nothing. Other sites, found
        by a pattern, are passed over when they do not run or give no tensor.
    edits : sequence of (Perturbation, list of Site)
        What to change where.
    reduce : None, "mean", "max" or callable
        What to make of each activation.
    stimuli : Stimuli
        All that will be shown.
    batch_size : int
        How many at a time.
    seed : int
        Seed of what the network itself draws at random, anew for each batch, so that batches do
        not depend on those before.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        feed: Feed,
        sites: Sequence[Site],
        certain: Collection[Site],
        edits: Sequence[tuple[Perturbation, list[Site]]],
        *,
        reduce: Reduce,
        stimuli: Stimuli,
        batch_size: int,
        seed: int,
    ) -> None:
        if not (reduce is None or reduce in ("mean", "max") or callable(reduce)):
            raise InvalidArgument(f"reduce={reduce!r} is not None, 'mean', 'max' or a function")
        self.modules, self.feed, self.reduce = modules, feed, reduce
        self.stimuli, self.batch_size, self.seed = stimuli, batch_size, seed
        self._taps = Taps(modules)
        foreign = any(m._forward_hooks or m._forward_pre_hooks for m in modules.values())
        self._may_stop = not foreign  # hooks of others count on whole passes
        for perturbation, _ in edits:
            perturbation.check(stimuli.ids)
        changed = [site for _, found in edits for site in found]
        self._places = list(dict.fromkeys(site.place for site in [*sites, *changed]))
        probe = Probe(modules, feed, sites, changed, certain, reduce, seed)
        heard = probe.hear(stimuli, batch_size)
        self._first = heard.kept
        numbered = self._numbered(sites, heard, heard.read, certain)
        if not numbered:
            raise InvalidArgument("none of these sites gives a tensor: " + listed(sites))
        self._reads = {key: (site, heard.read[site]) for key, site in numbered.items()}
        self.layouts = [found.layout for _, found in self._reads.values()]
        ends = np.cumsum([layout.n_units for layout in self.layouts]).tolist()
        self.n_units: int = ends[-1]
        self._columns = {
            key: slice(*part) for key, part in zip(self._reads, pairwise([0, *ends]), strict=True)
        }
        dtype = torch.float32
        for _, found in self._reads.values():
            dtype = torch.promote_types(dtype, found.dtype)
        self.dtype = torch.empty(0, dtype=dtype).numpy().dtype
        self._edits = self._bound(edits, heard, certain)

    def read(self, rows: slice, out: Float[np.ndarray, "stimulus unit"]) -> None:
        """Show a batch of the stimuli and read all sites.

        Parameters
        ----------
        rows : slice
            Which stimuli.
        out : array (stimulus, unit)
            Where to write the units of all `layouts`; of the type `dtype`.
        """
        reseed(self.seed, rows.start)
        part = self.stimuli[rows]
        target = torch.from_numpy(out)
        if rows.start == 0 and self._first:  # the probe has read them
            for key in self._reads:
                self._write(key, self._first.pop(key), target)
            self._first = {}
            return
        taken = set()
        wanted: dict[tuple[Place, int], list[Moment]] = defaultdict(list)
        for key in self._reads:
            wanted[key[:2]].append(key)

        def react(place: Place, call: int, value: Any) -> Any:
            edited = value
            for path, edits in self._edits.get((place, call), {}).items():
                _, tensor = find_tensor(edited, Site(*place, element=path))
                edited = replace_tensor(edited, path, apply_edits(edits, tensor, part.ids))
            for key in wanted.get((place, call), ()):
                site, found = self._reads[key]
                _, tensor = find_tensor(edited, site)
                self._write(key, reduced(tensor, self.reduce, found.positions), target)
                taken.add(key)
            if self._may_stop and len(taken) == len(self._reads):
                raise Enough
            return None if edited is value else edited

        args, kwargs = self.feed(part)
        with self._taps.installed(self._places):
            self._taps.forward(args, kwargs, react)
        lacking = [site for key, (site, _) in self._reads.items() if key not in taken]
        if lacking:
            raise InvalidRecording(
                f"site {str(lacking[0])!r} ran for the first stimuli but not for "
                f"{str(part.ids[0])!r} and the next: its network takes another way there"
            )

    # Before the run

    def _numbered(
        self,
        sites: Sequence[Site],
        heard: Heard,
        found: dict[Site, Found],
        certain: Collection[Site],
    ) -> dict[Moment, Site]:
        """Every call of every site that ran, and its name: with a number only if it needs one."""
        numbered = {}
        for site in sites:
            n_calls = heard.calls[site.place]
            if n_calls == 0 and site in certain:
                raise InvalidArgument(
                    f"site {str(site)!r} does not run when the network is called, so there is "
                    "nothing to record or to change"
                )
            if site.call is not None and site.call >= n_calls > 0:
                raise UnknownName(
                    f"site {str(site)!r}: its module runs {n_calls} times, calls are #0 to "
                    f"#{n_calls - 1}"
                )
            for call in range(n_calls) if site.call is None else [site.call]:
                if (tensor := found.pop(site.at(call), None)) is not None:
                    name = site.at(call if n_calls > 1 else None)
                    found[name] = tensor.named(name)
                    numbered[site.place, call, site.element] = name
        return numbered

    def _bound(
        self,
        edits: Sequence[tuple[Perturbation, list[Site]]],
        heard: Heard,
        certain: Collection[Site],
    ) -> dict[tuple[Place, int], dict[tuple[Any, ...], list[Edit]]]:
        chosen: list[tuple[Perturbation, Place, int, Site]] = []
        every = list(dict.fromkeys(site for _, sites in edits for site in sites))
        named = self._numbered(every, heard, heard.edit, certain)
        for perturbation, sites in edits:
            mine = [
                (perturbation, place, call, name)
                for (place, call, element), name in named.items()
                for site in sites
                if site.place == place and site.element == element and site.call in (None, call)
            ]
            check_selected(perturbation, [heard.edit[name].layout for *_, name in mine])
            chosen += mine
        means = self._means([(name, p) for p, _, _, name in chosen])
        bound: dict[Any, dict[Any, list[Edit]]] = defaultdict(lambda: defaultdict(list))
        for perturbation, place, call, name in chosen:
            layout, path = heard.edit[name].layout, heard.edit[name].path
            index = perturbation.select(layout)
            if len(index):
                target = Target(layout, index, lambda name=name: means[name])  # type: ignore[misc]
                activity = perturbation.bind(target)
                bound[place, call][path].append(Edit(perturbation, layout, index, activity))
        for groups in bound.values():
            for group in groups.values():
                check_conflicts(group[0].layout, [(e.perturbation, e.index) for e in group])
                group.sort(key=lambda edit: content_key(edit.perturbation))
        return dict(bound)

    def _means(
        self, wanted: Sequence[tuple[Site, Perturbation]]
    ) -> dict[Site, Float[np.ndarray, " _"]]:
        sites = list(dict.fromkeys(name for name, p in wanted if p.needs_mean))
        if not sites:
            return {}
        plain = Run(
            self.modules, self.feed, sites, sites, [], reduce=None, stimuli=self.stimuli,
            batch_size=self.batch_size, seed=self.seed,
        )  # fmt: skip
        total, n = np.zeros(plain.n_units), len(self.stimuli)
        for start in range(0, n, self.batch_size):
            rows = slice(start, min(start + self.batch_size, n))
            values = np.empty((rows.stop - start, plain.n_units), plain.dtype)
            plain.read(rows, values)
            total += values.sum(axis=0, dtype=float)
        means = total / n
        return {
            site: means[columns]
            for site, columns in zip(sites, plain._columns.values(), strict=True)
        }

    # During the run

    def _write(
        self, key: Moment, values: torch.Tensor, target: Float[torch.Tensor, "stimulus unit"]
    ) -> None:
        """Write what is read at a site where it belongs, now: a later module may write to it."""
        layout, out = self._reads[key][1].layout, target[:, self._columns[key]]
        n_stimuli = len(out)
        if values.shape != (n_stimuli, *layout.shape):
            raise InvalidArgument(
                f"layer {layout.layer!r} gives the shape {tuple(values.shape)} for {n_stimuli} "
                f"stimuli, and {layout.shape} for each of the first ones; bring all to one size "
                "with reduce= or preprocess="
            )
        out.view(values.shape).copy_(values)
        if not torch.isfinite(out.sum()) and not (finite := torch.isfinite(out)).all():
            unit = str(layout.ids[int((~finite).any(0).nonzero()[0])])
            raise InvalidRecording(
                f"layer {layout.layer!r} gives NaN or infinity, for example in unit {unit!r}: "
                "look at the stimuli and at the weights in front of it"
            )
