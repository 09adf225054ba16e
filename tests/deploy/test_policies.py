"""The policies that are shipped for running Hookgate: sound, and at one with the manifests around them."""

from pathlib import Path

import pytest

from proxy.policy.model import Policy

from .shipped import POLICIES, load


@pytest.fixture(params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Policy:
    """Each shipped policy in turn."""
    return load(POLICIES[request.param], tmp_path).policy


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_policy_is_sound(name: str, tmp_path: Path) -> None:
    """A shipped policy loads without a fault and without a warning."""
    assert load(POLICIES[name], tmp_path).warnings == ()


def test_state_stays_in_the_writable_directories(policy: Policy) -> None:
    """Under a read-only root file system a shipped policy writes only where volumes lie."""
    assert policy.store.url.startswith("sqlite:/var/lib/hookgate/")
    assert policy.state_directory == "/var/lib/hookgate"
    assert policy.admin.address.path.startswith("/run/hookgate/")


def test_authenticity_is_enforced(policy: Policy) -> None:
    """No shipped policy lets a forged request through: each route has an enforced signature and no insecure mark."""
    assert str(policy.mode) == "enforce"
    for route in policy.routes:
        assert route.rules.signature is not None
        assert route.rules.signature.mode == "enforce"
        assert route.mode is None
        assert not route.insecure


@pytest.mark.parametrize("name", ["compose", "kubernetes"])
def test_observe_can_be_reached_from_outside(name: str, tmp_path: Path) -> None:
    """In a container the observe address is not the loopback one, or neither probe nor Prometheus would reach it."""
    observe = load(POLICIES[name], tmp_path).policy.observe.address
    assert (observe.host, observe.port) == ("0.0.0.0", 9464)  # noqa: S104 - the port is not published
