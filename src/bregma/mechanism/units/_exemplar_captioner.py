"""A captioner of exemplars: an LSTM that attends to the regions that drive a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.mechanism.units._exemplars import Exemplars
from bregma.mechanism.units._sentences import (
    Vocabulary,
    beam_search,
    log_likelihood,
    shifted,
)
from bregma.recording import Stimuli
from bregma.run import derive, private_randomness
from bregma.system import TorchSystem
from bregma.system._preprocess import as_call
from bregma.system._quiet import module_names, undisturbed
from bregma.system._site import find_sites, find_tensor
from bregma.system._tap import Taps


class RegionFeatures:
    r"""One vector for each exemplar: maps of a frozen network, averaged over the region.

    .. math:: v = \left[\frac{\sum_p m_p f^l_p}{\sum_p m_p}\right]_{l}

    with m the region at the resolution of layer l; the whole image where it is empty.

    Parameters
    ----------
    system : TorchSystem
        The network, with layers of maps: a pyramid, from fine to coarse.

    Raises
    ------
    InvalidArgument
        If the system is perturbed, or, when it is called, a layer has no maps.

    References
    ----------
    Hernandez et al. (2022), Natural language descriptions of deep visual features.
    """

    def __init__(self, system: TorchSystem) -> None:
        if system.perturbations:
            raise InvalidArgument("the system is perturbed: features are of the plain one")
        self.system = system
        modules = module_names(system.module)
        self._sites = find_sites(system.layers, modules)
        self._taps = Taps(modules)

    def __call__(self, exemplars: Exemplars) -> Float[Tensor, "rank number"]:
        """The features of exemplars.

        Parameters
        ----------
        exemplars : Exemplars
            Pictures and regions.

        Returns
        -------
        Tensor (rank, number)
            Channels of all layers.
        """
        shown = Stimuli(exemplars.images, kind="image")
        mask = torch.from_numpy(exemplars.masks).float()[:, None]
        parts = []
        for maps in self._maps(shown):
            share = F.adaptive_avg_pool2d(mask, (maps.shape[2], maps.shape[3]))
            empty = share.sum((2, 3), keepdim=True) == 0
            share = torch.where(empty, torch.ones_like(share), share)
            parts.append((maps * share).sum((2, 3)) / share.sum((2, 3)))
        return torch.cat(parts, dim=1)

    def _maps(self, shown: Stimuli) -> list[Tensor]:
        """The layers' maps: as `TorchSystem.record` would give them, without labels of units."""
        found: dict[Any, Tensor] = {}

        def react(place: Any, call: int, value: Any) -> None:
            for site in self._sites:
                if site.place == place and site.call in (None, call):
                    found.setdefault(site, find_tensor(value, site)[1].float().cpu())

        module = self.system.module
        args, named = as_call(self.system.preprocess(shown), module)
        with undisturbed(module, 0), self._taps.installed([s.place for s in self._sites]):
            self._taps.forward(args, named, react)
        flat = [str(site) for site in self._sites if found[site].ndim != 4]
        if flat:
            raise InvalidArgument(f"layer {flat[0]!r} has no maps (stimulus, channel, row, column)")
        return [found[site] for site in self._sites]


class ExemplarCaptioner(nn.Module):
    r"""Describes what exemplars have in common, p(d | E), word by word.

    .. math:: \alpha_k = \mathrm{softmax}_k\; u \cdot \tanh(A v_k + B h), \qquad
        h \leftarrow \mathrm{LSTM}(h, [w, \textstyle\sum_k \alpha_k v_k])

    Train it with `bregma.run.fit` on `loss` over descriptions of units by people.

    Parameters
    ----------
    features : callable
        From `Exemplars` to (rank, number): `RegionFeatures`.
    n_features : int
        How many numbers that are.
    vocabulary : Vocabulary
        Its words.
    width : int
        Of embeddings, attention and state.
    longest : int
        Words of a description at most.
    seed : int
        Of the first weights.

    References
    ----------
    Xu et al. (2015), Show, attend and tell.
    Hernandez et al. (2022), Natural language descriptions of deep visual features.
    """

    def __init__(
        self,
        features: Any,
        n_features: int,
        vocabulary: Vocabulary,
        *,
        width: int = 64,
        longest: int = 15,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.features, self.vocabulary, self.longest = features, vocabulary, longest
        with private_randomness(derive(seed, "ExemplarCaptioner")):
            self.scale = nn.LayerNorm(n_features)
            self.regions = nn.Linear(n_features, width)
            self.embed = nn.Embedding(len(vocabulary), width)
            self.start = nn.Linear(width, 2 * width)
            self.query = nn.Linear(width, width)
            self.key = nn.Linear(width, width, bias=False)
            self.weigh = nn.Linear(width, 1, bias=False)
            self.cell = nn.LSTMCell(2 * width, width)
            self.out = nn.Linear(2 * width, len(vocabulary))

    def forward(
        self, seen: Float[Tensor, "unit rank number"], sentences: Int[Tensor, "unit word"]
    ) -> Float[Tensor, " unit"]:
        """log p of a sentence for each unit's exemplars, in nats."""
        state = self._begin(seen)
        scores = []
        for words in shifted(sentences).T:
            score, state = self._step(words, state)
            scores.append(score)
        return log_likelihood(torch.stack(scores, 1), sentences)

    def loss(
        self, seen: Float[Tensor, "unit rank number"], sentences: Int[Tensor, "unit word"]
    ) -> Float[Tensor, ""]:
        """Mean surprise of a word.

        Parameters
        ----------
        seen : Tensor (unit, rank, number)
            Features of the exemplars of units.
        sentences : Tensor of int (unit, word)
            A description of each, as `Vocabulary.encode` gives them.

        Returns
        -------
        Tensor
            In nats.
        """
        return -self(seen, sentences).sum() / (sentences >= 0).sum()

    @torch.no_grad()
    def propose(self, exemplars: Exemplars, n: int) -> Sequence[tuple[str, float]]:
        """The most probable descriptions.

        Parameters
        ----------
        exemplars : Exemplars
            Pictures and regions of one unit.
        n : int
            Width of the beam.

        Returns
        -------
        sequence of (str, float)
            Texts with log p(d | E) in nats, most probable first.
        """
        state = self._begin(self.features(exemplars)[None].to(self.out.weight.device))
        found = beam_search(self._step, state, n, longest=self.longest)
        return [(self.vocabulary.decode(text), log_p) for text, log_p in found]

    def _begin(self, seen: Float[Tensor, "unit rank number"]) -> tuple[Tensor, ...]:
        regions = self.regions(self.scale(seen)).relu()
        hidden, cell = self.start(regions.mean(1)).tanh().chunk(2, dim=1)
        return hidden, cell, regions, self.key(regions)

    def _step(
        self, words: Int[Tensor, " unit"], state: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "unit entry"], tuple[Tensor, ...]]:
        hidden, cell, regions, keys = state
        share = self.weigh((keys + self.query(hidden)[:, None]).tanh()).softmax(1)
        context = (share * regions).sum(1)
        hidden, cell = self.cell(torch.cat([self.embed(words), context], 1), (hidden, cell))
        scores = self.out(torch.cat([hidden, context], 1)).log_softmax(1)
        return scores, (hidden, cell, regions, keys)
