# %% [markdown]
# # When is a layer really frozen, and what does that buy?
#
# You will be able to
# - freeze part of a network so that *nothing* in it changes, and prove it with hashes;
# - say what a freeze saves in time, and do frozen work once instead of every time, knowing its price;
# - recognise the most common bug of fine-tuning code, and say when the same mechanism is wanted.
#
# 45 minutes to read, less than a minute to run. Comes after [02 Head](02_head.ipynb). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; two photographs that come with scikit-learn, CC BY 2.0.

# %%
import copy
import timeit
from functools import partial
from itertools import islice

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_sample_images
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.transforms import v2

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.freeze import Drifting
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, _lite1 or _lite2
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 200                     # training images per class, 200 to 800
SEED: int = 0                         # split, order of batches, start of the new heads
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# ## Two lines that every tutorial has
#
# To freeze a layer is to keep it as it is while others learn. Switch the gradients of its parameters off, so one reads. (The **gradient** of a parameter says how fast the loss rises when the parameter rises a little; the **optimizer** changes each parameter against its gradient.) We do that to a network with ImageNet weights and a new head of two classes: everything before the head shall stay as it is.

# %%
sft.check_parameters(globals(), SIZE=(int, 64, 300), LABELS=(int, 200, 800),
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"), SEED=(int, 0), OUT=str)
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)

# %%
model = sft.replace_head(original, data.classes, seed=SEED)
for parameter in model[:-1].parameters():
    parameter.requires_grad = False
learn = sum(p.numel() for p in model.parameters() if p.requires_grad)
print(f"{learn:,} of {sum(p.numel() for p in model.parameters()):,} parameters learn")

# %% [markdown]
# Before we train we take the network's **fingerprint**: one hash a stage, over *everything* that the stage stores. A hash is a short number computed from data; if a single bit of the data changes, so does the hash. Then an epoch as the textbook has it: `model.train()`, which tells every layer that this is training, then the loop of lesson 00, with only the head in the optimizer.
#
# > **Predict.** The head is trained for one epoch. How many of the twelve stages will have another fingerprint afterwards?

# %%
guess = widgets.predict("stages that changed", 0, 12, default=1)
before = sft.fingerprint(model)

def loader(split):
    order = torch.Generator().manual_seed(SEED)
    return DataLoader(split, batch_size=32, shuffle=True, generator=order)

def train(network, head, batches):  # returns the loss of each batch
    optimizer, losses = torch.optim.AdamW(head.parameters(), lr=1e-3), []
    for x, y in batches:
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    return losses

# %%
model.train()
drifted = train(model, model.head, loader(data.train))
after = sft.fingerprint(model)
differ = [name for name in before if before[name] != after[name]]
print("changed:", *differ)
plot.guess_vs_result(len(differ), guess, high=12, unit="stages")

# %% [markdown]
# Every stage that stores anything has changed, and none of the frozen ones got a gradient. What has moved? A stage stores two kinds of numbers: **parameters**, which the optimizer moves, and **buffers**, which belong to the layer but not to the optimizer.

# %%
was, stored = original[:-1].state_dict(), model[:-1].state_dict()
moved = [name for name in was if not torch.equal(was[name], stored[name])]
weights = [name for name, _ in model.named_parameters() if name in moved]
print(f"parameters before the head that changed: {len(weights)}")
print(f"buffers: {len(moved) - len(weights)}, such as {', '.join(moved[:2])}")

# %% [markdown]
# ## What moves without a gradient
#
# The buffers belong to BatchNorm. In eval mode it normalises with a stored mean $\mu$ and variance $\sigma^2$ of each channel. In train mode it uses mean $\mu_b$ and variance of the *batch* instead, and on the way it updates what is stored:
#
# $$\mu \leftarrow (1 - \alpha)\,\mu + \alpha\,\mu_b$$
#
# and the same for $\sigma^2$. The share $\alpha$ is usually 0.1; PyTorch calls it `momentum`, but it has nothing to do with the momentum of an optimizer (lesson 05). After 13 batches $0.9^{13}$ = 25 % of the old $\mu$ is left. By hand, for the first BatchNorm:

# %%
net, (x, _) = copy.deepcopy(original).train(), next(iter(loader(data.train)))
convolution, norm = net.stem[0], net.stem[1]
old, alpha = norm.running_mean.clone(), norm.momentum
with torch.no_grad():
    entering = convolution(net.input(x))
    norm(entering)
by_hand = (1 - alpha) * old + alpha * entering.mean(dim=(0, 2, 3))
assert torch.allclose(by_hand, norm.running_mean, atol=1e-4)
print(f"moved by up to {(by_hand - old).abs().max():.2f}; by hand the same, to "
      f"{(by_hand - norm.running_mean).abs().max():.0e}")

