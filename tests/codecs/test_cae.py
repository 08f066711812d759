from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nic_lightning.codecs.cae import AnalysisTransform, CompressiveAutoencoder, SynthesisTransform
from nic_lightning.errors import UserError


def count(module: torch.nn.Module) -> int:
    """Parameters, entropy models left out."""
    return sum(p.numel() for n, p in module.named_parameters() if not n.startswith("entropy_"))


@pytest.mark.parametrize("width", [48, 72, 96, 144, 192])
def test_parameters_follow_the_formula(width):
    with torch.device("meta"):
        codec = CompressiveAutoencoder(width)
    assert count(codec) == 106 * width**2 + 496 * width + 3


def test_parameters_of_the_thesis():
    with torch.device("meta"):
        codec = CompressiveAutoencoder(192)
        assert count(AnalysisTransform(192)) == 2_001_408
        assert count(SynthesisTransform(192)) == 2_001_411
    assert count(codec) == 4_002_819
    assert sum(p.numel() for p in codec.parameters()) == 4_002_819 + 8_832
    assert round(7 * count(codec) / 1e6, 2) == 28.02


@pytest.mark.parametrize(("width", "megaflops"), [(192, 37_654), (48, 3_213)])
def test_operations_of_the_thesis(width, megaflops):
    with torch.device("meta"):
        encoder, decoder = AnalysisTransform(width), SynthesisTransform(width)
        x = torch.empty(1, 3, 512, 768)
    totals = []
    with torch.no_grad():
        for module, inputs in ((encoder, x), (decoder, torch.empty(1, width, 32, 48, device="meta"))):
            with FlopCounterMode(display=False) as counter:
                outputs = module(inputs)
            totals.append(counter.get_total_flops())
    assert outputs.shape == x.shape
    assert totals[0] == totals[1]
    assert round(sum(totals) / 1e6) == megaflops


def test_latents_are_a_sixteenth_and_pass_gdn():
    codec = CompressiveAutoencoder(6)
    y = codec.analysis(torch.rand(1, 3, 64, 96), codec.operating_points[0])
    assert y.shape == (1, 6, 4, 6)
    # GDN after the last convolution bounds every latent by gamma^(-1/2).
    assert codec.analysis(1e4 * torch.rand(1, 3, 64, 96), codec.operating_points[0]).abs().max() < 0.1**-0.5 + 1e-3


def test_layers_have_the_released_codes_biases():
    codec = CompressiveAutoencoder(4)
    assert [layer.bias is not None for layer in codec.g_a.convs] == [True, True, False]
    assert [layer.bias is not None for layer in codec.g_s.deconvs] == [True, True, True]
    assert [gdn.inverse for gdn in [*codec.g_a.gdns, *codec.g_s.gdns]] == [False] * 3 + [True] * 3


def test_fourier_kernels_keep_counts_and_files(make_codec, picture):
    with torch.device("meta"):
        plain = CompressiveAutoencoder(8)
    codec = make_codec("cae", kernel_param="rdft", excite=1.0)
    assert count(codec) == count(plain)
    x, point = picture(33, 40), codec.operating_points[0]
    encoded, named = codec.unpack(codec.pack(codec.compress(x, point), point))
    assert torch.equal(codec.decompress(encoded, named), codec(x, point).x_hat.clamp(0, 1))


def test_an_unknown_kernel_parameterisation():
    with pytest.raises(UserError, match="direct or rdft"):
        CompressiveAutoencoder(4, kernel_param="dft")


def test_one_point_takes_no_bytes():
    codec = CompressiveAutoencoder(4, lmbda=512)
    (point,) = codec.operating_points
    assert (point.lmbda, point.label, codec.point_to_bytes(point)) == (512.0, "512", b"")
    assert codec.point_from_bytes(b"") == point
    assert codec.point("512") == point
    with pytest.raises(UserError, match="there is only 512"):
        codec.point("513")
    with pytest.raises(UserError, match="not continuous"):
        codec.point_at(512.0)
