# %% [markdown]
# # Exercises: where does a head read, and what does it leave alone?
#
# They belong to [02 Head](../02_head.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like;
# help is folded away under each exercise.

# %%
import copy

import torch
from sklearn.datasets import load_digits
from torch import nn
from torchvision.transforms.v2 import functional as F

import sftlab as sft
from sftlab.lessons import head as check

# %% [markdown]
# ## 1. Tweak: does the usual place cost less when the digits are larger?
#
# In the lesson a head read small digits, 32 pixels wide, much better after `layer4` than after `neck`, the usual place. This cell trains a linear head on 100 digits, after the stage `AFTER`, and says how many of 200 others it gets right.

# %%
AFTER, SIZE = "layer4", 32  # where the head reads; edge of the digits in pixels

net = sft.backbone("efficientnet_lite0")
digits = load_digits()
y = torch.tensor(digits.target[:300])
images = torch.tensor(digits.images[:300, None] * 15.9).byte()

def right_after(stage, size):  # how many percent of the 200 are right
    part = net[: 1 + list(dict(net.named_children())).index(stage)]
    with torch.no_grad():
        f = part(F.resize(images, [size, size])).mean(dim=(2, 3))
    mean, spread = f[:100].mean(dim=0), f[:100].std(dim=0).mean()
    f, head = (f - mean) / spread, nn.Linear(f.shape[1], 10)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(100):
        loss = nn.functional.cross_entropy(head(f[:100]), y[:100])
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return 100 * (head(f[100:]).argmax(dim=1) == y[100:]).float().mean().item()

print(f"{AFTER}, {SIZE} px: {right_after(AFTER, SIZE):.1f} % right")

# %% [markdown]
# Now make the digits 64 pixels wide. How many points does a head after `layer4` still gain over one after `neck`?

# %% tags=["blank"]
points = ...

# %% [markdown] tags=["hint"]
# Run the cell twice, with one word changed, and subtract. To see what size does, do the same at 32 pixels.

# %% tags=["solution"]
points = right_after("layer4", 64) - right_after("neck", 64)

# %%
check.points_before_neck(points)

# %% [markdown]
# ## 2. Build: a first convolution for grey pictures
#
# A solar cell has one channel, the first convolution of the network has filters for three. Write `for_grey(conv)`: it returns a convolution with one input channel that answers a grey picture exactly as the old one answers the same picture repeated three times. (Then nobody has to repeat it, and the pretrained filters are kept.) The old convolution stays as it is.

# %% tags=["blank"]
def for_grey(conv):
    ...

# %% [markdown] tags=["hint"]
# `conv.weight` has the shape filters × channels × height × width. If all three channels hold the same picture, what happens to the three parts of a filter? A deep copy keeps stride, padding and bias.

# %% tags=["solution"]
def for_grey(conv):
    grey = copy.deepcopy(conv)
    grey.in_channels = 1
    grey.weight = nn.Parameter(conv.weight.detach().sum(dim=1, keepdim=True))
    return grey

# %%
check.as_before_on_grey(for_grey)

# %% [markdown]
# ## 3. Break it: two colleagues, one network
#
# Each of two colleagues gave the network a head of his own, by this function. Then one trained his copy, stages and all, and the other wondered why his answers had changed.

# %%
def with_head(model, classes):
    stages = nn.Sequential()
    for name, stage in model.named_children():
        stages.add_module(name, stage)
    stages.head = nn.Linear(model.head.in_features, classes)
    return stages

# %%
hers, his = with_head(net, 2), with_head(net, 5)
print("one stage or two?", "one" if hers.layer1 is his.layer1 else "two")

# %% [markdown]
# Write it anew: a network with the same stages and a fresh head for so many classes, of which nothing belongs to the old one. (In plain PyTorch. In the lab, `sft.replace_head` does it.)

# %% tags=["blank"]
def with_head(model, classes):
    ...

# %% [markdown] tags=["hint"]
# The lesson did it *by hand*, below `Wrong way 3`. What must come first?

# %% tags=["solution"]
def with_head(model, classes):
    edited = copy.deepcopy(model)
    edited.head = nn.Linear(model.head.in_features, classes)
    return edited

# %%
check.leaves_the_old_one(with_head)

# %% [markdown]
# Back to the lesson: [02 Head](../02_head.ipynb).
