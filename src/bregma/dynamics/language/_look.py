"""How a neuron looks: in LaTeX, and as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._grammar import symbol

if TYPE_CHECKING:
    from bregma.dynamics.language._neuron import Neuron


def latex(neuron: Neuron) -> str:
    """The equations as an ``aligned`` environment, in the order of the text."""
    units = {symbol(n): rf"\mathrm{{{n}}}" for n in _units.SYMBOLS if n not in neuron.names}

    def tex(e: Any) -> str:
        short = {x: sympy.Float(repr(float(x))) for x in e.atoms(sympy.Float)}
        return sympy.latex(e.xreplace(short), symbol_names=units)

    rows = []
    for line in sorted(neuron._raw, key=lambda line: line.place.start):
        if line.value is None:
            continue
        name = tex(symbol(line.name))
        left = rf"\frac{{d {name}}}{{d t}}" if line.kind == "differential" else name
        noise = ""
        if line.name in neuron._noise:
            noise = rf" + {tex(neuron._noise[line.name])}\,\xi_{{{name}}}(t)"
        rows.append(rf"{left} &= {tex(line.value)}{noise}")
    if neuron.spike is not None:
        after = r",\; ".join(
            rf"{tex(symbol(s.target))} \leftarrow {tex(s.value)}" for s in neuron._resets
        )
        spikes = tex(neuron._condition)
        rows.append(rf"{spikes} &\Rightarrow \text{{spike}}{', ' + after if after else ''}")
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def plain(neuron: Neuron) -> str:
    """The text of a neuron, its conditions and its values."""
    rows = [line.strip() for line in neuron.equations.strip().splitlines() if line.strip()]
    rows += [f"spike: {neuron.spike}"] if neuron.spike else []
    rows += [f"reset: {neuron.reset}"] if neuron.reset else []
    rows += [f"refractory: {neuron.refractory}"] if neuron.refractory else []
    rows += [f"noise of {n}: {g}" for n, g in neuron.noise.items()]
    if neuron.params:
        rows.append(", ".join(f"{n} = {_short(v)}" for n, v in neuron.params.items()))
    return "Neuron\n  " + "\n  ".join(rows)


def _short(value: Any) -> str:
    if isinstance(value, str) or not getattr(value, "shape", getattr(value, "__len__", None)):
        return str(value)
    return f"({len(value)} values)"
