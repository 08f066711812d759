"""CompressAI's models as codecs against CompressAI itself: states, latents, pictures, rates."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import nic_lightning
from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.starting import start_from
from nic_lightning.codecs.wrapped.archs import ARCHS
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.codecs.wrapped.networks import model_of
from nic_lightning.errors import BitstreamError, RunError, UserError
from nic_lightning.layers.precision import in_float64
from nic_lightning.testing import check_codec, codec_checks
from tests.codecs import compressai_models as small

FIXED = [arch for arch in ARCHS if ARCHS[arch].qualities]
VARIABLE = [(arch, steps) for arch in ARCHS if not ARCHS[arch].qualities for steps in (False, True)]
VARIABLE.remove(("mbt2018-vbr", True))
FAMILIES = ["bmshj2018-factorized", "mbt2018-mean", "cheng2020-anchor", "elic2022-chandelier", "mbt2018-vbr"]


@pytest.fixture(scope="module")
def theirs() -> dict[Any, Any]:
    """CompressAI's models, made once."""
    return {arch: small.model(arch) for arch in FIXED} | {pair: small.model(*pair) for pair in VARIABLE}


@pytest.fixture(scope="module")
def wrapped(theirs) -> dict[Any, CompressaiCodec]:
    """The codecs that wrap them."""
    made = {}
    for key, model in theirs.items():
        made[key] = small.codec(*key) if isinstance(key, tuple) else small.codec(key)
        made[key].load_compressai(model.state_dict())
    return made


def decibels(decoded: torch.Tensor, image: torch.Tensor) -> float:
    return float(-10 * (decoded - image).square().mean().log10())


def bits_of(output: Any) -> float:
    likelihoods = output["likelihoods"] if isinstance(output, dict) else output.likelihoods
    return sum(float(-values.log2().sum()) for values in likelihoods.values())


def same_as_compressai(codec: Any, theirs: Any, image: torch.Tensor, point: Any, **options: Any) -> tuple[float, float]:
    """Latents and picture are those that CompressAI decodes; bytes of the strings, its and ours.

    Of latents in groups it writes ten strings, the ends of which are a fifth of so small a file: there, the bytes that
    its forward pass estimates, which rounds as its files do, and our estimate.
    """
    seen = []
    handle = theirs.g_s.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        packed = theirs.compress(image, **options)
        decoded = theirs.decompress(packed["strings"], packed["shape"], **options)["x_hat"]
    handle.remove()
    encoded = codec.compress(image, point)
    own = codec.decompress(*codec.unpack(codec.pack(encoded, point)))
    # Ours finds scales and means in float64, theirs in float32: last digits of values up to 50.
    torch.testing.assert_close(encoded.latents["y"], seen[-1], rtol=1e-5, atol=1e-4)
    assert abs(decibels(own, image) - decibels(decoded, image)) < 1e-4
    with torch.no_grad():
        output = codec(image, point)
        estimate = bits_of(output) / 8
        in_groups = bits_of(theirs(image)) / 8 if len(packed["strings"]) > 3 else None
    assert torch.equal(output.x_hat.clamp(0, 1), own)
    written, spent = (sum(len(column[0]) for column in strings) for strings in (packed["strings"], encoded.strings))
    # Tables give every symbol a 2^-16th, and each of two strings ends with 4 to 8 bytes.
    assert abs(spent - estimate) < 0.02 * estimate + 16
    return (written, spent) if in_groups is None else (in_groups, estimate)


@pytest.mark.parametrize("arch", FIXED)
def test_what_compressai_decodes(theirs, wrapped, arch):
    (point,) = wrapped[arch].operating_points
    pairs = [same_as_compressai(wrapped[arch], theirs[arch], image, point) for image in small.images()]
    rates = [sum(column) for column in zip(*pairs, strict=True)]
    # Half a per cent, and the ends of two or three strings of each image, which come in words of 4 bytes.
    assert abs(rates[1] - rates[0]) <= 0.005 * rates[0] + 4 * 2 * len(pairs)


