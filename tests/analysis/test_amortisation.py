"""What static tables lose, and what adapted, fitted and counting ones win back of it."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from nic_lightning.analysis.amortisation import (
    WAYS,
    channel_rows,
    coded_latents,
    divergence,
    events_of,
    factorised_models,
    image_gap,
    image_rows,
    point_row,
    tables_macs,
)
from nic_lightning.analysis.backward_adaptation import CHOICE_BITS, WEIGHTS, adaptive_bits, backward_rates
from nic_lightning.analysis.gaussian_tables import PARAMETER_BITS, choice_bits, fit, gaussian_rates, gaussian_tables
from nic_lightning.analysis.table_events import TableEvents
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.codecs.hyperprior import ScaleHyperprior
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.entropy.model import to_int32
from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import RunError, UserError

NAME = "nic_lightning.codecs.encoding_distribution.EncodingDistribution"
CAE = {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": 6, "lmbda": 64.0}


def tables_of(*rows: list[int], offsets: list[int]) -> CdfTables:
    """Tables of masses, the last of each row the escape's."""
    cdf = np.zeros((len(rows), max(map(len, rows)) + 1), np.int32)
    for row, mass in zip(cdf, rows, strict=True):
        row[1 : len(mass) + 1] = np.cumsum(mass)
    lengths = np.array([len(mass) + 1 for mass in rows], np.int32)
    return CdfTables(cdf, lengths, np.array(offsets, np.int32))


TABLES = tables_of([20000, 30000, 15000, 536], [65000, 536], [8000] * 8 + [1536], offsets=[-1, 0, -3])


def random_events(latents: int = 400, seed: int = 0) -> tuple[np.ndarray, TableEvents]:
    generator = np.random.default_rng(seed)
    symbols = np.round(generator.normal(0, [[0.4], [0.2], [1.1]], (3, latents))).astype(np.int32)
    symbols[2, 7] = 40  # an escape
    return symbols, TableEvents.of(symbols, TABLES)


def test_events_are_what_the_tables_code() -> None:
    symbols, events = random_events()
    assert events.counts.sum(1).tolist() == [400, 400, 400]
    assert events.counts[2, 8] == ((symbols[2] < -3) | (symbols[2] > 4)).sum() > 0
    rows = np.repeat(np.arange(3, dtype=np.int32), 400)
    digits = np.zeros(1200)
    for i, (row, symbol) in enumerate(zip(rows, symbols.ravel(), strict=True)):
        value, symbols_in = symbol - TABLES.offsets[row], TABLES.lengths[row] - 2
        if not 0 <= value < symbols_in:
            excess = -2 * value - 1 if value < 0 else 2 * (value - symbols_in)
            digits[i] = 4 + 4 * max(1, math.ceil(math.log2(max(excess, 1) + 1) / 4))
    expected = (TABLES.bits(symbols.ravel(), rows) - digits).reshape(3, -1).sum(1)
    assert events.bits() == pytest.approx(expected, abs=1e-9)  # float64 sums of 400 terms


def test_cross_entropy_less_entropy_is_the_divergence() -> None:
    for seed in range(3):
        _, events = random_events(seed=seed)
        loss = (events.bits() - events.ideal()) / events.latents
        assert (loss >= 0).all()
        assert loss == pytest.approx(divergence(events.counts, events.probabilities()), abs=1e-5)


def plain_backward(symbols: np.ndarray, tables: CdfTables, row: int, weight: float) -> float:
    """The specification: one symbol after the other."""
    mass, seen, bits = np.diff(tables.cdf[row]) / 65536, Counter(), 0.0
    escape = int(tables.lengths[row]) - 2
    for i, symbol in enumerate(symbols):
        entry = int(symbol - tables.offsets[row])
        entry = entry if 0 <= entry < escape else escape
        bits -= math.log2((weight * mass[entry] + seen[entry]) / (weight + i))
        seen[entry] += 1
    return bits


@pytest.mark.parametrize("weight", [WEIGHTS[0], 64.0, WEIGHTS[-1]])
def test_backward_adaptation_is_a_coder_that_counts(weight: float) -> None:
    symbols, events = random_events()
    found = adaptive_bits(events.counts, events.probabilities(), weight)
    expected = [plain_backward(own, TABLES, row, weight) for row, own in enumerate(symbols)]
    assert found == pytest.approx(expected, abs=1e-6)  # lgamma of 65,536 is 7e5, with 16 digits
    assert (found >= events.ideal() - 1e-6).all()  # a mixture of distributions is below the best one


