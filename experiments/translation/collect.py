"""Which counts of the thesis' table 4.3 follow from the released networks, and what the runs of run_discs.sh measured.

python experiments/translation/collect.py [RUNS]     writes parameters.csv, measured.csv and the README's tables
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nic_lightning.codecs.translation import I2ICodec, UI2ICodec
from nic_lightning.layers.stargan import AdaIN, Discriminator
from nic_lightning.report.experiments.gathering import fill, read_csv, write_csv
from nic_lightning.report.page.translations import means
from nic_lightning.runs.record.translation import read_translation

FOLDER = Path(__file__).resolve().parent
LAMBDAS = ("0.01", "0.1", "0.5")
SHOWN = {
    "system": "system",
    "guide": "styles from",
    "bpp": "bpp",
    "accuracy_alexnet": "taken for the target domain",
    "lpips_diversity": "LPIPS between outputs",
}
UNITS = {"10^6": 1e6, "2^20": 2**20}
Part = tuple[str, int]


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def networks(**arguments: int) -> dict[str, nn.Module]:
    """The codecs at full size and two domains, without memory."""
    with torch.device("meta"):
        return {"I2Icodec": I2ICodec(**arguments), "UI2Icodec": UI2ICodec(**arguments), "D": Discriminator()}


def ours(made: dict[str, nn.Module]) -> dict[str, int]:
    """Parameters of the four rows, discriminators left out."""
    codec = made["I2Icodec"]
    hyperprior = count(codec.h_a, codec.h_s, codec.entropy_z)
    affine = count(codec.encoder, codec.decoder) - _style_layers(codec.decoder) + _channels(codec.decoder)
    return {
        "NIC": affine + hyperprior,
        "StarGAN v2": count(codec.encoder, codec.decoder, codec.mapping, codec.style_encoder),
        "I2Icodec": count(codec),
        "UI2Icodec": count(made["UI2Icodec"]),
    }


def _style_layers(decoder: nn.Module) -> int:
    return sum(count(layer) for layer in decoder.modules() if isinstance(layer, AdaIN))


def _channels(decoder: nn.Module) -> int:
    """Scale and shift for each channel, which a plain normalisation has instead of a layer for the style."""
    return sum(layer.fc.out_features for layer in decoder.modules() if isinstance(layer, AdaIN))


def choices(made: dict[str, nn.Module]) -> list[list[Part]]:
    """What one may count or not: for each part of the released networks its possible shares, with a name."""
    codec, judge = made["I2Icodec"], made["D"]
    style, heads = _style_layers(codec.decoder), judge.main[-1]
    branch, head = codec.mapping.unshared[0], codec.style_encoder.unshared[0]
    none: Part = ("", 0)
    return [
        [none, ("E", count(codec.encoder))],
        [none, ("G without style layers", count(codec.decoder) - style)],
        [none, ("style layers of G", style)],
        [none, ("trunk of M", count(codec.mapping.shared))],
        [none, *((f"{n} of M's branches", n * count(branch)) for n in (1, 2, 3))],
        [none, ("trunk of S", count(codec.style_encoder.shared))],
        [none, *((f"{n} of S' heads", n * count(head)) for n in (1, 2, 3))],
        [none, *((f"{n} of D's trunk", n * (count(judge) - count(heads))) for n in (1, 2))],
        [none, ("heads of D", count(heads))],
    ]


def sums(parts: list[list[Part]]) -> Iterator[tuple[int, str]]:
    """Every total and what is in it."""
    for chosen in itertools.product(*parts):
        names = [name for name, _ in chosen if name]
        if names:
            yield sum(number for _, number in chosen), " + ".join(names)


def rows() -> list[dict[str, str]]:
    """A row for each published count."""
    made = networks()
    found, totals = ours(made), list(sums(choices(made)))
    published = printed_counts()
    listed = []
    for name, printed in published.items():
        distance, nearest, unit, what = min(
            (abs(total / scale - printed), total / scale, unit, what)
            for total, what in totals
            for unit, scale in UNITS.items()
        )
        listed.append(
            {
                "method": name,
                "published": f"{printed:.2f}",
                "here": f"{found[name]:,}",
                "nearest_subset": f"{nearest:.3f}",
                "unit": unit,
                "parts": what,
                "reproduced": "yes" if distance <= 0.005 else "no",
            }
        )
    return listed


def differences() -> list[tuple[str, float, str]]:
    """Printed differences between rows, and what has that size here."""
    published = printed_counts()
    whole = ours(networks())
    units = whole["UI2Icodec"] - whole["I2Icodec"]
    hyperpriors = [f"{_hyperprior(n):,} with {n} latent channels" for n in (512, 64)]
    return [
        ("I2Icodec - StarGAN v2", published["I2Icodec"] - published["StarGAN v2"], "; ".join(hyperpriors)),
        ("UI2Icodec - I2Icodec", published["UI2Icodec"] - published["I2Icodec"], f"{units:,} (units, entropy model)"),
    ]


def _hyperprior(latents: int) -> int:
    codec = networks(latents=latents)["I2Icodec"]
    return count(codec.h_a, codec.h_s, codec.entropy_z)


def table(listed: list[dict[str, str]]) -> str:
    """What the README shows."""
    lines = [
        "| | thesis, million | here, two domains | nearest sum of released parts | of what | reproduced |",
        "|---|---|---|---|---|---|",
    ]
    for row in listed:
        nearest = f"{row['nearest_subset']} x {row['unit']}"
        cells = [row["method"], row["published"], row["here"], nearest, row["parts"], row["reproduced"]]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| difference | thesis, million | here |", "|---|---|---|"]
    lines += [f"| {name} | {value:.2f} | {size} |" for name, value, size in differences()]
    return "\n".join(lines)


def printed_counts() -> dict[str, float]:
    """Method -> million parameters."""
    return {row["method"]: float(row["parameters_million"]) for row in read_csv(FOLDER / "published_parameters.csv")}


def measured(runs: Path) -> list[dict[str, Any]]:
    """Means over both tasks of the runs of run_discs.sh, each with its codecs before and after."""
    found: list[dict[str, Any]] = []
    for weight in LAMBDAS:
        rows = [
            row for row in means(read_translation(runs / f"discs_{weight}")) if row["guide"] is not None or not found
        ]
        found += [{"lambda_t": weight, **{key: row.get(key) for key in SHOWN}} for row in rows]
    return found


def measured_table(rows: list[dict[str, Any]]) -> str:
    """What the README shows."""
    lines = [f"| lambda_T | {' | '.join(SHOWN.values())} |", "|---" * (len(SHOWN) + 1) + "|"]
    for row in rows:
        numbers = [f"{float(row[key]):.3f}" if row[key] else "-" for key in list(SHOWN)[2:]]
        lines.append(f"| {' | '.join([row['lambda_t'], row['system'], row['guide'] or '-', *numbers])} |")
    return "\n".join(lines)


def main() -> None:
    listed = rows()
    write_csv(FOLDER / "parameters.csv", list(listed[0]), listed)
    fill(FOLDER / "README.md", {"parameters": table(listed)})
    if len(sys.argv) > 1:
        found = measured(Path(sys.argv[1]))
        write_csv(FOLDER / "measured.csv", list(found[0]), found)
        fill(FOLDER / "README.md", {"measured": measured_table(found)})


if __name__ == "__main__":
    main()
