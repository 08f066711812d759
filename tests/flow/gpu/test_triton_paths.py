"""Triton's kernel against numba, in Triton's interpreter, and as code for GPUs that need not be here."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch

from nic_lightning.flow.semi_global_matching import LARGEST_PENALTY, Potts, semi_global_matching

triton = pytest.importorskip("triton")
NAME = "nic_lightning.flow.gpu.triton_paths"


def load(name: str):
    """The module anew, under another name: Triton decides at its import whether kernels are interpreted."""
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.origin is not None
    spec = importlib.util.spec_from_file_location(name, spec.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("smoothness", [Potts(3, 11), Potts(7, LARGEST_PENALTY)])
def test_labels_are_those_of_numba(monkeypatch, smoothness):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    paths = load("interpreted_paths")
    monkeypatch.setattr(paths, "BLOCK", 8)
    random = np.random.default_rng(5)
    for height, width, n, levels, last in ((2, 4, 5, 255, False), (3, 3, 3, 6, True)):
        volume = random.integers(0, levels, (height, width, n, n), dtype=np.uint8)
        luma = random.choice([0.3, 0.31, 0.5], (height, width)).astype(np.float32)
        sums = torch.full(volume.shape, -1, dtype=torch.int16)
        found = paths.winners(torch.from_numpy(volume), torch.from_numpy(luma), smoothness, sums, last).numpy()
        flow = np.stack([found % n - n // 2, found // n - n // 2], -1)
        wanted = semi_global_matching(volume, luma, smoothness, reversed_labels=last)
        np.testing.assert_array_equal(-flow if last else flow, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 90])
def test_it_compiles_for_gpus_and_waits_between_pixels(monkeypatch, architecture):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    paths = load("compiled_paths")
    pointers = {"volume": "*u8", "luma": "*fp32", "buffers": "*i16", "sums": "*i16", "found": "*i32"}
    whole = dict.fromkeys(("begin", "move", "apart", "length", "near", "far", "far_at_edge"), "i32")
    constants = {"n": 161, "LAST": False, "BLOCK": paths.BLOCK}
    for mode in (0, 1, 2):
        source = ASTSource(
            paths._walk,
            pointers | whole | {"edge": "fp32"} | dict.fromkeys((*constants, "MODE"), "constexpr"),
            constexprs=constants | {"MODE": mode},
        )
        compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=paths._OPTIONS)
        assert compiled.asm["ttgir"].count(".barrier") == 1  # before the least is taken; reductions add theirs later
        assert "bar.sync" in compiled.asm["ptx"]
        assert "ld.global.nc" not in compiled.asm["ptx"]  # that cache would not see what other threads wrote
        assert "cubin" in compiled.asm
