"""Lateral neurons that learn the subspace of their input with a Hebbian rule."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class HebbianSubspace(nn.Module):
    """Rows H that come to span the subspace in which activity x varies most; old rows stay.

    Oja's subspace rule, Hebbian in y x and anti-Hebbian in y H'y, has the principal subspace as its
    stable fixed point: y = H x, dH = lr y (x - H'y)'. Rows of earlier tasks take part in H'y but do
    not change, so that new rows learn what is left. `project` takes the old subspace out of x: a
    weight change along the rest does not touch answers to old activity.

    Parameters
    ----------
    size : int
        Length of x.
    lr : float
        Step in units of the mean squared length of x, below which the rule is stable.
    momentum : float
        Share of the last change that is kept.
    iterations : int
        Steps for each batch.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    References
    ----------
    Xiao, Meng, Zhang, He and Lin (2024), Hebbian learning based orthogonal projection for continual
    learning of spiking neural networks. Oja (1989), Neural networks, principal components, and
    subspaces.

    Examples
    --------
    >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) @ torch.ones(3, 5)
    >>> space = HebbianSubspace(5)
    >>> space.grow(1, seed=0)
    >>> for _ in range(50):
    ...     space.learn(x)
    >>> round(space.explained(x), 4), space.remaining
    (1.0, 4)
    """

    rows: Tensor
    speed: Tensor
    n_old: Tensor

    def __init__(
        self, size: int, *, lr: float = 1.0, momentum: float = 0.9, iterations: int = 5
    ) -> None:
        super().__init__()
        if size < 1 or iterations < 1 or lr <= 0 or not 0 <= momentum < 1:
            raise InvalidArgument(
                f"size {size} and iterations {iterations} must be 1 or more, lr {lr} positive, "
                f"momentum {momentum} in [0, 1)"
            )
        self.size, self.lr, self.momentum, self.iterations = size, lr, momentum, iterations
        self.register_buffer("rows", torch.zeros(0, size))
        self.register_buffer("speed", torch.zeros(0, size))
        self.register_buffer("n_old", torch.tensor(0))

    @property
    def remaining(self) -> int:
        """How many more rows there is room for."""
        return self.size - len(self.rows)

    @torch.no_grad()
    def grow(self, n: int, *, seed: int) -> None:
        """Begin a new task: all rows so far become old, new ones are drawn orthogonal to them.

        Parameters
        ----------
        n : int
            How many new rows.
        seed : int
            Draws them.

        Raises
        ------
        InvalidArgument
            If so many do not fit.
        """
        if not 0 <= n <= self.remaining:
            raise InvalidArgument(
                f"{n} rows do not fit: {len(self.rows)} of {self.size} dimensions are taken; a new "
                "task would have nothing left to learn with"
            )
        old = len(self.rows)
        rng = spawn_torch(seed, "HebbianSubspace", old)
        drawn = torch.randn(n, self.size, generator=rng).to(self.rows)
        both = torch.cat([self.rows, drawn]).double()
        # The first rows are orthonormal but for what the rule left over; the QR keeps their span.
        new = torch.linalg.qr(both.T).Q.T[old:].to(self.rows)
        self.rows = torch.cat([self.rows, new])
        self.speed = torch.zeros_like(self.rows)
        self.n_old.fill_(old)

    @torch.no_grad()
    def learn(self, x: Float[Tensor, "*batch size"]) -> None:
        """Let the new rows learn from activity.

        Parameters
        ----------
        x : Tensor
            Activity; all but the last dimension are examples.

        Raises
        ------
        InvalidArgument
            If it has another length, or is not finite.
        """
        x = self._checked(x)
        power = x.square().sum(1).mean()
        if len(self.rows) == self.n_old or power == 0:
            return
        for _ in range(self.iterations):
            y = x @ self.rows.T
            change = y.T @ (x - y @ self.rows) / (len(x) * power)
            change[: self.n_old] = 0
            self.speed = self.momentum * self.speed + (1 - self.momentum) * change
            self.rows = self.rows + self.lr * self.speed

    def project(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Activity without its part in the subspace of old tasks.

        Parameters
        ----------
        x : Tensor
            Activity.

        Returns
        -------
        Tensor
            x - H'Hx, with the old rows.
        """
        old = self.rows[: int(self.n_old)]
        return x - x @ old.T @ old

    @torch.no_grad()
    def explained(self, x: Float[Tensor, "*batch size"]) -> float:
        """Share of the power of activity that all rows hold.

        Parameters
        ----------
        x : Tensor
            Activity.

        Returns
        -------
        float
            1 - |x - H'Hx|^2 / |x|^2; 1 for silence.

        Raises
        ------
        InvalidArgument
            If it has another length, or is not finite.
        """
        x = self._checked(x)
        rest = x - x @ self.rows.T @ self.rows
        power = x.square().sum()
        return float(1 - rest.square().sum() / power) if power > 0 else 1.0

    @torch.no_grad()
    def rows_needed(self, x: Float[Tensor, "*batch size"], share: float) -> int:
        """How many more rows could hold a share of the power of activity.

        Parameters
        ----------
        x : Tensor
            Activity of the new task.
        share : float
            Wanted share, in (0, 1].

        Returns
        -------
        int
            Number of principal directions of what the rows so far leave.

        Raises
        ------
        InvalidArgument
            If the share is out of range, or activity is not finite.
        """
        if not 0 < share <= 1:
            raise InvalidArgument(f"share must be in (0, 1], not {share}")
        x = self._checked(x)
        rest = x - x @ self.rows.T @ self.rows
        whole, left = x.square().sum(), rest.square().sum()
        allowed = (1 - share) * whole + 1e-6 * whole
        if left <= allowed:
            return 0
        missing = left - torch.linalg.svdvals(rest).square().cumsum(0)
        return int((missing > allowed).sum()) + 1

    def _checked(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.size or not x.numel():
            raise InvalidArgument(
                f"activity of shape {tuple(x.shape)} is not one of {self.size} units"
            )
        if not torch.isfinite(x).all():
            raise InvalidArgument("activity is not finite")
        return x.detach().reshape(-1, self.size).to(self.rows)
