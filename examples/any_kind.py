"""Class means: codes from which the class means of the targets can be read off."""

import torch

from bench.api import learner
from bench.toolkit.auxiliary import dense_targets
from bench.toolkit.encoders import encode_rows, encoder
from bench.toolkit.networks import Streams
from bench.toolkit.rows import prepare
from bench.toolkit.training import TrainingOptions, train


@learner("target-codes", guarantee="none", paper="an example", needs=("targets",),
         accepts=("vector", "image", "sequence", "graph"))  # fmt: skip
class TargetCodes:
    """Codes (n, d) of an encoder whose last layer must predict all targets."""

    def fit(self, view, *, seed, device, progress):
        self.inputs, init = prepare(view), Streams([seed], "init")
        y = torch.from_numpy(dense_targets(view)).float()
        self.network = encoder(self.inputs, view.n_latents, init)
        head = init.normal(view.n_latents, y.shape[1])
        loss = lambda batch: (self.network(batch["x"]) @ head - batch["y"]).square().mean((1, 2))  # noqa: E731
        rows, options = {"x": self.inputs(view.x), "y": y}, TrainingOptions(steps=100)
        train(self.network, loss, rows, seeds=[seed], options=options, progress=progress, device=device)
        return self

    def encode(self, x, aux=None):
        return encode_rows(self.network, self.inputs(x))
