# %% [markdown]
# # Can many starting points be ranked, and without training each?
#
# You will be able to
# - read any stage of a network, and say which stages are worth reading;
# - say how much of a ranking is luck, by choosing on one half and measuring on the other;
# - use LogME to shorten a list, and compare it with something simpler.
#
# 30 minutes. Needs lessons [01](../01_select.ipynb) and [08](../08_evaluate.ipynb). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr

import sftlab as sft
from sftlab import analysis, plot, widgets
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, 1 or 2
SIZE: int = 160                       # edge of the cells in pixels: 96, 160, 224 or 300
OUT: str = ""                         # folder for results as a record; "" keeps nothing

# %% [markdown]
# ## The question
#
# Lesson 01 compared three networks, each read at its last stage, at one image size. But one may read any stage, and show pictures of any size. A network with its weights, a stage and a size: each
# such **starting point** offers other features, and they soon are hundreds. Can they be ranked? Is the first place worth anything? And must one train a probe for each?
#
# The measurements were made before, by `python benchmarks/selection.py` (7 minutes), and stored.

# %%
sft.check_parameters(globals(), SIZE=(96, 160, 224, 300), OUT=str,
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"))
record = sft.records.stored("selection")
starts, blocks = record["starts"], np.array(record["blocks"])
print(f"{len(starts)} starting points, {record['images']} cells, {len(set(blocks))} blocks")

# %% [markdown]
# They are hundreds of starting points, but of **three siblings of one family** (EfficientNet-Lite 0, 1 and 2), with a toy network beside them (`tiny`). What
# follows says how stages, sizes and luck behave *within such a family*. It cannot say that this family beats ResNets or vision transformers: no weights of those come with the lab.
#
# As in lesson 01, the cells of train and valid take turns in five folds, whole blocks together, each judged by a linear probe that learned from the other four fifths. No test image
# is in the record.
#
# ## Which stage should we read?
#
# The last features were made for naming photographs. Earlier stages know edges and textures, which may be nearer to cracks. In plain PyTorch, a **hook** catches what a stage
# returns, and the mean over the picture makes one number of each channel. `analysis.tapped` does the same for all stages in one pass.

# %%
data = sft.load("solar", size=SIZE)
model = sft.backbone(BACKBONE)
pool = data.train.of_rows(np.sort([*data.train.index, *data.valid.index]))

caught = []
model.layer4.register_forward_hook(lambda _, __, out: caught.append(out))
with torch.no_grad():
    model(pool.pixels(range(8)))

# %%
tapped = analysis.tapped(sft.backbone(BACKBONE), pool)
assert np.allclose(tapped["layer4"][:8], caught[0].mean(dim=(2, 3)), atol=1e-2)
print(f"layer4: {tuple(caught[0].shape)} → {tapped['layer4'].shape[1]} features")

# %% [markdown]
# > **Predict.** The network has nine stages with features, from the stem (1) to the last before the head (9). A probe on which of them will be the most accurate?

# %%
guess = widgets.predict("the best stage to read, 1 to 9", 1, 9, 9)

# %% [markdown]
# The probe is lesson 01's: standardised features, logistic regression, five folds with whole blocks.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

y = pool.y.numpy()


def probed(x):  # cells × features → accuracy on held-out blocks, with its interval
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=3 / x.shape[1]))
    answers = cross_val_predict(probe, x, y, groups=blocks, cv=GroupKFold(5))
    return sft.proportion(answers == y, blocks)

# %% [markdown]
# How far does one come without a network? *Two numbers* a cell, brightness and contrast. And one stage of our network, to check the record.

# %%
grey = pool.pixels(range(len(pool))).float().flatten(1)
yardstick = probed(torch.stack([grey.mean(dim=1), grey.std(dim=1)], dim=1).numpy())
now = probed(tapped["layer4"])
print(f"two numbers {yardstick:.3f}, layer4 {now:.3f}, majority {record['majority']:.3f}")
curves = {}
for s in starts:
    if s["size"] == SIZE and s["network"] != "tiny":
        curve = curves.setdefault((s["network"], s["weights"]), {})
        curve[s["stage"]] = s["accuracy"].value
assert abs(curves[BACKBONE, "ImageNet"]["layer4"] - now.value) < 0.01
if OUT:
    sft.records.write({"accuracy": now}, f"{OUT}/record.json")

