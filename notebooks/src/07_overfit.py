# %% [markdown]
# # Does it learn, or remember?
#
# You will be able to
# - tell remembering from learning, although both end with 100 % on the training images;
# - say which augmentation keeps the label, and what too much of it does;
# - measure what each remedy against overfitting gains, and how a fine-tuned network does on images of another kind.
#
# 40 minutes to read, half a minute to run. Comes after [06 Finetune](06_finetune.ipynb).
# Images: handwritten digits, CC BY 4.0, Alpaydin and Kaynak 1998; characters drawn from matplotlib's fonts; solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018, behind stored numbers.

# %%
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from scipy import stats
from torch.nn import functional as F

import sftlab as sft
from sftlab import plot, widgets
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
LABELS: int = 5   # labelled images of each class, 2 to 50
EPOCHS: int = 20  # passes of at least 200 images, 5 to 60
SEED: int = 0     # split, draw of the labels, every start, order of batches
OUT: str = ""     # folder for the record; "" keeps nothing

# %% [markdown]
# Fine-tuning has critics. They say: *with little data it overfits*, and: *it makes the network narrow*. This lesson measures both.
#
# For the first we need many runs, so the network is small: `tiny` has 6,000 weights. It has learned to read printed characters, and now gets a few handwritten digits of each class, with many validation images to see with.

# %%
sft.check_parameters(globals(), LABELS=(int, 2, 50), EPOCHS=(int, 5, 60),
                     SEED=(int, 0), OUT=str)
data = sft.load("digits", valid=0.4, test=0.2, per_class=LABELS, seed=SEED)
few, majority = data.train, round(data.valid.majority, 3)
print(f"{len(few)} labelled images, {len(data.valid)} to measure, majority {majority}")


def cosine(t):
    """Return the factor on the rate at share t of the run (lesson 05)."""
    return (1 + np.cos(np.pi * t)) / 2


printed, tiny = sft.load("characters", size=8), sft.backbone("tiny", seed=SEED)
pretrained = sft.replace_head(tiny, printed.classes, seed=SEED)
sft.fit(pretrained, printed, sft.full(pretrained, 1e-2), epochs=2, batch_size=128,
        schedule=cosine, keep_best=False, seed=SEED)
blank = sft.backbone("tiny", weights=None, seed=1000 + SEED)

# %% [markdown]
# One function does all the fine-tuning. The few images are repeated until an epoch has 200, and no epoch is chosen. It returns the network and two accuracies: on the images it learned from, and on new ones. (`fit` looks at validation images after every epoch; eight will do, because nothing depends on them.)

# %%
record = sft.records.stored("small_data")
RATE = {kind: chosen["rate"] for kind, chosen in record["chosen"].items()}
print("rates, chosen beforehand on other splits:", RATE)


def half(values):
    """Return half of the 95 % interval of a mean over splits that share images."""
    n = np.shape(values)[-1]  # + 1: as many images are measured on as learned from
    return stats.t.ppf(0.975, n - 1) * np.std(values, -1, ddof=1) * np.sqrt(1 / n + 1)


# %%
def tune(start, rate, few=few, profile=sft.full, **how):
    """Fine-tune a copy; return it and its accuracy on old and on new images."""
    net = sft.replace_head(start, data.classes, seed=SEED)
    again = few.subset(np.resize(np.arange(len(few)), max(200, len(few))))
    watch = how.pop("watch", data.valid.subset(range(8)))
    parts = replace(data, train=again, valid=watch)
    how = dict(batch_size=16, keep_best=False, verbose=False, seed=SEED) | how
    sft.fit(net, parts, profile(net, rate), EPOCHS, schedule=cosine, **how)
    return net, *(sft.evaluate(net, part).accuracy for part in (few, data.valid))


# %% [markdown]
# > **Predict.** From a random start, five labels a class. It will know its fifty images. Of a hundred *new* digits, how many will it read?

# %%
guess = widgets.predict("new digits read right, in percent", 0, 100, 50)

# %%
scratch, known, new = tune(blank, RATE["from scratch"])
print(f"learned from {known}\nnew {new}, majority {majority:.3f}")
plot.guess_vs_result(100 * new.value, guess)

# %% [markdown]
# It reads more of the images that it learned from than of new ones: it has **overfitted**, and the difference is the **generalisation gap**. It has also learned: it reads far more of the new ones than the majority rate.
#
# ## What remembering looks like
#
# To see memory alone, take away what could be learned: shuffle the labels of the same images, and train in plain PyTorch.

# %%
torch.manual_seed(SEED)
images, labels = few.take(np.arange(len(few)))
shuffled = labels[torch.randperm(len(labels))]
plain = sft.replace_head(blank, data.classes, seed=SEED).train()
optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2)
for _ in range(400):
    loss = F.cross_entropy(plain(images), shuffled)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
