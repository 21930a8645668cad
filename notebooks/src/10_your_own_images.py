# %% [markdown]
# # What must I check before I believe it on my own photos?
#
# You will be able to
# - train a network on a folder of photographs of your own, with one parameter changed;
# - run the six checks that catch most false hopes: pictures, copies, balance, labels, intervals, mistakes;
# - keep what you made: a model file with its card, that answers for new photographs, or says "neither".
#
# 30 minutes; two to run. Comes after *Can a network that knows cats and cars find a broken solar cell?*
# By default the images are solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import sftlab as sft
from sftlab import plot
from sftlab.analysis import decisions, labels
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
DATA: str = "solar"                   # "solar", "solar-random", or "folder:PATH"
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 300                       # edge of the images in pixels
STRATEGY: str = "partial"             # "probe" (head), "partial" (+ a stage), "full"
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
# `sftlab run 10_your_own_images -p DATA folder:my_photos`. Thirty photographs a class are a start, a hundred are good. If you have your own
# `train`, `valid` and `test` folders, put the class folders inside them and they are used as they are; `training_set`, `Test Data`, `dev` and other usual names will do.

# %%
sft.check_parameters(globals(), DATA=str, BACKBONE=str, SIZE=(int, 32, 600),
                     STRATEGY=("probe", "partial", "full"), RATE=(float, 0, 1),
                     EPOCHS=(int, 1, 200), SEED=(int, 0), OUT=str)
data = sft.corrected(sft.load(DATA, size=SIZE, seed=SEED))
print(data.card)

# %% [markdown]
# `sft.corrected` reads the labels that you correct further down: a CSV file with the name of the data set. As long as there is none, nothing changes.
#
# ## Check 1: can the difference be seen?
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
print(pd.DataFrame(counts).to_string(max_rows=40))
print(f"\nalways the most frequent class: {data.card.majority:.1%} of the test images")
if few := [name for name in names if counts["test"][name] < 30]:
    print(f"fewer than 30 test images of {', '.join(few[:20])}: recall is very uncertain")

# %% [markdown]
# Whatever accuracy comes out below, it has to be compared with *that* number, not with zero.
#
# ## Check 4: which labels does everything else contradict?
#
# Some labels are wrong: a slip of the hand, a photograph in the wrong folder, a case on which two experts differ. Can the network find them? To know how good it is at that, we *make* some: one
# training label in twenty is swapped for another, and we keep the list.

