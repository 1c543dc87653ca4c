"""A network whose circuits are known, with the tasks that it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import UnknownName
from bregma.nn import CausalTransformer

Edge = tuple[str, str]


@dataclass(frozen=True)
class Wired:
    """A hand-wired network, prompts for its tasks, and the circuit of each task.

    Senders are ``"embed"``, heads (``"1.h0"``: layer 1, head 0) and perceptrons (``"1.mlp"``).
    Receivers are the inputs of heads (``"1.h0.q"``, ``"1.h0.k"``, ``"1.h0.v"``), perceptrons
    and ``"logits"``. A circuit holds the edges that matter where prompts become corrupt: at each
    of them the answer suffers if the receiver sees what the sender does for the corrupt prompt,
    and at no other edge anything changes. What heads know from places alone is the same in both
    prompts, and no edge.

    Parameters
    ----------
    net : CausalTransformer
        Right on all clean prompts.
    tasks : mapping of str to PromptPairs
        By name.
    circuits : mapping of str to frozenset of (str, str)
        For each task the edges (sender, receiver) of its circuit.
    roles : mapping of str to str
        For each head what it does; ``"distractor"`` or ``"distractor: ..."`` where no task needs
        it.
    """

    net: CausalTransformer
    tasks: Mapping[str, PromptPairs]
    circuits: Mapping[str, frozenset[Edge]]
    roles: Mapping[str, str]

    def heads(self, task: str) -> frozenset[str]:
        """Heads in the circuit of a task.

        Parameters
        ----------
        task : str
            Its name.

        Returns
        -------
        frozenset of str
            Like ``"1.h0"``.

        Raises
        ------
        UnknownName
            A task that is not there.
        """
        if task not in self.circuits:
            raise UnknownName.of("task", task, self.circuits)
        return frozenset(sender for sender, _ in self.circuits[task] if sender in self.roles)
