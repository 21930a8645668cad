# %% [markdown]
# # When is a layer really frozen, and what does that buy?
#
# You will be able to
# - freeze part of a network so that *nothing* in it changes, and prove it with hashes;
# - say what a freeze saves in time and memory, and do frozen work once instead of every time;
# - recognise the most common bug of fine-tuning code when you meet it.
#
# 25 minutes to read, about a minute to run. Comes after [03 Loss](03_loss.ipynb).
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; two photographs that come with scikit-learn, CC BY 2.0.

# %%
import copy
import time
import timeit
from itertools import islice

import matplotlib.pyplot as plt
import torch

import sftlab as sft
from sftlab import plot
from sftlab.lessons.freeze import drift
from sftlab.plot import style
from sftlab.widgets import choice, explore, strip

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, _lite1 or _lite2
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 300                     # training images per class, 200 to 800
SEED: int = 0                         # split, order of batches, start of the new heads

# %% [markdown]
# ## Two lines that every tutorial has
#
# To freeze a network, so one reads, switch the gradients of its parameters off. We do that to a network with ImageNet weights and a new head of two
# classes. Everything before the head shall stay as it is.

# %%
sft.check_parameters(globals(), SIZE=(int, 64, 300), LABELS=(int, 200, 800),
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"),
                     SEED=(int, 0))
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)
model = sft.replace_head(original, data.classes, seed=SEED)

# %%
for parameter in model[:-1].parameters():
    parameter.requires_grad = False
every = sum(p.numel() for p in model.parameters())
learn = sum(p.numel() for p in model.parameters() if p.requires_grad)
print(f"{learn:,} of {every:,} parameters take gradients")

# %% [markdown]
# Before we train we take the network's **fingerprint**: one hash a stage, over *everything* that the stage stores. If a single bit of it changes, so does the hash. Then
# an epoch, as the textbook has it: train mode on, the loop from the lesson on the loss, only the head in the optimizer.
#
# > **Predict.** The head is trained for one epoch. How many of the twelve stages will have another fingerprint afterwards? Keep your reason: *all but one are frozen*.

# %%
guess = sft.widgets.predict("stages that changed", 0, 12, default=1)
before = sft.fingerprint(model)

# %%
def textbook_epoch(model, split):
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
    model.train()
    batches = split.batches(32, seed=SEED)
    return list(sft.steps(model, batches, optimizer, sft.cross_entropy))

losses = textbook_epoch(model, data.train)
after = sft.fingerprint(model)
plot.show(plot.changed(before, after))
differ = sum(before[name] != after[name] for name in before)
plot.guess_vs_result(differ, guess, high=12, unit="stages")

# %% [markdown]
# Every stage that stores anything has changed, and none of the frozen ones got a gradient. What has moved? A stage stores two kinds of numbers: **parameters**, which gradients
# move, and **buffers**, which nobody asked about.

# %%
was, stored = original[:-1].state_dict(), model[:-1].state_dict()
moved = [name for name in was if not torch.equal(was[name], stored[name])]
weights = [name for name, _ in model.named_parameters() if name in moved]
print(f"parameters before the head that changed: {len(weights)}")
print(f"buffers: {len(moved) - len(weights)}, such as {', '.join(moved[:3])}")

# %% [markdown]
# ## What moves without a gradient
#
# The buffers belong to BatchNorm. In eval mode it normalises with a stored mean $\mu$ and variance $\sigma^2$ of each channel. In train mode it uses mean $\mu_b$ and variance
# of the *batch* instead, and on the way it updates what is stored:
#
# $$\mu \leftarrow (1 - m)\,\mu + m\,\mu_b$$
#
# with the momentum $m$, usually 0.1, and the same for $\sigma^2$. That is an average that forgets: after 19 batches, $0.9^{19}$ = 14 % of the old $\mu$ is left if $m$ = 0.1. By hand, for one batch and the
# first BatchNorm of the network:

# %%
net, (x, _) = copy.deepcopy(original).train(), next(data.train.batches(32))
norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
convolution, norm = net.stem[0], net.stem[1]
old, m = norm.running_mean.clone(), norm.momentum
with torch.no_grad():
    entering = convolution(net.input(x))
    norm(entering)
