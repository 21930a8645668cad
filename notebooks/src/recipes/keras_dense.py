# %% [markdown]
# # What does the Keras recipe get right by itself, and what does it leave out?
#
# You will be able to
# - write the best-known Keras recipe in PyTorch, down to the start of its weights and the small print of its Adam;
# - say why its softmax belongs into the loss, and what happens to those who leave it outside;
# - name what such a translation cannot take along, and measure what the printed code forgets.
#
# 15 minutes to read, half a minute to run. Comes after [the PyTorch recipe](pytorch_probe.ipynb).
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import copy
import dataclasses
import math
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import timm
import torch
import torchvision
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.lessons.recipes import step_losses
from sftlab.plot import style
from sftlab.networks import Input, original_state_dict

style.use()

# %% tags=["parameters"]
# None stands for the recipe's own value
RECIPE: str = "offline"      # "offline", or "as printed": ResNet-50 on CIFAR-10
BACKBONE: str | None = None  # resnet50, resnet18, vgg16, efficientnet_lite1 …
DATA: str | None = None      # any name of sft.load
LABELS: int | None = None    # training images per class
SIZE: int | None = None      # edge of the images in pixels
EPOCHS: int | None = None    # passes over the training images
BATCH: int | None = None     # images a step
RATE: float | None = None    # learning rate of both Dense layers
SEED: int = 0                # split, order of batches, start of the new layers

# %% [markdown]
# ## As it is printed
#
# The other recipe that is printed everywhere comes from Keras:
#
# ```python
# base = ResNet50(weights="imagenet", include_top=False, input_shape=(224, 224, 3))
# for layer in base.layers:
#     layer.trainable = False
# x = GlobalAveragePooling2D()(base.output)
# x = Dense(1024, activation="relu")(x)
# predictions = Dense(num_classes, activation="softmax")(x)
# model = Model(inputs=base.input, outputs=predictions)
#
# model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
# model.fit(x_train, y_train, epochs=10, validation_data=(x_test, y_test))
# ```
#
# We write it in PyTorch, piece by piece.

# %%
sft.check_parameters(
    globals(), RECIPE=("offline", "as printed"), BACKBONE=str | None, DATA=str | None,
    LABELS=(int | None, 1), SIZE=(int | None, 32, 512), EPOCHS=(int | None, 1, 1000),
    BATCH=(int | None, 2, 4096), RATE=(float | None, 0, 10), SEED=(int, 0))

# %% [markdown]
# What is not printed is a default: batches of 32, a rate of 0.001, Glorot's start for the Dense layers. What is nowhere is any preprocessing of `x_train`.

# %%
PRINTED = dict(backbone="resnet50", data="cifar10", labels=None, size=224, hidden=1024,
               epochs=10, batch=32, rate=0.001, eps=1e-7)
OFFLINE = PRINTED | dict(backbone="efficientnet_lite0", data="solar", labels=200,
                         size=112)

# %%
given = dict(backbone=BACKBONE, data=DATA, labels=LABELS, size=SIZE, epochs=EPOCHS,
             batch=BATCH, rate=RATE)
recipe = {"offline": OFFLINE, "as printed": PRINTED}[RECIPE]
how = SimpleNamespace(**recipe | {k: v for k, v in given.items() if v is not None})
print(how)

# %% [markdown]
# Offline only the network, the images and their size are others. The images:

# %%
data = sft.load(how.data, size=how.size, per_class=how.labels, seed=SEED)
if how.labels is None:                  # as printed: nothing is held back
    rows = np.union1d(data.train.index, data.valid.index)
    data = dataclasses.replace(data, train=data.train.of_rows(rows))
print(f"{data.card}\ntrained on: {len(data.train):,} images")

# %% [markdown]
# ## Without its top
#
# A network is a list: `include_top=False` keeps what stands before `pool`. On top of it go a global average pooling, a hidden layer, and as many logits as classes. No softmax yet; that
# is the next question.

# %%
shelf = sft.backbone(how.backbone)
names = [name for name, _ in shelf.named_children()]
base = shelf[: names.index("pool")]
with torch.no_grad():
    width = base(data.train.pixels(np.arange(2))).shape[1]

# %%
def on_top(base):
    """Return the base under a new top: pooling, Dense(1024, relu), Dense(classes)."""
    parts = OrderedDict(copy.deepcopy(base).named_children())
    parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
    parts["hidden"] = nn.Sequential(nn.Linear(width, how.hidden), nn.ReLU())
    parts["head"] = nn.Linear(how.hidden, len(data.classes))
    return nn.Sequential(parts)

