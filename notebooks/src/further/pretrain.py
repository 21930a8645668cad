# %% [markdown]
# # How many labels is a pretrained network worth?
#
# You will be able to
# - carry out the three steps in full: train on a large labelled set, fine-tune on a small one, evaluate;
# - read the *horizontal* gap between two learning curves: what a pretrained network is worth, counted in labels;
# - recognise a worthless source, and know when it does harm.
#
# 25 minutes to read, under a minute to run. Needs lessons 04 to 08.
# Images: handwritten digits, CC BY 4.0, Alpaydin and Kaynak 1998; characters drawn from matplotlib's fonts (DejaVu, STIX, Computer Modern).

# %%
from collections import OrderedDict
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.core import statistics
from sftlab.plot import style
from sftlab.widgets import choice, explore, slider

style.use()

# %% tags=["parameters"]
SOURCE: str = "characters"  # characters, mnist, fashion_mnist or cifar10
TARGET: str = "digits"      # digits, mnist, fashion_mnist or cifar10
SIZE: int = 8               # edge of all images in pixels; 28 for a downloaded set
LABELS: int = 5             # labels of each target class, 1 to 50
SEED: int = 4               # draw of the labels, start of every network

# %% [markdown]
# Somebody trained a network on a million labelled images. You have fifty. "Use a pretrained network" is the advice everybody gives, and accuracy goes up by some points. But labels are what you pay for. So let us ask for the
# price: **how many more labels would you need to do as well without it?**
#
# The target: real handwritten digits, 8×8 pixels. We pretend that labels are dear and take five of each class; test is large, so that we can see what happens.

# %%
sft.check_parameters(
    globals(), SOURCE=("characters", "mnist", "fashion_mnist", "cifar10"),
    TARGET=("digits", "mnist", "fashion_mnist", "cifar10"), SIZE=(int, 8, 64),
    LABELS=(int, 1, 50), SEED=(int, 0))
shares = {"valid": 0.15, "test": 0.4} if TARGET == "digits" else {}
target = sft.load(TARGET, size=SIZE, **shares)
print(target.card)

# %% [markdown]
# ## Draw the labels
#
# Which fifty? That is chance, and it will matter. By hand: shuffle the images of each class, take the first $n$. With the same seed, more labels then contain the fewer, so a curve over $n$ is not shaken by a new draw at every point. (Of ten draws whose results are stored, number 4 came out nearest to their mean, so it is the one to meet first; number 0 is the unluckiest.)

# %%
def draw(split, n: int, seed: int):
    """Return n images of each class."""
    rng, y = np.random.default_rng(seed), split.y.numpy()
    rows = [rng.permutation(np.flatnonzero(y == k))[:n] for k in np.unique(y)]
    return split.subset(np.concatenate(rows))


# %%
few = draw(target.train, LABELS, SEED)
assert few.hashes == sft.labels.draw(target.train, LABELS, SEED).hashes
plot.images(few, range(0, len(few), LABELS), columns=10, licence=target.card.licence,
            title=f"One of the {LABELS} labels of each class")

# %% [markdown]
# ## The wrong way first: from nothing
#
# A small network: four blocks of convolution, BatchNorm and ReLU, a mean over positions, a head. It is a list of stages like every other network here, so nothing in the lab minds that it is our own.

# %%
def block(inputs: int, outputs: int, stride: int):
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def network(classes, seed: int):
    """Return the network with a random start."""
    torch.manual_seed(seed)
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
    return nn.Sequential(OrderedDict(
        input=sft.Input([0.5] * 3, [0.5] * 3),
        stem=block(3, 16, 1), layer1=block(16, 32, 1), layer2=block(32, 64, 2),
        layer3=block(64, 64, 2), pool=pool, head=nn.Linear(64, len(classes))))


# %% [markdown]
# The start is random, and a function of the seed. It learns from fifty images, repeated until one epoch has at least 240 of them. Rates, epochs and BatchNorm's mode were chosen by `benchmarks/labels.py` on the validation digits, for this method and for every other one, with draws
# that do not come back below. One function does all the fine-tuning of this lesson:

