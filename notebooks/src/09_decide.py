# %% [markdown]
# # What should I decide with it?
#
# You will be able to
# - say which errors a network makes: precision and recall, per class;
# - read a ROC curve and a precision-recall curve, and say which of them to look at;
# - choose the threshold that costs least, and say how sure the saving is.
#
# 35 minutes. Comes after [08 Evaluate](08_evaluate.ipynb) and needs its intervals over modules; the network is the linear probe of lesson 00. Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats
from sklearn import metrics
from torch import nn

import sftlab as sft
from sftlab import plot, widgets
from sftlab.analysis import decisions
from sftlab.lessons.decide import piles
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 2000                    # training images per class, all by default
SEED: int = 0                         # split, order of batches, start of the head
MISSED: float = 100.0                 # what an overlooked defect costs, in €
ALARM: float = 20.0                   # what a false alarm costs, in €
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# ## Which errors?
#
# An accuracy adds up all errors as if they were of one kind. We begin with ten classes where every error can be judged at a glance: handwritten digits, and a small network in plain PyTorch that learns them from thirty images a class.

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300), SEED=(int, 0),
                     LABELS=(int, 10), MISSED=(float, 0.1), ALARM=(float, 0.1), OUT=str)
digits = sft.load("digits", valid=0.4, per_class=30, seed=SEED)
(x, y), (x_new, y_new) = (next(iter(split.batches(len(split))))
                          for split in (digits.train, digits.valid))
torch.manual_seed(SEED)
reader = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(reader.parameters(), lr=1e-2)
for _ in range(100):
    loss = nn.functional.cross_entropy(reader(x / 255), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()

# %%
def wilson(k, n):
    """Return the ends of Wilson's interval, as in lesson 08."""
    return stats.binomtest(int(k), int(n)).proportion_ci(method="wilson")


truth, called = y_new.numpy(), reader(x_new / 255).argmax(dim=1).numpy()
low, high = wilson((called == truth).sum(), len(truth))
print(f"accuracy {(called == truth).mean():.3f} ({low:.3f}–{high:.3f}), "
      f"{len(truth)} digits; majority {digits.valid.majority:.3f}")

# %% [markdown]
# > **Predict.** This accuracy is an average over ten digits. Take the digit that is found least often: how many percent of its images are found?

# %%
guess = widgets.predict("of the digit found least often, in percent", 0, 100, 90)

# %%
table = metrics.confusion_matrix(truth, called)
figure, ax = plt.subplots(figsize=(5.4, 4.6))
metrics.ConfusionMatrixDisplay(table).plot(ax=ax, cmap="Blues", colorbar=False)
wrong = table - np.diag(np.diag(table))
i, j = np.unravel_index(wrong.argmax(), wrong.shape)
ax.set(title=f"{wrong[i, j]} of {table[i].sum()} ‘{i}’ were called ‘{j}’",
       xlabel="called", ylabel="true")
ax

# %% [markdown]
# This is the **confusion matrix**: rows are the truth, columns the answer, the diagonal is right. Two questions can be asked of each class *c*. Of all that **are** c, how many were found? That is **recall**, along the row. Of all that were
# **called** c, how many are? That is **precision**, down the column.

# %%
recall, precision = (np.diag(table) / table.sum(axis=axis) for axis in (1, 0))

# %%
worst = recall.argmin()
low, high = wilson(table[worst, worst], table[worst].sum())
print(f"‘{worst}’: recall {recall[worst]:.2f} ({low:.2f}–{high:.2f}), "
      f"precision {precision[worst]:.2f}; {table[worst].sum()} images")
plot.guess_vs_result(100 * recall[worst], guess)

# %% [markdown]
# Mind the interval: a class has only about seventy images here, and the worst of ten was *chosen* as the worst, so it looks a little worse than it is (lesson 08).
#
# ## Two classes: every answer is a threshold
#
# Now to a question where an error has a price: is this solar cell broken? *Defect* is called the positive class, because it must not be missed. A defect that is found is a **true positive**, one that is missed a **false negative**; an
# intact cell that is called defect is a **false positive**, or false alarm.
#
# The network is the linear probe, trained on all labels of its modules. We hold back more modules for validation than before, 30 % of the cells, because a threshold has to be chosen on them. The modules are dealt anew, so the test set is another one than in lesson 08, with another majority rate.

# %%
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED, valid=0.3)
model = sft.replace_head(sft.backbone(BACKBONE), data.classes, seed=SEED)
history = sft.fit(model, data, sft.linear_probe(model, lr=1e-3), epochs=20, seed=SEED)

