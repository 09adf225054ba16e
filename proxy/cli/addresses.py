"""Where a running gate listens, from its policy file alone: no secret is needed to ask how it is doing."""

from pathlib import Path

from proxy.errors import Fault, PolicyError
from proxy.policy.document import parse
from proxy.policy.model import Admin, Observe
from proxy.policy.values import Endpoint


def endpoint(policy: Path, section: str) -> Endpoint:
    """The address of ``observe`` or ``admin``, unix paths relative to the policy's folder.

    Raises:
        PolicyError: the file cannot be read, or has no usable address there.
    """
    default = {"observe": Observe().address, "admin": Admin().address}[section]
    found = _section(policy, section)
    try:
        address = Endpoint.parse(found.get("address", default)) if isinstance(found, dict) else default
    except ValueError as error:
        raise PolicyError((Fault(str(policy), 0, 0, f"{section}.address", str(error)),)) from None
    return Endpoint("", 0, str(policy.parent / address.path)) if address.path else address


def token_file(policy: Path) -> Path | None:
    """The file that holds the admin token, where the policy names one."""
    found = _section(policy, "admin")
    token = found.get("token") if isinstance(found, dict) else None
    name = token.get("from_file") if isinstance(token, dict) else None
    return policy.parent / name if isinstance(name, str) else None


def _section(policy: Path, section: str) -> object:
    try:
        document = parse(policy.read_bytes()).value
    except OSError as error:
        raise PolicyError(
            (Fault(str(policy), 0, 0, "", f"cannot be read: {(error.strerror or 'unknown reason').lower()}"),)
        ) from None
    return document.get(section) if isinstance(document, dict) else None
