from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.page.html import write_report
from nic_lightning.runs.record.channels import write_channel_rates
from nic_lightning.runs.record.critical_points import write_shown
from tests.browser.tab import Tab
from tests.report import test_gaps
from tests.report.samples import CLASSIC, LEARNED, make_run, row

IMAGES = tuple(f"kodim{i + 1:02d}" for i in range(12))
DASH = "\u2013"
SIZE = (96, 64)
EVIL = '<img src="http://evil.example/x.png" onerror="document.title=1"><b>evil'


def _rows(codec: str, scale: float, points: tuple[tuple[float, float], ...], **more: Any) -> list[dict[str, Any]]:
    made = []
    for item, name in enumerate(IMAGES):
        for i, (rate, psnr) in enumerate(points):
            own = {"item": name, "pixels": 6144, "parameters": 10**6, "macs": 6144 * 500 * (i + 1)}
            made.append(row(codec, f"p{i}", rate * scale * (1 + item / 50), psnr - item / 9, **own, **more))
    return made


MAE, CAE = _rows("modulated", 1.0, LEARNED), _rows("cae", 1.3, LEARNED)
JPEG = _rows("jpeg", 1.0, CLASSIC, quality=50.0)


def _pictures(run: Path, labels: tuple[str, ...]) -> None:
    """A grey ramp as original; point number i is darker by 3 (i + 1)."""
    ramp = np.tile(np.arange(SIZE[0], dtype=np.uint8) + 100, (SIZE[1], 1))
    for darker, label in enumerate((None, *labels)):
        path = reconstruction_path(run / RECONSTRUCTIONS, "kodak", IMAGES[0], label)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([ramp - 3 * darker] * 3, axis=2)).save(path)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    mae = make_run(root / "runs" / "mae", MAE + JPEG, config={"name": "mae", "seed": 0, "codec": {"width": 192}})
    cae = make_run(root / "runs" / "cae", CAE, config={"name": "cae", "seed": 0, "codec": {"width": 48}})
    evil = make_run(root / "runs" / EVIL.replace("/", "_"), _rows(EVIL, 1.1, LEARNED, dataset=EVIL, experiment=EVIL))
    _pictures(mae, ("p0", "p1", "p2", "p3"))
    rates = [{"label": f"p{i}", "bpp": [0.1 * i, 0.05, 0.2]} for i in range(4)]
    names = {"codec": "modulated", "dataset": "kodak", "latent": "y", "images": 12}
    write_channel_rates(mae, [names | entry for entry in rates])
    write_report([mae, cae, evil], root / "report.html", published=["vtm"])
    return root / "report.html"


@pytest.fixture(scope="module")
def tab(browser: Any, report: Path, artefacts: Path) -> Iterator[Tab]:
    made = Tab(browser, report, viewport={"width": 1400, "height": 900})
    yield made
    made.page.screenshot(path=artefacts / "report-1400.png", full_page=True)
    made.page.close()


def test_curves_are_sketched_until_plotly_has_started(browser: Any, report: Path, artefacts: Path) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.add_init_script("Object.defineProperty(window, 'Plotly', { get: () => undefined, set: () => {} })")
    page.goto(report.as_uri())
    sketch = page.locator("#rd-psnr .sketch")
    assert sketch.locator("polyline").count() == 4
    sketched = sketch.locator("circle").first.bounding_box()
    page.screenshot(path=artefacts / "report-sketch.png")
    page.close()
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(report.as_uri())
    drawn = page.locator("#rd-psnr .scatterlayer .trace .points path").first
    drawn.wait_for()
    assert page.locator(".sketch").count() == 0
    point = drawn.bounding_box()
    for place, size in (("x", "width"), ("y", "height")):  # a reader who looks sees nothing jump
        assert point[place] + point[size] / 2 == pytest.approx(sketched[place] + sketched[size] / 2, abs=6)
    page.close()


