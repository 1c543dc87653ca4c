"""The patch tokens of a vision model, laid out as they were in the image."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run._evaluating import evaluating


@torch.no_grad()
def patch_tokens(
    model: nn.Module,
    images: Float[Tensor, "image channel row column"],
    *,
    layer: int | None = None,
    batch_size: int = 32,
) -> tuple[Float[Tensor, "image token width"], tuple[int, int]]:
    """Tokens of a vision transformer (or places of a convolutional network) and their grid.

    Class and register tokens are left out.

    Parameters
    ----------
    model : torch.nn.Module
        A model of timm, or of transformers (ViT, DINOv2, DINOv3, CLIP's vision model, ...).
    images : Float[Tensor, "image channel row column"]
        Images as the model wants them (see its preprocessing), on its device.
    layer : int, optional
        Which block, counted from 0 or, if negative, from the end; what comes out of the block, as
        it is. By default what comes out of the model, normalised as it does.
    batch_size : int
        Images at a time.

    Returns
    -------
    tokens : Float[Tensor, "image token width"]
        Row by row, on the CPU.
    grid : tuple of int
        Rows and columns.

    Raises
    ------
    InvalidArgument
        If there are no images, the model is of neither library, has no such layer, or gives fewer
        tokens than there are patches (transformers' Swin merges them; timm's is read).

    Examples
    --------
    >>> from bregma.system import load
    >>> model = load("timm:test_vit", untrained=True).module
    >>> tokens, grid = patch_tokens(model, torch.zeros(2, 3, 160, 160))
    >>> tokens.shape, grid
    (torch.Size([2, 100, 64]), (10, 10))
    """
    if not len(images) or batch_size < 1:
        raise InvalidArgument(f"nothing to do: {len(images)} images, {batch_size} at a time")
    if hasattr(model, "forward_features") and hasattr(model, "forward_intermediates"):
        read = _of_timm
    elif hasattr(getattr(model, "config", None), "hidden_size"):
        read = _of_transformers
    else:
        raise InvalidArgument(
            f"{type(model).__name__} is no vision model of timm or transformers; make tokens "
            "(image, token, width) with code of your own, row by row and without class tokens"
        )
    with evaluating(model):
        parts = [read(model, part, layer) for part in images.split(batch_size)]
    tokens = torch.cat([part.cpu() for part, _ in parts])
    return tokens, parts[0][1]


def _of_timm(model: Any, images: Tensor, layer: int | None) -> tuple[Tensor, tuple[int, int]]:
    if layer is not None:
        try:
            (found,) = model.forward_intermediates(
                images, indices=[layer], norm=False, output_fmt="NCHW", intermediates_only=True
            )
        except (AssertionError, IndexError) as error:
            raise InvalidArgument(f"the model has no layer {layer}: {error}") from error
        return _row_by_row(found)
    found = model.forward_features(images)
    if found.ndim == 4:  # a convolutional network, or Swin, which has the width last
        last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return _row_by_row(found.movedim(3, 1) if last else found)
    return _without_prefix(found, images, model.patch_embed.patch_size)


def _of_transformers(
    model: Any, images: Tensor, layer: int | None
) -> tuple[Tensor, tuple[int, int]]:
    out = model(pixel_values=images, output_hidden_states=layer is not None)
    found = out.last_hidden_state
    if layer is not None:
        blocks = out.hidden_states[1:]  # the first one is what goes into the first block
        if not -len(blocks) <= layer < len(blocks):
            raise InvalidArgument(f"the model has no layer {layer}: it has {len(blocks)}")
        found = blocks[layer]
    if found.ndim == 4:
        return _row_by_row(found)
    return _without_prefix(found, images, model.config.patch_size)


def _row_by_row(found: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """From (image, width, row, column)."""
    return found.flatten(2).transpose(1, 2), (found.shape[2], found.shape[3])


def _without_prefix(found: Tensor, images: Tensor, patch: Any) -> tuple[Tensor, tuple[int, int]]:
    """Patches come last, behind class and register tokens."""
    height, width = (patch, patch) if isinstance(patch, int) else patch
    grid = (images.shape[2] // height, images.shape[3] // width)
    n = grid[0] * grid[1]
    if found.shape[1] < n:
        raise InvalidArgument(
            f"the model gives {found.shape[1]} tokens for {grid[0]} x {grid[1]} patches: "
            "where they lie in the image is not known"
        )
    return found[:, -n:], grid
