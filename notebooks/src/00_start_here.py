# %% [markdown]
# # When does fine-tuning pay?
#
# You will be able to
# - give a pretrained network a new head and train exactly the layers you choose;
# - tell *linear probe*, *partial* and *full fine-tuning* and *training from scratch* apart, because you have compared them on two tasks;
# - read an accuracy together with its interval and the majority rate.
#
# 40 minutes; about a minute to run. You need Python and a first idea of what a neural network is. Common questions: the [FAQ](faq.md).
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; printed words, drawn here.

# %%
import copy
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.start import strategies
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # any name from sft.backbones()
LABELS: int = 60     # training images of each typeface, 10 to 90
CELLS: int = 200     # training images of each kind of solar cell, 10 to 800
SIZE: int = 128      # edge of the solar cells in pixels, 64 to 300
EPOCHS: int = 8      # of fine-tuning, 1 to 50
SEED: int = 0        # split, order of batches, start of the new head

# %% [markdown]
# ## One network, two tasks
#
# Our network has learned from ImageNet: 1.2 million photographs in 1,000 classes, of dogs, cars, mushrooms. We have other pictures, and a few hundred labels.
# Is it enough to read off what the network already sees, or must its weights go on learning? We take two tasks:
#
# - **Typefaces.** In which of nine font families is a word printed?
# - **Solar cells.** Is this cell broken?
#
# (`check_parameters` ends a run in which a parameter has a wrong type or value. Every lesson begins with it.)

# %%
sft.check_parameters(globals(), BACKBONE=str, LABELS=(int, 10, 90),
                     CELLS=(int, 10, 800), SIZE=(int, 64, 300),
                     EPOCHS=(int, 1, 50), SEED=(int, 0))
fonts = sft.load("typefaces", per_class=LABELS, seed=SEED)
cells = sft.load("solar", size=SIZE, per_class=CELLS, seed=SEED)
print(fonts.card)

# %% [markdown]
# This is the **card** of a data set. Three lines matter below: the *rule* by which images got their label; the *majority* rate, which is what you score
# by always giving the same answer; and the *split*:
#
# | split | its job | who may look |
# |---|---|---|
# | **train** | the gradient is computed on it | the optimizer, as often as it likes |
# | **valid** | choose: the epoch, the rate, the strategy | you, as often as you like |
# | **test** | the final number | you, once, at the end |
#
# No word of valid or test occurs in train. One word in all nine typefaces:

# %%
plot.images(fonts.train.of_rows(range(9), size=64), titles=fonts.classes, columns=9,
            title="One word in nine typefaces", licence=fonts.card.licence)

# %% [markdown]
# ## How to see a crack
#
# A current makes working silicon glow in the infrared; dead parts stay dark (electroluminescence). Learn to see before the network does.
# Each row below is the number of a picture, what it shows, and where (in pixels).

# %%
LESSON = [
    (1130, "intact: three busbars,\nnothing else", None),
    (488, "a hairline crack", (80, 230)),
    (458, "cracks that cut\na piece off", (205, 222)),
    (56, "a dead spot", (150, 95)),
    (2321, "intact: the clouds\nare crystal grains", None),
    (1656, "a dead piece:\nno current flows here", (235, 190)),
]
stored = cells.train.images  # as they are kept, 300 × 300
sheet = cells.train.of_rows([row for row, *_ in LESSON], size=300)
ax = plot.images(sheet, titles=[text for _, text, _ in LESSON], columns=3,
                 licence=cells.card.licence, title="What belongs there, what does not")
for picture, (_, _, point) in zip(ax.images, LESSON, strict=True):
    if point:
        left, right, bottom, top = picture.get_extent()
        x = left + point[0] / 300 * (right - left)
        y = top - point[1] / 300 * (top - bottom)
        ax.annotate("", (x, y), (x + 0.16, y + 0.22),
                    arrowprops=dict(arrowstyle="-|>", color="#E69F00", lw=2.2))
ax

