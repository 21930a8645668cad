# %% [markdown]
# # Which pretrained network should I start from?
#
# You will be able to
# - read what a network costs: parameters, work per image, speed on *your* machine, licence;
# - give it pictures as it was trained on them, and say what each wrong way costs;
# - choose between networks by a rule that you wrote down before you saw the numbers.
#
# 45 minutes. Comes after *[Start here](00_start_here.ipynb)*. Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; two photographs that come with scikit-learn, CC BY 2.0.

# %%
import timeit

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

import sftlab as sft
from sftlab import plot, widgets
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, 1 or 2
SIZE: int = 160                       # edge of the cells in pixels: 96, 160, 224 or 300
SEED: int = 0                         # split, start of the new head, order of batches
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# ## The question
#
# Hundreds of pretrained networks can be had. They differ in size, in speed, in what one may do with them, and in how much of what they learned is of use *here*. We look at the costs first, then at how pictures must be prepared, and only then measure. The task is that of lesson 00: is this solar cell broken?

# %%
sft.check_parameters(globals(), SIZE=(96, 160, 224, 300), SEED=(int, 0),
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"), OUT=str)
data = sft.load("solar", size=SIZE, seed=SEED)
original = sft.backbone(BACKBONE)

# %% [markdown]
# ## What a network costs
#
# Work is counted in **MACs**, multiply-accumulate operations: one multiplication and one addition each. PyTorch can count them, but it reports **FLOPs**, *two* a MAC, while many papers print MACs and call them FLOPs. A factor of two between tables is usually this. We count one network and compare with the number that torchvision publishes.

# %%
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model, get_model_weights


def gmacs(network, x):  # billions of MACs that the network needs for x
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops() / 2 / 1e9

# %%
counted = gmacs(get_model("resnet18").eval(), torch.rand(1, 3, 224, 224))
published = get_model_weights("resnet18").IMAGENET1K_V1.meta["_ops"]
assert abs(counted / published - 1) < 0.02
print(f"resnet18: {counted:.2f} billion MACs an image, published {published:.2f}")

# %% [markdown]
# Now five networks beside our small one. Work and speed do not depend on what the weights are, so nothing is downloaded for this comparison: the networks start at random, and their **top-1** accuracy (the share of ImageNet's 50,000 validation photographs that get the right one of 1000 names) is the one published with their weights.
#
# > **Predict.** `resnet50` does about ten times the work of `efficientnet_lite0`. How many times as long does it take for a picture, on this machine?

# %%
guess = widgets.predict("times as long as efficientnet_lite0", 1, 20, 10)

# %% [markdown]
# torchvision's weights carry their published numbers in `meta`; of our small network, top-1 is what its authors publish (see the sources), and the rest is counted here. Each network is timed on single pictures; the fastest of five passes counts (the stored times are from a busy machine).

# %%
shelf = {"efficientnet_lite0": sft.backbone("efficientnet_lite0")}
for name in ("resnet18", "resnet50", "convnext_tiny", "vgg16", "vit_b_16"):
    shelf[name] = get_model(name).eval()  # weights=None: a random start
times = {}
for name, network in shelf.items():
    x = torch.zeros(1, 3, 224, 224)
    if name == "efficientnet_lite0":
        x, work, top1 = x.byte(), gmacs(network, x.byte()), 75.1
    else:
        meta = get_model_weights(name).IMAGENET1K_V1.meta
        work, top1 = meta["_ops"], meta["_metrics"]["ImageNet-1K"]["acc@1"]
    with torch.no_grad():
        took = min(timeit.repeat(lambda n=network, x=x: n(x), number=1, repeat=5))
    size = sum(p.numel() for p in network.parameters()) / 1e6
    times[name] = took
    print(f"{name:<19}{size:6.1f} M parameters {work:6.2f} G MACs {1000 * took:5.0f} ms"
          f"  top-1 {top1:.1f} %")
ratio = times["resnet50"] / times["efficientnet_lite0"]
plot.guess_vs_result(ratio, guess, low=1, high=20, unit="times as long")

# %% [markdown]
# Work and speed are not the same: ten times the MACs do not take ten times as long here (why is not measured). So read MACs in papers, and measure speed on the machine that will do the work, when it does nothing else.
#
# Age shows: `vgg16` of 2014 does nearly as much work as `vit_b_16` and is far less accurate. `convnext_tiny` of 2022 costs about as much work as `resnet50`.
#
# The last cost is the **licence**. The Lite networks' authors published theirs under Apache-2.0. torchvision's *code* is BSD-3-Clause, but for these
# *weights* it states no licence and warns that terms of the training data may apply; ImageNet's pictures are for research. If you sell something, ask before, not after.
#
# ## Are my classes there already?
#
# Ask this before any training. If the source data set contains your classes, you need no training at all: read the right outputs.

# %%
names = sft.imagenet_classes()
for word in ("solar", "cell", "crack", "panel", "palace"):
    print(f"{word:<8}", [name for name in names if word in name] or "no such class")

# %% [markdown]
# A *solar dish* is a power station with mirrors, a *cello* is a cello. But the names are only the last layer. Before them the network has 1,280 numbers for each image, its **features**.
#
# ## How to measure what features know
#
# The measurement is a **linear probe** (lesson 00): the best linear classifier on frozen features, judged on cells it has not seen. 400 validation cells are few when networks are nearly equal, so the cells of train and valid take turns: five times, a probe learns from four fifths and judges the last. Whole blocks of neighbouring files stay together, because they come from one module. That is **grouped cross-validation**. The test split waits.

# %%
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

y = np.concatenate([data.train.y, data.valid.y])
blocks = np.concatenate([data.train.groups, data.valid.groups])


def learned(x):  # x: cells × features. Five probes, each with the cells it will judge
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=3 / x.shape[1]))
    return [(clone(probe).fit(x[learn], y[learn]), judge)
            for learn, judge in GroupKFold(5).split(x, y, blocks)]


