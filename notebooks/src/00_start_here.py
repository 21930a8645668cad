# %% [markdown]
# # When does fine-tuning pay?
#
# You will be able to
# - give a pretrained network a new head and train exactly the layers you choose;
# - tell *linear probe*, *partial*, *full fine-tuning* and *training from scratch* apart;
# - read an accuracy with its interval and the majority rate.
#
# 40 minutes to read. On two cores the first run takes about three minutes, later ones two: features are kept on disk. You need Python and a first idea of a neural network. Common questions: the [FAQ](faq.md). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; printed words, drawn here.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torchvision.models import ResNet18_Weights
from torchvision.transforms.v2 import functional as F

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.checks import progress
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
OUT: str = ""        # folder for the record; "" keeps nothing

# %% [markdown]
# ## One network, two tasks
#
# Our network has learned from ImageNet: 1.2 million photographs in 1,000 classes. We have other pictures, and a few hundred labels. Is it enough to read off what it already sees, or must its weights go on learning?
#
# - **Typefaces.** In which of nine font families is a word printed?
# - **Solar cells.** Is this cell of a solar module (a panel of many cells) broken?
#
# (`check_parameters` stops at a parameter of wrong type or value. Every lesson begins with it.)

# %%
sft.check_parameters(globals(), BACKBONE=str, LABELS=(int, 10, 90),
                     CELLS=(int, 10, 800), SIZE=(int, 64, 300),
                     EPOCHS=(int, 1, 50), SEED=(int, 0), OUT=str)
fonts = sft.load("typefaces", per_class=LABELS, seed=SEED)
cells = sft.load("solar", size=SIZE, per_class=CELLS, seed=SEED)
for card in (fonts.card, cells.card):
    sizes = {split: sum(count.values()) for split, count in card.counts.items()}
    print(f"{card.name}\n  rule      {card.rule}\n  split     {card.split}\n"
          f"  images    {sizes}\n  majority  {card.majority:.1%} of the test images")

# %% [markdown]
# These lines are from the **cards** of the data sets (`print(fonts.card)` shows a whole one): the *rule* by which images got their label; the
# *majority* rate, which is what you score by always giving the same answer; and the *split*:
#
# split|its job|who may look
# ---|---|---
# **train**|the weights are fitted to it|the network, as often as it likes
# **valid**|choose between ways to train|you, as often as you like
# **test**|the final number|you, once, at the end
#
# *Grouped*: all pictures of a word stay in one split, and all cells of a block of files, roughly a module. One word in nine typefaces:

# %%
plot.images(fonts.train.of_rows(range(9), size=64), columns=9,
            titles=[name.replace(" ", "\n") for name in fonts.classes],
            title="One word in nine typefaces", licence=fonts.card.licence)

# %% [markdown]
# ## How to see a crack
#
# A current makes working silicon glow in the infrared; dead parts stay dark.

