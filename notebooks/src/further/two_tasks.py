# %% [markdown]
# # Does a second task help the first when labels are few?
#
# You will be able to
# - train one network on two questions when most images have the answer to one of them only;
# - say when a second task helps, when it harms and when it does nothing, in paired differences;
# - see in the gradients which way each task pulls the stages that they share.
#
# 20 minutes to read, under a minute to run. Needs lessons 03 to 08.
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import copy
from dataclasses import replace

import numpy as np
import torch
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.core import statistics
from sftlab.plot import style
from sftlab.analysis import task_gradients
from sftlab.lessons.two_tasks import compass
from sftlab.widgets import choice, explore, slider

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # for the cells: any name from sft.backbones()
CELLS: int = 10   # cells of each class with a label for the defect: 10, 25 or 50
DIGITS: int = 1   # digits of each class with a label: 1, 2, 5 or 20
SEED: int = 0     # split, draw of the labels, start of every network

# %% [markdown]
# To say whether a solar cell is broken takes an expert and a minute. Whether its silicon is mono- or polycrystalline stands on the delivery note. So you have ten labels for the question that you care about, and hundreds, for nothing, for another one. **Can the free labels help?**
#
# The idea is old and attractive: what one task forces the network to notice, the other may use.

# %%
sft.check_parameters(globals(), BACKBONE=str, CELLS=(10, 25, 50), DIGITS=(1, 2, 5, 20),
                     SEED=(int, 0))
solar = sft.load("solar", size=160, target="both", seed=SEED)
print(solar.card)

# %% [markdown]
# To keep it quick, 600 of the training cells stay.

# %%
rows = np.random.default_rng(SEED).permutation(len(solar.train))[:600]
solar = replace(solar, train=solar.train.subset(np.sort(rows)))

# %% [markdown]
# ## A label that is missing
#
# Two questions, so every image has two targets, and most have one of them only. What stands in the other place? Not a class: the number **−100**, which means *no label here*. We draw the few labels that stay.

# %%
def few(split, task, n, seed=SEED):
    """Return a task's targets with n labels a class left in training."""
    y = split.targets[task].clone()
    if n != "all":
        one = replace(split, targets=y.clone(), classes=split.classes[task])
        drawn = sft.labels.draw(one, n, seed).index
        y[np.setdiff1d(split.index, drawn)] = -100
    return y


# %%
few_defects = few(solar.train, "defect", CELLS)
both = sft.data.with_targets(
    solar, {"defect": few_defects, "type": solar.train.targets["type"]}, solar.classes)
for task, y in both.train.y.items():
    print(f"{task}: {int((y >= 0).sum())} of {len(y)} training cells have a label")

# %% [markdown]
# What does the loss do with −100? It leaves such images out: of the sum, and of the number that it is divided by. By hand, for six images of which three have a label:

# %%
z, y = torch.randn(6, 2, requires_grad=True), torch.tensor([1, -100, 0, -100, -100, 1])
known = y >= 0
by_hand = -z[known].log_softmax(dim=1).gather(1, y[known, None]).mean()
loss = sft.cross_entropy(z, y)
loss.backward()
assert torch.allclose(loss, by_hand) and (z.grad[~known] == 0).all()

# %% [markdown]
# No label, no gradient. With two tasks the losses are added, each over the images that it knows.
#
# ## Wrong way 1: unknown means intact
#
# Tables often come with a 0 where nobody looked. Then ten broken cells stand against hundreds that are called intact, some of them broken. How much does that cost? The network: the pretrained encoder, frozen, a hidden layer of 64, and a head.

# %%
source = sft.backbone(BACKBONE)


def learn(data):
    """Train a hidden layer and one head a task; return the result of each task."""
    net = sft.replace_head(source, data.classes, hidden=64, seed=SEED)
    sft.fit(net, data, sft.linear_probe(net, 1e-3), 20, batchnorm="frozen", seed=SEED,
            schedule=sft.cosine(), keep_best=False, verbose=False)
    return sft.evaluate(net, data.valid)


# %%
def only(data, task, y=None):
    """Return the same images with one task."""
    y = data.train.targets[task] if y is None else y
    return sft.data.with_targets(data, {task: y}, {task: data.classes[task]})


# %% [markdown]
# Now the same cells twice: with the unknown filled in, and with the unknown left out.

