# %% [markdown]
# # What should I decide with it?
#
# You will be able to
# - turn probabilities into decisions that cost the least, and say what they cost;
# - repair a network that is too sure of itself, with one number;
# - refuse what the network was never made for, and compare two networks on the same images.
#
# 30 minutes. Comes after *How sure is this number?* Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import sftlab as sft
from sftlab import plot, widgets
from sftlab.analysis import decisions
from sftlab.core import statistics
from sftlab.lessons.calibration import heatmaps, rejected
from sftlab.lessons.decide import confused, piles
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 300                     # training images per class
SEED: int = 0                         # split, order of batches, start of the head
MISSED: float = 100.0                 # what an overlooked defect costs, in €
ALARM: float = 20.0                   # what a false alarm costs, in €

# %% [markdown]
# ## Which errors?
#
# An accuracy adds up all errors as if they were one kind. They never are. We begin with ten classes where every error can be judged at a glance: handwritten digits, and a network of 6,000 parameters that learns
# them from scratch, from thirty images a class, in a second or two.
#
# > **Predict.** Which digit will be the worst, and what is it mistaken for? Write down a pair.

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300), SEED=(int, 0),
                     LABELS=(int, 10, 800), MISSED=(float, 0.1), ALARM=(float, 0.1))
digits = sft.load("digits", valid=0.4, per_class=30, seed=SEED)
reader = sft.backbone("tiny", weights=None, seed=SEED)
history = sft.fit(reader, digits, sft.full(reader, lr=3e-3), epochs=8, seed=SEED)
read = sft.evaluate(reader, digits.valid)
print(f"accuracy {read.accuracy:.3f}, majority {read.majority:.3f}, {read.n} digits")

# %%
plot.confusion(read)

# %% [markdown]
# Rows are the truth, columns the answer; the diagonal is right. Two questions can be asked of each class *c*. Of all that **are** c, how many were found? That is **recall**, along the row. Of all that were **called** c, how many are? That is
# **precision**, down the column.

# %%
table = np.array(read.confusion)
recall, precision = (np.diag(table) / table.sum(axis=k) for k in (1, 0))
for (name, one), r, q in zip(read.per_class.items(), recall, precision, strict=True):
    assert np.allclose((r, q), (one["recall"].value, one["precision"].value))
    print(f"{name}: recall {one['recall']:.2f}   precision {one['precision']:.2f}")

# %% [markdown]
# Each number has its own interval, and a wide one: a class has only about seventy images here. One accuracy of ten classes can hide a class that is hardly found at all.
#
# ## Click a cell of that matrix
#
# Choose what a digit is and what it was called. You see the images, and beneath each the training image *of the called class* that resembles it most in the features: the network's reason, as far as it has one.

# %%
def features(network, split):
    """Return what the head of a network reads, n × d."""
    kept = sft.features(network[:-1], split)
    return kept.take(np.arange(len(kept)))[0].numpy()


new, known = features(reader, digits.valid), features(reader, digits.train)
alike = decisions.cosines(new, known)  # valid × train
wrong = table - np.diag(np.diag(table))
is_a, called = (read.classes[k] for k in np.unravel_index(wrong.argmax(), wrong.shape))

# %%
def errors(true, said):
    return confused(read, digits, true, said, alike=alike)


widgets.explore(
    errors, true=widgets.choice("it is a", read.classes, is_a),
    said=widgets.choice("and was called", read.classes, called), name="confusion")

# %% [markdown]
# Often the two could be sisters. Now to a question where an error has a price.
#
# ## How sure does it say it is?
#
# Solar cells, and the probe you know. First as many tutorials train it: sixty epochs at a good rate, last weights kept. Everything is judged on **validation** cells; the test waits for the very end.

# %%
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)


def probe(lr, epochs, seed=SEED, on=data, **how):
    """Train a linear probe and return it with its result on the validation cells."""
    model = sft.replace_head(original, on.classes, seed=seed)
    profile = sft.linear_probe(model, lr=lr)
    sft.fit(model, on, profile, epochs, seed=seed, verbose=False, **how)
    return model, sft.evaluate(model, on.valid)


