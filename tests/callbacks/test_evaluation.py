from __future__ import annotations

import pytest
from skimage import data, io

from nic_lightning.baselines.pillow import Jpeg, WebP
from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.errors import DataError, UserError
from nic_lightning.report.curves.curves import curves
from nic_lightning.runs.record.results import read_results


def test_images_are_made_into_squares_where_asked(tmp_path):
    (tmp_path / "images").mkdir()
    io.imsave(tmp_path / "images" / "a.png", data.astronaut()[:100, :60])

    def rows(side):
        given = {"run": "r", "experiment": "e", "datasets": [str(tmp_path / "images")], "save_images": 0}
        evaluate_into_run(Jpeg(qualities=[50]), tmp_path, side=side, **given)
        return {row["dataset"].rpartition("/")[2]: row["pixels"] for row in read_results(tmp_path / "results.parquet")}

    rows(None)
    assert rows(32) == {"images": 6000, "images_32px": 1024}
    with pytest.raises(UserError, match=r"evaluation\.side is 0"):
        rows(0)


GIVEN = {"run": "r", "experiment": "e", "save_images": 0}


@pytest.fixture
def folder(tmp_path):
    """Three images, the one in the middle larger."""
    (tmp_path / "images").mkdir()
    for name, side in (("a", 40), ("b", 90), ("c", 50)):
        io.imsave(tmp_path / "images" / f"{name}.png", data.astronaut()[:side, :side])
    return tmp_path


class Choosy(Jpeg):
    """JPEG that does not like images of some size, and counts its files."""

    _dislikes: tuple[int, ...] = (90,)
    _reaction: BaseException = DataError("A picture of 90 pixels is too large for choosy.")
    _files = 0

    def compress(self, x, point):
        self._files += 1
        if x.shape[-1] in self._dislikes:
            raise self._reaction
        return super().compress(x, point)


def table(folder) -> list[dict]:
    return [{k: v for k, v in r.items() if k not in ("encode_ms", "decode_ms")} for r in read_results(folder)]


def test_an_image_that_a_codec_refuses_is_a_named_gap(folder, caplog):
    images = [str(folder / "images")]
    rows = evaluate_into_run(WebP([50]), folder, datasets=images, baselines=[Choosy([10, 50])], **GIVEN)
    assert [
        (r["codec"], r["item"], r["label"], r["psnr"] is None) for r in map(lambda r: {"psnr": None} | r, rows)
    ] == [
        ("webp", "a", "q50", False),
        ("webp", "b", "q50", False),
        ("webp", "c", "q50", False),
        *(("jpeg", item, label, item == "b") for item in "abc" for label in ("q10", "q50")),
    ]
    assert "jpeg takes no b of" in caplog.text
    assert "too large for choosy" in caplog.text
    kept = read_results(folder / "results.parquet")
    assert [r["refused"] for r in kept if r["item"] == "b" and r["codec"] == "jpeg"] == [str(Choosy._reaction)] * 2
    (jpeg,) = [c for c in curves(kept) if c.codec == "jpeg"]
    with_b = evaluate_into_run(Jpeg([10, 50]), folder / "all", datasets=images, **GIVEN)
    for point in jpeg.points:
        right = [r for r in with_b if r["item"] != "b" and r["label"] == point["label"]]
        assert point["bpp"] == pytest.approx(sum(r["bpp"] for r in right) / 2)
        assert point["psnr"] == pytest.approx(sum(r["psnr"] for r in right) / 2)


def test_a_codec_that_refuses_every_image_ends_the_evaluation_with_the_reason(folder):
    codec = Choosy([50])
    codec._dislikes = (40, 50, 90)
    with pytest.raises(UserError, match=r"jpeg takes no image of .*images: A picture of 90 pixels is too large"):
        evaluate_into_run(codec, folder, datasets=[str(folder / "images")], **GIVEN)


def test_a_killed_evaluation_goes_on_and_ends_as_if_nobody_had_touched_it(folder, caplog):
    images = [str(folder / "images")]
    evaluate_into_run(WebP([50]), folder / "whole", datasets=images, baselines=[Choosy([10, 50])], **GIVEN)
    killed = Choosy([10, 50])
    killed._reaction = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        evaluate_into_run(WebP([50]), folder / "run", datasets=images, baselines=[killed], **GIVEN)
    assert {r["codec"] for r in read_results(folder / "run" / "results.parquet")} == {"webp"}
    again = Choosy([10, 50])
    caplog.set_level("INFO")
    evaluate_into_run(WebP([50]), folder / "run", datasets=images, baselines=[again], **GIVEN)
    assert "images measured before: 4" in caplog.text
    assert again._files == 4  # of b, once in vain and once to warm up; of c, two points
    assert table(folder / "run" / "results.parquet") == table(folder / "whole" / "results.parquet")
    assert not list((folder / "run").glob("*unfinished*"))


def test_what_was_measured_otherwise_is_measured_again(folder):
    images = [str(folder / "images")]
    killed = Choosy([10, 50])
    killed._reaction = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        evaluate_into_run(killed, folder / "run", datasets=images, **GIVEN)
    io.imsave(folder / "images" / "a.png", data.chelsea()[100:140, 200:240])  # another image of that name
    rows = evaluate_into_run(Jpeg([10, 50]), folder / "run", datasets=images, **GIVEN)
    fresh = evaluate_into_run(Jpeg([10, 50]), folder / "fresh", datasets=images, **GIVEN)
    assert [r["psnr"] for r in rows] == [r["psnr"] for r in fresh]


def test_results_of_fewer_images_say_that_they_replace_more(folder, caplog):
    images = [str(folder / "images")]
    evaluate_into_run(Jpeg([50]), folder, datasets=images, **GIVEN)
    assert "replace" not in caplog.text
    evaluate_into_run(Jpeg([50]), folder, datasets=images, limit=1, **GIVEN)
    assert "replace earlier ones; images now: 1, before: 3" in caplog.text
