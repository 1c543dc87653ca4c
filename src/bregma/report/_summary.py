"""What the numbers say, in plain sentences."""

from __future__ import annotations

from bregma.evidence import Evidence, EvidenceSet

from ._tables import best_first, listed, number, p_value, seen_from, sure

SPACE = "\N{NO-BREAK SPACE}"  # a number stays with its sign


def summary(evidences: EvidenceSet) -> list[str]:
    """Plain sentences: which model is closest, how sure that is, and what could not be told.

    Parameters
    ----------
    evidences : EvidenceSet
        The evidence.

    Returns
    -------
    list of str
        One statement each, most important first; plain text without markup.
    """
    if len(evidences.brains) == 1:
        return _one_brain(evidences)
    parts = [_in_brief(evidences.of_brain(brain), evidences) for brain in evidences.brains]
    return [_over_brains(evidences), *parts, *_twins(evidences), *_impossible(evidences)]


def p_words(p: float) -> str:
    """A p-value in a sentence."""
    text = p_value(p)
    return (f"p {text}" if text.startswith("<") else f"p = {text}").replace(" ", SPACE)


def percent(share: float) -> str:
    """A share in a sentence."""
    return f"{number(100 * share, '.0f')}{SPACE}%"


def _corrected(evidences: EvidenceSet) -> dict[tuple[str, str], float]:
    """p of each score, corrected over all of the family (Holm)."""
    frame = evidences.to_frame()
    keys = zip(frame["brain"], frame["model"], strict=True)
    return dict(zip(keys, frame["p_fwe"].to_numpy(float), strict=True))


def _one_brain(evidences: EvidenceSet) -> list[str]:
    statements = [_best(evidences, evidences), _next(evidences), _share(evidences)]
    others = _above_chance(evidences)
    found = [s for s in (*statements, others) if s]
    return found + _twins(evidences) + _impossible(evidences)


def _best(part: EvidenceSet, family: EvidenceSet) -> str:
    e = best_first(part)[0]
    p = _corrected(family)[e.brain, e.model]
    many = len(family) > 1
    how = f"{p_words(p)}{f', corrected for {len(family)} tests' if many else ''}"
    real = (
        f"That is more than chance gives ({how})."
        if sure(p, family)
        else f"That is within what chance gives ({how})."
    )
    who = (
        f"Of {len(part)} models, {e.model} comes closest to {e.brain}: its score is"
        if len(part) > 1
        else f"{e.model} scores"
    )
    where = "" if len(part) > 1 else f" with {e.brain}"
    return (
        f"{who} {number(e.score)}{where} ({percent(e.interval.level)} interval "
        f"{number(e.interval.low)} to {number(e.interval.high)}). {real}"
    )


def _lead(part: EvidenceSet) -> tuple[Evidence, float, float, float, float] | None:
    """The second best model, and by how much the best leads it: difference, low, high, p (FDR)."""
    if len(part) < 2 or part.pairwise.empty:
        return None
    best, second = best_first(part)[:2]
    names = {best.model, second.model}
    rows = part.pairwise.to_dict("records")
    row = next(r for r in rows if {r["model_a"], r["model_b"]} == names)
    ahead = seen_from(row, best.model)
    return second, ahead["difference"], ahead["low"], ahead["high"], ahead["p_fdr"]


def _next(part: EvidenceSet) -> str:
    """Is the best model told apart from the next one?"""
    lead = _lead(part)
    if lead is None:
        return ""
    second, difference, low, high, p = lead
    how = (
        f"by {number(difference)} (interval {number(low)} to {number(high)}, "
        f"{p_words(p)} after FDR correction)"
    )
    if sure(p, part):
        return f"It is ahead of the next best, {second.model}, {how}."
    return (
        f"It leads the next best, {second.model}, only {how}: these data do not tell the two apart."
    )


def _in_brief(part: EvidenceSet, family: EvidenceSet) -> str:
    """One brain part of several, in one sentence."""
    e, lead = best_first(part)[0], _lead(part)
    told = [f"{e.brain}: {e.model} scores {number(e.score)}"]
    p = _corrected(family)[e.brain, e.model]
    chance = "above chance" if sure(p, family) else "not told from chance"
    told.append(f"{chance} ({p_words(p)}, corrected for {len(family)} tests)")
    if e.normalised is not None:
        told.append(f"{percent(e.normalised)} of the lower ceiling")
    if lead is not None:
        second, difference, _low, _high, p = lead
        verb = "ahead of" if sure(p, part) else "not told from"
        told.append(f"{verb} {second.model} (by {number(difference)}, {p_words(p)}, FDR)")
    return ", ".join(told) + "."


