"""Files of SAELens: its formulas written out, and the library itself where it is installed."""

from __future__ import annotations

import json

import pytest
import torch

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import (
    BatchTopKCode,
    Crosscoder,
    GatedCode,
    JumpReLUCode,
    MatchingPursuitCode,
    ReLUCode,
    SparseAutoencoder,
    TopKCode,
    load_dictionary,
    save_dictionary,
)

files = pytest.importorskip("safetensors.torch")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dictionaries():
    made = {
        "standard": SparseAutoencoder(6, 20, ReLUCode(0.1), seed=0),
        "not centred": SparseAutoencoder(6, 20, ReLUCode(0.1), centred=False, seed=0),
        "topk": SparseAutoencoder(6, 20, TopKCode(3), seed=0),
        "batchtopk": SparseAutoencoder(6, 20, BatchTopKCode(3), seed=0),
        "jumprelu": SparseAutoencoder(6, 20, JumpReLUCode(20), seed=0),
        "gated": SparseAutoencoder(6, 20, GatedCode(20), seed=0),
        "matching_pursuit": SparseAutoencoder(6, 20, MatchingPursuitCode(4), seed=0),
        "transcoder": SparseAutoencoder(6, 20, ReLUCode(0.1), n_outputs=4, seed=0),
        "jumprelu_transcoder": SparseAutoencoder(6, 20, JumpReLUCode(20), n_outputs=4, seed=0),
    }
    for dictionary in made.values():
        with torch.no_grad():
            for i, parameter in enumerate(dictionary.parameters()):
                parameter.add_(0.1 * normal(*parameter.shape, seed=i))
            dictionary.normalise_()
            dictionary(normal(50, 6))  # so that BatchTopK has a threshold
        dictionary.eval()
    return made


@pytest.mark.parametrize("name", dictionaries())
def test_round_trip(name, tmp_path):
    one, x = dictionaries()[name], normal(100, 6, seed=7)
    two = load_dictionary(save_dictionary(one, tmp_path / "sae"))
    torch.testing.assert_close(two.encode(x), one.encode(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(two(x), one(x), rtol=1e-5, atol=1e-5)
    settings = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    expected = {"batchtopk": "jumprelu", "not centred": "standard"}.get(name, name)
    assert settings["architecture"] == expected
    assert settings["apply_b_dec_to_input"] == (name != "not centred" and "trans" not in name)


def test_the_formulas_of_the_format(tmp_path):
    """x, W_enc (input, feature), W_dec (feature, output), as SAELens uses them."""
    x, w, d = normal(50, 6), normal(6, 20, seed=1), normal(20, 6, seed=2)
    b, c, gate, magnitude, gain = normal(6, seed=3), *(normal(20, seed=s) for s in (4, 5, 6, 7))
    threshold = c.abs()
    pre = (x - b) @ w
    lengths = d.norm(dim=1)
    scaled = (pre + c) * lengths
    kept = scaled.relu() * (scaled >= scaled.topk(3).values[:, -1:])
    cases = {
        "standard": ({"b_enc": c}, {}, (pre + c).relu()),
        "jumprelu": (
            {"b_enc": c, "threshold": threshold}, {}, (pre + c).relu() * (pre + c > threshold)
        ),
        "gated": (
            {"b_gate": gate, "b_mag": magnitude, "r_mag": gain},
            {},
            (pre + gate > 0) * (pre * gain.exp() + magnitude).relu(),
        ),
        "topk": ({"b_enc": c}, {"k": 3, "rescale_acts_by_decoder_norm": True}, kept),
    }  # fmt: skip
    for name, (own, settings, z) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        files.save_file(
            {"W_enc": w, "W_dec": d, "b_dec": b, **own}, folder / "sae_weights.safetensors"
        )
        settings = {"architecture": name, "d_in": 6, "d_sae": 20, **settings}
        (folder / "cfg.json").write_text(json.dumps(settings))
        found = load_dictionary(folder)
        torch.testing.assert_close(found.encode(x), z, rtol=1e-4, atol=1e-4)
        output = z @ (d / lengths[:, None] if name == "topk" else d) + b
        torch.testing.assert_close(found(x), output, rtol=1e-4, atol=1e-4)


def test_both_libraries_give_the_same(tmp_path):
    sae_lens = pytest.importorskip("sae_lens")
    x = normal(100, 6, seed=7)
    for name, ours in dictionaries().items():
        theirs = sae_lens.SAE.load_from_disk(save_dictionary(ours, tmp_path / name), device="cpu")
        with torch.no_grad():
            torch.testing.assert_close(theirs(x), ours(x), rtol=1e-5, atol=1e-5)
            theirs.save_model(tmp_path / "back")
            torch.testing.assert_close(
                load_dictionary(tmp_path / "back")(x), ours(x), rtol=1e-5, atol=1e-5
            )


def changed(folder, **settings):
    known = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(known | settings))


def test_what_cannot_be_read_is_refused(tmp_path):
    folder = save_dictionary(dictionaries()["topk"], tmp_path / "sae")
    with pytest.raises(InvalidArgument, match="holds no"):
        load_dictionary(tmp_path)
    changed(folder, normalize_activations="layer_norm")
    with pytest.raises(InvalidArgument, match="normalize_activations"):
        load_dictionary(folder)
    changed(folder, normalize_activations="none", architecture="top")
    with pytest.raises(UnknownName, match="topk"):
        load_dictionary(folder)
    changed(folder, architecture="jumprelu")  # its threshold is missing
    with pytest.raises(InvalidArgument, match="threshold"):
        load_dictionary(folder)
    changed(folder, architecture="matching_pursuit", stop_on_duplicate_support=True)
    with pytest.raises(InvalidArgument, match="duplicate"):
        load_dictionary(folder)
    changed(folder, architecture="standard", activation_fn_str="tanh-relu")
    with pytest.raises(InvalidArgument, match="tanh-relu"):
        load_dictionary(folder)
    (folder / "cfg.json").write_text("[1]")
    with pytest.raises(InvalidArgument, match="list"):
        load_dictionary(folder)
    (folder / "sae_weights.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_dictionary(folder)


def test_what_cannot_be_written_is_refused(tmp_path):
    for dictionary, reason in (
        (Crosscoder([3, 3], 8, ReLUCode(), seed=0), "Crosscoder"),
        (SparseAutoencoder(4, 8, TopKCode(2), n_outputs=3, seed=0), "transcoders"),
        (SparseAutoencoder(4, 8, BatchTopKCode(2), seed=0), "never trained"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            save_dictionary(dictionary, tmp_path / "sae")
