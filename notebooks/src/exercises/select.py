# %% [markdown]
# # Exercises: what does it cost, how is it fed, which one is taken?
#
# They belong to [01 Select](../01_select.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like;
# help is folded away under each exercise.

# %%
import torch
from scipy.stats import sem
from sklearn.datasets import load_sample_image
from torch.utils.flop_counter import FlopCounterMode

import sftlab as sft
from sftlab.lessons import select as check

# %% [markdown]
# ## 1. Tweak: the price of larger pictures
#
# This cell counts the work for one picture of 160 × 160 pixels, and what is stored.

# %%
SIZE = 160  # edge of the picture in pixels

net = sft.backbone("efficientnet_lite0")
size = sum(p.numel() for p in net.parameters()) / 1e6
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    net(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8))
work = counter.get_total_flops() / 2 / 1e9
print(f"{SIZE} px: {work:.3f} billion MACs, {size:.1f} million parameters")

# %% [markdown]
# The cells were photographed at 300 × 300. How many times the work of 160 pixels does the network have at 300? Change the cell, and write the ratio down here.

# %% tags=["blank"]
ratio = ...

# %% [markdown] tags=["hint"]
# Run the cell for both sizes and divide one work by the other. Does the number of parameters change as well?

# %% tags=["solution"]
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    net(torch.zeros(1, 3, 300, 300, dtype=torch.uint8))
ratio = counter.get_total_flops() / 2 / 1e9 / work

# %%
check.work_of_size(ratio)

# %% [markdown]
# ## 2. Build: the one-standard-error rule
#
# Write the lesson's rule as a function, before you see any numbers. `choose(scores, work)` gets the accuracy of each network in each block of files (an array, networks × blocks) and the work of each network. It returns the number of the network (its row) that the rule takes: of all whose mean accuracy is within one standard error of the best mean, the one with the least work. The standard error is that of the best network.

# %% tags=["blank"]
def choose(scores, work):
    ...

# %% [markdown] tags=["hint"]
# `sem(row)` is the standard error of one row. First make a list of the networks that are good enough, then take the one with the least work from it: `min(…, key=…)`.

# %% tags=["solution"]
def choose(scores, work):
    means = scores.mean(axis=1)
    best = means.argmax()
    limit = means[best] - sem(scores[best])
    enough = [row for row in range(len(work)) if means[row] >= limit]
    return min(enough, key=lambda row: work[row])

# %%
check.one_standard_error(choose)

# %% [markdown]
# ## 3. Break it: a palace in the wrong colours
#
# A colleague reads her photographs with OpenCV, which hands out height × width × colour, with *blue first*. She writes the first stage of the network by hand. Nothing fails, and the palace is still a palace. But compare her probability with that of the stage `input`, which knows how the weights were trained:

# %%
def prepare(photo):  # bytes, height × width × (blue, green, red)
    x = torch.tensor(photo).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    return (x - mean[:, None, None]) / std[:, None, None]

# %%
photo = load_sample_image("china.jpg")[100:324, 200:424, ::-1].copy()  # blue first
names = sft.imagenet_classes()
with torch.no_grad():
    proper = net.input(torch.tensor(photo).permute(2, 0, 1)[None].flip(1))
    for title, x in (("as trained", proper), ("hers", prepare(photo))):
        p = net[1:](x).softmax(dim=1)[0]
        print(f"{title:11s}{names[int(p.argmax())]} {p.max():.0%}")

# %% [markdown]
# Hers is the higher one, which proves nothing: the network never learned from such pictures. Two things are wrong. Write `prepare` anew, so that the network gets what it was trained on. (In plain PyTorch, without `net.input`: that is what you would write for someone who has only the weights.)

# %% tags=["blank"]
def prepare(photo):
    ...

# %% [markdown] tags=["hint"]
# Which values do *these* weights want, and which ones do most other networks want? And in which order do the three colours come?

# %% tags=["solution"]
def prepare(photo):
    x = torch.tensor(photo).permute(2, 0, 1)[None].flip(1) / 255
    return (x - 0.5) / 0.5

# %%
check.prepares(prepare)

# %% [markdown]
# Back to the lesson: [01 Select](../01_select.ipynb).
