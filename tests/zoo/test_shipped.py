"""What comes with the package, as it is: every model loads, is what its card says, and travels in the wheel."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from hatchling.builders.wheel import WheelBuilder

import nic_lightning
from nic_lightning.config import options
from nic_lightning.media.base import all_media, medium_of
from nic_lightning.zoo import default_model, models, shelf
from tests.conftest import CHECKOUT

MAX_BYTES = 16 * 10**6
"""Of all models together: what an installation may take for them."""
FOLDERS = sorted(path for path in (shelf.HERE / shelf.MODELS).iterdir() if path.is_dir())


def test_every_folder_is_a_model_and_nothing_else() -> None:
    assert sorted(model.folder for model in models()) == FOLDERS
    for folder in FOLDERS:
        assert sorted(path.name for path in folder.iterdir()) == sorted(shelf.FILES)
        assert not any(path.is_symlink() for path in folder.iterdir())
    assert sum(path.stat().st_size for folder in FOLDERS for path in folder.iterdir()) <= MAX_BYTES


def test_every_medium_with_models_has_one_default() -> None:
    named = json.loads((shelf.HERE / shelf.ORDER).read_text())["defaults"]
    assert set(named) <= {medium.name for medium in all_media()}
    for medium in {model.card.medium for model in models()}:
        assert [model for model in models() if model.card.medium == medium and model.is_default] == [
            default_model(medium)
        ]


def test_every_model_is_what_its_card_says_and_its_files_come_back(tmp_path: Path) -> None:
    for model in models():
        codec = nic_lightning.load(model.name)
        assert codec.fingerprint().hex() == model.card.fingerprint
        assert codec.medium == model.card.medium
        medium, labels = medium_of(codec), [point.label for point in codec.operating_points]
        for measured in model.card.measured:
            assert [row["point"] for row in measured.rows if row["point"] not in labels] == []
            assert set(measured.rows[0]) - {"point", *medium.averaged} == set()
            assert set(measured.bd_rate) <= set(options("codec"))
        x = medium.handler().example(40, 56)
        receiver = nic_lightning.load(model.folder)
        for point in (codec.operating_points[0], codec.operating_points[-1]):
            encoded = codec.compress(x, point)
            file = tmp_path / f"{model.name}.nic"
            file.write_bytes(codec.pack(encoded, point))
            found, at = receiver.unpack(file.read_bytes())
            assert at == point
            latents = receiver.decode_latents(found, at)
            assert all(torch.equal(latents[name], encoded.latents[name]) for name in latents)
            assert medium.handler().fits(x, receiver.decompress(found, at))


def test_the_wheel_holds_the_zoo() -> None:
    held = {file.distribution_path for file in WheelBuilder(str(CHECKOUT)).recurse_included_files()}
    wanted = ["nic_lightning/zoo/zoo.json"]
    wanted += [f"nic_lightning/zoo/models/{folder.name}/{name}" for folder in FOLDERS for name in shelf.FILES]
    assert [name for name in wanted if name not in held] == []
    assert "nic_lightning/zoo/no.json" not in held
