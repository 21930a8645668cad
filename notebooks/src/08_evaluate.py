# %% [markdown]
# # How sure is this number?
#
# You will be able to
# - put an interval around any accuracy, by hand, and say how many test images a claim needs;
# - keep three uncertainties apart: other test images, another seed, another split;
# - recognise the three ways in which honest people fool themselves: bad averages, related images on both sides, and choosing.
#
# 25 minutes. Comes after [07 Overfit](07_overfit.ipynb); needs only lesson 00. Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import sftlab as sft
from sftlab import plot, widgets
from sftlab.core import statistics
from sftlab.lessons.evaluate import climb, hits
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 300                     # training images per class
SEED: int = 0                         # split, order of batches, start of the head
SPLITS: int = 10                      # how often the set is split anew

# %% [markdown]
# ## One number, four doubts
#
# A linear probe on solar cells: 600 training images, a frozen network, ten epochs. Then one look at the test cells. This is the number that goes into a report, a paper, an offer.
# We shall train this probe many times, so it gets a function.

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300),
                     LABELS=(int, 10, 800), SEED=(int, 0), SPLITS=(int, 3, 40))
original = sft.backbone(BACKBONE)
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)

# %%
def probe(data, seed=SEED):
    """Train a linear probe and return the model."""
    model = sft.replace_head(original, data.classes, seed=seed)
    sft.fit(model, data, sft.linear_probe(model, lr=1e-3), seed=seed, verbose=False)
    return model


model = probe(data)
result = sft.evaluate(model, data.test)
print(f"accuracy {result.accuracy.value:.4f}, majority rate {result.majority:.4f}")

# %% [markdown]
# Four decimals look like knowledge. Four doubts: would other **test images** have given the same? Another **seed**? Another **split**, with other modules in the test?
# And did someone **choose** this number among many? We take them one after the other.
#
# ## Doubt 1: other test images
#
# Suppose the network is right on exactly 85 % of all cells in the world. You test it on 26 of them.
#
# > **Predict.** Of a thousand such tests, the middle 950 report accuracies within a range. How many points wide is it?
#
# Each test image is a toss of a coin that shows *right* with probability 0.85. So we simulate ten thousand test sets of any size in a line.

# %%
guess = widgets.predict("width of the range with 26 images, in points", 1, 60, 10)

# %%
rng = np.random.default_rng(SEED)
tests = {n: rng.binomial(n, 0.85, size=10_000) / n for n in (26, 150, 656)}
figure, axes = plt.subplots(3, 1, figsize=(7.5, 3.6), sharex=True)
for ax, (n, accuracies) in zip(axes, tests.items(), strict=True):
    low, high = np.percentile(accuracies, [2.5, 97.5])
    ax.hist(accuracies, bins=np.arange(0.5, 1.001, 1 / 26), color="#A9C7DE")
    ax.axvspan(low, high, alpha=0.15)
    ax.axvline(result.majority, color="black", linestyle="--")
    ax.set(ylabel=f"{n} images", yticks=[])
ax.set_xlabel("accuracy reported; shaded: the middle 95 %; dashed: majority rate")
axes[0].set_title("The fewer the test images, the wider the range")
plot.show(figure)
low, high = np.percentile(tests[26], [2.5, 97.5])
plot.guess_vs_result(100 * (high - low), guess, high=60, unit="points")

# %% [markdown]
# With 26 images one and the same network is reported as anything from poor to excellent, and even the majority rate is among the reports. The cure is not a better network but more test images.
#
# ## The interval, the wrong way
#
# Now turn it round. You have *one* test set: *k* of *n* images right, p̂ = k/n. Which truths *p* are compatible with it? The textbook's first answer
# takes the spread of a coin, √(p(1 − p)/n), puts p̂ in place of *p*, and goes 1.96 of them to both sides, because 95 % of a bell curve lie there.

