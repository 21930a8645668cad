# %% [markdown]
# # How does a 1000-class network answer my question?
#
# You will be able to
# - give any network a new last layer, in plain PyTorch and in this lab, and know three ways to get it wrong;
# - read a network as a list of stages: run a part of it and follow the shapes;
# - measure at which stage a head should read.
#
# 45 minutes. You need Python, a first idea of a neural network, and [00 Start here](00_start_here.ipynb). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; digits, CC BY 4.0, Alpaydin and Kaynak 1998.

# %%
import copy
from collections import OrderedDict

import matplotlib.pyplot as plt
import torch
from scipy.stats import ttest_1samp
from torch import nn
from torchvision import models

import sftlab as sft
from sftlab import plot, widgets
from sftlab.lessons.head import reading
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # efficientnet_lite0, 1 or 2
SIZE: int = 160                       # edge of the cells in pixels, 64 to 300
LABELS: int = 300                     # training images per class
SEED: int = 0                         # split, order of batches, start of the new head
OUT: str = ""                         # folder for the record; "" keeps nothing

# %% [markdown]
# ## The step that everybody needs first
#
# A network trained on ImageNet answers one question: *which of these thousand things is in the photograph?* Yours is another one, with ten answers, say. The last layer gives a thousand numbers, one a class, called **logits**. It must give ten. In torchvision's ResNet that layer is called `fc`, and one line replaces it. Random weights will do for this experiment: we only look at shapes.

# %%
resnet = models.resnet18(weights=None)
print("before:", resnet.fc)
resnet.fc = nn.Linear(resnet.fc.in_features, 10)
print("after: ", resnet.fc)
print(tuple(resnet(torch.zeros(2, 3, 224, 224)).shape))

# %% [markdown]
# `in_features` says how many numbers the old layer read; the new one must read as many. Everything before it stays as it is. Other networks have other names for the same layer. (On the device `meta`, tensors have shapes but no values: these two large networks need no memory here.) Whoever takes the wrong name gets no error, as the second cell shows: Python adds an attribute, and `forward` never calls it.

# %%
with torch.device("meta"):
    vgg, vit = models.vgg16(), models.vit_b_16()
    vgg.classifier[-1] = nn.Linear(vgg.classifier[-1].in_features, 10)
    vit.heads.head = nn.Linear(vit.heads.head.in_features, 10)
    print("VGG", vgg(torch.zeros(2, 3, 224, 224)).shape[1],
          " ViT", vit(torch.zeros(2, 3, 224, 224)).shape[1])

# %%
resnet.classifier = nn.Linear(512, 2)     # a ResNet has no `classifier`
print(resnet(torch.zeros(2, 3, 224, 224)).shape[1], "classes, still")

# %% [markdown]
# ## One sentence for all of them
#
# Freezing needs such names too ("all but `fc`"), and so does everything else in this course. Therefore the lab brings each network into one form: a flat `nn.Sequential` of named **stages**, the same modules under common names, of which the last one is `head` and holds only the last Linear. All stages before it are the **backbone**. Replacing the head is now the same line for all:

# %%
for name in ("resnet18", "mobilenet_v3_small", "efficientnet_lite0"):
    staged = sft.backbone(name, weights=None)
    print(f"{name:19s} {len(staged):2d} stages ", sft.replace_head(staged, 10).head)

# %% [markdown]
# Now a network with pretrained weights, and a real question: *is this solar cell broken?* Two classes.

# %%
sft.check_parameters(globals(), SIZE=(int, 64, 300), LABELS=(int, 10, 800),
                     BACKBONE=("efficientnet_lite0", "efficientnet_lite1",
                               "efficientnet_lite2"), SEED=(int, 0), OUT=str)

# %%
data = sft.load("solar", size=SIZE, per_class=LABELS, seed=SEED)
original = sft.backbone(BACKBONE)
cell = data.train.of_rows([458]).pixels([0])     # a cracked one
print(data.card)