def judged(x, probes=None):  # which cells are judged correctly?
    right = np.zeros(len(y), dtype=bool)
    for probe, judge in probes or learned(x):
        right[judge] = probe.predict(x[judge]) == y[judge]
    return right

# %% [markdown]
# `C` says how freely the weights may grow (the 3 was not tuned). Divided by the number of features it restrains a probe on two numbers as much as one on 1,280. (`probes`, those that have already learned, is for later.)
#
# How far does one come *without* a network? Take two numbers for each cell: the mean and the spread of its grey values.
#
# > **Predict.** A probe on *brightness and contrast*: how many percent of the cells will it judge correctly?

# %%
guess = widgets.predict("probe on two numbers, accuracy in percent", 50, 100, 69)

# %%
grey = torch.cat([s.pixels(range(len(s))) for s in (data.train, data.valid)])
grey = grey.float().flatten(1)
two = judged(torch.stack([grey.mean(dim=1), grey.std(dim=1)], dim=1).numpy())
two_numbers = sft.proportion(two, blocks)
plot.guess_vs_result(100 * two_numbers.value, guess, low=50, high=100)

# %% [markdown]
# Dark or patchy cells are often broken, and two numbers see that. *This* is what a network with millions of parameters has to beat. The features come from one pass through the frozen network, in eval mode and without gradients. In plain PyTorch, for one batch; then for all cells by `sft.features`, which keeps them on disk.
#
# Both probes judge the *same* cells, and what one finds hard the other finds hard too. So we compare in **pairs**: in each block, the accuracy of one minus that of the other; then the mean of these differences and its 95 % interval. It reaches about two **standard errors** (`sem`) to both sides: the spread of the values, divided by the root of their number.

# %%
from torch.utils.data import DataLoader

pictures, labels = next(iter(DataLoader(data.train, batch_size=32)))
with torch.no_grad():
    by_hand = original[:-1].eval()(pictures)   # all stages but the head: 32 × 1280


def features(stages):  # of the cells of train and valid
    parts = [sft.features(stages, split).take(range(len(split)))[0]
             for split in (data.train, data.valid)]
    return torch.cat(parts).numpy()

# %%
from scipy.stats import sem, t


def by_block(values):  # their mean in each block of files
    return np.array([values[blocks == b].mean() for b in np.unique(blocks)])


def paired(a, b):  # points that a has more than b: mean over the blocks, low, high
    d = 100 * by_block(a.astype(float) - b)
    half = t.ppf(0.975, len(d) - 1) * sem(d)
    return d.mean(), d.mean() - half, d.mean() + half


x = features(original[:-1])
assert np.allclose(x[:32], by_hand, atol=1e-2)
probes = learned(x)
many, majority = judged(x, probes), np.bincount(y).max() / len(y)
proper, points = sft.proportion(many, blocks), "{:+.1f} ({:+.1f} to {:+.1f})"
print(f"two numbers  {two_numbers:.3f}; majority {majority:.3f}")
print(f"1280 numbers {proper:.3f}; points more: {points.format(*paired(many, two))}")