overheated, long_run = probe(lr=3e-3, epochs=60, keep_best=False)
plot.reliability(long_run)

# %% [markdown]
# A network that says 95 % should be right 19 times in 20. This one is not: wherever it says more than 70 %, the dots hang far below the diagonal. It is **overconfident**. The mean gap, weighted by the number of images in each bin, is the *expected calibration
# error*, ECE. A gap cannot be negative, so with few images even an honest network shows some: the second number is what this network would show if each of its answers were right exactly as often as it says. Only more than that is a fault.
#
# Why? Once most training cells are right, their cross-entropy falls further if only the logits grow, so they grow, whether or not new cells agree. If all are too large by about one factor, then divide them by one:
#
# q(class) = softmax(z / T), where z are the logits and T > 1 is called the **temperature**. We look for the T with the lowest cross-entropy on one half of the validation *modules*; the other half will say whether it helped.

# %%
modules = np.array(data.valid.groups)
half = np.isin(modules, np.unique(modules)[::2])  # to fit on; the rest to measure on
y, p_long = np.array(long_run.targets), np.array(long_run.probabilities)
z = np.log(p_long[half].clip(1e-12))  # logits, up to a constant


def loss_at(t):
    """Return the mean cross-entropy at temperature t."""
    q = np.exp(z / t) / np.exp(z / t).sum(axis=1, keepdims=True)
    return -np.log(q[np.arange(len(q)), y[half]]).mean()


best = min(np.geomspace(0.3, 10, 300), key=loss_at)
T = decisions.fit_temperature(p_long[half], y[half])
print(f"by hand {best:.2f}, library {T:.2f}; loss {loss_at(1):.3f} → {loss_at(T):.3f}")
assert abs(best / T - 1) < 0.02

# %% [markdown]
# One number, fitted in a moment. Here is what it does on the other half, which had no part in it. It changes no answer, because dividing by T keeps the order; it only changes how loudly the answers are given.

# %%
rest = sft.evaluate(overheated, data.valid.subset(np.flatnonzero(~half)))
cooler = decisions.temperature_scale(rest.probabilities, T)
cooled = sft.with_probabilities(rest, cooler)
assert cooled.predictions == rest.predictions
plot.reliability(cooled)

# %% [markdown]
# Much of the fault is gone. There is a cheaper cure: do not overheat. Cross-entropy punishes false certainty, so stopping at the lowest *validation loss*, which `fit` does unless told otherwise, keeps a probe calibrated from the start.

# %%
model, valid = probe(lr=1e-3, epochs=20)
stopped = np.array(valid.probabilities)[~half]
for name, q in (("60 epochs, last", p_long[~half]), ("  the same, T", cooler),
                ("20 epochs, best", stopped)):
    print(f"{name:16s} {decisions.calibration(q, y[~half])}   "
          f"accuracy {(q.argmax(axis=1) == y[~half]).mean():.3f}")
print(f"majority {rest.majority:.3f}; {rest.n} cells, on which T was not fitted")

# %% [markdown]
# From here on we use the probe that stopped in time.
#
# ## A second reason to be wrong: another world
#
# Its accuracy barely clears the majority rate, if at all. One reason is in the card: we gave it as many defect cells as intact ones, and the world has fewer. It learned a world in which half of everything is broken.
#
# Bayes' rule repairs it without training: multiply each class by its share in the world, divide by its share in training, and let the sum be one again. For the logits this is a *shift*, where temperature was a *factor*.

# %%
y, p = np.array(valid.targets), np.array(valid.probabilities)
trained, world = (np.bincount(labels) / len(labels) for labels in (data.train.y, y))
shifted = p * world / trained
shifted /= shifted.sum(axis=1, keepdims=True)
assert np.allclose(shifted, decisions.reweighted(p, trained, world))

# %%
moved = sft.with_probabilities(valid, shifted)
for name, r, q in (("as trained", valid, p), ("for our world", moved, shifted)):
    print(f"{name:14s} accuracy {r.accuracy:.3f}, mean p(defect) {q[:, 1].mean():.2f}")
