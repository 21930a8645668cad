# %% [markdown]
# # How does a 1000-class network answer my question?
#
# You will be able to
# - open a network like a list: index it, slice it, run a part of it, read the shapes;
# - give it a new head for your classes, linear or with a hidden layer, and other input channels;
# - find out by measurement at which stage that head should read.
#
# 20 minutes. Comes after *[Which pretrained network should I start from?](01_select.ipynb)*
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import copy
from collections import OrderedDict

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.lessons.head import maps
from sftlab.plot import style
from sftlab.widgets import choice, explore, strip

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, 1 or 2
SIZE: int = 160                       # edge of the cells in pixels, 64 to 300
LABELS: int = 300                     # training images per class
SEED: int = 0                         # split, order of batches, start of the new head

# %% [markdown]
# A network from the shelf answers one question: *which of these thousand things is in the photograph?* Ours is another one: *is this solar cell
# broken?* Two answers, not a thousand, and neither of them is on its list. What has to change, and what can stay?

# %%
sft.check_parameters(globals(), SIZE=(int, 64, 300), LABELS=(int, 10, 800),
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"),
                     SEED=(int, 0))
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)
print(data.card)

# %% [markdown]
# ## A network is a list
#
# In this lab every network is a flat list of named stages. No wrapper, no magic: `len`, an index, a name. A slice of it is a network
# too: run the first five stages on a cracked cell, and the rest on what comes out. Nothing is lost on the way.

# %%
print(len(original), "stages:", *(name for name, _ in original.named_children()))
assert original[-1] is original.head

cell = data.train.of_rows([458]).pixels([0])
with torch.no_grad():
    assert torch.equal(original[5:](original[:5](cell)), original(cell))

# %% [markdown]
# So a forward pass is a loop over the list. We write that loop once, and keep what each stage hands on.

# %%
seen, x = {}, cell
with torch.no_grad():
    for name, stage in original.named_children():
        seen[name] = x = stage(x)
        shape = "×".join(map(str, x.shape[1:]))
        print(f"{name:7s} {shape:>10s} {x.numel():>9,} numbers")

# %% [markdown]
# Read the shapes as *channels × height × width*. Edges shrink, channels multiply. `pool` replaces each map by its mean, and only
# 1,280 numbers an image are left: the **features**. The head turns them into a thousand **logits**, one a class.
# What is in a map? Here is the cracked cell after two of the stages.

# %%
figure = Figure(figsize=(8.2, 3.6), layout="constrained")
for ax, name in zip(figure.subplots(1, 2), ("layer1", "layer4"), strict=True):
    maps(seen[name][0], name, licence=data.card.licence, ax=ax)
figure

# %% [markdown]
# Early maps still look like the picture: edges, dark spots, busbars. Later ones say less and less *what it looks like* and more and more *what is there*,
# on a coarser and coarser grid.
#
# > **Predict.** The head is one stage of twelve, and a single matrix. What share of all the network's parameters is in it?

# %%
guess = sft.widgets.predict("share of the head, in percent", 0, 100, 8, name="share")

# %%
count = {name: sum(p.numel() for p in stage.parameters())
         for name, stage in original.named_children()}
plot.guess_vs_result(100 * count["head"] / sum(count.values()), guess)

# %% [markdown]
# More than a quarter of a network made for phones is the list of a thousand answers.
#
# ## Wrong way 1: ask it anyway
#
# Perhaps the thousand words are good enough? Here is what they say of our training cells on average. The features come from the store: they
# are computed once, for every lesson.

# %%
def features(split):  # all of them, and the labels
    return sft.features(original[:-1], split).take(range(len(split)))

(f, y), (f_valid, y_valid) = features(data.train), features(data.valid)
with torch.no_grad():
    words, words_valid = original.head(f), original.head(f_valid)
names = sft.imagenet_classes()
plot.probabilities(names, words.softmax(dim=1).mean(dim=0), top=6,
                   title=f"What the old head calls {len(f)} solar cells, on average")

