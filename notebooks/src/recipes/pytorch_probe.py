# %% [markdown]
# # What does the PyTorch recipe train, and what else does it change?
#
# You will be able to
# - run the best-known recipe of fine-tuning line by line as it is printed, on any network and images;
# - show which numbers of a "frozen" network it changes, and measure what that costs;
# - get the very same head from eight lines of this lab, and say in its words what the recipe is.
#
# 15 minutes to read, half a minute to run. Comes after [04 Freeze](../04_freeze.ipynb).
# Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; two photographs that come with scikit-learn, CC BY 2.0.

# %%
import copy
import dataclasses
import time
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from torchvision import transforms

import sftlab as sft
from sftlab import plot
from sftlab.core import statistics
from sftlab.lessons.recipes import step_losses
from sftlab.plot import style
from sftlab.networks import original_state_dict
from sftlab.networks.staging import constant

style.use()

# %% tags=["parameters"]
# None stands for the recipe's own value
RECIPE: str = "offline"      # "offline", or "as printed": ResNet-50 on CIFAR-10
BACKBONE: str | None = None  # resnet50, resnet18, vgg16, efficientnet_lite1 …
DATA: str | None = None      # any name of sft.load
LABELS: int | None = None    # training images per class
SIZE: int | None = None      # edge that the network sees, cut out of 8/7 of it
EPOCHS: int | None = None    # passes over the training images
BATCH: int | None = None     # images a step
RATE: float | None = None    # learning rate of the head
SEED: int = 0                # split, order of batches, start of the head

# %% [markdown]
# ## As it is printed
#
# Whoever has looked for "fine-tuning in PyTorch" has seen these lines, or some very much like them. Ten classes of CIFAR-10, a ResNet-50 from the shelf:
#
# ```python
# transform = transforms.Compose([
#     transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
#     transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
# dataset = datasets.CIFAR10("data", train=True, download=True, transform=transform)
# loader = DataLoader(dataset, batch_size=64, shuffle=True)
#
# model = models.resnet50(pretrained=True)      # today: weights="IMAGENET1K_V1"
# for parameter in model.parameters():
#     parameter.requires_grad = False
# model.fc = nn.Linear(2048, 10)
#
# criterion = nn.CrossEntropyLoss()
# optimizer = optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
# for epoch in range(10):
#     for images, labels in loader:
#         optimizer.zero_grad()
#         loss = criterion(model(images), labels)
#         loss.backward()
#         optimizer.step()
# ```
#
# Read it for what it does *not* say. It never says `eval()`, and it never measures anything. Both will matter.

# %%
sft.check_parameters(
    globals(), RECIPE=("offline", "as printed"), BACKBONE=str | None, DATA=str | None,
    LABELS=(int | None, 1), SIZE=(int | None, 32, 512), EPOCHS=(int | None, 1, 1000),
    BATCH=(int | None, 2, 4096), RATE=(float | None, 0, 10), SEED=(int, 0))

# %% [markdown]
# ## One recipe, two sizes
#
# The settings as printed, and what changes offline: a smaller network whose weights come with this lab, solar cells, half the edge. Optimizer, rate, batches and epochs stay.
# `RECIPE = "as printed"` takes the first line; any other parameter that you give is taken instead of either.

# %%
PRINTED = dict(backbone="resnet50", data="cifar10", labels=None, resize=256, crop=224,
               epochs=10, batch=64, rate=0.001, momentum=0.9)
OFFLINE = PRINTED | dict(backbone="efficientnet_lite0", data="solar", labels=200,
                         resize=128, crop=112)