# %%
filled = few_defects.clamp(min=0)      # −100 becomes 0, “intact”
results = {"unknown means intact": learn(only(both, "defect", filled))["defect"],
           "unknown left out": learn(only(both, "defect"))["defect"]}
for name, found in results.items():
    print(f"{name:21s} accuracy {found.accuracy}, area under the ROC curve "
          f"{found.metrics['roc_auc']}")
print(f"majority {found.majority:.3f}")

# %% [markdown]
# The accuracy of the first is the majority rate, and it ranks like dice: its area is 0.5 within the interval. Leaving the unknown out is the least one should do. It makes no good classifier yet, not on this split, whose interval holds 0.5 as well: twenty labels are few. That is where help would be welcome.
#
# ## Wrong way 2: share nothing
#
# Now the second head. The obvious construction is two linear heads on a frozen encoder. But which numbers do the two tasks then have in common? We ask for the gradients of both losses in all that is shared *and* learns.

# %%
two = sft.replace_head(source, both.classes, seed=SEED)
sft.apply(two, sft.linear_probe(two))
x, y = both.train.take(np.arange(8))
try:
    task_gradients(two, x, y)
except ValueError as error:
    print(error)

# %% [markdown]
# Two linear heads on constant features are two separate probes in one file: neither can help the other. There must be something in between that learns from both: here the hidden layer of 64.
#
# > **Predict.** The area under the ROC curve for the defect is the share of (broken, intact) pairs that are ranked rightly. By how many points will the cell type, known for all 600, move it?

# %%
guess = sft.widgets.predict("points of area that the cell type adds", -20, 20, 5,
                            name="type")

# %%
alone, beside = results["unknown left out"], learn(both)
points = 100 * (beside["defect"].metrics["roc_auc"].value
                - alone.metrics["roc_auc"].value)
plot.guess_vs_result(points, float(guess), low=-20, high=20, unit="points of area")

# %% [markdown]
# One split, one draw of ten labels. `benchmarks/two_tasks.py` did it for 20 of them, with the same images in the same order for both networks of a pair, so that a difference is due to the second task:

# %%
kept = sft.records.read("../../benchmarks/two_tasks.json")


def gain(name, alone, seeds=10, measure="accuracy"):
    """Return the points that each seed's run has more than its run alone."""
    return [100 * (kept[f"{name} {s}"][measure] - kept[f"{alone} {s}"][measure])
            for s in range(seeds)]


places = (5, 10, 25, 50, 100, "all")
typed = {f"labels a class: {n}": {
    "cell type": gain(f"hidden {n} type", f"hidden {n} alone", 20, "auc")}
    for n in places}
plot.differences(typed, to="alone", unit="points of area", test_to_train=0.15 / 0.6,
                 live={f"labels a class: {CELLS}": {"cell type": points}})

# %%
pairs = gain("two stages 10 type", "two stages 10 alone", 10, "auc")
deeper = statistics.t_interval(pairs, test_to_train=0.15 / 0.6)
print(f"with the last two stages learning, 10 labels: {deeper:+.1f} points of area")

# %% [markdown]
# Every interval holds zero. (They are as wide as lesson 08 asks of runs over splits of one set.) From 25 labels on they are narrow, less than a point to each side: not *we cannot tell*, but *there is next to nothing*. With five labels the type may cost up to three points or gain one. A single split such as ours may well show two points: look at the small dots. With two stages learning, ten runs decide nothing.
#
# Why nothing? The encoder was pretrained; a head tells mono from poly at once. What the type could teach, the features know.
#
# ## Against two networks
#
# What sharing does buy is plain: one encoder instead of two, at every answer. Does the *second* task lose by it? The same network for the type alone:

# %%
single = learn(only(both, "type"))["type"]
plot.scores({"type, own network": single, "type, shared": beside["type"]},
            label="valid accuracy")

# %%
body = sum(p.numel() for p in source[:-1].parameters())
hidden = 64 * source.head.in_features + 64 + 2 * (2 * 64 + 2)
print(f"two networks: {2 * body / 1e6:.1f} million numbers, two passes an image")
print(f"one network:  {(body + hidden) / 1e6:.1f} million numbers, one pass")