known_by_heart = (plain.eval()(images).argmax(1) == shuffled).float().mean()
print(f"by heart {known_by_heart:.3f}, "
      f"new images {sft.evaluate(plain, data.valid).accuracy}")

# %% [markdown]
# That is remembering: the list is known, and of new images hardly more than a guess. The network that *had* something to learn looks no different on its training images. **A training accuracy of 100 % cannot tell learning from remembering**; Zhang et al. (2017) showed it with CIFAR-10, whose 50,000 images and random labels a network learned by heart. Only new images can tell.
#
# ## Where you start
#
# The same images, three ways to use them: from a random start, all stages from the pretrained one, and a linear probe, which trains nothing but the head.

# %%
full, *found_full = tune(pretrained, RATE["pretrained"])
_, *found_probe = tune(pretrained, RATE["probe"], profile=sft.linear_probe)
found = {"from scratch": (known, new), "pretrained": found_full, "probe": found_probe}
for name, (old, fresh) in found.items():
    print(f"{name:13} learned from {old.value:.3f}  new {fresh}")

# %% [markdown]
# And with other numbers of labels? 20 seeds of each method were run beforehand (`benchmarks/small_data.py`), each with another split, draw, pretraining (five epochs, here two) and start. All methods met the same splits and the same labels, so we may subtract, seed by seed. Hollow: means with 95 % intervals over seeds, widened for the images that the splits share (lesson 08); a bar across zero has not decided anything. Small dots: single seeds. Solid: the runs of a moment ago.

# %%
seeds, KINDS = list(record["digits"].values()), ("pretrained", "from scratch")
curves = {name: {int(n): [seed["curves"][name][n][1] for seed in seeds]
                 for n in seeds[0]["curves"][name]} for name in found}


def points(more, less):
    return [100 * (a - b) for a, b in zip(more, less, strict=True)]


def told(values):
    return f"{np.mean(values):.1f} ± {half(values):.1f} points"


by_count = {f"{n} label{'s' * (n > 1)} a class": {
    kind: points(curves[kind][n], values) for kind in ("pretrained", "probe")}
    for n, values in curves["from scratch"].items()}
safer = points(curves["probe"][1], curves["pretrained"][1])
page = f"{LABELS} labels a class"
by_count.setdefault(page, {"pretrained": [], "probe": []})
live = {kind: 100 * (found[kind][1].value - new.value) for kind in by_count[page]}
print("one label a class, probe minus pretrained:", told(safer))
plot.differences(by_count, to="from scratch", test_to_train=1, live={page: live})

# %% [markdown]
# With one, two or five labels a class both pretrained starts are clearly ahead; with fifty nothing is left of it. So overfitting is worst where the critics say, at few labels, and there a pretrained start helps most. Is the probe, which has less to fit with, safer there than training all stages? If so, by a point or two, and twenty seeds do not show it.
#
# ## Remedy 1: more images without more labels
#
# **Augmentation** shows each image slightly changed in each epoch. It tells the network what does *not* matter, and so it must be true.
#
# Below, four digits as they are, moved, turned by up to 15°, and turned by half a circle. Which of them would you still label 1, 4, 6, 9?

# %%
rows = [int((labels == digit).nonzero()[0]) for digit in (1, 4, 6, 9)]
kinds = {"as it is": lambda x, _: x, "moved": sft.data.shift(1),
         "up to 15°": sft.data.rotate(15), "by 180°": lambda x, _: x.flip(-1, -2)}
figure, axes = plt.subplots(4, 4, figsize=(5, 5.4), layout="constrained")
for row, (name, change) in zip(axes, kinds.items()):
    for ax, image in zip(row, change(images[rows], torch.Generator().manual_seed(1))):
        ax.imshow(image[0], cmap="gray"); ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
for ax, digit in zip(axes[0], (1, 4, 6, 9)):
    ax.set_title(f"a {digit}")
figure

# %% [markdown]
# A six turned by half a circle *is* a nine: whoever trains on it trains on a wrong label. No library can know which augmentation keeps the label: on a solar cell a quarter turn is harmless, on a digit it is not. How much is too much? Stored: in training, digits are turned at random by up to 0°, 15° and so on to 180°.
#
# > **Predict.** Turned by up to 180°, how many percent of new digits (not turned) are read from the pretrained start?

# %%
guess = widgets.predict("read right, trained on turns", 0, 100, 80, name="turn")

# %%
_, old_turned, new_turned = tune(pretrained, RATE["pretrained"],
                                 augment=sft.data.rotate(180))
