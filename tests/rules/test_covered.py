"""What a Signature-Input says: read at a glance or by the parser, it is the same."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.rules.covered import Covered, covered
from proxy.rules.structured_fields import InnerList, Item, dictionary, sole_bytes, write

USUAL = b'sig1=("@method" "content-digest");created=1767225600;keyid="k";alg="ed25519"'

KEYS = st.sampled_from(["sig1", "created", "keyid", "nonce", "*a.b-c_d", "A", ""])
TEXTS = st.text('abc"\\;,)( =%é\t', max_size=6).map(lambda text: f'"{text}"')
VALUES = st.sampled_from(["0", "7", "007", "-1", "1767225600", "1.5", "?1", "tok", ":aGk=:", ":aGk:", "", "1" * 16]) | TEXTS
PARAMETERS = st.lists(st.tuples(st.sampled_from([";", "; ", " ;"]), KEYS, st.sampled_from(["=", ""]), VALUES), max_size=3).map(
    lambda found: "".join("".join(one) for one in found)
)
LISTS = st.lists(TEXTS, max_size=3).flatmap(lambda texts: st.sampled_from([" ", "  ", ""]).map(lambda gap: gap.join(texts)))


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """A field that is nearly one."""
    members = [
        f"{draw(KEYS)}={draw(st.sampled_from(['(', '( ', '']))}{draw(LISTS)}{draw(PARAMETERS)}){draw(PARAMETERS)}"
        for _ in range(draw(st.integers(1, 2)))
    ]
    return ", ".join(members).encode()


def parsed(text: bytes) -> list[Covered]:
    """By the parser of structured fields alone."""
    found: list[Covered] = []
    for label, member in dictionary(text).items():
        parameters = {name.encode(): value for name, value in member.parameters}
        items = write(InnerList(member.items, ())) if isinstance(member, InnerList) else b""
        found.append((label, items, parameters, write(member)[len(items) :] if items else b""))
    return found


@given(inputs() | st.binary(max_size=40))
@example(USUAL)
@example(USUAL + b";created=1")
@example(USUAL.replace(b'"k"', b'"k;x=1"'))
@example(USUAL.replace(b'"k"', b'"k)"'))
@example(USUAL.replace(b'"@method" ', b'"@method")'))
@example(USUAL.replace(b"1767225600", b"01"))
@example(b'a=("x" );b=""')
@example(b"a=()")
def test_one_reading(text: bytes) -> None:
    """A field has one meaning, however common its form is, and what is refused in one form is refused in all."""
    try:
        expected = parsed(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"^(not as|a key|a parameter|a comma|items|not base64|too long)"):
            covered(text)
        return
    found = covered(text)
    assert found == expected
    for (*_, one, _), (*_, other, _) in zip(found, expected, strict=True):
        assert [type(value) for value in one.values()] == [type(value) for value in other.values()]


@given(st.text('ab=:;+/AQ,()" ', max_size=12).map(lambda text: f"sig=:{text}:".encode()) | st.binary(max_size=20))
@example(b"sig=:aGk=:")
@example(b"sig=:aGk:")
@example(b"sig=:a:")
@example(b"sig=::")
@example(b"sig=:aGk=:, other=:aGk=:")
def test_one_signature(text: bytes) -> None:
    """A signature that stands alone is read as the parser reads it, or left to the parser."""
    try:
        found = sole_bytes(text)
    except ValueError:
        with pytest.raises(ValueError, match="not base64"):
            dictionary(text)
        return
    assert found is None or dictionary(text) == {found[0]: Item(found[1], ())}


def test_the_usual_form_is_seen_at_a_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nearly all senders write is read without the parser."""
    monkeypatch.setattr("proxy.rules.covered.dictionary", dict)
    parameters = {b"created": 1767225600, b"keyid": "k", b"alg": "ed25519"}
    assert covered(USUAL) == [("sig1", b'("@method" "content-digest")', parameters, USUAL.partition(b")")[2])]