# %%
LESSON = [  # the number of a picture, what it shows, and where (in pixels)
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
# Dark horizontal lines (busbars), cut corners and clouds (crystal grains) belong there. Thin lines that ignore the busbars (cracks), darker areas with a sharp edge and black spots do not.
#
# ## Your turn, against the clock
#
# Twelve cells, twenty-four seconds.

# %%
twelve = np.random.default_rng(SEED + 1).permutation(len(cells.valid))[:12]
game = widgets.label_cells(cells.valid, twelve, seconds=24, licence=cells.card.licence)
game

# %% [markdown]
# A thin faint line is not always a crack, and the expert was not always sure either: he gave each cell a probability of being defective. We call it *defect* above one half.
#
# ## What does the untouched network say?
#
# Two photographs of the kind that it was trained on, then a cracked cell:

# %%
original = sft.backbone(BACKBONE)
names = ResNet18_Weights.DEFAULT.meta["categories"]  # all 1,000, in the same order
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
# It recognises the palace. It has no class for the flower, a dahlia, and none for the cell. But to give any answer it first computes 1,280 numbers, the **features** of the image, which may still say something about cracks and letters.
#
# ## A new head
#
# In this lab a network is a list of named **stages**. The last one, the **head**, turns features into one number a class (**logits**); all others are the **backbone**. We have nine classes, not a thousand, so the head must be replaced, and only the head.

# %%
model = sft.replace_head(original, fonts.classes, seed=SEED)
for name, stage in model.named_children():
    print(f"{name:8s}{sum(w.numel() for w in stage.parameters()):>10,} parameters")

# %% [markdown]
# `replace_head` returned a copy. Nearly all parameters stand in the backbone.
#
# ## How a network learns
#
# *Softmax* turns logits into probabilities. The **loss** of an image, the *cross-entropy*, is −log of the probability of its right class (natural logarithm; the unit is called *nat*): near 0 if the network is sure and right, large if it is sure and wrong. The **gradient** says for each weight how fast the loss rises when this weight rises. An **optimizer** (here AdamW) moves each weight a little the other way; the
# **learning rate** says how far. One such move, for a **batch** of images, is a **step**; once through train is an **epoch**. After each epoch the loss on valid is measured; in the end the weights of the epoch with the smallest are kept.
#
# ## Only the head learns: a linear probe
#
# Which stages learn, and at which rate, is a plain dict, the **learning-rate profile**. 0 means frozen: these weights do not move.

# %%
probe = sft.linear_probe(model, lr=3e-3)
print(probe)

# %% [markdown]
# > **Predict.** The backbone was never asked about typefaces, and will not change. How many percent of new words will the probe get right? Always the same answer scores 11.

# %%
guess = widgets.predict("validation accuracy of the probe, in percent", 0, 100, 50)

# %%
sft.fit(model, fonts, probe, epochs=40, seed=SEED)
probed = sft.evaluate(model, fonts.valid)
print(f"accuracy {probed.accuracy:.3f}; always the same answer: {probed.majority:.3f}")
plot.guess_vs_result(100 * probed.accuracy.value, guess)

# %% [markdown]
# The frozen part ran once over the images and its features were kept, so forty epochs took a moment.
#
# Behind the accuracy stands its 95 % **interval**: if valid held other words, the number would be a little different, and the interval says how much. It counts *groups*, here words, because a word's nine pictures are alike. Two numbers whose intervals overlap widely do not tell two methods apart; below we compare in pairs.
#
# **Feature extraction is the same thing**: compute the features, hand them to a classical method.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def features(split):
    """Return what enters the head, N×features, and the labels."""
    images, labels = split.take(np.arange(len(split)))
    with torch.inference_mode():  # no gradients; eval: as in use, not as in training
        return torch.cat([model[:-1].eval()(part) for part in images.split(64)]), labels


# StandardScaler brings all features to one scale; a small C keeps the weights small
classical = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
extraction = classical.fit(*features(fonts.train)).score(*features(fonts.valid))
print(f"feature extraction {extraction:.3f}, linear probe {probed.accuracy:.3f}")

# %% [markdown]
# *Logistic regression* is the classical name of one linear layer with softmax and cross-entropy: our head. Only optimizer and penalty on large weights (`C`) differ.
#
# ## The last stages learn too: partial fine-tuning
#
# Now the last five stages that have weights go on learning from where ImageNet left them, together with the trained head. The head was trained first on purpose: the large gradients of a fresh one distort the layers below (Kumar et al., 2022, who call head first, then the rest, **LP-FT**).

# %%
tuned = copy.deepcopy(model)
partial = sft.last_k(tuned, 5, lr=1e-3)
print(partial)

# %% [markdown]
# > **Predict.** How many points will that add to the probe's accuracy? A negative number is allowed.

# %%
more = widgets.predict("points that partial fine-tuning adds", -30, 60, 0, name="more")

# %%
history = sft.fit(tuned, fonts, partial, EPOCHS, seed=SEED,
                  batchnorm="frozen",  # stored means and spreads stay: lesson 04
                  schedule=sft.warmup_cosine(0.1))  # rate up, then down: lesson 05
finetuned = sft.evaluate(tuned, fonts.valid)
print("valid, by epoch:", *(f"{epoch.valid_accuracy:.2f}" for epoch in history.epochs))
gain = 100 * (finetuned.accuracy.value - probed.accuracy.value)
print(f"fine-tuned {finetuned.accuracy:.3f}, probe {probed.accuracy:.3f}")
print(f"{gain:+.1f} points" + f"; you guessed {more.value:+d}" * more.touched)

# %% [markdown]
# (The first number is the start.) At first the accuracy may fall far below the probe's, although the head was trained before. Why is not tested here; lessons 05 and 06 try other rates.
#
# ## The same on solar cells

# %%
judge = sft.replace_head(original, cells.classes, seed=SEED)
sft.fit(judge, cells, sft.linear_probe(judge, lr=1e-3), epochs=40, seed=SEED)
judged = sft.evaluate(judge, cells.valid)
print(f"probe {judged.accuracy:.3f}, majority {judged.majority:.3f}")

# %% [markdown]
# The groups are now blocks of files, and few of them are in valid: the interval is wide. It contains the majority rate, so on this split the probe is
# *not shown* to beat always answering *intact*.
#
# ## Six ways, five other splits
#
# `python benchmarks/start.py` trained six ways on five other splits of both tasks, each until its validation curve was flat. **From scratch** starts at random weights; in **full fine-tuning** all stages learn from ImageNet's. Two classical methods see raw pixels (an *SVM* draws curved borders between classes). Hollow marks are from that record: small a split, large the mean and its interval. Solid ones are yours, with fewer epochs; dashed is the majority rate. The numbers are *paired*: a way minus the probe on each split, then the mean.

# %%
strategies({
    "typefaces": {"linear probe": probed, "partial fine-tuning": finetuned},
    "solar": {"linear probe": judged},
})

# %% [markdown]
# On **typefaces** fine-tuning wins by a wide margin over the probe, over classical methods, and over training from scratch. On **solar cells** neither kind of fine-tuning is shown to gain: both intervals contain zero. (That does not say that the gain *is* zero.)
#
# Why? To tell dogs from cars a network can ignore how a letter ends, which is all the difference between two typefaces; a dark line across a bright cell is like many edges in photographs. This is a guess, not tested.
#
# So: **train the probe first.** Its features are computed once, which makes it cheap. Fine-tune if valid promises more, and keep whatever is better on valid.
#
# ## The test images, once
#
# All choices are made: fine-tuned for typefaces, the probe for cells.

# %%
final = sft.evaluate(tuned, fonts.test, out=OUT)
of_cells = sft.evaluate(judge, cells.test)
for name, on_valid, on_test in (("typefaces", finetuned, final),
                                ("solar cells", judged, of_cells)):
    print(f"{name}: valid {on_valid.accuracy:.3f}, test {on_test.accuracy:.3f}, "
          f"majority {on_test.majority:.3f}")

# %% [markdown]
# For the cells, valid and test may lie far apart: they hold different modules, and only a few. How far does such a number move? The same on five other splits (nothing is chosen by them):

# %%
others = []
for seed in range(SEED + 1, SEED + 6):
    fresh = sft.load("solar", size=SIZE, per_class=CELLS, seed=seed)
    once = sft.replace_head(original, fresh.classes, seed=seed)
    sft.fit(once, fresh, sft.linear_probe(once, lr=1e-3), 40, seed=seed, verbose=False)
    others.append(sft.evaluate(once, fresh.test).accuracy.value)
print(f"solar cells, test of five other splits: mean {np.mean(others):.3f}, "
      f"from {min(others):.3f} to {max(others):.3f}")

# %% [markdown]
# This mean says better than one split what to expect on new modules.
#
# ## How do these words relate?
#
# strategy|starts from|learns
# ---|---|---
# **from scratch**|random weights|all stages
# **feature extraction**|ImageNet|a classical method on the features
# **linear probe**|ImageNet|the head; the same thing inside the network
# **partial fine-tuning**|ImageNet|the last stages
# **full fine-tuning**|ImageNet|all stages
# **multi-task**|any|several heads on one backbone: [two tasks](further/two_tasks.ipynb)
#
# *Transfer learning* is the wide word: use what was learned on a source for a target. In *supervised fine-tuning* pretrained weights go on learning from labelled examples of the target: partial and full fine-tuning. SFT of chat models is the same on text: the examples are prompts with good answers, the loss is the same cross-entropy.
#
# ## The whole path in plain PyTorch
#
# The probe again. With torchvision's weights the first lines would be `weights = ResNet18_Weights.DEFAULT`, `net = resnet18(weights=weights)`, `prepare = weights.transforms()`; we take the network that is here, without its stage `input`, which prepares images inside it.

# %%
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

# bytes from 0 to 255 become 0 to 1, grey becomes three channels, then −1 to 1
prepare = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Grayscale(3),
                      v2.Normalize([0.5] * 3, [0.5] * 3)])


