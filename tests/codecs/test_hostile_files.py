"""Mutated, cut, random and forged files: each ends in BitstreamError or in an image of the declared size, soon."""

from __future__ import annotations

import random
import resource
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nic_lightning import bitstream
from nic_lightning.bitstream import MAX_PIXELS, Container
from nic_lightning.codecs.base import Encoded
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.adapted import AdaptedBottleneck
from nic_lightning.errors import BitstreamError

CODECS = {
    "cae": {},
    "modulated": {"lambdas": [64, 256, 1024]},
    "bottleneck_scaling": {"lambdas": [64, 1024]},
    "conditional": {"lambdas": [64, 1024], "steps": [0.5, 1.0]},
    "encoding_distribution": {
        "base": {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": 8},
        **{"bins": 32, "side": 4, "groups": 4},
    },
    "factorised_prior": {"latents": 8},
    "hyperprior": {},
    "mean_scale": {"latents": 6, "context": "checkerboard", "excite": 2.0},
    "modulated_hyperprior": {"lambdas": [64, 1024]},
    "scalable": {"widths": [3, 5, 8]},
    "slimmable": {"widths": [3, 5, 8]},
    "slimmable_hyperprior": {"widths": [4, 8], "hyper_widths": [3, 6]},
    "slimmable_context": {"widths": [4, 8], "hyper_widths": [3, 6]},
    "slimmable_context-serial": {"widths": [4, 8], "hyper_widths": [3, 6], "order": "serial"},
}
FILES = 2400
SECONDS = 2.0
"""Of processor time, to which other programs on the machine add nothing."""
MEMORY = 500 * 2**20
SIDES = [
    0,
    1,
    2,
    15,
    16,
    17,
    63,
    64,
    65,
    255,
    256,
    4096,
    5792,
    8192,
    2**16,
    2**20,
    MAX_PIXELS - 1,
    MAX_PIXELS,
    2**31,
    2**34,
]


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, cut out or put in, at random places."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(out)) if out else 0
        action = rng.random()
        if action < 0.6 and out:
            out[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256), out[place] ^ (1 << rng.randrange(8))])
        elif action < 0.8:
            out[place : place + rng.randint(1, 20)] = b""
        else:
            out[place:place] = rng.randbytes(rng.randint(1, 20))
    return bytes(out)


