"""Write docs/models.md and its picture docs/models.svg: run `python docs/models.py`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np

from bregma.dynamics import Drive, Network, Population, models, simulate

HERE = Path(__file__).parent
WIDTH, HEIGHT, COLUMNS = 250, 120, 4

# model -> variable, begin and end of the picture (ms), factor and unit, drive, what it shows
PANELS: dict[str, tuple[str, float, float, float, str, dict[str, Any], str]] = {
    "lif": ("v", 0, 150, 1e3, "mV", {"I": 2.4e-10}, "0.24 nA"),
    "lif_conductance": ("v", 0, 150, 1e3, "mV", {"I": 1.3e-10}, "0.13 nA"),
    "lif_delta": ("v", 0, 150, 1e3, "mV", {"mu": 0.024}, "mu = 24 mV"),
    "alif": ("v", 0, 300, 1e3, "mV", {"I": 3e-10}, "0.3 nA"),
    "qif": ("v", 0, 150, 1e3, "mV", {"I": 6e-11}, "0.06 nA"),
    "theta": ("phase", 0, 150, 1, "", {"I": 0.5}, "I = 0.5"),
    "eif": ("v", 0, 150, 1e3, "mV", {"I": 0.006}, "0.6 uA/cm²"),
    "adex": ("v", 0, 300, 1e3, "mV", {"I": 1e-9}, "1 nA"),
    "izhikevich": ("v", 0, 220, 1, "mV", {"I": 15.0}, "tonic bursting"),
    "hodgkin_huxley": ("v", 0, 60, 1e3, "mV", {"I": 0.1}, "10 uA/cm²"),
    "traub_miles": ("v", 0, 60, 1e3, "mV", {"I": 3e-10}, "0.3 nA"),
    "pinsky_rinzel": ("v", 0, 150, 1e3, "mV", {"I": 0.0075}, "a burst"),
    "resonate_and_fire": ("y", 0, 4, 1, "", {"I": "pulses"}, "two pulses in its rhythm"),
    "stochastic_lif": ("v", 0, 300, 1e3, "mV", {"mu": 0.015}, "mu = 15 mV"),
    "rate": ("x", 0, 60, 1, "", {"I": 1.0}, "I = 1"),
    "wilson_cowan": ("E", 0, 300, 1, "", {"P": 1.25}, "P = 1.25: a limit cycle"),
}
TESTED = {
    "lif": "membrane response and interval between spikes, closed forms",
    "lif_conductance": "response to both kinds of synapse, solver",
    "lif_delta": "decay of a jump and interval between spikes, closed forms",
    "alif": "the interval at which its threshold repeats",
    "qif": "interval between spikes, closed form",
    "theta": "period, closed form",
    "eif": "rheobase, closed form; interval between spikes, integral",
    "adex": "the 8 firing patterns of Naud et al. by their intervals",
    "izhikevich": "the 20 regimes of the paper, a criterion each",
    "hodgkin_huxley": "action potentials and order of convergence, solver; onset of firing",
    "traub_miles": "action potentials, solver",
    "pinsky_rinzel": "voltages and calcium, solver; bursts with and without calcium current",
    "resonate_and_fire": "ringing, closed form; prefers its own rhythm",
    "stochastic_lif": "mean, variance, autocovariance; rate, formula of Siegert",
    "rate": "relaxation, closed form",
    "wilson_cowan": "limit cycle, solver; two stable states where the paper says",
}


def sections(text: str) -> dict[str, str]:
    """The parts of a docstring by their headings; the summary is under ''."""
    parts = re.split(r"\n\n(\w+)\n-+\n", "\n\n" + inspect.cleandoc(text))
    return {"": parts[0].strip()} | dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


def page() -> str:
    """The text of docs/models.md."""
    rows, details = [], []
    for name in models.__all__:
        function = getattr(models, name)
        neuron = function("tonic bursting") if name == "izhikevich" else function()
        doc = sections(function.__doc__)
        source = " ".join(doc["References"].split())
        summary = doc[""].split("\n\n")[0].rstrip(".").replace("``", "`")
        rows.append(f"| [`{name}`](#{name}) | {summary} | {TESTED[name]} | {source} |")
        values = ", ".join(f"{n} = {v}" for n, v in neuron.params.items())
        extra = [f"Refractory: `{neuron.refractory}`."] if neuron.refractory else []
        details.append(
            f"## {name}\n\n```math\n{neuron.latex()}\n```\n\n`{values}`\n\n" + "\n".join(extra)
        )
    return (
        "# Models of neurons\n\n"
        "Each is a function in `bregma.dynamics.models` that returns a `Neuron`; its docstring\n"
        "gives units, values and source. Keywords replace values: `models.lif(tau='10 ms')`.\n"
        "Every engine runs all of them. This page is written by `python docs/models.py`.\n\n"
        "![A trace of each model](models.svg)\n\n"
        "| model | what it is | tested against | source |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        + "\n\n".join(d.rstrip() for d in details)
        + "\n"
    )


def traces() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Time (ms) and value of the variable of each panel; all models run as one network."""
    populations, drives, record = {}, [], {}
    pulses = np.zeros((400, 1))
    pulses[[0, 31]] = 0.95 / 2e-5  # 0.62 ms apart, one turn
    for name, (variable, *_, inputs, _) in PANELS.items():
        function = getattr(models, name)
        neuron = function("tonic bursting") if name == "izhikevich" else function()
        populations[name] = Population(neuron, 1)
        record[name] = [variable]
        for n, value in inputs.items():
            values, frame = (pulses, "0.02 ms") if isinstance(value, str) else (value, "1 ms")
            drives.append(Drive(name, n, values, frame=frame))
    network = Network(populations, drives=drives)
    done = simulate(network, "301 ms", seed=0, dt="0.02 ms", record=record, dtype="float64")
    found = {}
    for name, (variable, begin, end, factor, *_) in PANELS.items():
        data = done.traces[f"{name}.{variable}"].data
        t, y = 1e3 * data["time"].values, factor * data.values[0, :, 0]
        inside = (t >= begin) & (t <= end)
        found[name] = t[inside], y[inside]
    return found


