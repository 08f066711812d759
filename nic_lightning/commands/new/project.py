"""`nic new project`: a package of your own with a codec, a task, an experiment and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.new.files import class_name, filled, require_name, require_new_package, write_folder

CODEC = "patches"
_FILES = {
    "pyproject.toml": "pyproject",
    "README.md": "readme",
    ".gitignore": "gitignore",
    ".github/workflows/tests.yml": "workflow",
    "tests/test_project.py": "tests",
    "$project/__init__.py": "package",
    "$project/codecs/__init__.py": "codecs",
    "$project/codecs/$codec.py": "codec",
    "$project/tasks/__init__.py": "tasks",
    "$project/tasks/kernel_penalty.py": "task",
    "$project/conf/codec/$codec.yaml": "codec_config",
    "$project/conf/task/kernel_penalty.yaml": "task_config",
    "$project/conf/experiment/${codec}_small.yaml": "experiment",
}
"""Templates by the path of what they make."""


def project(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"), metavar="DIR")] = None,
) -> None:
    """Write a package that stands on nic_lightning: a small codec, a task, an experiment, tests, and a CI file.

    Once it is installed, nic-train and the other commands find its configs and its code.

    Args:
        name: of the package: small letters, digits and _
        out: folder to make; a folder of that name where none is given

    Examples:
        nic new project my_lab
    """
    from string import Template

    from nic_lightning import __version__

    require_name("project", name)
    require_new_package(name)
    folder = out if out is not None else Path(name)
    names = {"project": name, "codec": CODEC, "Codec": class_name(CODEC), "version": __version__}
    texts = {Template(path).substitute(names): filled(template, names) for path, template in _FILES.items()}
    write_folder(folder, texts)
    print(f"{folder} is written; then: cd {folder}; pip install -e '.[dev]'; nic-train experiment={CODEC}_small")
