# %% [markdown]
# # Does it learn, or remember?
#
# You will be able to
# - tell remembering from learning, although both end with 100 % on the training images;
# - say which augmentation keeps the label, and what too much of it does;
# - measure what each remedy against overfitting buys, in pairs, before you recommend it.
#
# 25 minutes to read, under a minute to run. Comes after [06 Finetune](06_finetune.ipynb); needs lessons 03 and 06.
# Images: handwritten digits, CC BY 4.0, Alpaydin and Kaynak 1998; characters drawn from matplotlib's fonts; solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

import sftlab as sft
from sftlab import plot
from sftlab.core import statistics
from sftlab.core.loop import validate
from sftlab.plot import style
from sftlab.data import View, rotate, shift, zoom

style.use()

# %% tags=["parameters"]
LABELS: int = 5   # labelled images of each class, 2 to 50
EPOCHS: int = 20  # passes of at least 200 images, 5 to 60
SEED: int = 0     # split, draw of the labels, every start, order of batches

# %% [markdown]
# Fine-tuning has critics, and their first sentence is always the same: *with little data it overfits*. A network with thousands of weights, fifty images: surely it learns them by heart. Does it? And does that matter? And what
# helps of all that is said to help?
#
# The world of the last lesson: real handwritten digits, a few labels of each, and many validation images to see with.

# %%
sft.check_parameters(globals(), LABELS=(int, 2, 50), EPOCHS=(int, 5, 60), SEED=(int, 0))
data = sft.load("digits", valid=0.4, test=0.2, seed=SEED)
few = sft.labels.draw(data.train, LABELS, SEED)
majority = data.valid.majority
print(f"{len(few)} labelled images, {len(data.valid)} to measure, majority {majority:.3f}")

# %% [markdown]
# `tiny` is a network of 6,000 weights. The pretrained one has read printed characters in step 1 of the last lesson; that takes three seconds, so we do it here.

# %%
print_ = sft.load("characters", size=8)
pretrained = sft.backbone("tiny", seed=SEED)
pretrained = sft.replace_head(pretrained, print_.classes, seed=SEED)
history = sft.fit(pretrained, print_, sft.full(pretrained, 1e-2), epochs=5, batch_size=128,
                  schedule=sft.cosine(), keep_best=False, seed=SEED)

# %% [markdown]
# One function does all the fine-tuning. The few images are repeated until an epoch has 200, no epoch is chosen, and three numbers come back: accuracy on the images it learned from, accuracy on new ones, loss on new ones. (The loop looks at
# eight validation images after every epoch because it wants some; nothing depends on them.)

# %%
stored = sft.records.read("../benchmarks/small_data.json")
RATE = {kind: chosen["rate"] for kind, chosen in stored["chosen"].items()}
glance = data.valid.subset(range(8))


