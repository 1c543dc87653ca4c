"""The page on training runs as it stands, and the network learns."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs_and_the_network_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_page("training.md")
    assert found["accuracy"] > 0.85
    assert 3 < found["taus"][-1] < 8  # it began with 20 ms
    assert "membrane time constant" in (tmp_path / "training.html").read_text("utf-8")