def loader(split, shuffle=False):  # hands out batches of 32 images and their labels
    data = TensorDataset(*split.take(np.arange(len(split))))
    return DataLoader(data, 32, shuffle=shuffle)


@torch.inference_mode()  # nothing is learned here, so no gradients are computed
def accuracy(net, batches):  # argmax(1): the class with the largest logit
    hits = sum((net(prepare(x)).argmax(1) == y).sum().item() for x, y in batches)
    return hits / len(batches.dataset)

# %% [markdown]
# Now *How a network learns*, line by line. Five epochs instead of forty, and the best by accuracy, not loss: the result differs a little.

# %%
torch.manual_seed(SEED)  # the same random head and order of batches in every run
train, valid, test = loader(fonts.train, True), loader(fonts.valid), loader(fonts.test)
net = nn.Sequential(*copy.deepcopy(original)[1:]).eval().requires_grad_(False)  # frozen
net[-1] = nn.Linear(net[-1].in_features, len(fonts.classes))  # new, so it can learn
optimizer = torch.optim.AdamW(net[-1].parameters(), lr=3e-3)  # moves the head only
best = 0.0
for _ in range(5):              # epochs
    for x, y in train:          # steps: x holds 32 images, y their labels
        loss = nn.functional.cross_entropy(net(prepare(x)), y)  # mean of −log p(right)
        optimizer.zero_grad()   # forget the gradient of the step before
        loss.backward()         # compute the gradient: one number for each weight
        optimizer.step()        # move each weight a little against its gradient
    now = accuracy(net, valid)  # after each epoch
    if now > best:              # the best so far: keep a copy of all weights
        best, kept = now, copy.deepcopy(net.state_dict())
