"""Fixtures for every room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

THIRD_PARTY_WARNINGS = [
    # Lightning walks batches with torch's older tree functions.
    "ignore:.*LeafSpec.* is deprecated:FutureWarning",
]


def pytest_configure(config: pytest.Config) -> None:
    """Quiet what third parties warn about themselves; everything else stays an error."""
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def nic_data() -> Path:
    """The data root: NIC_DATA, else ../shared/data beside the checkout; a test that needs it skips without."""
    root = Path(os.environ.get("NIC_DATA") or CHECKOUT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no data at {root}: set NIC_DATA to a folder that holds kodak/, photos/, ...")
    return root.resolve()
