"""The weight files of other networks that can be used, and where they are looked for. Nothing is downloaded.

Starts without torch, so that `nic data weights` answers at once.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from nic_lightning.errors import DataError

MAX_FILE = 512 * 2**20


@dataclass(frozen=True)
class Weights:
    """A file that users place: its names, the start of its SHA-256, and what it is for."""

    key: str
    names: tuple[str, ...]
    sha256: str
    """As much of it as is known; published names hold 8 digits."""
    variable: str | None
    """Environment variable that names the file; None where users name it by an option."""
    use: str
    origin: str
    by_name: str = ""
    """How users name it by an option, where no variable does."""

    def folders(self) -> list[Path]:
        """Where it is looked for: weights/ below the data root, and for metrics torch's own folder of downloads."""
        if self.variable is None:
            return [_data_folder()]
        home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
        return [_data_folder(), home.expanduser() / "hub" / "checkpoints"]

    def find(self) -> Path | None:
        """The first file there is; None where there is none. Raises DataError where the variable names none."""
        if self.variable and (named := os.environ.get(self.variable)):
            if not Path(named).is_file():
                raise DataError(f"{self.variable} names {named}, which does not exist; name another file, or unset it.")
            return Path(named)
        places = (folder / name for folder in self.folders() for name in self.names)
        return next((place for place in places if place.is_file()), None)

    def missing(self) -> DataError:
        """The sentence for a user who needs it."""
        places = " or ".join(map(str, self.folders()))
        return DataError(
            f"{self.use} needs the weights {self.names[0]}, which {self.origin}; place them in {places}, or set "
            f"{self.variable}."
        )


INCEPTION_2015 = Weights(
    "inception",
    ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
    "6726825d",
    "NIC_INCEPTION",
    "FID",
    "torch-fidelity and pytorch-fid publish under these names",
)
INCEPTION_TORCHVISION = Weights(
    "stargan",
    ("inception_v3_google-0cc3c7bd.pth", "inception_v3_google-1a9a5a14.pth"),
    "0cc3c7bd 1a9a5a14",
    "NIC_INCEPTION_TORCHVISION",
    "FID as StarGAN v2 computes it",
    "torchvision publishes",
)
LPIPS = Weights(
    "lpips",
    ("lpips_alex_torchvision_features_fp16.pt",),
    "99b3aa81",
    "NIC_LPIPS",
    "LPIPS",
    "holds AlexNet's features and the heads of LPIPS 0.1",
)
ALEXNET = Weights(
    "alexnet",
    ("alexnet-owt-7be5be79.pth", "alexnet-owt-4df8aa71.pth"),
    "7be5be79 4df8aa71",
    "NIC_ALEXNET",
    "LPIPS, where the file of heads and features is not there (torchmetrics ships the heads, too),",
    "torchvision publishes",
)
OTHERS = tuple(
    Weights(f"dcflow_{kind}", (f"{kind}.caffemodel", f"dcflow_{kind}.caffemodel", f"dcflow_{kind}_weights.npz"),
            sha256, None, f"nic flow with DCFlow's features, {kind}", "DCFlow publishes", f"--weights {kind} or FILE")
    for kind, sha256 in (("sintel", "d6ee1120 f39deda3"), ("kitti", "5bdc7735 dddf4478"))
) + tuple(
    Weights(f"raft_{kind}", (name,), name[-12:-4], None, f"nic flow with RAFT, {kind}", "torchvision publishes",
            "--weights FILE")
    for kind, name in (("large", "raft_large_C_T_V2-1bb1363a.pth"), ("small", "raft_small_C_T_V2-01064c6d.pth"))
)  # fmt: skip
"""Of optical flow, whose commands find or take the files by themselves."""
ALL = (INCEPTION_TORCHVISION, INCEPTION_2015, LPIPS, ALEXNET, *OTHERS)


def find_lpips() -> Path | None:
    """Weights for LPIPS: its own file, else torchvision's AlexNet, to which the heads of torchmetrics are joined."""
    return LPIPS.find() or ALEXNET.find()


def require_lpips() -> Path:
    """The same; raises DataError where there are none."""
    found = find_lpips()
    if found is None:
        raise DataError(
            f"There are no weights for evaluation.lpips=true: place {LPIPS.names[0]} in {LPIPS.folders()[0]}, or set "
            f"{LPIPS.variable}; or torchvision's AlexNet, see nic data weights. evaluation.lpips=false does without."
        )
    return found


def digest(file: Path) -> str:
    """SHA-256 of a file; raises DataError for one that is larger than any of these."""
    if file.stat().st_size > MAX_FILE:
        raise DataError(f"{file} is too large for weights that metrics use.")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def is_published(weights: Weights, found: str) -> bool:
    """Whether a SHA-256 is that of the published file."""
    return any(found.startswith(start) for start in weights.sha256.split())


def table() -> str:
    """What `nic data weights` prints."""
    blocks = []
    for weights in ALL:
        try:
            file = weights.find()
            state = "not there" if file is None else _state(weights, file)
        except (DataError, OSError) as error:
            state = str(error)
        places = " or ".join(map(str, weights.folders()))
        blocks.append(
            f"{weights.use}\n"
            f"  file    {' or '.join(weights.names)}\n"
            f"  sha256  {' or '.join(f'{start}...' for start in weights.sha256.split())}\n"
            f"  place   {places}, or {weights.variable or weights.by_name}\n"
            f"  found   {state}"
        )
    return "\n\n".join(blocks)


def _state(weights: Weights, file: Path) -> str:
    found = digest(file)
    return f"{file}" if is_published(weights, found) else f"{file}, but its sha256 is {found[:8]}...: another file"


def _data_folder() -> Path:
    from nic_lightning.data.catalog import find_root

    try:
        return find_root(None) / "weights"
    except DataError:
        return Path("data") / "weights"
