# %% [markdown]
# # Which layers should learn, and how fast?
#
# You will be able to
# - write the usual recipe by hand: the head first, then two parameter groups, augmentation on train only;
# - write partial and full fine-tuning, layer-wise decay, LP-FT and gradual unfreezing as a learning-rate profile;
# - measure what a choice of layers gains on the new task, and what it costs of the old one.
#
# 40 minutes to read, under a minute to run. Comes after [05 Rate](05_rate.ipynb).
# Images: words drawn with matplotlib's fonts; digits, CC BY 4.0, Alpaydin and Kaynak 1998; photographs that come with scikit-learn, CC BY 2.0; solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018 (stored numbers only).

# %%
import copy
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import sftlab as sft
from sftlab import plot, widgets
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
LABELS: int = 60   # training images of each font family, 5 to 60
EPOCHS: int = 5    # passes of all layers over the images, 3 to 20
SEED: int = 0      # split, start of the head, order of batches
OUT: str = ""      # folder for the record; "" keeps nothing

# %% [markdown]
# ## A task that photographs do not teach
#
# A network that was pretrained on photographs knows cats and cars. Here it has to name the **typeface** of a printed word: nine font families, one of which a guess hits one time in nine. The words of train, valid and test are different ones, so no word can be learned by heart.

# %%
sft.check_parameters(globals(), LABELS=(int, 5, 60), EPOCHS=(int, 3, 20),
                     SEED=(int, 0), OUT=str)
data = sft.load("typefaces", per_class=LABELS, seed=SEED)
print(f"{len(data.train)} words to learn from, {len(data.valid)} to compare on")

# %% [markdown]
# ## What everybody writes
#
# The usual recipe has two parts. First the new head alone. Then all layers, the pretrained ones at a tenth of the head's rate, with **augmentation**: every epoch shows each training image a little different. This must not change the label: a word that is moved by a few pixels, or printed paler, keeps its typeface; a slanted one may become another. Valid and test images stay as they are, because there we measure.

# %%
augment = v2.Compose([v2.RandomCrop(64, padding=4, padding_mode="edge"),
                      v2.ColorJitter(brightness=0.2, contrast=0.2)])
torch.manual_seed(SEED)
figure, axes = plt.subplots(2, 9, figsize=(10, 2.9), layout="constrained")
for family, (above, below) in enumerate(axes.T):
    image = data.train[int((data.train.y == family).nonzero()[0])][0]
    for ax, shown in ((above, image), (below, augment(image))):
        ax.imshow(shown[0], cmap="gray", vmin=0, vmax=255); ax.set_axis_off()
    above.set_title(data.classes[family].replace(" ", "\n"), fontsize=8)
figure

# %% [markdown]
# Above as it is, below changed. PyTorch's `DataLoader` asks of a data set only that it can be counted and indexed, and a split can. The images are changed where it puts a batch together:

# %%
def augmented(some):
    """Make a batch of (image, label) pairs, each image changed."""
    return torch.stack([augment(x) for x, _ in some]), torch.stack([y for _, y in some])


loader = DataLoader(data.train, batch_size=32, shuffle=True, collate_fn=augmented)

# %% [markdown]
# **Part one.** The pretrained layers are frozen and in eval mode, so their features are computed once (lesson 04). The head learns on them, without augmentation: what is computed once does not vary.

# %%
original = sft.backbone("efficientnet_lite0").eval()
model = sft.replace_head(original, data.classes, seed=SEED).eval()
body, head = model[:-1], model.head
x, y = data.train.take(np.arange(len(data.train)))
with torch.no_grad():
    features = body(x)

optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
for _ in range(300):
    loss = torch.nn.functional.cross_entropy(head(features), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()

# %% [markdown]
# How good is it on new words? All nine pictures of a word come from the same letters, so the interval counts words, not pictures ("45 groups": 45 words).

# %%
found = {"head only": sft.evaluate(model, data.valid).accuracy}
print(f"head only {found['head only']}, majority rate {data.valid.majority:.3f}")

# %% [markdown]
# **Part two.** Two **parameter groups**, each with its own rate: 1e-3 for the head and a tenth, 1e-4, for everything before it. The schedule is lesson 05's. The network stays in eval mode, which keeps BatchNorm's statistics (lesson 04); gradients flow all the same.
#
# > **Predict.** How many points will the pretrained layers add in five epochs, when they may move?

# %%
guess = widgets.predict("points gained by part two", -10, 40, 5, name="two")

# %%
first = copy.deepcopy(model)  # the end of part one


def schedule(t):
    """Return the factor on every rate at share t of the run: warm-up and cosine."""
    return max(t, 1e-4) / 0.1 if t < 0.1 else (1 + np.cos(np.pi * (t - 0.1) / 0.9)) / 2


optimizer = torch.optim.AdamW([{"params": head.parameters(), "lr": 1e-3},
                               {"params": body.parameters(), "lr": 1e-4}])
total, curve = EPOCHS * len(loader), [found["head only"]]
rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: schedule(n / total))
for _ in range(EPOCHS):
    for images, targets in loader:
        loss = torch.nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad(); loss.backward(); optimizer.step(); rates.step()
    curve.append(sft.evaluate(model, data.valid).accuracy)

