"""`nic zoo show`: the card of a model: how it was trained, what was measured, what it cannot do."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nic_lightning.zoo import Measured, Model, find_model


def show(name: Annotated[str, Parameter(name="NAME")], /) -> None:
    """Print what a model is for, how it was trained, what was measured and what it cannot do.

    Args:
        name: of a model that nic zoo list shows

    Examples:
        nic zoo show photo
    """
    print(card_text(find_model(name)))


def card_text(model: Model) -> str:
    """A model's card as text."""
    card, made = model.card, model.card.training
    about = {
        "medium": card.medium + (" (the default)" if model.is_default else ""),
        "codec": model.codec,
        "size": f"{model.size:,} bytes",
        "licence": card.licence,
        "fingerprint": card.fingerprint,
        "folder": str(model.folder),
    }
    training = {
        "data": made.data,
        "command": made.command,
        "commit": made.commit,
        "steps": f"{made.steps:,}",
        "hours": f"{made.hours:g}",
        "machine": made.machine,
    }
    parts = [f"{card.name}: {card.title}\n\n{card.purpose}", _pairs(about), f"Trained\n{_pairs(training)}"]
    parts += [_measured(one) for one in card.measured]
    parts += ["Limits\n" + "\n".join(f"  {limit}" for limit in card.limits)] if card.limits else []
    return "\n\n".join(parts)


def _pairs(values: dict[str, str]) -> str:
    width = max(map(len, values))
    return "\n".join(f"  {key.ljust(width)}  {value}" for key, value in values.items())


def _measured(one: Measured) -> str:
    """A table of the points, and the deltas against other codecs."""
    header = list(one.rows[0])
    rows = [header, *([_cell(row[key]) for key in header] for row in one.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    deltas = ", ".join(f"{name} {value:+.1f} %" for name, value in one.bd_rate.items())
    return "\n".join([f"Measured on {one.dataset}", *lines, *([f"  BD-rate against {deltas}"] if deltas else [])])


def _cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