print(f"majority {valid.majority:.3f}; "
      f"defects are {trained[1]:.0%} of the training cells, {world[1]:.0%} of valid")

# %% [markdown]
# The mean probability comes down towards the share of defects, and beyond: the rule assumes that *only* the shares differ, while here the modules differ too. And the accuracy: is that a real gain, or luck? The two
# intervals overlap, but they are about the *same cells*, so most of the luck is shared. Only cells on which exactly one of the two is right say anything.
#
# If the two were equally good, each disagreement would be the toss of a coin. How likely is a toss at least as uneven as this one? That is **McNemar's test**, and it fits in a line.

# %%
from math import comb

right_a, right_b = (np.array(result.predictions) == y for result in (moved, valid))
few, many = sorted((int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())))
tails = sum(comb(few + many, k) for k in range(few + 1)) / 2**(few + many)
assert np.isclose(min(1.0, 2 * tails), decisions.mcnemar(right_a, right_b))
print(f"only shifted right {(right_a & ~right_b).sum()} cells, only as trained "
      f"{(right_b & ~right_a).sum()}; p = {min(1.0, 2 * tails):.2f}")

# %% [markdown]
# A large p means: tosses of a coin do this often, so these cells do not show that the shift helps. But it tosses a coin a *cell*, and cells of one module go together. Counted in modules, and in points: the difference of the two verdicts on each cell, its mean,
# and how that moves when one module is left out. What would two *separate* test sets of this size have told us?

# %%
gap = statistics.difference(right_a, right_b, modules)
alone = moved.accuracy.high - moved.accuracy.low
print(f"paired difference {gap:+.3f}: {gap.high - gap.low:.3f} wide")
print(f"on two separate test sets it would be {2**0.5 * alone:.3f} wide")

# %% [markdown]
# Pairs are the cheapest way to more certainty there is. Whenever two models meet the same images, compare them image by image, and count the groups that the images come in.
#
# ## What does an error cost?
#
# A missed defect burns a hole into the yield of a roof: say 100 €. A false alarm is a second look by a person: 20 €. If a cell is defective with probability p, calling it *intact* costs p · 100 € on average, calling it *defect* costs
# (1 − p) · 20 €. The second is cheaper as soon as
#
# p > c_FP / (c_FP + c_FN), where c_FP is the cost of a false alarm and c_FN that of a miss.
#
# With these costs you call a defect long before you believe in one. But the formula trusts the probabilities. Three sets of them, the same formula:

# %%
at = ALARM / (ALARM + MISSED)
assert at == decisions.threshold(MISSED, ALARM)


def bill(p1, at):
    """Return the mean cost of a cell in €."""
    called = p1 >= at
    return np.mean(MISSED * ((y == 1) & ~called) + ALARM * ((y == 0) & called))


library = decisions.costs(p[:, 1], y, at, missed=MISSED, false_alarm=ALARM)
assert np.isclose(bill(p[:, 1], at), library.mean())

# %%
grid = np.union1d(np.linspace(0.01, 0.99, 99), at)
kinds = {"60 epochs, raw": p_long, "20 epochs": p, "20 epochs, shifted": shifted}
bills = {name: np.array([bill(q[:, 1], t) for t in grid]) for name, q in kinds.items()}
figure, ax = plt.subplots(figsize=(7.5, 3.6))
for (name, cost), mark in zip(bills.items(), "so^", strict=True):
    line, = ax.plot(grid, cost, label=name)
    ax.plot(at, cost[grid == at], mark, color=line.get_color())
    ax.plot(grid[cost.argmin()], cost.min(), mark, color=line.get_color(), mfc="white")
ax.axhline(bill(p[:, 1], 0), color="black", linestyle="--", label="call every one defect")
ax.axhline(bill(p[:, 1], 2), color="grey", linestyle="--", label="call none")
ax.set(xlabel="call it a defect from this probability on", ylim=(0, None),
       ylabel="mean cost (€ a cell)", title="Solid: by the formula; hollow: lowest")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax

