"""The code is our own: nothing of the StarGAN v2 release, which is for non-commercial use, is among it."""

from __future__ import annotations

import subprocess

from tests.conftest import CHECKOUT

FORBIDDEN = ("naver corp", "clovaai", "creative commons attribution-noncommercial", "by-nc 4.0")


def test_no_file_has_the_header_of_another_licence():
    listed = subprocess.run(["git", "ls-files", "*.py", "*.pyx", "*.js"], cwd=CHECKOUT, capture_output=True, text=True)
    names = listed.stdout.split() or [str(p.relative_to(CHECKOUT)) for p in (CHECKOUT / "nic_lightning").rglob("*.py")]
    assert len(names) > 100
    found = []
    for name in set(names) - {
        "tests/test_licences.py",
        "nic_lightning/data/sets.py",
    }:  # which tells data sets' licences
        file = CHECKOUT / name
        text = file.read_text(encoding="utf-8").lower() if file.is_file() else ""
        found += [f"{name}: {words}" for words in FORBIDDEN if words in text]
    assert found == []