# %% [markdown]
# A list has an index and slices, and a slice is a network too. A forward pass is a loop over the list. We write that loop and keep the output of every stage,
# *channels × height × width*; the `assert` finds two slices, one after the other, to give the same.

# %%
seen, x = {}, cell
with torch.no_grad():
    for name, stage in original.named_children():
        seen[name] = x = stage(x)
    assert torch.allclose(original[5:](original[:5](cell)), x, atol=1e-5)
shapes = {name: tuple(x.shape[1:]) for name, x in seen.items()}

# %%
figure, ax = plt.subplots(figsize=(9, 3.2))
labels = []
for i, (name, (channels, *edge)) in enumerate(shapes.items()):
    height = (edge[0] if edge else 1) ** 0.5
    ax.bar(i, height, bottom=-height / 2, width=channels ** 0.5 / 40, color="#56B4E9")
    count = sum(p.numel() for p in original.get_submodule(name).parameters())
    labels.append(f"{name}\n{'×'.join(map(str, shapes[name]))}\n{count:,}")
ax.set_xticks(range(len(labels)), labels, fontsize=7.5)
ax.set(yticks=[], xlabel="stage, shape, parameters",
       title="Maps become small (height), channels many (width; both as roots)")
ax

# %% [markdown]
# `pool` replaces each map by its mean; what is left are the **features**, one vector an image, and the head is a single matrix behind them. Most parameters stand at the end, where the maps are small, a good part of them in the head.
#
# ## Wrong way 1: use the old answers
#
# Perhaps the thousand classes are good enough? `tapped` runs a split through the network once, keeps the result on disk, and returns every stage's output, averaged over the picture; for the last stage that is what `pool` does. Here is what the old head says of the training cells, on average.

# %%
taps = {"solar cells": [sft.analysis.tapped(original, part)
                        for part in (data.train, data.valid)]}
f, f_valid = (torch.tensor(part["neck"]) for part in taps["solar cells"])
y = data.train.y
with torch.no_grad():
    assert torch.allclose(original[:-1](data.train.pixels([0])), f[:1], atol=1e-3)
    words, words_valid = original.head(f), original.head(f_valid)
names = models.ResNet18_Weights.DEFAULT.meta["categories"]  # the same for all networks
mean = words.softmax(dim=1).mean(dim=0)
for i in mean.argsort(descending=True)[:4]:
    print(f"{mean[i]:5.1%} {names[i]}")

# %% [markdown]
# The names fit what is to be seen, stripes and boxes, not what is asked. Could one of them be a *code* for "broken"? We try all thousand: call a cell broken where the logit of that class exceeds a threshold, and keep the class and the threshold that fit the training cells best. As thresholds we try the logits of the training cells themselves.

# %%
share = 0.0
for i in range(1000):
    broken = words[:, i] > words[:, i, None]    # row k: threshold = logit of cell k
    right = (broken == y).float().mean(dim=1)   # for each threshold: how many are right
    if right.max() > share:
        share, word, threshold = right.max(), i, words[right.argmax(), i]
print(f"best: {names[word]!r}, right on {share:.1%} of train", end=", ")
print(f"of which always the same answer has {(y == 0).float().mean():.0%}")

def score(called, split):  # accuracy with its interval over blocks of files
    return sft.proportion(called == split.y, split.groups)

one_word = score((words_valid[:, word] > threshold).long(), data.valid)
print(f"on valid: {one_word:.3f}; majority rate {data.valid.majority:.3f}")

# %% [markdown]
# On new cells the rule does not beat always answering "intact". Whoever tries a thousand rules finds one that fits a few hundred cells. That does not make it a rule about cracks.
#
# ## Wrong way 2: translate the answers
#
# Keep the thousand logits, and put a second layer behind them that turns 1000 into 2. We need a function that trains a layer on given numbers: the loop of lesson 00, 200 steps with all images at once, from zero weights, after the numbers were centred and brought to one scale.

