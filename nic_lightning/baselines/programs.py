"""Codecs that are programs of their own, run in a temporary folder for a bounded time."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from nic_lightning.baselines.still import MissingCodec, Pixels, StillImageCodec
from nic_lightning.errors import BitstreamError, UserError

MAX_MEMORY = 2**33
"""Bytes of address space that a decoder gets, where the system can limit it."""
MAX_FILE = 2**30
"""Bytes that a program may write into one file, likewise."""


class ProgramCodec(StillImageCodec):
    """An encoder and a decoder on PATH. Operating points are labelled by QP: "qp47" is before "qp42".

    A subclass gives the command lines, and writes and reads the files in between.

    Args:
        qps: quantisation parameters; `OperatingPoint.quality` is -QP, so that it rises with the rate.
        programs: names or paths of encoder and decoder.
        timeout_s: seconds that one run may take.
    """

    settings = "QPs"
    origin: ClassVar[str]
    """Where users get the programs, as the end of a sentence."""

    def __init__(self, qps: Sequence[int], programs: tuple[str, str], timeout_s: float) -> None:
        super().__init__([-qp for qp in qps])
        if not timeout_s > 0:
            raise UserError(f"{self.name} needs a timeout_s above 0, not {timeout_s}.")
        self.encoder, self.decoder = (find_program(program, self.name, self.origin) for program in programs)
        self.timeout_s = timeout_s

    def _label(self, quality: float) -> str:
        return f"qp{-quality:g}"

    def _encode(self, picture: Pixels, quality: float) -> bytes:
        with tempfile.TemporaryDirectory(prefix=f"nic_{self.name}_") as folder:
            return self._encode_in(Path(folder), picture, round(-quality))

    def _decode(self, data: bytes) -> Pixels:
        with tempfile.TemporaryDirectory(prefix=f"nic_{self.name}_") as folder:
            return self._decode_in(Path(folder), data)

    def _run_encoder(self, folder: Path, arguments: Sequence[str], product: str) -> bytes:
        """What the encoder wrote into the file `product`; raises UserError with its last words."""
        problem = run([self.encoder, *arguments], folder, self.timeout_s)
        return self._product(folder / product, self.encoder, problem, UserError)

    def _run_decoder(self, folder: Path, arguments: Sequence[str], product: str) -> bytes:
        """What the decoder wrote; raises BitstreamError, for its input comes from anywhere."""
        problem = run([self.decoder, *arguments], folder, self.timeout_s, MAX_MEMORY)
        return self._product(folder / product, self.decoder, problem, BitstreamError)

    def _product(self, path: Path, program: str, problem: str | None, kind: type[UserError]) -> bytes:
        if problem is None and not path.is_file():
            problem = "wrote no file"
        if problem is not None:
            raise kind(f"{self.name}: {Path(program).name} {problem}.")
        return path.read_bytes()

    @abstractmethod
    def _encode_in(self, folder: Path, picture: Pixels, qp: int) -> bytes: ...

    @abstractmethod
    def _decode_in(self, folder: Path, data: bytes) -> Pixels: ...


def run(command: Sequence[str], folder: Path, seconds: float, memory: int | None = None) -> str | None:
    """Run a program in `folder`, without a shell and with no input; None, or what went wrong.

    It is stopped, and what it started with it, when it takes longer than `seconds` or this process is interrupted.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _limit(process.pid, {"RLIMIT_FSIZE": MAX_FILE, "RLIMIT_AS": memory})
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"took longer than {seconds:g} s"
        finally:
            _stop(process)
    if code == 0:
        return None
    with log.open("rb") as output:
        output.seek(max(0, log.stat().st_size - 2000))
        said = output.read().decode("utf-8", "replace").strip().splitlines()
    how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return f"{how}: {said[-1].strip().rstrip('.')[:200]}" if said else how


def find_program(program: str, codec: str, origin: str) -> str:
    """The absolute path of a program on PATH; raises MissingCodec that says where to get it."""
    path = shutil.which(program)
    if path is None:
        raise MissingCodec(f"{codec} needs the program {program}, which is not on PATH: {origin}.")
    return os.path.abspath(path)


def _limit(pid: int, limits: Mapping[str, int | None]) -> None:
    """Bound what a running process may take; Linux only, elsewhere time is the only bound."""
    import resource

    prlimit = getattr(resource, "prlimit", None)
    for name, value in limits.items():
        if prlimit is not None and value is not None:
            try:
                _, hard = prlimit(pid, getattr(resource, name))
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                prlimit(pid, getattr(resource, name), (value, hard))
            except ProcessLookupError:  # it is over
                return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, in which grandchildren may live on, and wait for its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
