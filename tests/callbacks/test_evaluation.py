from __future__ import annotations

import pytest
from skimage import data, io

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.errors import UserError
from nic_lightning.runs.results import read_results


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