# %%
def train_head(x, y, classes=2, steps=200):  # returns a function that calls new rows
    mean, spread = x.mean(dim=0), x.std(dim=0).mean()
    head = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(head((x - mean) / spread), y)
        optimizer.zero_grad()  # forget the last gradient,
        loss.backward()        # compute the new one,
        optimizer.step()       # move the weights against it
    return lambda new: head((new - mean) / spread).argmax(dim=1)

# %%
translated = score(train_head(words, y)(words_valid), data.valid)
direct = score(train_head(f, y)(f_valid), data.valid)
print(f"behind the 1000 logits: {translated:.3f}\nin their place:         {direct:.3f}")
print(f"majority rate:          {data.valid.majority:.3f}")

# %% [markdown]
# On these few modules neither is shown to beat always answering "intact". But there is a reason why the detour cannot say more. The old head is a linear map, $z = W_1 f + b_1$ with features $f$ and logits $z$; the translator is another, $W_2 z + b_2$. One after the other they are a **single** linear map, $(W_2 W_1) f + (W_2 b_1 + b_2)$:

# %%
old, translator, merged = original.head, nn.Linear(1000, 2), nn.Linear(f.shape[1], 2)
with torch.no_grad():
    merged.weight.copy_(translator.weight @ old.weight)
    merged.bias.copy_(translator.weight @ old.bias + translator.bias)
    assert torch.allclose(merged(f), translator(old(f)), atol=1e-3)
print("one layer gives the same as the two")

# %% [markdown]
# Whatever a translator can say, a new head on the features can say as well, without the parameters of the old head in between. **Replace the head.**
#
# ## Wrong way 3: edit in place
#
# Take the stages, put a new `head` in, train one stage of the *edited* network for one step. Is the first network still what it was?

# %%
spare = sft.backbone(BACKBONE)            # a second network, for this accident
before = copy.deepcopy(spare.state_dict())
edited = nn.Sequential(OrderedDict(spare.named_children()))
edited.head = nn.Linear(f.shape[1], 2)
optimizer = torch.optim.SGD(edited.neck.parameters(), lr=1e-3)
nn.functional.cross_entropy(edited(data.train.pixels(range(8))), y[:8]).backward()
optimizer.step()
changed = {name.split(".")[0] for name, value in spare.state_dict().items()
           if not torch.equal(value, before[name])}
print("changed in the network that nobody trained:", changed)

# %% [markdown]
# Both lists hold *the same* stages. Slices share weights as well: good for reading, dangerous for surgery. The right way copies first. That is what `replace_head` does; by hand and by the library, the same network:

# %%
by_hand = copy.deepcopy(original)
torch.manual_seed(SEED)
by_hand.head = nn.Linear(by_hand.head.in_features, 2)
model = sft.replace_head(original, data.classes, seed=SEED)
with torch.no_grad():
    assert torch.allclose(by_hand(cell), model(cell), atol=1e-5)
for classes in (2, ["intact", "cracked", "dead"], 10, {"defect": 2, "type": 2}):
    size = sum(p.numel() for p in sft.replace_head(original, classes).head.parameters())
    print(f"{size:>7,} parameters for {classes}")

# %% [markdown]
# A head has (features + 1) × classes parameters: a weight for each feature and class, and a bias a class. The last line is two heads on one backbone, for two questions: the output becomes a dict of logits.
#
# ## One layer, or two?
#
# Many recipes put a layer of 1024 units with ReLU (in Keras: `Dense(1024)`) before the classes. It can combine features ("dark **and** sharp-edged"), which one linear layer cannot.
#
# First the linear head again, now by the library, three seeds.
#
# > **Predict.** Five hundred times as many parameters learn. What will the large head reach?

