# %% [markdown]
# # What exactly is being minimised?
#
# You will be able to
# - compute the loss of one image by hand, and say what number to expect before the first step;
# - split any cross-entropy into a floor and a part that training can remove, and never again compare two losses with different floors;
# - write the training loop in five lines, and see what one confidently wrong label does to it.
#
# 45 minutes. Comes after *[How does a 1000-class network answer my question?](02_head.ipynb)*, of which it needs the head and the features. Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.loss import cross_entropy, shares
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the cells in pixels, 64 to 300
LABELS: int = 300                     # training images per class
SEED: int = 0                         # split, order of batches, start of the new head
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# Training turns thousands of weights a little, again and again, so that *one number* falls. Accuracy is not that number: it does not change when a weight changes very little, so it does not say in which direction to turn a weight. What is the number, and when is it small?

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300),
                     LABELS=(int, 10, 800), SEED=(int, 0), OUT=str)
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)
model = sft.replace_head(original, data.classes, seed=SEED)
print(data.card)

# %% [markdown]
# ## One image, by hand
#
# For one image the label says $p$ and the network answers $q$: two distributions over the **classes**. The loss compares them,
#
# $$H(p, q) = -\sum_c p(c)\,\log q(c),$$
#
# the **cross-entropy**. The sum runs over the classes $c$, not over the images; $\log$ is the natural logarithm, and the unit is called nat.

# %%
image, label = data.train.take([0])
with torch.no_grad():
    z = model(image)[0]               # logits: two numbers of any size
q = z.exp() / z.exp().sum()           # softmax: positive, and they sum to 1
p = F.one_hot(label, 2)[0].float()    # the label is certain
for c, name in enumerate(data.classes):
    term = -p[c] * q[c].log()
    print(f"{name:7s} p = {p[c]:.0f}   q = {q[c]:.3f}   -p log q = {term:.3f}")
by_hand = -sum(p[c] * q[c].log() for c in range(2))
theirs = F.cross_entropy(z[None], label)
assert torch.isclose(by_hand, theirs, atol=1e-5)
print(f"H(p, q) by hand {by_hand:.4f} nats, by PyTorch {theirs:.4f}")

# %% [markdown]
# A certain label leaves one term of the sum: the loss is $-\log q$ of the right class, nothing else. PyTorch's `F.cross_entropy` computes the same.
# It takes logits, because a logarithm of a softmax can be computed without overflow.
#
# > **Predict.** The loss of a set is the mean over its images. This head is new: random weights, no training. What is its mean loss over all training cells?

# %%
guess = widgets.predict("loss before the first step, in nats", 0, 3, 2, step=0.01,
                            name="start")

# %%
train = sft.features(model[:-1], data.train)       # computed once, kept on disk
f, y = train.take(range(len(train)))
with torch.no_grad():
    start = F.cross_entropy(model.head(f), y).item()
plot.guess_vs_result(start, guess, low=0, high=3, unit="nats")

# %% [markdown]
# Close to $\log 2 = 0.693$. Whoever knows nothing about two classes says ½ to both, and $-\log ½ = \log 2$. With $C$ classes it is $\log C$. **If the first
# loss of a run is far above $\log C$, something is wrong** before training has begun: labels, scaling, or a head of the wrong size.
#
# ## The expert was not sure
#
# So far $p$ was a one and zeros. But our expert gave each cell a *probability* of being defective, in thirds. Rounding that to 0 or 1 was our doing.
#
# > **Predict.** A cell is labelled ⅔ defect, ⅓ intact. The network answers *exactly* ⅔ and ⅓: a perfect answer. What is its loss?

# %%
soft = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED, target="probability")
levels, counts = soft.train.y[:, 1].unique(return_counts=True)
for level, count in zip(levels, counts, strict=True):
    print(f"defect with probability {level:.2f}: {count} training cells")

guess = widgets.predict("loss of a perfect answer, in nats", 0, 1, 0, step=0.01,
                            name="perfect")

