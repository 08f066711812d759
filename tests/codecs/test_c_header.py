"""The C encoder of point clouds writes, to the bit, what the codec writes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nic_lightning.codecs.c_header import MOST_WEIGHTS, NAME
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.entropy import tight
from nic_lightning.errors import UserError
from tests.codecs.test_point_cloud import clouds, made, strings

PROGRAM = """
#include "point_encoder.h"
int32_t string(const float *points, int32_t count, uint8_t *out) { return nic_encode_string(points, count, out); }
int32_t file(const float *points, int32_t count, uint8_t *out) { return nic_encode_file(points, count, out); }
int32_t bits(const float *points, int32_t count, uint8_t *out) { return nic_encode_bits(points, count, out, 1); }
int32_t room(void) { return NIC_FILE_BYTES; }
"""
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def compiled(codec: PointCloudCodec, folder: Path, *options: str) -> ctypes.CDLL:
    """The header with nothing else to link against."""
    (folder / NAME).write_text(codec.c_header().text)
    (folder / "program.c").write_text(PROGRAM)
    strict = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffreestanding", "-nostdlib"]
    library = folder / f"{'_'.join(options) or 'plain'}.so"
    command = ["gcc", *strict, *options, "-fPIC", "-shared", "-o", str(library), str(folder / "program.c")]
    subprocess.run(command, check=True, timeout=120)
    return ctypes.CDLL(str(library))


def caller(library: ctypes.CDLL, name: str) -> Callable[[np.ndarray], bytes | None]:
    """Bytes of a function; of `bits` one byte a bit."""
    room = library.room()

    def call(points: np.ndarray) -> bytes | None:
        out = np.full(room + 16, 0xA5, np.uint8)
        cloud = np.ascontiguousarray(points, dtype=np.float32)
        arguments = (ctypes.c_void_p(cloud.ctypes.data), len(cloud), ctypes.c_void_p(out.ctypes.data))
        count = getattr(library, name)(*arguments)
        assert (out[room:] == 0xA5).all()
        if count < 0:
            return None
        return np.unpackbits(out)[:count].tobytes() if name == "bits" else out[:count].tobytes()

    return call


@needs_gcc
@pytest.mark.parametrize("size", ["lite", "micro"])
def test_strings_files_and_stream_items_are_those_of_the_codec(size, tmp_path):
    codec = made(size).requires_grad_(False)
    point, tables, rows = codec.operating_points[0], codec.entropy_y.tables, codec._rows
    library = compiled(codec, tmp_path)
    string, file, bits = (caller(library, name) for name in ("string", "file", "bits"))
    outside = 0
    for points in (1, 5, 64, 100):
        # A latent is within float64's error of the edge of a bin once in 1e8 times.
        for cloud in torch.cat([clouds(40, points, seed=points), 1000 * clouds(10, points)]).split(1):
            one = cloud[0].numpy()
            assert string(one) == strings(codec, cloud)[0]
            assert file(one) == codec.file_of(cloud, point)
            symbols = next(codec.symbols([cloud], point))
            assert bits(one) == tight.encode(tables, symbols, rows, prefix=True).tobytes()
            outside += int(((symbols < tables.offsets) | (symbols >= tables.offsets + tables.lengths - 2)).sum())
    assert outside > 100  # escapes, too


@needs_gcc
def test_other_compilations_give_the_same_files(tmp_path):
    codec = made().requires_grad_(False)
    others = [compiled(codec, tmp_path, *options) for options in (("-O0",), ("-O3", "-ffp-contract=fast"))]
    single = compiled(codec, tmp_path, "-DNIC_REAL=float")
    for cloud in clouds(50, 30).split(1):
        expected = codec.file_of(cloud, codec.operating_points[0])
        assert all(caller(library, "file")(cloud[0].numpy()) == expected for library in others)
        files = caller(single, "file")(cloud[0].numpy()), expected
        found, right = (codec.decode_latents(*codec.unpack(data))["y"] for data in files)  # pyright: ignore
        assert (found - right).abs().max() <= 1  # float32's error of 1e-5 may reach the edge of a bin


@needs_gcc
def test_what_is_no_cloud_gives_no_bytes(tmp_path):
    library = compiled(made(), tmp_path)
    for wrong in (np.nan, np.inf, -np.inf, 3e38):
        points = clouds(1, 20)[0].numpy()
        points[11, 2] = wrong
        assert caller(library, "string")(points) is None
        assert caller(library, "file")(points) is None
    assert caller(library, "bits")(np.zeros((0, 3))) is None


def test_the_header_says_what_it_takes():
    header = made().c_header()
    assert header.constants < 4096 + 2 * made().entropy_y.tables.cdf.size
    assert f"Constants take {header.constants:,} bytes" in header.text
    assert made().fingerprint().hex() in header.text
    assert "@" not in header.text


def test_what_has_no_header_is_refused():
    with pytest.raises(UserError, match=f"147,648 weights makes no C header, at most {MOST_WEIGHTS:,}"):
        made("full").c_header()
    codec = made()
    codec.g_a.layers[2] = torch.nn.GELU()
    with pytest.raises(UserError, match="layers that no C header is made of"):
        codec.c_header()
    codec = made()
    with torch.no_grad():
        codec.g_a.gain.weight[3] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        codec.c_header()