# %%
valid = sft.evaluate(model, data.valid)
y, modules = np.array(valid.targets), np.array(valid.groups)
p = np.array(valid.probabilities)[:, 1]  # of ‘defect’
print(f"accuracy {valid.accuracy:.3f}, majority {valid.majority:.3f}, {valid.n} cells")
print(f"{y.mean():.0%} of these cells are defect")

# %% [markdown]
# The network gives each cell a probability *p* of *defect*. So far the answer was *defect* from p = 0.5 on. A lower threshold finds more defects and raises more false alarms. To see whether the network *knows* anything, look at the order of the cells
# first, before any threshold is chosen.
#
# > **Predict.** Draw one defect cell and one intact cell, at random. In how many percent of such pairs does the defect cell get the higher probability? A coin gives 50.

# %%
pairs_guess = widgets.predict("pairs in the right order, in percent", 50, 100, 70)

# %%
pairs = (p[y == 1][:, None] > p[y == 0]).mean()
assert np.isclose(pairs, metrics.roc_auc_score(y, p), atol=1e-3)
area = valid.metrics["roc_auc"]
print(f"pairs in the right order {pairs:.3f}; over modules {area:.3f}")
plot.guess_vs_result(100 * pairs, pairs_guess, low=50)

# %% [markdown]
# This share has a second name: the **area under the ROC curve**, AUC. The curve itself takes each threshold in turn, from high to low, and marks two rates: how many of the defects are found (recall, or true positive rate), and how many of the intact cells are called defect
# (false positive rate). The **precision-recall curve** takes the same thresholds and puts precision against recall.
#
# What if defects were ten times rarer? We let each intact cell count ten times and draw both curves again.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.7))
for times, look in ((1, "-"), (10, ":")):
    w, name = np.where(y == 1, 1, times), "as here" if times == 1 else "10 × rarer"
    fpr, tpr, at = metrics.roc_curve(y, p, sample_weight=w)
    assert np.allclose(tpr, [(p[y == 1] >= t).mean() for t in at])  # by hand
    precisions, recalls, _ = metrics.precision_recall_curve(y, p, sample_weight=w)
    left.plot(fpr, tpr, look, label=f"defects {name}", linewidth=1 + times / 3)
    line, = right.plot(recalls, precisions, look, label=f"defects {name}")
    right.axhline(np.average(y, weights=w), color=line.get_color(), lw=0.8, ls="--")
left.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
left.set(title="ROC: the same curve", xlabel="false positive rate", ylabel="recall")
right.set(title="Precision falls", xlabel="recall", ylabel="precision",
          ylim=(0, 1.02))
right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %% [markdown]
# Dashed is a network that knows nothing: the diagonal on the left; on the right, the share of defects. The ROC curve looks at each class by itself, so it does not change when one class becomes rare. Precision does: the same rate of false alarms, among ten times as many intact cells, is ten
# times as many false alarms. **Use the ROC curve to ask whether the network can tell the classes apart; use precision and recall to ask what its alarms are worth where you will use it.** Neither says where to put the threshold. Costs do.
#
# ## What does an error cost?
#
# A missed defect costs yield for years: say 100 €. A false alarm costs a second look by a person: 20 €.
#
# > **Predict.** From how many percent on should a cell be called *defect*, so that the errors cost least?

