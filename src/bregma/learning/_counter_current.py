"""Two networks in opposite directions that teach each other, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class CounterCurrent(nn.Module):
    """A network, and one from labels back towards the input, that learn from each other locally.

    Forward a_l = f(W_l a_{l-1} + b_l), backward s_{l-1} = f(V_l s_l + c_l) from the labels of all
    classes at once. At each hidden layer the cosine between activity and what a label sends back
    has to be 1 for the own class, else 0; the top has cross-entropy. What goes into a layer is
    detached, forward and backward, so that every weight has a gradient of its own layer only: no
    error is transported, and V is not W'. (Cosines, as in the paper's convolutional networks, need
    no clipping of gradients; products do.)

    Parameters
    ----------
    sizes : sequence of int
        Units of the input, each hidden layer and the classes.
    weight : float
        Of the local losses beside the cross-entropy.
    seed : int
        Draws both networks.

    Raises
    ------
    InvalidArgument
        If there is no hidden layer, or a size below 1.

    References
    ----------
    Kao and Hariharan (2024), Counter-current learning: a biologically plausible dual network
    approach for deep learning.

    Examples
    --------
    >>> net = CounterCurrent([4, 8, 8, 3], seed=0)
    >>> x, y = torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    >>> net(x).shape
    torch.Size([5, 3])
    >>> net.loss(x, y).backward()
    """

    def __init__(self, sizes: Sequence[int], *, weight: float = 5.0, seed: int) -> None:
        super().__init__()
        if len(sizes) < 3 or min(sizes) < 1:
            raise InvalidArgument(
                f"sizes {list(sizes)} need an input, a hidden layer and classes, each of 1 or more"
            )
        self.sizes, self.weight = tuple(sizes), weight
        below, above = self.sizes[:-1], self.sizes[1:]
        self.ahead = nn.ModuleList(nn.Linear(a, b) for a, b in zip(below, above, strict=True))
        # Layer l of `back` leads from layer l + 1 down to layer l; the input needs none.
        self.back = nn.ModuleList(
            nn.Linear(b, a) for a, b in zip(below[1:], above[1:], strict=True)
        )
        rng = spawn_torch(seed, "CounterCurrent")
        with torch.no_grad():
            for layer in (*self.ahead, *self.back):
                for p in layer.parameters():
                    p.uniform_(-1, 1, generator=rng).mul_(layer.in_features**-0.5)

    def forward(self, x: Float[Tensor, "example input"]) -> Float[Tensor, "example class"]:
        """Scores of the classes.

        Parameters
        ----------
        x : Tensor
            Input.

        Returns
        -------
        Tensor
            Scores.
        """
        return self.activities(x)[-1]

    def activities(self, x: Float[Tensor, "example input"]) -> list[Tensor]:
        """Activity of the hidden layers, and the scores; nothing flows back between them.

        Parameters
        ----------
        x : Tensor
            Input.

        Returns
        -------
        list of Tensor
            Each (example, unit).
        """
        found, a = [], x
        for layer in self.ahead[:-1]:
            a = F.elu(layer(a.detach()))
            found.append(a)
        return [*found, self.ahead[-1](a.detach())]

    def signals(self) -> list[Tensor]:
        """What the label of each class sends back to the hidden layers.

        Returns
        -------
        list of Tensor
            Each (class, unit), in the order of the layers.
        """
        like = next(self.parameters())
        s = torch.eye(self.sizes[-1], dtype=like.dtype, device=like.device)
        found = []
        for layer in reversed(self.back):
            s = F.elu(layer(s.detach()))
            found.append(s)
        return found[::-1]

    def losses(
        self, x: Float[Tensor, "example input"], classes: Int[Tensor, " example"]
    ) -> list[Tensor]:
        """The loss of each layer.

        Parameters
        ----------
        x : Tensor
            Input.
        classes : Tensor
            Class of each example.

        Returns
        -------
        list of Tensor
            Mean squared error of the cosines at each hidden layer; cross-entropy at the top.

        Raises
        ------
        InvalidArgument
            If shapes do not fit, a class does not exist, or an input is not finite.
        """
        if x.ndim != 2 or x.shape[1] != self.sizes[0] or classes.shape != x.shape[:1] or not len(x):
            raise InvalidArgument(
                f"inputs {tuple(x.shape)} and classes {tuple(classes.shape)} do not fit "
                f"{self.sizes[0]} inputs; one class for each example"
            )
        if not torch.isfinite(x).all():
            raise InvalidArgument("the input is not finite")
        if classes.min() < 0 or classes.max() >= self.sizes[-1]:
            raise InvalidArgument(f"classes are 0 to {self.sizes[-1] - 1}")
        *hidden, scores = self.activities(x)
        own = F.one_hot(classes, self.sizes[-1]).to(scores)
        local = [
            F.mse_loss(F.normalize(a, dim=1) @ F.normalize(s, dim=1).T, own)
            for a, s in zip(hidden, self.signals(), strict=True)
        ]
        return [*local, F.cross_entropy(scores, classes)]

    def loss(
        self, x: Float[Tensor, "example input"], classes: Int[Tensor, " example"]
    ) -> Float[Tensor, ""]:
        """What both networks descend.

        Parameters
        ----------
        x : Tensor
            Input.
        classes : Tensor
            Class of each example.

        Returns
        -------
        Tensor
            Cross-entropy of the top and `weight` times the losses of the hidden layers.
        """
        *local, top = self.losses(x, classes)
        return top + self.weight * torch.stack(local).sum()
