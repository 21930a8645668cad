# %% [markdown]
# # Should all layers take the same step?
#
# You will be able to
# - write last-k, full, layer-wise decay, LP-FT and gradual unfreezing as a dict and a call of `fit`;
# - measure how far each stage has moved, and what the network has forgotten on the way;
# - compare strategies in pairs over the same seeds, on what they learn *and* on what they keep.
#
# 25 minutes to read, under a minute to run. Comes after [05 Rate](05_rate.ipynb).
# Images: digits, CC BY 4.0, Alpaydin and Kaynak 1998; two photographs that come with scikit-learn, CC BY 2.0, and solar cells, CC BY-NC-SA 4.0, behind numbers.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import sftlab as sft
from sftlab import plot
from sftlab.core.statistics import t_interval
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
LABELS: int = 10       # training images for each new digit, 2 to 50
EPOCHS: int = 20       # passes of every strategy: 4, 8, 12, 16, 20, 24, 32 or 40
SEEDS: int = 3         # repetitions with other splits and starts, 1 to 10

# %% [markdown]
# ## An old task and a new one
#
# A network is worth fine-tuning because it knows something. What happens to that while it learns? With ImageNet behind it that is hard to see. So we make a small world in which both sides
# can be measured: the **old** task is to tell the digits 0 to 4 apart, the **new** one 5 to 9, with ten labels each.

# %%
sft.check_parameters(globals(), LABELS=(int, 2, 50), SEEDS=(int, 1, 10),
                     EPOCHS=(4, 8, 12, 16, 20, 24, 32, 40))
from sklearn.datasets import load_digits

every = load_digits()
x, y = (every.images * (255 / 16)).round().astype(np.uint8), every.target


def tasks(seed: int):
    """Return the old task and the new one: 0 to 4, and 5 to 9 with few labels."""
    how = dict(valid=0.3, test=0.3, seed=seed)
    old = sft.from_arrays(x[y < 5], y[y < 5], name="0 to 4", **how)
    names = [str(digit) for digit in y[y >= 5]]
    new = sft.from_arrays(x[y >= 5], names, name="5 to 9", per_class=LABELS, **how)
    return old, new


# %%
old, new = tasks(seed=0)
print(f"old: {len(old.train)} to learn from, {len(old.valid)} to measure")
print(f"new: {len(new.train)} to learn from, {len(new.valid)} to measure")
plot.images(new.train, range(0, 50, 5), columns=10, title="Ten of the new digits")

# %% [markdown]
# The pretrained network: four stages, 6,000 parameters, trained on the old digits. It takes a second, so it can be made afresh for every seed.

# %%
def pretrain(old, seed: int):
    """Return a network that knows the old task."""
    net = sft.replace_head(sft.backbone("tiny", seed=seed), old.classes, seed=seed)
    sft.fit(net, old, sft.full(net, 1e-2), epochs=40, schedule=sft.cosine(),
            augment=sft.data.shift(1), seed=seed, verbose=False)
    return net


source = pretrain(old, seed=0)
sft.summary(source, size=8)

# %% [markdown]
# ## Full fine-tuning, and the bill
#
# The usual recipe: a new head, and every stage at the same rate. Batch statistics stay frozen, as the lesson on freezing recommends for few images, and no epoch is chosen: we look at what the last one left.

# %%
HOW = dict(batch_size=16, batchnorm="frozen", schedule=sft.cosine(), keep_best=False,
           cached=False, verbose=False)
full = sft.replace_head(source, new.classes, seed=0)
history = sft.fit(full, new, sft.full(full, lr=1e-2), epochs=EPOCHS, seed=0, **HOW)

# %% [markdown]
# What does the network still know of the old digits? Its old head was taken off, but nothing forbids us to put it back: old head on new backbone, and ask.
#
# > **Predict.** Before, the old task was solved almost without a mistake. The new digits look much like the old ones, and 0.01 is an ordinary rate for a network this small. What percentage of the old task is still solved?

# %%
guess = sft.widgets.predict("old task still solved, in percent", 0, 100, default=90)

# %%
def right(net, split) -> sft.Interval:
    """Return the accuracy of a network on a split, with its interval."""
    images, targets = split.take(np.arange(len(split)))
    return sft.proportion(sft.analysis.answers(net, images) == targets, split.groups)


