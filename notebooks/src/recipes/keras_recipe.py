# %% [markdown]
# # What does Keras's recipe get right by itself, and what does it leave out?
#
# You will be able to
# - say of each line of the best-known Keras recipe what it does, and what it does not say;
# - compute the same in PyTorch, down to the start of its weights and the small print of its Adam;
# - say why its softmax belongs into the loss, and what a forgotten preprocessing costs.
#
# 35 minutes. Comes after [PyTorch's recipe](pytorch_recipe.ipynb). Images: words drawn with matplotlib's fonts; solar cells, CC BY-NC-SA 4.0, Buerhop-Lutz et al. 2018, behind stored numbers; a photograph that comes with scikit-learn, CC BY 2.0.

# %%
import importlib
import os
import pickle
import sys
import tempfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn

import sftlab as sft
from sftlab import plot, widgets

plot.style.use()

# %% tags=["parameters"]
BACKBONE: str = "efficientnet_lite0"  # or resnet50, vgg16: fetched ahead
DATA: str = "typefaces"               # or cifar10: fetched ahead
LABELS: int | None = 60               # training images of each class; None: all
SIZE: int = 64                        # edge of the images in pixels
EPOCHS: int = 10                      # passes over the training images
SEED: int = 0                         # split, order of batches, start of the new layers
OUT: str = ""                         # folder for results as a record; "" keeps nothing

# %% [markdown]
# ## As it is printed
#
# The other recipe that is printed everywhere comes from Keras. Since version 3 Keras computes with TensorFlow, JAX or PyTorch; `tf.keras` is the same package. Here it computes with PyTorch (`pip install -e ".[keras]"`), under the name that is printed. Where it is not installed, a stand-in that does nothing lets the printed cell pass, and stored losses are shown. As in [PyTorch's recipe](pytorch_recipe.ipynb), one cell prepares the downloads: eight squares of a photograph in a file as CIFAR-10's authors made theirs, read into the arrays whose making no print shows, and ResNet-50 with random weights. (Its first weights are made small, because nothing scales the bytes.)

# %%
sft.check_parameters(
    globals(), BACKBONE=("efficientnet_lite0", "resnet50", "vgg16"),
    DATA=("typefaces", "cifar10"), LABELS=(int | None, 1), SIZE=(int, 32, 512),
    EPOCHS=(int, 1, 1000), SEED=(int, 0), OUT=str)
os.environ["KERAS_BACKEND"] = "torch"
KERAS = importlib.util.find_spec("keras") is not None

# %%
temporary, photo = tempfile.TemporaryDirectory(), load_sample_images().images[0]
batch, file = (f"{temporary.name}/{name}" for name in ("data_batch_1", "r.weights.h5"))
squares = [photo[200:232, 70 * i:70 * i + 32].transpose(2, 0, 1) for i in range(8)]
part = {b"data": np.stack(squares).reshape(-1, 3072), b"labels": [0, 1] * 4}
Path(batch).write_bytes(pickle.dumps(part))
part, num_classes = pickle.loads(Path(batch).read_bytes()), 10
x_train = part[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
x_train = x_train.repeat(7, axis=1).repeat(7, axis=2)           # 32 to 224 pixels
y_train = np.eye(num_classes)[part[b"labels"]]                  # one-hot rows
for name in ("applications", "layers", "models"):
    module = importlib.import_module(f"keras.{name}") if KERAS else MagicMock()
    sys.modules[f"tensorflow.keras.{name}"] = module
if KERAS:
    import keras
    keras.utils.set_random_seed(SEED)
    random = keras.applications.ResNet50(weights=None, include_top=False)
    random.layers[2].kernel.assign(random.layers[2].kernel / 10_000)
    random.save_weights(file)
    patch("keras.src.utils.file_utils.get_file", lambda *_, **__: file).start()

# %% [markdown]
# And this is the recipe, all of it:

# %%
from tensorflow.keras.applications import ResNet50
from tensorflow.keras.layers import Dense, GlobalAveragePooling2D
from tensorflow.keras.models import Model

base_model = ResNet50(weights="imagenet", include_top=False, input_shape=(224, 224, 3))
x = base_model.output
x = GlobalAveragePooling2D()(x)
x = Dense(1024, activation="relu")(x)
predictions = Dense(num_classes, activation="softmax")(x)
model = Model(inputs=base_model.input, outputs=predictions)

for layer in base_model.layers:
    layer.trainable = False

model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=10)

