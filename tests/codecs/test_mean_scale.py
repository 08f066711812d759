"""Hyperpriors on the shared base: means, checkerboard context, and a method of one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from nic_lightning.codecs.mean_scale import MeanScaleHyperprior
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.layers.checkerboard import CheckerboardContext, first_colour
from nic_lightning.layers.precision import in_float64
from nic_lightning.testing import check_codec


@pytest.fixture(scope="module")
def codec(make_codec) -> MeanScaleHyperprior:
    return make_codec("mean_scale", latents=6, context="checkerboard", excite=2.0)


def test_the_context_passes_the_contract(make_codec):
    config = {"width": 8, "latents": 6, "context": "checkerboard"}
    check_codec(
        make_codec("mean_scale", **config, excite=2.0),
        {"_target_": "nic_lightning.codecs.mean_scale.MeanScaleHyperprior", **config},
    )


def test_gaussians_of_the_first_colour_depend_on_no_latent():
    torch.manual_seed(0)
    context = CheckerboardContext(4, 5).double()
    features, y = torch.randn(1, 5, 6, 7, dtype=torch.float64), torch.randn(1, 4, 6, 7, dtype=torch.float64)
    first = first_colour(6, 7)
    with torch.no_grad():
        blind, seeing = (torch.cat(context(features, known), 1) for known in (torch.zeros_like(y), y * first))
    assert torch.equal(blind.masked_select(first), seeing.masked_select(first))
    assert not torch.isclose(blind.masked_select(~first), seeing.masked_select(~first)).any()


def test_latents_are_those_of_a_plain_decoder(codec, picture):
    """Position by position, in float64: the second colour around means that follow from the first."""
    (point,) = codec.operating_points
    encoded = codec.compress(picture(64, 128), point)
    y_hat, z_hat = encoded.latents["y"], encoded.latents["z"]
    y = codec.analysis(codec.pad(picture(64, 128)), point)
    features = in_float64(codec.h_s, z_hat)
    for place in range(4 * 8):
        i, j = divmod(place, 8)
        known = torch.zeros_like(y_hat)
        if (i + j) % 2:
            for a in range(max(0, i - 2), min(4, i + 3)):
                for b in range(max(0, j - 2), min(8, j + 3)):
                    known[..., a, b] = y_hat[..., a, b] * ((a + b) % 2 == 0)
        _, means = in_float64(codec.context, features, known)
        mean = (torch.round(means[0, :, i, j] * 256) / 256).float()
        torch.testing.assert_close(y_hat[0, :, i, j], torch.round(y[0, :, i, j] - mean) + mean, rtol=0, atol=0)


def test_a_cut_string_is_one_sentence(codec, picture):
    (point,) = codec.operating_points
    encoded = codec.compress(picture(64, 64), point)
    for cut in (0, 4, len(encoded.strings[1][0]) - 4):
        with pytest.raises(BitstreamError, match=r"cut|altered|ends"):
            codec.decode_image_latents([encoded.strings[0][0], encoded.strings[1][0][:cut]], (4, 4), point)


def test_scales_alone_do_not_see_signs(make_codec):
    codec = make_codec("mean_scale", latents=6, means=False)
    y = torch.randn(1, 6, 8, 8)
    assert torch.equal(codec.hyper_analysis(y), codec.hyper_analysis(-y))


@pytest.mark.parametrize("arguments", [{"context": "serial"}, {"context": "checkerboard", "means": False}])
def test_contexts_that_there_are_not(arguments):
    with pytest.raises(UserError, match=r"codec\.context is .*give none, or checkerboard with codec\.means=true"):
        MeanScaleHyperprior(4, 4, **arguments)


def test_the_method_of_the_page_keeps_every_promise():
    """The class in docs/codecs.md as it stands there, held to what every codec is held to."""
    text = (Path(__file__).parents[2] / "docs" / "codecs.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "nic_lightning_page"}
    exec(compile(block, "codecs.md", "exec"), names)
    torch.manual_seed(0)
    codec = names["Plain"](width=8, latents=6).eval()
    codec.update_tables()
    (point,) = codec.operating_points
    images = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    encoded = codec.compress(images, point)
    decoded = codec.decompress(*codec.unpack(codec.pack(codec.compress(images[:1], point), point)))
    assert decoded.shape == (1, 3, 50, 70)
    assert torch.equal(codec.decode_latents(encoded, point)["y"], encoded.latents["y"])
    codec.train()
    (output,) = codec.outputs(images)
    (output.x_hat.mean() + output.likelihoods["y"].mean() + output.likelihoods["z"].mean()).backward()
    assert all(p.grad is not None for p in codec.parameters() if p is not codec.entropy_z.quantiles)
