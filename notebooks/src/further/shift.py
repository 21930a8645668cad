# %% [markdown]
# # Does fine-tuning make the network better, or only narrower?
#
# You will be able to
# - measure a network at home and away, and tell a lost threshold from a lost ranking;
# - repair the threshold with twenty labels, and say beforehand when that will not help;
# - say what it costs to let BatchNorm's statistics follow a few hundred images.
#
# 35 minutes. Comes after [06 Finetune](../06_finetune.ipynb) and [09 Decide](../09_decide.ipynb).
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy

import sftlab as sft
from sftlab import plot, widgets
from sftlab.analysis import decisions
from sftlab.lessons.shift import threshold
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
HOME: str = "poly"   # the cells to learn from: mono or poly
SEED: int = 0        # which cells, new head, order of batches; 0 to 4 are stored
RATE: float = 1e-4   # learning rate of fine-tuning
OUT: str = ""        # folder for the results as a record; "" keeps nothing

# %% [markdown]
# The critics say that a fine-tuned network *loses generality*: it gets better at the images it is tuned on, and worse at all others. That can be measured, and it rarely is, because the test images usually come from the same place as the training images.
#
# Our solar cells come in two kinds. **Mono**crystalline ones are cut from one crystal and look even; **poly**crystalline ones show the grains of many. We learn from 400 cells of one kind, *home*, and measure on up to 400 others of that kind and on 400 of the other kind, *away*. Such a change between training and use is called a **domain shift**.

# %%
sft.check_parameters(globals(), HOME=("mono", "poly"), SEED=(int, 0),
                     RATE=(float, 1e-5, 1e-2), OUT=str)
cells = sft.load("solar-random", size=96, target="both", seed=SEED)
home, away, spare = sft.data.domain_split(cells, "defect", by="type", source=HOME,
                                          n=400, seed=SEED)

# %%
(x, y), (x_home, y_home), (x_away, y_away), (x_spare, y_spare) = (
    part.take(np.arange(len(part))) for part in (home.train, home.valid, away, spare))
rows = [torch.cat([*some[:6, 0]], dim=1) for some in (x_home, x_away)]
fig, ax = plt.subplots(figsize=(8, 2.9))
ax.imshow(torch.cat(rows), cmap="gray"); ax.axis("off")
ax.set_title(f"Above {HOME}, to learn from; below the other kind")
fig

# %% [markdown]
# ## Ask the probe first
#
# LP-FT as in lesson 06, in plain PyTorch. The first half is the linear probe: the features of the pretrained network, computed once, and a new head on them; the rate falls along half a cosine. Everything is in eval mode, so BatchNorm keeps the statistics of ImageNet (lesson 04). In its second half the batches come in the order of the stored runs below, so that this page nearly repeats one of them.

# %%
def train(net, batches, rate):
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    for images, targets in batches:
        loss = cross_entropy(net(images), targets)
        optimizer.zero_grad(); loss.backward(); optimizer.step(); fall.step()
    return net


@torch.no_grad()
def run(net, images):
    return torch.cat([net(some) for some in images.split(64)])


# %%
original = sft.backbone("efficientnet_lite0").eval()
probe = sft.replace_head(original, home.classes, seed=SEED).eval()
features = run(probe[:-1], x)
torch.manual_seed(SEED)
orders = torch.cat([torch.randperm(len(x)) for _ in range(20)]).split(32)
train(probe.head, [(features[rows], y[rows]) for rows in orders], 3e-3)

# %% [markdown]
# > **Predict.** Four home cells in five are answered rightly. How many percent of the *other* kind will be? Always answering *intact* would get about 65.

# %%
guess = widgets.predict("cells of the other kind right, in percent", 0, 100, 75)

# %%
def defect(net, images):
    """Return the probability of a defect for each image."""
    return run(net, images).softmax(dim=1)[:, 1].numpy()


p_home, p_away = defect(probe, x_home), defect(probe, x_away)
before = {"home": sft.evaluate(probe, home.valid), "away": sft.evaluate(probe, away)}
for (place, one), p in zip(before.items(), (p_home, p_away)):
    print(f"{place}: right {one.accuracy}, majority {one.majority:.3f}; "
          f"called broken {(p >= 0.5).mean():.0%}")
plot.guess_vs_result(100 * before["away"].accuracy.value, guess)

# %% [markdown]
# Not a little worse: far below a fixed answer, because nearly every cell of the other kind is called broken. Many a report ends here with *the model does not generalise*. Let us look first at all that the probe said. A good network keeps the two classes apart, on the two sides of its **threshold**.

# %%
threshold({"home": (p_home, y_home.numpy()), "away": (p_away, y_away.numpy())}, 0.5,
          classes=home.classes)

# %% [markdown]
# Away, everything has moved to one side. But inside that heap the broken cells still tend to lie further right than the intact ones. So two things can go wrong away, and an accuracy mixes them: the place of the answers, for which the **threshold** stands, and their **ranking**. The ranking has a number of its own, the area under the ROC curve, AUC (lesson 09): how often a broken cell is given more than an intact one. A coin has one half.

