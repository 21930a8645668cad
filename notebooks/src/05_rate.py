# %% [markdown]
# # How large a step?
#
# You will be able to
# - tell from the curves alone whether a learning rate is too small, right, or too large;
# - find the right power of ten in a second or two, before you spend an hour on the wrong one;
# - say what SGD, momentum and Adam do with the same gradient, and why a rate for one means nothing to the other.
#
# 30 minutes. Comes after [03 Loss](03_loss.ipynb), which derives the gradient, and [04 Freeze](04_freeze.ipynb), which trains a head on kept features.
# Images: handwritten digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import sftlab as sft
from sftlab import plot
from sftlab.lessons.rate import loss_surface, lr_curves
from sftlab.plot import style
from sftlab.widgets import choice, explore, slider

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 64                        # edge of the images in pixels, 32 to 160
LABELS: int = 60                      # training images per class
EPOCHS: int = 10                      # passes over the training images, 5 to 20
SEED: int = 0                         # split, order of batches, start of the head

# %% [markdown]
# ## Ten classes, so that nothing can hide
#
# Most lessons look at solar cells. There, always saying "intact" is right seven times in ten, and a bad rate can hide behind that number. Among
# ten digits a guess is right one time in ten, so a rate that does nothing and a rate that does harm are seen at once.

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 32, 160), LABELS=(int, 20, 80),
                     EPOCHS=(int, 5, 20), SEED=(int, 0))
data = sft.load("digits", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)
print(data.card)

# %% [markdown]
# We train the head only, on frozen features. Features and targets become plain tensors; the bias becomes one more weight on a feature that is always 1. So all that
# learns is **one matrix** $w$, a row a class.

# %%
def tensors(split):
    """Return features with a 1 appended (n×d), targets as distributions (n×10)."""
    x, y = sft.features(original[:-1], split).take(np.arange(len(split)))
    return torch.cat([x, torch.ones(len(x), 1)], dim=1), torch.eye(10)[y]


x, p = tensors(data.train)
x_valid, p_valid = tensors(data.valid)
model = sft.replace_head(original, data.classes, seed=SEED)
start = torch.cat([model.head.weight, model.head.bias[:, None]], dim=1).detach()

# %% [markdown]
# ## One step
#
# The loss is $H(p, q)$, averaged over the images, with $q$ the softmax of the logits $xw^\top$. Its gradient is the formula of lesson 03: difference times input,
# $g = (q - p)^\top x / n$. By hand, and against PyTorch's own:

# %%
def loss(w, x=x, p=p):
    """Return the mean cross-entropy of the head w."""
    return -(p * (x @ w.T).log_softmax(dim=1)).sum(dim=1).mean()


def gradient(w, x=x, p=p):
    """Return the gradient of `loss`, by hand."""
    return ((x @ w.T).softmax(dim=1) - p).T @ x / len(x)


w = start.clone().requires_grad_()
loss(w).backward()
assert torch.allclose(w.grad, gradient(start), atol=1e-5)

# %% [markdown]
# The gradient says in which direction the loss falls fastest, *here*. It does not say how far to go. The **learning rate** $\eta$ does: $w \leftarrow w - \eta\,g$.
#
# > **Predict.** Some size of the first step is the best one. How many times that size makes the loss worse than no step at all?

# %%
guess = sft.widgets.predict("times the best step that do harm", 1, 20, 10, name="harm")

# %%
sizes, before, g = torch.logspace(-4, 1, 101), loss(start), gradient(start)
after = torch.stack([loss(start - eta * g) for eta in sizes])
best = float(sizes[after.argmin()])
harmful = float(sizes[(after > before) & (sizes > best)][0])
figure, ax = plt.subplots(figsize=(7, 3.2))
ax.plot(sizes, after)
ax.plot(best, after.min(), "o", label=f"best: {best:.1g}")
ax.axhline(before, color="black", linestyle="--", label="no step at all")
ax.axvline(harmful, color="red", linestyle=":", label=f"✗ harm from {harmful:.1g} on")
ax.set(xscale="log", xlabel="size of the step (learning rate, log scale)",
       ylabel="train loss after it (nats)", title=f"The best first step is {best:.1g}",
       ylim=(float(after.min()) - 0.2, 1.5 * float(before)))
