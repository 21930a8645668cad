# %% [markdown]
# # How large a step?
#
# You will be able to
# - tell from the curves whether a learning rate is too small, right or too large;
# - find the right power of ten in seconds, before you spend an hour on the wrong one;
# - say what momentum, Adam, a schedule and warm-up do to a step.
#
# 45 minutes to read, half a minute to run. Comes after [04 Freeze](04_freeze.ipynb), which trains a head on kept features; what of the loss is needed is said in [00](00_start_here.ipynb), and more in [03 Loss](03_loss.ipynb).
# Images: handwritten digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.rate import loss_surface
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 48                        # edge of the images in pixels, 32 to 160
LABELS: int = 30                      # training images per class, 20 to 80
EPOCHS: int = 10                      # passes over the training images, 5 to 20
SEED: int = 0                         # split, order of batches, start of the head
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# ## Ten classes
#
# Of ten digits a guess hits one in ten. So a rate that does nothing and a rate that does harm are seen at once. First we train the head only, on frozen features, which are computed once (lesson 04):

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 32, 160), LABELS=(int, 20, 80),
                     EPOCHS=(int, 5, 20), SEED=(int, 0), OUT=str)
data = sft.load("digits", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE).eval()
model = sft.replace_head(original, data.classes, seed=SEED)
images, y = data.train.take(np.arange(len(data.train)))
pictures, y_valid = data.valid.take(np.arange(len(data.valid)))
with torch.no_grad():
    x, x_valid = (torch.cat([*map(model[:-1], some.split(64))])
                  for some in (images, pictures))
print(f"{len(x)} to learn from, {len(x_valid)} to measure, {x.shape[1]} features")

# %% [markdown]
# ## One step
#
# The loss is the cross-entropy of lesson 00: minus the logarithm of the probability that the network gives to the right class, averaged over the images (its unit is called nat). The gradient $g$ says how fast the loss rises when a weight $w$ rises a little, *here*. So a step goes against it, and the **learning rate** $\eta$ says how far: $w \leftarrow w - \eta\,g$.
#
# > **Predict.** Some size of the first step is the best one. You take a step $k$ times as large. From which $k$ on is the loss worse than without any step?

# %%
guess = widgets.predict("k: harm from k times the best step on", 1, 20, 10, name="harm")

# %%
w, b = (p.detach() for p in model.head.parameters())
gw, gb = torch.autograd.grad(cross_entropy(model.head(x), y), model.head.parameters())
sizes, before = np.logspace(-4, 1, 101), float(cross_entropy(x @ w.T + b, y))
after = [float(cross_entropy(x @ (w - eta * gw).T + b - eta * gb, y)) for eta in sizes]
best = sizes[np.argmin(after)]
harmful = sizes[(np.array(after) > before) & (sizes > best)][0]
figure, ax = plt.subplots(figsize=(7, 3))
ax.plot(sizes, after)
ax.axhline(before, color="black", linestyle="--", label="no step at all")
ax.axvline(best, color="tab:green", label=f"best: {best:.1g}")
ax.axvline(harmful, color="tab:red", ls=":", label=f"✗ harm from {harmful:.1g} on")
ax.set(xscale="log", xlim=(best / 50, 5 * harmful), ylabel="loss after it (nats)",
       ylim=(min(after) - 0.2, 1.5 * before), xlabel="size of the step (log scale)",
       title=f"Best first step: {best:.1g}")
ax.legend(loc="upper left")
display(ax)
plot.guess_vs_result(harmful / best, guess, low=1, high=20, unit="times")

# %% [markdown]
# Along a parabola the answer is exactly 2: the way down, and the same way up on the other side. Our loss is nearly one. A few times too *large* does harm; ten times too *small* is only slow.
#
# ## Many steps down a valley
#
# What limits the step in a direction is its **curvature**: how fast the slope changes. The simplest landscape with two curvatures is a valley, $f(a, b) = \tfrac12 (a^2 + 25\,b^2)$. It is 25 times steeper across than along. **SGD**, stochastic gradient descent, takes steps of $\eta\,g$. In the figure a ring joins points of equal loss, the cross is the lowest one, and each dot is a step:

