from __future__ import annotations

from nic_lightning.report.page.translations import means, translation_section, translation_table
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.record.translation import write_translation


def row(system: str, guide: str | None, source: str, target: str, **values):
    return {"system": system, "guide": guide, "source": source, "target": target, "validation": "val", **values}


ROWS = [
    row("codec", "latent", "cat", "dog", outputs=40, bpp=0.2, fid_x=10.0, kid_x=0.5, note="40 are few."),
    row("codec", "latent", "dog", "cat", outputs=30, bpp=0.4, fid_x=20.0, kid_x=float("nan"), note="30 are few."),
    row("codec", "reference", "cat", "dog", outputs=40, bpp=0.2, fid_x=12.0, kid_x=0.25, note=None),
    row("plain <b>", "latent", "cat", "dog", outputs=40, bpp=None, fid_x=9.0, kid_x=0.125, note=None),
]


def test_means_are_over_tasks():
    first, second, third = means(ROWS)
    assert (first["tasks"], first["outputs"], first["fid_x"], first["note"]) == (2, 30, 15.0, "30 are few.")
    assert abs(first["bpp"] - 0.3) < 1e-12
    assert (second["guide"], second["kid_x"]) == ("reference", 0.25)
    assert third["bpp"] is None


def test_tables_of_text_and_of_the_page(tmp_path):
    write_translation(tmp_path, ROWS)
    write_translation(tmp_path, [row("other", "latent", "cat", "dog", outputs=1)])
    run = read_run(tmp_path)
    page = translation_section([run])
    assert "plain &lt;b&gt;" in page
    assert "<b>" not in page.replace("&lt;b&gt;", "")
    assert "15.00" in page
    assert page.count("40 are few") == 0  # the mean's doubt is that of its smallest task
    assert "Every pair of domains" in page
    assert "other" in page
    text = translation_table(ROWS).splitlines()
    assert text[0].split() == ["system", "guide", "outputs", "bpp", "FID", "x", "KID", "x"]
    assert text[2].split() == ["codec", "latent", "30", "0.3000", "15.00", "-"]
    assert text[4].split() == ["plain", "<b>", "latent", "40", "-", "9.00", "0.1250"]
    assert text[-1] == "Note: 30 are few."
    assert translation_section([]) == ""