# %% [markdown]
# The type does not lose by sharing, as far as 408 cells can say, and one encoder and one pass are saved. That, more often than accuracy, is why encoders are shared.
#
# (`fit` counts the answers to both questions together in its curves, and keeps the epoch with the lowest *sum* of losses. A hard and an easy task in one number mislead; so no epoch was chosen here, and `evaluate` judges each task by itself.)
#
# ## Three other second tasks
#
# Features that already know everything leave a second task nothing to teach. So now a small network that learns to see from nothing: handwritten digits, one label of each. And three other questions about every training image: does the digit have a closed **loop**; how much **ink** is there, in thirds; and a **random** number, drawn once.

# %%
digits = sft.load("digits", valid=0.3, test=0.3, seed=SEED)
digit, rng = digits.train.targets, np.random.default_rng(SEED)
names = [str(i) for i in range(10)]
ink = torch.from_numpy(digits.train.images.sum(axis=(1, 2, 3)).astype(np.float32))
thirds = torch.quantile(ink[digits.train.index], torch.tensor([1 / 3, 2 / 3]))

# %%
asked = {"digit": digit, "loop": torch.isin(digit, torch.tensor([0, 6, 8, 9])).long(),
         "ink": torch.bucketize(ink, thirds),
         "random": torch.from_numpy(rng.integers(10, size=len(digit)))}

# %% [markdown]
# Ink is counted. The loop is read off the digit labels that we hide from the first task, as if somebody had answered this easier question about every image.

# %%
answers = {"digit": names, "loop": ["none", "loop"], "ink": ["light", "middle", "dark"],
           "random": names}
every = sft.data.with_targets(digits, asked, answers)
first = few(every.train, "digit", DIGITS)

# %% [markdown]
# Every run sees all training images, in the same order; they differ in the second task alone. All stages learn, from a random start.

# %%
def beside_digits(second):
    """Return the digits with few labels, and a second task with all of its labels."""
    tasks = ["digit"] if second == "alone" else ["digit", second]
    targets = {task: asked[task] for task in tasks} | {"digit": first}
    return sft.data.with_targets(every, targets, {t: answers[t] for t in tasks})


def grow(second):
    """Train a small network from nothing; return its states by epoch, and itself."""
    data = beside_digits(second)
    net = sft.replace_head(sft.backbone("tiny", seed=SEED), data.classes, seed=SEED)
    states = {0: copy.deepcopy(net.train())}
    for record in sft.train(net, data, sft.full(net, 1e-2), 20, seed=SEED, cached=False,
                            schedule=sft.cosine(), keep_best=False):
        if isinstance(record, sft.Epoch) and record.epoch in (2, 5, 20):
            states[record.epoch] = copy.deepcopy(net)
    return states, net


# %% [markdown]
# > **Predict.** One labelled example of each digit. Alone, the network reads a bit more than half of new digits. How many points will knowing about loops add, over ten draws? Then guess, without a widget, what ink and dice will do.

# %%
loop_guess = sft.widgets.predict("points that the loop adds", -20, 20, 3, name="loop")

# %%
grown = {second: grow(second) for second in ("alone", "loop", "ink", "random")}
read = {second: sft.evaluate(net, beside_digits(second).valid)["digit"]
        for second, (_, net) in grown.items()}
for second, found in read.items():
    print(f"{second:6s} {found.accuracy}, majority {found.majority:.3f}")

# %% [markdown]
# One draw. The same as differences, beside the ten draws of the record, and with more labels:

# %%
amounts = (1, 2, 5, 20, "all")
SECOND = ("loop", "ink", "random")
gains = {f"labels a class: {n}": {
    second: gain(f"digits {n} {second}", f"digits {n} alone") for second in SECOND}
    for n in amounts}
now = {second: 100 * (read[second].accuracy.value - read["alone"].accuracy.value)
       for second in SECOND}
plot.show(plot.differences(gains, to="alone", test_to_train=0.3 / 0.4,
                           live={f"labels a class: {DIGITS}": now}))
loops = statistics.t_interval(gains["labels a class: 1"]["loop"], test_to_train=0.3 / 0.4)
plot.guess_vs_result(loops, float(loop_guess), low=-20, high=20, unit="points")

