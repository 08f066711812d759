from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.codecs.base import CodecOutput, Encoded, OperatingPoint
from nic_lightning.errors import BitstreamError
from nic_lightning.metrics.evaluation import EvaluationError, evaluate_codec
from nic_lightning.metrics.fidelity import psnr
from nic_lightning.metrics.names import reconstruction_path, safe_name
from nic_lightning.runs.record.results import RESULT_COLUMNS


class Toy(nn.Module):
    """A learned codec in small: grey levels in steps of `width`, uniform entropy model, one byte a symbol."""

    name = "toy"

    def __init__(self, bits: float = 8.0, drift: int = 0, crop: int = 0) -> None:
        super().__init__()
        self.g_a = nn.Parameter(torch.ones(5))
        self.entropy_y = nn.Linear(3, 3)
        self.bits, self.drift, self.crop = bits, drift, crop

    @property
    def operating_points(self) -> list[OperatingPoint]:
        return [OperatingPoint(0, "coarse", width=64), OperatingPoint(1, "fine", width=8)]

    def forward(self, x: Tensor, point: OperatingPoint) -> CodecOutput:
        y = self._quantise(x, point)
        return CodecOutput(x, {"y": torch.full(y.shape, 2.0**-self.bits)}, y, y)

    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        y = self._quantise(x, point)
        data = y.byte().numpy().tobytes()
        return Encoded(((data,),), (x.shape[-2], x.shape[-1]), {"y": y})

    def decode_latents(self, encoded: Encoded, point: OperatingPoint) -> dict[str, Tensor]:
        flat = torch.from_numpy(np.frombuffer(encoded.strings[0][0], np.uint8).copy()).float()
        return {"y": flat.view(1, 3, *encoded.shape) + self.drift}

    def decompress(self, encoded: Encoded, point: OperatingPoint) -> Tensor:
        y = self.decode_latents(encoded, point)["y"]
        return (y * (point.width or 1) / 255)[..., self.crop :, :].clamp(0, 1)

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        head = [point.index, *encoded.shape]
        return np.array(head, np.uint16).tobytes() + encoded.strings[0][0]

    def unpack(self, data: bytes) -> tuple[Encoded, OperatingPoint]:
        index, height, width = np.frombuffer(data[:6], np.uint16).tolist()
        return Encoded(((data[6:],),), (height, width)), self.operating_points[index]

    def _quantise(self, x: Tensor, point: OperatingPoint) -> Tensor:
        return (x * 255 / (point.width or 1)).round()