@pytest.mark.parametrize(("arch", "side_steps"), VARIABLE)
def test_what_compressai_decodes_at_any_rate(theirs, wrapped, arch, side_steps):
    codec, model = wrapped[arch, side_steps], copy.deepcopy(theirs[arch, side_steps])
    codec.update_tables()  # z's of every rate, by bisection; the model gets the same quantiles below
    model.load_state_dict({**model.state_dict(), "entropy_bottleneck.quantiles": codec.entropy_z.quantiles.detach()})  # pyright: ignore
    points = [*codec.operating_points[::7], codec.point_at(1000.0)]  # pyright: ignore
    image = small.images()[0]
    for point in points:
        gain = codec.gain_at(point).float()  # pyright: ignore
        model.update(force=True, **({"scale": gain} if side_steps else {}))
        one, own = same_as_compressai(codec, model, image, point, inputscale=gain)
        assert abs(own - one) <= 0.01 * one + 8  # one image: the ends of two strings


@pytest.mark.parametrize("key", [*FIXED, *VARIABLE], ids=str)
def test_states_come_out_as_they_went_in(theirs, wrapped, key):
    state = theirs[key].state_dict()
    fresh = small.codec(*key) if isinstance(key, tuple) else small.codec(key)
    fresh.load_compressai(state)
    found = fresh.compressai_state()
    assert list(found) == list(state)
    left_out = ("_offset", "_cdf_length", "_quantized_cdf") if fresh.side_steps else ()
    for name, value in state.items():
        expected = value[:0] if name in {f"entropy_bottleneck.{part}" for part in left_out} else value
        assert torch.equal(found[name], expected.flatten() if expected.numel() == 0 else expected), name
    twin = type(theirs[key]).from_state_dict if not ARCHS[fresh.arch].grouped else None
    if twin is not None:  # of ELIC it takes the default groups only
        twin(dict(found), **({"vr_entbttlnck": True} if fresh.side_steps else {}))


def config_of(codec: CompressaiCodec) -> dict[str, Any]:
    target = {"_target_": "nic_lightning.codecs.wrapped.codec.CompressaiCodec", "arch": codec.arch}
    return codec.config_to_keep(target)


def test_files_of_every_family_are_read_by_another_process(wrapped, tmp_path):
    """Decoded by exports, to the bit, at an odd size."""
    expected = {}
    for arch in FAMILIES:
        codec = wrapped.get(arch, wrapped.get((arch, False)))
        (tmp_path / arch).mkdir()
        export_codec(codec, config_of(codec), tmp_path / arch / "export")
        point = codec.operating_points[-1]
        image = small.images()[1][..., :50, :101]
        (tmp_path / arch / "image.nic").write_bytes(codec.pack(codec.compress(image, point), point))
        with torch.no_grad():
            expected[arch] = codec(image, point).x_hat[0].clamp(0, 1)
    program = (
        "import sys, pathlib, torch, nic_lightning\n"
        "for folder in map(pathlib.Path, sys.argv[1:]):\n"
        "    codec = nic_lightning.load(folder / 'export')\n"
        "    torch.save(codec.decode((folder / 'image.nic').read_bytes(), 'torch'), folder / 'image.pt')\n"
    )
    folders = [str(tmp_path / arch) for arch in FAMILIES]
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, *folders], check=True)
    for arch in FAMILIES:
        assert torch.equal(torch.load(tmp_path / arch / "image.pt"), expected[arch]), arch


def test_no_forward_pass_writes_into_masked_weights(wrapped):
    for arch in ("mbt2018", "cheng2020-anchor-checkerboard"):
        before = wrapped[arch].fingerprint()
        with torch.no_grad():
            wrapped[arch].train()(small.images()[0], wrapped[arch].operating_points[0])
        wrapped[arch].eval()
        assert wrapped[arch].fingerprint() == before


