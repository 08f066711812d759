"""Whether files say the same in another process: python files.py RUN IMAGE OUT.csv

The sender's half of the codec writes a file of each mode in a process of its own (`nic compress`), the receiver's half
decodes it in another one (`nic decompress`). Here both are compared with what the whole codec makes of the image in
memory, without a file, at 8 bits.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nic_lightning import load_codec
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.data.images import read_rgb
from nic_lightning.media.image.memory import to_tensor
from nic_lightning.report.experiments.gathering import write_csv

SEED = 3


def nic(*arguments: object) -> None:
    """A command in a process of its own."""
    program = Path(sys.executable).with_name("nic")
    subprocess.run([str(program), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


@torch.no_grad()
def compared(run: Path, image: Path, folder: Path) -> list[dict[str, object]]:
    """A row for each mode."""
    codec = load_codec(run).eval()
    assert isinstance(codec, I2ICodec)
    domain, x = codec.domains[-1], to_tensor(read_rgb(image))[None]
    for half in ("sender", "receiver"):
        nic("export", run, "-o", folder / half, "--half", half)
    rows = []
    for point in codec.operating_points:
        assert point.mode is not None
        nic("compress", image, "-o", folder / point.mode, "--run", folder / "sender", "--mode", point.mode)
        file = folder / point.mode / f"{image.stem}.nic"
        style = [] if point.mode == "autoencode" else ["--domain", domain, "--seed", SEED]
        nic("decompress", file, "-o", folder / point.mode, "--run", folder / "receiver", *style)
        (shown,) = (folder / point.mode).glob("*.png")
        taken = {} if point.mode == "autoencode" else {"style": codec.random_styles(domain, 1, seed=SEED)}
        expected = codec(x, point, **taken).x_hat[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        difference = np.abs(expected.astype(int) - np.asarray(Image.open(shown), dtype=int))
        rows.append(
            {
                "mode": point.mode,
                "bytes": file.stat().st_size,
                "largest_difference": int(difference.max()),
                "equal_values": f"{(difference == 0).mean():.4f}",
            }
        )
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = compared(Path(sys.argv[1]), Path(sys.argv[2]), Path(name))
    write_csv(Path(sys.argv[3]), list(found[0]), found)
