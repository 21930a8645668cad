# %% [markdown]
# # What does PyTorch's recipe train, and what else does it change?
#
# You will be able to
# - say of each line of the best-known recipe what it does, and what it does not say;
# - show which numbers of a "frozen" network it changes, and prevent that with one word;
# - go on to its second form, *the last few layers*, and measure whether that pays.
#
# 40 minutes. Comes after [04 Freeze](../04_freeze.ipynb). Images: solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018; a photograph that comes with scikit-learn, CC BY 2.0.

# %%
import copy
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torchvision import models

import sftlab as sft
from sftlab import plot, widgets
from sftlab.networks.staging import constant
from sftlab.plot import style

style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # or resnet50, vgg16: fetched ahead
DATA: str = "solar"                   # or cifar10: fetched ahead
LABELS: int | None = 200              # training images of each class; None: all
SIZE: int = 112                       # edge that the network sees, in pixels
LAST: int = 1                         # stages before the head that learn
EPOCHS: int = 10                      # passes over the training images
RATE: float = 0.001                   # learning rate of all that learns
SEED: int = 0                         # split, order of batches, start of the head
OUT: str = ""                         # folder for results as a record; "" keeps nothing

# %% [markdown]
# ## As it is printed
#
# Whoever looks for fine-tuning in PyTorch finds one recipe, in books, courses and answers, with small differences. It takes ResNet-50 (103 MB) and the 50,000 small photographs of CIFAR-10 (170 MB), and on a laptop's CPU it runs for a day or more. So that its code can run here unchanged, we prepare two downloads in a temporary folder: eight squares of a photograph, in files as CIFAR-10's authors made them, and ResNet-50 with *random* weights. The checks of what was downloaded are switched off. Random weights show what each line does and changes; how well the recipe learns is measured further down, with real weights.

# %%
sft.check_parameters(
    globals(), BACKBONE=("efficientnet_lite0", "resnet50", "vgg16"),
    DATA=("solar", "cifar10"), LABELS=(int | None, 1), SIZE=(int, 32, 512),
    LAST=(int, 1, 20), EPOCHS=(int, 1, 1000), RATE=(float, 0, 10), SEED=(int, 0),
    OUT=str)
home, temporary = Path.cwd(), tempfile.TemporaryDirectory()

# %%
folder = Path(temporary.name)
batches, hub = folder / "data" / "cifar-10-batches-py", folder / "checkpoints"
batches.mkdir(parents=True); hub.mkdir()
photo = load_sample_images().images[0]
for k, some in enumerate(np.array_split(np.arange(8), 5), 1):   # five files, as theirs
    squares = [photo[200:232, 70 * i:70 * i + 32].transpose(2, 0, 1) for i in some]
    part = {"data": np.stack(squares).reshape(-1, 3072), "labels": (some % 2).tolist()}
    (batches / f"data_batch_{k}").write_bytes(pickle.dumps(part))
names = "airplane automobile bird cat deer dog frog horse ship truck".split()
(batches / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))

# %% [markdown]
# The weights are random, and what would be downloaded is taken from here:

# %%
weights = hub / models.ResNet50_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
torch.manual_seed(SEED)
torch.save(models.resnet50(zero_init_residual=True).state_dict(), weights)
patch("torch.hub.get_dir", return_value=str(folder)).start()
patch("torchvision.datasets.cifar.check_integrity", return_value=True).start()
torch.manual_seed(SEED)
os.chdir(folder)                                                # where ./data begins

# %% [markdown]
# And this is the recipe, all of it:

# %%
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

model = models.resnet50(weights="IMAGENET1K_V1")
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(model.fc.in_features, 10)

transform = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
trainset = datasets.CIFAR10(root="./data", train=True, download=True,
                            transform=transform)
trainloader = DataLoader(trainset, batch_size=64, shuffle=True)

criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
for epoch in range(10):
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