def with_old_head(net, head=source.head):
    """Return the fine-tuned backbone under the head of the old task."""
    return torch.nn.Sequential(*net[:-1], head)


kept = right(with_old_head(full), old.valid)
plot.guess_vs_result(100 * kept.value, guess)

# %% [markdown]
# And beside it, what the usual report would have shown:

# %%
majority = new.valid.majority
ax = plot.scores({"old task, before": right(source, old.valid), "old task, after": kept,
                  "new task, after": right(full, new.valid)}, majority=majority)
left = f"{100 * kept.value:.0f} % of the old is left"
plot.base.title(ax, f"The new is learned, {left}", pad=24)

# %% [markdown]
# The new task is learned, and much of the old one is gone. The field calls this **catastrophic forgetting**. Nothing in the usual report would have shown it: the curve of the new task looks fine.
#
# Does it matter if only the new task counts? On a thousand target images, perhaps not. But what is forgotten is what we chose a pretrained network *for*: it might have helped with rare cases, with
# next year's camera, with the second head that somebody else put on it.
#
# ## How far did each stage move?
#
# All stages had the same rate. Did they take the same step? Let $w$ be the vector of all parameters of a stage before and $w'$ after. Its relative change is $\|w' - w\| / \|w\|$. By hand, and as a picture in the heat of the rate:

# %%
def vector(net, stage):
    """Return all parameters of a stage as one vector."""
    parts = net.get_submodule(stage).parameters()
    return torch.cat([w.detach().flatten() for w in parts])


change = {}
for name in ("stem", "layer1", "layer2"):
    before, after = vector(source, name), vector(full, name)
    change[name] = float((after - before).norm() / before.norm())
    size = float(before.square().mean().sqrt())
    print(f"{name}: typical weight {size:.2f}, typical move {change[name] * size:.2f}")

library = sft.analysis.moved(source, full)
assert all(abs(library[name] - share) < 1e-5 for name, share in change.items())
plot.moved({"full": change}, {"full": sft.full(full, lr=1e-2)})

# %% [markdown]
# The same rate, but not the same step relative to what was there. Adam's steps are about as long as the rate, whatever the gradient. How far that is depends on how large the weights of a stage
# are, and on whether its steps agree in their direction. A stage that moves by a third of its length is another stage.
#
# ## One profile, many rates
#
# The rate is a knob with two ends: at a small one the old task stays and the new one is not learned, at a large one the reverse. Five rates, and each strategy as a list of (profile, epochs): a plan.

# %%
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def run(source, new, plan, seed: int):
    """Give the source a new head, then train by the plan: [(profile, epochs), …]."""
    net = sft.replace_head(source, new.classes, seed=seed)
    for profile, epochs in plan:
        sft.fit(net, new, profile, epochs, seed=seed, **HOW)
    return net


def score(net, old, new, head) -> tuple[float, float]:
    """Return two accuracies: the old head on the new backbone, and the new head."""
    before = right(with_old_head(net, head), old.valid)
    return before.value, right(net, new.valid).value

# %%
found = {f"full, {rate:g}": score(run(source, new, [(sft.full(full, rate), EPOCHS)], 0),
                                  old, new, source.head) for rate in RATES}
for name, (kept, learned) in found.items():
    print(f"{name:14} old {kept:.3f}   new {learned:.3f}")

# %% [markdown]
# One seed is an anecdote, though, so 20 seeds of each rate were run beforehand, by `benchmarks/layers.py` with the parameters above as they stand; bars are 95 % intervals of the mean. (Each seed splits the same digits anew, three to
# measure on for four to learn from; runs that share images say less than independent ones, and the bars are as much wider as lesson 08 explains.)

# %%
DIGITS, CELLS = 0.3 / 0.4, 0.15 / 0.6  # images measured on for each to learn from
stored = sft.records.read("../benchmarks/layers.json")
digits = {name: [seed[name] for seed in stored["digits"].values()]
          for name in stored["digits"]["0"]}
