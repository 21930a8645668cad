# %% [markdown]
# # Can a network that knows cats and cars find a broken solar cell?
#
# You will be able to
# - take a pretrained network, give it a new head and train exactly the layers you choose;
# - put an interval and a majority rate beside any accuracy, so that a number means something;
# - tell *linear probe*, *partial* and *full fine-tuning* and *training from scratch* apart, because you have run each.
#
# 25 minutes to read, about a minute to run. You need Python and a first idea of what a neural network is; nothing else.
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018.

# %%
import numpy as np
import torch

import sftlab as sft
from sftlab import plot
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
SIZE: int = 160                       # edge of the images in pixels, 64 to 300
LABELS: int = 200                     # training images per class
SEED: int = 0                         # split, order of batches, start of the new head

# %% [markdown]
# ## The question
#
# A solar module that lies on a roof for twenty years gets hail, snow and wind. Cells crack, and a cracked cell may stop working. Nobody can see
# that from outside. But if you push a current *into* the module at night, every working spot of silicon glows in the infrared, and a camera sees
# the dead parts as shadows. This is called electroluminescence.
#
# Someone has to look at thousands of such pictures. Could a network do it, one that was trained on photographs of dogs, cars and mushrooms?

# %%
sft.check_parameters(globals(), BACKBONE=str, SIZE=(int, 64, 300),
                     LABELS=(int, 10, 800), SEED=(int, 0))
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
print(data.card)

# %% [markdown]
# That text is the **card** of the data set. Three lines of it matter for everything below: the *rule* by which images got their label, the
# *majority* rate (what you score by always giving the same answer), and the *split*: which images may be learned from, and which may not.
#
# ## How to see a crack
#
# Learn to see before the network does. Six cells, from easy to mean. Each row below is the number of a picture, what it
# shows, and where (in pixels from the top left).

# %%
LESSON = [
    (1130, "intact: three busbars,\nnothing else", None),
    (488, "a hairline crack", (80, 230)),
    (458, "cracks that cut\na piece off", (205, 222)),
    (56, "a dead spot", (150, 95)),
    (2321, "intact: the clouds\nare crystal grains", None),
    (1656, "a dead piece:\nno current flows here", (235, 190)),
]
stored = data.train.images  # all 2,624 pictures as they are kept, 300 × 300
sheet = data.train.of_rows([row for row, *_ in LESSON], size=300)

# %%
ax = plot.images(sheet, titles=[text for _, text, _ in LESSON], columns=3,
                 licence=data.card.licence, title="What belongs there, what does not")
for picture, (_, _, point) in zip(ax.images, LESSON, strict=True):
    if point:
        left, right, bottom, top = picture.get_extent()
        x = left + point[0] / 300 * (right - left)
        y = top - point[1] / 300 * (top - bottom)
        ax.annotate("", (x, y), (x + 0.16, y + 0.22),
                    arrowprops=dict(arrowstyle="-|>", color="#E69F00", lw=2.2))
ax

# %% [markdown]
# The dark horizontal lines are the **busbars** that collect the current; they belong there. Corners are cut off in monocrystalline cells
# (upper row): that belongs there too. In polycrystalline cells you see clouds and flakes: crystal grains, harmless. What does not belong there:
#
# - thin straight or branching **lines**, darker than their surroundings, that ignore the busbars: cracks;
# - **areas** with a sharp edge that are darker as a whole: a crack has cut them off;
# - black **spots** and bands.
#
# ## Your turn, against the clock
#
# Twelve cells, twenty-four seconds. Keys work as well as clicks. Your score appears in the picture at the end, beside the networks'.

# %%
twelve = np.random.default_rng(SEED).permutation(len(data.valid))[:12]
game = sft.widgets.label_cells(data.valid, twelve, seconds=24,
                               licence=data.card.licence)
game

# %% [markdown]
# Was that hard? The expert who labelled these pictures was not always sure either: he gave each cell a probability of being defective, 0, ⅓, ⅔ or 1.
# We call a cell *defect* above one half. Some labels are therefore debatable, and no network can be right on all of them.
#
# ## What does the untouched network say?
#
# `backbone` gives us a network with weights trained on ImageNet: 1.2 million photographs in 1000 classes. First two photographs of the kind it was made for.

# %%
original = sft.backbone(BACKBONE)
names = sft.imagenet_classes()


