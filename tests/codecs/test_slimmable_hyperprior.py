from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nic_lightning.codecs.slimmable_context import SlimmableContext
from nic_lightning.codecs.slimmable_hyperprior import SlimmableHyperprior
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.layers.slimmable import SLIMMABLE_GDN
from nic_lightning.losses.rate_distortion import rate_distortion
from tests.codecs.samples import excited

WIDTHS, HYPER_WIDTHS = [4, 6, 8], [3, 4, 5]
KINDS = (SlimmableHyperprior, SlimmableContext)


def made(kind: type[SlimmableHyperprior], **arguments) -> SlimmableHyperprior:
    torch.manual_seed(0)
    return excited(kind(WIDTHS, HYPER_WIDTHS, **arguments))


@pytest.fixture(scope="module", params=KINDS)
def codec(request) -> SlimmableHyperprior:
    return made(request.param)


def count(codec: torch.nn.Module) -> int:
    return sum(p.numel() for n, p in codec.named_parameters() if not n.startswith("entropy_"))


def affine(*channels: int) -> int:
    return sum(2 * 5 * c for c in channels)


def test_parameters_are_those_of_the_drawing():
    w, v = 384, 192
    with torch.device("meta"):
        plain, context = SlimmableHyperprior(), SlimmableContext()
    transforms = 2 * 25 * (3 * w + 3 * w * w) + affine(*[w] * 7, 3) + 6 * (w * w + w + 4 * 5)
    hyper = 9 * w * v + 2 * 25 * v * v + affine(v, v, v) + 2 * 25 * v * v + affine(v, v)
    assert count(plain) == transforms + hyper + 9 * v * w + affine(w) == 28_117_014
    head = 25 * w * w + 2 * w * w + 3 * 4 * w * w + affine(w, *[2 * w] * 4)
    assert count(context) == transforms + hyper + 9 * v * 2 * w + affine(2 * w) + head == 34_569_750
    for model in (plain, context):
        assert sum(p.numel() for n, p in model.named_parameters() if n.startswith("entropy_")) == 46 * (
            48 + 72 + 96 + 144 + 192
        )


def test_latents_and_side_information_have_their_widths(codec, picture):
    for point, v in zip(codec.operating_points, HYPER_WIDTHS, strict=True):
        output = codec(picture(100, 65), point)
        assert output.y.shape == (1, point.width, 8, 8)
        assert output.likelihoods["y"].shape == output.y.shape
        assert output.likelihoods["z"].shape == (1, v, 2, 2)
        assert output.x_hat.shape == (1, 3, 100, 65)


def test_side_information_of_scales_does_not_see_signs(codec):
    for point in codec.operating_points:
        y = torch.randn(1, point.width, 8, 8)
        same = torch.equal(codec.hyper_analysis(y, point), codec.hyper_analysis(-y, point))
        assert same == (type(codec) is SlimmableHyperprior)  # means have signs


def test_files_of_any_size_bring_back_what_the_forward_pass_saw(picture):
    codec = made(SlimmableHyperprior)
    for size in ((1, 1), (1, 33), (33, 1), (64, 64), (65, 97)):
        x = picture(*size, seed=size[1])
        for point in codec.operating_points:
            encoded = codec.compress(x, point)
            received, named = codec.unpack(codec.pack(encoded, point))
            assert (received, named) == (encoded, point)
            decoded = codec.decode_latents(received, named)
            with torch.no_grad():
                output = codec(x, point)
            assert torch.equal(decoded["y"], output.y_hat)
            assert torch.equal(decoded["z"], encoded.latents["z"])
            assert torch.equal(codec.decompress(received, named), output.x_hat.clamp(0, 1))
            assert len(decoded["y"].unique()) > 5


@pytest.mark.parametrize("gdn", SLIMMABLE_GDN)
def test_a_step_on_one_width_moves_only_its_slices(gdn, picture):
    codec, x, level, w = made(SlimmableHyperprior, gdn=gdn).train(), picture(64, 64), 1, 6
    rate_distortion(codec(x, codec.operating_points[level]), x, 100.0).loss.backward()
    for name, parameter in codec.named_parameters():
        grad = parameter.grad
        if ".affine." in name:
            assert grad[level].any(), name
            assert not torch.cat([grad[:level], grad[level + 1 :]]).any(), name
            assert not grad[level, w:].any(), name
        elif name.endswith("convolution.weight"):
            assert grad.any(), name
            widest = 4 if name.startswith("h_") else w
            narrow = [s for s in grad.shape[:2] if s not in (3, *HYPER_WIDTHS)]
            assert not grad[w:].any(), name
            assert not grad[:, w:].any(), name
            assert narrow or not grad[widest:].any(), name
        elif name.startswith("entropy_z.") and not name.endswith("quantiles"):
            assert (grad is not None) == name.startswith(f"entropy_z.{level}."), name


