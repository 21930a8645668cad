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
import numpy as np
import torch
from matplotlib.figure import Figure

import sftlab as sft
from sftlab import decisions, plot, style

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

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300),
                     LABELS=(int, 10, 800), SEED=(int, 0), MISSED=(float, 0.1),
                     ALARM=(float, 0.1))
digits = sft.load("digits", valid=0.4, per_class=30, seed=SEED)
reader = sft.backbone("tiny", weights=None, seed=SEED)
history = sft.fit(reader, digits, sft.full(reader, lr=3e-3), epochs=8, seed=SEED)

# %%
read = sft.evaluate(reader, digits.valid)
print(f"accuracy {read.accuracy:.3f}, majority {read.majority:.3f}, {read.n} digits")

# %% [markdown]
# > **Predict.** Which digit is the worst, and what is it mistaken for? Write down a pair before you run the next cell.

# %%
plot.confusion(read)

# %% [markdown]
# Rows are the truth, columns the answer; the diagonal is right. Two questions can be asked of each class *c*. Of all that **are** c, how many were found? That is **recall**, along the row. Of all that were **called** c, how many are? That is
# **precision**, down the column.

# %%
table = np.array(read.confusion)
recall = np.diag(table) / table.sum(axis=1)
precision = np.diag(table) / table.sum(axis=0)
for name, r, q in zip(read.classes, recall, precision, strict=True):
    assert np.isclose(r, read.per_class[name]["recall"].value)
    assert np.isclose(q, read.per_class[name]["precision"].value)
    print(f"{name}: recall {read.per_class[name]['recall']:.2f}   precision {q:.2f}")

# %% [markdown]
# Each number has its own interval, and a wide one: a class has only about seventy images here. One accuracy of ten classes can hide a class that is hardly found at all.
#
# ## Click a cell of that matrix
#
# Choose what a digit is and what it was called. You see the images, and beneath each the training image *of the called class* that resembles it most in the features: the network's reason, as far as it has one.

# %%
def features(split):
    """Return what the head of the digit network reads, n × 32, each of length one."""
    with torch.no_grad():
        f = reader[:-1].eval()(split.pixels(np.arange(len(split)))).numpy()
    return f / np.linalg.norm(f, axis=1, keepdims=True)


alike = features(digits.valid) @ features(digits.train).T   # cosines, valid × train
wrong = table - np.diag(np.diag(table))
most = [read.classes[k] for k in np.unravel_index(wrong.argmax(), wrong.shape)]

# %%
def errors(true, said):
    """Draw the images of one cell of the matrix, and their nearest relatives."""
    ax = Figure(figsize=(7.5, 3.9), layout="constrained").add_subplot()
    return plot.confused(read, digits, true, said, alike=alike, ax=ax)


choice = sft.widgets.choice
sft.widgets.explore(
    errors, true=choice("it is a", read.classes, most[0]),
    said=choice("and was called", read.classes, most[1]), name="confusion")

# %% [markdown]
# Often the two could be sisters. Now to a question where an error has a price.
#
# ## How sure does it say it is?
#
# Solar cells, and the probe you know. First as many tutorials train it: sixty epochs at a good rate, last weights kept. Everything is judged on **validation** cells; the test waits for the very end.

# %%
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)


def probe(lr, epochs, seed=SEED, on=data, **settings):
    """Train a linear probe and return it with its result on the validation cells."""
    model = sft.replace_head(original, on.classes, seed=seed)
    sft.fit(model, on, sft.linear_probe(model, lr=lr), epochs, seed=seed, verbose=False,
            **settings)
    return model, sft.evaluate(model, on.valid)

# %%
long_model, long_run = probe(lr=3e-3, epochs=60, keep_best=False)
plot.reliability(long_run)

