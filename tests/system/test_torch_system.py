"""TorchSystem: what it records is what a plain hook sees, and it leaves no trace."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from example_networks import Net, assert_as_before, snapshot
from torch import nn

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording import Recording, Stimuli, read
from bregma.run import private_randomness
from bregma.system import Ablate, ImageInput, Patch, System, TorchSystem
from bregma.system._quiet import bare


def plain_hooks(net: nn.Module, x: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
    """The reference: copies that ordinary forward hooks take, in evaluation mode."""
    net.eval()
    seen: dict[str, torch.Tensor] = {}
    parts = dict(net.named_modules())

    def keep(name):
        def hook(module, args, output):
            seen[name] = output.detach().clone()

        return hook

    handles = [parts[name].register_forward_hook(keep(name)) for name in names]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return seen


def pixels(stimuli: Stimuli) -> torch.Tensor:
    return torch.from_numpy(stimuli.images()).permute(0, 3, 1, 2).float().contiguous() / 255


class Of(nn.Module):
    """A module that gives what a function makes of its input."""

    def __init__(self, function) -> None:
        super().__init__()
        self.inner = nn.Identity()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(self.inner(*args, **kwargs))


def test_same_values_as_a_plain_hook_bit_for_bit(net, images):
    names = ["stem", "block.conv1", "block.bn", "block.conv2", "block", "pool", "flat", "fc"]
    recording = TorchSystem(net, names).record(images, batch_size=7)
    for name, tensor in plain_hooks(net, pixels(images), names).items():
        mine = recording.select(layer=name).values
        assert mine.dtype == np.float32
        assert (mine == tensor.flatten(1).numpy()).all(), name
    assert recording.n_units == sum(
        t[0].numel() for t in plain_hooks(net, pixels(images), names).values()
    )


def test_in_place_modules_do_not_reach_back(images):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Hardtanh(inplace=True))
    recording = TorchSystem(net).record(images)
    with torch.no_grad():
        conv = net[0](pixels(images))
    assert (recording.select(layer="0").values == conv.flatten(1).numpy()).all()
    assert recording.select(layer="0").values.min() < 0
    assert recording.select(layer="1").values.min() == 0


def test_in_place_network_does_not_write_to_the_stimuli():
    shown = np.full((2, 3), -1.0, np.float32)
    stimuli = Stimuli(shown)
    TorchSystem(nn.Sequential(nn.ReLU(inplace=True))).record(stimuli)
    assert (stimuli.array() == -1).all()
    assert (shown == -1).all()


def test_nothing_is_left_behind(net, images, unchanged):
    system = TorchSystem(net, ["stem", "fc.input"])
    system.record(images, batch_size=2)
    system.perturb(Ablate("stem", {"channel": 0}, baseline="mean")).record(images)
    assert isinstance(system, System)


def test_nothing_is_left_behind_by_an_exception(net, images, unchanged):
    def explode(module, args, output):
        if output.shape[0] == 1:
            raise RuntimeError("boom")

    handle = net.fc.register_forward_hook(explode)
    before = snapshot(net)
    with pytest.raises(RuntimeError, match="boom"):
        TorchSystem(net, "stem").perturb(Ablate("stem")).record(images, batch_size=3)
    assert_as_before(net, before)
    handle.remove()


def test_errors_inside_reduce_leave_nothing_behind(net, images, unchanged):
    def fail(tensor):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TorchSystem(net, "stem").record(images, reduce=fail)


def test_hooks_of_others_stay_and_see_whole_passes(net, images):
    seen = []
    handle = net.fc.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    TorchSystem(net, "stem").record(images, batch_size=4)
    assert seen == [2, 4, 3]  # the probe, then two batches
    assert list(net.fc._forward_hooks) == [handle.id]


def test_passes_end_after_the_last_wanted_part(net, images, monkeypatch):
    calls = []
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda m, x: calls.append(len(x)) or forward(m, x))
    for batch_size, probed in ((2, 2), (len(images), 2)):
        calls.clear()
        TorchSystem(net, "stem").record(images, batch_size=batch_size)
        assert calls == [probed]  # only the probe runs to the end


def test_the_first_batch_is_shown_once(net, images, monkeypatch):
    plain = TorchSystem(net, "fc").record(images, batch_size=5).values
    shown = []
    forward = nn.Conv2d.forward
    monkeypatch.setattr(
        nn.Conv2d, "forward", lambda m, x: shown.append((m, len(x))) or forward(m, x)
    )
    again = TorchSystem(net, "fc").record(images, batch_size=5)
    assert [n for module, n in shown if module is net.stem] == [5, len(images) - 5]
    assert (again.values == plain).all()


def test_parts_called_twice_have_numbers(net, images):
    recording = TorchSystem(net, "block.relu").record(images, batch_size=7)
    assert list(dict.fromkeys(recording.coordinate("layer"))) == ["block.relu#0", "block.relu#1"]
    block = plain_hooks(net, pixels(images), ["block"])["block"]
    assert (recording.select(layer="block.relu#1").values == block.flatten(1).numpy()).all()
    again = TorchSystem(net, "block.relu#1").record(images, batch_size=7)
    assert (again.values == recording.select(layer="block.relu#1").values).all()
    with pytest.raises(UnknownName, match="calls are #0 to #1"):
        TorchSystem(net, "block.relu#2").record(images)


def test_inputs_of_parts(net, images):
    recording = TorchSystem(net, ["fc.input", "flat", ".input"]).record(images)
    assert (
        recording.select(layer="fc.input").values == recording.select(layer="flat").values
    ).all()
    shown = pixels(images).flatten(1).numpy()
    assert (recording.select(layer=".input").values == shown).all()


def test_the_whole_network_and_networks_without_parts():
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    net = nn.Linear(3, 2)
    expected = net(torch.from_numpy(x)).detach().numpy()
    for layers in ("*", "."):
        recording = TorchSystem(net, layers).record(x)
        assert (recording.values == expected).all()
        assert recording.coordinate("unit").tolist() == ["./c0", "./c1"]


def test_labels_of_presentations(net, images):
    recording = TorchSystem(net, "fc", name="tiny").record(images)
    assert recording.stimuli.tolist() == list("abcdefg")
    assert recording.presentations["stimulus_kind"].tolist() == ["x"] * 7
    assert recording.presentations["size"].tolist() == list(range(7))
    assert recording.name == "tiny"
    assert recording.units["layer"].unique() == ["fc"]


@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_reduce_over_positions(net, images, reduce):
    layers = ["stem", "fc"]
    full = TorchSystem(net, layers).record(images)
    reduced = TorchSystem(net, layers).record(images, reduce=reduce)
    assert reduced.coordinate("unit").tolist() == [f"stem/c{i}" for i in range(6)] + [
        f"fc/c{i}" for i in range(4)
    ]
    stem = torch.from_numpy(full.select(layer="stem").values.reshape(7, 6, -1))
    expected = getattr(stem, reduce)(-1)
    expected = expected if reduce == "mean" else expected.values
    assert np.allclose(reduced.select(layer="stem").values, expected, atol=1e-6)
    assert (reduced.select(layer="fc").values == full.select(layer="fc").values).all()
    assert "row" not in reduced.units


def test_reduce_with_a_function(net, images):
    recording = TorchSystem(net, "stem").record(images, reduce=lambda x: x[:, :2].amax((2, 3)))
    assert recording.coordinate("unit").tolist() == ["stem/c0", "stem/c1"]
    view = TorchSystem(net, "stem").record(images, reduce=lambda x: x[:, 0])
    assert (view.values == TorchSystem(net, "stem").record(images).values[:, :30]).all()
    with pytest.raises(InvalidArgument, match="gives a int, not a tensor"):
        TorchSystem(net, "stem").record(images, reduce=len)
    with pytest.raises(InvalidArgument, match="after reduce="):
        TorchSystem(net, "stem").record(images, reduce=lambda x: x.sum(0))
    with pytest.raises(InvalidArgument, match="'median' is not"):
        TorchSystem(net, "stem").record(images, reduce="median")


@pytest.mark.parametrize(
    ("function", "element", "expected"),
    [
        (lambda x: (x, -x), "", 1),
        (lambda x: (x, -x), "[1]", -1),
        (lambda x: [None, {"last": -x}], "", -1),
        (lambda x: {"a": x, "b": (x, -2 * x)}, "[b][1]", -2),
    ],
)
def test_parts_that_give_structures(function, element, expected):
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    net = nn.ModuleDict({"part": Of(function)})
    net.forward = lambda x: net["part"](x)
    system = TorchSystem(net, "part" + element)
    assert (system.record(x).values == expected * x).all()
    held = system.perturb(Ablate("part" + element, {"channel": 1}))
    assert (held.record(x).values[:, 1] == 0).all()


def test_keyword_arguments_reach_the_network_and_can_be_recorded():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.add = Of(lambda x: x)
            self.add.inner.forward = lambda x, *, mask: x * mask

        def forward(self, x, mask):
            return self.add(x, mask=mask)

    x = np.ones((3, 4), np.float32)
    feed = {
        "dict": lambda s: {"x": torch.tensor(s.array()), "mask": 2 * torch.ones(len(s), 4)},
        "tuple": lambda s: (torch.tensor(s.array()), 2 * torch.ones(len(s), 4)),
    }
    for preprocess in feed.values():
        system = TorchSystem(Two(), ["add.input", "add.input[mask]", "add"], preprocess=preprocess)
        recording = system.record(x)
        assert (recording.select(layer="add.input[mask]").values == 2).all()
        assert (recording.select(layer="add").values == 2).all()
        held = system.perturb(Ablate("add.input[mask]", baseline=5)).record(x)
        assert (held.select(layer="add").values == 5).all()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.sum(0), r"shape \(3,\) for 5"),
        (lambda x: x.sum(), r"shape \(\) for 5"),
        (lambda x: x.T[:, None], "first axis must be the stimuli"),
        (lambda x: torch.complex(x, x), "complex"),
        (lambda x: "text", "holds no tensor but a str"),
    ],
)
def test_parts_that_do_not_answer_each_stimulus(function, message):
    with pytest.raises(InvalidArgument, match=message):
        TorchSystem(Of(function), ".").record(np.zeros((5, 3), np.float32))


@pytest.mark.parametrize("n", [3, 4])
def test_the_axis_of_stimuli_is_not_taken_for_another(n):
    def turned(x):  # as many tokens as stimuli, and those are behind them
        return x.repeat(1, 4)[:, :4, None].transpose(0, 1)

    for function in (lambda x: x.T, turned):
        with pytest.raises(InvalidArgument, match="for 2 stimuli; its first axis must be the"):
            TorchSystem(Of(function), ".").record(np.ones((n, n), np.float32))
    with pytest.raises(InvalidArgument, match="for 2 stimuli"):
        TorchSystem(Of(turned), ".").record(np.ones((n, n), np.float32), reduce="mean")


def test_parts_that_do_not_run(net, images):
    with pytest.raises(InvalidArgument, match="'unused' does not run"):
        TorchSystem(net, "unused").record(images)
    assert "unused" not in TorchSystem(net, "*").record(images).units["layer"].unique()
    with pytest.raises(InvalidArgument, match="none of these sites"):
        TorchSystem(net, "un*").record(images)


def test_unknown_sites(net):
    with pytest.raises(UnknownName, match="nearest of 11: 'block.conv2'"):
        TorchSystem(net, "block.conv9")
    with pytest.raises(UnknownName):
        TorchSystem(net).with_layers("steam")
    assert TorchSystem(net, "fc").with_layers("stem").layers == ("stem",)
    assert TorchSystem(net).sites()[:3] == [".", "stem", "block"]


def test_nan_is_refused_by_the_name_of_the_layer(net, images):
    with torch.no_grad():
        net.fc.weight[1, 2] = float("nan")
    with pytest.raises(InvalidRecording, match="layer 'fc' gives NaN or infinity.*'fc/c1'"):
        TorchSystem(net, ["stem", "fc"]).record(images)


def test_large_values_whose_sum_overflows_are_no_error():
    x = np.full((2, 4), 3e38, np.float32)
    assert (TorchSystem(nn.Identity()).record(x).values == x).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precisions(dtype):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).to(dtype)
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    recording = TorchSystem(net).record(x, batch_size=6)
    with torch.no_grad():
        expected = net(torch.from_numpy(x).to(dtype))
    mine = recording.select(layer="1").values
    assert mine.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert (torch.from_numpy(mine) == expected.to(torch.from_numpy(mine).dtype)).all()
    held = TorchSystem(net).perturb(Ablate("0", {"channel": 1}, baseline="mean")).record(x)
    assert np.isfinite(held.values).all()


def test_whole_numbers_and_booleans():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert (TorchSystem(Of(lambda x: x > 4), ".").record(x).values == (x > 4)).all()
    recording = TorchSystem(Of(lambda x: x.long()), ".").record(x)
    assert recording.values.dtype == np.float64
    tokens = np.array([[1, 2], [3, 4]])
    embedding = nn.Embedding(5, 3)
    recording = TorchSystem(embedding, ".").record(tokens)
    assert (
        recording.values == embedding.weight[torch.from_numpy(tokens)].flatten(1).detach().numpy()
    ).all()


@pytest.mark.parametrize("name", ["input", "a b", "x[0]", "*", "Ω/é", "a#1", "output"])
def test_unusual_names(name):
    net = nn.Sequential()
    net.add_module("first", nn.Linear(3, 3))
    net.add_module(name, nn.Linear(3, 2))
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    recording = TorchSystem(net, name).record(x)
    assert recording.units["layer"].unique().tolist() == [name]
    assert (recording.values == net(torch.from_numpy(x)).detach().numpy()).all()
    held = TorchSystem(net, name).perturb(Ablate(name, [f"{name}/c1"])).record(x)
    assert (held.values[:, 1] == 0).all()
    assert (held.values[:, 0] == recording.values[:, 0]).all()


def test_shared_modules_are_found_once_by_patterns():
    linear = nn.Linear(3, 3)
    net = nn.Sequential(linear, nn.ReLU(), linear)
    x = np.ones((2, 3), np.float32)
    layers = TorchSystem(net).record(x).units["layer"].unique().tolist()
    assert layers == ["0#0", "0#1", "1"]
    assert TorchSystem(net, "2#1").record(x).n_units == 3


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_wrappers_are_looked_through(net, images, wrap):
    expected = TorchSystem(net, ["stem", "fc"]).record(images)
    assert TorchSystem(wrap(net), ["stem", "fc"]).record(images).identical(expected)


def test_compiled_parts_run_eagerly_under_their_own_names(net, images):
    expected = TorchSystem(net, ["block.conv1", "block", "fc"]).record(images)
    net.block = torch.compile(net.block, backend="eager")
    assert TorchSystem(net, ["block.conv1", "block", "fc"]).record(images).identical(expected)
    net.fc.compile(backend="eager")
    assert TorchSystem(net, ["block.conv1", "block", "fc"]).record(images).identical(expected)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("resnet18", "not a str"),
        (nn.LazyLinear(3), "lazy"),
        (torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), "scripted"),
    ],
)
def test_modules_that_nobody_can_listen_to(module, message):
    with pytest.raises(InvalidArgument, match=message):
        bare(module)


def test_batches_change_nothing_but_the_last_bits(net, images):
    system = TorchSystem(net, ["stem", "block", "fc"])
    whole = system.record(images, batch_size=7)
    for size in (1, 2, 3, 100):
        parts = system.record(images, batch_size=size)
        assert np.allclose(parts.values, whole.values, rtol=1e-5, atol=1e-6)
        assert (parts.coordinate("unit") == whole.coordinate("unit")).all()


def test_one_stimulus(net, images):
    assert TorchSystem(net, "fc").record(images[:1]).n_presentations == 1
    with pytest.raises(InvalidArgument, match="batch_size"):
        TorchSystem(net, "fc").record(images, batch_size=0)


def test_modules_that_draw_at_random_follow_the_seed(net):
    noisy = Of(lambda x: x + torch.randn_like(x) + np.random.standard_normal())  # noqa: NPY002
    x = np.zeros((6, 3), np.float32)
    torch.manual_seed(1)
    one = TorchSystem(noisy, ".").record(x, batch_size=2, seed=3).values
    torch.manual_seed(2)
    two = TorchSystem(noisy, ".").record(x, batch_size=2, seed=3).values
    assert (one == two).all()
    assert (one != TorchSystem(noisy, ".").record(x, batch_size=2, seed=4).values).any()


def test_buffers_that_change_in_a_pass_are_put_back():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros(1))
            self.register_buffer("replaced", torch.zeros(1))
            self.register_buffer("nothing", None)

        def forward(self, x):
            self.n += len(x)
            self.replaced = self.replaced + 1
            self.register_buffer("new", torch.ones(1))
            return x + self.n

    net = Counts()
    before = snapshot(net)
    TorchSystem(net, ".").record(np.zeros((4, 2), np.float32), batch_size=2)
    assert_as_before(net, before)
    assert "new" not in dict(net.named_buffers())


def test_ways_that_depend_on_the_stimuli_are_an_error():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.left(x) if x.max() < 5 else self.right(x)

    x = np.arange(8, dtype=np.float32)[:, None]
    with pytest.raises(InvalidRecording, match="'left' ran for the first stimuli but not for '4'"):
        TorchSystem(Fork(), "left").record(x, batch_size=2)
    with pytest.raises(InvalidArgument, match="gives the shape"):
        TorchSystem(Of(lambda x: x[:, : max(1, len(x) - 1)]), ".").record(
            np.zeros((5, 4), np.float32), batch_size=3
        )


def test_reducing_in_place_does_not_reach_the_network(net, images):
    TorchSystem(net, "stem").record(images, reduce=lambda x: x.zero_())
    before = TorchSystem(net, "fc").record(images)

    def zero(x):
        return x.zero_().flatten(1)[:, :1] if x.ndim == 4 else x

    after = TorchSystem(net, ["stem", "fc"]).record(images, reduce=zero)
    assert (after.select(layer="fc").values == before.values).all()


def test_units_that_change_with_the_stimuli_cannot_be_perturbed():
    system = TorchSystem(Of(lambda x: x[:, : max(1, len(x) - 1)]), ".")
    with pytest.raises(InvalidArgument, match="cannot be perturbed"):
        system.perturb(Ablate(".")).record(np.zeros((5, 4), np.float32), batch_size=3)


def test_units_before_and_after_recording(net, images):
    system = TorchSystem(net, "fc")
    with pytest.raises(InvalidArgument, match="example="):
        _ = system.units
    recording = system.record(images)
    assert system.units.equals(recording.units)
    known = TorchSystem(net, "fc", example=images)
    assert known.units.equals(recording.units)
    known.record(images, reduce=lambda x: x[:, :1])
    assert known.units.equals(recording.units)
    patched = TorchSystem(net, "fc", example=images[:2]).perturb(
        Patch("fc", recording.select(stimulus=["f", "g"]))
    )
    assert patched.units.equals(recording.units)
    assert "TorchSystem('Net', layers=['fc'])" in repr(known)


def test_another_device_takes_a_copy(net, images):
    assert TorchSystem(net, "fc", device="cpu").module is net
    meta = Net().to("meta")
    system = TorchSystem(net, "fc", device=torch.device("cpu"))
    assert system.module is net
    with pytest.raises(InvalidArgument):
        TorchSystem(meta, "fc", device="cuda:99")


def test_images_of_different_sizes_need_a_size(net, tmp_path):
    from PIL import Image

    for i, size in enumerate([(8, 9), (20, 12)]):
        Image.new("RGB", size, (i * 100, 20, 30)).save(tmp_path / f"{i}.png")
    stimuli = Stimuli.from_images(tmp_path)
    with pytest.raises(InvalidArgument, match="different sizes"):
        TorchSystem(net, "fc").record(stimuli)
    system = TorchSystem(net, "fc", preprocess=ImageInput((12, 10)))
    assert system.record(stimuli).n_presentations == 2


def test_image_input():
    red = np.zeros((2, 6, 6, 3), np.uint8)
    red[..., 0] = 255
    stimuli = Stimuli(red, kind="image")
    assert torch.equal(
        ImageInput()(stimuli), torch.tensor([1.0, 0, 0])[:, None, None].expand(2, 3, 6, 6)
    )
    grey = ImageInput((3, 3), grey=True)(stimuli)
    assert grey.shape == (2, 1, 3, 3)
    assert torch.allclose(grey, torch.tensor(0.2126))
    normal = ImageInput(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.25))(stimuli)
    assert normal[0, :, 0, 0].tolist() == [1, -1, -2]
    with pytest.raises(InvalidArgument, match="kind='image'"):
        ImageInput()(Stimuli(np.zeros((2, 3))))


def test_progress_is_silent_without_a_terminal(net, images, capsys):
    TorchSystem(net, "fc").record(images, progress=True)
    assert capsys.readouterr() == ("", "")


# Writing to disk


def test_streaming_equals_memory(net, images, tmp_path):
    pytest.importorskip("zarr")
    system = TorchSystem(net, ["stem", "fc"])
    stored = system.record(images, batch_size=3, to=tmp_path / "net.zarr")
    assert stored.identical(system.record(images, batch_size=3))
    assert read(tmp_path / "net.zarr").identical(stored)
    assert [path.name for path in tmp_path.iterdir()] == ["net.zarr"]
    with pytest.raises(InvalidArgument, match=r"must end in \.zarr"):
        system.record(images, to=tmp_path / "net.nc")


def test_streaming_goes_on_after_an_interruption(net, images, tmp_path):
    pytest.importorskip("zarr")
    expected = TorchSystem(net, "stem").record(images, batch_size=2)
    shown = []

    def interrupted(stimuli):
        shown.append(len(stimuli))
        if len(shown) == 4:
            raise KeyboardInterrupt
        return pixels(stimuli)

    system = TorchSystem(net, "stem", preprocess=interrupted)
    with pytest.raises(KeyboardInterrupt):
        system.record(images, batch_size=2, to=tmp_path / "net.zarr")
    assert not (tmp_path / "net.zarr").exists()
    stored = system.record(images, batch_size=2, to=tmp_path / "net.zarr")
    assert shown == [2, 2, 2, 1, 2, 1]  # the first batch again, then what was interrupted
    assert stored.identical(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["net.zarr"]


def test_streaming_takes_nothing_over_from_another_network(net, images, tmp_path):
    pytest.importorskip("zarr")
    fail_at = [4]

    def interrupted(stimuli):
        fail_at[0] -= 1
        if fail_at[0] == 0:
            raise KeyboardInterrupt
        return pixels(stimuli)

    system = TorchSystem(net, "stem", preprocess=interrupted)
    with pytest.raises(KeyboardInterrupt):
        system.record(images, batch_size=2, to=tmp_path / "net.zarr")
    with torch.no_grad():
        net.stem.weight.mul_(2)
    stored = system.record(images, batch_size=2, to=tmp_path / "net.zarr")
    assert stored.identical(TorchSystem(net, "stem").record(images, batch_size=2))


MEMORY = """
import resource, sys
import numpy as np, torch
from torch import nn
from bregma import Stimuli, TorchSystem

net = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1))
images = Stimuli(np.zeros((1024, 32, 32), np.uint8), kind="image")
feed = lambda s: torch.from_numpy(s.array())[:, None].float()
TorchSystem(net, preprocess=feed).record(images[:4], to=sys.argv[1] + "/warm.zarr")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
to = sys.argv[1] + "/x.zarr"
recording = TorchSystem(net, preprocess=feed).record(images, batch_size=16, to=to)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(recording.data.nbytes // 2**20, (after - before) // 2**10, recording.data.chunks is not None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured as Linux counts it")
def test_streaming_needs_memory_for_a_few_batches_only(tmp_path):
    import subprocess

    pytest.importorskip("zarr")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    size, grown, lazy = done.stdout.split()
    assert int(size) == 128
    assert int(grown) < 64  # MiB; a batch is 2 MiB
    assert lazy == "True"


def test_streaming_clears_what_runs_with_other_settings_left(net, images, tmp_path):
    pytest.importorskip("zarr")
    left = tmp_path / ".net.zarr.parts-0123456789abcdef"
    left.mkdir()
    (left / "0.npy").write_bytes(b"half")
    TorchSystem(net, "fc").record(images, to=tmp_path / "net.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["net.zarr"]


def test_private_randomness_gives_back_all_generators():
    import random

    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with private_randomness(5):
        one = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    again = []

    def fail():
        with private_randomness(5):
            again.extend((torch.rand(3), np.random.rand(3), random.random()))  # noqa: NPY002
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert torch.equal(again[0], one[0])
    assert (again[1] == one[1]).all()
    assert again[2] == one[2]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


def test_recordings_are_recordings(net, images):
    assert isinstance(TorchSystem(net, "fc").record(images), Recording)