# %%
at_guess = widgets.predict("call it a defect from, in percent", 0, 100, 50)

# %% [markdown]
# Take a cell that is defect with probability p. Calling it *intact* costs p · c_FN on average, where c_FN is the cost of a false negative. Calling it *defect* costs (1 − p) · c_FP, where c_FP is the cost of a false positive. The second is cheaper as soon as
#
# p > c_FP / (c_FP + c_FN).

# %%
at = ALARM / (ALARM + MISSED)
assert np.isclose(at, decisions.threshold(MISSED, ALARM))
plot.guess_vs_result(100 * at, at_guess)

# %% [markdown]
# In euros, for each cell:

# %%
def bill(p, y, at):
    """Return what each cell costs, in €, when it is called defect from `at` on."""
    return np.where(y == 1, MISSED * (p < at), ALARM * (p >= at))


library = decisions.costs(p, y, at, missed=MISSED, false_alarm=ALARM)
assert np.allclose(bill(p, y, at), library)

# %% [markdown]
# The formula is arithmetic, *if* the probabilities are right: of all cells with p = 0.2, one in five is a defect. Whether they are is a question to the validation cells. We try every threshold and look where the mean cost is lowest.

# %%
grid = np.union1d(np.linspace(0.01, 0.99, 99), at)
cost = np.array([bill(p, y, t).mean() for t in grid])
figure, ax = plt.subplots(figsize=(7.5, 3.3))
ax.plot(grid, cost)
ax.plot(at, cost[grid == at], "o", color="black", label=f"formula: {at:.2f}")
ax.plot(grid[cost.argmin()], cost.min(), "o", mfc="white", color="black",
        label=f"lowest here: {grid[cost.argmin()]:.2f}")
ax.axhline(bill(p, y, 0).mean(), color="black", ls="--", label="call every cell defect")
ax.axhline(bill(p, y, 2).mean(), color="grey", ls=":", label="call none defect")
ax.set(xlabel="called defect from this probability on", ylabel="€ a cell",
       ylim=(0, None), title=f"{bill(p, y, at).mean():.1f} € a cell by the formula, "
             f"{bill(p, y, 0.5).mean():.1f} € at 0.5")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax

# %% [markdown]
# The hollow point was chosen by looking at these very cells, so its cost is a little too low; the formula looked at none of them. And mind the dashed line: *call every cell defect* needs no network at all. A network has to beat that line, not zero.
#
# ## How sure is the saving?
#
# The rules answer about the same cells, so we compare them cell by cell, as lesson 01 compared two networks: the difference of the two costs, averaged over each module, and Student's *t* over the modules. (A small module counts as much as a large one here, so the mean is not quite the difference of the two costs above, which count cells.)

# %%
def saving(p, y, modules, other):
    """Return what the formula saves against another threshold, € a cell, in words."""
    each = bill(p, y, other) - bill(p, y, at)
    test = stats.ttest_1samp([each[modules == m].mean() for m in np.unique(modules)], 0)
    low, high = test.confidence_interval()
    verdict = "clear of zero" if low > 0 or high < 0 else "zero is inside"
    return f"{(low + high) / 2:+.1f} ({low:+.1f} to {high:+.1f}) € a cell, {verdict}"


print("formula against 0.5:          ", saving(p, y, modules, 0.5))
print("formula against every cell:   ", saving(p, y, modules, 0))

# %% [markdown]
# ## Hold the threshold in your hand
#
# Four piles: found, missed, false alarms, rightly left alone.

# %%
shown = np.random.default_rng(SEED).permutation(len(y))[:150]
small = nn.functional.interpolate(data.valid.pixels(shown).float(), (32, 32),
                                  mode="bilinear", antialias=True)
thumbs = small[:, 0].round().byte().numpy()


