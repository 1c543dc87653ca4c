"""Words for units: scores by hand, searches by brute force, and models behind them."""

from __future__ import annotations

import itertools
import json
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torch import nn

from bregma import TorchSystem
from bregma.errors import InvalidArgument, ModelUnavailable, NotIdentifiable
from bregma.mechanism import (
    EndpointCaptioner,
    EndpointPrior,
    ExemplarCaptioner,
    Exemplars,
    LanguageModelPrior,
    RegionFeatures,
    SentencePrior,
    VisionLanguageCaptioner,
    Vocabulary,
    describe,
    described_by_chance,
    top_stimuli,
)
from bregma.mechanism.units._sentences import beam_search
from bregma.system import Ablate


class Says:
    """A captioner with two things to say."""

    def propose(self, exemplars, n):
        return [("things", np.log(0.5)), (f"faces of {exemplars.unit}", np.log(0.3))][:n]


class Common:
    def log_prob(self, texts):
        return np.log([0.6 if text == "things" else 0.001 for text in texts])


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)


@pytest.fixture
def exemplars(images) -> Exemplars:
    masks = np.random.default_rng(1).random((3, 9, 9)) < 0.3
    masks[2] = False
    return Exemplars("1/c0", images[:3], masks)


def test_the_score_by_hand(net, images):
    top = top_stimuli(TorchSystem(net, "1"), images, k=2)
    found = describe(top, images, Says(), Common(), units=["1/c0", "1/c2"])
    assert found.table["description"].tolist() == ["faces of 1/c0", "faces of 1/c2"]
    assert found.table["score"].iloc[0] == pytest.approx(np.log(0.3) - 0.2 * np.log(0.001))
    plain = found.weighted(0)
    assert plain.table["description"].tolist() == ["things", "things"]
    assert plain.table["score"].iloc[0] == pytest.approx(np.log(0.5))
    assert found.mention("Face") == ["1/c0", "1/c2"]
    assert found.mention("c2", "dogs") == ["1/c2"]
    assert found.candidates["1/c0"]["description"].tolist() == ["faces of 1/c0", "things"]


def test_chance_by_hand(net, images):
    system = TorchSystem(net, "1")
    found = describe(top_stimuli(system, images, k=2), images, Says(), Common())
    made = []

    def again(twin):
        assert not torch.equal(twin.module[0].weight, net[0].weight)
        made.append(twin)
        scores = found.table["score"] + (1.0 if len(made) == 2 else -1.0)
        return type(found)(found.table.assign(score=scores), {}, 0.2)

    chance = described_by_chance(found, system, again, n=4, seed=0)
    np.testing.assert_allclose(chance.table["p"], (1 + 4) / 17)  # 4 of 16 units reach it
    np.testing.assert_allclose(chance.table["p_fwe"], 2 / 5)
    assert chance.fooled == 0.25
    with pytest.raises(NotIdentifiable, match="n must be"):
        described_by_chance(found, system, again, n=0, seed=0)


def test_beam_search_finds_the_best_of_all():
    torch.manual_seed(0)
    table = torch.randn(4, 4).log_softmax(1)  # next word given this one; 0 ends

    def step(words, state):
        return table[words], state

    found = beam_search(step, (torch.zeros(1, 1),), 400, longest=4)
    every = {}
    for length in range(5):
        for words in itertools.product((1, 2, 3), repeat=length):
            path = (0, *words, 0)
            every[(*words, 0)] = sum(table[a, b].item() for a, b in itertools.pairwise(path))
    assert len(found) == len(every) == 121
    best = sorted(every.items(), key=lambda one: -one[1])
    for (text, log_p), (wanted, known) in zip(found[:20], best, strict=False):
        assert tuple(text) == wanted
        assert log_p == pytest.approx(known, abs=1e-5)


def test_a_prior_learns_how_common_sentences_are():
    from bregma.run import fit, minibatches

    texts = ["a red circle"] * 6 + ["a blue square"] * 3 + ["shapes"] * 3
    words = Vocabulary(texts)
    prior = SentencePrior(words, width=16, layers=1)
    adam = torch.optim.Adam(prior.parameters(), 0.03)
    batches = minibatches(words.encode(texts), size=12)
    fit(prior, lambda m, b: m.loss(*b), batches, optimizer=adam, epochs=60, seed=0)
    p = np.exp(prior.log_prob(["a red circle", "a blue square", "shapes", "a red square"]))
    np.testing.assert_allclose(p[:3], [0.5, 0.25, 0.25], atol=0.05)
    assert p[3] < 0.05
    alone = prior.log_prob(["shapes"])[0]
    assert prior.log_prob(["shapes", "a red circle"])[0] == pytest.approx(alone, abs=1e-5)


