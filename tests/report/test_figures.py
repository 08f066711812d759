from __future__ import annotations

import warnings

import pytest
from PIL import Image

from nic_lightning.errors import UserError
from nic_lightning.report.curves import curves
from nic_lightning.report.figures import rd_figure
from tests.report.samples import classic_rows, learned_rows


def test_a_plot_is_drawn(tmp_path):
    made = curves(learned_rows(codec="_$x$ \\frac{") + classic_rows() + learned_rows(dataset="other"))
    path = tmp_path / "figures" / "rd.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rd_figure(made, "psnr", path) == path
    with Image.open(path) as image:
        assert image.format == "PNG"
        colours = image.convert("RGB").getcolors(2**20)
        assert colours is not None
        assert len(colours) > 50
    other = rd_figure(made, "ms_ssim_db", tmp_path / "other.png", "other")
    assert other is not None
    assert other.read_bytes() != path.read_bytes()


def test_nothing_to_draw(tmp_path):
    made = curves(learned_rows())
    assert rd_figure(made, "lpips", tmp_path / "a.png") is None
    assert rd_figure([], "psnr", tmp_path / "a.png") is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="choose one of psnr"):
        rd_figure(made, "speed", tmp_path / "a.png")