# %% [markdown]
# The dark horizontal lines (busbars) and the cut corners belong there, and so do the clouds: crystal grains. What does not belong there: thin lines that ignore the busbars
# (cracks), areas with a sharp edge that are darker as a whole, black spots.
#
# ## Your turn, against the clock
#
# Twelve cells, twenty-four seconds. Keys work as well as clicks.

# %%
twelve = np.random.default_rng(SEED).permutation(len(cells.valid))[:12]
game = widgets.label_cells(cells.valid, twelve, seconds=24, licence=cells.card.licence)
game

# %% [markdown]
# The expert who labelled them was not always sure either: he gave each cell a probability of being defective, and we call it *defect* above one half.
#
# ## What does the untouched network say?
#
# First two photographs of the kind that it was trained on, then a cracked cell.

# %%
from sklearn.datasets import load_sample_image
from torchvision.models import ResNet18_Weights
from torchvision.transforms.v2 import functional as F

original = sft.backbone(BACKBONE)
names = ResNet18_Weights.DEFAULT.meta["categories"]  # ImageNet's 1,000 classes
cell = np.repeat(stored[458].transpose(1, 2, 0), 3, axis=2)
figure, axes = plt.subplots(1, 3, figsize=(8.6, 2.9))
for ax, picture in zip(axes, (load_sample_image("china.jpg"),
                              load_sample_image("flower.jpg"), cell)):
    square = F.center_crop(torch.tensor(picture).permute(2, 0, 1), len(picture))
    x = F.resize(square, [224])[None]
    with torch.inference_mode():
        top = original(x).softmax(dim=1)[0].topk(2)
    ax.imshow(square.permute(1, 2, 0))
    ax.set_axis_off()
    ax.set_title("\n".join(f"{names[k]} {v:.0%}" for v, k in zip(*top)), fontsize=9)
figure

# %% [markdown]
# It recognises the palace. It has no class *dahlia*, and no word for the cell. But to give any answer it first computes
# 1,280 numbers, the **features** of the image, and these may still say something about cracks and letters.
#
# ## A new head
#
# In this lab a network is a list of named **stages**. The last one, the **head**, turns features into one number a class (**logits**). Our task has nine classes
# instead of a thousand, so the head must be replaced, and only the head.

# %%
model = sft.replace_head(original, fonts.classes, seed=SEED)
for name, stage in model.named_children():
    print(f"{name:8s}{sum(w.numel() for w in stage.parameters()):>10,} parameters")

# %% [markdown]
# `replace_head` returned a copy; the original is untouched. Nearly all parameters stand before the head; they know photographs. The new head knows nothing yet.
#
# ## Only the head learns: a linear probe
#
# Which stages learn, and how fast, is a plain dict, the **learning-rate profile**. 0 means frozen.

# %%
probe = sft.linear_probe(model, lr=3e-3)
print(probe)

# %% [markdown]
# > **Predict.** The pretrained part was never asked about typefaces, and will not change. How many percent of new words will the probe get right? Always giving the same answer scores 11.

# %%
guess = widgets.predict("validation accuracy of the probe, in percent", 0, 100, 50)

# %%
sft.fit(model, fonts, probe, epochs=40, seed=SEED)
probed = sft.evaluate(model, fonts.valid)
print(probed)
plot.guess_vs_result(100 * probed.accuracy.value, guess)

# %% [markdown]
# The frozen part ran once over the images and its features were kept on disk, so forty epochs took a moment.
#
# Behind the accuracy stands its 95 % **interval**: with other words the number would be a little different, and the interval says how much.
# Two numbers whose intervals overlap widely do not tell two methods apart.
#
# **Feature extraction is the same thing**: compute the features, hand them to a classical method.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def features(split):
    """Return what enters the head, N×features, and the labels."""
    images, labels = split.take(np.arange(len(split)))
    with torch.inference_mode():
        return torch.cat([model[:-1].eval()(part) for part in images.split(64)]), labels


