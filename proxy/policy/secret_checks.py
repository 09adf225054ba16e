"""A route's secrets: read, decoded on trial, and judged for strength. No complaint ever holds a value."""

from collections.abc import Iterator, Mapping
from pathlib import Path as Folder

from proxy.policy.document import Path
from proxy.policy.faults import Complaint
from proxy.policy.model import Policy, Route
from proxy.policy.presets import PROVIDERS, SecretFacts, preset
from proxy.policy.references import SecretReference, SecretSource
from proxy.policy.rule_checks import signature_runs
from proxy.policy.secrets import WEAK_BYTES, Secret, outside_alphabet, read_secret, weakness
from proxy.policy.signatures import PublicKeySignature, SignatureSettings, TokenSignature


def read_secrets(
    route: Route, at: Path, folder: Folder, environ: Mapping[str, str], *, inline: bool
) -> tuple[tuple[Secret, ...], list[Complaint]]:
    """The secrets of a route in the order of the policy, and what is wrong with each. ``inline``: ``value:`` is allowed."""
    secrets: list[Secret] = []
    found: list[Complaint] = []
    for index, reference in enumerate(route.secrets):
        path = (*at, "secrets", index)
        if not inline:
            found += _inline(reference, path)
        if None not in (reference.not_before, reference.not_after) and (reference.not_before or 0) >= (reference.not_after or 0):
            found.append(Complaint((*path, "not_after"), "must be later than not_before"))
        signature = route.rules.signature
        several = bool(signature is not None and signature.value_names()) or bool(reference.values)
        secret, trouble = (_several if several else _single)(reference, route, path, folder, environ)
        found += trouble
        secrets += [secret] if secret is not None else []
    return tuple(secrets), found


Read = tuple[Secret | None, list[Complaint]]


def _inline(reference: SecretReference, path: Path) -> Iterator[Complaint]:
    message = "a secret in the policy itself needs allow_inline_secrets: true at the top (demo and tests)"
    if reference.value is not None:
        yield Complaint((*path, "value"), message)
    for name, source in reference.values.items():
        if source.value is not None:
            yield Complaint((*path, "values", name, "value"), message)


def _single(reference: SecretReference, route: Route, path: Path, folder: Folder, environ: Mapping[str, str]) -> Read:
    try:
        value, created = read_secret(reference, folder, environ)
    except ValueError as error:
        return None, [Complaint(path, f"secret {reference.id!r}: {error}")]
    return _secret(reference, value, created), list(_strength(value, reference, route, path))


def _secret(reference: SecretReference, value: bytes, created: float | None, values: Mapping[str, bytes] | None = None) -> Secret:
    times = reference.not_before, reference.not_after
    return Secret(reference.id, value, not_before=times[0], not_after=times[1], created=created, values=values)


def _several(reference: SecretReference, route: Route, path: Path, folder: Folder, environ: Mapping[str, str]) -> Read:
    """A secret of several named values; which ones, the scheme says."""
    signature = route.rules.signature
    who = f"secret {reference.id!r}"
    if signature is None or not signature.value_names():
        return None, [Complaint((*path, "values"), f"{who}: this scheme's secret is one value, not several")]
    found = list(_names(reference, signature, who, path))
    values, newest = {}, None
    for name, source in reference.values.items():
        try:
            values[name], created = read_secret(source, folder, environ)
        except ValueError as error:
            found.append(Complaint((*path, "values", name), f"{who}, {name}: {error}"))
            continue
        newest = max(filter(None, (newest, created)), default=None)
        trouble = weakness(values[name]) if name not in signature.open_values() or not values[name].strip() else None
        trouble = _advised(trouble, route) if trouble else None
        if (
            trouble is None
            and name not in signature.open_values()
            and len(values[name]) < WEAK_BYTES
            and not (reference.allow_weak or source.allow_weak)
        ):
            trouble = f"is shorter than {WEAK_BYTES} bytes; allow_weak: true where the provider dictates it"
        if trouble:
            found.append(Complaint((*path, "values", name), f"{who} of route {route.name!r}: {name} {trouble}"))
    secret = _secret(reference, b"", newest, values)
    fault = signature.values_fault(values) if not found else None
    return secret, [*found, Complaint(path, f"{who} of route {route.name!r}: {fault}")] if fault else found


def _names(reference: SecretReference, signature: SignatureSettings, who: str, path: Path) -> Iterator[Complaint]:
    names = signature.value_names()
    if reference.value is not None or reference.from_env is not None or reference.from_file is not None:
        yield Complaint(path, f"{who} has several values, each with a source of its own: {', '.join(names)}")
    for name in reference.values.keys() - set(names):
        yield Complaint((*path, "values", name), f"{who}: no value is called {name!r}; they are {', '.join(names)}", at_key=True)
    lacking = [name for name in names if name not in reference.values and name not in signature.OPTIONAL_VALUES]
    if lacking:
        yield Complaint(path, f"{who} lacks {', '.join(lacking)}, each by its own from_env or from_file")


