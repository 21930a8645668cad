# %% [markdown]
# # How many labels is a pretrained network worth?
#
# You will be able to
# - carry out the three steps in full: train on a large labelled set, fine-tune on a small one, evaluate;
# - read the *horizontal* gap between two learning curves: what a pretrained network is worth, counted in labels;
# - recognise a worthless source, and know when it does harm.
#
# 40 minutes. Comes after [06 Finetune](../06_finetune.ipynb) and [08 Evaluate](../08_evaluate.ipynb).
# Images: handwritten digits, CC BY 4.0, Alpaydin and Kaynak 1998; characters drawn from matplotlib's fonts (DejaVu, STIX, Computer Modern).

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

import sftlab as sft
from sftlab import plot, widgets
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
SOURCE: str = "characters"  # characters, mnist, fashion_mnist or cifar10
TARGET: str = "digits"      # digits, mnist, fashion_mnist or cifar10
SIZE: int = 8               # edge of all images in pixels; 28 for a downloaded set
LABELS: int = 5             # labels of each target class: 1, 2, 3, 5, 8, … 50
SEED: int = 4               # draw of the labels, start of every network
OUT: str = ""               # folder for the results as a record; "" keeps nothing

# %% [markdown]
# Somebody trained a network on many labelled images; you have fifty. "Use a pretrained network" is the usual advice, and accuracy goes up by some points. But labels are what you pay for, so we ask for the price: **how many more labels would you need to do as well without it?**
#
# The target: real handwritten digits, 8×8 pixels. We pretend that labels are dear and draw five of each class: shuffle the images of each class, take the first $n$. With the same seed a larger draw contains the smaller one, so a curve over $n$ is not shaken by a new draw at every point.

# %%
sft.check_parameters(
    globals(), SOURCE=("characters", "mnist", "fashion_mnist", "cifar10"),
    TARGET=("digits", "mnist", "fashion_mnist", "cifar10"), SIZE=(int, 8, 64),
    LABELS=(1, 2, 3, 5, 8, 12, 20, 30, 50), SEED=(int, 0), OUT=str)
shares = {"valid": 0.15, "test": 0.4} if TARGET == "digits" else {}
target = sft.load(TARGET, size=SIZE, **shares)

# %%
rng, labels = np.random.default_rng(SEED), target.train.y.numpy()
few = target.train.subset(np.concatenate([
    rng.permutation(np.flatnonzero(labels == k))[:LABELS] for k in np.unique(labels)]))
assert few.hashes == sft.labels.draw(target.train, LABELS, SEED).hashes
x, y = few.pixels(np.arange(len(few))).float(), few.y

# %% [markdown]
# ## Without a source
#
# A small network: four blocks of convolution, BatchNorm and ReLU, a mean over positions, a head. And one training loop for the whole lesson; it trains what requires a gradient, at a rate that falls along half a cosine. Rates, epochs and BatchNorm's mode are those that `benchmarks/labels.py` chose on validation digits, for every method, with draws that do not come back below.

# %%
def block(inputs, outputs, stride):
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def network(classes):
    torch.manual_seed(SEED)
    scale = v2.Lambda(lambda images: (images / 127.5 - 1).expand(-1, 3, -1, -1))
    return nn.Sequential(
        scale, block(3, 16, 1), block(16, 32, 1), block(32, 64, 2), block(64, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(64, classes))

# %%
def train(net, images, targets, rate, epochs, batch=16):
    torch.manual_seed(SEED)
    loader = DataLoader(TensorDataset(images, targets), batch, shuffle=True)
    optimizer, steps = torch.optim.Adam(net.parameters(), lr=rate), epochs * len(loader)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for some, answers in loader:
            loss = cross_entropy(net(some), answers)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); fall.step()
    return net.eval()

# %% [markdown]
# Is the result good? First ask what needs no network at all: the **nearest neighbour** gives an image the label of the most similar of the fifty, pixel by pixel. (Logistic regression, a linear head on raw pixels, comes back below as a stored curve. An epoch of the network repeats the few images until there are 240.)