def test_curves_draw_hover_toggle_and_become_those_of_an_image(tab: Tab) -> None:
    drawn = tab.page.locator("#rd-psnr .scatterlayer .trace")
    assert drawn.count() == 4
    assert tab.page.locator("#rd-psnr .scatterlayer .trace").first.locator(".points path").count() == 4
    point = tab.page.locator("#rd-psnr .scatterlayer .trace").first.locator(".points path").nth(1)
    box = point.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.page.wait_for_selector("#rd-psnr .hoverlayer .hovertext")
    told = "".join(tab.page.locator("#rd-psnr .hoverlayer .hovertext text").all_text_contents())
    for part in ("modulated", "p1", "bpp", "PSNR", "mean of 12 images", "run mae", "3 steps"):
        assert part in told
    tab.page.click("#legend button >> text=modulated")
    tab.until(lambda: drawn.count() == 3 and tab.xs("modulated") == [])
    tab.page.click("#legend button >> text=modulated")
    tab.page.uncheck("#published")
    tab.until(lambda: drawn.count() == 3 and tab.xs("vtm (published)") == [])
    tab.page.check("#published")
    tab.until(lambda: drawn.count() == 4)
    assert tab.xs("modulated") == pytest.approx([rate * (1 + 5.5 / 50) for rate, _ in LEARNED], rel=1e-4)
    tab.page.select_option("#image", IMAGES[4])
    tab.until(lambda: tab.xs("vtm (published)") == [])
    assert tab.xs("modulated") == pytest.approx([rate * 1.08 for rate, _ in LEARNED], rel=1e-4)
    tab.page.select_option("#image", "")


def test_an_anchor_changes_the_deltas_and_the_costs(tab: Tab) -> None:
    tab.see("#deltas")

    def shown(codec: str) -> list[str]:
        line = tab.page.locator("#against tbody tr", has_text=codec).first
        return [cell.replace("\u2212", "-") for cell in line.locator("td").all_inner_texts()]

    made = {curve.codec: curve for curve in curves([{**one, "run": "r"} for one in MAE + CAE + JPEG])}
    for anchor in ("jpeg", "cae"):
        tab.page.select_option("#anchor", label=anchor)
        rate = compare(made[anchor], made["modulated"], "psnr", draws=1000)
        gain = compare(made[anchor], made["modulated"], "psnr", kind="quality")
        assert rate.result is not None
        assert gain.result is not None
        assert rate.interval is not None
        cells = shown("modulated")
        assert float(cells[1].split()[0]) == pytest.approx(rate.result.value, abs=0.06)
        ends = [float(end.split()[0]) for end in cells[2].split(" … ")]
        assert ends == pytest.approx([rate.interval.low, rate.interval.high], abs=0.06)
        assert float(cells[4].split()[0]) == pytest.approx(gain.result.value, abs=0.006)
        assert not shown_anchor(tab, anchor)
    tab.see("#cost-plot")
    tab.page.wait_for_selector("#cost-plot .scatterlayer .trace")
    before = tab.page.evaluate("document.getElementById('cost-plot').data.map(trace => trace.y[0])")
    tab.page.select_option("#anchor", label="jpeg")
    tab.see("#cost-plot")
    read = "document.getElementById('cost-plot').data.map(trace => trace.y[0])"
    tab.until(lambda: tab.page.evaluate(read) != before)
    assert tab.page.evaluate("document.getElementById('cost-plot').data[1].x") == [1250]
    pages = tab.page.locator("#costs [role=tab]")
    pages.last.click()  # a data set of one curve
    assert tab.page.locator("#cost-plot").is_hidden()
    assert tab.texts("#deltas .note") == ["There is one curve only on this data set."]
    assert tab.texts("#costs .note")[0].startswith("No curve here has this cost and a BD-rate over PSNR against")
    pages.first.click()
    assert tab.page.locator("#cost-plot").is_visible()
    assert shown("cae")


def shown_anchor(tab: Tab, anchor: str) -> bool:
    return any(name.strip().endswith(anchor) for name in tab.texts("#against td.name"))