# %% [markdown]
# A network that says 95 % should be right 19 times in 20. This one is not: the dots hang far below the diagonal. It is **overconfident**. The mean gap, weighted by the number of images in each bin, is the *expected calibration
# error*, ECE.
#
# Why? Once most training cells are right, their cross-entropy falls further if only the logits grow, so they grow, whether or not new cells agree. If all are too large by about one factor, then divide them by one:
#
# q(class) = softmax(z / T), where z are the logits and T > 1 is called the **temperature**. We look for the T with the lowest cross-entropy on the validation cells.

# %%
y = np.array(long_run.targets)
z = np.log(np.array(long_run.probabilities).clip(1e-12))  # logits, up to a constant


def loss_at(t):
    """Return the mean cross-entropy at temperature t."""
    q = np.exp(z / t) / np.exp(z / t).sum(axis=1, keepdims=True)
    return -np.log(q[np.arange(len(y)), y]).mean()


grid = np.geomspace(0.3, 10, 300)
by_hand = grid[np.argmin([loss_at(t) for t in grid])]
T = decisions.temperature(long_run.probabilities, y)
print(f"by hand {by_hand:.2f}, library {T:.2f}; "
      f"loss {loss_at(1):.3f} before, {loss_at(T):.3f} after")
assert abs(by_hand / T - 1) < 0.02

# %% [markdown]
# One number, fitted in a moment. It changes no answer, because dividing by T keeps the order; it only changes how loudly the answers are given.

# %%
def with_probabilities(result, p):
    """Return the same result with other probabilities."""
    return sft.evaluation.result(result.split, result.classes, result.hashes,
                                 np.array(result.targets), p)


cooled = with_probabilities(long_run, decisions.tempered(long_run.probabilities, T))
assert cooled.predictions == long_run.predictions
plot.reliability(cooled)

# %% [markdown]
# There is a cheaper cure: do not overheat. Cross-entropy punishes false certainty, so stopping at the lowest *validation loss*, which `fit` does unless told otherwise, keeps a probe calibrated from the start.

# %%
model, valid = probe(lr=1e-3, epochs=20)
for name, one in (("60 epochs, last", long_run), ("  the same, T", cooled),
                  ("20 epochs, best", valid)):
    print(f"{name:16s} ECE {one.metrics['ece']:.3f}   accuracy {one.accuracy:.3f}")
print(f"{'majority':16s} {'':29s}{valid.majority:.3f}")

# %% [markdown]
# From here on we use the probe that stopped in time.
#
# ## A second reason to be wrong: another world
#
# Its accuracy barely clears the majority rate, if at all. One reason is in the card: we gave it as many defect cells as intact ones, and the world has fewer. It learned a world in which half of everything is broken.
#
# Bayes' rule repairs it without training: multiply each class by its share in the world, divide by its share in training, and let the sum be one again. For the logits this is a *shift*, where temperature was a *factor*.

# %%
y = np.array(valid.targets)
p = np.array(valid.probabilities)
trained = data.train.y.bincount().numpy() / len(data.train)
world = np.bincount(y) / len(y)
print(f"defects: {trained[1]:.2f} of the training cells, {world[1]:.2f} of valid; "
      f"mean probability {p[:, 1].mean():.2f}")

# %%
shifted = p * world / trained
shifted /= shifted.sum(axis=1, keepdims=True)
assert np.allclose(shifted, decisions.reweighted(p, trained, world))
moved = with_probabilities(valid, shifted)
for name, one in (("as trained", valid), ("for our world", moved)):
    mean = np.mean(one.probabilities, axis=0)[1]
    print(f"{name:14s} accuracy {one.accuracy:.3f}   mean p(defect) {mean:.2f}")
print(f"{'majority':14s}          {valid.majority:.3f}")

# %% [markdown]
# The mean probability comes down towards the share of defects, and beyond: the rule assumes that *only* the shares differ, while here the modules differ too. And the accuracy: is that a real gain, or luck? The two
# intervals overlap, but they are about the *same cells*, so most of the luck is shared. Only cells on which exactly one of the two is right say anything.
#
# If the two were equally good, each disagreement would be the toss of a coin. How likely is a toss at least as uneven as this one? That is **McNemar's test**, and it fits in a line.

