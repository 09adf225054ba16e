"""What travels keeps its bytes; the parsed view is strict, made once, and never what is forwarded."""

import hashlib
import sys
import tracemalloc

import pytest

from proxy.messages import NOT_JSON, Head, Request
from tests.pipeline.judging import head, request


def test_a_head_has_no_body() -> None:
    """A rule of the door has no body to look at."""
    assert not [name for name in dir(Head) if "body" in name]


def test_fields_stay_as_they_came() -> None:
    """Order, case, repeats and bytes of the fields stay; the view by name has the first of each."""
    fields = [(b"B", b"\xff"), (b"a", b"1"), (b"b", b"2"), (b"A-b", b"")]
    made = head(fields)
    assert made.fields == tuple(fields)
    assert made.names == [b"b", b"a", b"b", b"a-b"]
    assert made.single(b"b") == b"\xff"
    assert made.repeated == {b"b"}
    assert made.single(b"none") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nul",
        b"NaN",
        b"[1e999]",
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b"{} {}",
        b"'a'",
        b"[1,]",
        b"//",
        b'"\xff"',
        b'"\\ud800"',
    ],
)
def test_no_json(body: bytes) -> None:
    """What RFC 8259 does not allow is no JSON, and asking twice changes nothing."""
    made = Request(head(), body)
    assert made.document() is NOT_JSON
    assert made.document() is NOT_JSON


@pytest.mark.parametrize(("body", "value"), [(b"null", None), (b"0", 0), (b'""', ""), (b"[]", []), (b' {"a" : 1}\n', {"a": 1})])
def test_json(body: bytes, value: object) -> None:
    """Any JSON value is a document, falsy ones too; it is parsed once."""
    made = Request(head(), body)
    assert made.document() == value
    assert made.document() is made.document()


def test_depth() -> None:
    """Nesting beyond 1024 is no JSON, and a million brackets cost neither a crash nor the stack."""
    deep = b"[" * 1000 + b"]" * 1000
    assert Request(head(), deep).document() is not NOT_JSON
    assert Request(head(), b"[" * 10**6 + b"]" * 10**6).document() is NOT_JSON
    assert sys.getrecursionlimit() >= 1000


def test_digest() -> None:
    """The digest is of the raw bytes, so that two writings of one document are two bodies."""
    assert request(b'{"a":1}').digest() == hashlib.sha256(b'{"a":1}').digest()[:16]
    assert request(b'{"a":1}').digest() != request(b'{"a": 1}').digest()


def test_the_body_is_not_copied() -> None:
    """A large body is held once, however often it is looked at."""
    body = b'"' + b"x" * 8_000_000 + b'"'
    made = Request(head(), body)
    tracemalloc.start()
    made.digest()
    assert made.body is body
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