# %% [markdown]
# The solid mark of a line is where the formula sends it, the hollow one its lowest point, which you know only after counting. Overconfident probabilities pay for the trust: most of them are near 0 or near 1, so moving the threshold moves little, and the formula lands on a high place.
#
# And mind the lower dashed line: *call every cell a defect* costs nothing to build. A network has to beat that, not zero.
#
# ## Weights in the loss, or a moved threshold?
#
# The other popular remedy is to weight the loss: a miss counts five times while training, and the threshold stays at 0.5. Is it better? Five seeds each, same cells, so again in pairs.

# %%
from functools import partial

ratio = MISSED / ALARM
heavier = partial(sft.cross_entropy, weight=torch.tensor([1.0, ratio]))
pairs = [[np.array(probe(1e-3, 20, seed, loss=loss)[1].probabilities)[:, 1]
          for loss in (sft.cross_entropy, heavier)] for seed in range(5)]

# %%
d = statistics.t_interval([bill(b, 0.5) - bill(a, at) for a, b in pairs])
print(f"weighted minus moved, € a cell: {d:+.2f}")
moves = np.mean([np.log(b / (1 - b)) - np.log(a / (1 - a)) for a, b in pairs])
print(f"weights move the logit by {moves:.2f}; ln({ratio:g}) = {np.log(ratio):.2f}")

# %% [markdown]
# Weights do, during training, about what a moved threshold does afterwards: they shift the logit of *defect* by roughly the logarithm of the cost ratio, just as other class shares do. The interval of the difference contains 0: these cells prefer neither. But the weighted network's 50 % is no longer a
# probability, and when the price of a roof changes you train again. **Train for honest probabilities; put the costs into the threshold.**
#
# ## Hold the threshold in your hand
#
# Four piles: found, missed, false alarms, rightly left alone. Drag the threshold and the cost of a miss, and watch cells slide from pile to pile while the money moves.

# %%
shown = np.random.default_rng(SEED).permutation(len(y))[:150]
thumbs = sft.data.resize(data.valid.pixels(shown), 32)[:, 0].numpy()


def sort(threshold, missed, formula):
    """Draw the four piles at one threshold and one price of a miss."""
    at = decisions.threshold(missed, ALARM) if formula else threshold / 100
    return piles(shifted[:, 1], y, thumbs, shown, at, missed=missed,
                 false_alarm=ALARM, classes=data.classes)

# %%
steps, prices = range(0, 101, 2), [20, 40, 60, 100, 200, 500, 1000]
widgets.explore(
    sort, threshold=widgets.slider("call it a defect from", steps, value=50, unit="%"),
    missed=widgets.slider("cost of a miss", prices, value=100, unit="€"),
    formula=widgets.toggle("the formula sets the threshold"), name="piles")

# %% [markdown]
# Solar cells: CC BY-NC-SA 4.0. 150 of the validation cells are shown, the money is computed over all of them. Make a miss cost 1,000 € and turn the formula on: hardly a cell is left alone, and calling *every* cell a defect is cheaper still. At 20 € the threshold is 50 % and the piles are those of plain accuracy.
#
# ## Refuse what is neither
#
# One day somebody uploads a holiday photograph. The network knows two words, *intact* and *defect*, and has to say one.
#
# > **Predict.** What probability does it give to its answer, on average, for squares cut from two ordinary photographs?
#
# The next cell gathers them, and four more kinds of strangers: enlarged digits, noise, and two that are almost cells.

# %%
sure = widgets.predict("its certainty about photographs, in percent", 50, 100, 55)
cells, some = data.valid.pixels(np.arange(100)), digits.valid.pixels(np.arange(80))
noise = np.random.default_rng(SEED).integers(256, size=(80, 1, SIZE, SIZE))
strangers = {"photographs": sft.analysis.photo_crops(80, size=SIZE),
             "digits": torch.nn.functional.interpolate(some, (SIZE, SIZE)),
             "noise": torch.from_numpy(noise.astype(np.uint8)),
             "negatives of cells": 255 - cells, "turned cells": cells.rot90(1, (2, 3))}