def test_images_filter_and_sort(tab: Tab) -> None:
    tab.see("#images")
    total = len(MAE) + len(CAE) + len(JPEG) + len(IMAGES) * 4
    assert tab.texts("#image-count") == [f"{total} of {total} rows"]
    lines = tab.page.locator(".grid tbody tr:not(.space)")
    assert 0 < lines.count() < 60
    tab.page.click(".grid button[data-column=psnr]")
    tab.page.click(".grid button[data-column=psnr]")
    column = tab.texts(".grid thead th").index("PSNR dB")
    assert tab.page.locator(".grid th").nth(column).get_attribute("aria-sort") == "descending"
    shown = [float(lines.nth(i).locator("td").nth(column).inner_text()) for i in range(8)]
    assert shown == sorted((round(one["psnr"], 2) for one in MAE + CAE + JPEG), reverse=True)[:8]
    tab.page.evaluate("document.querySelector('.rows').scrollTop = 1e6")
    tab.page.wait_for_timeout(100)
    last = float(lines.last.locator("td").nth(column).inner_text())
    assert last == pytest.approx(min(one["psnr"] for one in JPEG), abs=0.006)
    tab.page.fill("#image-filter", "kodim07 modul")
    tab.page.select_option("#image-point", "p2")
    assert tab.texts("#image-count") == [f"1 of {total} rows"]
    lines.first.click()
    assert tab.page.input_value("#image") == "kodim07"
    tab.page.select_option("#image", "")
    tab.page.fill("#image-filter", "nothing like it")
    assert tab.texts("#image-count") == [f"0 of {total} rows"]


def test_the_slider_moves_and_error_maps_are_the_errors(tab: Tab) -> None:
    tab.see("#pictures")
    tab.page.wait_for_selector(".stage img")

    def clip() -> float:
        style = tab.page.evaluate("document.querySelector('.stage .top').style.clipPath")
        return float(re.findall(r"[\d.]+", style)[1])

    assert clip() == 50
    box = tab.page.locator(".stage").bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 5)
    assert clip() == pytest.approx(75, abs=1.5)
    tab.page.focus("#slider")
    tab.page.keyboard.press("Home")
    assert clip() == 100
    labels = tab.texts("#picture-right option")
    assert [label.split(",")[0] for label in labels[:3]] == ["original", "modulated p0", "modulated p1"]
    tab.page.select_option("#picture-right", index=2)
    tab.page.select_option("#view", "errors")
    tab.page.wait_for_selector(".beside canvas")
    script = """() => [...document.querySelectorAll(".beside canvas")].map(
        canvas => [...canvas.getContext("2d").getImageData(5, 5, 1, 1).data])"""
    assert tab.page.evaluate(script) == [[0, 0, 0, 255], [48, 48, 48, 255]]  # an error of 6, eight times


def test_configurations_channels_and_training(tab: Tab) -> None:
    tab.see("#config-differences")
    rows = [line.locator("td").all_inner_texts() for line in tab.page.locator("#config-table tbody tr").all()]
    lines = {key: values for key, *values in rows}
    assert set(lines["codec.width"]) == {"192", "48", DASH}
    assert "seed" not in lines or len(set(lines["seed"])) > 1
    for box in tab.page.locator("#config-runs input").all():
        box.uncheck()
    assert "Choose two runs" in tab.page.inner_text("#config-differences")
    tab.page.check("#config-runs label:has-text('mae') input")
    tab.page.check("#config-runs label:has-text('cae') input")
    assert sorted(tab.texts("#config-table td.key")) == ["codec.width", "name"]
    tab.see("#channel-plot")
    tab.page.wait_for_selector("#channel-plot .scatterlayer .trace")
    read = "document.getElementById('channel-plot').data.map(trace => trace.y)"
    assert tab.page.evaluate(read)[3] == pytest.approx([0.3, 0.2, 0.05])
    tab.page.uncheck("#channel-sort")
    tab.until(lambda: tab.page.evaluate(read)[3] == [0.3, 0.05, 0.2])
    tab.see("#training .plot")
    tab.page.wait_for_selector("#training .scatterlayer .trace")


def test_another_data_set_and_its_hostile_names(tab: Tab) -> None:
    tab.see("#curves")
    tab.page.locator("#curves [role=tab]").nth(1).click()
    (name,) = tab.texts("#legend button")
    assert name.endswith(EVIL)
    tab.until(lambda: tab.page.locator("#rd-psnr .scatterlayer .trace").count() == 1)
    tab.page.locator("#curves [role=tab]").first.click()
    assert tab.page.title() == "Rate-distortion report"
    assert tab.page.locator("img[onerror]").count() == 0