def ask(picture: np.ndarray, title: str):
    """Show what the original network says of one H×W×3 picture."""
    x = torch.tensor(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        p = original(sft.data.resize(x, 224)).softmax(dim=1)[0]
    return plot.probabilities(names, p, top=4, title=title)


# %%
from sklearn.datasets import load_sample_image

ask(load_sample_image("china.jpg"), "A photograph of the Summer Palace in Beijing")

# %% [markdown]
# The palace it recognises. And a flower:

# %%
ask(load_sample_image("flower.jpg"), "A photograph of a dahlia")

# %% [markdown]
# ImageNet has no class *dahlia*, and hardly any flowers among its thousand classes, so the network names the
# nearest thing it knows and gives it little probability. It has learned to see roofs, petals, edges, textures. Now a cracked solar cell:

# %%
cell = np.repeat(stored[458].transpose(1, 2, 0), 3, axis=2)
ask(cell, "A cracked solar cell")

# %% [markdown]
# It has never seen such a picture and has no word for it. The *answers* are useless. But to give them, the network computes 1,280 numbers for each image, its
# **features**, and the question of this page is whether a crack leaves a trace in them.
#
# ## A network is a list
#
# In this lab every network is a list of named **stages**, from `input` to `head`. Surgery is editing that list. Our question has two answers instead of a
# thousand, so we replace the head, and only the head.

# %%
model = sft.replace_head(original, data.classes, seed=SEED)
sft.summary(model, size=SIZE)

# %% [markdown]
# Read it from top to bottom: an image enters as 3×160×160 numbers and becomes smaller and deeper, until `pool` leaves 1,280 features. `head` turns them into
# two **logits**, one a class. Almost all parameters sit before the head; they know photographs. The 2,562 of the head know nothing yet.
#
# ## Train the head only: a linear probe
#
# Which stages learn, and how fast, is a plain dict: the **learning-rate profile**. 0 means frozen.

# %%
probe = sft.linear_probe(model, lr=1e-3)
plot.profile(probe)

# %% [markdown]
# > **Predict.** The network was never shown a solar cell, and its pretrained part will not change at all. How many percent of new cells will it judge
# > correctly? Always saying "intact" scores what the card calls the majority.

# %%
guess = sft.widgets.predict("test accuracy of the probe, in percent", 50, 100, 75)

# %%
history = sft.fit(model, data, probe, epochs=20, seed=SEED)
plot.curves(history)

# %% [markdown]
# The frozen part ran **once** over the images and its features were kept on disk, so twenty epochs of training took a moment. Run that cell
# again, and not even the first part is repeated. That is how this lab stays live on a laptop.
#
# Now the only question that counts: cells from the **test** split, which nothing above has touched.

# %%
result = sft.evaluate(model, data.test)
print(result)

# %%
plot.guess_vs_result(100 * result.accuracy.value, guess, low=50, high=100)

# %% [markdown]
# ## How sure is that number?
#
# We tested on a few hundred cells, not on all cells in the world. With other cells the number would be a little different. How different? A few lines,
# by hand: pretend that our test cells *are* the world, and draw a new test set from them a thousand times.

# %%
right = np.array(result.predictions) == np.array(result.targets)
accuracy = right.mean()
rng = np.random.default_rng(SEED)
again = [rng.choice(right, size=len(right)).mean() for _ in range(1000)]
low, high = np.percentile(again, [2.5, 97.5])
by_cells = sft.wilson(right.sum(), len(right))  # a formula for the same
print(f"accuracy {accuracy:.3f}; of the redrawn sets, 95 % lie in {low:.3f}–{high:.3f}")
print(f"the same by a formula (Wilson's): {by_cells:.3f}")
print(f"counted in modules, as the lab does: {result.accuracy:.3f}")
assert abs(low - by_cells.low) < 0.02 and abs(high - by_cells.high) < 0.02

# %% [markdown]
# That range is the **interval**. The last line asks more: the cells come from few modules, and cells of one module are cracked or whole together, so other *modules*
# would change the number more than other cells of these. The lab counts the groups wherever it knows them. Two numbers whose intervals overlap widely do not, by themselves, tell two strategies apart. In this lab no accuracy
# stands alone: it always has its interval, and the majority rate beside it.
#
# And was this split a lucky one? Which modules are learned from and which are asked about was drawn once. Five times anew, each time with a new head; the
# features are on disk, so it takes seconds:

# %%
others = []
for seed in range(SEED + 1, SEED + 6):
    fresh = sft.load("solar", size=SIZE, per_class=LABELS, seed=seed)
    once = sft.replace_head(original, fresh.classes, seed=seed)
    sft.fit(once, fresh, sft.linear_probe(once, lr=1e-3), 20, seed=seed, verbose=False)
    others.append(sft.evaluate(once, fresh.test).accuracy.value)
print(f"five other splits: mean {np.mean(others):.3f}, "
      f"from {min(others):.3f} to {max(others):.3f}; this one {accuracy:.3f}")

# %% [markdown]
# The mean is the better guess of what other modules will give; a single split is one draw. Nobody chooses the split by this number: that would be choosing on the test.
#
# ## Three splits, three jobs
#
# | split | its job | who may look |
# |---|---|---|
# | **train** | the gradient is computed on it | the optimizer, as often as it likes |
# | **valid** | choose: the epoch to keep, the rate, the strategy | you, as often as you like |
# | **test** | the final number | `evaluate`, once |
#
# Why three? Whatever you choose by looking at a number makes that number too good. The lab counts: each result says how often its images were
# evaluated. And cells of one module resemble each other, so whole blocks of files go to one split together.
#
# ## Feature extraction is the same thing
#
# An older recipe never trains a network at all: compute the features, hand them to a classical method. Here is that recipe, with scikit-learn.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sft.apply(model, probe)
x, y = sft.features(model[:-1], data.train).take(np.arange(len(data.train)))
x_new, y_new = sft.features(model[:-1], data.test).take(np.arange(len(data.test)))
scale = StandardScaler().fit(x)
classical = LogisticRegression(C=0.01, max_iter=500).fit(scale.transform(x), y)
hits = classical.predict(scale.transform(x_new)) == y_new.numpy()
extraction = sft.proportion(hits, data.test.groups)
print(f"feature extraction + logistic regression: {extraction:.3f}")

# %% [markdown]
# A linear head on frozen features *is* logistic regression; only the optimizer and the brake on large weights differ. **Feature extraction** and **linear
# probe** are two names for one idea: the pretrained part is a fixed function.
#
# ## A few layers more
#
# Now let the last stages move as well: `layer7` and `neck`, together with the head. Their weights are worth something, so they get a smaller rate than a fresh head,
# and the statistics of BatchNorm stay as they were (the lesson on freezing shows why).

# %%
partial = sft.last_k(model, 2, lr=1e-4)
plot.profile(probe, partial, names=["linear probe", "partial fine-tuning"])

# %%
history += sft.fit(model, data, partial, epochs=4, schedule=sft.warmup_cosine(0.1),
                   batchnorm="frozen", seed=SEED)
partly = sft.evaluate(model, data.test)
print(f"partial fine-tuning: {partly.accuracy:.3f}")

# %% [markdown]
# If the line above says that no epoch was better than the weights it came with, then moving more stages did not help on the validation cells, which come
# from other modules than the training cells, and the lab has put the probe's weights back. No run here leaves a model that is worse on the validation cells than the one it was given.
#
# Notice also that we went on from the trained head. A fresh head sends large random gradients into the layers below it and damages what they know; so the head first, then
# the rest. The field calls this **LP-FT** (Kumar et al., 2022).
#
# ## Everything moves, and nothing known
#
# Two more runs, the two ends of the scale: **full** fine-tuning, where every stage learns from its pretrained weights, and training the same architecture **from
# scratch**, where every stage starts at random. Same images, same number of epochs.
#
# > **Predict.** From scratch, with 400 images: closer to the probe, or closer to always saying "intact"?

# %%
full = sft.replace_head(original, data.classes, seed=SEED)
settings = dict(epochs=2, schedule=sft.warmup_cosine(0.1), seed=SEED)
sft.fit(full, data, sft.full(full, lr=1e-4), batchnorm="frozen", **settings)
fully = sft.evaluate(full, data.test)

# %%
blank = sft.backbone(BACKBONE, weights=None, seed=SEED)
scratch = sft.replace_head(blank, data.classes, seed=SEED)
sft.fit(scratch, data, sft.full(scratch, lr=1e-3), **settings)
from_scratch = sft.evaluate(scratch, data.test)

# %% [markdown]
# One more relative, quickly: **multi-task** learning. Two heads on one backbone, the second one telling mono- from polycrystalline cells. The labels for it are in the set.

# %%
both = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED, target="both")
twin = sft.replace_head(original, both.classes, seed=SEED)
sft.fit(twin, both, sft.linear_probe(twin, lr=1e-3), epochs=20, seed=SEED)
tasks = sft.evaluate(twin, both.test)
print(f"defect {tasks['defect'].accuracy:.3f}   cell type {tasks['type'].accuracy:.3f}")