def test_backward_adaptation_takes_the_best_weight() -> None:
    _, events = random_events()
    found = backward_rates(events)
    totals = {w: adaptive_bits(events.counts, events.probabilities(), w).sum() for w in WEIGHTS}
    assert found.weight == min(totals, key=totals.__getitem__)
    assert found.total == pytest.approx(totals[found.weight] + CHOICE_BITS)
    assert CHOICE_BITS == 3


def test_gaussians_cost_what_their_decoded_tables_take() -> None:
    symbols, events = random_events()
    rates = gaussian_rates(events)
    assert rates.gaussians.max() > 0
    for channel, k in enumerate(rates.gaussians):
        tables = gaussian_tables(TABLES, fit(events, int(k))) if k else TABLES
        alone = TableEvents.of(symbols, tables).bits()[channel]
        assert rates.bits[channel] == pytest.approx(alone + PARAMETER_BITS * max(0, 3 * k - 1))
    assert (rates.bits <= events.bits()).all()
    assert rates.total == pytest.approx(1 + rates.bits.sum() + rates.choices)


def test_gaussians_that_do_not_pay_are_not_sent() -> None:
    symbols = np.array([[0, 0, 1], [0, 0, 0], [0, 1, -1]], np.int32)
    rates = gaussian_rates(TableEvents.of(symbols, TABLES))
    assert rates.gaussians.tolist() == [0, 0, 0]
    assert rates.total == pytest.approx(1 + rates.static)


def test_two_gaussians_fit_what_one_cannot() -> None:
    generator = np.random.default_rng(1)
    symbols = np.round(generator.normal(0, 0.6, (1, 4000)) + generator.choice([4, 40], (1, 4000))).astype(np.int32)
    events = TableEvents.of(symbols, tables_of([1024] * 48 + [65536 - 48 * 1024], offsets=[0]))
    one, two = (events.bits(gaussian_tables(events.tables, fit(events, k)))[0] for k in (1, 2))
    assert two < 0.6 * one
    assert two < 1.02 * events.ideal()[0]  # deviations lie 3 % apart in the grid
    assert gaussian_rates(events).gaussians[0] >= 2


def test_damaged_parameters_make_tables_all_the_same() -> None:
    for value in (0, 255):
        tables = gaussian_tables(TABLES, np.full((3, 8), value))  # CdfTables checks itself
        assert (tables.lengths == TABLES.lengths).all()


def test_choices_are_coded_by_how_often_they_came() -> None:
    chosen = np.array([0, 0, 2, 0, 1])
    plain, seen = 0.0, Counter()
    for i, k in enumerate(chosen):
        plain -= math.log2((seen[k] + 1) / (i + 4))
        seen[k] += 1
    assert choice_bits(chosen) == pytest.approx(plain)
    assert choice_bits(chosen[:0]) == 0


def randomised(codec: LearnedCodec) -> LearnedCodec:
    """Latents of some size, with fresh tables."""
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith("g_a.convs.2.weight"):
                parameter.mul_(20)
    codec.eval().update_tables()
    return codec


@pytest.fixture
def adapted() -> EncodingDistribution:
    torch.manual_seed(0)
    codec = build_codec({"_target_": NAME, "_recursive_": False, "base": CAE, "bins": 32, "hidden": 8, "side": 4})
    assert isinstance(codec, EncodingDistribution)
    base = randomised(build_codec(CAE))
    codec.adopt_codec(base)
    codec.update_tables()
    return codec.eval()


def test_no_way_is_below_the_entropy(adapted, picture) -> None:
    x, point = picture(64, 96), adapted.operating_points[0]
    gap = image_gap(adapted, x, point)
    (latent,) = gap.latents
    assert latent.latent == "entropy_y"
    assert latent.adapted is not None
    assert (latent.ideal <= latent.static + 1e-9).all()
    for bits in (latent.adapted.adapted, latent.gaussian.bits, latent.backward.bits):
        assert (latent.ideal <= bits + 1e-6).all()
    bits = {way: latent.bits(way) or math.nan for way in WAYS}
    assert min(bits.values()) == bits["ideal"]
    assert bits["adapted"] <= bits["static"] + 1
    assert latent.static == pytest.approx(latent.adapted.static)  # counted here and there in their own ways
    assert latent.ideal == pytest.approx(latent.adapted.ideal)


def test_rates_are_those_of_the_files(adapted, picture) -> None:
    x, point = picture(64, 96), adapted.operating_points[0]
    gap = image_gap(adapted, x, point)
    size = 8 * len(adapted.compress(x, point).strings[0][0])
    assert size == pytest.approx(gap.pixels * (gap.bpp("adapted") or math.nan), abs=96)  # 64 bits of state, whole words


