"""A Kodak photograph through files, decoded by a process that has the checkpoint and the files only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nic_lightning.codecs.loading import load_codec
from nic_lightning.data.images import read_rgb
from nic_lightning.metrics.rate import bits

RECIPES = {
    "modulated": ("codec=modulated", "codec.width=24", "codec.lambdas=[64,128,256,512]"),
    "cae": ("codec=cae", "codec.width=24", "codec.lmbda=256"),
    "conditional": ("codec=conditional", "codec.width=24", "codec.lambdas=[64,512]"),
}

RECEIVER = """
import hashlib, sys
from pathlib import Path
from nic_lightning.codecs.loading import load_codec
codec = load_codec(sys.argv[1])
for file in map(Path, sys.argv[2:]):
    x_hat = codec.decompress(*codec.unpack(file.read_bytes()))
    print(file.name, *x_hat.shape, hashlib.sha256(x_hat.contiguous().numpy().tobytes()).hexdigest())
"""


def digest(x_hat: torch.Tensor) -> str:
    return hashlib.sha256(x_hat.contiguous().numpy().tobytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_new_process_decodes_kodak_to_the_same_bits_at_the_estimated_rate(
    desk, nic_data: Path, name: str, tmp_path: Path
) -> None:
    done = desk(
        "nic-train",
        *RECIPES[name],
        "name=kodak_" + name,
        "codec.kernel_param=rdft",
        "data=embedded",
        "data.crop=64",
        "task.learning_rate=3e-3",
        "task.halve_at=[200,250]",
        "trainer.max_steps=300",
        "logger=none",
        "evaluation.limit=1",
        "evaluation.save_images=0",
    )
    assert done.returncode == 0, done.stderr
    run = desk.folder / "runs" / f"kodak_{name}"
    sender = load_codec(run)
    x = torch.from_numpy(read_rgb(nic_data / "kodak" / "kodim23.png")).permute(2, 0, 1)[None] / 255
    expected = {}
    for point in sender.operating_points:
        encoded = sender.compress(x, point)
        data = sender.pack(encoded, point)
        with torch.no_grad():
            output = sender(x, point)
        estimate = bits(output.likelihoods).item()
        assert abs(len(data) * 8 / estimate - 1) < 0.01, f"{point.label}: {len(data) * 8} bits, estimated {estimate}"
        in_memory = sender.decompress(encoded, point)
        assert torch.allclose(in_memory, output.x_hat.clamp(0, 1), atol=1e-5)  # convolutions may sum in another order
        file = tmp_path / f"{point.label}.nic"
        file.write_bytes(data)
        expected[file] = f"{file.name} {' '.join(map(str, x.shape))} {digest(in_memory)}"
    command = [sys.executable, "-W", "ignore", "-c", RECEIVER, str(run), *map(str, expected)]
    received = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert received.returncode == 0, received.stderr
    assert received.stdout.splitlines() == list(expected.values())
