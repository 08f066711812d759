from __future__ import annotations

from pathlib import Path

import pytest

from nic_lightning.analysis.efficiency import measure
from nic_lightning.cli import main
from nic_lightning.codecs.loading import load_codec


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def test_a_budget_picks_the_widest_point_within_it(slim_run: Path, images, tmp_path: Path, capsys) -> None:
    export = tmp_path / "export"
    assert nic("export", slim_run, "-o", export) == 0
    costs = [
        p.analysis.macs_per_pixel + p.synthesis.macs_per_pixel for p in measure(load_codec(export), (70, 90)).points
    ]
    budget = f"{(costs[1] + costs[2]) / 2e3:.3f}k"
    rates = []
    for point in ("w4", "w8", "w16"):
        assert nic("compress", images[0], "-o", tmp_path / point, "--run", slim_run, "--point", point) == 0
        rates.append(8 * (tmp_path / point / "face.nic").stat().st_size / (70 * 90))
    assert rates[0] < rates[1] < rates[2]

    def chosen(*arguments: object, source: Path = slim_run) -> str:
        capsys.readouterr()
        assert nic("compress", images[0], "-o", tmp_path / "o", "--run", source, "--overwrite", *arguments) == 0
        return capsys.readouterr().out

    for source in (slim_run, export):
        assert " point w8, " in chosen("--max-macs", budget, source=source)
        assert (tmp_path / "o" / "face.nic").read_bytes() == (tmp_path / "w8" / "face.nic").read_bytes()
    assert " point w16, " in chosen("--max-latency-ms", 1e9)
    assert " point w8, " in chosen("--max-latency-ms", 1e9, "--max-macs", budget)

    text = chosen("--max-macs", 3)
    assert " point w4, " in text
    assert "(No operating point takes 3 MAC/pixel or less on this image; the cheapest takes " in text
    text = chosen("--max-latency-ms", 1e-9)
    assert " point w4, " in text
    assert "for this image on this machine, more than 1e-09 ms; the others were not tried" in text

    # With a rate: the best of the points within the budget.
    assert " point w4, " in chosen("--max-macs", budget, "--bpp", rates[0])
    assert " point w16, " in chosen("--bpp", rates[2])
    text = chosen("--max-macs", budget, "--bpp", rates[2])
    assert " point w8, " in text
    assert f"reach {rates[0]:.3f} to {rates[1]:.3f} bpp on this image" in text
    assert " point w8, " in chosen("--max-macs", budget, "--psnr", 90)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-macs", "ten"], "'ten' is not a number of multiply-accumulates a pixel; write 4096, 10k or 1.5M."),
        (["--max-latency-ms", "0"], "--max-latency-ms 0 is not a positive number."),
        (["--max-macs", "10k", "--point", "w4"], "--point leaves nothing to --max-macs and --max-latency-ms; "),
    ],
)
def test_budgets_that_make_no_sense(slim_run: Path, images, tmp_path, refused, arguments, sentence: str) -> None:
    assert sentence in refused("compress", *images, "-o", tmp_path / "o", "--run", slim_run, *arguments)
    assert not (tmp_path / "o").exists()


def test_a_codec_without_widths_has_no_budget(run: Path, images, tmp_path, refused) -> None:
    sentence = refused("compress", *images, "-o", tmp_path / "o", "--run", run, "--max-macs", "1M")
    assert sentence.startswith("Every operating point of codec modulated costs the same, ")