# %% [markdown]
# ## The start
#
# Keras draws the weights of a Dense layer from $U(-a, a)$ with $a = \sqrt{6 / (n_{in} + n_{out})}$ (Glorot and Bengio, 2010) and sets biases to 0. PyTorch's Linear does neither.
# By hand, then against PyTorch's own function for it:

# %%
def glorot(layer, generator):
    """Draw a layer's weights as Keras does, and set its biases to zero."""
    a = math.sqrt(6 / (layer.in_features + layer.out_features))
    nn.init.uniform_(layer.weight, -a, a, generator=generator)
    nn.init.zeros_(layer.bias)

one, two = nn.Linear(64, 10), nn.Linear(64, 10)
glorot(one, torch.Generator().manual_seed(SEED))
nn.init.xavier_uniform_(two.weight, generator=torch.Generator().manual_seed(SEED))
assert torch.allclose(one.weight, two.weight)

# %%
def fresh(seed=SEED, base=base):
    """Return the recipe's network at its start."""
    model, generator = on_top(base), torch.Generator().manual_seed(seed)
    glorot(model.hidden[0], generator)
    glorot(model.head, generator)
    return model

model = fresh()
sft.summary(model, sft.linear_probe(model), size=how.size)

# %% [markdown]
# ## Where does the softmax go?
#
# Keras puts it into the network: the last layer answers with probabilities $q$, and the loss is $H(p, q) = -\sum_i p_i \ln q_i$. In PyTorch, `cross_entropy` takes *logits* $z$ and contains the
# softmax. Who translates the network line by line, softmax included, applies it twice. Nothing complains.
#
# > **Predict.** A network with softmax at its end that is perfectly sure and always right answers (1, 0, …). What does PyTorch's `cross_entropy` make of that, for as many classes as we have? The right loss would be 0.

# %%
guess = sft.widgets.predict("loss of a perfect answer, nats", 0, 2.5, 0, step=0.05)

# %%
classes = len(data.classes)
perfect = torch.eye(classes)[:1]
floor = nn.functional.cross_entropy(perfect, torch.tensor([0])).item()
assert math.isclose(floor, math.log(1 + (classes - 1) / math.e), rel_tol=1e-5)
plot.guess_vs_result(floor, float(guess), high=2.5, unit="nats")

# %% [markdown]
# The floor is $\ln(1 + (C-1)/e)$ for $C$ classes: 0.31 for two, 1.46 for ten. Before we see what that does to training, the recipe needs its optimizer.
#
# ## The small print of Adam
#
# Both libraries have "Adam" with a rate of 0.001. PyTorch divides by $\sqrt{v / (1-\beta_2^t)} + \epsilon$ with $\epsilon = 10^{-8}$. Keras corrects the rate instead and divides by $\sqrt{v} + \epsilon$ with
# $\epsilon = 10^{-7}$: in the first step, where $1 - \beta_2 = 0.001$, that is 300 times PyTorch's. (The paper has both forms.) Keras's, by hand:

# %%
class KerasAdam(torch.optim.Optimizer):
    """Adam as in Keras (Kingma and Ba, 2015, the form at the end of section 2)."""

    def __init__(self, groups):
        super().__init__(groups, dict(lr=0.001))

    @torch.no_grad()
    def step(self, b1=0.9, b2=0.999):
        for group in self.param_groups:
            for w in group["params"]:
                t, m, v = self.state[w].get("tmv", (1, 0 * w, 0 * w))
                m.lerp_(w.grad, 1 - b1)                 # m + (g − m)(1 − β₁)
                v.lerp_(w.grad ** 2, 1 - b2)
                rate = group["lr"] * math.sqrt(1 - b2 ** t) / (1 - b1 ** t)
                w.addcdiv_(m, v.sqrt() + how.eps, value=-rate)
                self.state[w]["tmv"] = t + 1, m, v

# %% [markdown]
# `fit` takes any function of parameter groups for an optimizer. So the recipe in this lab's words is the following; base frozen, hidden layer and head at one rate:

# %%
def trained(seed=SEED, base=base, loss=sft.cross_entropy, optimizer=KerasAdam):
    """Return the recipe's network, trained, and the loss of every step."""
    model = fresh(seed, base)
    history = sft.fit(model, data, sft.linear_probe(model, lr=how.rate), how.epochs,
                      batch_size=how.batch, optimizer=optimizer, weight_decay=0,
                      loss=loss, keep_best=False, seed=seed, verbose=False)
    return model, [step.loss for step in history.steps]

