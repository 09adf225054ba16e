"""Files that a policy names: relative ones lie beside the policy file; all of them are watched for changes.

Links are not followed here: a mounted volume swaps its files by changing a link, and the watcher must see that.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from proxy.networks import NetworkSet, parse_network
from proxy.policy.audit_settings import Audit
from proxy.policy.endpoints import Endpoint
from proxy.policy.model import Admin, IpRule, Listen, ListenTls, Policy, Route, Rules, SchemaRule, UpstreamSettings
from proxy.policy.presets import PROVIDERS, preset
from proxy.policy.references import SecretReference, SecretSource
from proxy.policy.store_settings import StoreSettings
from proxy.policy.values import Target

BUILTIN = "builtin:"
"""What the name of a shipped JSON Schema begins with."""


def absolute(policy: Policy, folder: Path) -> Policy:
    """The same policy with absolute paths, and with the networks of presets in place of their names."""
    at = _Beside(folder)
    return policy.model_copy(
        update={
            "listen": at.listen(policy.listen),
            "observe": policy.observe.model_copy(update={"address": at.endpoint(policy.observe.address)}),
            "admin": at.admin(policy.admin),
            "store": at.store(policy.store),
            "state_directory": at.path(policy.state_directory),
            "upstream": at.upstream(policy.upstream),
            "audit": at.audit(policy.audit),
            "routes": tuple(map(at.route, policy.routes)),
        }
    )


def watched(policy: Policy, file: Path) -> tuple[Path, ...]:
    """Every file whose change must lead to a reload; of an absolute policy."""
    named = [str(file), *_listener_files(policy)]
    upstreams = (policy.upstream, *(route.upstream for route in policy.routes))
    named += [upstream.ca_file or "" for upstream in upstreams if upstream]
    named += [upstream.secret.from_file or "" for upstream in upstreams if upstream and upstream.secret]
    for route in policy.routes:
        named += [one.from_file or "" for secret in route.secrets for one in (secret, *secret.values.values())]
        named.append((route.handshake.token and route.handshake.token.from_file) or "")
        rule = route.rules.json_schema
        named += [name for name in schema_names(rule) if not name.startswith(BUILTIN)] if rule else []
    return tuple(Path(name) for name in dict.fromkeys(named) if name)


def schema_names(rule: SchemaRule) -> tuple[str, ...]:
    """The JSON Schemas that a rule names: files, or ``builtin:NAME``."""
    return tuple(dict.fromkeys(([rule.file] if rule.file else []) + list(rule.files.values())))


def networks_of(entries: tuple[str, ...]) -> NetworkSet:
    """The networks behind the entries of an ``ip`` rule: networks, addresses, ``unix``, names of presets.

    Raises:
        ValueError: an entry is none of these; the message is for the operator.
    """
    return NetworkSet(map(parse_network, (e for e in _expanded(entries) if e != "unix")), unix="unix" in entries)


def _expanded(entries: tuple[str, ...]) -> Iterator[str]:
    for entry in entries:
        yield from preset(entry).networks if entry in PROVIDERS else (entry,)


def _listener_files(policy: Policy) -> Iterator[str]:
    tls, token = policy.listen.tls, policy.admin.token
    if tls is not None:
        yield from (tls.certificate, tls.key, tls.client_ca or "")
    yield (token and token.from_file) or ""


class _Beside:
    """Makes one part after the other absolute."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.abspath(folder)

    def path(self, written: str) -> str:
        return os.path.normpath(os.path.join(self._folder, written))

    def optional(self, written: str | None) -> str | None:
        return written and self.path(written)

    def endpoint(self, address: Endpoint) -> Endpoint:
        return address._replace(path=self.path(address.path)) if address.path else address

    def target(self, url: Target) -> Target:
        return url._replace(path=self.path(url.path)) if url.path else url

    def store(self, store: StoreSettings) -> StoreSettings:
        kind, _, path = store.url.partition(":")
        return store.model_copy(
            update={
                "url": f"sqlite:{self.path(path)}" if kind == "sqlite" else store.url,
                "ca_file": self.optional(store.ca_file),
                "password": self.source(store.password),
                "sentinel_password": self.source(store.sentinel_password),
            }
        )

    def listen(self, listen: Listen) -> Listen:
        return listen.model_copy(update={"address": self.endpoint(listen.address), "tls": listen.tls and self.tls(listen.tls)})

    def tls(self, tls: ListenTls) -> ListenTls:
        return tls.model_copy(
            update={
                "certificate": self.path(tls.certificate),
                "key": self.path(tls.key),
                "client_ca": self.optional(tls.client_ca),
            }
        )

    def admin(self, admin: Admin) -> Admin:
        return admin.model_copy(update={"address": self.endpoint(admin.address), "token": self.source(admin.token)})

    def source(self, source: SecretSource | None) -> SecretSource | None:
        return source and source.model_copy(update={"from_file": self.optional(source.from_file)})

    def audit(self, audit: Audit | None) -> Audit | None:
        return audit and audit.model_copy(update={"file": self.path(audit.file), "key": self.source(audit.key)})

    def upstream(self, upstream: UpstreamSettings | None) -> UpstreamSettings | None:
        return upstream and upstream.model_copy(
            update={
                "url": self.target(upstream.url),
                "ca_file": self.optional(upstream.ca_file),
                "secret": self.source(upstream.secret),
            }
        )

    def route(self, route: Route) -> Route:
        secrets = tuple(map(self.secret, route.secrets))
        token = route.handshake.token
        if token is not None:
            token = token.model_copy(update={"from_file": self.optional(token.from_file)})
            route = route.model_copy(update={"handshake": route.handshake.model_copy(update={"token": token})})
        return route.model_copy(
            update={"upstream": self.upstream(route.upstream), "secrets": secrets, "rules": self.rules(route.rules)}
        )

    def secret(self, secret: SecretReference) -> SecretReference:
        values = {
            name: value.model_copy(update={"from_file": self.optional(value.from_file)}) for name, value in secret.values.items()
        }
        return secret.model_copy(update={"from_file": self.optional(secret.from_file), "values": values})

    def rules(self, rules: Rules) -> Rules:
        return rules.model_copy(update={"ip": _spelled_networks(rules.ip), "json_schema": self.schema(rules.json_schema)})

    def schema(self, rule: SchemaRule | None) -> SchemaRule | None:
        def place(name: str) -> str:
            return name if name.startswith(BUILTIN) else self.path(name)

        return rule and rule.model_copy(
            update={
                "file": rule.file and place(rule.file),
                "files": {value: place(name) for value, name in rule.files.items()},
            }
        )


def _spelled_networks(rule: IpRule | None) -> IpRule | None:
    return rule and rule.model_copy(update={"allow": tuple(_expanded(rule.allow)), "deny": tuple(_expanded(rule.deny))})
