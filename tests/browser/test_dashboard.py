"""The dashboard as a person uses it: one server, one page, and a folder of runs that a test may make grow."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lightning.runs.machine.process import this_process
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results

pytestmark = pytest.mark.slow
WAIT = 120_000
"""Milliseconds until something counts as missing, on a busy machine."""
STEPS = 200


def make_run(folder: Path, codec: str, scale: float, tags: tuple[str, ...] = ()) -> RunRecord:
    target = f"nic_lightning.codecs.{codec}.Codec"
    config = {"name": folder.name, "seed": 0, "tags": list(tags), "trainer": {"max_steps": 1000}}
    record = RunRecord(folder)
    record.start(config | {"codec": {"_target_": target, "width": 48 * scale}}, [f"codec={codec}"])
    for step in range(0, STEPS, 2):
        record.log(step, {"train/loss": scale + 9 / (step + 1), "train/bpp@64": 0.2, "train/bpp@512": 0.6})
    rows = [
        {"dataset": "kodak", "item": f"{i}.png", "codec": codec, "label": str(lmbda), "lmbda": float(lmbda)}
        | {
            "bpp": scale * rate,
            "bpp_estimated": scale * rate * 0.99,
            "psnr": 28 + 10 * rate,
            "ms_ssim_db": 9 + 8 * rate,
        }
        for i in range(2)
        for lmbda, rate in ((64, 0.1), (128, 0.2), (256, 0.4), (512, 0.8))
    ]
    write_results(folder / "results.parquet", rows)
    return record


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dashboard") / "runs"
    make_run(root / "first", "modulated", 1.0, ("paper",)).finish("finished")
    for width in (48, 96):
        make_run(root / "sweep" / f"width={width}", "cae", width / 60).finish("finished")
    make_run(root / "live", "modulated", 2.0)
    status = {"state": "running", "started": "2026-01-01T00:00:00+0000", "process": this_process()}
    (root / "live" / "status.json").write_text(json.dumps(status))
    make_run(root / "broken", "cae", 1.0)
    (root / "broken" / "status.json").write_text("{")
    (root / "broken" / "results.parquet").write_bytes(b"PAR1 no table")
    half = root / "half"
    half.mkdir()
    (half / "metrics.jsonl").write_text('{"step": 1, "train/lo')
    evil = root / "<img src=x onerror=alert(1)>"
    make_run(evil, "modulated", 1.5, ("<script>alert(2)</script>",)).finish("failed", "</script><b>no</b>")
    (root / "out").symlink_to(root.parent)
    return root


@pytest.fixture(scope="module")
def address(runs):
    command = [str(Path(sys.executable).with_name("nic")), "dashboard", str(runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+/) shows ", line)
        assert found, line
        yield found[1]
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=60)
        assert (server.returncode in (0, 130), out, err) == (True, "", "")


@pytest.fixture(scope="module")
def page(browser, address):
    """The page, opened once; at the end nothing may have gone wrong in it, or left the machine."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(WAIT)
    wrong: list[str] = []
    opened.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    local = (address, "data:", "blob:")
    opened.on("request", lambda r: None if r.url.startswith(local) else wrong.append(f"left for {r.url}"))
    opened.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    opened.goto(address)
    opened.wait_for_selector(".ag-row")
    yield opened
    assert wrong == []
    opened.close()


def names(page) -> list[str]:
    rows = page.query_selector_all(".ag-pinned-left-cols-container .ag-row")
    rows.sort(key=lambda row: int(row.get_attribute("row-index")))
    return [row.query_selector("[col-id=name]").inner_text() for row in rows]


def shows(page, *wanted: str) -> None:
    page.wait_for_function(
        """wanted => {
            const cells = [...document.querySelectorAll('.ag-pinned-left-cols-container [col-id=name].ag-cell')];
            return JSON.stringify(cells.map(cell => cell.innerText).sort()) === JSON.stringify(wanted);
        }""",
        arg=sorted(wanted),
    )