# %% [markdown]
# It sees stripes and boxes, and it is right. Could one of these words be a *code* for "broken"? We try all thousand: call a cell
# broken where the logit of the word exceeds a threshold, and take the word and the threshold that fit the training cells best.

# %%
order = words.argsort(dim=0, descending=True)    # for each word: cells, highest first
hits = (y == 0).sum() + (2 * y[order] - 1).cumsum(dim=0)    # if k of them are "broken"
word, k = divmod(int(hits.T.argmax()), len(hits))           # the best of all pairs
threshold = words[order[k, word], word]
print(f"best word: {names[word]!r}, right on {hits[k, word] / len(y):.1%} of train")

# %%
def score(called, split):  # accuracy with its interval, counted in modules
    return sft.proportion(called == split.y, split.groups)

majority = data.valid.majority
one_word = score((words_valid[:, word] > threshold).long(), data.valid)
print(f"the same rule on valid: {one_word:.3f}; majority rate {majority:.3f}")

# %% [markdown]
# Far worse than always saying "intact". Who tries a thousand rules finds one that fits these six hundred cells; that does not make it a rule about cracks.
# The answers are no use. But are the 1,280 numbers *behind* them?
#
# ## Wrong way 2: translate the words
#
# Keep the thousand answers, and put a translator behind them: a matrix from 1000 logits to 2. First a function that trains a head on given numbers: a
# hundred steps over all images at once, from zero weights, after the numbers were centred and brought to one scale.

