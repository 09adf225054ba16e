"""The Kubernetes manifests: ports by number, probes that cannot lock a pod, a bot that lingers, and nobody as root."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from .shipped import POLICIES, load

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
BASE = KUBERNETES / "base"


def manifest(path: str) -> Any:
    """One file under deploy/kubernetes."""
    return yaml.safe_load((KUBERNETES / path).read_text())


def pod(path: str = "base/deployment.yaml") -> dict[str, Any]:
    """The pod of a Deployment."""
    spec: dict[str, Any] = manifest(path)["spec"]["template"]["spec"]
    return spec


def gate(path: str = "base/deployment.yaml") -> dict[str, Any]:
    """The sidecar of a Deployment."""
    (container,) = pod(path)["initContainers"]
    assert isinstance(container, dict)
    return container


def test_gate_is_a_native_sidecar() -> None:
    """The gate starts before the bot and ends after it."""
    assert gate()["name"] == "hookgate"
    assert gate()["restartPolicy"] == "Always"


PROBES = [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]


@pytest.mark.parametrize(("probe", "path"), PROBES)
def test_probes(probe: str, path: str) -> None:
    """Start and life do not depend on the bot, which is started only after the startup probe; the port is a number."""
    assert gate()[probe]["httpGet"] == {"path": path, "port": 9464}


def test_bot_lingers() -> None:
    """The preStop stands at the bot, and the pod's grace covers it, the gate's drain, and ten seconds for the bot's own end."""
    (bot,) = pod()["containers"]
    assert "lifecycle" not in gate()
    assert bot["lifecycle"]["preStop"].keys() == {"sleep"}


def test_grace_is_long_enough(tmp_path: Path) -> None:
    """terminationGracePeriodSeconds covers the bot's preStop, ten seconds for its end, and the drain that the policy allows."""
    limits = load(POLICIES["kubernetes"], tmp_path).policy.limits
    (bot,) = pod()["containers"]
    needed = bot["lifecycle"]["preStop"]["sleep"]["seconds"] + 10 + limits.drain_delay + limits.drain_timeout
    assert pod()["terminationGracePeriodSeconds"] >= needed


def test_pod_is_restricted() -> None:
    """Bot and gate meet the Pod Security level "restricted", which their namespace enforces, on a read-only root file system."""
    assert manifest("base/namespace.yaml")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    context = pod()["securityContext"]
    assert context["runAsNonRoot"] is True
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (65532, 65532, 65532)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [gate(), *pod()["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_volumes_are_directories() -> None:
    """No file is mounted by subPath, which would never be updated, and every mount has its volume."""
    mounts = gate()["volumeMounts"]
    assert all("subPath" not in mount for mount in mounts)
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in pod()["volumes"]}


def test_outside_reaches_the_gate_alone(tmp_path: Path) -> None:
    """Service, NetworkPolicy and PodMonitor name the policy's ports by number, and the bot's port nowhere."""
    policy = load(POLICIES["kubernetes"], tmp_path).policy
    (port,) = manifest("base/service.yaml")["spec"]["ports"]
    assert port["targetPort"] == policy.listen.address.port
    public, watched = manifest("base/networkpolicy.yaml")["spec"]["ingress"]
    assert [entry["port"] for entry in public["ports"]] == [policy.listen.address.port]
    assert [entry["port"] for entry in watched["ports"]] == [policy.observe.address.port]
    assert watched["from"]
    (endpoint,) = manifest("components/podmonitor/podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    assert endpoint["portNumber"] == policy.observe.address.port
    assert policy.upstream is not None
    assert policy.upstream.url.host == "127.0.0.1"


def test_selectors_find_the_pod() -> None:
    """Deployment, Service, NetworkPolicy and PodMonitor look for the labels that the pod carries."""
    labels = manifest("base/deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        manifest("base/deployment.yaml")["spec"]["selector"]["matchLabels"],
        manifest("base/service.yaml")["spec"]["selector"],
        manifest("base/networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        manifest("components/podmonitor/podmonitor.yaml")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)


def test_kustomizations_name_what_exists() -> None:
    """Each file that a kustomization names is there (the secret alone is made by the operator), and each manifest is named."""
    base = manifest("base/kustomization.yaml")
    named = {*base["resources"], *base["configMapGenerator"][0]["files"]}
    assert named == {file.name for file in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert base["secretGenerator"][0]["files"] == ["secrets/telegram-2026-11"]
    assert (BASE / "secrets/.gitignore").read_text().startswith("*\n")
    top = manifest("kustomization.yaml")
    assert all((KUBERNETES / part / "kustomization.yaml").is_file() for part in top["resources"] + top["components"])
    patches = manifest("components/sidecar/kustomization.yaml")["patches"]
    assert all((KUBERNETES / "components/sidecar" / patch["path"]).is_file() for patch in patches)


def test_generated_names_are_mounted() -> None:
    """The pod mounts the ConfigMap and the Secret by the very names that the base generates."""
    base = manifest("base/kustomization.yaml")
    assert base["generatorOptions"] == {"disableNameSuffixHash": True}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert volumes["hookgate-policy"]["configMap"]["name"] == base["configMapGenerator"][0]["name"]
    assert volumes["hookgate-secrets"]["secret"]["secretName"] == base["secretGenerator"][0]["name"]


def test_component_adopts_with_the_same_sidecar() -> None:
    """The component's sidecar is the base's, but for the identity that an adopted pod does not lend it."""
    own, adopted = gate(), gate("components/sidecar/sidecar.yaml")
    identity = {key: value for key, value in pod()["securityContext"].items() if key != "fsGroup"}
    assert adopted.pop("securityContext") == identity | own.pop("securityContext")
    assert adopted == own
    volumes, theirs = pod()["volumes"], pod("components/sidecar/sidecar.yaml")["volumes"]
    assert [volume["secret"].pop("defaultMode") for volume in (volumes[1], theirs[1])] == [0o440, 0o444]
    assert theirs == volumes


def test_component_gives_the_same_grace() -> None:
    """An adopted bot lingers as long as the sample, and its pod waits as long."""
    operations = {operation["path"]: operation["value"] for operation in manifest("components/sidecar/bot.yaml")}
    (bot,) = pod()["containers"]
    assert operations["/spec/template/spec/containers/0/lifecycle"] == bot["lifecycle"]
    assert operations["/spec/template/spec/terminationGracePeriodSeconds"] == pod()["terminationGracePeriodSeconds"]
    assert operations["/spec/template/spec/enableServiceLinks"] is pod()["enableServiceLinks"] is False
    assert (
        manifest("components/sidecar/service.yaml")[0]["value"] == manifest("base/service.yaml")["spec"]["ports"][0]["targetPort"]
    )
