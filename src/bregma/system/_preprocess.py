"""From stimuli to what a network is called with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from bregma.errors import InvalidArgument
from bregma.recording import Stimuli


@dataclass(frozen=True)
class ImageInput:
    """Images as tensors between 0 and 1.

    Parameters
    ----------
    size : (rows, columns), optional
        Resize to this; without it all images must have one size.
    mean, std : tuple of float, optional
        Subtract and divide by these, one for each colour.
    grey : bool
        Give the luminance (Rec. 709 weights) as the only channel.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    grey: bool = False

    def __call__(self, stimuli: Stimuli) -> Float[torch.Tensor, "stimulus channel row column"]:
        """Make tensors of images.

        Parameters
        ----------
        stimuli : Stimuli
            Images.

        Returns
        -------
        torch.Tensor
            Shape (stimulus, channel, row, column), float32.

        Raises
        ------
        InvalidArgument
            The stimuli are no images.
        """
        if stimuli.kind != "image":
            raise InvalidArgument(
                f"this system looks at images, and was shown arrays of shape "
                f"{stimuli.array().shape[1:]}; where they are images, say so: "
                "Stimuli(array, kind='image')"
            )
        pixels = torch.from_numpy(stimuli.images(self.size)).permute(0, 3, 1, 2)
        return self.normalised(pixels.to(torch.float32).contiguous() / 255)

    def normalised(
        self, images: Float[torch.Tensor, "image colour row column"]
    ) -> Float[torch.Tensor, "image channel row column"]:
        """Mean, standard deviation and luminance of images that have their size; with gradients.

        Parameters
        ----------
        images : torch.Tensor
            Shape (image, colour, row, column), between 0 and 1.

        Returns
        -------
        torch.Tensor
            Shape (image, channel, row, column).
        """
        if self.mean is not None:
            images = images - images.new_tensor(self.mean)[:, None, None]
        if self.std is not None:
            images = images / images.new_tensor(self.std)[:, None, None]
        if self.grey:
            weights = images.new_tensor([0.2126, 0.7152, 0.0722])
            images = torch.einsum("nchw,c->nhw", images, weights)[:, None]
        return images


def default_preprocess(stimuli: Stimuli) -> torch.Tensor:
    """Images become float32 (stimulus, channel, row, column) in [0, 1]; arrays stay as they are.

    Parameters
    ----------
    stimuli : Stimuli
        Images of one size, or arrays.

    Returns
    -------
    torch.Tensor
        Memory of its own, so that a network that writes to its input does no harm.
    """
    if stimuli.kind == "image":
        return ImageInput()(stimuli)
    array = stimuli.array()
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def as_stimuli(stimuli: Any) -> Stimuli:
    """Stimuli of what was given: of arrays and image files as `Stimuli` does, tensors as arrays.

    Parameters
    ----------
    stimuli : Stimuli, array, torch.Tensor or list of image files
        What to show.

    Returns
    -------
    Stimuli
        The same.
    """
    if isinstance(stimuli, Stimuli):
        return stimuli
    return Stimuli(stimuli, kind="array" if isinstance(stimuli, torch.Tensor) else None)


def as_call(inputs: Any, module: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a call: a tuple are several, a dict are named ones.

    Parameters
    ----------
    inputs : torch.Tensor, tuple or dict
        What preprocessing gave.
    module : torch.nn.Module
        Floating-point tensors are brought to its device and, where they differ from it, to its
        precision; others to its device.

    Returns
    -------
    (tuple, dict)
        Positional and named arguments.
    """
    tensors = (*module.parameters(), *module.buffers())
    weight = next((tensor for tensor in tensors if tensor.is_floating_point()), None)

    def fitted(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or weight is None:
            return value
        return value.to(weight.device, weight.dtype if value.is_floating_point() else None)

    if isinstance(inputs, dict):
        return (), {key: fitted(value) for key, value in inputs.items()}
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return tuple(fitted(value) for value in inputs), {}
