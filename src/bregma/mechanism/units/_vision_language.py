"""Captioners and priors that are models of the library transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.mechanism.units._exemplars import Exemplars
from bregma.run._evaluating import evaluating


class VisionLanguageCaptioner:
    """Asks a local vision-language model what the exemplars have in common.

    The model sees all exemplars in one picture, dark outside the regions. p(d | E) is that of the
    text's tokens, its end included, given picture and prompt.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        That makes text of images: ``AutoModelForImageTextToText``, ``VisionEncoderDecoderModel``.
    processor : callable
        The model's own: ``processor(images=..., text=..., return_tensors="pt")``, with
        ``batch_decode``.
    prompt : str, optional
        Text that stands before the answer, with the model's marks for images and turns where it
        has any; none for plain captioners.
    longest : int
        Tokens of a description at most.

    References
    ----------
    Hernandez et al. (2022), Natural language descriptions of deep visual features.
    """

    def __init__(
        self, model: Any, processor: Any, *, prompt: str | None = None, longest: int = 30
    ) -> None:
        if longest < 1:
            raise InvalidArgument(f"longest must be 1 or more, not {longest}")
        self.model, self.processor = model, processor
        self.prompt, self.longest = prompt, longest

    def propose(self, exemplars: Exemplars, n: int) -> Sequence[tuple[str, float]]:
        """The most probable descriptions, by beam search.

        Parameters
        ----------
        exemplars : Exemplars
            Pictures and regions of one unit.
        n : int
            Width of the beam.

        Returns
        -------
        sequence of (str, float)
            Different texts with log p(d | E) in nats, most probable first.
        """
        from PIL import Image

        given = {"images": Image.fromarray(exemplars.picture()), "return_tensors": "pt"}
        if self.prompt is not None:
            given["text"] = self.prompt
        inputs = self.processor(**given).to(self.model.device)
        with torch.no_grad(), evaluating(self.model):
            made = self.model.generate(
                **inputs, num_beams=max(n, 2), num_return_sequences=n, do_sample=False,
                max_new_tokens=self.longest, length_penalty=0.0, output_scores=True,
                return_dict_in_generate=True,
            )  # fmt: skip
        tokens = made.sequences
        if "input_ids" in inputs and not self.model.config.is_encoder_decoder:
            tokens = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        best: dict[str, float] = {}
        for text, log_p in zip(texts, made.sequences_scores.tolist(), strict=True):
            best.setdefault(" ".join(text.split()), log_p)  # the most probable of equal texts
        return list(best.items())


class LanguageModelPrior:
    """How common a description is for a causal language model of transformers.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        ``AutoModelForCausalLM``.
    tokenizer : transformers.PreTrainedTokenizerBase
        The model's own.
    context : str
        What stands before the description, such as ``"The pictures show"``; the token for the
        beginning of a text where it is empty.

    Raises
    ------
    InvalidArgument
        If there is neither a context nor a token for the beginning or end of a text.
    """

    def __init__(self, model: Any, tokenizer: Any, *, context: str = "") -> None:
        self.model, self.tokenizer = model, tokenizer
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        before = tokenizer(context, add_special_tokens=False).input_ids if context else []
        if not before and first is None:
            raise InvalidArgument("this tokenizer marks no beginning of a text: give context=")
        self.before = before or [first]

    @torch.no_grad()
    def log_prob(self, texts: Sequence[str]) -> Float[np.ndarray, " text"]:
        """How common texts are.

        Parameters
        ----------
        texts : sequence of str
            Descriptions.

        Returns
        -------
        array (text,)
            log p(d) in nats, with the end of the text where the tokenizer has one.
        """
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        found = []
        with evaluating(self.model):
            for text in texts:
                said = self.tokenizer(f" {text}", add_special_tokens=False).input_ids + end
                tokens = torch.tensor([[*self.before, *said]], device=self.model.device)
                scores = self.model(tokens).logits[0, len(self.before) - 1 : -1].float()
                each = scores.log_softmax(-1).gather(1, tokens[0, len(self.before) :, None])
                found.append(each.sum().item())
        return np.array(found)