classical = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
extraction = classical.fit(*features(fonts.train)).score(*features(fonts.valid))
print(f"feature extraction {extraction:.3f}, linear probe {probed.accuracy:.3f}")

# %% [markdown]
# A linear head on frozen features *is* logistic regression; only the optimizer and the penalty on large weights differ.
#
# ## The last stages learn too: partial fine-tuning
#
# Now the last five stages that have weights go on learning from where ImageNet left them, together with the trained head. The head was trained first on purpose: a fresh one sends large
# random gradients into the layers below and damages what they know. Head first, then the rest, is called **LP-FT** (Kumar et al., 2022).

# %%
tuned = copy.deepcopy(model)
partial = sft.last_k(tuned, 5, lr=1e-3)
print(partial)

# %% [markdown]
# > **Predict.** How many points will that add to the probe's accuracy? A negative number is allowed.
#
# (`batchnorm="frozen"` keeps stored means and spreads as they are, lesson 04; the schedule raises the rate at first and lowers it to the end, lesson 05.)

# %%
more = widgets.predict("points that partial fine-tuning adds", -30, 60, 0, name="more")

# %%
history = sft.fit(tuned, fonts, partial, EPOCHS, batchnorm="frozen", seed=SEED,
                  schedule=sft.warmup_cosine(0.1))
finetuned = sft.evaluate(tuned, fonts.valid)
gain = 100 * (finetuned.accuracy.value - probed.accuracy.value)
print(f"fine-tuned {finetuned.accuracy:.3f}, probe {probed.accuracy:.3f}")
print(f"{gain:+.1f} points" + f"; you guessed {more.value:+d}" * more.touched)

# %% [markdown]
# Epoch by epoch:

# %%
figure, ax = plt.subplots(figsize=(7, 2.8))
curve = [100 * epoch.valid_accuracy for epoch in history.epochs]
ax.plot(range(len(curve)), curve, "o-", color="#009E73")
ax.axhline(100 * probed.accuracy.value, color="#56B4E9")
ax.axhline(100 * probed.majority, color="k", linestyle="--", linewidth=1)
ax.set(xlabel="epoch", ylabel="validation accuracy (%)", ylim=(0, None))
ax.set_title("Partial fine-tuning (green), probe (blue), majority rate (dashed)")
figure

# %% [markdown]
# At first the accuracy may fall: weights that fitted together are moved apart before they fit anew. The best epoch on valid (smallest loss) is kept.
#
# ## The same on solar cells, and a second head
#
# The probe again, for cells. And one relative more: **multi-task** learning, two heads on one backbone, the second one telling mono- from polycrystalline cells.

# %%
judge = sft.replace_head(original, cells.classes, seed=SEED)
sft.fit(judge, cells, sft.linear_probe(judge, lr=1e-3), epochs=40, seed=SEED)
judged = sft.evaluate(judge, cells.valid)
both = sft.load("solar", size=SIZE, per_class=CELLS, seed=SEED, target="both")
twin = sft.replace_head(original, both.classes, seed=SEED)
sft.fit(twin, both, sft.linear_probe(twin, lr=1e-3), epochs=40, seed=SEED)
tasks = sft.evaluate(twin, both.valid)
print(f"probe {judged.accuracy:.3f}, majority {judged.majority:.3f}; two heads: "
      f"defect {tasks['defect'].accuracy:.3f}, cell type {tasks['type'].accuracy:.3f}")

# %% [markdown]
# On a *frozen* backbone two heads cannot help each other: *defect* scores what the probe scores, up to the epoch that was kept.
#
# ## Six ways, five other splits
#
# One split is one draw. `python benchmarks/start.py` trained six ways on five other splits of both tasks, each until its validation curve was flat. **From scratch** is the same architecture from random weights;
# in **full fine-tuning** all stages learn from ImageNet's. The classical methods see raw pixels. Hollow marks are from that record, solid ones are yours.

# %%
record = json.loads(Path("../benchmarks/start.json").read_text(encoding="utf-8"))
strategies(record, {
    "typefaces": {"linear probe": probed, "partial fine-tuning": finetuned},
    "solar": {"linear probe": judged},
})