# %%
right_a = np.array(moved.predictions) == y
right_b = np.array(valid.predictions) == y
plot.disagreements(right_a, right_b, ("shifted", "as trained"))

# %%
from math import comb

only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
m, few = only_a + only_b, min(only_a, only_b)
p_value = min(1.0, 2 * sum(comb(m, k) for k in range(few + 1)) / 2**m)
assert np.isclose(p_value, decisions.mcnemar(right_a, right_b))
print(f"{only_a} against {only_b}: p = {p_value:.4f}")

# %% [markdown]
# A large p means: tosses of a coin do this often, so these cells do not show that the shift helps. The bootstrap says the same in points: redraw cells, each with *both* verdicts, and take the difference. What would two
# *separate* test sets of this size have told us?

# %%
gap = decisions.difference(right_a, right_b)
alone = moved.accuracy.high - moved.accuracy.low
print(f"paired difference {gap.value:+.3f}, {gap.low:+.3f} to {gap.high:+.3f}: "
      f"{gap.high - gap.low:.3f} wide")
print(f"on two separate test sets it would be {2**0.5 * alone:.3f} wide")

# %% [markdown]
# Pairs are the cheapest way to more certainty there is. Whenever two models meet the same images, compare them image by image.
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


print(f"call it a defect from p = {at:.3f}")
each = decisions.costs(p[:, 1], y, at, missed=MISSED, false_alarm=ALARM)
assert np.isclose(bill(p[:, 1], at), each.mean())

# %%
grid = np.linspace(0.01, 0.99, 99)
kinds = {"60 epochs, raw": np.array(long_run.probabilities)[:, 1],
         "20 epochs": p[:, 1], "20 epochs, shifted": shifted[:, 1]}
bills = {name: np.array([bill(q, t) for t in grid]) for name, q in kinds.items()}
plot.bills(grid, bills, at, baselines={"call every cell defect": bill(p[:, 1], 0),
                                       "call none": bill(p[:, 1], 2)})

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

weight = torch.tensor([ALARM, MISSED]) / ALARM
weighted = partial(sft.cross_entropy, weight=weight)
rows, shift = [], []
for seed in range(5):
    plain = np.array(probe(1e-3, 20, seed)[1].probabilities)[:, 1]
    heavy = np.array(probe(1e-3, 20, seed, loss=weighted)[1].probabilities)[:, 1]
    rows.append((bill(plain, at), bill(heavy, 0.5)))
    shift.append(np.log(heavy / (1 - heavy)) - np.log(plain / (1 - plain)))

# %%
plain, heavy = np.transpose(rows)
gap = decisions.over_runs(heavy - plain)
print(f"moved threshold {plain.mean():.2f} €, weighted {heavy.mean():.2f} € a cell")
print(f"weighted minus moved {gap.value:+.2f} € ({gap.low:+.2f} to {gap.high:+.2f})")
print(f"the weights moved the logit by {np.mean(shift):.2f} on average; "
      f"ln({weight[1]:.0f}) = {np.log(weight[1].item()):.2f}")

# %% [markdown]
# Weights do, during training, about what a moved threshold does afterwards: they shift the logit of *defect* by roughly the logarithm of the cost ratio, just as other class shares do. The bills lie close together. But the weighted network's 50 % is no longer a
# probability, and when the price of a roof changes you train again. **Train for honest probabilities; put the costs into the threshold.**
#
# ## Hold the threshold in your hand
#
# Four piles: found, missed, false alarms, rightly left alone. Drag the threshold and the cost of a miss, and watch cells slide from pile to pile while the money moves.

# %%
rng = np.random.default_rng(SEED)
shown = rng.permutation(len(y))[:150]
thumbs = sft.data.resize(data.valid.pixels(shown), 32)[:, 0].numpy()