# %% [markdown]
# After each epoch:

# %%
figure, ax = plt.subplots(figsize=(7, 2.8))
ax.plot([100 * score.value for score in curve], "o-", color="#009E73")
ax.axhline(100 * curve[0].value, color="#56B4E9")
ax.axhline(100 * data.valid.majority, color="black", linestyle="--")
ax.set(xlabel="epoch", ylabel="valid accuracy (%)", ylim=(0, None),
       title="Two groups (green), head only (blue), majority rate (dashed)")
figure

# %%
found["two groups"] = curve[-1]
print(f"two groups {curve[-1]:.3f}, majority rate {data.valid.majority:.3f}")
gained = 100 * (found["two groups"].value - found["head only"].value)
plot.guess_vs_result(gained, guess, low=-10, high=40, unit="points")

# %% [markdown]
# In its first epochs, fine-tuning is behind the head that it began with, as in lesson 05; whoever stops after two would call the recipe harmful. After five it is ahead, but the two intervals overlap: one short run does not show it. And five epochs at 1e-4 are a short way: rate times epochs (lesson 05) is 0.0005. Below, runs with twenty times as much, or more, gain more.
#
# ## The same as a profile
#
# Two groups are one case of something more general, a rate for *each* stage. The library writes it as a **learning-rate profile**, a plain dict in which 0 means frozen, and makes the groups of it:

# %%
stages = list(sft.last_k(model, 0))  # the names of all stages that have weights
two_groups = dict.fromkeys(stages, 1e-4) | {"head": 1e-3}
ours = {w: g["initial_lr"] for g in optimizer.param_groups for w in g["params"]}
library = {w: g["lr"] for g in sft.param_groups(model, two_groups) for w in g["params"]}
assert library == ours
print(f"the same rate for each of {len(ours)} tensors")

# %% [markdown]
# The other strategies of the field are profiles as well.
#
# - The **linear probe** trains the head only, **partial fine-tuning** the last *k* stages, **full fine-tuning** all.
# - **Layer-wise decay** (Howard and Ruder 2018) gives each stage a fraction $d$ of the rate of the next: $\eta_i = \eta_{\text{head}}\, d^{\,n-i}$ for stage $i$ of $n$. Early stages see edges that every image has; late ones see what the old task needed.

# %%
decay = sft.layer_decay(model, lr=1e-3, decay=0.7)
by_hand = [1e-3 * 0.7**k for k in reversed(range(len(stages)))]
assert np.allclose(list(decay.values()), by_hand)
profiles = {"linear probe": sft.last_k(model, 0, 1e-3), "two groups": two_groups,
            "last five + head": sft.last_k(model, 5, 1e-3), "layer decay": decay}
print("from the image (left) to the answer (right)")
for name, profile in profiles.items():
    print(f"{name:16}", *(f"{rate:<7.0e}" if rate else "-      "
                          for rate in profile.values()))

# %% [markdown]
# Two more strategies change the profile in *time*. **LP-FT** (Kumar et al. 2022) is a linear probe, then fine-tuning from its head: the two parts above are LP-FT. **Gradual unfreezing** (Howard and Ruder 2018) lets one stage after the other learn, from the head backwards: `last_k(model, 0)` for some epochs, then `last_k(model, 1)`, and so on.
#
# ## Which layers pay?
#
# One run is one draw, and a short one. Beforehand, `benchmarks/start.py` ran the strategies until valid was flat, on five other splits, 60 labels a class: the last five stages at 1e-3 for 16 epochs, all stages at 5e-4 for 20. These start from a trained head and keep BatchNorm's statistics as well; they have one rate for all stages that learn, and no augmentation. No epoch was chosen.