# %% [markdown]
# line | what it does | what it does not say
# ---|---|---
# `from … import …` | network, layers, model | version and backend
# `ResNet50(weights="imagenet", include_top=False, …)` | ImageNet's network without its pooling and 1,000 classes | its weights were learned on blue, green, red minus their means: `preprocess_input` makes that, and no line calls it
# `base_model.output`, `GlobalAveragePooling2D()` | the mean of each of 2,048 maps | where something stood is lost
# `Dense(1024, activation="relu")` | a new layer of 2.1 million numbers | is it needed? ([02 Head](../02_head.ipynb))
# `Dense(num_classes, activation="softmax")` | one probability a class | the loss needs their logarithms
# `Model(inputs=…, outputs=…)` | both as one network | the base is shared, not copied
# `layer.trainable = False` | no gradient, *and* BatchNorm keeps its stored statistics, during `fit` too | after each change one has to compile again
# `compile(…)` | Adam; $-\ln q$ of the right class, from one-hot rows; accuracy | the rate 0.001, and Adam's ε
# `fit(x_train, y_train, epochs=10)` | ten passes in batches of 32, shuffled anew | where the arrays come from; no validation: the accuracy shown is that of images being learned
#
# > **Predict.** PyTorch's recipe changed 159 of the 318 tensors of its frozen ResNet-50. Keras's has 318 as well. How many are others now?

# %%
guess = widgets.predict("tensors of the base that changed", 0, 318, default=159)

# %%
patch.stopall()
pairs = list(zip(base_model.get_weights(), random.get_weights())) if KERAS else []
changed = sum(not np.array_equal(now, then) for now, then in pairs)
print(f"{changed} of {len(pairs) or '318 (stored)'} tensors of the base changed")
plot.guess_vs_result(changed, guess, high=318, unit="tensors")

# %% [markdown]
# None. One line looks alike in two libraries and means two things: since TensorFlow 2 a BatchNorm that is not trainable is a constant function. In PyTorch that takes `requires_grad = False` *and* `eval()`.
#
# ## The same in PyTorch
#
# Three things stand in no line. **The start:** Keras draws a Dense layer's weights from $U(-a, a)$ with $a = \sqrt{6 / (n_{in} + n_{out})}$ (Glorot and Bengio, 2010; in PyTorch `nn.init.xavier_uniform_`) and sets biases to 0. **The loss:** softmax, then the logarithm. **Adam:** PyTorch divides by $\sqrt{v / (1-\beta_2^t)} + \epsilon$ with $\epsilon = 10^{-8}$; Keras corrects the rate instead and divides by $\sqrt{v} + \epsilon$ with $\epsilon = 10^{-7}$, in the first step 300 times PyTorch's. By hand:

# %%
class KerasAdam(torch.optim.Optimizer):
    """Adam as in Keras (Kingma and Ba, 2015, the form at the end of section 2)."""

    def __init__(self, groups, eps=1e-7):
        super().__init__(groups, dict(lr=0.001, eps=eps))

    @torch.no_grad()
    def step(self, b1=0.9, b2=0.999):
        for group in self.param_groups:
            for w in group["params"]:
                t, m, v = self.state[w].get("tmv", (1, 0 * w, 0 * w))
                m.lerp_(w.grad, 1 - b1)                 # m + (g − m)(1 − β₁)
                v.lerp_(w.grad ** 2, 1 - b2)
                rate = group["lr"] * (1 - b2 ** t) ** 0.5 / (1 - b1 ** t)
                w.addcdiv_(m, v.sqrt() + group["eps"], value=-rate)
                self.state[w]["tmv"] = t + 1, m, v

