"""What only a receiver has: declared by codecs, offered by `nic decompress`, refused where it does not fit."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import nic_lightning.codecs
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.codecs.receiver import DECLARED, LAYERS, STYLE
from nic_lightning.codecs.scalable import ScalableAutoencoder
from nic_lightning.codecs.translation import I2ICodec, UI2ICodec
from nic_lightning.commands.app import build_app
from nic_lightning.errors import UserError
from tests.codecs.test_translation import made

OFFERED = [option for options in DECLARED.values() for option in options]


def codec_classes() -> list[type[LearnedCodec]]:
    modules = [
        importlib.import_module(f"nic_lightning.codecs.{m.name}")
        for m in pkgutil.iter_modules(nic_lightning.codecs.__path__)
    ]
    found = {c for m in modules for c in vars(m).values() if isinstance(c, type) and issubclass(c, LearnedCodec)}
    return sorted(found, key=lambda c: c.__name__)


def test_the_command_line_offers_what_codecs_declare() -> None:
    declared = {option for codec in codec_classes() for option in codec.receiver_options}
    assert declared == set(OFFERED)
    assert {c for c in codec_classes() if c.receiver_options} >= {ScalableAutoencoder, I2ICodec, UI2ICodec}
    _, bound, _ = build_app().parse_args(
        "decompress a.nic --run r -o o --layers 2 --progressive --domain dog --reference b.png --seed -1 --samples 3",
        exit_on_error=False,
        print_error=False,
    )
    given = {option.name: bound.arguments[option.name] for option in OFFERED}
    assert given == {
        "layers": 2, "progressive": True, "domain": "dog", "reference": Path("b.png"), "seed": -1, "samples": 3,
    }  # fmt: skip


@pytest.mark.parametrize("codec", codec_classes(), ids=lambda c: c.__name__)
def test_decoding_takes_what_its_codec_declares(codec: type[LearnedCodec]) -> None:
    parameters = inspect.signature(codec.decoding).parameters
    assert {option.name for option in codec.receiver_options} == set(parameters) - {"self", "wishes"}


def test_a_choice_that_a_codec_does_not_have_is_a_sentence() -> None:
    plain, layered = ModulatedAutoencoder(width=8, lambdas=[64.0]), ScalableAutoencoder([4, 8])
    for codec, options in ((plain, OFFERED), (layered, STYLE), (made(), LAYERS)):
        codec.decoding(**{option.name: None for option in OFFERED})
        for option in options:
            value = {int: 0, bool: True, str: "dog", Path: lambda side: None}[option.type]
            with pytest.raises(UserError, match=f"^Codec {codec.name} has no {option.what}: leave --{option.name} out"):
                codec.decoding(**{option.name: value})


def test_the_images_of_a_file_are_named_and_decoded_one_by_one(picture) -> None:
    codec = ScalableAutoencoder([4, 8]).eval()
    codec.update_tables()
    point = codec.operating_points[-1]
    data = codec.pack(codec.compress(picture(32, 32), point), point)
    decoding = codec.decoding(progressive=True)
    found = decoding.of(data)
    assert decoding.ending == found.endings[0]
    assert found.endings == (("layers1",), ("layers2",))
    both = list(found.images)
    (whole,), (first,) = (list(codec.decoding(layers=k).of(data).images) for k in (None, 1))
    assert [x.shape for x in both] == [(1, 3, 32, 32)] * 2
    assert (both[0] == first).all()
    assert (both[1] == whole).all()


@pytest.mark.parametrize("room", ["commands", "callbacks"])
def test_a_room_asks_codecs_and_does_not_test_their_classes(room: str) -> None:
    folder = Path(nic_lightning.codecs.__file__).parents[1] / room
    files = sorted(folder.rglob("*.py"))
    assert len(files) > 10
    assert [path.name for path in files if re.search(r"isinstance\(codec\b", path.read_text())] == []
