# %% [markdown]
# # Can its certainty be trusted?
#
# You will be able to
# - measure whether a network is as often right as it says, and repair it with one number;
# - refuse pictures that the network was never made for;
# - draw a heat map, and the control without which it shows nothing.
#
# 40 minutes. Comes after [09 Decide](../09_decide.ipynb). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; typefaces, drawn with the fonts of matplotlib; digits, CC BY 4.0, Alpaydin and Kaynak 1998; two photographs of scikit-learn, CC BY 2.0.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

import sftlab as sft
from sftlab import plot, widgets
from sftlab.analysis import decisions, explain
from sftlab.lessons.calibration import heatmaps, rejected
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 60                      # training images per typeface, up to 90
SEED: int = 0                         # split, order of batches, start of the head
OUT: str = ""                         # folder for results as a record; "" keeps nothing

# %% [markdown]
# ## How sure does it say it is?
#
# The threshold of lesson 09 trusts the probabilities: of all answers given with 80 %, four in five should be right. We ask a linear probe that tells nine typefaces apart (words that training does not have), trained as many tutorials do it: sixty epochs at a good rate, last weights kept. The probe is a linear layer on features that are computed once.

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300),
                     LABELS=(int, 10, 90), SEED=(int, 0), OUT=str)
original = sft.backbone(BACKBONE)


def features(*splits):
    """Return (features, labels) of some splits, in turn."""
    kept = (sft.features(original[:-1], split) for split in splits)
    return [part for split, one in zip(splits, kept, strict=True)
            for part in (one.take(np.arange(len(split)))[0], split.y)]

# %%
def train(x, y, new, y_new, lr, epochs):
    """Train a linear head; return it after each epoch, and its losses on new images."""
    torch.manual_seed(SEED)
    head, heads, losses = nn.Linear(x.shape[1], int(y.max()) + 1), [], []
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            loss = cross_entropy(head(x[batch]), y[batch])
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        heads.append(copy.deepcopy(head).requires_grad_(False))
        losses.append(cross_entropy(heads[-1](new), y_new).item())
    return heads, losses

# %% [markdown]
# Half of the validation images, at random, will be used to choose something (an epoch, a temperature); the other half says whether it helped, because it had no part in the choice.

# %%
fonts = sft.load("typefaces", per_class=LABELS, seed=SEED)
x, y, new, y_new = features(fonts.train, fonts.valid)
fit, rest = torch.from_numpy(np.random.default_rng(SEED).permutation(len(new))).chunk(2)
heads, losses = train(x, y, new[fit], y_new[fit], lr=3e-3, epochs=60)
z, answer = heads[-1](new), y_new[rest].numpy()
p = z[rest].softmax(dim=1).numpy()
sure = p.max(axis=1) >= np.quantile(p.max(axis=1), 2 / 3)
print(f"the surest third of the answers: {p[sure].max(axis=1).mean():.0%} on average")

# %% [markdown]
# > **Predict.** That is what the last probe says of the third of its answers about which it is surest. How many percent of them are right?

# %%
sure_guess = widgets.predict("right, of the surest third", 0, 100, 75)

# %%
right = p.argmax(axis=1) == answer
ends = stats.binomtest(int(right[sure].sum()), int(sure.sum())).proportion_ci()
print(f"right {right[sure].mean():.3f} ({ends.low:.3f}–{ends.high:.3f}), {sure.sum()}")
print(f"all images {right.mean():.3f}, "
      f"majority {np.bincount(answer).max() / len(answer):.3f}")
plot.guess_vs_result(100 * right[sure].mean(), sure_guess)

# %% [markdown]
# The same for every level of certainty is a **reliability diagram**: the answers in bins of confidence, which is the probability of the called class, and for each bin the share that is right.

# %%
def bins_of(q, y, count=15):
    """Return of each bin of confidence: mean confidence, share right, number."""
    confidence, right = q.max(axis=1), q.argmax(axis=1) == y
    which = np.minimum((confidence * count).astype(int), count - 1)
    parts = [which == b for b in np.unique(which)]
    return [(confidence[part].mean(), right[part].mean(), part.sum()) for part in parts]


