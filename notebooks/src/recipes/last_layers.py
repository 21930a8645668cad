# %% [markdown]
# # Which are "the last few layers", and what do they buy?
#
# You will be able to
# - run the third classic, *train the last few layers and keep the rest*, on a ResNet, a VGG or any other network;
# - say how much of a network "the last few" are, before you let them learn;
# - show that everything else stayed as it was, and measure whether it was worth it.
#
# 15 minutes to read, half a minute to run. Comes after [the PyTorch recipe](pytorch_probe.ipynb).
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import copy
import dataclasses
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from torchvision import transforms

import sftlab as sft
from sftlab import plot
from sftlab.core import statistics
from sftlab.lessons.recipes import step_losses
from sftlab.plot import style
from sftlab.networks import original_state_dict
from sftlab.networks.staging import constant

style.use()

# %% tags=["parameters"]
# None stands for the recipe's own value
RECIPE: str = "offline"      # "offline", or "as printed": ResNet-50 on CIFAR-10
BACKBONE: str | None = None  # resnet50, vgg16, resnet18, efficientnet_lite1 …
DATA: str | None = None      # any name of sft.load
LABELS: int | None = None    # training images per class
SIZE: int | None = None      # edge that the network sees, cut out of 8/7 of it
LAST: int | None = None      # stages before the head that learn
EPOCHS: int | None = None    # passes over the training images
BATCH: int | None = None     # images a step
RATE: float | None = None    # learning rate of all that learns
SEED: int = 0                # split, order of batches, start of the head

# %% [markdown]
# ## As it is printed
#
# The two other recipes train a new head and nothing else. This one goes a step further: a few of the last pretrained layers may move.
#
# ```python
# model = models.resnet50(weights="IMAGENET1K_V1")
# for parameter in model.parameters():
#     parameter.requires_grad = False
# for parameter in model.layer4.parameters():          # the last few layers
#     parameter.requires_grad = True
# model.fc = nn.Linear(2048, 10)
#
# learning = [p for p in model.parameters() if p.requires_grad]
# optimizer = optim.SGD(learning, lr=0.001, momentum=0.9)
# ```
#
# and then the same loop.

# %%
sft.check_parameters(
    globals(), RECIPE=("offline", "as printed"), BACKBONE=str | None, DATA=str | None,
    LABELS=(int | None, 1), SIZE=(int | None, 32, 512), LAST=(int | None, 1, 20),
    EPOCHS=(int | None, 1, 1000), BATCH=(int | None, 2, 4096),
    RATE=(float | None, 0, 10), SEED=(int, 0))

# %% [markdown]
# For VGG-16 one reads `model.classifier` in place of `model.layer4`. Images, batches and epochs are those of [the PyTorch recipe](pytorch_probe.ipynb).

# %%
PRINTED = dict(backbone="resnet50", data="cifar10", labels=None, resize=256, crop=224,
               last=1, epochs=10, batch=64, rate=0.001, momentum=0.9)
OFFLINE = PRINTED | dict(backbone="efficientnet_lite0", data="solar", labels=200,
                         resize=128, crop=112)