# %%
def roll(make, eta, steps=40, **more):
    """Return the positions of an optimizer of PyTorch on its way down the valley."""
    w = torch.tensor([-9.0, 2.0], requires_grad=True)
    optimizer, way = make([w], lr=eta, **more), [w.tolist()]
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * (w[0] ** 2 + 25 * w[1] ** 2)).backward()
        optimizer.step()
        way.append(w.tolist())
    return np.array(way)


loss_surface({f"SGD, rate {eta}": roll(torch.optim.SGD, eta)
              for eta in (0.01, 0.075, 0.083)})

# %% [markdown]
# The first is slow. The second crosses the valley at every step. The third is only a tenth larger and leaves. The border is $2/\lambda$, where $\lambda$ is the largest curvature: here 2/25 = 0.08. So the steepest direction sets the limit for all. Two ideas help.
#
# **Momentum** (Polyak 1964) remembers: $v$ is the new gradient plus 0.9 times the old $v$, and the step is $\eta\,v$. Here is $v$ for five gradients that agree, as along the valley, and for five that alternate, as across it:

# %%
def momentum(g, memory, eta):
    memory["v"] = 0.9 * memory.get("v", 0) + g
    return eta * memory["v"]


for gradients in ([1, 1, 1, 1, 1], [1, -1, 1, -1, 1]):
    memory = {}
    print(gradients, "→", [f"{momentum(g, memory, eta=1):.2f}" for g in gradients])

# %% [markdown]
# Gradients that agree add up, in the end to ten times one of them; those that alternate partly cancel.
#
# **Adam** (Kingma and Ba 2015) asks how large a weight's gradients *usually* are. For each weight it keeps a running mean $m$ of the gradient and one, $s$, of its square. It steps by $\eta\,m / \sqrt{s}$. A weight whose gradients are always 25 has $m = 25$ and $\sqrt{s} = 25$, one whose gradients are always 1 has 1 and 1: both steps are $\eta$. (Both means start at 0; the divisions by $1 - 0.9^t$ and $1 - 0.999^t$ correct that.) PyTorch means the same by these names:

# %%
def adam(g, memory, eta):
    t = memory["t"] = memory.get("t", 0) + 1
    m = memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    s = memory["s"] = 0.999 * memory.get("s", 0) + 0.001 * g**2
    return eta * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)


rules = {"SGD": (lambda g, memory, eta: eta * g, torch.optim.SGD, {}),
         "momentum": (momentum, torch.optim.SGD, {"momentum": 0.9}),
         "Adam": (adam, torch.optim.Adam, {})}
for rule, make, more in rules.values():
    w, memory = np.array([-9.0, 2.0]), {}
    for _ in range(40):
        w = w - rule(np.array([1.0, 25.0]) * w, memory, 0.02)
    assert np.allclose(w, roll(make, 0.02, **more)[-1], atol=1e-2)
print("after 40 steps by hand and by PyTorch: the same places")

# %% [markdown]
# Drag the rate: from which one on does each of them leave the valley?

# %%
def ways(eta):
    return loss_surface({f"{name}, rate {eta:.3g}": roll(make, eta, **more)
                         for name, (_, make, more) in rules.items()})


ETAS = widgets.slider("learning rate", np.geomspace(0.001, 10, 41), value=0.02)
widgets.explore(ways, eta=ETAS, name="valley")

# %% [markdown]
# SGD leaves from 0.08 on, momentum from about 0.15 on. Adam does not leave. At 0.02 it has gone the least way: both weights move by about $\eta$ a step, so it walks diagonally, and needs about ten times that rate here.
#
# **A rate for SGD is not a rate for Adam.** They do not even have the same unit: sum the loss over 100 images instead of averaging, and every gradient is 100 times larger.
# SGD's step grows with it; Adam's stays about $\eta$, because $m$ and $\sqrt{s}$ grow alike. A rate from a paper needs its optimizer, its batch size and how its loss was averaged.
#
# ## Too small, right, too large
#
# The head learns by **AdamW** from here on: Adam with weight decay, a small pull of all weights toward zero at each step (lesson 07).
#
# > **Predict.** After ten epochs at a rate of 1e-5, how many percent of the validation digits are right? Guessing gives 10.