# %%
def see(pixels):
    """Return features and probabilities of uint8 images."""
    with torch.no_grad():
        f = model[:-1].eval()(pixels)
        return f, model[-1](f).softmax(dim=1).numpy()


seen = {"valid cells": (features(model, data.valid), p)}
seen |= {name: see(pixels) for name, pixels in strangers.items()}
photos = seen["photographs"][1]
print(f"photographs: {(photos[:, 1] > 0.5).mean():.0%} of them are called ‘defect’")
plot.guess_vs_result(100 * photos.max(axis=1).mean(), sure, low=50)

# %% [markdown]
# It has never seen a palace or a dahlia, and is surer about them than about most cells. So the popular rule *refuse if the largest probability is low* cannot work here. Let us see; the limit is put where 5 % of the validation cells would be refused.

# %%
certainty = {name: q.max(axis=1) for name, (_, q) in seen.items()}
rejected(certainty, np.quantile(certainty["valid cells"], 0.05),
         label="largest probability", below=True)

# %% [markdown]
# A linear head divides the space of features into two halves, *and everything lies in one of them*. The further from the border, the more certain; and a place far from all training cells can lie very far from the border.
#
# So measure the other thing: how far is a picture from the training cells? Cosine distance to the five nearest, in the features. Again 5 % of valid cells refused.

# %%
at_home, new = features(model, data.train), seen["valid cells"][0]
distance = 1 - np.sort(decisions.cosines(new, at_home), axis=1)[:, -5:].mean(axis=1)
assert np.allclose(distance, decisions.knn_distance(new, at_home), atol=1e-5)
far = {name: decisions.knn_distance(f, at_home) for name, (f, _) in seen.items()}
rejected(far, np.quantile(distance, 0.95), label="distance to the training cells")

# %% [markdown]
# Distance refuses what certainty let through. It is no cure for everything: what still *looks* like a cell, a negative for instance, lies partly within the limit, and one valid cell in twenty is refused for nothing. Test a gate with the strangers that you
# expect, and say which ones you tried.
#
# ## Look at the errors
#
# Numbers choose the threshold; pictures tell you whether the network deserves one. The most confident mistakes among the validation cells, with the shifted probabilities:

# %%
plot.mistakes(moved, data, n=8, columns=4)

# %% [markdown]
# Look at each for five seconds. Labels by one expert are not all beyond doubt, and 160 pixels hide hairline cracks.
#
# ## Where does it look?
#
# **Grad-CAM** asks which places in the last maps would raise the logit of *defect*. The network is a list, so it needs no hooks: the last stage before `pool` makes the maps A, the rest reads them. Each map is weighted by its mean gradient, the weighted maps are added, and
# negative evidence is cut off.

# %%
from sftlab.analysis.explain import cascade, grad_cam, randomised

pixels = data.valid.pixels(np.argsort(-p[:, 1] * (y == 1))[:4])  # the surest four
front, back = model[:-2].eval(), model[-2:].eval()  # what follows is pool and head
A = front(pixels).detach().requires_grad_()
gradient, = torch.autograd.grad(back(A)[:, 1].sum(), A)
heat = (gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).relu().detach()
last = [name for name, _ in front.named_children()][-1]
assert torch.allclose(heat, grad_cam(model, pixels, 1, last), atol=1e-6)
print(last, "makes maps", tuple(A.shape), "→ heat", tuple(heat.shape))

# %% [markdown]
# Such pictures convince everybody, which is exactly the danger. Adebayo and colleagues ask for a control: throw away what the network learned, stage by stage *from the logits down*, and draw again. If the picture stays, it never showed what was learned. One random network may resemble
# the trained one by chance, so we take five, and compare the order of the 25 places, image by image:

# %%
starts = [sft.replace_head(sft.backbone(BACKBONE, weights=None, seed=s),
                           data.classes, seed=s) for s in range(5)]
for stage, r in cascade(model, starts, pixels, 1, last).items():
    print(f"random from the head to {stage:7s} rank correlation {np.nanmean(r):+.2f}, "
          f"{np.nanmin(r):+.2f} to {np.nanmax(r):+.2f}")