def saved(state: Any, path: Path) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("arch", FIXED)
def test_weight_files_are_recognised(theirs, tmp_path, arch):
    content = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in theirs[arch].state_dict().items()}}
    file = saved(content, tmp_path / "checkpoint.pth.tar")
    codec = CompressaiCodec(arch=arch, weights=file).eval()
    assert codec.comes_trained
    # CompressAI's context models mask their weights when they run: the state is another one than at the beginning.
    twin = small.codec(arch)
    twin.load_compressai(theirs[arch].state_dict())
    assert codec.fingerprint() == twin.fingerprint()
    assert [p.label for p in codec.operating_points] == ["checkpoint"]
    image = small.images()[2]
    run = load_codec(file)  # of the simplest four, a codec of our own parts
    decoded = [c.decompress(c.compress(image, p), p) for c in (codec, run) for p in c.operating_points]
    torch.testing.assert_close(decoded[0], decoded[1], rtol=0, atol=1e-5)  # float32's last digits, in another order
    if run.name == arch:
        assert run.fingerprint() == codec.fingerprint()


@pytest.mark.parametrize("arch", ["bmshj2018-factorized", "mbt2018-mean", "elic2022-official"])
def test_training_begins_with_a_weight_file(theirs, tmp_path, arch):
    file = saved(theirs[arch].state_dict(), tmp_path / "weights.pth")
    codec, twin = small.codec(arch), small.codec(arch)
    start_from(codec, file)
    twin.load_compressai(theirs[arch].state_dict())
    assert codec.fingerprint() == twin.fingerprint()


def test_names_of_old_releases_and_of_the_zoo(theirs, tmp_path):
    old = {
        k.replace("entropy_bottleneck.matrices.", "entropy_bottleneck._matrix").replace(".skip.", ".downsample."): v
        for k, v in theirs["cheng2020-attn"].state_dict().items()
    }
    file = saved(old, tmp_path / "cheng2020_attn-mse-2-e0805385.pth.tar")
    codec = CompressaiCodec(arch="cheng2020-attn", weights=file)
    (point,) = codec.operating_points
    assert (point.label, point.lmbda) == ("q2", pytest.approx(0.0035 * 255**2))
    kept = codec.config_to_keep({"_target_": "x", "arch": "cheng2020-attn", "weights": file, "width": None})
    assert (kept["weights"], kept["width"], kept["label"]) == (None, 16, "q2")


def test_sizes_and_lambdas_of_the_zoo():
    from nic_lightning.codecs.wrapped.archs import lambda_of, size_of

    def sizes(arch: str, quality: int | None) -> tuple[int, int]:
        found = size_of(arch, quality, None, None, None)
        return found.width, found.latents

    from compressai.zoo.image import cfgs

    for arch, by_quality in cfgs.items():
        for quality, given in by_quality.items():
            assert sizes(arch, quality) == (given[0], given[-1])
    assert sizes("mbt2018-mean", None) == (128, 192)
    assert lambda_of("mbt2018", 8) == pytest.approx(0.18 * 255**2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"arch": "mbt2018-men"}, r"codec\.arch is 'mbt2018-men'; the nearest of 13 are mbt2018-mean, .*"),
        ({"quality": 9}, r"codec\.quality is 9; mbt2018-mean has 1 to 8\."),
        ({"arch": "cheng2020-attn", "quality": 7}, r"codec\.quality is 7; cheng2020-attn has 1 to 6\."),
        ({"arch": "mbt2018-vbr", "quality": 3}, r"codec\.quality is 3; mbt2018-vbr is one model for all rates.*"),
        ({"arch": "mbt2018-vbr", "lmbda": 3}, r"codec\.lmbda is 3 and .*mbt2018-vbr has eight lambdas.*"),
        ({"arch": "cheng2020-attn", "width": 8, "latents": 12}, r"codec\.latents is 12; cheng2020-attn has as many.*"),
        ({"width": 100000}, r"codec\.width is 100000 and codec\.latents 192; give 1 to 1024 of both\."),
        ({"groups": [1, 2]}, r"codec\.groups is \[1, 2\]; mbt2018-mean has no groups.*"),
        ({"arch": "elic2022-official", "width": 8, "latents": 12}, r"codec\.groups is .* with 12 latents.*"),
        ({"side_steps": True}, r"codec\.side_steps is true; mbt2018-mean has one bin width.*"),
    ],
)
def test_what_there_is_not_is_one_sentence(arguments, sentence):
    with pytest.raises(UserError, match=f"^{sentence}$"):
        CompressaiCodec(**arguments)


