"""ONNX files of point-cloud codecs: symbols of points, log probabilities of symbols."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nic_lightning.codecs import cloud_onnx
from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.codecs.to_onnx import TOLERANCE
from nic_lightning.entropy import tight
from nic_lightning.errors import UserError
from tests.codecs.test_point_cloud import clouds, made, strings


def exported(codec: PointCloudCodec, out: Path) -> list[str]:
    said: list[str] = []
    config = {"_target_": f"{type(codec).__module__}.{type(codec).__name__}"}
    export_codec(codec, config, out, onnx_points=codec.operating_points, report=said.append)
    return said


@pytest.mark.parametrize("size", ["micro", *(pytest.param(size, marks=pytest.mark.slow) for size in ("lite", "full"))])
def test_symbols_and_decisions_are_those_of_the_codec(size, tmp_path, onnxruntime):
    codec, out = made(size).requires_grad_(False), tmp_path / "out"
    (said,) = exported(codec, out)
    assert "symbols of random clouds are those of torch" in said
    assert "classifier@160.onnx" in said
    sender, receiver = (onnxruntime.InferenceSession(out / f"{n}@160.onnx") for n in ("g_a", "classifier"))
    assert sender.get_modelmeta().custom_metadata_map["fingerprint"] == codec.fingerprint().hex()
    for x in (clouds(3, 50), clouds(1, 333)):
        (symbols,) = sender.run(None, {"points": x.numpy()})
        tables, rows = codec.entropy_y.tables, codec._rows
        assert tuple(tight.encode_string(tables, each, rows) for each in symbols) == strings(codec, x)
        (scores,) = receiver.run(None, {"symbols": symbols})
        expected = codec.decompress(codec.compress(x, codec.operating_points[0]), codec.operating_points[0])
        allowed = TOLERANCE * max(1, float(expected.log_probabilities.abs().max()))
        np.testing.assert_allclose(scores, expected.log_probabilities.numpy(), rtol=0, atol=allowed)


def test_a_half_has_the_file_of_its_side(tmp_path, onnxruntime):
    for half, name in (("sender", "g_a@160.onnx"), ("receiver", "classifier@160.onnx")):
        exported(made().half_of(half), tmp_path / half)
        assert {file.name for file in (tmp_path / half).glob("*.onnx")} == {name}


def test_a_file_that_computes_something_else_is_not_exported():
    codec = made()
    for check, wrong, said in (
        (cloud_onnx._require_symbols, lambda x: torch.zeros(8, 16, dtype=torch.int32), "gives other symbols"),
        (cloud_onnx._require_log_probabilities, lambda s: torch.zeros(len(s), 12), r"differs from the codec by \d"),
        (cloud_onnx._require_log_probabilities, lambda s: torch.zeros(len(s)), "differs from the codec by inf"),
    ):
        with pytest.raises(UserError, match=f"name is not exported: under onnxruntime it {said}"):
            check(codec, codec.operating_points[0], wrong, "name")


def test_other_layers_have_no_file(tmp_path, onnxruntime):
    codec = made()
    codec.g_a.layers[2] = torch.nn.GELU()
    with pytest.raises(UserError, match="no ONNX file is made of"):
        exported(codec, tmp_path / "out")