def test_static_codecs_have_all_but_adapted_tables(picture) -> None:
    torch.manual_seed(0)
    codec = randomised(ModulatedAutoencoder(6, (64.0, 512.0), 4))
    gaps = [image_gap(codec, picture(48, 64), point) for point in codec.operating_points]
    assert [gap.latents[0].latent for gap in gaps] == ["entropy_y.0", "entropy_y.1"]
    row = point_row(gaps[:1])
    assert row["adapted"] is row["closed_adapted"] is row["side"] is None
    assert row["ideal"] < row["static"]
    assert row["closed_backward"] == pytest.approx(
        100 * (row["static"] - row["backward"]) / (row["static"] - row["ideal"])
    )
    (whole,) = image_rows("a", gaps[0])
    channels = list(channel_rows("a", gaps[0]))
    assert len(channels) == 6
    assert sum(c["static"] for c in channels) == pytest.approx(whole["static"])
    assert tables_macs(codec) == {}


def test_what_is_not_factorised_is_in_the_rest(picture) -> None:
    torch.manual_seed(0)
    codec = ScaleHyperprior(6).eval()
    codec.update_tables()
    x, point = picture(64, 64), codec.operating_points[0]
    gap = image_gap(codec, x, point)
    assert [latent.latent for latent in gap.latents] == ["entropy_z.0"]
    with torch.no_grad():
        y_bits = float(-torch.log2(codec(x, point).likelihoods["y"].double()).sum())
    assert gap.rest == pytest.approx(y_bits, rel=1e-5)  # float32 likelihoods
    assert gap.bpp("static") == pytest.approx((gap.rest + gap.latents[0].static.sum()) / 64**2)


def test_calls_are_heard_only_meanwhile(picture) -> None:
    codec = randomised(CompressiveAutoencoder(4))
    with coded_latents(codec) as calls, torch.no_grad():
        codec(picture(32, 32), codec.operating_points[0])
    assert len(calls) == 1
    model = calls[0].model
    symbols = to_int32(model.quantise(calls[0].y)).ravel()
    expected = model.tables.bits(symbols, np.repeat(np.arange(4, dtype=np.int32), 4)).sum()
    assert events_of(calls[0]).bits().sum() <= expected
    with torch.no_grad():
        codec(picture(32, 32), codec.operating_points[0])
    assert len(calls) == 1


def test_side_information_is_no_latent(adapted) -> None:
    assert list(factorised_models(adapted)) == ["entropy_y"]


def test_points_without_tables_of_their_own_are_refused(picture) -> None:
    codec = randomised(ModulatedAutoencoder(6, (64.0, 512.0), 4))
    with pytest.raises(UserError, match="no factorised entropy model of its own at point 199"):
        image_gap(codec, picture(32, 32), codec.point_at(200.0))


def test_codecs_without_tables_are_refused(picture) -> None:
    torch.manual_seed(0)
    with pytest.raises(RunError, match="never made"):
        image_gap(CompressiveAutoencoder(4).eval(), picture(32, 32), OperatingPoint(0, "1"))


@pytest.mark.parametrize(
    ("channels", "hidden", "side", "bins", "macs"), [(192, 32, 16, 256, 10.47), (320, 64, 32, 1024, 125.8)]
)
def test_transforms_cost_what_the_thesis_says(channels, hidden, side, bins, macs) -> None:
    """Thesis table 3.1, MAC/pixel of h_a and of h_s at 768x512."""
    codec = build_codec(
        {"_target_": NAME, "_recursive_": False, "base": CAE | {"width": channels}}
        | {"bins": bins, "hidden": hidden, "side": side}
    )
    found = tables_macs(codec)
    assert {k: v / (768 * 512) for k, v in found.items()} == pytest.approx(
        {"analysis": macs, "synthesis": macs}, rel=1e-3
    )


@pytest.mark.parametrize(
    ("name", "arguments", "latents"),
    [
        ("conditional", {"width": 6, "lambdas": [64, 512], "steps": [0.5, 1.0]}, 1),
        ("scalable", {"widths": [4, 6]}, 2),
        ("slimmable", {"widths": [4, 6]}, 1),
    ],
)
def test_every_kind_of_codec_is_measured_at_its_points(name, arguments, latents, make_codec, picture) -> None:
    codec, x = make_codec(name, **arguments), picture(64, 96)
    for point in codec.operating_points:
        gap = image_gap(codec, x, point)
        strings = codec.compress(x, point).strings
        size = 8 * sum(len(string[0]) for string in strings)
        # Each string has 64 bits of state and ends with a whole word.
        assert size == pytest.approx(gap.pixels * (gap.bpp("static") or math.nan), abs=96 * len(strings))
    assert len(gap.latents) == latents