# %% [markdown]
# The record as hollow points, a line a network; what we computed just now is solid, with its interval.

# %%
figure, ax = plt.subplots(figsize=(7.6, 4))
for (network, weights), curve in curves.items():
    colour = style.VALID if weights == "ImageNet" else style.LINE
    ax.plot(list(curve), [100 * v for v in curve.values()], "o-", color=colour,
            markerfacecolor="white", alpha=1 if network == BACKBONE else 0.4)
    ax.annotate(network[-5:], (len(curve) - 1, 100 * curve["neck"]), (8, -3),
                textcoords="offset points", color=colour, fontsize=9)
ax.plot(["layer4"] * 2, [100 * now.low, 100 * now.high], color=style.INK)
ax.plot("layer4", 100 * now.value, "o", color=style.INK)
ax.axhline(100 * yardstick.value, color=style.GUESS, linestyle=":")
ax.axhline(100 * record["majority"], color=style.INK, linestyle="--")
ax.set(ylabel="accuracy (%)", xlabel="stage; dotted: two numbers, dashed: majority rate",
       title="Deeper is better with ImageNet weights (blue), not with random ones (grey)")
figure

# %%
mine = curves[BACKBONE, "ImageNet"]
order = list(mine)
plot.guess_vs_result(1 + order.index(max(mine, key=mine.get)), guess, low=1, high=9,
                     unit="stage")

# %% [markdown]
# - With ImageNet weights accuracy climbs with depth. The interval of one point (bar) is wider than most steps between neighbours: the curve shows a trend, not a best stage.
# - With random weights it falls in the deeper half. Depth by itself is worth nothing; the weights are.
# - No random network beats two numbers. What pretraining is worth lies above the dotted line, not above the dashed one.
#
# ## How much of the first place is luck?
#
# Whoever takes the highest of many noisy numbers takes luck along with merit. That can be measured without any formula: draw half of the blocks at random, choose the best starting point
# *there*, and measure it on the other half, which had no say. Many times. (The record holds who is right about which cell, one bit a cell: averaged in each block of files, a table of starting points × blocks.)

# %%
packed = np.array([list(bytes.fromhex(s["right"])) for s in starts], dtype=np.uint8)
right = np.unpackbits(packed, axis=1, count=record["images"])        # starts × cells
table = np.stack([right[:, blocks == b].mean(axis=1) for b in np.unique(blocks)],
                 axis=1)

# %% [markdown]
# > **Predict.** By how many points of accuracy does the winner fall, on average, from the half that chose it to the other?

# %%
guess = widgets.predict("points that the winner loses", 0, 10, 0, step=0.5)

# %%
drawn, rng = [], np.random.default_rng(0)
for _ in range(500):
    shuffled = rng.permutation(table.shape[1])
    half, rest = table[:, shuffled[:16]], table[:, shuffled[16:]]
    top = half.mean(axis=1).argmax()
    drawn.append((top, 100 * half[top].mean(), 100 * rest[top].mean()))
chosen, there, elsewhere = np.array(drawn).T
print(f"{len(set(chosen))} different winners; {there.mean():.1f} % where chosen,",
      f"{elsewhere.mean():.1f} % on the other half")
plot.guess_vs_result((there - elsewhere).mean(), guess, low=0, high=10, unit="points")

# %% [markdown]
# The fall is what the first place owed to luck. The winner's name is luck, too: other halves have other winners. Whoever reports the first place reports both.
#
# ## LogME: guessing without training
#
# A probe is cheap here. With large networks and many images it is not, and people looked for numbers that foretell a probe's accuracy. **LogME** (You et al., 2021) asks: how probable
# are the labels y, if *some* linear map w of the features F made them, plus noise?
#
# $$y = F w + \varepsilon,\qquad w \sim N(0, 1/\alpha),\quad \varepsilon \sim N(0, 1/\beta)$$
#
# y is 1 for one class and 0 for the others. Averaged over all w, y is Gaussian with covariance $FF^\top/\alpha + I/\beta$, so its probability (the **evidence**) can be written down. LogME is the
# logarithm of the evidence at the best α and β, per image, averaged over the classes. Nothing is trained, nothing held out.

