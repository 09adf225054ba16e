"""``docs/senders.md``, made from the presets and the recorded requests: ``python -m tests.senders.page > docs/senders.md``.

Each request on it was judged by a gate of the very policy beside it when the page was made, and is again by its test.
"""

import asyncio
import base64
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from proxy.policy.model import Route
from proxy.policy.presets import PRESETS, preset, spelled_out
from proxy.policy.reader import Loaded, read_policy
from proxy.policy.schemes import AnySignature, Signature
from proxy.policy.signatures import SignatureSettings, TemplateSignature, TokenSignature
from proxy.policy.templates import Template
from proxy.verdict import Reason
from tests.gates import ROOT
from tests.pipeline.judging import NOW, compiled, request

PAGE: Final = ROOT / "docs" / "senders.md"
_VECTORS: Final = ROOT / "tests" / "rules" / "vectors"
_KNOWN: Final = ROOT / "tests" / "senders" / "known.json"
_URL: Final = "https://bot.example.com/hook"

_FIRST: Final = {
    "cloudevents-webhook": "cloudevents-query",
    "gitlab": "gitlab-token",
    "hubspot": "hubspot-versions",
    "instagram": "meta",
    "messenger": "meta",
    "whatsapp": "meta",
    "zendesk-old-doc": "zendesk-body-first",
}
"""Files of recorded requests that are named otherwise than their preset."""

_COVERS: Final = {
    "twilio": "the address; of a form all fields, of any other body its hash, which stands in the address",
    "adyen-payments": "of each item eight fields: references, account, amount, event and success",
    "jwt": "nothing of the request: the token says who sends, to whom and until when",
    "http-message-signatures": "what `components` names; a `Content-Digest` is checked wherever it stands",
    "paypal": "transmission id, time, webhook id, and of the body a CRC-32, which anybody can make come out right",
    "aws-sns": "the fields of the message that AWS names for its type",
    "wecom": "time, nonce and the encrypted body",
    "dingtalk-callback": "time, nonce and the encrypted body",
    "lark-envelope": "nothing: that the body can be decrypted is the proof",
    "hmac-envelope": "time and the encrypted body",
}

_BODY: Final = {
    "adyen-payments": "**not signed** but for these fields",
    "aws-sns": "signed but for fields that stand beside these",
    "dingtalk-callback": "signed where it is encrypted",
    "http-message-signatures": "signed where `content-digest` is",
    "lark-envelope": "encrypted, **not signed**",
    "wecom": "signed where it is encrypted",
}

_PARTS: Final = {
    "timestamp": "time",
    "url": "address",
    "id": "id",
    "body": "body",
    "method": "method",
    "path": "path",
    "query": "query",
}


class Shown(NamedTuple):
    """A recorded request."""

    note: str
    secret: Any
    public_url: str
    at: float
    method: str
    target: bytes
    fields: list[tuple[str, str]]
    body: bytes
    passes: bool


def shown(name: str) -> Iterator[Shown]:
    """The recorded requests of a preset."""
    file = _VECTORS / f"{_FIRST.get(name, name)}.json"
    if file.exists():
        content = json.loads(file.read_text())
        for one in content["vectors"]:
            query = one.get("query", "")
            yield Shown(
                one["note"],
                one["secret"],
                one.get("public_url", content["route"].get("public_url", _URL)),
                float(one.get("now", NOW)),
                "POST",
                b"/hook" + (b"?" + query.encode() if query else b""),
                [(field, value) for field, value in one["headers"]],
                _body(one),
                one["reason"] == "none",
            )
    for one in json.loads(_KNOWN.read_text())["requests"]:
        if one["provider"] == name and "with" not in one:
            query = urlsplit(one["url"]).query
            target = b"/hook" + (b"?" + query.encode() if query else b"")
            fields = [(field, value) for field, value in one["headers"]]
            at = float(one["now"] or NOW)
            yield Shown(
                one["note"], one["secret"], one["url"], at, one["method"], target, fields, _body(one), bool(one["passes"])
            )


def _body(one: dict[str, Any]) -> bytes:
    return base64.b64decode(one["body_base64"]) if "body_base64" in one else one["body"].encode()


class Judged(NamedTuple):
    """A request, and what a gate made of it."""

    shown: Shown
    reason: Reason
    status: int


async def judged(name: str, one: Shown, folder: Path) -> Judged:
    """By a gate of the preset, at the request's own moment."""
    secret: dict[str, Any] = {"id": "s", "allow_weak": True}
    if isinstance(one.secret, dict):
        secret["values"] = {key: {"value": value} for key, value in one.secret.items()}
    else:
        secret["value"] = one.secret or "nothing-of-this-is-signed"
    gate = await compiled(folder, {"provider": name, "public_url": one.public_url, "secrets": [secret]})
    asked = request(
        one.body, [(field.encode(), value.encode()) for field, value in one.fields], target=one.target, arrived=one.at
    )
    asked = type(asked)(asked.head._replace(method=one.method), one.body)
    found = await gate.judge(asked)
    return Judged(one, found.reason, found.status)