# %%
guess = widgets.predict("percent right at a rate of 1e-5", 0, 100, 50, name="small")

# %%
head, curve = sft.replace_head(original, data.classes, seed=SEED).head, []
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-5, weight_decay=0)
for _ in range(EPOCHS):
    loss = cross_entropy(head(x), y)  # all images are one batch
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    curve.append(cross_entropy(head(x_valid), y_valid).item())

same = sft.lr_sweep(model, data, [1e-5, 1e-3], EPOCHS, seeds=[SEED], weight_decay=0,
                    batch_size=len(x))
assert np.allclose(same.valid_loss[0][0][1:], curve, atol=1e-2)

# %% [markdown]
# A head on kept features is so cheap that the library trains it at many rates at once, stacked into one product of matrices. Our run by hand is one of its runs. Now with batches of 32 and weight decay, at 29 rates from 1e-6 to 10, from three starts each:

# %%
RATES = np.logspace(-6, 1, 29)
sweep = sft.lr_sweep(model, data, RATES, EPOCHS, seeds=range(SEED, SEED + 3))
loss, right = (np.mean(s, axis=0) for s in (sweep.valid_loss, sweep.valid_accuracy))
at = {rate: int(np.abs(np.log(RATES / rate)).argmin()) for rate in (1e-5, 3e-3, 3)}
plot.guess_vs_result(100 * right[at[1e-5], -1], guess)

# %%
figure, ax = plt.subplots(figsize=(7, 3))
for rate, name in ((1e-5, "too small"), (3e-3, "right"), (3, "too large")):
    ax.plot(loss[at[rate]], label=f"{name}: {rate} ({right[at[rate], -1]:.0%} right)")
ax.set(yscale="log", xlabel="epoch", ylabel="valid loss (nats, log scale)",
       title="Too small: slow; too large: worse than no training")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax

# %% [markdown]
# **Too small**: an almost straight line; nothing is wrong except the time. **Right**: a steep start, then flat. **Too large**: the loss is far above that of the untrained head (epoch 0). Judged by accuracy alone, the run at 3 looks bearable, because accuracy asks only which class gets the *largest* probability. The loss sees that the probabilities are far off. Look at the loss first.
#
# ## Every rate at once

# %%
plot.lr_sweep(sweep)

# %% [markdown]
# Steep on the left, flat for about a power of ten on top, and a long slope on the right. The title names the rate of the highest accuracy; on the flat top another start may name another. The left side depends on how long you train. Are small rates *worse*, or only not finished? Give four of them 80 epochs and note when they first reach 75 % right (mean of three starts):

# %%
patient = sft.lr_sweep(model, data, [2.5e-5, 5e-5, 1e-4, 2e-4], 80, seeds=range(3))
for rate, curve in zip(patient.rates, np.mean(patient.valid_accuracy, axis=0)):
    first = np.argmax(curve >= 0.75) if curve.max() >= 0.75 else np.nan
    print(f"rate {rate:.1e}: {first} epochs, rate × epochs = {rate * first:.4f}")

# %% [markdown]
# As long as the rate is small, half of it takes about twice the epochs. So a comparison of two methods at one fixed number of epochs may compare nothing but their rates.
#
# ## Find the power of ten in a second
#
# To train a whole network at 29 rates takes too long. The **learning-rate finder** (Smith 2017) starts very small, multiplies the rate a little after every step, and watches the loss. In plain PyTorch it is a schedule:

# %%
torch.manual_seed(SEED)
head, losses = sft.replace_head(original, data.classes, seed=SEED).head, []
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-6)
ramp = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=10 ** (6 / 100))
for _ in range(100):
    rows = torch.randint(len(x), (32,))
    value = cross_entropy(head(x[rows]), y[rows])
    optimizer.zero_grad(); value.backward(); optimizer.step(); ramp.step()
    losses.append(value.item())
