"""Behaviour read from what a decoder of spikes makes of each window."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.population._spike_decoder import SpikeDecoder
from bregma.run import derive, private_randomness


class BehaviourReadout(nn.Module):
    """A linear head on a decoder of spikes; trained with it, a pretrained decoder is fine-tuned.

    Parameters
    ----------
    decoder : SpikeDecoder
        Held, not copied: training the readout changes it, unless its parameters need no gradient.
    n_outputs : int
        Variables such as speed and position of the eye.
    seed : int
        Of the first weights of the head.

    Raises
    ------
    InvalidArgument
        No output.

    References
    ----------
    Antoniades et al. (2024), Neuroformer. arXiv:2311.00136.
    """

    def __init__(self, decoder: SpikeDecoder, n_outputs: int = 1, *, seed: int = 0) -> None:
        super().__init__()
        if n_outputs < 1:
            raise InvalidArgument(f"n_outputs must be 1 or more, not {n_outputs}")
        self.decoder = decoder
        with private_randomness(derive(seed, "BehaviourReadout")):
            self.head = nn.Linear(decoder.width, n_outputs)

    def forward(
        self,
        tokens: Int[Tensor, "window token"],
        past: Int[Tensor, "window key"],
        modalities: Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, "window output"]:
        """Predict each window's behaviour.

        Parameters
        ----------
        tokens, past : Int[Tensor, "window token"]
            As in `SpikeWindows`.
        modalities : mapping of str to Tensor
            What each module of the decoder takes.

        Returns
        -------
        Float[Tensor, "window output"]
            Minus the true values, squared: the loss to train with.
        """
        return self.head(self.decoder(tokens, past, modalities))