# %%
model, ours = trained()
torchs, _ = trained(optimizer=torch.optim.Adam)
result, of_torchs = (sft.evaluate(net, data.test) for net in (model, torchs))
same = np.mean(np.array(result.predictions) == of_torchs.predictions)
print(f"with PyTorch's Adam, {same:.1%} of the test answers are the same")

# %% [markdown]
# That small print changes a few answers and nothing else. The softmax is another matter. The same start and the same batches, with the softmax once, and twice:

# %%
def twice(outputs, y):
    """The bug: probabilities where logits are expected."""
    return nn.functional.cross_entropy(outputs.softmax(dim=1), y)

doubled, of_doubled = trained(loss=twice)
step_losses({"softmax once": ours, "softmax twice": of_doubled}, floor=floor)

# %% [markdown]
# The curve looks like a network that hardly learns. And its answers? As many training images are broken as intact, but not as many test images; so we measure what does not depend on the threshold between them, the area under the ROC curve. Solid: here and now. Hollow: ten splits, from the record that `python benchmarks/recipes.py` made.

# %%
kept = sft.records.read("../../benchmarks/recipes.json")["keras"]
runs = list(kept["seeds"].values()) if kept["settings"] == vars(how) else []

def beside(name, other):
    """Draw what a mistake costs, against the recipe as it should be."""
    now = [one.metrics["roc_auc"].value for one in (other, result)]
    lost = [100 * (run[name] - run["as it should be"]) for run in runs]
    return plot.differences({name: {"ten splits": lost}}, to="as it should be",
                            test_to_train=0.25 / 0.6,
                            live={name: {"ten splits": 100 * (now[0] - now[1])}},
                            unit="points of area under the ROC curve")

beside("softmax twice", sft.evaluate(doubled, data.test))

# %% [markdown]
# Three splits collapse, in the others little or nothing is lost; so the mean says little, and its interval contains zero. A bug that hurts only sometimes is a bug that is found late. What gives it away at once is the
# floor: a training loss that cannot fall below it.

# %% [markdown]
# ## Why not in the network, once?
#
# Then one would take the logarithm of its probabilities, which is what the formula says. For a network that is very sure and wrong, that breaks. Logits of 0 and 120, and the first class is right:

# %%
def loss_and_gradient(loss):
    """Return the loss at logits (0, 120), and its gradient."""
    z = torch.tensor([[0.0, 120.0]], requires_grad=True)
    value = loss(z)
    value.backward()
    return f"loss {value.item():6.1f}, gradient {z.grad[0].tolist()}"

# %%
ways = {"softmax, then log": lambda z: -z.softmax(dim=1).log()[0, 0],
        "clipped at 1e-7": lambda z: -z.softmax(dim=1).clip(1e-7, 1 - 1e-7).log()[0, 0],
        "folded together": lambda z: nn.functional.cross_entropy(z, torch.tensor([0]))}
for name, way in ways.items():
    print(f"{name:18s}", loss_and_gradient(way))

# %% [markdown]
# The first has no usable gradient; the second, which Keras falls back on, has a gradient of zero: *the worst mistakes teach nothing*. (On TensorFlow Keras looks behind the softmax and folds it; on other back ends
# it clips.) Folded, the logarithm cancels the exponential before either can overflow: $H(p, q) = \ln \sum_i e^{z_i} - z_y$. Categorical, with one-hot $p$, is the same number:

# %%
z, labels = torch.randn(5, classes), torch.arange(5) % classes
one_hot = nn.functional.one_hot(labels, classes).float()
folded = z.logsumexp(dim=1) - z.gather(1, labels[:, None])[:, 0]
assert torch.allclose(folded.mean(), nn.functional.cross_entropy(z, labels))
assert torch.allclose(folded.mean(), nn.functional.cross_entropy(z, one_hot))

# %% [markdown]
# ## Frozen, the Keras way
#
# `layer.trainable = False` looks like `requires_grad = False`. It says more: since TensorFlow 2, a BatchNorm that is not trainable runs with its *stored* statistics, even while the rest trains. That is a constant
# function, and in PyTorch it takes two statements: no gradient, **and** eval mode. The textbook's side, on the network as its own library builds it:

# %%
def plain():
    """Return the network as torchvision or timm builds it, with the same weights."""
    theirs = how.backbone in torchvision.models.list_models()
    net = (torchvision.models.get_model(how.backbone) if theirs
           else timm.create_model(f"tf_{how.backbone}"))
    net.load_state_dict(original_state_dict(shelf))
    return net.to(memory_format=torch.channels_last)    # a CPU is faster so