ax.legend(loc="upper left")
plot.show(ax)
times = harmful / best
plot.guess_vs_result(float(times), guess, low=1, high=20, unit="times")

# %% [markdown]
# Along a parabola the answer is exactly 2: the way down, and the same way up on the other side. Our loss is not quite a parabola, but near. So the best step
# and a harmful one are neighbours on any scale that counts in powers of ten. And ten times too *small* is harmless, only slow.
#
# ## Many steps down a valley
#
# What makes a direction dangerous is its **curvature**, how fast the slope changes. Take the simplest landscape with two curvatures, a valley:
# $f(a, b) = \tfrac12 (a^2 + 25\,b^2)$, with gradient $(a,\ 25\,b)$. It is 25 times steeper across than along.

# %%
def sgd(g, memory, eta):
    """Plain gradient descent: the step is proportional to the gradient."""
    return eta * g


def roll(rule, eta, steps=40):
    """Return the positions of `steps` steps down the valley."""
    w, memory, way = torch.tensor([-9.0, 2.0]), {}, []
    for _ in range(steps + 1):
        way.append(w.numpy().copy())
        w = w - rule(torch.tensor([1.0, 25.0]) * w, memory, eta)
    return np.array(way)


# %%
assert np.abs(roll(sgd, 0.99 * 2 / 25, steps=500)[-1]).max() < 0.1
assert np.abs(roll(sgd, 1.01 * 2 / 25, steps=500)[-1]).max() > 100
loss_surface({f"SGD, rate {eta}": roll(sgd, eta) for eta in (0.01, 0.075, 0.083)})

# %% [markdown]
# The first creeps. The second crosses the valley at every step, because it is almost too much for the steep direction, and still slow along the flat one. The
# third is only a tenth larger and leaves. The border is $2/\lambda$, where $\lambda$ is the largest curvature: here 2/25 = 0.08. (The two
# asserts check it: one percent below, 500 steps reach the bottom; one percent above, they end far outside.)
#
# So one number must serve all directions, and the steepest one sets the limit. Two ideas help.
#
# **Momentum** (Polyak, 1964) adds up gradients, $v \leftarrow \mu v + g$: across the valley they cancel, along it they agree and the step grows up to $1/(1-\mu)$ = 10
# times. **Adam** (Kingma and Ba, 2015) divides each weight's mean gradient $m$ by its usual size $\sqrt{s}$, so every weight takes steps of about $\eta$.

# %%
def momentum(g, memory, eta, mu=0.9):
    """SGD with momentum: the step is a running sum of gradients."""
    memory["v"] = mu * memory.get("v", 0) + g
    return eta * memory["v"]


def adam(g, memory, eta, b1=0.9, b2=0.999):
    """Adam: running means of g and g², both corrected for their start at 0."""
    t = memory["t"] = memory.get("t", 0) + 1
    m = memory["m"] = b1 * memory.get("m", 0) + (1 - b1) * g
    s = memory["s"] = b2 * memory.get("s", 0) + (1 - b2) * g**2
    return eta * (m / (1 - b1**t)) / ((s / (1 - b2**t)).sqrt() + 1e-8)


# %%
rules = {"SGD": sgd, "momentum": momentum, "Adam": adam}
loss_surface({"SGD, rate 0.02": roll(sgd, 0.02), "Adam, rate 0.4": roll(adam, 0.4),
              "momentum, 0.02": roll(momentum, 0.02)})

# %% [markdown]
# Momentum overshoots like a ball and gets further with the same rate. Adam ignores that one slope is 25 times steeper and walks diagonally; but it needed
# *another number*. Drag the rate until each of them leaves the valley, or stops getting anywhere.

# %%
def ways(eta, rule):
    return loss_surface({f"{rule}, rate {eta:.3g}": roll(rules[rule], eta)})


explore(ways, eta=slider("learning rate", np.geomspace(0.001, 10, 41), value=0.05),
        rule=choice("rule", list(rules), value="momentum"), name="valley")

