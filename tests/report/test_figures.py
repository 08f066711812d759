from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from PIL import Image

from nic_lightning.errors import UserError
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.figures import _colours, rd_figure
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


def test_published_curves_have_the_colour_of_their_codec():
    made = curves([*learned_rows("mae"), *classic_rows("jpeg"), *learned_rows("vtm"), *classic_rows("webp")])
    drawn = [replace(c, published=c.codec == "vtm") for c in made]
    drawn += [replace(c, name=f"{c.name} (published)", published=True) for c in made if c.codec == "jpeg"]
    colours = dict(zip([curve.name for curve in drawn], _colours(drawn), strict=True))
    assert colours["jpeg (published)"] == colours["jpeg"]
    assert len(set(colours.values())) == 4