def reliability(ax, q, y, name):
    """Draw share right against confidence; areas are numbers of images."""
    said, share, number = np.array(bins_of(q, y)).T
    ax.plot([0, 1], [0, 1], color="grey", linewidth=1)
    ax.scatter(said, share, s=8 * number, alpha=0.6)
    ax.set(xlabel="confidence", title=name, xlim=(0, 1.02), ylim=(-0.03, 1.05))

# %%
gaps = [n * abs(said - share) for said, share, n in bins_of(p, answer)]
ece, library = sum(gaps) / len(p), decisions.calibration(p, answer)
assert abs(ece - library.ece) < 1e-4
figure, ax = plt.subplots(figsize=(4.6, 3.6))
reliability(ax, p, answer, f"ECE {ece:.3f}, calibrated {library.expected:.3f}")
ax.set_ylabel("share right")
ax

# %% [markdown]
# On the grey diagonal a network that says 80 % is right four times in five. Points below it are **overconfident**. The mean gap, weighted by the number of images in each bin, is the *expected calibration error*, ECE. A gap cannot be negative, so with few images even a calibrated network shows some: the second number in the title is
# what this network would show if each of its answers were right exactly as often as it says. Only more than that is a fault.
#
# ## One number repairs it
#
# Once most training images are right, their cross-entropy falls further if only the logits grow, so they grow, whether or not new images agree. If all are too large by about one factor, then divide them by one:
#
# q = softmax(z / T), where z are the logits and T > 1 is called the **temperature**. We look for the T with the lowest cross-entropy on the first half.

# %%
log_t = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.Adam([log_t], lr=0.05)
for _ in range(300):
    loss = cross_entropy(z[fit] / log_t.exp(), y_new[fit])
    optimizer.zero_grad(); loss.backward(); optimizer.step()
T = log_t.exp().item()
library = decisions.fit_temperature(z[fit].softmax(1), y_new[fit])
print(f"T by hand {T:.2f}, library {library:.2f}")
assert abs(T / library - 1) < 0.05

# %% [markdown]
# Dividing by T keeps the order of the logits, so it changes no answer. There is also a cure that needs no T: stop at the epoch with the lowest loss on the first half, as `sft.fit` does unless told otherwise. All three, on the half that had no part in any choice:

# %%
best = int(np.argmin(losses))
ways = {"60 epochs": p, f"divided by T = {T:.1f}": (z[rest] / T).softmax(1).numpy(),
        f"stopped at epoch {best + 1}": heads[best](new[rest]).softmax(1).numpy()}
figure, axes = plt.subplots(1, 3, figsize=(8.5, 3.1), sharey=True)
for ax, (name, q) in zip(axes, ways.items(), strict=True):
    reliability(ax, q, answer, name)
    print(f"{name:22s} {decisions.calibration(q, answer)}, "
          f"accuracy {(q.argmax(1) == answer).mean():.3f}")
axes[0].set_ylabel("share right")
figure

# %% [markdown]
# Compare each ECE with that of a calibrated network beside it: below the upper end (“up to”), nothing is left that these images can show.
#
# Both halves were of one kind. Does a temperature hold on *other modules* of the solar cells? We train a probe on the cells of lesson 09, fit T on half of the validation modules, and measure on the other half:

# %%
data = sft.load("solar", size=SIZE, seed=SEED, valid=0.3)
x, y, new, y_new = features(data.train, data.valid)
modules = np.array(data.valid.groups)
half = torch.from_numpy(np.isin(modules, np.unique(modules)[::2]))
heads, losses = train(x, y, new[half], y_new[half], lr=1e-3, epochs=60)
early, z = heads[int(np.argmin(losses))], heads[-1](new)

# %% [markdown]
# Which modules are in which half is a matter of luck, so we deal them five times.

# %%
for deal in range(5):
    some = np.random.default_rng(deal).permutation(np.unique(modules))[::2]
    mine = torch.from_numpy(np.isin(modules, some))
    T = decisions.fit_temperature(z[mine].softmax(1), y_new[mine])
    before, after = (decisions.calibration((z[~mine] / t).softmax(1), y_new[~mine])
                     for t in (1, T))
    print(f"T = {T:.1f}: ECE on other modules {before.ece:.3f} → {after.ece:.3f}, "
          f"calibrated up to {after.most:.3f}")

