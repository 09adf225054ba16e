"""A policy file becomes a ``Loaded`` value, or a ``PolicyError`` with every fault at once.

The walk: text → plain values → presets under each route → types → what must hold between them → secrets and files read.
A part that is wrong by itself is told, then replaced by a stand-in, so that the rest can still be judged in the same run.
"""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from proxy.errors import Fault, PolicyError
from proxy.policy import document as yaml_document
from proxy.policy.document import Document, Plain
from proxy.policy.faults import Complaint, Places, complaints, nearest
from proxy.policy.file_checks import read_schemas, tls_complaints
from proxy.policy.handshake_checks import handshake_complaints, read_handshake_token
from proxy.policy.handshakes import token_owner
from proxy.policy.model import Policy
from proxy.policy.paths import absolute, watched
from proxy.policy.policy_checks import policy_complaints
from proxy.policy.presets import PROVIDERS, spelled_out
from proxy.policy.rule_checks import route_complaints
from proxy.policy.secret_checks import read_admin_token, read_audit_key, read_secrets, secret_set_complaints
from proxy.policy.secrets import Secret
from proxy.policy.standins import Dropped, empty_places, without, without_empty
from proxy.policy.store_checks import read_redis
from proxy.policy.upstream_secrets import read_upstream_secrets
from proxy.redis_url import RedisAccess


@dataclass(frozen=True, slots=True)
class Loaded:
    """A sound policy and everything that it names, read once."""

    policy: Policy
    """All paths are absolute, all presets spelled out."""
    secrets: Mapping[str, tuple[Secret, ...]]
    """By the name of the route, in the order of the policy."""
    sha256: str
    """Of the policy file's bytes, in hex."""
    watched: tuple[Path, ...]
    """Files whose change asks for a reload."""
    schemas: Mapping[str, object]
    """Parsed JSON Schemas by the name that the ``schema`` rule has for them: an absolute path or ``builtin:NAME``."""
    admin_token: Secret | None
    redis: RedisAccess | None
    """What opens the store, where it is a Redis."""
    audit_key: Secret | None
    upstream_secrets: Mapping[str, Secret]
    """What the bot of a route knows instead of the route's own secrets, by the name of the route."""
    warnings: tuple[Fault, ...]
    """What is sound and still worth a look."""


def read_policy(path: Path, environ: Mapping[str, str], *, now: float | None = None, workers: int | None = None) -> Loaded:
    """Read and judge a policy file; no network, no side effect.

    ``now`` (unix seconds) is the moment by which secrets are expired or not; by default, now. ``workers`` overrides the policy.

    Raises:
        PolicyError: with every fault, in the order of the file.
    """
    data = _bytes(path)
    document = yaml_document.parse(data)
    places = Places(str(path), document)
    flaws = list(places.flaws())
    if not isinstance(document.value, dict):
        if not flaws:
            flaws = [places.fault(Complaint((), "must be a mapping of keys, beginning with version: 1"))]
        raise PolicyError(tuple(flaws))
    reading = _Reading(path, document, environ, time.time() if now is None else now, workers)
    faults = {*flaws, *(places.fault(complaint) for complaint in reading.complaints if complaint.grave)}
    if faults:
        raise PolicyError(tuple(sorted(faults, key=_order)))
    warnings = sorted({places.fault(complaint) for complaint in reading.complaints}, key=_order)
    return reading.loaded(hashlib.sha256(data).hexdigest(), tuple(warnings))


def _order(fault: Fault) -> tuple[int, int, str, str]:
    return fault.line, fault.column, fault.path, fault.message


def _bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(yaml_document.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror or "unknown reason") if isinstance(error, OSError) else "its name is not usable"
        raise PolicyError((Fault(str(path), 0, 0, "", f"cannot be read: {why[0].lower()}{why[1:]}"),)) from None


