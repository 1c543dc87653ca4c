"""Who decides how a network grows: a recurrent controller that learns, or chance."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical

from bregma.errors import InvalidArgument
from bregma.run import derive
from bregma.search._outline import Outline


class Decision(NamedTuple):
    """What was decided, and how likely that was.

    Parameters
    ----------
    choice : tuple of int
        Tokens to widen; or block, layer in the block, and kernel of a new layer.
    log_prob : Tensor
        A scalar: the logarithm of its probability under the policy.
    entropy : Tensor
        A scalar: that of the policy, per choice.
    """

    choice: tuple[int, ...]
    log_prob: Tensor
    entropy: Tensor


@runtime_checkable
class Policy(Protocol):
    """Decides how a network grows."""

    def wider(self, net: Outline, generator: torch.Generator) -> Decision:
        """Decide which layers get their next width.

        Parameters
        ----------
        net : Outline
            The network.
        generator : torch.Generator
            Draws the decision.

        Returns
        -------
        Decision
            Tokens to widen.
        """
        ...

    def deeper(self, net: Outline, generator: torch.Generator) -> Decision:
        """Decide where a new layer goes.

        Parameters
        ----------
        net : Outline
            The network.
        generator : torch.Generator
            Draws the decision.

        Returns
        -------
        Decision
            Block, layer in the block behind which it goes, and kernel.
        """
        ...


class GrowthPolicy(nn.Module, Policy):
    """A controller that reads a network layer by layer and decides how it grows.

    A bidirectional LSTM reads the tokens. One classifier, shared by all layers, says for each of
    them whether it becomes wider; a second LSTM, which starts from the state of the first one,
    says block, layer and kernel of a new layer, one after the other.

    Parameters
    ----------
    n_levels : int
        Number of widths.
    n_kernels : int
        Number of kernels.
    blocks, layers : int
        Largest number of blocks, and of layers in a block.
    embedding, hidden : int
        Features of a token and units of the LSTM, in each direction.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        If a number is below 1.

    References
    ----------
    Cai et al. (2018), Efficient architecture search by network transformation.
    """

    def __init__(
        self,
        n_levels: int,
        n_kernels: int,
        *,
        blocks: int = 5,
        layers: int = 10,
        embedding: int = 16,
        hidden: int = 50,
        seed: int,
    ) -> None:
        super().__init__()
        sizes = (n_levels, n_kernels, blocks, layers, embedding, hidden)
        if min(sizes) < 1:
            raise InvalidArgument(f"all sizes must be 1 or more, not {sizes}")
        with torch.random.fork_rng([]):  # modules of PyTorch draw from its global generator
            torch.default_generator.manual_seed(derive(seed, "growth policy"))
            self.parts = nn.ModuleList(nn.Embedding(n, embedding) for n in (3, n_levels, n_kernels))
            self.encoder = nn.LSTM(embedding, hidden, bidirectional=True)
            self.widen = nn.Linear(2 * hidden, 1)
            self.decoder = nn.LSTMCell(embedding, 2 * hidden)
            chosen = (blocks, layers, n_kernels)
            self.choose = nn.ModuleList(nn.Linear(2 * hidden, n) for n in chosen)
            self.chosen = nn.ModuleList(nn.Embedding(n, embedding) for n in chosen[:2])

    def wider(self, net: Outline, generator: torch.Generator) -> Decision:
        seen, _ = self._read(net)
        may = net.may_widen
        yes = Bernoulli(logits=self.widen(seen).squeeze(-1)[may])
        drawn = (torch.rand(yes.probs.shape, generator=generator) < yes.probs).to(seen)
        which = torch.nonzero(may).flatten()[drawn.bool()]
        entropy = yes.entropy().mean() if len(drawn) else seen.sum() * 0
        return Decision(tuple(which.tolist()), yes.log_prob(drawn).sum(), entropy)

    def deeper(self, net: Outline, generator: torch.Generator) -> Decision:
        _, state = self._read(net)
        given = torch.zeros(1, self.decoder.input_size)
        choice: list[int] = []
        log_prob = entropy = torch.zeros(())
        for number, head in enumerate(self.choose):
            state = self.decoder(given, state)
            scores = head(state[0])[0]
            there = (len(net.blocks), len(net.blocks[choice[0]]) if choice else 0, len(scores))
            options = Categorical(logits=scores[: there[number]])
            drawn = torch.multinomial(options.probs, 1, generator=generator)
            log_prob = log_prob + options.log_prob(drawn[0])
            entropy = entropy + options.entropy() / len(self.choose)
            choice.append(int(drawn))
            if number < len(self.chosen):
                given = self.chosen[number](drawn)
        return Decision(tuple(choice), log_prob, entropy)

    def _read(self, net: Outline) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        embedded = sum(part(net.tokens[:, i]) for i, part in enumerate(self.parts))
        seen, (hidden, cell) = self.encoder(embedded)
        return seen, (hidden.reshape(1, -1), cell.reshape(1, -1))


class RandomPolicy(Policy):
    """Decides by chance: layers are widened with probability 1/2; block, layer, kernel alike.

    It has nothing to learn: `log_prob` and `entropy` of its decisions are 0.

    Parameters
    ----------
    n_kernels : int
        Number of kernels.

    References
    ----------
    Cai et al. (2018), Efficient architecture search by network transformation (their control).
    """

    def __init__(self, n_kernels: int) -> None:
        self.n_kernels = n_kernels

    def wider(self, net: Outline, generator: torch.Generator) -> Decision:
        drawn = (torch.rand(len(net.tokens), generator=generator) < 0.5) & net.may_widen
        return Decision(
            tuple(torch.nonzero(drawn).flatten().tolist()), torch.zeros(()), torch.zeros(())
        )

    def deeper(self, net: Outline, generator: torch.Generator) -> Decision:
        block = _below(len(net.blocks), generator)
        layer = _below(len(net.blocks[block]), generator)
        kernel = _below(self.n_kernels, generator)
        return Decision((block, layer, kernel), torch.zeros(()), torch.zeros(()))


def _below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))