def test_weights_of_another_architecture_are_one_sentence(theirs, tmp_path):
    file = saved(theirs["mbt2018"].state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"holds mbt2018 and not mbt2018-mean: give codec\.arch=mbt2018\.$"):
        CompressaiCodec(weights=file)
    with pytest.raises(RunError, match=r"holds no model of CompressAI"):
        CompressaiCodec(weights=saved({"some": torch.zeros(1)}, tmp_path / "b.pth"))
    with pytest.raises(UserError, match=r"^codec\.width is 8, and that of codec\.weights is 16: leave it out\.$"):
        CompressaiCodec(arch="mbt2018", weights=file, width=8)
    cut = {key: value for key, value in theirs["mbt2018"].state_dict().items() if key != "g_s.2.bias"}
    with pytest.raises(UserError, match=r"b\.pth does not fit mbt2018 of this size: g_s\.2\.bias is missing there\.$"):
        CompressaiCodec(arch="mbt2018", weights=saved(cut, tmp_path / "b.pth"))
    with pytest.raises(UserError, match=r"does not fit mbt2018 of this size: .* is .* there and .* here\.$"):
        CompressaiCodec(arch="mbt2018", width=4, latents=4).load_compressai(theirs["mbt2018"].state_dict())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"Gain": torch.full((8,), torch.nan)}, "has no bin widths of z for eight gains"),
        ({"Gain": torch.ones(3)}, "has no bin widths of z for eight gains"),
        ({"gayn2zqstep.2.weight": torch.ones(3, 3)}, "has another network of the bin width of z"),
        ({"gayn2zqstep.4.bias": None}, "has another network of the bin width of z"),
        ({"g_a.0.weight": torch.zeros(2000, 3, 5, 5)}, "has latents of more than 1024 channels"),
        ({"h_s.4.bias": torch.zeros(3)}, "does not fit"),
    ],
)
def test_hostile_weights_are_one_sentence(theirs, tmp_path, changes, sentence):
    state = dict(theirs["mbt2018-mean-vbr", True].state_dict()) | changes
    file = saved({key: value for key, value in state.items() if value is not None}, tmp_path / "odd.pth")
    with pytest.raises(RunError, match=sentence):
        load_codec(file)


def test_a_config_from_outside_reads_no_file(tmp_path):
    from nic_lightning.codecs.loading import build_codec

    with pytest.raises(UserError, match="names a file, weights"):
        build_codec({"_target_": "nic_lightning.codecs.wrapped.codec.CompressaiCodec", "weights": str(tmp_path)})


def test_every_rate_has_a_point_of_its_own_in_the_file(wrapped):
    codec = wrapped["mbt2018-vbr", False]
    image = small.images()[0]
    point = codec.point_at(777.0)
    data = codec.pack(codec.compress(image, point), point)
    _, found = codec.unpack(data)
    assert found == point
    with pytest.raises(UserError, match="outside this codec's range"):
        codec.point_at(1.0)
    with pytest.raises(BitstreamError):
        codec.unpack(data[:-1])


