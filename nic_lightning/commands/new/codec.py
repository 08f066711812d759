"""`nic new codec`: a codec in a project of your own, as a module and a config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.new.files import class_name, filled, require_name, write_files
from nic_lightning.conf_tree import options
from nic_lightning.errors import UserError, choices


def codec(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    project: Annotated[Path, Parameter(name="--project", metavar="DIR")] = Path(),
) -> None:
    """Write PACKAGE/codecs/NAME.py and PACKAGE/conf/codec/NAME.yaml, a small codec that trains as it is.

    Args:
        name: of the codec: small letters, digits and _
        project: folder with the package, which has a folder conf/, as nic new project writes it

    Examples:
        nic new codec waves
        nic new codec waves --project my_lab
    """
    require_name("codec", name)
    package = package_in(project)
    if name in options("codec", (package / "conf",)):
        raise UserError(f"There is a codec {name!r} already: choose another name, or look at {package / 'conf'}.")
    names = {"project": package.name, "codec": name, "Codec": class_name(name)}
    texts = {f"codecs/{name}.py": filled("codec", names), f"conf/codec/{name}.yaml": filled("codec_config", names)}
    if not (package / "codecs" / "__init__.py").exists():
        texts = {"codecs/__init__.py": filled("codecs", names), **texts}
    write_files(package, texts)
    print(f"{package}/codecs/{name}.py and {package}/conf/codec/{name}.yaml are written; then: nic-train codec={name}")


def package_in(folder: Path) -> Path:
    """The one package with a folder conf/ in a project.

    Raises:
        UserError: there is none, or several.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give --project with the folder of a project.")
    found = sorted(path.parent for path in folder.glob("*/__init__.py") if (path.parent / "conf").is_dir())
    if not found:
        raise UserError(
            f"{folder.resolve()} has no package with a folder conf/; give --project, or make one by nic new project."
        )
    if len(found) > 1:
        names = choices("", [path.name for path in found])
        raise UserError(f"{folder.resolve()} has several packages with a folder conf/ ({names}); codecs go into one.")
    if not found[0].name.isidentifier():
        raise UserError(f"{found[0]} is no package that Python can import: rename it.")
    return found[0]
