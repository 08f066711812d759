"""`nic zoo get`: a copy of a model as an export folder."""

from __future__ import annotations

import shutil
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Out
from nic_lightning.errors import RunError
from nic_lightning.zoo import find_model
from nic_lightning.zoo.shelf import FILES


def get(name: Annotated[str, Parameter(name="NAME")], /, *, out: Out) -> None:
    """Copy a model into a folder of its own, as nic export would write it, with its card.

    Args:
        name: of a model that nic zoo list shows
        out: folder to make

    Examples:
        nic zoo get photo -o photo_model
    """
    model = find_model(name)
    if out.exists():
        raise RunError(f"{out} exists; give another folder.")
    from nic_lightning.codecs.exporting import new_folder

    with new_folder(out) as folder:
        for file in FILES:
            shutil.copyfile(model.folder / file, folder / file)
    print(f"{out}: {', '.join(FILES)}, fingerprint {model.card.fingerprint}")
