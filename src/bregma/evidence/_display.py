"""Evidence in a terminal and in a notebook."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ._evidence import Evidence
    from ._set import EvidenceSet


def p_text(p: float) -> str:
    """A p-value for reading: ``p = 0.012`` or ``p < 0.0001``."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def count_text(count: float) -> str:
    """A number of arrangements for reading."""
    if math.isinf(count):
        return "unlimited"
    return f"{count:.3g}" if count >= 1e6 else f"{count:,.0f}"


def one_line(evidence: Evidence) -> str:
    """Everything that matters about one score, in one line."""
    e = evidence
    parts = [
        f"{e.question}: {e.score:.3f} "
        f"[{e.interval.low:.3f}, {e.interval.high:.3f}] at {e.interval.level:.0%}",
        p_text(e.p_value),
    ]
    if e.ceiling:
        parts.append(f"ceiling {e.ceiling.lower:.3f} to {e.ceiling.upper:.3f}")
    if e.normalised is not None:
        parts.append(f"{e.normalised:.0%} of the lower ceiling")
    return ", ".join(parts)


def _cell(value: Any) -> str:
    if value is pd.NA or value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def rich_evidence(evidence: Evidence) -> RenderableType:
    """A panel with the score and all that makes it evidence."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    e, table = evidence, Table.grid(padding=(0, 2))
    low, high = e.interval.low, e.interval.high
    rows = {
        "score": f"{e.score:.4g}  [{low:.4g}, {high:.4g}] at {e.interval.level:.0%}",
        "p": f"{p_text(e.p_value)} ({e.null.values.size:,} draws of "
        f"{count_text(e.null.n_arrangements)} arrangements)",
        "exchanged": e.null.exchanged,
    }
    if e.ceiling:
        rows["ceiling"] = f"{e.ceiling.lower:.4g} to {e.ceiling.upper:.4g} ({e.ceiling.kind})"
    if e.normalised_interval:
        share = e.normalised_interval
        rows["of ceiling"] = f"{e.normalised:.4g}  [{share.low:.4g}, {share.high:.4g}]"
    else:
        rows["no share"] = e.ceiling_reason
    if e.system_null:
        twins = e.system_null
        rows["null systems"] = f"{p_text(twins.p_value)} ({twins.values.size} systems)"
    rows["method"] = e.method
    rows["n"] = ", ".join(f"{count:,} {what}" for what, count in e.n.items())
    for name, text in rows.items():
        table.add_row(Text(name, style="dim"), Text(text))
    return Panel(table, title=Text(e.question), title_align="left", expand=False)


def rich_set(evidences: EvidenceSet) -> RenderableType:
    """A table with a row per brain and model, best first within each brain."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    frame = evidences.to_frame()
    several = len(evidences.brains) > 1
    headings = (["brain"] if several else []) + ["model", "score", "interval", "of ceiling", "p"]
    for name in [*headings, "p (FDR)"]:
        table.add_column(name, justify="left" if name in ("brain", "model") else "right")
    for brain in evidences.brains:
        rows = frame[frame["brain"] == brain].sort_values("score", ascending=False)
        for _, r in rows.iterrows():
            cells = [
                r["model"],
                f"{r['score']:.3f}",
                f"[{r['low']:.3f}, {r['high']:.3f}]",
                "–" if pd.isna(r["normalised"]) else f"{r['normalised']:.3f}",
                _cell(r["p"]),
                _cell(r["p_fdr"]),
            ]
            table.add_row(*(Text(str(c)) for c in ([brain] if several else []) + cells))
    return table


def html_table(frame: pd.DataFrame) -> str:
    """A table for notebooks; every text in it is escaped."""
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
