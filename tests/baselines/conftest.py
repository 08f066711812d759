from __future__ import annotations

import pytest

from nic_lightning.baselines.still import StillImageCodec
from tests.baselines.samples import CODECS


@pytest.fixture(params=CODECS)
def codec(request) -> StillImageCodec:
    return CODECS[request.param]()
