"""Progress of long work, shown where somebody watches and silent everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = TypeVar("Item")


class progress(Generic[Item]):
    """Show how far a loop or a piece of work is, on stderr.

    Shows nothing when stderr is not a terminal, so that logs and notebooks' outputs stay clean;
    the loop runs the same either way.

    Parameters
    ----------
    items : iterable, optional
        What to loop over. Without it, use the object as a context manager and call `advance`.
    what : str
        A word or two on what is being done.
    total : int, optional
        How many steps there are, where `items` does not know.
    show : bool
        False never shows anything.

    Examples
    --------
    >>> sum(progress([1, 2, 3], "adding"))
    6
    >>> with progress(what="reading", total=2) as bar:
    ...     bar.advance()
    ...     bar.advance()
    """

    def __init__(
        self,
        items: Iterable[Item] | None = None,
        what: str = "working",
        *,
        total: int | None = None,
        show: bool = True,
    ) -> None:
        self.items = items
        self.what = what
        self.total = len(items) if total is None and isinstance(items, Sized) else total
        self.show = show
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> progress[Item]:
        if self.show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

    def __iter__(self) -> Iterator[Item]:
        with self:
            for item in self.items if self.items is not None else ():
                yield item
                self.advance()

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        """Say that some steps are done.

        Parameters
        ----------
        steps : int
            How many.
        note : str, optional
            What to show behind `what` from now on, such as the present loss.
        """
        if self._bar is not None and self._task is not None:
            text = None if note is None else f"{self.what} ({note})"
            self._bar.update(self._task, advance=steps, description=text)