class _Reading:
    """One pass over one policy; what it finds gathers in ``complaints``."""

    def __init__(self, file: Path, document: Document, environ: Mapping[str, str], now: float, workers: int | None) -> None:
        self.complaints: list[Complaint] = []
        self._file = Path(os.path.abspath(file))
        self._dropped = Dropped()
        for flaw in document.flaws:
            self._dropped.add(flaw.path)
        self._secrets: dict[str, tuple[Secret, ...]] = {}
        self._schemas: dict[str, object] = {}
        self._admin_token: Secret | None = None
        self._redis: RedisAccess | None = None
        self._audit_key: Secret | None = None
        self._upstream_secrets: dict[str, Secret] = {}
        self._policy = self._typed(document.value)
        if self._policy is not None and workers is not None:
            self._policy = self._policy.model_copy(update={"workers": workers})
        if self._policy is not None:
            self._judge(self._policy, absolute(self._policy, self._file.parent), environ, now)

    def loaded(self, sha256: str, warnings: tuple[Fault, ...]) -> Loaded:
        """The outcome; only for a reading without grave complaints."""
        assert self._policy is not None  # noqa: S101 - else there was a grave complaint
        policy = absolute(self._policy, self._file.parent)
        return Loaded(
            policy=policy,
            secrets=MappingProxyType(self._secrets),
            sha256=sha256,
            watched=watched(policy, self._file),
            schemas=MappingProxyType(self._schemas),
            admin_token=self._admin_token,
            redis=self._redis,
            audit_key=self._audit_key,
            upstream_secrets=MappingProxyType(self._upstream_secrets),
            warnings=warnings,
        )

    def _tell(self, complaint: Complaint) -> None:
        """Keep a complaint about a part that is wrong by itself, once a place."""
        if self._dropped.add(complaint.path):
            self.complaints.append(complaint)

    def _typed(self, written: Plain) -> Policy | None:
        for path in empty_places(written):
            self._tell(Complaint(path, "has no value; give one, or remove the key", at_key=True))
        given = without_empty(written)
        tree: dict[str, Plain] = dict(given) if isinstance(given, dict) else {}
        routes = tree.get("routes")
        if isinstance(routes, tuple):
            tree["routes"] = tuple(self._with_preset(route, index) for index, route in enumerate(routes))
        try:
            policy = Policy.model_validate(tree)
        except ValidationError as error:
            around = {path[:length] for path in self._dropped.paths for length in range(1, len(path))}
            for complaint in complaints(error, tree):
                if complaint.at_key or complaint.path not in around:
                    self._tell(complaint)
        else:
            return policy
        try:
            return Policy.model_validate(without(tree, self._dropped))
        except ValidationError:
            return None

    def _with_preset(self, route: Plain, index: int) -> Plain:
        if not isinstance(route, dict):
            return route
        name = route.get("provider", "generic")
        if not isinstance(name, str):
            return route
        if name not in PROVIDERS:
            known = f"the presets are {', '.join(PROVIDERS)}"
            message = f"unknown provider {name!r}{nearest(name, PROVIDERS) or '; ' + known}"
            self._tell(Complaint(("routes", index, "provider"), message))
            return route
        return spelled_out(name, route)

    def _judge(self, written: Policy, policy: Policy, environ: Mapping[str, str], now: float) -> None:
        """``written`` has paths and networks as they stand in the file, ``policy`` has them resolved."""
        folder, whole = self._file.parent, self._dropped.top_whole()
        self.complaints += policy_complaints(policy)
        self.complaints += tls_complaints(policy)
        self._admin_token, found = read_admin_token(written, folder, environ)
        self.complaints += found
        self._redis, found = read_redis(written, policy.store.ca_file, folder, environ)
        self.complaints += found
        self._audit_key, found = read_audit_key(written, folder, environ)
        self.complaints += found
        self._upstream_secrets, found = read_upstream_secrets(written, folder, environ, self._dropped.route_whole)
        self.complaints += found
        inline = written.allow_inline_secrets or not whole
        for index, (route, resolved) in enumerate(zip(written.routes, policy.routes, strict=True)):
            at: yaml_document.Path = ("routes", index)
            complete = self._dropped.route_whole(index)
            self.complaints += route_complaints(route, at, written, whole=complete)
            self.complaints += handshake_complaints(route, at) if complete else ()
            self._secrets[route.name], found = read_secrets(route, at, folder, environ, inline=inline)
            self.complaints += found
            self.complaints += secret_set_complaints(route, at, now, whole=complete)
            token, found = read_handshake_token(route, at, folder, environ, inline=inline)
            self._secrets |= {token_owner(route.name): token} if token else {}
            self.complaints += found
            schemas, found = read_schemas(resolved, at)
            self._schemas |= schemas
            self.complaints += found