# %% [markdown]
# Both signs: ink and dice cost ten points and more with one label, clear of zero; the loop gains about seven on average, and four with five labels, where it is clear of zero too. A plausible reading, not tested here: a loop is half of what makes an 8 an 8, so who looks for loops sees digits better. Ink forces the network to notice how *thick* a 3 is, which has nothing to do with its being a 3. And dice take capacity for learning noise by heart.
#
# All three effects melt as labels come in. With all labels none of them makes a difference that ten draws could show.
#
# ## Which way does it pull?
#
# Can one see this coming? Both losses move the same stages. Each has a gradient there, a direction in 6,000 dimensions, and between two directions there is an angle. A step against one gradient lowers the other loss too if their **cosine** is positive, and raises it if it is negative, for small steps. By hand:

# %%
net, data = grown["loop"][0][2], beside_digits("loop")    # after two epochs
x, y = data.train.take(np.arange(len(data.train)))
mine = {}
for task in y:
    probe = copy.deepcopy(net)
    sft.cross_entropy(probe(x)[task], y[task]).backward()
    mine[task] = torch.cat([p.grad.flatten() for p in probe[:-1].parameters()])
for task, theirs in task_gradients(net, x, y).items():
    assert torch.allclose(mine[task], theirs, atol=1e-4)

# %% [markdown]
# The honest direction would be that of *all* digit labels, which we keep in a drawer and take out here only to look. Up is that direction. An arrow in the shaded half helps.

# %%
def cosines(second, epoch, y_few):
    """Return the cosine of each gradient with that of all digit labels."""
    net, (x, y) = grown[second][0][epoch], every.train.take(np.arange(len(every.train)))
    one = task_gradients(net, x, {"digit": y_few[every.train.index], second: y[second]})
    truth = task_gradients(net, x, {"digit": y["digit"]})["digit"]
    sides = {"few labels": one["digit"], second: one[second]}
    return {name: [float(torch.cosine_similarity(g, truth, dim=0))]
            for name, g in sides.items()}


compass({second: cosines(second, 2, first)[second] for second in SECOND}
        | {"few labels": cosines("loop", 2, first)["few labels"]})

# %% [markdown]
# That is one draw after two epochs. The record followed the angle through training, for ten draws with five labels of each digit:

# %%
def angle(second, epoch):
    """Return the cosine after so many epochs, a value a draw."""
    runs = [kept[f"digits 5 {second} {s}"]["cosines"] for s in range(10)]
    return [run[str(epoch)]["second and all"] for run in runs]


followed = {second: {e: angle(second, e) for e in (0, 1, 2, 5, 10)}
            for second in SECOND}
ax = plot.band_curves(followed, xlabel="epochs trained",
                      ylabel="cosine with the gradient of all digit labels")
ax.axhline(0, color=style.INK, linewidth=1)
ax

# %% [markdown]
# At a random start a second task pulls at a right angle: it has nothing to say about digits. From the first epoch on the loop pulls along and ink against, the signs that the accuracies had. For dice the cosine stays around zero on average, and yet they cost about six points here. A gradient says what the *next* step does; to learn dice by heart takes hundreds.
#
# ## Turn the labels up
#
# How many labels does the first task have, after how many epochs, beside which second task? Each pale arrow is another draw of the same number of labels; the strong one is the first.