# %%
p = torch.tensor([1 / 3, 2 / 3])
perfect = -(p * p.log()).sum().item()
plot.guess_vs_result(perfect, guess, low=0, high=1, unit="nats")

# %% [markdown]
# Not zero. An unsure label has a **floor**: the entropy $H(p) = -\sum_c p(c) \log p(c)$ of the label itself. Answering 0 or 1 instead is worse, as the curves show. The loss pulls $q$
# towards $p$, wherever that is.

# %%
figure, ax = plt.subplots(figsize=(7.4, 3.4))
answer = np.linspace(0.002, 0.998, 400)         # q(defect)
for target, name in ((0, "0"), (1 / 3, "⅓"), (2 / 3, "⅔"), (1, "1")):
    curve = -(1 - target) * np.log(1 - answer) - target * np.log(answer)
    line, = ax.plot(answer, curve, label=f"p(defect) = {name}: floor {curve.min():.2f}")
    ax.plot(answer[curve.argmin()], curve.min(), "o", color=line.get_color())
ax.set(ylim=(-0.05, 2.6), xlabel="q(defect), the answer's probability of ‘defect’",
       ylabel="H(p, q) (nats)", title="With p = ⅓ or ⅔ no answer gets below 0.64 nats")
ax.legend()
ax

# %% [markdown]
# What lies above the floor is the Kullback–Leibler divergence, $KL(p \| q) = \sum_c p(c) \log \frac{p(c)}{q(c)}$: never negative, and zero only for $q = p$. So every cross-entropy splits in two,
#
# $$H(p, q) = H(p) + KL(p \| q),$$
#
# a part that belongs to the labels and a part that training can remove. We check it on a thousand random pairs with five classes:

# %%
generator = torch.Generator().manual_seed(SEED)
p, q = torch.rand(2, 1000, 5, generator=generator).softmax(dim=2)
cross, floor = -(p * q.log()).sum(dim=1), -(p * p.log()).sum(dim=1)
kl = (p * (p / q).log()).sum(dim=1)
assert torch.allclose(cross, floor + kl, atol=1e-5) and kl.min() >= 0
assert torch.allclose(cross, F.cross_entropy(q.log(), p, reduction="none"), atol=1e-5)
print(f"the two sides differ by {(cross - floor - kl).abs().max():.0e} at most")

# %% [markdown]
# ## Wrong way: compare the losses
#
# Two runs on the same cells: one learns from the rounded labels, one from the expert's probabilities. Do their training losses tell which way to label is better? First the losses as they are, then without their floors:

# %%
def run(train_on, **settings):  # a new head after 20 epochs, and its last training loss
    network = sft.replace_head(original, data.classes, seed=SEED)
    history = sft.fit(network, train_on, sft.linear_probe(network), epochs=20,
                      seed=SEED, verbose=False, keep_best=False, **settings)
    return network, history.epochs[-1].train_loss

(hard_head, hard_loss), (soft_head, soft_loss) = run(data), run(soft)
print(f"train loss on rounded labels {hard_loss:.3f}, on probabilities {soft_loss:.3f}")

# %%
def floor_of(p):  # mean entropy of the labels, the lowest possible loss
    return -torch.where(p > 0, p * p.log(), 0).sum(dim=1).mean().item()

below = floor_of(soft.train.y)
for name, loss, low in (("rounded", hard_loss, 0), ("expert's", soft_loss, below)):
    print(f"{name:9s} loss {loss:.3f} = floor {low:.3f} + removable {loss - low:.3f}")

# %% [markdown]
# As they are, the losses speak for the rounded labels; without the floors, for the expert's. Neither answers the question, because the two runs were given different labels. **Losses can be compared only over the same labels**: same images, same classes, same smoothing, same weights of classes. Otherwise compare what you
# really want: here, answers on validation cells. That follows after one more kind of soft label.
#
# ## Label smoothing: a floor on purpose
#
# Szegedy et al. (2016) take a share ε of every certain label and spread it evenly over the $C$ classes: $p' = (1 - ε)\,p + ε / C$.
#
# Without smoothing, the perfect answer to a certain label is $q = 1$, which needs an infinite logit: the loss keeps pushing, even where the network is right. With ε = 0.1 and two classes the best answer is
# 0.95, and the push ends there. What does that change? The second cell trains a third head and compares all three on validation cells.

