from __future__ import annotations

import pytest

from nic_lightning.runs.settings import precision

AVX2 = "processor : 0\nflags\t\t: fpu sse2 avx avx2 fma\n"
AVX512 = "processor : 0\nflags\t\t: fpu avx avx2 avx512f avx512bw\n"
ARM = "processor : 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    ("info", "wanted", "says"),
    [
        (AVX2, "bf16-mixed", True),
        (AVX2, "bf16-true", True),
        (AVX2, "32-true", False),
        (AVX2, 32, False),
        (AVX512, "bf16-mixed", False),
        (ARM, "bf16-mixed", False),
        ("", "bf16-mixed", False),
        (None, "bf16-mixed", False),
    ],
)
def test_says_where_the_processor_has_no_bfloat16(monkeypatch, tmp_path, capsys, info, wanted, says):
    place = tmp_path / "cpuinfo"
    if info is not None:
        place.write_text(info)
    monkeypatch.setattr(precision, "CPU_INFO", place)
    precision.say_slow({"trainer": {"accelerator": "cpu", "precision": wanted}})
    assert ("with trainer.precision=32-true" in capsys.readouterr().err) is says


@pytest.mark.parametrize("accelerator", ["gpu", "auto"])
def test_says_nothing_of_a_gpu(monkeypatch, tmp_path, capsys, accelerator):
    place = tmp_path / "cpuinfo"
    place.write_text(AVX2)
    monkeypatch.setattr(precision, "CPU_INFO", place)
    monkeypatch.setattr(precision, "shows_gpu", lambda: True)
    precision.say_slow({"trainer": {"accelerator": accelerator, "precision": "bf16-mixed"}})
    assert capsys.readouterr().err == ""
