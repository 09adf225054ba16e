"""YAML is read strictly, with places, and never raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.document import Flaw, Mark, parse, write


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("0644", "0644"),
        ("0123456", "0123456"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("42", 42),
        ("-7", -7),
        ("1.5", 1.5),
        ("12345678901234567890", "12345678901234567890"),
        ('"42"', "42"),
        ("'true'", "true"),
        ("[a, [1]]", ("a", (1,))),
        ("{a: {}}", {"a": {}}),
        ("=", "="),
    ],
)
def test_scalars(written: str, read: object) -> None:
    """Only true, false, null and plain decimals are more than text; lists are tuples."""
    document = parse(f"key: {written}\n".encode())
    assert document.flaws == ()
    assert document.value == {"key": read}
    assert isinstance(document.value, dict)
    assert type(document.value["key"]) is type(read)


def test_keys_are_text() -> None:
    """A key is what was written, whatever it looks like."""
    assert parse(b"410: a\n3xx: b\nnull: c\n0644: d\n").value == {"410": "a", "3xx": "b", "null": "c", "0644": "d"}


@pytest.mark.parametrize(
    ("data", "mark", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", (3, 1), "key 'a' stands twice; first at 1:1"),
        (b"a: 1\n'a': 2\n", (2, 1), "stands twice"),
        (b"a: {b: 1, b: 2}\n", (1, 11), "stands twice"),
        (b"a: &x 1\n", (1, 4), "anchors"),
        (b"a: *x\n", (1, 4), "aliases"),
        (b"&x a: 1\n", (1, 1), "anchors"),
        (b"*x : 1\n", (1, 1), "plain text"),
        (b"a: !!str 1\n", (1, 4), "tags"),
        (b"a: ! 1\n", (1, 4), "tags"),
        (b"a: !!python/object/apply:os.system [id]\n", (1, 4), "tags"),
        (b"a: !!binary aGk=\n", (1, 4), "tags"),
        (b"<<: {a: 1}\n", (1, 1), "merge keys"),
        (b"a: {<<: {b: 1}}\n", (1, 5), "merge keys"),
        (b"a: 1\n---\nb: 2\n", (2, 1), "second document"),
        (b"? [a]\n: 1\n", (1, 3), "plain text"),
        (b"a:\n\tb: 1\n", (2, 1), "tab"),
        (b"a:\n  b: 1\n \tc: 1\n", (3, 2), "tab"),
        (b"a: 'x\n", (2, 1), "never closed"),
        (b"a: b: c\n", (1, 5), "colon"),
        (b"a: [1, 2\n", (2, 1), "list in [ ]"),
        (b"a: {b: 1\n", (2, 1), "mapping in { }"),
        (b"a: @b\n", (1, 4), "cannot begin a value"),
        (b"a:\n  b: 1\n c: 2\n", (3, 2), "indentation"),
        (b"%TAG ! tag:x,2000:\n---\na: !b 1\n", (3, 4), "tags"),
        (b"a: \x00\n", (1, 4), "U+0000"),
        (b"ok: 1\na: \x1b[0m\n", (2, 4), "U+001B"),
        (b"a: 1\nb: \xff\n", (2, 4), "not UTF-8"),
        (b"\xef\xbb\xbfa: \xff\n", (1, 4), "not UTF-8"),
        ("é: ".encode() + b"\xc3\n", (1, 4), "not UTF-8"),
        ("a: 1".encode("utf-16"), (1, 1), "not UTF-8"),
        (b"", (0, 0), "empty"),
        (b"\n# only words\n", (0, 0), "empty"),
        (b"---\n", (0, 0), "empty"),
        (b"a: " + b"[" * 40, (1, 35), "32 levels"),
        (b"a: " + b"x" * 1024**2, (0, 0), "1 MiB"),
        (b"a: [" + b"," * 10 + b"]", (1, 5), "missing"),
        (b"a: [" + b"1," * 100_000 + b"]", (1, 199_999), "100000 values"),
    ],
)
def test_refused(data: bytes, mark: tuple[int, int], words: str) -> None:
    """What a policy's YAML may not have is told in a sentence, at its line and column."""
    flaw = parse(data).flaws[0]
    assert words in flaw.message
    assert flaw.mark == mark


def test_every_flaw_is_told() -> None:
    """One reading finds several flaws, and goes on with the first of two equal keys."""
    document = parse(b"a: 1\na: {c: 1, c: 2}\nb: *x\n")
    assert [flaw.path for flaw in document.flaws] == [("a",), ("a", "c"), ("b",)]
    assert document.value == {"a": 1, "b": None}


def test_places() -> None:
    """Every key and every value has its place, past a byte order mark and past characters of several bytes."""
    document = parse("\ufeffa: 1\n'é': {b: [x, yy]}\n".encode())
    assert document.keys == {("a",): Mark(1, 1), ("é",): Mark(2, 1), ("é", "b"): Mark(2, 7)}
    assert document.values[("a",)] == Mark(1, 4)
    assert document.values[("é", "b", 1)] == Mark(2, 14)


def test_alias_bomb_is_cheap() -> None:
    """Aliases are refused before anything is multiplied."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    document = parse("\n".join(lines).encode())
    assert isinstance(document.flaws[0], Flaw)
    assert len(document.values) < 400


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_never_raises(data: bytes) -> None:
    """Whatever the bytes are, there is a value or a flaw."""
    document = parse(data)
    assert document.value is not None or document.flaws


@given(st.text(alphabet="ab:-[]{},&*!|>'\"%@`#?~ \n\t\\<0129.", max_size=120))
def test_never_raises_on_yaml(text: str) -> None:
    """Neither does anything made of YAML's own signs."""
    document = parse(text.encode())
    assert document.value is not None or document.flaws


PLAIN = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(10**12), 10**12), st.text(alphabet=st.characters(exclude_categories=["C"]), max_size=12)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(alphabet="abc410", max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_written_and_read(value: object) -> None:
    """What is written is read back as it was."""
    document = parse(write({"value": value}).encode())
    assert document.flaws == ()
    assert document.value == {"value": _tuples(value)}


def _tuples(value: object) -> object:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(inner) for key, inner in value.items()} if isinstance(value, dict) else value
