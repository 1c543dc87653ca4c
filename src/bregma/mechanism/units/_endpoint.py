"""Captioners and priors behind a server that speaks OpenAI's protocol."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from bregma._extras import require
from bregma.errors import InvalidArgument, ModelUnavailable
from bregma.mechanism.units._exemplars import Exemplars

PROMPT = (
    "The picture shows image regions that drive one unit of a network; what does not is dark. "
    "Say in a few words what the bright regions have in common. Answer with these words only."
)


class _Endpoint:
    """Sends to the one address that it was given, and nowhere else."""

    def __init__(self, url: str, model: str, key: str | None, timeout: float | int) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidArgument(f"{url!r} is no address: it starts with http:// or https://")
        if not timeout > 0:
            raise InvalidArgument(f"timeout must be positive seconds, not {timeout}")
        self.url, self.model, self.timeout = url.rstrip("/"), model, timeout
        self._requests = require("requests", "models")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        requests, address = self._requests, f"{self.url}/{path}"
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxies or passwords that nobody named
                answer = session.post(
                    address, json={"model": self.model, **body}, headers=self._headers,
                    timeout=self.timeout, allow_redirects=False,
                )  # fmt: skip
        except requests.Timeout as error:
            raise ModelUnavailable(
                f"{address} did not answer within {self.timeout:g} s; give a longer timeout="
            ) from error
        except requests.RequestException as error:
            raise ModelUnavailable(f"{address} cannot be reached: {error}") from error
        if answer.status_code != 200:
            said = " ".join(answer.text.split())[:300]
            raise ModelUnavailable(f"{address} answered {answer.status_code}: {said}")
        try:
            return answer.json()["choices"]
        except (ValueError, KeyError, TypeError) as error:
            said = " ".join(answer.text.split())[:300]
            raise ModelUnavailable(f"{address} gave no choices but: {said}") from error


class EndpointCaptioner:
    """Asks a server with a vision-language model what the exemplars have in common.

    Any server with OpenAI's ``/chat/completions`` that returns ``logprobs`` (vLLM, llama.cpp,
    OpenAI, ...). Texts are sampled; the picture of exemplars is sent to the given address when
    `propose` is called, and nothing else anywhere else: no redirects, no proxies.

    Parameters
    ----------
    url : str
        Such as ``"http://localhost:8000/v1"``.
    model : str
        Its name on that server.
    key : str, optional
        Sent as a bearer token.
    prompt : str
        What is asked.
    longest : int
        Tokens of a description at most.
    timeout : float
        Seconds to wait for an answer.

    Raises
    ------
    InvalidArgument
        If the address or the timeout is none.
    MissingExtra
        If requests is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        prompt: str = PROMPT,
        longest: int = 40,
        timeout: float | int = 60,
    ) -> None:
        self.endpoint = _Endpoint(url, model, key, timeout)
        self.prompt, self.longest = prompt, longest

    def propose(self, exemplars: Exemplars, n: int) -> Sequence[tuple[str, float]]:
        """Sampled descriptions.

        Parameters
        ----------
        exemplars : Exemplars
            Pictures and regions of one unit.
        n : int
            How many are sampled; equal ones are given once.

        Returns
        -------
        sequence of (str, float)
            Texts with log p(d | E) in nats, most probable first.

        Raises
        ------
        ModelUnavailable
            If the server cannot be reached, is late, refuses, or gives no probabilities.
        """
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(exemplars.picture()).save(file, format="PNG")
        picture = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        asked = [
            {"type": "text", "text": self.prompt},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        body = {"messages": [{"role": "user", "content": asked}], "n": n, "temperature": 1.0,
                "max_tokens": self.longest, "logprobs": True}  # fmt: skip
        best: dict[str, float] = {}
        for choice in self.endpoint.post("chat/completions", body):
            try:
                text = " ".join(choice["message"]["content"].split())
                log_p = float(sum(token["logprob"] for token in choice["logprobs"]["content"]))
            except (KeyError, TypeError, AttributeError) as error:
                raise ModelUnavailable(
                    f"{self.endpoint.url} gives no text with logprobs; without them there is no "
                    "p(d | E): use a server and model that support them"
                ) from error
            best[text] = max(log_p, best.get(text, -np.inf))
        return sorted(best.items(), key=lambda one: -one[1])


class EndpointPrior:
    """How common a description is for a language model behind a server.

    Any server with OpenAI's ``/completions`` that echoes the prompt with its ``logprobs`` (vLLM and
    others).

    Parameters
    ----------
    url : str
        Such as ``"http://localhost:8000/v1"``.
    model : str
        Its name on that server.
    key : str, optional
        Sent as a bearer token.
    context : str
        What stands before the description.
    timeout : float
        Seconds to wait for an answer.

    Raises
    ------
    InvalidArgument
        If the address, the timeout or the context is none.
    MissingExtra
        If requests is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        context: str = "The pictures show",
        timeout: float | int = 60,
    ) -> None:
        if not context:
            raise InvalidArgument("the first token needs something before it: give context=")
        self.endpoint, self.context = _Endpoint(url, model, key, timeout), context

    def log_prob(self, texts: Sequence[str]) -> Float[np.ndarray, " text"]:
        """How common texts are, one request for each.

        Parameters
        ----------
        texts : sequence of str
            Descriptions.

        Returns
        -------
        array (text,)
            log p(d) in nats, of the tokens behind the context.

        Raises
        ------
        ModelUnavailable
            If the server cannot be reached, is late, refuses, or gives no probabilities.
        """
        found = []
        for text in texts:
            body = {"prompt": f"{self.context} {text}", "max_tokens": 0, "echo": True,
                    "logprobs": 1}  # fmt: skip
            choices = self.endpoint.post("completions", body)
            try:
                told = choices[0]["logprobs"]
                pairs = list(zip(told["token_logprobs"], told["text_offset"], strict=True))
                mine = [log_p for log_p, start in pairs if start >= len(self.context)]
                found.append(float(sum(mine)))
            except (KeyError, TypeError, IndexError, ValueError) as error:
                raise ModelUnavailable(
                    f"{self.endpoint.url} does not echo prompts with logprobs: use a local "
                    "LanguageModelPrior"
                ) from error
        return np.array(found)