def sort(threshold, missed, formula):
    """Draw the four piles at one threshold and one price of a miss."""
    at = decisions.threshold(missed, ALARM) if formula else threshold / 100
    ax = Figure(figsize=(8, 5.2), layout="constrained").add_subplot()
    return plot.piles(shifted[:, 1], y, thumbs, shown, at, missed=missed,
                      false_alarm=ALARM, classes=data.classes, ax=ax)

# %%
slider, prices = sft.widgets.slider, [20, 40, 60, 100, 200, 500, 1000]
sft.widgets.explore(
    sort, threshold=slider("call it a defect from", range(0, 101, 2), value=50,
                           unit="%"),
    missed=slider("cost of a miss", prices, value=100, unit="€"),
    formula=sft.widgets.toggle("the formula sets the threshold"), name="piles")

# %% [markdown]
# Solar cells: CC BY-NC-SA 4.0. 150 of the validation cells are shown, the money is computed over all of them. Make a miss cost 1,000 € and turn the formula on: hardly a cell is left alone, and calling *every* cell a defect is cheaper still. At 20 € the threshold is 50 % and the piles are those of plain accuracy.
#
# ## Refuse what is neither
#
# One day somebody uploads a holiday photograph. The network knows two words, *intact* and *defect*, and has to say one.
#
# > **Predict.** What probability does it give to its answer, on average, for squares cut from two ordinary photographs?

# %%
sure = sft.widgets.predict("its certainty about photographs, in percent", 50, 100, 55)
sure

# %% [markdown]
# Five kinds of strangers: squares from a palace and a dahlia, enlarged digits, noise, and two that are almost cells. And what the network says of the photographs:

# %%
from sftlab.explain.drift import photo_crops

cells = data.valid.pixels(np.arange(100))
noise = torch.randint(0, 256, (80, 1, SIZE, SIZE), dtype=torch.uint8,
                      generator=torch.Generator().manual_seed(SEED))
big = torch.nn.functional.interpolate(digits.valid.pixels(np.arange(80)), (SIZE, SIZE))
strangers = {"photographs": photo_crops(80, size=SIZE), "digits": big, "noise": noise,
             "negatives of cells": 255 - cells, "turned cells": cells.rot90(1, (2, 3))}

# %%
def see(pixels):
    """Return features and probabilities of uint8 images."""
    with torch.no_grad():
        f = model[:-1].eval()(pixels)
        return f, model[-1](f).softmax(dim=1).numpy()


seen = {name: see(pixels) for name, pixels in strangers.items()}

# %% [markdown]
# And what the network says of the photographs:

# %%
photos = seen["photographs"][1]
print(f"photographs: {(photos[:, 1] > 0.5).mean():.0%} of them are called ‘defect’")
plot.guessed(100 * photos.max(axis=1).mean(), float(sure), low=50, high=100)

# %% [markdown]
# It has never seen a tree, and is surer about trees than about cells. So the popular rule *refuse if the largest probability is low* cannot work here. Let us see; the limit is put where 5 % of the validation cells would be refused.

# %%
certainty = {"valid cells": p.max(axis=1)}
certainty |= {name: q.max(axis=1) for name, (_, q) in seen.items()}
plot.refusals(certainty, np.quantile(certainty["valid cells"], 0.05),
              label="largest probability", below=True)

# %% [markdown]
# A linear head divides the space of features into two halves, *and everything lies in one of them*. The further from the border, the more certain; and a place far from all training cells can lie very far from the border.
#
# So measure the other thing: how far is a picture from the training cells? Cosine distance to the five nearest, in the features. Again 5 % of valid cells refused.

# %%
def stored(split):
    """Return the features of a split from the store."""
    return sft.cache.features(model[:-1], split).take(np.arange(len(split)))[0].numpy()


at_home, new = stored(data.train), stored(data.valid)
a, b = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (new, at_home))
distance = 1 - np.sort(a @ b.T, axis=1)[:, -5:].mean(axis=1)
assert np.allclose(distance, decisions.strangeness(new, at_home), atol=1e-5)