def test_a_file_for_all_rates_is_loaded_with_its_points(theirs, tmp_path):
    model = theirs["bmshj2018-hyperprior-vbr", True]
    run = load_codec(saved(model.state_dict(), tmp_path / "bmshj2018-hyperprior-mse-vbr-cddd26be.pth.tar"))
    assert len(run.operating_points) == 8
    image = small.images()[0]
    sizes = [len(run.encode(image, point=point)) for point in run.operating_points]
    assert sizes == sorted(sizes)
    # A string's length is a multiple of 4 bytes, 0.004 bpp here.
    assert abs(8 * len(run.encode(image, bpp=0.3)) / image[0, 0].numel() - 0.3) < 0.02 * 0.3 + 0.004


@pytest.mark.parametrize("arch", ["cheng2020-anchor", "elic2022-chandelier", "mbt2018-vbr"])
@pytest.mark.parametrize(
    "name", ["hostile_bytes_end_in_a_sentence", "everything_comes_trained", "builds_and_runs_on_the_meta_device"]
)
def test_what_every_codec_promises(wrapped, arch, name):
    codec = wrapped.get(arch, wrapped.get((arch, False)))
    (check,) = [check for check in codec_checks(codec, config_of(codec)) if check.name == name]
    check()


def test_a_serial_context_is_what_it_says_pixel_by_pixel(wrapped):
    """The plain decoder: one 5x5 crop of what is known, and the three 1/1 layers, for each position in raster order."""
    codec: Any = wrapped["cheng2020-anchor"]
    (point,) = codec.operating_points
    encoded = codec.compress(small.images()[0], point)
    y_hat, features = encoded.latents["y"].double(), in_float64(codec.h_s, encoded.latents["z"])
    y = codec.analysis(small.images()[0], point).double()
    kernel = (codec.context.prediction.weight * codec.context.prediction.mask).double()
    layers = copy.deepcopy(codec.context.parameters_of).double()
    padded = torch.nn.functional.pad(torch.zeros_like(y_hat), (2, 2, 2, 2))
    with torch.no_grad():
        for i in range(y.shape[-2]):
            for j in range(y.shape[-1]):
                crop = padded[..., i : i + 5, j : j + 5]
                seen = torch.nn.functional.conv2d(crop, kernel, codec.context.prediction.bias.double())
                _, means = layers(torch.cat([features[..., i : i + 1, j : j + 1], seen], 1)).chunk(2, 1)
                means = means[0, :, 0, 0]
                padded[0, :, i + 2, j + 2] = (torch.round(y[0, :, i, j] - means) + means).float().double()
    # Means to the last digit of float32, of values up to 20.
    torch.testing.assert_close(padded[..., 2:-2, 2:-2], y_hat, rtol=0, atol=2e-6)


@pytest.mark.parametrize("arch", ["mbt2018", "elic2022-official", "mbt2018-mean-vbr"])
def test_a_model_object_becomes_a_codec(theirs, arch):
    model = copy.deepcopy(theirs.get(arch, theirs.get((arch, True))))
    before = copy.deepcopy(model.state_dict())
    codec = nic_lightning.wrap(model)
    image = small.images()[0]
    assert codec.decode(codec.encode(image), "torch").shape == image.shape[1:]
    same_as_compressai(codec, model, image, codec.default_point, **variable(codec, model))
    assert all(torch.equal(before[name], value) for name, value in codec.compressai_state().items() if len(value))


def variable(codec: Any, model: Any) -> dict[str, Any]:
    """How CompressAI is told of the default point, its tables of z made for it."""
    if ARCHS[codec.arch].qualities:
        return {}
    gain = codec.gain_at(codec.default_point).float()
    model.update(force=True, scale=gain)
    return {"inputscale": gain}


