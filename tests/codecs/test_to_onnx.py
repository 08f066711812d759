from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml

from nic_lightning.codecs import to_onnx
from nic_lightning.codecs.to_onnx import export_point, require_packages
from nic_lightning.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "codec"
LADDER = {"lambdas": [64, 512]}


@pytest.fixture
def numbers(onnxruntime):
    """What an ONNX file gives for an input."""

    def run(file: Path, name: str, x: torch.Tensor) -> torch.Tensor:
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])

    return run


@torch.no_grad()
def test_onnx_files_code_an_image_as_the_codec_does(tmp_path, make_codec, numbers, picture) -> None:
    codec = make_codec("modulated", **LADDER, kernel_param="rdft")
    point = codec.point("200")  # between two trained ones
    state = {key: value.clone() for key, value in codec.state_dict().items()}
    sentence = export_point(codec, point, tmp_path)
    files = {name: tmp_path / f"{name}@{point.label}.onnx" for name in ("g_a", "g_s")}
    assert sentence.startswith(f"g_a@{point.label}.onnx, g_s@{point.label}.onnx: largest difference from torch ")
    assert sorted(tmp_path.iterdir()) == sorted(files.values())
    assert not any(word in file.read_bytes() for word in (b".py", b"/home", b"/tmp") for file in files.values())
    assert all(torch.equal(value, state[key]) for key, value in codec.state_dict().items())

    for shape in ((16, 16, 1), (48, 160, 3)):
        x = picture(*shape)
        y, y_hat = codec.analysis(x, point), codec.likelihoods(codec.analysis(x, point), point)[0]
        scale = codec.synthesis(y_hat, point).abs().max().item()
        torch.testing.assert_close(numbers(files["g_a"], "x", x), y, rtol=0, atol=1e-4)
        x_hat = numbers(files["g_s"], "y_hat", y_hat)
        torch.testing.assert_close(x_hat, codec.synthesis(y_hat, point), rtol=0, atol=1e-5 * max(1, scale))

    with pytest.raises(UserError, match="given twice"):
        export_point(codec, point, tmp_path)

    # Files that are some other point's, or some other weights', as a wrong export would be.
    with pytest.raises(UserError, match=r"g_a@.* differs from the codec by"):
        to_onnx._check(codec, codec.operating_points[1], files)
    codec.g_s.deconvs[2].bias.add_(0.01 * scale)
    with pytest.raises(UserError, match=r"g_s@.* differs from the codec by"):
        to_onnx._check(codec, point, files)


def exported() -> list[str]:
    """Codecs with ONNX files of images: not classic ones, nor those that translate, whose synthesis takes a style."""
    texts = {path.stem: path.read_text() for path in CONF.glob("*.yaml")}
    without = ("nic_lightning.baselines.", "nic_lightning.codecs.translation.", "nic_lightning.codecs.point_cloud.")
    learned = {
        name: text for name, text in texts.items() if "nic_lightning.codecs." in text
    }  # others name their parent
    return sorted(name for name, text in learned.items() if not any(word in text for word in without))


@pytest.mark.slow
@pytest.mark.parametrize("name", exported())
def test_every_learned_codec_is_exported(name, tmp_path, make_codec, onnxruntime) -> None:
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    arguments = LADDER if "lambdas" in config and name != "hyperprior" else {}
    small = {"widths": [4, 8], "hyper_widths": [3, 6]}
    codec = make_codec(name, **arguments, **{key: value for key, value in small.items() if key in config})
    for point in codec.operating_points:
        export_point(codec, point, tmp_path)
    for file in sorted(tmp_path.iterdir()):
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        assert about["fingerprint"] == codec.file_fingerprint(codec.point(about["point"])).hex()
        assert about["multiple"] == str(codec.downsampling)
        step = codec.downsampling if file.name.startswith("g_a") else codec.stride
        shape = (session.get_inputs() if file.name.startswith("g_a") else session.get_outputs())[0].shape
        assert shape == ["n", 3, f"{step}*h", f"{step}*w"]
    assert len(list(tmp_path.iterdir())) == 2 * len(codec.operating_points)


@pytest.mark.slow
@torch.no_grad()
def test_files_of_a_width_hold_its_slices_and_nothing_else(tmp_path, make_codec, numbers, picture) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    codec = make_codec("slimmable", excite=2.0, widths=[16, 48])
    generator = torch.Generator().manual_seed(0)
    for name, parameter in codec.named_parameters():
        if parameter.dim() < 4 and not name.startswith(
            "entropy_"
        ):  # equal tensors are written once, and all GDNs begin as one
            parameter.add_(0.05 * torch.rand(parameter.shape, generator=generator) / parameter.numel() ** 0.25)
    x = picture(48, 80)
    for point in codec.operating_points:
        export_point(codec, point, tmp_path)
        w = point.width
        for name, values in (("g_a", 53 * w**2 + 248 * w), ("g_s", 53 * w**2 + 248 * w + 3)):
            data = (tmp_path / f"{name}@{point.label}.onnx").read_bytes()
            tensors = onnx.load_model_from_string(data).graph.initializer
            floats = [list(t.dims) for t in tensors if t.data_type == onnx.TensorProto.FLOAT]
            assert sum(torch.Size(dims).numel() for dims in floats) == values
            assert 4 * values < len(data) < 4 * values + 20_000
        y = codec.analysis(x, point)
        y_hat = (y / y.abs().max()).round()
        for name, source, given, expected in (
            ("g_a", "x", x, y),
            ("g_s", "y_hat", y_hat, codec.synthesis(y_hat, point)),
        ):
            found = numbers(tmp_path / f"{name}@{point.label}.onnx", source, given)
            assert found.shape == expected.shape
            assert 0.1 < expected.abs().max() < 100
            assert (found - expected).abs().max() < 1e-4


def test_missing_packages_are_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'nic_lightning\[onnx\]'"):
        require_packages()