# %%
def naive(k, n, z=1.96):
    """Return the ends of the textbook's interval."""
    half = z * np.sqrt(k / n * (1 - k / n) / n)
    return k / n - half, k / n + half


for k in (22, 25, 26):
    print(f"{k} of 26 right: {naive(k, 26)[0]:.3f} to {naive(k, 26)[1]:.3f}")

# %% [markdown]
# With 26 of 26 right it claims certainty: from 100 % to 100 %. With 25 it reaches beyond 100 %. Something is wrong, and we can measure how wrong: does an interval that
# promises 95 % contain the truth in 95 % of the cases?
#
# ## The interval, the right way
#
# Wilson asked the question properly: *for which p would our p̂ not be surprising?* That is (p̂ − p)² ≤ z² p(1 − p)/n with z = 1.96, and with the spread of the
# candidate *p*, not of p̂. Solving this quadratic for *p* gives two lines:

# %%
def by_hand(k, n, z=1.959964):
    """Return the ends of Wilson's interval: k of n right, z standard deviations."""
    middle = (k + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return middle - half, middle + half


for k in (22, 25, 26):
    one = sft.wilson(k, 26)
    print(f"{k} of 26 right: {one.low:.3f} to {one.high:.3f}")
    assert np.allclose(by_hand(k, 26), (one.low, one.high))

# %% [markdown]
# 26 of 26 right means: the truth is probably above 87 %. And now the promise, put to the test. For each truth from 50 to 99 % we simulate 4,000 test sets of 26 images, build both intervals, and count how
# often they contain the truth.

# %%
truths = np.linspace(0.5, 0.99, 60)
counts = rng.binomial(26, truths, size=(4000, 60))  # test sets × truths
ends = {"naive": naive(counts, 26), "Wilson": by_hand(counts, 26)}
figure, ax = plt.subplots(figsize=(7.5, 3.2))
for name, (low, high) in ends.items():
    covered = ((low <= truths) & (truths <= high)).mean(axis=0)
    ax.plot(truths, covered, label=f"{name}: at worst {covered.min():.0%}")
ax.axhline(0.95, color="black", linestyle=":", label="promised")
ax.set(xlabel="true accuracy (share of 1)", ylabel="intervals that contain it",
       title="Wilson's interval keeps its promise, the naive one does not")
ax.legend()
ax

# %% [markdown]
# The naive interval breaks its promise exactly where good networks live. Wilson's wiggles around 95 %, because counts are whole numbers, but keeps it on the whole. That is why an
# accuracy in this lab comes with it, as long as its images are coins of their own; Doubt 3 is about images that are not.
#
# Now hold the size of the test set in your hand: a hundred test sets, a hundred intervals. On average five miss; that is what 95 % means. Some hundreds are luckier.

# %%
def hundred(n, accuracy, again):
    """Draw the intervals of a hundred test sets of n images."""
    counts = np.random.default_rng([again + 2, n]).binomial(n, accuracy / 100, size=100)
    intervals = [sft.wilson(int(k), n) for k in counts]
    return hits(intervals, accuracy / 100, n=n, majority=result.majority)

# %%
sizes = [26, 50, 100, 150, 300, 656, 1500, 3000]
widgets.explore(
    hundred, n=widgets.slider("test images", sizes, value=150),
    accuracy=widgets.slider("true accuracy", [55, 70, 85, 95], value=85, unit="%"),
    again=widgets.button("a hundred others"), name="hundred")

# %% [markdown]
# Four times the images, half the width: ± 1.96 √(p(1 − p)/n) falls with the square root of *n*. To tell 85 % from 86 % by two separate test sets you would need thousands of images; lesson 08
# shows how much cheaper it is on the *same* images.
#
# ## A bug that hides in every loop
#
# Before the next doubt, a bug. Many evaluation loops compute the accuracy of each batch and then the mean of those. It looks the same. It is not: the last batch is usually smaller, and in that mean it
# counts as much as a full one. First with batches of 64, then with batches of every size:

# %%
right = np.array(result.predictions) == np.array(result.targets)
n = len(right)


def mean_of_means(batch):
    """Return the mean over batches of each batch's accuracy."""
    return np.mean([right[i:i + batch].mean() for i in range(0, n, batch)])


assert np.isclose(right.mean(), result.accuracy.value)
print(f"correct / n {right.mean():.4f}, mean of means of 64 {mean_of_means(64):.4f}")

# %%
means = [mean_of_means(batch) for batch in range(1, n + 1)]
figure, ax = plt.subplots(figsize=(7.5, 2.9))
ax.plot(range(1, n + 1), means, color="red", label="mean of batch means")
ax.axhline(right.mean(), label="correct / n")
ax.set(xlabel="images a batch", ylabel="reported accuracy",
       title=f"The same answers: {min(means):.3f} to {max(means):.3f}, by batch size")
ax.legend()
ax

# %% [markdown]
# With batches of 64 it is a matter of a fraction of a point, so nobody notices. At worst a single image counts for half of the result. Nothing about the network has changed. **Accuracy is correct / n over all images**, and the same holds for losses; for recall, F1 or the area under the curve the
# mean of batches is not even right with equal batches.
#
# ## Doubt 2: another seed
#
# The head starts at random and sees the batches in random order. Thirty heads that differ in nothing else, trained side by side on the same features and compared on the validation cells:

# %%
sweep = sft.lr_sweep(model, data, [1e-3], epochs=10, seeds=range(30))
by_seed = np.array(sweep.valid_accuracy)[:, 0, -1]
print(f"30 seeds: {by_seed.min():.3f} to {by_seed.max():.3f}, "
      f"standard deviation {100 * by_seed.std(ddof=1):.1f} points "
      f"(majority {sweep.majority:.3f}, {sweep.n} cells)")

# %% [markdown]
# Best and worst seed differ by several points, on the same cells with the same features. Whoever compares two methods with one seed each compares, in part, two rolls of the dice.
#
# ## Doubt 3: another split
#
# Which modules happened to be in the test? Draw that anew as well: ten splits, each with its own training and test modules, each test evaluated once. Then all three doubts side by side; for the test images
# we redraw our own test set, with replacement, as lesson 00 did (the bootstrap).

# %%
def over_splits(name):
    """Return the test accuracy of a probe on several splits, and the majority rates."""
    fresh = (sft.load(name, size=SIZE, per_class=LABELS, seed=s) for s in range(SPLITS))
    results = [sft.evaluate(probe(one), one.test) for one in fresh]
    return np.transpose([(one.accuracy.value, one.majority) for one in results])

# %%
by_split, rates = over_splits("solar")
print(*(f"{a:.3f}" for a in by_split), f" majority rate {rates.mean():.3f} on average")
redrawn = [rng.choice(right, size=n).mean() for _ in range(1000)]
plot.spreads({"other test images": redrawn, "another seed": by_seed,
              "another split": by_split})

# %% [markdown]
# **The interval answers the first doubt only.** It knows nothing of seeds, and it promises too much about splits: the spread over splits is wider than images alone can explain. Why?
#
# One reason: the formula tosses an independent coin for each cell, and cells of one module are not independent: same roof, same hail, same camera. What we have is not hundreds of coins but eleven modules or so. Then whole
# modules must be counted, not cells. Leave out one module at a time and see how far the accuracy moves: that is the **jackknife**. Between 0 and 1 a bell curve fits better on the scale
# of log(p / (1 − p)), and with so few modules Student's *t* stands in for the 1.96.

# %%
from scipy.stats import t as student

from sftlab.data.load import module_blocks

kind = sft.load("solar", target="type").train.targets.numpy()  # mono, poly: all rows
block = module_blocks(kind)                    # the module of each row, about 60 cells
of_test = block[data.test.index]
modules = np.unique(of_test)
many = len(modules)
without = np.array([right[of_test != m].mean() for m in modules])
spread = np.sqrt((many - 1) * np.log(without / (1 - without)).var())
middle = np.log(right.mean() / (1 - right.mean()))
low, high = 1 / (1 + np.exp(-middle - student.ppf([0.025, 0.975], many - 1) * spread))
print(f"a coin a cell       {sft.wilson(right.sum(), n):.3f}")
print(f"one module less     {right.mean():.3f} ({low:.3f}–{high:.3f})")
print(f"the library's       {result.accuracy:.3f}")
assert np.allclose((low, high), (result.accuracy.low, result.accuracy.high))

# %% [markdown]
# The second interval is the honest one for the question *how will it do on other modules?* Whenever images come in groups (patients, cameras, days), count groups, not images. Where it knows them, the lab does so by itself, and
# says over how many. (Redrawing whole modules is the better-known way; with eleven of them its intervals hold the truth in about nine cases of ten, not 95 of 100. Under five groups no formula helps, and the lab gives no interval.)
#
# ## Random or grouped: does it matter which images sit on the other side?
#
# The published protocol for these cells splits at random: cells of one module fall on both sides. Is that a problem? It is if a cell betrays its module. So ask a probe a question nobody ever asks:
# *which of the 44 modules is this cell from?*
#
# > **Predict.** In percent: how often is the answer right? Guessing gives 2 or 3.

# %%
named = widgets.predict("cells whose module is named, in percent", 0, 100, 10)

# %%
mixed = sft.load("solar-random", size=SIZE, seed=SEED)
names = [f"module {m}" for m in range(block.max() + 1)]
whose = sft.data.with_targets(mixed, torch.from_numpy(block), names)
spy = sft.replace_head(original, names, seed=SEED)
history = sft.fit(spy, whose, sft.linear_probe(spy, lr=1e-3), verbose=False)
found = history.epochs[-1].valid_accuracy
betrayed = sft.wilson(round(found * len(whose.valid)), len(whose.valid))
print(f"module named right: {betrayed:.3f}, majority {history.runs[0]['majority']:.3f}")
plot.guess_vs_result(100 * found, named)

# %% [markdown]
# Neighbouring files betray the module, to a network that was trained for something else. And what is the name of a module worth? Modules are cracked or whole together:

# %%
everything = sft.load("solar", size=SIZE, seed=SEED)  # the same test cells, more labels
rows = np.r_[everything.train.index, everything.valid.index]
cells = everything.train.of_rows(rows)
target, module = cells.y.numpy(), block[rows]
rate = {m: target[module == m].mean() for m in np.unique(module)}
named_right = target == np.array([rate[m] > 0.5 for m in module])
usual = max(target.mean(), 1 - target.mean())
print(f"share of defect cells: {min(rate.values()):.2f} to {max(rate.values()):.2f}")
print(f"always the usual answer of the module: {sft.proportion(named_right, module):.3f}")
print(f"majority {usual:.3f}; {len(rows)} cells, those of the test left out")

# %% [markdown]
# Recognise the module, give its usual answer, never look for a crack: that trick alone scores about what our probe scores. Under a random split it is open to every network. Does ours use it? Same recipe, random splits:

# %%
by_random, there = over_splits("solar-random")
ratio = 0.25 / 0.6  # of all cells a quarter is tested on, six tenths may be learned from
for name, values, rate_ in (("grouped", by_split, rates), ("random", by_random, there)):
    mean = statistics.t_interval(values, test_to_train=ratio)
    print(f"{name:7s} {mean:.3f}   majority {rate_.mean():.3f}")
plot.spreads({"grouped splits": by_split, "random splits": by_random})

# %% [markdown]
# Read both lines with their intervals of the mean over the splits. Ten splits of *one* set are not ten sets: they share cells, to learn from and to ask about, so their mean varies by more than s²/10. How much more nobody knows
# exactly; Nadeau and Bengio put 1/10 + (cells tested on) / (cells trained on) in place of 1/10. The two means can hardly be told apart; but the random splits agree with each other far too well. They promise a certainty that no roof will keep.
#
# The means are hard to compare because they are on *different test cells*. A fair experiment changes one thing only. We take validation and unused training cells (never the test), fix the cells that are asked, and
# exchange a part of the training cells: strangers, or **siblings** from the same modules as the asked cells. One draw: eight modules are asked about, one half of their cells; the other half are the siblings. Either
# way 600 cells to learn from; twelve draws.

# %%
from dataclasses import replace


def our_probe(learn, ask):
    """Return the accuracy of a probe trained on some cells and asked about others."""
    part = replace(everything, train=cells.subset(learn), valid=cells.subset(ask))
    run = sft.lr_sweep(model, part, [1e-3], epochs=10, seeds=[SEED])
    return run.valid_accuracy[0][0][-1]

# %%
def draw(seed):
    """Return whom to ask, 600 strangers, and 600 with siblings among them."""
    rng = np.random.default_rng(seed)
    chosen = np.isin(module, rng.choice(list(rate), 8, replace=False))
    ask, siblings = np.array_split(rng.permutation(np.flatnonzero(chosen)), 2)
    others = rng.permutation(np.flatnonzero(~chosen))
    return ask, others[:600], np.r_[siblings, others][:600]


draws = [draw(seed) for seed in range(12)]
pairs = [[our_probe(part, ask) for part in parts] for ask, *parts in draws]
gains = [100 * (siblings - strangers) for strangers, siblings in pairs]
means = np.mean(pairs, axis=0)
print(f"strangers {means[0]:.3f}, siblings {means[1]:.3f}, majority {usual:.3f}")
asked = np.mean([len(ask) / len(learn) for ask, learn, _ in draws])
plot.differences({"same cells asked": {"siblings": gains}}, to="strangers",
                 test_to_train=asked)

# %% [markdown]
# Same cells asked, same number of training cells; only the relation differs. Each dot is one draw, so its luck cancels: that is the power of a **paired** comparison. The probe gains from siblings in most draws, some points on average. But the draws share 33 modules, and with the interval
# as wide as that demands, zero is inside: twelve draws from this one set do not settle it. Settled or not, new roofs have no siblings in your training set, so a number should not owe anything to them.
#
# ## Doubt 4: chosen among many
#
# The last doubt is the most human. Take fifty networks that are all *equally good*, 80 %, and test each on 150 images of its own luck.
#
# > **Predict.** What accuracy does the best of the fifty report?

# %%
best_of = widgets.predict("the best of fifty, in percent", 70, 100, 80)

# %%
best = (rng.binomial(150, 0.8, size=(2000, 50)) / 150).max(axis=1).mean()
bound = 0.8 + np.sqrt(0.8 * 0.2 / 150) * np.sqrt(2 * np.log(50))
print(f"the best of fifty reports {best:.3f} on average; the truth is 0.800")
print(f"theory: at most about p + σ √(2 ln 50) = {bound:.3f}")
plot.guess_vs_result(100 * best, best_of, low=70)

# %% [markdown]
# Nobody cheated: fifty honest numbers, and the largest of them is too large, because *being lucky* is one way of being largest. σ = √(p(1 − p)/n) is the spread of one number; the maximum of *m* of them lies up to
# about σ √(2 ln m) above the truth, ln being the natural logarithm.
#
# ## The real thing
#
# Now with real recipes on real cells. We deal the pool by module into cells to *learn* from, a *play test*, and *new* modules that stand for the world. (The true test split stays out of this.) A second deal mixes learn and play at random.

# %%
from sftlab.data.splits import grouped_split

learn, play, new = grouped_split(target, module, [str(r) for r in rows],
                                 valid=0.25, test=0.3, seed=SEED)
shuffled = rng.permutation(np.r_[learn, play])
deals = {"grouped": (learn, play),
         "random": (shuffled[len(play):], shuffled[:len(play)])}
always = max(target[new].mean(), 1 - target[new].mean())
print(f"learn {len(learn)}, play {len(play)}, new {len(new)}; majority {always:.3f}")

# %% [markdown]
# A *recipe* is whatever one tries on a long afternoon. Here: 300 of the training cells and 128 of the features, at random, and a linear head by least squares (with a brake of 300 on large weights). Two hundred recipes, each judged on every play cell and every new cell:

# %%
x = sft.features(model[:-1], cells).take(np.arange(len(rows)))[0].numpy()
x = ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)).clip(-2, 2)


