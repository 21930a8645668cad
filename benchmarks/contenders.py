"""One contender does one piece of work, in a process of its own, and prints a line of JSON: see speed.py.

The peers get the kindest start: images decoded, resized, normalised and repeated to three channels before the clock
starts, frozen stages in eval mode without gradients, no data workers to start, no logging, no checkpoints. The lab
starts from the 300-pixel originals and pays for hashing, encoding, compiling and writing.
"""

import json
import resource
import sys
import time
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import sftlab as sft
from sftlab.core.records import Epoch
from sftlab.data import Data
from sftlab.data.storage import clear_features

RATE = 1e-3


def profile_of(model, work):
    """Return which stages learn: the head, the last two stages and the head, or all."""
    kinds = {"probe": sft.linear_probe(model, lr=RATE), "full": sft.full(model, lr=1e-4)}
    if work["learns"].startswith("last "):
        return sft.last_k(model, int(work["learns"].split()[1]), lr=1e-4)
    return kinds[work["learns"]]


def material(work):
    """Return the splits, the model with its new head, and its profile."""
    data = sft.load("solar", size=work["size"], seed=0)
    rng = np.random.default_rng(0)
    train = data.train.subset(rng.permutation(len(data.train))[: work["train"]])
    valid = data.valid.subset(rng.permutation(len(data.valid))[: work["valid"]])
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes, seed=0)
    return Data(train, valid, data.test, data.card), model, profile_of(model, work)


class Plain(nn.Module):
    """The same network as a peer has it: no stages, contiguous tensors, frozen stages held in eval mode."""

    def __init__(self, model, profile):
        super().__init__()
        self.body = nn.Sequential(*model[1:])
        self.frozen = [s for name, s in list(model.named_children())[1:] if not profile.get(name)]
        for stage in self.frozen:
            stage.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        for stage in self.frozen:
            stage.eval()
        return self

    def forward(self, x):
        return self.body(x)

    def learning(self):
        return [p for p in self.parameters() if p.requires_grad]


def tensors(data, model):
    """Return the normalised images and labels of train and valid, as a peer's data set would give them."""
    made = []
    for split in (data.train, data.valid):
        x, y = split.take(np.arange(len(split)))
        made.append(TensorDataset(model[0](x).contiguous(), y))
    return made


def validate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in loader) / len(loader.dataset)


def loop(model, optimizer, train, valid, epochs, curve, clock):
    """The textbook's loop with a validation after each epoch."""
    for _ in range(epochs):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        curve.append((time.perf_counter() - clock, validate(model, valid)))


def textbook(data, model, profile, work):
    plain, (train, valid) = Plain(model, profile), tensors(data, model)
    optimizer, curve = torch.optim.AdamW(plain.learning(), lr=max(profile.values())), []
    loaders = DataLoader(train, 32, shuffle=True), DataLoader(valid, 128)
    clock = time.perf_counter()
    loop(plain, optimizer, *loaders, work["epochs"], curve, clock)
    return [curve]


def by_hand(data, model, profile, work):
    """A careful user's own cache: the frozen part once, in the textbook's way, then the textbook's loop."""
    plain, sets, curve = Plain(model, profile), tensors(data, model), []
    cut = next(i for i, stage in enumerate(plain.body) if any(p.requires_grad for p in stage.parameters()))
    frozen, rest = plain.body[:cut].eval(), plain.body[cut:]
    clock = time.perf_counter()
    with torch.no_grad():
        kept = [TensorDataset(torch.cat([frozen(x) for x, _ in DataLoader(s, 32)]), s.tensors[1]) for s in sets]
    optimizer = torch.optim.AdamW(plain.learning(), lr=max(profile.values()))
    loop(rest, optimizer, DataLoader(kept[0], 32, shuffle=True), DataLoader(kept[1], 128), work["epochs"], curve, clock)
    return [curve]


def fastai(data, model, profile, work):
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    plain, (train, valid), curve = Plain(model, profile), tensors(data, model), []

    class Watch(Callback):
        def after_epoch(self):
            curve.append((time.perf_counter() - clock, hits(self.learn)))

        def before_validate(self):
            self.learn.right = 0

        def after_batch(self):
            if not self.training:
                self.learn.right += int((self.learn.pred.argmax(1) == self.learn.yb[0]).sum())

    def hits(learn):
        return learn.right / len(valid)

    loaders = DataLoaders.from_dsets(train, valid, bs=32, val_bs=128, num_workers=0, device=torch.device("cpu"))
    learn = Learner(
        loaders, plain, loss_func=nn.CrossEntropyLoss(), cbs=[Watch()],
        opt_func=lambda params, lr, **_: OptimWrapper(params, torch.optim.AdamW, lr=lr),
        splitter=lambda m: [m.learning()], train_bn=False,
    )  # fmt: skip
    with learn.no_logging():
        clock = time.perf_counter()
        learn.fit(work["epochs"], max(profile.values()))
    return [curve]


def lightning(data, model, profile, work):
    import logging

    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    plain, (train, valid), curve = Plain(model, profile), tensors(data, model), []

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.right = plain, 0

        def configure_optimizers(self):
            return torch.optim.AdamW(self.net.learning(), lr=max(profile.values()))

        def training_step(self, batch, _):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def on_train_epoch_start(self):
            self.net.train()

        def validation_step(self, batch, _):
            self.right += int((self.net(batch[0]).argmax(1) == batch[1]).sum())

        def on_validation_epoch_end(self):
            curve.append((time.perf_counter() - clock, self.right / len(valid)))
            self.right = 0

    trainer = L.Trainer(
        max_epochs=work["epochs"], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    clock = time.perf_counter()
    trainer.fit(Module(), DataLoader(train, 32, shuffle=True), DataLoader(valid, 128))
    return [curve]


def sftlab(data, model, profile, work):
    """Two runs: the first with an empty store, the second from another copy of the network."""
    clear_features()
    curves = []
    for _ in range(2 if work["learns"] != "full" else 1):
        fresh, curve = sft.replace_head(model, data.classes, seed=0), []
        clock = time.perf_counter()
        for record in sft.train(fresh, data, profile, work["epochs"]):
            if isinstance(record, Epoch) and record.epoch:
                curve.append((time.perf_counter() - clock, record.valid_accuracy))
        curve[-1] = (time.perf_counter() - clock, curve[-1][1])  # the best weights are back by then
        curves.append(curve)
    return curves


CONTENDERS = {f.__name__: f for f in (textbook, by_hand, fastai, lightning, sftlab)}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, work = sys.argv[1], json.loads(sys.argv[2])
    curves = CONTENDERS[name](*material(work), work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"contender": name, "work": work, "curves": curves, "peak_gb": peak}))