# %% [markdown]
# `requires_grad` has no say in it: a forward pass in train mode is enough.
#
# ## Does it matter?
#
# The head learns all the same. But we can ask the old network: what does it see in 64 squares cut from two ordinary photographs, before and after?
#
# > **Predict.** One epoch over solar cells, no parameter before the head changed. How many percent of these 64 answers are different afterwards?

# %%
cut = v2.RandomResizedCrop(SIZE, scale=(0.1, 0.5), antialias=True)
torch.manual_seed(SEED)
photos = [torch.tensor(p).permute(2, 0, 1) for p in load_sample_images().images]
crops = torch.stack([cut(photos[i % 2]) for i in range(64)])

def answers(network):  # the class of each crop, in eval mode
    with torch.no_grad():
        return network.eval()(crops).argmax(dim=1)

guess = widgets.predict("answers that changed, in percent", 0, 100, default=0,
                        name="answers")

# %%
asked = answers(original)
now = answers(nn.Sequential(*model[:-1], original.head))
different = (now != asked).float().mean().item()
plot.guess_vs_result(100 * different, guess)

# %% [markdown]
# Six of them, with the answer before and the answer after:

# %%
# every ImageNet network has the same thousand names:
names = models.ResNet18_Weights.DEFAULT.meta["categories"]
figure, axes = plt.subplots(1, 6, figsize=(9.6, 2.5))
for ax, i in zip(axes, range(0, 60, 11), strict=True):
    ax.imshow(crops[i].permute(1, 2, 0))
    sign = "✓" if now[i] == asked[i] else "✗"
    ax.set_title(f"{names[asked[i]][:17]}\n{sign} {names[now[i]][:15]}", fontsize=8)
    ax.set_axis_off()
figure.suptitle(f"Answers before and after: {different:.0%} of 64 are different")
figure.text(0.01, 0.01, "samples of scikit-learn, CC BY 2.0", fontsize=7)
figure

# %% [markdown]
# The same question to the same weights, and many other answers. What this network knew of photographs is now read through statistics of solar cells.
#
# ## Two heads, one backbone
#
# "But I only care for solar cells." Then take this everyday case. Anna trains a head that finds defects. Ben needs the cell type, mono- or polycrystalline, so he puts a second head on *the same frozen backbone* and trains it for one epoch, the textbook's way. Then Anna's head answers again, on the backbone that Ben gave back.

# %%
anna = sft.replace_head(original, data.classes, seed=SEED)
sft.fit(anna, data, sft.linear_probe(anna), epochs=15, seed=SEED, verbose=False)
before_ben = sft.evaluate(anna, data.valid, out=OUT)

types = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED, target="type")
ben = sft.replace_head(anna, types.classes, seed=SEED)
ben[:-1].requires_grad_(False)
train(ben.train(), ben.head, loader(types.train))
mixed = copy.deepcopy(anna)
mixed[:-1].load_state_dict(ben[:-1].state_dict())
after_ben = sft.evaluate(mixed, data.valid)

# %%
print(f"Ben's head (cell type):   {sft.evaluate(ben, types.valid).accuracy:.3f}, "
      f"majority {types.valid.majority:.3f}")
for when, result in (("before", before_ben), ("after ", after_ben)):
    print(f"Anna's head, {when} Ben:  {result.accuracy:.3f}, "
          f"majority {result.majority:.3f}")

# %% [markdown]
# Ben's head is far above its majority rate. Anna's head has fallen below hers, and its two intervals do not overlap (they treat the cells of a module as one group, lesson 08). Yet she did not touch her head and he did not touch her parameters, and both can prove it with `requires_grad`.
#
# ## When it is wanted
#
# The same mechanism is a known method. **AdaBN** (Li et al., 2016) recomputes the statistics on unlabelled images of a *new domain* (another camera, another light) and keeps all weights, so that each channel is normalised for what it really sees. It is done on purpose, once, and then the network is frozen again in eval mode. Does it help Anna's task? Ben's backbone has such statistics. She trains a new head on it and compares it with her first, before Ben:

# %%
adapted = sft.replace_head(ben, data.classes, seed=SEED)
sft.fit(adapted, data, sft.linear_probe(adapted), epochs=15, seed=SEED, verbose=False)
after = sft.evaluate(adapted, data.valid)
print(f"new head: {after.accuracy:.3f}, majority {after.majority:.3f}")
old, new = (torch.tensor(r.predictions) == data.valid.y for r in (before_ben, after))
print(f"only the old right: {(old & ~new).sum()}, only the new: {(new & ~old).sum()}")

