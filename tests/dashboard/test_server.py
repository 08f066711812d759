"""What the dashboard answers to requests that its own page would never make."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.dashboard.server import make_app
from nic_lightning.dashboard.sockets import is_loopback, open_socket
from nic_lightning.errors import UserError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results

HOME = {"Host": "127.0.0.1:8050"}


def row(label: str, bpp: float, psnr: float) -> dict:
    return {"dataset": "kodak", "item": "a.png", "codec": "cae", "label": label, "bpp": bpp, "psnr": psnr}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("served")
    for name in ("one", "two"):
        folder = root / "runs" / name
        record = RunRecord(folder)
        record.start({"name": name, "trainer": {"max_steps": 10}}, [])
        for step in range(5):
            record.log(step, {"train/loss": 1.0 / (step + 1)})
        write_results(folder / "results.parquet", [row("64", 0.1, 28), row("512", 0.4, 33)])
        record.finish("finished")
    (root / "secret").mkdir()
    (root / "secret" / "config.yaml").write_text("token: hunter2")
    (root / "secret" / "status.json").write_text(json.dumps({"state": "finished", "error": "hunter2"}))
    (root / "runs" / "link").symlink_to(root / "secret")
    (root / "runs" / "one" / "config.txt").symlink_to(root / "secret" / "config.yaml")
    return root


@pytest.fixture(scope="module")
def app(root):
    catalogue = Catalogue(root / "runs")
    catalogue.look()
    return make_app(catalogue, "127.0.0.1", "runs")


@pytest.fixture
def client(app):
    return app.server.test_client()


def call(client, output: str, outputs: list[str], inputs: dict[str, object], state: dict[str, object] | None = None):
    """What the page sends when it asks for `outputs`, with whatever values a stranger likes."""

    def wires(values):
        return [{"id": k.split(".")[0], "property": k.split(".")[1], "value": v} for k, v in values.items()]

    named = [{"id": name.split(".")[0], "property": name.split(".")[1]} for name in outputs]
    body = {"output": output, "outputs": named if output.startswith("..") else named[0]}
    body |= {"inputs": wires(inputs), "state": wires(state or {}), "changedPropIds": [next(iter(inputs))]}
    return client.post("/_dash-update-component", json=body, headers=HOME)


def show(client, chosen):
    return call(client, "facts.children", ["facts.children"], {"chosen.data": chosen, "tab.value": "facts"})


def draw(client, chosen, **given):
    outputs = ["curves.figure", "metric.options", "metric.value", "curves-note.children", "drawn.data"]
    inputs = {"tick.n_intervals": 1, "chosen.data": chosen, "metric.value": None, "axis.value": "step", "log.value": []}
    inputs |= {"tab.value": "training"} | given
    return call(client, f"..{'...'.join(outputs)}..", outputs, inputs, {"drawn.data": None})


def compare(client, chosen, anchor=None):
    outputs = ["rd.figure", "bd.children", "rd-note.children", "dataset.options", "dataset.value"]
    outputs += ["anchor.options", "anchor.value", "report.href"]
    inputs = {"chosen.data": chosen, "dataset.value": None, "quality.value": "psnr", "anchor.value": anchor}
    return call(client, f"..{'...'.join(outputs)}..", outputs, inputs | {"tab.value": "comparison"})


def test_the_page_answers(client):
    home = client.get("/", headers=HOME)
    assert home.status_code == 200
    policy = home.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert b"https://cdn" not in home.data
    assert b'src="http' not in home.data
    figure = draw(client, ["one", "two"]).get_json()["response"]
    assert [trace["name"] for trace in figure["curves"]["figure"]["data"]] == ["one", "two"]
    answer = compare(client, ["one", "two"]).get_json()["response"]
    assert answer["report"]["href"] == "/report?run=one&run=two"
    assert b"finished" in show(client, ["one"]).data


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:8050", 200),
        ("localhost:1", 200),
        ("[::1]:8050", 200),
        ("evil.example", 403),
        ("evil.example:8050", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8050", 403),
        ("192.168.0.7:8050", 403),
        ("", 403),
    ],
)
def test_a_foreign_name_is_refused(client, host, code):
    """Else a page elsewhere could point its own name at this machine and read the runs."""
    for path in ("/", "/_dash-layout", "/report?run=one", "/assets/dashboard.css"):
        answer = client.get(path, headers={"Host": host})
        assert (answer.status_code == 403) == (code == 403), path
        assert b"hunter2" not in answer.data
        answer.close()


def test_a_request_from_another_page_is_refused(client):
    assert client.get("/", headers=HOME | {"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/", headers=HOME | {"Origin": "null"}).status_code == 403
    assert client.get("/", headers=HOME | {"Origin": "http://127.0.0.1:8050"}).status_code == 200
    assert client.put("/", headers=HOME).status_code == 405
    large = client.post("/_dash-update-component", data=b"[" * 2_000_000, headers=HOME, content_type="application/json")
    assert large.status_code == 413


PATHS = [
    "../secret",
    "..",
    "../../etc",
    "/etc",
    "%2e%2e%2fsecret",
    "..%2fsecret",
    "link",
    "one/../../secret",
    "one\\..",
    "one\x00",
]


@pytest.mark.parametrize("path", [*PATHS, "ABSOLUTE"])
def test_no_path_leads_out(client, root, path):
    path = str(root / "secret") if path == "ABSOLUTE" else path
    answers = [
        client.get("/report", query_string={"run": path}, headers=HOME),
        client.get("/report", query_string={"run": ["one", path]}, headers=HOME),
        client.get(f"/report?run={path}", headers=HOME),
    ]
    assert {answer.status_code for answer in answers} == {404}
    answers += [client.get(f"{start}{path}/config.yaml", headers=HOME) for start in ("/", "/assets/", "/assets/../")]
    answers += [client.get(f"/_dash-component-suites/dash/{path}/config.yaml", headers=HOME)]
    answers += [show(client, [path]), draw(client, [path]), compare(client, [path])]
    assert not any(b"hunter2" in answer.data for answer in answers)


@pytest.mark.parametrize("value", [None, 7, "one", {"a": 1}, [None, 7, ["one"], {"a": 1}], ["one"] * 100_000])
def test_values_that_no_page_sends(client, value):
    for answer in (show(client, value), draw(client, value), compare(client, value)):
        assert answer.status_code in (200, 204, 413)
    given = {"metric.value": value, "axis.value": value, "log.value": value}
    assert draw(client, ["one"], **given).status_code in (200, 413)
    assert compare(client, ["one", "two"], value).status_code in (200, 413)


def test_the_report_of_a_selection(client):
    answer = client.get("/report?run=one&run=two", headers=HOME)
    assert answer.status_code == 200
    assert b"<!doctype html>" in answer.data[:100].lower()
    assert answer.headers["Content-Security-Policy"].startswith("sandbox ")


def test_nothing_is_written(client, root):
    """To the bit, times of files included."""

    def state():
        files = sorted(path for path in root.rglob("*") if not path.is_symlink())
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in files]
        return [(str(path), path.stat().st_mtime_ns, digest) for path, digest in zip(files, sums, strict=True)]

    before = state()
    client.get("/", headers=HOME)
    assert b"finished" in show(client, ["one"]).data
    assert draw(client, ["one", "two"]).status_code == 200
    assert compare(client, ["one", "two"]).status_code == 200
    assert client.get("/report?run=one&run=two", headers=HOME).status_code == 200
    assert state() == before


def test_where_it_listens(tmp_path, capsys):
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be used"):
            open_socket("127.0.0.1", port)
        assert cli.main(["dashboard", str(tmp_path), "--port", str(port)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    for host, port in (("127.0.0.1", 70_000), ("203.0.113.1", 0), ("x" * 300, 0)):
        with pytest.raises(UserError):
            open_socket(host, port)
    assert cli.main(["dashboard", str(tmp_path / "gone")]) == 2
    assert "gone is not there" in capsys.readouterr().err
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "machine")] == [True] * 3 + [
        False
    ] * 2
