"""Scripts that take the arguments of bpgenc, bpgdec and VTM's programs and code in their own way.

They show that programs are found, run, bounded and read. They say nothing about BPG or VVC.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

MISBEHAVE = """
def misbehave(out, only):
    wish = os.environ.get("STAND_IN", "")
    if not wish.startswith(only):
        return
    wish = wish.removeprefix(only + " ")
    if wish == "sleep":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(os.environ["STAND_IN_CHILD"], "w").write(str(child.pid))
        time.sleep(600)
    elif wish == "fail":
        print("some words\\nthe last words")
        sys.exit(3)
    elif wish == "die":
        os.kill(os.getpid(), 9)
    elif wish == "nothing":
        sys.exit(0)
    elif wish == "memory":
        bytearray(2**29)
    elif wish == "fill":
        open(out, "wb").write(bytes(10_000_000))
"""

BPGENC = """
a = sys.argv[1:]
assert a[0] == "-q" and a[2:-3] == ["-f", "444", "-c", "ycbcr", "-b", "8", "-e", "x265"] and a[-3] == "-o", a
misbehave(a[-2], "encoder")
def number(n):
    return bytes([0x80 | n >> 7, n & 0x7F])
picture, coded = Image.open(a[-1]), io.BytesIO()
picture.save(coded, format="JPEG", quality=round(98 - 1.9 * int(a[1])), subsampling=0)
data = coded.getvalue()
sizes = number(picture.width) + number(picture.height) + bytes([0x80 | len(data) >> 14]) + number(len(data) & 0x3FFF)
open(a[-2], "wb").write(b"BPG\\xfb" + bytes([3 << 5, 0]) + sizes + data)
"""

BPGDEC = """
a = sys.argv[1:]
assert a[:3] == ["-b", "8", "-o"] and len(a) == 5, a
misbehave(a[3], "decoder")
Image.open(io.BytesIO(open(a[4], "rb").read()[13:])).convert("RGB").save(a[3])
"""

ENCODERAPP = """
flags = [x for x in sys.argv if x.startswith("--")]
assert flags == ["--InputChromaFormat=444", "--InputBitDepth=10", "--ConformanceWindowMode=1"], flags
a = [x for x in sys.argv[1:] if not x.startswith("--")]
a = dict(zip(a[::2], a[1::2]))
assert open(a["-c"]).read() == "a configuration" and a["-f"] == a["-fr"] == "1", a
misbehave(a["-b"], "encoder")
samples = array.array("H", open(a["-i"], "rb").read())
assert len(samples) == 3 * int(a["-wdt"]) * int(a["-hgt"]) and max(samples) < 1024
step = max(1, round(2 ** ((int(a["-q"]) - 10) / 6)))
coarse = array.array("H", [min(1023 // step, (s + step // 2) // step) for s in samples])
open(a["-b"], "wb").write(b"\\0\\0\\0\\1" + bytes([step]) + zlib.compress(coarse.tobytes()))
open(a["-o"], "wb").write(b"a reconstruction that nobody needs")
"""

DECODERAPP = """
a = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert a["-d"] == "10", a
misbehave(a["-o"], "decoder")
data = open(a["-b"], "rb").read()
coarse = array.array("H", zlib.decompress(data[5:]))
open(a["-o"], "wb").write(array.array("H", [min(1023, data[4] * s) for s in coarse]).tobytes())
"""


def install(folder: Path) -> None:
    """Write the scripts into a folder, fit to be run."""
    scripts = {"bpgenc": BPGENC, "bpgdec": BPGDEC, "EncoderApp": ENCODERAPP, "DecoderApp": DECODERAPP}
    for name, script in scripts.items():
        imports = "import array, io, os, subprocess, sys, time, zlib\n"
        pillow = "from PIL import Image\n" if name.startswith("bpg") else ""
        (folder / name).write_text(f"#!{sys.executable}\n{imports}{pillow}{MISBEHAVE}{script}")
        (folder / name).chmod(stat.S_IRWXU)