# %%
epsilon, z, t = 0.1, model.head(f[:8]).detach(), y[:8]
p = (1 - epsilon) * F.one_hot(t, 2) + epsilon / 2
by_hand = -(p * z.log_softmax(dim=1)).sum(dim=1).mean()
assert torch.isclose(by_hand, F.cross_entropy(z, t, label_smoothing=epsilon), atol=1e-5)
print(f"0 and 1 become {p.min():.2f} and {p.max():.2f}; the floor is {floor_of(p):.3f}")

# %%
smooth_head, _ = run(data, loss=partial(F.cross_entropy, label_smoothing=epsilon))
heads = {"rounded label": hard_head, "expert's probability": soft_head,
         "rounded and smoothed": smooth_head}
results = {name: sft.evaluate(head, data.valid, out=OUT)  # the last one is kept
           for name, head in heads.items()}
for name, result in results.items():
    confidence = np.max(result.probabilities, axis=1).mean()
    print(f"{name:20s} mean confidence {confidence:.3f}, accuracy "
          f"{result.accuracy:.3f}, majority {result.majority:.3f}")

# %% [markdown]
# No accuracy is shown to beat the majority rate, which lies inside each interval (the cells come in 7 groups, which stand for the panels they were cut from: lesson 08), and the three cannot be told apart. The mean confidence (the probability of the class that was called) is lowest after smoothing, as the labels
# ask; but this is one run of each, without an interval. A loss does not only say which class should win, it says *how sure* the answer should be. Whether that is good is a question of its own ([calibration](further/calibration.ipynb)).
#
# ## The gradient is q − p
#
# The **gradient** tells how to turn each number: it says how fast the loss rises when that number rises a little and all others stay (written $\partial H / \partial z$, a derivative). Training goes the other way. For softmax with cross-entropy it is simple: for each logit $z_c$,
#
# $$\frac{\partial H(p, q)}{\partial z_c} = q(c) - p(c).$$
#
# Answer minus target. Where $q$ is too high the logit is pushed down, where it is too low, up; the pushes sum to zero. PyTorch computes gradients by itself (*autograd*) when `backward()` is called. Here is one that it found, beside ours:

# %%
kinds, p = ["intact", "cracked", "dead"], torch.tensor([0.1, 0.7, 0.2])
z = torch.tensor([2.0, 0.5, -1.0], requires_grad=True)
q = z.softmax(dim=0)
F.cross_entropy(z[None], p[None]).backward()
print(f"autograd {z.grad}\n   q − p {(q - p).detach()}")
assert torch.allclose(z.grad, q - p, atol=1e-6)

# %% [markdown]
# ## Drag the bars
#
# Three classes. Move the bars of the target $p$ and of the answer $q$; raise one, and the others of its kind give way. Try three things: bring $q$ onto $p$ (what is left of the loss?);
# make $p$ certain (where is the floor?); let $q$ be confident and wrong.

# %%
def draw(p, q):
    answer = np.maximum(q, 0.001)        # a softmax is never quite 0
    return cross_entropy(p, answer / answer.sum(), kinds)

widgets.explore(draw, p=widgets.distribution("target p", kinds, [0.1, 0.7, 0.2]),
        q=widgets.distribution("answer q", kinds, [0.6, 0.3, 0.1]), name="bars")

# %% [markdown]
# However wrong the answer, no push is larger than 1. But the *loss* has no upper end: each time the probability of the right class is ten times smaller, it rises by log 10 = 2.3 nats.
#
# ## The loop, in five lines
#
# Here is the loop that minimises it, with PyTorch's own objects. The **optimizer** is the object that changes the weights: it knows them all, and its rate `lr` says how far a step goes (lesson 05).