# %% [markdown]
# The network is ahead by a few points, and even that is not shown: the interval of the difference contains zero.
#
# ## Four wrong ways to prepare a picture
#
# A network expects pictures prepared as when it was trained. Nothing complains if they are not: any array of the right shape gives numbers. In torchvision the preparation comes with the weights, as `weights.transforms()`: shorter edge to 256 pixels, the middle 224 × 224, values from 0–255 to 0–1, then minus a mean and divided by a standard deviation, for each colour. Our Lite weights want mean and std 0.5, that is values from −1 to 1. By hand with `transforms.v2`, and as the first stage of our networks, `input`:

# %%
prepare = v2.Compose([v2.RGB(), v2.ToDtype(torch.float32, scale=True),
                      v2.Normalize([0.5] * 3, [0.5] * 3)])
print(get_model_weights("resnet50").IMAGENET1K_V1.transforms())
assert torch.allclose(prepare(pictures), original.input(pictures), atol=1e-5)
print("`input` gives the same as `prepare`")

# %% [markdown]
# Because preparing is a stage of the network, a mistake in it is another first stage. Here are four. The first has the mean and std that most other ImageNet networks want, and that people write by habit.

# %%
class Swapped(nn.Module):
    is_constant = True  # always does the same, so that its features may be kept

    def forward(self, x):
        return x.flip(1)


class Squashed(Swapped):
    def forward(self, x):
        return F.interpolate(x, scale_factor=(1, 0.5), mode="bilinear", antialias=True)

