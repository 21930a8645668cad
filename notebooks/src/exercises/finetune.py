# %% [markdown]
# # Exercises: which layers should learn, and how fast?
#
# They belong to [06 Finetune](../06_finetune.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check says in words what is right or wrong. Try as often as you like; help is folded away under each exercise.

# %%
import numpy as np
import torch
from sklearn.datasets import load_sample_images

import sftlab as sft
from sftlab.lessons import finetune as check

# %% [markdown]
# ## 1. Tweak: what a rate costs
#
# A new head learns to name typefaces, ten steps long, and the pretrained layers learn along. Afterwards the old head is put back: to how many of 48 squares of two photographs does the network still give its old answer? In this cell all stages learn at the head's rate.

# %%
HEAD, BODY = 1e-3, 1e-3  # learning rates: of the new head, of all stages before it

data = sft.load("typefaces", per_class=14)
photos = torch.tensor(np.stack(load_sample_images().images))
squares = photos.unfold(1, 96, 96).unfold(2, 96, 96).reshape(-1, 3, 96, 96)


def old_answers_left(head_rate, body_rate):
    """Fine-tune for ten steps; return how many percent of the old answers are left."""
    original = sft.backbone("efficientnet_lite0").eval()
    model = sft.replace_head(original, data.classes).eval()
    optimizer = torch.optim.AdamW([
        {"params": model.head.parameters(), "lr": head_rate},
        {"params": model[:-1].parameters(), "lr": body_rate}])
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    for rows in order[:120].split(12):
        x, y = data.train.take(rows.numpy())
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    with torch.no_grad():
        now = original.head(model[:-1](squares)).argmax(1)
        return 100 * (now == original(squares).argmax(1)).float().mean().item()


print(f"{old_answers_left(HEAD, BODY):.0f} % of the old answers are left")

# %% [markdown]
# Nothing is left of the old task. Now let the pretrained layers learn at a *hundredth* of the head's rate. How many percent of the old answers are left?

# %% tags=["blank"]
left = ...

# %% [markdown] tags=["hint"]
# The head's rate stays at 1e-3. Only `BODY` changes: what is 1e-3 divided by a hundred?

# %% tags=["solution"]
left = old_answers_left(1e-3, 1e-5)

# %%
check.answers_left(left)

# %% [markdown]
# ## 2. Build: gradual unfreezing
#
# Write `thaw(model, epoch)`, which is called before each epoch. In epoch 0 only the head learns, in epoch 1 the head and the last stage before it that has weights, and so on, one stage more in each epoch, until all learn. It sets `requires_grad` of every weight of the network, to True or to False. No call of the library is needed: `model.children()` yields the stages, the image's side first.

# %% tags=["blank"]
def thaw(model, epoch):
    ...

# %% [markdown] tags=["hint"]
# Make a list of the stages that have weights, `[stage for stage in model.children() if [*stage.parameters()]]`, and go through it backwards with `enumerate(reversed(…))`. Which numbers learn in epoch 0, which in epoch 1?

# %% tags=["solution"]
def thaw(model, epoch):
    stages = [stage for stage in model.children() if [*stage.parameters()]]
    for place, stage in enumerate(reversed(stages)):
        stage.requires_grad_(place <= epoch)

# %%
check.one_stage_more(thaw)

# %% [markdown]
# ## 3. Break it: a schedule that forgets the profile
#
# A colleague writes her schedule by hand: in each step she calls `scale` with the factor of that moment. Her run forgets the old task, although she gave the body a tenth of the head's rate. Run the cell and compare the rates before and after.

# %%
def scale(optimizer, factor):
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * factor


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


weight, bias = torch.zeros(2, 2), torch.zeros(2)
optimizer = torch.optim.AdamW([
    {"params": [weight], "lr": 1e-4, "initial_lr": 1e-4},
    {"params": [bias], "lr": 1e-3, "initial_lr": 1e-3}])
print("before:", rates(optimizer))
scale(optimizer, 0.5)
print("after: ", rates(optimizer))

# %% [markdown]
# Write it anew, so that the profile holds in every step of a run. (PyTorch's own schedulers note the rate that a group began with under `"initial_lr"`, as you saw in the lesson. Here every group has it from the start.)

# %% tags=["blank"]
def scale(optimizer, factor):
    ...

# %% [markdown] tags=["hint"]
# Call your function three times with the factor 0.5. The rates should be the same after each call: half of what the group began with.

# %% tags=["solution"]
def scale(optimizer, factor):
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor

# %%
check.keeps_profile(scale)

# %% [markdown]
# Back to the lesson: [06 Finetune](../06_finetune.ipynb).
