"""No file of the package imports in a circle, not even inside a function."""

from __future__ import annotations

import grimp

ROOT = "nic_lightning"


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Groups of modules of which each imports, over others or at once, every other one of its group."""
    reached = {module: graph.find_downstream_modules(module) for module in graph.modules}
    found = {frozenset({module, *(m for m in users if module in reached[m])}) for module, users in reached.items()}
    return sorted(sorted(group) for group in found if len(group) > 1)


def test_no_file_imports_in_a_circle() -> None:
    graph = grimp.build_graph(ROOT, cache_dir=None)
    assert len(graph.modules) > 300
    for imported in graph.find_modules_directly_imported_by(ROOT):
        # names that the package offers: their files are imported when they are asked for
        graph.remove_import(importer=ROOT, imported=imported)
    assert circles(graph) == []


def test_circles_are_found() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "bc", "ca", "cd", "de", "ed", "fa"):
        graph.add_import(importer=importer, imported=imported)
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]