by_hand = (1 - m) * old + m * entering.mean(dim=(0, 2, 3))
assert norm is norms[0] and torch.allclose(by_hand, norm.running_mean, atol=1e-5)
print(f"{len(norms)} BatchNorms, momentum {m}; the stored mean follows the formula")

# %% [markdown]
# `requires_grad` has no say in it: no gradient is involved, only a forward pass in train mode.
#
# ## Does it matter?
#
# The head learns all the same; it never knew another floor than the one that moves under it. So nothing in the loss gives the bug away. But there is somebody who
# remembers the old network: we ask it, before and after, what it sees in 64 squares cut from two ordinary photographs.

# %%
LICENCE = "samples of scikit-learn, CC BY 2.0"
crops = sft.analysis.photo_crops(64, size=SIZE, seed=SEED)
names = sft.imagenet_classes()
asked = sft.analysis.answers(original, crops)
shown = range(3, 64, 11)
squares = sft.from_arrays(crops, asked % 2).train.of_rows(shown)
plot.images(squares, titles=[names[asked[i]] for i in shown],
            licence=LICENCE, title="What the untouched network answers")

# %% [markdown]
# > **Predict.** One epoch over solar cells, no parameter before the head changed. How many percent of these 64 answers are different afterwards?

# %%
guess = sft.widgets.predict("answers that changed, in percent", 0, 100, default=0,
                            name="answers")

# %%
drifted = torch.nn.Sequential(*model[:-1], original.head)
now = sft.analysis.answers(drifted, crops)
different = (now != asked).float().mean().item()
plot.guess_vs_result(100 * different, guess)

# %% [markdown]
# The six from above, then and now:

# %%
signs = ["✓" if now[i] == asked[i] else "✗" for i in shown]
arrows = [f"{sign} {names[asked[i]]}\n→ {names[now[i]]}"
          for sign, i in zip(signs, shown, strict=True)]
plot.images(squares, titles=arrows, licence=LICENCE,
            title=f"{100 * different:.0f} % of 64 answers are different now")

# %% [markdown]
# The same question to the same weights, and another answer to most of the pictures. Whatever this network knew of photographs, it is now read through statistics of solar cells.
#
# ## Two heads, one backbone, one victim
#
# "But I only care for solar cells." Then take this everyday case. Anna trains a head that finds defects. Ben needs the cell type, mono- or polycrystalline, so
# he puts a second head on *the same frozen backbone* and trains it for one epoch, the textbook's way. Two heads, one backbone: that is what freezing is for. Then
# Anna's head answers again, on the backbone that Ben gave back.

# %%
anna = sft.replace_head(original, data.classes, seed=SEED)
sft.fit(anna, data, sft.linear_probe(anna), epochs=15, seed=SEED)
before_ben = sft.evaluate(anna, data.test)

types = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED, target="type")
ben = sft.replace_head(anna, types.classes, seed=SEED)
ben[:-1].requires_grad_(False)
losses = textbook_epoch(ben, types.train)

# %%
after_ben = sft.evaluate(torch.nn.Sequential(*ben[:-1], anna.head), data.test)
rows = {"Ben's head (cell type)": sft.evaluate(ben, types.test),
        "Anna's head, before Ben": before_ben, "Anna's head, after Ben": after_ben}
ax = plot.scores(rows)
lost = 100 * (before_ben.accuracy.value - after_ben.accuracy.value)
plot.base.title(ax, f"Ben trained his head; Anna's lost {lost:.0f} points", pad=24)

# %% [markdown]
# Ben is happy: hardly a mistake. Anna's head is below its majority rate: worse than an answer without looking. She did not touch her head, he
# did not touch her parameters, and both can prove it with `requires_grad`. That is how this bug survives code review.
#
# ## The remedy, by hand
#
# Mode and gradient are two different axes. A frozen stage needs both: no gradient, and **eval mode**. So we put the frozen stages into eval mode and only the head into train mode.
# Then the first batches of the same epoch, and the proof; train mode would have changed every stage with the first of them.

