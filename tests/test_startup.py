"""Packages that commands do without: what each has imported when it ends, in a process of its own. No times."""

from __future__ import annotations

from pathlib import Path

import pytest

from nic_lightning.benchmarks import startup

ROOT = Path(startup.__file__).parents[2]
NEVER = {
    "compressai": "entropy models, coder and layers are our own",
    "torch_geometric": "only CompressAI brings it",
    "torchvision": "only networks of Fréchet distances and of flow need it",
    "matplotlib": "drawn is what training and reports end with",
    "scipy.stats": "torchmetrics and CompressAI bring it",
    "sympy": "torch's compiler brings it, and nothing is compiled",
    "torch._dynamo": "the compiler",
    "torch._inductor": "the compiler",
}
"""What none of these commands needs, and why."""
NO_TRAINING = {"pytorch_lightning": "nothing is trained", "wandb": "nothing is logged"}
NO_TABLES = {"pandas": "no table of results is read", "pyarrow": "no table of results is written"}
NO_TORCH = {"torch": "no tensor is made", "numba": "nothing is coded", "PIL": "no image is read"}
NO_HYDRA = {"hydra": "no config is composed"}
NO_METRICS = {"torchmetrics": "metrics that add up over ranks are for training"}
NO_COUNT = {"triton": "the counter of operations brings it, and none are counted"}
NO_CLI = {"cyclopts": "the command line is Hydra's"}

WITHOUT = {
    "nic --help": NEVER | NO_TRAINING | NO_TABLES | NO_TORCH | NO_HYDRA | NO_METRICS | NO_COUNT,
    "nic check --no-files": NEVER | NO_TRAINING | NO_TABLES | NO_TORCH | NO_METRICS | NO_COUNT,
    "nic inspect": NEVER | NO_TRAINING | NO_TABLES | NO_METRICS,
    "nic-evaluate codec=jpeg": NEVER | NO_TRAINING | NO_METRICS | NO_CLI,
    "nic-train, one step": NEVER | NO_TABLES | NO_CLI | {"wandb": "there is no logger"},
    "nic compress": NEVER | NO_TRAINING | NO_TABLES | NO_HYDRA | NO_METRICS | NO_COUNT,
}
MORE = {
    "nic inspect": {"sympy": "shapes on the meta device are counted with it"},
}
"""What a command needs of it after all."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.mark.parametrize("command", WITHOUT)
def test_a_command_imports_what_it_needs_only(command: str, folder: Path):
    arguments = startup.COMMANDS[command]
    if command == "nic-train, one step":
        arguments = (*arguments, "logger=none", f"name={startup.RUN}")
    if command == "nic compress":
        startup.photograph_into(folder)
        if not (folder / "runs" / startup.RUN).exists():  # this test alone
            startup.run(ROOT, folder, (*startup.COMMANDS["nic-train, one step"], "logger=none", f"name={startup.RUN}"))
    _, modules = startup.run(ROOT, folder, arguments)
    without = {package: why for package, why in WITHOUT[command].items() if package not in MORE.get(command, {})}
    found = {package: why for package, why in without.items() if package in modules}
    assert not found