# %%
far = {"valid cells": distance}
far |= {name: decisions.strangeness(f, at_home) for name, (f, _) in seen.items()}
limit = np.quantile(far["valid cells"], 0.95)
plot.refusals(far, limit, label="distance to the training cells")

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
from sftlab.explain.heat import grad_cam, randomised

pixels = data.valid.pixels(np.argsort(-p[:, 1] * (y == 1))[:4])  # the surest four
stages = [name for name, _ in model.named_children()]
k, last = len(stages) - 2, stages[-3]  # what follows is pool and head
model.eval()
A = model[:k](pixels).detach().requires_grad_()
gradient, = torch.autograd.grad(model[k:](A)[:, 1].sum(), A)
heat = (gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).relu().detach()
assert torch.allclose(heat, grad_cam(model, pixels, 1, last), atol=1e-6)
print(last, "makes maps", tuple(A.shape), "→ heat", tuple(heat.shape))

# %% [markdown]
# Such pictures convince everybody, which is exactly the danger. Adebayo and colleagues ask for a control: throw away what the network learned, stage by stage from the top, and draw again. If the picture stays, it never showed what was learned.

# %%
blank = sft.backbone(BACKBONE, weights=None, seed=SEED)
depth = len(sft.surgery.stage_names(model)) - 1
control = grad_cam(randomised(model, blank, depth), pixels, 1, last)
together = np.corrcoef(heat.flatten(), control.flatten())[0, 1]
print(f"correlation of the two rows of maps: {together:.2f}")
tiles = torch.cat([pixels, pixels, pixels]).numpy()
names = ["the cell"] * 4 + ["trained network"] * 4 + ["random weights"] * 4
maps = [None] * 4 + [*heat.numpy(), *control.numpy()]
plot.heatmaps(tiles, maps, names, columns=4, licence=data.card.licence,
              title="Where the evidence for ‘defect’ lies")

# %% [markdown]
# With everything but the head random, the maps are others: Grad-CAM passes this control, as it did in the paper. (The correlation does not fall to 0; borders and centre look alike to any network.) Passing means that the
# map depends on what was learned. It does not mean that the bright place is the reason; on 5 × 5 places it can hardly point at a hairline.
#
# ## Choose on valid, then look at the test. Once.
#
# Now we decide. The candidates are the pairs of probabilities and threshold that this page has made; the validation bill chooses.

# %%
T = decisions.temperature(p, y)
cool = decisions.reweighted(decisions.tempered(p, T), trained, world)
candidates = {"as trained, 0.5": (p, 0.5), "as trained, formula": (p, at),
              "shifted, formula": (shifted, at),
              "tempered, shifted, formula": (cool, at)}

# %%
money = {name: decisions.costs(q[:, 1], y, t, missed=MISSED, false_alarm=ALARM)
         for name, (q, t) in candidates.items()}
for name, each in money.items():
    print(f"{name:28s} {decisions.mean(each):.2f} € a cell")
chosen = min(money, key=lambda name: money[name].mean())
print(f"chosen: {chosen}; calling every cell a defect costs {bill(p[:, 1], 0):.2f} €")

# %% [markdown]
# The recipe was chosen on validation cells. Now it meets modules that nothing here has seen.

# %%
def euros(name, result):
    """Return what each cell of a result costs under a recipe, chosen on valid."""
    q = np.array(result.probabilities)
    q = decisions.tempered(q, T) if "tempered" in name else q
    q = decisions.reweighted(q, trained, world) if "shifted" in name else q
    return decisions.costs(q[:, 1], np.array(result.targets), candidates[name][1],
                           missed=MISSED, false_alarm=ALARM)

# %%
test = sft.evaluate(model, data.test)
alarms = ALARM * (np.array(test.targets) == 0).mean()
print(f"accuracy {test.accuracy:.3f}, majority {test.majority:.3f}, {test.n} cells")
print(f"every cell a defect   {alarms:.2f} € a cell")
for name in dict.fromkeys(["as trained, 0.5", chosen]):
    print(f"{name:21s} {decisions.mean(euros(name, test)):.2f} €")

