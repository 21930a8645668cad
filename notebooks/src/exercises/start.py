# %% [markdown]
# # Exercises: what exactly has learned, and from what?
#
# They belong to [00 Start here](../00_start_here.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like;
# help is folded away under each exercise.

# %%
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import sftlab as sft
from sftlab.core.statistics import t_interval
from sftlab.lessons import start as check

# %% [markdown]
# ## 1. Tweak: how much may still be there?
#
# The lesson's record holds six ways to train on five splits. This cell takes one of them, subtracts the linear probe on the same split, and prints the mean of the five differences with its interval, in points.

# %%
TASK, WAY = "typefaces", "full fine-tuning"

record = sft.records.stored("start")
runs, ratio = record[TASK].values(), record["test_to_train"][TASK]
gains = [100 * (run[WAY][-1] - run["linear probe"][-1]) for run in runs]
gain = t_interval(gains, test_to_train=ratio)  # wider: all five splits share images
print(f"{TASK}, {WAY}: {gain.value:+.1f} points ({gain.low:+.1f} to {gain.high:+.1f})")

# %% [markdown]
# For solar cells the lesson says that fine-tuning is *not shown to gain*. That is not the same as *shown not to gain*. Change the cell above to the solar cells: how many points may full fine-tuning add at most, as far as this interval knows?

# %% tags=["blank"]
at_most = ...

# %% [markdown] tags=["hint"]
# The interval holds every gain that fits these five splits. One word in the cell above changes, and the answer is one of the three numbers that it then prints.

# %% tags=["solution"]
gains = [100 * (run["full fine-tuning"][-1] - run["linear probe"][-1])
         for run in record["solar"].values()]
at_most = t_interval(gains, test_to_train=record["test_to_train"]["solar"]).high

# %%
check.gain_at_most(at_most)

# %% [markdown]
# ## 2. Build: train exactly the stages you choose
#
# In plain PyTorch, write `optimizer_for(net, first, rate)`. `net` is a list of stages, as in the lesson. It returns an AdamW after whose steps the stages `net[first:]` have learned at that rate, and all stages before it are as they were. At `first = len(net) - 1` this is the linear probe, at 0 it is full fine-tuning.

# %% tags=["blank"]
def optimizer_for(net, first, rate):
    ...

# %% [markdown] tags=["hint"]
# `net[:first]` and `net[first:]` are networks too: both have `requires_grad_` and `parameters()`. Compare the plain path at the end of the lesson.

# %% tags=["solution"]
def optimizer_for(net, first, rate):
    net.requires_grad_(True)
    net[:first].requires_grad_(False)
    return torch.optim.AdamW(net[first:].parameters(), lr=rate)

# %%
check.learns_from(optimizer_for)

# %% [markdown]
# ## 3. Break it: test images that are in train
#
# A colleague shows a surprising accuracy on test. Somebody has slipped training images into his test set, at random places. The same classifier on the images that were there before:

# %%
digits = load_digits()
images, labels = torch.tensor(digits.images).byte(), torch.tensor(digits.target)
rows = np.random.default_rng(0).permutation(len(images))
train, clean = rows[:60], rows[60:160]
leaky = np.where(np.arange(100) % 3 < 2, np.resize(train, 100), clean)
model = LogisticRegression(max_iter=1000).fit(images[train].flatten(1), labels[train])
for name, test in (("his test set", leaky), ("as it was", clean)):
    print(f"{name:13s}{model.score(images[test].flatten(1), labels[test]):.2f}")

# %% [markdown]
# Write the function that would have found it: `leaked(train, test)` takes two sets of images, N×8×8, and returns the numbers of the rows of `test` whose image stands in `train` as well, pixel by pixel, wherever it stands. For two sets that share nothing it returns an empty list.

# %% tags=["blank"]
def leaked(train, test):
    ...

# %% [markdown] tags=["hint"]
# Each test image must be compared with *all* training images. `(train == image)` compares one with all of them; then all 64 pixels must agree, for at least one.

# %% tags=["solution"]
def leaked(train, test):
    return [row for row, image in enumerate(test)
            if (train == image).flatten(1).all(dim=1).any()]

# %%
check.finds_leak(leaked)

# %% [markdown]
# An image that was merely shifted or brightened is found by no exact comparison. That is why the lesson keeps all pictures of a word, and all cells of a module, in one split.
#
# Back to the lesson: [00 Start here](../00_start_here.ipynb).