async def pair(name: str, folder: Path) -> tuple[Judged | None, Judged | None]:
    """The first request that passes, and the first that its signature lets fail."""
    good = bad = None
    for one in shown(name):
        if (good is None and one.passes) or (bad is None and not one.passes):
            found = await judged(name, one, folder)
            if good is None and found.reason is Reason.NONE:
                good = found
            elif bad is None and not one.passes and found.reason in _REFUSALS:
                bad = found
    if good is not None and bad is None:
        for other in forged(good.shown, _typed(name)):
            bad = bad or next((one for one in [await judged(name, other, folder)] if one.reason in _REFUSALS), None)
    return good, bad


def forged(one: Shown, signature: SignatureSettings) -> Iterator[Shown]:
    """The same request with a letter of its body changed, and with one of its credential."""
    index = len(one.body) // 2
    changed = next((at for at in range(index, len(one.body)) if one.body[at : at + 1].isalpha()), index)
    body = one.body[:changed] + (b"b" if one.body[changed : changed + 1] == b"a" else b"a") + one.body[changed + 1 :]
    if signature.covers_body or not signature.header_names():
        yield one._replace(note="a letter of the body is another", body=body)
    for place, (field, value) in enumerate(one.fields):
        if field.lower() in signature.header_names() and len(value) > 8:
            other = value[:-6] + ("A" if value[-6] != "A" else "B") + value[-5:]
            fields = [*one.fields[:place], (field, other), *one.fields[place + 1 :]]
            yield one._replace(note="a letter of the credential is another", fields=fields)


_REFUSALS: Final = {Reason.SIGNATURE_MISMATCH, Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED}


def covers(signature: Signature | SignatureSettings) -> str:
    """What is signed, in words."""
    if isinstance(signature, AnySignature):
        return "; or ".join(covers(one.signature) for one in signature.of)
    if isinstance(signature, TokenSignature):
        return "nothing"
    if isinstance(signature, TemplateSignature):
        return ", ".join(dict.fromkeys(_template(signature.template)))
    return _COVERS[str(getattr(signature, "scheme", ""))]


def _template(template: Template) -> Iterator[str]:
    for part in template.parts:
        if part.place == "header":
            yield f"`{part.argument}`"
        elif part.place in {"json", "form"}:
            yield f"`{part.argument}` of the body"
        elif part.place == "list":
            yield "time"
        elif part.place in _PARTS:
            yield _PARTS[part.place]


def not_covered(signature: Signature) -> str:
    """What somebody who has seen a request could change, said plainly."""
    if isinstance(signature, TokenSignature):
        return "**the body, and everything else**: the secret itself is sent"
    if signature.covers_body:
        return "headers that are not named"
    return {
        "aws-sns": "fields that stand beside these",
        "dingtalk-callback": "whatever stands beside the encrypted text",
        "http-message-signatures": "what it does not name; without `content-digest` that is the body",
        "wecom": "whatever stands beside the encrypted text",
    }.get(signature.scheme, "**the body**")


def _stand(signature: Signature) -> str:
    places = dict.fromkeys(f"`{place}`" for key, place in signature.selectors() if key in {"header", "source", "otherwise"})
    written = ", ".join(places).replace("|", "` or `header:")
    return written or ", ".join(f"`header:{name}`" for name in sorted(signature.header_names())) or "the body"


async def loaded(name: str, folder: Path) -> tuple[str, Loaded]:
    """The five lines of policy, and the policy that they are part of, read with a secret that fits."""
    good = next(one for one in shown(name) if one.passes)
    lines = [f"- name: {name}", f"  path: /{name}", f"  provider: {name}"]
    if isinstance(good.secret, dict):
        lines.append("  secrets:")
        lines += [f"    {key}: {{from_file: secrets/{name}.{key}}}" for key in good.secret]
    else:
        lines.append(f"  secrets: [{{id: first, from_file: secrets/{name}}}]")
    if _needs_url(name):
        lines.append(f"  public_url: {_URL.replace('/hook', '/' + name)}")
    (folder / "secrets").mkdir(exist_ok=True)
    for key, value in good.secret.items() if isinstance(good.secret, dict) else [("", good.secret)]:
        (folder / "secrets" / (f"{name}.{key}" if key else name)).write_text(value or "nothing-of-this-is-signed")
    text = "\n".join(lines)
    whole = 'version: 1\nlisten: {address: "127.0.0.1:0"}\nupstream: {url: "http://127.0.0.1:1"}\nroutes:\n'
    weak = text.replace("  secrets:\n", "  secrets:\n    allow_weak: true\n").replace(
        "{id: first,", "{id: first, allow_weak: true,"
    )
    (folder / "page.yaml").write_text(whole + weak + "\n")
    return text, read_policy(folder / "page.yaml", {}, now=NOW)


