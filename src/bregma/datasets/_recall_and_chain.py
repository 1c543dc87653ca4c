"""One world of entities, and two questions: what is known of one, and where does a chain lead?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from bregma.datasets._held_out import training_task
from bregma.datasets._lexicon import Lexicon
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


@dataclass(frozen=True)
class FactWorld:
    """Facts that only training can tell, chains that only the prompt can tell.

    Parameters
    ----------
    training : Task
        Prompts of both kinds and for single links, and the token that comes after each. None of
        them is among the pairs.
    recall : PromptPairs
        A stored fact about an entity is asked for.
    chain : PromptPairs
        The end of a chain that begins with an entity is asked for.
    facts : torch.Tensor
        (entity,) int64: the token that belongs to every entity; entity k is token k + 1.
    """

    training: Task
    recall: PromptPairs
    chain: PromptPairs
    facts: Int[Tensor, " entity"]


def recall_and_chain(
    n: int = 256, *, n_train: int = 98304, n_entities: int = 16, hops: int = 2, seed: int
) -> FactWorld:
    """Recall from weights and reasoning over the prompt, in prompts that differ in one token.

    Each prompt has the links of two chains in random order, then a question about the first
    entity of one of them: ``e3 e9 e1 e5 e9 e2 e5 e7 follow e3`` asks for e2, and ``...
    recall e3`` for the attribute of e3, which is the same in all prompts and never said. Corrupt
    prompts ask for the other chain. Prompts to train on ask about any entity that a link leads on
    from, and a third of them for the ``next`` one only: who cannot follow one link will not learn
    to follow two, but settle for either end.

    Parameters
    ----------
    n : int
        Pairs of each kind.
    n_train : int
        Prompts to train on, a third of each kind; those that are among the pairs are left out.
        Two hops come suddenly, and need many different prompts: a `CausalTransformer` of 3 layers
        and width 64 took about 3000 batches of 64 with 8 entities; one hop takes 1000.
    n_entities : int
        Entities, each with an attribute of its own; at least ``2 * (hops + 1)``.
    hops : int
        Links of a chain.
    seed : int
        Draws facts and prompts.

    Returns
    -------
    FactWorld
        Chance is 1 in `n_entities` for each kind of question. Who knows the kind and the two
        entities that it may be about is right in half of the cases.

    Raises
    ------
    InvalidArgument
        A number out of range.

    Examples
    --------
    >>> world = recall_and_chain(1, n_train=300, seed=0)
    >>> print(world.chain.text(0))
    clean:   <start> e8 e7 e6 e3 e13 e8 e3 e2 follow e13 -> e7, not e2
    corrupt: <start> e8 e7 e6 e3 e13 e8 e3 e2 follow e6
    >>> print(world.recall.text(0))
    clean:   <start> e12 e14 e5 e2 e1 e12 e2 e15 recall e5 -> a10, not a4
    corrupt: <start> e12 e14 e5 e2 e1 e12 e2 e15 recall e1
    """
    if min(n, hops) < 1 or n_train < 3 or n_entities < 2 * (hops + 1):
        raise InvalidArgument(
            f"n and hops must be 1 or more, n_train 3 or more and n_entities 2 (hops + 1) or more, "
            f"not {n}, {hops}, {n_train} and {n_entities}"
        )
    lexicon = Lexicon(
        start="<start>",
        entities=" ".join(f"e{k}" for k in range(n_entities)),
        attributes=" ".join(f"a{k}" for k in range(n_entities)),
        others="recall next follow",
    )
    order = torch.randperm(n_entities, generator=spawn_torch(seed, "recall_and_chain", "facts"))
    facts = lexicon["attributes"][order]

    def pairs(kind: str, name: str, n: int) -> PromptPairs:
        rng = spawn_torch(seed, "recall_and_chain", kind, name)
        chains = torch.rand(n, n_entities, generator=rng).argsort(1)[:, : 2 * (hops + 1)]
        chains = chains.view(n, 2, hops + 1)
        links = torch.stack([chains[..., :-1], chains[..., 1:]], -1).flatten(1, 2)
        shuffled = torch.rand(n, 2 * hops, generator=rng).argsort(1)
        links = links.gather(1, shuffled[..., None].expand(-1, -1, 2))
        context = lexicon["entities"][links].flatten(1)
        place = torch.randint(1 if name == "test" else hops, (n, 1), generator=rng)

        def asked(chain: int) -> Tensor:
            return chains[:, chain].gather(1, place)[:, 0]

        def prompt(chain: int) -> Tensor:
            question = lexicon.fill(f"{kind} it", it=lexicon["entities"][asked(chain)])
            start = torch.full((n, 1), lexicon("<start>"))
            return torch.cat([start, context, question], 1)

        def answer(chain: int) -> Tensor:
            if kind == "recall":
                return facts[asked(chain)]
            last = chains[:, chain, -1]
            after = chains[:, chain].gather(1, place + 1)[:, 0]
            return lexicon["entities"][after if kind == "next" else last]

        return PromptPairs(
            clean=prompt(0),
            corrupt=prompt(1),
            right=answer(0),
            wrong=answer(1),
            words=lexicon.words,
            name="recall" if kind == "recall" else "chain",
        )

    recall, chain = pairs("recall", "test", n), pairs("follow", "test", n)
    return FactWorld(
        training=training_task(
            [pairs(kind, "train", n_train // 3).task() for kind in ("recall", "next", "follow")],
            [recall, chain],
            seed,
        ),
        recall=recall,
        chain=chain,
        facts=facts,
    )
