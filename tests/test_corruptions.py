"""Corruptions: what a worse camera does to an image, against scipy's and torchvision's own, and in an exact number."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import adjust_contrast

from sftlab.data import View, blur, darken, fade, noise

EACH = {"noise": noise(0.2), "blur": blur(1), "darken": darken(0.4), "fade": fade(0.6)}


def images(n=4, channels=3, size=12):
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=draw(7))


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_comes_back_is_as_what_went_in_which_is_left_alone(name, channels):
    x = images(channels=channels)
    before = x.clone()
    seen = EACH[name](x, draw())
    assert seen.shape == x.shape and seen.dtype == torch.uint8
    assert torch.equal(x, before) and not torch.equal(seen, before)
    assert name == "noise" or torch.equal(seen[2:3], EACH[name](x[2:3], draw())), "whatever the other images are"


@pytest.mark.parametrize("kind", [noise, blur, darken, fade])
def test_strength_nought_changes_nothing(kind):
    assert torch.equal(kind(0)(images(), draw()), images())


@pytest.mark.parametrize("pixels", [0.3, 0.8, 1.5])
def test_blur_is_the_normal_filter_of_scipy(pixels):
    from scipy.ndimage import gaussian_filter

    x = images(channels=2, size=16)
    reach = math.ceil(3 * pixels)
    expected = gaussian_filter(x.numpy().astype(float), pixels, mode="nearest", radius=reach, axes=(2, 3))
    off = np.abs(blur(pixels)(x, draw()).numpy() - expected)
    assert off.max() < 0.51  # rounded to whole grey values, and nothing else


def test_noise_has_the_standard_deviation_it_is_told_and_no_bias():
    grey = torch.full((50, 1, 64, 64), 128, dtype=torch.uint8)
    added = noise(0.1)(grey, draw()).double() - 128
    n = added.numel()  # a standard deviation from n draws is right to σ / √2n, a mean to σ / √n; rounding adds 1/12
    sigma = math.sqrt((0.1 * 255) ** 2 + 1 / 12)
    assert float(added.std()) == pytest.approx(sigma, abs=5 * sigma / math.sqrt(2 * n))
    assert float(added.mean()) == pytest.approx(0, abs=5 * sigma / math.sqrt(n))


def test_noise_differs_from_pixel_to_pixel_channel_to_channel_and_image_to_image():
    added = noise(0.1)(torch.full((2, 3, 32, 32), 128, dtype=torch.uint8), draw()).double() - 128
    apart = torch.corrcoef(added.reshape(6, -1)) - torch.eye(6)
    assert apart.abs().max() < 5 / 32


def test_noise_beyond_black_and_white_is_cut_off_not_wrapped():
    white = noise(0.1)(torch.full((1, 1, 64, 64), 255, dtype=torch.uint8), draw())
    assert white.max() == 255 and float((white == 255).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert white.min() > 255 * (1 - 0.1 * 6)  # six standard deviations below white; what wraps would be black


def test_darken_leaves_the_share_of_light_that_is_not_taken():
    x = images()
    assert torch.equal(darken(0.4)(x, draw()), (x.double() * 0.6).round().to(torch.uint8))


def test_fade_keeps_the_mean_of_each_image_and_a_share_of_its_contrast_as_torchvision_s_does():
    x = images(size=32)
    seen = fade(0.75)(x, draw()).double()
    assert torch.allclose(seen.mean(dim=(1, 2, 3)), x.double().mean(dim=(1, 2, 3)), atol=0.15)  # ⅛ from rounding
    shares = seen.std(dim=(1, 2, 3)) / x.double().std(dim=(1, 2, 3))
    assert torch.allclose(shares, torch.full((4,), 0.25, dtype=torch.double), atol=0.002)
    grey = images(channels=1)
    expected = torch.stack([adjust_contrast(image, 0.3) for image in grey])
    assert (fade(0.7)(grey, draw()).int() - expected.int()).abs().max() <= 1  # torchvision cuts, ours rounds
    red = torch.tensor([240, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert fade(0.5)(red, draw())[0, :, 0, 0].tolist() == [160, 40, 40]  # half way to the grey of the same mean, 80


@pytest.mark.parametrize("kind", [noise, blur, darken, fade])
@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
def test_a_strength_that_cannot_be_is_refused_with_what_could(kind, strength):
    with pytest.raises(ValueError, match=r"a number from 0 .*; 0 changes nothing"):
        kind(strength)
    if kind in (darken, fade):
        with pytest.raises(ValueError, match=r"strength=1: a number from 0 to below 1"):
            kind(1)


@pytest.mark.parametrize("name", EACH)
def test_a_view_of_a_corruption_is_the_same_each_time_and_another_one_for_another_seed(blobs, name):
    def view(seed):
        return View(blobs.valid, EACH[name], seed, 1).pixels(np.arange(6))

    assert torch.equal(view(0), view(0))
    assert torch.equal(view(0), view(1)) == (name != "noise")  # chance is in the noise alone