# %%
def trained(name, hidden):  # three seeds: which valid cells are right?
    rights = []
    for seed in range(SEED, SEED + 3):
        network = sft.replace_head(original, data.classes, hidden=hidden, seed=seed)
        run = sft.fit(network, data, sft.linear_probe(network), epochs=10, seed=seed,
                      verbose=False)
        result = sft.evaluate(network, data.valid)
        rights.append(torch.tensor(result.predictions) == data.valid.y)
        print(f"{name:12s} valid {result.accuracy:.3f}, "
              f"train loss {run.epochs[-1].train_loss:.2f}")
    return torch.stack(rights).float().mean(dim=0)  # for each cell, mean of the seeds

linear = trained("linear", None)
guess = widgets.predict("valid accuracy of Dense(1024), percent", 50, 100, 85,
                        name="dense")

# %%
large, groups = trained("Dense(1024)", 1024), torch.tensor(data.valid.groups)
in_blocks = [(large - linear)[groups == g].mean() for g in groups.unique()]
gains = 100 * torch.stack(in_blocks)
low, high = ttest_1samp(gains, 0).confidence_interval()
print(f"points more: {gains.mean():+.1f} ({low:+.1f} to {high:+.1f})")
plot.guess_vs_result(100 * large.mean().item(), guess, low=50)

# %% [markdown]
# The large head drives the *training* loss far lower. On validation cells we compare in pairs, because both heads judged the same ones: in each block of files, one accuracy minus the other, then the mean and its interval. It contains zero, so a lead is not shown, and ten epochs are not the end of training. Start linear: it is small, and it says what the *features* know. Add a layer when you have the labels to show that it helps.
#
# ## Where should the head read?
#
# So far the head sat at the end. But the list can be cut anywhere: average the maps of *any* stage, and train a linear head on those numbers. We do it for the cells, and for scikit-learn's handwritten digits, ten classes with thirty labels each: once 32 pixels wide, and once enlarged to 160.
#
# > **Predict.** Ten digits, 32 pixels wide. The usual place for a head is the last stage, `neck`, number 9. From which stage, 1 (`stem`) to 9, does a linear head read them best?

# %%
digits = {f"digits, {s} px": sft.load("digits", size=s, per_class=30, seed=SEED)
          for s in (32, 160)}
sets = {"solar cells": data} | digits
taps |= {name: [sft.analysis.tapped(original, part) for part in (d.train, d.valid)]
         for name, d in digits.items()}
stages, small = list(taps["solar cells"][0]), "digits, 32 px"
widths = {stage: shapes[stage][0] for stage in stages}
guess = widgets.predict("number of the best stage", 1, len(stages), 9, name="stage")

# %%
def read_at(stage, name):  # valid accuracy of a head on this stage's numbers
    d, (x, new) = sets[name], [torch.tensor(part[stage]) for part in taps[name]]
    return score(train_head(x, d.train.y, len(d.classes))(new), d.valid)

curves = {name: {stage: read_at(stage, name) for stage in stages} for name in sets}
majority = {name: d.valid.majority for name, d in sets.items()}
for name, curve in curves.items():
    best = max(stages, key=lambda stage: curve[stage].value)
    number = stages.index(best) + 1
    print(f"{name:14s} best {best} (number {number}) {curve[best]:.3f}, "
          f"neck {curve['neck']:.3f}, majority {majority[name]:.2f}")
print(f"for 32 px you guessed number {guess.value}" * guess.touched)
reading(curves, majority=majority, widths=widths)

# %% [markdown]
# For small digits the curve rises and **falls**: after `layer5` a single position is left of a picture of 32 pixels. Mostly it is this size that counts: enlarged, the digits lose much less towards the end, although their best stage reads worse than that of the small ones. For the cells, *no* stage is clear of the majority rate, so these few modules do not show where to read. The heads can even lie below it, because they are trained on as many broken cells as intact ones, and most validation cells are intact.
#
# ## Click a stage
#
# The list is cut at the stage that you choose: right, the head that reads there; left, what the stage hands on for one picture, each grey square being the **map** of one channel.

