# %% [markdown]
# # Exercises: what should I decide with it?
#
# They belong to [09 Decide](../09_decide.ipynb). Write in the cell with the three dots, run it, and run the check below it (Shift+Enter for both). A check tries your answer with several draws and costs and says in words what is right or wrong. Try as often as you like; help is folded away under each exercise.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from sftlab.lessons import decide as check

# %% [markdown]
# ## 1. Tweak: when is the network worth nothing?
#
# A machine must not overlook an 8 on a noisy picture. A linear network gives each picture a probability, and the formula of the lesson turns it into an answer. The cell prints the bill beside that of the better *single* answer for every picture, which needs no network.

# %%
MISSED, ALARM = 100, 20  # € for an 8 that is overlooked, € for a false alarm

pixels, digit = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
x = (pixels + rng.normal(0, 6, pixels.shape)) / 16
y = (digit == 8).astype(int)
learn, ask = np.split(rng.permutation(len(y)), [600])
network = LogisticRegression(C=0.1, max_iter=1000).fit(x[learn], y[learn])
p = network.predict_proba(x[ask])[:, 1]


def bill(p, at, missed, alarm):
    """Return the mean cost of a picture that is called an 8 from `at` on."""
    return np.where(y[ask] == 1, missed * (p < at), alarm * (p >= at)).mean()


def saving(missed, alarm):
    """Return what the network saves against the better single answer, in € a picture."""
    with_it = bill(p, alarm / (alarm + missed), missed, alarm)
    always, never = bill(p, 0, missed, alarm), bill(p, 2, missed, alarm)
    print(f"with the network {with_it:.2f} €, always 8 {always:.2f} €, never {never:.2f} €")
    return min(always, never) - with_it


print(f"saved: {saving(MISSED, ALARM):.2f} € a picture")

# %% [markdown]
# Now an overlooked 8 costs 2,000 €. How many euros a picture does the network still save?

# %% tags=["blank"]
euros = ...

# %% [markdown] tags=["hint"]
# Change `MISSED` only. The formula's threshold moves with it, and so does the better single answer.

# %% tags=["solution"]
euros = saving(2000, 20)

# %%
check.saving_left(euros)

# %% [markdown]
# ## 2. Build: ask a person
#
# Often a third answer is the best one: a person looks at the cell, for `ask` €, and makes no mistakes. Write `decide(p, missed, alarm, ask)`: for an array of probabilities of *defect* it returns an array of 0 (call it intact), 1 (call it defect) and 2 (ask), whichever costs least on average.

# %% tags=["blank"]
def decide(p, missed, alarm, ask):
    ...

# %% [markdown] tags=["hint"]
# Write down what each of the three answers costs on average at probability p. The lesson has two of them. `np.argmin(…, axis=0)` finds the smallest of several rows.

# %% tags=["solution"]
def decide(p, missed, alarm, ask):
    prices = [p * missed, (1 - p) * alarm, np.full(len(p), ask)]
    return np.argmin(prices, axis=0)

# %%
check.cheapest_of_three(decide)

# %% [markdown]
# ## 3. Break it: costs that are paid twice
#
# A miss costs five times a false alarm, so a colleague lets each 8 count five times in training. Then he uses the threshold of the lesson. His bill is higher than without the weight.

# %%
MISSED, ALARM, WEIGHT = 100, 20, 5


def threshold(missed, alarm, weight):
    return alarm / (alarm + missed)


weighted = LogisticRegression(C=0.1, max_iter=1000, class_weight={1: WEIGHT})
p_weighted = weighted.fit(x[learn], y[learn]).predict_proba(x[ask])[:, 1]
at = threshold(MISSED, ALARM, WEIGHT)
print(f"without weight {bill(p, at, MISSED, ALARM):.2f} €, "
      f"with weight {bill(p_weighted, at, MISSED, ALARM):.2f} €")

# %% [markdown]
# To the network it looks as if there were `weight` times as many 8s. Where the true probability is p, it learns to say w·p / (w·p + 1 − p), which is larger. Write `threshold` anew: from which probability *of the weighted network* on should a picture be called an 8?

# %% tags=["blank"]
def threshold(missed, alarm, weight):
    ...

# %% [markdown] tags=["hint"]
# Start from the true threshold, t = alarm / (alarm + missed). What does the weighted network say where the truth is t?

# %% tags=["solution"]
def threshold(missed, alarm, weight):
    t = alarm / (alarm + missed)
    return weight * t / (weight * t + 1 - t)

# %%
check.paid_once(threshold)

# %% [markdown]
# Back to the lesson: [09 Decide](../09_decide.ipynb).