# %%
RAW = sft.Input((0, 0, 0), (1 / 255,) * 3)              # bytes stay bytes
HOW = dict(optimizer=KerasAdam, weight_decay=0, keep_best=False, seed=SEED,
           verbose=False)

# %% [markdown]
# With PyTorch below it, a Keras network is a module, and so it can be a stage of ours: bytes as they are, Keras's base (which wants the channels last), the hidden layer, logits. A Keras initializer gives the same numbers as often as it is asked, so both sides start at one point.

# %%
def top(features, classes):
    """Return the recipe's new layers, started as Keras does."""
    new = OrderedDict(hidden=nn.Sequential(nn.Linear(features, 1024), nn.ReLU()),
                      head=nn.Linear(1024, classes))
    for layer in (new["hidden"][0], new["head"]):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return new

# %%
STORED = [2.303, 2.286, 2.271, 2.255, 2.238, 2.219, 2.198, 2.176, 2.152, 2.126]
printed = ours = STORED                                 # Keras 3.15.1, SEED = 0
if KERAS:
    eight = sft.from_arrays(x_train, part[b"labels"], classes=list("0123456789"))
    eight = replace(eight, train=eight.train.of_rows(range(8)))
    base = keras.Sequential([
        keras.Input((3, 224, 224)), keras.layers.Permute((2, 3, 1)), base_model,
        GlobalAveragePooling2D()])
    lab = nn.Sequential(OrderedDict(input=RAW, base=base, **top(2048, num_classes)))
    for mine, theirs in zip((lab.hidden[0], lab.head), model.layers[-2:]):
        mine.weight.data = theirs.kernel_initializer(theirs.kernel.shape).T
    history = sft.fit(lab, eight, sft.linear_probe(lab, lr=0.001), 10, **HOW)
    printed, ours = model.history.history["loss"], [s.loss for s in history.steps]
apart = np.abs(np.subtract(printed, ours)).max()
print(f"loss {printed[0]:.4f} → {printed[-1]:.4f}", f"{apart:.0e} apart" * KERAS)
assert apart < 1e-3

# %% [markdown]
# To rounding they are one computation: in this lab's words a **linear probe** with a hidden layer. No pretrained weight moves.
#
# ## Where does the softmax go?
#
# Keras puts it into the network. PyTorch's `cross_entropy` takes logits and contains it. Who translates the network line by line, softmax included, applies it twice, and nothing complains.
#
# > **Predict.** A network with softmax at its end that is perfectly sure and always right answers (1, 0, …) for nine classes. What does PyTorch's `cross_entropy` make of that? It should be 0.

# %%
guess = widgets.predict("loss of a perfect answer", 0, 2.5, 0, step=0.05, name="nats")

# %%
floor = nn.functional.cross_entropy(torch.eye(9)[:1], torch.tensor([0])).item()
assert np.isclose(floor, np.log(1 + 8 / np.e))
plot.guess_vs_result(floor, guess, high=2.5, unit="nats")

# %% [markdown]
# No training brings that loss below $\ln(1 + (C-1)/e)$ for $C$ classes. (Folded into the loss, as in PyTorch, the softmax is never rounded to 0. Keras with PyTorch below it takes the logarithm of probabilities, and clips them at 1e-7 first; with TensorFlow it looks behind the softmax.)
#
# ## What does a mistake cost?
#
# Three mistakes of translation, a second softmax, bytes where the weights expect −1 to 1, and a mean that is not subtracted, on ten splits of the solar cells (`benchmarks/recipes.py`), against the recipe as it should be. As many training cells are broken as intact, and not as many test cells, so this is the area under the ROC curve, which knows no threshold.

# %%
kept = sft.records.stored("recipes")["keras"]["seeds"].values()
lost = {name: {"lost": [100 * (run[name] - run["as it should be"]) for run in kept]}
        for name in ("softmax twice", "bytes", "mean left out")}
plot.differences(lost, to="the right recipe", test_to_train=0.25 / 0.6,
                 unit="points of area under the ROC curve")