# %%
rows = {"the cell": None, "trained network": heat} | {
    name: grad_cam(randomised(model, starts[0], count), pixels, 1, last)
    for name, count in (("head random", 1), ("all random", len(sft.stage_names(model))))}
heatmaps(pixels, rows, licence=data.card.licence,
         title="Where the evidence for ‘defect’ lies")

# %% [markdown]
# Already with a random head, the first step of the cascade, little is left of the order of the places on average: Grad-CAM passes this control, as it did in the paper. Mind the range, though: with one random start and one image the two maps can look alike by chance, which is why one start proves nothing. Passing means that the
# map depends on what was learned. It does not mean that the bright place is the reason; on 5 × 5 places it can hardly point at a hairline.
#
# ## Choose on valid, then look at the test. Once.
#
# Now we decide. A recipe is a change of the probabilities and a threshold; what it needs, temperature and shares, is fitted on validation cells. The candidates are those that this page has made, and the answer that needs no network. The validation bill chooses.

# %%
def recipes(found, on=data):
    """Return {name: (change of the probabilities, threshold)}, fitted on valid."""
    t = decisions.fit_temperature(found.probabilities, found.targets)
    shares = [np.bincount(y) / len(y) for y in (on.train.y, found.targets)]

    def same(q): return q
    def shift(q): return decisions.reweighted(q, *shares)
    def both(q): return shift(decisions.temperature_scale(q, t))

    return {"as trained, 0.5": (same, 0.5), "as trained, formula": (same, at),
            "shifted, formula": (shift, at), "temperature, shifted, formula": (both, at),
            "every cell a defect": (same, 0.0)}

# %%
def euros(recipe, found):
    """Return what each cell of a result costs under a recipe."""
    change, limit = recipe
    q = change(np.array(found.probabilities))[:, 1]
    return decisions.costs(q, found.targets, limit, missed=MISSED, false_alarm=ALARM)


ours = recipes(valid)
money = {name: euros(recipe, valid) for name, recipe in ours.items()}
for name, each in money.items():
    print(f"{name:28s} {statistics.mean_interval(each, modules):.2f} € a cell")

# %% [markdown]
# The lowest bill is chosen. Now it meets modules that nothing here has seen.

# %%
test = sft.evaluate(model, data.test)
print(f"accuracy {test.accuracy:.3f}, majority {test.majority:.3f}, {test.n} cells")
chosen = min(money, key=lambda name: money[name].mean())
for name in dict.fromkeys((chosen, "as trained, 0.5", "every cell a defect")):
    cost = statistics.mean_interval(euros(ours[name], test), test.groups)
    print(f"{name:28s} {cost:.2f} € a cell")

# %% [markdown]
# One split is one draw of modules, as the last lesson insisted. The whole recipe again, on eight splits: train, fit shift and temperature on valid, evaluate once. All recipes meet the same splits, so the differences are paired; and the splits
# are of one set, so their interval is as much wider as the last lesson said.

# %%
def bills_on(seed):
    """Return the mean test bill of every recipe on one split."""
    one = sft.load("solar", size=SIZE, per_class=LABELS, seed=seed)
    network, on_valid = probe(1e-3, 20, seed, on=one)
    result = sft.evaluate(network, one.test)
    return [euros(recipe, result).mean() for recipe in recipes(on_valid, one).values()]


half, formula, _, full, every = np.transpose([bills_on(seed) for seed in range(8)])
for name, saved in (("formula instead of 0.5", formula - half),
                    ("calibrated as well", full - formula),
                    ("formula, against calling all", formula - every)):
    d = statistics.t_interval(saved, test_to_train=0.25 / 0.6)
    print(f"{name:30s} {d:+.2f} € a cell")

# %% [markdown]
# Read the three lines with their intervals over the splits. The formula is cheaper than 0.5 on average, but eight splits of one set, which share most of their cells, do not show it: zero is inside, and a single split, such as ours above, may say the opposite. (That the formula is right if the probabilities are is
# arithmetic; whether *these* are good enough is the question.) Calibrating on a few validation modules adds nothing measurable to a probe that was stopped in time. But the network earns its keep: it beats *every cell a defect*.

