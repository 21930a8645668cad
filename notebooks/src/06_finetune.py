# %% [markdown]
# # Which layers should learn, and how fast?
#
# You will be able to
# - write the usual recipe by hand: the head first, then two parameter groups, augmentation on train only;
# - write partial and full fine-tuning, layer-wise decay, LP-FT and gradual unfreezing as a learning-rate profile;
# - measure what a choice of layers gains on the new task, and what it costs of the old one.
#
# 35 minutes to read, under a minute to run. Comes after [05 Rate](05_rate.ipynb).
# Images: words drawn with matplotlib's fonts; digits, CC BY 4.0, Alpaydin and Kaynak 1998; photographs that come with scikit-learn, CC BY 2.0; solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018, behind stored numbers.

# %%
import copy
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import sftlab as sft
from sftlab import plot, widgets
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
LABELS: int = 60   # training images of each font family, 5 to 60
EPOCHS: int = 8    # passes of partial fine-tuning, 3 to 16
SEED: int = 0      # split, start of the head, order of batches

# %% [markdown]
# ## A task that photographs do not teach
#
# A network that was pretrained on photographs knows cats and cars. Here it has to name the **typeface** of a printed word: nine font families, one of which a guess hits one time in nine. The words of train, valid and test are different ones, so no word can be learned by heart.

# %%
sft.check_parameters(globals(), LABELS=(int, 5, 60), EPOCHS=(int, 3, 16), SEED=(int, 0))
data = sft.load("typefaces", per_class=LABELS, seed=SEED)
figure, axes = plt.subplots(1, 9, figsize=(10, 1.5), layout="constrained")
for family, ax in enumerate(axes):
    image = data.train[int((data.train.y == family).nonzero()[0])][0]
    ax.imshow(image[0], cmap="gray", vmin=0, vmax=255); ax.set_axis_off()
    ax.set_title(data.classes[family], fontsize=8)
figure

# %% [markdown]
# ## What everybody writes
#
# The usual recipe has two acts. First the new head alone. Then everything, the pretrained layers at a tenth of the head's rate, with augmentation. **Augmentation** shows each training image a little different in every epoch. It must not change the label: a word that is moved by a few pixels, or printed paler, keeps its typeface; a slanted one may become another. Valid and test images stay as they are, because there we measure. (A split can be counted and indexed, which is all that PyTorch's `DataLoader` asks of a data set.)

# %%
augment = v2.Compose([v2.RandomCrop(64, padding=4, padding_mode="edge"),
                      v2.ColorJitter(brightness=0.2, contrast=0.2)])


def augmented(pairs):
    x, y = zip(*pairs)
    return torch.stack([augment(image) for image in x]), torch.stack(y)


# %%
torch.manual_seed(SEED)
loader = DataLoader(data.train, batch_size=32, shuffle=True, collate_fn=augmented)
images, targets = next(iter(loader))
print(images.shape, images.dtype, targets[:8])

# %% [markdown]
# **Act one.** The pretrained layers are frozen and in eval mode, so their features are computed once (lesson 04). The head learns on them. These features have no augmentation: what is computed once is not varied.

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
# How good is it on new words? All nine pictures of a word come from the same letters, so the interval is one over words, not over pictures.

# %%
@torch.no_grad()
def accuracy(net, split=data.valid):
    """Return the share of right answers, with its 95 % interval over words."""
    images, targets = split.take(np.arange(len(split)))
    answers = torch.cat([net(some).argmax(1) for some in images.split(128)])
    return sft.proportion(answers == targets, split.groups)


found = {"head only": accuracy(model)}
print(f"head only {found['head only']}, majority rate {data.valid.majority:.3f}")

# %% [markdown]
# **Act two.** Two **parameter groups**, each with its own rate: 1e-3 for the head, 1e-4 for everything before it. The schedule is warm-up and cosine from lesson 05. The network stays in eval mode, which keeps BatchNorm's statistics (lesson 04); gradients flow all the same. Two epochs must do: moving every layer is dear.
#
# > **Predict.** How many points will the pretrained layers add when they may move?

# %%
guess = widgets.predict("points gained by act two", -10, 40, 5, name="two")