# %%
record = sft.records.stored("start")["typefaces"].values()
NAMES = {"head only": "linear probe", "last five stages": "partial fine-tuning",
         "all stages": "full fine-tuning", "from scratch": "from scratch"}
runs = {label: np.array([100 * run[name][-1] for run in record])
        for label, name in NAMES.items()}
for label, values in runs.items():
    print(f"{label:16} mean {values.mean():.1f} %, from {values.min():.1f} to "
          f"{values.max():.1f}, majority rate {100 * data.valid.majority:.1f}")

# %% [markdown]
# All strategies met the same splits, so we subtract, split by split. Hollow: means, with 95 % intervals that are widened because the splits share images (lesson 08). Solid: the run of this page.

# %%
ways, now = ("last five stages", "all stages"), f"{LABELS} labels a class, now"
rows = {"60 labels a class, stored": {w: runs[w] - runs["head only"] for w in ways}}
print("all stages minus the last five, split by split:",
      *(f"{points:+.1f}" for points in runs["all stages"] - runs["last five stages"]))
plot.differences(rows | {now: {"two groups": []}}, to="head only",
                 test_to_train=0.25 / 0.5, live={now: {"two groups": gained}})

# %% [markdown]
# Letting stages learn pays, on every split; from scratch, these labels teach next to nothing. (Two of two bars are clear of zero; chance alone would put 0.1 there.) Which layers, the last five or all, cannot be told apart: the differences have both signs. The page's own run is behind, with a fifth of the rate and fewer epochs. So the usual recipe is a good start, and its tenth is no law: try powers of ten for the pretrained layers, and train until valid is flat.
#
# ## What it costs
#
# Fine-tuning overwrites. What does the network still know of its old task, the thousand classes of ImageNet? We put its old head back, and count to how many squares of two photographs it still gives its old answer.

# %%
from sklearn.datasets import load_sample_images

photos = torch.tensor(np.stack(load_sample_images().images))
squares = photos.unfold(1, 96, 96).unfold(2, 96, 96).reshape(-1, 3, 96, 96)
with torch.no_grad():
    before = original(squares).argmax(1)

# %% [markdown]
# > **Predict.** The two groups moved the pretrained layers by a small rate, 1e-4, for a few epochs. How many percent of the old answers are left?

# %%
guess = widgets.predict("old answers left, in percent", 0, 100, 80, name="left")

# %%
with torch.no_grad():
    after = original.head(model[:-1](squares)).argmax(1)
left = 100 * (after == before).float().mean().item()
print(f"two groups: {left:.0f} % of {len(squares)} old answers left")
plot.guess_vs_result(left, guess)

# %% [markdown]
# (After part one it would be 100 %: the layers below the head had not moved.) What is gone is **catastrophic forgetting** (McCloskey and Cohen 1989). The report on the new task never shows it. It matters if the network has other work to do: a second head, next year's camera, rare cases.
#
# ## A task where it does not pay
#
# The same network on solar cells, 100 labels a class, five splits (`benchmarks/layers.py`), in points against the linear probe, split by split: what is learned, and what is kept of 128 old answers. (One rate of 1e-3 for all stages is left out: it learns less than the probe and keeps nothing.)

# %%
cells = list(sft.records.stored("layers")["solar"].values())
names = ["last two stages", "full, 1e-4", "layer decay", "LP-FT"]
solar = {task: {name: [100 * (run[name][k] - run["linear probe"][k]) for run in cells]
                for name in names} for k, task in enumerate(("kept", "learned"))}
print("probe / majority rate in %, split by split:",
      *(f"{100 * r['linear probe'][1]:.0f}/{100 * r['majority']:.0f}" for r in cells))
print("kept by LP-FT minus full, in points:       ",
      *(f"{100 * (run['LP-FT'][0] - run['full, 1e-4'][0]):+.0f}" for run in cells))
plot.differences(solar, to="the linear probe", test_to_train=0.15 / 0.6)

# %% [markdown]
# On the new task every bar crosses zero: five splits do not say that any choice of layers is better than the probe, and the probe itself beats the majority rate on some of them only. On the old task all bars are clear. So here the choice is one of what is kept.
#
# LP-FT and full fine-tuning have the same rate. LP-FT kept more on all five splits (second line): a hint from few runs. Kumar et al. (2022) argue that a trained head makes the loss small before the backbone moves, and a small loss has small gradients.
#
# Why do typefaces need the layers and solar cells not? **The further the new task is from what the network knows, the more layers should learn** is a guess from two tasks; Yosinski et al. (2014) and Lee et al. (2023) give it reasons. Your validation images decide.
#
# ## The wind tunnel
#
# Now you, on a panel that trains a network for each profile that you paint. To train while you wait the network is small, four stages and 6,000 weights. It has learned the handwritten digits 0 to 4 (the *old* task) and now learns 5 to 9 from ten labels each (the *new* one).

