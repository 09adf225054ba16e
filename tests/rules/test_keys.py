"""What names a value inside a request: one written form each, and no guess where there are two."""

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.messages import Field
from proxy.policy.signatures import ListSyntax
from proxy.policy.values import Selector
from proxy.rules.keys import ambiguity, at, pointer, reader, written
from proxy.verdict import Reason
from tests.pipeline.judging import JSON, SECRET, TOKEN, Compiled, compiled, request, secrets, step

OK, KEYLESS, NOT_JSON = Reason.NONE, Reason.REPLAY_KEY_MISSING, Reason.PAYLOAD_NOT_JSON

POINTERS: list[tuple[str, object, object]] = [
    ("/a", {"a": 1}, 1),
    ("/a/b", {"a": {"b": "x"}}, "x"),
    ("/a/0/b", {"a": [{"b": 2}]}, 2),
    ("/a/1", {"a": [1]}, None),
    ("/a/-1", {"a": [1]}, None),
    ("/a/-", {"a": [1]}, None),
    ("/a/\u0660", {"a": [1]}, None),
    ("/a/0", {"a": {"0": "name"}}, "name"),
    ("/", {"": 3}, 3),
    ("/a/", {"a": {"": 4}}, 4),
    ("/a~1b", {"a/b": 5}, 5),
    ("/m~0n", {"m~n": 6}, 6),
    ("/~01", {"~1": 7}, 7),
    ("/ö", {"ö": 8}, 8),
    ("/a/b", {"a": "b"}, None),
    ("/a", [1], None),
    ("/a", 1, None),
    ("/0", ["x"], "x"),
]


@pytest.mark.parametrize(("text", "document", "value"), POINTERS)
def test_pointers(text: str, document: object, value: object) -> None:
    """A JSON pointer finds what RFC 6901 says, and nothing where there is nothing."""
    assert at(document, pointer(text)) == value


def test_pointers_of_the_rfc() -> None:
    """The examples of RFC 6901 section 5 give what stands there."""
    document = {
        "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8,
    }  # fmt: skip
    texts = ["/foo/0", "/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", '/k"l', "/ ", "/m~0n"]
    assert [at(document, pointer(text)) for text in texts] == ["bar", 0, 1, 2, 3, 4, 5, 6, 7, 8]


WRITTEN: list[tuple[object, bytes | None]] = [
    ("x", b"x"), ("", b""), ("é", "é".encode()), (0, b"0"), (-1, b"-1"), (2**63, b"9223372036854775808"), (True, b"true"),
    (False, b"false"), (None, None), (1.0, None), (1e300, None), ([], None), ({}, None), ([1], None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), WRITTEN)
def test_written(value: object, text: bytes | None) -> None:
    """Strings, whole numbers and truth values have one written form; floats, null and containers have none."""
    assert written(value) == text