# %%
given = dict(backbone=BACKBONE, data=DATA, labels=LABELS, crop=SIZE, epochs=EPOCHS,
             resize=SIZE and SIZE * 256 // 224, batch=BATCH, rate=RATE)
recipe = {"offline": OFFLINE, "as printed": PRINTED}[RECIPE]
how = SimpleNamespace(**recipe | {k: v for k, v in given.items() if v is not None})
print(how)

# %% [markdown]
# ## The images, and `Resize`, `CenterCrop`
#
# The split delivers squares of the larger size. Where no number of labels is set, as in print, *all* training images are trained on and none are held back.

# %%
data = sft.load(how.data, size=how.resize, per_class=how.labels, seed=SEED)
if how.labels is None:
    rows = np.union1d(data.train.index, data.valid.index)
    data = dataclasses.replace(data, train=data.train.of_rows(rows))
print(f"{data.card}\ntrained on: {len(data.train):,} images")

# %% [markdown]
# A network is a list, so the crop is one more stage in front of it. From the stored pixels on, everything is then inside the network: crop, scale, and the mean and deviation that belong to
# *these* weights.

# %%
shelf = sft.backbone(how.backbone)
crop = constant(transforms.CenterCrop(how.crop))
network = nn.Sequential(OrderedDict(crop=crop, **dict(shelf.named_children())))
model = sft.replace_head(network, data.classes, seed=SEED)
mean, std = (v.flatten().tolist() for v in (shelf.input.mean, shelf.input.std))

# %% [markdown]
# Does it give what the printed `transform` gives? That one works on PIL images, one by one, ours on batches of bytes. Three training images both ways:

# %%
printed = transforms.Compose([
    transforms.Resize(how.resize), transforms.CenterCrop(how.crop),
    transforms.ToTensor(), transforms.Normalize(mean, std)])

# %%
for i in range(3):
    image = data.train.images[data.train.index[i]].transpose(1, 2, 0)
    theirs = printed(transforms.functional.to_pil_image(image).convert("RGB"))
    ours = network[:2](data.train.pixels(np.array([i])))[0]
    levels = 255 * (theirs - ours).abs() * torch.tensor(std).view(3, 1, 1)
    print(f"image {i}: at most {levels.max():.2f} of 255 grey levels apart")
    assert levels.max() < 1.01

# %% [markdown]
# ## The network as its own library builds it
#
# The textbook's side shall not contain a stage of ours: torchvision builds its ResNet or VGG, timm its EfficientNet. The same weights go in, and the same new head, so that both sides
# start at the same point.

# %%
names = sft.card(shelf)["names"]        # what its authors call the parts of a stage
last = names["head"]                    # "fc" in a ResNet

# %%
def plain():
    """Return the network as torchvision or timm builds it, with the same weights."""
    theirs = how.backbone in torchvision.models.list_models()
    net = (torchvision.models.get_model(how.backbone) if theirs
           else timm.create_model(f"tf_{how.backbone}"))
    net.load_state_dict(original_state_dict(shelf))
    return net.to(memory_format=torch.channels_last)    # a CPU is faster so

# %% [markdown]
# Around it, what the printed transform does to bytes, and in front of the loop, what the recipe does to the network:

# %%
class Textbook(nn.Module):
    """The recipe's network: everything frozen by requires_grad, and a new head."""

    def __init__(self, head):
        super().__init__()
        self.net = plain().requires_grad_(False)
        self.net.set_submodule(last, copy.deepcopy(head))

    def forward(self, x):
        x = transforms.functional.center_crop(x, how.crop).float() / 255
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return self.net(transforms.functional.normalize(x, mean, std))

# %% [markdown]
# And its loop, in the open. Only the order of the images is ours, so that both sides see the same batches. (A last batch of a single image would join the one before it; the printed
# numbers leave no such batch.)

# %%
def textbook_loop(book):
    """Train the head as printed; yield the loss of every step."""
    optimizer = torch.optim.SGD(book.net.get_submodule(last).parameters(),
                                lr=how.rate, momentum=how.momentum)
    torch.manual_seed(SEED)                         # for dropout, where there is any
    for epoch in range(how.epochs):
        for x, y in data.train.batches(how.batch, seed=SEED, epoch=epoch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(book(x), y)
            loss.backward()
            optimizer.step()
            yield loss.item()

# %% [markdown]
# ## What does it change?
#
# We take a hash of everything that the network stores, part by part as its authors named them, run the recipe as it is printed, and compare.
#
# > **Predict.** All parameters are frozen and only the new head is in the optimizer. What share of all the *tensors* that this network stores before its head will be different afterwards?

# %%
guess = sft.widgets.predict("tensors that change, in percent", 0, 100, default=0)
book = Textbook(model.head)
before, tensors = sft.fingerprint(book.net), copy.deepcopy(book.net.state_dict())

# %%
clock = time.perf_counter()
losses = list(textbook_loop(book))
seconds = time.perf_counter() - clock
print(f"{len(losses)} steps, loss {losses[0]:.2f} → {losses[-1]:.2f}, {seconds:.0f} s")
plot.changed(before, sft.fingerprint(book.net))

# %% [markdown]
# Each of those parts holds many tensors. Counted one by one:

# %%
now, body = book.net.state_dict(), [n for n in tensors if not n.startswith(last)]
moved = {name for name in body if not torch.equal(tensors[name], now[name])}
learned = moved & dict(book.net.named_parameters()).keys()
print(f"before the head: {len(moved)} of {len(body)} tensors changed, "
      f"{len(learned)} of them parameters")
plot.guess_vs_result(100 * len(moved) / len(body), float(guess))

# %% [markdown]
# No parameter moved, and yet most parts of the network are not what they were. A module starts in train mode, the recipe never says otherwise, and in train mode every BatchNorm averages
# the batches it sees into its stored mean and variance. [04 Freeze](../04_freeze.ipynb) takes that apart. (With `BACKBONE = "vgg16"` nothing changes: VGG-16 has no BatchNorm. It has dropout, which then rolls its dice in
# "frozen" layers.)
#
# ## Does anybody notice?
#
# The loss does not: the head learns on whatever it gets. But somebody may want the old network back. We put its old head on again and ask about squares of two photographs.

# %%
photos = sft.analysis.photo_crops(64, size=how.resize, seed=SEED)
old = copy.deepcopy(book)
old.net.set_submodule(last, shelf.head)
asked, told = (sft.analysis.answers(net, photos) for net in (network, old))
print(f"{(asked != told).float().mean():.0%} of 64 answers about photos are others now")

# %% [markdown]
# ## The evaluation that is missing
#
# As printed, the recipe ends here, with no number but a training loss. **What follows is ours.** First the obvious way, and a wrong one: run the network as the recipe left it, in train mode.
# Is its answer to an image a property of the image? Each of 64 training images is asked twice, among different neighbours:

# %%
def called(order):
    """Return the class of each training image, asked in batches of 16 in this order."""
    unspoilt, answers = copy.deepcopy(book), {}
    for some in order.split(16):
        found = unspoilt(data.train.pixels(some.numpy())).argmax(dim=1)
        answers |= dict(zip(some.tolist(), found.tolist(), strict=True))
    return torch.tensor([answers[i] for i in sorted(answers)])

# %%
first = torch.arange(min(64, len(data.train)))
one, two = called(first), called(first[torch.randperm(len(first))])
print(f"{(one != two).float().mean():.0%} of the answers depend on the neighbours")

# %% [markdown]
# So evaluation needs `eval()`, and images that were not trained on. `sft.evaluate` sees to the first and takes the second, once:

# %%
as_printed = sft.evaluate(nn.Sequential(book), data.test)
print(as_printed)

# %% [markdown]
# ## One word more
#
# Now the same recipe with one line added: `eval()`, once, before the loop. The head is a Linear; it computes the same in either mode, so nothing that should learn is lost. (VGG-16 has dropout right before its
# head. That dropout belongs to what learns and stays on.)

# %%
steady = Textbook(model.head).eval()
if "dropout" in names:
    steady.net.get_submodule(names["dropout"]).train()
before = sft.fingerprint(steady.net)

# %% [markdown]
# > **Predict.** What will the repaired recipe reach on the same test images?

# %%
guess = sft.widgets.predict("test accuracy with eval(), in percent", 0, 100,
                            default=round(100 * as_printed.accuracy.value), name="eval")

# %%
steady_losses = list(textbook_loop(steady))
after = sft.fingerprint(steady.net)
assert [name for name in before if before[name] != after[name]] == [last.split(".")[0]]
repaired = sft.evaluate(nn.Sequential(steady), data.test)
plot.scores({"as printed": as_printed, "with eval()": repaired}, guess=float(guess))

# %% [markdown]
# Both networks were asked about the *same* images, so we can do better than lay two intervals side by side: subtract image by image. Only those on which one is right and the other is wrong count.

# %%
right = [np.array(r.predictions) == r.targets for r in (repaired, as_printed)]
gain = statistics.difference(*right)
print(f"with eval(): {100 * gain.value:+.1f} points "
      f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) on these images")

# %% [markdown]
# That interval knows of other test images, not of other splits and other starts. So the pair was run on ten splits, by `python benchmarks/recipes.py`, and kept: hollow. The pair from above is solid.

# %%
kept = sft.records.read("../../benchmarks/recipes.json")["pytorch"]
stored = [100 * (run["with eval()"] - run["as printed"])
          for run in kept["seeds"].values()
          if kept["settings"] == vars(how)]
plot.differences({"ten splits": {"with eval()": stored}}, to="as printed",
                 test_to_train=0.25 / 0.6,
                 live={"ten splits": {"with eval()": 100 * gain.value}})

# %% [markdown]
# Most splits gain, two lose: a few points on average, with an interval that holds zero. (The splits share images, and the bar is as wide as such runs deserve: Nadeau and Bengio, 2003.) So these ten splits do not show that `eval()` pays; that the numbers of the two differ is certain. Why do they? While the head learned, features were made with the
# statistics of each batch; when it is evaluated, with stored ones that are an average over past batches. The head is asked about numbers that it was not trained on.
#
# ## The same in this lab
#
# And now the whole recipe in the words of this lab. `fit` puts frozen stages into eval mode at every epoch; and because they are constant functions, it runs them once.

# %%
clock = time.perf_counter()
history = sft.fit(model, data, sft.linear_probe(model, lr=how.rate), epochs=how.epochs,
                  batch_size=how.batch, optimizer="sgd", weight_decay=0,
                  keep_best=False, seed=SEED)
quick = time.perf_counter() - clock
result = sft.evaluate(model, data.test)
print(f"{quick:.2f} s, against {seconds:.0f} s; accuracy {result.accuracy}")

# %% [markdown]
# `"sgd"` has momentum 0.9; `weight_decay=0` and `keep_best=False` switch off what the recipe does not have. Is it the same computation? Compare every loss and every weight with the
# textbook's:

# %%
ours = [step.loss for step in history.steps]
head = steady.net.get_submodule(last)
assert np.allclose(ours, steady_losses, atol=1e-4)
assert torch.allclose(model.head.weight, head.weight, atol=1e-4)
assert torch.allclose(model.head.bias, head.bias, atol=1e-4)
step_losses({"textbook, eval()": steady_losses, "sft.fit": ours})

# %% [markdown]
# The same numbers, to rounding. Against the recipe *as printed* they differ, and that difference is the drift:

# %%
step_losses({"textbook, as printed": losses, "sft.fit": ours})

# %% [markdown]
# ## What it is
#
# In our words: a learning-rate profile with one number that is not zero. Everything that the pretrained network knew stays as it was, weight for weight:

# %%
probe = sft.linear_probe(model, lr=how.rate)
assert set(sft.analysis.moved(network, model).values()) == {0.0}
plot.profile(probe, names=["the PyTorch recipe"])

# %% [markdown]
# So the recipe that everybody calls fine-tuning is a **linear probe**: it asks what the old features are worth for a new question, and it changes none of them. That is the right first step, it is cheap, and it is
# hard to break. Fine-tuning begins where pretrained weights move; see [the last few layers](last_layers.ipynb).

# %% [markdown]
# ## What you have seen
#
# - As printed, the recipe trains a head of new numbers, moves no parameter of the old network, and overwrites the statistics of every BatchNorm in it.
# - That changes most answers to old questions, and in most of ten splits costs accuracy in the new one, by a mean that they cannot tell from zero. One `eval()` before the loop spares both.
# - With it, the textbook's loop and eight lines of this lab are the same computation: equal losses, equal weights. The lab's runs the frozen part once.
#
# **What does it train, and what else does it change?** It trains a linear probe; and, unless somebody says `eval()`, it changes the network that it calls frozen.
#
# *Where this lives in the library:* `sft.linear_probe`, `sft.fit`, `sft.evaluate`, `sft.fingerprint`, `sft.analysis.answers`; the runs over seeds in `benchmarks/recipes.py`.

# %% [markdown]
# ## The same in plain PyTorch, repaired
#
# ```python
# model = models.resnet50(weights="IMAGENET1K_V1").requires_grad_(False)
# model.fc = nn.Linear(2048, 10)
# model.eval()                                       # and never model.train(), or say eval() after it
# optimizer = optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
# for epoch in range(10):
#     for images, labels in loader:
#         loss = nn.functional.cross_entropy(model(images), labels)
#         optimizer.zero_grad(); loss.backward(); optimizer.step()
# with torch.no_grad():
#     right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in test_loader)
# ```

# %% [markdown]
# ## As printed, for real
#
# `sftlab run recipes/pytorch_probe -p RECIPE "as printed"` takes ResNet-50 (103 MB) and CIFAR-10 (170 MB), which are downloaded once. On a CPU that is a matter of days: a million passes of an image through ResNet-50 for the two textbook
# loops. `-p LABELS 100 -p SIZE 112 -p EPOCHS 3` makes it a matter of minutes. Two details stay different: CIFAR-10's training images that are in its test set as well, to the pixel, are left out, and images are shuffled by another generator.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `RATE` to 0.01. Which of the two recipes gains more, and is it worth choosing a rate on test images to find out?
# - **Build.** The textbook's usual repair is `model.train()` at the start of each epoch and `model.eval()` before each validation. Put both into `textbook_loop`. What still changes?
# - **Break.** Leave out `eval()` and set `BATCH` to 4. How many answers are others now, and how far does the accuracy fall?

# %% [markdown]
# ## Sources
#
# - Chilamkurthy, 2017, *Transfer Learning for Computer Vision Tutorial* (PyTorch tutorials). The recipe's best-known form; its own version does call `train()` and `eval()`.
# - He, Zhang, Ren and Sun, 2016, *Deep Residual Learning for Image Recognition*. ResNet-50.
# - Krizhevsky, 2009, *Learning Multiple Layers of Features from Tiny Images*. CIFAR-10.
# - Ioffe and Szegedy, 2015, *Batch Normalization*. What moves without a gradient.
# - Alain and Bengio, 2017, *Understanding intermediate layers using linear classifier probes*. What a probe is for.
#
# Previous: [04 Freeze](../04_freeze.ipynb). Next: [the Keras recipe](keras_dense.ipynb).
