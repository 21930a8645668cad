# %% [markdown]
# # Exercises: how large is the same step?
#
# They belong to [05 Rate](../05_rate.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like;
# help is folded away under each exercise.

# %%
import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from sftlab.lessons import rate as check

# %% [markdown]
# ## 1. Tweak: a rate for a sum
#
# This cell trains a linear layer by SGD on 200 handwritten digits, all of them in each step.

# %%
RATE, REDUCTION = 0.5, "mean"  # "mean" over the images of the batch, or "sum"

digits = load_digits()
x, y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)

def last_loss(rate, reduction):  # its mean over the images, after 50 steps
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=rate)
    for _ in range(50):
        loss = cross_entropy(head(x[:200]), y[:200], reduction=reduction)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return cross_entropy(head(x[:200]), y[:200]).item()

print(f"rate {RATE}, {REDUCTION}: loss {last_loss(RATE, REDUCTION):.4f}")

# %% [markdown]
# Some programs add up the losses of a batch instead of averaging them. Set `REDUCTION` to `"sum"` and look. Then find the rate at which the sum trains exactly as the mean did, so that all four digits of the loss come out again.

# %% tags=["blank"]
rate = ...

# %% [markdown] tags=["hint"]
# How many times larger is each gradient now? SGD's step is rate times gradient.

# %% tags=["solution"]
rate = 0.5 / 200
assert abs(last_loss(rate, "sum") - last_loss(0.5, "mean")) < 1e-2

# %%
check.rate_of_the_sum(rate)

# %% [markdown]
# (With Adam you would have had to change nothing: its step does not depend on the size of the gradient.)
#
# ## 2. Build: momentum for all tensors of a network
#
# The lesson wrote momentum for one array. Write it as PyTorch has it: `step(parameters, memory, rate)` changes each tensor of the list `parameters` in place, by its `.grad`. `memory` is a dict, empty at first, and the same one in every call. For each tensor, $v$ is the new gradient plus 0.9 times its old $v$, and the tensor moves by rate times $v$ against it.

# %% tags=["blank"]
def step(parameters, memory, rate):
    ...

# %% [markdown] tags=["hint"]
# Each tensor needs a $v$ of its own: number the tensors with `enumerate`. Changing a tensor that learns is only allowed under `torch.no_grad()`, and only an operation in place, such as `w.sub_(…)` or `w -= …`, changes the tensor that the network uses.

# %% tags=["solution"]
@torch.no_grad()
def step(parameters, memory, rate):
    for i, w in enumerate(parameters):
        memory[i] = w.grad + 0.9 * memory.get(i, 0)
        w -= rate * memory[i]

# %%
check.steps_like_torch(step)

# %% [markdown]
# ## 3. Break it: a finder that leaves ruins
#
# A colleague looks for a learning rate with this finder, and then trains the same network at the rate that it named. She never gets below the loss of an untrained one.

# %%
def finder(net, x, y):
    rates, losses = np.logspace(-4, 1, 60), []
    optimizer = torch.optim.SGD(net.parameters(), lr=1)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        loss = cross_entropy(net(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    return rates, losses

# %%
torch.manual_seed(0)
net = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
print(f"before {cross_entropy(net(x), y):.1f} nats")
rates, losses = finder(net, x, y)
print(f"after  {cross_entropy(net(x), y):.0e} nats, "
      f"lowest at a rate of {rates[np.argmin(losses)]:.0e}")

# %% [markdown]
# Mend it: the same rates and losses, and afterwards the network is what it was before, in all that it stores.

# %% tags=["blank"]
def finder(net, x, y):
    ...

# %% [markdown] tags=["hint"]
# Either the finder works on a copy, or it puts back what was there. A `state_dict` alone is no copy (lesson 04).

# %% tags=["solution"]
def finder(net, x, y):
    net = copy.deepcopy(net)
    rates, losses = np.logspace(-4, 1, 60), []
    optimizer = torch.optim.SGD(net.parameters(), lr=1)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        loss = cross_entropy(net(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    return rates, losses

# %%
check.leaves_no_trace(finder)

# %% [markdown]
# Back to the lesson: [05 Rate](../05_rate.ipynb).