# %%
def epoch_of(head, optimizer, batches):
    for features, labels in batches:                    # 32 images at a time
        loss = F.cross_entropy(head(features), labels)  # one number: the batch's mean
        optimizer.zero_grad()                           # forget the last gradients
        loss.backward()                                 # a gradient for every weight
        optimizer.step()                                # turn each weight against it

head = torch.nn.Linear(f.shape[1], 2)
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
batches = DataLoader(TensorDataset(f, y), batch_size=32, shuffle=True)
print(f"loss before {F.cross_entropy(head(f), y):.3f}")
for _ in range(10):
    epoch_of(head, optimizer, batches)
print(f"after ten epochs {F.cross_entropy(head(f), y):.3f}")

# %% [markdown]
# The library's `fit` does exactly that. With the same start, the same order of batches, no weight decay and no return to the best epoch, the two give the same weights.
#
# What does `backward` give the weights? A logit is a sum of weight times feature, so the gradient of a weight is that of its logit, $q - p$, times its feature, averaged over the batch. So a wrong answer pushes the weights along *that image's* features. The second half of the cell checks it.

# %%
fitted = sft.replace_head(original, data.classes, seed=SEED)
head = sft.replace_head(original, data.classes, seed=SEED).head
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0)
for epoch in range(10):
    epoch_of(head, optimizer, train.batches(32, seed=SEED, epoch=epoch))
sft.fit(fitted, data, sft.linear_probe(fitted, lr=1e-3), epochs=10, seed=SEED,
        weight_decay=0, keep_best=False, verbose=False)
assert torch.allclose(head.weight, fitted.head.weight, atol=1e-4)

push = head(f[:32]).softmax(dim=1) - F.one_hot(y[:32], 2)     # q − p, of 32 images
optimizer.zero_grad()
F.cross_entropy(head(f[:32]), y[:32]).backward()
assert torch.allclose(head.weight.grad, push.T @ f[:32] / 32, atol=1e-5)
print("the same weights, and the same gradient")

# %% [markdown]
# ## One confident wrong label
#
# Labels are made by people, and people make mistakes. Take a batch of 32 training cells, and among those that the trained head gets right the one of which it is most sure. Somebody
# turns its label round.
#
# > **Predict.** An even share would be 3 %. What share of the batch's loss does this one image have now?

# %%
guess = widgets.predict("share of the batch's loss, in percent", 0, 100, 10,
                            name="wrong-guess")

# %%
features, labels = next(train.batches(32, seed=SEED))
answers = head(features).softmax(dim=1).detach()
sure = int(answers[range(32), labels].argmax())
labels[sure] = 1 - labels[sure]
right = answers[range(32), labels]        # q of the class that the label names
shares(-right.log(), 1 - right, at=sure, guess=guess)

# %% [markdown]
# One image in 32 makes a large part of the loss. Its share of the gradient (the size of $q - p$) is much smaller, since no push is larger than 1, but still above an even one. How does that depend on how sure the network is? First a table (its first row is the figure above), then all settings:

# %%
def parts(confidence, smoothing):  # each image's loss, and the size of its gradient
    q = torch.stack([right, 1 - right], dim=1)
    q[sure] = torch.tensor([1 - confidence, confidence])
    p = torch.tensor([1 - smoothing / 2, smoothing / 2])
    return -(p * q.log()).sum(dim=1), (q - p).abs()[:, 0]

above = 1 - right[sure].item()
for setting in ((above, 0), (0.9, 0), (0.99, 0), (0.9999, 0), (0.9999, 0.1)):
    loss, push = (part[sure] / part.sum() for part in parts(*setting))
    print(f"{100 * setting[0]:7.6g} % sure, smoothing {setting[1]:3}: "
          f"{loss:3.0%} of the loss, {push:3.0%} of the gradient")

# %%
def draw_wrong(confidence, smoothing):
    return shares(*parts(confidence / 100, smoothing), at=sure)

steps = [50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9, 99.95, 99.99]
sure_of = widgets.slider("how sure of the wrong class, in percent", steps, value=99)
widgets.explore(draw_wrong, confidence=sure_of, name="wrong",
                smoothing=widgets.slider("label smoothing", [0, 0.1, 0.2]))

