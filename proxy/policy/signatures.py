"""Settings of the schemes that a template expresses, and of the token; what each covers, as pure facts for a policy's checks.

A scheme says which places of a request are signed or a function of what is signed; nothing else may name a delivery.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from proxy.policy.keys import EXPECTED, KeyForm, decode_key
from proxy.policy.publickeys import EXPECTED as EXPECTED_PUBLIC
from proxy.policy.publickeys import Algorithm, PublicForm, load
from proxy.policy.settings import RuleSettings, Settings
from proxy.policy.templates import TemplateValue
from proxy.policy.values import Selector, SelectorKind, SelectorValue

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(\|[A-Za-z0-9-]+)*$")]
"""A header, or several names of which a request has exactly one: ``webhook-id|svix-id``."""

_IN_BODY = frozenset({SelectorKind.JSON, SelectorKind.FORM, SelectorKind.BODY})


class SignatureSettings(RuleSettings):
    """What every scheme takes, and what the checks ask of it."""

    when_missing: Annotated[
        Literal["refuse", "pass"], Field(description="pass: a missing signature is neutral, a wrong one is refused")
    ] = "refuse"

    VALUES: ClassVar[tuple[str, ...]] = ()
    """What ``value_names`` answers, where that is the same for all routes of the scheme."""
    OPEN_VALUES: ClassVar[frozenset[str]] = frozenset()
    """Those of them that are no secrets (an application's id, a certificate), and may be short."""
    OPTIONAL_VALUES: ClassVar[frozenset[str]] = frozenset()
    """Those of them that may be left out."""

    def value_names(self) -> tuple[str, ...]:
        """The names of the values of a secret that has several; empty for a secret of one value."""
        return self.VALUES

    @property
    def needs_secrets(self) -> bool:
        """Whether nothing can be judged without one of the route's secrets."""
        return True

    def troubles(self) -> Iterator[tuple[str, str, bool]]:
        """What is wrong with the settings as a whole: the key, the words, and whether it is a fault or only to be known."""
        yield from ()

    def open_values(self) -> frozenset[str]:
        """Those of the values that are no secrets."""
        return self.OPEN_VALUES

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        """The places of the request that it names, each under its key."""
        yield from ()

    def header_names(self) -> frozenset[str]:
        """The headers that it relies on, in lower case."""
        named = (one.argument.lower() for _, one in self.selectors() if one.kind is SelectorKind.HEADER)
        return frozenset(name for names in named for name in names.split("|"))

    @property
    def covers_body(self) -> bool:
        """Whether a changed body changes the signature."""
        return False

    @property
    def depends_on_body(self) -> bool:
        """Whether a changed body can make a right signature wrong, though it may not bind the body."""
        return self.covers_body

    def covers(self, place: Selector) -> bool:
        """Whether what stands at this place is among the signed bytes, or a function of them."""
        return False

    def key_fault(self, secret: bytes) -> str | None:
        """Why these bytes cannot be a key: the form that was expected. The message never holds the secret."""
        return None

    def key_length(self, secret: bytes) -> int:
        """How many bytes an attacker would have to guess."""
        return len(secret)

    def values_fault(self, values: Mapping[str, bytes]) -> str | None:
        """Why the values of a secret that has several cannot be used, by name; never shows one."""
        return None


class Placed(SignatureSettings):
    """A credential that stands in one place."""

    header: Annotated[HeaderName | None, Field(description="where it stands; short for source: header:NAME")] = None
    source: Annotated[SelectorValue | None, Field(description="where it stands, if not in a header: json:/POINTER")] = None
    prefix: Annotated[str, Field(description="text before it, as in 'sha256=' or 'Bearer '")] = ""

    @property
    def stand(self) -> Selector:
        """Where the credential stands."""
        return self.source or Selector(SelectorKind.HEADER, self.header or "")

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield "source" if self.source else "header", self.stand


class TokenSignature(Placed):
    """The plain secret: it proves the sender, not the body."""

    scheme: Annotated[Literal["token"], Field(description="the plain secret in a header, the query, a field of the body")]
    otherwise: Annotated[
        SelectorValue | None, Field(description="where it stands in requests that have none in the first place")
    ] = None

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield from super().selectors()
        if self.otherwise is not None:
            yield "otherwise", self.otherwise

    @property
    def in_head(self) -> bool:
        """Whether the head alone shows it, so that it is judged before the body is read."""
        return not any(one.kind in _IN_BODY for _, one in self.selectors())

    def header_names(self) -> frozenset[str]:
        basic = {"authorization"} if any(one.kind is SelectorKind.BASIC for _, one in self.selectors()) else frozenset[str]()
        return super().header_names() | basic


class ListSyntax(Settings):
    """A header that holds several items, some of them signatures."""

    separator: Annotated[str, Field(min_length=1, max_length=2, description="between items")]
    pair: Annotated[str, Field(min_length=1, max_length=1, description="between an item's name and its value")]
    key: Annotated[str, Field(description="name of the items that are signatures; all others are no candidates")]


Encoding = Literal["hex", "hex-any-case", "base64", "base64url"]


class TemplateSignature(Placed):
    """A signature over a template of the request's bytes."""

    encoding: Annotated[
        Encoding, Field(description="how the signature is written; hex is lower case, as every sender documents it")
    ] = "hex"
    items: Annotated[ListSyntax | None, Field(alias="list", description="the header is a list")] = None
    template: Annotated[TemplateValue, Field(description='what is signed, such as "{timestamp}.{body}"')]
    id: Annotated[SelectorValue | None, Field(description="what {id} stands for")] = None

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield from super().selectors()
        if self.id is not None:
            yield "id", self.id

    def header_names(self) -> frozenset[str]:
        return super().header_names() | self._signed_headers()

    @property
    def places(self) -> frozenset[str]:
        """The places of the template."""
        return frozenset(part.place for part in self.template.parts)

    @property
    def covers_body(self) -> bool:
        return "body" in self.places

    def covers(self, place: Selector) -> bool:
        kind, name = place
        if kind in _IN_BODY:
            named = any(part.place == kind and part.argument == name for part in self.template.parts)
            return self.covers_body or named or self._sole(place) or ("id" in self.places and self.id == place)
        if kind is SelectorKind.HEADER:
            same_id = "id" in self.places and self.id == place
            return same_id or self._sole(place) or name.lower() in self._signed_headers()
        return kind is SelectorKind.LIST or bool(self.places & {"query", "url"})

    def _signed_headers(self) -> frozenset[str]:
        return frozenset(part.argument.lower() for part in self.template.parts if part.place == "header")

    def _sole(self, place: Selector) -> bool:
        """A signature names its request only where it has one written form: no list to add to, no case, no padding to change."""
        one_form = self.items is None and self.encoding in {"hex", "base64"} and self.deterministic
        kind, name = self.stand
        there = place == self.stand or (kind is place.kind is SelectorKind.HEADER and name.lower() == place.argument.lower())
        return one_form and there

    @property
    def deterministic(self) -> bool:
        """Whether the same bytes and key make the same signature, and nobody without the key can make another."""
        return True


class HmacSignature(TemplateSignature):
    """An HMAC (RFC 2104) over a template of the request's bytes."""

    scheme: Annotated[Literal["hmac"], Field(description="an HMAC over a template")]
    algorithm: Annotated[Literal["sha1", "sha256", "sha384", "sha512"], Field(description="the HMAC's hash")] = "sha256"
    key: Annotated[KeyForm, Field(description="how the secret's text becomes the key")] = "utf8"

    def decoded_key(self, secret: bytes) -> bytes:
        """The key's bytes; raises ``ValueError`` where the secret does not have the form."""
        return decode_key(self.key, secret)

    def key_fault(self, secret: bytes) -> str | None:
        try:
            self.decoded_key(secret)
        except ValueError:
            return f"is not {EXPECTED[self.key]}, as signature.key: {self.key} demands"
        return None

    def key_length(self, secret: bytes) -> int:
        return len(self.decoded_key(secret))


class HashSignature(TemplateSignature):
    """A plain hash over a template that holds the secret: weaker than an HMAC, and what some senders use."""

    scheme: Annotated[Literal["hash"], Field(description="a plain hash over a template with {secret} in it")]
    algorithm: Annotated[Literal["sha1", "sha256", "sha384", "sha512"], Field(description="the hash")] = "sha256"
    values: Annotated[
        tuple[str, ...], Field(description="names of a secret's several values, each written {secret:NAME} in the template")
    ] = ()
    open: Annotated[tuple[str, ...], Field(description="those of them that are no secrets, such as an application's id")] = ()

    def value_names(self) -> tuple[str, ...]:
        return self.values

    def open_values(self) -> frozenset[str]:
        return frozenset(self.open)


class PublicKeySignature(TemplateSignature):
    """A signature that a public key proves; what stands under ``secrets`` is that key."""

    key: Annotated[PublicForm, Field(description="how the public key is written")] = "pem"
    kind: ClassVar[Algorithm]
    """What the key must be."""

    def key_fault(self, secret: bytes) -> str | None:
        try:
            load(self.kind, self.key, secret)
        except ValueError:
            return f"is not {EXPECTED_PUBLIC[self.key]}, as signature.key: {self.key} of scheme {self.kind} demands"
        return None

    @property
    def deterministic(self) -> bool:
        return False


class Ed25519Signature(PublicKeySignature):
    """Ed25519 (RFC 8032) over a template."""

    kind = "ed25519"
    scheme: Annotated[Literal["ed25519"], Field(description="Ed25519 over a template")]
    key: Annotated[PublicForm, Field(description="how the public key is written")] = "hex"


class RsaSignature(PublicKeySignature):
    """RSA (RFC 8017) over a template."""

    kind = "rsa"
    scheme: Annotated[Literal["rsa"], Field(description="RSA over a template")]
    algorithm: Annotated[Literal["sha256", "sha384", "sha512"], Field(description="the hash")] = "sha256"
    padding: Annotated[Literal["pkcs1v15", "pss"], Field(description="pss: with a salt as long as the hash")] = "pkcs1v15"
    encoding: Annotated[Encoding, Field(description="how the signature is written")] = "base64"


class EcdsaSignature(PublicKeySignature):
    """ECDSA (FIPS 186-5) over a template, on the key's own curve."""

    kind = "ecdsa"
    scheme: Annotated[Literal["ecdsa"], Field(description="ECDSA over a template")]
    algorithm: Annotated[Literal["sha256", "sha384", "sha512"], Field(description="the hash")] = "sha256"
    form: Annotated[Literal["der", "raw"], Field(description="der: ASN.1 (RFC 3279); raw: r and s (RFC 7518)")] = "der"
    encoding: Annotated[Encoding, Field(description="how the signature is written")] = "base64"