def _share(part: EvidenceSet) -> str:
    """How far is the best model from the ceiling?"""
    e = best_first(part)[0]
    if e.ceiling is None:
        return ""
    bounds = (
        "On these noisy data even the true model would score between "
        f"{number(e.ceiling.lower)} and {number(e.ceiling.upper)} ({e.ceiling.kind} ceiling)."
    )
    if e.normalised is None or e.normalised_interval is None:
        return bounds
    low, high = e.normalised_interval.low, e.normalised_interval.high
    reached = (
        f"{e.model} reaches {percent(e.normalised)} of the lower bound "
        f"(interval {percent(low)} to {percent(high)})"
    )
    rows = part.against_ceiling[part.against_ceiling["model"] == e.model]
    if len(rows):
        row = rows.iloc[0]
        p = p_words(row["p_fdr"])
        if not sure(row["p_fdr"], part):
            return f"{bounds} {reached}; these data do not tell it from the bound ({p})."
        side = "short of it" if row["difference"] < 0 else "beyond it"
        return f"{bounds} {reached} and is {side} ({p}, FDR)."
    return f"{bounds} {reached}."


def _above_chance(evidences: EvidenceSet) -> str:
    if len(evidences) < 2:
        return ""
    p = _corrected(evidences)
    above = [e.model for e in evidences if sure(p[e.brain, e.model], evidences)]
    below = [e.model for e in evidences if e.model not in above]
    if not below:
        return f"{'Both' if len(above) == 2 else f'All {len(above)}'} models score above chance."
    if not above:
        return "No model scores above chance."
    return f"Above chance: {listed(above)}. Not told from chance: {listed(below)}."


def _over_brains(evidences: EvidenceSet) -> str:
    wins: dict[str, list[str]] = {}
    for brain in evidences.brains:
        wins.setdefault(best_first(evidences.of_brain(brain))[0].model, []).append(brain)
    parts = [
        f"{model} in {listed(brains)}"
        for model, brains in sorted(wins.items(), key=lambda item: -len(item[1]))
    ]
    return f"The closest model, brain part by brain part: {'; '.join(parts)}."


def _twins(evidences: EvidenceSet) -> list[str]:
    """Does what the null systems lack make the score?"""
    above: dict[int, list[str]] = {}
    out = []
    for e in evidences:
        if e.system_null is None:
            continue
        name = f"{e.model} in {e.brain}" if len(evidences.brains) > 1 else e.model
        n, beaten = e.system_null.values.size, int((e.score > e.system_null.values).sum())
        if beaten == n:
            above.setdefault(n, []).append(name)
        else:
            some = f"only {beaten}" if beaten else "none"
            out.append(
                f"{name} scores above {some} of its {n} null systems: its score does not need "
                "what those lack."
            )
    for n, names in above.items():
        whose = "scores above all {} of its" if len(names) == 1 else "score above all {} of their"
        out.append(f"{listed(names)} {whose.format(n)} null systems.")
    return out


def _impossible(evidences: EvidenceSet) -> list[str]:
    """What could not be told, and why; each reason once."""
    reasons: dict[str, list[str]] = {}
    for e in evidences:
        if e.normalised is None:
            reasons.setdefault(e.ceiling_reason.rstrip("."), []).append(e.brain)
    out = []
    for reason, brains in reasons.items():
        some = list(dict.fromkeys(brains))
        named = f" for {listed(some)}" if len(some) < len(evidences.brains) else ""
        out.append(f"Not possible here{named}: a score relative to a noise ceiling ({reason}).")
    weakest = {e.system_null.values.size for e in evidences if e.system_null}
    alpha = 1 - evidences[0].interval.level
    if weakest and 1 / (1 + min(weakest)) > alpha:
        out.append(
            f"Not possible here: a test against null systems at the {percent(alpha)} level; with "
            f"{min(weakest)} of them p cannot fall below {1 / (1 + min(weakest)):.2g}."
        )
    return out