def sort(threshold, missed):
    """Draw the four piles at one threshold and one cost of a miss."""
    return piles(p, y, thumbs, shown, threshold / 100, missed=missed,
                 false_alarm=ALARM, classes=data.classes)


prices = [20, 40, 60, 100, 200, 500, 1000]
widgets.explore(
    sort, threshold=widgets.slider("defect from", range(0, 101, 2), value=50, unit="%"),
    missed=widgets.slider("cost of a miss", prices, value=100, unit="€"), name="piles")

# %% [markdown]
# Solar cells: CC BY-NC-SA 4.0. 150 of the validation cells are shown, the money is computed over all of them. Look for the cheapest threshold by hand, first for 20 €, then for 1,000 €, and compare with the formula, which says 50 % and 2 %.
#
# ## Choose on valid, then look at the test. Once.
#
# Everything is decided: the network, the costs, the rule. Now the modules that nothing here has seen.

# %%
test = sft.evaluate(model, data.test, out=OUT)
y_test, p_test = np.array(test.targets), np.array(test.probabilities)[:, 1]
of_test = np.array(test.groups)

# %%
print(f"accuracy at 0.5 {test.accuracy:.3f}, majority {test.majority:.3f}")
for name, t in (("formula", at), ("0.5", 0.5), ("every cell defect", 0)):
    print(f"{name:18s} {bill(p_test, y_test, t).mean():5.1f} € a cell")
print("formula against 0.5:          ", saving(p_test, y_test, of_test, 0.5))
print("formula against every cell:   ", saving(p_test, y_test, of_test, 0))

# %% [markdown]
# Where the last line ends in *zero is inside*, this test has not shown that the network is cheaper than *call every cell defect*: at 100 € a miss the answer without a network is hard to beat.
#
# ## What you have seen
#
# - Errors have kinds. Recall is read along the row of the confusion matrix, precision down the column, and each has an interval of its own.
# - The ROC curve asks whether the order of the cells is right; its area is the share of pairs in the right order. Precision depends on how common the class is where you use the network.
# - Errors have costs. The threshold that costs least is c_FP / (c_FP + c_FN), if the probabilities are right, and it is compared with the answer that needs no network.
#
# **What should I decide with it? Whatever costs least on average: put the costs into the threshold, check it on validation images, and look at the test once.**
#
# *Where this lives in the library:* `sftlab.analysis.decisions` (`threshold`, `costs`), `result.per_class` and `result.metrics` of `sft.evaluate`, `plot.confusion`; the piles in `sftlab.lessons.decide`.
#
# ## The same in plain PyTorch
#
# One line of the evaluation loop of lesson 00 changes: `argmax` becomes a threshold.

# %%
found = missed = alarms = 0
model.eval()
with torch.no_grad():
    for images, labels in data.valid.batches(64):
        defect = model(images).softmax(dim=1)[:, 1] >= ALARM / (ALARM + MISSED)
        found += int((defect & (labels == 1)).sum())
        missed += int((~defect & (labels == 1)).sum())
        alarms += int((defect & (labels == 0)).sum())
print(f"found {found}, missed {missed}, false alarms {alarms}: "
      f"{(MISSED * missed + ALARM * alarms) / len(data.valid):.2f} € a cell")

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/decide.ipynb): when a network is worth nothing, a third answer, and costs that are paid twice.
#
# ## Sources
#
# - Fawcett, 2006, *An Introduction to ROC Analysis*.
# - Hanley and McNeil, 1982, *The Meaning and Use of the Area under a ROC Curve*. The pairs.
# - Saito and Rehmsmeier, 2015, *The Precision-Recall Plot Is More Informative than the ROC Plot When Evaluating Binary Classifiers on Imbalanced Datasets*.
# - Elkan, 2001, *The Foundations of Cost-Sensitive Learning*. The threshold, and what class weights do.
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
#
# Previous: [08 Evaluate](08_evaluate.ipynb). Next: [10 Your own images](10_your_own_images.ipynb).
