"""The files that a policy names: certificates that load, JSON Schemas that compile. Nothing is fetched, nothing is asked for."""

import ssl
from collections.abc import Iterator
from pathlib import Path as File

import orjson

from proxy.policy.document import Path
from proxy.policy.faults import Complaint, nearest
from proxy.policy.model import ListenTls, Policy, Route, UpstreamSettings
from proxy.policy.paths import BUILTIN

_SHIPPED = File(__file__).parents[1] / "schemas"
_MAX_BYTES = 1024**2

BUILTINS: tuple[str, ...] = tuple(sorted(entry.name[:-5] for entry in _SHIPPED.iterdir() if entry.name.endswith(".json")))
"""Names of the shipped JSON Schemas, as in ``builtin:telegram-update``."""


def tls_complaints(policy: Policy) -> Iterator[Complaint]:
    """Certificates and keys that cannot be used; of an absolute policy."""
    if policy.listen.tls is not None:
        yield from _pair(policy.listen.tls, ("listen", "tls"))
    upstreams: list[tuple[Path, UpstreamSettings | None]] = [(("upstream",), policy.upstream)]
    upstreams += [(("routes", index, "upstream"), route.upstream) for index, route in enumerate(policy.routes)]
    for at, upstream in upstreams:
        if upstream is not None and upstream.ca_file is not None:
            yield from _authorities(upstream.ca_file, (*at, "ca_file"))
    if policy.store.ca_file is not None:
        yield from _authorities(policy.store.ca_file, ("store", "ca_file"))


def _pair(tls: ListenTls, at: Path) -> Iterator[Complaint]:
    unreadable = False
    for name, file in (("certificate", tls.certificate), ("key", tls.key)):
        trouble = _unreadable(file)
        if trouble:
            unreadable = True
            yield Complaint((*at, name), trouble)
    if not unreadable:
        try:
            # An encrypted key would ask for its password on the terminal; an empty one makes it fail instead.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError) as error:
            mismatch = isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH"
            message = (
                "does not belong to the certificate" if mismatch else "certificate and key are no usable PEM pair (unencrypted)"
            )
            yield Complaint((*at, "key"), message)
    if tls.client_ca is not None:
        yield from _authorities(tls.client_ca, (*at, "client_ca"))


def _authorities(file: str, at: Path) -> Iterator[Complaint]:
    trouble = _unreadable(file)
    if trouble is None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except (ssl.SSLError, OSError):
            trouble = "holds no certificates in PEM"
    if trouble:
        yield Complaint(at, trouble)


def _unreadable(file: str) -> str | None:
    try:
        if not File(file).is_file():
            return "there is no such file"
        with open(file, "rb"):
            return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def read_schemas(route: Route, at: Path) -> tuple[dict[str, object], list[Complaint]]:
    """The parsed JSON Schemas of a route by the names that its rule has for them, and what is wrong with them."""
    rule = route.rules.json_schema
    documents: dict[str, object] = {}
    found: list[Complaint] = []
    named = (
        []
        if rule is None
        else [("file", rule.file)]
        if rule.file
        else [(("files", key), name) for key, name in rule.files.items()]
    )
    for step, name in named:
        path = (*at, "rules", "schema", *(step if isinstance(step, tuple) else (step,)))
        try:
            documents[name] = read_builtin(name) if name.startswith(BUILTIN) else _own(name)
        except ValueError as error:
            found.append(Complaint(path, str(error)))
    return documents, found


def read_builtin(name: str) -> object:
    """A shipped JSON Schema, parsed.

    Raises:
        ValueError: there is none of that name.
    """
    short = name.removeprefix(BUILTIN)
    if short not in BUILTINS:
        raise ValueError(f"{short!r} is none of the shipped schemas: {', '.join(BUILTINS)}{nearest(short, BUILTINS)}")
    return orjson.loads((_SHIPPED / f"{short}.json").read_bytes())


def _own(name: str) -> object:
    trouble = _unreadable(name)
    if trouble:
        raise ValueError(trouble)
    with open(name, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError("is larger than 1 MiB")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not JSON: line {error.lineno}, column {error.colno}") from None
    _compile(document)
    return document


def _compile(document: object) -> None:
    if not isinstance(document, dict | bool):
        raise ValueError("is not a JSON Schema: it must be an object")
    import jsonschema_rs  # late: most policies have no schema of their own, and this library is the heaviest to load

    try:
        # SECURITY: offline, because references are followed into files and networks otherwise; RegexOptions, because its
        # engine is linear in the text, and patterns meet bytes from outside.
        jsonschema_rs.validator_for(document, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ValueError(f"is not a usable JSON Schema: {str(error).splitlines()[0]}") from None
