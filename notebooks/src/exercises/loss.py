# %% [markdown]
# # Exercises: what is left to minimise?
#
# They belong to [03 Loss](../03_loss.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like;
# help is folded away under each exercise.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from sftlab.lessons import loss as check

# %% [markdown]
# ## 1. Tweak: nine times the loss
#
# This cell trains a linear layer on scikit-learn's handwritten digits, 1797 images in ten classes, and prints the last training loss.

# %%
SMOOTHING = 0.0  # share of each label that is spread evenly over all ten classes

digits = load_digits()
x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)

def trained(smoothing):  # the loss after 300 steps from zero weights
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(300):
        loss = F.cross_entropy(head(x), y, label_smoothing=smoothing)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss.item()

print(f"smoothing {SMOOTHING}: train loss {trained(SMOOTHING):.3f} nats")

# %% [markdown]
# Set the smoothing to 0.3. The loss is then about nine times as high. Is the network nine times as far from what can be reached? Write down how much of this loss training could still remove, in nats.

# %% tags=["blank"]
removable = ...

# %% [markdown] tags=["hint"]
# A loss is floor plus removable part, and the floor is the entropy of the smoothed label: $(1 - ε)\,p + ε / C$ with ten classes. The right class gets a share of ε as well.

# %% tags=["solution"]
p = 0.7 * F.one_hot(torch.tensor(0), 10) + 0.3 / 10
removable = trained(0.3) + (p * p.log()).sum().item()

# %%
check.removable_part(removable)

# %% [markdown]
# ## 2. Build: a cross-entropy that bears any logits
#
# Write `cross_entropy(logits, p)`. `logits` is N × C, `p` holds the N labels as distributions, N × C too. It returns the mean of $H(p, q)$ over the images, also for logits of 10,000. (`F.cross_entropy` stays in its drawer.)

# %% tags=["blank"]
def cross_entropy(logits, p):
    ...

# %% [markdown] tags=["hint"]
# $\log q(c) = z_c - \log \sum_k e^{z_k}$, and nothing changes if the same number is subtracted from all logits of an image: its largest one, for example. (`torch.logsumexp` and `log_softmax` do just that.) Then: a sum over classes, a mean over images.

# %% tags=["solution"]
def cross_entropy(logits, p):
    z = logits - logits.max(dim=1, keepdim=True).values
    log_q = z - z.exp().sum(dim=1, keepdim=True).log()
    return -(p * log_q).sum(dim=1).mean()

# %%
check.same_as_torch(cross_entropy)

# %% [markdown]
# ## 3. Break it: a loss that stops falling
#
# A colleague's loop runs without an error. Nearly all training images are right in the end, but the loss stops far above zero, and more epochs do not help.

# %%
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 10), nn.Softmax(dim=1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-1)
for step in range(301):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    if step % 100 == 0:
        right = (model(x).argmax(dim=1) == y).float().mean()
        print(f"step {step}: loss {loss:.3f}, {right:.1%} right")

# %% [markdown]
# Find the mistake: what does `F.cross_entropy` expect? Then make it easy to recognise the next time. Write `lowest(classes)`: the lowest loss that such a loop can reach for so many classes, in nats, if every image is answered rightly and with certainty.

# %% tags=["blank"]
def lowest(classes):
    ...

# %% [markdown] tags=["hint"]
# Which numbers does `F.cross_entropy` get for a perfect answer? One of them is 1, all others are 0. It takes them for logits.

# %% tags=["solution"]
def lowest(classes):
    perfect = F.one_hot(torch.tensor([0]), classes).float()
    return F.cross_entropy(perfect, torch.tensor([0])).item()

# %%
check.lowest_loss(lowest)

# %% [markdown]
# Back to the lesson: [03 Loss](../03_loss.ipynb).