# %%
def pull(labels, second, epoch):
    net, (x, y) = grown[second][0][epoch], every.train.take(np.arange(len(every.train)))
    truth = task_gradients(net, x, {"digit": y["digit"], second: y[second]})
    n, draws = (labels, 1) if labels == "all" else (labels // 10, 5)
    left = [few(every.train, "digit", n, SEED + k)[every.train.index]
            for k in range(draws)]
    arrows = {f"{labels} labels": [task_gradients(net, x, {"digit": one})["digit"]
                                   for one in left], second: [truth[second]]}
    found = {name: [float(torch.cosine_similarity(g, truth["digit"], dim=0))
                    for g in several] for name, several in arrows.items()}
    return compass(found)


# %%
explore(pull, labels=slider("digit labels", [10, 20, 50, 100, 200, "all"], value=10),
        second=choice("beside", SECOND),
        epoch=choice("epochs trained", [0, 2, 5, 20], 2), name="pull")

# %% [markdown]
# More labels turn their arrow towards the top, and the draws close ranks. Then train on to 20 epochs beside the loop, with ten labels: the strong arrow is the draw that was trained on. It is known by heart by now, and hardly says any more which way digits lie; the pale ones, which were not, still do.
#
# ## How loud may it be?
#
# So far both losses counted the same. A tenth, or ten times as much, at two labels a class:

# %%
weights = {"0.1": " x0.1", "1": "", "10": " x10"}
loud = {f"weight {weight}": {second: gain(f"digits 2 {second}{end}", "digits 2 alone")
                             for second in ("loop", "ink")}
        for weight, end in weights.items()}
plot.differences(loud, to="alone")

# %% [markdown]
# The weight decides how much harm a bad task does; it does not turn it into a good one. For the good one the three intervals overlap.
#
# ## Choose on valid, then look at the test. Once.

# %%
chosen = max(read, key=lambda second: read[second].accuracy.value)
final = {second: sft.evaluate(grown[second][1], beside_digits(second).test)["digit"]
         for second in dict.fromkeys(["alone", chosen])}
right = {second: np.array(found.predictions) == found.targets
         for second, found in final.items()}
gap = statistics.difference(right[chosen], right["alone"])
print(f"{chosen} minus alone, paired: {gap:+.3f}")
plot.scores({f"digits, {second}": found for second, found in final.items()},
            label="test accuracy")

# %% [markdown]
# One pair of networks, on the same images. The paired interval knows about other test images; it knows nothing of other draws of the ten labels and of other starts. The ten pairs above do, and they agree with it.
#
# ## What you have seen
#
# - A missing label is −100: no loss, no gradient. Calling it a class is a decision that nobody meant to take.
# - Tasks help each other only through stages that learn from both. On digits from scratch, one helps by about four points with five labels of each class, and another costs about fifteen with one; on pretrained features the cell type does nothing that twenty splits could show.
# - The cosine of two gradients says which way a second task pulls now. It told loops from ink, and did not warn of dice.
#
# **Does a second task help the first when labels are few?** It can, if answering it needs what the first needs and the network does not know it yet. Measure the pair: both signs occur.
#
# *Where this lives in the library:* `sft.replace_head(model, {"defect": 2, "type": 2})`, `sft.cross_entropy` and `sft.evaluate` for several tasks, `sft.data.with_targets`, `sftlab.analysis.task_gradients`, `plot.differences`, `plot.band_curves`.
#
# ## The same in plain PyTorch
#
# Two heads on one layer, −100 for what is missing; torch leaves it out by itself.

# %%
f, y = sft.features(source[:-1], both.train).take(np.arange(len(both.train)))
torch.manual_seed(SEED)
shared, defect, kind = nn.Linear(f.shape[1], 64), nn.Linear(64, 2), nn.Linear(64, 2)
parts = nn.ModuleList([shared, defect, kind])
optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-3)
for _ in range(100):
    h = shared(f).relu()
    loss = (nn.functional.cross_entropy(defect(h), y["defect"], ignore_index=-100)
            + nn.functional.cross_entropy(kind(h), y["type"]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# What it has learned, on the same validation cells as above:

# %%
f, y = sft.features(source[:-1], both.valid).take(np.arange(len(both.valid)))
hits = (defect(shared(f).relu()).argmax(dim=1) == y["defect"]).sum()
found = beside["defect"]
print(f"plain PyTorch {sft.wilson(int(hits), len(f))}, the lab {found.accuracy}, "
      f"majority {found.majority:.3f}")

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `DIGITS` to 5, then to 20. Where do the solid marks leave the story of one label?
# - **Build.** Make a second task of your own for the digits: is it even, is it symmetric? Guess its sign, then measure over five seeds.
# - **Build.** Drop the second task's gradient whenever its cosine with the first is negative (Du et al., 2018). Does ink still harm?
# - **Break.** Give the type −100 for every cell that has a label for the defect. Does anything change, and why not?

# %% [markdown]
# ## Sources
#
# - Caruana, 1997, *Multitask Learning*. The idea, and when it works.
# - Standley et al., 2020, *Which Tasks Should Be Learned Together in Multi-task Learning?* Both signs, at scale.
# - Yu et al., 2020, *Gradient Surgery for Multi-Task Learning*. Conflict as a negative cosine.
# - Du et al., 2018, *Adapting Auxiliary Losses Using Gradient Similarity*.
# - Zhang et al., 2017, *Understanding deep learning requires rethinking generalization*. Random labels are learned.
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The cells.
# - Alpaydin and Kaynak, 1998, *Optical Recognition of Handwritten Digits*. The digits.
#
# [The map of all lessons](../00_start_here.ipynb)