# %%
habit = sft.Input((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ways = {
    "as trained": nn.Sequential(original.input),
    "another mean and std": nn.Sequential(habit),
    "blue and red swapped": nn.Sequential(original.input, Swapped()),
    "squashed to half": nn.Sequential(Squashed(), original.input),
    "0–255, not scaled": nn.Sequential(sft.Input((0, 0, 0), (1 / 255,) * 3)),
}

# %% [markdown]
# First on photographs, with the original head: the first name that it gives, and how sure it is. Below that, left the picture as it should be, right after a mistake.

# %%
from sklearn.datasets import load_sample_image

photos = {}
for title, file in (("a palace", "china.jpg"), ("a dahlia", "flower.jpg")):
    photo = torch.tensor(load_sample_image(file)).permute(2, 0, 1)[None]
    photos[title] = v2.functional.resize(v2.functional.center_crop(photo, 427), [224])


def answers(photo, way):  # the prepared picture, and the four most probable names
    with torch.no_grad():
        seen = ways[way](photos[photo])
        p = original[1:](seen).softmax(dim=1)[0]
    return seen[0], [f"{names[i]} {p[i]:.0%}" for i in p.argsort(descending=True)[:4]]


for way in ways:
    print(f"{way:22}", *(f"{name}: {answers(name, way)[1][0]:24}" for name in photos))

# %%
def draw(photo, way):
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    for ax, w in zip(figure.subplots(1, 2), ("as trained", way), strict=True):
        seen, top = answers(photo, w)
        ax.imshow((seen.permute(1, 2, 0) / 2 + 0.5).clip(0, 1))
        ax.set(title=f"{photo}, {w}", xticks=[], yticks=[], xlabel="\n".join(top))
    return figure


widgets.explore(draw, photo=widgets.choice("photograph", list(photos)),
                way=widgets.choice("prepared", list(ways), "squashed to half"),
                name="prepare")

# %% [markdown]
# Nothing fails, and some names stay plausible. Now the cells. A mistake can be made in two places. **In both**: the probe learns from wrongly prepared pictures and is asked with such pictures. **Only asked**: it learned from proper ones, and later somebody else's code prepares the pictures. Each accuracy stands beside its paired difference from *as trained*.
#
# > **Predict.** A probe that learned from proper pictures is asked with *another mean and std*. How many percent are right?

# %%
guess = widgets.predict("only asked with another mean and std, percent", 20, 100, 75)

# %%
print(f"{'prepared':<22}{'in both, points more':<32}only asked, points more")
for way, first in ways.items():
    wrong = features(nn.Sequential(*first, *original[1:-1]))
    both, asked = (f"{right.mean():.3f}  {points.format(*paired(right, many))}"
                   for right in (judged(wrong), judged(wrong, probes)))
    print(f"{way:<22}{both:<32}{asked}")

# %% [markdown]
# *Only asked* with wrong pictures, the probe loses some points with another mean and std, more with 0–255, and with squashed pictures it falls below the majority rate: these intervals lie below zero. A probe that *learns* from wrong pictures hides most of it, so a decent number is no proof that you prepared them well. (Swapping colours changes nothing: the cells are grey.) The remedy is to keep preparing and weights together: `weights.transforms()` in torchvision, the stage `input` in this lab, where data is plain bytes.
#
# ## A rule first, then the numbers
#
# Three networks are on this machine: Lite0, 1 and 2, each larger than the one before. The most accurate of several will always be one of them, even where they are equal and only chance decides. So we write down a rule *before* we look, the **one-standard-error rule** (Breiman et al., 1984):
#
# 1. measure all, find the best, and the standard error of its accuracy;
# 2. every network within one standard error of the best is good enough;
# 3. of those, take the one with the least work.

# %%
lites = [f"efficientnet_lite{i}" for i in range(3)]
nets = {name: sft.backbone(name) for name in lites}
right = {name: judged(features(net[:-1])) for name, net in nets.items()}
cell = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.uint8)
work = {name: gmacs(net, cell) for name, net in nets.items()}


best = max(lites, key=lambda name: right[name].mean())
error = sem(by_block(right[best]))
enough = [n for n in lites if right[n].mean() >= right[best].mean() - error]
chosen = min(enough, key=work.get)
for name in lites:
    print(f"{name}  {work[name]:.2f} G MACs  {sft.proportion(right[name], blocks):.3f}")
print(f"best: {best}, standard error {error:.3f}; the rule takes {chosen}")

# %% [markdown]
# These intervals overlap, but that is a poor test. The differences from the best, in pairs (here each block counts once; in the table above, each cell):

# %%
for name in lites:
    if name != best:
        print(f"{name}, points more than {best}:",
              points.format(*paired(right[name], right[best])))

# %% [markdown]
# Read an interval to its end. Where it contains zero, the difference is not significant; that does **not** mean that the two are equal. It means that you may lose as many points as its lower end says, and that these cells cannot tell. The rule accepts this risk in exchange for less work. If you cannot afford it, write a stricter rule beforehand (for example: the lower end must be above −2 points), and where only the best passes, pay for it or measure on more images.
#
# What a rule forbids is to look first and then to pick the reason. The rule was one-standard-error, so we follow it, and the test split speaks once, about the network that it took.

# %%
model = sft.replace_head(nets[chosen], data.classes, seed=SEED)
sft.fit(model, data, sft.linear_probe(model, lr=1e-3), epochs=20, seed=SEED)
result = sft.evaluate(model, data.test, out=OUT)
print(f"{chosen}, {SIZE} px: test accuracy {result.accuracy:.3f}; "
      f"majority {result.majority:.3f}")

# %% [markdown]
# This number may lie above or below all earlier ones: these are other cells, of other modules, and one split of many. Lesson 08 measures how far one split can lead astray. The choice was made before this number and is not changed after it.
#
# ## What you have seen
#
# - Costs first: work per image, speed measured on your machine, licence. MACs do not tell the speed, and FLOPs are sometimes two MACs.
# - Preparing belongs to the weights. A probe that learns from wrong pictures can hide the mistake; asked with wrong ones it loses, most with squashed ones.
# - A rule written down beforehand chooses; paired differences say how many points you may lose. "Not significantly worse" is not "equal".
#
# **So which? The one with the least work that is good enough by a rule fixed beforehand**, and measured on your own images.
#
# *Where this lives in the library:* `sft.backbones()` lists the networks, `sft.Input` prepares, `sft.features` keeps features. [Further: rank](further/rank.ipynb) compares many more starting points: stages, image sizes, random weights.
#
# ## The same in plain PyTorch
#
# In lesson 00's plain path, the choice is one line: the weights. They bring their own preparation, and the only other thing to know is what the last layer is called.

# %%
from torchvision.models import ConvNeXt_Tiny_Weights, convnext_tiny

prepare = ConvNeXt_Tiny_Weights.IMAGENET1K_V1.transforms()  # the weights' own
network = convnext_tiny(weights=None)  # weights="IMAGENET1K_V1" downloads 109 MB
network.classifier[2] = nn.Linear(network.classifier[2].in_features, 2)
print(network(prepare(pictures[:2].expand(-1, 3, -1, -1))).shape)

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/select.ipynb): the price of larger pictures, the one-standard-error rule, a palace in the wrong colours.
#
# ## Sources
#
# - Kornblith, Shlens and Le, 2019, *Do Better ImageNet Models Transfer Better?* Top-1 as a guide, and its limits.
# - Tan and Le, 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*; the Lite variants and their numbers: R. Liu, 2020, *Higher accuracy on vision models with EfficientNet-Lite*, TensorFlow blog.
# - torchvision, *Models and pre-trained weights*. The numbers of the other networks.
# - Breiman, Friedman, Olshen and Stone, 1984, *Classification and Regression Trees*. The one-standard-error rule.
#
# Previous: [00 Start here](00_start_here.ipynb). Next: [02 Head](02_head.ipynb).
