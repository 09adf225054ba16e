"""What a sender reads of an answer: HTTP/1.1 by its own framing, and what Telegram makes of status, type and body."""

import asyncio
import email.parser
import email.policy
import gzip
import json
import zlib
from typing import NamedTuple
from urllib.parse import parse_qsl

_HEAD_BYTES = 256 * 1024
_BODY_BYTES = 1024 * 1024
_NOT_EXECUTED = frozenset({"deletewebhook", "setwebhook", "close", "logout"})


class Unreadable(Exception):
    """The answer is none; the connection is of no more use."""


class Answer(NamedTuple):
    """One answer; field names are in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes
    reusable: bool

    @property
    def delivered(self) -> bool:
        """Any 2xx counts as success."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> int:
        """Whole seconds within 0 and 3600; a date counts for nothing."""
        written = self.fields.get("retry-after", "")
        return min(3600, int(written)) if written.isascii() and written.isdigit() else 0

    def call(self) -> tuple[str, dict[str, object]] | None:
        """The method that the bot has executed by its answer, and the parameters."""
        if not self.delivered:
            return None
        parameters = self._parameters()
        method = parameters.pop("method", None)
        if not isinstance(method, str) or not method:
            return None
        lowered = method.lower()
        return None if lowered in _NOT_EXECUTED or lowered.startswith("get") else (method, parameters)

    def check(self) -> None:
        """Raise ``Unreadable`` for what is taken for a broken answer, whatever its status."""
        if self.fields.get("content-encoding", "identity") not in {"identity", "gzip", "deflate"}:
            raise Unreadable("an unknown coding")
        self._parameters()

    def _decoded(self) -> bytes:
        coding = self.fields.get("content-encoding", "identity")
        try:
            return (
                gzip.decompress(self.body)
                if coding == "gzip"
                else zlib.decompress(self.body)
                if coding == "deflate"
                else self.body
            )
        except (OSError, EOFError, zlib.error):
            raise Unreadable("a body that is not coded as it says") from None

    def _parameters(self) -> dict[str, object]:
        kind = self.fields.get("content-type", "").partition(";")[0].strip().lower()
        body = self._decoded()
        if not body:
            return {}
        if kind == "application/json":
            try:
                found = json.loads(body)
            except ValueError:
                raise Unreadable("JSON that is none") from None
            if isinstance(found, str):
                return {}
            if not isinstance(found, dict):
                raise Unreadable("JSON that is no object")
            return found
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if kind == "multipart/form-data":
            return _parts(self.fields["content-type"], body)
        return {}


def _parts(kind: str, body: bytes) -> dict[str, object]:
    whole = b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
    found: dict[str, object] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            found[name] = payload.decode("utf-8", "replace")
    return found


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer of a connection, interim ones aside; raises ``Unreadable``, ``OSError`` or ``EOFError``."""
    status, fields = await _head(reader)
    while 100 <= status < 200:
        status, fields = await _head(reader)
    keep = "close" not in fields.get("connection", "").lower()
    if status in {204, 304}:
        body = b""
    elif fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    elif "content-length" in fields:
        length = fields["content-length"]
        if not (length.isascii() and length.isdigit()) or int(length) > _BODY_BYTES:
            raise Unreadable("no length")
        body = await reader.readexactly(int(length))
    else:
        body, keep = await reader.read(_BODY_BYTES), False
    answer = Answer(status, fields, body, keep)
    answer.check()
    return answer


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise Unreadable("a head without end") from None
    first, *lines = head[:-4].split("\r\n")
    version, _, rest = first.partition(" ")
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not rest[:3].isdigit() or len(head) > _HEAD_BYTES:
        raise Unreadable("no HTTP")
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    pieces: list[bytes] = []
    while True:
        try:
            size = int((await reader.readline()).partition(b";")[0], 16)
        except ValueError:
            raise Unreadable("no chunk") from None
        piece = await reader.readexactly(size + 2)
        if not size:
            return b"".join(pieces)
        pieces.append(piece[:-2])
