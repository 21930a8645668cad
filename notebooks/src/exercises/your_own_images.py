# %% [markdown]
# # Exercises: what must I check before I believe it?
#
# They belong to [10 Your own images](../10_your_own_images.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like; help is folded away under each exercise.
#
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998. None is shown.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

import sftlab as sft
from sftlab.lessons import your_own_images as check

# %% [markdown]
# ## 1. Tweak: the same cells, dealt in two ways
#
# `"solar"` deals whole modules into the three splits, `"solar-random"` single cells. The cell counts pairs of almost the same picture in *different* splits, here with a somewhat larger threshold than the lesson's.

# %%
DATA = "solar"

data = sft.load(DATA, size=96)
pairs = len(sft.data.near_duplicates(data, threshold=0.005))
print(f"{pairs} pairs in different splits")

# %% [markdown]
# How many pairs are there if single cells are dealt?

# %% tags=["blank"]
pairs = ...

# %% [markdown] tags=["hint"]
# Change `DATA`, nothing else. Pictures of one module look alike; under which of the two ways can they be on both sides?

# %% tags=["solution"]
data = sft.load("solar-random", size=96)
pairs = len(sft.data.near_duplicates(data, threshold=0.005))
print(f"{pairs} pairs in different splits")

# %%
check.pairs_across(pairs)

# %% [markdown]
# ## 2. Build: when to say "neither"
#
# Write `limit(p, y, keep)`. `p` holds the probabilities of some validation images, one row an image, `y` their classes. Return a limit on the largest probability of a row: the network says "neither" below it. It must be chosen so that the share `keep` (such as 0.95) of its **right** answers stays.

# %% tags=["blank"]
def limit(p, y, keep):
    ...

# %% [markdown] tags=["hint"]
# First the largest probability of those images where `p.argmax(axis=1) == y`. Below which number do 5 % of them lie? (`np.quantile`.)

# %% tags=["solution"]
def limit(p, y, keep):
    right = p.argmax(axis=1) == y
    return np.quantile(p.max(axis=1)[right], 1 - keep)

# %%
check.keeps_right_answers(limit)

# %% [markdown]
# ## 3. Break it: a judge who knows the answers
#
# A colleague looks for wrong labels. He trains a judge on his images and lists those where the judge disagrees with the label. His judge gives the label of the most similar picture that it has seen. Of 600 digits, 30 have got a wrong label here.

# %%
pixels, digits = load_digits(return_X_y=True)
x, y = pixels[:600], digits[:600].copy()
y[:30] = (y[:30] + 5) % 10


def doubts(x, y):
    judge = KNeighborsClassifier(1).fit(x, y)
    return np.flatnonzero(judge.predict(x) != y)


print(f"in doubt: {len(doubts(x, y))} of {len(y)}")

# %% [markdown]
# It doubts nothing: the most similar picture to a picture is the picture itself. A network that was fine-tuned for long enough does the same. Write `doubts(x, y)` anew; it returns the positions of labels in doubt. Each image must get a judge that has not learned its label.

# %% tags=["blank"]
def doubts(x, y):
    ...

# %% [markdown] tags=["hint"]
# Five folds, as in check 4: each is judged by what was learned from the other four. scikit-learn's `cross_val_predict(judge, x, y, cv=5)` does this, and returns an answer for each image.

# %% tags=["solution"]
def doubts(x, y):
    said = cross_val_predict(KNeighborsClassifier(1), x, y, cv=5)
    return np.flatnonzero(said != y)


print(f"in doubt: {len(doubts(x, y))} of {len(y)}")

# %%
check.finds_planted(doubts)

# %% [markdown]
# Back to the lesson: [10 Your own images](../10_your_own_images.ipynb).
