from __future__ import annotations

import copy

import pytest
import torch

from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.layers.slimmable import SLIMMABLE_GDN
from nic_lightning.losses.rate_distortion import rate_distortion
from tests.codecs.samples import excited

WIDTHS = [4, 6, 8]


@pytest.fixture(scope="module", params=["switch", "slim", "slim+"])
def codec(request) -> SlimmableAutoencoder:
    torch.manual_seed(0)
    return excited(SlimmableAutoencoder(WIDTHS, gdn=request.param))


@pytest.mark.parametrize(
    ("gdn", "count", "mib"), [("switch", 4_229_619, 1.713), ("slim", 4_002_819, 0.848), ("slim+", 4_002_939, 0.849)]
)
def test_parameters_and_memory_of_the_thesis(gdn, count, mib):
    with torch.device("meta"):
        codec = SlimmableAutoencoder(gdn=gdn)
    counts = {n: p.numel() for n, p in codec.named_parameters()}
    assert sum(v for n, v in counts.items() if not n.startswith("entropy_")) == count
    assert sum(v for n, v in counts.items() if n.startswith("entropy_")) == 25_392
    assert sum(v for n, v in counts.items() if "gdn" in n) * 4 / 2**20 == pytest.approx(mib, abs=5e-4)


def test_every_width_is_a_stand_alone_autoencoder(codec, picture):
    x = picture(48, 64, n=2)
    for point in codec.operating_points:
        alone, inner = codec.standalone(point)
        y = codec.analysis(x, point)
        assert y.shape[1] == point.width
        y_hat = y.round()
        for ours, theirs in (
            (y, alone.analysis(x, inner)),
            (codec.synthesis(y_hat, point), alone.synthesis(y_hat, inner)),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * ours.abs().max().item())
    exact = copy.deepcopy(codec).double()
    for point in exact.operating_points:
        alone, inner = exact.standalone(point)
        ours, theirs = exact.analysis(x.double(), point), alone.analysis(x.double(), inner)
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_switchable_normalisation_makes_it_exact(picture):
    torch.manual_seed(0)
    codec, x = excited(SlimmableAutoencoder(WIDTHS, gdn="switch")), picture(32, 48)
    for point in codec.operating_points:
        alone, inner = codec.standalone(point)
        for theirs, gdns in zip([*alone.g_a.gdns, *alone.g_s.gdns], [*codec.g_a_gdns, *codec.g_s_gdns], strict=True):
            theirs.load_state_dict(gdns[point.index].state_dict())  # the storage itself
        y = codec.analysis(x, point)
        assert torch.equal(y, alone.analysis(x, inner))
        torch.testing.assert_close(codec.synthesis(y, point), alone.synthesis(y, inner), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gdn", SLIMMABLE_GDN)
def test_a_step_on_one_width_moves_only_its_slices(gdn, picture):
    torch.manual_seed(0)
    codec, x, level, w = SlimmableAutoencoder(WIDTHS, gdn=gdn).train(), picture(32, 32), 1, 6
    point = codec.operating_points[level]
    rate_distortion(codec(x, point), x, 100.0).loss.backward()
    for i, layer in enumerate([*codec.g_a, *codec.g_s]):
        grad = layer.weight.grad
        block = tuple(slice(min(n, w)) for n in grad.shape[:2])
        outside = grad.clone()
        outside[block] = 0
        assert grad[block].any(), i
        assert not outside.any(), i
    for name, parameter in codec.named_parameters():
        if name.endswith(("_scale", "_shift")):
            assert set(parameter.grad.nonzero().flatten().tolist()) <= {level}, name
        elif name.startswith("entropy_y.") and not name.endswith("quantiles"):
            assert (parameter.grad is not None) == name.startswith(f"entropy_y.{level}."), name
        elif "gdns" in name and gdn == "switch":
            assert (parameter.grad is not None) == (name.split(".")[-2] == str(level)), name


def test_the_gradient_of_the_sum_is_the_sum_of_gradients(picture):
    torch.manual_seed(0)
    codec, x = SlimmableAutoencoder(WIDTHS).eval(), picture(32, 32)
    losses = [rate_distortion(codec(x, p), x, 50.0 * (p.index + 1)).loss for p in codec.operating_points]
    weight = codec.g_a[1].weight
    apart = sum(torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in losses)
    torch.testing.assert_close(torch.autograd.grad(sum(losses), weight)[0], apart)


def test_narrow_latents_are_no_prefix_of_wide_ones(codec, picture):
    """Why scalable files need a codec of their own."""
    x = picture(32, 32)
    narrow, wide = (codec.analysis(x, p) for p in (codec.operating_points[0], codec.operating_points[-1]))
    assert (wide[:, : narrow.shape[1]] - narrow).abs().max() > 0.1


@pytest.mark.parametrize("kernel_param", ["direct", "rdft"])
def test_a_narrowed_codec_holds_slices_and_shares_files(kernel_param, picture):
    torch.manual_seed(0)
    whole, x = excited(SlimmableAutoencoder(WIDTHS, [50, 60, 70], kernel_param=kernel_param)), picture(40, 33)
    narrow = whole.narrowed(6)
    assert narrow.widths == (4, 6)
    assert [p.lmbda for p in narrow.operating_points] == [50, 60]
    largest = max(p.shape[0] for n, p in narrow.named_parameters() if "gdns" in n and p.dim() == 2)
    assert largest == 6
    for point in narrow.operating_points:
        data = whole.pack(whole.compress(x, point), point)
        ours, theirs = narrow.decompress(*narrow.unpack(data)), whole.decompress(*whole.unpack(data))
        if kernel_param == "direct":
            assert narrow.pack(narrow.compress(x, point), point) == data
            assert torch.equal(ours, theirs)
        else:  # kernels are products of matrices with another number of rows, and these are excited
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
    wide = whole.operating_points[-1]
    with pytest.raises(BitstreamError, match="width above this one's, which ends at 6"):
        narrow.unpack(whole.pack(whole.compress(x, wide), wide))
    only = whole.narrowed(4)
    point = only.operating_points[0]
    assert torch.equal(
        whole.decompress(*whole.unpack(only.pack(only.compress(x, point), point))),
        only.decompress(only.compress(x, point), point),
    )
    with pytest.raises(UserError, match="no width 5"):
        whole.narrowed(5)


def test_files_of_another_codec_are_refused(codec, picture):
    other = copy.deepcopy(codec)
    with torch.no_grad():
        other.g_a[0].weight[0, 0, 0, 0] += 1
    x, point = picture(20, 20), codec.operating_points[0]
    with pytest.raises(BitstreamError, match="another model"):
        other.unpack(codec.pack(codec.compress(x, point), point))


def test_only_the_widths_own_numbers_tie_its_files(codec, picture):
    """A file of the narrow width outlives fine-tuning of what only wide ones use."""
    other = copy.deepcopy(codec)
    with torch.no_grad():
        other.g_a[0].weight[-1].add_(1.0)
    x, (narrow, *_, wide) = picture(20, 20), codec.operating_points
    assert torch.equal(
        other.decompress(*other.unpack(codec.pack(codec.compress(x, narrow), narrow))),
        codec.decompress(codec.compress(x, narrow), narrow),
    )
    with pytest.raises(BitstreamError):
        other.unpack(codec.pack(codec.compress(x, wide), wide))


def test_lambdas_are_state(picture):
    codec = SlimmableAutoencoder(WIDTHS, 4000)
    assert [p.lmbda for p in codec.operating_points] == [4000.0] * 3
    codec.set_lambdas([0.1, 20, 4000])
    twin = SlimmableAutoencoder(WIDTHS)
    twin.load_state_dict(codec.state_dict())
    assert [p.lmbda for p in twin.operating_points] == [0.1, 20.0, 4000.0]  # exact: kept in float64
    assert [p.label for p in twin.operating_points] == ["w4", "w6", "w8"]
    for wrong in ([1.0], [1.0, -2.0, 3.0], [1.0, 2.0, float("nan")]):
        with pytest.raises(UserError, match=r"codec\.lambdas"):
            codec.set_lambdas(wrong)
    with pytest.raises(UserError, match=r"switch, slim, slim\+"):
        SlimmableAutoencoder(WIDTHS, gdn="none")


def test_entropy_models_have_their_width():
    codec = SlimmableAutoencoder(WIDTHS)
    assert [m.channels for m in codec.entropy_y if isinstance(m, EntropyBottleneck)] == WIDTHS


def test_narrow_widths_do_less(picture):
    """Slices, not masks: the products outside the block are never made."""
    from torch.utils.flop_counter import FlopCounterMode

    codec, x = SlimmableAutoencoder([8, 32]), picture(64, 64)
    counts = []
    for point in codec.operating_points:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            codec.synthesis(codec.analysis(x, point), point)
        counts.append(counter.get_total_flops())
    assert counts[0] < counts[1] / 5