# %% [markdown]
# ## All of them in one picture

# %%
rows = {"from scratch": from_scratch, "feature extraction": extraction,
        "linear probe": result, "partial fine-tuning": partly,
        "full fine-tuning": fully, "multi-task": tasks["defect"]}
if game.accuracy is not None:
    rows["you, 12 cells"] = game.accuracy
plot.scores(rows, majority=result.majority)

# %% [markdown]
# Read the intervals, not the dots. From scratch, two epochs over 400 images teach this network nothing that this test set could show: its interval does
# not lie above the majority rate. All that start from ImageNet clear it. Among *those*, the intervals overlap: they do not say which is best.
# Equal numbers have a reason: two heads on one *frozen* backbone cannot help each other, so multi-task scores what the probe scores.
#
# And in one table, which doubles as the dictionary of this lab:

# %% tags=["hide-code"]
from IPython.display import Markdown

MEANING = {
    "from scratch": "random | all | the yardstick: what pretrained weights are worth",
    "feature extraction": "ImageNet | a classifier on top | a classical method",
    "linear probe": "ImageNet | head | the same, with a head inside the network",
    "partial fine-tuning": "ImageNet | layer7, neck, head | last stages move as well",
    "full fine-tuning": "ImageNet | all | every pretrained weight may move",
    "multi-task": "ImageNet | two heads | two questions share one backbone",
}
score = {name: getattr(row, "accuracy", row) for name, row in rows.items()}
table = "| strategy | starts from | learns | in words | test accuracy |\n"
table += "|---|---|---|---|---|\n"
for name, words in MEANING.items():
    table += f"| **{name}** | {words} | {score[name]:.3f} |\n"
