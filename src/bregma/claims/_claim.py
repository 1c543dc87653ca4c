"""A claim: a paper's central effect as a small experiment, its control, and what must come out."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bregma.claims._expect import Expect, Measures
from bregma.errors import InvalidArgument, UnknownName

BUDGETS = ("smoke", "check", "full")
PILOT = 0  # the seed on which thresholds are fixed; it never enters a verdict

Setting = str | int | float | bool | None | tuple["Setting", ...]


@dataclass(frozen=True)
class Paper:
    """Where a claim comes from.

    Parameters
    ----------
    title, authors : str
        As printed; authors separated by commas.
    year : int
        Of the first public version.
    doi, arxiv : str
        Identifiers, without the address in front; at least one of them.

    Raises
    ------
    InvalidArgument
        If there is neither a DOI nor an arXiv number.
    """

    title: str
    authors: str
    year: int
    doi: str = ""
    arxiv: str = ""

    def __post_init__(self) -> None:
        if not (self.doi or self.arxiv):
            raise InvalidArgument(f"{self.title!r} needs a doi or an arxiv number")

    @property
    def url(self) -> str:
        """Where to read it."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://arxiv.org/abs/{self.arxiv}"

    def bibtex(self, key: str) -> str:
        """The reference for a list of literature.

        Parameters
        ----------
        key : str
            Name of the entry.

        Returns
        -------
        str
            A BibTeX entry.
        """
        fields = {
            "title": f"{{{self.title}}}",
            "author": self.authors.replace(", ", " and "),
            "year": str(self.year),
            "doi": self.doi,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join((f"@article{{{key},", *lines, "}"))


@dataclass(frozen=True)
class Claim:
    """One paper's experiment; made by the decorator `claim`.

    Parameters
    ----------
    experiment : callable
        ``experiment(seed=..., **settings)`` gives the measures of one seed.
    paper : Paper
        Where the claim comes from.
    sentence : str
        What is claimed, in one plain sentence.
    systems : str
        What it is shown on.
    controls : mapping of str to str
        Name of a measure of the control -> what the control is.
    expects : sequence of Expect
        What must come out; the first one is the centre of the claim.
    budgets : mapping of str to mapping
        The experiment's settings for ``smoke``, ``check`` and ``full``.
    seeds : sequence of int
        Seeds of a verdict; the pilot seed 0 is not among them.
    equations : sequence of str
        The mechanism, each one in LaTeX.
    use : str
        Python that uses the mechanism on one's own data; the tests run it.
    area, species : sequence of str
        Brain areas and species that it speaks of.
    path : Path
        The file that holds it; its name and folder are the slug and the room.
    """

    experiment: Callable[..., Measures]
    paper: Paper
    sentence: str
    systems: str
    controls: Mapping[str, str]
    expects: Sequence[Expect]
    budgets: Mapping[str, Mapping[str, Setting]]
    seeds: Sequence[int]
    equations: Sequence[str]
    use: str
    area: Sequence[str] = ()
    species: Sequence[str] = ()
    path: Path = Path()

    @property
    def slug(self) -> str:
        """The short name: that of its file."""
        return self.path.stem

    @property
    def text(self) -> str:
        """What a search looks through, in small letters."""
        paper = self.paper
        parts = (self.slug, self.room, paper.title, paper.authors, str(paper.year), self.sentence)
        return " ".join((*parts, *self.area, *self.species)).lower()

    @property
    def room(self) -> str:
        """Where its mechanism lives."""
        return self.path.parent.name

    def settings(self, budget: str) -> Mapping[str, Setting]:
        """The experiment's settings for a budget.

        Parameters
        ----------
        budget : str
            ``smoke``, ``check`` or ``full``.

        Returns
        -------
        mapping of str to setting
            Keywords of the experiment.

        Raises
        ------
        UnknownName
            If there is no such budget.
        """
        if budget not in self.budgets:
            raise UnknownName.of("budget", budget, self.budgets)
        return self.budgets[budget]

    def digest(self, budget: str) -> str:
        """A name for what is run: it changes with the code of the file and the settings.

        Comments, docstrings and what the decorator says (thresholds, words) do not count.

        Parameters
        ----------
        budget : str
            ``smoke``, ``check`` or ``full``.

        Returns
        -------
        str
            Sixteen hexadecimal digits.
        """
        code = _bare(ast.parse(self.path.read_text("utf-8")))
        text = json.dumps([code, dict(self.settings(budget))], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __call__(self, *, seed: int, **settings: Setting) -> Measures:
        """Run the experiment with one seed."""
        return self.experiment(seed=seed, **settings)


def _bare(node: Any) -> Any:
    """Code without docstrings and decorators, as lists that no version of Python writes otherwise.

    `ast.dump` and `ast.unparse` differ between versions; fields that are empty are left out here,
    so that those which later versions add do not count.
    """
    if isinstance(node, list):
        return [_bare(part) for part in node if not _is_text(part)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: part for name, part in ast.iter_fields(node) if name != "decorator_list"}
    return [type(node).__name__, {k: _bare(v) for k, v in fields.items() if v not in (None, [])}]


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def claim(
    *,
    paper: Paper,
    sentence: str,
    systems: str,
    controls: Mapping[str, str],
    expects: Sequence[Expect],
    smoke: Mapping[str, Any],
    check: Mapping[str, Any],
    full: Mapping[str, Any],
    seeds: Sequence[int] = (1, 2, 3),
    equations: Sequence[str],
    use: str,
    area: Sequence[str] = (),
    species: Sequence[str] = (),
) -> Callable[[Callable[..., Measures]], Claim]:
    """Make a claim of an experiment: the function below it, which gets a seed and its settings.

    Parameters
    ----------
    paper : Paper
        Where the claim comes from.
    sentence : str
        What is claimed, in one plain sentence.
    systems : str
        What it is shown on.
    controls : mapping of str to str
        Name of a control's measure -> what the control is; it had the same budget and tuning.
    expects : sequence of Expect
        What must come out; the first one is the centre of the claim.
    smoke, check, full : mapping of str to setting
        Settings for 10 s, for 3 minutes on 2 cores with all seeds, and for the paper's scale.
    seeds : sequence of int
        Seeds of a verdict, 3 or more; seed 0 is the pilot on which thresholds were fixed.
    equations : sequence of str
        The mechanism, each one in LaTeX.
    use : str
        Python that uses the mechanism on one's own data; the tests run it.
    area, species : sequence of str
        Brain areas and species that it speaks of.

    Returns
    -------
    callable
        Decorator that turns ``experiment(*, seed, **settings) -> measures`` into a `Claim`.

    Raises
    ------
    InvalidArgument
        If there is no control or expectation, fewer than 3 seeds or the pilot among them, or
        the experiment is in no file.
    """
    if not controls or not expects:
        raise InvalidArgument("a claim needs at least one control and one expectation")
    if len(set(seeds)) < 3 or PILOT in seeds:
        raise InvalidArgument(f"a verdict needs 3 or more seeds without the pilot {PILOT}: {seeds}")

    def make(experiment: Callable[..., Measures]) -> Claim:
        file = getattr(sys.modules[experiment.__module__], "__file__", None)
        if file is None:
            raise InvalidArgument("a claim lives in a file of its own: save it, then find(path)")
        return Claim(
            experiment=experiment,
            paper=paper,
            sentence=sentence,
            systems=systems,
            controls=controls,
            expects=expects,
            budgets=dict(zip(BUDGETS, (smoke, check, full), strict=True)),
            seeds=seeds,
            equations=equations,
            use=use,
            area=area,
            species=species,
            path=Path(file),
        )

    return make
