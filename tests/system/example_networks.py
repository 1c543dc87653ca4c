"""Networks, and what must be left as it was, for the tests of systems."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Residual block whose ReLU is called twice and writes in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.conv2(self.relu(self.bn(self.conv1(x)))) + x)


class Net(nn.Module):
    """A small residual network with a head that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.block = Block(6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.fc = nn.Linear(6, 4)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.flat(self.pool(self.block(self.stem(x)))))


def with_statistics(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give norm layers running statistics that are not the default."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
                part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
    return net


def snapshot(net: nn.Module) -> dict[str, object]:
    """All that a system must leave as it was."""
    return {
        "tensors": {k: (v, v.clone()) for k, v in net.state_dict(keep_vars=True).items()},
        "modes": {k: m.training for k, m in net.named_modules()},
        "hooks": {
            k: (dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks))
            for k, m in net.named_modules()
        },
        "attributes": {k: set(vars(m)) for k, m in net.named_modules()},
    }


def assert_as_before(net: nn.Module, before: dict[str, object]) -> None:
    after = snapshot(net)
    for key in ("modes", "hooks", "attributes"):
        assert after[key] == before[key], key
    assert after["tensors"].keys() == before["tensors"].keys()
    for name, (tensor, copy) in before["tensors"].items():
        now, _ = after["tensors"][name]
        assert now is tensor, name
        assert torch.equal(now.nan_to_num(), copy.nan_to_num()), name
        assert now.grad is None