# %% [markdown]
# ## The same rules train the head
#
# A loop over batches, our gradient, a rule. If our three rules are what everybody means by these names, PyTorch's optimizers must arrive at the same weights.

# %%
def batches(epochs):
    """Yield the rows of each batch, in another order each epoch."""
    for epoch in range(epochs):
        yield from sft.data.batch_positions(len(x), 32, seed=SEED, epoch=epoch)


def train(rule, eta, epochs=EPOCHS, scale=1.0):
    """Train the head by hand and return its weights; `scale` multiplies the loss."""
    w, memory = start.clone(), {}
    for rows in batches(epochs):
        w -= rule(scale * gradient(w, x[rows], p[rows]), memory, eta)
    return w


# %%
for name, kind, more in (("SGD", torch.optim.SGD, {}), ("Adam", torch.optim.Adam, {}),
                         ("momentum", torch.optim.SGD, {"momentum": 0.9})):
    w = start.clone().requires_grad_()
    optimizer = kind([w], lr=1e-3, **more)
    for rows in batches(epochs=2):
        optimizer.zero_grad()
        loss(w, x[rows], p[rows]).backward()
        optimizer.step()
    far = (train(rules[name], 1e-3, epochs=2) - w).abs().max()
    print(f"{name:<9} largest difference of a weight after 2 epochs: {far:.0e}")
    assert far < 1e-3

# %% [markdown]
# ## Too small, right, too large
#
# From here on the library trains (`adamw` is Adam with a brake on large weights). Three rates, hundreds of times apart.
#
# > **Predict.** After ten epochs at a rate of 1e-5, how many percent of the validation digits are right? Guessing gives 10.

# %%
guess = sft.widgets.predict("percent right at a rate of 1e-5", 0, 100, 50, name="small")

# %%
def run_at(rate, strategy=sft.linear_probe, epochs=EPOCHS):
    """Train with a fresh head at one rate and return the history."""
    fresh = sft.replace_head(original, data.classes, seed=SEED)
    profile = strategy(fresh, lr=rate)
    return sft.fit(fresh, data, profile, epochs, seed=SEED, verbose=False)


three = {f"rate {rate}": run_at(float(rate)) for rate in ("3", "1e-5", "3e-3")}
plot.show(plot.curves(three, hues=["#D55E00", "#0072B2", "#009E73"]))
plot.guess_vs_result(100 * three["rate 1e-5"].epochs[-1].valid_accuracy, guess)

# %% [markdown]
# **Too small** (1e-5): a straight, patient line; nothing wrong except the time. **Right** (3e-3): a steep start, then flat. **Too large** (3): the loss
# leaves through the roof of the picture, far above that of the untrained head.
#
# Now cover the left half of the picture. Judged by accuracy alone, the run at 3 looks bearable, because accuracy asks only which logit is *largest*. The loss sees that
# its probabilities are nonsense. Look at the loss first.
#
# ## Slow is not bad
#
# Was 1e-5 *worse*, or only not finished? Give every rate 80 epochs and note when it first reaches 85 %.

# %%
patient = sft.lr_sweep(model, data, [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3],
                         epochs=80, seeds=[SEED])
goal = min(0.85, np.max(patient.valid_accuracy))
reached = np.array(patient.valid_accuracy)[0] >= goal            # rates × epochs
first = np.where(reached.any(axis=1), reached.argmax(axis=1), np.nan)
figure, ax = plt.subplots(figsize=(7, 3.2))
ax.plot(patient.rates, first, "o-")
for rate, epoch in zip(patient.rates, first, strict=True):
    if np.isfinite(epoch):
        ax.annotate(f"{epoch:.0f}", (rate, epoch), (0, 8), textcoords="offset points")
ax.set(xscale="log", yscale="log", xlabel="learning rate (log scale)",
       ylabel=f"epochs to {100 * goal:.0f} % (log scale)", title="Half the rate, twice the epochs")
ax.margins(0.1)
ax

