"""Files that this and earlier versions wrote decode to the latents that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nic_lightning import bitstream
from nic_lightning.codecs.base import Encoded
from nic_lightning.errors import BitstreamError
from tests.golden import make

FILES = sorted(make.FOLDER.glob("*/v*.nic"))


def latents(file: Path, version: int | None = None) -> dict[str, torch.Tensor]:
    codec = make.load(file.parent)
    encoded, point = codec.unpack(file.read_bytes())
    if version is not None:
        encoded = Encoded(encoded.strings, encoded.shape, version=version)
    return codec.decode_latents(encoded, point)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_a_golden_file_decodes(file):
    decoded = latents(file)
    with np.load(file.with_suffix(".npz")) as expected:
        assert set(expected.files) == set(decoded)
        for name in expected.files:
            # A wrong symbol is off by a whole step. Means are by float64, on a grid: equal on every machine.
            np.testing.assert_allclose(decoded[name].numpy(), expected[name], rtol=1e-6, atol=1e-6)


def test_every_learned_codec_has_golden_files_of_the_version_that_is_written():
    conf = make.FOLDER.parents[1] / "conf" / "codec"
    learned = {p.stem for p in conf.glob("*.yaml") if "nic_lightning.codecs." in p.read_text()}
    assert {f.parent.name for f in FILES if f.stem.startswith(f"v{bitstream.VERSION}.")} == learned | {*make.VARIANTS}


def test_the_rule_of_the_first_version_is_needed_for_its_files():
    """In float64 it never took the row of the smallest scales."""
    file = make.FOLDER / "hyperprior" / "v1.1024.nic"
    with np.load(file.with_suffix(".npz")) as expected:
        try:
            decoded = latents(file, version=2)["y"].numpy()
        except BitstreamError:
            return
        assert not np.array_equal(decoded, expected["y"])