# %%
model = sft.replace_head(original, data.classes, seed=SEED)
model.requires_grad_(False).eval()
model.head.requires_grad_(True).train()
before = sft.fingerprint(model)

# %%
optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
batches = islice(data.train.batches(32, seed=SEED), 6)
losses = list(sft.steps(model, batches, optimizer, sft.cross_entropy))
after = sft.fingerprint(model)
assert [name for name in before if before[name] != after[name]] == ["head"]
plot.changed(before, after)

# %% [markdown]
# Only the head. There is one more trap: the *next* epoch begins with `model.train()` again, which puts every stage back into train mode. So the line that replaces it must
# be said at the start of every epoch. In the library it is one call that reads what shall learn from the profile; `fit` makes it for you.

# %%
probe = sft.linear_probe(model, lr=1e-3)
model.train()
sft.train_mode(model, probe)  # where the textbook writes model.train()
training = [name for name in probe if model.get_submodule(name).training]
assert training == ["head"]   # as by hand

# %% [markdown]
# ## Frozen dice
#
# BatchNorm is not alone. Dropout, and its relative stochastic depth (whole blocks are skipped at random), compute something else in every pass as long as they are in
# train mode, trained or not. A network built with it, the same eight cells twice:

# %%
dice = sft.backbone(BACKBONE, drop_path_rate=0.2)
x = data.train.pixels(range(8))

def difference(net):  # how far two passes of the same images are apart, in percent
    with torch.no_grad():
        one, two = net[:-1](x), net[:-1](x)
    return 100 * ((one - two).norm() / one.norm()).item()

torch.manual_seed(SEED)  # the dice fall the same way every time
for part in dice[:-1].modules():
    part.train(not isinstance(part, torch.nn.BatchNorm2d))  # the dice alone
print(f"features of the same cells differ by {difference(dice):.0f} % in train mode")
sft.train_mode(dice, sft.linear_probe(dice))
print(f"and by {difference(dice):.0f} % as a frozen part should be")

# %% [markdown]
# So the definition that works: **a frozen stage is a constant function.** No gradient, no running statistics, no dice.
#
# ## The profile says what is frozen
#
# In this lab freezing is not a loop over parameters but a number: the learning rate of a stage, 0 for frozen. A strategy is a dict of such rates. `apply` turns it into
# `requires_grad`, `train_mode` into modes, `param_groups` into what the optimizer may hold.

# %%
partial = sft.last_k(model, 2, lr=1e-4)
plot.profile(probe, partial, names=["linear probe", "partial fine-tuning"])

# %% [markdown]
# ## What the optimizer must not hold
#
# Why does it matter what the optimizer holds, if a frozen parameter gets no gradient? Because an optimizer has a memory of its own. One layer learns once, is frozen, and the
# optimizer steps on. Its momentum and its weight decay do not know of the freeze:

# %%
def moves(to_none, steps=20):  # by how many percent a frozen layer changes
    torch.manual_seed(SEED)
    layer = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
    layer(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    start = layer.requires_grad_(False).weight.clone()
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=to_none)
        optimizer.step()
    return 100 * ((layer.weight - start).norm() / start.norm()).item()

print(f"gradients set to zero: it moves by {moves(to_none=False):.0f} %")
print(f"gradients set to None: it moves by {moves(to_none=True):.0f} %")

# %% [markdown]
# Since 2.0, PyTorch sets gradients to None, and an optimizer skips what has none. Older code, and code that says otherwise, moves your frozen layers. The safe rule
# does not depend on it: *hand the optimizer only what learns.*

# %%
sft.apply(model, partial)
groups = sft.param_groups(model, partial)
held = {id(p) for group in groups for p in group["params"]}
assert held == {id(p) for p in model.parameters() if p.requires_grad}
print(f"{len(groups)} groups:", ", ".join(group["name"] for group in groups))

# %% [markdown]
# ## What a freeze buys
#
# A training step runs forward through everything, then backward, but only down to the first stage that learns. We measure a step of 8 images for
# every cut.
#
# > **Predict.** Against training everything: how many times as fast is a step when only the head learns?