curve = [f"full, {rate:g}" for rate in RATES]
figure, ax = plt.subplots(figsize=(7.5, 3.4))
for side, task in enumerate(("old task, kept", "new task, learned")):
    runs = [[pair[side] for pair in digits[name]] for name in curve]
    means = [t_interval(accuracies, test_to_train=DIGITS) for accuracies in runs]
    half = [mean.high - mean.value for mean in means]
    values = [mean.value for mean in means]
    ax.errorbar(RATES, values, half, marker="os"[side], label=task)
ax.axhline(0.2, color="black", linestyle="--", label="majority rate")
ax.set(xscale="log", ylim=(0, 1.02), xlabel="one rate for all stages (log scale)",
       ylabel="valid accuracy (share of 1)", title="Learning the new costs the old")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax

# %% [markdown]
# One line rises, the other falls: this is what one number can buy. A *profile* has one number a stage. Can it buy more?
#
# ## Five strategies, each a dict
#
# **Linear probe** and **last-k** freeze the front. **Layer-wise decay** gives each stage a fraction $d$ of the rate of the one behind it: $\eta_i = \eta_{\text{head}}\, d^{\,n - i}$ for stage $i$ of $n$. By hand:

# %%
by_hand = [3e-2 * 0.2**k for k in (3, 2, 1, 0)]  # stem, layer1, layer2, head
decay = sft.layer_decay(full, lr=3e-2, decay=0.2)
assert np.allclose(list(decay.values()), by_hand)
plot.profile(sft.linear_probe(full, 1e-2), sft.last_k(full, 1, 1e-2), decay,
             names=["linear probe", "last stage", "layer decay"])

# %% [markdown]
# The idea behind the slope: early stages see edges that every image has, late ones see what the old task needed, and the head knows nothing yet. So the head may run, and the stem shall hardly move.
#
# The other axis is **time**: the same stages may learn later. **LP-FT** trains the new head first and then everything; **gradual unfreezing** wakes up one stage after the other, from the back.

