"""CompressAI's models as codecs against CompressAI itself: states, latents, pictures, rates."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.wrapped.archs import ARCHS
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.errors import BitstreamError, RunError, UserError
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
    assert codec.is_trained
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
    with pytest.raises(UserError, match=r"does not fit mbt2018 of this size: .* is .* there and .* here\.$"):
        CompressaiCodec(arch="mbt2018", width=4, latents=4).load_compressai(theirs["mbt2018"].state_dict())


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