def test_what_is_no_model_of_compressai_is_one_sentence(theirs):
    class Own(type(theirs["mbt2018"])):
        """Of another forward pass, perhaps."""

    for other in (torch.nn.Conv2d(1, 1, 1), "mbt2018", Own(4, 4)):
        with pytest.raises(
            UserError, match=r"^wrap takes a model of CompressAI \(bmshj2018-factorized, .*\), not .*\.$"
        ):
            nic_lightning.wrap(other)
    model = copy.deepcopy(theirs["mbt2018-vbr", False])
    model.no_quantoffset = True
    with pytest.raises(UserError, match="only models with no_quantoffset=False"):
        nic_lightning.wrap(model)


def test_crops_of_a_training_step_are_dealt_out_among_the_rates(wrapped):
    codec: Any = copy.deepcopy(wrapped["mbt2018-vbr", False]).train()
    crops = small.smooth_images(64, 64, 8)
    dealt = list(codec.training_outputs(crops))
    assert torch.equal(torch.cat([x for _, x, _ in dealt]), crops)
    assert [point for point, _, _ in dealt] == list(codec.operating_points)
    assert [len(x) for _, x, _ in codec.training_outputs(crops[:3])] == [3] * 8


def test_training_sees_rounded_latents_and_passes_gradients_through(wrapped):
    """Without the network of the offsets, y_hat is what the file holds, but for means, which follow from noise."""
    codec: Any = copy.deepcopy(wrapped["bmshj2018-hyperprior-vbr", False])
    for parameter in codec.offsets.parameters():
        torch.nn.init.zeros_(parameter)
    point = codec.operating_points[5]
    y = codec.analysis(small.images()[0], point).detach().requires_grad_()
    features = codec.h_s(codec.hyper_analysis(y).round()).detach()
    y_hat, _ = codec.noisy_likelihood(y, features, point)
    gain = codec.gain_at(point).float()
    torch.testing.assert_close(y_hat, torch.round(y * gain) / gain, rtol=0, atol=1e-5)  # last digits of values to 40
    y_hat.sum().backward()
    torch.testing.assert_close(y.grad, torch.ones_like(y))


def test_a_checkpoint_of_the_trained_codec_needs_no_weight_file(theirs, tmp_path):
    file = saved(theirs["mbt2018"].state_dict(), tmp_path / "a.pth")
    codec = CompressaiCodec(arch="mbt2018", weights=file).eval()
    target = "nic_lightning.codecs.wrapped.codec.CompressaiCodec"
    config = codec.config_to_keep({"_target_": target, "arch": "mbt2018", "weights": file})
    content = {
        "codec": {"config": config, "tables": {}},
        "state_dict": {f"codec.{k}": v for k, v in codec.state_dict().items()},
    }
    Path(file).unlink()
    assert load_codec(saved(content, tmp_path / "last.ckpt")).fingerprint() == codec.fingerprint()


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_full_sizes(arch):
    """Parameters are as many as CompressAI's, and a file of an untrained codec decodes to its forward pass."""
    torch.manual_seed(0)
    codec = CompressaiCodec(arch=arch).eval()
    codec.update_tables()
    theirs = model_of(arch, codec.size)
    theirs.load_state_dict(codec.compressai_state())
    gains = 8 if "gain" in codec.state_dict() else 0  # a buffer here: it is not trained
    own = sum(parameter.numel() for parameter in codec.parameters()) + gains
    assert own == sum(parameter.numel() for parameter in theirs.parameters())
    image, point = small.smooth_images(120, 190), codec.operating_points[-1]
    with torch.no_grad():
        expected = codec(image, point).x_hat.clamp(0, 1)
    assert torch.equal(codec.decompress(*codec.unpack(codec.pack(codec.compress(image, point), point))), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "side_steps"), [*((arch, False) for arch in FIXED), *VARIABLE])
def test_every_promise_of_every_architecture(wrapped, arch, side_steps):
    codec = wrapped.get(arch, wrapped.get((arch, side_steps)))
    check_codec(codec, config_of(codec))