def test_rows_of_the_conditional_convolutions_belong_to_one_width(codec, picture):
    other, x = copy.deepcopy(codec), picture(40, 64)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if ".affine." in name:
                parameter[1] += 0.5
    same = [torch.equal(other(x, p).x_hat, codec(x, p).x_hat) for p in codec.operating_points]
    assert same == [True, False, True]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments", [{}, {"gdn": "switch", "kernel_param": "rdft"}])
def test_a_narrowed_codec_holds_slices_and_shares_files(kind, arguments, picture):
    whole, x = made(kind, lambdas=[50, 60, 70], **arguments), picture(70, 33)
    narrow = whole.narrowed(6)
    assert (narrow.widths, narrow.hyper_widths) == ((4, 6), (3, 4))
    assert [p.lmbda for p in narrow.operating_points] == [50, 60]
    assert count(narrow) < 0.7 * count(whole)
    for point in narrow.operating_points:
        data = whole.pack(whole.compress(x, point), point)
        ours, theirs = narrow.decompress(*narrow.unpack(data)), whole.decompress(*whole.unpack(data))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3 if arguments else 0)
        if not arguments:
            assert narrow.pack(narrow.compress(x, point), point) == data
    wide = whole.operating_points[-1]
    with pytest.raises(BitstreamError, match="width above this one's, which ends at 6"):
        narrow.unpack(whole.pack(whole.compress(x, wide), wide))
    alone, inner = whole.standalone(whole.operating_points[0])
    assert (alone.widths, inner.label) == ((4,), "w4")


def test_lambdas_are_state(codec):
    other = copy.deepcopy(codec)
    other.set_lambdas([0.1, 20, 4000])
    twin = type(codec)(WIDTHS, HYPER_WIDTHS)
    twin.load_state_dict(other.state_dict())
    assert [p.lmbda for p in twin.operating_points] == [0.1, 20.0, 4000.0]


def test_sender_and_receiver_work_in_double_precision(codec):
    for point, v in zip(codec.operating_points, HYPER_WIDTHS, strict=True):
        z_hat = torch.randn(1, v, 2, 3)
        exact = codec.exact_hyper_synthesis(z_hat, point)
        assert exact.dtype == torch.float64
        single = codec.hyper_synthesis(z_hat, point).double()
        torch.testing.assert_close(exact, single, rtol=1e-5, atol=1e-5 * exact.abs().max().item())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(codec.exact_hyper_synthesis(z_hat, point), exact)


def test_entropy_models_are_float32_under_autocast(codec, picture):
    x = picture(64, 64)
    for training in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = codec.train(training)(x, codec.operating_points[1])
        assert output.y.dtype == torch.bfloat16 or output.y.dtype == torch.float32
        assert {v.dtype for v in output.likelihoods.values()} == {output.y_hat.dtype} == {torch.float32}
    point = codec.operating_points[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = codec.compress(x, point)
    assert torch.equal(codec.decode_latents(encoded, point)["y"], encoded.latents["y"])  # another precision, one result


def test_files_hold_two_strings(codec, picture):
    point = codec.operating_points[0]
    encoded = codec.compress(picture(64, 64), point)
    assert len(encoded.strings) == 2
    for strings in (encoded.strings[:1], (*encoded.strings, (b"",)), ()):
        with pytest.raises(BitstreamError, match=f"codec {codec.name} writes 2"):
            codec.decompress(type(encoded)(strings, encoded.shape), point)


def test_widths_that_do_not_fit_are_refused():
    for wrong in ([3, 4], [3, 4, 4], [0, 1, 2]):
        with pytest.raises(UserError, match=r"codec\.hyper_widths"):
            SlimmableHyperprior(WIDTHS, wrong)
    with pytest.raises(UserError, match=r"codec\.widths"):
        SlimmableHyperprior([4, 3, 8], HYPER_WIDTHS)
    with pytest.raises(UserError, match=r"switch, slim, slim\+"):
        SlimmableHyperprior(WIDTHS, HYPER_WIDTHS, gdn="none")


def test_narrow_widths_do_less(picture):
    """Slices, not masks: the products outside the block are never made."""
    codec, x, counts = SlimmableContext([8, 32], [8, 32]).eval(), picture(64, 64), []
    for point in codec.operating_points:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            codec.train()(x, point)
        counts.append(counter.get_total_flops())
    assert counts[0] < counts[1] / 5
