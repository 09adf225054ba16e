"""Where a running gate listens, from its policy file alone: no secret is needed to ask how it is doing."""

from collections.abc import Mapping
from pathlib import Path

from proxy.errors import Fault, HookgateError, PolicyError
from proxy.policy.document import parse
from proxy.policy.endpoints import ADMIN, OBSERVE, Endpoint


def endpoint(policy: Path, section: str) -> Endpoint:
    """The address of ``observe`` or ``admin``, unix paths relative to the policy's folder.

    Raises:
        PolicyError: the file cannot be read, or has no usable address there.
    """
    default = {"observe": OBSERVE, "admin": ADMIN}[section]
    found = _section(policy, section)
    try:
        address = Endpoint.parse(found.get("address", default)) if isinstance(found, dict) else default
    except ValueError as error:
        raise PolicyError((Fault(str(policy), 0, 0, f"{section}.address", str(error)),)) from None
    return Endpoint("", 0, str(policy.parent / address.path)) if address.path else address


def admin_token(policy: Path, environ: Mapping[str, str]) -> str:
    """What a caller of the admin address must present; empty where the policy names nothing.

    Raises:
        HookgateError: the policy names a file that cannot be read, or a variable that is not set.
    """
    found = _section(policy, "admin")
    token = found.get("token") if isinstance(found, dict) else None
    given = token if isinstance(token, dict) else {}
    name, file = given.get("from_env"), given.get("from_file")
    try:
        if isinstance(name, str):
            return environ[name].strip()
        return (policy.parent / file).read_text().strip() if isinstance(file, str) else ""
    except KeyError:
        raise HookgateError(f"the admin token is not there: set {name} as it is set for the gate") from None
    except OSError as error:
        why = (error.strerror or "unknown reason").lower()
        raise HookgateError(f"the admin token cannot be read from {file} ({why}): run this as a user who may read it") from None


def _section(policy: Path, section: str) -> object:
    try:
        document = parse(policy.read_bytes()).value
    except OSError as error:
        raise PolicyError(
            (Fault(str(policy), 0, 0, "", f"cannot be read: {(error.strerror or 'unknown reason').lower()}"),)
        ) from None
    return document.get(section) if isinstance(document, dict) else None
