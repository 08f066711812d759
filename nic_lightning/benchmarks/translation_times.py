"""Where a translation codec's time goes: sender and receiver, networks and entropy coding, beside plain StarGAN v2.

Times are those that the process spends on its cores (`time.process_time`), not the clock's, so that what else runs on
the machine counts little; with one thread they are what an idle core would take.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.analysis.latency import Spread, spread
from nic_lightning.codecs.translation import TRANSLATE, I2ICodec
from nic_lightning.errors import UserError

NETWORKS = {"encoder": "E^c", "h_a": "h_a, h_s", "h_s": "h_a, h_s", "mapping": "M", "decoder": "G"}
"""Networks that run, and the column that their time goes to."""
COLUMNS = ("E^c", "h_a, h_s", "coding", "M", "G", "all")
"""`coding` is what is left: rounding, entropy coding, its tables, and making and reading the file."""
PLAIN = "plain StarGAN v2"
SENDER, RECEIVER = "{}, sender", "{}, receiver"
Row = dict[str, float]


class Stopwatch:
    """Core-seconds inside each of some networks, none of which runs inside another."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.spent: Row = {}
        self._since = 0.0
        self._hooks: list[Any] = []
        for name, network in networks.items():
            self._hooks.append(network.register_forward_pre_hook(self._start))
            self._hooks.append(network.register_forward_hook(lambda *_, name=name: self._stop(name)))

    def _start(self, *_: Any) -> None:
        self._since = time.process_time()

    def _stop(self, name: str) -> None:
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - self._since

    def close(self) -> None:
        """Leave the networks as they were."""
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def round_of_times(codec: I2ICodec, x: Tensor) -> dict[str, Row]:
    """Milliseconds of each of `COLUMNS` that occurs, for each mode's sender and receiver and for plain StarGAN v2.

    `x` is one image (1, 3, H, W) in [0, 1]; receivers draw a style of the last domain.
    """
    rows: dict[str, Row] = {}
    for point in codec.operating_points:
        watch = Stopwatch({name: getattr(codec, name) for name in NETWORKS})
        try:
            start = time.process_time()
            data = codec.pack(codec.compress(x, point), point)
            rows[SENDER.format(point.label)] = _row(watch.spent, time.process_time() - start)
            watch.spent = {}
            start = time.process_time()
            codec.decompress(*codec.unpack(data), **codec.receiver_example(point))
            rows[RECEIVER.format(point.label)] = _row(watch.spent, time.process_time() - start)
        finally:
            watch.close()
    rows[PLAIN] = _plain(codec, x)
    return rows


def _plain(codec: I2ICodec, x: Tensor) -> Row:
    """The same networks without a bottleneck: what StarGAN v2 does with an image and a random vector."""
    watch = Stopwatch({name: getattr(codec, name) for name in ("encoder", "mapping", "decoder")})
    try:
        start = time.process_time()
        y = codec.analysis(codec.pad(x), TRANSLATE)
        codec.synthesis(y, TRANSLATE, **codec.receiver_example(TRANSLATE))
        row = _row(watch.spent, time.process_time() - start)
    finally:
        watch.close()
    row.pop("coding")  # turning pixels to [-1, 1] and back
    return row


def _row(spent: Row, whole: float) -> Row:
    row: Row = {}
    for name, seconds in spent.items():
        row[NETWORKS[name]] = row.get(NETWORKS[name], 0.0) + 1e3 * seconds
    return row | {"coding": 1e3 * (whole - sum(spent.values())), "all": 1e3 * whole}


def scaled_to(codec: I2ICodec, x: Tensor, bpp: float) -> float:
    """Scale the content of an untrained codec, from now on, until the file of `x` has `bpp` bits per pixel; the rate.

    Untrained content is as wide as in no trained codec, and coding it would take longer. Found by bisection to within
    5 %, or as near as that comes.

    Raises UserError where no scale between 1e-4 and 100 reaches the rate.
    """
    gain = [1.0]
    codec.encoder.register_forward_hook(lambda *given: gain[0] * given[-1])

    def rate(logarithm: float) -> float:
        gain[0] = 10**logarithm
        point = codec.operating_points[0]
        return 8 * len(codec.pack(codec.compress(x, point), point)) / (x.shape[-2] * x.shape[-1])

    low, high = -4.0, 2.0
    if not rate(low) < bpp < rate(high):
        raise UserError(f"No scale of the content gives files of {bpp:g} bits per pixel; ask for another rate.")
    for _ in range(20):
        middle = (low + high) / 2
        found = rate(middle)
        if abs(found / bpp - 1) < 0.05:
            break
        low, high = (middle, high) if found < bpp else (low, middle)
    return found


def times(codec: I2ICodec, x: Tensor, rounds: int) -> list[dict[str, Row]]:
    """`round_of_times` again and again, after one round that is not counted."""
    return [round_of_times(codec, x) for _ in range(rounds + 1)][1:]


def table(found: Sequence[dict[str, Row]]) -> str:
    """Medians of each row and column, and how much longer each mode takes than plain StarGAN v2 in the same round."""
    lines = [f"  {'':>20}" + "".join(f" {column:>10}" for column in COLUMNS)]
    for row in found[0]:
        cells = (_cell([one[row][c] for one in found if c in one[row]]) for c in COLUMNS)
        lines.append(f"  {row:>20}" + "".join(cells))
    for mode in (row.removesuffix(", sender") for row in found[0] if row.endswith(", sender")):
        both = [one[SENDER.format(mode)]["all"] + one[RECEIVER.format(mode)]["all"] for one in found]
        ratio = spread([b / one[PLAIN]["all"] for b, one in zip(both, found, strict=True)])
        lines.append(f"  {mode} / {PLAIN}: {_words(ratio)}")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    return f" {spread(values).median:>10.1f}" if values else f" {'-':>10}"


def _words(found: Spread) -> str:
    return f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"