# %%
def auc(p, truth):
    """Return the area under the ROC curve, over all pairs of broken and intact."""
    pairs = p[truth.numpy() == 1][:, None] - p[truth.numpy() == 0]
    return (pairs > 0).mean() + (pairs == 0).mean() / 2


library = before["away"].metrics["roc_auc"]
assert abs(auc(p_away, y_away) - library.value) < 1e-3
print(f"AUC home {auc(p_home, y_home):.3f}, away {library:.3f}")

# %% [markdown]
# ## Now let all stages learn
#
# The probe leans on ImageNet's features. The second half of LP-FT changes them, for *these* cells, in five epochs at a small rate.
#
# > **Predict.** If the critics are right, home rises and away falls. Where is the AUC away, in percent?

# %%
guess_auc = widgets.predict("AUC away, fine-tuned, in percent", 40, 100, 60, name="auc")

# %%
batches = [pair for epoch in range(5)
           for pair in home.train.batches(32, seed=SEED, epoch=epoch)]
tuned = train(copy.deepcopy(probe).requires_grad_(True), batches, RATE)
after = {"home": sft.evaluate(tuned, home.valid),
         "away": sft.evaluate(tuned, away, out=OUT)}
for place, one in after.items():
    print(f"{place}: right {one.accuracy}, AUC {one.metrics['roc_auc']}")
q_away = defect(tuned, x_away)
plot.guess_vs_result(100 * auc(q_away, y_away), guess_auc, low=40)

# %% [markdown]
# This is one run on one split. A single run away, ours or a published one, says little, and nothing measured at home tells which run one has; five splits follow, each in an order of its own, with their spread. First: what would it take to use the ranking that is left?
#
# ## Twenty labels
#
# A repair that touches no weight: label twenty cells from away, and take the threshold with the fewest errors on them. Candidates lie halfway between two neighbouring answers; of equally good ones we take the middle.

# %%
drawn = np.random.default_rng(SEED).choice(len(spare), 20, replace=False)
q, broken = defect(tuned, x_spare[drawn]), y_spare.numpy()[drawn] == 1
ends = np.unique([0.0, *q, 1.0])
candidates = [0.0, *(ends[1:] + ends[:-1]) / 2, np.nextafter(1, 2)]