def pictures(count: int = 3, side: int = 40) -> list[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    x = torch.nn.functional.interpolate(coarse, (side, side + 4), mode="bilinear")
    x = x.mul(255).round().div(255)
    return [(f"img{i}.png", image) for i, image in enumerate(x)]


def test_rows_of_a_learned_codec():
    seen: list[tuple[str, str]] = []
    toy = Toy().train()

    def on_item(name: str, point: OperatingPoint) -> None:
        seen.append((name, point.label))

    rows = evaluate_codec(toy, pictures(2), "set", macs={"fine": 77}, on_item=on_item)
    assert [(r["item"], r["label"]) for r in rows] == seen
    assert seen == [(n, p) for n in ("img0.png", "img1.png") for p in ("coarse", "fine")]
    assert not toy.training
    row = rows[1]
    assert set(row) <= set(RESULT_COLUMNS)
    assert (row["codec"], row["dataset"], row["index"], row["width"]) == ("toy", "set", 1, 8)
    assert row["bytes"] == 6 + 3 * row["pixels"]
    assert row["bpp"] == pytest.approx(24 + 48 / row["pixels"])
    assert row["bpp_estimated"] == pytest.approx(24.0)
    assert (row["parameters"], row["macs"], rows[0]["macs"]) == (5, 77, None)
    assert row["encode_ms"] > 0
    assert row["decode_ms"] > 0
    assert row["peak_memory_mib"] is None
    assert rows[0]["psnr"] < row["psnr"]
    assert row["ms_ssim"] is row["ms_ssim_db"] is row["lpips"] is None


def test_rows_of_a_classic_codec_and_a_choice_of_points():
    codec = Jpeg([10, 50, 90])
    images = pictures(1, side=170)
    (row,) = evaluate_codec(codec, images, "set", points=codec.operating_points[2:])
    assert (row["label"], row["quality"]) == ("q90", 90.0)
    assert row["bpp_estimated"] is row["parameters"] is row["macs"] is None
    assert 0.9 < row["ms_ssim"] < 1
    assert row["ms_ssim_db"] > 10
    (name, image) = images[0]
    assert evaluate_codec(codec, [(name, image[None])], "set")[2]["psnr"] == row["psnr"]


def test_lpips_is_asked_with_the_decoded_pictures():
    class Distance(nn.Module):
        def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
            assert not torch.equal(x, x_hat)
            return (x - x_hat).abs().flatten(1).mean(1)

    rows = evaluate_codec(Toy(), pictures(1), "set", measures={"lpips": Distance()})
    assert rows[0]["lpips"] > rows[1]["lpips"] > 0


def test_pictures_are_saved_where_reports_look(tmp_path):
    images = pictures(3)
    rows = evaluate_codec(Toy(), images, "a/b", save_images=tmp_path, save_count=2)
    assert sum(file.is_file() for file in tmp_path.rglob("*.png")) == 2 * 3
    for name, image in images[:2]:
        original = np.asarray(Image.open(reconstruction_path(tmp_path, "a/b", name, None)))
        assert np.array_equal(original, (image * 255).round().byte().permute(1, 2, 0).numpy())
        decoded = np.asarray(Image.open(reconstruction_path(tmp_path, "a/b", name, "fine")))
        decoded = torch.from_numpy(decoded.copy()).permute(2, 0, 1).float().div(255)
        value = next(r["psnr"] for r in rows if r["item"] == name and r["label"] == "fine")
        assert psnr(image[None], decoded[None]).item() == pytest.approx(value, abs=1e-4)


def test_a_gap_between_real_and_estimated_bits_is_an_error():
    evaluate_codec(Toy(bits=7.9), pictures(1), "set")
    with pytest.raises(EvaluationError, match=r"toy at point 'coarse' on image 'img0.png'.*update_tables"):
        evaluate_codec(Toy(bits=7.8), pictures(1), "set")
    small = pictures(1, side=20)
    evaluate_codec(Toy(bits=7.8), small, "set")


def test_a_decoder_that_drifts_is_an_error():
    with pytest.raises(EvaluationError, match="latents 'y' differ"):
        evaluate_codec(Toy(drift=1), pictures(1), "set")


def test_a_wrong_size_is_an_error():
    with pytest.raises(EvaluationError, match="instead of"):
        evaluate_codec(Toy(crop=1), pictures(1), "set")


def test_errors_of_the_codec_are_not_hidden():
    class Broken(Toy):
        def unpack(self, data: bytes) -> Any:
            raise BitstreamError("cut")

    with pytest.raises(BitstreamError, match="cut"):
        evaluate_codec(Broken(), pictures(1), "set")


def test_no_images_and_no_points():
    assert evaluate_codec(Toy(), [], "set") == []
    assert evaluate_codec(Toy(), pictures(1), "set", points=[]) == []


def test_safe_names():
    assert safe_name("kodim01.png") == "kodim01.png"
    names = ["../../etc/passwd", "a/b", "a_b", "a:b", "", "..", ".", "original", "x" * 300, "\ud800"]
    made = [safe_name(name) for name in names]
    assert len(set(made)) == len(made)
    for name in made:
        assert "/" not in name
        assert not name.startswith(".")
        assert 0 < len(name) < 100
        assert name != "original"
