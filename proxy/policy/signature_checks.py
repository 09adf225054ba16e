"""What must hold within a route's signature rule: where the credential stands, what is signed, and what names the places."""

from collections.abc import Iterator

from proxy.policy.document import Path
from proxy.policy.faults import Complaint
from proxy.policy.model import Route
from proxy.policy.particular import TwilioSignature
from proxy.policy.schemes import AnySignature
from proxy.policy.signatures import HashSignature, Placed, SignatureSettings, TemplateSignature, TokenSignature
from proxy.policy.values import Selector, SelectorKind

Complaints = Iterator[Complaint]


def signature_complaints(route: Route, rules: Path) -> Complaints:
    """What is wrong with the signature rule, and with what the others name by it."""
    signature = route.rules.signature
    if signature is None:
        return
    ways = ways_of(signature, (*rules, "signature"))
    lists = any(isinstance(way, TemplateSignature) and way.items for _, way in ways)
    for path, selector in _selectors(route, rules):
        if selector.kind is SelectorKind.LIST and not lists:
            yield Complaint(path, "list:NAME needs signature.list, which says how the header is split")
    for at, way in ways:
        if isinstance(way, Placed):
            yield from _stand(way, at)
        if isinstance(way, TemplateSignature):
            yield from _template(route, way, (*at, "template"))
        for key, message, grave in way.troubles():
            yield Complaint((*at, key), message, grave=grave)
        if isinstance(way, TwilioSignature) and route.public_url is None:
            yield Complaint(at, "the URL is signed: give the route's public_url, as it was registered with the sender")
    if not signature.covers_body and not isinstance(signature, TokenSignature):
        at = (*rules, "signature", "template") if isinstance(signature, TemplateSignature) else (*rules, "signature")
        yield Complaint(at, "{body} is not signed: a holder of one genuine request can change the body", grave=False)


def ways_of(signature: SignatureSettings, at: Path) -> list[tuple[Path, SignatureSettings]]:
    """The schemes that it consists of, each with its place."""
    if isinstance(signature, AnySignature):
        return [((*at, "of", index, "signature"), one.signature) for index, one in enumerate(signature.of)]
    return [(at, signature)]


def _stand(signature: Placed, at: Path) -> Complaints:
    if (signature.header is None) == (signature.source is None):
        yield Complaint(at, "needs exactly one of header and source: where the signature stands")
    if signature.source is not None and signature.source.kind in {SelectorKind.BODY, SelectorKind.LIST}:
        yield Complaint((*at, "source"), "a signature stands in a header, the query, the JSON, a form or basic credentials")
    if isinstance(signature, TemplateSignature) and signature.items and signature.header is None:
        yield Complaint((*at, "list"), "a list stands in a header: give header")


def _template(route: Route, signature: TemplateSignature, at: Path) -> Complaints:
    places = signature.places
    if "timestamp" in places and route.rules.timestamp is None:
        yield Complaint(at, "{timestamp} needs a timestamp rule, which says where it stands")
    if "id" in places and signature.id is None:
        yield Complaint(at, "{id} needs signature.id, which says where it stands")
    if "url" in places and route.public_url is None:
        yield Complaint(at, "{url} needs the route's public_url, as it was registered with the sender")
    if "list" in places and signature.items is None:
        yield Complaint(at, "{list:NAME} needs signature.list, which says how the header is split")
    if isinstance(signature, HashSignature) and "secret" not in places:
        yield Complaint(at, "a plain hash without {secret} in its template proves nothing: everybody can make it")
    yield from _template_places(signature, at)


def _template_places(signature: TemplateSignature, at: Path) -> Complaints:
    for part in signature.template.parts:
        if not part.argument:
            continue
        written = f"{{{part.place}:{part.argument}}}"
        if part.place == "secret":
            if part.argument not in signature.value_names():
                yield Complaint(at, f"{written}: signature.values names no such value")
        elif part.place == "url":
            if part.argument != "decoded":
                yield Complaint(at, f"{written}: a URL is {{url}} as registered, or {{url:decoded}}")
        else:
            try:
                Selector.parse(f"{part.place}:{part.argument}")
            except ValueError as error:
                yield Complaint(at, f"{written}: {error}")


def _selectors(route: Route, rules: Path) -> Iterator[tuple[Path, Selector]]:
    found = route.rules
    if found.signature is not None:
        yield from (((*rules, "signature", name), selector) for name, selector in found.signature.selectors())
    if found.timestamp is not None and found.timestamp.source is not None:
        yield (*rules, "timestamp", "source"), found.timestamp.source
    if found.replay is not None:
        replay = found.replay
        named = {"key": replay.key, "otherwise": replay.otherwise, "per": replay.per}
        yield from (((*rules, "replay", name), selector) for name, selector in named.items() if selector)
    if found.json_schema is not None and found.json_schema.by is not None:
        yield (*rules, "schema", "by"), found.json_schema.by