display(plot.guess_vs_result(100 * new_turned.value, guess))
turns = [seed["turns"]["pretrained"] for seed in seeds]
angles = list(turns[0])
figure, ax = plt.subplots(figsize=(7.5, 3.2))
for k, part in enumerate(("images it learned from", "new images")):
    y = 100 * np.array([[run[angle][k] for run in turns] for angle in angles])
    ax.errorbar(np.array(angles, int), y.mean(1), half(y), marker="o", mfc="w",
                label=part)
    ax.plot(180, 100 * (old_turned, new_turned)[k].value, "o", color=f"C{k}")
ax.axhline(100 * majority, color="black", ls="--", label="majority rate")
ax.set(xlabel="turned by up to … degrees", ylabel="accuracy (%)",
       title="Too much augmentation costs accuracy, on old and on new images")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure

# %% [markdown]
# (All accuracies are of images that are not turned.) A few degrees change nothing that twenty seeds could show; half a circle costs a good part of all digits. At the right the network no longer knows even its own fifty images. What we want is a high line of new images, not a small gap between the lines.
#
# ## Remedy 2: decay, toward zero or toward the start
#
# **Weight decay** pulls every weight toward zero a little at each step, $w \leftarrow w - \eta\lambda w$, with the rate $\eta$ and a strength $\lambda$. At zero a pretrained network knows nothing. **L2-SP** (Li et al. 2018) pulls toward the starting point $w_0$ instead: $w \leftarrow w + \eta\lambda\,(w_0 - w)$. In the library it is an optimizer, `sft.l2_sp`; the last code cell of this lesson writes it by hand.
#
# ## Remedies 3 to 5
#
# **Label smoothing** asks for 90 % instead of 100 %. **Early stopping** keeps the best epoch; the images that it watches must come out of the fifty, so one of five of each class is held back. And **a bigger network**: four times as wide, sixteen times the weights. By the textbook it should overfit more.
#
# > **Predict.** How many points does the wider pretrained network gain or lose?

# %%
wider = widgets.predict("points gained by the width", -10, 10, -2, name="wider")

# %%
held = [int((labels == digit).nonzero()[0]) for digit in range(10)]
rest = few.subset([i for i in range(len(few)) if i not in held])
smooth = partial(F.cross_entropy, label_smoothing=0.1)
plans = {"shift by a pixel": dict(augment=sft.data.shift(1)),
         "decay to the start": dict(optimizer=sft.l2_sp(0.3)),
         "smoothing 0.1": dict(loss=smooth),
         "early stopping": dict(few=rest, watch=few.subset(held), keep_best=True)}
after = {name: tune(pretrained, RATE["pretrained"], **plan)[2].value
         for name, plan in plans.items()}
live = {name: {"pretrained": 100 * (accuracy - found_full[1].value)}
        for name, accuracy in after.items()}

# %% [markdown]
# ## The price list
#
# Each remedy against the same run without it, seed by seed: same split, same labels, same start. Solid marks are the runs of this page, small dots the stored seeds.

# %%
priced = {name: {kind: points([seed["remedies"][kind][name][1] for seed in seeds],
                              curves[kind][5]) for kind in KINDS}
          for name in seeds[0]["remedies"]["pretrained"]}
plot.differences(priced, to="the run without it", test_to_train=1,
                 live=live if LABELS == 5 else None)

# %%
for kind in KINDS:
    gain = points(curves[kind][10], curves[kind][5])
    print(f"{kind}: ten labels instead of five gain {told(gain)}")
plot.guess_vs_result(np.mean(priced["four times as wide"]["pretrained"]), wider,
                     low=-10, high=10, unit="points")

# %% [markdown]
# - **The bigger network** is not worse, against the textbook. From the pretrained start its bar is the only one clear of zero; of fourteen bars chance alone puts about 0.7 there, so it may be luck.
# - **Moving and turning** gain a random start some points on average, a pretrained one hardly any. (A guess: it has met moved and turned characters before.)
# - **Both decays and smoothing** change a point or less on average.
# - **Early stopping** loses on average: ten of the fifty labels only watch.
#
# And the remedy that is not in the list, more labels, gains on average about as much as the best of them, or more. These are answers for small images and a small network; for yours, measure in the same way.
#
# ## Does it make the network narrow?
#
# EfficientNet-Lite0 learned from 400 solar cells of one kind (*home*), and was measured on others of this kind and on cells of the other kind (*away*), 5 seeds and both directions (`benchmarks/shift.py`). Beside the accuracy stands the **area under the ROC curve**: how often a broken cell gets a higher score than an intact one. It judges the *ranking* and needs no threshold; 50 % is a guess. (Lesson 09 draws the curve.)

# %%
shift = sft.records.stored("shift")["runs"]
HOMES = {"mono": "learned from mono", "poly": "learned from poly"}


