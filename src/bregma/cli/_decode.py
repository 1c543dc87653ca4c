"""`bregma compare BRAIN --by decoding`: when can the conditions of epochs be told apart?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bregma.errors import InvalidArgument

if TYPE_CHECKING:
    from bregma.geometry import Decoding

MARKED = 12  # rows of the table in the terminal


def decode(
    data: Any,
    *,
    distance: str | None,
    n_permutations: int,
    level: float,
    seed: int,
    report: Path | None,
    out: Path | None,
) -> None:
    """Decode the stimulus of each presentation over time, print the result and write it."""
    from bregma import Recording
    from bregma._files import atomic_write_text
    from bregma.cli._show import say, show, written
    from bregma.geometry import decode_over_time
    from bregma.report import decoding_html

    if not isinstance(data, Recording):
        raise InvalidArgument(f"decoding needs a recording of epochs, and this is {data!r}")
    if data.n_presentations == 1:
        raise InvalidArgument(
            "decoding needs epochs, and this recording is in one piece: cut it around events with "
            "--events NAME --window START:STOP"
        )
    if distance not in (None, "crossnobis"):
        raise InvalidArgument(
            f"--distance {distance}: decoding gives an accuracy, or --distance crossnobis"
        )
    found = decode_over_time(
        data,
        method="lda" if distance is None else "crossnobis",
        n_permutations=n_permutations,
        level=level,
        seed=seed,
    )
    if report is not None:  # before anything is printed: who reads that may leave early
        decoding_html(found, path=report)
    if out is not None:
        atomic_write_text(out, found.to_json())
    show(_table(found))
    if len(found.times) > MARKED:
        say(f"These are the {MARKED} best of {len(found.times)} times.")
    say()
    say(found.sentence)
    written(report=report, decoding=out)


def _table(found: Decoding) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("time (s)", "score", "band of chance", "p", "p (corrected)"):
        table.add_column(column, justify="right")
    for row in found.to_frame().nlargest(MARKED, "score").sort_values("time").itertuples():
        table.add_row(
            f"{row.time:.3f}",
            f"{row.score:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            f"{row.p_pointwise:.3g}",
            f"{row.p_value:.3g}",
        )
    return table