def test_words_and_numbers():
    words = Vocabulary(["a red circle", "a circle"], least=2)
    assert words.words[2:] == ("a", "circle")
    assert words.encode(["a red circle", ""]).tolist() == [[2, 1, 3, 0], [0, -1, -1, -1]]
    assert words.decode([2, 3, 0, 2]) == "a circle"
    with pytest.raises(InvalidArgument, match="no words"):
        Vocabulary([""])


def test_regions_by_hand(net, exemplars):
    found = RegionFeatures(TorchSystem(net, ["1", "2"]))(exemplars)
    with torch.no_grad():
        x = torch.from_numpy(exemplars.images).permute(0, 3, 1, 2) / 255
        fine, coarse = net[:2](x), net(x)
    mask = torch.from_numpy(exemplars.masks)
    assert found.shape == (3, 6)
    inside = fine[1][:, mask[1]].mean(1)
    torch.testing.assert_close(found[1, :4], inside)
    torch.testing.assert_close(found[2], torch.cat([fine[2].mean((1, 2)), coarse[2].mean((1, 2))]))
    flat = nn.Sequential(net, nn.Flatten())
    with pytest.raises(InvalidArgument, match="has no maps"):
        RegionFeatures(TorchSystem(flat, "1"))(exemplars)
    with pytest.raises(InvalidArgument, match="perturbed"):
        RegionFeatures(TorchSystem(net, "1").perturb(Ablate("1", "1/c0")))


def test_first_weights_come_from_the_seed_alone():
    words = Vocabulary(["a b", "c"])
    before = torch.get_rng_state()
    for make in (SentencePrior, partial(ExemplarCaptioner, None, 4)):
        one, same, other = (make(words, seed=s).embed.weight for s in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_proposals_have_the_probability_of_the_model(net, exemplars):
    words = Vocabulary(["a b", "c"])
    model = ExemplarCaptioner(RegionFeatures(TorchSystem(net, "1")), 4, words, width=8, longest=3)
    found = model.propose(exemplars, 30)
    assert len({text for text, _ in found}) == len(found) > 5
    seen = model.features(exemplars)[None].expand(len(found), -1, -1)
    numbers = [[words.words.index(w) for w in text.split()] + [0] for text, _ in found]
    rows = torch.full((len(found), 4), -1)
    for i, row in enumerate(numbers):
        rows[i, : len(row)] = torch.tensor(row)
    with torch.no_grad():
        torch.testing.assert_close(
            model(seen, rows), torch.tensor([p for _, p in found]), atol=1e-4, rtol=0
        )


@pytest.fixture
def tokenizer(transformers):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<s>": 0, "</s>": 1, "<unk>": 2, "red": 3, "circles": 4, "things": 5}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="</s>",
    )  # fmt: skip