# %% [markdown]
# Read how often the ECE falls, how often it rises, and whether it ends below that of a calibrated network. Half a dozen modules are few to fit even one number on: **fit a temperature on images of as many modules as you have, and check it on others.**
#
# ## Refuse what is neither
#
# From here on we use the solar probe that stopped in time. One day somebody uploads a holiday photograph. The network knows two words, *intact* and *defect*, and has to say one.
#
# > **Predict.** What probability does it give to its answer, on average, for squares cut from two ordinary photographs?

# %%
photo_guess = widgets.predict("certainty about photographs, in percent", 50, 100, 55)

# %%
model = sft.replace_head(original, data.classes, seed=SEED).eval()
model[-1].load_state_dict(early.state_dict())
cells = data.valid.pixels(np.arange(100))
digits = sft.load("digits", seed=SEED).valid.pixels(np.arange(80))
noise = np.random.default_rng(SEED).integers(256, size=(80, 1, SIZE, SIZE))
strangers = {"photographs": explain.photo_crops(80, size=SIZE),
             "digits": nn.functional.interpolate(digits, (SIZE, SIZE)),
             "noise": torch.from_numpy(noise.astype(np.uint8)),
             "negatives": 255 - cells, "turned cells": cells.rot90(1, (2, 3))}
# the half of the modules that did not choose the epoch
result = sft.evaluate(model, data.valid.subset(np.flatnonzero(~half)), out=OUT)

# %% [markdown]
# These are five kinds of strangers: photographs, enlarged digits, noise, and two that are almost cells.

# %%
with torch.no_grad():
    seen = {"valid cells": new} | {k: model[:-1](v) for k, v in strangers.items()}
    said = {k: model[-1](f).softmax(dim=1).numpy() for k, f in seen.items()}
certainty = {name: q.max(axis=1) for name, q in said.items()}
print(f"{(said['photographs'][:, 1] > 0.5).mean():.0%} of the photographs are ‘defect’")
plot.guess_vs_result(100 * certainty["photographs"].mean(), photo_guess, low=50)

# %% [markdown]
# The popular rule is *refuse if the largest probability is low*. We put the limit where 5 % of the validation cells are refused, and try it on the strangers.

# %%
rejected(certainty, np.quantile(certainty["valid cells"], 0.05),
         label="largest probability", below=True)

# %% [markdown]
# A linear head divides the space of features into two halves, and everything lies in one of them. A place far from all training cells can lie far from the border as well, and there the head is certain.
#
# So measure the other thing: how far is a picture from the training cells? We take the cosine distance to the five nearest, in the features, and again refuse 5 % of the validation cells.
#
# > **Predict.** How many percent of the photographs does this rule refuse?

# %%
far_guess = widgets.predict("photographs refused by distance, in percent", 0, 100, 50)

# %%
def distance(f):  # mean cosine distance to the five nearest training cells
    near = nn.functional.normalize(f, dim=1) @ nn.functional.normalize(x, dim=1).T
    return 1 - near.topk(5, dim=1).values.mean(dim=1).numpy()

far = {name: distance(f) for name, f in seen.items()}
limit = np.quantile(far["valid cells"], 0.95)
rejected(far, limit, label="distance to the training cells")

# %% [markdown]
# Compare the two figures row by row. Distance is no cure for everything: what still *looks* like a cell may lie within the limit, and one valid cell in twenty is refused for nothing. Test such a rule with the strangers that you expect, and say which ones you tried.

# %%
plot.guess_vs_result(100 * (far["photographs"] > limit).mean(), far_guess)

# %% [markdown]
# ## Where does it look?
#
# **Grad-CAM** asks which places in the last maps would raise the logit of *defect*. The last stage before `pool` makes the maps A, the rest of the network reads them. Each map is weighted by its mean gradient, the weighted maps are added, and negative evidence is cut off.