# %%
first = copy.deepcopy(model)  # the end of act one, to start others from it


def schedule(t):
    """Return the factor on every rate at share t of the run."""
    return min(1, t / 0.1 + 0.01) * (1 + np.cos(np.pi * t)) / 2


optimizer = torch.optim.AdamW([{"params": head.parameters(), "lr": 1e-3},
                               {"params": body.parameters(), "lr": 1e-4}])
total = EPOCHS // 3 * len(loader)
rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: schedule(n / total))
for _ in range(EPOCHS // 3):
    for images, targets in loader:
        loss = torch.nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad(); loss.backward(); optimizer.step(); rates.step()
found["two groups"] = accuracy(model)
gained = 100 * (found["two groups"].value - found["head only"].value)
plot.guess_vs_result(gained, guess, low=-10, high=40, unit="points")

# %% [markdown]
# ## The same as a profile
#
# In its first epochs, fine-tuning may fall behind the head that it began with, as in lesson 05: it disturbs the features before it improves them. Two epochs are too few to judge it. Before we train longer: two groups are one case of something more general, a rate for *each* stage. The library writes it as a **learning-rate profile**, a plain dict in which 0 means frozen, and makes the groups of it. It is what we wrote by hand:

# %%
stages = list(sft.last_k(model, 0))  # the names of all stages that have weights
two_groups = dict.fromkeys(stages, 1e-4) | {"head": 1e-3}
ours = {w: g["initial_lr"] for g in optimizer.param_groups for w in g["params"]}
library = {w: g["lr"] for g in sft.param_groups(model, two_groups) for w in g["params"]}
assert library == ours

# %% [markdown]
# The other strategies of the field are profiles as well.
#
# - The **linear probe** trains the head only, **partial fine-tuning** the last *k* stages, **full fine-tuning** all.
# - **Layer-wise decay** (Howard and Ruder 2018) gives each stage a fraction $d$ of the rate of the next: $\eta_i = \eta_{\text{head}}\, d^{\,n-i}$ for stage $i$ of $n$. Early stages see edges that every image has; late ones see what the old task needed.

# %%
decay = sft.layer_decay(model, lr=1e-3, decay=0.7)
by_hand = [1e-3 * 0.7**k for k in reversed(range(len(stages)))]
assert np.allclose(list(decay.values()), by_hand)
probe, partial = sft.last_k(model, 0, 1e-3), sft.last_k(model, 5, 3e-4)
plot.profile(probe, partial, two_groups, decay,
             names=["linear probe", "last five", "two groups", "layer-wise decay"])

# %% [markdown]
# Two more strategies change the profile in *time*. **LP-FT** (Kumar et al. 2022) is a linear probe, then fine-tuning from its head: the two acts above are LP-FT. **Gradual unfreezing** (Howard and Ruder 2018) lets one stage after the other learn, from the head backwards: `last_k(model, 0)` for some epochs, then `last_k(model, 1)`, and so on.
#
# ## Which layers pay?
#
# The same start, but other layers: the last five stages and the head, all at 3e-4. The frozen front runs only once, so its eight epochs take about as long as two or three of all layers. One call:

# %%
tuned = copy.deepcopy(first)
sft.fit(tuned, data, partial, EPOCHS, schedule=schedule, batchnorm="frozen",
        keep_best=False, seed=SEED, verbose=False)
found["last five stages"] = accuracy(tuned.eval())

# %% [markdown]
# One run is one draw, and a short one. Beforehand, `benchmarks/start.py` ran four strategies to a flat curve over five splits, with 60 labels a class (the last five stages at 1e-3 for 16 epochs, all at 5e-4 for 20); no epoch was chosen. Fine-tuning starts from the probe's head, so it is LP-FT.
#
# > **Predict.** With 60 labels a class, how many points more than the probe does fine-tuning the last five stages reach?

# %%
guess = widgets.predict("points more than the probe", -10, 40, 5, name="five")

# %%
record = sft.records.read("../benchmarks/start.json")["typefaces"].values()
NAMES = {"head only": "linear probe", "last five stages": "partial fine-tuning",
         "all at 5e-4": "full fine-tuning", "all, from scratch": "from scratch"}
done = [run for run in record if "full fine-tuning" in run]
runs = {label: np.array([100 * run[name][-1] for run in done if name in run])
        for label, name in NAMES.items()}


def half(values, shared=0.25 / 0.5):
    """Return half of the 95 % interval of a mean of runs over random splits."""
    freedom = len(values) - 1
    error = values.std() / np.sqrt(max(1, freedom)) * np.sqrt(1 + len(values) * shared)
    return stats.t.ppf(0.975, freedom) * error


for label, values in runs.items():
    print(f"{label:18} {values.mean():.1f} ± {half(values):.1f} %, {len(values)} runs")

# %% [markdown]
# Splits of the same words share images, so the interval is wider than for independent runs, by as much as Nadeau and Bengio (2003) found: `shared` is the number measured on for each learned from. (Lesson 08 comes back to it.)
#
# A probe can only sort what the frozen features say, and features for photographs say little about typefaces. Letting stages move pays; from scratch there are too few labels. All strategies met the same splits, so we may also subtract, split by split.

# %%
gains = {label: runs[label] - runs["head only"]
         for label in ("last five stages", "all at 5e-4")}
now = 100 * (found["last five stages"].value - found["head only"].value)
rows = {"60 labels a class, stored": gains, f"{LABELS} labels a class, now": {}}
plot.differences(rows, to="head only", test_to_train=0.25 / 0.5,
                 live={[*rows][1]: {"last five stages": now}})

# %%
more = runs["all at 5e-4"] - runs["last five stages"]
print(f"all against the last five: {more.mean():+.1f} ± {half(more):.1f} points;",
      "now:", *(f"{name} {score.value:.3f}," for name, score in found.items()))
plot.guess_vs_result(np.mean(gains["last five stages"]), guess, low=-10, high=40,
                     unit="points")

# %% [markdown]
# ## What it costs
#
# Fine-tuning overwrites. What does the network still know of its old task, the thousand classes of ImageNet? Its old head was taken off; nothing forbids us to put it back, and to count to how many squares of two photographs it still gives its old answer.

# %%
from sklearn.datasets import load_sample_images

photos = torch.tensor(np.stack(load_sample_images().images))
squares = photos.unfold(1, 96, 47).unfold(2, 96, 77).reshape(-1, 3, 96, 96)


@torch.no_grad()
def kept(net):
    """Return the share of squares that the old head answers as it did."""
    before = original(squares).argmax(1)
    return sft.proportion(original.head(net[:-1](squares)).argmax(1) == before)


# %% [markdown]
# > **Predict.** The two groups moved the pretrained layers by a small rate, 1e-4, for a few epochs. How many percent of the old answers are left?

# %%
guess = widgets.predict("old answers left, in percent", 0, 100, 80, name="left")

# %%
left = {"two groups": kept(model), "last five stages": kept(tuned)}
print(*(f"{name}: {share}" for name, share in left.items()), sep="\n")
plot.guess_vs_result(100 * left["two groups"].value, guess)

# %% [markdown]
# What is gone is **catastrophic forgetting** (McCloskey and Cohen 1989). The report on the new task never shows it. It matters if the network has other work to do: a second head, next year's camera, rare cases.
#
# ## A task where it does not pay
#
# The same network on solar cells, 100 labels a class, five splits (`benchmarks/layers.py`), in points against the linear probe, split by split: what is learned, and what is kept of 128 old answers. (One rate of 1e-3 for all stages is left out: it learns less than the probe and keeps nothing.)

# %%
cells = list(sft.records.read("../benchmarks/layers.json")["solar"].values())
names = ["last two stages", "full, 1e-4", "layer decay", "LP-FT"]
solar = {task: {name: [100 * (run[name][k] - run["linear probe"][k]) for run in cells]
                for name in names} for k, task in enumerate(("kept", "learned"))}
plot.differences(solar, to="the linear probe", test_to_train=0.15 / 0.6)

# %% [markdown]
# On the new task every bar crosses zero: five splits of 200 images do not say that any choice of layers is better than the probe. On the old one all bars are clear. So here the choice is one of what is kept. Compare LP-FT with full fine-tuning, which has the same rate: a trained head makes the loss small before the backbone moves, and a small loss has small gradients. That is the argument of Kumar et al. (2022).
#
# Why do typefaces need the layers and solar cells not? **The further the new task is from what the network knows, the more layers should learn** is a guess from two tasks; Yosinski et al. (2014) and Lee et al. (2023) give it reasons. Your validation images decide.

# %% [markdown]
# ## The wind tunnel
#
# Now you. To retrain while you wait we need a small world: a network of four stages and 6,000 weights that has learned the handwritten digits 0 to 4 (the *old* task) and now learns 5 to 9 from ten labels each (the *new* one).

# %%
def digits(low, high, **how):
    """Return the digits from `low` up to but without `high`."""
    every = sft.load("digits", valid=0.3, test=0.3, seed=SEED, **how)

    def some(split):
        return split.subset(np.flatnonzero((split.y >= low) & (split.y < high)))

    return replace(every, train=some(every.train), valid=some(every.valid))


old, new = digits(0, 5), digits(5, 10, per_class=10)
source = sft.replace_head(sft.backbone("tiny", seed=SEED), old.classes, seed=SEED)
history = sft.fit(source, old, sft.last_k(source, 3, 1e-2), 30, schedule=schedule,
                  seed=SEED)

# %% [markdown]
# Paint a profile, one bar a stage, frozen at the bottom. Let go, and the network is trained anew; a row shows what it keeps and what it learns. Hollow circles are 20 stored seeds of the strategies. Can you keep *and* learn?

# %%
runs_of = list(sft.records.read("../benchmarks/layers.json")["digits"].values())
beside = {name: [run[name] for run in runs_of] for name in
          ("full, 0.01", "linear probe", "layer decay", "LP-FT", "gradual unfreezing")}
tunnel = widgets.wind_tunnel(
    source, old, new, profile=sft.last_k(source, 3, 1e-3), beside=beside,
    test_to_train=0.3 / 0.4, batch_size=16, batchnorm="frozen", schedule=schedule)
await tunnel.run()

# %% [markdown]
# Whatever you find there, you find by looking at the same validation images again and again; the more often, the more it flatters.
#
# ## Test, once
#
# The choice was made on valid: of the runs on this page, the one with the highest validation accuracy. It gets one look at the test words.

# %%
chosen = max(found, key=lambda name: found[name].value)
network = {"head only": first, "two groups": model, "last five stages": tuned}[chosen]
print(f"{chosen}: test {accuracy(network, data.test)}, "
      f"majority rate {data.test.majority:.3f}")

# %% [markdown]
# ## What you have seen
#
# - The usual recipe is LP-FT with two parameter groups. A profile, a rate for each stage, is its general form.
# - On typefaces, which layers learn is worth many points; on solar cells the strategies cannot be told apart by what they learn.
# - What fine-tuning gains, it takes from what the network knew. It can be measured: the old head, or changed answers.
#
# **Which layers should learn, and how fast?** Head first; then as many late stages as validation images say, at rates that a sweep found; and fewer, or slower, if the old knowledge is still needed.
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
# ## Try it
#
# - **Tweak.** Set `LABELS` to 20. The last five stages now take a third of the steps at the same rate. What becomes of them, and which rate or how many epochs repair it?
# - **Build.** Write gradual unfreezing with three calls of `sft.fit` from `first`, and compare it with the last five stages after as many epochs.
# - **Break.** In the wind tunnel, turn the slope round: the stem at 2e-2, the head at 1e-3. Predict both numbers first.
#
# ## Sources
#
# - Yosinski, Clune, Bengio and Lipson, 2014, *How transferable are features in deep neural networks?*
# - Howard and Ruder, 2018, *Universal Language Model Fine-tuning for Text Classification*.
# - Kumar, Raghunathan, Jones, Ma and Liang, 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*.
# - Lee et al., 2023, *Surgical Fine-Tuning Improves Adaptation to Distribution Shifts*.
# - McCloskey and Cohen, 1989, *Catastrophic Interference in Connectionist Networks*.
# - Nadeau and Bengio, 2003, *Inference for the Generalization Error*.
#
# Previous: [05 Rate](05_rate.ipynb). Next: [07 Overfit](07_overfit.ipynb).