# %% [markdown]
# ## What you have seen
#
# - Errors have kinds and prices. The threshold that costs least is c_FP / (c_FP + c_FN), if the probabilities are honest; where they are not, temperature (a factor) and class shares (a shift) repair them, and stopping in time prevents it.
# - Certainty is not knowledge: a network can be most certain where it has never been. Distance to the training cells tells strangers, within the limits that you tested.
# - Two networks are compared on the same images; heat maps are compared with those of a network that learned nothing.
#
# **What should I decide with it? Whatever costs least on average, at a threshold that comes from the prices, chosen on validation images and checked on the test once.**
#
# *Where this lives in the library:* `sftlab.analysis.decisions` (`fit_temperature`, `temperature_scale`, `reweighted`, `threshold`, `costs`, `knn_distance`, `calibration`, `mcnemar`), `sftlab.core.statistics` (`difference`, `mean_interval`), `sftlab.analysis.explain` (`grad_cam`, `cascade`), `plot.reliability`,
# `plot.mistakes`, and the figures of this page in `sftlab.lessons.decide` and `sftlab.lessons.calibration`.
#
# ## The same in plain PyTorch
#
# Temperature and threshold, for any classifier with two classes:

# %%
logits = torch.tensor(np.log(p.clip(1e-12)), dtype=torch.float32)
labels, log_t = torch.tensor(y), torch.zeros(1, requires_grad=True)
optimizer = torch.optim.Adam([log_t], lr=0.05)
for _ in range(200):
    loss = torch.nn.functional.cross_entropy(logits / log_t.exp(), labels)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
defect = (logits / log_t.exp()).softmax(dim=1)[:, 1] >= ALARM / (ALARM + MISSED)
print(f"T = {log_t.exp().item():.2f}, {int(defect.sum())} of {len(y)} called defect")
assert abs(log_t.exp().item() - decisions.fit_temperature(p, y)) < 0.02

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `MISSED` to 20 and to 2000. Which candidate is chosen, and when is the network worth nothing?
# - **Build.** A third answer is often the best one: *ask a person*. How good is the network on the half of the cells it is surest of? Sort them by `shifted.max(axis=1)` and put `sft.wilson` around it.
# - **Build.** Put gate and threshold together: a function that takes a picture and answers *intact*, *defect* or *show it to a person*, with a price for the person.
# - **Build.** Randomise *one* stage at a time and leave the others as they were: which one does the map depend on most?
# - **Build.** Does the heat map point at what decides? Replace the five hottest of its 25 places by those of an intact cell and ask again; then five random ones. Mind the seams: to the network they are cracks.
# - **Break.** Fit the temperature on the *training* cells instead. Why does it come out near or below 1, and what does the bill say?

# %% [markdown]
# ## Sources
#
# - Guo et al., 2017, *On Calibration of Modern Neural Networks*. Temperature scaling, ECE.
# - Elkan, 2001, *The Foundations of Cost-Sensitive Learning*. The threshold, and what class weights do.
# - Saerens, Latinne and Decaestecker, 2002, *Adjusting the Outputs of a Classifier to New a Priori Probabilities*. The shift.
# - Hein, Andriushchenko and Bitterwolf, 2019, *Why ReLU Networks Yield High-Confidence Predictions Far Away From the Training Data*. Certain and wrong.
# - Sun et al., 2022, *Out-of-Distribution Detection with Deep Nearest Neighbors*. The gate.
# - Selvaraju et al., 2017, *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*.
# - Adebayo et al., 2018, *Sanity Checks for Saliency Maps*. The control.
# - McNemar, 1947, *Note on the Sampling Error of the Difference Between Correlated Proportions or Percentages*.
# - Dietterich, 1998, *Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms*. Which test to use.
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
#
# Previous: [08 Evaluate](08_evaluate.ipynb). Next: [10 Your own images](10_your_own_images.ipynb).
