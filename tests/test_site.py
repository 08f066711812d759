"""README and docs/: commands that exist, keys that configs have, links that lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from nic_lightning.commands.app import build_app
from nic_lightning.config import compose

CHECKOUT = Path(__file__).parents[1]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
CONFIGS = {"nic-train": "train", "nic-evaluate": "evaluate", "nic-analyze": "analyze"}
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


def command_lines(page: Path) -> Iterator[list[str]]:
    """Words of each `nic` command of a page's shell blocks, without pipes and redirections."""
    for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(re.split(r" [|>] ", line)[0], comments=True)
            while words and ASSIGNMENT.fullmatch(words[0]):
                words = words[1:]
            if words and words[0].partition("-")[0] == "nic":
                yield words


def one_job(overrides: list[str]) -> list[str]:
    """Of a sweep its first job."""
    found = []
    for text in overrides:
        (parsed,) = OverridesParser.create().parse_overrides([text])
        if parsed.is_choice_sweep():
            first = parsed.value().list[0]
            first = first.with_quotes() if isinstance(first, QuotedString) else first
            text = f"{parsed.input_line.partition('=')[0]}={first}"
        found.append(text)
    return found


NIC = [(page.name, words[1:]) for page in PAGES for words in command_lines(page) if words[0] == "nic"]
OF_A_PROJECT = "own_codec.md"
"""Its configs are those of a generated project, where tests/end_to_end/test_new_project.py runs its commands."""
# Left out: configs elsewhere, Hydra's own options; and Ray, whose plugin warns at its import, an error here.
HYDRA = {
    (words[0], *one_job([word for word in words[1:] if not word.startswith("-")])): page.name
    for page in PAGES
    for words in command_lines(page)
    if page.name != OF_A_PROJECT
    and words[0] in CONFIGS
    and not {"--config-dir", "-sc", "--help", "--cfg", "launch=ray"} & set(words)
}


@pytest.mark.parametrize(("page", "words"), NIC, ids=lambda value: value if isinstance(value, str) else " ".join(value))
def test_commands_parse(page: str, words: list[str]) -> None:
    assert "..." not in words
    build_app().parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("command", HYDRA, ids=" ".join)
def test_configs_compose(command: tuple[str, ...]) -> None:
    compose(CONFIGS[command[0]], list(command[1:]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith(("http", "#")):
            file, _, anchor = link.partition("#")
            assert (page.parent / file).exists(), link
            titles = re.findall(r"^#+ (.+)$", (page.parent / file).read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}, link


def test_every_page_is_in_the_site_and_readme_is_short() -> None:
    index = (CHECKOUT / "docs" / "index.md").read_text()
    named = set(re.findall(r"^[\w/]+$", index, re.MULTILINE))
    assert {page.stem for page in (CHECKOUT / "docs").glob("*.md")} - {"index"} <= named
    assert len((CHECKOUT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(CHECKOUT / "docs"), str(tmp_path)]
    subprocess.run(command, check=True)
    assert "nic compress" in (tmp_path / "generated" / "commands.html").read_text()