def measured(name, home, where, what):
    """Return a number of a strategy, a run each, in percent."""
    return [100 * shift[f"{name} {home} {seed}"][where][what] for seed in range(5)]


HOW = {"accuracy at home": ("home", "accuracy"), "away": ("away", "accuracy"),
       "majority away": ("majority", "away"), "area away": ("away", "auc")}
for home, text in HOMES.items():
    for name in ("linear probe", "full"):
        runs = {key: measured(name, home, *where) for key, where in HOW.items()}
        print(f"{text}, {name:12}", *(f"{key} {np.mean(of):.0f} ± {half(of):.0f} "
                                      for key, of in runs.items()))

# %%
narrower = {key: {text: np.subtract(measured("full", home, *where),
                                    measured("linear probe", home, *where))
                  for home, text in HOMES.items()}
            for key, where in HOW.items() if where[0] != "majority"}
plot.differences(narrower, to="the linear probe", test_to_train=1)

# %% [markdown]
# Away from home the accuracies lie below the majority rate. The probe's do too, although its backbone was not touched, and no bar shows fine-tuning to be worse. So nothing here says that fine-tuning made the network narrow. What failed?
#
# - *Learned from mono*, both score about 100 % minus the majority rate, which is what calling every cell the rarer class would score, as if the **threshold** of 0.5 gave nearly all the same answer, the wrong one. But the probe's *ranking* is lost too, its area is about a guess; that of full fine-tuning is better (the one clear bar; of six, chance alone would put 0.3 there).
# - *Learned from poly*, full fine-tuning ranks well away from home. There mostly the threshold fails.
#
# Twenty labelled cells from away choose another threshold, with no weight changed:

# %%
for home, text in HOMES.items():
    before, after, most = (np.array(measured("full", home, *where)) for where in (
        ("away", "accuracy"), ("away", "20 labels"), ("majority", "away")))
    print(f"{text}: threshold 0.5 {before.mean():.0f} %, by 20 labels "
          f"{after.mean():.0f} %, minus the majority rate {told(after - most)}")

# %% [markdown]
# From mono that is no more than always the same answer scores; from poly it is more on average, but five seeds do not show it. So before a network that fails away is given up: look at its ranking. Near 50 %, no threshold helps; if it is good, a new threshold may be all that is needed. `further/shift` goes on from here.
#
# The test images, once, for what was decided before this lesson: all stages, from the pretrained start. (On valid, the intervals of the probe and of this one overlap.)

# %%
result = sft.evaluate(full, data.test, out=OUT)
print(f"test {result.accuracy}, majority {result.majority:.3f}")

# %% [markdown]
# ## What you have seen
#
# - 100 % on the training images is what learning *and* remembering look like. Only new images tell them apart.
# - With few labels a pretrained start is the strongest remedy. An augmentation must keep the label; too much of it costs accuracy on old and new images.
# - On images of another kind, look at the ranking before you give up a network: where it is good, a new threshold may be enough.
#
# **Does it learn, or remember?** Both. Only images that it has not seen tell how much of each.
#
# *Where this lives in the library:* `sft.data.shift`, `sft.data.rotate`; `sft.l2_sp` in `sftlab/core/losses.py`; `sft.fit(…, weight_decay=, augment=, patience=, keep_best=)`.
#
# ## The same in plain PyTorch
#
# Of the plain path at the end of lesson 00 the loop changes in one line, after each `optimizer.step()`: L2-SP with an ordinary AdamW. (`start` is a copy of the backbone's weights.)

# %%
body = full[:-1]
start = [w.detach().clone() for w in body.parameters()]
with torch.no_grad():
    for w, w0 in zip(body.parameters(), start, strict=True):
        w.lerp_(w0, 1e-3 * 0.3)  # rate × decay

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/overfit.ipynb): a list that is half nonsense, mixup, and a validation set that moves.
#
# ## Sources
#
# - Zhang, Bengio, Hardt, Recht and Vinyals, 2017, *Understanding deep learning requires rethinking generalization*. Shuffled labels.
# - Li, Grandvalet and Davoine, 2018, *Explicit Inductive Bias for Transfer Learning with Convolutional Networks*. L2-SP.
# - Szegedy et al., 2016, *Rethinking the Inception Architecture for Computer Vision*. Label smoothing.
# - Prechelt, 1998, *Early Stopping, But When?*
# - Shorten and Khoshgoftaar, 2019, *A survey on Image Data Augmentation for Deep Learning*.
# - Belkin, Hsu, Ma and Mandal, 2019, *Reconciling modern machine-learning practice and the classical bias-variance trade-off*. Why larger need not be worse.
#
# Previous: [06 Finetune](06_finetune.ipynb). Next: [08 Evaluate](08_evaluate.ipynb).
