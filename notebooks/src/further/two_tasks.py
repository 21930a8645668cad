# %% [markdown]
# # Does a second task help the first when labels are few?
#
# You will be able to
# - train one network on two questions when most images have the answer to one of them only;
# - say from paired runs when a second task helps, when it harms and when it does nothing;
# - measure which way each task pulls the layers that they share, and say what that leaves open.
#
# 35 minutes to read, half a minute to run. Needs lessons [03](../03_loss.ipynb) to [09](../09_decide.ipynb). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import copy

import numpy as np
import torch

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.two_tasks import compass

plot.style.use()

# %% tags=["parameters"]
CELLS: int = 10   # solar cells of each class with a label for the defect: 10, 25 or 50
DIGITS: int = 1   # digits of each class with a label: 1, 2, 5 or 20
SEED: int = 0     # split, draw of the labels, start of every network, order of batches
OUT: str = ""     # folder for the results as a record; "" keeps nothing

# %% [markdown]
# Whether a solar cell is broken takes an expert and a minute. Whether its silicon is *mono* (cut from one crystal) or *poly* (from a block of many, whose borders show in the picture) stands on the delivery note. So you have ten labels of each class for the question that you care about, and hundreds for another one, for nothing. **Can the free labels help?**

# %%
sft.check_parameters(globals(), CELLS=(10, 25, 50), DIGITS=(1, 2, 5, 20), SEED=(int, 0),
                     OUT=str)
solar = sft.load("solar", size=160, target="both", seed=SEED)

# %%
source = sft.backbone("efficientnet_lite0")  # frozen: its features are computed once
rows = np.sort(np.random.default_rng(SEED).permutation(len(solar.train))[:600])
f, y = sft.features(source[:-1], solar.train.subset(rows)).take(np.arange(600))
f_new, y_new = sft.features(source[:-1], solar.valid).take(np.arange(len(solar.valid)))

# %% [markdown]
# ## A label that is missing
#
# Every cell has two targets, and most have one of them only. In the place of the other stands the number **−100**, which means *no label here*: the loss leaves such images out of the sum, and out of the number that it is divided by. The losses of several tasks are added.

# %%
def few(y, n, seed=SEED):
    """Return labels of which n a class are left; the others are −100."""
    left, rng = torch.full_like(y, -100), np.random.default_rng(seed)
    for k in y.unique():
        left[rng.permutation(np.flatnonzero(y == k))[:n]] = k
    return left

def masked(z, y):
    """Return the mean cross-entropy of the images that have a label; 0 if none has."""
    known = y >= 0
    each = -z[known].log_softmax(dim=1).gather(1, y[known, None])
    return each.sum() / known.sum().clamp(min=1)

# %%
z, some, none = torch.randn(3, 2), torch.tensor([1, -100, 0]), torch.full((3,), -100)
library = sft.cross_entropy({"a": z, "b": z}, {"a": some, "b": none})
assert torch.allclose(masked(z, some) + masked(z, none), library)
print("without any label torch says", torch.nn.functional.cross_entropy(z, none).item())

# %% [markdown]
# torch knows the −100 too. But over a batch without any label its mean is 0/0, *not a number*, and one such batch ruins the network. With few labels most batches are of that kind. Everything else is the loop that you know:

