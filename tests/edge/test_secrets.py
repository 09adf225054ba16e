"""Nothing that is secret is ever told: not in a log, a metric, the status page or an answer, whatever goes wrong."""

import json
from contextlib import suppress
from pathlib import Path

from tests.edge.lines import Line
from tests.edge.stages import policy
from tests.gates import TOKEN, serving
from tests.upstream.bots import OK, Talk, scripted

WIRE = Path(__file__).parents[1] / "wire"
CANARIES = {
    "the token": b"canary-token-0123456789-abcdefgh",
    "the path": b"canary-path-8f3a2b1c",
    "a forged token": b"canary-forged-token-0123456789ab",
    "a header's value": b"canary-authorization",
    "a header's name": b"x-canary-name",
    "the query": b"canary-query",
    "the body": b"canary-body",
    "the bot's broken answer": b"canary-of-the-bot",
    "the admin token": b"canary-admin-token-0123456789abc",
}
_BROKEN = b"HTTP/1.1 200 canary-of-the-bot\r\nX-canary-of-the-bot: canary-of-the-bot\0\r\n\r\ncanary-of-the-bot"


def serve(talk: Talk) -> None:
    """One sound answer, one broken one, by turns."""
    while talk.request() is not None:
        talk.send(_BROKEN if talk.number % 2 else OK)


def planted(raw: bytes) -> bytes:
    """The same request with canaries for its token, its path and its body, and more of them in its fields."""
    raw = raw.replace(TOKEN.encode(), CANARIES["the token"]).replace(b"wrong", CANARIES["a forged token"])
    raw = raw.replace(b" /w", b" /" + CANARIES["the path"]).replace(b"{}", b"{" + CANARIES["the body"] + b"}")
    return raw.replace(
        b"\r\nHost:", b"\r\nX-Canary-Name: canary-authorization\r\nAuthorization: canary-authorization\r\nHost:", 1
    )


def test_no_canary_gets_out(tmp_path: Path) -> None:
    """Every raw request of the collection, planted with canaries, leaves none in any answer, any log line, any metric."""
    secrets = [{"id": "first", "value": CANARIES["the token"].decode()}]
    path = "/" + CANARIES["the path"].decode()
    token = {"scheme": "token", "header": "X-Telegram-Bot-Api-Secret-Token"}
    routes = [{"name": "hook", "path": path, "secrets": secrets, "query": "pass", "rules": {"signature": token}}]
    limits = {"header_timeout": "200ms", "body_idle_timeout": "200ms", "body_timeout": "1s"}
    (tmp_path / "admin").write_bytes(CANARIES["the admin token"])
    admin = {"address": "127.0.0.1:0", "token": {"from_file": "admin"}}
    log = {"level": "debug"}
    answers = []
    with scripted(serve) as bot:
        file = tmp_path / "policy.yaml"
        url = f"http://127.0.0.1:{bot.port}"
        file.write_text(policy(url, routes=routes, limits=limits, log=log, admin=admin))
        raws = [planted(one.read_bytes()) for one in sorted(WIRE.glob("*/*.http"))]
        raws += [raw.replace(path.encode(), path.encode() + b"?a=canary-query") for raw in raws[:5]]
        with serving(file) as gate:
            for raw in raws:
                with Line(gate) as line, suppress(OSError):
                    line.send(raw).half_close()
                    answers.append(line.rest())
            file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
            pages = [gate.get("/metrics"), gate.get("/")]
            assert gate.stop() == 0
        shown = b"".join(answers) + "".join(pages).encode() + gate.output().encode()
    assert len(answers) > 200
    assert b'"reason":"signature_mismatch"' in shown and b'"reason":"upstream_protocol"' in shown
    told = [name for name, canary in CANARIES.items() if canary.lower() in shown.lower()]
    assert told == []
    assert all(json.loads(line) for line in gate.output().splitlines())
