"""The compiled encoder of point clouds: the symbols of the analysis in float64, its plain twin, or none."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from nic_lightning.codecs.files import settled_state
from nic_lightning.codecs.point_cloud import SIZES, PointCloudCodec
from nic_lightning.codecs.point_symbols import PointSymbols, _rounded, point_symbols
from nic_lightning.entropy.model import to_int32
from nic_lightning.errors import UserError
from tests.codecs.test_point_cloud import clouds, made, strings


def settled(size: str = "micro", seed: int = 0, **arguments) -> PointCloudCodec:
    return made(size, seed, **arguments).requires_grad_(False)


def kept(codec: PointCloudCodec) -> PointSymbols | None:
    return codec._fast_symbols(settled_state(codec))


def fast(codec: PointCloudCodec) -> PointSymbols:
    found = kept(codec)
    assert found is not None
    return found


def plain(codec: PointCloudCodec, x: torch.Tensor) -> np.ndarray:
    return to_int32(codec.entropy_y.quantise(codec.analysis(x, codec.operating_points[0])))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("points", [1, 7, 64, 65, 300])
def test_symbols_are_those_of_the_analysis(size, points):
    codec = settled(size)
    x = torch.cat([clouds(5, points, seed=points), 37 * clouds(2, points, seed=1)])
    for cloud in x.split(1):
        expected = plain(codec, cloud)
        # Of an interval's some 1e-8 a symbol's end is in one of 1e8 latents.
        np.testing.assert_array_equal(fast(codec).of(cloud[0].numpy()), expected)
        assert np.abs(expected).max() > 1
    assert strings(codec, x) == strings(made(size), x)


@pytest.mark.parametrize("size", SIZES)
def test_the_error_of_sums_in_any_order_is_below_its_bound(size):
    codec = settled(size)
    folded = fast(codec)
    x = clouds(3, 100)
    y = codec.g_a.double()(x.double())[..., 0].numpy()
    gain = (codec.g_a.gain.factor * codec.g_a.gain.weight).numpy()[:, 0]
    for cloud, expected in zip(x.numpy(), y, strict=True):
        found = gain * np.maximum(largest(folded, cloud) + folded._ends[0], 0)
        bound = gain * folded._ends[1]
        assert (np.abs(found - expected) <= bound).all()
        assert 0 < bound.max() < 1e-6  # else it would leave many latents open


def largest(folded: PointSymbols, cloud: np.ndarray) -> np.ndarray:
    """Sums in reversed order, of folded weights."""
    weights, biases, firsts, shape = folded._layers
    features, at, row = cloud.T.astype(np.float64), 0, 0
    for outputs, fan in shape:
        rows = np.vstack([features, np.zeros((fan, features.shape[1]))])
        sums = []
        for o in range(outputs):
            inputs = rows[firsts[row + o] : firsts[row + o] + fan]
            sums.append(np.cumsum((weights[at + o * fan : at + (o + 1) * fan, None] * inputs)[::-1], axis=0)[-1])
        features = np.maximum(np.array(sums) + biases[row : row + outputs, None], 0)
        at, row = at + outputs * fan, row + outputs
    return np.array(sums).max(1)


def test_an_interval_that_two_symbols_share_is_open():
    """Float32 goes up in steps of 2^-20 from 8 on: at 10.5 + 2^-21 begins what becomes 10.5 + 2^-20, and so 11."""
    middle, zeros, ones = np.float64(10.5) + 2.0**-21, np.zeros(1), np.ones(1)
    medians = np.zeros(1, np.float32)
    for offset, error, symbol in (
        (-1e-12, 5e-13, 10),  # 10.5 goes to the even 10
        (1e-12, 5e-13, 11),
        (-1e-12, 2e-12, None),
        (1e-12, 2e-12, None),
        (0.0, np.inf, None),
        (np.nan, 0.0, None),
        (1e12, 0.0, None),
        (1e300, 0.0, None),
    ):
        symbols, undecided = _rounded(np.array([middle + offset]), zeros, np.array([error]), ones, medians)
        assert (None if undecided[0] else symbols[0]) == symbol
        below = _rounded(-np.array([middle + offset]), zeros, np.array([error]), ones, medians)
        assert below[1][0] == (not np.isfinite(offset + error)) or below[0][0] == 0  # the ReLU makes it 0 for certain
        upside_down = _rounded(np.array([middle + offset]), zeros, np.array([error]), -ones, medians)
        assert (None if upside_down[1][0] else -upside_down[0][0]) == symbol


@pytest.mark.parametrize("size", SIZES)
def test_open_latents_are_left_to_the_analysis(size):
    codec, x = settled(size), clouds(1, 40)
    fast(codec)._ends[1][3] = 0.6  # wider than a bin
    assert fast(codec).of(x[0].numpy()) is None
    assert np.array_equal(next(codec.symbols([x], codec.operating_points[0])), plain(codec, x))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e38])
def test_impossible_coordinates_are_left_to_the_analysis(size, wrong):
    codec, x = settled(size), clouds(1, 40)
    x[0, 17, 1] = wrong
    assert fast(codec).of(x[0].numpy()) is None
    if np.isnan(wrong):
        with pytest.raises(UserError, match="not finite"):
            strings(codec, x)


def test_float32_products_only_narrow_down_what_float64_decides(monkeypatch):
    codec = settled("full")
    x = clouds(1, 600)
    expected, folded, cloud = plain(codec, x), fast(codec), x[0].numpy()
    assert folded._matrices is not None
    np.testing.assert_array_equal(folded.of(cloud), expected)
    folded._short *= 1.5  # with wrong products all channels that matter would be wrong
    assert not np.array_equal(folded.of(cloud), expected)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        np.testing.assert_array_equal(folded.of(cloud), expected)
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(folded.of(cloud), expected)
    assert not np.array_equal(folded.of(cloud), expected)
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "BF16")
            np.testing.assert_array_equal(folded.of(cloud), expected)

    def mixed() -> str:
        raise RuntimeError("use only the new API")  # torch, where torch.backends.mkldnn.matmul.fp32_precision was set

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    np.testing.assert_array_equal(folded.of(cloud), expected)


def test_a_copy_keeps_nothing_of_what_it_drops():
    codec = settled()
    data = codec.file_of(clouds(1, 40), codec.operating_points[0])
    for copied in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))):
        assert not {"_folded", "_fingerprint"} & copied.__dict__.keys()
        assert copied.file_of(clouds(1, 40), codec.operating_points[0]) == data


def test_channels_that_float32_leaves_open_are_summed_in_float64():
    codec = settled("full")
    x = clouds(1, 40)
    y = codec.analysis(x, codec.operating_points[0]).flatten()
    largest_ones = y.argsort()[-20:]
    codec.entropy_y.quantiles[largest_ones, 0, 1] = y[largest_ones] - 0.5 + torch.linspace(2e-5, 5e-5, 20)
    folded, expected = fast(codec), plain(codec, x)
    np.testing.assert_array_equal(folded.of(x[0].numpy()), expected)
    bias, error, factor, medians = folded._ends
    folded._ends = bias, np.where(np.isin(np.arange(1024), largest_ones), 1e-3, error), factor, medians
    assert folded.of(x[0].numpy()) is None  # so float64's error decided


@torch.no_grad()
def test_no_state_is_used_when_it_is_stale():
    codec, other = settled(), settled(seed=1)
    x, point = clouds(3, 50), codec.operating_points[0]
    before = strings(codec, x)
    assert kept(codec) is kept(codec)
    codec.load_state_dict(other.state_dict())
    assert strings(codec, x) == strings(other, x) != before
    codec.g_a.layers[0].weight.mul_(-1)  # pyright: ignore
    assert np.array_equal(next(codec.symbols([x[:1]], point)), plain(codec, x[:1]))
    codec.g_a.layers[1] = torch.nn.BatchNorm1d(16).eval().requires_grad_(False)
    assert np.array_equal(next(codec.symbols([x[:1]], point)), plain(codec, x[:1]))
    codec.g_a.gain.weight.data = torch.full((16, 1), 0.3)
    assert np.array_equal(next(codec.symbols([x[:1]], point)), plain(codec, x[:1]))


def test_what_can_be_trained_is_not_kept():
    codec = settled()
    assert kept(codec) is not None
    assert kept(made()) is None
    codec.g_a.layers[1].train()
    assert kept(codec) is None
    codec.eval().double()
    assert kept(codec) is None
    with torch.inference_mode():
        assert kept(settled()) is None

    class Other(PointCloudCodec):
        def analysis(self, x, point):
            return super().analysis(2 * x, point)

    other = Other(classes=12)
    other.load_state_dict(settled().state_dict())
    assert kept(other.eval().requires_grad_(False)) is None


def test_encoders_of_other_layers_are_left_to_the_analysis():
    codec = settled()
    gain, medians, conv, norm = codec.g_a.gain, codec.entropy_y.medians, torch.nn.Conv1d, torch.nn.BatchNorm1d
    relu = torch.nn.ReLU()
    for layers in (
        [conv(3, 16, 1), norm(16)],
        [conv(3, 16, 3), norm(16), relu],
        [conv(3, 16, 1, bias=False), norm(16), relu],
        [conv(3, 16, 1), norm(16, affine=False), relu],
        [conv(3, 16, 1), norm(16, track_running_stats=False), relu],
        [conv(3, 16, 1), norm(16), torch.nn.GELU()],
        [],
    ):
        assert point_symbols(torch.nn.Sequential(*layers), gain, medians) is None
    assert point_symbols(codec.g_a.layers, torch.nn.Identity(), medians) is None
    assert point_symbols(codec.g_a.layers, gain, medians.double()) is None
    codec.g_a.layers[0].weight[3, 1, 0] = np.nan  # pyright: ignore
    assert point_symbols(codec.g_a.layers, gain, medians) is None


def test_the_fingerprint_follows_tables_that_are_made_anew():
    codec = settled()
    codec.fingerprint()
    for width in (3, 5, 3, 5):  # a new tensor may lie where the last but one did
        codec.entropy_y._offset = torch.full((16,), -width, dtype=torch.int32)
        assert codec.fingerprint() == codec._hash(codec.state_dict())