def recipes(learn, play, count=200):
    """Return who is right on play and new cells: two arrays, recipes × cells."""
    ask, out = np.r_[play, new], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        some = rng.choice(x.shape[1], 128, replace=False)
        few = rng.choice(learn, 300, replace=False)
        a, t = x[np.ix_(few, some)], 2.0 * target[few] - 1
        w = np.linalg.solve(a.T @ a + 300 * np.eye(128), a.T @ (t - t.mean()))
        out.append((x[np.ix_(ask, some)] @ w + t.mean() > 0) == target[ask])
    return np.array(out)[:, :len(play)], np.array(out)[:, len(play):]

# %%
judged = {name: recipes(*deal) for name, deal in deals.items()}
for name, (on_play, on_new) in judged.items():
    print(f"{name:8s} mean recipe: play {on_play.mean():.3f}, new {on_new.mean():.3f}")
at_play, at_new = judged["grouped"]
seen = at_play[:50, rng.permutation(len(play))[:150]].mean(axis=1)
climb(seen, at_new[:50].mean(axis=1), n=150, majority=always)

# %% [markdown]
# Fifty of them, one after the other, looked at on 150 cells of the grouped play test: the triangles climb, because the best *so far* can only climb. The circles show the same kept recipe on new modules: it wanders. This is one afternoon; on average over many afternoons:

