"""Claims in files of their own, as a laboratory would write them."""

from __future__ import annotations

import pytest

HEAD = """
from bregma.claims import Curve, Expect, Paper, claim

@claim(
    paper=Paper("On <b>means</b>", "Ada Byron, Emmy Noether", 1843, doi="10.1/x"),
    sentence="A is above the control.",
    systems="numbers",
    controls={"control": "nothing"},
    expects=[Expect(measure="a", above="control", by=0.5, says="a is well above the control"),
             Expect(measure="error", below=0.1, says="the error is small")],
    smoke={"bonus": 0.0}, check={"bonus": BONUS}, full={"bonus": 3.0},
    equations=[r"a = b + \\frac{1}{2}"],
    use="x = 1",
)
def means(*, seed, bonus):
"""
BODY = """
    a = 1.0 + 0.01 * seed + bonus
    return {"a": a, "control": 0.01 * seed, "error": 0.01,
            "a by step": Curve([0, 1], [0, a], "step", "value")}
"""


@pytest.fixture(scope="session")
def write_claim(tmp_path_factory: pytest.TempPathFactory):
    """Write a claim with a body of its own; gives the path as `bregma verify` takes it."""

    def write(body: str = BODY, *, name: str = "byron_1843_means", bonus: float = 0.0) -> str:
        path = tmp_path_factory.mktemp("laboratory") / "geometry" / f"{name}.py"
        path.parent.mkdir()
        path.write_text(HEAD.replace("BONUS", str(bonus)) + body)
        return str(path)

    return write
