"""Structured fields: what is read, what is not, and the one form in which it is written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules.structured_fields import InnerList, Item, Token, dictionary, write

GOOD: list[tuple[bytes, bytes]] = [
    (b"", b""),
    (b"a=1", b"a=1"),
    (b"a", b"a=?1"),
    (b"a;x", b"a=?1;x"),
    (b"a=?0;x=?1", b"a=?0;x"),
    (b"a=-12", b"a=-12"),
    (b"a=007", b"a=7"),
    (b'a="b \\" \\\\"', b'a="b \\" \\\\"'),
    (b"a=tok/en:*", b"a=tok/en:*"),
    (b"a=:aGk=:", b"a=:aGk=:"),
    (b"a=:aGk:", b"a=:aGk=:"),
    (b"a=::", b"a=::"),
    (b" a=1 ,\tb=2 ", b"a=1, b=2"),
    (b"a=()", b"a=()"),
    (b'a=( "x"  "y";k=1 );z', b'a=("x" "y";k=1);z'),
    (b'sig=("@method" "date");  created=1;keyid="k"', b'sig=("@method" "date");created=1;keyid="k"'),
    (b"*a.b-c_d=1", b"*a.b-c_d=1"),
]


def canonical(text: bytes) -> bytes:
    """The text as it is written after it was read."""
    return b", ".join(name.encode() + b"=" + write(member) for name, member in dictionary(text).items())


@pytest.mark.parametrize(("text", "written"), GOOD)
def test_one_form(text: bytes, written: bytes) -> None:
    """What is read is written back in the one canonical form, and that form is read as the same."""
    assert canonical(text) == written
    assert dictionary(written) == dictionary(text)


def test_types() -> None:
    """Each kind of value is told from the others."""
    found = dictionary(b'a=1, b="1", c=:MQ==:, d=?1, e=t, f=("x";y=2)')
    assert list(found.values()) == [
        Item(1, ()),
        Item("1", ()),
        Item(b"1", ()),
        Item(True, ()),
        Item(Token("t"), ()),
        InnerList((Item("x", (("y", 2),)),), ()),
    ]
    assert [type(member.value) for member in found.values() if isinstance(member, Item)] == [int, str, bytes, bool, Token]


BAD: list[tuple[str, bytes]] = [
    ("a key twice", b"a=1, a=2"),
    ("a parameter twice", b"a=1;x=1;x=2"),
    ("a parameter of a list twice", b"a=();x;x"),
    ("a capital letter in a key", b"A=1"),
    ("nothing behind the equals sign", b"a="),
    ("a comma at the end", b"a=1,"),
    ("two commas", b"a=1,,b=2"),
    ("no comma", b"a=1 b=2"),
    ("a space before the equals sign", b"a =1"),
    ("a string without its end", b'a="b'),
    ("a string with a control character", b'a="\x01"'),
    ("a string beyond ASCII", 'a="é"'.encode()),
    ("a stray backslash", b'a="\\n"'),
    ("a list without its end", b'a=("x"'),
    ("a list without spaces", b'a=("x""y")'),
    ("a list in a list", b'a=(("x"))'),
    ("bytes without their end", b"a=:aGk="),
    ("bytes that are no base64", b"a=:a:"),
    ("base64 for addresses", b"a=:a-_=:"),
    ("a decimal", b"a=1.5"),
    ("sixteen digits", b"a=1234567890123456"),
    ("a boolean that is none", b"a=?2"),
    ("a date", b"a=@1659578233"),
    ("a NUL", b"a=1\0"),
    ("a newline", b"a=1\n"),
    ("no text at all", b"\xff\xfe"),
    ("very long", b"a=" + b"b" * 20_000),
]


@pytest.mark.parametrize("text", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_refused(text: bytes) -> None:
    """What RFC 9651 does not allow, or could be read in two ways, is refused, with words that quote nothing of it."""
    with pytest.raises(ValueError, match=r"^(not as|a key|a parameter|a comma|items|not base64|too long)"):
        dictionary(text)


@given(st.binary(max_size=80) | st.text('ab=;,()":?\\ *1-', max_size=60).map(str.encode))
def test_nothing_breaks(text: bytes) -> None:
    """Whatever stands in a field, it is read or refused, and what is read has one form."""
    try:
        found = dictionary(text)
    except ValueError:
        return
    assert dictionary(canonical(text)) == found