# %%
def afternoons(name, n, tries=50, repeats=400):
    """Return (best seen, the same on new modules, average recipe there), on average."""
    at_play, at_new = (a.astype(float) for a in judged[name])
    out = []
    for _ in range(repeats):
        some = rng.choice(len(at_play), tries, replace=False)
        looked = at_play[some][:, rng.permutation(at_play.shape[1])[:n]].mean(axis=1)
        there = at_new[some].mean(axis=1)
        out.append((looked.max(), there[looked.argmax()], there.mean()))
    return np.mean(out, axis=0)

# %%
for name in judged:
    for n in (26, 150):
        a, b, c = afternoons(name, n)
        print(f"{name:8s} {n:3d} images: best of 50 shows {a:.3f}, "
              f"new modules {b:.3f}, average recipe {c:.3f}")

# %% [markdown]
# Read a row: the kept best promises the first number and gives the second, which is about that of a recipe chosen blindly (the third). The fewer images you look at, the higher the promise.
#
# This is what **choosing on the test set** does. Choosing on *valid* does the same to the validation number, and that is fine, as long as nobody reports it: that is what the test split is for.
#
# ## Your turn: peek
#
# Ten recipes are tried already. Press the button, again and again: each press tries one more, looks at the play test, and keeps the best.

# %%
def peek(presses, n, split):
    """Draw the first tries: what was seen on n play cells, and the truth."""
    at_play, at_new = judged[split]
    tries = np.random.default_rng(SEED + 1).permutation(len(at_play))[:10 + presses]
    cells = np.random.default_rng(SEED).permutation(at_play.shape[1])[:n]
    looked = at_play[np.ix_(tries, cells)].mean(axis=1)
    return climb(looked, at_new[tries].mean(axis=1), n=n, majority=always)

