"""Image, compose file, sample bot and systemd unit: numbers for users, nothing writable, the policy where all expect it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .shipped import POLICIES, load

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose"


def instructions(file: Path) -> list[str]:
    """The lines of a Dockerfile, continued ones joined, comments left out."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return [" ".join(line.split()) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def unit() -> dict[str, list[str]]:
    """The settings of the systemd unit; one that stands several times has several values."""
    settings: dict[str, list[str]] = {}
    for line in (ROOT / "deploy/systemd/hookgate.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


@pytest.fixture
def compose() -> dict[str, Any]:
    """The services of the compose file."""
    services: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return services


@pytest.mark.parametrize("file", [ROOT / "Dockerfile", COMPOSE / "bot/Dockerfile"])
def test_image_has_a_numeric_user(file: Path) -> None:
    """The last stage runs as a number that is not 0, which runAsNonRoot can judge."""
    users = [line.split()[1] for line in instructions(file) if line.startswith("USER ")]
    assert users[-1:] == ["65532:65532"]


def test_image_runs_without_a_shell() -> None:
    """What runs in the image is given as a program with arguments, its health check by our own command."""
    image = instructions(ROOT / "Dockerfile")
    assert image[-1] == 'CMD ["serve", "/etc/hookgate/policy.yaml"]'
    assert 'ENTRYPOINT ["hookgate"]' in image
    (health,) = [line for line in image if line.startswith("HEALTHCHECK")]
    assert health.endswith('CMD ["hookgate", "healthcheck", "/etc/hookgate/policy.yaml"]')


def test_build_context_is_what_the_image_takes() -> None:
    """Everything is kept out of the build context but what the Dockerfile copies."""
    copied = [
        line.split()[1:-1] for line in instructions(ROOT / "Dockerfile") if line.startswith("COPY ") and "--from" not in line
    ]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == {
        name.removeprefix("./") for names in copied for name in names
    }


def test_image_installs_what_is_locked() -> None:
    """Dependencies come as wheels with the lock's hashes; the package itself brings none along."""
    installs = [line for line in instructions(ROOT / "Dockerfile") if " install " in line and "pip " in line]
    assert len(installs) == 3
    assert "--require-hashes --only-binary :all: -r requirements.lock" in installs[0]
    assert "--no-deps ." in installs[1]
    assert "--require-hashes --only-binary :all: -r requirements.lock -r requirements-compile.lock" in installs[2]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-compile.lock"])
def test_what_is_shipped_is_what_is_tested(lock: str) -> None:
    """The image has the very versions that the tests run with."""

    def versions(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9-]+==\S+", (ROOT / name).read_text(), re.MULTILINE))

    assert versions(lock)
    assert versions(lock) <= versions("requirements-dev.lock")


def test_compose_exposes_the_gate_alone(compose: dict[str, Any]) -> None:
    """The bot publishes no port, and what is published is published on the host's loopback address."""
    assert "ports" not in compose["bot"]
    assert set(compose["bot"]["networks"]).isdisjoint(compose["prometheus"]["networks"])
    for name in ("hookgate", "prometheus"):
        assert all(port.startswith("127.0.0.1:") for port in compose[name]["ports"])


def test_compose_services_are_confined(compose: dict[str, Any]) -> None:
    """Each service runs as a number on a read-only root file system, without capabilities."""
    for service in compose.values():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_compose_fits_its_policy(compose: dict[str, Any], tmp_path: Path) -> None:
    """Published port, bot's name, secret's variable, health check and stopping time fit the policy."""
    policy = load(POLICIES["compose"], tmp_path).policy
    service = compose["hookgate"]
    assert [port.rpartition(":")[2] for port in service["ports"]] == [str(policy.listen.address.port)]
    assert policy.upstream is not None
    assert policy.upstream.url.host in compose
    assert [secret.from_env for secret in policy.routes[0].secrets] == list(service["environment"])
    assert service["healthcheck"]["test"] == ["CMD", "hookgate", "healthcheck", "/etc/hookgate/policy.yaml"]
    assert float(service["stop_grace_period"].removesuffix("s")) > policy.limits.drain_delay + policy.limits.drain_timeout
    (mount,) = [volume for volume in service["volumes"] if ":/etc/hookgate" in volume]
    assert (COMPOSE / mount.split(":")[0]).is_dir()


def test_prometheus_scrapes_the_gate(compose: dict[str, Any], tmp_path: Path) -> None:
    """Prometheus' only target is the gate's observe address."""
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    (job,) = configuration["scrape_configs"]
    host, _, port = job["static_configs"][0]["targets"][0].partition(":")
    assert host in compose
    assert int(port) == load(POLICIES["compose"], tmp_path).policy.observe.address.port


def test_unit_runs_what_the_image_runs() -> None:
    """The unit serves the same path, reloads by SIGHUP, and waits for the drain before it kills."""
    settings = unit()
    assert settings["ExecStart"] == ["/opt/hookgate/bin/hookgate serve /etc/hookgate/policy.yaml"]
    assert settings["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert settings["KillMode"] == ["mixed"]


def test_unit_fits_its_policy(tmp_path: Path) -> None:
    """The unit's credential, directories and stopping time are those of its policy."""
    settings, policy = unit(), load(POLICIES["systemd"], tmp_path).policy
    (credential,) = settings["LoadCredential"]
    assert Path(str(policy.routes[0].secrets[0].from_file)).name == credential.split(":")[0]
    assert settings["StateDirectory"] == [Path(policy.state_directory).name]
    assert settings["RuntimeDirectory"] == [Path(policy.admin.address.path).parent.name]
    assert float(settings["TimeoutStopSec"][0].removesuffix("s")) > policy.limits.drain_delay + policy.limits.drain_timeout


def test_unit_is_confined() -> None:
    """The unit gives up capabilities, devices, other people's files and memory that is both writable and executable."""
    settings = unit()
    assert settings["User"] == ["hookgate"]
    assert settings["CapabilityBoundingSet"] == [""]
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["SystemCallFilter"] == ["@system-service", "~@privileged"]
    for name in (
        "NoNewPrivileges",
        "PrivateTmp",
        "PrivateDevices",
        "ProtectHome",
        "MemoryDenyWriteExecute",
        "RestrictNamespaces",
    ):
        assert settings[name] == ["yes"]


@pytest.fixture
def bot() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The sample bot as a process, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, COMPOSE / "bot/bot.py"], env={**os.environ, "BOT_PORT": str(port)}, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield process, port
    process.kill()
    process.communicate()


def test_sample_bot_echoes(bot: tuple[subprocess.Popen[bytes], int]) -> None:
    """The sample bot answers a text with a sendMessage, anything else with an empty 200, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", bot[1], timeout=5)
    text = {"update_id": 1, "message": {"chat": {"id": 7}, "text": "hello"}}
    for update, reply in ((text, {"method": "sendMessage", "chat_id": 7, "text": "hello"}), ({"update_id": 2}, None)):
        connection.request("POST", "/telegram/x", json.dumps(update))
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200
        assert (json.loads(body) if body else None) == reply
    connection.close()


def test_sample_bot_stops(bot: tuple[subprocess.Popen[bytes], int]) -> None:
    """The sample bot ends at SIGTERM, with exit code 0, and has logged no path."""
    process, port = bot
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", "/telegram/change-me", b'{"update_id": 3}')
    connection.getresponse().read()
    connection.close()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=5)
    assert process.returncode == 0
    assert b"update 3" in log
    assert b"change-me" not in log