def test_a_vision_language_model_of_transformers(transformers, tokenizer, exemplars):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    vision = transformers.ViTConfig(image_size=32, patch_size=16, intermediate_size=16, **sizes)
    text = transformers.GPT2Config(
        vocab_size=6, n_embd=16, n_layer=1, n_head=2, n_positions=32, bos_token_id=0,
        eos_token_id=1, is_decoder=True, add_cross_attention=True,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config.decoder_start_token_id = 0
    model.generation_config.pad_token_id = model.generation_config.eos_token_id = 1
    resize = transformers.ViTImageProcessor(size={"height": 32, "width": 32})

    class Processor:
        def __call__(self, images, return_tensors):
            return resize(images=images, return_tensors=return_tensors)

        def batch_decode(self, tokens, skip_special_tokens):
            return tokenizer.batch_decode(tokens, skip_special_tokens=skip_special_tokens)

    model.train()
    asks = VisionLanguageCaptioner(model, Processor(), longest=4)
    found = asks.propose(exemplars, 6)
    assert model.training
    log_p = [p for _, p in found]
    assert log_p == sorted(log_p, reverse=True)
    assert all(p < 0 for p in log_p)
    from PIL import Image

    pixels = resize(images=Image.fromarray(exemplars.picture()), return_tensors="pt")
    model.eval()
    for said, p in found:  # the probability of the tokens, word by word
        ids = [0, *tokenizer(said, add_special_tokens=False).input_ids]
        if len(ids) < 5:
            ids.append(1)
        tokens = torch.tensor([ids])
        with torch.no_grad():
            scores = model(
                pixel_values=pixels["pixel_values"], decoder_input_ids=tokens[:, :-1]
            ).logits.log_softmax(-1)
        by_hand = scores[0].gather(1, tokens[0, 1:, None]).sum().item()
        if "unk" not in said and said:
            assert p == pytest.approx(by_hand, abs=1e-3) or p > by_hand
    with pytest.raises(InvalidArgument, match="longest"):
        VisionLanguageCaptioner(model, Processor(), longest=0)


def test_a_language_model_as_prior(transformers, tokenizer):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=6, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    prior = LanguageModelPrior(model, tokenizer)
    found = prior.log_prob(["red circles", "things"])
    model.eval()
    tokens = torch.tensor([[0, 3, 4, 1]])
    with torch.no_grad():
        scores = model(tokens).logits[0].log_softmax(-1)
    assert found[0] == pytest.approx(sum(scores[i, tokens[0, i + 1]].item() for i in range(3)))
    behind = LanguageModelPrior(model, tokenizer, context="red").log_prob(["circles"])
    tokens = torch.tensor([[3, 4, 1]])
    with torch.no_grad():
        scores = model(tokens).logits[0].log_softmax(-1)
    assert behind[0] == pytest.approx(scores[0, 4].item() + scores[1, 1].item(), abs=1e-5)


@pytest.fixture
def server():
    """A server on this machine that answers as it is told; what it was asked is kept."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            httpd.asked.append((self.path, dict(self.headers), body))
            status, answer, late = httpd.answers[self.path]
            time.sleep(late)
            self.send_response(status)
            if status == 307:
                self.send_header("Location", "/v1/elsewhere")
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.asked, httpd.answers = [], {}
    httpd.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"


def choice(text: str, *log_p: float) -> dict:
    told = {"content": [{"token": "x", "logprob": p} for p in log_p]}
    return {"message": {"content": text}, "logprobs": told}


def test_a_server_is_asked(server, exemplars):
    pytest.importorskip("requests")
    said = [choice(" red  circles", -1, -2), choice("things", -0.5), choice("red circles", -3.0)]
    server.answers[CHAT] = 200, {"choices": said}, 0
    asks = EndpointCaptioner(server.url + "/", "some-model", key="k")
    assert not server.asked  # nothing is sent before it has to be
    assert asks.propose(exemplars, 3) == [("things", -0.5), ("red circles", -3.0)]
    [(_, headers, body)] = server.asked
    assert headers["Authorization"] == "Bearer k"
    assert (body["model"], body["n"], body["logprobs"]) == ("some-model", 3, True)
    shown = body["messages"][0]["content"][1]["image_url"]["url"]
    assert shown.startswith("data:image/png;base64,")
    told = {"token_logprobs": [None, -9.0, -1.5, -2.0], "text_offset": [0, 4, 17, 21]}
    server.answers[PLAIN] = 200, {"choices": [{"logprobs": told}]}, 0
    prior = EndpointPrior(server.url, "some-model")
    assert prior.log_prob(["red circles"]).tolist() == [-3.5]
    assert server.asked[-1][2]["prompt"] == "The pictures show red circles"


def test_what_goes_wrong_at_a_server(server, exemplars):
    pytest.importorskip("requests")
    asks = EndpointCaptioner(server.url, "m", timeout=5)
    for answer, says in (
        ((500, b"out of memory", 0), "answered 500: out of memory"),
        ((307, b"", 0), "answered 307"),
        ((200, b"<html>", 0), "no choices but: <html>"),
        ((200, {"choices": [{"message": {"content": "x"}}]}, 0), "no text with logprobs"),
    ):
        server.answers[CHAT] = answer
        with pytest.raises(ModelUnavailable, match=says):
            asks.propose(exemplars, 2)
    assert {path for path, _, _ in server.asked} == {CHAT}  # no redirect was followed
    server.answers[CHAT] = 200, {"choices": []}, 1.0
    with pytest.raises(ModelUnavailable, match=r"within 0\.2 s"):
        EndpointCaptioner(server.url, "m", timeout=0.2).propose(exemplars, 2)
    server.answers[PLAIN] = 200, {"choices": [{"logprobs": None}]}, 0
    with pytest.raises(ModelUnavailable, match="does not echo"):
        EndpointPrior(server.url, "m").log_prob(["x"])
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        EndpointCaptioner("http://127.0.0.1:9/v1", "m").propose(exemplars, 2)
    with pytest.raises(InvalidArgument, match="no address"):
        EndpointCaptioner("localhost:80", "m")
    with pytest.raises(InvalidArgument, match="timeout"):
        EndpointCaptioner(server.url, "m", timeout=0)
    with pytest.raises(InvalidArgument, match="context"):
        EndpointPrior(server.url, "m", context="")


def test_what_is_wrong_is_said(net, images):
    top = top_stimuli(TorchSystem(net, "1"), images, k=2)

    class Mute(Says):
        def propose(self, exemplars, n):
            return []

    class Odd(Common):
        def log_prob(self, texts):
            return np.full(len(texts), -np.inf)

    with pytest.raises(InvalidArgument, match="proposes nothing"):
        describe(top, images, Mute(), Common())
    with pytest.raises(InvalidArgument, match="not finite"):
        describe(top, images, Says(), Odd())
    with pytest.raises(InvalidArgument, match="weight"):
        describe(top, images, Says(), Common(), weight=-1.0)
    with pytest.raises(InvalidArgument, match="beam"):
        describe(top, images, Says(), Common(), beam=0)
    with pytest.raises(InvalidArgument, match="no units"):
        describe(top, images, Says(), Common(), units=[])