def picture(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """One small panel for each model, as SVG."""
    n_rows = -(-len(found) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH} '
        f'{n_rows * HEIGHT}" font-family="sans-serif" font-size="10" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for k, (name, (t, y)) in enumerate(found.items()):
        _, _, end, _, unit, _, shows = PANELS[name]
        left, top = (k % COLUMNS) * WIDTH + 34, (k // COLUMNS) * HEIGHT + 18
        wide, high = WIDTH - 44, HEIGHT - 36
        low, top_value = y.min(), y.max()
        xs = left + wide * (t - t[0]) / (t[-1] - t[0])
        ys = top + high * (1 - (y - low) / (top_value - low or 1))
        pixel = np.round(xs).astype(int)  # lowest and highest of each pixel are enough
        keep: list[int] = []
        for group in np.split(np.arange(len(xs)), np.flatnonzero(np.diff(pixel)) + 1):
            keep += sorted({group[np.argmin(ys[group])], group[np.argmax(ys[group])]})
        line = " ".join(f"{xs[i]:.1f},{ys[i]:.1f}" for i in keep)
        parts += [
            f'<text x="{left}" y="{top - 6}"><tspan font-weight="bold">{name}</tspan> '
            f"{shows}</text>",
            f'<polyline points="{line}" fill="none" stroke="#1f5f99" stroke-width="1"/>',
            f'<text x="{left - 3}" y="{top + 8}" text-anchor="end">{top_value:.3g}</text>',
            f'<text x="{left - 3}" y="{top + high}" text-anchor="end">{low:.3g}</text>',
            f'<text x="{left + wide}" y="{top + high + 12}" text-anchor="end">{end:g} ms</text>',
            f'<text x="{left}" y="{top + high + 12}">{unit}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    (HERE / "models.md").write_text(page(), encoding="utf-8")
    (HERE / "models.svg").write_text(picture(traces()), encoding="utf-8")