def test_nothing_leaves_the_machine_and_nothing_complains(tab: Tab, report: Path) -> None:
    foreign = [url for url in tab.requests if not url.startswith(("data:", "blob:"))]
    assert foreign == [report.as_uri()]
    assert tab.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_runs_past_its_card(browser: Any, report: Path, artefacts: Path, scheme: str) -> None:
    tab = Tab(browser, report, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for place in tab.page.locator("main > section").all():
        place.scroll_into_view_if_needed()
    tab.page.wait_for_timeout(300)
    tab.page.screenshot(path=artefacts / f"report-390-{scheme}.png", full_page=True)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    script = """() => [...document.querySelectorAll("main *")].filter(
        e => !e.closest(".scroll, .frame, pre, svg g") && e.getBoundingClientRect().right > innerWidth + 1
    ).map(e => e.outerHTML.slice(0, 80))"""
    assert tab.page.evaluate(script) == []
    back = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", back)[:3])) / 3
    assert math.isclose(light, 247, abs_tol=9) if scheme == "light" else light < 60
    assert tab.complaints == []
    tab.page.close()


def test_what_was_never_scrolled_to_is_printed(browser: Any, report: Path, tmp_path: Path) -> None:
    tab = Tab(browser, report)
    drawn = (
        "[...document.querySelectorAll('.plot')].filter(p => p.offsetParent && !p.querySelector('.main-svg')).length"
    )
    assert tab.page.evaluate(drawn) > 0
    tab.page.pdf(path=tmp_path / "page.pdf")
    assert tab.page.evaluate(drawn) == 0
    assert tab.page.locator("#reconstructions select option").count() > 2
    assert tab.complaints == []
    tab.page.close()


def test_rates_and_quality_of_a_plot_are_means_over_the_same_images(browser: Any, tmp_path: Path) -> None:
    write_report([make_run(tmp_path / "run", test_gaps.rows())], tmp_path / "r.html")
    tab = Tab(browser, tmp_path / "r.html")
    for metric, right in test_gaps.RIGHT.items():
        tab.see(f"#rd-{metric}")
        data = f"document.getElementById('rd-{metric}').data"
        tab.until(lambda data=data: tab.page.evaluate(f"{data} !== undefined"))
        first = tab.page.evaluate(f"[{data}[0].x[0], {data}[0].y[0]]")
        assert first == pytest.approx(right, rel=1e-5)
        assert f"Rates and quality over {test_gaps.ABOUT[metric]}." in tab.texts("#curves .panel .note")
    tab.page.locator("#image select, select#image").first.select_option("large")
    tab.until(lambda: tab.xs("jpeg") == pytest.approx([0.1, 0.2, 0.3, 0.4]))
    assert not tab.page.locator("#curves .panel .note").first.is_visible()
    assert tab.complaints == []


def test_clouds_can_be_turned(browser: Any, tmp_path: Path, artefacts: Path) -> None:
    run = make_run(tmp_path / "clouds", MAE[:1])
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (200, 3)).round(3).tolist()
    cloud = {"item": "a", "true": "chair", "decided": "table", "bits": 40, "points": points, "critical": points[:9]}
    (run / "critical_points").mkdir()
    write_shown(run / "critical_points", [cloud | {"minimal": points[:5], "reconstruction": points[:50]}])
    write_report([run], tmp_path / "report.html")
    tab = Tab(browser, tmp_path / "report.html", viewport={"width": 1300, "height": 900})
    tab.page.locator("#critical-points").scroll_into_view_if_needed()
    scene = tab.page.locator("#critical-points .gl-container canvas").first
    scene.wait_for()
    told = tab.page.locator("#critical-points .legendtext").all_text_contents()
    assert told == ["encoded (200)", "critical (9)", "minimal (5)", "reconstruction (50)"]
    eye = "document.querySelector('#critical-points .plot').layout.scene.camera.eye"
    before, box = tab.page.evaluate(eye), scene.bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + 150, box["y"] + 120)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 230, box["y"] + 150, steps=5)
    tab.page.mouse.up()
    tab.until(lambda: tab.page.evaluate(eye) != before)
    tab.page.screenshot(path=artefacts / "report-critical-points.png")
    tab.page.close()
