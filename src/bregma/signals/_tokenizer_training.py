"""Training a tokenizer of sensors: some sensors are hidden, and all are to be reconstructed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.signals._sensor_tokenizer import SensorTokenizer
from bregma.signals._sensors import Sensors
from bregma.signals._waveform_loss import waveform_correlation, waveform_loss


class HiddenSensors(NamedTuple):
    """Windows of one layout, some of whose sensors the tokenizer does not see.

    Parameters
    ----------
    seen : Tensor (window, seen sensor, time)
        What goes in, with noise.
    seen_sensors : Sensors
        Those that go in.
    waves : Tensor (window, sensor, time)
        What has to come out.
    sensors : Sensors
        All of them.
    """

    seen: Tensor
    seen_sensors: Sensors
    waves: Tensor
    sensors: Sensors


def hidden_sensor_batches(
    layouts: Sequence[tuple[Tensor, Sensors]],
    *,
    size: int,
    hidden: float = 0.25,
    noise: float = 0.1,
) -> Callable[[torch.Generator], Iterator[HiddenSensors]]:
    """Batches for `bregma.run.fit`: a layout at a time, with other sensors hidden each time.

    Without hidden sensors a tokenizer learns to copy its input, and nothing of space.

    Parameters
    ----------
    layouts : sequence of (Tensor (window, sensor, time), Sensors)
        Windows and sensors of each layout.
    size : int
        Windows in a batch.
    hidden : float
        Share of sensors that is hidden, at least one of them.
    noise : float
        SD of the noise that is added to what is seen.

    Returns
    -------
    callable
        Given a generator, one epoch over all layouts in random order.

    Raises
    ------
    InvalidArgument
        If there is no layout, one of fewer than two sensors, or a number is out of range.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.
    """
    if not layouts or size < 1 or not 0 <= hidden < 1 or noise < 0:
        raise InvalidArgument(
            "give one layout or more, size 1 or more, hidden from 0 to below 1 and noise 0 or more"
        )
    for x, sensors in layouts:
        if x.ndim != 3 or x.shape[1] != len(sensors) or len(sensors) < 2:
            raise InvalidArgument(
                f"windows of the shape {tuple(x.shape)} do not fit {len(sensors)} sensors, of "
                "which there must be two or more"
            )

    def epoch(generator: torch.Generator) -> Iterator[HiddenSensors]:
        parts = [
            (x, sensors, rows)
            for x, sensors in layouts
            for rows in torch.randperm(len(x), generator=generator).split(size)
        ]
        for number in torch.randperm(len(parts), generator=generator).tolist():
            x, sensors, rows = parts[number]
            shown = torch.randperm(len(sensors), generator=generator)
            shown = shown[max(int(hidden * len(sensors)), 1) :].to(x.device)
            waves = x[rows.to(x.device)]
            added = torch.randn(len(rows), len(shown), x.shape[2], generator=generator)
            seen = waves[:, shown] + noise * added.to(x)
            yield HiddenSensors(seen, sensors[shown], waves, sensors)

    return epoch


def tokenizer_loss(tokenizer: nn.Module, batch: HiddenSensors) -> Tensor:
    """Loss of the reconstruction at all sensors, seen and hidden, plus the commitment to codes.

    Parameters
    ----------
    tokenizer : Module
        Such as `SensorTokenizer`.
    batch : HiddenSensors
        Of `hidden_sensor_batches`.

    Returns
    -------
    Tensor ()
        The loss.
    """
    made = tokenizer(batch.seen, batch.seen_sensors, batch.sensors)
    return waveform_loss(made.waves, batch.waves) + made.commitment


@torch.no_grad()
def hidden_sensor_correlation(
    tokenizer: SensorTokenizer,
    x: Float[Tensor, "window sensor time"],
    sensors: Sensors,
    hidden: Bool[Tensor, " sensor"],
    *,
    n_levels: int | None = None,
) -> float:
    """Correlation of hidden sensors with what the tokens of the others say of them.

    Parameters
    ----------
    tokenizer : SensorTokenizer
        In evaluation mode.
    x : Tensor (window, sensor, time)
        Windows.
    sensors : Sensors
        All sensors, as the tokenizer is to know them.
    hidden : Tensor (sensor)
        Which ones it does not see.
    n_levels : int, optional
        How many levels of the codes to use; all unless given.

    Returns
    -------
    float
        Mean over windows and hidden sensors.

    Raises
    ------
    InvalidArgument
        If all sensors are hidden, or none is.
    """
    if hidden.all() or not hidden.any():
        raise InvalidArgument("hide some of the sensors, neither all nor none of them")
    codes = tokenizer.tokens(x[:, ~hidden], sensors[~hidden])[..., :n_levels]
    waves = tokenizer.decode(tokenizer.quantizer.values(codes), sensors[hidden])
    return float(waveform_correlation(waves, x[:, hidden]).mean())