# %%
widgets.explore(
    peek, presses=widgets.button("peek at test"),
    n=widgets.slider("images of the play test", [26, 50, 100, 150, 300], value=50),
    split=widgets.choice("split", ["grouped", "random"]), name="peek")

# %% [markdown]
# Try 26 images and thirty presses; then 300 images. Then switch to *random*: siblings of the play cells are now among the training cells. For such small recipes (300 cells) that adds little, as the two deals above show; the peeking adds most.
#
# ## What to write in the report
#
# Everything above fits into four lines that cost nothing:

# %%
print(f"accuracy {result.accuracy:.3f}, {result.n} cells of new modules")
print(f"majority {result.majority:.3f}; seeds ± {200 * by_seed.std(ddof=1):.1f} points")
print(f"splits   {SPLITS} grouped ones: mean {by_split.mean():.3f}, "
      f"from {by_split.min():.3f} to {by_split.max():.3f}")
print(f"looks    {result.evaluations} at this test set")

# %% [markdown]
# ## What you have seen
#
# - An interval says how far *other test images* could move the number. Seed and split move it too, and related images make every formula too confident: count groups.
# - Accuracy is correct / n. Averages of batch averages are another number.
# - A number that was chosen is too good: by up to σ√(2 ln m) for the best of m. A random split may add the siblings' share on top, and promises a certainty that new modules do not keep.
#
# **How sure is this number? As sure as the test set is large, unrelated to the training images, and untouched by choosing.**
#
# *Where this lives in the library:* `sft.wilson`, `sft.evaluate` (it counts how often a test set was seen), `sft.lr_sweep(…, seeds=…)`, `sft.load("solar")` and
# `sft.load("solar-random")`, `groups=` of `sft.load("folder:…")` and `sft.from_arrays`, `sft.proportion`, `sftlab.core.statistics.t_interval`, `plot.spreads`, `plot.differences`.
#
# ## The same in plain PyTorch
#
# Correct / n, and Wilson's two lines. Keep them; they fit into any project.