# %%
score = analysis.logme(tapped["layer4"].astype(float), y)
here = BACKBONE, "ImageNet", SIZE, "layer4"
stored = [s["logme"] for s in starts
          if (s["network"], s["weights"], s["size"], s["stage"]) == here]
print(f"LogME of layer4 {score:.3f}, in the record {stored[0]:.3f}")
# %% [markdown]
# `analysis.logme` finds the best α and β in a moment. The record holds it for each starting point. We want the ranking, so we compare ranks: **Spearman's ρ** is 1 where
# two lists have the same order, 0 where they have nothing to do with each other.
#
# Beside it we put a guess that costs nothing at all: the *depth* of the stage, counted from the stem.
#
# > **Predict.** ρ between LogME and the accuracy of the probe, over the starting points with ImageNet weights?

# %%
guess = widgets.predict("rank correlation", -1, 1, 0, step=0.05)

# %%
lites = [s for s in starts if s["network"] != "tiny"]


def agree(points):  # ρ of the probe's accuracy with LogME, and with the depth of the stage
    truth = [s["accuracy"].value for s in points]
    guesses = [s["logme"] for s in points], [order.index(s["stage"]) for s in points]
    return [spearmanr(values, truth)[0] for values in guesses]


pretrained = [s for s in lites if s["weights"] == "ImageNet"]
rho = {"ImageNet": agree(pretrained)}
rho["random"] = agree([s for s in lites if s["weights"] == "random"])
for name in dict.fromkeys(s["network"] for s in pretrained):
    rho[f"{name}, ImageNet"] = agree([s for s in pretrained if s["network"] == name])
for kind, (logme, deeper) in rho.items():
    print(f"{kind:<30}LogME ρ = {logme:5.2f}    depth alone ρ = {deeper:5.2f}")

# %% [markdown]
# Each point is a starting point of the three networks:

# %%
figure, ax = plt.subplots(figsize=(6.8, 3.8))
for weights, mark in (("ImageNet", "o"), ("random", "s")):
    points = [(s["logme"], 100 * s["accuracy"].value)
              for s in lites if s["weights"] == weights]
    ax.plot(*np.transpose(points), mark, markerfacecolor="none", label=weights)
ax.set(xlabel="LogME (nats an image): no probe was trained",
       ylabel="accuracy of the probe (%)",
       title=f"ρ = {rho['ImageNet'][0]:.2f} with ImageNet weights, "
             f"{rho['random'][0]:.2f} with random ones")
ax.legend()
figure

# %%
plot.guess_vs_result(rho["ImageNet"][0], guess, low=-1, high=1, unit="ρ")

# %% [markdown]
# LogME ranks pretrained starting points well. Then look at the last column of the table: *how deep the stage is* ranks them about as well. So on this
# list LogME had little left to tell; a list of unlike networks would be a better test, and we do not have one. Among random starts LogME's order is worth nothing, and deeper is worse.
# We give no interval: points of one network are relatives, and three networks are three opinions.
#
# ## What you have seen
#
# - Any stage can be read. With pretrained weights deeper is better, roughly; with random weights two plain numbers do as well.
# - The first place of a long ranking is part luck: choose on one half, measure on the other, and see how much.
# - LogME shortens a list of pretrained starting points without training; here, depth alone did about as well.
#
# **So: yes, a rough order can be had cheaply, and more than a rough order is not there.**
#
# *Where this lives in the library:* `analysis.tapped`, `analysis.logme`; the record in `benchmarks/selection.json`; LogME's claim tried again in `benchmarks/evidence/README.md`.

# %% [markdown]
# ## Try it
#
# - **Tweak.** `BACKBONE = "efficientnet_lite2"`, `SIZE = 96`. Does the trend over stages stay?
# - **Build.** Put the features of two stages side by side, `np.hstack([tapped["layer5"], tapped["neck"]])`, and give them to the probe. Does it gain?
# - **Break.** In the halves, choose among five starting points drawn at random instead of all. How much less luck is there?
#
# ## Sources
#
# - You, Liu, Wang and Long, 2021, *LogME: Practical Assessment of Pre-trained Models for Transfer Learning*.
# - MacKay, 1992, *Bayesian Interpolation*. The evidence, and formulas for α and β.
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* Which stages travel.
# - Cawley and Talbot, 2010, *On Over-fitting in Model Selection*. Luck in the first place.
#
# [The map of all lessons](../00_start_here.ipynb)
