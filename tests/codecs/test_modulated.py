from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.errors import UserError


def test_parameters_of_the_thesis():
    with torch.device("meta"):
        codec = ModulatedAutoencoder(192)
    counted = {n: p.numel() for n, p in codec.named_parameters()}
    assert sum(v for n, v in counted.items() if not n.startswith("entropy_")) == 4_062_171
    assert sum(v for n, v in counted.items() if n.startswith("entropy_")) == 7 * 8_832


def test_without_modulation_it_is_the_base_autoencoder_bit_by_bit(picture):
    torch.manual_seed(0)
    base = CompressiveAutoencoder(8).eval()
    codec = ModulatedAutoencoder(8, lambdas=[64, 512, 4096]).eval()
    state = base.state_dict()
    shared = {k: v for k, v in state.items() if k.startswith(("g_a", "g_s"))}
    for i in range(3):
        entropy = {k: v for k, v in state.items() if k.startswith("entropy_y.")}
        shared |= {k.replace("entropy_y.", f"entropy_y.{i}."): v for k, v in entropy.items()}
    assert not codec.load_state_dict(shared, strict=False).unexpected_keys
    for net in [*codec.modulation, *codec.demodulation]:
        torch.nn.init.zeros_(net.output.weight)
        torch.nn.init.zeros_(net.output.bias)
    x = picture(48, 64, n=2)
    expected = base(x, base.operating_points[0])
    for point in [*codec.operating_points, codec.point_at(100.0)]:
        assert torch.equal(codec.analysis(codec.pad(x), point), expected.y)
        assert torch.equal(codec.synthesis(expected.y_hat, point), expected.x_hat)
        if point.index >= 0:
            output = codec(x, point)
            assert torch.equal(output.x_hat, expected.x_hat)
            assert torch.equal(output.likelihoods["y"], expected.likelihoods["y"])


def test_lambda_changes_latents_and_images(make_codec, picture):
    codec = make_codec("modulated")
    x = picture(32, 32)
    low, middle, high = codec.operating_points[0], codec.point_at(100.0), codec.operating_points[-1]
    latents = [codec.analysis(x, p) for p in (low, middle, high)]
    assert not torch.allclose(latents[0], latents[2])
    # In between: the modulation networks are continuous functions of lambda.
    near = codec.point_at(low.lmbda * 1.001)
    assert (codec.analysis(x, near) - latents[0]).abs().max() < (latents[2] - latents[0]).abs().max() / 10


def test_every_lambda_has_its_own_entropy_model(make_codec, picture):
    codec = make_codec("modulated", lambdas=[64, 512])
    x = picture(32, 32)
    before = [codec(x, p).likelihoods["y"] for p in codec.operating_points]
    with torch.no_grad():
        codec.entropy_y[1].biases[0].add_(0.5)
    after = [codec(x, p).likelihoods["y"] for p in codec.operating_points]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_all_modulation_networks_learn(make_codec, picture):
    codec = make_codec("modulated", lambdas=[64, 512]).train()
    x = picture(32, 32)
    for point in codec.operating_points:
        output = codec(x, point)
        (output.x_hat.square().mean() - output.likelihoods["y"].log2().mean()).backward()
    for name, parameter in codec.named_parameters():
        if "modulation" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all()
    assert all(net.output.weight.grad.any() for net in [*codec.modulation, *codec.demodulation])


def test_the_input_of_the_nets_is_linear_or_log(make_codec):
    linear, log = (make_codec("modulated", lambdas=[64, 512], lambda_input=kind) for kind in ("linear", "log"))
    assert {net.log_from for net in [*linear.modulation, *linear.demodulation]} == {None}
    assert {net.log_from for net in [*log.modulation, *log.demodulation]} == {64.0}
    with pytest.raises(UserError, match="linear or log"):
        ModulatedAutoencoder(8, lambda_input="square")