below = f"Majority rate {result.majority:.3f}; {result.n} cells, {LABELS} labels a class"
Markdown(f"{table}\n{below}, seed {SEED}.")

# %% [markdown]
# **How do these words relate?** *Transfer learning* is the wide one: use what was learned on a source data set for a target. *Supervised fine-tuning* is transfer learning
# in which pretrained weights go on learning, from labelled examples of the target, by the same kind of loss as before. So full and partial fine-tuning are both. A linear
# probe and feature extraction are transfer learning, but no pretrained weight moves: strictly, nothing was tuned yet. Multi-task learning shares a backbone
# between targets instead of handing it from source to target. And what is called SFT for chat models is the same idea on text: labelled examples are
# prompts with good answers, and the loss is the same cross-entropy.
#
# ## Look at the mistakes
#
# A number hides everything that matters. These are the cells on which the probe was most confident, and wrong.

# %%
plot.mistakes(result, data, n=8, columns=4)

# %% [markdown]
# Look at each one for five seconds. Some cracks are faint at this size. Some "defects" are dark but whole. And on some you may side with the network: the expert was not sure either.

# %% [markdown]
# ## What you have seen
#
# - A network trained on photographs of other things finds broken cells, because a crack leaves a trace in its features: far above the majority rate, with only a head to train.
# - What learns is a choice per stage, written as a dict. Frozen work is done once, so most choices cost seconds.
# - An accuracy without interval and majority rate is half a number, and one test set of this size cannot tell close strategies apart.
#
# **So can it? Yes:** a network that knows cats and cars finds most broken solar cells after a minute on a CPU, and the interval says how sure we may be.
#
# *Where this lives in the library:* `sft.load`, `sft.backbone`, `sft.replace_head`, `sft.linear_probe`, `sft.fit`, `sft.evaluate`; type `sft.fit??` to read any of them.
#
# ## The same in plain PyTorch
#
# The skill should leave the lab with you. Once the features are tensors, this is all that a linear probe is:

# %%
torch.manual_seed(SEED)
head = torch.nn.Linear(x.shape[1], 2)
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
for _ in range(20):
    for batch in torch.randperm(len(x)).split(32):
        loss = torch.nn.functional.cross_entropy(head(x[batch]), y[batch])
        optimizer.zero_grad(); loss.backward(); optimizer.step()