# %% [markdown]
# Bytes cost something on each of the ten splits, though the interval of the mean, as wide as splits that share images need it, just holds zero. The second softmax ruins three and hardly touches the others, so its mean says little: a mistake that hurts only sometimes is found late, unless one knows the floor. What the missing mean alone costs cannot be told from zero.
#
# ## A task that it learns
#
# Last, the recipe on real weights, with the preprocessing that belongs to them, and another task, the typefaces of [06 Finetune](../06_finetune.ipynb): nine families, words that training does not have.

# %%
data = sft.load(DATA, size=SIZE, per_class=LABELS, seed=SEED)

# %% [markdown]
# The stages before the pooling, then the recipe's layers:

# %%
torch.manual_seed(SEED)
stages = dict(sft.backbone(BACKBONE).named_children())
base = OrderedDict(list(stages.items())[:list(stages).index("pool")])
base["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
width = nn.Sequential(base).eval()(data.train.pixels(np.arange(1))).shape[1]
net = nn.Sequential(OrderedDict(base | top(width, len(data.classes))))

# %%
sft.fit(net, data, sft.linear_probe(net, lr=0.001), EPOCHS, **HOW)
result = sft.evaluate(net, data.test, out=OUT)
print(f"accuracy {result.accuracy}, majority rate {result.majority:.3f}")

# %% [markdown]
# It clears the majority rate by far.
#
# ## What you have seen
#
# - In Keras a frozen BatchNorm is a constant function; in PyTorch it takes `eval()` as well. This recipe gets right by itself what the other gets wrong.
# - Softmax belongs into the loss: applied twice, it gives the loss a floor, and some runs collapse.
# - With its start, its Adam and its loss written out, it is the same computation as a linear probe with a hidden layer.
#
# **What does it get right, and what does it leave out?** It freezes properly, and it says nothing of what the images must look like, which belongs to the weights.
#
# *Where this lives in the library:* `sft.replace_head(…, hidden=1024)`, `sft.linear_probe`, `sft.fit(…, optimizer=…)`, `sft.Input`; type `sft.Input??` to read it.

# %% [markdown]
# ## The same in plain PyTorch
#
# ```python
# base = models.resnet50(weights="IMAGENET1K_V1").requires_grad_(False).eval()
# base.fc = nn.Identity()
# top = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, num_classes))
# optimizer = torch.optim.Adam(top.parameters(), lr=0.001, eps=1e-7)
# for epoch in range(10):
#     for x, y in loader:                             # batches of 32, shuffled
#         loss = nn.functional.cross_entropy(top(base(x)), y)
#         optimizer.zero_grad(); loss.backward(); optimizer.step()
# ```
#
# Two things differ from Keras: its ResNet-50 has the weights of 2015, torchvision's was trained anew, with the stride of a block in another convolution. **With ResNet-50 and CIFAR-10:** `sftlab fetch --for recipes/keras`, then `sftlab run recipes/keras -p BACKBONE resnet50 -p DATA cifar10 -p LABELS 100 -p SIZE 112`.

# %% [markdown]
# ## Try it
#
# - **Tweak.** Give `KerasAdam` PyTorch's ε. How many of the test answers are others?
# - **Build.** Print `preprocess_input` into the recipe's cell. Which line of it would be wrong for EfficientNet-Lite0?
# - **Break.** Set `layer.trainable = False` after `compile`. What does Keras say, and what changes?
#
# **Sources.** Chollet, 2020, *Transfer learning and fine-tuning* (Keras guides): the recipe's best-known form, and what a frozen BatchNorm does. Glorot and Bengio, 2010, *Understanding the difficulty of training deep feedforward neural networks*: the start. Kingma and Ba, 2015, *Adam: A Method for Stochastic Optimization*: both forms of the small print. Lin, Chen and Yan, 2014, *Network In Network*: global average pooling.
#
# Previous: [PyTorch's recipe](pytorch_recipe.ipynb). Next: [06 Finetune](../06_finetune.ipynb).
