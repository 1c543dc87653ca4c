"""Tables of the report, as plain texts for the template."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bregma.evidence import Evidence, EvidenceSet

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any, form: str = ".3f") -> str:
    """A number for reading; a dash where there is none."""
    return "–" if pd.isna(value) else f"{float(value):{form}}".replace("-", "−")


def sentences(texts: Iterable[str]) -> str:
    """Different texts, each once, as sentences after each other."""
    clean = [text.strip().rstrip(".") for text in dict.fromkeys(texts)]
    rest = [f"{text[:1].upper()}{text[1:]}" for text in clean[1:]]
    return "".join(f"{text}. " for text in clean[:1] + rest).rstrip()


def p_value(value: Any) -> str:
    """A p-value for reading."""
    if pd.isna(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{float(value):.2g}"


def sure(p: float, evidences: EvidenceSet) -> bool:
    """Whether a p-value reaches the level of the report (where 1 - 0.95 is a little over 0.05)."""
    return bool(p <= 1 - evidences[0].interval.level + 1e-12)


def best_first(evidences: Iterable[Evidence]) -> list[Evidence]:
    """The evidence in the order of its scores."""
    return sorted(evidences, key=lambda e: e.score, reverse=True)


def seen_from(row: Mapping[Any, Any], model: str) -> dict[str, Any]:
    """A row of a table of pairs as `model` minus the other one."""
    if row["model_a"] == model:
        return {**row}
    turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return {**row, "model_a": model, "model_b": row["model_a"], **turned}


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names in a sentence."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def count(value: float) -> str:
    """A number of arrangements for reading."""
    if math.isinf(value):
        return "countless"
    if value < 1e6:
        return f"{value:,.0f}"
    digits, exponent = f"{value:.1e}".split("e+")
    return f"{digits} × 10{exponent.lstrip('0').translate(SUPERSCRIPT)}"


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
            ]
        )
    return {"columns": columns, "rows": rows, "texts": 2 if several else 1}


def subject_table(evidences: EvidenceSet) -> dict[str, Any] | None:
    """The score in each subject; None where there are no subjects."""
    most = max(len(e.per_subject) for e in evidences)
    if most == 0:
        return None
    several = len(evidences.brains) > 1
    rows = [
        [
            *([e.brain, e.model] if several else [e.model]),
            *(number(score) for score in e.per_subject),
            *("–" for _ in range(most - len(e.per_subject))),
        ]
        for e in evidences
    ]
    names = ["brain", "model"] if several else ["model"]
    subjects = [f"subject {i + 1}" for i in range(most)]
    return {"columns": names + subjects, "rows": rows, "texts": len(names)}


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
            number(r["difference"], "+.3f"),
            f"{number(r['low'], '+.3f')} to {number(r['high'], '+.3f')}",
            p_value(r["p"]),
            p_value(r["p_fdr"]),
            p_value(r["p_fwe"]),
        ]
        for r in table.to_dict("records")
    ]
    heads = ["lower ceiling", "score − ceiling", "interval", "p", "p (FDR)", "p (FWE)"]
    return {"columns": names + heads, "rows": rows, "texts": len(names)}


def pair_list(evidences: EvidenceSet) -> dict[str, Any] | None:
    """A row per pair, where matrices of two models for each of several brains would say little."""
    table = evidences.pairwise
    if table.empty or len(evidences.brains) == 1 or len(evidences.models) > 2:
        return None
    rows = [
        [
            r["brain"],
            f"{r['model_a']} − {r['model_b']}",
            number(r["difference"], "+.3f"),
            f"{number(r['low'], '+.3f')} to {number(r['high'], '+.3f')}",
            *(p_value(r[p]) for p in ("p", "p_fdr", "p_fwe")),
        ]
        for r in table.to_dict("records")
    ]
    columns = ["brain", "models", "difference", "interval", "p", "p (FDR)", "p (FWE)"]
    return {"columns": columns, "rows": rows, "texts": 2}


def pair_tables(evidences: EvidenceSet) -> list[dict[str, Any]]:
    """A matrix of differences per brain: row minus column, best model first."""
    out: list[dict[str, Any]] = []
    if pair_list(evidences) is not None:
        return out
    for brain in evidences.brains:
        part = evidences.of_brain(brain)
        if part.pairwise.empty:
            continue
        models = [e.model for e in best_first(part)]
        cells: dict[tuple[str, str], dict[str, Any]] = {}
        reach = float(part.pairwise["difference"].abs().max()) or 1.0
        for pair in part.pairwise.to_dict("records"):
            for a in (pair["model_a"], pair["model_b"]):
                r = seen_from(pair, a)
                ends = f"{number(r['low'], '+.3f')} to {number(r['high'], '+.3f')}"
                cells[a, r["model_b"]] = {
                    "difference": number(r["difference"], "+.3f"),
                    "p": p_value(r["p_fdr"]),
                    "sure": sure(r["p_fdr"], part),
                    "better": r["difference"] > 0,
                    "shade": round(0.06 + 0.5 * abs(r["difference"]) / reach, 3),
                    "title": f"{a} minus {r['model_b']}: {ends}, p {p_value(r['p'])}, "
                    f"FWE-corrected {p_value(r['p_fwe'])}",
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
            **counted(e.n),
            "seed": "none" if e.seed is None else str(e.seed),
            "level": f"{e.interval.level:g}",
            "null": e.null.exchanged,
            "ceiling": f"{e.ceiling.kind}: {e.ceiling.formula}" if e.ceiling else "none",
            **{k: setting(v) for k, v in e.settings.items()},
        }
        new = {"rows": rows, "questions": [], "intervals": {}}
        group = groups.setdefault(json.dumps(rows), new)
        group["questions"].append(e.question)
        group["intervals"].setdefault(e.interval.kind, []).append(e.model)
    for group in groups.values():  # degrees of freedom may differ from score to score
        kinds = group.pop("intervals")
        told = [k if len(kinds) == 1 else f"{', '.join(who)}: {k}" for k, who in kinds.items()]
        group["rows"]["interval"] = "; ".join(told)
    return list(groups.values())


def counted(n: Mapping[str, int]) -> dict[str, str]:
    """How many of what there were."""
    return {f"n, {what}": f"{how_many:,}" for what, how_many in n.items()}


def setting(value: Any) -> str:
    """What was chosen, as text."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