# %%
def tune(net, profile, epochs: int = 10, batchnorm: str = "frozen"):
    """Fine-tune on the few labels, in place; no epoch is chosen."""
    rows = np.tile(np.arange(len(few)), -(-240 // len(few)))
    data = replace(target, train=few.subset(rows))
    sft.fit(net, data, profile, epochs, batchnorm=batchnorm, schedule=sft.cosine(),
            batch_size=16, keep_best=False, cached=False, verbose=False, seed=SEED)
    return net


# %%
kept = sft.records.read("../../benchmarks/labels.json")
chosen, scratch = kept["chosen"], network(target.classes, SEED)
how = chosen["from scratch"]
tune(scratch, sft.full(scratch, how["rate"]), how["epochs"], how["batchnorm"])
found = sft.evaluate(scratch, target.valid)
print(f"{sum(p.numel() for p in scratch.parameters()):,} parameters, {how}")
print(f"valid accuracy {found.accuracy}; majority rate {found.majority:.3f}")

# %% [markdown]
# Not bad. But is it good? Before any comparison of networks: what do methods reach that need no network at all? **Nearest neighbour** gives an image the label of the most similar of the fifty, pixel by pixel; **logistic regression** is a linear head on raw pixels. scikit-learn
# has both; a thin wrapper turns them into a network of one stage, so that the same function judges them.

# %%
class Classic(nn.Module):
    """A classifier of scikit-learn on raw pixels."""

    def __init__(self, model, split):
        super().__init__()
        x, y = split.take(np.arange(len(split)))
        self.model = model.fit(self.rows(x), y)

    def rows(self, x):
        return x.flatten(1).numpy() / 255

    def forward(self, x):
        return torch.from_numpy(np.log(self.model.predict_proba(self.rows(x)) + 1e-9))


# %%
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

nearest = KNeighborsClassifier(**chosen["nearest neighbour"])
regression = LogisticRegression(**chosen["logistic regression"], max_iter=2000)
neighbour, logistic = (nn.Sequential(Classic(m, few)) for m in (nearest, regression))
for model in (neighbour, logistic):
    found = sft.evaluate(model, target.valid)
    print(f"{type(model[0].model).__name__:20s} valid accuracy {found.accuracy}")

# %% [markdown]
# Three methods, three overlapping intervals. Sixty thousand parameters from a random start buy nothing over a list of fifty pictures. That is the mark to beat, and it costs no training at all.
#
# ## Step 1: train on a large labelled set
#
# Labels that cost nothing: print. A computer that draws a *3* knows that it is a 3. matplotlib brings 23 faces of nine font families along; each glyph is drawn twenty times with another slant, turn, width, wobble and pen.

# %%
source = sft.load(SOURCE, size=SIZE)
print(source.card)
some = np.random.default_rng(SEED).choice(len(source.train), 24)
plot.images(source.train, some, columns=12, licence=source.card.licence,
            title=f"24 of {len(source.train):,} training images of the source")

# %% [markdown]
# They are made the way the digits were: black and white dots, four times as fine, of which each block of 4×4 is averaged. How thick the pen is was set by looking at *unlabelled* digits. The skeletons are print, though: no font puts a bar through its 7.
#
# Valid and test are font families that the network never sees. It has to recognise the letter, not the font.

# %%
def pretrain(source, seed: int):
    """Step 1: five epochs on the large set, all stages at one rate."""
    net = network(source.classes, seed)
    return net, sft.fit(net, source, sft.full(net, 1e-2), epochs=5, batch_size=128,
                        schedule=sft.cosine(), keep_best=False, seed=seed)


# %%
pretrained, history = pretrain(source, SEED)
n = len(source.valid)
read = sft.wilson(round(history.epochs[-1].valid_accuracy * n), n)
print(f"{read} of {n:,} validation images of the source")
plot.curves(history)

# %% [markdown]
# The right curve is measured on letters in fonts that it never saw, and the line far below is what guessing would give.
#
# ## Ask it first
#
# The network knows printed digits among its 47 classes. Before it learns from a single handwritten one: what does it make of them? No training, just the ten rows of its head that answer "0" to "9".
#
# > **Predict.** You know how much it reads in fonts that it never saw. What percentage of real handwritten digits will it read?

# %%
def with_rows(net, classes):
    """Return a copy that answers only these of its classes; nothing is trained."""
    rows = [source.classes.index(name) for name in classes]
    new = sft.replace_head(net, classes)
    new.head.load_state_dict({k: v[rows] for k, v in net.head.state_dict().items()})
    return new


guess = sft.widgets.predict("handwritten digits read right, in percent", 0, 100, 90,
                            name="untouched")

# %%
untouched = None    # of a source that does not know the target's classes
if set(target.classes) <= set(source.classes):
    untouched = sft.evaluate(with_rows(pretrained, target.classes), target.valid)
    plot.show(plot.scores({"untouched network": untouched}, guess=float(guess)))
    plot.show(plot.confusion(untouched))

# %% [markdown]
# About seven in ten: the rest is the **domain gap**, print to hand. It is no accident of training; the network is as good as before, the pictures are others. The mistakes are not spread evenly: some digits are written as they are printed, some are not. A few labels should repair exactly that.
#
# ## Step 2: fine-tune on the small set
#
# Three ways that you know: a linear probe; LP-FT, the probe first and then all stages; and full fine-tuning. The same fifty images, ten epochs each, settings chosen as above.

# %%
def fresh(net):
    """Return a copy of a network with a new head for the target."""
    return sft.replace_head(net, target.classes, seed=SEED)


def lp_ft(net):
    """Train the new head, then everything."""
    net, how = tune(fresh(net), sft.linear_probe(net, 3e-2), 5), chosen["LP-FT"]
    return tune(net, sft.full(net, how["rate"]), 5, how["batchnorm"])


def all_stages(net, how):
    """Train everything from the start."""
    return tune(fresh(net), sft.full(net, how["rate"]), batchnorm=how["batchnorm"])


# %%
rate = chosen["linear probe"]["rate"]
probe = tune(fresh(pretrained), sft.linear_probe(pretrained, rate))
both = lp_ft(pretrained)
full = all_stages(pretrained, chosen["full"])

# %% [markdown]
# ## Step 3: evaluate
#
# All choices were made on validation images. Now the test digits, once for each model. Hollow marks are stored: ten repetitions, each with another draw of the labels, another start and another pretraining, made by `benchmarks/labels.py` (twenty minutes); bars of the
# solid marks are for the test images, bars of the hollow ones for the mean over the ten. (They are of characters and digits, whatever `SOURCE` and `TARGET` say.)

# %%
def share(packed: str) -> float:
    return float(sft.labels.unpacked(packed, kept["images"]).mean())


curves = {method: {int(n): [share(run[method][n]) for run in kept["runs"].values()]
                   for n in found} for method, found in kept["runs"]["0"].items()}
usual = (SOURCE, TARGET, SIZE) == ("characters", "digits", 8)   # what is stored

# %%
models = {"from scratch": scratch, "nearest neighbour": neighbour,
          "logistic regression": logistic, "linear probe": probe, "LP-FT": both,
          "full": full}
live = {name: sft.evaluate(model, target.test)
        for name, model in models.items()}
stored = {name: statistics.t_interval(curves[name][LABELS]) for name in live
          if usual and LABELS in curves[name]}
ax = plot.scores(live, stored=stored)
plot.base.title(ax, f"{LABELS} labels a class, without and with a source", pad=24)

# %% [markdown]
# The three that start from print are ahead of the three that do not. How much is that? Some five points, says the vertical reading. It depends on where on the curve we stand, and nobody can buy points. So read the figure the other way round.
#
# ## The horizontal gap
#
# A **learning curve** is accuracy against labels a class. Go from the pretrained network's point *to the right*, to where the other curve reaches the same accuracy.
#
# > **Predict.** LP-FT had 5 labels a class. How many does the network from scratch need to be as good?
#
# By hand, it is an interpolation with the axes exchanged: labels as a function of accuracy, straight lines over the logarithm of the labels.

# %%
guess = sft.widgets.predict("labels a class from scratch", 1, 50, 8, name="worth")

# %%
ns = sorted(curves["LP-FT"])
mean = {name: [np.mean(curves[name][n]) for n in ns] for name in curves}
goal = mean["LP-FT"][ns.index(5)]
rising = np.maximum.accumulate(mean["from scratch"])
by_hand = np.exp(np.interp(goal, rising, np.log(ns)))

worth = sft.labels.worth(curves["LP-FT"], curves["from scratch"], 5)
assert abs(worth.value - by_hand) < 1e-6
plot.guess_vs_result(worth, float(guess), low=1, high=50, unit="labels a class")

# %% [markdown]
# The interval comes from the runs: leave out one of the ten, average both curves again, read the gap again; ten times. Both curves lose the *same* run, since both methods met the same labels. (It knows of other labels and other starts, not of other test images: all runs were tested on the same.)

# %%
pair = ("LP-FT", "from scratch")
solid = {name: {LABELS: live[name].accuracy.value} for name in pair if usual}
zero = np.mean([share(run["0"]) for run in kept["alphabets"]["all"].values()])
ax = plot.label_gap({name: curves[name] for name in pair}, *pair, at=5, live=solid,
                    majority=live["LP-FT"].majority)
ax.axhline(zero, color=style.QUIET, linestyle=":")
ax.text(50, zero, f"untouched, no label: {zero:.0%}", ha="right", va="top", fontsize=9)
ax

# %% [markdown]
# Five labels do the work of more than twice as many. The dotted line is worth a second look. The untouched network needs *no* label to stand where one handwritten example of each digit brings LP-FT,
# and where the network from scratch arrives with between two and three.
#
# ## Drag it
#
# How many labels do you have? Move the slider, then change what is compared. Curves that are not compared stay pale.

# %%
methods = ["LP-FT", "linear probe", "full", "random labels"]
against = ["from scratch", "nearest neighbour", "logistic regression"]


def gap(at, method, baseline):
    ax = Figure(figsize=(8.6, 4.6), layout="constrained").add_subplot()
    shown = {name: curves[name] for name in (*methods[:3], method, *against)}
    return plot.label_gap(shown, method, baseline, at=at, ax=ax)


# %%
explore(gap, at=slider("labels a class", range(1, 51), value=5),
        method=choice("with", methods), baseline=choice("against", against), name="gap")

# %% [markdown]
# Go to the right. The curves come close to each other in *height*, but on this scale the arrow keeps about its length, until it leaves the picture. The choice of opponent matters too: logistic regression stops learning early, the nearest neighbour does not.
#
# How many *times* as many labels, against the labels you have? Up to twenty, because no more than fifty were tried with any opponent. A mark on the dotted line means: more than those fifty.

# %%
have = np.array([n for n in ns if n <= 20])
fig, ax = plt.subplots(figsize=(7.5, 3.4))
for shift, name, mark in zip((0.95, 1, 1.05), against, "sDv"):
    found = [sft.labels.worth(curves["LP-FT"], curves[name], n) for n in have]
    ends = np.minimum([[w.low, w.value, w.high] for w in found], 50)
    low, value, high = ends.T / have
    ax.errorbar(shift * have, value, (value - low, high - value), fmt=mark, mfc="white",
                label=name)
ax.plot(have, 50 / have, ":", color=style.QUIET)
ax.axhline(1, color=style.INK, linewidth=1)
times = (1, 2, 3, 5, 10)
ax.set(xscale="log", yscale="log", xticks=have, xticklabels=have,
       yticks=times, yticklabels=times, ylim=(0.8, 30),
       xlabel="labels a class that LP-FT was given (log scale)",
       ylabel="times as many labels (log)", title="What LP-FT saves, in labels")
ax.minorticks_off()
ax.legend()
ax

# %% [markdown]
# About two to three times as many against the network from scratch, wherever it could be measured. Meanwhile the vertical gap melts from twenty points to about one. **Who reads points says that pretraining hardly matters with many labels; who reads labels sees that, up to twenty a class, it saves half of them or
# more.** It is no property of the network alone, though: it is a number for this source, this target and this opponent.
#
# ## More labels, more freedom
#
# Is LP-FT the best use at every point? The other two in pairs with it, run by run:

# %%
def gains(ways, to):
    """Return how many points more than `to` each way reaches, run by run."""
    return {f"labels a class: {n}": {
        way: 100 * np.subtract(curves[way][n], curves[to][n]) for way in ways}
        for n in (1, 2, 5, 12, 20, 30, 50)}


plot.differences(gains(("full", "linear probe"), to="LP-FT"), to="LP-FT")

# %% [markdown]
# With few labels full fine-tuning is behind; with many the probe is, whose features cannot move (with a single one it leads). With few labels protect the features, with many let them move; LP-FT does the one first and then the other.
#
# ## Three uncertainties
#
# Your fifty labels are *one* draw. Would another fifty have given the same? Another start? Other test images? Each varied alone, at five labels a class, the others held still (stored; the test images by redrawing those of the live run):

# %%
right = np.array(live["LP-FT"].predictions) == np.array(live["LP-FT"].targets)
chance = np.random.default_rng(SEED)
again = [chance.choice(right, len(right)).mean() for _ in range(200)]

rows = {f"{name}, other {what}": [share(run) for run in runs.values()]
        for name, runs in kept["spread"].items()
        for name, what in [name.split(", ")]}
plot.spreads(rows | {"LP-FT, other test images": again})

# %% [markdown]
# All of them are points, not tenths. (A start of LP-FT includes another pretraining.) None of the draws and starts is in the interval of a single test result, which knows only about test images.
# So a difference of two points between two *single* runs says nothing; ten pairs over the same draws say a lot.
#
# ## A worthless source
#
# Is it the *labels* of the source that help, or simply that the network saw 20,000 characters? The same images, the same number of steps, but the labels are dealt out at random. Nothing can be learned from them, except how frequent each class is: the best loss is then the entropy $H(p) = -\sum_k p_k \log p_k$ of the class shares.

# %%
dealt = source.train.targets.clone()
train = torch.from_numpy(source.train.index)
dealt[train] = dealt[train[torch.randperm(len(train))]]
shuffled = sft.data.with_targets(source, dealt, source.classes)
p = torch.bincount(dealt[train]) / len(train)

# %%
worthless, empty = pretrain(shuffled, SEED)
assert len(empty.steps) == len(history.steps)       # the same compute
entropy, last = -(p * p.log()).sum().item(), empty.epochs[-1].train_loss
print(f"last training loss {last:.3f}, H(p) = {entropy:.3f}")
assert abs(last - entropy) < 0.1

# %% [markdown]
# It has learned nothing, in five epochs of honest work. Now fine-tune it in three ways, from trusting to free: a probe that keeps its features, LP-FT, and all stages at once with the setting that the validation digits chose for this source.
#
# > **Predict.** From scratch you got about 87 % on average. What will a *probe* reach on the worthless features?

# %%
guess = sft.widgets.predict("test accuracy of a probe, worthless source", 10, 100, 85,
                            name="worthless")

# %%
ways = {"random labels, probe":
            tune(fresh(worthless), sft.linear_probe(worthless, rate)),
        "random labels, LP-FT": lp_ft(worthless),
        "random labels": all_stages(worthless, chosen["random labels"])}
wrong = {name: live[name] for name in ("LP-FT", "from scratch")}
wrong |= {name: sft.evaluate(net, target.test) for name, net in ways.items()}
plot.scores(wrong, guess=float(guess))

# %% [markdown]
# **Negative transfer** is when a source makes things worse than no source. Does it happen here? In pairs over ten runs, against the network from scratch; first the mean over all numbers of labels, then each number.

# %%
for name in ways:
    every = [np.subtract(curves[name][n], curves["from scratch"][n]) for n in ns]
    mean = statistics.t_interval(100 * np.mean(every, axis=0))
    print(f"{name:21s} {mean:+.1f} points")
plot.differences(gains(ways, to="from scratch"), to="training from scratch")

# %% [markdown]
# An interval wholly below zero is negative transfer; one that contains zero has decided nothing. The probe, which trusts the worthless features, loses more than ten points, and more labels do not bring them back. LP-FT loses about a point at twenty and thirty labels. With all stages free the worthless source ends
# where a random start ends. (Among twenty intervals of 95 % one may miss zero by chance.) What it surely cost is its compute.
#
# So it is the source's labels that help, and what a worthless source costs depends on how far the recipe trusts it. Sign to watch for: a probe that is worse than a network from scratch.
#
# ## Which source prepares best?
#
# Three large sets of the same size, in the same fonts: only the ten digits; only letters, so that the network has never met a digit; or all 47 classes. Which one prepares best for handwritten digits?

# %%
sets = {alphabet: {n: [share(run[n]) for run in runs.values()] for n in runs["0"]}
        for alphabet, runs in kept["alphabets"].items()}
stored = {f"{alphabet}, {n} labels": statistics.t_interval(found[n]) for n in ("0", "5")
          for alphabet, found in sets.items() if n in found}
ax = plot.scores({}, stored=stored, majority=live["LP-FT"].majority)
plot.base.title(ax, "Three sources, without a label and with five a class", pad=24)

# %%
for one, other in (("all", "digits"), ("all", "letters"), ("letters", "digits")):
    d = statistics.t_interval(100 * np.subtract(sets[one]["5"], sets[other]["5"]))
    print(f"{one:7s} minus {other:7s} {d:+.1f}")

# %% [markdown]
# Without a label the letters cannot answer at all, and all 47 classes together do not know the digits less well than the ten alone. With five labels only one of the three differences is clear of zero, and it is the surprising one: the network that met letters only (among them O, I, Z, S and B, which
# look like digits) prepares better than the one that met nothing but digits. Why, these runs do not say. A guess: 37 letters force a network to notice more strokes than ten digits do.

# %% [markdown]
# ## What you have seen
#
# - The three steps: train on many labels, fine-tune on few, evaluate once. Before the second, ask the untouched network; before the third, ask methods that need no network.
# - A vertical gap is in points and melts as labels grow; a horizontal one is in labels, and here it kept its size as far as it could be measured, up to twenty labels: a factor of two to three.
# - The labels of a source matter. One with random labels bought nothing that ten runs could show, and cost a probe more than ten points; letters prepared better for digits than digits did.
#
# **How many labels is a pretrained network worth?** Here: one to two for each label that you have. Count it for your own source and target: draw both curves and measure sideways.
#
# *Where this lives in the library:* `sft.load("characters")`, `sft.labels.draw`, `sft.labels.needed`, `sft.labels.worth`, `plot.label_gap`, `plot.differences`; `sftlab/analysis/labels.py` is short enough to read.
#
# ## The same in plain PyTorch
#
# LP-FT's first half, the probe: features once, then a head on them.

# %%
body, y_new = pretrained[:-1].eval(), target.valid.y
with torch.no_grad():
    f, f_new = (body(part.take(np.arange(len(part)))[0])
                for part in (few, target.valid))
head = nn.Linear(64, len(target.classes))
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
for _ in range(200):
    loss = nn.functional.cross_entropy(head(f), few.y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
right = sft.wilson(int((head(f_new).argmax(dim=1) == y_new).sum()), len(y_new))
lab = sft.evaluate(probe, target.valid)
print(f"plain PyTorch {right}, the lab {lab.accuracy}; majority {lab.majority:.3f}")

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 1, then to 50, and run all cells again. Which of the six methods changes its place most? Then `SEED` to 0: what would you have concluded from that draw alone?
# - **Build.** The ten rows of `with_rows` already know digits. Start LP-FT from that head instead of a new one. At how many labels does it stop to matter?
# - **Build.** Make the source's pen thinner or its wobble larger (`sftlab/data/generated.py`), and find out on valid whether the untouched network gets better. How would you keep that honest?
# - **Break.** Shuffle only half of the source's labels. Is the network worth half as many target labels?
# - With a network connection: `TARGET = "fashion_mnist"`, `SIZE = 28`. Are letters worth anything for clothes?

# %% [markdown]
# ## Sources
#
# - Pan and Yang, 2010, *A Survey on Transfer Learning*. Source, target, negative transfer.
# - Cortes et al., 1994, *Learning Curves: Asymptotic Values and Rate of Convergence*.
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. LP-FT.
# - He, Girshick and Dollár, 2019, *Rethinking ImageNet Pre-training*. With enough labels, from scratch catches up.
# - Maennel et al., 2020, *What Do Neural Networks Learn When Trained With Random Labels?* That it can help, and when.
# - Huh, Agrawal and Efros, 2016, *What makes ImageNet good for transfer learning?* Classes against images.
# - Cohen et al., 2017, *EMNIST: an extension of MNIST to handwritten letters*. The merged classes.
# - Alpaydin and Kaynak, 1998, *Optical Recognition of Handwritten Digits*. The digits.
#
# [The map of all lessons](../00_start_here.ipynb)