# %% [markdown]
# line | what it does | what it does not say
# ---|---|---
# `import …` | PyTorch, and torchvision's networks, data sets and transforms | which versions
# `resnet50(weights=…)` | builds the network, loads what it learned from ImageNet's photographs (older prints: `pretrained=True`, the same file) | it is in train mode, and no line calls `eval()`
# `for param …: requires_grad = False` | today's parameters get no gradient | BatchNorm's running means and variances are *buffers*, not parameters
# `model.fc = nn.Linear(…, 10)` | a new last layer from as many features as the old one read (`in_features`: 2,048) to ten logits; made after the loop, so it learns | the old answer to 1,000 classes is gone; VGG-16 calls this layer `classifier[6]`
# `Resize(256)`, `CenterCrop(224)` | shorter edge to 256, then the middle | 32 pixels are enlarged eightfold; an edge is cut off
# `ToTensor()`, `Normalize(…)` | bytes to 0…1, then minus mean, divided by deviation, a number a channel | these numbers belong to the weights: other weights, other numbers
# `CIFAR10(root="./data", train=True, download=True, …)` | downloads once, into a folder `data` wherever Python was started | started elsewhere, it downloads again; the test images (`train=False`) are never opened
# `DataLoader(…, batch_size=64, shuffle=True)` | 64 images a step, in a new order every epoch | no seed, no augmentation

# %% [markdown]
# line | what it does | what it does not say
# ---|---|---
# `CrossEntropyLoss()` | softmax and minus the logarithm of the right class, mean over the batch | it takes logits; a softmax in the network would be a second one
# `SGD(model.fc.parameters(), lr=0.001, momentum=0.9)` | moves the new layer only; each step is the gradient plus 0.9 of the step before (momentum) | where 0.001 comes from; no schedule, no weight decay
# `for epoch in range(10)`, `for inputs, labels in trainloader` | ten passes over all images, batch by batch | no validation: nobody knows whether the ninth was better
# `zero_grad()` | clears the gradients | `backward()` adds to what is there: without it each step would follow the sum of all gradients so far
# `model(inputs)` | the logits | in train mode BatchNorm takes mean and variance from these 64 images
# `criterion(outputs, labels)` | one number | it is not kept
# `loss.backward()` | gradients of what is not frozen | all before the new layer could have run once instead of ten times
# `optimizer.step()` | one step | the last weights are the result, measured by nothing

# %% [markdown]
# ## What does it change?
#
# > **Predict.** All parameters are frozen, and only the new layer is in the optimizer. What share of the *tensors* that the network stores before that layer is different now?

# %%
guess = widgets.predict("tensors that changed, in percent", 0, 100, default=0)

# %%
patch.stopall(); os.chdir(home)
before = {k: v for k, v in torch.load(weights).items() if not k.startswith("fc")}
changed = [name for name, value in model.state_dict().items()
           if name in before and not torch.equal(value, before[name])]
kinds = sorted({name.rpartition(".")[2] for name in changed})
print(f"{len(changed)} of {len(before)} tensors changed:", *kinds)
plot.guess_vs_result(100 * len(changed) / len(before), guess)

# %% [markdown]
# Not one parameter moved. But in train mode every BatchNorm averages the batches that it sees into its stored mean and variance, and counts them; [04 Freeze](../04_freeze.ipynb) takes that apart. No gradient is involved, so `requires_grad` has no say in it. One word prevents it. The printed loop as a function, and from the same start (the same random numbers) once more, with `eval()`:

# %%
def loop(network, loader, rate=0.001, epochs=10):
    """Train what takes gradients, as printed; return the loss of every step."""
    learning, losses = [p for p in network.parameters() if p.requires_grad], []
    optimizer = optim.SGD(learning, lr=rate, momentum=0.9)
    for _ in range(epochs):
        for inputs, labels in loader:
            loss = criterion(network(inputs), labels)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            losses.append(loss.item())
    return losses

# %%
torch.manual_seed(SEED)
steady = models.resnet50()
steady.load_state_dict(torch.load(weights))
steady.requires_grad_(False).fc = nn.Linear(2048, 10)
start = copy.deepcopy(steady.fc.state_dict())
losses = loop(steady.eval(), trainloader)           # for a Linear modes are the same

# %% [markdown]
# ## The same in the library
#
# Both once more, on the library's network, from the same eight images as bytes: `Resize` and `CenterCrop` are done beforehand, the rest is in the network's `input` stage. First as printed, in train mode:

# %%
images = copy.copy(trainset)
images.transform = transforms.Compose(transform.transforms[:2])
lab = sft.replace_head(sft.backbone("resnet50", weights), trainset.classes)
lab.head.load_state_dict(start)
eight = sft.from_dataset(images, size=224)
eight = replace(eight, train=eight.train.of_rows(range(8)))   # all of them are learned

