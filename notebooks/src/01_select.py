# %% [markdown]
# # Which pretrained network should I start from?
#
# You will be able to
# - read a network's price tag: parameters, work per image, licence, and its speed on *your* machine;
# - feed it pictures the way it was trained, and know what each wrong way costs;
# - rank starting points by measurement, say which of them are really different, and guess the ranking without training.
#
# 25 minutes. Comes after *[Start here](00_start_here.ipynb)*. Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; two photographs
# that come with scikit-learn, CC BY 2.0.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F

import sftlab as sft
from sftlab import analysis as explain, plot
from sftlab.core import records, statistics
from sftlab.lessons.select import candidates, image_size, top_names
from sftlab.plot import style
from sftlab.widgets import choice, explore, slider

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, 1 or 2
SIZE: int = 160                       # edge of the cells in pixels: 96, 160, 224 or 300
SEED: int = 0                         # split; the stored records are of split 0

# %% [markdown]
# ## The question
#
# A pretrained network is a starting point, and there are hundreds on the shelf. They differ in size, in speed, in what one may do with them, and in how
# much of what they know is of use *here*. We go the way a careful buyer goes: price tags first, then a look inside, then measurements.

# %%
sft.check_parameters(globals(), SIZE=(96, 160, 224, 300), SEED=(int, 0),
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"))
data = sft.load("solar", size=SIZE, seed=SEED)
original = sft.backbone(BACKBONE)
print(data.card)

# %% [markdown]
# ## Price tags
#
# Work is counted in **MACs**: one multiplication and one addition. A convolution computes each number of its output from (input channels ÷ groups) × kernel height ×
# kernel width numbers, so its MACs are the size of its output times that. A warning about words: PyTorch reports FLOPs, *two* a MAC, while many papers print MACs and call them
# FLOPs. A factor of two between tables is usually this.
#
# Now the shelf. Parameters, MACs and speed do not depend on what the weights are, so nothing needs to be downloaded for this table. The last
# column says whose weights are on this machine.

# %%
shelf = explain.gallery([n for n in sft.backbones() if "vgg" not in n], size=224)
shelf

# %%
candidates(shelf)

# %% [markdown]
# - **top-1** is the share of ImageNet's 50,000 validation photographs that get the right one of 1000 names, as published by the authors of the weights.
# - **images/s** was measured just now, on grey pictures of 224 pixels, all stages before the head.
# - **licence**: the Lite networks' authors published theirs under Apache-2.0. torchvision's *code* is BSD-3-Clause, but it states no licence for these
#   *weights* and warns that terms of the training data may apply. ImageNet's pictures are for research. If you sell something, ask before, not after.
# - `tiny` is a toy for tests: it has never seen a photograph.
#
# Work and speed are not the same: `resnet50` does ten times the work of `efficientnet_lite0` but does not take ten times as long. Large dense convolutions keep a
# processor busy, thin ones keep it waiting for memory. So: read MACs in papers, measure speed at home.
#
# ## What does it see?
#
# Two ordinary photographs, asked of the untouched network. Below each picture the names it gives and how probable it finds them.

# %%
names = sft.imagenet_classes()

def ask(picture):  # H×W×3
    x = torch.tensor(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        return original(sft.data.resize(x, 224)).softmax(dim=1)[0].tolist()

# %%
photos = [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
top_names(photos, ["a palace", "a dahlia"], names, [ask(p) for p in photos])

# %% [markdown]
# The palace has a name among the thousand. The dahlia has none, and the network answers with its nearest relatives. And two of our cells:

# %%
cells = [np.repeat(data.train.images[row].transpose(1, 2, 0), 3, axis=2)
         for row in (1130, 458)]
top_names(cells, ["an intact cell", "a cracked cell"], names, [ask(c) for c in cells],
          licence=data.card.licence)

# %% [markdown]
# It hesitates between household things with a grid or a screen: it has met nothing like them.
#
# ## Are my classes in the source already?
#
# Always ask this first. If they are, no training is needed at all: read the right logits. Search the thousand names for words of your own.

# %%
for word in ("solar", "cell", "crack", "panel", "silicon", "palace"):
    print(f"{word:<8}", [name for name in names if word in name] or "no such class")

# %% [markdown]
# A *solar dish* is a power station with mirrors, a *cello* is a cello. Nothing for us: the *names* are useless here. But they are only
# the last step. Before them the network has 1,280 numbers an image, its **features**, and names are merely one thing that can be read from them.
#
# ## A map of the features
#
# 1,280 numbers cannot be drawn, two can. **Principal component analysis** turns the cloud of points so that the first axis shows the direction in which
# images differ most, the second the next. Colour and shape show a class; the axes know nothing about it.

# %%
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

kinds = sft.load("solar", size=SIZE, seed=SEED, target="type").train
some = np.random.default_rng(SEED).permutation(len(data.train))[:600]
x_some, _ = sft.features(original[:-1], data.train).take(some)
flat = PCA(2, random_state=SEED).fit_transform(StandardScaler().fit_transform(x_some))

# %%
figure, panels = plt.subplots(1, 2, figsize=(8.2, 4))
asked = {"by defect": (data.train.y, data.classes),
         "by cell type": (kinds.y, kinds.classes)}
for ax, (name, (y, classes)) in zip(panels, asked.items(), strict=True):
    for k, (class_name, mark) in enumerate(zip(classes, "o^", strict=True)):
        ax.plot(*flat[y[some] == k].T, mark, markersize=4, alpha=0.5, label=class_name)
    ax.set(title=name, xlabel="first direction", ylabel="second", xticks=[], yticks=[])
    ax.legend(loc="upper right")
figure

# %% [markdown]
# The same 600 points twice. The direction in which these pictures differ most is not our question. It is the *make* of the cell: mono- or polycrystalline, two
# clean islands. Defects are spread over both. A map shows what varies, not what matters to you, and a map without islands would not prove that a task is hard.
#
# Maps that bend space, like t-SNE, draw prettier islands. They have the same blind spot, and one more: distances between islands mean nothing.
#
# ## Measuring what features know
#
# Looking is not measuring. The measurement is a **linear probe**: the best linear classifier on these features, judged on cells it has not seen. To compare
# many starting points we want more than the 400 cells of the validation split, so all cells *outside the test split* take turns: five folds, whole blocks of
# neighbouring files together, each judged by a probe that learned from the other four. That is **grouped cross-validation**.

# %%
from sftlab.data.load import module_blocks

rows = np.sort(np.concatenate([data.train.index, data.valid.index]))
pool = data.train.of_rows(rows)
y = pool.y.numpy()
blocks = module_blocks(np.array(kinds.classes)[kinds.targets])[rows]
majority = np.bincount(y).max() / len(y)
print(f"{len(pool)} cells in {len(set(blocks))} blocks; "
      f"always 'intact' scores {majority:.3f}")

# %% [markdown]
# Before any network is allowed to shine: how far does one come without? Each cell as two numbers, the mean and the spread of its grey values.
# Below, the probe is written out by hand: learn from four folds, judge the fifth, five times.
#
# > **Predict.** A linear probe on *brightness and contrast*: how many percent of the cells will it judge correctly?

# %%
guess = sft.widgets.predict("probe on two numbers, accuracy in percent", 50, 100, 69)

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

grey = pool.pixels(range(len(pool))).float().flatten(1)
two = torch.stack([grey.mean(dim=1), grey.std(dim=1)], dim=1).numpy()
right = np.zeros(len(y), dtype=bool)
for learn, judge in GroupKFold(5).split(two, y, blocks):
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=3 / two.shape[1]))
    right[judge] = probe.fit(two[learn], y[learn]).predict(two[judge]) == y[judge]
assert (right != explain.probed(two, y, blocks)).mean() < 0.002
plot.guess_vs_result(100 * right.mean(), guess, low=50, high=100)

# %% [markdown]
# Dark or patchy cells are often broken, and two numbers see that. *This* is what a network with millions of parameters has to beat; the majority rate alone
# would flatter it. From here on `explain.probed` does that loop for us; the assertion above says that it does the same.
#
# One detail for later. `C` is the brake on large weights: they are pulled towards zero as if drawn from a normal distribution of variance `C`.
# With D standardised features the answer then has the variance C·D. `C = 3 / D` brakes a probe on 16 features as hard as one on 1,280.

# %%
def features(prefix):  # what frozen stages make of the pool, from the store: n × D
    return sft.features(prefix, pool).take(range(len(pool)))[0].numpy()

def share(right, of=blocks):  # of the cells judged correctly, counted in blocks of files
    return sft.proportion(right, of)

yardstick, x = share(right), features(original[:-1])
good = share(explain.probed(x, y, blocks))
print(f"two numbers     {yardstick:.3f}\n{x.shape[1]} features  {good:.3f}")

# %% [markdown]
# The network is ahead, by less than one might think after all those parameters, and the intervals overlap. A sharper way to compare
# comes further down. First, what the probe *is*.
#
# ## Feature extraction and the linear probe are one thing
#
# Older texts extract features and hand them to scikit-learn; newer ones put a Linear layer on top and train it. Both minimise the same
# function. One trap: for two classes scikit-learn has *one* weight vector w, the Linear layer has two, and the best pair is w/2 and −w/2. The brake on the
# pair is then half as strong, so its factor must be twice as large. Train both until nothing moves, the layer by L-BFGS, a method for smooth functions of few data: it looks at all
# images at once and calls `objective` until the gradient is nearly zero.

# %%
train, new = np.isin(rows, data.train.index), np.isin(rows, data.valid.index)
scaler = StandardScaler().fit(x[train])
z, z_new, C = scaler.transform(x[train]), scaler.transform(x[new]), 3 / x.shape[1]
classical = LogisticRegression(C=C, tol=1e-6, max_iter=5000).fit(z, y[train])

# %%
head, inputs, labels = nn.Linear(x.shape[1], 2), torch.tensor(z), torch.tensor(y[train])
optimizer = torch.optim.LBFGS(head.parameters(), max_iter=500,
                              line_search_fn="strong_wolfe")

def objective():
    optimizer.zero_grad()
    brake = head.weight.square().sum() / (C * len(labels))
    loss = F.cross_entropy(head(inputs), labels) + brake
    loss.backward()
    return loss

final = optimizer.step(objective)

# %% [markdown]
# Are they the same, image by image? And what of a probe trained the lab's way, some epochs of AdamW at a small rate? It stops before that optimum; stopping early is a
# brake too, only another one.

# %%
with torch.no_grad():
    p = head(torch.tensor(z_new)).softmax(dim=1)[:, 1].numpy()
q = classical.predict_proba(z_new)[:, 1]
print(f"largest difference between two probabilities: {abs(p - q).max():.1e}")
assert abs(p - q).max() < 2e-3 and np.array_equal(p > 0.5, q > 0.5)

# %%
model = sft.replace_head(original, data.classes, seed=SEED)
sft.fit(model, data, sft.linear_probe(model, lr=1e-3), epochs=20, seed=SEED)
print(f"scikit-learn     {share((q > 0.5) == y[new], blocks[new]):.3f}")
print(f"the lab's probe  {sft.evaluate(model, data.valid).accuracy:.3f}")

# %% [markdown]
# ## Four wrong ways to prepare a picture
#
# A network expects pictures exactly as they were prepared when it was trained. Nothing complains if they are not: any array of the right shape gives
# numbers. Here are the four mistakes seen most often. The first stage of our list, `input`, does the preparing, so a mistake is another first stage. Each network below has the same
# weights, which want values from −1 to 1; the second way has the mean and standard deviation that most other ImageNet networks want, and that people write by habit.

# %%
class Swapped(nn.Module):
    is_constant = True  # always does the same, so what comes after it may be stored

    def forward(self, x):
        return x.flip(1)

class Squashed(Swapped):
    def forward(self, x):
        return F.interpolate(x, scale_factor=(1, 0.5), mode="bilinear", antialias=True)

# %%
ways = {
    "as trained": [original.input],
    "another mean and std": [sft.Input((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
    "blue and red swapped": [original.input, Swapped()],
    "squashed to half": [Squashed(), original.input],
    "0–255, not scaled": [sft.Input((0, 0, 0), (1 / 255,) * 3)],
}
networks = {way: nn.Sequential(*first, *original[1:]) for way, first in ways.items()}

# %% [markdown]
# First with the original head, on a photograph whose right name we know: four square windows of the palace. The number is the **cross-entropy**: minus the logarithm of the
# probability that the right name got.

# %%
palace = torch.tensor(photos[0]).permute(2, 0, 1)
windows = torch.stack([palace[:, :, i : i + 427] for i in (0, 70, 140, 210)])
x_4, y_4 = sft.data.resize(windows, 224), torch.tensor([names.index("palace")] * 4)
with torch.no_grad():
    surprise = {w: F.cross_entropy(net(x_4), y_4).item() for w, net in networks.items()}

# %% [markdown]
# Now the cells. A mistake can be made in two places, and that is the point of this section. **In both**: the probe learns from wrongly prepared pictures
# and is asked with such pictures. **Only when asked**: it learned from proper ones, and later somebody else's code prepares the pictures.
#
# > **Predict.** Which does more harm?

# %%
wrong = {way: features(net[:-1]) for way, net in networks.items()}
same = {way: np.allclose(f, x, atol=1e-4) for way, f in wrong.items()}
assert same["blue and red swapped"]   # grey: three equal channels
both = {way: good if same[way] else share(explain.probed(f, y, blocks))
        for way, f in wrong.items()}
asked = [share(row) for row in explain.probed(x, y, blocks, asked=[*wrong.values()])]

# %%
table = "| prepared | photographs | cells: in both | cells: only asked |\n|-|-|-|-|\n"
for (way, loss), answer in zip(surprise.items(), asked, strict=True):
    table += f"| {way} | {loss:.2f} | {both[way]:.3f} | {answer:.3f} |\n"
Markdown(f"{table}\nPhotographs: cross-entropy. Cells: accuracy of held-out probes; "
         f"majority rate {majority:.3f}, two numbers {yardstick.value:.3f}.")

# %% [markdown]
# Read it column by column. On photographs, values from 0 to 255 are a catastrophe and a squashed picture is a bad one, while the other two hardly show: a palace
# is a palace in other colours. On cells, a probe that *learns* from wrong pictures absorbs the damage, wholly or in part, so a decent number is no proof that you
# prepared them well. But a probe that meets them unprepared falls: with another mean and std, the mistake that hid on photographs, below two plain numbers;
# with squashed pictures far below the majority rate. That is why, in this lab, preparing is part of the network: data is plain bytes, and `input` cannot be forgotten.
#
# ## Which stage should we read?
#
# The last features were made for naming photographs. Earlier stages know edges and textures, which may be nearer to our cracks. One pass delivers all: run
# stage after stage and average each output over the picture.

# %%
tapped = explain.tapped(original, pool)
with torch.no_grad():
    by_hand = original[:5](pool.pixels(range(8))).mean(dim=(2, 3))   # up to layer3
assert np.allclose(tapped["layer3"][:8], by_hand, atol=1e-4)
print(", ".join(f"{name} {values.shape[1]}" for name, values in tapped.items()))

# %% [markdown]
# A probe on each stage, of each network, at each of up to eight image sizes, from ImageNet weights and from random ones: 243 **starting points**. That takes some minutes,
# so it was done before, by `python benchmarks/selection.py`, and kept. Hollow points are from that record. The probes of two we compute again, now: solid. (The
# numbers above say how wide each stage is: that many features for the probe.)

# %%
record = records.read("../benchmarks/selection.json")
stored = [s for s in record["starts"] if s["size"] == SIZE and s["network"] != "tiny"]
assert np.allclose(tapped["neck"], x, atol=1e-4)  # the features that `good` judged
now = {"layer4": share(explain.probed(tapped["layer4"], y, blocks)), "neck": good}
curves = {}
for s in stored:
    name = f"{s['network'].replace('efficientnet_', '')}, {s['weights']}"
    curves.setdefault(name, {})[s["stage"]] = s["accuracy"]

# %%
ax = plot.by_stage(now, stored=curves, majority=majority, label="accuracy")
ax.axhline(yardstick.value, color=style.GUESS, linestyle=":")
ax.text(0, yardstick.value, "two numbers: brightness and contrast", color=style.GUESS,
        va="bottom")
ax

# %% [markdown]
# Three things to see.
#
# - With ImageNet weights accuracy climbs with depth; each of these networks has its best stage *before* the last. The final stages specialise in photographs.
# - With random weights it falls in the deeper half. The first stages pass brightness on, and random stages blur it.
# - So two numbers do as well as any random network. What pretraining is worth lies *above* the dotted line, not above the dashed one.
#
# ## The ranking, and how much of it is luck
#
# Which of the 243 is the best? The intervals overlap, but overlapping intervals are a poor test: all starting points were judged on the *same* cells, and what
# one finds hard the others find hard too. Compare them in **pairs**: cell by cell, who is right and who is not, and how the mean difference moves when one block of files is left out. A starting point is *tied* if
# the interval of the best one's lead over it reaches zero. And would the same one win again? Draw the blocks anew, many times; `correct` counts the right answers, starting point by block, so that drawing blocks is one matrix product.

# %%
starts, block_of = record["starts"], np.array(record["blocks"])
packed = np.array([list(bytes.fromhex(s["right"])) for s in starts], dtype=np.uint8)
hits = np.unpackbits(packed, axis=1, count=record["images"])         # starts × cells
member = (block_of[:, None] == np.unique(block_of)).astype(int)      # cells × blocks
correct, sizes = hits @ member, member.sum(axis=0)

# %%
rng = np.random.default_rng(0)
drawn = rng.multinomial(len(sizes), np.ones(len(sizes)) / len(sizes), size=2000)
accuracy = (drawn @ correct.T) / (drawn @ sizes)[:, None]            # draws × starts
best = int(hits.mean(axis=1).argmax())
ahead = [statistics.difference(hits[best], row, block_of) for row in hits]
tied = np.array([lead.low <= 0 for lead in ahead])
chance = [s["accuracy"].value for s in starts if s["weights"] == "random"]
assert max(chance) < yardstick.value
assert {starts[i]["weights"] for i in np.flatnonzero(tied)} == {"ImageNet"}
winners = accuracy.argmax(axis=1)
print(f"the same winner in {(winners == best).mean():.0%} of the draws; "
      f"{len(set(winners))} different winners in all")
print(f"{tied.sum()} of {len(starts)} starting points cannot be told from the best")

# %% [markdown]
# A good many cannot be told from the winner, and all of them start from ImageNet; *no* random start is better than two numbers (both asserted). And do not fall in love with the
# winner: in many of the draws it would have been another one. Whoever picks the highest of many noisy numbers picks luck along with merit; lesson 08 measures how much.
#
# ## Guessing without training
#
# Probing 243 starting points is cheap here. With large networks it is not, and people have looked for numbers that foretell a probe's accuracy.
# **LogME** (You et al., 2021) asks: how probable are the labels y, if they were made by *some* linear map w of the features F plus noise?
#
# $$p(y \mid F, \alpha, \beta) = \int p(y \mid F w, \beta)\, p(w \mid \alpha)\, dw$$
#
# Here w ~ N(0, 1/α), the noise ~ N(0, 1/β), and y is 1 for one class and 0 for the other. LogME is the logarithm of that **evidence** at the best α and
# β, per image, averaged over the classes. Nothing is trained or held out. By brute force, with w integrated out: y is Gaussian, and we search for the best α and β.

# %%
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, spearmanr

few = rng.permutation(len(y))[:120]
f, zero, eye = tapped["layer1"][few].astype(float), np.zeros(120), np.eye(120)
found = [min(minimize(lambda logs, t=1.0 * (y[few] == k): -multivariate_normal(
    zero, eye / np.exp(logs[1]) + f @ f.T / np.exp(logs[0])).logpdf(t),
    start, method="Nelder-Mead").fun for start in ((0, 2), (4, 2))) for k in (0, 1)]
assert abs(-np.mean(found) / 120 - explain.logme(f, y[few])) < 1e-4

# %% [markdown]
# The search tries hundreds of pairs; the paper's two formulas, used in turn by `explain.logme`, walk to the same place in a moment. Now LogME of every starting point, beside the accuracy its
# probe really has. We want the ranking, so we compare ranks (Spearman's ρ), and leave out one starting point at a time for the interval.

# %%
def ranks_agree(chosen):  # Spearman's ρ, with its interval over starting points
    m = np.array([[s["logme"], s["accuracy"].value] for s in chosen])
    without = [spearmanr(*np.delete(m, i, axis=0).T)[0] for i in range(len(m))]
    return statistics.jackknife(spearmanr(*m.T)[0], np.array(without), (-1, 1), "points")

for weights in ("ImageNet", "random"):
    chosen = [s for s in starts if s["weights"] == weights]
    print(f"{weights:<9} {len(chosen):3d} points   ρ = {ranks_agree(chosen):.2f}")

# %%
figure, ax = plt.subplots(figsize=(6.8, 4))
for weights, mark in (("ImageNet", "o"), ("random", "s")):
    points = [(s["logme"], s["accuracy"].value)
              for s in starts if s["weights"] == weights]
    ax.plot(*np.transpose(points), mark, markerfacecolor="none", label=weights)
ax.set(xlabel="LogME (nats an image): no probe was trained",
       ylabel="measured accuracy (share of 1)")
ax.set_title(f"Rank correlation {ranks_agree(starts):.2f} over {len(starts)} points")
ax.legend()
ax

# %% [markdown]
# Two clouds, and inside each of them the order is another matter. LogME ranks pretrained networks well; among random starts its ranking is worth nothing.
# Use it to shorten a list, not to pick the winner. And mind the
# interval: these points share networks and images, so they are fewer opinions than they are points, and the true uncertainty is larger.
#
# ## Drag the image size
#
# One choice is left that costs more than any other: how large the pictures are. Work grows with the *square* of the edge. We follow one cell, number 438,
# chosen because a faint dotted crack is all that is wrong with it. From the record come the
# verdicts on it and the accuracy at each size.

# %%
first = sft.load("solar", seed=0)  # the split of the record
at = np.searchsorted(np.sort(np.r_[first.train.index, first.valid.index]), 438)
known = {"ImageNet": {}, "random": {}}
for s, judged in zip(starts, hits, strict=True):
    if (s["network"], s["stage"]) == (BACKBONE, "neck"):
        known[s["weights"]][s["size"]] = s["accuracy"], judged[at]
for weights, sizes in known.items():
    found = [size for size, (_, right) in sizes.items() if right]
    print(f"{weights} weights call it a defect at", found or "no size")

# %% [markdown]
# And now under your hand: the crack as the network gets it, accuracy with its interval, images a second, measured on this machine just now. Drag.

# %%
speeds = {size: explain.images_per_second(original, size) for size in known["ImageNet"]}
crack = {}
for s in speeds:  # the half of the picture that holds the crack
    cell = pool.of_rows([438], size=s).pixels([0])[0, 0].numpy()
    crack[s] = cell[s // 2:, 13 * s // 30:14 * s // 15]

def draw(size, weights):
    near = min(known[weights], key=lambda s: abs(s - size))
    called = "✓ called defect" if known[weights][near][1] else "✗ called intact"
    scores = {s: accuracy for s, (accuracy, _) in known[weights].items()}
    return image_size(crack[near], near, scores, speeds, majority=majority,
                      title=f"{called}, {weights} weights", licence=data.card.licence)

explore(draw, size=slider("image size", list(speeds), value=max(speeds), unit="px"),
        weights=choice("weights", ["ImageNet", "random"]), name="size")

# %% [markdown]
# At 64 pixels the crack dissolves into a few grey squares, and this cell is missed. Yet the accuracy over *all* cells falls by a few points only: the average
# hardly notices, it hides *which* cells are lost. If faint cracks are what you are paid to find, look at them and not at the average. With random weights the
# size hardly matters, and this cell is missed at any.
#
# ## The choice
#
# Several starting points are tied, so let the price decide: the work per image. The cheapest of the tied, and beside them what this lab takes, a small fast network at a
# middling size, on this machine, with a stated licence:

# %%
def price(start):  # millions of MACs of the whole network at that image size
    return explain.macs(start["network"], start["size"]) / 1e6

names_of = [(s["network"], s["weights"], s["size"], s["stage"]) for s in starts]
ours = names_of.index((BACKBONE, "ImageNet", SIZE, "neck"))
cheap = sorted(np.flatnonzero(tied), key=lambda i: price(starts[i]))[:4]
for i in (*cheap, ours):
    network, _, size, stage = names_of[i]
    low, high = 100 * ahead[i].low, 100 * ahead[i].high
    print(f"{price(starts[i]):4.0f} million MACs  {network} {size} px {stage:<7} "
          f"{starts[i]['accuracy']:.3f}   {low:4.1f} to {high:.1f} points behind")

# %% [markdown]
# Behind the winner, that is. Tied is not equal: the first line is less accurate than the last, which is ours; only its distance is less certain, and reaches down to zero. And
# part of every distance is the winner's luck. Where each image counts and time does not, take the most accurate of the tied. Only now does the test
# split speak, once, about the one we chose:

# %%
result = sft.evaluate(model, data.test)
print(f"{BACKBONE}, {SIZE} px, test accuracy {result.accuracy:.3f}; "
      f"majority {result.majority:.3f}")

# %% [markdown]
# Better than every number on this page? Then remember what moved: other cells, from other modules, and one split of many. How far a single split can lead one
# astray is the question of lesson 08. A choice is made before this number, and not changed after it.
#
# ## What you have seen
#
# - Price tags first: work per image, licence, and speed measured at home. MACs and speed are different things, and FLOPs are sometimes two MACs.
# - Measured against two numbers, not against nothing: random networks add nothing to brightness and contrast, pretrained ones do, and the best stage to read is often not
#   the last.
# - The top of a ranking is crowded, and its first place is part luck. Compare in pairs on the same images; where several are tied, take the cheapest.
#
# **So which? The cheapest one that a paired comparison cannot tell from the best:** on these cells a small ImageNet network, read at its last stage, at 128 pixels.
#
# *Where this lives in the library:* `sft.backbones`, `explain.gallery`, `explain.tapped`, `explain.probed`, `explain.logme`; the records in `benchmarks/`.
#
# ## The same in plain PyTorch
#
# What each stage knows, without this lab: hooks on the parts you are curious about, a mean over the picture, and a classifier.

# %%
from torchvision.models import resnet18

network = resnet18(weights=None).eval()  # weights="IMAGENET1K_V1" downloads 45 MB
found = {}
for name in ("layer1", "layer2", "layer3", "layer4"):
    network.get_submodule(name).register_forward_hook(
        lambda _, __, out, name=name: found.update({name: out.mean(dim=(2, 3))}))
with torch.no_grad():
    network(torch.rand(4, 3, 160, 160))
print({name: tuple(values.shape) for name, values in found.items()})

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `SIZE` to 96 and `BACKBONE` to `efficientnet_lite1` and run all cells. Which solid points move, and by more than their intervals?
# - **Build.** Count the MACs of a network yourself: a forward hook on each `Conv2d` and `Linear` that adds the size of its output × `layer.weight[0].numel()`. Compare with `explain.macs`.
# - **Build.** Put the features of two stages side by side, `np.hstack([tapped["layer5"], tapped["neck"]])`, and give them to `explain.probed`. Does one probe gain what two probes know?
# - **Break.** Give `explain.probed` groups of one image each, `np.arange(len(y))`. The number rises. Why is it wrong to be glad?
#
# ## Sources
#
# - Kornblith, Shlens and Le, 2019, *Do Better ImageNet Models Transfer Better?* Top-1 as a guide, and its limits.
# - You, Liu, Wang and Long, 2021, *LogME: Practical Assessment of Pre-trained Models for Transfer Learning*.
# - MacKay, 1992, *Bayesian Interpolation*. The fixed point for α and β.
# - Tan and Le, 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*. Size and work together.
# - van der Maaten and Hinton, 2008, *Visualizing Data using t-SNE*.
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* Which stages travel.
# - Efron, 1979, *Bootstrap Methods: Another Look at the Jackknife*. Drawing again.
#
# Previous: [00 Start here](00_start_here.ipynb). Next: [02 Head](02_head.ipynb).