# %%
guess = sft.widgets.predict("times as fast", 1, 20, default=10, step=0.5, name="speed")

# %%
def seconds(net, x, y):  # of a forward and a backward pass, the best of three
    return min(timeit.repeat(lambda: sft.cross_entropy(net(x), y).backward(),
                             number=1, repeat=3))

# %% [markdown]
# For each cut twice: once with the frozen part run in every step, as a plain loop does, and once with its output at hand, because a constant function gives the same output every time.

# %%
x, y = next(data.train.batches(8, seed=SEED))
stages, run, kept = list(probe), {}, {}
for k in reversed(range(len(stages))):
    net, profile = copy.deepcopy(model), sft.last_k(model, k)
    sft.apply(net, profile)
    sft.train_mode(net, profile)
    cut = sft.frozen_prefix(net)
    with torch.no_grad():
        features = net[:cut](x)
    run[stages[-1 - k]] = seconds(net, x, y)
    kept[stages[-1 - k]] = seconds(net[cut:], features, y)

# %%
figure, ax = plt.subplots(figsize=(7.5, 3.4))
ax.plot(stages, [1000 * run[s] for s in stages], "s--", label="frozen part run")
ax.plot(stages, [1000 * kept[s] for s in stages], "o-", label="its output kept")
ax.set(ylim=(0, None), xlabel="first stage that learns",
       ylabel="one step (milliseconds)")
ax.tick_params(axis="x", rotation=30)
ax.set_title(f"Only the head learns: {run[stages[0]] / run['head']:.1f} times as fast, "
             f"{run[stages[0]] / kept['head']:.0f} times with kept features")
ax.legend()
ax

# %% [markdown]
# The frozen forward pass costs what it costs; a freeze alone makes steps only a few times as fast. The solid line falls to almost nothing:
# whoever *keeps* the output of the frozen part pays for it once. Your guess was about the dashed line.

# %%
faster = run[stages[0]] / run["head"]
plot.guess_vs_result(faster, guess, low=1, high=20, unit="times")

# %% [markdown]
# Where does the time go? Parameters and costs sit at opposite ends: the late stages hold the numbers, the early ones have the large maps, and the large maps cost time and memory.
# Which stages to freeze is therefore not a question of how many parameters they have.
#
# ## Do frozen work once
#
# A cache by hand: a dict from the hash of an image to its features. Whoever comes first fills it.

# %%
sft.apply(model, probe)
sft.train_mode(model, probe)
kept, hashes = {}, data.train.hashes

def remembered(positions):  # features of training images; only new ones are computed
    new = [i for i in positions if hashes[i] not in kept]
    if new:
        with torch.no_grad():
            made = model[:-1](data.train.pixels(new))
        kept.update({hashes[i]: f for i, f in zip(new, made, strict=True)})
    return torch.stack([kept[hashes[i]] for i in positions])

# %%
for turn in ("first", "second"):
    clock = time.perf_counter()
    for positions in torch.arange(320).split(32):
        remembered(positions.tolist())
    print(f"320 images, the {turn} time: {time.perf_counter() - clock:.4f} s")
direct = model[:-1](data.train.pixels(range(40, 72)))
assert torch.equal(remembered(range(40, 72)), direct)

# %% [markdown]
# Equal to the last bit, whatever batch an image came in. That is only true because the frozen part is a constant function; with the textbook's freeze an image's features
# depend on the batch it comes in, and this dict would be wrong from the start. Does a whole training run come out the same as well? `fit` once with the library's store and once without:

# %%
runs = {}
for cached in (True, False):
    net, clock = copy.deepcopy(model), time.perf_counter()
    sft.fit(net, data, probe, epochs=1, cached=cached, keep_best=False, seed=SEED,
            verbose=False)
    runs[cached] = net.head.weight
    print(f"cached={cached}: {time.perf_counter() - clock:.1f} s")
assert torch.allclose(runs[True], runs[False], atol=1e-4)

