"""Networks whose parts hand on codes in place of activity."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.dictionaries._codebook import Codebook
from bregma.run import derive
from bregma.run._evaluating import evaluating


class CodebookNetwork(nn.Module):
    r"""A copy of a network with a `Codebook` behind some of its parts.

    What a part gives out, before it is added to the residual stream, becomes the mean of k codes.
    The codes start at clusters of its activity (k-means). Train the whole like the network itself,
    on its loss plus some of `error`; then its state can be read (`codes`) and set (`forced`).

    Parameters
    ----------
    net : torch.nn.Module
        The network; it is copied and stays as it is.
    sites : sequence of str
        Names of parts that give one tensor (..., number), such as the last layers of attention and
        perceptron of each block: ``"blocks.0.project"`` and ``"blocks.0.narrow"`` in a
        `CausalTransformer`, ``"transformer.h.0.mlp.c_proj"`` in GPT-2.
    inputs : Tensor
        What to show for the start; as many positions as codes, or more.
    n_codes : int
        Codes at each site.
    k : int
        Codes per position.
    commitment : float
        How much of `error` trains the activity, see `Codebook`.
    seed : int
        Of the clusters.

    Raises
    ------
    UnknownName
        If the network has no such part.
    InvalidArgument
        If there is no site, one is not used, or gives something else than a tensor, or there are
        too few inputs.

    References
    ----------
    Tamkin, Taufeeque and Goodman (2023), Codebook features: sparse and discrete interpretability
    for neural networks.

    Examples
    --------
    >>> from bregma.mechanism import CodebookNetwork
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> discrete = CodebookNetwork(net, ["0"], torch.randn(50, 3), n_codes=16, seed=0)
    >>> discrete(torch.randn(5, 3)).shape, discrete.codes(torch.randn(5, 3))["0"].shape
    (torch.Size([5, 2]), torch.Size([5, 1]))
    """

    def __init__(
        self,
        net: nn.Module,
        sites: Sequence[str],
        inputs: Tensor,
        n_codes: int,
        k: int = 1,
        *,
        commitment: float = 1.0,
        seed: int,
    ) -> None:
        super().__init__()
        if not sites:
            raise InvalidArgument("name a part of the network, to put a codebook behind")
        self.net = copy.deepcopy(net)
        self.codebooks: dict[str, Codebook] = {}  # they are parts of the network itself
        for site, activity in _activity(self.net, sites, inputs).items():
            size, own = activity.shape[1], derive(seed, site)
            book = Codebook(size, n_codes, k, commitment=commitment, seed=own).to(activity)
            book.start_from(activity, seed=own)
            parent, _, name = site.rpartition(".")
            part = self.net.get_submodule(site)
            setattr(self.net.get_submodule(parent), name, nn.Sequential(part, book))
            self.codebooks[site] = book

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network gives out when its parts hand on codes.

        Parameters
        ----------
        *args, **kwargs : Any
            As for the network.

        Returns
        -------
        Any
            As the network.
        """
        return self.net(*args, **kwargs)

    @property
    def error(self) -> Float[Tensor, ""]:
        """Squared error of the last pass, summed over sites; it trains codes and activity."""
        errors = [book.error for book in self.codebooks.values() if book.error is not None]
        if not errors:
            raise InvalidArgument("there is no error before the first pass: call the network")
        return torch.stack(errors).sum()

    @torch.no_grad()
    def codes(self, *args: Any, **kwargs: Any) -> dict[str, Int[Tensor, "*position k"]]:
        """The codes that stand for inputs, in evaluation mode.

        Parameters
        ----------
        *args, **kwargs : Any
            As for the network.

        Returns
        -------
        dict of Tensor (..., k)
            Indices of codes by site, best first.
        """
        found: dict[str, Tensor] = {}
        hooks = [
            book.register_forward_pre_hook(
                lambda book, given, site=site: found.update({site: book.choose(given[0])})
            )
            for site, book in self.codebooks.items()
        ]
        try:
            with evaluating(self):
                self.net(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    @contextmanager
    def forced(self, codes: Mapping[str, Int[Tensor, "*position k"]]) -> Iterator[None]:
        """Make sites give out given codes for a while, whatever comes in.

        Parameters
        ----------
        codes : mapping of str to Tensor
            Indices by site: (k,) for all positions, or (..., k) for each, with -1 where a position
            is left as it is. Those of another input (`codes`) patch its state in.

        Yields
        ------
        None
            The network can be called in between.

        Raises
        ------
        UnknownName
            If there is no codebook at a site.
        InvalidArgument
            If an index is no code.
        """
        for site, index in codes.items():
            if site not in self.codebooks:
                raise UnknownName.of("site of a codebook", site, self.codebooks)
            n = self.codebooks[site].n_features
            if index.numel() == 0 or not -1 <= int(index.min()) <= int(index.max()) < n:
                raise InvalidArgument(f"codes at {site!r} must be 0 to {n - 1}, or -1 to leave it")
        before = {site: self.codebooks[site].forced for site in codes}
        try:
            for site, index in codes.items():
                self.codebooks[site].forced = index
            yield
        finally:
            for site, earlier in before.items():
                self.codebooks[site].forced = earlier


@torch.no_grad()
def _activity(
    net: nn.Module, sites: Sequence[str], inputs: Tensor
) -> dict[str, Float[Tensor, "position number"]]:
    """What parts give out, one row per position."""
    parts = {name: part for name, part in net.named_modules() if name}
    found: dict[str, Tensor] = {}

    def keep(site: str, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise InvalidArgument(
                f"{site!r} gives a {type(output).__name__}, not a tensor; name the part inside it "
                "that does, such as its last layer"
            )
        found[site] = output.flatten(0, -2)

    hooks = []
    try:
        for site in sites:
            if site not in parts:
                raise UnknownName.of("part of the network", site, parts)
            hook = parts[site].register_forward_hook(
                lambda part, given, output, site=site: keep(site, output)
            )
            hooks.append(hook)
        with evaluating(net):
            net(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if unused := [site for site in sites if site not in found]:
        raise InvalidArgument(f"the network does not use {unused} for these inputs")
    return {site: found[site] for site in sites}
