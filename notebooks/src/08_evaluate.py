# %% [markdown]
# # How sure is this number?
#
# You will be able to
# - put an interval around any accuracy, by hand, and say how many test images a claim needs;
# - keep three uncertainties apart: other test images, another seed, another split;
# - recognise three ways in which honest people fool themselves: bad averages, related images on both sides, and choosing.
#
# 50 minutes. Needs [00 Start here](00_start_here.ipynb) up to its last part, the loop in plain PyTorch. Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from scipy import stats
from sklearn import model_selection as splits

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.evaluate import climb
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 300                     # training images per class
SEED: int = 0                         # split, order of batches, start of the head
SPLITS: int = 10                      # how often the set is split anew
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# ## One number, four doubts
#
# A linear probe on solar cells, as in lesson 00, then one look at the test cells. (Cells come in **modules**, solar panels of about sixty; no module is in two parts of the split.)

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300),
                     LABELS=(int, 10, 800), SEED=(int, 0), SPLITS=(int, 3, 40),
                     OUT=str)
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
model = sft.replace_head(sft.backbone(BACKBONE), data.classes, seed=SEED)
history = sft.fit(model, data, sft.linear_probe(model, lr=1e-3), epochs=10, seed=SEED)

# %%
result = sft.evaluate(model, data.test, out=OUT)
right = np.array(result.predictions) == np.array(result.targets)
n = len(right)
print(f"accuracy {result.accuracy.value:.4f}, majority rate {result.majority:.4f}")

# %% [markdown]
# Four doubts: would other **test images** have given the same? Another **seed**? Another **split**, with other modules in the test?
# And did someone **choose** this number among many?
#
# ## Doubt 1: other test images
#
# Suppose a network is right on exactly 85 % of all cells in the world. You test it on 26 of them.
#
# > **Predict.** Of a thousand such tests, the middle 950 report accuracies within a range. How many points wide is it?
#
# Each test image is a toss of a coin that shows *right* with probability 0.85, so ten thousand test sets are one line.

# %%
guess = widgets.predict("width of the range with 26 images, in points", 1, 60, 10)

# %%
rng = np.random.default_rng(SEED)
tests = {size: rng.binomial(size, 0.85, size=10_000) / size for size in (26, 150, n)}
figure, axes = plt.subplots(3, 1, figsize=(7.5, 3.6), sharex=True)
for ax, (size, accuracies) in zip(axes, tests.items(), strict=True):
    low, high = np.percentile(accuracies, [2.5, 97.5])
    ax.hist(accuracies, bins=np.arange(0.5, 1.001, 1 / 26), color="#A9C7DE")
    ax.axvspan(low, high, alpha=0.15)
    ax.axvline(0.85, color="black")
    ax.set(ylabel=f"{size} images", yticks=[])
ax.set_xlabel("accuracy reported; line: the truth, 85 %; shaded: the middle 95 %")
axes[0].set_title("The fewer the test images, the wider the range")
display(figure)
low, high = np.percentile(tests[26], [2.5, 97.5])
plot.guess_vs_result(100 * (high - low), guess, high=60, unit="points")

# %% [markdown]
# With 26 images one and the same network is reported as anything from poor to excellent. What helps is not a better network but more test images.
#
# ## The interval, the wrong way and the right way
#
# Now the other way: you have *one* test set, with 22 of 26 images right, so p̂ = k/n = 0.846. Which truths *p* are compatible with it?
#
# The textbook: the share of right answers in *n* tosses strays from *p* by a standard deviation of σ = √(p(1 − p)/n). Put p̂ in place of *p*: σ = √(0.846 · 0.154 / 26) = 0.071. In a normal distribution 95 % lie within z = 1.96 such σ, so the interval is 0.846 ± 1.96 · 0.071: 0.707 to 0.985.
#
# Wilson asked of each candidate *p*: would 22 of 26 be a surprise, more than 1.96 of *its own* σ away? For p = 0.70, 0.846 is 1.6 of them away: 0.70 stays in. For p = 0.65 it is 2.1: out. The two borders, 0.665 and 0.938, solve a quadratic equation, as in `by_hand`.

