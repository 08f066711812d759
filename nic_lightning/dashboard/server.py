"""The web server: Dash behind checks of where a request comes from and what it may load."""

from __future__ import annotations

import ipaddress
import platform
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from dash import Dash
from flask import Flask, Response, abort, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from nic_lightning.dashboard.callbacks import MAX_COMPARED, connect
from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.dashboard.live import Live
from nic_lightning.dashboard.page import page
from nic_lightning.dashboard.sockets import is_loopback
from nic_lightning.errors import UserError

MAX_REQUEST = 2**20
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Quiet(WSGIRequestHandler):
    """No line for each request."""

    def log_request(self, *_: Any, **__: Any) -> None:
        """Nothing."""


def make_app(catalogue: Catalogue, host: str, shown: str) -> Dash:
    """The page and its checks; `shown` is the folder as it was given."""
    server = Flask("nic_dashboard", static_folder=None)
    server.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST
    app = Dash(
        __name__,
        server=server,  # pyright: ignore[reportArgumentType]
        title="nic dashboard",
        update_title="",
        serve_locally=True,
        assets_folder=str(Path(__file__).parent / "assets"),
        url_base_pathname="/",
        assets_external_path="",
        compress=False,
        suppress_callback_exceptions=False,
        add_log_handler=False,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = page(shown)
    connect(app, catalogue, Live())
    _guard(server, app, host)
    _reports(server, catalogue)
    return app


def wsgi(app: Dash, opened: socket.socket) -> BaseWSGIServer:
    """A server of threads on a socket that listens already."""
    host, port = opened.getsockname()[:2]
    return make_server(host, port, app.server, threaded=True, request_handler=Quiet, fd=opened.fileno())


def _guard(server: Flask, app: Dash, host: str) -> None:
    scripts = " ".join(["'self'", *(f"'{text}'" if "'" not in text else text for text in app.csp_hashes())])
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    @server.before_request
    def check() -> None:
        """A page elsewhere may point its own name at this machine; it then comes with that name."""
        if not _is_ours(request.host, host):
            abort(Response("This dashboard is not served under that name.\n", 403, mimetype="text/plain"))
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            abort(403)
        if request.method not in ("GET", "HEAD") and request.path != "/_dash-update-component":
            abort(405)

    @server.after_request
    def seal(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response


def _is_ours(name: str, host: str) -> bool:
    """Whether a Host header names this machine: loopback, or where it was told to listen, an address or its name."""
    try:
        bare = name.rpartition(":")[0] if name.count(":") == 1 else name
        bare = bare.partition("]")[0].lstrip("[") if bare.startswith("[") else bare
        address = ipaddress.ip_address(bare)
    except ValueError:
        known = {"localhost", host.lower()}
        return bare.lower() in (known if is_loopback(host) else known | {platform.node().lower()})
    return address.is_loopback or not is_loopback(host)


def _reports(server: Flask, catalogue: Catalogue) -> None:
    building = threading.Lock()

    @server.get("/report")
    def report() -> Response:
        """The full report on the runs of the list that the query names."""
        from nic_lightning.report.page.html import write_report  # half a second that the list need not wait for

        wanted = request.args.getlist("run")[:MAX_COMPARED]
        folders = catalogue.folders(wanted)
        if not folders or len(folders) < len(set(wanted)):
            return Response("There is no such run in the list.\n", 404, mimetype="text/plain")
        with building, tempfile.TemporaryDirectory(prefix="nic-report-") as name:
            out = Path(name) / "report.html"
            try:
                write_report(list(folders.values()), out)
            except UserError as error:
                return Response(f"{error}\n", 404, mimetype="text/plain")
            body = out.read_bytes()
        # An origin of its own, apart from the dashboard's; the page brings a stricter policy with it.
        return Response(body, mimetype="text/html", headers={"Content-Security-Policy": _SANDBOX})


_SANDBOX = "sandbox allow-scripts allow-downloads allow-popups; frame-ancestors 'none'"


def serve(catalogue: Catalogue, host: str, opened: socket.socket, shown: str) -> None:
    """Serve until Ctrl-C."""
    port = opened.getsockname()[1]
    server = wsgi(make_app(catalogue, host, shown), opened)
    name = f"[{host}]" if ":" in host else host
    print(f"http://{name}:{port}/ shows {shown}; Ctrl-C ends it.", flush=True)
    if not is_loopback(host):
        print("Everybody who can reach this machine can read these runs; there is no password.", file=sys.stderr)
    try:
        server.serve_forever()
    finally:
        server.server_close()
        opened.close()
        catalogue.stop()
