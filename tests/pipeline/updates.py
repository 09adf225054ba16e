"""Genuine Telegram updates of generated variety: every type, every script and escape, every size."""

import json
import random
import string
from collections.abc import Iterator
from functools import cache

from proxy.policy.presets import preset

Update = dict[str, object]

ALPHABETS = (
    string.ascii_letters + string.digits + string.punctuation + " ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя ",
    "日本語中文漢字한국어ไทย",
    "😀🚀👩‍👩‍👧‍👦🏳️‍🌈🇺🇦👍🏿☺️",
    "\u202e\u05e2\u05d1\u05e8\u0639\u0631\u0628\u200f\u200d",
    '"\\/\b\f\n\r\t\x00\x1f\x7f\u2028\u2029\ufeff\uffff',
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢𐍈",
    "e\u0301a\u0308" * 3,
)
DECOYS = (
    '"update_id":1',
    "update_id",
    "update\\u005fid",
    "update\\\\u005fid",
    '{"update_id":2}',
    "\\u0022update_id\\u0022",
    "secret_token",
)
LARGEST = 512 * 1024
"""No larger update enters Telegram's queue."""


@cache
def types() -> tuple[str, ...]:
    """Every type of update that the preset names."""
    event = preset("telegram").route["event"]
    assert isinstance(event, tuple)
    return tuple(map(str, event))


def text(chance: random.Random, length: int) -> str:
    """Text of one or several scripts, now and then with something that looks like our own key."""
    pieces: list[str] = []
    while length > 0:
        if chance.random() < 0.02:
            piece = chance.choice(DECOYS)
        else:
            piece = "".join(chance.choices(chance.choice(ALPHABETS), k=min(length, chance.randint(1, 40))))
        pieces.append(piece)
        length -= len(piece)
    return "".join(pieces)


def person(chance: random.Random) -> Update:
    """Who sent it."""
    return {
        "id": chance.choice((1, 777000, chance.randrange(2**52))),
        "is_bot": chance.random() < 0.1,
        "first_name": text(chance, 12),
    }


def chat(chance: random.Random) -> Update:
    """Where it was sent; groups have ids below zero."""
    kind = chance.choice(("private", "group", "supergroup", "channel"))
    return {"id": chance.randrange(1, 2**52) * (1 if kind == "private" else -1), "type": kind, "title": text(chance, 20)}


def message(chance: random.Random, length: int) -> Update:
    """A message with its nested parts."""
    found: Update = {
        "message_id": chance.randrange(1, 2**31),
        "from": person(chance),
        "chat": chat(chance),
        "date": chance.randrange(0, 2**31),
        chance.choice(("text", "caption", "quote")): text(chance, length),
        "entities": [{"type": "bold", "offset": index, "length": 1} for index in range(chance.randrange(4))],
    }
    if chance.random() < 0.2:
        found["location"] = {"latitude": chance.uniform(-90, 90), "longitude": chance.uniform(-180, 180), "accuracy": 1e-05}
    if chance.random() < 0.2:
        found["reply_to_message"] = message(chance, length // 4)
    return found


def content(chance: random.Random, kind: str, length: int) -> object:
    """What stands under the type's key."""
    if kind.endswith(("message", "post")):
        return message(chance, length)
    found: Update = {"id": str(chance.randrange(2**63)), "from": person(chance), "data": text(chance, length)}
    if chance.random() < 0.3:
        found["message"] = message(chance, length // 2)
    if chance.random() < 0.2:
        found["update_id"] = chance.randrange(1000)
    if chance.random() < 0.2:
        found["big"] = chance.choice((2**53, 2**63, 2**64, -(2**63), 10**30, 1e308, 1e-300, 0.1, -0.0, True, None, [], {}))
    return found


def length_of(chance: random.Random) -> int:
    """Mostly short, seldom as long as they can be."""
    return int(chance.choices((40, 400, 4096, 20_000, LARGEST // 6), (600, 300, 90, 9, 1))[0] * chance.random())


def written(chance: random.Random, update_id: int, kind: str, inside: object) -> bytes:
    """As Telegram writes it (a line feed after the id, much of it escaped), or as any other JSON writer might."""
    style = chance.randrange(4)
    if style == 0:
        return json.dumps({"update_id": update_id, kind: inside}, ensure_ascii=True, indent=chance.choice((None, 1))).encode()
    if style == 1:
        return json.dumps({kind: inside, "update_id": update_id}, ensure_ascii=False, separators=(",", ":")).encode()
    rest = json.dumps(inside, ensure_ascii=style == 2, separators=(",", ":"))
    if style == 2:
        rest = rest.replace("/", "\\/")
    return f'{{"update_id":{update_id},\n"{kind}":{rest}}}'.encode()


def updates(seed: int, number: int) -> Iterator[bytes]:
    """So many different genuine updates; the same seed gives the same ones."""
    chance = random.Random(seed)  # noqa: S311 - of a test
    for index in range(number):
        kind = types()[index % len(types())] if chance.random() < 0.97 else f"type_of_next_year_{chance.randrange(9)}"
        body = written(chance, seed * 10**9 + index, kind, content(chance, kind, length_of(chance)))
        if len(body) <= LARGEST:
            yield body