# %%
examples = {name: d.train.pixels([1]) for name, d in sets.items()}
examples["solar cells"] = cell

def draw(stage, pictures):
    with torch.no_grad():
        maps = original[: 2 + stages.index(stage)](examples[pictures])[0]
    return reading(curves[pictures], majority=majority[pictures], widths=widths,
                   at=stage, x=maps, licence=sets[pictures].card.licence)

shown = widgets.choice("pictures", list(sets), "digits, 160 px")
widgets.explore(draw, stage=widgets.strip("the head reads after", stages, "layer2"),
                pictures=shown, name="tap")

# %% [markdown]
# Start at `neck`, the usual place, and go left, one stage at a time; then compare the two sizes of the digits.
#
# ## A cut network is a network
#
# Cut after the stage that was best for small digits, add `pool` and a head, copy; then `fit` and `evaluate` take it like any other. The stage was chosen on the validation digits; for the cells we keep the usual place. The test images are looked at once, for these two.

# %%
best = max(stages, key=lambda stage: curves[small][stage].value)
short = copy.deepcopy(original[: 2 + stages.index(best)])
short.add_module("pool", original.pool)
short.add_module("head", nn.Linear(widths[best], 10))

# %%
sft.fit(short, sets[small], sft.linear_probe(short, lr=1e-2), epochs=30, seed=SEED)
history = sft.fit(model, data, sft.linear_probe(model), epochs=10, seed=SEED)
for network, name in ((short, small), (model, "solar cells")):
    result = sft.evaluate(network, sets[name].test, out=OUT)
    print(f"{name}: {sum(p.numel() for p in network.parameters()):,} parameters, test "
          f"{result.accuracy:.3f}, majority rate {result.majority:.3f}")

# %% [markdown]
# For small digits a small part of the network is enough. (For the cells the test accuracy need not be near the validation accuracy: the modules are others.)
#
# ## What you have seen
#
# - The new head is one line, `model.fc = nn.Linear(model.fc.in_features, 10)`, under a name that depends on the network; as a list of stages, each has a `head`. Copy before you edit.
# - The old answers are of no use, the features behind them are. A translator is a linear head with a detour; that a hidden layer of 1024 units helps is not shown here.
# - Where the head reads can be measured. For small digits the usual place was the wrong one, mostly because they are small; for the cells the validation images do not say.
#
# **So how does it answer?** By a new head: drop the thousand answers, keep the features, and let a fresh linear layer learn your classes from them.
#
# *Where this lives in the library:* `sft.backbone`, `sft.replace_head`, `sft.summary` (the stages as a table), `sft.analysis.tapped`; `sftlab/core/model.py` is short enough to read.
#
# ## The same in plain PyTorch
#
# The one line of lesson 00's plain path that changes here: timm replaces the head while it builds the network (`pretrained=True` would download weights), and widens the first convolution for more channels than three:

# %%
import timm

plain = timm.create_model(f"tf_{BACKBONE}", pretrained=False, num_classes=2, in_chans=4)
print(plain.get_classifier(), tuple(plain.eval()(torch.zeros(1, 4, SIZE, SIZE)).shape))

# %% [markdown]
# ## Exercises
#
# [Three exercises with checks](exercises/head.ipynb): where the head should read, a first convolution for grey pictures, a new head that leaves the old network alone.
#
# ## Sources
#
# - He et al., 2016, *Deep Residual Learning for Image Recognition*. The ResNet.
# - Tan and Le, 2019, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*. The network's family.
# - Alain and Bengio, 2017, *Understanding intermediate layers using linear classifier probes*. A head at every stage.
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* From general to specific, stage by stage.
# - Kornblith, Shlens and Le, 2019, *Do Better ImageNet Models Transfer Better?* What the usual place is worth.
#
# Previous: [01 Select](01_select.ipynb). Next: [03 Loss](03_loss.ipynb).