def secret_set_complaints(route: Route, at: Path, now: float, *, whole: bool) -> Iterator[Complaint]:
    """What is wrong with a route's secrets as a set: none, unused, repeated ids, all expired."""
    signature = route.rules.signature
    ids: dict[str, int] = {}
    for index, secret in enumerate(route.secrets):
        if ids.setdefault(secret.id, index) != index:
            yield Complaint((*at, "secrets", index, "id"), f"{secret.id!r} is the id of secrets[{ids[secret.id]}] too")
    if whole and route.secrets and route.rules.signature is None:
        yield Complaint((*at, "secrets"), "nothing uses them: the route has no signature rule")
    if whole and not route.secrets and signature_runs(route) and (signature is None or signature.needs_secrets):
        yield Complaint(at, "its signature rule needs secrets")
    if route.secrets and all(secret.not_after is not None and now >= secret.not_after for secret in route.secrets):
        yield Complaint((*at, "secrets"), "all have expired")
    elif route.secrets and not any(_active(secret, now) for secret in route.secrets):
        yield Complaint((*at, "secrets"), "none is active now: every request is refused until one is", grave=False)


def read_admin_token(policy: Policy, folder: Folder, environ: Mapping[str, str]) -> tuple[Secret | None, list[Complaint]]:
    """The token of the admin address, where one is given."""
    return _own(policy.admin.token, "admin", "token", folder, environ)


def read_audit_key(policy: Policy, folder: Folder, environ: Mapping[str, str]) -> Read:
    """The key of the audit's chain, where one is given."""
    return _own(policy.audit.key if policy.audit else None, "audit", "key", folder, environ)


def _own(source: SecretSource | None, section: str, name: str, folder: Folder, environ: Mapping[str, str]) -> Read:
    """A secret of the gate itself."""
    if source is None:
        return None, []
    at: Path = (section, name)
    try:
        value, created = read_secret(source, folder, environ)
    except ValueError as error:
        return None, [Complaint(at, str(error))]
    trouble = weakness(value) or (f"is shorter than {WEAK_BYTES} bytes" if len(value) < WEAK_BYTES else None)
    return Secret(section, value, created=created), [Complaint(at, f"the {name} {trouble}")] if trouble else []


def _active(secret: SecretReference, now: float) -> bool:
    return (secret.not_before is None or now >= secret.not_before) and (secret.not_after is None or now < secret.not_after)


def _advised(trouble: str, route: Route) -> str:
    """What is missing, in the sender's words."""
    advice = preset(route.provider).secret.advice if route.provider in PROVIDERS else ""
    return f"{trouble}; wanted: {advice}" if advice else trouble


def _strength(value: bytes, reference: SecretReference, route: Route, at: Path) -> Iterator[Complaint]:
    facts = preset(route.provider).secret if route.provider in PROVIDERS else SecretFacts()
    who = f"secret {reference.id!r} of route {route.name!r}"
    trouble = weakness(value)
    if trouble:
        yield Complaint(at, f"{who} {_advised(trouble, route)}")
        return
    signature = route.rules.signature
    if value in {public.encode() for public in facts.public}:
        yield Complaint(at, f"{who} is printed in the pages of {route.provider}: everybody knows it")
    if len(set(value)) == 1:
        yield Complaint(at, f"{who} is one character repeated", grave=False)
    if value != value.strip() and not isinstance(signature, PublicKeySignature):
        yield Complaint(at, f"{who} begins or ends with white space", grave=False)
    fault = signature.key_fault(value) if signature is not None else None
    if fault:
        yield Complaint(at, f"{who} {fault}")
        return
    length = signature.key_length(value) if signature is not None else len(value)
    shortest = facts.shortest if reference.allow_weak else max(WEAK_BYTES, facts.shortest)
    if length < shortest:
        remedy = "; allow_weak: true where the provider dictates it" if length >= facts.shortest else ""
        yield Complaint(at, f"{who} is shorter than {shortest} bytes{remedy}")
    if facts.longest is not None and length > facts.longest:
        yield Complaint(at, f"{who} is longer than the {facts.longest} bytes that {route.provider} accepts")
    if isinstance(signature, TokenSignature) and facts.alphabet and outside_alphabet(value, facts.alphabet):
        yield Complaint(at, f"{who} has characters outside {facts.alphabet}, which {route.provider} does not accept")