# %% [markdown]
# Half the rate, twice the epochs, as long as the rate is small: rate times epochs, the distance travelled, stays the same. A comparison of two methods at one fixed number of
# epochs may compare nothing but their rates. The axis has to say *epochs*, and the curve has to be flat before one says "worse".
#
# ## Find the power of ten in a second
#
# The **learning-rate finder** (Smith, 2017): start absurdly small, multiply the rate a little after every step, and watch the loss. It is flat while steps are too
# small to matter, falls, and explodes. By hand it is one changing number in the loop:

# %%
order = list(batches(epochs=6))
ramp = np.logspace(-6, 1, len(order))
w, memory, found = start.clone(), {}, []
for eta, rows in zip(ramp, order, strict=True):
    found.append(float(loss(w, x[rows], p[rows])))
    w -= adam(gradient(w, x[rows], p[rows]), memory, eta)
print(f"loss {found[0]:.2f} at the start, lowest near a rate of "
      f"{ramp[np.argmin(found)]:.0e}, {found[-1]:.0f} at a rate of 10")

# %% [markdown]
# The library's smooths the noise, stops when the loss explodes, and proposes the rate of the steepest fall. It works on a throw-away copy. Many finders do not and leave
# you with a network that has been through the explosion, so we check: weights, buffers, and the random generator.

# %%
weights, dice = sft.fingerprint(model), torch.get_rng_state()
finder = sft.find_lr(model, data, sft.linear_probe(model, lr=1e-3))
assert sft.fingerprint(model) == weights and torch.equal(torch.get_rng_state(), dice)
plot.lr_finder(finder)

# %% [markdown]
# ## Every rate at once
#
# The finder gives a hint from a hundred steps. For a head on kept features we can afford the truth: *all* rates, each trained to the end, with three starts. Stacked
# into one batched product they cost far less than one after the other.

# %%
RATES = np.logspace(-6, 1, 29)
sweep = sft.lr_sweep(model, data, RATES, epochs=EPOCHS, seeds=range(3))
plot.lr_sweep(sweep)

# %% [markdown]
# A hill: steep on the left, flat for about a power of ten on top, and a long slope on the right, where, as the run at 3 has shown, the probabilities are worthless long
# before the accuracy is. The finder's proposal lies on the flat top. And the batched product is no approximation: a point of it is what `fit` would have given.

# %%
one = sft.lr_sweep(model, data, [3e-3], epochs=EPOCHS, seeds=[SEED])
alone = [e.valid_loss for e in three["rate 3e-3"].epochs]
assert np.allclose(one.valid_loss[0][0], alone, rtol=1e-3)
print(f"the finder proposes {finder.steepest:.0e}; "
      f"of all rates, {sweep.best:.0e} has the lowest valid loss")

# %% [markdown]
# The hill is not a property of the network alone: it depends on how long you train. Drag the epochs from 0 on and watch its left side walk towards smaller rates.

# %%
sgd_sweep = sft.lr_sweep(model, data, RATES, epochs=EPOCHS, seeds=range(3),
                           optimizer="sgd")
sweeps = {"adamw": sweep, "sgd": sgd_sweep}
print("lowest valid loss at", {name: f"{s.best:.0e}" for name, s in sweeps.items()})


def hill(epoch, optimizer):
    ax = plot.lr_sweep(sweeps[optimizer], epoch=epoch)
    ax.set_ylim(0, 1)  # the same frame for every epoch
    return ax


explore(hill, epoch=slider("epochs", range(EPOCHS + 1), value=EPOCHS),
        optimizer=choice("optimizer", list(sweeps)), name="hill")

# %% [markdown]
# ## A rate for SGD is not a rate for Adam
#
# Both have their lowest loss near the same number, which tempts one to think that the numbers mean the same. They do not even have the same unit. Look at the very first step:

# %%
for name, rule in rules.items():
    moved = rule(gradient(start), {}, 1e-3).abs()
    few, half, most = moved[moved > 0].quantile(torch.tensor([0.01, 0.5, 0.99]))
    print(f"{name:<9} at 1e-3 moves a weight by {half:.1e} "
          f"(1 % less than {few:.0e}, 1 % more than {most:.0e})")