# %% [markdown]
# From 99 % to 99.99 % the share of the loss climbs on, the share of the gradient hardly moves. Smoothing lowers its share of the loss, because all other images then have a floor to add.
#
# ## Who makes our loss?
#
# That mistake was made up. Which validation cells make the loss of the head with rounded labels? We sort them:

# %%
judged = results["rounded label"]
p_valid = np.array(judged.probabilities)
losses = -np.log(p_valid[range(judged.n), judged.targets])
worst = np.argsort(-losses)[: judged.n // 20]
print(f"{len(worst)} of {judged.n} cells make {losses[worst].sum() / losses.sum():.0%} "
      f"of the loss; the median cell has {np.median(losses):.2f} nats")

# %%
expert = soft.valid.y[:, 1].numpy()
figure, axes = plt.subplots(2, 4, figsize=(8, 5))
for ax, i in zip(axes.flat, worst[:8]):
    ax.imshow(data.valid.pixels([i])[0, 0], cmap="gray")
    ax.set_title(f"expert {expert[i]:.2f}, network {p_valid[i, 1]:.2f}\n"
                 f"loss {losses[i]:.1f}", fontsize=8)
    ax.set_axis_off()
figure.suptitle("The eight cells with the highest loss (probability of a defect)")
figure.supxlabel(data.card.licence, x=0.01, ha="left", fontsize=7)
figure

# %% [markdown]
# Before you blame the network, look: which of these would *you* have labelled so? A high loss is a mistake of the network or of the label; the loss alone cannot say which. Sorting by loss
# costs nothing, and shows which labels deserve a second look.
#
# ## What you have seen
#
# - The loss of an image is $H(p, q) = -\sum_c p(c) \log q(c)$ over the classes; a new head starts near $\log C$.
# - It is a floor $H(p)$ and a removable part $KL(p \| q)$. Soft and smoothed labels have a floor above zero, so losses over different labels do not compare.
# - Its gradient by the logits is $q - p$: bounded, while the loss is not. A few confident mistakes can make a good part of a loss.
#
# **So what is being minimised?** The mean over the images of the cross-entropy between what the label says and what the network answers; and of that, only the divergence of
# the two can go away.
#
# *Where this lives in the library:* `sft.cross_entropy` (PyTorch's, for several heads too) in `sftlab/core/losses.py`, `sft.steps` in `sftlab/core/loop.py`, `sft.features(…).batches`.
#
# ## The same in plain PyTorch
#
# `F.cross_entropy` takes class numbers or, as a float matrix, the whole distribution. So soft labels need no other loss:

# %%
torch.manual_seed(SEED)
head, p = torch.nn.Linear(f.shape[1], 2), soft.train.y
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
for _ in range(20):
    for rows in torch.randperm(len(f)).split(32):
        loss = F.cross_entropy(head(f[rows]), p[rows])        # p: N×2 probabilities
        optimizer.zero_grad(); loss.backward(); optimizer.step()
final = F.cross_entropy(head(f), p).item()
print(f"loss {final:.3f}, of it floor {below:.3f}")
assert final > below

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/loss.ipynb): what smoothing adds to a loss, a cross-entropy that bears any logits, a loss that stops falling.
#
# ## Sources
#
# - Shannon, 1948, *A Mathematical Theory of Communication*. Entropy.
# - Kullback and Leibler, 1951, *On Information and Sufficiency*. The divergence.
# - Szegedy et al., 2016, *Rethinking the Inception Architecture for Computer Vision*. Label smoothing.
# - Müller, Kornblith and Hinton, 2019, *When Does Label Smoothing Help?* What it does to confidence.
# - Deitsch et al., 2019, *Automatic classification of defective photovoltaic module cells in electroluminescence images*. Where the thirds come from.
# - Northcutt, Jiang and Chuang, 2021, *Confident Learning: Estimating Uncertainty in Dataset Labels*. Finding wrong labels by what a model is sure of.
#
# Previous: [02 Head](02_head.ipynb). Next: [04 Freeze](04_freeze.ipynb).