# %%
def learn(net, x, y, lr, epochs=20):
    """Train on x and {task: labels}; return the network before and after each epoch."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    steps, states = epochs * len(x.split(32)), [copy.deepcopy(net)]
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    torch.manual_seed(SEED)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            logits = net.train()(x[rows])
            loss = sum(masked(logits[task], y[task][rows]) for task in y)
            optimizer.zero_grad(); loss.backward(); optimizer.step(); rates.step()
        states.append(copy.deepcopy(net))
    return states

# %% [markdown]
# **The wrong way: unknown means intact.** Tables often hold a 0 where nobody looked. Then ten broken cells stand against 590 that are called intact, some of them broken. Beside it the same labels with the unknown left out, and with the type as a second task. Two linear heads on frozen features would share nothing that learns, so there is a hidden layer of 64 between: `h = shared(f).relu()`, and the answers are `{"defect": defect(h), "type": kind(h)}`. We judge by the area under the ROC curve (lesson 09), the share of pairs of a broken and an intact cell in which the broken one has the higher probability.
#
# > **Predict.** By how many points will the cell type, known for all 600 cells, move the area for the defect?

# %%
guess = widgets.predict("points of area that the type adds", -20, 20, 5, name="type")

# %%
known, broken, area = few(y["defect"], CELLS), y_new["defect"] == 1, {}
for name, tasks in {"unknown is intact": {"defect": known.clamp(min=0)},
                    "alone": {"defect": known},
                    "with the type": {"defect": known, "type": y["type"]}}.items():
    net = sft.replace_head(source, solar.classes, hidden=64, seed=SEED)[-2:]
    z = learn(net, f, tasks, lr=1e-3)[-1](f_new)
    score, called = z["defect"].diff(dim=1), z["defect"].argmax(dim=1)
    area[name] = 100 * (score[broken] > score[~broken].T).float().mean().item()
    right = sft.proportion(called == broken, solar.valid.groups)
    print(f"{name:17s} calls {called.sum():3d} broken ({broken.sum()} are),",
          f"right {right:.3f}, area {area[name]:.1f}")
kind = sft.proportion(z["type"].argmax(dim=1) == y_new["type"], solar.valid.groups)
print(f"majority {1 - broken.float().mean():.3f}; the type itself: right {kind:.3f}")
points = area["with the type"] - area["alone"]
both = sft.evaluate(torch.nn.Sequential(*source[:-1], *net), solar.valid, out=OUT)
plot.guess_vs_result(points, guess, low=-20, high=20, unit="points of area")

# %% [markdown]
# The first network has learned to call cells intact. The others call both, but their intervals are wide, over few modules: twenty labels are few. That is where help would be welcome. But one pair of runs says little about it. `benchmarks/two_tasks.py` made twenty, with other numbers of labels too; both networks of a pair saw the same images in the same order, so their difference is due to the second task.

# %%
kept = sft.records.stored("two_tasks")

def gain(way, runs=10, measure="accuracy"):  # points above the run without second task
    alone = f"{way.rsplit(' ', 1)[0]} alone"
    return [100 * (kept[f"{way} {s}"][measure] - kept[f"{alone} {s}"][measure])
            for s in range(runs)]

# %%
rows = {f"labels a class: {n}": {"type": gain(f"hidden {n} type", 20, "auc")}
        for n in (5, 10, 25, 50, 100, "all")}
plot.differences(rows, to="alone", unit="points of area", test_to_train=0.15 / 0.6,
                 live={f"labels a class: {CELLS}": {"type": points}})

# %% [markdown]
# Every interval holds zero, whatever our single pair (solid) says. From 25 labels on they are narrow, less than a point to each side: not *we cannot tell*, but *next to nothing*. Beside it stands that the head for the type is right about nearly every cell. So the features tell mono from poly already, and this task had little to teach. That this is *why* it does not help is a guess; another is that cracks have little to do with the crystal. What sharing does save is plain: one pass through one backbone answers both questions.
#
# ## Three other second tasks
#
# Now a small network that learns to see from nothing: handwritten digits, one label of each. And three questions that have an answer for every training image: does the digit have a closed **loop** (0, 6, 8, 9); how much **ink** is there, in thirds; and a **random** number, drawn once.

# %%
digits = sft.load("digits", valid=0.3, test=0.3, seed=SEED)
x, digit = digits.train.take(np.arange(len(digits.train)))
x_new, digit_new = digits.valid.take(np.arange(len(digits.valid)))
ink, rng = x.float().sum(dim=(1, 2, 3)), np.random.default_rng(SEED)
asked = {"digit": few(digit, DIGITS),
         "loop": torch.isin(digit, torch.tensor([0, 6, 8, 9])).long(),
         "ink": torch.bucketize(ink, ink.quantile(torch.tensor([1 / 3, 2 / 3]))),
         "random": torch.from_numpy(rng.integers(10, size=len(digit)))}

# %% [markdown]
# > **Predict.** Alone, the network reads a bit more than half of new digits. How many points will knowing about loops add, on average over ten draws? And which signs do you expect of ink and of random numbers?

# %%
loop_guess = widgets.predict("points that the loop adds", -20, 20, 3, name="loop")

# %%
grown, reads = {}, {}
for second in ("alone", "loop", "ink", "random"):  # the same start, images and order
    net = sft.replace_head(sft.backbone("tiny", seed=SEED),
                           {"digit": 10, "loop": 2, "ink": 3, "random": 10}, seed=SEED)
    tasks = {task: asked[task] for task in ("digit", second) if task in asked}
    grown[second] = learn(net, x, tasks, lr=1e-2)
    called = net.eval()(x_new)["digit"].argmax(dim=1)
    reads[second] = sft.proportion(called == digit_new)
    print(f"{second:6s} {reads[second]:.3f}, majority {digits.valid.majority:.3f}")
plot.guess_vs_result(np.mean(gain("digits 1 loop")), loop_guess, low=-20, high=20,
                     unit="points")

# %% [markdown]
# Each second task minus *alone*, run by run: ours solid, ten draws of the record hollow.

# %%
rows = {f"labels a class: {n}": {second: gain(f"digits {n} {second}")
                                 for second in ("loop", "ink", "random")}
        for n in (1, 2, 5, 20, "all")}
now = {way: 100 * (reads[way].value - reads["alone"].value) for way in [*reads][1:]}
plot.differences(rows, to="alone", test_to_train=0.3 / 0.4,
                 live={f"labels a class: {DIGITS}": now})

# %% [markdown]
# Both signs occur, as Standley et al. found at scale (2020, *Which Tasks Should Be Learned Together in Multi-task Learning?*). With one label of each digit, ink and random numbers cost ten points and more, clear of zero (random numbers just so). The loop gains about seven, but its interval holds zero; with five labels it gains four, and is clear. With all labels none of them makes a difference that ten draws could show.
#
# ## Which way does it pull?
#
# Can one see this coming? Each loss has a gradient in the shared stages, a direction among thousands of weights, and two directions have an angle. A small step against one gradient lowers the other loss if the **cosine** of the angle is positive, and raises it if it is negative (Yu et al., 2020, *Gradient Surgery for Multi-Task Learning*). With whom should a task agree? Not with the gradient of a few labels, but with that of *all* digit labels, which training does not have; we use them here only to look.

# %%
def gradient(net, task, labels):  # of all stages before the head, as one vector
    probe = copy.deepcopy(net).train()
    masked(probe(x)[task], labels).backward()
    return torch.cat([p.grad.flatten() for p in probe[:-1].parameters()])

def cosine(second, epoch, task, labels):  # with the gradient of all digit labels
    mine, all_labels = (gradient(grown[second][epoch], *one)
                        for one in ((task, labels), ("digit", digit)))
    return float(torch.cosine_similarity(mine, all_labels, dim=0))

# %%
looks = ["0", "1", "2", "5", "10", "20"]
print("after epoch", *(f"{epoch:>12}" for epoch in looks))
for second in ("loop", "ink", "random"):
    runs = np.array([[kept[f"digits 1 {second} {s}"]["cosines"][epoch]["second and all"]
                      for epoch in looks] for s in range(10)])
    half = 2.262 * runs.std(axis=0, ddof=1) / 10 ** 0.5  # Student's t for ten draws
    print(f"{second:11s}", *(f"{m:+.2f} ± {h:.2f}" for m, h in zip(runs.mean(0), half)))

# %% [markdown]
# Means and 95 % intervals of ten draws of the record, with one label of each digit. (Of random directions the cosine is hardly ever beyond ±0.03.) At the start all three pull at a right angle. From the second epoch to the tenth the loop pulls along, which fits its gain. But ink and random numbers cost more than ten points, and their cosines give no warning: until late the intervals hold zero, or lie on the *helpful* side. A gradient says what the next small step does, not what hundreds will do.
#
# What else may cost the points? Three guesses, not tested here. *Capacity:* random numbers learned by heart take weights that digits would need. *Late conflict:* at epoch 20 both intervals lie below zero. And *Adam*, which divides a step by the recent size of the gradient: the second task pulls in every batch, while most batches hold no digit label. Then the second task sets that size, and the rare steps for digits are short, whichever way it points.
#
# The **compass** draws a gradient at its angle to that of all digit labels, which points up: an arrow in the shaded half lowers the loss of all digits. Left and right mean nothing; pale arrows are four further draws of the labels.

# %%
def pull(labels, second, epoch):
    draws = [few(digit, labels, SEED + k) for k in range(5)]
    return compass({f"{labels} of each": [cosine(second, epoch, "digit", draw)
                                          for draw in draws],
                    second: [cosine(second, epoch, second, asked[second])]})

# %%
widgets.explore(pull, labels=widgets.choice("labels", [1, 2, 5, 10, 20, 50]),
                second=widgets.choice("beside", ["loop", "ink", "random"]),
                epoch=widgets.choice("epochs trained", [0, 2, 5, 20], 2), name="pull")

# %% [markdown]
# More labels turn their arrow towards the top, and the draws come together. Then look at one label after 20 epochs: the strong arrow is the draw that was trained on. It is known by heart by now, and hardly says any more where digits lie.
#
# ## What you have seen
#
# - A missing label is −100: no loss, no gradient. To call it a class is a decision that nobody meant to take.
# - Tasks help each other only through layers that learn from both. Of four second tasks one helped (about four points, with five labels of each digit), two cost more than ten points with one label, and the cell type did nothing that twenty splits could show.
# - The cosine of two gradients says which way a task pulls now. It went with the help of the loop, and did not warn of the harm.
#
# **Does a second task help the first when labels are few?** It can, and it can cost as much. Measure the pair, over several draws.
#
# *Where this lives in the library:* `sft.fit` and `sft.evaluate` take several tasks (`sft.data.with_targets`, `sft.replace_head(model, {"defect": 2, "type": 2})`), `sft.cross_entropy` leaves −100 out. *The same in plain PyTorch:* `few`, `masked` and `learn` above need nothing of the library.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `DIGITS` to 5, then to 20. Where do the solid marks leave the story of one label?
# - **Build.** Test the guess about Adam: train with `torch.optim.SGD`, at a rate with which `alone` reads as well as before. Does ink still cost as much?
#
# ## Sources
#
# - Caruana, 1997, *Multitask Learning*. The idea, and when it works.
#
# [The map of all lessons](../00_start_here.ipynb)
