"""The parts of a step of a TopK dictionary that a CPU and a GPU do each in its own way."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

SLICE = 1024  # samples that are multiplied with all features at once


class Hits(NamedTuple):
    """Features that are on, sorted by feature.

    Parameters
    ----------
    starts : Tensor (feature + 1,)
        Where the hits of each feature begin; at the end, how many there are.
    samples, values, slopes : Tensor (hit,)
        Sample, value and the derivative of the loss by it; what is behind the last hit is unused.
    sums : Tensor (feature,)
        Sum of the slopes of each feature.
    """

    starts: Int[Tensor, " place"]
    samples: Int[Tensor, " hit"]
    values: Float[Tensor, " hit"]
    slopes: Float[Tensor, " hit"]
    sums: Float[Tensor, " feature"]


class Adam(NamedTuple):
    """Moments of a parameter, and beta1, beta2, rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), eps.

    Parameters
    ----------
    mean, square : Tensor (as the parameter)
        First and second moment.
    settings : tuple of float
        The five numbers.
    """

    mean: Tensor
    square: Tensor
    settings: tuple[float, float, float, float, float]


@runtime_checkable
class Work(Protocol):
    """The parts of a step."""

    def select(
        self,
        x: Float[Tensor, "sample input"],
        weight: Float[Tensor, "feature input"],
        bias: Float[Tensor, " feature"],
        k: int,
        half: bool,
    ) -> tuple[Int[Tensor, "sample k"], Float[Tensor, "sample k"]]:
        """The k features of each sample that are on, and their values.

        Parameters
        ----------
        x : Tensor (sample, input)
            What is encoded.
        weight, bias : Tensor (feature, input) and (feature,)
            The encoder.
        k : int
            How many.
        half : bool
            Whether they are chosen in bfloat16; values are float32 anyway.

        Returns
        -------
        (Tensor, Tensor) (sample, k)
            Index and value; a value of 0 is a feature that is not on.
        """

    def residuals(
        self,
        decoder: Float[Tensor, "feature output"],
        bias: Float[Tensor, " output"],
        y: Float[Tensor, "sample output"],
        index: Int[Tensor, "sample k"],
        value: Float[Tensor, "sample k"],
    ) -> tuple[Float[Tensor, "sample output"], Float[Tensor, "sample k"], Float[Tensor, " sample"]]:
        """Derivatives of the mean squared error by outputs and by values, and squared errors.

        Parameters
        ----------
        decoder, bias : Tensor (feature, output) and (output,)
            The dictionary.
        y : Tensor (sample, output)
            What it should give.
        index, value : Tensor (sample, k)
            As from `select`.

        Returns
        -------
        (Tensor, Tensor, Tensor) (sample, output), (sample, k), (sample,)
            All three.
        """

    def by_feature(
        self,
        index: Int[Tensor, "sample k"],
        value: Float[Tensor, "sample k"],
        slope: Float[Tensor, "sample k"],
        n_features: int,
    ) -> Hits:
        """Sort what is on by feature, and keep the order of samples.

        Parameters
        ----------
        index, value, slope : Tensor (sample, k)
            Features, values and derivatives by values.
        n_features : int
            How many features there are.

        Returns
        -------
        Hits
            By feature.
        """

    def adam_rows(
        self,
        hits: Hits,
        factors: Float[Tensor, " hit"],
        vectors: Float[Tensor, "sample number"],
        weight: Float[Tensor, "feature number"],
        adam: Adam,
        unit_length: bool,
    ) -> None:
        """A step of Adam for each row: its gradient is the sum of its hits' factors times vectors.

        Parameters
        ----------
        hits : Hits
            Which samples count for which row.
        factors : Tensor (hit,)
            By how much.
        vectors : Tensor (sample, number)
            One for each sample.
        weight : Tensor (feature, number)
            What is changed, in place, as are the moments.
        adam : Adam
            Moments and settings.
        unit_length : bool
            Whether rows get the length 1 afterwards.
        """