net.load_state_dict(kept)       # back to the best epoch
print(f"plain PyTorch: best on valid {best:.3f}, test {accuracy(net, test):.3f}")

# %% [markdown]
# ## What you have seen
#
# - Whether fine-tuning pays depends on the task: it won clearly on typefaces, and is not shown to gain on solar cells.
# - What learns is a choice per stage; the head comes first.
# - An accuracy needs its interval and the majority rate; compare on valid, look at test once.
#
# *Where this lives in the library:* `sft.load`, `sft.replace_head`, `sft.fit` (`sft.fit??` shows its source), `sft.evaluate`.
#
# ## Exercises
#
# [Three exercises with checks](exercises/start.ipynb): what five splits leave open, train exactly the stages you choose, find test images that are in train. Every lesson of the core has three, and what you have answered is counted here:

# %%
print(progress())

# %% [markdown]
# ## The map
#
# lesson|question|minutes
# ---|---|---
# **00 Start here**|When does fine-tuning pay?|40
# **[01 Select](01_select.ipynb)**|Which pretrained network should I start from?|45
# **[02 Head](02_head.ipynb)**|How does a 1000-class network answer my question?|45
# **[03 Loss](03_loss.ipynb)**|What exactly is being minimised?|45
# **[04 Freeze](04_freeze.ipynb)**|When is a layer really frozen, and what does that buy?|45
# **[05 Rate](05_rate.ipynb)**|How large a step?|45
# **[06 Finetune](06_finetune.ipynb)**|Which layers should learn, and how fast?|40
# **[07 Overfit](07_overfit.ipynb)**|Does it learn, or remember?|40
# **[08 Evaluate](08_evaluate.ipynb)**|How sure is this number?|50
# **[09 Decide](09_decide.ipynb)**|What should I decide with it?|35
# **[10 Your own images](10_your_own_images.ipynb)**|What must I check before I believe it on my own photos?|45
#
# **The short path:** 00, 02, 04, 05, 06, 08, then 10 on your own photographs.
#
# The minutes count 130 words and 6 lines of code a minute. A first reader without PyTorch took half as long again: about twelve hours for all eleven, seven for the short path before 10.

# %% [markdown]
# Further, in any order: [rank](further/rank.ipynb) (many starting points), [pretrain](further/pretrain.ipynb) (how many labels is it worth?), [calibration](further/calibration.ipynb) (may I believe how sure it is?), [shift](further/shift.ipynb) (better, or only narrower?), [two tasks](further/two_tasks.ipynb) (does a second help the first?), [text](further/text.ipynb). Two **recipes** that are printed everywhere: [PyTorch's](recipes/pytorch_recipe.ipynb), with the last few layers, and [Keras's](recipes/keras_recipe.ipynb).

# %% [markdown]
# ## Words
#
# English|中文
# ---|---
# pretrained model|预训练模型
# backbone, head|主干网络，分类头
# stage, layer|阶段，层
# features, logits|特征，未归一化得分
# fine-tuning|微调
# supervised fine-tuning|监督微调
# linear probe|线性探测
# feature extraction|特征提取
# frozen, trainable|冻结，可训练
# transfer learning|迁移学习
# multi-task learning|多任务学习
# learning rate|学习率
# loss, cross-entropy|损失，交叉熵
# gradient, optimizer|梯度，优化器
# epoch, step, batch|轮次，步，批次
# train / valid / test|训练集，验证集，测试集
# accuracy, interval|准确率，置信区间
# overfitting|过拟合
#
# ## Sources
#
# - Buerhop-Lutz et al., 2018, *A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery*.
# - Kumar et al., 2022, *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*.
#
# Next: [01 Select](01_select.ipynb).