# %%
errors = np.array([((q >= at) != broken).sum() for at in candidates])
best = np.flatnonzero(errors == errors.min())
twenty = candidates[best[len(best) // 2]]
assert abs(twenty - decisions.cost_threshold(q, broken)) < 1e-6
for at in (0.5, twenty):
    print(f"broken from {at:.7f} upwards: right away "
          f"{((q_away >= at) == (y_away == 1).numpy()).mean():.3f}")

# %% [markdown]
# Hold the threshold yourself, or hand it to the twenty labels. For which of the two networks is there a threshold worth finding?

# %%
nets = {"linear probe": probe, "LP-FT": tuned}
heard = {name: {"home": (defect(net, x_home), y_home.numpy()),
                "away": (defect(net, x_away), y_away.numpy())}
         for name, net in nets.items()}
by_twenty = {name: decisions.cost_threshold(defect(net, x_spare[drawn]), broken)
             for name, net in nets.items()}

# %%
def handle(network, percent, by):
    at = by_twenty[network] if by == "20 labels" else percent / 100
    return threshold(heard[network], at, classes=home.classes)


PERCENT = [1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99]
widgets.explore(handle, network=widgets.choice("network", list(nets), "LP-FT"),
                percent=widgets.slider("broken from", PERCENT, value=50, unit="%"),
                by=widgets.choice("set by", ["the slider", "20 labels"]), name="handle")

# %% [markdown]
# ## Five splits, both directions
#
# `benchmarks/shift.py` made five splits in both directions, with more strategies: full fine-tuning from a new head, and a network from scratch. The rate was chosen at home, on splits that do not come back.
#
# > **Predict.** Learned from poly, the probe called even cells broken. Now it learns from even ones and meets grains. How many percent of its answers are right?

# %%
guess = widgets.predict("grainy cells right, in percent", 0, 100, 50, name="back")

# %%
HOMES = "poly", "mono"
record = sft.records.stored("shift")["runs"]


def stored(way, kind, place, what):
    """Return a number of each of the five splits, in percent."""
    return 100 * np.array([record[f"{way} {kind} {k}"][place][what] for k in range(5)])


for kind in HOMES:
    always = 100 - stored("full", kind, "majority", "away").mean()
    print(f"learned from {kind}; always ‘broken’ is right for {always:.0f} % away")
    for way in ("from scratch", "linear probe", "full", "LP-FT"):
        right = stored(way, kind, "away", "accuracy")
        order, at_home = (stored(way, kind, place, "auc") for place in ("away", "home"))
        print(f"  {way:12s} away right {right.mean():.0f} %; "
              f"AUC home {at_home.mean():.0f}, away {order.mean():.0f} "
              f"({order.min():.0f} to {order.max():.0f})")
plot.guess_vs_result(stored("linear probe", "mono", "away", "accuracy").mean(), guess)

# %% [markdown]
# From grains to even cells one could say that the grains had become the sign of *intact*. But from even cells to grains the probe does the same: in both directions it is right about as often as a network that always says *broken*. So this story is wrong, or only half of one. What it is that makes strange cells look broken, these runs do not say.
#
# Now what twenty labels can repair, beside the majority rate, and beside the best of all thresholds, which needs every label: it is a bound, not a repair. (Twenty labels: the mean of fifty draws in each split.)

# %%
repaired = {f"{way}, learned from {kind}": {
    what.replace("accuracy", "threshold ½"):
        stored(way, kind, "away", what) - stored(way, kind, "majority", "away")
    for what in ("accuracy", "20 labels", "best threshold")}
    for kind in HOMES for way in ("linear probe", "LP-FT")}
plot.differences(repaired, to="the majority rate away", test_to_train=1)

# %% [markdown]
# Each of these runs measured as many cells as it learned from, and the splits share cells, so the bars are wide (`test_to_train=1`, lesson 08). What a threshold can repair is decided by the ranking that is left. Learned from poly, LP-FT has an AUC of 78 % away, after 86 at home: mostly the **threshold** has died, and twenty labels bring the answers clearly above the majority rate. Learned from mono, the **ranking** is poor too: 67 % after 92, and 55, hardly more than a coin, for the probe. There twenty labels bring back about the majority rate, and even the best threshold only some points more.

# %%
for way in ("linear probe", "full", "LP-FT"):
    kept = [100 * record[f"{way} {h} {k}"]["kept"] for h in HOMES for k in range(5)]
    print(f"old answers kept by {way:12s} {np.mean(kept):.0f} % "
          f"({min(kept):.0f} to {max(kept):.0f})")

# %%
order = {f"AUC {place}, learned from {kind}": {
    way: stored(way, kind, place, "auc") - stored("linear probe", kind, place, "auc")
    for way in ("from scratch", "full", "LP-FT")}
    for kind in HOMES for place in ("home", "away")}
plot.differences(order, to="the linear probe", unit="points of AUC", test_to_train=1)

# %% [markdown]
# And the critics? From mono, both ways of fine-tuning sort the strangers better than the probe, and clearly so. From poly they do on average, but the probe's own AUC runs from 51 to 76 % over the splits, so five of them decide nothing. So nothing here shows a network that got narrower *for this question*. What they gave up is older: with its old head put back (lesson 06), a fine-tuned network names only a part of 128 squares of two photographs as it did before (see the lines above the figure); a probe has forgotten nothing.
#
# ## The statistics
#
# All pretrained networks so far kept ImageNet's BatchNorm statistics. A textbook's `model.train()` lets them follow the 400 home cells. The record has that too ("moving"), and it asked home cells again through worse cameras: with noise, out of focus, with half of the light, with half of the contrast.

# %%
camera = {place: {f"from {kind}": stored("full, moving", kind, place, "auc")
                  - stored("full", kind, place, "auc") for kind in HOMES}
          for place in ("home", "away", "noise", "blur", "dark", "faded")}
plot.differences(camera, to="full fine-tuning with kept statistics", test_to_train=1,
                 unit="points of AUC")

# %% [markdown]
# Moving statistics lose at home, out of focus and in the dark, in both directions. If a network got narrower, look there first. (New statistics can repair as well: AdaBN, lesson 04.)

# %% [markdown]
# ## What you have seen
#
# - An accuracy away mixes the ranking of the cells and the place of the threshold. If the ranking holds, twenty labels repair much; if it is gone, no threshold helps. Measure the AUC first.
# - Fine-tuning at a small rate, BatchNorm's statistics frozen, sorted strange cells clearly better than the probe in one direction; in the other, five splits decide nothing.
# - BatchNorm's statistics that follow few images make a network narrower.
#
# **Does fine-tuning make the network better, or only narrower?** For its own question it got no narrower that we could see, and in one direction better, also on strangers; it got narrower in what nobody asked any more. Measure both, and with a number that survives a moved threshold.
#
# *Where this lives in the library:* `sft.data.domain_split`, `sft.evaluate(…).metrics["roc_auc"]`, `sftlab.analysis.decisions` (`cost_threshold`), `sft.data.noise`, `blur`, `darken`, `fade`, `plot.differences`. All training above was plain PyTorch; `sft.fit` with a profile does it in two calls (lesson 06). More repairs stand in `benchmarks/evidence`: the line between two networks (`averaging.py`), one block alone (`surgical.py`), LP-FT on print (`lpft.py`).

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `HOME` to the other kind. Which sentence of the summary survives? Then draw other twenty labels: how much of the repair is luck?
# - **Build.** Retrain only the head on the twenty labels (Kirichenko et al. 2023) and compare it with the moved threshold.
#
# ## Sources
#
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. LP-FT.
# - McCloskey and Cohen, 1989, *Catastrophic Interference in Connectionist Networks*. Forgetting, named.
#
# [The map of all lessons](../00_start_here.ipynb)