# %%
def plans(net) -> dict:
    """Return {strategy: [(profile, epochs), …]}, with EPOCHS epochs each."""
    decay = sft.layer_decay(net, 3e-2, 0.2)
    awake = [{name: rate if name in list(decay)[-k:] else 0.0
              for name, rate in decay.items()} for k in (1, 2, 3, 4)]
    half = EPOCHS // 2
    return {
        "full, 0.01": [(sft.full(net, 1e-2), EPOCHS)],
        "linear probe": [(sft.linear_probe(net, 1e-2), EPOCHS)],
        "last stage": [(sft.last_k(net, 1, 1e-2), EPOCHS)],
        "layer decay": [(decay, EPOCHS)],
        "LP-FT": [(sft.linear_probe(net, 3e-2), half), (sft.full(net, 1e-2), half)],
        "gradual unfreezing": [(profile, EPOCHS // 4) for profile in awake],
    }


# %% [markdown]
# > **Predict.** Layer decay has the *highest* rate of all in its head, 0.03. How many percent of the old task will it keep, where one rate of 0.01 kept about half?

# %%
guess = sft.widgets.predict("old task kept by layer decay, in percent", 0, 100, 50,
                            name="decay")

# %% [markdown]
# All of them for each seed: another split, another pretrained network, another new head.

# %%
live, moved = {name: [] for name in plans(full)}, {}
for seed in range(SEEDS):
    old_s, new_s = tasks(seed)
    source_s = pretrain(old_s, seed)
    for name, plan in plans(full).items():
        net = run(source_s, new_s, plan, seed)
        live[name].append(score(net, old_s, new_s, source_s.head))
        moved[name] = sft.analysis.moved(source_s, net)

# %%
shown = {name: digits[name] for name in digits if name not in curve} | {
    "full, 0.01": digits["full, 0.01"]}
one, many = (np.mean(digits[name], axis=0)[0] for name in ("full, 0.01", "layer decay"))
finding = f"One rate keeps {one:.0%} of the old task, layer decay {many:.0%}"
plot.show(plot.old_and_new(live, stored=shown, majority=(0.2, 0.2), finding=finding,
                           test_to_train=DIGITS))
plot.guess_vs_result(100 * np.mean(live["layer decay"], axis=0)[0], guess)

# %% [markdown]
# Small dots: just now, one a seed; your guess stands beside the mean of layer decay's. Hollow: 20 seeds. The strategies that treat stages differently keep more than the single rate does and learn about as much. The network trained from scratch learns the new digits as
# well as the best of them: 361 old digits are no ImageNet, and there was little to gain here. There was a lot to lose.
#
# ## In pairs
#
# A seed with a hard split is hard for every strategy. All of them met the *same* splits and networks, so we may subtract, seed by seed, and ask whether the difference is above zero.

# %%
named = ["full, 0.01", "last stage", "layer decay", "LP-FT", "gradual unfreezing"]
def gains(runs, to):
    """Return how many points more than `to` each strategy has, seed by seed."""
    return {task: {name: [100 * (a[k] - b[k]) for a, b in zip(pairs, runs[to])]
                   for name, pairs in runs.items() if name != to}
            for k, task in enumerate(("old task", "new task"))}


plot.differences(gains({name: digits[name] for name in named}, "full, 0.01"),
                 to="full, 0.01", test_to_train=DIGITS)

# %% [markdown]
# Above: what they keep more of, in points, each dot a seed. Below: what they learn less or more. An interval that contains 0 has not decided. Layer decay, LP-FT and gradual unfreezing keep tens of points more; whether any of them learns less of the new task, these seeds cannot say.
#
# ## Where the steps went
#
# Why is that so? Compare how far the pretrained stages moved. LP-FT has only half of its epochs for them, so a run of full fine-tuning with as few epochs stands beside it.

# %%
alike = sft.full(full, lr=1e-2)
halved = run(source_s, new_s, [(alike, EPOCHS // 2)], seed)
moved["full, half the epochs"] = sft.analysis.moved(source_s, halved)
rates = {"full, 0.01": alike, "full, half the epochs": alike, "LP-FT": alike,
         "layer decay": decay}
plot.moved({name: {stage: moved[name][stage] for stage in change}
            for name in rates}, rates)

# %% [markdown]
# Layer decay hardly moves the stem, although its head runs. LP-FT moves the stages at the *same* rate and for as many epochs as the run above it. If it moves them less, the trained head is the reason: the
# loss is smaller, and gradients of a random head no longer push the backbone about. That is the argument of Kumar et al. (2022).
#
# **A small rate protects what is known**, and a stage needs that protection the more, the more others depend on it.
#
# ## The wind tunnel
#
# Now you. Paint a profile: one slider a stage, frozen at the bottom. Let go, and the network is trained anew; a row shows what it keeps and what it learns. Hollow circles are the strategies above. Can you beat
# them?

# %%
tunnel = sft.widgets.wind_tunnel(source, old, new, profile=sft.full(full, 1e-3),
                                 epochs=EPOCHS, beside=shown, test_to_train=DIGITS, **HOW)
await tunnel.run()

# %% [markdown]
# Whatever you found there, you found by looking at validation images again and again; the more often, the more it flatters. One final look at the test images, for the strategy that kept and learned most
# together:

# %%
best = run(source, new, plans(full)["gradual unfreezing"], seed=0)
on_test = {"old task": sft.evaluate(with_old_head(best), old.test),
           "new task": sft.evaluate(best, new.test)}
said = ", ".join(f"{name} {one.accuracy:.2f}" for name, one in on_test.items())
plot.base.title(plot.scores(on_test), f"On test images: {said}", pad=24)

# %% [markdown]
# ## Is it the same with ImageNet?
#
# The old task of EfficientNet-Lite0 is to name photographs; what it keeps is the share of 128 squares of two photographs to which it still gives its old answer. The new task is solar cells, 100 labels a
# class. Five splits of every strategy are stored, because together they take minutes. One strategy we run again, on the first split: the last two stages, whose frozen front comes from the store.

# %%
data = sft.load("solar", size=160, per_class=100, seed=0)
lite, photos = sft.backbone("efficientnet_lite0"), sft.analysis.photo_crops(128)
net = sft.replace_head(lite, data.classes, seed=0)
history = sft.fit(net, data, sft.last_k(net, 2, lr=1e-4), epochs=4, seed=0,
                  batchnorm="frozen", schedule=sft.cosine(), keep_best=False)
now = sft.analysis.answers(with_old_head(net, lite.head), photos)
same = (now == sft.analysis.answers(lite, photos)).float().mean().item()

# %%
solar = stored["solar"].values()
cells = {name: [seed[name] for seed in solar]
         for name in stored["solar"]["0"] if name != "majority"}
live = {"last two stages": [(same, history.epochs[-1].valid_accuracy)]}
plot.old_and_new(live, stored=cells,
                 majority=(None, float(np.mean([seed["majority"] for seed in solar]))),
                 labels=("old answers kept", "solar cells, valid accuracy"),
                 test_to_train=CELLS,
                 finding=f"The last two stages keep {same:.0%} of the old answers")

# %% [markdown]
# Circles are means over the splits with their 95 % intervals, the dot is the run of a moment ago. In old knowledge the strategies are far apart, and one rate of 1e-3 for all leaves nothing of it. In the new task the
# intervals are wide, because a hard split is hard for everybody; so in pairs again, split by split:

# %%
paired = {name: pairs for name, pairs in cells.items() if name != "full, 1e-3"}
plot.differences(gains(paired, "full, 1e-4"), to="full, 1e-4", test_to_train=CELLS)

# %% [markdown]
# Above: the probe keeps everything, because nothing before its head moves; the last two stages keep most. LP-FT keeps more than full fine-tuning at the same rate in these five splits, as it did with digits, but they alone would not show it. Below: every interval contains 0. Five splits of
# 200 images do not say who learns most, so here the choice is one of what is kept. The slope of layer decay, at a head's rate of 1e-3, shows no gain on either side: a profile is a bargain to be measured, not a law.

# %% [markdown]
# ## What you have seen
#
# - The same rate is not the same step: relative to its weights, one stage moves nearly twice as far as another.
# - What is learned has a price in what was known. It can be measured with the old head, or without any label, by counting changed answers.
# - A profile buys a better bargain than a rate: a slope over the stages, a trained head first, or late stages earlier than early ones.
#
# **Should all layers take the same step? No:** the head may run, late stages walk, and early ones hardly move; then much of the new is learned and most of the old is kept.
#
# *Where this lives in the library:* `sft.last_k`, `sft.layer_decay`, `sft.surgical`, `sft.fit`, `sft.analysis.moved`, `sft.analysis.answers`, `sft.widgets.wind_tunnel`; type `sft.layer_decay??` to read it.
#
# ## The same in plain PyTorch

# %%
net = run(source, new, [], seed=0)  # only the head is new
groups = [{"params": stage.parameters(), "lr": 3e-2 * 0.2 ** depth}
          for depth, stage in enumerate([net.head, net.layer2, net.layer1, net.stem])]
optimizer = torch.optim.AdamW(groups)
for epoch in range(EPOCHS):
    net.train()
    for module in net.modules():  # batch statistics stay as they are
        module.train(not isinstance(module, torch.nn.BatchNorm2d))
    for images, targets in new.train.batches(16, seed=0, epoch=epoch):
        loss = torch.nn.functional.cross_entropy(net(images), targets)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
print(f"plain PyTorch: old {right(with_old_head(net), old.valid):.3f}, "
      f"new {right(net, new.valid):.3f}; majority {majority:.3f}")

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 2, then to 50. Where do the two lines of the single rate go, and who gains most?
# - **Build.** Layer decay has both a slope and a fast head. Which of the two helps? Write the profile that has one and not the other, and compare what it keeps and learns.
# - **Break.** Turn the slope round: `{"stem": 3e-2, "layer1": 6e-3, "layer2": 1.2e-3, "head": 1e-2}`. Predict both numbers first.

# %% [markdown]
# ## Sources
#
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* What early and late layers know.
# - Howard and Ruder, 2018, *Universal Language Model Fine-tuning for Text Classification*. Layer-wise rates and gradual unfreezing.
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. LP-FT.
# - Lee et al., 2023, *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts*. Which block to tune depends on what has shifted.
# - McCloskey and Cohen, 1989, *Catastrophic Interference in Connectionist Networks*. Forgetting, named.
#
# Previous: [05 Rate](05_rate.ipynb). Next: [07 Overfit](07_overfit.ipynb).