# %% [markdown]
# On **typefaces** fine-tuning wins by a wide margin: over the probe, over classical methods on pixels, and over training from scratch. On **solar cells** the rows that start
# from ImageNet lie close together. The intervals decide which rows may be told apart: a gain whose interval holds zero is not one.
#
# Why? A network that tells dogs from cars can ignore how a letter ends, which is all the difference between two typefaces; a dark line across a bright cell is like many edges in photographs. This is a guess, not tested.
#
# So: **train the probe first.** It costs seconds. Fine-tune if valid promises more, and keep whatever is better on valid.
#
# ## The test images, once
#
# All choices are made: fine-tuned for typefaces, the probe for cells.

# %%
final, of_cells = sft.evaluate(tuned, fonts.test), sft.evaluate(judge, cells.test)
for name, on_valid, on_test in (("typefaces", finetuned, final),
                                ("solar cells", judged, of_cells)):
    print(f"{name}: valid {on_valid.accuracy:.3f}, test {on_test.accuracy:.3f}, "
          f"majority {on_test.majority:.3f}")

others = []
for seed in range(SEED + 1, SEED + 6):
    fresh = sft.load("solar", size=SIZE, per_class=CELLS, seed=seed)
    once = sft.replace_head(original, fresh.classes, seed=seed)
    sft.fit(once, fresh, sft.linear_probe(once, lr=1e-3), 40, seed=seed, verbose=False)
    others.append(sft.evaluate(once, fresh.test).accuracy.value)
print(f"solar cells, test of five other splits: mean {np.mean(others):.3f}, "
      f"from {min(others):.3f} to {max(others):.3f}")

# %% [markdown]
# Valid and test differ most for the cells: they come from different modules, whose cells are broken or whole together. The mean over splits is the better guess.
#
# The words whose typeface the network was most sure of, and wrong:

# %%
plot.mistakes(final, fonts, n=8, columns=4)

# %% [markdown]
# ## How do these words relate?
#
# strategy | starts from | learns
# ---|---|---
# **from scratch** | random weights | all stages
# **feature extraction** | ImageNet | a classical method on the features
# **linear probe** | ImageNet | the head; the same thing inside the network
# **partial fine-tuning** | ImageNet | the last stages
# **full fine-tuning** | ImageNet | all stages
# **multi-task** | any | several heads on one backbone
#
# *Transfer learning* is the wide word: use what was learned on a source for a target. In *supervised fine-tuning* pretrained weights go on learning from
# labelled examples of the target: partial and full fine-tuning. In a probe no pretrained weight moves. SFT of chat models is the same on text: the examples are prompts with good answers, the loss is the same cross-entropy.
#
# ## The whole path in plain PyTorch
#
# With torchvision's weights the first lines would be `weights = ResNet18_Weights.DEFAULT`, `net = resnet18(weights=weights)`, `prepare = weights.transforms()`; we take
# the network that is here, without its stage `input`, which prepares images inside it.

# %%
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

prepare = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Grayscale(3),
                      v2.Normalize([0.5] * 3, [0.5] * 3)])


def loader(split, shuffle=False):
    images, labels = split.take(np.arange(len(split)))
    return DataLoader(TensorDataset(prepare(images), labels), 32, shuffle=shuffle)


@torch.inference_mode()
def accuracy(net, batches):
    hits = sum((net(x).argmax(1) == y).sum().item() for x, y in batches)
    return hits / len(batches.dataset)


# %%
torch.manual_seed(SEED)
train, valid, test = loader(fonts.train, True), loader(fonts.valid), loader(fonts.test)
net = nn.Sequential(*copy.deepcopy(original)[1:]).eval().requires_grad_(False)  # frozen
net[-1] = nn.Linear(net[-1].in_features, len(fonts.classes))  # the new head learns
optimizer = torch.optim.AdamW(net[-1].parameters(), lr=3e-3)
best = 0.0
for _ in range(5):
    for x, y in train:
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if (now := accuracy(net, valid)) > best:
        best, kept = now, copy.deepcopy(net.state_dict())