# %% [markdown]
# SGD's step is $\eta\,g$: it inherits the size of the gradient. Adam's is about $\eta$ for *every* weight, whatever the gradient. So multiply the loss by 100, as happens when
# somebody sums over images instead of averaging. The best weights are the same. What happens to the best rates?

# %%
def accuracy(w):
    return float((x_valid @ w.T).argmax(1).eq(p_valid.argmax(1)).float().mean())


rates = np.logspace(-6, -1, 11)
curves = {f"{name}{', loss × 100' * (scale > 1)}":
          (rates, [accuracy(train(rules[name], r, 5, scale)) for r in rates])
          for name in ("momentum", "Adam") for scale in (1, 100)}
lr_curves(curves, majority=sweep.majority,
          finding="A loss 100 times larger moves the hill of momentum only")

# %%
there = {name: np.array(values) for name, (_, values) in curves.items()}
same = abs(there["Adam"] - there["Adam, loss × 100"])[rates <= 1e-2].max()
moved = abs(there["momentum"][4:9] - there["momentum, loss × 100"][:5]).max()
print(f"points apart: Adam {100 * same:.1f}; momentum, moved by 100, {100 * moved:.1f}")
assert same < 0.02 and moved < 0.02

# %% [markdown]
# SGD's hill moved by exactly the factor 100, Adam's stayed. A rate copied from a paper is worth something only together with its optimizer, its batch size, and how its loss was averaged.
#
# ## Rates that change in time
#
# Large steps are good early and bad late: near the bottom they jump across it. A **schedule** is a factor on the rate, a function of the share $t$ of the run that is over.

# %%
def cosine(t):
    return 0.5 * (1 + np.cos(np.pi * t))


assert all(abs(cosine(t) - sft.cosine()(t)) < 1e-12 for t in (0, 0.3, 1))
figure, ax = plt.subplots(figsize=(6.5, 2.8))
t = np.linspace(0, 1, 201)
for name, schedule in (("constant", sft.constant()), ("cosine", cosine),
                       ("linear", sft.linear()),
                       ("warm-up, then cosine", sft.warmup_cosine(0.1))):
    ax.plot(t, [schedule(share) for share in t], label=name)
ax.set(xlabel="share of the run that is over", ylabel="factor on the rate",
       title="A schedule is a factor on the rate")
ax.legend()
ax

# %%
cooled = sft.lr_sweep(model, data, RATES, epochs=EPOCHS, seeds=range(3),
                        schedule=cosine)
mean = {name: np.mean(s.valid_accuracy, axis=0)[:, -1]
        for name, s in (("constant", sweep), ("cosine", cooled))}
for name, a in mean.items():
    print(f"{name:<9} top {a.max():.1%}, mean of rates above 0.1: "
          f"{a[RATES > 0.1].mean():.1%}, below 1e-4: {a[RATES < 1e-4].mean():.1%}")
lr_curves({name: (RATES, a) for name, a in mean.items()}, majority=sweep.majority,
          finding="Cooling down forgives a rate that is too large")

# %% [markdown]
# The top is as high as before: a schedule does not find better digits here. It makes the hill *wider on the right*, because even a run that was thrown about comes to rest
# in the end. On the left it costs, since half the distance is not travelled. That is why a schedule and a slightly too large rate go well together.
#
# ## The cockpit
#
# Everything above in your hand. Let go of the rate and the head is trained anew. Choose an earlier stage, and from there on everything learns; that
# takes longer, so it waits for *Train*. Runs stay for comparison; point at a row to see its curves.

# %%
cockpit = sft.widgets.cockpit(model, data, rate=2e-3, epochs=EPOCHS, seed=SEED)
await cockpit.run()

# %% [markdown]
# Things to try: find the largest rate that still descends. Switch to SGD there. Then let `layer7` and the rest learn with the rate that was best for the head, and lower it until the run recovers.
#
# ## A whole network forgives less
#
# A head is one matrix; even absurd rates left it somewhere that still ranks most digits right. In a deep network each stage feeds the next, and a large step spoils the
# pretrained weights themselves.
#
# > **Predict.** Full fine-tuning for two epochs at 1e-2, a rate at which the head alone gets more than nine in ten right. How many percent?