# %%
def train_head(x, y, classes=2, steps=100):  # returns a function that calls new rows
    mean, spread = x.mean(dim=0), x.std(dim=0).mean()
    head = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(head((x - mean) / spread), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return lambda new: head((new - mean) / spread).argmax(dim=1)

# %%
translated = score(train_head(words, y)(words_valid), data.valid)
direct = score(train_head(f, y)(f_valid), data.valid)
print(f"a head behind the 1000 words: {translated:.3f}")
print(f"a head in their place:        {direct:.3f}")

# %% [markdown]
# About the same, and there is a reason. The old head is a linear map, $z = W_1 f + b_1$ with features $f$; the translator is another,
# $W_2 z + b_2$. One after the other they are a **single** linear map, $(W_2 W_1) f + (W_2 b_1 + b_2)$. By hand:

# %%
old, translator, merged = original.head, nn.Linear(1000, 2), nn.Linear(f.shape[1], 2)
with torch.no_grad():
    merged.weight.copy_(translator.weight @ old.weight)
    merged.bias.copy_(translator.weight @ old.bias + translator.bias)
    assert torch.allclose(merged(f), translator(old(f)), atol=1e-4)

# %% [markdown]
# So whatever a translator can say, a fresh head on the features can say as well, without the 1,281,000 numbers of the old head in between. **Replace the head.**
#
# ## Wrong way 3: edit the list in place
#
# Surgery is list editing: take the stages, put a new `head` in. Three lines, and it works. Then somebody trains a stage of the *edited* network for a single
# step. Is the *spare* one still what it was? A **fingerprint** is one hash a stage, over everything that it stores.

# %%
spare = sft.backbone(BACKBONE)          # a second copy, for this accident
parts = OrderedDict(spare.named_children())
parts["head"] = nn.Linear(f.shape[1], 2)
edited = nn.Sequential(parts)

before = sft.fingerprint(spare)
optimizer = torch.optim.SGD(edited.neck.parameters(), lr=1e-3)
loss = sft.cross_entropy(edited(data.train.pixels(range(8))), y[:8])
loss.backward()
optimizer.step()
plot.changed(before, sft.fingerprint(spare))

# %% [markdown]
# We trained one network and changed another: both lists hold *the same* stages. Slices share weights as well, which is handy for reading and dangerous for
# surgery. The right way copies first, and the library's function does just that. The proof: train the new network, compare the old one's fingerprint.

# %%
torch.manual_seed(SEED)
parts = OrderedDict(copy.deepcopy(original).named_children())
parts["head"] = nn.Linear(f.shape[1], 2)
model = sft.replace_head(original, data.classes, seed=SEED)
assert sft.fingerprint(model) == sft.fingerprint(nn.Sequential(parts))

# %%
untouched = sft.fingerprint(original)
history = sft.fit(model, data, sft.linear_probe(model), epochs=20, seed=SEED)
assert sft.fingerprint(original) == untouched
changed = [n for n, h in sft.fingerprint(model).items() if untouched[n] != h]
print("differs between the two networks:", changed)

# %% [markdown]
# ## Any number of answers
#
# The new output size is all you say. A head has (features + 1) × classes parameters: a weight for each feature and each class, and a bias for each class.

# %%
for classes in (2, ["intact", "cracked", "dead"], 10, {"defect": 2, "type": 2}):
    head = sft.replace_head(original, classes).head
    size = sum(p.numel() for p in head.parameters())
    print(f"{size:>7,} parameters for {classes}")

# %% [markdown]
# The last line is two heads on one backbone: the output becomes a dict of logits, one entry a question.
#
# ## One layer, or two?
#
# Many recipes put more on top: a dense layer of 1024 units with ReLU, and the classes after it. The hidden layer can combine features
# ("dark **and** sharp-edged"), which a linear head cannot. What it costs, stage by stage; what is frozen is cold:

# %%
deep = sft.replace_head(original, data.classes, hidden=1024, seed=SEED)
networks = {"1000 answers": (original, sft.full(original, lr=0)),
            "linear head": (model, sft.linear_probe(model)),
            "Dense(1024)": (deep, sft.linear_probe(deep))}
plot.parameters({n: sft.summary(*pair, size=SIZE) for n, pair in networks.items()})

# %% [markdown]
# > **Predict.** Five hundred times as many numbers learn. `fit` printed the linear head's validation accuracy above. What will the large head reach?

# %%
guess = sft.widgets.predict("valid accuracy of Dense(1024), percent", 50, 100, 85,
                            name="dense")

# %%
def head_of(hidden, seed):  # its validation accuracy and its last training loss
    network = sft.replace_head(original, data.classes, hidden=hidden, seed=seed)
    probe = sft.linear_probe(network)
    run = sft.fit(network, data, probe, epochs=10, seed=seed, verbose=False)
    return sft.evaluate(network, data.valid).accuracy, run.epochs[-1].train_loss

runs = {name: [head_of(hidden, seed) for seed in range(3)]
        for name, hidden in (("linear head", None), ("Dense(1024)", 1024))}
for name, found in runs.items():
    print(f"{name:12s} valid", *(f"{valid.value:.3f}" for valid, _ in found),
          " train loss", *(f"{loss:.2f}" for _, loss in found))
plot.scores({name: found[0][0] for name, found in runs.items()}, majority=majority,
            guess=guess, label="valid accuracy")

# %% [markdown]
# Three seeds each; the figure shows the first with its interval. The large head drives the *training* loss far lower. On cells that it has not seen it gains a point or two: about as much as two seeds of one head differ, and less than half
# of an interval's width. Start linear: it is small, it is convex (one minimum, whatever the seed), and it says what the *features* know. Add a hidden layer when you have
# the labels to show that it helps.
#
# ## The other end: input channels
#
# Our cells are grey, one channel; the network was trained on three. Nothing failed so far because the first stage, `input`, makes three out of one. And if your
# camera delivers four, red, green, blue and infrared? The stage refuses, because it cannot know what they are.

# %%
grey = data.train.pixels(range(4))
three = original.input(grey)
print(tuple(grey.shape), grey.dtype, "→", tuple(three.shape), three.dtype)
assert torch.equal(three, three[:, :1].expand_as(three))
try:
    original(grey.repeat(1, 4, 1, 1))
except ValueError as error:
    print(error)

# %% [markdown]
# Then the first convolution must change, and with it pretrained weights. Its filters have three channels each.
# A grey picture meets a filter only through its mean over the channels. So a safe start for *any* number of channels $C$ is that mean for each of them, times $3/C$, which
# keeps the sums as large as the next layer expects. For pictures whose channels are all equal nothing may change then, neither in the first layer nor in the answer; we try
# one channel, four and eight.

# %%
def widen(conv, channels):  # a copy that reads so many channels
    new, mean = copy.deepcopy(conv), conv.weight.mean(dim=1, keepdim=True)
    new.weight = nn.Parameter(mean.repeat(1, channels, 1, 1) * 3 / channels)
    new.in_channels = channels
    return new

# %%
with torch.no_grad():
    answer = original(grey)
    for channels in (1, 4, 8):
        wide = copy.deepcopy(original[1:])        # without `input`: it takes 1 or 3
        wide.stem[0] = widen(original.stem[0], channels)
        same = wide(three[:, :1].repeat(1, channels, 1, 1))
        assert torch.allclose(same, answer, atol=1e-3)

# %% [markdown]
# The new network gives the old answers, to rounding, until your fourth channel says something the others do not; then fine-tuning can use it. The price: filters
# that compare colours average out to nearly nothing. If three of your channels *are* red, green and blue, copy their weights as they are and average for the fourth only.
#
# ## Where should the head read?
#
# So far the head sat at the end. But the list can be cut anywhere: average each map of *any* stage over its positions, and put a linear head on those numbers. The
# last lesson's `tapped` hands them out for all stages in one pass, and the store keeps them: for the cells, and for scikit-learn's handwritten digits, ten
# classes with thirty labels each, in two sizes.

# %%
digits, large = (sft.load("digits", size=s, per_class=30, seed=SEED) for s in (32, 64))
sets = {"solar cells": data, "digits, 32 px": digits, "digits, 64 px": large}
tapped = {name: [sft.analysis.tapped(original, part) for part in (d.train, d.valid)]
          for name, d in sets.items()}
assert np.allclose(tapped["solar cells"][0]["neck"], f, atol=1e-5)   # = `pool`

# %%
def read_at(stage, name):  # valid accuracy of a head on this stage's numbers
    d, (x, new) = sets[name], [torch.tensor(part[stage]) for part in tapped[name]]
    return score(train_head(x, d.train.y, len(d.classes))(new), d.valid)

stages = list(tapped["solar cells"][0])
curves = {name: {stage: read_at(stage, name) for stage in stages} for name in sets}
rates = {n: d.valid.majority for n, d in sets.items()}
widths = {stage: seen[stage].shape[1] for stage in stages}

# %% [markdown]
# > **Predict.** Ten digits, 32 pixels wide. The usual place for a head is the last stage, `neck`, number 9. From which stage, 1 (`stem`) to 9, does a linear
# > head read digits best?

# %%
guess = sft.widgets.predict("number of the best stage for digits", 1, 9, 9,
                            name="stage")

# %%
small = "digits, 32 px"
plot.by_stage(curves[small], majority=rates[small], widths=widths, guess=guess)

# %% [markdown]
# The curve rises and **falls**. Early stages see strokes but no shapes yet. At `layer6` and `layer7` a single position is left of the picture, and its numbers still tell nine
# digits in ten. The last step, to 1,280 numbers made for naming photographed things, costs another fifteen points. And for the cells?

# %%
cells = "solar cells"
plot.by_stage(curves[cells], majority=rates[cells], widths=widths)

# %% [markdown]
# Up to `layer5` the heads do no better than always saying "intact". They even stay below it, which is possible because they are trained on as many broken cells as intact
# ones, and most validation cells are intact. `layer6` and `neck` come out above the line, but no interval is clear of it: four hundred cells do not say where to read.
#
# ## Click a stage
#
# A click cuts the list there: the head resizes itself to that stage's channels, trains anew, and its accuracy lands on the curve. To the left, what the stage hands on for one picture.

# %%
examples = {name: d.train.pixels([1]) for name, d in sets.items()} | {cells: cell}

def draw(stage, pictures):
    figure = Figure(figsize=(9.6, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2.1])
    with torch.no_grad():
        channels = original[: 2 + stages.index(stage)](examples[pictures])[0]
    curve = curves[pictures] | {stage: read_at(stage, pictures)}
    maps(channels, stage, licence=sets[pictures].card.licence, ax=left)
    plot.by_stage(curve, majority=rates[pictures], widths=widths, at=stage, ax=right)
    return figure

explore(draw, stage=strip("the head reads after", stages, value="layer4"),
        pictures=choice("pictures", list(sets), value=small), name="tap")

# %% [markdown]
# Start at `neck`, the place everybody uses, and go left, one stage at a time. Then give the digits 64 pixels: the best place moves a stage to the right, and the end
# of the curve comes up.
#
# ## A cut network is a network
#
# Nothing is special about the short list. Cut after the best stage for digits, add `pool` and a head, copy; then `fit` and `evaluate` take it like any other. The stage was
# chosen on the validation digits. The test digits have been touched by nothing so far; they get the last word, once.

# %%
best = max(stages, key=lambda stage: curves[small][stage].value)
short = copy.deepcopy(original[: 2 + stages.index(best)])
short.add_module("pool", original.pool)
short.add_module("head", nn.Linear(widths[best], 10))
usual = sft.replace_head(original, digits.classes, seed=SEED)
for network in (short, usual):
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters")
    sft.fit(network, digits, sft.linear_probe(network, lr=1e-2), epochs=30, seed=SEED)
print("the cells, in the usual place:", sft.evaluate(model, data.test).accuracy)
plot.scores({f"cut after {best}": sft.evaluate(short, digits.test),
             "usual place": sft.evaluate(usual, digits.test)})

# %% [markdown]
# The intervals are far apart: for this target a small part of the network is the better network, because its head reads where the digits still are. The cells gave
# no such reason, so there the head stays in the usual place. (Their test accuracy is higher than their validation accuracy was: other modules, and some are easier. Compare
# strategies on one and the same split only.)

# %% [markdown]
# ## What you have seen
#
# - A network is a list: indexes, slices and a loop over it are all you need to look inside. Surgery edits the list and returns a copy; shared stages are an accident waiting to happen.
# - The old answers are of no use, the numbers behind them are. A translator behind the old head is a linear head with a detour; a hidden layer of 1024 learns five hundred times as
#   many numbers, and our labels do not show that it helps.
# - Where the head reads is a choice to be measured. For digits the usual place was the wrong one, by far; for cells the validation images do not say.
#
# **So how does it answer?** By a new head: throw the thousand answers away, keep the features, and let a fresh linear layer learn your classes from them.
#
# *Where this lives in the library:* `sft.backbone`, `sft.replace_head`, `sft.summary`, `sft.fingerprint`, `sft.analysis.tapped`, `sft.features`; `sftlab/core/model.py` is short enough to read.
#
# ## The same in plain PyTorch
#
# Without this lab: timm builds the network, cuts the head off (`num_classes=0`), and you add your own.

# %%
import timm

body = timm.create_model(f"tf_{BACKBONE}", pretrained=False, num_classes=0)
plain = nn.Sequential(body, nn.Linear(body.num_features, len(data.classes)))
body.requires_grad_(False)
print(plain.eval()(torch.zeros(1, 3, SIZE, SIZE)).shape)

# %% [markdown]
# `pretrained=True` would download weights. With `in_chans=4` timm widens the first convolution much as we did, and `features_only=True` hands out the maps of several stages.
#
# ## Try it
#
# - **Tweak.** Set `LABELS` to 30. Which stages of the solar curve fall, and does Dense(1024) fall further than the linear head?
# - **Build.** Read `sft.analysis.tapped??` and write your own, which hands out the *largest* value of each map beside its mean (`amax`). A crack is small: does the maximum keep what the mean dilutes?
# - **Break.** Leave out the factor 3/C in `widen` and use eight channels. How far off is the answer, and which layer would repair it in training?
#
# ## Sources
#
# - Tan and Le, 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*. The network's family.
# - Alain and Bengio, 2017, *Understanding intermediate layers using linear classifier probes*. A head at every stage.
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* From general to specific, stage by stage.
# - Kornblith, Shlens and Le, 2019, *Do Better ImageNet Models Transfer Better?* What the usual place is worth.
# - Wightman, 2019, *PyTorch Image Models*. The head contract, and weights for other input channels.
#
# Previous: [01 Select](01_select.ipynb). Next: [03 Loss](03_loss.ipynb).
