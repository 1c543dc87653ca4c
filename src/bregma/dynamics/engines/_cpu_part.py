"""A part of a generated kernel: a function, and what the kernel calls it with.

Names in the text of a part are those of the equations; what the engine adds ends with two
underscores or has two of them inside, which no equation may have: ``v__a`` is the array of v,
``i__`` an index. The kernel numbers populations and projections: ``p0_v`` is the array of v of the
first population, ``q1_syn_w`` that of w of the second projection. Two populations with the same
equations share a part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from textwrap import indent


@dataclass(frozen=True)
class Part:
    """A function of the kernel.

    body : its lines.
    parameters : name inside to name in the kernel.
    result : names in the kernel that its results are assigned to.
    """

    body: str
    parameters: dict[str, str]
    result: str = ""

    @property
    def text(self) -> str:
        """Source code of the function, of which only the name is open."""
        return f"({', '.join(self.parameters)}):\n{indent(self.body, '    ')}"


@dataclass
class Scope:
    """What a part reads and writes, collected while its lines are made."""

    parameters: dict[str, str] = field(default_factory=dict)

    def scalar(self, name: str, argument: str) -> str:
        """A number of the kernel."""
        self.parameters[name] = argument
        return name

    def array(self, name: str, argument: str) -> str:
        """An array of the kernel."""
        self.parameters[f"{name}__a"] = argument
        return f"{name}__a"

    def part(self, body: Iterable[str], result: str = "") -> Part:
        """The part with these lines."""
        return Part("\n".join(body), dict(sorted(self.parameters.items())), result)


@dataclass
class Parts:
    """The functions of a kernel, each once."""

    texts: dict[str, str] = field(default_factory=dict)

    def call(self, part: Part) -> str:
        """The line that calls a part."""
        name = self.texts.setdefault(part.text, f"part_{len(self.texts)}")
        call = f"{name}({', '.join(part.parameters.values())})"
        return f"{part.result} = {call}" if part.result else call

    @property
    def source(self) -> str:
        """Source code of all functions."""
        return "\n\n".join(f"@part\ndef {name}{text}" for text, name in self.texts.items())


def loop(head: str, lines: Iterable[str]) -> list[str]:
    """Lines under a line."""
    return [head, *(f"    {line}" for line in lines)]
