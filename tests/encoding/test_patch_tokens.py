"""Patch tokens of vision models of timm and transformers: without class tokens, row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bregma.encoding import AttentionReadout, TokenRegressor, patch_tokens
from bregma.errors import InvalidArgument
from bregma.run import private_randomness

SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32}


def images(n=3, rows=32, columns=32):
    return torch.randn(n, 3, rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vit(timm):
    with private_randomness(1):  # the same weights whatever was drawn before
        return timm.create_model("test_vit", img_size=32).eval()


@pytest.fixture(scope="module")
def dino(transformers):
    config = transformers.Dinov2WithRegistersConfig(
        **SIZE, patch_size=8, num_register_tokens=4, mlp_ratio=2
    )
    with private_randomness(1):
        return transformers.Dinov2WithRegistersModel(config).eval()


def test_tokens_of_timm_are_those_behind_the_class_token(vit):
    tokens, grid = patch_tokens(vit, images())
    assert grid == (2, 2)
    with torch.no_grad():
        torch.testing.assert_close(tokens, vit.forward_features(images())[:, 1:])


def test_tokens_of_dino_are_those_behind_class_and_registers(dino):
    tokens, grid = patch_tokens(dino, images(), batch_size=2)
    assert grid == (4, 4)
    with torch.no_grad():
        expected = dino(images()).last_hidden_state[:, 5:]
    torch.testing.assert_close(tokens, expected)


def test_layers_are_counted_alike_in_both_libraries(vit, dino):
    for model in (vit, dino):
        n = len(vit.blocks) if model is vit else 2
        first, last = (patch_tokens(model, images(), layer=k)[0] for k in (0, n - 1))
        assert not torch.allclose(first, last)
        torch.testing.assert_close(patch_tokens(model, images(), layer=-1)[0], last)
        final = patch_tokens(model, images())[0]  # the model's own normalisation comes last
        norm = vit.norm if model is vit else dino.layernorm
        torch.testing.assert_close(norm(last), final)
        with pytest.raises(InvalidArgument, match="no layer 9"):
            patch_tokens(model, images(), layer=9)


def test_tokens_are_laid_out_row_by_row(dino):
    model = type(dino)(dino.config).eval()
    for layer in model.encoder.layer:
        nn.init.zeros_(layer.layer_scale1.lambda1)  # tokens do not talk to each other
    changed = images(1)
    changed[:, :, 8:16, 16:24] += 1  # row 1, column 2 of 4 x 4
    before, after = patch_tokens(model, images(1))[0], patch_tokens(model, changed)[0]
    assert (before != after).any(dim=2)[0].nonzero().flatten().tolist() == [1 * 4 + 2]


def test_places_of_a_convolutional_network_are_tokens_too(timm):
    net = timm.create_model("resnet18").eval()
    tokens, grid = patch_tokens(net, images(2, 64, 96))
    assert grid == (2, 3)
    with torch.no_grad():
        expected = net.forward_features(images(2, 64, 96))
    torch.testing.assert_close(tokens[:, 1 * 3 + 2], expected[:, :, 1, 2])


def test_patches_that_are_merged_are_laid_out_right_or_refused(timm, transformers):
    net = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=(32, 64), embed_dim=8, depths=(1, 1),
        num_heads=(1, 1), window_size=4,
    ).eval()  # fmt: skip
    tokens, grid = patch_tokens(net, images(2, 32, 64))
    assert grid == (4, 8)
    with torch.no_grad():
        expected = net.forward_features(images(2, 32, 64))  # (image, row, column, width)
    torch.testing.assert_close(tokens[:, 1 * 8 + 2], expected[:, 1, 2])
    merging = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 4}
    swin = transformers.SwinModel(transformers.SwinConfig(image_size=32, **merging))
    with pytest.raises(InvalidArgument, match="16 tokens for 8 x 8 patches"):
        patch_tokens(swin, images())


def test_the_model_keeps_its_mode_and_learns_nothing(dino):
    dino.train()
    tokens, _ = patch_tokens(dino, images())
    assert dino.training
    assert not tokens.requires_grad
    dino.eval()
    torch.testing.assert_close(tokens, patch_tokens(dino, images())[0])


def test_no_images_and_other_modules_are_refused(vit):
    with pytest.raises(InvalidArgument, match="0 images"):
        patch_tokens(vit, images(0))
    with pytest.raises(InvalidArgument, match="no vision model"):
        patch_tokens(nn.Flatten(), images())


@pytest.mark.parametrize("name", ["vit", "dino"])
def test_from_images_to_responses(name, request):
    model = request.getfixturevalue(name)
    tokens, grid = patch_tokens(model, images(60))
    x = tokens.numpy()
    responses = np.stack([x[:, 0, 0], x[:, 3, 1]], axis=1)
    readout = AttentionReadout(x.shape[2], ["a", "b"], grid=grid, seed=0)
    fitted = TokenRegressor(
        readout, epochs=400, patience=100, lr=2e-2, batch_size=30, seed=0, device="cpu"
    ).fit(x, responses)
    assert fitted.score(x, responses) > 0.5
