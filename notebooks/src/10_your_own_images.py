# %% [markdown]
# # What must I check before I believe it on my own photographs?
#
# You will be able to
# - train a network on a folder of photographs of your own, with one parameter changed;
# - run the six checks that catch most false hopes: pictures, copies, balance, labels, intervals, mistakes;
# - keep what you made: a model file with its card, that answers for new photographs, or says "neither".
#
# 45 minutes; the first run takes some eight minutes more on two cores, later ones two. Comes after *09 Decide*; the checks can be followed after *00 Start here*. By default the images are solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons import your_own_images as own
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
DATA: str = "solar"                   # "solar", "solar-random", or "folder:PATH"
GROUPS: str = ""                      # of a folder: "subfolder", "prefix", "minute"
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 300                       # edge of the images in pixels
STRATEGY: str = "auto"                # "probe", "partial", "full", or "auto"
RATE: float = 1e-4                    # learning rate of the head while fine-tuning
EPOCHS: int = 3                       # passes over the images while fine-tuning
AUGMENT: bool = False                 # mirror training images at random meanwhile
SEED: int = 0                         # split, order of batches, start of the head
DEVICE: str = "cpu"                   # where the network computes: "cpu", "cuda" or "mps"
OUT: str = ""                         # folder for record and model; "" keeps nothing

# %% [markdown]
# ## Your folder
#
# Put the photographs of each class into a folder of its own, and those folders into one: `my_photos/healthy/IMG_0001.jpg`, `my_photos/rust/IMG_0101.jpg`. Then set `DATA` to `"folder:my_photos"` and run all cells; or leave the notebook alone and type `sftlab run 10_your_own_images -p DATA folder:my_photos`. Folders named `train`, `valid` and `test` above the class folders are used as they are.
#
# Where to begin; these are rules of thumb, and the validation images decide:
#
# | photographs a class | begin with |
# |---|---|
# | under 30 | `STRATEGY="probe"`; each further photograph helps more than a setting |
# | 30 to 300 | `"auto"`; `SIZE=160` if you can see the difference at that size |
# | 300 to 3,000 | `"partial"`, `RATE=1e-4`, `EPOCHS=8`; `AUGMENT=True` if a mirrored photograph is still one of its class; another `BACKBONE` of lesson 01 |
# | more | `"full"`, `RATE=3e-4`, on a GPU (`DEVICE="cuda"`); compare it with `"probe"` on the validation images |

# %%
sft.check_parameters(globals(), DATA=str, GROUPS=("", "subfolder", "prefix", "minute"),
                     BACKBONE=str, SIZE=(int, 32, 600),
                     STRATEGY=("auto", "probe", "partial", "full"), RATE=(float, 0, 1),
                     EPOCHS=(int, 1, 200), AUGMENT=bool, SEED=(int, 0),
                     DEVICE=("cpu", "cuda", "mps"), OUT=str)
data = sft.corrected(sft.load(DATA, size=SIZE, seed=SEED))
print(data.card)

# %% [markdown]
# ## Check 1: can the difference be seen?
#
# These are the pictures as the network gets them: this small, this square, this cropped. If *you* cannot see the difference, choose a larger `SIZE`, or crop the photographs first.

# %%
names, y = data.classes, data.train.y.numpy()
rng = np.random.default_rng(SEED)
some = [i for k in range(min(len(names), 4))
        for i in rng.permutation(np.flatnonzero(y == k))[:6]]
plot.images(data, some, columns=6, title="Training images, as the network sees them")

# %% [markdown]
# ## Check 2: is the same picture on both sides?
#
# A test image that is almost a training image measures memory. Identical pictures never share two splits here. Nearly identical ones (saved twice, or a series of the same moment) do, unless the split is told what belongs together. `GROUPS` says it: all photographs of one `"subfolder"` (a patient, a day), those whose names have the same `"prefix"` before the last number, or those taken in the same `"minute"`.

