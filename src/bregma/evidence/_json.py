"""Evidence as JSON text and back, exactly; what comes from outside is checked, never trusted."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from bregma.errors import BregmaError, InvalidArgument

from ._evidence import Evidence
from ._parts import Ceiling, Interval, Null
from ._set import AGAINST_CEILING, PAIRWISE, TEXT_COLUMNS, EvidenceSet

VERSION = 1


def evidence_to_json(evidence: Evidence) -> str:
    """JSON text of one Evidence."""
    return _dump("evidence", {"evidence": _evidence_out(evidence)})


def set_to_json(evidences: EvidenceSet) -> str:
    """JSON text of an EvidenceSet."""
    content = {
        "evidences": [_evidence_out(e) for e in evidences],
        "pairwise": evidences.pairwise.to_dict("records"),
        "against_ceiling": evidences.against_ceiling.to_dict("records"),
    }
    return _dump("evidence set", content)


def evidence_from_json(text: str) -> Evidence:
    """Evidence from the text that `evidence_to_json` gave."""
    return _evidence_in(_Part(_load("evidence", text), "evidence").part("evidence"))


def set_from_json(text: str) -> EvidenceSet:
    """EvidenceSet from the text that `set_to_json` gave."""
    part = _Part(_load("evidence set", text), "evidence set")
    return EvidenceSet(
        [_evidence_in(p) for p in part.parts("evidences")],
        pairwise=_table_in(part, "pairwise", PAIRWISE),
        against_ceiling=_table_in(part, "against_ceiling", AGAINST_CEILING),
    )


def _dump(kind: str, content: dict[str, Any]) -> str:
    return json.dumps({"bregma": kind, "version": VERSION, **content}, allow_nan=False, indent=1)


def _load(kind: str, text: str) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a number")

    try:
        content = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"this is no JSON of bregma: {error}") from None
    if not isinstance(content, dict) or content.get("bregma") != kind:
        found = content.get("bregma") if isinstance(content, dict) else None
        raise InvalidArgument(f"this JSON holds {found!r}, not {kind!r} of bregma")
    if content.get("version") != VERSION:
        raise InvalidArgument(
            f"this JSON has the version {content.get('version')!r}; "
            f"this bregma reads version {VERSION}"
        )
    return content


class _Part:
    """A JSON object whose entries are taken out by name and kind, or an error says which."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise InvalidArgument(f"{where} should be an object, not {type(content).__name__}")
        self.content, self.where = content, where

    def get(self, key: str, *kinds: type) -> Any:
        if key not in self.content:
            raise InvalidArgument(f"{self.where} lacks {key!r}")
        value = self.content[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InvalidArgument(f"{self.where}.{key} should not be {type(value).__name__}")
        return value

    def number(self, key: str) -> float:
        return self.as_number(self.get(key, int, float), key)

    def as_number(self, value: Any, key: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidArgument(f"{self.where}.{key} should hold numbers")
        try:
            number = float(value)
        except OverflowError:  # an integer above every float
            number = math.inf
        if not math.isfinite(number):
            raise InvalidArgument(f"{self.where}.{key} is too large for a number")
        return number

    def numbers(self, key: str) -> list[float]:
        return [self.as_number(value, key) for value in self.get(key, list)]

    def part(self, key: str) -> _Part:
        return _Part(self.get(key, dict), f"{self.where}.{key}")

    def maybe(self, key: str) -> _Part | None:
        return None if self.content.get(key) is None else self.part(key)

    def parts(self, key: str) -> list[_Part]:
        items = enumerate(self.get(key, list))
        return [_Part(item, f"{self.where}.{key}[{i}]") for i, item in items]


def _interval_out(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else dict(vars(interval))


def _null_out(null: Null | None) -> dict[str, Any] | None:
    if null is None:
        return None
    count = null.n_arrangements
    return {
        "values": null.values.tolist(),
        "exchanged": null.exchanged,
        "n_arrangements": "unlimited" if math.isinf(count) else count,
        "p_value": null.p_value,
    }


def _evidence_out(e: Evidence) -> dict[str, Any]:
    ceiling = None
    if e.ceiling:
        ceiling = {**vars(e.ceiling), "interval": _interval_out(e.ceiling.interval)}
    return {
        **vars(e),
        "null": _null_out(e.null),
        "interval": _interval_out(e.interval),
        "ceiling": ceiling,
        "normalised_interval": _interval_out(e.normalised_interval),
        "system_null": _null_out(e.system_null),
    }


def _interval_in(p: _Part | None) -> Interval | None:
    if p is None:
        return None
    return Interval(p.number("low"), p.number("high"), p.number("level"), p.get("kind", str))


def _null_in(p: _Part | None) -> Null | None:
    if p is None:
        return None
    count = p.get("n_arrangements", int, float, str)
    return Null(
        values=np.array(p.numbers("values"), dtype=float),
        exchanged=p.get("exchanged", str),
        n_arrangements=math.inf if count == "unlimited" else p.number("n_arrangements"),
        p_value=p.number("p_value"),
    )


def _ceiling_in(p: _Part | None) -> Ceiling | None:
    if p is None:
        return None
    return Ceiling(
        p.number("lower"),
        p.number("upper"),
        p.get("kind", str),
        p.get("formula", str),
        _interval_in(p.maybe("interval")),
        None if p.content.get("p_value") is None else p.number("p_value"),
    )


def _evidence_in(p: _Part) -> Evidence:
    n, citations = p.part("n"), p.get("citations", list)
    if not all(isinstance(key, str) for key in citations):
        raise InvalidArgument(f"{p.where}.citations should hold texts")
    null, interval = _null_in(p.part("null")), _interval_in(p.part("interval"))
    assert null is not None
    assert interval is not None
    try:
        return Evidence(
            **{k: p.get(k, str) for k in ("question", "brain", "model", "method")},
            score=p.number("score"),
            null=null,
            interval=interval,
            n={key: n.get(key, int) for key in n.content},
            ceiling=_ceiling_in(p.maybe("ceiling")),
            ceiling_reason=p.get("ceiling_reason", str),
            normalised=None if p.content.get("normalised") is None else p.number("normalised"),
            normalised_interval=_interval_in(p.maybe("normalised_interval")),
            system_null=_null_in(p.maybe("system_null")),
            per_subject=tuple(p.numbers("per_subject")),
            settings=p.get("settings", dict),
            seed=None if p.content.get("seed") is None else p.get("seed", int),
            citations=tuple(citations),
        )
    except InvalidArgument:
        raise
    except RecursionError:
        raise InvalidArgument(f"{p.where}.settings is nested too deeply") from None
    except BregmaError as error:  # such as a source that this version does not know
        raise InvalidArgument(f"{p.where}: {error}") from None


def _table_in(part: _Part, key: str, columns: list[str]) -> pd.DataFrame:
    rows = [
        {c: p.get(c, str) if c in TEXT_COLUMNS else p.number(c) for c in columns}
        for p in part.parts(key)
    ]
    return pd.DataFrame(rows, columns=columns)