# %% [markdown]
# The same head, up to rounding (a batch of a few images is summed up in another order than one of 32): the store changes what a run costs, not what comes out. It lives on disk, is addressed by content (hash of the frozen weights, hash of each image) and
# is shared by all lessons. Had Ben used Anna's backbone through it, the hash of the drifted statistics would have been another key: a wrong feature cannot be found.
#
# ## The price of keeping
#
# Kept features need room, and not every place to cut is a good bargain:

# %%
sft.feature_cost(model, data)

# %% [markdown]
# Early maps are large and save little work; the narrow place is `pool`. `fit` cuts where the frozen part ends, and carries on through stages without parameters. So with the head
# alone to train, `pool` is included: 1,280 numbers an image instead of 1,280 maps.
#
# ## Move the cut yourself
#
# Here is the bug under your hand. We ask 32 of the squares again. One pass of ten batches in train mode serves all cuts, because what happens to the statistics of a stage depends only on the stages before it.

# %%
found = sft.analysis.drift(original, data.train.batches(32, seed=SEED), crops[::2])
drift(found, cut="head", step=10)

# %% [markdown]
# Move the first stage that learns along the strip, choose how many training steps somebody has made, and switch the mode of the frozen stages. The weights are the same in every picture
# you can draw here. How many stages does it take to do most of the damage?

# %%
def draw(cut, step, mode):
    return drift(found, cut=cut, step=step, train=mode == "train")

explore(draw, name="freeze", cut=strip("first stage that learns", found.stages, "head"),
        step=choice("training steps", found.steps, 10),
        mode=choice("mode of the frozen stages", ["train", "eval"]))

# %% [markdown]
# In eval mode the picture is dull, and that is the point: nothing moves, whatever you choose.
#
# ## What you have seen
#
# - `requires_grad = False` stops gradients and nothing else: in train mode BatchNorm statistics drift and dropout rolls dice, and old answers change although no parameter did.
# - Frozen means constant: no gradient, eval mode, not in the optimizer. Hashes over parameters *and buffers* prove it.
# - A freeze alone saves part of each step, and the memory of its backward pass. Because a constant function may run once and be kept, it saves nearly all of it.
#
# **When is a layer really frozen? When it is a constant function:** its fingerprint before and after training is the same. And what that buys is that its work need never be done twice.
#
# *Where this lives in the library:* `sft.fingerprint`, `sft.train_mode`, `sft.apply`, `sft.param_groups`, `sft.frozen_prefix`, `sft.feature_cost`, `sft.features`; type `sft.train_mode??` to read any of them.
#
# ## The same in plain PyTorch

# %%
net = copy.deepcopy(original)
net[-1] = torch.nn.Linear(net[-1].in_features, 2)
net[:-1].requires_grad_(False)
optimizer = torch.optim.AdamW(net[-1].parameters(), lr=1e-3)
before = copy.deepcopy(net[:-1].state_dict())
for x, y in islice(data.train.batches(32, seed=SEED), 3):
    net.train()
    net[:-1].eval()  # after every net.train(), never only once
    loss = torch.nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
assert all(torch.equal(before[n], new) for n, new in net[:-1].state_dict().items())

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `BACKBONE` to `"efficientnet_lite1"`. Which cut of the strip now changes most answers?
# - **Build.** Write a profile in which only `stem` and the head learn. What is its frozen prefix, and what is left to cache?
# - **Break.** Empty the dict (`kept.clear()`), call `model.train()` and fill it again. Does the assert hold? How far apart are one image's features in two different batches?
#
# ## Sources
#
# - Ioffe and Szegedy, 2015, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift*. The running statistics.
# - Srivastava et al., 2014, *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*. The dice.
# - Huang et al., 2016, *Deep Networks with Stochastic Depth*. Larger dice.
# - Loshchilov and Hutter, 2019, *Decoupled Weight Decay Regularization*. What moves weights without a gradient.
# - Brock et al., 2017, *FreezeOut: Accelerate Training by Progressively Freezing Layers*. What a freeze saves.
#
# Previous: [03 Loss](03_loss.ipynb). Next: [05 Rate](05_rate.ipynb).