# %% [markdown]
# It does not help here: neither of Anna's heads is shown to beat the majority rate, and the new one is right on fewer cells. That new statistics can be used well, Ben's own head shows, which was trained with them. **Head and statistics belong together.** Adapt where all users of the backbone change with it, and measure whether it helps; leave it where the backbone is shared.
#
# ## The remedy, by hand
#
# Mode and gradient are two different things. A frozen stage needs both: no gradient, and **eval mode**. So only the head is in train mode. The first six batches again, from the same start, and the proof:

# %%
model = sft.replace_head(original, data.classes, seed=SEED)
model.requires_grad_(False).eval()
model.head.requires_grad_(True).train()
start, before = copy.deepcopy(model.head), sft.fingerprint(model)
batches = list(islice(loader(data.train), 6))

# %%
began = timeit.default_timer()
losses = train(model, model.head, batches)
whole = timeit.default_timer() - began
after = sft.fingerprint(model)
print("changed:", *(name for name in before if before[name] != after[name]))
print(f"mean loss: {sum(losses) / 6:.3f}, the textbook's {sum(drifted[:6]) / 6:.3f}")

# %% [markdown]
# Only the head. And the loss gives no hint: the textbook's, over the same batches, differs little. One trap is left: the *next* epoch begins with `model.train()` again, which puts every stage back into train mode. The line that replaces it must be said in every epoch. In the library, `train_mode` reads what learns from a **learning-rate profile**: a plain dict with a rate for each stage, 0 for frozen. `fit` calls it for you.
#
# Dropout, like stochastic depth (whole blocks are skipped at random), is the second reason for eval mode: in train mode it computes something else in every pass, with or without parameters.

# %%
probe = sft.linear_probe(model, lr=1e-3)
model.train()
sft.train_mode(model, probe)        # where the textbook writes model.train()
print(probe)
assert [name for name in probe if model.get_submodule(name).training] == ["head"]

# %% [markdown]
# So the definition that works: **a frozen stage is a constant function.** No gradient, no running statistics, no randomness.
#
# ## What the optimizer must not hold
#
# Why does it matter what the optimizer holds, if a frozen parameter gets no gradient? Because an optimizer has a memory of its own. One layer learns for one step and is then frozen, and the optimizer steps on. Its **momentum** (a running mean of past gradients) and its **weight decay** (each weight shrinks a little at every step) do not know of the freeze:

