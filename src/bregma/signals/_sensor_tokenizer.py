"""EEG or MEG of any layout into the tokens of a fixed number of latent sources, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

from bregma.errors import InvalidArgument
from bregma.run import derive, private_randomness
from bregma.signals._residual_vq import ResidualVQ
from bregma.signals._seanet import SEANetDecoder, SEANetEncoder
from bregma.signals._sensor_encoder import SensorEncoder
from bregma.signals._sensors import Sensors

SHARP = 2.3  # gain of the first keys: nearly even attention to all sensors averages them to 0


class Reconstruction(NamedTuple):
    """What a tokenizer makes of windows.

    Parameters
    ----------
    waves : Tensor (window, sensor, time)
        Standardised waveforms at the sensors that were asked for.
    codes : Tensor (window, source, token, level)
        Numbers of codes.
    commitment : Tensor ()
        Mean squared distance of vectors to their codes.
    """

    waves: Tensor
    codes: Tensor
    commitment: Tensor


class SensorTokenizer(nn.Module):
    """Tokens of latent sources from any sensors, and waveforms at any sensors from those tokens.

    Each sensor's waveform is encoded by the same convolutions. Learned source vectors attend to
    the sensors, by signal and geometry (the inverse problem); residual vector quantisation makes
    tokens of the sources; sensor vectors attend to the sources (the forward problem), and the same
    deconvolutions for all sensors give waveforms. The order and number of sensors do not matter.

    Parameters
    ----------
    width : int
        Length of all vectors.
    n_sources : int
        Latent sources.
    n_heads : int
        Of both attentions; divides the width.
    n_filters : int
        Of the convolutions (see `SEANetEncoder`).
    strides : sequence of int
        Of the convolutions; their product is the number of samples per token.
    n_levels, n_codes : int
        Of the residual quantisation (see `ResidualVQ`).
    decay : float
        Of the running means of its codebooks; lower for short training.
    seed : int
        Draws the first weights.

    Raises
    ------
    InvalidArgument
        Sizes that do not fit.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.

    Examples
    --------
    >>> from bregma.datasets import eeg_layout
    >>> cap, denser = (Sensors.of_table(eeg_layout(n)) for n in (19, 64))
    >>> tokenizer = SensorTokenizer(seed=0)
    >>> made = tokenizer(torch.randn(2, 19, 64), cap, denser)
    >>> made.codes.shape, made.waves.shape
    (torch.Size([2, 8, 8, 4]), torch.Size([2, 64, 64]))
    """

    def __init__(
        self,
        width: int = 64,
        *,
        n_sources: int = 8,
        n_heads: int = 4,
        n_filters: int = 8,
        strides: Sequence[int] = (2, 2, 2),
        n_levels: int = 4,
        n_codes: int = 64,
        decay: float = 0.99,
        seed: int,
    ) -> None:
        super().__init__()
        if n_sources < 1 or n_heads < 1 or width % (2 * n_heads):
            raise InvalidArgument(
                f"n_sources and n_heads must be 1 or more and 2 n_heads divide the width, not "
                f"{n_sources}, {n_heads} and {width}"
            )
        self.n_heads = n_heads
        with private_randomness(derive(seed, "SensorTokenizer")):
            self.sensors = SensorEncoder(width)
            self.encoder = SEANetEncoder(width, n_filters=n_filters, strides=strides)
            self.sources = nn.Parameter(torch.randn(n_sources, width))
            self.key, self.value = nn.Linear(width, width), nn.Linear(width, width, bias=False)
            # Without constants: sources have length 1 and would be all constant at first.
            self.gather = nn.Linear(width, width, bias=False)
            self.quantizer = ResidualVQ(n_levels, n_codes, width, decay=decay)
            self.source_key, self.source_value = nn.Linear(width, width), nn.Linear(width, width)
            self.spread = nn.Linear(width, width)
            self.decoder = SEANetDecoder(width, n_filters=n_filters, strides=strides)
            for layer in (self.key, self.source_key):
                nn.init.normal_(layer.weight, std=SHARP * width**-0.5)

    def forward(
        self,
        x: Float[Tensor, "window sensor time"],
        sensors: Sensors,
        at: Sensors | None = None,
    ) -> Reconstruction:
        """Tokens of windows, and what they say of some sensors.

        Parameters
        ----------
        x : Tensor (window, sensor, time)
            See `sensor_windows`.
        sensors : Sensors
            That measured x.
        at : Sensors, optional
            Where to reconstruct; where it was measured unless given.

        Returns
        -------
        Reconstruction
            Waveforms and codes.

        Raises
        ------
        InvalidArgument
            If x does not fit the sensors or is not finite.
        """
        found = self.quantizer(self.encode(x, sensors))
        waves = self.decode(found.values, sensors if at is None else at)
        return Reconstruction(waves, found.codes, found.commitment)

    def encode(
        self, x: Float[Tensor, "window sensor time"], sensors: Sensors
    ) -> Float[Tensor, "window source token width"]:
        """Vectors of the sources, of length 1, before they are quantised.

        Parameters
        ----------
        x : Tensor (window, sensor, time)
            See `sensor_windows`.
        sensors : Sensors
            That measured x.

        Returns
        -------
        Tensor (window, source, token, width)
            Vectors.

        Raises
        ------
        InvalidArgument
            If x does not fit the sensors or is not finite.
        """
        if x.ndim != 3 or x.shape[1] != len(sensors) or not len(x):
            raise InvalidArgument(
                f"x must be (window, {len(sensors)}, time) for {len(sensors)} sensors, not "
                f"{tuple(x.shape)}"
            )
        if not torch.isfinite(x).all():
            raise InvalidArgument("x holds NaN or infinite values")
        windows, n, _ = x.shape
        u = self.encoder(x.reshape(windows * n, 1, -1))  # (window * sensor, width, token)
        u = u.unflatten(0, (windows, n)).permute(0, 3, 1, 2)  # (window, token, sensor, width)
        keys = self.key(u + self.sensors(sensors))
        z = self.gather(self._attend(self.sources, keys, self.value(u)))
        return normalize(z.transpose(1, 2), dim=-1)

    def decode(
        self, z: Float[Tensor, "window source token width"], at: Sensors
    ) -> Float[Tensor, "window sensor time"]:
        """Standardised waveforms at some sensors.

        Parameters
        ----------
        z : Tensor (window, source, token, width)
            Quantised vectors of the sources.
        at : Sensors
            Where.

        Returns
        -------
        Tensor (window, sensor, time)
            Waveforms.
        """
        z = z.transpose(1, 2) * z.shape[-1] ** 0.5  # (window, token, source, width), RMS 1
        u = self.spread(self._attend(self.sensors(at), self.source_key(z), self.source_value(z)))
        waves = self.decoder(u.permute(0, 2, 3, 1).flatten(0, 1))
        return waves.reshape(len(z), len(at), -1)

    @torch.no_grad()
    def tokens(
        self, x: Float[Tensor, "window sensor time"], sensors: Sensors
    ) -> Int[Tensor, "window source token level"]:
        """Numbers of codes, for use once the tokenizer is trained; call `eval` first.

        Parameters
        ----------
        x : Tensor (window, sensor, time)
            See `sensor_windows`.
        sensors : Sensors
            That measured x.

        Returns
        -------
        Tensor (window, source, token, level)
            Codes; ``quantizer.values`` gives their vectors.
        """
        return self.quantizer(self.encode(x, sensors)).codes

    def _attend(
        self,
        queries: Float[Tensor, "query width"],
        keys: Float[Tensor, "window token key width"],
        values: Float[Tensor, "window token key width"],
    ) -> Float[Tensor, "window token query width"]:
        """Attention of the same queries at every token."""
        windows, tokens = keys.shape[:2]
        queries = queries.expand(windows * tokens, *queries.shape)
        q, k, v = (
            y.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for y in (queries, keys.flatten(0, 1), values.flatten(0, 1))
        )
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return mixed.unflatten(0, (windows, tokens))
