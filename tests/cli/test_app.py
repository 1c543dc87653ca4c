"""The command line starts lean and leaves with the right status and one clear line."""

import subprocess
import sys

import pytest

import bregma
from bregma.cli._arguments import parse_window
from bregma.cli._show import harmless, say, show

HEAVY = ("torch", "numpy", "pandas", "xarray", "scipy", "numba", "plotly", "sklearn", "mne", "dask")


@pytest.mark.parametrize("args", [["--help"], ["compare", "--help"], ["--version"]])
def test_nothing_heavy_is_imported_for_the_help(args):
    code = (
        "import sys, bregma.cli\n"
        "try: bregma.cli.main(sys.argv[1:])\n"
        f"finally: print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.returncode == 0
    assert "HEAVY []" in done.stdout


def test_version(cli):
    assert cli("--version").out == f"bregma {bregma.__version__}\n"


def test_help_names_everything(cli):
    ran = cli("--help")
    assert ran.code == 0
    assert all(word in ran.out for word in ("compare", "read", "tour", "--debug"))
    ran = cli("compare", "-h")
    assert "timm:NAME[@LAYERS]" in " ".join(ran.out.split())
    options = """images by distance comparison each untrained twins bootstrap permutations level
    seed report json select events window missing"""
    assert all(f"--{option}" in ran.out for option in options.split())


def test_no_arguments_show_the_help(cli):
    assert "compare" in cli().out


@pytest.mark.parametrize(
    ("args", "say"),
    [
        (["read", "nowhere.npz"], "there is no such file"),
        (["read", "."], "it is a folder"),
        (["compare", "x.npz", "v1", "--events", "cue"], "--window START:STOP"),
        (["compare", "x.npz", "--missing", "drop"], "drop_units or drop_presentations"),
        (["compare", "nowhere.npz"], "there is no such file"),
        (["compare", "x.npz", "--window", "3"], "START:STOP"),
        (["compare", "x.npz", "--window", "3:1"], "START:STOP"),
        (["compare", "x.npz", "--report", "."], "is a folder"),
        (["compare", "x.npz", "--json", "/proc/version/x.json"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_red_line_and_status_2(cli, args, say):
    ran = cli(*args)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert say in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""


@pytest.mark.parametrize("args", [["compare"], ["no-such"], ["read", "x", "--no-such"]])
def test_misuse_is_status_2(cli, args):
    ran = cli(*args)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def fail_with(error):
    def read(*args, **more):
        raise error

    return read


def test_an_unexpected_error_is_status_1_without_a_traceback(cli, monkeypatch):
    monkeypatch.setitem(bregma.__dict__, "read", fail_with(ZeroDivisionError("by\nnothing")))
    ran = cli("read", "x.npz")
    assert ran.code == 1
    assert ran.err.startswith("unexpected ZeroDivisionError: by nothing (")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("args", [["--debug", "read", "x.npz"], ["read", "x.npz", "--debug"]])
@pytest.mark.parametrize("error", [ZeroDivisionError("why"), bregma.errors.BregmaError("why")])
def test_debug_lets_the_traceback_through(monkeypatch, args, error):
    from bregma.cli import main

    monkeypatch.setitem(bregma.__dict__, "read", fail_with(error))
    with pytest.raises(type(error), match="why"):
        main(args)


def test_ctrl_c_is_status_130(cli, monkeypatch):
    monkeypatch.setitem(bregma.__dict__, "read", fail_with(KeyboardInterrupt()))
    ran = cli("read", "x.npz")
    assert ran.code == 130
    assert ran.err == "interrupted: nothing half-written is left behind\n"


def test_text_from_files_cannot_steer_the_terminal(cli):
    assert harmless("a\x1b[2Jb\r\nc\u202e") == "a\\x1b[2Jb c\\u202e"
    assert harmless("95\u202f% é 神経") == "95 % é 神経"
    ran = cli("read", "\x1b[31mred[bold].npz")
    assert "\x1b" not in ran.err
    assert "[bold]" in ran.err  # and is no markup either


def test_what_is_drawn_is_inert(capsys):
    from rich.table import Table
    from rich.text import Text

    table = Table("a\x1b[31mb")
    table.add_row(Text("c\x9b2Jd"))
    show(table)
    say("e\x1b]0;title\x07f\ng")
    printed = capsys.readouterr().out
    assert "a\\x1b[31mb" in printed
    assert "c\\x9b2Jd" in printed
    assert printed.endswith("e\\x1b]0;title\\x07f\ng\n")


def test_a_window_is_two_numbers():
    assert parse_window("-0.2:0.8") == (-0.2, 0.8)
