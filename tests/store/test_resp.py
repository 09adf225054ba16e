"""The protocol of Redis: whatever the pieces in which replies come, they are the same replies."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.resp import ErrorReply, Replies, Reply, pack

words = st.binary(max_size=40)
plain = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), words)
replies = st.recursive(plain, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def written(reply: object) -> bytes:
    """A reply as a server writes it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(written, reply))
        case _:
            raise AssertionError(reply)


@given(said=st.lists(replies, max_size=5), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_any_pieces(said: list[Reply], cuts: list[int]) -> None:
    """Cut anywhere, the replies are those that were written."""
    data = b"".join(map(written, said))
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = Replies()
    read = [reply for start, end in pairwise(at) for reply in reader.feed(data[start:end])]
    assert read == said


@given(data=st.binary(max_size=60))
def test_rubbish(data: bytes) -> None:
    """What is no reply is an error of one kind, or a reply that is still to come."""
    try:
        Replies().feed(data)
    except ValueError:
        return


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n", b"$x\r\n", b"*1\r\n" * 30, b"$3000000\r\n" + b"x" * (1024**2 + 20)])
def test_no_redis(data: bytes) -> None:
    """Another protocol, endless nesting and endless replies are refused."""
    with pytest.raises(ValueError, match=r".*"):
        Replies().feed(data)


def test_errors_are_told_apart() -> None:
    """An error is no value, has a kind, and shows nothing that a terminal would obey."""
    (said, value) = Replies().feed(b"-ERR bad \x1b[31m thing\r\n$3\r\nERR\r\n")
    assert isinstance(said, ErrorReply)
    assert (said.kind, str(said)) == (b"ERR", "ERR bad ?[31m thing")
    assert not isinstance(value, ErrorReply)


def test_a_command() -> None:
    """A command is an array of its words, whatever bytes they have."""
    assert pack(b"SET", b"a\r\nb", b"") == b"*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n"