print(f"lowest loss at a rate of {1e-6 * 10 ** (0.06 * np.argmin(losses)):.0e}")

# %% [markdown]
# Where the loss is *lowest*, the rate is already at the edge: a little more, and it rises. The rule: **take about a tenth of the rate of the lowest loss**. Near there the loss falls fastest, though the fall is nearly as steep over a wide stretch. The library proposes the place of the steepest fall. (It smooths the noise and works on a copy.)

# %%
finder = sft.find_lr(model, data, sft.linear_probe(model, lr=1e-3), seed=SEED)
lowest = finder.rates[int(np.argmin(finder.smoothed))]
print(f"steepest fall {finder.steepest:.0e}, a tenth of the lowest {lowest / 10:.0e}, "
      f"best of the 29 rates, by loss, {sweep.best:.0e}")
figure, ax = plt.subplots(figsize=(7, 3))
ax.plot(finder.rates, finder.losses, color="silver")
ax.plot(finder.rates, finder.smoothed)
ax.axvline(finder.steepest, color="black", linestyle="--")
ax.set(xscale="log", xlabel="learning rate", ylabel="train loss (nats per image)",
       ylim=(0, 2 * finder.smoothed[0]), title="Dashed: where the loss falls fastest")
ax

# %% [markdown]
# Three ways to about the same power of ten: a finder gives no more than that.
#
# ## Rates that change in time
#
# Large steps are good early; near the bottom they jump across it. A **schedule** is a factor on the rate, a function of the share $t$ of the run that is over. **Cosine** falls smoothly to 0. **Warm-up** comes before it: in the first tenth of the run the factor rises from near 0 to 1. The usual reason is the start: Adam's means know only a few gradients then, and a new head sends large, random ones into the network. The library has it as `sft.warmup_cosine(0.1)`.

# %%
def warm_up(t):
    return max(t, 1e-4) / 0.1 if t < 0.1 else (1 + np.cos(np.pi * (t - 0.1) / 0.9)) / 2

# %%
cooled = sft.lr_sweep(model, data, RATES, EPOCHS, seeds=range(SEED, SEED + 3),
                      schedule=warm_up)
gain = 100 * (np.mean(cooled.valid_accuracy, axis=0)[:, -1] - right[:, -1])
print(f"points gained by a schedule: rates above 0.1 {gain[RATES > 0.1].mean():+.1f}, "
      f"below 1e-4 {gain[RATES < 1e-4].mean():+.1f}")

# %% [markdown]
# A schedule *forgives a rate that is too large*: at its end the steps are small again. At small rates it costs: its factors average about ½, and there rate times epochs counts.
#
# ## The whole network
#
# A head is one matrix; in a deep network each stage feeds the next. Does it bear the same rates? The plain loop has all weights in one optimizer, with the schedule from above.
#
# > **Predict.** All stages learn for six epochs at 0.1, a rate at which the head alone still does well (see *Every rate at once*). How many percent are right?

# %%
guess = widgets.predict("percent right, all stages at 0.1", 0, 100, 80, name="all")

# %%
def one_epoch(net, loader, optimizer, factors):
    """Train for one epoch; return the share of validation digits that are right."""
    net.train()
    for images, targets in loader:
        loss = cross_entropy(net(images), targets)
        optimizer.zero_grad(); loss.backward(); optimizer.step(); factors.step()
    net.eval()
    with torch.no_grad():
        images, targets = data.valid.take(np.arange(len(data.valid)))
        return float((net(images).argmax(1) == targets).float().mean())


def fine_tune(rate, epochs=6):
    """Train all stages; return the validation accuracy after each epoch."""
    torch.manual_seed(SEED)
    net = sft.replace_head(original, data.classes, seed=SEED)
    loader = DataLoader(data.train, batch_size=32, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    factors = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_up(step / (epochs * len(loader))))
    return [one_epoch(net, loader, optimizer, factors) for _ in range(epochs)]


