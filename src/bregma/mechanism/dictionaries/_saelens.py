"""Dictionaries in the files of SAELens: weights in safetensors, and a cfg.json beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from bregma._extras import require
from bregma._files import atomic_path
from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._codes import BatchTopKCode, ReLUCode, SparseCode, TopKCode
from bregma.mechanism.dictionaries._jump_codes import GatedCode, JumpReLUCode
from bregma.mechanism.dictionaries._matching_pursuit import MatchingPursuitCode

WEIGHTS, SETTINGS = "sae_weights.safetensors", "cfg.json"
ARCHITECTURES = ("standard", "topk", "jumprelu", "gated", "matching_pursuit", "transcoder",
                 "jumprelu_transcoder")  # fmt: skip


def load_dictionary(folder: str | Path) -> SparseAutoencoder:
    """Read a dictionary that SAELens, or `save_dictionary`, has written.

    Costs (the weights of L1 and L0) are not in these files: those of what is read are 0. So that
    nothing is silently computed in another way, files that scale or reshape activity are refused.

    Parameters
    ----------
    folder : str or Path
        Holds ``sae_weights.safetensors`` and ``cfg.json``.

    Returns
    -------
    SparseAutoencoder
        In evaluation mode, in float32.

    Raises
    ------
    InvalidArgument
        If a file is missing, damaged, or asks for something else than encoding and decoding.
    UnknownName
        If it is of an architecture that is not known here.

    References
    ----------
    Bloom, Tigges, Duong and Chanin (2024), SAELens.
    """
    folder = Path(folder)
    settings, weights = _read(folder)
    architecture = settings.get("architecture", "standard")
    if architecture not in ARCHITECTURES:
        raise UnknownName.of("architecture", architecture, ARCHITECTURES)
    if "activation_fn" in settings or "activation_fn_str" in settings:  # older files
        function = settings.get("activation_fn", settings.get("activation_fn_str"))
        if function == "topk":
            architecture = "topk"
            settings["k"] = settings.get("activation_fn_kwargs", {}).get("k")
        elif function != "relu":
            raise InvalidArgument(f"{folder}: the activation {function!r} is not known")
    for name in ("normalize_activations", "reshape_activations"):
        if settings.get(name, "none") not in ("none", None):
            raise InvalidArgument(
                f"{folder} asks for {name}={settings[name]!r}; fold that into the weights with "
                "SAELens first"
            )
    try:
        return _built(architecture, settings, weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InvalidArgument(f"{folder} is no whole dictionary: {error!r}") from error


def save_dictionary(dictionary: SparseAutoencoder, folder: str | Path) -> Path:
    """Write a dictionary so that SAELens, and all that reads its files, can load it.

    A `BatchTopKCode` is written as what it is in evaluation: JumpReLU with one threshold. What
    cannot be said in these files (crosscoders, codes of one's own) is refused; a `Checkpoint`
    keeps anything.

    Parameters
    ----------
    dictionary : SparseAutoencoder
        What to write.
    folder : str or Path
        Where to; its two files are replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InvalidArgument
        If it cannot be written in this form.

    Examples
    --------
    >>> import tempfile
    >>> from bregma.mechanism import SparseAutoencoder, TopKCode, load_dictionary, save_dictionary
    >>> sae = SparseAutoencoder(8, 16, TopKCode(3), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     same = load_dictionary(save_dictionary(sae, folder))
    >>> x = torch.randn(5, 8)
    >>> torch.equal(same(x), sae(x))
    True
    """
    save_file = require("safetensors.torch", extra="models").save_file
    architecture, settings, weights = _described(dictionary)
    if dictionary.transcodes:
        if architecture not in ("standard", "jumprelu"):
            raise InvalidArgument(
                f"SAELens has no transcoders with a {type(dictionary.code).__name__}; keep the "
                "state_dict() in a Checkpoint"
            )
        architecture = {"standard": "transcoder", "jumprelu": "jumprelu_transcoder"}[architecture]
        settings["d_out"] = dictionary.n_outputs
    weights |= {"W_dec": dictionary.decoder, "b_dec": dictionary.bias}
    if dictionary.encoder is not None:
        weights |= {"W_enc": dictionary.encoder.weight.T}
    settings |= {
        "architecture": architecture,
        "d_in": dictionary.n_inputs,
        "d_sae": dictionary.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.centred,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {},
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: w.detach().cpu().float().contiguous().clone() for n, w in weights.items()}
    with atomic_path(folder / WEIGHTS) as part:
        save_file(tensors, part)
    with atomic_path(folder / SETTINGS) as part:
        part.write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    load_file = require("safetensors.torch", extra="models").load_file
    for name in (WEIGHTS, SETTINGS):
        if not (folder / name).is_file():
            raise InvalidArgument(f"{folder} holds no {name}: it is no dictionary of SAELens")
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except Exception as error:  # json's and safetensors' own kinds
        raise InvalidArgument(f"{folder} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise InvalidArgument(f"{folder / SETTINGS} holds a {type(settings).__name__}, no settings")
    return settings, {name: tensor.float() for name, tensor in weights.items()}


def _built(
    architecture: str, settings: dict[str, Any], weights: dict[str, torch.Tensor]
) -> SparseAutoencoder:
    decoder = weights["W_dec"]
    n, width = decoder.shape
    code: SparseCode
    if architecture == "topk":
        if settings.get("rescale_acts_by_decoder_norm"):
            # It scales what is compared by the lengths of features: the same as scaling W.
            lengths = decoder.norm(dim=1)
            weights["W_enc"] = weights["W_enc"] * lengths
            weights["b_enc"] = weights["b_enc"] * lengths
            decoder = decoder / lengths[:, None]
        code = TopKCode(int(settings["k"]))
    elif architecture == "matching_pursuit":
        if settings.get("stop_on_duplicate_support"):
            raise InvalidArgument(
                "stop_on_duplicate_support=True stops samples by what was chosen before; here a "
                "feature may be taken again: set it to false in cfg.json to go on regardless"
            )
        steps = int(settings.get("max_iterations") or width)
        code = MatchingPursuitCode(steps, tolerance=float(settings.get("residual_threshold", 0)))
    elif architecture.startswith("jumprelu"):
        code = JumpReLUCode(n, l0=0.0)
        with torch.no_grad():  # a threshold of 0, or below, is that of a ReLU
            code.log_threshold.copy_(weights["threshold"].clamp_min(1e-38).log())
    elif architecture == "gated":
        code = GatedCode(n, l1=0.0)
        gain = weights["r_mag"]
        with torch.no_grad():  # e^r (pre - b_gate) + b_mag, with pre that has b_gate in it
            code.log_gain.copy_(gain)
            code.shift.copy_(weights["b_mag"] - gain.exp() * weights["b_gate"])
        weights["b_enc"] = weights["b_gate"]
    else:
        code = ReLUCode(0.0)
    transcodes = architecture.endswith("transcoder")
    n_inputs = width if code.selects_itself else len(weights["W_enc"])
    dictionary = SparseAutoencoder(
        n_inputs, n, code,
        n_outputs=width if transcodes else None,
        centred=None if transcodes else bool(settings.get("apply_b_dec_to_input", True)),
        seed=0,
    )  # fmt: skip
    with torch.no_grad():
        dictionary.decoder.copy_(decoder)
        dictionary.bias.copy_(weights["b_dec"])
        if dictionary.encoder is not None:
            dictionary.encoder.weight.copy_(weights["W_enc"].T)
            dictionary.encoder.bias.copy_(weights["b_enc"])
    return dictionary.eval()


def _described(
    dictionary: SparseAutoencoder,
) -> tuple[str, dict[str, Any], dict[str, torch.Tensor]]:
    """Architecture, its own settings and its own weights."""
    code, kind = dictionary.code, type(dictionary.code)
    if type(dictionary) is SparseAutoencoder and dictionary.encoder is not None:
        bias = dictionary.encoder.bias
        if kind is ReLUCode:
            return "standard", {}, {"b_enc": bias}
        if isinstance(code, BatchTopKCode):
            if code.threshold < 0:
                raise InvalidArgument("this BatchTopKCode was never trained: it has no threshold")
            return "jumprelu", {}, {"b_enc": bias, "threshold": code.threshold.expand(len(bias))}
        if isinstance(code, TopKCode):
            settings = {"k": code.k, "rescale_acts_by_decoder_norm": False}
            return "topk", settings, {"b_enc": bias}
        if isinstance(code, JumpReLUCode):
            return "jumprelu", {}, {"b_enc": bias, "threshold": code.threshold}
        if isinstance(code, GatedCode):
            magnitude = code.shift + code.log_gain.exp() * bias
            return "gated", {}, {"b_gate": bias, "r_mag": code.log_gain, "b_mag": magnitude}
    if type(dictionary) is SparseAutoencoder and isinstance(code, MatchingPursuitCode):
        return (
            "matching_pursuit",
            {
                "residual_threshold": code.tolerance,
                "max_iterations": code.steps,
                "stop_on_duplicate_support": False,
            },
            {},
        )
    raise InvalidArgument(
        f"the format of SAELens has no {type(dictionary).__name__} with a {kind.__name__}; keep "
        "the state_dict() in a Checkpoint"
    )
