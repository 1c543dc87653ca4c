"""Systems by name: built-in ones, timm's, and the user's own."""

from __future__ import annotations

import os
import socket
import sys
import time
import types

import numpy as np
import pytest
import torch
from torch import nn

from bregma.errors import InvalidArgument, MissingExtra, ModelUnavailable, UnknownName
from bregma.recording import Stimuli
from bregma.system import System, TorchSystem, load
from bregma.system import _cnn as cnn
from bregma.system import _timm as by_timm

IMAGES = Stimuli(np.random.default_rng(0).integers(0, 256, (3, 40, 23, 3)).astype(np.uint8))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Train the small network once, and not in the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BREGMA_CACHE", str(folder))
        yield folder


# Built-in


def test_pixels_are_the_colours_of_the_image():
    image = Stimuli(np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8))
    recording = load("pixels").record(image)
    assert recording.units["row"].max() == 31
    red = recording.select(channel=0).values.reshape(2, 32, 32)
    assert np.allclose(red, image.images()[..., 0] / 255)
    assert load("pixels").record(IMAGES).n_units == 3 * 32 * 32


def test_the_small_network_has_learned_to_read(cache):
    system = load("cnn@readout")
    images, labels = cnn.digits()
    held_out = np.arange(len(labels)) % 5 == 0
    digits = Stimuli((images[held_out, 0].numpy() * 255).round().astype(np.uint8), kind="image")
    for shown in (digits, Stimuli(255 - digits.array(), kind="image")):
        answers = system.record(shown).values.argmax(1)
        assert (answers == labels[held_out].numpy()).mean() > 0.95
    naive = load("cnn@readout", untrained=True).record(digits).values.argmax(1)
    assert (naive == labels[held_out].numpy()).mean() < 0.35
    assert len(list(cache.iterdir())) == 1


def test_the_small_network_is_learned_once_and_again_when_its_file_is_damaged(cache, monkeypatch):
    first = cnn.trained_cnn()
    monkeypatch.setattr(cnn, "fit", None)  # from the cache
    assert torch.equal(cnn.trained_cnn().readout.weight, first.readout.weight)
    [file] = cache.iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:100])
    learned = []
    monkeypatch.setattr(cnn, "fit", lambda net, *args, **options: learned.append(options["seed"]))
    cnn.trained_cnn()
    assert learned == [0]
    file.write_bytes(good)