# %% [markdown]
# One split is one draw of modules, as the last lesson insisted. The whole recipe again, on eight splits: train, fit shift and temperature on valid, evaluate once. Each line is a split, so the differences are paired.

# %%
def saved(seed):
    """Return the test bill of one split: a defect from 0.5 on, and by the formula."""
    one = sft.load("solar", size=SIZE, per_class=LABELS, seed=seed)
    network, on_valid = probe(1e-3, 20, seed, on=one)
    result = sft.evaluate(network, one.test)
    truth, q = np.array(result.targets), np.array(result.probabilities)
    share = np.bincount(on_valid.targets) / on_valid.n
    t = decisions.temperature(on_valid.probabilities, on_valid.targets)
    ready = decisions.reweighted(decisions.tempered(q, t), (0.5, 0.5), share)
    prices = {"missed": MISSED, "false_alarm": ALARM}
    return [decisions.costs(v[:, 1], truth, t, **prices).mean()
            for v, t in ((q, 0.5), (q, at), (ready, at), (q, 0.0))]


half, formula, full, every = np.transpose([saved(seed) for seed in range(8)])
for name, money in (("formula instead of 0.5", formula - half),
                    ("calibrated as well", full - formula),
                    ("formula, against calling all", formula - every)):
    d = decisions.over_runs(money)
    print(f"{name:30s} {d.value:+.2f} € a cell ({d.low:+.2f} to {d.high:+.2f})")

# %% [markdown]
# Read the three lines with their intervals over the splits. The formula beats 0.5 clearly on average, although a single split, such as ours above, may show nothing or the opposite. Calibrating on a few validation modules adds nothing measurable to a probe that was
# stopped in time. And the network earns its keep: it beats *every cell a defect*.

# %% [markdown]
# ## What you have seen
#
# - Errors have kinds and prices. The threshold that costs least is c_FP / (c_FP + c_FN), if the probabilities are honest; where they are not, temperature (a factor) and class shares (a shift) repair them, and stopping in time prevents it.
# - Certainty is not knowledge: a network is most certain where it has never been. Distance to the training cells tells strangers, within the limits that you tested.
# - Two networks are compared on the same images; heat maps are compared with those of a network that learned nothing.
#
# **What should I decide with it? Whatever costs least on average, at a threshold that comes from the prices, chosen on validation images and checked on the test once.**
#
# *Where this lives in the library:* `sftlab.decisions` (`temperature`, `tempered`, `reweighted`, `threshold`, `costs`, `mcnemar`, `difference`, `strangeness`), `sftlab.explain.heat` (`grad_cam`, `randomised`), `plot.reliability`,
# `plot.bills`, `plot.piles`, `plot.refusals`, `plot.mistakes`.
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
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
defect = (logits / log_t.exp()).softmax(dim=1)[:, 1] >= ALARM / (ALARM + MISSED)
print(f"T = {log_t.exp().item():.2f}, {int(defect.sum())} of {len(y)} called defect")
assert abs(log_t.exp().item() - T) < 0.02

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `MISSED` to 20 and to 2000. Which candidate is chosen, and when is the network worth nothing?
# - **Build.** A third answer is often the best one: *ask a person*. Draw `plot.by_certainty(shifted, y, majority=valid.majority)`: how good is the network on the half of the cells it is surest of?
# - **Build.** Put gate and threshold together: a function that takes a picture and answers *intact*, *defect* or *show it to a person*, with a price for the person.
# - **Build.** Randomise the network stage by stage from the top, `randomised(model, blank, count)`, and correlate each map with the original (`scipy.stats.spearmanr`). Where does it break?
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
# Previous: [07 Trust](07_trust.ipynb). Next: [09 Pretrain](09_pretrain.ipynb).
