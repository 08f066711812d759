from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.slimmable_context import SlimmableContext
from nic_lightning.errors import BitstreamError, UserError
from tests.codecs.samples import excited, spiked

WIDTHS, HYPER_WIDTHS = [4, 8], [3, 6]
SIZES = [(1, 1), (1, 33), (33, 1), (64, 64), (65, 97), (250, 130)]


def made(order: str, **arguments) -> SlimmableContext:
    torch.manual_seed(0)
    return excited(SlimmableContext(WIDTHS, HYPER_WIDTHS, order=order, **arguments), by=0.2)


@pytest.fixture(scope="module", params=["checkerboard", "serial"])
def codec(request) -> SlimmableContext:
    return made(request.param)


@pytest.mark.parametrize("outliers", [False, True])
def test_decoded_latents_are_those_of_the_forward_pass(codec, picture, monkeypatch, outliers):
    if outliers:
        monkeypatch.setattr(codec, "analysis", spiked(codec.analysis))
    for size in SIZES:
        x = picture(*size, n=2, seed=size[0])
        for point in codec.operating_points:
            encoded = codec.compress(x, point)
            decoded = codec.decode_latents(encoded, point)
            with torch.no_grad():
                both = codec(x, point)
                apart = [codec(image, point) for image in x.split(1)]
            assert torch.equal(decoded["y"], torch.cat([o.y_hat for o in apart])), (size, point.label)
            assert all(torch.equal(v, encoded.latents[k]) for k, v in decoded.items())
            assert both.y_hat.shape == decoded["y"].shape
            received, named = codec.unpack(codec.pack(codec.compress(x[:1], point), point))
            assert torch.equal(codec.decompress(received, named), apart[0].x_hat.clamp(0, 1))
            y = torch.cat([o.y for o in apart])
            assert (decoded["y"] - y).abs().max() <= 0.5 + 1e-4  # no symbol lost, whatever the mean
            assert len(decoded["y"].unique()) > 5
            assert (decoded["y"] % 1 != 0).any()  # means are not whole numbers


def test_the_estimate_is_that_of_the_context_model(codec, picture):
    """Of all latents at once, in float32, but for means on a grid of 2^-8."""
    for point in codec.operating_points:
        with torch.no_grad():
            output = codec(picture(130, 100, n=2), point)
            z_hat = codec.entropy_z[point.index](codec.hyper_analysis(output.y, point))[0]
            means, scales = codec.context(output.y_hat, codec.hyper_synthesis(z_hat, point), point.index)
            expected = codec.entropy_y.likelihood(output.y_hat, scales, means)
        bits, known = (-v.log2().sum((1, 2, 3)) for v in (output.likelihoods["y"], expected))
        torch.testing.assert_close(bits, known, rtol=2e-3, atol=0)


def test_the_number_of_threads_does_not_matter(codec, picture):
    x, point, threads = picture(130, 100), codec.operating_points[-1], torch.get_num_threads()
    encoded = codec.compress(x, point)
    try:
        torch.set_num_threads(3 if threads != 3 else 2)
        decoded = codec.decode_latents(encoded, point)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(decoded["y"], encoded.latents["y"])


def test_real_bits_are_within_one_percent_of_the_estimate(picture):
    for order in ("checkerboard", "serial"):
        codec, x = made(order), picture(512, 512)
        result = codec.context.result
        for point in codec.operating_points:
            y = codec.analysis(x, point)
            with torch.no_grad():  # latents that fit their densities, as training would find
                codec.h_a[-1].convolution.weight.mul_(0.02)
                result.convolution.weight.mul_(1e-3)
                fitted = torch.stack([y.mean((0, 2, 3)), y.std((0, 2, 3))], dim=1).flatten()
                result.affine.bias[point.index, : len(fitted)] = fitted
                estimate = -sum(float(p.double().log2().sum()) for p in codec(x, point).likelihoods.values())
            bits = 8 * sum(len(s) for strings in codec.compress(x, point).strings for s in strings)
            assert estimate / x[0, 0].numel() >= 0.05
            assert abs(bits - estimate) < 0.01 * estimate + 128, (point.label, bits, estimate)  # two strings' ends


def test_training_lets_the_context_learn(codec, picture):
    codec = made(codec.context.order).train()
    output = codec(picture(64, 64), codec.operating_points[0])
    assert not torch.equal(output.y_hat, output.y)
    assert (output.y_hat - output.y).abs().max() <= 0.5
    (-output.likelihoods["y"].log2().mean()).backward()
    for name, parameter in codec.context.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    mask = codec.context.mask.bool()
    gradient = codec.context.context.convolution.weight.grad
    assert gradient[..., mask].any()
    assert not gradient[..., ~mask].any()


def test_a_cut_string_ends_decoding(codec, picture):
    point = codec.operating_points[1]
    encoded = codec.compress(picture(100, 100), point)
    z, y = (column[0] for column in encoded.strings)
    for wrong in (y[:-4], y[: len(y) // 8 * 4], y + b"\0\0\0\0", y[:8], b"", b"\0" * len(y)):
        with pytest.raises(BitstreamError):
            codec.decode_latents(type(encoded)(((z,), (wrong,)), encoded.shape), point)


def test_files_of_the_other_order_are_refused(picture):
    x, codecs = picture(64, 64), [made("checkerboard"), made("serial")]
    point = codecs[0].operating_points[0]
    with pytest.raises(BitstreamError, match="another model"):
        codecs[1].unpack(codecs[0].pack(codecs[0].compress(x, point), point))
    with pytest.raises(UserError, match="checkerboard or serial"):
        SlimmableContext(WIDTHS, HYPER_WIDTHS, order="zigzag")