def test_the_small_network_does_without_a_cache(monkeypatch):
    monkeypatch.setattr(cnn, "fit", lambda *args, **options: None)
    monkeypatch.setenv("BREGMA_CACHE", os.devnull + "/nowhere")
    assert isinstance(cnn.trained_cnn(seed=1), cnn.SmallCNN)
    monkeypatch.delenv("BREGMA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(cnn._cache()) == "/somewhere/bregma"


def test_built_in_systems_are_named_like_their_specification():
    assert load("cnn", untrained=True, seed=3).name == "cnn (untrained, seed 3)"
    assert load("v1@complex").name == "v1@complex"
    assert set(load("cnn@relu1, relu2", untrained=True).units["layer"]) == {"relu1", "relu2"}
    one, again, two = (load("cnn", untrained=True, seed=s).module for s in (1, 1, 2))
    assert torch.equal(one.conv1.weight, again.conv1.weight)
    assert not torch.equal(one.conv1.weight, two.conv1.weight)


@pytest.mark.parametrize("spec", ["v2", "timm", "resnet18", "", "folder/model.pt:make"])
def test_unknown_systems(spec):
    with pytest.raises(UnknownName, match="no system"):
        load(spec)


def test_wrong_questions_to_built_in_systems():
    with pytest.raises(InvalidArgument, match="nothing in 'v1' is learned"):
        load("v1", untrained=True)
    with pytest.raises(UnknownName, match="nearest"):
        load("v1@simpel")
    with pytest.raises(InvalidArgument, match="looks at images"):
        load("pixels").record(np.zeros((3, 5)))


# timm


def test_timm_models_without_their_weights(timm):
    system = load("timm:resnet18", untrained=True, seed=1)
    assert system.name == "timm:resnet18 (untrained, seed 1)"
    assert system.layers == ("fc.input",)
    recording = system.record(IMAGES)
    assert recording.n_units == 512
    again = load("timm:resnet18", untrained=True, seed=1).record(IMAGES)
    assert (again.values == recording.values).all()
    other = load("timm:resnet18@fc.input", untrained=True, seed=2).record(IMAGES)
    assert (other.values != recording.values).any()


def test_timm_preprocessing_is_the_one_of_the_model(timm):
    from PIL import Image

    system = load("timm:resnet18@.input", untrained=True)
    config = timm.data.resolve_model_data_config(system.module)
    transform = timm.data.create_transform(**config, is_training=False)
    expected = torch.stack([transform(Image.fromarray(image)) for image in IMAGES.images()])
    assert (system.record(IMAGES).values == expected.flatten(1).numpy()).all()


def test_transformers_of_timm_have_heads(timm):
    system = load("timm:vit_tiny_patch16_224@blocks.0.attn.proj.input,norm", untrained=True)
    units = system.record(IMAGES[:2]).units
    assert set(units["head"].dropna()) == {0, 1, 2}
    assert set(units["kind"]) == {"token"}


def test_unknown_timm_models(timm):
    with pytest.raises(UnknownName, match="resnet18"):
        load("timm:resnet_18")


@pytest.mark.parametrize("why", ["offline", "no such host", "refused"])
def test_weights_that_cannot_be_had(timm, monkeypatch, tmp_path, why):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    if why == "offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    elif why == "no such host":
        monkeypatch.setenv("HF_ENDPOINT", "http://nowhere.invalid")
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    start = time.monotonic()
    with pytest.raises(ModelUnavailable, match="--untrained"):
        load("timm:resnet18")
    assert time.monotonic() - start < by_timm.HUB_TIMEOUT + 20  # and not a minute of trying again


def test_weights_that_were_downloaded_before(timm, monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    safetensors = pytest.importorskip("safetensors.torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        learned = timm.create_model("resnet18")
    safetensors.save_file(learned.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(
        hub, "try_to_load_from_cache", lambda repo, file: str(tmp_path / "model.safetensors")
    )
    monkeypatch.setattr(by_timm, "_hub_answers", lambda: pytest.fail("it is there already"))
    system = load("timm:resnet18")
    assert torch.equal(system.module.fc.weight, learned.fc.weight)


def test_a_hub_that_answers_but_does_not_deliver(timm, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.setattr(by_timm, "_hub_answers", lambda: True)
    create = timm.create_model

    def fail(name, pretrained=False, **options):
        if pretrained:
            raise OSError("403 Forbidden\nmore")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ModelUnavailable, match="403 Forbidden; .*--untrained"):
        load("timm:resnet18")


def test_models_that_never_had_weights(timm):
    bare = next(
        name
        for name in timm.list_models()
        if (config := timm.models.get_pretrained_cfg(name)) is None or not config.has_weights
    )
    with pytest.raises(ModelUnavailable, match="has no weights"):
        load(f"timm:{bare}")


def test_an_answer_of_the_hub_is_an_answer_whatever_it_says(monkeypatch):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    status = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        assert by_timm._hub_answers()
        status[0] = 404
        assert by_timm._hub_answers()
    finally:
        server.shutdown()
        server.server_close()
    monkeypatch.setenv("HF_ENDPOINT", "no address")
    assert not by_timm._hub_answers()


def test_timm_that_is_not_there_or_does_not_fit(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"bregma\[models\]"):
        load("timm:resnet18")

    def broken(module, extra):
        raise AttributeError("module 'torch' has no attribute 'new'")

    monkeypatch.setattr(by_timm, "require", broken)
    with pytest.raises(ModelUnavailable, match="whl/cpu"):
        load("timm:resnet18")


def test_operators_that_torchvision_lacks_are_declared(monkeypatch):
    asked = []

    def require(module, extra):
        asked.append(module)
        if len(asked) < 3:
            raise RuntimeError(f"operator torchvision::lacking{len(asked)} does not exist")
        return timm

    timm = types.ModuleType("timm")
    monkeypatch.setattr(by_timm, "require", require)
    monkeypatch.setitem(sys.modules, "torchvision.bregma_test", types.ModuleType("half"))
    real = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in ("timm", "torchvision")}
    try:
        assert by_timm._import_timm() is timm
        assert "torchvision.bregma_test" not in sys.modules
    finally:
        sys.modules.update({n: m for n, m in real.items() if n != "torchvision.bregma_test"})


def test_models_without_a_classifier_are_recorded_whole():
    assert by_timm._before_classifier(nn.Linear(2, 2)) == "."


# The user's own files

OWN = """
import torch
from torch import nn
from dataclasses import dataclass
from bregma.system import TorchSystem, RecordedSystem
from bregma.recording import Recording

@dataclass
class Config:
    width: int = 3

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, Config().width), nn.ReLU())

ready = nn.Linear(4, 2)

def system():
    return TorchSystem(Net(), "0", name="mine")

def brain():
    return RecordedSystem(Recording.from_array(torch.eye(3)))

def number():
    return 3

def broken():
    raise RuntimeError("no weights here")

def needs(argument):
    return Net()
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "a@b:c" / "my models.py"
    file.parent.mkdir()
    file.write_text(OWN)
    return file


X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("factory", "units"),
    [
        ("Net", ["./c0", "./c1", "./c2"]),
        ("Net@0,1", ["0/c0", "0/c1", "0/c2", "1/c0", "1/c1", "1/c2"]),
        ("system", ["0/c0", "0/c1", "0/c2"]),
        ("system@1", ["1/c0", "1/c1", "1/c2"]),
        ("ready", ["./c0", "./c1"]),
    ],
)
def test_factories(own, factory, units):
    system = load(f"{own}:{factory}")
    assert isinstance(system, System)
    assert system.record(X).coordinate("unit").tolist() == units


def test_factories_follow_the_seed_and_leave_global_generators_alone(own):
    state = torch.get_rng_state()
    one, again, two = (load(f"{own}:Net", seed=seed).record(X).values for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != two).any()
    assert torch.equal(torch.get_rng_state(), state)
    naive = load(f"{own}:system", untrained=True, seed=4)
    assert isinstance(naive, TorchSystem)
    assert naive.name == "mine (untrained, seed 4)"
    assert isinstance(load(f"{own}:brain"), System)


@pytest.mark.parametrize(
    ("factory", "kind", "message"),
    [
        ("network", UnknownName, "nearest"),
        ("number", ModelUnavailable, "gives a int; a torch.nn.Module or a bregma System"),
        ("broken", ModelUnavailable, r"broken\(\) failed: RuntimeError: no weights here"),
        ("needs", ModelUnavailable, "missing 1 required positional argument"),
        ("brain@layer", ModelUnavailable, "RecordedSystem, which is recorded as it is"),
    ],
)
def test_factories_that_give_no_system(own, factory, kind, message):
    with pytest.raises(kind, match=message):
        load(f"{own}:{factory}")


def test_files_that_cannot_be_run(own, tmp_path):
    with pytest.raises(ModelUnavailable, match="there is no file"):
        load(f"{tmp_path / 'other.py'}:make")
    own.write_text("import not_installed_anywhere")
    with pytest.raises(ModelUnavailable, match="ModuleNotFoundError.*not_installed_anywhere"):
        load(f"{own}:make")
    own.write_text("def f(:")
    with pytest.raises(ModelUnavailable, match="SyntaxError"):
        load(f"{own}:make")
    assert "bregma_user_my models" not in sys.modules
    own.write_text(OWN)
    with pytest.raises(ModelUnavailable, match="untrained="):
        load(f"{own}:brain", untrained=True)
