"""Percent-escapes undone."""

import time
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules.escapes import unescaped


@given(st.binary(max_size=40) | st.lists(st.sampled_from([b"%", b"%4", b"%41", b"%fF", b"%Zz", b"+", b"a"])).map(b"".join))
def test_as_the_standard_library(text: bytes) -> None:
    """Whatever is there, the outcome is that of the standard library."""
    assert unescaped(text) == unquote_to_bytes(text)


@pytest.mark.parametrize("piece", [b"%", b"%41", b"%%4"])
def test_bounded(piece: bytes) -> None:
    """A mebibyte of escapes, or of what is none, costs a fraction of what the standard library takes for it."""
    text = piece * ((1 << 20) // len(piece))

    def spent(what: object) -> float:
        assert callable(what)
        began = time.process_time()
        what(text)
        return time.process_time() - began

    assert min(spent(unescaped) for _ in range(3)) < max(0.5, min(spent(unquote_to_bytes) for _ in range(3)))
