"""Tables of the report, as plain texts for the template."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from bregma.evidence import EvidenceSet


def number(value: Any) -> str:
    """A number for reading; a dash where there is none."""
    return "–" if value is pd.NA or pd.isna(value) else f"{float(value):.3f}"


def p_value(value: Any) -> str:
    """A p-value for reading."""
    if value is pd.NA or pd.isna(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{float(value):.2g}"


def numbers_table(evidences: EvidenceSet) -> dict[str, Any]:
    """Every number of every score."""
    frame = evidences.to_frame()
    several = len(evidences.brains) > 1
    twins = bool(frame["p_system"].notna().any())
    level = f"{100 * evidences[0].interval.level:.0f} % interval"
    columns = [
        *(["brain"] if several else []),
        "model",
        "score",
        level,
        "ceiling",
        "share of lower ceiling",
        "its interval",
        "p",
        "p (FDR)",
        "p (FWE)",
        *(["p, null systems"] if twins else []),
        "per subject",
    ]
    rows = []
    for (_, r), e in zip(frame.iterrows(), evidences, strict=True):
        ceiling = [number(r["ceiling_lower"]), number(r["ceiling_upper"])]
        share = [number(r["normalised_low"]), number(r["normalised_high"])]
        rows.append(
            [
                *([r["brain"]] if several else []),
                r["model"],
                number(r["score"]),
                f"{number(r['low'])} to {number(r['high'])}",
                "–" if e.ceiling is None else " to ".join(ceiling),
                number(r["normalised"]),
                "–" if e.normalised is None else " to ".join(share),
                p_value(r["p"]),
                p_value(r["p_fdr"]),
                p_value(r["p_fwe"]),
                *([p_value(r["p_system"])] if twins else []),
                ", ".join(f"{s:.3f}" for s in e.per_subject[:8])
                + (" …" if len(e.per_subject) > 8 else "")
                or "–",
            ]
        )
    return {"columns": columns, "rows": rows, "texts": 2 if several else 1}


def ceiling_table(evidences: EvidenceSet) -> dict[str, Any] | None:
    """Each score against the lower ceiling; None where there is no ceiling."""
    table = evidences.against_ceiling
    if table.empty:
        return None
    several = len(evidences.brains) > 1
    names = ["brain", "model"] if several else ["model"]
    rows = [
        [
            *([r["brain"], r["model"]] if several else [r["model"]]),
            number(r["ceiling_lower"]),
            f"{r['difference']:+.3f}",
            f"{r['low']:+.3f} to {r['high']:+.3f}",
            p_value(r["p"]),
            p_value(r["p_fdr"]),
            p_value(r["p_fwe"]),
        ]
        for r in table.to_dict("records")
    ]
    heads = ["lower ceiling", "score − ceiling", "interval", "p", "p (FDR)", "p (FWE)"]
    return {"columns": names + heads, "rows": rows, "texts": len(names)}


def pair_tables(evidences: EvidenceSet) -> list[dict[str, Any]]:
    """A matrix of differences per brain: row minus column, best model first."""
    out = []
    for brain in evidences.brains:
        part = evidences.of_brain(brain)
        if part.pairwise.empty:
            continue
        models = [e.model for e in sorted(part, key=lambda e: e.score, reverse=True)]
        alpha = 1 - part[0].interval.level + 1e-12
        cells: dict[tuple[str, str], dict[str, Any]] = {}
        reach = float(part.pairwise["difference"].abs().max()) or 1.0
        for r in part.pairwise.to_dict("records"):
            for a, b, sign in ((r["model_a"], r["model_b"], 1), (r["model_b"], r["model_a"], -1)):
                low, high = sorted((sign * r["low"], sign * r["high"]))
                cells[a, b] = {
                    "difference": f"{sign * r['difference']:+.3f}",
                    "p": p_value(r["p_fdr"]),
                    "sure": r["p_fdr"] <= alpha,
                    "better": sign * r["difference"] > 0,
                    "shade": round(0.06 + 0.5 * abs(r["difference"]) / reach, 3),
                    "title": f"{a} minus {b}: {low:+.3f} to {high:+.3f}, "
                    f"p {p_value(r['p'])}, FWE-corrected {p_value(r['p_fwe'])}",
                }
        grid = [[cells.get((a, b)) for b in models] for a in models]
        out.append({"brain": brain, "models": models, "rows": list(zip(models, grid, strict=True))})
    return out


def settings_of(evidences: EvidenceSet) -> list[dict[str, Any]]:
    """What was chosen and counted, once for all the brains and models that share it."""
    groups: dict[str, dict[str, Any]] = {}
    for e in evidences:
        rows = {
            "method": e.method,
            **{f"n, {what}": f"{count:,}" for what, count in e.n.items()},
            "seed": "none" if e.seed is None else str(e.seed),
            "level": f"{e.interval.level:g}",
            "interval": e.interval.kind,
            "null": e.null.exchanged,
            "ceiling": f"{e.ceiling.kind}: {e.ceiling.formula}" if e.ceiling else "none",
            **{k: v if isinstance(v, str) else json.dumps(v) for k, v in e.settings.items()},
        }
        key = json.dumps(rows)
        groups.setdefault(key, {"rows": rows, "questions": []})["questions"].append(e.question)
    return list(groups.values())
