# %% [markdown]
# # What must I check before I believe it on my own photos?
#
# You will be able to
# - train a network on a folder of photographs of your own, with one parameter changed;
# - run the five checks that catch most false hopes: labels, copies, balance, intervals, mistakes;
# - keep what you made: a record of the run and a model file that answers for new photographs.
#
# 20 minutes; two to run. Comes after *Can a network that knows cats and cars find a broken solar cell?*
# By default the images are solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
from pathlib import Path

import numpy as np

import sftlab as sft
from sftlab import plot, style

style.use()

# %% tags=["parameters"]
DATA: str = "solar"                   # "solar", "solar-random", or "folder:PATH"
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 300                       # edge of the images in pixels
STRATEGY: str = "partial"             # "probe" (head), "partial" (a stage more) or "full"
RATE: float = 1e-4                    # learning rate of the head while fine-tuning
EPOCHS: int = 3                       # passes over the images while fine-tuning
SEED: int = 0                         # split, order of batches, start of the head
OUT: str = ""                         # folder for record and model; "" keeps nothing

# %% [markdown]
# ## Your folder
#
# Put the photographs of each class into a folder of its own, and those folders into one:
#
# ```
# my_photos/
#     healthy/   IMG_0001.jpg  IMG_0002.jpg  …
#     rust/      IMG_0101.jpg  …
# ```
#
# Then set `DATA` to `"folder:my_photos"` and run all cells; or leave the notebook alone and type
# `sftlab run 14_your_own_images -p DATA folder:my_photos`. Thirty photographs a class are a start, a hundred are good. If you have your own
# `train`, `valid` and `test` folders, put the class folders inside them and they are used as they are.

# %%
sft.check_parameters(globals(), DATA=str, BACKBONE=str, SIZE=(int, 32, 600),
                     STRATEGY=("probe", "partial", "full"), RATE=(float, 0, 1),
                     EPOCHS=(int, 1, 200), SEED=(int, 0), OUT=str)
data = sft.load(DATA, size=SIZE, seed=SEED)
print(data.card)

# %% [markdown]
# ## Check 1: do the labels say what you think they say?
#
# Look at the pictures as the network gets them: this small, this square, this cropped. If *you* cannot see the difference here, do not blame the network.

# %%
names = data.classes
y = data.train.y.numpy()
rng = np.random.default_rng(SEED)
some = [i for k in range(min(len(names), 4))
        for i in rng.permutation(np.flatnonzero(y == k))[:6]]
plot.images(data, some, columns=6, title="Training images, as the network sees them")

# %% [markdown]
# ## Check 2: is the same picture on both sides?
#
# A test image that is almost a training image proves memory, not skill. Identical pictures never share two splits here; that is checked by hash. Nearly identical
# ones (saved twice, a burst of the same moment) are yours to judge.

# %%
pairs = sft.data.near_duplicates(data)
print(f"{len(pairs)} pairs of almost identical images in different splits")
for a, i, b, j, distance in pairs[:5]:
    print(f"  {a} {i} and {b} {j}: distance {distance:.4f}")

# %% [markdown]
# A few pairs are no harm; dozens mean that your photographs come in series. Then keep each series together: load them with
# `sft.load("folder:…", groups=…)`, where `groups` names the series of a file. For the solar cells the lab already does: blocks of files stand
# for modules.
#
# ## Check 3: how much is there of each class?

# %%
counts = data.card.counts
print(f"{'':12s}" + "".join(f"{name:>12s}" for name in names))
for split, row in counts.items():
    print(f"{split:12s}" + "".join(f"{row[name]:12d}" for name in names))
print(f"\nalways the most frequent class: {data.card.majority:.1%} of the test images")
if few := [name for name in names if counts["test"][name] < 30]:
    print(f"fewer than 30 test images of {', '.join(few)}: recall is very uncertain")

# %% [markdown]
# Whatever accuracy comes out below, it has to be compared with *that* number, not with zero.
#
# ## Train: the head first, then the rest
#
# A new head starts at random. We train it alone, on features that are computed once, and only then let other stages move, gently, at a small rate.

# %%
original = sft.backbone(BACKBONE)
model = sft.replace_head(original, names, seed=SEED)
probe = sft.linear_probe(model, lr=1e-3)
history = sft.fit(model, data, probe, epochs=60, patience=20, seed=SEED)

# %% [markdown]
# Then the strategy of your choice, as a profile: a rate for each stage, 0 for those that stay as they are.

# %%
strategies = {
    "probe": probe,
    "partial": sft.last_k(model, 1, lr=RATE),
    "full": sft.layer_decay(model, lr=RATE, decay=0.7),
}
profile = strategies[STRATEGY]
plot.profile(profile, names=[STRATEGY])

# %%
if STRATEGY != "probe":
    history += sft.fit(model, data, profile, epochs=EPOCHS, batchnorm="frozen",
                       schedule=sft.warmup_cosine(0.1), patience=8, seed=SEED)
plot.curves(history)

# %% [markdown]
# If a line above says that no epoch was better than the weights it came with, fine-tuning did not help on the validation images, and the lab has put
# the probe's weights back. That happens: the more stages move, the easier it is to learn what is special about *these* modules or *this* camera.
#
# > **Predict.** The curve shows accuracy on the validation images, with which the epoch was chosen. Will the test accuracy be higher, lower, or about the same? Write your guess down.