hot = fine_tune(0.1)
plot.guess_vs_result(100 * hot[-1], guess)

# %% [markdown]
# And at a hundredth of that rate? Below are both, beside the head at 0.1 and at 3e-3; all four have the same six epochs and the same schedule:

# %%
deep = fine_tune(1e-3)
heads = sft.lr_sweep(model, data, [3e-3, 0.1], 6, seeds=[SEED], schedule=warm_up)
slow, fast = heads.valid_accuracy[0]
figure, ax = plt.subplots(figsize=(7, 3))
for curve, look, name in ((slow, "C0o-", "head only, 3e-3"),
                          (fast, "C0o:", "head only, 0.1"),
                          ([np.nan, *deep], "C8s-", "all stages, 1e-3"),
                          ([np.nan, *hot], "C8s:", "all stages, 0.1")):
    ax.plot(curve, look, label=f"{name}: {curve[-1]:.1%}")
ax.axhline(data.valid.majority, color="black", linestyle="--", label="majority rate")
ax.set(xlabel="epoch", ylabel="valid accuracy",
       title=f"At 0.1 all stages end at {hot[-1]:.0%}, at 1e-3 at {deep[-1]:.0%}")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
ax

# %% [markdown]
# The head bears 0.1, the whole network does not: **a rate belongs to the stages that learn**. At 1e-3 all stages are behind the head in the first epochs (one guess: moving every stage first disturbs features that were good already) and overtake it later. Whoever had stopped after two epochs would have drawn the opposite conclusion. (One split, 269 digits, and one start: a picture, not yet a comparison. The next lesson compares.)
#
# ## The cockpit
#
# A panel (the library calls it a cockpit) for everything above; `await` lets its first run finish. Let go of the rate slider and the head is trained anew. Choose an earlier stage, and from there on everything learns; that takes longer, so it waits for *Train*. "SGD" in this panel is SGD with momentum 0.9.

# %%
cockpit = widgets.cockpit(model, data, rate=2e-3, epochs=EPOCHS, seed=SEED)
await cockpit.run()
result = sft.evaluate(cockpit.model, data.valid, out=OUT)

# %% [markdown]
# To try: find the largest rate at which the loss still falls; switch to SGD there.
#
# We have looked at the validation digits many times, so the best of these numbers is too good. The test digits stay unseen.
#
# ## What you have seen
#
# - A step is too large at a few times the best size, and the steepest direction sets the limit. Too small is only slow: half the rate, twice the epochs.
# - The loss tells; accuracy may not. A finder gives the power of ten: a tenth of the rate of the lowest loss.
# - A rate belongs to an optimizer and to the stages that learn. A schedule forgives a rate that is too large.
#
# **How large a step?** As large as the loss still falls smoothly, found by trying powers of ten, for this optimizer, this batch and these stages.
#
# *Where this lives in the library:* `sftlab/core/lr_search.py`, `sft.warmup_cosine`, `sft.widgets.cockpit`.
#
# ## The same in plain PyTorch
#
# Two lines join the plain path at the end of lesson 00, one before the loop and `schedule.step()` after each `optimizer.step()`:

# %%
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=1e-3, total_steps=EPOCHS * len(x) // 32, pct_start=0.1)

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/rate.ipynb): a rate for a sum, momentum for all tensors, a finder that leaves no trace.
#
# ## Sources
#
# - Polyak, 1964, *Some methods of speeding up the convergence of iteration methods*. Momentum.
# - Kingma and Ba, 2015, *Adam: A Method for Stochastic Optimization*. Loshchilov and Hutter, 2019, *Decoupled Weight Decay Regularization*: AdamW.
# - Smith, 2017, *Cyclical Learning Rates for Training Neural Networks*. The finder.
# - Loshchilov and Hutter, 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*. The cosine.
# - Goyal et al., 2017, *Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*. Warm-up.
# - Goodfellow, Bengio and Courville, 2016, *Deep Learning*, chapter 8. Curvature and the valley.
#
# Previous: [04 Freeze](04_freeze.ipynb). Next: [06 Finetune](06_finetune.ipynb).
