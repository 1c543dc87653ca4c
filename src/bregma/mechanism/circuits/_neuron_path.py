"""Neuron paths: one hidden unit of each layer, for every input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Evidence
from bregma.mechanism.circuits._circuit import interval_of_mean
from bregma.mechanism.circuits._separation import separation
from bregma.run import derive


@dataclass(frozen=True)
class NeuronPaths:
    """One neuron of each layer for every input.

    Parameters
    ----------
    layers : tuple of str
        Sites of the layers, from the input to the answer.
    neurons : int array (example, layer)
        The neuron of each layer.
    widths : tuple of int
        How many neurons each layer has.
    token : int or None
        The token whose neurons are meant; None for those of all tokens together.

    Raises
    ------
    InvalidArgument
        Shapes that do not fit, or a neuron that its layer does not have.

    Examples
    --------
    >>> paths = NeuronPaths(("0", "1"), np.array([[3, 1], [3, 2]]), (8, 8), None)
    >>> paths.shared().tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """

    layers: tuple[str, ...]
    neurons: Int[np.ndarray, "example layer"] = field(repr=False)
    widths: tuple[int, ...]
    token: int | None

    def __post_init__(self) -> None:
        n = len(self.layers)
        if self.neurons.shape[1:] != (n,) or len(self.widths) != n or not self.neurons.size:
            raise InvalidArgument(
                f"{n} layers need neurons of the shape (example, {n}) and {n} widths, not "
                f"{self.neurons.shape} and {len(self.widths)}"
            )
        if (self.neurons < 0).any() or (self.neurons >= self.widths).any():
            raise InvalidArgument(f"the layers have {self.widths} neurons, counted from 0")

    def __len__(self) -> int:
        return len(self.neurons)

    def __getitem__(self, rows: Any) -> NeuronPaths:
        return NeuronPaths(self.layers, self.neurons[rows], self.widths, self.token)

    def units(self, example: int) -> list[str]:
        """Names of the neurons of one path, as `bregma.TorchSystem` gives them.

        Parameters
        ----------
        example : int
            Which one.

        Returns
        -------
        list of str
            Such as ``"blocks.0.mlp.act/t0/c12"``; without a token where all are meant. They
            select units of a perturbation, such as ``Ablate(site, units=...)``.
        """
        token = "" if self.token is None else f"/t{self.token}"
        found = zip(self.layers, self.neurons[example].tolist(), strict=True)
        return [f"{layer}{token}/c{neuron}" for layer, neuron in found]

    def frequency(self, labels: Any) -> pd.DataFrame:
        """How often each neuron is on the path of each class.

        Parameters
        ----------
        labels : sequence, array or Tensor (example,)
            The class of each input.

        Returns
        -------
        DataFrame
            ``label``, ``layer``, ``neuron``, and ``share`` of the inputs of the class whose path
            goes through it; the largest first in every layer of a class. Others are left out.

        Raises
        ------
        InvalidArgument
            Another number of labels.
        """
        labels = self._checked(labels)
        n = len(self.layers)
        table = pd.DataFrame(
            {
                "label": np.repeat(labels, n),
                "layer": np.tile(np.asarray(self.layers), len(self)),
                "neuron": self.neurons.ravel(),
            }
        )
        counts = table.groupby(["label", "layer", "neuron"], sort=False).size()
        sizes = pd.Series(labels).value_counts()
        shares = counts.rename("share").reset_index()
        shares["share"] = shares["share"] / shares["label"].map(sizes)
        shares["depth"] = shares["layer"].map({name: i for i, name in enumerate(self.layers)})
        order = shares.sort_values(
            ["label", "depth", "share", "neuron"], ascending=[True, True, False, True]
        )
        return order.drop(columns="depth").reset_index(drop=True)

    def shared(self) -> Float[np.ndarray, "example example"]:
        """Share of the layers in which two paths have the same neuron.

        Returns
        -------
        array (example, example)
            From 0 to 1; 1 on the diagonal.
        """
        return np.mean([column[:, None] == column for column in self.neurons.T], axis=0)

    def evidence(
        self,
        labels: Any,
        *,
        n: int = 999,
        level: float = 0.95,
        seed: int,
    ) -> Evidence:
        """Whether paths of inputs of one class share more than those of different classes.

        Parameters
        ----------
        labels : sequence, array or Tensor (example,)
            The class of each input.
        n : int
            How often labels are exchanged.
        level : float
            Of the interval.
        seed : int
            Of the exchanges and of the bootstrap over inputs.

        Returns
        -------
        Evidence
            The score is the mean `shared` of pairs within classes less that of pairs between them.

        Raises
        ------
        InvalidArgument
            Another number of labels, or nothing to draw.
        NotIdentifiable
            There are no pairs of one of the two kinds.
        """
        labels = self._checked(labels)
        if n < 1:
            raise InvalidArgument(f"n must be 1 or more, not {n}")
        _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        if len(sizes) < 2 or sizes.max() < 2:
            raise NotIdentifiable(
                "pairs of inputs of one class and of different classes are needed: give at least "
                "two classes, and two inputs of one of them"
            )

        shared = self.shared()
        found = separation(shared, codes.astype(str).tolist(), n=n, seed=derive(seed, "labels"))
        same = codes[:, None] == codes
        within = _moved(shared, same & ~np.eye(len(codes), dtype=bool))
        return Evidence(
            question="class ~ neuron path",
            brain="classes of the inputs",
            model=f"paths through {len(self.layers)} layers",
            score=found.difference,
            null=found.null,
            interval=interval_of_mean(
                found.difference + within - _moved(shared, ~same), level, derive(seed, "inputs")
            ),
            ceiling_reason="how much paths of one class could share is not known",
            method="share of layers with the same neuron, within classes less between them",
            n={"inputs": len(codes), "classes": len(sizes)},
            settings={"n": n, "level": level},
            seed=seed,
            citations=("phipson2010permutation",),
        )

    def _checked(self, labels: Any) -> np.ndarray:
        labels = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
        if labels.shape != (len(self),):
            raise InvalidArgument(f"{len(self)} paths need as many labels, not {labels.shape}")
        return labels


def _moved(
    shared: Float[np.ndarray, "example example"], pairs: Bool[np.ndarray, "example example"]
) -> Float[np.ndarray, " example"]:
    """How far each input moves the mean over these pairs, to first order; 0 on average."""
    n, total = len(shared), pairs.sum()
    mean = shared[pairs].sum() / total
    # It is in a row and in a column: means of rows vary half as much as the mean of all does.
    return 2 * n * ((shared * pairs).sum(1) - mean * pairs.sum(1)) / total