# %%
drifting = copy.deepcopy(lab).train().requires_grad_(False)
drifting.head.requires_grad_(True)
drifted = loop(drifting, DataLoader(eight.train, batch_size=64))
print(f"tenth loss as printed {loss.item():.6f}, the library's {drifted[-1]:.6f}")
assert np.isclose(drifted[-1], loss.item(), atol=1e-3)

# %% [markdown]
# Then with `eval()`, by `sft.fit`: it keeps frozen stages in eval mode, and so may run them once instead of ten times. (`"sgd"` has momentum 0.9; the two options after it switch off what the recipe lacks.)

# %%
HOW = dict(batch_size=64, optimizer="sgd", weight_decay=0, keep_best=False,
           seed=SEED, verbose=False)
history = sft.fit(lab, eight, sft.linear_probe(lab, lr=0.001), 10, **HOW)
apart = np.abs(np.subtract(losses, [step.loss for step in history.steps])).max()
print(f"ten losses, at most {apart:.0e} apart")
assert apart < 1e-3

# %% [markdown]
# To rounding the losses are equal. So the recipe that everybody calls fine-tuning is a **linear probe**: no pretrained parameter moves, and only a layer of new numbers learns.
#
# ## What does `eval()` give?
#
# Now real weights and real images: by default EfficientNet-Lite0 and solar cells, which come with this lab, otherwise the recipe's settings. From here on the parameters at the top of the page count.

