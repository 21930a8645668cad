# %% [markdown]
# # Exercises: when is a layer really frozen?
#
# They belong to [04 Freeze](../04_freeze.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like;
# help is folded away under each exercise.

# %%
import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import sftlab as sft
from sftlab.lessons import freeze as check

# %% [markdown]
# ## 1. Tweak: what is left to do
#
# Everything before the head is frozen here, and its features are cached. This cell counts which share of a forward pass is then still done in each epoch.

# %%
FIRST = "head"  # the first stage that learns

model = sft.replace_head(sft.backbone("efficientnet_lite0"), ["good", "broken"])
cut = list(dict(model.named_children())).index(FIRST)

def work(part, x):  # multiplications and additions
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        part(x)
    return counter.get_total_flops()

x = torch.zeros(1, 3, 160, 160, dtype=torch.uint8)
print(f"{work(model[cut:], model[:cut](x)) / work(model, x):.5f}")

# %% [markdown]
# Now let `layer6` learn, with all that follows it. Four fifths of all parameters are then trained. Which share of the forward pass is left to do in each epoch? Change the cell above, and write the number down here.

# %% tags=["blank"]
share = ...

# %% [markdown] tags=["hint"]
# The first stage that learns is the first one that must run again. One word in the cell above changes.

# %% tags=["solution"]
cut = list(dict(model.named_children())).index("layer6")
share = work(model[cut:], model[:cut](x)) / work(model, x)

# %%
check.work_left(share)

# %% [markdown]
# ## 2. Build: a freeze that survives `model.train()`
#
# The textbook's loop says `model.train()` at the start of every epoch. Write `freeze(module)`, called once before training, so that neither parameters nor statistics of that module change afterwards, whatever the loop says. Three lines will do.

# %% tags=["blank"]
def freeze(module):
    ...

# %% [markdown] tags=["hint"]
# `model.train()` calls the method `train` of each child. What if the frozen part had a `train` of its own, which leaves it in eval mode?

# %% tags=["solution"]
def freeze(module):
    module.requires_grad_(False)
    for part in module.modules():
        part.eval()
        part.train = lambda mode=True, part=part: part

# %%
check.survives_train(freeze)

# %% [markdown]
# ## 3. Break it: a proof that proves nothing
#
# A colleague proves her freeze with this function. She hands it a network and something that trains it; it names what has changed. It has two faults, and each of them alone hides a drift.

# %%
def changed(module, training):
    before = module.state_dict()
    training()
    return [name for name, p in module.named_parameters()
            if not torch.equal(p, before[name])]

norm = nn.BatchNorm1d(2)
print("changed:", changed(norm, lambda: norm(torch.randn(8, 2))))

# %% [markdown]
# The running mean did change. Write the function anew, without the faults.

# %% tags=["blank"]
def changed(module, training):
    ...

# %% [markdown] tags=["hint"]
# Print `before["running_mean"]` before and after `training()`. Then list what is in `module.state_dict()` and not in `module.named_parameters()`.

# %% tags=["solution"]
def changed(module, training):
    before = copy.deepcopy(module.state_dict())
    training()
    return [name for name, now in module.state_dict().items()
            if not torch.equal(now, before[name])]

# %%
check.all_changes(changed)

# %% [markdown]
# Back to the lesson: [04 Freeze](../04_freeze.ipynb).