# %%
def moves(to_none):  # by how many percent a frozen layer changes in 20 steps
    layer = nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    layer(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    old = layer.requires_grad_(False).weight.clone()
    for _ in range(20):
        optimizer.zero_grad(set_to_none=to_none)
        optimizer.step()
    return 100 * ((layer.weight - old).norm() / old.norm()).item()

print(f"gradients zero: {moves(False):.0f} %, gradients None: {moves(True):.0f} %")

# %% [markdown]
# Since version 2.0, PyTorch sets gradients to None, and an optimizer skips what has none. Older code moves your frozen layers. The safe rule does not depend on it: **hand the optimizer only what learns**, in groups if rates differ: `AdamW([{"params": model.neck.parameters(), "lr": 1e-4}, {"params": model.head.parameters(), "lr": 1e-3}])`.
#
# ## What a freeze saves
#
# A training step runs forward through everything, then backward, but only down to the first stage that learns. We time a step of 4 images for several such stages, in two ways: the frozen part is run in every step, or its output is at hand already.
#
# > **Predict.** The frozen part is run in every step. How many times as fast is a step when only the head learns, against one in which everything learns?

# %%
guess = widgets.predict("times as fast", 1, 20, default=10, step=0.5, name="speed")

def step(net, x, y):  # forward and backward
    nn.functional.cross_entropy(net(x), y).backward()

def steps(first):  # two steps of 4 images: the frozen part run, its output at hand
    net, cut = copy.deepcopy(model), stages.index(first)
    net.requires_grad_(False).eval()
    net[cut:].requires_grad_(True).train()
    with torch.no_grad():
        features = net[:cut](x)
    return partial(step, net, x, y), partial(step, net[cut:], features, y)

# %%
stages = [name for name, _ in model.named_children()]
x, y = (part[:4] for part in batches[0])
jobs = {first: steps(first) for first in ("stem", "layer2", "layer4", "layer6", "head")}
rounds = [{first: [timeit.timeit(job, number=1) for job in both]
           for first, both in jobs.items()} for _ in range(6)]
run, kept = ({first: min(times[first][i] for times in rounds) for first in jobs}
             for i in (0, 1))
plot.guess_vs_result(run["stem"] / run["head"], guess, low=1, high=20, unit="times")

# %% [markdown]
# The number is the dashed line of the next figure, its value at `stem` divided by that at `head`. Each point is the fastest of six repetitions, taken in turn, so that a pause of the machine does not hit one point alone. At `stem` only `input`, which computes next to nothing, is frozen: there the two lines must meet, and how far they miss each other is the error of the measurement.

# %%
figure, ax = plt.subplots(figsize=(7.5, 3.2))
ax.plot(run.keys(), [1000 * s for s in run.values()], "s--", label="frozen part run")
ax.plot(kept.keys(), [1000 * s for s in kept.values()], "o-", label="its output kept")
ax.set(ylim=(0, None), xlabel="first stage that learns", ylabel="one step (ms)",
       title="A freeze saves the backward pass; kept outputs, the forward one too")
ax.legend()
ax

# %% [markdown]
# A freeze alone cannot save everything: the forward pass remains. The solid line falls to almost nothing: a constant function gives the same output every time, so its output can be computed once and **cached**.
#
# ## Do frozen work once
#
# The six batches again: features first, once, then the head alone. We compare the head with the one that was trained through the whole network:

# %%
with torch.no_grad():
    cached = [(model[:-1](x), y) for x, y in batches]
head = copy.deepcopy(start)
took = timeit.timeit(partial(train, head, head, cached), number=1)
assert torch.allclose(head.weight, model.head.weight, atol=1e-3)
print(f"the same head: {whole:.2f} s through the network, {took:.3f} s on its features")

# %% [markdown]
# The same head, up to rounding. It is true only because the frozen part is constant; under the textbook's freeze an image's features depend on the batch it comes in. `fit` does this for you: it keeps features on disk under a hash of the frozen weights and a hash of each image. Ben's statistics have another hash, so a wrong feature cannot be found.
#
# **The price**: cached features belong to fixed images. Random augmentation makes a new image every time, and then nothing can be cached (or only a fixed number of views of each image). A picture and its mirror image, for instance:

# %%
with torch.no_grad():
    one = data.train.pixels([0])
    plain, mirrored = (model[:-1](v) for v in (one, v2.functional.horizontal_flip(one)))
print(f"mirrored: features differ by {(plain - mirrored).norm() / plain.norm():.0%}")

# %% [markdown]
# ## Move the cut yourself
#
# Move the first stage that learns along the strip, choose how many training steps somebody has made, and switch the mode of the frozen stages. The weights are the same in every picture that you can draw; the darker a stage, the further its statistics have moved (in standard deviations σ). First a table: the share of answers that changed in ten steps, for each first stage that learns (fewer steps than above, and half of the crops).

# %%
drifting = Drifting(original, loader(data.train), crops[::2])
print({cut: f"{share:.0%}" for cut, share in drifting.record.answers[-1].items()})
stage = widgets.strip("first stage that learns", drifting.stages, "head")
widgets.explore(drifting.draw, name="freeze", cut=stage,
                step=widgets.choice("training steps", drifting.steps, 10),
                mode=widgets.choice("mode of the frozen stages", ["train", "eval"]))

# %% [markdown]
# The first few stages do most of the damage; later ones add little.
#
# ## What you have seen
#
# - `requires_grad = False` stops gradients and nothing else: in train mode BatchNorm statistics drift and dropout stays random, and old answers change although no parameter did.
# - Frozen means constant: no gradient, eval mode, not in the optimizer. Hashes over parameters *and buffers* prove it.
# - A freeze alone saves part of each step. Cached features save nearly all of it, at the price of random augmentation.
#
# **When is a layer really frozen? When it is a constant function:** its fingerprint before and after training is the same. And then its work need be done only once.
#
# *Where this lives in the library:* `sft.fingerprint`, `sft.train_mode`, `sft.features`, `sft.feature_cost` (the price of every cut, as a table); `sft.train_mode??` shows the code.
#
# ## The same in plain PyTorch
#
# The lines that change in lesson 00's plain path, on a torchvision ResNet (random weights here):

# %%
net = models.resnet18(weights=None, num_classes=2)
net.requires_grad_(False)
net.fc.requires_grad_(True)
optimizer = torch.optim.AdamW(net.fc.parameters(), lr=1e-3)
before = net.bn1.running_mean.clone()
for _ in range(2):
    net.eval()           # in every epoch, instead of net.train() …
    net.fc.train()       # … and only what learns in train mode
    net(torch.rand(4, 3, 64, 64)).sum().backward()
    optimizer.step()
assert torch.equal(net.bn1.running_mean, before)

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/freeze.ipynb): what is left to do, a freeze that survives `model.train()`, a proof that proves nothing.
#
# ## Sources
#
# - Ioffe and Szegedy, 2015, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift*. The running statistics.
# - Li et al., 2016, *Revisiting Batch Normalization For Practical Domain Adaptation*. AdaBN.
# - Srivastava et al., 2014, *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*.
# - Loshchilov and Hutter, 2019, *Decoupled Weight Decay Regularization*. What moves weights without a gradient.
#
# Previous: [03 Loss](03_loss.ipynb). Next: [05 Rate](05_rate.ipynb).