# %%
given = dict(backbone=BACKBONE, data=DATA, labels=LABELS, crop=SIZE, epochs=EPOCHS,
             resize=SIZE and SIZE * 256 // 224, last=LAST, batch=BATCH, rate=RATE)
recipe = {"offline": OFFLINE, "as printed": PRINTED}[RECIPE]
how = SimpleNamespace(**recipe | {k: v for k, v in given.items() if v is not None})
print(how)

# %% [markdown]
# ## How much is "the last few"?
#
# Layers are not alike. Here are three networks as they are built, without any weights, which the question does not need.
#
# > **Predict.** ResNet-50 has four stages between its stem and its head. What share of all its parameters is in the last of them, `layer4`?

# %%
guess = sft.widgets.predict("parameters in layer4, in percent", 0, 100, default=25)

# %%
tables = {}
for name in ("resnet50", "vgg16", "efficientnet_lite0"):
    with torch.device("meta"):                      # shapes only
        empty = sft.backbone(name, weights=None)
        tables[name] = sft.summary(empty, sft.last_k(empty, how.last), size=224)
plot.parameters(tables)

# %% [markdown]
# Your guess was about the first bar:

# %%
share = next(row[3] for row in tables["resnet50"].rows if row[0] == "layer4")
plot.guess_vs_result(100 * share, float(guess))

# %% [markdown]
# "The last few layers" are more than half of a ResNet-50, and most of a VGG-16, whose two wide layers before the head hold most of its numbers. In EfficientNet-Lite0 it is one convolution.
# The words say little; a profile says it exactly, stage by stage:

# %%
data = sft.load(how.data, size=how.resize, per_class=how.labels, seed=SEED)
if how.labels is None:                  # as printed: nothing is held back
    rows = np.union1d(data.train.index, data.valid.index)
    data = dataclasses.replace(data, train=data.train.of_rows(rows))
print(f"{data.card}\ntrained on: {len(data.train):,} images")

# %%
shelf = sft.backbone(how.backbone)
crop = constant(transforms.CenterCrop(how.crop))
network = nn.Sequential(OrderedDict(crop=crop, **dict(shelf.named_children())))
model = sft.replace_head(network, data.classes, seed=SEED)

# %% [markdown]
# Network and images are those of the first recipe. And the profile, beside that of a probe:

# %%
profile = sft.last_k(model, how.last, lr=how.rate)
plot.profile(sft.linear_probe(model, lr=how.rate), profile,
             names=["the other recipes: a probe", "this recipe"])

# %% [markdown]
# ## The textbook's side
#
# The network as its own library builds it, with the same weights and the same new head. What its authors call the parts that learn is on the network's card.

# %%
names = sft.card(shelf)["names"]
stages = [stage for stage, rate in profile.items() if rate]
learning = [part for stage, part in names.items() if stage.split(".")[0] in stages]
beside = [names["dropout"]] if "dropout" in names else []   # right before VGG's head
print("learn:", ", ".join(learning))

# %%
def plain():
    """Return the network as torchvision or timm builds it, with the same weights."""
    theirs = how.backbone in torchvision.models.list_models()
    net = (torchvision.models.get_model(how.backbone) if theirs
           else timm.create_model(f"tf_{how.backbone}"))
    net.load_state_dict(original_state_dict(shelf))
    return net.to(memory_format=torch.channels_last)    # a CPU is faster so

# %% [markdown]
# Around it, what the printed transform does to bytes; all gradients off, and on again for the last few layers:

# %%
class Textbook(nn.Module):
    """The recipe's network: a new head, and only the last few layers take gradients."""

    def __init__(self, head):
        super().__init__()
        self.net = plain().requires_grad_(False)
        self.net.set_submodule(names["head"], copy.deepcopy(head))
        for part in learning:
            self.net.get_submodule(part).requires_grad_(True)

    def forward(self, x):
        x = transforms.functional.center_crop(x, how.crop).float() / 255
        x = (x - shelf.input.mean) / shelf.input.std
        return self.net(x.contiguous(memory_format=torch.channels_last))

# %% [markdown]
# Freezing as the first recipe taught us: no gradient *and* eval mode for what is frozen, at the start of every epoch. Then the loop:

# %%
def modes(book):
    """Put what learns into train mode and the rest into eval mode."""
    book.eval()
    for part in learning + beside:
        book.net.get_submodule(part).train()

# %%
def textbook_loop(book):
    """Train the last few layers; yield the loss of every step."""
    optimizer = torch.optim.SGD([p for p in book.parameters() if p.requires_grad],
                                lr=how.rate, momentum=how.momentum)
    torch.manual_seed(SEED)                          # for dropout, where there is any
    for epoch in range(how.epochs):
        modes(book)
        for x, y in data.train.batches(how.batch, seed=SEED, epoch=epoch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(book(x), y)
            loss.backward()
            optimizer.step()
            yield loss.item()

# %% [markdown]
# It runs, and then we ask every tensor of the network whether it is still what it was:

# %%
book = Textbook(model.head)
before = copy.deepcopy(book.net.state_dict())
losses = list(textbook_loop(book))
changed = {name for name, value in book.net.state_dict().items()
           if not torch.equal(value, before[name])}
assert changed == {name for name in before if name.startswith(tuple(learning))}
print(f"{len(changed)} of {len(before)} tensors changed, all of them in what learns")

# %% [markdown]
# ## In this lab
#
# The same, from the same start on the same batches. The frozen part in front runs once and is kept; only the last stages run in every step.

# %%
history = sft.fit(model, data, profile, epochs=how.epochs, batch_size=how.batch,
                  optimizer="sgd", weight_decay=0, keep_best=False, seed=SEED)
ours = [step.loss for step in history.steps]
assert np.allclose(ours[:200], losses[:200], atol=1e-4)

# %%
for stage, part in names.items():
    mine = model.get_submodule(stage).state_dict()
    theirs = book.net.get_submodule(part).state_dict()
    if len(ours) <= 200:
        assert all(torch.allclose(mine[key], theirs[key], rtol=1e-3, atol=1e-4)
                   for key in mine)
step_losses({"textbook": losses, "sft.fit": ours})

# %% [markdown]
# Every loss and every tensor agree, those of BatchNorm included. (In thousands of steps the last digits of such a network go their own ways, so longer runs are compared over their first 200.) In the stages that learn, its statistics go along with the batches: there they are meant to.
#
# ## What moved?
#
# Here is the difference to the two other recipes. Theirs moved no pretrained weight at all.

# %%
far = sft.analysis.moved(network, model)
assert all((share > 0) == (profile[stage] > 0) for stage, share in far.items())
for stage, share in far.items():
    print(f"{stage:8s} {'moved by' if share else 'stayed as it was:'} {share:.2%}")

# %% [markdown]
# **This is where fine-tuning begins.** At the printed rate and with so few steps it is a small step. Is it worth anything? Beside the probe, on the same test images:

# %%
probe = sft.replace_head(network, data.classes, seed=SEED)
sft.fit(probe, data, sft.linear_probe(probe, lr=how.rate), epochs=how.epochs,
        batch_size=how.batch, optimizer="sgd", weight_decay=0, keep_best=False,
        seed=SEED)
results = {"linear probe": sft.evaluate(probe, data.test),
           "last layers": sft.evaluate(model, data.test)}

# %%
plot.scores(results)

# %% [markdown]
# On the same images we may subtract, image by image; and over splits, run by run:

# %%
right = {name: np.array(r.predictions) == r.targets for name, r in results.items()}
gain = statistics.difference(right["last layers"], right["linear probe"])
print(f"last layers: {100 * gain.value:+.1f} points "
      f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) on these images")

# %%
kept = sft.records.read("../../benchmarks/recipes.json")["pytorch"]
same = all(vars(how)[name] == value for name, value in kept["settings"].items())
stored = [100 * (run["last stage"] - run["with eval()"])
          for run in kept["seeds"].values()
          if same and how.last == 1]
plot.differences({"ten splits": {"last layers": stored}}, to="the linear probe",
                 test_to_train=0.25 / 0.6,
                 live={"ten splits": {"last layers": 100 * gain.value}})

# %% [markdown]
# Over ten splits (hollow, from `python benchmarks/recipes.py`) it is a draw: the interval has zero in its middle. That is no verdict on fine-tuning, but on this recipe: 400 images, ten epochs and a rate that was made for another
# task move one stage by next to nothing. And its price is paid in every step: the probe runs the frozen part once; here the last stage runs forward and backward each time.

# %% [markdown]
# ## What you have seen
#
# - "The last few layers" are a share of the network that depends on the network: more than half of a ResNet-50, most of a VGG-16, a tenth of an EfficientNet-Lite0.
# - Two conditions keep the rest as it was: no gradient and eval mode, at the start of every epoch. Then textbook and lab are the same computation, tensor by tensor.
# - A stage that moved by a tenth of a percent is fine-tuning already; whether it helps, only pairs of runs over splits can say, and here they say: a draw.
#
# **Which are the last few layers, and what do they buy?** The ones that your profile names; and what they buy has to be measured against the probe, on your images.
#
# *Where this lives in the library:* `sft.last_k`, `sft.linear_probe`, `sft.fit`, `sft.analysis.moved`, `sft.summary`; type `sft.last_k??` to read it.

# %% [markdown]
# ## The same with VGG-16
#
# `sftlab run recipes/last_layers -p RECIPE "as printed" -p BACKBONE vgg16` takes VGG-16 in place of ResNet-50; nothing else changes. Its last stage are the two layers of 4,096 units before the head, with dropout between; there is no BatchNorm, so
# nothing can drift. `-p LAST 2` lets its last convolutions learn as well. Weights (553 MB; ResNet-50: 103 MB) and CIFAR-10 (170 MB) are downloaded once. On a CPU, add `-p LABELS 100 -p SIZE 112 -p EPOCHS 3`.

# %% [markdown]
# ## The same in plain PyTorch
#
# ```python
# model = models.vgg16(weights="IMAGENET1K_V1").requires_grad_(False)
# model.classifier[6] = nn.Linear(4096, 10)
# model.classifier.requires_grad_(True)               # the last few layers
# optimizer = optim.SGD(model.classifier.parameters(), lr=0.001, momentum=0.9)
# for epoch in range(10):
#     model.eval(); model.classifier.train()          # what is frozen stays in eval mode
#     for images, labels in loader:
#         loss = nn.functional.cross_entropy(model(images), labels)
#         optimizer.zero_grad(); loss.backward(); optimizer.step()
# ```

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LAST` to 2, then to 3. What does one more stage cost in seconds, and what does it bring?
# - **Build.** Train the probe first and let the last stage learn afterwards, from the probe's head. Does it move less far? [06 Finetune](../06_finetune.ipynb) has the reason.
# - **Break.** Replace `book.eval()` in `modes` by `book.train()`. Which assert notices, and how many tensors changed?

# %% [markdown]
# ## Sources
#
# - Yosinski, Clune, Bengio and Lipson, 2014, *How transferable are features in deep neural networks?* Why the last layers first.
# - Simonyan and Zisserman, 2015, *Very Deep Convolutional Networks for Large-Scale Image Recognition*. VGG-16.
# - He, Zhang, Ren and Sun, 2016, *Deep Residual Learning for Image Recognition*. ResNet-50.
# - Chilamkurthy, 2017, *Transfer Learning for Computer Vision Tutorial* (PyTorch tutorials). The loop around it.
# - Lee et al., 2023, *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts*. Not always the last layers.
#
# Previous: [the Keras recipe](keras_dense.ipynb). Next: [06 Finetune](../06_finetune.ipynb).