# %%
def naive(k, n, z=1.96):
    """Return the ends of the textbook's interval."""
    half = z * np.sqrt(k / n * (1 - k / n) / n)
    return k / n - half, k / n + half


def by_hand(k, n, z=1.959964):
    """Return the ends of Wilson's interval: k of n right, z standard deviations."""
    middle = (k + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return middle - half, middle + half


for k in (22, 25, 26):
    low, high = by_hand(k, 26)
    scipy = stats.binomtest(k, 26).proportion_ci(method="wilson")
    assert np.allclose((low, high), (scipy.low, scipy.high))
    print(f"{k} of 26 right: naive {naive(k, 26)[0]:.3f} to {naive(k, 26)[1]:.3f}, "
          f"Wilson {low:.3f} to {high:.3f}")

# %% [markdown]
# With 26 of 26 right the naive interval claims certainty, and with 25 it reaches beyond 100 %. Wilson's stays within 0 and 1, and whatever the truth is, it holds it in about 95 % of the cases (Brown, Cai and DasGupta 2001). So accuracies in this lab come with it, as long as their images are independent of each other.
#
# ## How many test images does a claim need?
#
# > **Predict.** Always giving the most frequent answer scores 85 % in some task. Your network is right on 90 % of its test images. From how many test images on does Wilson's interval lie above 85 %?

# %%
needed = widgets.predict("test images that 90 % against 85 % needs", 20, 1000, 100)

# %%
def enough(accuracy, majority):
    """Return the smallest n at which Wilson's interval excludes the majority rate."""
    return next(n for n in range(10, 10**6) if by_hand(accuracy * n, n)[0] > majority)


print(*(f"{a:.0%} against {m:.0%}: {enough(a, m)} images" for a, m in
        ((0.95, 0.85), (0.90, 0.85), (0.87, 0.85), (0.86, 0.85))), sep="\n")
plot.guess_vs_result(enough(0.90, 0.85), needed, low=20, high=1000, unit="images")

# %% [markdown]
# Half the distance needs about four times the images, because the half width, ± 1.96 √(p(1 − p)/n), falls with the square root of *n*.
#
# ## Doubt 2: another seed
#
# The head starts at random and sees the batches in random order. The backbone is frozen, so its features are computed once, for all cells, and a probe is a linear layer on them, in plain PyTorch:

# %%
every = sft.load("solar", size=SIZE, seed=SEED)  # the same split, all labels
parts = [every.train, every.valid, every.test]
x = torch.cat([sft.features(model[:-1], part).take(np.arange(len(part)))[0]
               for part in parts])
y = torch.cat([part.y for part in parts])
labels = y.numpy()
module = np.concatenate([part.groups for part in parts])  # a number for each cell
place = np.repeat(["train", "valid", "test"], [len(part) for part in parts])


def probe(rows, seed, target=y, classes=2, epochs=10):
    """Train a linear head on some rows of the features and return it."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(32):
            loss = torch.nn.functional.cross_entropy(head(x[batch]), target[batch])
            optimizer.zero_grad(); loss.backward(); optimizer.step()
    return head

# %%
def balanced(rows, seed):
    """Draw LABELS rows of each class."""
    rows = np.random.default_rng(seed).permutation(rows)
    classes = [rows[labels[rows] == c][:LABELS] for c in (0, 1)]
    return torch.from_numpy(np.concatenate(classes))


def accuracy(head, rows, target=y):
    """Return the share of rows on which a head is right."""
    with torch.no_grad():
        return (head(x[rows]).argmax(dim=1) == target[rows]).float().mean().item()


learn, ask = (np.flatnonzero(place == part) for part in ("train", "valid"))
rows = balanced(learn, SEED)
by_seed = np.array([accuracy(probe(rows, seed), ask) for seed in range(30)])
usual = every.valid.majority
assert abs(by_seed.mean() - sft.evaluate(model, data.valid).accuracy.value) < 0.15
print(f"30 seeds on valid: mean {by_seed.mean():.3f}, from {by_seed.min():.3f} to "
      f"{by_seed.max():.3f}; majority {usual:.3f}")

# %% [markdown]
# Same cells, same features, and seeds are points apart. Whoever compares two methods with one seed each compares, in part, two seeds. And the mean of the thirty is about the majority rate: no better than always "intact". (The lab's probe above was one seed and kept its best epoch.)
#
# ## Doubt 3: another split
#
# Which modules happened to be in the test? We deal all cells anew, module by module, and train and test a probe on each deal (seed and drawn labels change too). Beside it the other two doubts; other test images are drawn from our own, with replacement (the *bootstrap*).

# %%
def over_splits(splitter, groups=None):
    """Return the test accuracy of a probe on each split of all cells."""
    deals = splitter.split(x, groups=groups)
    return np.array([accuracy(probe(balanced(learn, seed), seed), test)
                     for seed, (learn, test) in enumerate(deals)])


how = {"n_splits": SPLITS, "test_size": 0.25, "random_state": SEED}
splitter = splits.ShuffleSplit(**how)  # at random, for later
by_split = over_splits(splits.GroupShuffleSplit(**how), module)
redrawn = np.array([rng.choice(right, size=n).mean() for _ in range(1000)])
spreads = {"other test images": redrawn, "another seed": by_seed,
           "another split": by_split}

# %%
figure, ax = plt.subplots(figsize=(7.5, 2.4))
for row, (name, values) in enumerate(spreads.items()):
    away = 100 * (values - values.mean())
    ax.plot(away, row + rng.uniform(-0.2, 0.2, len(away)), "o", alpha=0.4, ms=4)
    print(f"{name:18} mean {values.mean():.3f}, s = {away.std(ddof=1):.1f} points")
ax.set(yticks=range(3), yticklabels=spreads, ylim=(2.5, -0.5),
       xlabel="points away from the mean of the row",
       title="How far one number strays (s: standard deviation)")
ax

# %% [markdown]
# Compare widths, not means: the rows ask test cells, validation cells, and the cells of ten splits.
#
# **Wilson's interval answers the first doubt only.** It knows nothing of seeds, and it is too narrow for new modules: it tosses an independent coin for each cell, and cells of one module are not independent: same roof, same hail, same camera. We have not hundreds of coins but eleven modules or so. So draw whole modules instead of cells.
#
# > **Predict.** How many times as wide as the range over cells is the range over modules?

# %%
wider = widgets.predict("range over modules, as a multiple", 0.5, 6, 1)

# %%
of_test = np.array(data.test.groups)
cells_of = [np.flatnonzero(of_test == m) for m in np.unique(of_test)]
many = len(cells_of)
draws = rng.integers(many, size=(1000, many))
modules = [right[np.concatenate([cells_of[m] for m in one])].mean() for one in draws]
widths = [np.ptp(np.percentile(values, [2.5, 97.5])) for values in (redrawn, modules)]
print(f"middle 95 %: {100 * widths[0]:.1f} points wide over {n} cells, "
      f"{100 * widths[1]:.1f} over {many} modules")
low, high = by_hand(right.sum(), n)
print(f"cells {right.mean():.3f} ({low:.3f}–{high:.3f}), "
      f"modules {result.accuracy:.3f}, majority {result.majority:.3f}")
plot.guess_vs_result(widths[1] / widths[0], wider, low=0.5, high=6, unit="times")

# %% [markdown]
# The second range answers the question *how will it do on other modules?* Whenever images come in groups (patients, cameras, days), count groups, not images.
#
# With so few groups even this range is a little too narrow. The lab leaves out one module at a time instead and sees how far the accuracy moves (the **jackknife**), with a factor larger than 1.96, because eleven modules say little about their own spread. That is the interval behind "modules" in the last line; "(11 groups)" means this. Below five groups there is none.
#
# ## Related images on both sides
#
# The published protocol for these cells splits at random, so cells of one module fall on both sides. Is that a problem? It is if one can see which module a cell is from. So we ask a probe: *which of the 44 modules is this cell from?*
#
# > **Predict.** In percent: how often is the answer right? Guessing gives 2 or 3.

# %%
named = widgets.predict("cells whose module is named, in percent", 0, 100, 10)

# %%
known, new = next(splitter.split(x))
whose = torch.from_numpy(np.unique(module, return_inverse=True)[1])
found = accuracy(probe(torch.from_numpy(known), SEED, whose, 44), new, whose)
low, high = by_hand(found * len(new), len(new))
print(f"named right {found:.3f} ({low:.3f}–{high:.3f}), "
      f"majority {np.bincount(whose[new]).max() / len(new):.3f}, {len(new)} cells")
plot.guess_vs_result(100 * found, named)

# %% [markdown]
# Features made for photographs tell the module of most cells, and modules are cracked or whole together. Under a random split a network may recognise the module and never look for a crack. Does it change the number? The same recipe on random splits:

# %%
by_random = over_splits(splitter)
for name, values in (("grouped", by_split), ("random", by_random)):
    s = values.std(ddof=1)
    half = stats.t.ppf(0.975, SPLITS - 1) * s * np.sqrt(1 / SPLITS + 0.25 / 0.75)
    print(f"{name:8s} mean {values.mean():.3f} (± {half:.3f}), s = {s:.3f}; "
          f"majority {np.bincount(labels).max() / len(y):.3f}")

# %% [markdown]
# (±: half of a 95 % interval of the mean, widened because splits of *one* set share cells; Nadeau and Bengio 2003.) On average random splits come out higher, but the intervals overlap: ten splits do not show it. The last number, *s*, differs more: random splits agree with each other
# better than grouped ones. They promise a certainty that new modules will not keep.
#
# ## Doubt 4: chosen among many
#
# Take fifty networks that are all *equally good*, 80 %, and test each on 150 images of its own.
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
# Fifty honest numbers, and the largest is too large: it became the largest in part by luck. The largest of *m* lies up to about σ √(2 ln m) above the truth.
#
# ## Your turn: peek
#
# Now real recipes on real cells. The test split stays out; we deal the other modules into cells to *learn* from, a *play test*, and *new* modules that stand for the world. A recipe is 300 random training cells, 128 random features, and a linear head by least squares.

# %%
pool = np.flatnonzero(place != "test")
folds = splits.StratifiedGroupKFold(3, shuffle=True, random_state=SEED)
learn, play, new = (pool[fold] for _, fold in
                    folds.split(pool, labels[pool], groups=module[pool]))
X = ((x - x.mean(0)) / (x.std(0) + 1e-6)).clamp(-2, 2).numpy()


def recipe(seed):
    """Return on which play cells and on which new cells one recipe is right."""
    rng = np.random.default_rng(seed)
    few, some = rng.choice(learn, 300), rng.choice(X.shape[1], 128, replace=False)
    a, t = X[np.ix_(few, some)], 2.0 * labels[few] - 1
    w = np.linalg.solve(a.T @ a + 300 * np.eye(128), a.T @ (t - t.mean()))
    return [(X[np.ix_(ask, some)] @ w + t.mean() > 0) == labels[ask]
            for ask in (play, new)]


on_play, on_new = map(np.array, zip(*map(recipe, range(200)), strict=True))

# %% [markdown]
# Ten recipes are tried already. Each press of the button tries one more, looks at the play test, and keeps the best.

# %%
always = np.bincount(labels[new]).max() / len(new)


def peek(presses, n):
    """Draw the first tries: what was seen on n play cells, and the truth."""
    tries = np.random.default_rng(SEED + 1).permutation(len(on_play))[:10 + presses]
    cells = np.random.default_rng(SEED).permutation(len(play))[:n]
    return climb(on_play[np.ix_(tries, cells)].mean(axis=1), on_new[tries].mean(axis=1),
                 n=n, majority=always)


widgets.explore(peek, presses=widgets.button("peek at test"), name="peek",
                n=widgets.slider("images looked at", [26, 50, 100, 150, 300], value=50))

# %% [markdown]
# The triangles can only climb. The circles show the same kept recipe on new modules. An *average* try loses points from these images to new modules too (title); that part is not due to choosing. What the kept best loses beyond it comes from choosing; by the formula above it is the more, the fewer images you look at. Move the slider, and see.
#
# This is what **choosing on the test set** does. Choosing on *valid* does it to the validation number, and
# that is fine, as long as nobody reports it: that is what the test split is for.
#
# ## What to write in the report

# %%
print(f"accuracy {result.accuracy:.3f}, {result.n} cells of new modules")
print(f"majority {result.majority:.3f}; seeds ± {200 * by_seed.std(ddof=1):.1f} points")
print(f"splits   {SPLITS} grouped ones: mean {by_split.mean():.3f}, "
      f"from {by_split.min():.3f} to {by_split.max():.3f}; "
      f"{(by_split >= result.accuracy.value).sum()} reach this page's")
print(f"looks    {result.evaluations} at this test set")

# %% [markdown]
# The third line matters most: this page's test is at the upper end of what other splits give, or beyond it. (Their probes keep no best epoch; a part may be due to that.) *How good will such a probe be on modules that nobody has seen?* Report the mean over the splits, with lowest and highest. *How good is this trained network on these modules?* The first line.

# %% [markdown]
# ## What you have seen
#
# - An interval says how far *other test images* could move the number. Seed and split move it too, and related images make formulas too confident: count groups.
# - Accuracy is correct / n. The mean of batch means is another number.
# - A number that was chosen is too good, by up to σ√(2 ln m) for the best of m. So compare on valid, and look at the test once.
#
# **How sure is this number? As sure as the test set is large, unrelated to the training images, and untouched by choosing.**
#
# *Where this lives in the library:* `sft.wilson`, `sft.evaluate` (intervals over groups; it counts how often a test set was seen), `sft.proportion`, `groups=` of `sft.load("folder:…")`, `sftlab.core.statistics`.
#
# ## The same in plain PyTorch
#
# The last step of lesson 00's plain path, with its interval, and a bug of many loops: the mean of the batches' accuracies. The last batch is smaller, and in that mean it counts as much as a full one.
# %%
correct, total, by_batch = 0, 0, []
with torch.no_grad():
    for images, targets in data.valid.batches(100):
        hit = model(images).argmax(dim=1) == targets
        correct, total = correct + hit.sum().item(), total + len(targets)
        by_batch.append(hit.float().mean().item())

# %%
z = 1.96
middle = (correct + z**2 / 2) / (total + z**2)
half = z * (correct * (total - correct) / total + z**2 / 4) ** 0.5 / (total + z**2)
print(f"correct / n      {correct / total:.4f} "
      f"({middle - half:.3f}–{middle + half:.3f}), majority {data.valid.majority:.3f}")
print(f"mean of batches  {np.mean(by_batch):.4f}: the same answers, another number")

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/evaluate.ipynb): the best of fifty on more images, an interval over groups, and a probe that is good at noise.
#
# ## Sources
#
# - Wilson, 1927, *Probable Inference, the Law of Succession, and Statistical Inference*. The interval.
# - Brown, Cai and DasGupta, 2001, *Interval Estimation for a Binomial Proportion*. The naive one.
# - Efron, 1979, *Bootstrap Methods: Another Look at the Jackknife*.
# - Nadeau and Bengio, 2003, *Inference for the Generalization Error*. Splits of one set.
# - Cawley and Talbot, 2010, *On Over-fitting in Model Selection and Subsequent Selection Bias in Performance Evaluation*. Choosing.
# - Kapoor and Narayanan, 2023, *Leakage and the reproducibility crisis in machine-learning-based science*. Related images on both sides.
# - Bouthillier et al., 2021, *Accounting for Variance in Machine Learning Benchmarks*. Seeds and splits, kept apart.
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
#
# Previous: [07 Overfit](07_overfit.ipynb). Next: [09 Decide](09_decide.ipynb).
