from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.hyperprior import ScaleHyperprior
from nic_lightning.errors import BitstreamError, UserError


def count(codec: torch.nn.Module) -> int:
    return sum(p.numel() for n, p in codec.named_parameters() if not n.startswith("entropy_"))


def test_parameters_of_the_thesis():
    with torch.device("meta"):
        single = ScaleHyperprior(192)
        modulated = ScaleHyperprior(192, lambdas=[64, 256, 1024, 4096], modulated=True)
    assert count(single) == 10_132_995
    assert round(4 * count(single) / 1e6, 2) == 40.53
    assert count(modulated) == 10_271_483


def test_several_lambdas_need_modulation():
    with pytest.raises(UserError, match="modulated"):
        ScaleHyperprior(4, lambdas=[64, 256])


def test_side_information_is_a_quarter_of_the_latents(make_codec, picture):
    codec = make_codec("modulated_hyperprior")
    output = codec(picture(100, 65), codec.operating_points[0])
    assert output.y.shape[-2:] == (8, 8)
    assert output.likelihoods["z"].shape[-2:] == (2, 2)
    assert output.x_hat.shape == (1, 3, 100, 65)


def test_zeroed_modulation_is_the_plain_hyperprior(picture):
    torch.manual_seed(0)
    plain = ScaleHyperprior(6).eval()
    codec = ScaleHyperprior(6, modulated=True).eval()
    codec.load_state_dict(plain.state_dict(), strict=False)
    for name, parameter in codec.named_parameters():
        if ".output." in name and "modulation" in name:
            torch.nn.init.zeros_(parameter)
    x = picture(64, 64)
    expected, output = plain(x, plain.operating_points[0]), codec(x, codec.operating_points[0])
    assert torch.equal(output.x_hat, expected.x_hat)
    assert all(torch.equal(output.likelihoods[k], expected.likelihoods[k]) for k in "yz")


def test_sender_and_receiver_derive_their_scales_in_double_precision(make_codec):
    codec = make_codec("modulated_hyperprior")
    z_hat = torch.randn(1, 8, 2, 3)
    for point in (codec.operating_points[1], codec.point_at(100.0)):
        scales = codec._exact_scales(z_hat, point)
        assert scales.dtype == torch.float64
        torch.testing.assert_close(scales, codec.h_s(z_hat, point.lmbda).double(), rtol=1e-3, atol=1e-4)


def test_all_fourteen_networks_learn(make_codec, picture):
    codec = make_codec("modulated_hyperprior").train()
    with torch.no_grad():
        codec.h_s.layers[-1].bias.add_(1.0)
    output = codec(picture(64, 64), codec.operating_points[1])
    bits = sum(-v.log2().mean() for v in output.likelihoods.values())
    (output.x_hat.square().mean() + bits).backward()
    nets = [m for m in codec.modules() if type(m).__name__ == "ModulationNet"]
    assert len(nets) == 14
    assert all(net.output.weight.grad is not None and net.output.weight.grad.any() for net in nets)


def test_files_hold_two_strings(make_codec, picture):
    codec = make_codec("hyperprior")
    point = codec.operating_points[0]
    encoded = codec.compress(picture(64, 64), point)
    assert len(encoded.strings) == 2
    for strings in (encoded.strings[:1], (*encoded.strings, (b"",)), ()):
        with pytest.raises(BitstreamError, match="codec hyperprior writes 2"):
            codec.decompress(type(encoded)(strings, encoded.shape), point)