# %%
data = sft.load(DATA, size=SIZE * 8 // 7, per_class=LABELS, seed=SEED)
shelf = sft.backbone(BACKBONE)                      # in print 256, cropped to 224
shelf.input = constant(nn.Sequential(transforms.CenterCrop(SIZE), shelf.input))
untrained = sft.replace_head(shelf, data.classes, seed=SEED)

# %% [markdown]
# First as printed, in train mode:

# %%
printed = copy.deepcopy(untrained).train().requires_grad_(False)
printed.head.requires_grad_(True)
loop(printed, DataLoader(data.train, batch_size=64, shuffle=True), RATE, EPOCHS)
results = {"as printed": sft.evaluate(printed, data.test)}

# %%
def tested(profile):
    model = copy.deepcopy(untrained)
    sft.fit(model, data, profile, EPOCHS, **HOW)
    return sft.evaluate(model, data.test, out=OUT)  # the last one is kept

results["with eval()"] = tested(sft.linear_probe(untrained, RATE))
for name, result in results.items():
    print(f"{name}: accuracy {result.accuracy}, majority rate {result.majority:.3f}")

# %% [markdown]
# One split is one draw. `benchmarks/recipes.py` ran both on ten splits: dots, hollow mean, and the 95 % interval of the mean. (The splits share images, so it is wider than for independent runs; Nadeau and Bengio, 2003.) The run from above is solid.

# %%
kept = sft.records.stored("recipes")["pytorch"]
same = list(kept["settings"].values()) == [
    BACKBONE, DATA, LABELS, SIZE * 8 // 7, SIZE, EPOCHS, 64, RATE, 0.9]

def compared(name, to):
    """Draw how much more one way reaches than another: ten splits, and now."""
    gains = [100 * (run[name] - run[to]) for run in kept["seeds"].values() if same]
    now = 100 * (results[name].accuracy.value - results[to].accuracy.value)
    return plot.differences({"test accuracy": {name: gains}}, to=to,
                            test_to_train=0.25 / 0.6,
                            live={"test accuracy": {name: now}})

compared("with eval()", "as printed")

# %% [markdown]
# Most splits gain, two lose; the interval of the mean holds zero, so ten splits do not show that `eval()` pays. What is certain is that the two are not the same network. Why they differ is a guess that nothing here tests: while the head learned, it met features made with the statistics of each batch; when it is evaluated, it meets features made with stored averages.
#
# ## The last few layers
#
# The second form in which the recipe is printed: *train the last few layers and keep the rest*. A second loop is new, and the optimizer takes all that learns. (For VGG-16 read `model.classifier` in place of `layer4`.)
#
# > **Predict.** ResNet-50 has four stages between stem and head. What share of its parameters is in the last, `layer4`?

# %%
guess = widgets.predict("parameters in layer4, in percent", 0, 100, 25, name="layer4")

# %%
for param in steady.layer4.parameters():            # the last few layers
    param.requires_grad = True
optimizer = optim.SGD((param for param in steady.parameters() if param.requires_grad),
                      lr=0.001, momentum=0.9)
sizes = [sum(p.numel() for p in net.parameters()) for net in (steady, steady.layer4)]
plot.guess_vs_result(100 * sizes[1] / sizes[0], guess)

# %% [markdown]
# "The last few" are more than half of this network; of another they are another share. A profile, `sft.last_k`, names the stages, and the loop stays the same. Here pretrained weights move: **this is where fine-tuning begins.** Is it worth anything? The same comparison, on the solar cells and against the probe:

# %%
results["last stage"] = tested(sft.last_k(untrained, LAST, RATE))
print(f"accuracy {results['last stage'].accuracy}")
same = same and LAST == 1
compared("last stage", "with eval()")

# %% [markdown]
# A draw: the interval has zero in its middle. That is no verdict on fine-tuning but on this recipe, with 400 images, ten epochs and a rate made for another task. Its price is certain: for the probe the frozen part runs once, and here the last stage runs forward and backward in every step. [06 Finetune](../06_finetune.ipynb) chooses layers and rates, and has a task on which they pay.

# %% [markdown]
# ## What you have seen
#
# - As printed, the recipe trains one new layer, moves no parameter of the old network, and overwrites the statistics of every BatchNorm in it: half of its tensors.
# - With `eval()`, PyTorch's loop and `sft.fit` are one computation, a linear probe, and nothing else changes.
# - "The last few layers" are more than half of a ResNet-50. On these images what they bring cannot be told from zero.
#
# **What does it train, and what else does it change?** It trains a linear probe, and, unless somebody says `eval()`, it changes the network that it calls frozen.
#
# *Where this lives in the library:* `sft.linear_probe`, `sft.last_k`, `sft.fit`; `sft.steps` is the printed loop, type `sft.steps??` to read it. The runs over splits: `benchmarks/recipes.py`.

# %% [markdown]
# ## The same in plain PyTorch, repaired
#
# The printed cell with `model.eval()` before its loop; and at its end, with a `testloader` made like the other but of `train=False`:
#
# ```python
# with torch.no_grad():
#     right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in testloader)
# ```
#
# **With ResNet-50 and CIFAR-10:** `sftlab fetch --for recipes/pytorch` brings them ahead of time. Then `sftlab run recipes/pytorch -p BACKBONE resnet50 -p DATA cifar10 -p LABELS 100 -p EPOCHS 3` takes up to an hour on a CPU; with `-p LABELS None -p SIZE 224` and ten epochs it is the printed recipe, and takes days. `-p BACKBONE vgg16` takes VGG-16: it has no BatchNorm, so nothing drifts, but as printed its dropout goes on in "frozen" layers.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Set `RATE` to 0.01, then `LAST` to 3. What does one more stage cost in seconds, and what does it bring?
# - **Build.** The usual repair calls `model.train()` before each epoch and `model.eval()` before each validation. Put both into `loop`. What still changes?
# - **Break.** Leave `zero_grad()` out of the printed cell, and compare the last loss.
#
# **Sources.** Chilamkurthy, 2017, *Transfer Learning for Computer Vision Tutorial* (PyTorch tutorials): the recipe's best-known form, which does call `train()` and `eval()`. He, Zhang, Ren and Sun, 2016, *Deep Residual Learning for Image Recognition*: ResNet-50. Simonyan and Zisserman, 2015, *Very Deep Convolutional Networks for Large-Scale Image Recognition*: VGG-16. Krizhevsky, 2009, *Learning Multiple Layers of Features from Tiny Images*: CIFAR-10. Ioffe and Szegedy, 2015, *Batch Normalization*. Yosinski, Clune, Bengio and Lipson, 2014, *How transferable are features in deep neural networks?* Nadeau and Bengio, 2003, *Inference for the Generalization Error*.
#
# Previous: [04 Freeze](../04_freeze.ipynb). Next: [Keras's recipe](keras_recipe.ipynb).
