"""Codecs whose tables are adapted to each image, around every kind of codec here."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml

from nic_lightning import bitstream
from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec, load_codec, trust
from nic_lightning.codecs.starting import base_of, start_from
from nic_lightning.entropy.side_information import parts_of_larger_images
from nic_lightning.errors import BitstreamError, RunError, UserError
from nic_lightning.losses.rate_distortion import bits
from tests.codecs.samples import CONF

TARGET = "nic_lightning.codecs.encoding_distribution.EncodingDistribution"
OPTIONS = {"bins": 32, "hidden": 8, "side": 4, "groups": 4}
BASES = {
    "cae": {"width": 6},
    "modulated": {"width": 6, "hidden": 4, "lambdas": [64, 512]},
    "bottleneck_scaling": {"width": 6, "lambdas": [64, 512]},
    "conditional": {"width": 6, "lambdas": [64, 512], "steps": [0.5, 1.0]},
    "hyperprior": {"width": 6},
    "modulated_hyperprior": {"width": 6, "hidden": 4, "lambdas": [64, 512]},
    "scalable": {"widths": [4, 6]},
    "slimmable": {"widths": [4, 6]},
    "slimmable_hyperprior": {"widths": [4, 6], "hyper_widths": [3, 6]},
    "slimmable_context": {"widths": [4, 6], "hyper_widths": [3, 6]},
}


def config_of(name: str) -> dict:
    base = yaml.safe_load((CONF / f"{name}.yaml").read_text()) | BASES[name]
    return {"_target_": TARGET, "_recursive_": False, "base": base, **OPTIONS}


@pytest.fixture
def pair(make_codec):
    """A codec, and the same one with adapted tables: `pair(name)`."""

    def make(name: str) -> tuple[LearnedCodec, EncodingDistribution]:
        base = make_codec(name, **BASES[name])
        codec = build_codec(config_of(name))
        assert isinstance(codec, EncodingDistribution)
        codec.adopt_codec(base)
        codec.update_tables()
        return base, codec.eval()

    return make


def fitted(codec: EncodingDistribution, x: torch.Tensor, steps: int = 40) -> EncodingDistribution:
    """Trained a little on one picture, so that adapted tables pay."""
    optimizer = torch.optim.Adam([p for p in codec.parameters() if p.requires_grad], lr=1e-2)
    codec.train()
    torch.manual_seed(0)
    point = codec.operating_points[-1]
    y = codec.analysis(codec.pad(x), point).detach()
    for _ in range(steps):
        optimizer.zero_grad()
        with parts_of_larger_images(16.0):
            likelihoods = codec.likelihoods(y, point)[1]
        side = bits({name: likelihoods.pop(name) for name in ("q", "flag")}) / 16
        ((bits(likelihoods) + side) / y.numel()).backward()
        optimizer.step()
    codec.update_tables()
    return codec.eval()


@pytest.mark.parametrize("name", BASES)
def test_images_are_those_of_the_wrapped_codec_at_every_point(pair, picture, name):
    base, codec = pair(name)
    points = [*codec.candidate_points, *([codec.point_at(200.0)] if codec.lambda_range else [])]
    x = picture(33, 50)
    for point in points:
        encoded = codec.compress(x, point)
        received, named = codec.unpack(codec.pack(encoded, point))
        assert named == point
        plain = base.compress(x, point)
        expected = base.decompress(plain, point)
        assert torch.equal(codec.decompress(received, named), expected)
        latents = codec.decode_latents(received, named)
        assert all(torch.equal(latents[k], v) for k, v in plain.latents.items())
        with torch.no_grad():
            assert torch.equal(codec(x, point).x_hat.clamp(0, 1), expected)
        for own, without in zip(encoded.strings, plain.strings, strict=True):
            assert len(own[0]) <= len(without[0]) + 4  # one bit may begin a word


def test_adapted_tables_make_smaller_files(pair, picture):
    x = picture(160, 192)
    for name in ("cae", "scalable"):
        base, codec = pair(name)
        point = codec.operating_points[-1]
        fitted(codec, x)
        own, plain = codec.compress(x, point), base.compress(x, point)
        rates = codec.table_rates(x, point)
        assert len(rates) == len(own.strings)
        saved = sum(r.static.sum() - r.chosen for (r,) in rates)
        sizes = [8 * sum(len(s[0]) for s in encoded.strings) for encoded in (own, plain)]
        assert sizes[1] - sizes[0] == pytest.approx(saved, abs=64 * len(rates))  # whole words
        assert sizes[0] < 0.95 * sizes[1]
        assert torch.equal(codec.decompress(own, point), base.decompress(plain, point))
        estimate = float(bits(codec.likelihoods(codec.analysis(codec.pad(x), point), point)[1]))
        assert sizes[0] == pytest.approx(estimate, abs=96 * len(rates))  # 64 bits of state, and whole words


def test_a_batch_is_coded_image_by_image(pair, picture):
    _, codec = pair("cae")
    point = codec.operating_points[0]
    x = picture(64, 64, n=3)
    together = codec.compress(x, point).strings[0]
    assert together == tuple(codec.compress(image, point).strings[0][0] for image in x.split(1))
    with torch.no_grad():
        likelihoods = codec(x, point).likelihoods
    assert likelihoods["q"].shape == (3, 4, 4)
    assert likelihoods["flag"].shape == (3, 1, 1)


def test_between_two_lambdas_nothing_is_sent_beside(pair, picture):
    _, codec = pair("modulated")
    with torch.no_grad():
        assert set(codec(picture(32, 32), codec.point_at(200.0)).likelihoods) == {"y"}
    assert codec.table_rates(picture(32, 32), codec.point_at(200.0)) == []


def test_layers_of_a_scalable_file_are_told_apart(pair, picture):
    base, codec = pair("scalable")
    x, (first, last) = picture(40, 56), codec.operating_points
    data = codec.pack(codec.compress(x, last), last)
    short = bitstream.truncate(data, 1)
    expected = base.decompress(base.compress(x, first), first)
    assert torch.equal(codec.decompress(*codec.unpack(short)), expected)
    assert torch.equal(next(iter(codec.decoding(layers=1).of(data).images)), expected)
    assert len(list(codec.decoding(progressive=True).of(data).images)) == 2
    with pytest.raises(BitstreamError, match="made by another model"):
        base.unpack(data)


def test_only_the_networks_learn(pair):
    _, codec = pair("slimmable_hyperprior")
    learned = {name for name, p in codec.named_parameters() if p.requires_grad}
    assert learned == {n for n, _ in codec.named_parameters() if ".transforms." in n or ".entropy_q." in n}
    assert sorted(codec.bottlenecks) == ["entropy_z.0", "entropy_z.1"]


def test_tables_of_the_wrapped_codec_are_not_made_anew(pair):
    _, codec = pair("hyperprior")
    frozen = {n: t.clone() for n, t in codec.state_dict().items() if ".transforms." not in n and ".entropy_q." not in n}
    with torch.no_grad():
        for parameter in codec.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1)
    codec.update_tables()
    after = codec.state_dict()
    assert {n for n, t in frozen.items() if not torch.equal(t, after[n])} <= {n for n in frozen if ".exact." in n}


@pytest.mark.parametrize("name", ["cae", "modulated_hyperprior"])
def test_checkpoints_and_exports_hold_everything(pair, picture, tmp_path, name):
    _, codec = pair(name)
    config, point, x = config_of(name), codec.operating_points[-1], picture(40, 48)
    data = codec.pack(codec.compress(x, point), point)
    state = {f"codec.{key}": value for key, value in codec.state_dict().items()}
    torch.save({"codec": {"config": config, "tables": {}}, "state_dict": state}, tmp_path / "last.ckpt")
    export_codec(copy.deepcopy(codec), config, tmp_path / "export")
    for source in (tmp_path / "last.ckpt", tmp_path / "export"):
        loaded = load_codec(source)
        assert loaded.fingerprint() == codec.fingerprint()
        assert torch.equal(loaded.decompress(*loaded.unpack(data)), codec.decompress(*codec.unpack(data)))


def saved(folder, codec: LearnedCodec, config: dict) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"codec.{key}": value for key, value in codec.state_dict().items()}
    torch.save({"codec": {"config": config, "tables": {}}, "state_dict": state}, folder / "last.ckpt")
    return str(folder / "last.ckpt")


def test_training_starts_from_a_trained_codec(pair, tmp_path):
    base, codec = pair("cae")
    config = config_of("cae")
    run = saved(tmp_path / "base", base, config["base"])
    own = saved(tmp_path / "own", codec, config)
    assert base_of(config | {"base": {"_target_": "other"}}, run) == config["base"]
    assert base_of(config, own) == config["base"]
    assert base_of({"_target_": "x", "base": 4}, run) is None
    assert base_of(config, None) is None
    fresh = build_codec(config)
    start_from(fresh, run)
    model, theirs = fresh.bottlenecks["entropy_y"], base.entropy_y
    assert torch.equal(model.medians, theirs.medians)
    assert torch.equal(model._quantized_cdf, theirs._quantized_cdf)
    assert torch.equal(fresh.base.g_a.convs[0].weight, base.g_a.convs[0].weight)
    start_from(fresh, own)
    assert fresh.fingerprint() == codec.fingerprint()
    with pytest.raises(UserError, match=r"starts from a trained codec; give init_from=RUN"):
        start_from(fresh, None)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("cae", {"width": 8}, r"tables of another codec: it has no entropy model entropy_y of 6 channels"),
        ("modulated", {}, r"no entropy model entropy_y of 6"),
        ("hyperprior", {}, r"no entropy model entropy_y of 6"),
    ],
)
def test_another_codec_than_the_one_that_is_wrapped(pair, make_codec, name, change, words):
    _, codec = pair("cae")
    with pytest.raises(UserError, match=words):
        codec.adopt_codec(make_codec(name, **BASES[name] | change))


def test_a_codec_of_the_same_tables_and_other_transforms(pair, make_codec):
    _, codec = pair("modulated")
    with pytest.raises(UserError, match=r"does not fit this codec: .*modulation"):
        codec.adopt_codec(make_codec("bottleneck_scaling", **BASES["bottleneck_scaling"]))


class Plain(LearnedCodec):
    """Without entropy model."""

    operating_points = ()


TRANSLATES = {
    "_target_": "nic_lightning.codecs.translation.I2ICodec", "domains": ["a", "b"], "size": 32, "base": 2, "widest": 4,
    "halvings": 2, "latents": 4, "hyper": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({"_target_": "os.system"}, "outside nic_lightning.codecs"),
        ({"_target_": "nic_lightning.codecs.cae.AnalysisTransform", "width": 4}, "not a learned codec"),
        ({"width": 4}, "names no class"),
        (5, "names no class"),
        (TRANSLATES, "i2icodec, which translates|translation, which translates"),
        ({"_target_": f"{__name__}.Plain"}, "no factorised entropy model"),
        ({"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": {"a": 1}}, "plain"),
        ({"_target_": TARGET, "base": {"_target_": "os.system"}}, "plain"),
    ],
)
def test_what_cannot_be_wrapped(base, words):
    trust(f"{__name__}.Plain")
    with pytest.raises(UserError, match=words):
        build_codec({"_target_": TARGET, "base": base})


def test_adapted_tables_are_not_adapted_again():
    with pytest.raises(UserError, match="adapts its tables already"):
        EncodingDistribution({"_target_": TARGET, "base": config_of("cae")["base"]})


def test_a_checkpoint_that_asks_for_more_than_it_holds(pair, tmp_path):
    _, codec = pair("cae")
    config = config_of("cae")
    with pytest.raises(RunError, match="more memory"):
        load_codec(saved(tmp_path, codec, config | {"base": config["base"] | {"width": 500}}))


@pytest.mark.parametrize("cut", [0, 1, 4, 8, 16])
def test_a_cut_string_is_one_sentence(pair, picture, cut):
    _, codec = pair("cae")
    x, point = picture(96, 96), codec.operating_points[0]
    encoded = codec.compress(x, point)
    (string,) = encoded.strings[0]
    short = copy.copy(encoded)
    object.__setattr__(short, "strings", ((string[: max(0, len(string) - cut - 4)],),))
    with pytest.raises(BitstreamError, match=r"cut|altered"):
        codec.decompress(short, point)
