"""A route's secrets: read, decoded on trial, and judged for strength. No complaint ever holds a value."""

from collections.abc import Iterator, Mapping
from pathlib import Path as Folder

from proxy.policy.document import Path
from proxy.policy.faults import Complaint
from proxy.policy.keys import EXPECTED, decode_key
from proxy.policy.model import HmacSignature, Policy, Route, SecretReference, TokenSignature
from proxy.policy.presets import PRESETS, SecretFacts, preset
from proxy.policy.rule_checks import signature_runs
from proxy.policy.secrets import WEAK_BYTES, Secret, outside_alphabet, read_secret, weakness


def read_secrets(
    route: Route, at: Path, folder: Folder, environ: Mapping[str, str], *, inline: bool
) -> tuple[tuple[Secret, ...], list[Complaint]]:
    """The secrets of a route in the order of the policy, and what is wrong with each. ``inline``: ``value:`` is allowed."""
    secrets: list[Secret] = []
    found: list[Complaint] = []
    for index, reference in enumerate(route.secrets):
        path = (*at, "secrets", index)
        if reference.value is not None and not inline:
            message = "a secret in the policy itself needs allow_inline_secrets: true at the top (demo and tests)"
            found.append(Complaint((*path, "value"), message))
        if None not in (reference.not_before, reference.not_after) and (reference.not_before or 0) >= (reference.not_after or 0):
            found.append(Complaint((*path, "not_after"), "must be later than not_before"))
        try:
            value, created = read_secret(reference, folder, environ)
        except ValueError as error:
            found.append(Complaint(path, f"secret {reference.id!r}: {error}"))
            continue
        found += _strength(value, reference, route, path)
        times = {"not_before": reference.not_before, "not_after": reference.not_after}
        secrets.append(Secret(reference.id, value, created=created, **times))
    return tuple(secrets), found


def secret_set_complaints(route: Route, at: Path, now: float, *, whole: bool) -> Iterator[Complaint]:
    """What is wrong with a route's secrets as a set: none, unused, repeated ids, all expired."""
    ids: dict[str, int] = {}
    for index, secret in enumerate(route.secrets):
        if ids.setdefault(secret.id, index) != index:
            yield Complaint((*at, "secrets", index, "id"), f"{secret.id!r} is the id of secrets[{ids[secret.id]}] too")
    if whole and route.secrets and route.rules.signature is None:
        yield Complaint((*at, "secrets"), "nothing uses them: the route has no signature rule")
    if whole and not route.secrets and signature_runs(route):
        yield Complaint(at, "its signature rule needs secrets")
    if route.secrets and all(secret.not_after is not None and now >= secret.not_after for secret in route.secrets):
        yield Complaint((*at, "secrets"), "all have expired")
    elif route.secrets and not any(_active(secret, now) for secret in route.secrets):
        yield Complaint((*at, "secrets"), "none is active now: every request is refused until one is", grave=False)


def read_admin_token(policy: Policy, folder: Folder, environ: Mapping[str, str]) -> tuple[Secret | None, list[Complaint]]:
    """The token of the admin address, where one is given."""
    if policy.admin.token is None:
        return None, []
    at: Path = ("admin", "token")
    try:
        value, created = read_secret(policy.admin.token, folder, environ)
    except ValueError as error:
        return None, [Complaint(at, str(error))]
    trouble = weakness(value) or (f"is shorter than {WEAK_BYTES} bytes" if len(value) < WEAK_BYTES else None)
    return Secret("admin", value, created=created), [Complaint(at, f"the token {trouble}")] if trouble else []


def _active(secret: SecretReference, now: float) -> bool:
    return (secret.not_before is None or now >= secret.not_before) and (secret.not_after is None or now < secret.not_after)


def _strength(value: bytes, reference: SecretReference, route: Route, at: Path) -> Iterator[Complaint]:
    facts = preset(route.provider).secret if route.provider in PRESETS else SecretFacts()
    who = f"secret {reference.id!r} of route {route.name!r}"
    trouble = weakness(value)
    if trouble:
        yield Complaint(at, f"{who} {trouble}")
        return
    if value in {public.encode() for public in facts.public}:
        yield Complaint(at, f"{who} is printed in the pages of {route.provider}: everybody knows it")
    if value != value.strip():
        yield Complaint(at, f"{who} begins or ends with white space", grave=False)
    signature = route.rules.signature
    length = len(value)
    if isinstance(signature, HmacSignature):
        try:
            length = len(decode_key(signature.key, value))
        except ValueError:
            yield Complaint(at, f"{who} is not {EXPECTED[signature.key]}, as signature.key: {signature.key} demands")
            return
    shortest = facts.shortest if reference.allow_weak else max(WEAK_BYTES, facts.shortest)
    if length < shortest:
        remedy = "; allow_weak: true where the provider dictates it" if length >= facts.shortest else ""
        yield Complaint(at, f"{who} is shorter than {shortest} bytes{remedy}")
    if facts.longest is not None and length > facts.longest:
        yield Complaint(at, f"{who} is longer than the {facts.longest} bytes that {route.provider} accepts")
    if isinstance(signature, TokenSignature) and facts.alphabet and outside_alphabet(value, facts.alphabet):
        yield Complaint(at, f"{who} has characters outside {facts.alphabet}, which {route.provider} does not accept")