# %%
def series(file):
    """Return what photographs share that belong together, as GROUPS says."""
    path = Path(file)
    if GROUPS == "subfolder":
        return file if path.parent.name in names else path.parent.name
    if GROUPS == "prefix":
        return re.sub(r"[\W_]*\d+$", "", path.stem)
    with Image.open(path) as photo:
        taken = photo.getexif().get_ifd(0x8769).get(0x9003)  # EXIF: when
    return str(taken)[:16] if taken else file


given = data.card.split.startswith("as the folders are")
if GROUPS and (given or not data.train.files):
    print("GROUPS is not used: the split is already given, or there are no files")
elif GROUPS:
    group = np.unique([series(f) for f in data.train.files], return_inverse=True)[1]
    parts = [replace(part, image_groups=group.tolist())
             for part in (data.train, data.valid, data.test)]
    data = sft.data.resplit(replace(data, train=parts[0], valid=parts[1],
                                    test=parts[2]), SEED)
    y = data.train.y.numpy()
    print(f"{group.max() + 1} groups of {len(group)} photographs, none in two splits")

# %%
look = []  # what deserves a look, with the names of the files
splits = {part.name: part for part in (data.train, data.valid, data.test)}
called = {name: part.names for name, part in splits.items()}
pairs = sft.data.near_duplicates(data)
for a, i, b, j, _ in pairs:
    look.append({"why": "almost the same picture in two splits",
                 "file": called[a][i], "says": called[b][j]})
print(f"{len(pairs)} pairs of almost identical images in different splits")
both = [(s, i) for a, i, b, j, _ in pairs[:6] for s, i in ((a, i), (b, j))]
if both:
    plot.images(data.train.of_rows([splits[s].index[i] for s, i in both]), columns=6,
                titles=[f"{s}\n{called[s][i].rpartition('/')[2]}" for s, i in both],
                licence=data.card.licence, title="Pairs, beside each other")

# %% [markdown]
# A few pairs do little harm. Dozens mean that the photographs come in series: run it again with `GROUPS`. For the solar cells the lab has done so: blocks of files stand for modules.
#
# ## Check 3: how much is there of each class?

# %%
counts = data.card.counts
print(pd.DataFrame(counts).to_string(max_rows=25))
print(f"\nalways the most frequent class: {data.card.majority:.1%} of the test images")
if few := [name for name in names if counts["test"][name] < 30]:
    print(f"fewer than 30 test images of {', '.join(few[:20])}: recall is uncertain")

# %% [markdown]
# ## Check 4: which labels does everything else contradict?
#
# Some labels are wrong: a slip of the hand, a photograph in the wrong folder, a case on which two experts differ. A label is in doubt where a network is confident of another class. *Confident* is meant by each class's own standard: its threshold is the mean probability that the images with this label get. This is **confident learning**.

# %%
def in_doubt(p, y):
    """Return the positions of labels in doubt, the most doubtful first."""
    threshold = np.array([p[y == k, k].mean() if k in y else np.inf
                          for k in range(p.shape[1])])
    sure = np.where(p >= threshold, p, -1)      # only confident answers count
    other = sure.argmax(axis=1)
    found = np.flatnonzero((sure.max(axis=1) >= 0) & (other != y))
    margin = p[found, y[found]] - p[found, other[found]]
    return found[np.argsort(margin, kind="stable")]


# %% [markdown]
# A network that has learned wrong labels repeats them. So the training images are cut into five folds; five probes learn from four folds each and are asked about the fifth (*cross-validation*). What they name are wrong labels, and images that are hard. Which of the two, you decide.

# %%
original = sft.backbone(BACKBONE).to(DEVICE)
try:
    opinion = sft.labels.cross_val_proba(original, data, seed=SEED)
    rest = np.where(np.arange(len(names)) == y[:, None], -1, opinion).argmax(axis=1)
    for i in in_doubt(opinion, y):
        look.append({"why": "label in doubt", "file": called["train"][i],
                     "label": names[y[i]], "says": names[rest[i]]})
    shown = widgets.relabel(data, opinion)
