"""Which models there are, and what a name stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nic_lightning.errors import RunError, UserError, choices
from nic_lightning.zoo.card import CARD, Card, read_card, read_json

HERE = Path(__file__).parent
MODELS, ORDER = "models", "zoo.json"
FILES = ("codec.json", "codec.safetensors", CARD)
"""What a model's folder holds: an export (`codecs/exporting.py`) and its card."""
HOW_TO_TRAIN = "nic-train trains one, and --run RUN names it"


@dataclass(frozen=True)
class Model:
    """One model: `folder` is an export, which `load_codec` takes."""

    name: str
    folder: Path
    card: Card
    codec: str
    """Its codec's name, as in conf/codec."""
    size: int
    """Bytes of its weights' file."""
    is_default: bool
    """Whether it is what its medium's files are compressed with where no model is named."""


def models() -> list[Model]:
    """Every model that comes with the package: defaults first, those for images before others, then by name.

    Raises:
        RunError: a model is damaged, or zoo.json names a default that is none.
    """
    folders = sorted(HERE.joinpath(MODELS).glob(f"*/{CARD}"))
    cards = {file.parent: read_card(file.parent) for file in folders}
    chosen = _defaults(list(cards.values()))
    made = [_model(folder, card, card.name == chosen.get(card.medium)) for folder, card in cards.items()]
    return sorted(made, key=lambda model: (not model.is_default, model.card.medium != "image", model.name))


def find_model(name: str) -> Model:
    """The model of a name; UserError where there is none."""
    found = {model.name: model for model in models()}
    if not found:
        raise UserError(f"There is no model {name!r}: the zoo of this nic_lightning is empty; {HOW_TO_TRAIN}.")
    if name not in found:
        raise UserError(f"There is no model {name!r} in the zoo; {choices(name, found)}.")
    return found[name]


def default_model(medium: str) -> Model:
    """What files of a medium are compressed with where no model is named; UserError where there is none."""
    here = [model for model in models() if model.card.medium == medium]
    for model in here:
        if model.is_default:
            return model
    if here:
        raise UserError(
            f"The zoo has several models for {medium}s and no default: name one by --run; there are: "
            f"{', '.join(model.name for model in here)}."
        )
    raise UserError(f"The zoo of this nic_lightning has no model for {medium}s: {HOW_TO_TRAIN}.")


def source_of(name_or_path: str | Path) -> Path:
    """The path that a user means: what exists under it, or the folder of the model of that name; else as it is.

    The one place where names of models become paths: whatever takes a run, a checkpoint or an export asks here.
    """
    path = Path(name_or_path)
    if os.path.lexists(path) or len(path.parts) != 1:
        return path
    folder = HERE / MODELS / path.name
    return folder if (folder / CARD).is_file() else path


def no_source(path: str | Path) -> str:
    """The sentence for a run, checkpoint, export or model that is not there."""
    names = sorted(file.parent.name for file in HERE.joinpath(MODELS).glob(f"*/{CARD}"))
    if not names or len(Path(path).parts) != 1:
        return f"{path} does not exist; give a run folder or a .ckpt file."
    return f"{path} does not exist; give a run folder, a .ckpt file or a model of the zoo ({', '.join(names)[:200]})."


def _defaults(cards: list[Card]) -> dict[str, str]:
    """By medium the name of its default: as zoo.json has it, or the only model of the medium."""
    found = read_json(HERE / ORDER)
    named = found.get("defaults")
    if found.keys() != {"defaults"} or not isinstance(named, dict):
        raise RunError(f"{HERE / ORDER} holds other things than defaults, by medium.")
    by_name = {card.name: card for card in cards}
    for medium, name in named.items():
        if not isinstance(name, str) or name not in by_name or by_name[name].medium != medium:
            raise RunError(f"{HERE / ORDER} names {name!r} as the default of {medium}s, which is no such model.")
    media = [card.medium for card in cards]
    return {card.medium: card.name for card in cards if media.count(card.medium) == 1} | named


def _model(folder: Path, card: Card, is_default: bool) -> Model:
    description = read_json(folder / "codec.json")
    config = description.get("codec")
    target = config.get("_target_") if isinstance(config, dict) else None
    if description.get("fingerprint") != card.fingerprint or not isinstance(target, str):
        raise RunError(f"{folder} holds another codec than the one of its card: the fingerprints differ.")
    size = (folder / "codec.safetensors").stat().st_size
    return Model(card.name, folder, card, target.split(".")[-2] if "." in target else target, size, is_default)
