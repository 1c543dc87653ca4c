"""A training step of sae-lens' TopK autoencoder, with clipping of the gradient as its trainer does.

    python benchmarks/mechanism_peers_saelens.py '<JSON of mechanism_settings.TopKTraining>'

Modes: "defaults" (what it does by itself), "plain" (without scaling by the lengths of features),
"sparse" (plain, with sparse activations: its fastest on a CPU).
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput

from mechanism_settings import TopKTraining


def main() -> None:
    task = TopKTraining.from_argument()
    torch.set_num_threads(task.threads)
    changes = {
        "defaults": {},
        "plain": {"rescale_acts_by_decoder_norm": False},
        "sparse": {"rescale_acts_by_decoder_norm": False, "use_sparse_activations": True},
    }[task.mode]
    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(d_in=task.inputs, d_sae=task.features, k=task.k, **changes)
    )
    start = torch.from_numpy(task.start())
    with torch.no_grad():
        sae.W_dec.copy_(start)
        sae.W_enc.copy_(start.T)
    adam = torch.optim.Adam(sae.parameters(), lr=task.rate)
    alive = torch.zeros(task.features, dtype=torch.bool)

    def step(x: np.ndarray) -> float:
        given = TrainStepInput(torch.from_numpy(x), {}, alive, 0, False)
        loss = sae.training_forward_pass(given).loss
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1e9)  # measured, without effect
        adam.step()
        return loss.item()

    task.report(step, f"sae-lens {version('sae-lens')}")


if __name__ == "__main__":
    main()