# %%
correct = total = 0
with torch.no_grad():
    for images, labels in data.valid.batches(64):
        correct += (model(images).argmax(dim=1) == labels).sum().item()
        total += len(labels)
z = 1.96
middle = (correct + z**2 / 2) / (total + z**2)
half = z * (correct * (total - correct) / total + z**2 / 4) ** 0.5 / (total + z**2)
print(f"valid {correct / total:.3f} ({middle - half:.3f}–{middle + half:.3f})")
assert np.isclose(middle - half, sft.wilson(correct, total).low, atol=1e-4)

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 50. Which of the three spreads grows most?
# - **Build.** How many test images do you need so that 90 % correct is told from a majority rate of 85 %? Write the function that answers it, with `sft.wilson`.
# - **Build.** The purest memory there is: give each asked cell the label of the training cell whose features point most nearly the same way. Put it in the place of `our_probe`. Does it gain more from siblings?
# - **Break.** In `peek`, let the learner keep the *worst* instead of the best. What does the picture of an unlucky afternoon look like, and who would ever publish it?

# %% [markdown]
# ## Sources
#
# - Wilson, 1927, *Probable Inference, the Law of Succession, and Statistical Inference*. The interval.
# - Brown, Cai and DasGupta, 2001, *Interval Estimation for a Binomial Proportion*. How badly the naive one does.
# - Efron, 1979, *Bootstrap Methods: Another Look at the Jackknife*. Redrawing, and leaving out.
# - Nadeau and Bengio, 2003, *Inference for the Generalization Error*. Splits of one set are not independent.
# - Cawley and Talbot, 2010, *On Over-fitting in Model Selection and Subsequent Selection Bias in Performance Evaluation*. Choosing.
# - Dwork et al., 2015, *The reusable holdout: Preserving validity in adaptive data analysis*. What peeking costs, and a remedy.
# - Kapoor and Narayanan, 2023, *Leakage and the reproducibility crisis in machine-learning-based science*. Siblings on both sides, in seventeen fields.
# - Bouthillier et al., 2021, *Accounting for Variance in Machine Learning Benchmarks*. Seeds and splits, kept apart.
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
#
# Previous: [07 Overfit](07_overfit.ipynb). Next: [09 Decide](09_decide.ipynb).
