"""The room: cards are read strictly, names become paths in one place, and defaults are clear."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import nic_lightning
from nic_lightning.codecs.starting import start_from
from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.labels import require_labels, require_source
from nic_lightning.zoo import default_model, find_model, models, shelf, source_of
from nic_lightning.zoo.card import MAX_JSON, read_card
from tests.conftest import CHECKOUT
from tests.zoo.shelves import card_of, shelve

SMALL = {"width": 8, "lambdas": [64, 512]}
CONFIG = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "hidden": 6, **SMALL}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty zoo of the test's own."""
    place = tmp_path / "zoo"
    (place / "models").mkdir(parents=True)
    (place / "zoo.json").write_text('{"defaults": {}}')
    monkeypatch.setattr(shelf, "HERE", place)
    monkeypatch.chdir(tmp_path)
    return place


def test_an_empty_zoo_says_how_to_get_a_model(here: Path) -> None:
    assert models() == []
    with pytest.raises(UserError, match="no model for clouds: nic-train trains one"):
        default_model("cloud")
    with pytest.raises(UserError, match="no model 'photo': the zoo of this nic_lightning is empty"):
        find_model("photo")
    with pytest.raises(RunError, match=r"photo does not exist; give a run folder or a \.ckpt file\.$"):
        nic_lightning.load("photo")


def test_a_name_stands_wherever_a_run_does(here: Path, make_codec, tmp_path: Path) -> None:
    codec = make_codec("modulated", **SMALL)
    folder = shelve(codec, CONFIG, here, "photo")
    (model,) = models()
    assert (model.name, model.codec, model.is_default) == ("photo", "modulated", True)
    assert model.size == (folder / "codec.safetensors").stat().st_size
    assert nic_lightning.load("photo").fingerprint() == codec.fingerprint()
    require_source(Path("photo"))
    with pytest.raises(UserError, match="no operating point 'w8'; it has 64, 512"):
        require_labels(Path("photo"), ["w8"])
    other = make_codec("modulated", seed=1, **SMALL)
    start_from(other, "photo")
    assert other.fingerprint() == codec.fingerprint()
    with pytest.raises(RunError, match=r"foto does not exist; .* or a model of the zoo \(photo\)\.$"):
        nic_lightning.load("foto")
    for path in ("elsewhere/photo", "../zoo", "..", ".", "/photo"):
        assert source_of(path) == Path(path)


def test_a_path_that_exists_goes_before_a_name(here: Path, make_codec, tmp_path: Path) -> None:
    shelve(make_codec("modulated", **SMALL), CONFIG, here, "photo")
    (tmp_path / "photo").mkdir()
    with pytest.raises(RunError, match="photo holds no checkpoint"):
        nic_lightning.load("photo")


def test_several_models_of_a_medium_have_a_named_default(here: Path, make_codec) -> None:
    for seed, name in enumerate(("photo", "draft")):
        shelve(make_codec("modulated", seed=seed, **SMALL), CONFIG, here, name)
    with pytest.raises(UserError, match=r"several models for images and no default: .* draft, photo"):
        default_model("image")
    (here / "zoo.json").write_text('{"defaults": {"image": "photo"}}')
    assert [(model.name, model.is_default) for model in models()] == [("photo", True), ("draft", False)]
    assert default_model("image").name == "photo"
    for wrong in ('{"image": "x"}', '{"cloud": "photo"}', '{"image": 3}', "3"):
        (here / "zoo.json").write_text(f'{{"defaults": {wrong}}}')
        with pytest.raises(RunError, match=r"zoo\.json"):
            models()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": 1}, "the card lacks or should not have more"),
        ({"name": "other"}, "its name is 'other', not its folder's"),
        ({"name": "../photo"}, "name has other signs"),
        ({"title": "two\nlines"}, "title is no line of text"),
        ({"title": "\x1b[31mred"}, "title is no line of text"),
        ({"fingerprint": "ABC"}, "16 hexadecimal digits"),
        ({"training": {"steps": 3}}, "training lacks or should not have command"),
        ({"limits": "none"}, "limits is no list"),
        ({"measured": [{"dataset": "kodak", "rows": [], "bd_rate": {}}]}, "rows of one data set are missing"),
        ({"measured": [{"dataset": "a", "rows": [{"point": "1", "bpp": True}], "bd_rate": {}}]}, "bpp is no number"),
        ({"measured": [{"dataset": "a", "rows": [{"point": "1", "<b>": 1}], "bd_rate": {}}]}, "'<b>' is no column"),
        ({"measured": [{"dataset": "a", "rows": [{"point": "1", "bpp": float("nan")}], "bd_rate": {}}]}, "no number"),
        ({"schema": 2}, "no card of schema 1"),
    ],
)
def test_a_card_is_read_strictly(tmp_path: Path, changes: dict, message: str) -> None:
    folder = tmp_path / "photo"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps(card_of("photo", "0" * 16)))
    assert read_card(folder).training.steps == 40
    (folder / "card.json").write_text(json.dumps(card_of("photo", "0" * 16) | changes))
    with pytest.raises(RunError, match=message):
        read_card(folder)


def test_the_card_in_the_guide_is_one(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "zoo.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo" / "card.json").write_text(example)
    assert read_card(tmp_path / "photo").measured[0].bd_rate["jpeg"] < 0


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{}" + " " * MAX_JSON])
def test_what_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(RunError, match=r"card\.json"):
        read_card(tmp_path)


def test_a_card_of_another_codec_is_refused(here: Path, make_codec) -> None:
    folder = shelve(make_codec("modulated", **SMALL), CONFIG, here, "photo")
    (folder / "card.json").write_text(json.dumps(card_of("photo", "0" * 16)))
    with pytest.raises(RunError, match="another codec than the one of its card"):
        models()
