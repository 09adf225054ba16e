"""What must hold for a route's handshakes, its pinned rules and its decryption; and the token of its handshakes, read."""

from collections.abc import Iterator, Mapping
from pathlib import Path as Folder

from proxy.policy.callbacks import EnvelopeSignature, LarkEnvelope
from proxy.policy.document import Path
from proxy.policy.faults import Complaint
from proxy.policy.handshakes import Handshake
from proxy.policy.model import Route
from proxy.policy.secrets import Secret, read_secret, weakness
from proxy.verdict import Mode, RuleName

Complaints = Iterator[Complaint]


def handshake_complaints(route: Route, at: Path) -> Complaints:
    """Everything about who answers the sender's checks of the address, and about what is done with encrypted bodies."""
    yield from _answering(route, at)
    yield from _unused(route, at)
    yield from _pinned(route, at)
    yield from _decrypting(route, at)
    if isinstance(route.rules.signature, LarkEnvelope):
        message = "that a text can be decrypted proves little: who has one genuine request can change it; prefer provider: feishu"
        yield Complaint((*at, "rules", "signature"), message, grave=False)


def read_handshake_token(
    route: Route, at: Path, folder: Folder, environ: Mapping[str, str], *, inline: bool
) -> tuple[tuple[Secret, ...], list[Complaint]]:
    """The token of a route's handshakes as a tuple of one, or an empty one."""
    source = route.handshake.token
    path = (*at, "handshake", "token")
    if source is None:
        return (), []
    found = []
    if source.value is not None and not inline:
        message = "a secret in the policy itself needs allow_inline_secrets: true at the top (demo and tests)"
        found.append(Complaint((*path, "value"), message))
    try:
        value, created = read_secret(source, folder, environ)
    except ValueError as error:
        return (), [*found, Complaint(path, str(error))]
    # Only what is nothing at all: senders confirm with eight characters, and some let their users choose the token.
    trouble = "is empty" if not value else weakness(value) if not value.strip() else None
    if trouble or not value.isascii() or not value.decode("latin-1").isprintable():
        found.append(Complaint(path, f"the token {trouble or 'must be printable ASCII'}"))
    return (Secret("handshake", value, created=created),), found


def _answering(route: Route, at: Path) -> Complaints:
    if route.handshake.mode != "answer":
        return
    path = (*at, "handshake")
    answered = [one for one in route.handshakes if one.answer is not None]
    if not answered:
        yield Complaint(
            path, f"there is nothing to answer: provider {route.provider} knows no handshake that the gate can answer"
        )
    for one in answered:
        if _needs_token(one) and route.handshake.token is None:
            message = f"answering {one.name} needs the token that was agreed with the sender"
            yield Complaint(path, f"{message}: handshake: {{mode: answer, token: {{from_env: ...}}}}")
        if one.origin is not None and not route.handshake.origins:
            yield Complaint(path, f"answering {one.name} needs handshake.origins: who may ask (host names, or *)")
    signature = route.rules.signature
    if any(one.proof in {"signature", "presented"} for one in answered) and (signature is None or signature.mode is Mode.OFF):
        yield Complaint(
            path, "a handshake that a signature must prove is answered only where the signature rule runs", grave=False
        )


def _needs_token(one: Handshake) -> bool:
    """Encrypted ones show by that alone that the sender has the key."""
    return (one.proof == "token" and one.opened is None) or (one.answer is not None and "token" in one.answer.places)


def _unused(route: Route, at: Path) -> Complaints:
    path = (*at, "handshake")
    takes = any(one.token or (one.answer is not None and "token" in one.answer.places) for one in route.handshakes)
    if route.handshake.token is not None and not takes:
        yield Complaint((*path, "token"), f"no handshake of provider {route.provider} has a token")
    if route.handshake.origins and not any(one.origin is not None for one in route.handshakes):
        yield Complaint((*path, "origins"), f"no handshake of provider {route.provider} has an origin")


def _pinned(route: Route, at: Path) -> Complaints:
    for index, rule in enumerate(route.pinned):
        if getattr(route.rules, "json_schema" if rule is RuleName.SCHEMA else rule.value) is None:
            yield Complaint((*at, "pinned", index), f"the route has no {rule.value} rule")
        elif rule in {RuleName.REPLAY, RuleName.RATE, RuleName.SCHEMA}:
            yield Complaint((*at, "pinned", index), f"{rule.value} cannot be pinned: only what a forged request fails can")
    if route.pinned:
        names = ", ".join(rule.value for rule in route.pinned)
        message = f"{names} stays enforced whatever the mode and the switch say: this sender probes with forged requests"
        yield Complaint((*at, "pinned"), message, grave=False)


def _decrypting(route: Route, at: Path) -> Complaints:
    if route.decrypt is None:
        return
    path, signature = (*at, "decrypt"), route.rules.signature
    if not isinstance(signature, EnvelopeSignature):
        yield Complaint(path, "needs scheme: hmac-envelope, whose envelopes it opens (provider: webhook-encrypted)")
        return
    for index, secret in enumerate(route.secrets):
        if "aes_key_b64" not in secret.values:
            yield Complaint((*at, "secrets", index), f"secret {secret.id!r} lacks aes_key_b64, which decrypt needs")
    if route.rules.replay is None:
        yield Complaint(path, "without a replay rule on the nonce, a nonce that comes twice is not noticed", grave=False)
    message = "the bot gets other bytes than were sent, the plaintext for the signed envelope, and cannot check the signature"
    yield Complaint(path, message, grave=False)