# %%
guess = sft.widgets.predict("test accuracy, in percent", 0, 100, default=80)
guess

# %% [markdown]
# ## Check 4: the number, with its interval
#
# This cell is the only one that looks at the test images. Run it once, at the end; every look that leads to a change makes the number a little less honest.

# %%
result = sft.evaluate(model, data.test)
print(result)

# %% [markdown]
# Is that better than knowing nothing? The lower end of the interval has to clear the majority rate.

# %%
better = result.accuracy.low > result.majority
print(f"accuracy {result.accuracy:.3f}, {result.n} images; majority {result.majority:.3f}")
print("the whole interval lies above it: the network has learned something" if better
      else "the interval does not clear it: this run shows no skill")
plot.guessed(100 * result.accuracy.value, float(guess))

# %% [markdown]
# Which errors are they?

# %%
plot.confusion(result)

# %% [markdown]
# Rows are the truth, columns the answer. Accuracy treats all errors alike; your problem does not. A missed defect costs a roof, a false alarm costs a second look.
#
# Can you believe its percentages? Of all images to which it gives 80 %, four in five should be right.

# %%
plot.reliability(result)

# %% [markdown]
# ## Check 5: look at the mistakes
#
# First those in which it was most sure of itself, and wrong. They are the best place to find wrong labels, bad crops, and shortcuts.

# %%
plot.mistakes(result, data, n=12, columns=6)

# %% [markdown]
# Then those on which it could not decide: what you would hand to a person.

# %%
p = np.array(result.probabilities)
margin = np.sort(p, axis=1)[:, -1] - np.sort(p, axis=1)[:, -2]
torn = np.argsort(margin)[:6]
said = [f"{names[p[i].argmax()]} {p[i].max():.0%}" for i in torn]
plot.images(data.test, torn, titles=said, columns=6, licence=data.card.licence,
            title="The six it is least certain of")

# %% [markdown]
# ## Keep it
#
# With `OUT` set, as `sftlab run` does, the record (settings, curves, every test image's probabilities) and the model are kept. The model file carries its card: classes,
# size, licence and this result travel with the weights.

# %%
if OUT:
    sft.records.write(result, Path(OUT) / "record.json")
    sft.records.write(history, Path(OUT) / "history.json")
    sft.save(model, Path(OUT) / "model.safetensors", trained_size=SIZE,
             data=data.card.name, data_licence=data.card.licence,
             accuracy=f"{result.accuracy:.3f}", majority=round(result.majority, 3))
    print("kept: record.json, history.json, model.safetensors")

# %% [markdown]
# Later, in any notebook or script:
#
# ```python
# model = sft.load_model("runs/…/model.safetensors")
# for answer in sft.predict(model, ["new_1.jpg", "new_2.jpg"]):
#     print(answer.file, answer.label, answer.confidence)
# ```

# %% [markdown]
# ## What you have seen
#
# - Five checks before belief: look at the images as the network gets them; look for copies; know the majority rate; read the interval; look at the mistakes.
# - The head first, then a little more at a small rate: a strong default that costs little, and is undone where it does not help.
# - A result that is kept as a record can be compared, repeated and doubted. One that is remembered cannot.
#
# **What must you check?** That the labels are visible, the splits are strangers, the interval clears the majority rate, and the mistakes are ones you can live with.
#
# *Where this lives in the library:* `sft.load("folder:…")`, `sft.data.near_duplicates`, `sft.evaluate`, `sft.save`, `sft.load_model`, `sft.predict`.

# %% [markdown]
# ## The same in plain PyTorch
#
# ```python
# set_ = torchvision.datasets.ImageFolder("my_photos", transform=weights.transforms())
# train, valid, test = torch.utils.data.random_split(set_, [0.6, 0.15, 0.25])
# model.requires_grad_(False)
# model.fc = torch.nn.Linear(model.fc.in_features, len(set_.classes))
# optimizer = torch.optim.AdamW(model.fc.parameters(), lr=1e-3)
# for epoch in range(30):
#     model.eval(); model.fc.train()          # a frozen stage must not drift
#     for x, y in torch.utils.data.DataLoader(train, 32, shuffle=True):
#         loss = torch.nn.functional.cross_entropy(model(x), y)
#         optimizer.zero_grad(); loss.backward(); optimizer.step()
# ```
#
# What the lab adds: copies stay on one side, unreadable files are listed, the frozen part runs once, the best epoch comes back, and the number has an interval.
#
# ## Try it
#
# - **Tweak.** Run it with `STRATEGY = "probe"`, then with `DATA = "solar-random"`. Which difference is larger than the interval, and why?
# - **Build.** Photograph thirty of each of two things on your desk, and run it on that folder.
# - **Break.** Copy ten photographs from one class folder into the other. Which check notices?
#
# ## Sources
#
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. Head first, then the rest.
# - Howard and Ruder, 2018, *Universal Language Model Fine-tuning for Text Classification*. Smaller rates for earlier layers.
# - Guo et al., 2017, *On Calibration of Modern Neural Networks*. The reliability picture.
# - Barz and Denzler, 2020, *Do We Train on Test Data? Purging CIFAR of Near-Duplicates*. Why check 2.
#
# Previous: [08 Decide](08_decide.ipynb).