SELECTORS: list[tuple[str, bytes, list[Field], bytes, bytes | None]] = [
    ("header:X-Id", b"", [(b"x-ID", b"7")], b"", b"7"),
    ("header:X-Id", b"", [], b"", None),
    ("header:X-Id", b"", [(b"X-Id", b"")], b"", None),
    ("header:X-Id", b"", [(b"X-Id", b"7"), (b"x-id", b"7")], b"", None),
    ("query:a", b"?a=1&b=2", [], b"", b"1"),
    ("query:a", b"?a=1&a=1", [], b"", None),
    ("query:a", b"?%61=1&a=2", [], b"", None),
    ("query:a", b"?%61=1%2B+2", [], b"", b"1+ 2"),
    ("query:a", b"?a", [], b"", b""),
    ("query:a", b"?A=1", [], b"", None),
    ("query:a", b"", [], b"", None),
    ("query:a", b"?" + b"b&" * 2000 + b"a=1", [], b"", None),
    ("form:payload", b"", [], b"payload=%7B%22zen%22%3A%22Keep+it%22%7D&x=1", b'{"zen":"Keep it"}'),
    ("form:payload", b"", [], b"x=1", None),
    ("form:payload", b"", [], b"payload=1&payload=2", None),
    ("form:payload", b"", [], b"pay%6coad=1&payload=2", None),
    ("form:payload", b"", [], b"payload=%zz", b"%zz"),
    ("form:payload", b"", [], b"payload=%ff%00", b"\xff\0"),
    ("form:payload", b"", [], b"payload=1;x=2", b"1;x=2"),
    ("list:t", b"", [(b"X-Sig", b"t=17,v1=ab")], b"", b"17"),
    ("list:t", b"", [(b"X-Sig", b"v1=ab , t=17 ")], b"", b"17"),
    ("list:t", b"", [(b"X-Sig", b"t=17,t=18")], b"", None),
    ("list:t", b"", [(b"X-Sig", b"t=17"), (b"X-Sig", b"v1=ab")], b"", None),
    ("list:t", b"", [(b"X-Sig", b"t,v1=ab")], b"", None),
    ("list:t", b"", [], b"", None),
    ("body:sha256", b"", [], b"", b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("json:/a", b"", [], b'{"a":"\\u00e9"}', "é".encode()),
    ("json:/a", b"", [], b'{"a":1.0}', None),
    ("json:/a", b"", [], b"{a:1}", None),
]  # fmt: skip


@pytest.mark.parametrize(("selector", "query", "fields", "body", "value"), SELECTORS)
def test_selectors(selector: str, query: bytes, fields: list[Field], body: bytes, value: bytes | None) -> None:
    """A selector gives the one value that stands at its place, decoded once, or nothing where it is absent or repeated."""
    read = reader(Selector.parse(selector), ListSyntax(separator=",", pair="=", key="v1"), b"x-sig")
    assert read(request(body, fields, target=b"/hook" + query)) == value


def test_many_fields_cost_little() -> None:
    """A body of a million empty fields is not walked field by field: it comes from anybody."""
    read = reader(Selector.parse("form:a"))
    assert read(request(b"&" * 1024**2)) is None
    assert read(request(b"b=1&" * 900 + b"a=2")) == b"2"


UPDATE_IDS: list[tuple[bytes, Reason]] = [
    (b'{"update_id":0}', OK),
    (b'{"update_id":1}', OK),
    (b'{"update_id":10000,\n"message":{}}', OK),
    (b'{"update_id":9223372036854775807}', OK),
    (b'{"update_id":9223372036854775808}', KEYLESS),
    (b'{"update_id":18446744073709551616}', KEYLESS),
    (b'{"update_id":123456789012345678901234567890}', KEYLESS),
    (b'{"update_id":' + b"9" * 300 + b"}", KEYLESS),
    (b'{"update_id":' + b"9" * 5000 + b"}", NOT_JSON),
    (b'{"update_id":-1}', KEYLESS),
    (b'{"update_id":1.0}', KEYLESS),
    (b'{"update_id":1e3}', KEYLESS),
    (b'{"update_id":1e999}', NOT_JSON),
    (b'{"update_id":"1"}', KEYLESS),
    (b'{"update_id":true}', KEYLESS),
    (b'{"update_id":null}', KEYLESS),
    (b'{"update_id":[1]}', KEYLESS),
    (b'{"update_id":{}}', KEYLESS),
    (b'{"update_ID":1}', KEYLESS),
    (b'{"message":{"update_id":1}}', KEYLESS),
    (b"{}", KEYLESS),
    (b"[]", KEYLESS),
    (b"1", KEYLESS),
    (b'"update_id"', KEYLESS),
    (b'{"update_id":01}', NOT_JSON),
    (b'{"update_id":+1}', NOT_JSON),
    (b'{"update_id":0x1}', NOT_JSON),
    (b'{"update_id":1,}', NOT_JSON),
    (b'{"update_id":1}{"update_id":2}', NOT_JSON),
    (b'{"update_id":1}\0', NOT_JSON),
    (b'{"update_id":1} \n', OK),
    (b'{"update_id":1,"a":NaN}', NOT_JSON),
    (b'{"update_id":1,"a":Infinity}', NOT_JSON),
    (b"{'update_id':1}", NOT_JSON),
    (b'{"update_id":1}//x', NOT_JSON),
    (b"", NOT_JSON),
    (b'\xef\xbb\xbf{"update_id":1}', NOT_JSON),
    ('{"update_id":1}'.encode("utf-16"), NOT_JSON),
    (b'{"update_id":1,"a":"\xff"}', NOT_JSON),
    (b'{"update_id":1,"a":"\xc0\xaf"}', NOT_JSON),
    (b'{"update_id":1,"a":' + b"[" * 5000 + b"]" * 5000 + b"}", NOT_JSON),
    # Written twice, by name, by escape, or both: two parsers could count two different ones.
    (b'{"update_id":1,"update_id":2}', KEYLESS),
    (b'{"update_id":1,"update_id":1}', KEYLESS),
    (b'{"update_id":1,"update\\u005fid":2}', KEYLESS),
    (b'{"update\\u005Fid":1,"update_id":2}', KEYLESS),
    (b'{"\\u0075pdate_id":1,"update_id":2}', KEYLESS),
    (b'{"update_id":1,"\\u0075\\u0070date_id":2}', KEYLESS),
    (b'{"update\\u005fid":1}', OK),
    # Elsewhere it is a value, or another object's key.
    (b'{"update_id":1,"message":{"text":"update_id"}}', OK),
    (b'{"update_id":1,"message":{"update_id":2}}', OK),
    (b'{"update_id":1,"message":{"text":"\\"update_id\\":2"}}', OK),
    (b'{"update_id":1,"message":{"text":"\\u0022update_id\\u0022"}}', OK),
]


@pytest.mark.parametrize(("body", "reason"), UPDATE_IDS, ids=[repr(body[:60]) for body, _ in UPDATE_IDS])
async def test_update_ids(body: bytes, reason: Reason, tmp_path: Path) -> None:
    """An update is counted by a whole number from 0 to 2^63 - 1 that stands once in its object, and by nothing else."""
    gate = await compiled(tmp_path, {"provider": "telegram", "secrets": secrets(SECRET)})
    assert (await gate.judge(request(body, [(TOKEN, SECRET.encode()), JSON]))).reason is reason


async def test_one_key_for_one_id(tmp_path: Path) -> None:
    """1 and "1", true and "true" are different ids; the same id in another writing is the same."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"replay": {"key": "json:/id"}}})
    for value in (b"1", b'"1"', b"true", b'"true"', b'"\\u0031 "'):
        assert (await gate.deliver(request(b'{"id":%b}' % value))).reason is OK, value
    assert (await gate.deliver(request(b'{"id": 1}'))).reason is Reason.REPLAY_CONFLICT
    assert (await gate.deliver(request(b'{"id":"\\u0031"}'))).reason is Reason.REPLAY_CONFLICT
    assert (await gate.deliver(request(b'{"id":"1"}'))).reason is Reason.REPLAY_DUPLICATE


AMBIGUOUS: list[tuple[str, bytes, bool]] = [
    ("/a~1b", b'{"a/b":1,"a\\/b":2}', True),
    ("/a~1b", b'{"a\\/b":2}', False),
    ("/ключ", '{"ключ":1,"\\u043aлюч":2}'.encode(), True),
    ("/é", '{"é":1,"\\u00e9":2}'.encode(), True),
    ('/k"l', b'{"k\\"l":1,"k\\u0022l":2}', True),
    ("/a\n", b'{"a\\n":1,"a\\u000a":2}', True),
    ("/a/b", b'{"a":{"b":1},"a":{"b":2}}', True),
    ("/a/b", b'{"a":{"c":1},"a":{"b":2}}', True),
    ("/a/b", b'{"a":{"b":1},"\\u0061":{"b":2}}', True),
    ("/a/b", b'{"a":{"b":1},"c":{"b":2}}', False),
    ("/a/0/b", b'{"a":[{"b":1},{"b":2}]}', False),
    ("/a/0/b", b'{"a":[{"b":1,"b":2}]}', True),
    ("/a", b'{"a":1,"b":{"a":1,"a":2}}', False),
]


@pytest.mark.parametrize(("text", "body", "found"), AMBIGUOUS)
def test_ambiguous(text: str, body: bytes, found: bool) -> None:
    """A key on the way to the value that stands twice in its object is seen, in whatever escapes it hides."""
    orjson.loads(body)
    assert ambiguity(pointer(text))(body) is found


def spelled(text: str, choices: list[int]) -> str:
    """A JSON string with some of its characters written as escapes."""
    pieces = []
    for index, character in enumerate(text):
        escaped = json.dumps(character)[1:-1]
        if choices[index % len(choices)] and ord(character) < 0x10000:
            escaped = f"\\u{ord(character):04x}" if choices[index % len(choices)] == 1 else f"\\u{ord(character):04X}"
        pieces.append(escaped)
    return '"' + "".join(pieces) + '"'


@settings(max_examples=500, deadline=None)
@given(
    members=st.lists(
        st.tuples(
            st.sampled_from(["update_id", "update-id", "id", "é", "a/b"]),
            st.lists(st.integers(0, 2), min_size=1),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=6,
    ),
    name=st.sampled_from(["update_id", "é", "a/b"]),
)
def test_twice_is_never_missed(members: list[tuple[str, list[int], int]], name: str) -> None:
    """However its letters are escaped, a key that stands twice is seen, and one that stands once is not taken for two."""
    body = ("{" + ",".join(f"{spelled(key, choices)}:{value}" for key, choices, value in members) + "}").encode()
    assert ambiguity((name,))(body) == ([key for key, _, _ in members].count(name) > 1)


@pytest.fixture(scope="module")
def telegram(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A gate for Telegram."""
    route: dict[str, Any] = {"provider": "telegram", "secrets": secrets(SECRET)}
    return asyncio.run(compiled(tmp_path_factory.mktemp("telegram"), route))


ODD = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=200) | ODD.map(lambda value: json.dumps({"update_id": value}).encode()))
def test_nothing_breaks_it(telegram: Compiled, body: bytes) -> None:
    """Whatever stands in the body, the verdict is one of the documented ones."""
    judged = step(telegram.judge(request(body, [(TOKEN, SECRET.encode()), JSON])))
    assert judged.reason in {KEYLESS, NOT_JSON}