def tune(start, few, rate, profile=sft.full, watch=glance, **how):
    """Fine-tune a copy; return it with accuracy known, accuracy new, loss new."""
    net = sft.replace_head(start, data.classes, seed=SEED)
    again = few.subset(np.tile(np.arange(len(few)), -(-200 // len(few))))
    settings = dict(batch_size=16, schedule=sft.cosine(), keep_best=False,
                    verbose=False, seed=SEED) | how
    sft.fit(net, replace(data, train=again, valid=watch), profile(net, rate),
            EPOCHS, **settings)
    known, new = (validate(net, part.batches(512), sft.cross_entropy)
                  for part in (few, data.valid))
    return net, (known[1], new[1], new[0])


# %% [markdown]
# > **Predict.** From a random start, five labels a class. It will know its fifty images. Of a hundred *new* digits, how many will it read?

# %%
guess = sft.widgets.predict("new digits read right, in percent", 0, 100, 50)

# %%
blank = sft.backbone("tiny", weights=None, seed=1000 + SEED)
scratch, (known, new, _) = tune(blank, few, RATE["from scratch"])
print(f"images it learned from {known:.3f}, new images {new:.3f}, majority {majority:.3f}")
plot.guess_vs_result(100 * new, guess)

# %% [markdown]
# Every training image right, and most of the new ones as well. So it has overfitted, in the sense that the two numbers differ. It has also learned, in the only sense that counts. The difference has a name, the **generalisation gap**.
#
# ## What remembering looks like
#
# To see memory alone, take away what could be learned: shuffle the labels of the fifty images.

# %%
rng = np.random.default_rng(SEED)
wrong = data.train.targets.clone()
wrong[few.index] = wrong[few.index[rng.permutation(len(few))]]
nonsense = replace(few, targets=wrong)

# %% [markdown]
# Now there is nothing in them but a list. Can the network learn a list? It takes more passes, so we give it eight times as many.

# %%
longer = -(-8 * 200 // len(few))
listed = nonsense.subset(np.tile(np.arange(len(few)), longer))
_, (by_heart, new_by_heart, _) = tune(blank, listed, RATE["from scratch"])
print(f"images it learned from {by_heart:.3f}, new images {new_by_heart:.3f}")

# %% [markdown]
# That is remembering: everything known, nothing about new images, where guessing gives 10 %. The network that *had* something to learn looks no different on its training images. **A training accuracy of 100 % cannot tell learning from remembering** (Zhang et al. 2017 showed it with
# ImageNet). Only new images can.
#
# ## Where you start
#
# The same fifty images, three ways to use them: from a random start; all stages from the pretrained one; and a probe, which may turn nothing but the head.

# %%
full, found_full = tune(pretrained, few, RATE["pretrained"])
probe, found_probe = tune(pretrained, few, RATE["probe"], sft.linear_probe)
found = {"from scratch": (known, new), "pretrained": found_full, "probe": found_probe}
for name, (on_known, on_new, *_) in found.items():
    gap = on_known - on_new
    print(f"{name:13s} known {on_known:.3f}   new {on_new:.3f}   gap {gap:.3f}")

# %% [markdown]
# All three know their images by heart, even the probe. The gap is as small as the start is good: what the pretrained network knows of strokes it need not guess from fifty images.
#
# How does it go with more labels? 20 seeds of each method were run beforehand by `benchmarks/small_data.py`, each with another split, draw, pretraining and start, and `EPOCHS` as it stands; rates were chosen on seeds that do not come back.

# %%
seeds = list(stored["digits"].values())
curves = {name: {int(n): [seed["curves"][name][n][1] for seed in seeds]
                 for n in seeds[0]["curves"][name]} for name in found}
solid = {name: {LABELS: values[1]} for name, values in found.items()}
plot.band_curves(curves, xlabel="labels a class", log=True, live=solid,
                 majority=majority)

# %% [markdown]
# Circles are means with their 95 % intervals, large marks are the runs of a moment ago. Read the two ends. With one label a class the pretrained starts lead by far. With fifty the lead is all but gone, and the probe is last. So the criticism is right about *where* the danger is, at the left, and wrong about the cure: at the left, a pretrained start is what
# helps most.
#
# And probe against full? Subtract, seed by seed:

# %%
def points(more, less):
    """Return how many points one accuracy has more than another, run by run."""
    return [100 * (a - b) for a, b in zip(more, less, strict=True)]


by_count = {f"labels a class: {n}": {"probe": points(curves["probe"][n], values)}
            for n, values in curves["pretrained"].items()}
plot.differences(by_count, to="full fine-tuning", test_to_train=1)

# %% [markdown]
# (Every seed splits the same digits anew, as many to measure on as to learn from; `test_to_train` widens the bars by what such runs share, as lesson 08 explains.) On average the probe is ahead where labels are fewest and behind where they are many: few weights to turn are a protection when there is little to turn them by, and a cage when there is more, because the probe **leans on the pretrained features** and cannot leave them. That is the critics' second sentence. But every bar holds zero: if the effect is there, it is a point or two, and twenty seeds of this set do not show it.
#
# ## Remedy 1: more images without more labels
#
# A digit that is moved by a pixel is the same digit. So each epoch may see each image slightly changed: **augmentation**. It tells the network what does *not* matter, and so it must be true.
#
# > **Predict.** Below, the same four digits are moved, turned a little, and turned by up to half a circle. Which of the three would you not sign as a labeller?

# %%
four = [int(np.flatnonzero(few.y.numpy() == digit)[0]) for digit in (1, 4, 6, 9)]
kinds = {"moved": shift(1), "up to 15°": rotate(15), "up to 180°": rotate(180)}
seen = {name: View(few, augment, SEED, 1) for name, augment in kinds.items()}
plot.views(few, four, seen, licence=data.card.licence,
           title="Some of these are no longer what their label says")

# %% [markdown]
# A six upside down *is* a nine. Whoever trains on it teaches a lie. No library can know which augmentation keeps the label: on a solar cell a quarter turn is harmless, on a digit it is not. It is you who signs.
#
# Now the price list. The moved digits, for both starts:

# %%
starts = {"pretrained": pretrained, "from scratch": blank}
moved = {kind: tune(net, few, RATE[kind], augment=shift(1))[1]
         for kind, net in starts.items()}
for kind in starts:
    gain = 100 * (moved[kind][1] - found[kind][1])
    print(f"{kind:13s} {moved[kind][1]:.3f}, {gain:+.1f} points by moving")

# %% [markdown]
# One seed is an anecdote; the twenty come below. First the other question: how much of it?
#
# ## Until the label is gone
#
# Turn by up to 15°, 30°, … 180°. Every strength is trained now, on the fifty digits from the pretrained start; the strongest is drawn (solid) beside the twenty stored seeds (hollow), and the control below shows the others.

# %%
ANGLES = [0, 15, 30, 45, 90, 135, 180]
turned = {angle: tune(pretrained, few, RATE["pretrained"], augment=rotate(angle))[1]
          for angle in ANGLES}
PARTS = ("images it learned from", "new images")
turns = {part: {a: [seed["turns"]["pretrained"][str(a)][k] for seed in seeds]
                for a in ANGLES} for k, part in enumerate(PARTS)}
plot.band_curves(turns, xlabel="turned by up to … degrees", majority=majority,
                 live={part: {180: turned[180][k]} for k, part in enumerate(PARTS)})

# %% [markdown]
# A few degrees change nothing that twenty seeds could show, more harms, and half a circle costs a fifth of all digits. Look at the other line, too: at the right the network no longer even knows its own fifty images.
#
# The same with solar cells: 100 cells a class of 96 pixels, and a probe that sees squares cut out of them, ever smaller ones, enlarged again (five splits, stored). A crack is somewhere. Is it still in the square?

# %%
cells = sft.load("solar", size=96, per_class=100, seed=SEED)
CROPS = [0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98]
splits = stored["cells"].values()
crops = {part: {c: [one[f"{c:g}"][k] for one in splits] for c in CROPS}
         for k, part in enumerate(PARTS)}
broken = np.flatnonzero(cells.train.y.numpy() == 1)[[0, 20]]
worlds = {
    "digits, turned": (few, four[2:], rotate, data.card.licence, ANGLES, turns, majority,
                       "turned by up to … degrees"),
    "cells, cut": (cells.train, broken, zoom, cells.card.licence, CROPS, crops, 0.5,
                   "share of the area cut off")}

# %%
def strength(images, step):
    """Draw images at one strength beside the gap that training on them leaves."""
    split, rows, augment, licence, scale, kept, rate, xlabel = worlds[images]
    left, right = Figure(figsize=(9.6, 4.6), layout="constrained").subplots(
        1, 2, width_ratios=(1.2, 1.5))
    seen = View(split, augment(scale[step]), SEED, 1)
    plot.views(split, rows, {f"at {scale[step]:g}": seen}, licence=licence,
               title="What it is shown", ax=left)
    now = turned[scale[step]] if scale is ANGLES else ()
    plot.band_curves(kept, xlabel=xlabel, majority=rate, ax=right, live={
        part: {scale[step]: accuracy} for part, accuracy in zip(PARTS, now)})
    right.axvline(scale[step], color=style.GUESS)
    return right


# %% [markdown]
# Drag the strength. Left, what the network is shown under the label that the whole image has; right, what becomes of it.

# %%
sft.widgets.explore(
    strength, images=sft.widgets.choice("images", list(worlds), "cells, cut"),
    step=sft.widgets.slider("strength", range(7), value=4), name="strength")

# %% [markdown]
# With nine tenths cut off, many a square of a broken cell shows no crack at all, and the accuracy on whole new cells is not far from the half that guessing gives (validation has as many intact as broken cells here). **The gap has closed, and the accuracy is gone with it.** A small gap is not the aim; a high line of new images is.
#
# ## Remedy 2: decay, toward zero or toward the start
#
# **Weight decay** pulls every weight toward zero a little at each step: $w \leftarrow w - \eta\lambda w$. For a pretrained network zero is a strange place to be pulled to: it is where nothing is known. **L2-SP** pulls toward the *starting point* instead: $w \leftarrow w + \eta\lambda\,(w_0 - w)$. By hand, for weights whose start we keep; `lerp`, linear interpolation, is that formula:

# %%
@torch.no_grad()
def pull(kept, decay):
    """Move weights a little toward their start."""
    for group, w, start in kept:
        w.lerp_(start, group["lr"] * decay)     # w + ηλ (start − w)


# %% [markdown]
# `fit` takes any optimizer, as a function of its groups: two a stage, at the stage's rate. So ours is an AdamW that pulls before each of its steps, and leaves the head alone: what was drawn at random a moment ago is no place to return to.

# %%
def pulled_back(decay):
    """Return what makes an AdamW that is pulled toward its start; the head is not."""
    def make(groups):
        adamw = torch.optim.AdamW(
            [g if g["stage"] == "head" else g | {"weight_decay": 0.0} for g in groups])
        kept = [(g, w, w.detach().clone()) for g in adamw.param_groups
                for w in g["params"] if g["stage"] != "head"]
        adamw.register_step_pre_hook(lambda *_: pull(kept, decay))
        return adamw
    return make


# %%
by_hand, _ = tune(pretrained, few, RATE["pretrained"], optimizer=pulled_back(1.0))
anchored, (_, new_anchored, _) = tune(pretrained, few, RATE["pretrained"],
                                      optimizer=sft.l2_sp(1.0))
for mine, theirs in zip(by_hand.parameters(), anchored.parameters(), strict=True):
    assert torch.allclose(mine, theirs, atol=1e-5)
shrunk, (_, new_shrunk, _) = tune(pretrained, few, RATE["pretrained"], weight_decay=1.0)

# %% [markdown]
# What do the two pulls do to the stages? Distance from the start, relative to the stage's length, as in the lesson on layers:

# %%
nets = {"no pull": full, "toward zero": shrunk, "toward the start": anchored}
profile = sft.full(full, RATE["pretrained"])
far = {name: {stage: share for stage, share in sft.analysis.moved(pretrained, net).items()
              if stage != "head"} for name, net in nets.items()}
plot.moved(far, dict.fromkeys(far, profile))

# %% [markdown]
# The pull toward the start does what it says: the stages stay nearer to it, and the pull toward zero takes them away. Whether that reads more digits is another question:

# %%
read = {"no pull": found_full[1], "toward zero": new_shrunk, "to the start": new_anchored}
print("new images", *(f"{name} {share:.3f}" for name, share in read.items()), sep="   ")

# %% [markdown]
# Three numbers that one seed cannot tell apart. The price list below has twenty.
#
# ## Remedies 3 to 5
#
# **Label smoothing** asks for 90 % instead of 100 %. **Early stopping** watches images that it does not train on and keeps the best epoch; with fifty labels those images must come out of the fifty, so one of five of each class is held back. And **a bigger network**: four times as wide, sixteen times the weights. By the textbook it should
# overfit more.
#
# > **Predict.** How many points does the wider pretrained network gain or lose?

# %%
wider = sft.widgets.predict("points gained by four times the width", -10, 10, -2,
                            name="wider")

# %%
def smooth(logits, y):
    """Return H(p, q) with a tenth of p spread over all classes."""
    return sft.cross_entropy(logits, y, smoothing=0.1)


# %% [markdown]
# Here is the plan of each remedy, and what it gains on this seed. The wider network would have to be pretrained first, so it comes from the record.

# %%
held = few.subset(range(0, len(few), LABELS))
rest = few.subset([i for i in range(len(few)) if i % LABELS])
plans = {"smoothing 0.1": dict(few=few, loss=smooth),
         "early stopping": dict(few=rest, watch=held, keep_best=True)}
live = {"shift by a pixel": {kind: 100 * (moved[kind][1] - found[kind][1])
                             for kind in starts}}
for name, plan in plans.items():
    again = {kind: tune(net, rate=RATE[kind], **plan)[1]
             for kind, net in starts.items()}
    live[name] = {kind: 100 * (again[kind][1] - found[kind][1]) for kind in starts}

# %% [markdown]
# ## The price list
#
# Each remedy against the same run without it, seed by seed: same split, same labels, same start.

# %%
priced = {name: {kind: points([seed["remedies"][kind][name][1] for seed in seeds],
                              curves[kind][5]) for kind in starts}
          for name in seeds[0]["remedies"]["pretrained"]}
plot.differences(priced, to="the run without it", test_to_train=1,
                 live=live if LABELS == 5 else None)

# %% [markdown]
# Small dots are seeds, hollow marks their means with 95 % intervals, solid marks the runs of this page. What crosses zero is not decided. First your guess:

# %%
gained = statistics.t_interval(priced["four times as wide"]["pretrained"],
                               test_to_train=1)
plot.guess_vs_result(gained, wider, low=-10, high=10, unit="points")

# %% [markdown]
# Then row by row:
#
# - **The bigger network is better** from the pretrained start, and no worse from the random one. Sixteen times the weights did not drown in fifty images. It is the only row whose bar is clear of zero.
# - **Moving and turning** gain the random start three to four points on average, and the pretrained one nothing to speak of. A guess: it has met moved and turned characters before, and an augmentation teaches what the network does not know yet.
# - **Both decays** move next to nothing. Their strengths were chosen on other seeds, and the weakest that was tried was the best. Nor does smoothing.
# - **Early stopping** loses on average, from both starts. Ten labels that only watch are ten labels that do not teach.
#
# These are answers for small images and a small network. The method travels: one change, the same seeds, the difference with its interval.
#
# And one remedy is not in the list. What would another five labels a class have bought?

# %%
for kind in starts:
    more = points(curves[kind][10], curves[kind][5])
    gained = statistics.t_interval(more, test_to_train=1)
    print(f"{kind:13s} ten labels instead of five: {gained:+.1f} points")

# %% [markdown]
# About three points from the pretrained start, more than six from the random one, and the second is clear of zero. On average no remedy in the list does as much for the random start, and only the wider network for the pretrained one. Where labels can be had, ask for their price first.
#
# And on the test images, once, what fifty labels and a pretrained start are worth:

# %%
chosen = sft.evaluate(full, data.test)
print(f"on test, pretrained: {chosen.accuracy:.3f}, majority {chosen.majority:.3f}")

# %% [markdown]
# ## What you have seen
#
# - 100 % on the training images is what learning *and* remembering look like. Only new images tell them apart.
# - With few labels, a pretrained start is the strongest remedy; whether a probe or full fine-tuning makes more of it, twenty seeds did not decide.
# - An augmentation must keep the label, and helps where it teaches something new. A smaller gap is no merit if the accuracy falls with it.
#
# **Does it learn, or remember?** Both, always. It remembers what it was shown and learns what its start and its images share with new ones.
#
# *Where this lives in the library:* `sft.data.shift`, `rotate`, `zoom`, `turn`, `flip`; `sft.l2_sp` in `sftlab/core/losses.py`; `sft.cross_entropy(…, smoothing=…)`; `fit(…, weight_decay, augment, patience, keep_best)`; `plot.band_curves`, `plot.differences`.
#
# ## The same in plain PyTorch
#
# The shuffled labels, without the lab: a network, fifty images, nothing to learn.

# %%
pixels, labels = few.take(np.arange(len(few)))
shuffled = labels[torch.from_numpy(rng.permutation(len(labels)))]
plain = sft.backbone("tiny", weights=None, seed=SEED)
optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2)
for _ in range(400):
    loss = torch.nn.functional.cross_entropy(plain(pixels), shuffled)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
right = (plain.eval()(pixels).argmax(dim=1) == shuffled).sum().item()
print(f"{right} of {len(shuffled)} shuffled labels known by heart")

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 2, then to 20, and run all cells again. Which solid marks change sides?
# - **Tweak.** Give the price list's runs `EPOCHS = 60`. Does early stopping earn its ten labels back?
# - **Build.** Mixup (Zhang et al. 2018): mix two images *and* their labels. It is a loss on a mixed batch; write it as a loop over `sft.steps`.
# - **Build.** Put `sft.data.brightness` into the price list. Before you run it: does it keep the label of a solar cell?
# - **Break.** Make the drawn labels wrong for one image in ten. Which of the remedies helps now?

# %% [markdown]
# ## Sources
#
# - Zhang, Bengio, Hardt, Recht and Vinyals, 2017, *Understanding deep learning requires rethinking generalization*. Shuffled labels.
# - Li, Grandvalet and Davoine, 2018, *Explicit Inductive Bias for Transfer Learning with Convolutional Networks*. L2-SP.
# - Loshchilov and Hutter, 2019, *Decoupled Weight Decay Regularization*.
# - Szegedy et al., 2016, *Rethinking the Inception Architecture for Computer Vision*. Label smoothing.
# - Prechelt, 1998, *Early Stopping, But When?*
# - Shorten and Khoshgoftaar, 2019, *A survey on Image Data Augmentation for Deep Learning*. Which one keeps the label.
# - Belkin, Hsu, Ma and Mandal, 2019, *Reconciling modern machine-learning practice and the classical bias-variance trade-off*. Why larger need not be worse.
#
# Previous: [06 Finetune](06_finetune.ipynb). Next: [08 Evaluate](08_evaluate.ipynb).