# %%
surest = np.argsort(-said["valid cells"][:, 1] * (y_new.numpy() == 1))[:4]
pixels = data.valid.pixels(surest)
front, back = model[:-2], model[-2:]  # what follows is pool and head
A = front(pixels).detach().requires_grad_()
gradient, = torch.autograd.grad(back(A)[:, 1].sum(), A)
heat = (gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).relu().detach()
last = [name for name, _ in front.named_children()][-1]
assert torch.allclose(heat, explain.grad_cam(model, pixels, 1, last), atol=1e-5)
print(last, "makes maps", tuple(A.shape), "→ heat", tuple(heat.shape))

# %% [markdown]
# Such pictures convince everybody, so they need a control. Adebayo and colleagues throw away what the network learned, stage by stage *from the logits down* (cascading randomisation), and draw again. If the picture stays, it never showed what was learned. One random network may resemble the trained one by chance, so we take five, and compare the order of
# the places, image by image.
#
# > **Predict.** Only the head is random. What is the mean rank correlation with the true map? 1: the same order; 0: none.

# %%
rank_guess = widgets.predict("rank correlation, random head", -1, 1, 0.5)

# %%
blanks = [sft.replace_head(sft.backbone(BACKBONE, weights=None, seed=s), data.classes,
                           seed=s).eval() for s in range(5)]
found = explain.cascade(model, blanks, pixels, 1, last)
for name, r in found.items():
    print(f"{name:7s} {np.nanmean(r):+.2f}, {np.nanmin(r):+.2f} to {np.nanmax(r):+.2f}")
plot.guess_vs_result(np.nanmean(found["head"]), rank_guess, low=-1, high=1, unit="")

# %% [markdown]
# Each line of the cascade says up to which stage the network is random, counted from the head; then the mean rank correlation and its range over starts and images. A mean near 0 says that little is left of the order of the places: the map depends on what was learned, as it did in the paper. Mind the range: with one random start and one image two maps can look alike by chance.

# %%
rows = {"the cell": None, "trained network": heat,
        "all random": explain.grad_cam(blanks[0], pixels, 1, last)}
heatmaps(pixels, rows, licence=data.card.licence,
         title="Where the evidence for ‘defect’ lies")

# %% [markdown]
# Passing the control does not mean that the bright place is the reason; on so few places
# a map can hardly point at a hairline crack.
#
# ## What you have seen
#
# - The ECE is read beside what a calibrated network shows on as many images. A temperature, one factor on the logits, repairs overconfidence on images like those it was fitted on, and changes no answer.
# - Certainty is not knowledge: a network can be certain where it has never been. Distance to the training cells is another question, and tells other strangers.
# - A heat map is compared with those of a network that learned nothing.
#
# **Can its certainty be trusted? On images like the training ones, after a check on new modules; on others, ask first whether they are alike.**
#
# *Where this lives in the library:* `sftlab.analysis.decisions` (`calibration`, `fit_temperature`), `sftlab.analysis.explain` (`grad_cam`, `cascade`), `sft.choose_reject_option`. *The same in plain PyTorch:* the loop for T and the two lines for the distance above need nothing of the library.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 10. What happens to T?
# - **Build.** Fit T for the weights that stopped in time. Is it another than 1, and does it help on the other half?
# - **Build.** Replace the five hottest places of a cell by those of an intact one and ask again; then five random ones. Mind the seams: to the network they are cracks.
# - **Break.** Fit the temperature on the *training* cells instead. Why does it come out near or below 1?
#
# ## Sources
#
# - Guo et al., 2017, *On Calibration of Modern Neural Networks*. Temperature scaling, ECE.
# - Hein, Andriushchenko and Bitterwolf, 2019, *Why ReLU Networks Yield High-Confidence Predictions Far Away From the Training Data*.
# - Sun et al., 2022, *Out-of-Distribution Detection with Deep Nearest Neighbors*. The distance.
# - Selvaraju et al., 2017, *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*.
# - Adebayo et al., 2018, *Sanity Checks for Saliency Maps*. The control.
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
#
# [The map of all lessons](../00_start_here.ipynb)