# %%
guess = sft.widgets.predict("percent right, all stages at 1e-2", 0, 100, 80, name="all")

# %%
deep = {rate: run_at(rate, sft.full, epochs=2).epochs[-1].valid_accuracy
        for rate in (1e-4, 1e-3, 1e-2)}
both = {f"head only, {EPOCHS} epochs": (RATES, mean["constant"]),
        "all stages, 2 epochs": (list(deep), list(deep.values()))}
plot.show(lr_curves(both, majority=sweep.majority,
                    finding="For a whole network the hill is narrow"))
plot.guess_vs_result(100 * deep[1e-2], guess)

# %% [markdown]
# Two powers of ten lie between "has hardly begun" and "has been thrown off". In the middle, two epochs of the whole network match ten of the head. Whether all its stages
# should take the same step is the next lesson's question.
#
# ## Choose on valid, report on test
#
# We have looked at validation digits a hundred times, so the best of these numbers is too good. The chosen rate gets one look at the test digits.

# %%
chosen = sft.replace_head(original, data.classes, seed=SEED)
sft.fit(chosen, data, sft.linear_probe(chosen, lr=sweep.best), epochs=EPOCHS,
        schedule=sft.cosine(), seed=SEED)
result = sft.evaluate(chosen, data.test)
print(f"test accuracy {result.accuracy:.3f}, majority {result.majority:.3f}")

# %% [markdown]
# ## What you have seen
#
# - A step can be too large at a few times the best size, and the steepest direction sets the limit; too small is only slow: half the rate, twice the epochs.
# - The loss tells, accuracy may not. A finder gives the power of ten in a second, a sweep of a cached head the whole hill.
# - A rate belongs to an optimizer: SGD's steps inherit the size of the gradient, Adam's do not. A schedule widens the hill on the right.
#
# **How large a step?** As large as the loss still falls smoothly, found by trying powers of ten, for this optimizer, this batch, and these stages.
#
# *Where this lives in the library:* `sft.find_lr`, `sft.lr_sweep`, `sft.cosine`, `sft.warmup_cosine`, `sft.fit(…, optimizer=, schedule=)`, `sft.widgets.cockpit`.
#
# ## The same in plain PyTorch
#
# A finder needs ten lines and no library:

# %%
torch.manual_seed(SEED)
head = torch.nn.Linear(x.shape[1] - 1, 10)
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-6)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=10 ** (6 / 100))
losses = []
for rows in order[:100]:
    value = torch.nn.functional.cross_entropy(head(x[rows, :-1]), p[rows])
    optimizer.zero_grad(); value.backward(); optimizer.step(); schedule.step()
    losses.append(value.item())
print(f"lowest loss near a rate of {10 ** (-6 + 6 * np.argmin(losses) / 100):.0e}")

# %% [markdown]
# ## Try it
#
# - **Tweak.** Load the solar cells instead (`sft.load("solar", size=160, per_class=300)`, majority in mind) and compare where the hill of the loss is lowest. Does the best rate carry over?
# - **Build.** Write a schedule that drops to a tenth at half of the run, with `sft.piecewise` and by hand, and lay its hill beside the cosine's.
# - **Break.** In the cockpit, find a setting whose accuracy is high while its loss is above that of the untrained head. What would its probabilities be worth?
#
# ## Sources
#
# - Polyak, 1964, *Some methods of speeding up the convergence of iteration methods*. Momentum.
# - Kingma and Ba, 2015, *Adam: A Method for Stochastic Optimization*. Loshchilov and Hutter, 2019, *Decoupled Weight Decay Regularization*: AdamW.
# - Smith, 2017, *Cyclical Learning Rates for Training Neural Networks*. The finder.
# - Loshchilov and Hutter, 2017, *SGDR: Stochastic Gradient Descent with Warm Restarts*. The cosine.
# - Goodfellow, Bengio and Courville, 2016, *Deep Learning*, chapter 8. Curvature and the valley.
#
# Previous: [04 Freeze](04_freeze.ipynb). Next: [06 Finetune](06_finetune.ipynb).
