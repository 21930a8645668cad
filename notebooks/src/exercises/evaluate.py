# %% [markdown]
# # Exercises: how sure is this number?
#
# They belong to [08 Evaluate](../08_evaluate.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer on cases that you do not see and says in words what is right or wrong. Try as often as you like; help is folded away under each exercise.

# %%
import numpy as np

from sftlab.lessons import evaluate as check

# %% [markdown]
# ## 1. Tweak: the best of fifty, on more images
#
# Fifty networks are equally good: each is right on 80 % of all images. Each is tested on 150 images, and the best number is reported. The cell repeats this four thousand times and prints how many points the report promises too much.

# %%
NETWORKS, IMAGES = 50, 150

rng = np.random.default_rng(0)


def too_much(networks, images):
    """Return how many points the best of some networks of 80 % reports above 80 %."""
    reports = rng.binomial(images, 0.8, size=(4000, networks)) / images
    return 100 * (reports.max(axis=1).mean() - 0.8)


print(f"{too_much(NETWORKS, IMAGES):.2f} points too much")

# %% [markdown]
# Now test each network on four times as many images. How many points does the best of fifty promise too much?

# %% tags=["blank"]
points = ...

# %% [markdown] tags=["hint"]
# Only `IMAGES` changes, to 600. Compare the two numbers: is the second a quarter of the first?

# %% tags=["solution"]
points = too_much(50, 600)
print(f"{points:.2f} points too much")

# %%
check.best_of_fifty(points)

# %% [markdown]
# ## 2. Build: other modules, not other cells
#
# Write `redraw(right, groups, rng)`. It returns a list of 1,000 accuracies, each of a test set that is drawn anew **from whole groups**: as many groups as there are, with replacement, and all images of each group that is drawn. `right` holds True or False for each image, `groups` the number of its group, both as arrays; `rng` is NumPy's generator.

# %% tags=["blank"]
def redraw(right, groups, rng):
    ...

# %% [markdown] tags=["hint"]
# Make a list with the answers of each group, `right[groups == g]` for each `g`. Draw numbers of groups with `rng.integers`, put their answers together with `np.concatenate`, and take the mean of all these images.

# %% tags=["solution"]
def redraw(right, groups, rng):
    parts = [right[groups == g] for g in np.unique(groups)]
    draws = rng.integers(len(parts), size=(1000, len(parts)))
    return [np.concatenate([parts[g] for g in draw]).mean() for draw in draws]

# %%
check.draws_groups(redraw)

# %% [markdown]
# ## 3. Break it: a probe that is good at noise
#
# A colleague has 100 images with 2,000 features each. That is much for so few, so she keeps the ten features that go best with the labels, and trains a linear probe on them. She holds half of the images back as a test. Here the features are noise and the labels are tossed. No honest test can find more than about 50 %.

# %%
def probe(x, y, train, test):
    """Return the accuracy on the rows `test` of least squares on the rows `train`."""
    weights = np.linalg.lstsq(x[train], 2.0 * y[train] - 1, rcond=None)[0]
    return ((x[test] @ weights > 0) == y[test]).mean()


def tested(x, y, train, test):
    match = np.abs((x - x.mean(axis=0)).T @ (y - y.mean()))
    best = match.argsort()[-10:]
    return probe(x[:, best], y, train, test)


scores = []
for _ in range(10):
    noise, tossed = rng.normal(size=(100, 2000)), rng.integers(2, size=100)
    train, test = np.split(rng.permutation(100), 2)
    scores.append(tested(noise, tossed, train, test))
print(f"accuracy on the test: {np.mean(scores):.2f}")

# %% [markdown]
# The test images were not trained on, and yet they have been used. Write `tested` anew, so that its number is honest; it shall still keep ten features and find something where there is something to find.

# %% tags=["blank"]
def tested(x, y, train, test):
    ...

# %% [markdown] tags=["hint"]
# Which rows does the line that begins with `match` look at? The choice of features is a part of training.

# %% tags=["solution"]
def tested(x, y, train, test):
    seen, labels = x[train], y[train]
    match = np.abs((seen - seen.mean(axis=0)).T @ (labels - labels.mean()))
    best = match.argsort()[-10:]
    return probe(x[:, best], y, train, test)

# %%
check.honest_on_noise(tested)

# %% [markdown]
# Back to the lesson: [08 Evaluate](../08_evaluate.ipynb).