def _needs_url(name: str) -> bool:
    rules: Any = preset(name).route.get("rules", {})
    return "{url" in str(rules) or rules["signature"]["scheme"] in {"twilio", "http-message-signatures"}


async def section(name: str, folder: Path) -> list[str]:
    """All about one sender."""
    found = preset(name)
    policy, whole = await loaded(name, folder)
    (route,) = whole.policy.routes
    signature = route.rules.signature
    assert signature is not None
    lines = [f"## {name}", "", f"{found.about[0].upper()}{found.about[1:]}.", ""]
    if found.page:
        lines[-2] += f" [The sender's page]({found.page})."
    lines += [f"- Also called: {', '.join(f'`{also}`' for also in found.also)}."] if found.also else []
    lines.append(f"- Signed: {covers(signature)}. Not signed: {not_covered(signature)}.")
    lines.append(f"- Secret: {found.secret.advice}.")
    lines.append(f"- {_once(route)}")
    if found.networks:
        lines.append(f"- Networks ({found.networks_date}): {', '.join(f'`{one}`' for one in found.networks)}.")
    if route.handshakes:
        lines.append(f"- Checks of the address: {', '.join(f'`{one.name}`' for one in route.handshakes)}.")
    lines += ["", "```yaml", policy, "```", ""]
    for one in filter(None, await pair(name, folder)):
        lines += list(_example(one))
    return lines


def _once(route: Route) -> str:
    rule = route.rules.replay
    if rule is None or str(rule.mode) == "off":
        return "Repeats are not held back: nothing names a delivery."
    told = "" if str(rule.mode or "") != "report" else " (told, not held back)"
    return f"A delivery is known by `{rule.key}` for {rule.model_dump(mode='json')['window']}{told}."


def _example(one: Judged) -> Iterator[str]:
    """A request and its answer."""
    how = "This passes" if one.reason is Reason.NONE else "This does not"
    secret = one.shown.secret
    under = f", with the secret `{secret}`" if isinstance(secret, str) and 0 < len(secret) <= 90 else ""
    moment = datetime.fromtimestamp(one.shown.at, UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    yield f"{how} at {moment}{under}: {one.shown.note}."
    yield ""
    yield "```http"
    yield f"{one.shown.method} {one.shown.target.decode()} HTTP/1.1"
    yield from (f"{field}: {_short(value.encode(), 160)}" for field, value in one.shown.fields)
    if one.shown.body:
        yield ""
        yield _short(one.shown.body, 400)
    yield "```"
    yield ""
    said = {401: "unauthorized", 403: "forbidden", 406: "not_acceptable"}.get(one.status)
    yield f"→ `{one.status}` " + (f'and `{{"error":"{said}","request_id":"..."}}`' if said else "or whatever the bot says")
    yield ""


def _short(text: bytes, most: int) -> str:
    shown = text.decode("utf-8", "backslashreplace").replace("\r\n", "␍␊").replace("\r", "␍")
    shown = "\n".join(line.rstrip() for line in shown.split("\n")).rstrip()
    return shown if len(shown) <= most else f"{shown[:most].rstrip()}... ({len(text)} bytes)"


_HEAD: Final = """\
# Senders

Made from the presets and from recorded requests by `python -m tests.senders.page`; a test holds it to both. What is signed is
what a stranger who has seen a request cannot change. **Where the body is not signed, whoever has seen one genuine request can
send another body with it** until its time or its secret ends: TLS, and for some a memory of deliveries, is all that stands
against that. A refused request is answered alike for every reason.

Secrets are named as files here; `from_env` does as well. A secret that a sender makes shorter than 16 bytes needs
`allow_weak: true`.
"""


def table() -> Iterator[str]:
    """A line for each sender."""
    yield "| sender | scheme | stands in | signed | the body is |"
    yield "| --- | --- | --- | --- | --- |"
    for name in PRESETS:
        if name == "generic":
            continue
        signature = _typed(name)
        bound = "signed" if signature.covers_body else _BODY.get(signature.scheme, "**not signed**")
        yield f"| [`{name}`](#{name}) | {signature.scheme} | {_stand(signature)} | {covers(signature)} | {bound} |"


def _typed(name: str) -> Signature:
    route = Route.model_validate(spelled_out(name, {"name": "a", "path": "/a", "public_url": _URL}))
    assert route.rules.signature is not None
    return route.rules.signature


async def page(folder: Path) -> str:
    """The whole page."""
    sections = [await section(name, folder) for name in PRESETS if name != "generic"]
    text = "\n".join([_HEAD, *table(), "", *chain.from_iterable(sections)])
    return text.rstrip("\n") + "\n"


def main() -> None:
    """To standard output."""
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(asyncio.run(page(Path(folder))))


if __name__ == "__main__":
    main()