# %%
record = sft.records.stored("labels")
best, times = record["chosen"], -(-240 // len(x))
often = x.repeat(times, 1, 1, 1), y.repeat(times)
scratch = train(network(len(target.classes)), *often, best["from scratch"]["rate"], 10)
ANSWER = {
    "from scratch": lambda new: scratch(new).argmax(1),
    "nearest neighbour":
        lambda new: y[torch.cdist(new.flatten(1), x.flatten(1)).argmin(1)]}


@torch.no_grad()
def score(answer, split):
    """Return the share of right answers with its 95 % interval."""
    new, truth = split.take(np.arange(len(split)))
    return sft.proportion(answer(new.float()).numpy() == truth.numpy())


print(f"valid: majority rate {target.valid.majority:.3f}")
for name, answer in ANSWER.items():
    print(f"{name:20s} {score(answer, target.valid)}")

# %% [markdown]
# ## Step 1: train on a large labelled set
#
# The two intervals overlap: that is the mark to beat. Now a source. Print has labels that cost nothing: a computer that draws a *3* knows that it is a 3. matplotlib brings 23 faces of nine font families along; each glyph is drawn twenty times with another slant, turn, width, wobble and pen. (The pen's thickness was set by looking at *unlabelled* digits.) The validation images are of a font family that the network never sees.

# %%
def pretrain(targets):
    return train(network(len(source.classes)), prints, targets, 1e-2, 5, batch=128)


source = sft.load(SOURCE, size=SIZE)
prints, names = source.train.take(np.arange(len(source.train)))
pretrained = pretrain(names)
read = score(lambda new: pretrained(new).argmax(1), source.valid)
print(f"{len(prints):,} images; valid {read}, majority {source.valid.majority:.3f}")

# %%
shown = x[::LABELS], prints[rng.choice(len(prints), 10)]
fig, ax = plt.subplots(figsize=(8, 2))
ax.imshow(torch.cat([torch.cat([*images[:10, 0]], 1) for images in shown]), cmap="gray")
ax.set(title="Above, the target; below, the source"); ax.axis("off")
fig

# %% [markdown]
# The network knows printed digits among its 47 classes. Before it learns from a single handwritten one, ask it: only those rows of its head that answer "0" to "9" count, and nothing is trained.
#
# > **Predict.** What percentage of real handwritten digits will it read?

# %%
guess = widgets.predict("digits read right, in percent", 0, 100, 90, name="untouched")

# %%
if set(target.classes) <= set(source.classes):
    known = [source.classes.index(name) for name in target.classes]
    untouched = score(lambda new: pretrained(new)[:, known].argmax(1), target.valid)
    print(f"valid {untouched}, majority {target.valid.majority:.3f}")
    display(plot.guess_vs_result(100 * untouched.value, guess))

# %% [markdown]
# What is lost between unseen print and handwriting is the **domain gap**: the network is the same, the pictures are others. A few labels should repair that.
#
# ## Step 2: fine-tune on the small set
#
# Three ways that you know: the linear probe, LP-FT (the probe first, then all stages), and full fine-tuning. The same fifty images, ten epochs each; all three start with a new head.

# %%
def fresh(net, only_head):
    """Return a copy with a new head; it alone learns, or everything does."""
    torch.manual_seed(SEED)
    net = copy.deepcopy(net).eval().requires_grad_(not only_head)
    net[-1] = nn.Linear(net[-1].in_features, len(target.classes))
    return net


first = train(fresh(pretrained, True), *often, 3e-2, 5).requires_grad_(True)
tuned = {"LP-FT": train(first.train(), *often, best["LP-FT"]["rate"], 5),
         "linear probe": train(fresh(pretrained, True), *often,
                               best["linear probe"]["rate"], 10),
         "full": train(fresh(pretrained, False), *often, best["full"]["rate"], 10)}

# %% [markdown]
# ## Step 3: evaluate
#
# All choices were made on validation images. Now the test digits, once for each model. Dots and hollow marks are stored: ten repetitions, each with another draw of the labels, another start and another pretraining, made by `benchmarks/labels.py` (of characters and 8×8 digits, whatever the parameters say). Everything is compared with the network from scratch, repetition by repetition.

# %%
def hits(digits):
    """Return which test images a stored run had right: a bit for each."""
    bits = np.frombuffer(bytes.fromhex(digits), dtype=np.uint8)
    return np.unpackbits(bits, count=record["images"])


def gains(ways, to, n):
    """Return how many points more than `to` each way reaches, run by run."""
    return {way: 100 * np.subtract(curves[way][n], curves[to][n]) for way in ways}


curves = {way: {int(n): [hits(run[way][n]).mean() for run in record["runs"].values()]
                for n in numbers} for way, numbers in record["runs"]["0"].items()}
counts = sorted(curves["LP-FT"])
AGAINST = ["from scratch", "nearest neighbour", "logistic regression"]

# %%
ANSWER |= {way: lambda new, net=net: net(new).argmax(1) for way, net in tuned.items()}
live = {way: score(answer, target.test) for way, answer in ANSWER.items()}
print(f"test: majority rate {target.test.majority:.3f}",
      *(f"{way:20s} {accuracy}" for way, accuracy in live.items()), sep="\n")
result = sft.evaluate(tuned["LP-FT"], target.test, out=OUT)
now = {way: 100 * (one.value - live["from scratch"].value) for way, one in live.items()}
others, row = [*AGAINST[1:], *tuned], f"{LABELS} labels a class"
plot.differences({row: gains(others, "from scratch", LABELS)}, live={row: now},
                 to="training from scratch")

# %% [markdown]
# The three that start from print are ahead, on average by four to six points; the two without a network cannot be told from the network from scratch. How much are five points? That depends on where on the curve we stand, and nobody can buy points. So read it the other way round.
#
# ## The horizontal gap
#
# A **learning curve** is accuracy against the number of labels. Go from the pretrained network's point *to the right*, to where the other curve reaches the same accuracy. By hand it is an interpolation with the axes exchanged: labels as a function of accuracy, straight lines over the logarithm of the labels.
#
# > **Predict.** LP-FT had 5 labels a class. How many does the network from scratch need to be as good?

# %%
guess = widgets.predict("labels a class from scratch", 1, 50, 8, name="worth")

# %%
rising = np.maximum.accumulate([np.mean(curves["from scratch"][n]) for n in counts])
by_hand = np.exp(np.interp(np.mean(curves["LP-FT"][5]), rising, np.log(counts)))
worth = sft.labels.worth(curves["LP-FT"], curves["from scratch"], 5)
assert abs(worth.value - by_hand) < 1e-6
print(f"{worth:.1f} labels a class")
plot.guess_vs_result(worth.value, guess, low=1, high=50, unit="labels a class")

# %% [markdown]
# The interval comes from the runs: leave out one of the ten, average both curves again, read the gap again; ten times. (It knows of other labels and other starts, not of other test images: all runs were tested on the same.) How many labels do you have? Move the slider, then change what is compared. Curves that are not compared stay pale.

# %%
shown = {way: curves[way] for way in [*tuned, *AGAINST]}
widgets.explore(
    lambda at, way, baseline: plot.label_gap(shown, way, baseline, at=at),
    at=widgets.slider("labels a class", range(1, 51), value=5), name="gap",
    way=widgets.choice("with", [*tuned]), baseline=widgets.choice("against", AGAINST))

# %% [markdown]
# Among the three methods: with one label a class the probe leads, with fifty it is the last, and full fine-tuning goes the other way. A guess that fits: few labels cannot say where the features should move, many can.
#
# Now both readings of the same curves, for every number of labels. The table has the points. The figure has the labels, and only those gaps whose interval ends before fifty, which is all that was tried.

# %%
fig, ax = plt.subplots(figsize=(7, 3.2))
print(f"points ahead of {'':20s}", *(f"{n:4d}" for n in counts), " labels a class")
for k, way in enumerate(AGAINST):
    points = [gains(["LP-FT"], way, n)["LP-FT"].mean() for n in counts]
    print(f"{way:36s}", *(f"{p:4.1f}" for p in points))
    gaps = [(n, sft.labels.worth(curves["LP-FT"], curves[way], n)) for n in counts]
    n, value, low, high = np.array([(n, gap.value / n, gap.low / n, gap.high / n)
                                    for n, gap in gaps if np.isfinite(gap.high)]).T
    ax.errorbar(n * (0.95 + 0.05 * k), value, (value - low, high - value), label=way,
                fmt="osD"[k], color=style.hue(way, k))
ax.set(xscale="log", ylim=(0, 7.5), xlabel="labels a class that LP-FT was given (log)",
       ylabel="times as many needed", title="What LP-FT saves, in labels")
ax.set_xticks(counts, counts); ax.minorticks_off(); ax.axhline(1, c="k"); ax.legend()
fig

# %% [markdown]
# Points melt, from twenty to one. The other reading does not: against the network from scratch and the nearest neighbour it stays at about two to three times as many labels, up to twelve, the last number at which the whole interval could be measured. **Who reads points says that pretraining hardly matters once there are labels; who reads labels sees that, as far as it was measured, it saves half of them or more on average.** It is a number for this source, this target, this way of tuning and this opponent.
#
# ## A worthless source
#
# Is it the *labels* of the source that help, or simply that the network saw 20,000 characters? The same images, the same number of steps, but the labels are dealt out at random. Nothing can be learned from them, except how frequent each class is: the best loss is then the entropy $H(p) = -\sum_k p_k \log p_k$ of the class shares $p_k$.

# %%
dealt = names[rng.permutation(len(names))]
worthless, p = pretrain(dealt), torch.bincount(dealt) / len(dealt)
with torch.no_grad():
    loss, entropy = cross_entropy(worthless(prints), dealt), -(p * p.log()).sum()
print(f"training loss {loss:.3f}, H(p) = {entropy:.3f}")

# %% [markdown]
# It has learned next to nothing. Now it is fine-tuned in three ways, from trusting to free: a probe that keeps its features, LP-FT, and all stages at once ("random labels").
#
# > **Predict.** From scratch, five labels a class gave 87 % on average. What will a *probe* reach on the worthless features?

# %%
guess = widgets.predict("test accuracy of this probe, %", 10, 100, 85, name="worthless")

# %%
empty = train(fresh(worthless, True), *often, best["linear probe"]["rate"], 10)
trusting = score(lambda new: empty(new).argmax(1), target.test)
display(plot.guess_vs_result(100 * trusting.value, guess))
ways = ["random labels, probe", "random labels, LP-FT", "random labels"]
plot.differences({f"labels a class: {n}": gains(ways, "from scratch", n)
                  for n in (1, 5, 12, 20, 30, 50)}, to="training from scratch")

# %% [markdown]
# **Negative transfer** is when a source makes things worse than no source: an interval wholly below zero. One that contains zero has decided nothing, and of eighteen intervals of 95 % about one misses zero by chance. The probe, which trusts the worthless features, loses more than ten points from five labels on, and more labels do not bring them back. LP-FT loses about a point at twenty and thirty; with all stages free the worthless source ends where a random start ends. So the source's labels matter, and what a worthless source costs depends on how far the recipe trusts it. The sign to watch for: a probe that is worse than a network from scratch.

# %% [markdown]
# ## What you have seen
#
# - The three steps: train on many labels, fine-tune on few, evaluate once. Before the second, ask the untouched network; before the third, ask methods that need no network.
# - A vertical gap is in points and melts as labels grow; a horizontal one is in labels, and here it stayed at a factor of two to three as far as it could be measured.
# - The labels of a source matter: random ones bought nothing that ten runs could show, and cost a probe more than ten points.
#
# **How many labels is a pretrained network worth?** Here: one to two more for each label that you have. Count it for your own source and target: draw both curves and measure sideways.
#
# *Where this lives in the library:* `sft.load("characters")`, `sft.labels.draw`, `sft.labels.worth`, `plot.label_gap`, `plot.differences`; `sftlab/analysis/labels.py` is short enough to read. All training above was plain PyTorch; `sft.fit` with a profile does step 2 in two lines (lesson 06).

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 1, then to 50. Which method changes its place most? Then `SEED` to 0: what would you have concluded from that draw alone?
# - **Build.** The ten rows of the untouched head already know digits. Start LP-FT from them. From how many labels on does it no longer matter?
#
# ## Sources
#
# - Pan and Yang, 2010, *A Survey on Transfer Learning*. Source, target, negative transfer.
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. LP-FT.
# - He, Girshick and Dollár, 2019, *Rethinking ImageNet Pre-training*. With enough labels, from scratch catches up.
#
# [The map of all lessons](../00_start_here.ipynb)
