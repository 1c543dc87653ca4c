"""TorchSystem: any PyTorch module as a system that can be recorded and perturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy, deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from bregma.errors import InvalidArgument
from bregma.recording import Recording, Stimuli
from bregma.run import device as find_device
from bregma.run import progress as show_progress
from bregma.system._conflicts import check_certain_conflict, content_key
from bregma.system._layout import Layout, unit_columns, unit_names
from bregma.system._perturbations import Perturbation
from bregma.system._preprocess import as_call, as_stimuli, default_preprocess
from bregma.system._probe import Reduce
from bregma.system._quiet import bare, module_names, undisturbed
from bregma.system._run import Run
from bregma.system._site import Site, find_sites, is_pattern
from bregma.system._stream import run_key, stream


class TorchSystem:
    """A PyTorch module whose parts can be recorded and perturbed; the module is never changed.

    Units are the numbers that named parts give out. A site is written
    ``module[.input][#call][element]``: ``"layer1.0.conv2"``; ``"blocks.*.attn.proj.input"`` (what
    flows into them, of all blocks); ``"relu#1"`` (the second of several calls in one pass; without
    a number it is all of them); ``"lstm[1][0]"`` (an element of what it returns; without one it is
    the first tensor in it). ``"."`` is the whole module. In patterns ``*`` and ``?`` stand for any
    characters.

    Wrappers of `torch.compile` and of parallel training are looked through: what is recorded is
    the module itself, run eagerly.

    Parameters
    ----------
    module : torch.nn.Module
        The network. It is run in evaluation mode and left exactly as it was: weights, buffers,
        training flags, hooks.
    layers : str or iterable of str
        Sites to record; patterns pass over parts that do not run.
    preprocess : callable, optional
        `Stimuli` to what the module is called with: a tensor, a tuple of arguments or a dict of
        named ones. By default images become float32 (stimulus, channel, row, column) between 0
        and 1, and arrays stay as they are.
    device : str or torch.device, optional
        Where to run. On another device than the module's own a copy of it is taken there.
    name : str, optional
        Name for tables and figures; the module's class by default.
    example : Stimuli or array, optional
        Stimuli that tell the shapes, so that `units` are known before anything is recorded.

    Raises
    ------
    UnknownName
        A site that the module does not have; the message has the nearest names.
    InvalidArgument
        Not a module, or one that nobody can listen to (scripted, lazy).

    Examples
    --------
    >>> import numpy as np, torch
    >>> from bregma import TorchSystem
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> TorchSystem(net, ["1", "2"]).record(np.eye(4))
    Recording('Sequential', 4 presentations of 4 stimuli, 11 units)
    """

    module: nn.Module
    layers: tuple[str, ...]
    name: str
    perturbations: tuple[Perturbation, ...]

    def __init__(
        self,
        module: nn.Module,
        layers: str | Iterable[str] = "*",
        *,
        preprocess: Callable[[Stimuli], Any] | None = None,
        device: str | torch.device | None = None,
        name: str | None = None,
        example: Any = None,
    ) -> None:
        self.module = bare(module)
        if device is not None:
            where = find_device(device)
            if any(t.device != where for t in (*self.module.parameters(), *self.module.buffers())):
                self.module = deepcopy(self.module).to(where)
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        self.preprocess = preprocess or default_preprocess
        self.name = type(self.module).__name__ if name is None else name
        self.example = None if example is None else as_stimuli(example)
        self.perturbations = ()
        self._layouts: list[Layout] | None = None
        self._sites(self.layers)

    def sites(self) -> list[str]:
        """Names of all parts that can be recorded and perturbed.

        Returns
        -------
        list of str
            Their outputs; put ``.input`` behind a name for what flows into it.
        """
        return [name or "." for name in module_names(self.module)]

    @property
    def units(self) -> pd.DataFrame:
        """Table of the units: those of the example, or else of what was recorded last.

        The columns are ``layer``, ``kind``, ``channel`` and, where they apply, ``row``,
        ``column``, ``token``, ``head`` and ``frame``.
        """
        if self._layouts is None:
            if self.example is None:
                raise InvalidArgument(
                    f"the units of {self.name!r} are not known before it has seen a stimulus: "
                    "record something, or give example= (a stimulus or two)"
                )
            plain = copy(self)
            plain.perturbations = ()  # those may speak of other stimuli than the example
            with undisturbed(self.module, 0):
                self._layouts = plain._run(self.example, 1, None, 0).layouts
        columns = unit_columns(self._layouts)
        ids = pd.Index(columns.pop("unit"), name="unit")
        return pd.DataFrame(columns, index=ids)

    def record(
        self,
        stimuli: Any,
        *,
        batch_size: int = 32,
        reduce: Reduce = None,
        to: str | Path | None = None,
        progress: bool = False,
        seed: int = 0,
    ) -> Recording:
        """Show stimuli and record the units.

        The values are those that a forward hook would see, bit for bit. Half precision is widened
        to float32 without loss. A pass ends after the last part that is wanted, unless the module
        has hooks of others that would miss the rest.

        Parameters
        ----------
        stimuli : Stimuli, array, torch.Tensor or list of image files
            What to show; tensors and arrays as `Stimuli` takes them.
        batch_size : int
            How many at a time.
        reduce : None, "mean", "max" or callable
            Keep all positions; take the mean or maximum over rows, columns, tokens and frames;
            or apply a function to each layer's tensor (stimuli first) that gives another one.
        to : str or Path, optional
            A ``.zarr`` folder to write to, so that memory holds one batch only; large recordings
            then stay there and are read when they are needed. Batches are kept beside it until
            all is written: after an interruption the same call goes on from there.
        progress : bool
            Show a bar where stderr is a terminal.
        seed : int
            Seed for modules that draw random numbers while they run.

        Returns
        -------
        Recording
            One presentation for each stimulus, with the table of the stimuli; units named like
            ``"layer1.0.conv2/c12/y3/x7"``. A column of stimuli that has the name of a column of
            units is called ``stimulus_...``.

        Raises
        ------
        InvalidArgument
            A layer that does not run, or does not give one row for each stimulus.
        InvalidRecording
            A layer gives NaN or infinity; the message names it.
        PerturbationConflict
            Two perturbations act on the same units.
        UnknownName
            A unit or stimulus that a perturbation names is not there.
        """
        stimuli = as_stimuli(stimuli)
        if batch_size < 1:
            raise InvalidArgument(f"batch_size must be 1 or more, not {batch_size}")
        with (
            undisturbed(self.module, seed),
            show_progress[Any](
                what=f"recording {self.name}", total=len(stimuli), show=progress
            ) as bar,
        ):
            run = self._run(stimuli, batch_size, reduce, seed)
            if self.example is None:
                self._layouts = run.layouts

            def fill(rows: slice, out: np.ndarray) -> None:
                run.read(rows, out)
                bar.advance(len(out))

            shape = len(stimuli), run.n_units
            if to is not None:
                key = run_key(
                    stimuli.content_hash(),
                    run.layouts,
                    batch_size,
                    seed,
                    sorted(map(content_key, self.perturbations)),
                )
                label = partial(self._recording, stimuli=stimuli, layouts=run.layouts)
                return stream(
                    fill, shape, run.dtype, batch_size=batch_size, key=key, label=label, to=to
                )
            values = np.empty(shape, run.dtype)
            for start in range(0, len(stimuli), batch_size):
                rows = slice(start, start + batch_size)
                fill(rows, values[rows])
        return self._recording(values, stimuli, run.layouts)

    def perturb(self, *perturbations: Perturbation) -> TorchSystem:
        """The same system under perturbations; it shares the module, which stays as it is.

        Parameters
        ----------
        *perturbations : Perturbation
            What to do to it, in addition to what is done already; their order has no meaning.

        Returns
        -------
        TorchSystem
            The perturbed system.

        Raises
        ------
        UnknownName
            A site that the module does not have; the message has the nearest names.
        PerturbationConflict
            Two of them act on the same units.
        """
        other = copy(self)
        other.perturbations = (*self.perturbations, *perturbations)
        places = [self._sites([p.site]) for p in other.perturbations]
        for i, (one, here) in enumerate(zip(other.perturbations, places, strict=True)):
            for two, there in zip(other.perturbations[:i], places, strict=False):
                check_certain_conflict(two, one, _common(here, there))
        if perturbations:
            other.name = f"{self.name} with " + " and ".join(
                f"{type(p).__name__}({p.site})" for p in perturbations
            )
        return other

    def with_layers(self, layers: str | Iterable[str]) -> TorchSystem:
        """The same system with other sites to record.

        Parameters
        ----------
        layers : str or iterable of str
            Sites to record.

        Returns
        -------
        TorchSystem
            The other system; it shares the module.

        Raises
        ------
        UnknownName
            A site that the module does not have; the message has the nearest names.
        """
        other = copy(self)
        other.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        other._layouts = None
        other._sites(other.layers)
        return other

    def with_module(self, module: nn.Module, name: str) -> TorchSystem:
        """The same sites, preprocessing and perturbations with another module of that shape.

        Parameters
        ----------
        module : torch.nn.Module
            The other module.
        name : str
            Its name.

        Returns
        -------
        TorchSystem
            The other system.
        """
        other = copy(self)
        other.module, other.name = bare(module), name
        other._sites(other.layers)
        return other

    def __repr__(self) -> str:
        return f"TorchSystem({self.name!r}, layers={list(self.layers)!r})"

    def _sites(self, patterns: Iterable[str]) -> list[Site]:
        return find_sites(patterns, module_names(self.module))

    def _run(self, stimuli: Stimuli, batch_size: int, reduce: Reduce, seed: int) -> Run:
        modules = module_names(self.module)
        edits = [(p, find_sites(p.site, modules)) for p in self.perturbations]
        certain = [p for p in (*self.layers, *(p.site for p, _ in edits)) if not is_pattern(p)]
        return Run(
            modules,
            lambda part: as_call(self.preprocess(part), self.module),
            _once(find_sites(self.layers, modules), modules, self.layers),
            set(find_sites(certain, modules)) if certain else (),
            edits,
            reduce=reduce,
            stimuli=stimuli,
            batch_size=batch_size,
            seed=seed,
        )

    def _recording(self, values: Any, stimuli: Stimuli, layouts: list[Layout]) -> Recording:
        taken = unit_names(layouts)
        shows: dict[str, Any] = {"presentation": stimuli.ids, "stimulus": stimuli.ids}
        for column in stimuli.table:
            name = f"stimulus_{column}" if column in {*taken, *shows} else str(column)
            shows[name] = stimuli.table[column].to_numpy()
        return Recording.from_array(
            values, unit=partial(unit_columns, layouts), presentation=shows, name=self.name
        )


def _once(sites: list[Site], modules: dict[str, nn.Module], names: Iterable[str]) -> list[Site]:
    """Leave out sites that a pattern found under a second name of the same module."""
    seen: set[Any] = set()
    kept = []
    for site in sites:
        key = (id(modules[site.module]), site.kind, site.call, site.element)
        if key not in seen or site.module in names:
            kept.append(site)
        seen.add(key)
    return kept


def _common(here: list[Site], there: list[Site]) -> list[str]:
    """Texts of the sites that two perturbations share."""
    return [
        str(one)
        for one in here
        for two in there
        if one.place == two.place
        and one.element == two.element
        and (one.call == two.call or None in (one.call, two.call))
    ]
