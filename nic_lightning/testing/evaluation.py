"""Checks of a codec under evaluation: images too small for a metric, images that it refuses, a killed evaluation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import Tensor

from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.text import rd_table
from nic_lightning.runs.record.results import read_results
from nic_lightning.testing.subject import Subject, expect, expect_equal, smooth_images

HEIGHT = 40
WIDTHS = {"a": 33, "b": 36, "c": 34}
"""Columns of the inputs of the set; the one in the middle is the one that is refused."""
TIMES = ("encode_ms", "decode_ms")


def an_image_too_small_for_a_metric_is_in_no_mean_of_it(subject: Subject) -> None:
    """MS-SSIM needs 161 pixels; its curve is over the images that have them, and the table names the others."""
    codec = subject.codec
    points = [p for p in codec.operating_points if not isinstance(codec, LearnedCodec) or codec.reconstructs(p)][:1]
    images = [("large", smooth_images(176, 164)[0]), ("tiny", smooth_images(40, 33)[0])]
    rows = evaluate_codec(codec, images, "mixed", points=points)
    if not points:
        expect_equal(rows, [], "of a codec that only translates the rows")
        return
    expect_equal([row["ms_ssim_db"] is None for row in rows], [False, True], "rows without MS-SSIM")
    found = curves(rows)
    expect_equal(len(found), 1, "from the rows of one codec as many curves as")
    curve = found[0]
    both = curve.points[0]
    expect(both["psnr"] is not None, "a mean PSNR over both images", both["psnr"])
    expect(both["ms_ssim_db"] is None, "no mean MS-SSIM where one image has none", both["ms_ssim_db"])
    (point,) = curve.over("ms_ssim_db").points
    kept, of_large = ((values["bpp"], values["ms_ssim_db"]) for values in (point, rows[0]))
    expect_equal(kept, of_large, "over MS-SSIM the rate and quality of the large image alone,")
    sentence = "over 1 of 2 images: tiny has no finite MS-SSIM"
    expect(sentence in rd_table(rows), f"a table that says {sentence!r}", rd_table(rows))


def an_image_that_the_codec_refuses_is_a_gap(subject: Subject) -> None:
    """A refused image has a row with the reason and no measurements, and leaves the others' rows as they are."""
    with _folder(subject) as folder:
        whole = _evaluated(subject, folder, "whole")
        with _refusing(subject, UserError("This picture is too wide.")):
            first, gap, last = _evaluated(subject, folder, "choosy")
    for row, same in ((first, whole[0]), (last, whole[2])):
        expect_equal({**row, "refused": 0}, {**same, "refused": 0}, "beside a refused image the row")
    expect_equal((gap["item"], gap["refused"]), ("b", "This picture is too wide."), "a row of image and reason")
    measured = {key: gap.get(key) for key in ("bytes", subject.medium.rate.key, subject.medium.default)}
    expect_equal(measured, dict.fromkeys(measured), "of a refused image the measurements")


def a_killed_evaluation_goes_on_after_its_last_image(subject: Subject) -> None:
    """The same command gives the rows of an evaluation that was not killed, and encodes no image twice."""
    codec, compress, seen = subject.codec, subject.codec.compress, []
    with _folder(subject) as folder:
        whole = _evaluated(subject, folder, "whole")
        try:
            with _refusing(subject, KeyboardInterrupt()):
                _evaluated(subject, folder, "killed")
        except KeyboardInterrupt:
            pass
        else:
            expect(False, "an evaluation that KeyboardInterrupt ends", "one that went on")

        def noted(x: Tensor, point: Any) -> Any:
            seen.append(subject.handler.units(x))
            return compress(x, point)

        with patch.object(codec, "compress", noted):
            expect_equal(_evaluated(subject, folder, "killed"), whole, "after the interruption the rows")
    expect(
        HEIGHT * WIDTHS["a"] not in seen, "the image that was measured before left alone", "it was encoded once more"
    )


@contextmanager
def _folder(subject: Subject) -> Iterator[Path]:
    """A folder with three inputs as files."""
    handler = subject.handler
    ending = handler.original_ending or handler.ending
    with tempfile.TemporaryDirectory() as name:
        for item, width in WIDTHS.items():
            handler.write(subject.example(HEIGHT, width), Path(name) / "images" / f"{item}{ending}")
        yield Path(name)


def _evaluated(subject: Subject, folder: Path, run: str) -> list[dict[str, Any]]:
    """Rows that an evaluation keeps, without their times."""
    labels = [subject.codec.operating_points[0].label]
    given = {"run": "r", "experiment": "e", "datasets": [str(folder / "images")], "save_images": 1, "workers": 1}
    evaluate_into_run(subject.codec, folder / run, points=labels, **given)
    rows = read_results(folder / run / "results.parquet")
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@contextmanager
def _refusing(subject: Subject, error: BaseException) -> Iterator[None]:
    """Let the codec raise an error for the image in the middle."""
    compress = subject.codec.compress

    def choosy(x: Tensor, point: Any) -> Any:
        if subject.handler.units(x) == HEIGHT * WIDTHS["b"]:
            raise error
        return compress(x, point)

    with patch.object(subject.codec, "compress", choosy):
        yield