except ValueError as few:
    print(f"No label is doubted here: {few}.")

# %% [markdown]
# Choose another label below a picture, or leave the picture out: each choice is a line in a CSV file named after the data; your folder stays as it is. Run the notebook again from the top, and `sft.corrected`, in the cell after the parameters, uses the file. Correct what *you* can see to be wrong. Test labels are not shown: whoever corrects the test until the network passes has no test any more.
#
# ## Train: the probe first
#
# A new head starts at random. We train it alone, on features that are computed once: a linear probe.

# %%
model = sft.replace_head(original, names, seed=SEED)
history = sft.fit(model, data, sft.linear_probe(model, lr=1e-3), epochs=60,
                  patience=20, seed=SEED)
missed = round((1 - history.kept.valid_accuracy) * len(data.valid))
print(f"the probe is wrong on {missed} of {len(data.valid)} validation images")

# %% [markdown]
# Is fine-tuning worth its time, most of a run? It can only win the validation images on which the probe is wrong. With fewer than six of them even a perfect network could not be told apart from the probe (a coin shows five heads in five throws too often), and with less than 5 % there is little to gain. `"auto"` then stays with the probe; ask for `"partial"` or `"full"` to try all the same.

# %%
promising = missed >= 6 and missed > 0.05 * len(data.valid)
strategy = ("partial" if promising else "probe") if STRATEGY == "auto" else STRATEGY
# all layers keep their maps for the backward pass: fewer large images fit in memory
batch = max(4, min(32, 32 * 160**2 // SIZE**2)) if strategy == "full" else 32
print(f"strategy: {strategy};", f"{batch} images a batch, RATE {RATE:g}"
      if strategy != "probe" else "RATE and EPOCHS are not used")

# %%
if strategy != "probe":
    profile = (sft.last_k(model, 1, lr=RATE) if strategy == "partial"
               else sft.layer_decay(model, lr=RATE, decay=0.7))
    mirror = sft.data.flip if AUGMENT else None
    history += sft.fit(model, data, profile, epochs=EPOCHS, batchnorm="frozen",
                       schedule=sft.warmup_cosine(0.1), patience=8, batch_size=batch,
                       augment=mirror, seed=SEED)
    now = round((1 - history.kept.valid_accuracy) * len(data.valid))
    print(f"wrong on {now} validation images after it, on {missed} before")

# %% [markdown]
# A difference of fewer than six validation images does not show that it helped. Where no epoch had a lower loss than the probe, the probe's weights are back.
#
# > **Predict.** The epoch was chosen by the validation images. Will the test accuracy be higher, lower, or about the same?

# %%
guess = widgets.predict("test accuracy, in percent", 0, 100, default=80)

# %% [markdown]
# ## Check 5: the number, with its interval
#
# The next cell looks at the test images. Run it once; every look that leads to a change makes the number a little less honest.

# %%
result = sft.evaluate(model, data.test)
lines = str(result).splitlines()      # a line a class
print("\n".join(lines if len(lines) < 30 else [*lines[:20], "…", lines[-1]]))

# %%
test, valid = result.accuracy, sft.evaluate(model, data.valid).accuracy
side = ("test is higher than valid" if test.low > valid.high else
        "test is lower than valid" if test.high < valid.low else
        "the intervals overlap: test and valid cannot be told apart")
print(f"valid {valid:.3f}, test {test:.3f}:\n{side}")
plot.guess_vs_result(100 * result.accuracy.value, guess)

# %% [markdown]
# On average the test is a little lower, because the epoch was chosen on the validation images. A clear difference says that the two splits hold different things: other modules, other days, other people.
#
# Was this split a lucky one? The interval cannot know. So all images are split anew three times, and a probe learns on each split.

# %%
def on_another_split(seed):
    """Return the test accuracy of a probe after the same images were split anew."""
    other = sft.data.resplit(data, seed)
    net = sft.replace_head(original, names, seed=seed)
    sft.fit(net, other, sft.linear_probe(net, lr=1e-3), epochs=60, patience=20,
            seed=seed, verbose=False)
    return sft.evaluate(net, other.test).accuracy.value


try:
    again = [] if given else [on_another_split(SEED + k) for k in range(1, 4)]
    print(f"a probe on three other splits: mean {np.mean(again):.3f}, from "
          f"{min(again):.3f} to {max(again):.3f}" if again else
          "your folders say what is tested on, so nothing is split anew")
except ValueError as error:  # too few of a class, or too few groups
    again = []
    print(f"not split anew: {error}")

# %% [markdown]
# A number above all three means a lucky split, or that fine-tuning helped: the three are probes. Their mean is the safer one to tell others.
#
# Which errors are they? Rows are the truth, columns the answer. Accuracy treats all errors alike; where yours have different costs, choose a threshold as in lesson 09.

# %%
table = pd.DataFrame(result.confusion, names, names)
print(table.to_string(max_rows=25, max_cols=8))

# %% [markdown]
# ## Check 6: look at the mistakes
#
# These are the mistakes in which it was most sure of itself. Look for bad crops, shortcuts, and labels that are wrong. A wrong test label is noted; it is corrected only by somebody who does not know the network's answer.

# %%
p, truth = np.array(result.probabilities), np.array(result.targets)
says, files = p.argmax(axis=1), called["test"]
errors = np.flatnonzero((truth >= 0) & (says != truth))
for i in sorted(errors, key=lambda i: -p[i].max()):
    look.append({"why": "mistake on a test image", "file": files[i],
                 "label": names[truth[i]], "says": names[says[i]]})

# %%
plot.mistakes(result, data, n=12, columns=6)

# %% [markdown]
# ## When should it say "neither"?
#
# One day it will be shown something that is none of your classes. It refuses where the largest probability is low, or where the picture is far from all training images in the features (see *[Calibration](further/calibration.ipynb)*). The *validation* images set both limits, so that 95 % of their right answers stay.

# %%
try:
    reject = sft.choose_reject_option(model, data, keep=0.95)
    print(f"neither below a probability of {reject.probability:.3f}, "
          f"or beyond a distance of {reject.distance:.3f}")
except ValueError as few:
    reject = None
    print(f"It will never say neither: {few}.")

# %%
widgets.upload(model, reject=reject, example=data.valid, licence=data.card.licence)

# %% [markdown]
# Drop photographs into the field: you see how sure the network is, and which regions raised its answer (a Grad-CAM heat map).
#
# ## Keep it
#
# The model file carries its story, and a page beside it tells it: data and licence, settings, this result with its intervals, limits. With `OUT` set, as `sftlab run` does, all is kept, with the list of what deserves a look.
#
# Later the file answers by itself, in any notebook (`sft.predict`) or without one: `sftlab predict runs/…/model.safetensors holiday/ --csv answers.csv` answers for every photograph of a folder, and `sftlab export runs/…/model.safetensors` writes an ONNX graph for phones and browsers. Here for two photographs of scikit-learn, a palace and a dahlia:

# %%
scratch = tempfile.TemporaryDirectory()
folder = Path(OUT or scratch.name)
sft.records.write(result, folder / "record.json")
sft.records.write(history, folder / "history.json")
pd.DataFrame(look).to_csv(folder / "look_at.csv", index=False)
file = sft.save(model, folder / "model.safetensors", data=data, history=history,
                result=result, reject=reject)

# %%
import sklearn

pictures = Path(sklearn.__file__).parent / "datasets" / "images"
for one in sft.predict(file, sorted(pictures.glob("*.jpg"))):
    why = one.refused or f"{one.confidence:.0%}"
    print(f"{Path(one.file).name:10s} {one.answer}: {why}")

# %% [markdown]
# ## Your result
#
# | your result looks like | do |
# |---|---|
# | skill is not shown | look at check 1 again; more photographs, or another question |
# | training high, validation much lower | more *different* photographs; a smaller network; `"probe"`; augmentation (lesson 07) |
# | both low | larger `SIZE`; another `BACKBONE`; `"partial"`, then `"full"` at a higher `RATE`; labels in doubt |
# | the interval is wide | more test photographs, or groups of them: four times as many halve it |
# | fine-tuning did not help | keep the probe: it is faster, and forgets nothing |
# | test much lower than validation | the splits differ: `GROUPS`, or photographs as they will come |
#
# For these photographs (the report of `sftlab run` begins with it):

# %% tags=["summary"]
Markdown(own.summary(data, model, history, result, look,
                     strategy=strategy, again=again))

# %% [markdown]
# ## What you have seen
#
# - Six checks before belief: the images as the network gets them; copies; the majority rate; labels; the interval; mistakes.
# - Only a network that has not learned an image may judge its label. A probability alone does not say what is none of its classes; the distance to what was learned says more.
# - The probe first. Fine-tuning is worth its time where the validation images promise more.
#
# **What must you check?** That the difference is visible, the splits share no series, the labels stand up, the interval clears chance, and the mistakes are ones you can live with.
#
# *Where this lives in the library:* `sft.load("folder:…")`, `sft.data.near_duplicates`, `sft.labels`, `sft.corrected`, `sft.evaluate`, `sft.choose_reject_option`, `sft.save`, `sft.predict`, `sft.export`.

# %% [markdown]
# ## The same in plain PyTorch
#
# ```python
# import torch
# from torch.utils.data import DataLoader, random_split
# from torchvision import datasets, models
#
# weights = models.ResNet18_Weights.DEFAULT
# photos = datasets.ImageFolder("my_photos", transform=weights.transforms())
# train, valid, test = random_split(photos, [0.6, 0.15, 0.25])
# model = models.resnet18(weights=weights).requires_grad_(False)
# model.fc = torch.nn.Linear(model.fc.in_features, len(photos.classes))
# optimizer = torch.optim.AdamW(model.fc.parameters(), lr=1e-3)
# model.eval()                                # BatchNorm keeps its statistics
#
# @torch.no_grad()
# def accuracy(part):
#     right = [model(x).argmax(1) == y for x, y in DataLoader(part, 32)]
#     return torch.cat(right).float().mean().item()
#
# best, kept = -1, None
# for epoch in range(10):
#     for x, y in DataLoader(train, 32, shuffle=True):
#         loss = torch.nn.functional.cross_entropy(model(x), y)
#         optimizer.zero_grad(); loss.backward(); optimizer.step()
#     if (now := accuracy(valid)) > best:
#         best, kept = now, {k: v.clone() for k, v in model.state_dict().items()}
# model.load_state_dict(kept)
# print(f"test accuracy {accuracy(test):.3f}, valid {best:.3f}")
# torch.save(kept, "model.pt")
# ```

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/your_own_images.ipynb): copies across splits, when to say "neither", and a judge that knows the answers.
#
# ## Sources
#
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. Head first, then the rest.
# - Northcutt, Jiang and Chuang, 2021, *Confident Learning: Estimating Uncertainty in Dataset Labels*. Check 4.
# - Sun et al., 2022, *Out-of-Distribution Detection with Deep Nearest Neighbors*. The limit of distance.
# - Selvaraju et al., 2017, *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*. The heat map.
# - Mitchell et al., 2019, *Model Cards for Model Reporting*. The card.
# - Barz and Denzler, 2020, *Do We Train on Test Data? Purging CIFAR of Near-Duplicates*. Why check 2.
#
# Previous: [09 Decide](09_decide.ipynb).