by_hand = (head(x_new).argmax(dim=1) == y_new).float().mean().item()
print(f"plain PyTorch: {by_hand:.3f}")
assert abs(by_hand - result.accuracy.value) < 0.06

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `LABELS` to 20 and run all cells again. Which rows of the picture suffer most?
# - **Build.** Write a profile in which only `layer4` and the head learn, and place it among the others with `plot.profile`.
# - **Break.** Train the full network at a rate of 1.0 instead of 1e-4. What does the lab say, and what are the weights afterwards?

# %% [markdown]
# ## The map
#
# The core, in this order:
#
# lesson | question | minutes
# ---|---|---
# **00 Start here** | Can a network that knows cats and cars find a broken solar cell? | 25
# **[01 Select](01_select.ipynb)** | Which pretrained network should I start from? | 25
# **[02 Head](02_head.ipynb)** | How does a 1000-class network answer my question? | 20
# **[03 Loss](03_loss.ipynb)** | What exactly is being minimised? | 25
# **[04 Freeze](04_freeze.ipynb)** | When is a layer really frozen, and what does that buy? | 25
# **[05 Rate](05_rate.ipynb)** | How large a step? | 30
# **[06 Finetune](06_finetune.ipynb)** | Should all layers take the same step? | 25
# **[07 Overfit](07_overfit.ipynb)** | Does it learn, or remember? | 25
# **[08 Evaluate](08_evaluate.ipynb)** | How sure is this number? | 25
# **[09 Decide](09_decide.ipynb)** | What should I decide with it? | 30
# **[10 Your own images](10_your_own_images.ipynb)** | What must I check before I believe it on my own photos? | 30
#
# **A path of three hours:** 00, 02, 04, 05, 06, 08, then 10 on your own photographs.

# %% [markdown]
# And from there, wherever you like.
#
# lesson | question | minutes
# ---|---|---
# **[Pretrain](further/pretrain.ipynb)** | How many labels is a pretrained network worth? | 25
# **[Shift](further/shift.ipynb)** | Does fine-tuning make the network better, or only narrower? | 25
# **[Two tasks](further/two_tasks.ipynb)** | Does a second task help the first when labels are few? | 20
# **[Text](further/text.ipynb)** | Is it the same for language? | 25
#
# Three **recipes** that are printed everywhere, each run line by line: [PyTorch's](recipes/pytorch_probe.ipynb), [Keras's](recipes/keras_dense.ipynb),
# and [the last few layers](recipes/last_layers.ipynb), 15 minutes each.

# %% [markdown]
# ## Words
#
# English | 中文 | in one line
# ---|---|---
# pretrained model | 预训练模型 | weights that already learned something
# backbone, head | 主干网络，分类头 | all but the last linear layer; the last linear layer
# stage, layer | 阶段，层 | a named piece of the list; a single operation in it
# features, logits | 特征，未归一化得分 | what enters the head; what leaves it
# fine-tuning | 微调 | pretrained weights go on learning
# supervised fine-tuning | 监督微调 | the same, from labelled examples
# linear probe | 线性探测 | only the head learns
# feature extraction | 特征提取 | the network is a fixed function
# frozen, trainable | 冻结，可训练 | takes no gradient; takes one
# transfer learning | 迁移学习 | use a source for a target
# multi-task learning | 多任务学习 | several questions, one backbone
# learning rate | 学习率 | the size of a step
# loss, cross-entropy | 损失，交叉熵 | what is minimised
# epoch, step, batch | 轮次，步，批次 | a pass over the data; an update; the images of an update
# train / valid / test | 训练集，验证集，测试集 | learn; choose; report
# accuracy, interval | 准确率，置信区间 | correct / n; the range it may lie in
# overfitting | 过拟合 | remembering instead of learning

# %% [markdown]
# ## Sources
#
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
# - Deitsch et al., 2019, *Automatic classification of defective photovoltaic module cells in electroluminescence images*. What experts in the field reach.
# - Tan and Le, 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*. The network's family.
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* Why the first stages travel well.
# - Kornblith, Shlens and Le, 2019, *Do Better ImageNet Models Transfer Better?* When a better source helps.
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. Head first, then the rest.
# - Wilson, 1927, *Probable Inference, the Law of Succession, and Statistical Inference*. The interval.
#
# Next: [01 Select](01_select.ipynb).