# %%
rng = np.random.default_rng(SEED)
swapped = rng.permutation(len(y))[: max(1, len(y) // 20)]
wrong = y.copy()
wrong[swapped] = (y[swapped] + rng.integers(1, len(names), len(swapped))) % len(names)
targets = data.train.targets.clone()
targets[data.train.index] = torch.from_numpy(wrong)
spoiled = sft.data.with_targets(data, targets, names)
print(f"{len(swapped)} of {len(y)} training labels are now wrong on purpose")

# %% [markdown]
# How to look for them? A label is in doubt where a confident network says something else. *Confident* is meant by its own standards: the threshold of a class is the
# mean probability that images with this label get, so that a class it is shy about is not lost. That is **confident learning**, and it fits in a few lines.

# %%
def in_doubt(p, y):
    """Return the positions of labels in doubt, the most doubtful first."""
    threshold = np.array([p[y == k, k].mean() if k in y else np.inf
                          for k in range(p.shape[1])])
    sure = np.where(p >= threshold, p, -1)      # only confident answers count
    other = sure.argmax(axis=1)
    found = np.flatnonzero((sure.max(axis=1) >= 0) & (other != y))
    return found[np.argsort(p[found, y[found]] - p[found, other[found]])]


def hits(p):
    """Return how many of the first suspects are labels that we have swapped."""
    return len(set(in_doubt(p, wrong)[: len(swapped)]) & set(swapped))

# %% [markdown]
# > **Predict.** The wrong way first: train a probe on the spoiled labels for a hundred epochs, and ask it about the very images it has learned from. It names as many suspects as we have
# > swapped labels, or fewer. What share of the swapped ones is among them?

# %%
share = sft.widgets.predict("swapped labels found, in percent", 0, 100, default=50,
                            name="found")

# %%
original = sft.backbone(BACKBONE)
learned = {}
for epochs in (20, 100):
    probe = sft.replace_head(original, names, seed=SEED)
    sft.fit(probe, spoiled, sft.linear_probe(probe, lr=1e-3), epochs, seed=SEED,
            keep_best=False, verbose=False)
    learned[epochs] = sft.predict_split(probe, spoiled.train)
plot.guess_vs_result(100 * hits(learned[100]) / len(swapped), float(share))

# %% [markdown]
# It has learned the wrong labels by heart, and repeats them. So nobody may judge an image that they have learned from: cut the training images into five parts, train on four, ask about the
# fifth, five times over. The features are on disk, so five probes cost two seconds.

# %%
try:
    part = labels.fold_of(spoiled.train, 5, SEED)   # fewer than five where a class is small
except ValueError as few:
    part = None
    print(f"This check is left out: {few}.")
p = np.empty((len(y), len(names)))
for fold in range(0 if part is None else part.max() + 1):
    away = spoiled.train.subset(np.flatnonzero(part == fold))
    rest = spoiled.train.subset(np.flatnonzero(part != fold))
    probe = sft.replace_head(original, names, seed=SEED)
    sft.fit(probe, sft.data.Data(rest, away, away, data.card),
            sft.linear_probe(probe, lr=1e-3), 20, seed=SEED, keep_best=False,
            verbose=False)
    p[part == fold] = sft.predict_split(probe, away)

# %%
if part is not None:
    library = labels.cross_val_proba(original, spoiled, seed=SEED)
    assert np.abs(p - library).mean() < 0.01    # equal to rounding, on any computer
    assert set(in_doubt(p, wrong)) == set(labels.find_label_issues(p, wrong))

    print(f"of {len(swapped)} swapped labels, among as many suspects:")
    print(f"{'by chance':28s} {len(swapped) ** 2 / len(y):4.0f}")
    for epochs, found in learned.items():
        print(f"{f'has seen them, {epochs} epochs':28s} {hits(found):4d}")
    print(f"{'has never seen them':28s} {hits(p):4d}")

# %% [markdown]
# The longer a network has learned, the less it doubts. One that has never seen the image finds most of the three, and nobody has to know when to stop. What it misses are swaps that look right
# to it; what it names besides are hard images, or labels that were wrong before we came. (A few dozen photographs give two or three swaps, too few to count.)
#
# Now the same for the labels as they are.

# %%
try:
    opinion = labels.cross_val_proba(original, data, seed=SEED)
    shown = sft.widgets.relabel(data, opinion)
except ValueError as few:
    print(f"No label is doubted here: {few}.")

# %% [markdown]
# Choose another label below a picture, or leave the picture out: each choice is a line in a CSV file named after the data, with the old label and the time, and your folder stays as it is. Run the notebook
# again from the top, and `sft.corrected` uses the file. Correct what *you* can see to be wrong, never what would make the network right. Test labels are not shown here, because who polishes
# the test until the network passes has measured his patience.

# %% [markdown]
# ## Train: the head first, then the rest
#
# A new head starts at random. We train it alone, on features that are computed once, and only then let other stages move, gently, at a small rate.

# %%
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

# %% [markdown]
# ## Check 5: the number, with its interval
#
# This cell is the only one that looks at the test images. Run it once, at the end; every look that leads to a change makes the number a little less honest.

# %%
result = sft.evaluate(model, data.test)
print(result)

# %% [markdown]
# Is that better than knowing nothing? Against chance: of two classes by the area under the ROC curve, of more by the balanced accuracy, in which a rare class counts as much as a common one. What is not shown may still be there; then more images decide.

# %%
print(decisions.skill(result))
plot.guess_vs_result(100 * result.accuracy.value, guess)

# %% [markdown]
# Was this split a lucky one? The interval cannot know. So all images are dealt anew five times, and a probe learns on each deal; its features are on disk. (It stands for every strategy: fine-tuning five
# times more would take five runs.) A number to be proud of lies among these, and nobody chooses the split by it.

# %%
def on_another_split(seed):
    """Return the test accuracy of a probe after the same images were split anew."""
    other = sft.data.resplit(data, seed)
    net = sft.replace_head(original, names, seed=seed)
    sft.fit(net, other, sft.linear_probe(net, lr=1e-3), epochs=60, patience=20,
            seed=seed, verbose=False)
    return sft.evaluate(net, other.test).accuracy.value


if data.card.split.startswith("as the folders are"):
    print("your folders say what is tested on, so nothing is dealt anew")
else:
    try:
        again = [on_another_split(seed) for seed in range(SEED + 1, SEED + 6)]
        print(f"a probe on five other splits: mean {np.mean(again):.3f}, "
              f"from {min(again):.3f} to {max(again):.3f}")
    except ValueError as error:  # too few of a class, or too few groups
        print(f"not dealt anew: {error}")

# %% [markdown]
# Which errors are they?

# %%
plot.confusion(result)

# %% [markdown]
# Rows are the truth, columns the answer. Accuracy treats all errors alike; your problem does not. A missed defect costs a roof, a false alarm costs a second look.
#
# Can you believe its percentages? Of all images to which it gives 80 %, four in five should be right. Beside the error (ECE) stands what an honest network shows on as few images: only more than that is a fault.

# %%
plot.reliability(result)

# %% [markdown]
# ## Check 6: look at the mistakes
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
# ## When should it say "neither"?
#
# One day it will be shown something that is none of your classes. A popular rule is to refuse when the largest probability is low. A better one measures how far the picture is from all training
# images, in the features (see *[Calibration](further/calibration.ipynb)*). We let the *validation* images set both limits, so that at least 95 % of the right answers stay.

# %%
try:
    reject = sft.choose_reject_option(model, data, keep=0.95)
    print(f"neither below a probability of {reject.probability:.3f}, "
          f"or beyond a distance of {reject.distance:.3f}")
    print(f"keeps {reject.kept:.1%} of {reject.images} right validation answers")
except ValueError as few:
    reject = None
    print(f"It will never say neither: {few}.")

# %% [markdown]
# What do they catch? Squares cut from two ordinary photographs, a palace and a dahlia:

# %%
from sftlab.analysis.explain import photo_crops
from sftlab.deploy.predict import predictor

if reject is not None:
    squares = photo_crops(40, size=SIZE)
    answers = predictor(model, size=SIZE, reject=reject).answers(["square"] * 40, squares)
    print(f"mean certainty {np.mean([a.confidence for a in answers]):.2f}")
    low = np.mean([a.confidence < reject.probability for a in answers])
    far = np.mean([a.distance > reject.distance for a in answers])
    print(f"refused by probability {low:.0%}, by distance {far:.0%}")

# %% [markdown]
# Compare the two shares, and the certainty about pictures of another world: certainty is no knowledge, and the distance does the work. It is not perfect either: try the strangers that *you* expect.
#
# ## Ask it
#
# Drop photographs into the field below. You see the picture as the network gets it, where the evidence for its answer lies, and how sure it is. Until then it shows a validation image.

# %%
sft.widgets.upload(model, reject=reject, example=data.valid,
                   licence=data.card.licence)

# %% [markdown]
# The heat map is Grad-CAM, with all the reservations of *[Calibration](further/calibration.ipynb)*. Try what the network was not made for: the back of your hand, a cell upside down, a screenshot of one.
#
# ## Keep it
#
# A model without its story is a riddle to the next person, and in half a year that person is you. So the story travels inside the model file, and beside it as a page: data and its licence, settings, this
# result with its intervals, versions, limits. With `OUT` set, as `sftlab run` does, all of it is kept, with the record of every test image's probabilities.

# %%
scratch = tempfile.TemporaryDirectory()
folder = Path(OUT or scratch.name)
sft.records.write(result, folder / "record.json")
sft.records.write(history, folder / "history.json")
file = sft.save(model, folder / "model.safetensors", data=data, history=history,
                result=result, reject=reject)
page = file.with_suffix(".md").read_text(encoding="utf-8")
Markdown(page.split("## Input")[0] + "…")

# %% [markdown]
# Later, in any notebook or script, the file answers by itself. Here for scikit-learn's two photographs:

# %%
import sklearn

pictures = Path(sklearn.__file__).parent / "datasets" / "images"
for one in sft.predict(file, sorted(pictures.glob("*.jpg"))):
    print(f"{Path(one.file).name:10s} {one.answer}: {one.refused or one.confidence}")

# %% [markdown]
# And a file that was damaged on its way is refused, not half believed. We flip a single bit in the middle of the weights:

# %%
broken = bytearray(file.read_bytes())
broken[len(broken) // 2] ^= 1
other = Path(scratch.name) / "broken.safetensors"
other.write_bytes(broken)
try:
    sft.load_model(other)
except ValueError as error:
    print(error)

# %% [markdown]
# Without Python at all:
#
# ```
# sftlab predict runs/…/model.safetensors holiday/ --csv answers.csv
# sftlab export runs/…/model.safetensors
# ```
#
# The first line answers for every photograph of a folder. The second writes an ONNX graph for phones, browsers and other languages, from pixels to probabilities, and checks it against torch before it keeps it.

# %% [markdown]
# ## What you have seen
#
# - Six checks before belief: look at the images as the network gets them; look for copies; know the majority rate; doubt the labels; read the interval; look at the mistakes.
# - Only who has not learned an image may judge its label. Only who knows the distance may say "neither".
# - The head first, then a little more at a small rate: a strong default that costs little, and is undone where it does not help.
#
# **What must you check?** That the difference is visible, the splits are strangers, the labels stand up to an outsider, the interval clears chance, and the mistakes are ones you can live with.
#
# *Where this lives in the library:* `sft.load("folder:…")`, `sft.data.near_duplicates`, `sft.labels`, `sft.corrected`, `sft.evaluate`, `sft.choose_reject_option`, `sft.save`, `sft.predict`, `sft.export`.

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

# %% [markdown]
# ## Try it
#
# - **Tweak.** Run it with `STRATEGY = "probe"`, then with `DATA = "solar-random"`. Which difference is larger than the interval, and why?
# - **Build.** Photograph thirty of each of two things on your desk, and run it on them.
# - **Break.** Copy ten photographs from one class folder into the other. Which checks notice?
# - **Break.** Let `in_doubt` ask the fine-tuned `model` instead of probes that have not seen the image. How many suspects are left?
#
# ## Sources
#
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. Head first, then the rest.
# - Howard and Ruder, 2018, *Universal Language Model Fine-tuning for Text Classification*. Smaller rates for earlier layers.
# - Guo et al., 2017, *On Calibration of Modern Neural Networks*. The reliability picture.
# - Northcutt, Jiang and Chuang, 2021, *Confident Learning: Estimating Uncertainty in Dataset Labels*. Check 4.
# - Sun et al., 2022, *Out-of-Distribution Detection with Deep Nearest Neighbors*. The limit of distance.
# - Selvaraju et al., 2017, *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*. The heat map.
# - Mitchell et al., 2019, *Model Cards for Model Reporting*. The card.
# - Barz and Denzler, 2020, *Do We Train on Test Data? Purging CIFAR of Near-Duplicates*. Why check 2.
#
# Previous: [09 Decide](09_decide.ipynb).