net.load_state_dict(kept)
print(f"plain PyTorch: best on valid {best:.3f}, test {accuracy(net, test):.3f}")

# %% [markdown]
# ## What you have seen
#
# - Whether fine-tuning pays depends on the task: it won clearly on typefaces, and could not be told from a probe on solar cells.
# - What learns is a choice per stage, written as a dict; the head comes first.
# - An accuracy needs its interval and the majority rate; strategies are compared on valid, test is looked at once.
#
# *Where this lives in the library:* `sft.load`, `sft.replace_head`, `sft.fit`, `sft.evaluate`; `sft.fit??` shows the source.
#
# ## Try it
#
# - **Tweak.** Set `LABELS` to 20 and run all cells again. Does fine-tuning still win?
# - **Build.** Let only `layer4` and the head learn, and compare on valid.
# - **Break.** Fine-tune at a rate of 1.0. What does the lab say?

# %% [markdown]
# ## The map
#
# The core, in this order:
#
# lesson | question | minutes
# ---|---|---
# **00 Start here** | When does fine-tuning pay? | 40
# **[01 Select](01_select.ipynb)** | Which pretrained network should I start from? | 45
# **[02 Head](02_head.ipynb)** | How does a 1000-class network answer my question? | 40
# **[03 Loss](03_loss.ipynb)** | What exactly is being minimised? | 40
# **[04 Freeze](04_freeze.ipynb)** | When is a layer really frozen, and what does that buy? | 40
# **[05 Rate](05_rate.ipynb)** | How large a step? | 40
# **[06 Finetune](06_finetune.ipynb)** | Should all layers take the same step? | 35
# **[07 Overfit](07_overfit.ipynb)** | Does it learn, or remember? | 40
# **[08 Evaluate](08_evaluate.ipynb)** | How sure is this number? | 50
# **[09 Decide](09_decide.ipynb)** | What should I decide with it? | 35
# **[10 Your own images](10_your_own_images.ipynb)** | What must I check before I believe it on my own photos? | 50
#
# **A path of four hours:** 00, 02, 04, 05, 06, 08, then 10 on your own photographs.

# %% [markdown]
# And from there, wherever you like:
#
# lesson | question
# ---|---
# [Rank](further/rank.ipynb) | Which of many starting points, without training each?
# [Pretrain](further/pretrain.ipynb) | How many labels is a pretrained network worth?
# [Calibration](further/calibration.ipynb) | May I believe how sure it is?
# [Shift](further/shift.ipynb) | Does fine-tuning make the network better, or only narrower?
# [Two tasks](further/two_tasks.ipynb) | Does a second task help the first when labels are few?
# [Text](further/text.ipynb) | Is it the same for language?
#
# Three **recipes** that are printed everywhere, each run line by line: [PyTorch's](recipes/pytorch_probe.ipynb), [Keras's](recipes/keras_dense.ipynb),
# and [the last few layers](recipes/last_layers.ipynb).

# %% [markdown]
# ## Words
#
# English | 中文
# ---|---
# pretrained model | 预训练模型
# backbone, head | 主干网络，分类头
# stage, layer | 阶段，层
# features, logits | 特征，未归一化得分
# fine-tuning | 微调
# supervised fine-tuning | 监督微调
# linear probe | 线性探测
# feature extraction | 特征提取
# frozen, trainable | 冻结，可训练
# transfer learning | 迁移学习
# multi-task learning | 多任务学习
# learning rate | 学习率
# loss, cross-entropy | 损失，交叉熵
# epoch, step, batch | 轮次，步，批次
# train / valid / test | 训练集，验证集，测试集
# accuracy, interval | 准确率，置信区间
# overfitting | 过拟合

# %% [markdown]
# ## Sources
#
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*. The images.
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*. Head first, then the rest.
#
# Next: [01 Select](01_select.ipynb).