# %%
def digits(low, high, **how):
    """Return the digits from `low` up to but without `high`."""
    every = sft.load("digits", valid=0.3, test=0.3, seed=SEED, **how)

    def some(split):
        return split.subset(np.flatnonzero((split.y >= low) & (split.y < high)))

    return replace(every, train=some(every.train), valid=some(every.valid))


old, new = digits(0, 5), digits(5, 10, per_class=10)
source = sft.replace_head(sft.backbone("tiny", seed=SEED), old.classes, seed=SEED)
history = sft.fit(source, old, sft.last_k(source, 3, 1e-2), 15, schedule=schedule,
                  seed=SEED)

# %% [markdown]
# Paint one bar a stage, frozen at the bottom. Let go, and the network is trained anew; a row shows what it keeps and what it learns. Hollow circles are means over 20 stored seeds, with 95 % intervals (the formula does not know that 100 % is the end). Can you keep *and* learn? (`await` waits for the first run.)

# %%
runs_of = list(sft.records.stored("layers")["digits"].values())
beside = {name: [run[name] for run in runs_of] for name in
          ("full, 0.01", "linear probe", "layer decay", "LP-FT", "gradual unfreezing")}
tunnel = widgets.wind_tunnel(
    source, old, new, profile=sft.last_k(source, 3, 1e-3), beside=beside,
    test_to_train=0.3 / 0.4, batch_size=16, batchnorm="frozen", schedule=schedule)
await tunnel.run()

# %% [markdown]
# Of the stored strategies, gradual unfreezing and layer-wise decay come nearest: their means are close to full training on the new task, and they keep about twice as much of the old one. What you find yourself, you find by looking at the same validation images again and again; the best of many looks is too good a number (lesson 08).
#
# ## Test, once
#
# Of the two networks of this page, the one with the higher validation accuracy gets one look at the test words. These are other words, so expect another number, as far away as the intervals allow.

# %%
chosen = max(found, key=lambda name: found[name].value)
networks = {"head only": first, "two groups": model}
result = sft.evaluate(networks[chosen], data.test, out=OUT)
print(f"{chosen}: test {result.accuracy}, majority rate {result.majority:.3f}")

# %% [markdown]
# ## What you have seen
#
# - The usual recipe is LP-FT with two parameter groups. A profile, a rate for each stage, is its general form. It needs enough epochs: at first it is behind the head that it started from.
# - On typefaces, letting layers learn is worth many points; the last five or all cannot be told apart. On solar cells no choice can be told from the probe.
# - Fine-tuning costs old answers, also where it gains nothing. At the same rate, fewer layers or a trained head cost less.
#
# **Which layers should learn, and how fast?** Head first; then as many late stages as validation images say, at rates found by powers of ten, until valid is flat; and fewer, or slower, if the old knowledge is still needed.
#
# *Where this lives in the library:* `sft.last_k`, `sft.layer_decay`, `sft.param_groups` in `sftlab/core/profiles.py`; `sft.widgets.wind_tunnel`. Type `sft.layer_decay??` to read it.
#
# ## The same in plain PyTorch
#
# Of the plain path at the end of lesson 00, one line changes: the optimizer gets a group for each stage. Here, layer-wise decay:

# %%
learning = [stage for stage in first if [*stage.parameters()]]
groups = [{"params": stage.parameters(), "lr": rate}
          for stage, rate in zip(learning, by_hand, strict=True)]
optimizer = torch.optim.AdamW(groups)

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/finetune.ipynb): what a rate costs of the old task, gradual unfreezing, and a schedule that forgets the profile.
#
# ## Sources
#
# - Yosinski, Clune, Bengio and Lipson, 2014, *How transferable are features in deep neural networks?*
# - Howard and Ruder, 2018, *Universal Language Model Fine-tuning for Text Classification*.
# - Kumar, Raghunathan, Jones, Ma and Liang, 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*.
# - Lee et al., 2023, *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts*.
# - McCloskey and Cohen, 1989, *Catastrophic Interference in Connectionist Networks*.
#
# Previous: [05 Rate](05_rate.ipynb). Next: [07 Overfit](07_overfit.ipynb).
