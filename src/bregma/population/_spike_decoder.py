"""A causal decoder of spikes: the next one, given those before it and what is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument, UnknownName
from bregma.population._spike_tokens import PAD, trimmed
from bregma.population._token_attention import AttentionBlock, KeysValues
from bregma.run import derive, private_randomness

Modalities = Mapping[str, Tensor]
States = Float[Tensor, "depth window place width"]


@dataclass(frozen=True)
class Surroundings:
    """What the tokens of a window attend to besides each other.

    Parameters
    ----------
    keys_values : sequence of tuple of Tensor
        For each block.
    visible : sequence of Tensor
        (window, key) for each block.
    tokens : mapping of str to Tensor
        Tokens (window, token, width) of each modality.
    """

    keys_values: Sequence[KeysValues]
    visible: Sequence[Tensor]
    tokens: Mapping[str, Tensor]


class SpikeDecoder(nn.Module):
    """Probability of a window of spikes, token by token, given the spikes before and other signals.

    Tokens of the window (see `SpikeWindows`) look at those before them, then at the spikes of the
    past, then at the tokens of each further modality in turn: the cost grows with the sum of their
    lengths. Two heads score the unit and the bin of the next spike; the unit may also be 'no more'.
    Next comes only what lies behind the last token, bins in order and units in order in a bin, and
    the scores are normalised over that: the probabilities of all possible windows sum to 1.

    Parameters
    ----------
    n_units, n_bins, n_past : int
        As in `SpikeWindows`.
    width : int
        Features of a token.
    heads, layers : int
        Heads share the width; each kind of attention has so many blocks.
    modalities : mapping of str to torch.nn.Module
        Other signals in the order in which they are looked at: modules that make tokens (window,
        token, width) of them, such as `LinearTokens` or `MovieTokens`.
    dropout : float
        Share of what blocks add that is left out in training.
    seed : int
        Of the first weights; those of the modalities are as they come.

    Raises
    ------
    InvalidArgument
        A number below 1, heads that do not divide the width, or a modality of the name 'past'.

    References
    ----------
    Antoniades, Yu, Canzano, Wang and Smith (2024), Neuroformer: multimodal and multitask generative
    pretraining for brain data. arXiv:2311.00136.

    Examples
    --------
    >>> net = SpikeDecoder(n_units=3, n_bins=2, n_past=4, width=8, heads=2)
    >>> tokens, past = torch.tensor([[0, 4], [2, -1]]), torch.tensor([[5], [-1]])
    >>> net.log_likelihood(tokens, past).shape
    torch.Size([2])
    """

    def __init__(
        self,
        n_units: int,
        n_bins: int,
        n_past: int,
        width: int = 64,
        *,
        heads: int = 4,
        layers: int = 1,
        modalities: Mapping[str, nn.Module] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = min(n_units, n_bins, n_past, width, heads, layers)
        if least < 1 or width % heads or not 0 <= dropout < 1:
            raise InvalidArgument(
                "n_units, n_bins, n_past, width, heads and layers must be 1 or more, heads divide "
                f"the width and dropout be from 0 to below 1, not {n_units}, {n_bins}, {n_past}, "
                f"{width}, {heads}, {layers} and {dropout}"
            )
        if "past" in (modalities or {}):
            raise InvalidArgument("'past' is the name of the spikes before; take another one")
        self.n_units, self.n_bins, self.n_past = n_units, n_bins, n_past
        self.width, self.layers = width, layers
        self.modalities = nn.ModuleDict(dict(modalities or {}))
        with private_randomness(derive(seed, "SpikeDecoder")):
            self.unit = nn.Embedding(n_units + 1, width)  # the last one: nobody yet
            self.bin, self.age = nn.Embedding(n_bins + 1, width), nn.Embedding(n_past + 1, width)
            for table in (self.unit, self.bin, self.age):
                table.weight.data *= 0.5
            self.itself = self._blocks(heads, dropout)
            self.others = nn.ModuleDict(
                {name: self._blocks(heads, dropout) for name in ("past", *self.modalities)}
            )
            self.norm = nn.LayerNorm(width)
            self.to_unit, self.to_bin = nn.Linear(width, n_units + 1), nn.Linear(width, n_bins)

    def _blocks(self, heads: int, dropout: float) -> nn.ModuleList:
        return nn.ModuleList(AttentionBlock(self.width, heads, dropout) for _ in range(self.layers))

    @property
    def end(self) -> int:
        """The token that says 'no more spikes in this window'."""
        return self.n_units * self.n_bins

    def surroundings(
        self, past: Int[Tensor, "window key"], modalities: Modalities | None = None
    ) -> Surroundings:
        """Keys and values of everything outside the windows.

        Parameters
        ----------
        past : Int[Tensor, "window key"]
            Spikes before each window.
        modalities : mapping of str to Tensor
            What each module of `modalities` takes.

        Returns
        -------
        Surroundings
            The same for all tokens of a window. The past begins with a key that is always there.

        Raises
        ------
        UnknownName
            A modality too many or missing.
        InvalidArgument
            Tokens that do not exist, or modalities of other windows.
        """
        given = dict(modalities or {})
        for name in {*given, *self.modalities}:
            if name not in given or name not in self.modalities:
                known = self.modalities if name in given else given
                raise UnknownName.of("modality", name, known)
        self._check(past, self.n_past, "past")
        past = trimmed(past)
        past = torch.cat([past.new_full((len(past), 1), PAD), past], 1)
        tokens = {name: module(given[name]) for name, module in self.modalities.items()}
        for name, found in tokens.items():
            if found.ndim != 3 or (len(found), found.shape[2]) != (len(past), self.width):
                raise InvalidArgument(
                    f"tokens of {name!r} must be ({len(past)}, token, {self.width}), not "
                    f"{tuple(found.shape)}"
                )
        seen = {"past": self._embedded(past, self.age), **tokens}
        visible = {name: torch.ones_like(x[..., 0], dtype=torch.bool) for name, x in seen.items()}
        visible["past"][:, 1:] = past[:, 1:] >= 0
        pairs = [(name, block) for name in seen for block in attention_blocks(self.others[name])]
        return Surroundings(
            [block.keys_values(seen[name]) for name, block in pairs],
            [visible[name] for name, _ in pairs],
            tokens,
        )

    def read(
        self,
        tokens: Int[Tensor, "window token"],
        past: Int[Tensor, "window key"],
        modalities: Modalities | None = None,
    ) -> tuple[Int[Tensor, "window place"], States, Surroundings]:
        """Everything that the decoder makes of whole windows.

        Parameters
        ----------
        tokens, past : Int[Tensor, "window token"]
            As in `SpikeWindows`.
        modalities : mapping of str to Tensor
            As in `surroundings`.

        Returns
        -------
        begun : Int[Tensor, "window place"]
            The tokens with the beginning, -1, before them.
        states : Float[Tensor, "depth window place width"]
            As from `states`.
        around : Surroundings
            As from `surroundings`.

        Raises
        ------
        InvalidArgument
            Tokens that do not exist or do not rise, or another number of pasts than of windows.
        """
        self._check(tokens, self.n_bins, "tokens")
        if len(tokens) != len(past):
            raise InvalidArgument(f"{len(tokens)} windows need as many pasts, not {len(past)}")
        now, after = tokens[:, :-1], tokens[:, 1:]
        if ((after >= 0) & ((after <= now) | (now < 0))).any():
            raise InvalidArgument("tokens of a window must rise, with -1 only at its end")
        tokens = trimmed(tokens)
        begun = torch.cat([tokens.new_full((len(tokens), 1), PAD), tokens], 1)
        around = self.surroundings(past, modalities)
        return begun, self.states(begun, around)[0], around

    def states(
        self,
        tokens: Int[Tensor, "window place"],
        around: Surroundings,
        before: Sequence[KeysValues] | None = None,
    ) -> tuple[States, list[KeysValues]]:
        """Tokens after each block.

        Parameters
        ----------
        tokens : Int[Tensor, "window place"]
            The beginning, -1, and the spikes; or only the ones that are new.
        around : Surroundings
            From `surroundings`.
        before : sequence of tuple of Tensor
            Keys and values of the tokens that came before these, from the last call.

        Returns
        -------
        states : Float[Tensor, "depth window place width"]
            The embedded tokens, and then after each block in turn.
        kept : list of tuple of Tensor
            Keys and values of all tokens so far: what the next call needs.
        """
        x = self._embedded(tokens, self.bin)
        found, kept = [x], []
        for number, block in enumerate(attention_blocks(self.itself)):
            keys, values = block.keys_values(x)
            if before is not None:
                keys = torch.cat([before[number][0], keys], 2)
                values = torch.cat([before[number][1], values], 2)
            kept.append((keys, values))
            n, n_all = tokens.shape[1], keys.shape[2]
            earlier = torch.ones(n, n_all, dtype=torch.bool, device=x.device).tril(n_all - n)
            x = block(x, (keys, values), earlier)
            found.append(x)
        others = [block for kind in self.others.values() for block in attention_blocks(kind)]
        for block, pair, visible in zip(others, around.keys_values, around.visible, strict=True):
            x = block(x, pair, visible[:, None].expand(-1, x.shape[1], -1))
            found.append(x)
        return torch.stack(found), kept

    def scores(
        self, state: Float[Tensor, "window place width"], tokens: Int[Tensor, "window place"]
    ) -> Float[Tensor, "window place next"]:
        """Scores of what comes after each token.

        Parameters
        ----------
        state : Float[Tensor, "window place width"]
            The last of `states`.
        tokens : Int[Tensor, "window place"]
            The tokens themselves.

        Returns
        -------
        Float[Tensor, "window place next"]
            Of each token, ``bin * n_units + unit``, and the end; minus infinity for what cannot
            come any more. Their softmax are probabilities.
        """
        x = self.norm(state)
        unit, bin = self.to_unit(x), self.to_bin(x)
        spike = (bin[..., :, None] + unit[..., None, : self.n_units]).flatten(-2)
        scores = torch.cat([spike, unit[..., self.n_units :]], -1)
        behind = torch.arange(self.end + 1, device=tokens.device) > tokens[..., None]
        return scores.masked_fill(~behind, -torch.inf)

    def log_likelihood(
        self,
        tokens: Int[Tensor, "window token"],
        past: Int[Tensor, "window key"],
        modalities: Modalities | None = None,
    ) -> Float[Tensor, " window"]:
        """Log-probability of the spikes of each window.

        Parameters
        ----------
        tokens, past : Int[Tensor, "window token"]
            As in `SpikeWindows`.
        modalities : mapping of str to Tensor
            As in `surroundings`.

        Returns
        -------
        Float[Tensor, "window"]
            In nats. Minus its mean is the loss to train with.
        """
        begun, states, _ = self.read(tokens, past, modalities)
        log_p = self.scores(states[-1], begun).log_softmax(-1)
        ended = torch.cat([begun[:, 1:], begun[:, :1]], 1)
        spike = ended >= 0
        ending = (~spike).int().cumsum(1) == 1  # the first place without a spike
        chosen = log_p.gather(-1, torch.where(spike, ended, self.end)[..., None])[..., 0]
        return torch.where(spike | ending, chosen, 0.0).sum(1)

    def forward(
        self,
        tokens: Int[Tensor, "window token"],
        past: Int[Tensor, "window key"],
        modalities: Modalities | None = None,
    ) -> Float[Tensor, "window width"]:
        """One vector for each window, to read behaviour from.

        Parameters
        ----------
        tokens, past : Int[Tensor, "window token"]
            As in `SpikeWindows`.
        modalities : mapping of str to Tensor
            As in `surroundings`.

        Returns
        -------
        Float[Tensor, "window width"]
            The mean over the tokens of a window, after all blocks.
        """
        begun, states, _ = self.read(tokens, past, modalities)
        return pooled(self.norm(states[-1]), begun)

    def embeddings(
        self,
        tokens: Int[Tensor, "window token"],
        past: Int[Tensor, "window key"],
        modalities: Modalities | None = None,
    ) -> dict[str, Float[Tensor, "window width"]]:
        """Spikes and each modality for themselves, to be aligned with `contrastive_loss`.

        Parameters
        ----------
        tokens, past : Int[Tensor, "window token"]
            As in `SpikeWindows`.
        modalities : mapping of str to Tensor
            As in `surroundings`.

        Returns
        -------
        dict of str to Float[Tensor, "window width"]
            ``"spikes"``, before they have looked at anything else, and the name of each modality:
            means over tokens.
        """
        begun, states, around = self.read(tokens, past, modalities)
        found = {name: x.mean(1) for name, x in around.tokens.items()}
        return {"spikes": pooled(states[self.layers], begun), **found}

    def _embedded(self, tokens: Tensor, time: nn.Embedding) -> Tensor:
        nobody = tokens < 0
        unit = torch.where(nobody, self.n_units, tokens % self.n_units)
        when = torch.where(nobody, len(time.weight) - 1, tokens // self.n_units)
        return self.unit(unit) + time(when)

    def _check(self, tokens: Tensor, n_bins: int, name: str) -> None:
        most = self.n_units * n_bins - 1
        if not len(tokens) or (tokens.numel() and not -1 <= tokens.min() <= tokens.max() <= most):
            raise InvalidArgument(
                f"{name} must be from -1 to {most} ({self.n_units} units, {n_bins} bins), of one "
                f"window or more: cut them with the same bin and window as the decoder was made for"
            )


def attention_blocks(layers: nn.Module) -> list[AttentionBlock]:
    """The blocks of one kind of attention, in their order."""
    return [block for block in layers.children() if isinstance(block, AttentionBlock)]


def pooled(
    x: Float[Tensor, "window place width"], tokens: Int[Tensor, "window place"]
) -> Float[Tensor, "window width"]:
    """Mean over the beginning and the spikes of each window."""
    real = (tokens >= 0).to(x)
    real[:, 0] = 1
    return (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