def forged(rng: random.Random, content: Container) -> bytes:
    """A well-formed file whose fields were chosen by somebody else."""
    strings = list(content.strings)
    for _ in range(rng.randint(0, 2)):
        i = rng.randrange(len(strings)) if strings else 0
        choice = rng.random()
        if choice < 0.5 and strings:
            strings[i] = damaged(rng, strings[i])
        elif choice < 0.7 and strings:
            strings[i] = rng.randbytes(4 * rng.randint(0, 60))
        elif choice < 0.8:
            strings.insert(i, rng.randbytes(8))
        elif choice < 0.9:
            strings = strings[:i]
        elif strings:
            strings[i] = strings[i][: 4 * rng.randint(0, len(strings[i]) // 4)]
    height, width = content.height, content.width
    if rng.random() < 0.5:
        height, width = rng.choice(SIDES), rng.choice(SIDES)
    point = content.point
    if rng.random() < 0.5:
        any_point = bytes([rng.choice([0, 1, 2, 3, 254, 255])]) + rng.randbytes(rng.randint(0, 3))
        point = rng.choice([any_point, bitstream.layered_point(rng.randint(0, 4))])
    return bitstream.pack(Container(content.fingerprint, point, height, width, tuple(strings)))


def hostile(rng: random.Random, originals: list[bytes]) -> Iterator[bytes]:
    """Endless files; most have a CRC that fits, so that parser and coder see the hostile values."""
    while True:
        data = rng.choice(originals)
        body = data[:-4]
        choice = rng.random()
        if choice < 0.1:
            yield damaged(rng, data)
        elif choice < 0.15:
            yield data[: rng.randrange(len(data))]
        elif choice < 0.25:
            yield sealed(body[: rng.randrange(len(body))])
        elif choice < 0.3:
            yield sealed(body[:13] + rng.randbytes(rng.randint(0, 60)))
        elif choice < 0.6:
            yield sealed(body[:13] + damaged(rng, body[13:]))
        else:
            yield forged(rng, bitstream.unpack(data))


def peak_memory() -> int:
    """Highest resident memory in bytes since `reset_peak`, or of the process's life where that is not to be had."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def decode(codec: LearnedCodec, data: bytes) -> bool:
    """Whether it was decoded; the image must then have the declared size."""
    try:
        encoded, point = codec.unpack(data)
        image = codec.decompress(encoded, point, **codec.receiver_example(point))
    except BitstreamError:
        return False
    assert image.shape == (1, 3, *encoded.shape)
    assert image.isfinite().all()
    return True


@pytest.mark.parametrize("name", CODECS)
def test_hostile_files(make_codec, picture, name, record_property):
    codec = make_codec(name.removesuffix("-serial"), **CODECS[name]).requires_grad_(False)
    points = [*codec.candidate_points, *([codec.point_at(100.0)] if codec.lambda_range else [])]
    originals = [codec.pack(codec.compress(picture(*s), p), p) for p in points for s in ((33, 40), (16, 64))]
    for model in filter(lambda module: isinstance(module, AdaptedBottleneck), codec.modules()):
        model._pays = lambda rates: True  # pyright: ignore[reportAttributeAccessIssue]  (tables of a small image do not)
        originals += [codec.pack(codec.compress(picture(*s), p), p) for p in points for s in ((33, 40), (16, 64))]
    assert all(decode(codec, data) for data in originals)
    rng = random.Random(name)
    files = hostile(rng, originals)
    reset_peak()
    before, longest, decoded = peak_memory(), 0.0, 0
    for _ in range(FILES):
        data = next(files)
        start = time.process_time()
        decoded += decode(codec, data)
        longest = max(longest, time.process_time() - start)
    grown = peak_memory() - before
    print(f"{name}: {FILES} files, {decoded} decoded, longest {longest:.3f} s, memory +{grown / 2**20:.0f} MiB")
    assert decoded > FILES / 100  # some forgeries are sound: the coder was reached
    assert longest < SECONDS
    assert grown < MEMORY


def test_hostile_files_are_shortened_to_files_or_refused(make_codec, picture):
    """What needs no model is given whole files of strangers: it must end in a sentence or in a shorter sound file."""
    codec = make_codec("scalable", **CODECS["scalable"]).requires_grad_(False)
    points = codec.operating_points
    originals = [codec.pack(codec.compress(picture(*s), p), p) for p in points for s in ((33, 40), (16, 64))]
    rng, shortened = random.Random(1), 0
    files = hostile(rng, originals)
    for _ in range(FILES):
        data, count = next(files), rng.randint(0, 4)
        try:
            short = bitstream.truncate(data, count)
        except BitstreamError:
            continue
        shortened += 1
        before, after = bitstream.unpack(data), bitstream.unpack(short)
        assert after.strings == before.strings[:count]
        assert (after.height, after.width, after.fingerprint) == (before.height, before.width, before.fingerprint)
        decode(codec, short)
    assert shortened > FILES / 20


@pytest.mark.parametrize("name", ["modulated", "modulated_hyperprior", "scalable"])
def test_the_largest_declared_size_costs_little_until_it_is_earned(make_codec, name):
    """At full width and 33 megapixels, a short string must not make the decoder allocate gigabytes."""
    codec = make_codec(name, **({} if name == "scalable" else {"width": 192})).requires_grad_(False)
    fingerprint = codec.fingerprint()
    rng = random.Random(0)
    for point in (
        codec.operating_points[0],
        codec.point_at(100.0) if codec.lambda_range else codec.operating_points[-1],
    ):
        count = point.index + 1 if name == "scalable" else 2 if "hyper" in name else 1
        if codec.lambda_range:
            codec.bottleneck(codec.entropy_z if "hyper" in name else codec.entropy_y, point)  # its tables are made once
        for height, width in ((4096, 8192), (5792, 5792), (16, MAX_PIXELS // 16), (2**21, 1)):
            strings = (b"\x7f" + rng.randbytes(4095),) * count
            data = bitstream.pack(Container(fingerprint, codec.point_to_bytes(point), height, width, strings))
            reset_peak()
            before, start = peak_memory(), time.process_time()
            assert not decode(codec, data)
            seconds, grown = time.process_time() - start, peak_memory() - before
            print(f"{name} {height}x{width}: {seconds:.3f} s, memory +{grown / 2**20:.0f} MiB")
            assert seconds < SECONDS
            assert grown < MEMORY


def test_nearly_certain_symbols_still_end(make_codec):
    """A density so narrow that a few bytes hold millions of symbols: the declared size bounds the work."""
    codec = make_codec("cae", width=8).requires_grad_(False)
    with torch.no_grad():
        codec.entropy_y.matrices[0].add_(60)
    codec.update_tables()
    point = codec.operating_points[0]
    string, _ = codec.entropy_y.encode(codec.entropy_y.medians.expand(1, 8, 64, 64))
    assert len(string) < 64
    encoded = Encoded(((string,),), (4096, 8192))
    start = time.process_time()
    assert not decode(codec, codec.pack(encoded, point))
    assert time.process_time() - start < SECONDS
