# %% [markdown]
# # Exercises: does it learn, or remember?
#
# They belong to [07 Overfit](../07_overfit.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like; help is folded away under each exercise.

# %%
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from sftlab.lessons import overfit as check

# %% [markdown]
# ## 1. Tweak: half a list of nonsense
#
# A small network learns a hundred handwritten digits by heart. Of some of them the label is drawn at random instead of read. The cell trains five such networks, each with other digits, and prints what they know of their own list and how many *new* digits they read.

# %%
NONSENSE = 0.0  # share of the labels that are drawn at random

pixels, truth = load_digits(return_X_y=True)
x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(truth)


def known_and_new(nonsense):
    """Return two means over five networks, in percent."""
    torch.manual_seed(0)
    scores = []
    for _ in range(5):
        rows = torch.randperm(len(x))
        few, new = rows[:100], rows[100:]
        labels = y[few].clone()
        drawn = round(nonsense * 100)
        labels[:drawn] = torch.randint(10, (drawn,))
        net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(),
                                  torch.nn.Linear(64, 10))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(150):
            loss = F.cross_entropy(net(x[few]), labels)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        scores.append([(net(x[few]).argmax(1) == labels).float().mean(),
                       (net(x[new]).argmax(1) == y[new]).float().mean()])
    return (100 * torch.tensor(scores).mean(0)).tolist()


known, new_digits = known_and_new(NONSENSE)
print(f"known by heart {known:.0f} %, new digits {new_digits:.1f} %")

# %% [markdown]
# Now draw *half* of the labels at random. Look at both numbers. How many percent of the new digits are read?

# %% tags=["blank"]
new_digits = ...

# %% [markdown] tags=["hint"]
# Half is 0.5. The second of the two printed numbers is asked.

# %% tags=["solution"]
known, new_digits = known_and_new(0.5)
print(f"known by heart {known:.0f} %, new digits {new_digits:.1f} %")

# %%
check.half_wrong(new_digits)

# %% [markdown]
# ## 2. Build: mixup
#
# Mixup (Zhang et al. 2018) is an augmentation that changes the label and says how: each image is laid over a partner, and its label over the partner's label. Write `mixup(images, targets, share, order)`. Image number *i* becomes `share` of itself and the rest of image number `order[i]`; so does its target, a row of probabilities. Return both, images first.

# %% tags=["blank"]
def mixup(images, targets, share, order):
    ...

# %% [markdown] tags=["hint"]
# The partners of all images at once are `images[order]`. If `share` is 0.7, which part is the partner's?

# %% tags=["solution"]
def mixup(images, targets, share, order):
    def mix(a):
        return share * a + (1 - share) * a[order]

    return mix(images), mix(targets)

# %%
check.mixes_both(mixup)

# %% [markdown]
# ## 3. Break it: a validation set that moves
#
# A colleague augments her training images, and her validation accuracy is another one each time she measures it. The data set is counted and indexed as PyTorch's `DataLoader` wants it, and `random_split` deals it into two parts. Run the cell: the same validation image, twice.

# %%
class Photos(torch.utils.data.Dataset):
    """Some images, changed by `augment` each time one is asked for, unless it is None."""

    def __init__(self, images, augment=None):
        self.images, self.augment = images, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i]
        return image if self.augment is None else self.augment(image)


def split(images, augment, generator):
    every = Photos(images, augment)
    return torch.utils.data.random_split(every, [0.7, 0.3], generator)


def paler(image):
    return image * torch.rand(1)


train, valid = split(x, paler, torch.Generator().manual_seed(0))
print("the same image?", torch.equal(valid[0], valid[0]))

# %% [markdown]
# Write `split` anew: it returns the training part, augmented, and the validation part, as the images are. No image may be in both. (`torch.utils.data.Subset(photos, rows)` is a part of a data set, by a list of rows.)

# %% tags=["blank"]
def split(images, augment, generator):
    ...

# %% [markdown] tags=["hint"]
# You need two `Photos` of the same images, one of them without `augment`, and one order of the rows that is cut in two: `torch.randperm(len(images), generator=generator).tolist()`.

# %% tags=["solution"]
def split(images, augment, generator):
    rows = torch.randperm(len(images), generator=generator).tolist()
    cut = round(0.7 * len(rows))
    return (torch.utils.data.Subset(Photos(images, augment), rows[:cut]),
            torch.utils.data.Subset(Photos(images), rows[cut:]))

# %%
check.leaves_valid_alone(split)

# %% [markdown]
# Back to the lesson: [07 Overfit](../07_overfit.ipynb).