# %%
last = sft.card(shelf)["names"]["head"]                 # "fc" in a ResNet

class Textbook(nn.Module):
    """The recipe's network: a base without its top, frozen; and a new top."""

    def __init__(self, top):
        super().__init__()
        self.base, self.top = plain().requires_grad_(False), copy.deepcopy(top)
        self.base.set_submodule(last.split(".")[0], nn.Identity())
        if hasattr(self.base, "avgpool"):               # VGG's would leave 7×7 means
            self.base.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = (x.float() / 255 - shelf.input.mean) / shelf.input.std
        return self.top(self.base(x.contiguous(memory_format=torch.channels_last)))

# %% [markdown]
# And the loop:

# %%
def textbook_loop(book, epochs=how.epochs):
    """Train the top; yield the loss of every step."""
    optimizer = KerasAdam([dict(params=book.top.parameters(), lr=how.rate)])
    for epoch in range(epochs):
        for x, y in data.train.batches(how.batch, seed=SEED, epoch=epoch):
            loss = nn.functional.cross_entropy(book(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()

# %% [markdown]
# > **Predict.** One epoch as PyTorch's users write it, `requires_grad = False` and train mode; and one as Keras means it. How many parts of the base are different afterwards in each?

# %%
guess = sft.widgets.predict("parts that change, as written in PyTorch", 0, 7, 0,
                            name="parts")
start = fresh()
top = start[-2:]
written = Textbook(top).train()
before = sft.fingerprint(written.base)
list(textbook_loop(written, epochs=1))
after = sft.fingerprint(written.base)
plot.show(plot.changed(before, after))
differ = sum(before[name] != after[name] for name in before)
plot.guess_vs_result(differ, guess, high=len(before), unit="stages")

# %% [markdown]
# And as Keras means it, through all epochs:

# %%
meant = Textbook(top)
meant.base.eval()
losses = list(textbook_loop(meant))
assert sft.fingerprint(meant.base) == before
print(f"{len(losses)} steps, and no part of the base is different")

# %% [markdown]
# One line looks alike in two libraries and means two things. What the other meaning costs is measured in [the PyTorch recipe](pytorch_probe.ipynb).
#
# ## The same computation
#
# The run of `fit` above has the same start, and the base frozen as Keras means it. Losses and weights of both:

# %%
assert np.allclose(ours[:200], losses[:200], atol=1e-4)
if len(ours) <= 200:                    # after more steps the last digits differ
    both = zip(model[-2:].parameters(), meant.top.parameters(), strict=True)
    assert all(torch.allclose(mine, theirs, atol=1e-4) for mine, theirs in both)
step_losses({"textbook": losses, "sft.fit": ours})

# %% [markdown]
# ## What the printed code leaves out
#
# `x_train` goes in as bytes, 0 to 255. Keras's ResNet-50 was trained on images whose channels were turned round (blue, green, red) and from which the mean colour was subtracted; the function that does it,
# `preprocess_input`, is not in the recipe. In this lab these numbers are part of the network, so we have to take them out to make the mistake. First we ask the network about something that it knows: squares of two photographs, in the right
# way and in three wrong ones.

# %%
std = shelf.input.std.flatten().tolist()
no_mean, raw = Input((0, 0, 0), std), Input((0, 0, 0), (1 / 255,) * 3)
photos = sft.analysis.photo_crops(64, size=how.size, seed=SEED)
asked = sft.analysis.answers(shelf, photos)

# %% [markdown]
# > **Predict.** Red and blue exchanged, nothing else. What share of the answers is different?

# %%
guess = sft.widgets.predict("answers that differ, in percent", 0, 100, default=10,
                            name="blue")

# %%
wrong = {"red and blue exchanged": (shelf.input, photos.flip(1)),
         "mean left out": (no_mean, photos), "bytes, 0 to 255": (raw, photos)}
differ = {}
for name, (stage, pictures) in wrong.items():
    net = nn.Sequential(stage, *shelf[1:])
    differ[name] = (sft.analysis.answers(net, pictures) != asked).float().mean().item()
    print(f"{name:24s} {differ[name]:.0%} of 64 answers differ")
plot.guess_vs_result(100 * differ["red and blue exchanged"], float(guess))

# %% [markdown]
# What the network knew is hardly there any more. A new top on top of it is trained on the *same* wrong features, and may make do. Bytes in place of −1 to 1, on the solar cells:

# %%
spoilt = copy.deepcopy(base)
spoilt.input = raw
beside("bytes", sft.evaluate(trained(base=spoilt)[0], data.test))

# %% [markdown]
# It makes do, and worse on each of the ten splits. (The missing mean alone costs these cells nothing that ten splits can show. Grey images have no red and blue to exchange.) Preprocessing comes with the weights, not with the recipe.
#
# ## What differs from the original
#
# - **Weights.** Keras's ResNet-50 is the original one of 2015, converted from Caffe; torchvision's was trained anew, with the stride of a block in another convolution.
# - **Preprocessing.** Ours is that of the weights. The printed code has none.
# - **BatchNorm.** Keras's has another $\epsilon$, which belongs to the weights, and another momentum, which does not matter while it is frozen.
# - **Optimizer, start, loss.** As in Keras. The images are shuffled by another generator.
# - **Evaluation.** The original looks at the test images after each epoch; here they are read at the end.
#
# ## What it is
#
# Again a profile that is zero up to the last entries. What learns is new, all of it, and no pretrained weight moves. First its result on the test images, then the profile:

# %%
print(result)
probe = sft.linear_probe(model, lr=how.rate)
assert set(sft.analysis.moved(start[:-2], model[:-2]).values()) == {0.0}
plot.profile(probe, names=["the Keras recipe"])

# %% [markdown]
# A **probe** with a hidden layer, not yet fine-tuning. Whether the hidden layer is worth its million numbers is a question of [02 Head](../02_head.ipynb): there our labels did not show that it is.

# %% [markdown]
# ## What you have seen
#
# - A frozen BatchNorm in Keras is a constant function; in PyTorch it takes `eval()` as well. The recipe gets right by itself what the other one gets wrong.
# - Softmax belongs into the loss: twice, the loss has a floor and some runs collapse; outside, the surest mistakes teach nothing.
# - What the recipe leaves out, preprocessing, is as much a part of a pretrained network as its weights.
#
# **What does it get right, and what does it leave out?** It freezes properly, and it forgets what the images must look like.
#
# *Where this lives in the library:* `sft.replace_head(…, hidden=1024)`, `sft.linear_probe`, `sft.fit(…, optimizer=…)`, `sft.Input`, `sft.cross_entropy`; type `sft.Input??` to read it.

# %% [markdown]
# ## The same in plain PyTorch
#
# ```python
# weights = models.ResNet50_Weights.IMAGENET1K_V1     # weights.transforms() is the preprocessing
# base = models.resnet50(weights=weights).requires_grad_(False)
# base.fc = nn.Identity()
# top = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, num_classes))
# optimizer = torch.optim.Adam(top.parameters(), lr=0.001, eps=1e-7)
# for epoch in range(10):
#     base.eval(); top.train()
#     for x, y in loader:                             # batches of 32, shuffled
#         loss = nn.functional.cross_entropy(top(base(x)), y)
#         optimizer.zero_grad(); loss.backward(); optimizer.step()
# ```
#
# As printed, for real: `sftlab run recipes/keras_dense -p RECIPE "as printed"`. ResNet-50 (103 MB) and CIFAR-10 (170 MB) are downloaded once; on a CPU, add `-p LABELS 100 -p SIZE 112 -p EPOCHS 3`.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `BACKBONE` to `"efficientnet_lite1"`. How many answers does the missing mean change there?
# - **Build.** Keras's loss takes soft labels as well. Load the solar cells with `target="probability"` and train the recipe on the expert's doubts.
# - **Break.** Draw the top's weights with a standard deviation of 1 instead of Glorot's range. What is the loss of the first step, and how many epochs does it take to come back?

# %% [markdown]
# ## Sources
#
# - Chollet, 2020, *Transfer learning and fine-tuning* (Keras guides); Keras team, *Keras Applications*. The recipe, `preprocess_input`, and what a frozen BatchNorm does.
# - He, Zhang, Ren and Sun, 2016, *Deep Residual Learning for Image Recognition*. ResNet-50.
# - Glorot and Bengio, 2010, *Understanding the difficulty of training deep feedforward neural networks*. The start.
# - Kingma and Ba, 2015, *Adam: A Method for Stochastic Optimization*. Both forms of the small print.
# - Lin, Chen and Yan, 2014, *Network In Network*. Global average pooling.
#
# Previous: [the PyTorch recipe](pytorch_probe.ipynb). Next: [the last few layers](last_layers.ipynb).