def pick(page, name: str) -> None:
    row = page.locator(".ag-pinned-left-cols-container .ag-row", has=page.get_by_text(name, exact=True))
    row.locator("input").first.click()


EVIL = "<img src=x onerror=alert(1)>"
ALL = ("first", "sweep/width=48", "sweep/width=96", "live", "broken", "half", EVIL)


def test_the_list_filters_and_groups(page, artefacts):
    shows(page, *ALL)
    page.wait_for_selector("text=1 running")
    page.wait_for_selector("#counts >> text=2 damaged")
    page.screenshot(path=artefacts / "dashboard_list.png")
    page.fill("#search", "paper")
    shows(page, "first")
    page.fill("#search", "")
    shows(page, *ALL)
    page.click("#group")
    page.click("text=by codec")
    page.wait_for_selector("#groups table")
    page.wait_for_selector(".ag-row.cluster")
    codecs = [cell.inner_text() for cell in page.query_selector_all("#groups tbody tr td:first-child")]
    assert codecs == ["-", "cae", "modulated"]
    order = names(page)
    where = [order.index(name) for name in ("sweep/width=48", "sweep/width=96", "broken")]
    assert max(where) - min(where) == 2  # the three of one codec stand together
    page.screenshot(path=artefacts / "dashboard_groups.png")
    page.click("#group")
    page.click("text=no groups")
    page.click(".ag-header-cell[col-id=loss]")
    page.wait_for_function("() => document.querySelector('[aria-sort=ascending][col-id=loss]')")
    assert names(page)[:2] == ["sweep/width=48", "first"] or "half" in names(page)[:2]


def test_curves_of_selected_runs_grow_while_they_train(page, runs, artefacts):
    pick(page, "first")
    pick(page, "live")
    page.wait_for_function("() => document.querySelectorAll('#curves .scatterlayer .trace').length === 2")
    last = "Math.max(...document.querySelector('#curves .js-plotly-plot').data.flatMap(trace => trace.x))"
    assert page.evaluate(last) == STEPS - 2
    RunRecord(runs / "live").log(799, {"train/loss": 1.0})
    page.wait_for_function(f"() => {last} === 799")
    page.wait_for_selector(".ag-row >> text=80 %")
    page.screenshot(path=artefacts / "dashboard_curves.png", full_page=True)


def test_two_runs_are_compared(page, runs, artefacts):
    page.click("text=Rate-distortion")
    page.wait_for_selector("#bd table")
    page.wait_for_function("() => document.querySelectorAll('#rd .scatterlayer .trace').length === 2")
    cells = [cell.inner_text() for cell in page.query_selector_all("#bd tbody td")]
    assert "+100.0 %" in cells or "-50.0 %" in cells  # one spends twice the rate of the other
    page.screenshot(path=artefacts / "dashboard_comparison.png", full_page=True)
    box, table = page.query_selector("#rd").bounding_box(), page.query_selector("#bd").bounding_box()
    assert box["y"] + box["height"] <= table["y"] + 1


def test_damaged_runs_show_as_such(page, artefacts):
    page.click("#none")
    for name in ("broken", "half", EVIL):
        pick(page, name)
    page.click(".tab:has-text('Facts')")
    page.wait_for_selector("#facts .run")
    text = page.inner_text("#facts")
    assert "status.json is damaged" in text
    assert "config.yaml is missing" in text
    assert "</script><b>no</b>" in text
    page.screenshot(path=artefacts / "dashboard_facts.png", full_page=True)


def test_on_a_telephone(page, artefacts):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => document.documentElement.scrollWidth <= 390")
    page.screenshot(path=artefacts / "dashboard_390.png", full_page=True)
    page.click(".tab:has-text('Training curves')")
    page.wait_for_selector("#curves .js-plotly-plot")
    page.wait_for_function(
        "() => document.querySelector('#curves .js-plotly-plot').getBoundingClientRect().right <= 390"
    )
    page.screenshot(path=artefacts / "dashboard_390_curves.png", full_page=True)
