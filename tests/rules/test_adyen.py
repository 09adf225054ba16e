"""Adyen's payments signature: every item by itself, over eight fields, with one and the same key."""

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.verdict import Reason
from tests.pipeline.judging import Compiled, compiled, request

OK, MISSING, MALFORMED, MISMATCH = (
    Reason.NONE,
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_MALFORMED,
    Reason.SIGNATURE_MISMATCH,
)
KEY, NEXT = "00112233445566778899AABBCCDDEEFF" * 2, "ff" * 15 + "00" * 17
SIGNED = (
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "value",
    "currency",
    "eventCode",
    "success",
)


def item(signature: str | None = None, **changed: Any) -> dict[str, Any]:
    """A payment, signed unless a signature is given; a field that is None is left out."""
    fields: dict[str, Any] = {
        "pspReference": "881",
        "originalReference": "880",
        "merchantAccountCode": "Shop",
        "merchantReference": "order:1\\ü",
        "amount": {"value": 1999, "currency": "EUR"},
        "eventCode": "AUTHORISATION",
        "success": "true",
        "reason": "not signed",
        **changed,
    }
    found = {name: value for name, value in fields.items() if value is not None}
    return found if signature == "" else {**found, "additionalData": {"hmacSignature": signature or signed(found)}}


def signed(fields: dict[str, Any], key: str = KEY) -> str:
    """An item's signature, from its fields."""
    amount = fields.get("amount", {})
    texts = [fields.get(name, amount.get(name, "")) for name in SIGNED]
    message = ":".join(text if isinstance(text, str) else json.dumps(text) for text in texts)
    return base64.b64encode(hmac.digest(bytes.fromhex(key), message.encode(), "sha256")).decode()


def body(*items: Any, tight: bool = False) -> bytes:
    """A delivery of these items, with spaces between, or none."""
    listed = [{"NotificationRequestItem": one} for one in items]
    between = (",", ":") if tight else None
    return json.dumps({"live": "true", "notificationItems": listed}, ensure_ascii=False, separators=between).encode()


async def adyen(folder: Path, **route: Any) -> Compiled:
    """A gate with two keys."""
    secrets = [{"id": "now", "value": KEY}, {"id": "next", "value": NEXT}]
    rules = {"replay": {"mode": "off"}, **route.pop("rules", {})}
    return await compiled(folder, {"provider": "adyen", "secrets": secrets, "rules": rules, **route})


@pytest.mark.parametrize(
    "items",
    [
        [item()],
        [item(), item(pspReference="882")],
        [item(originalReference=None)],
        [item(amount=None, merchantReference=None)],
        [item(success=True)],
        [item(amount={"value": -5, "currency": "JPY"})],
        [item(pspReference=f"{number}") for number in range(1000)],
    ],
    ids=["one", "two", "no original", "a report has few fields", "a bare true", "a refund", "a thousand"],
)
async def test_signed(items: list[Any], tmp_path: Path) -> None:
    """Items pass when each is signed, absent fields being empty."""
    assert (await (await adyen(tmp_path)).judge(request(body(*items)))).reason is OK


@pytest.mark.parametrize(
    "field", ["pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success"]
)
@pytest.mark.parametrize("change", ["other", None, ""])
async def test_each_field_counts(field: str, change: str | None, tmp_path: Path) -> None:
    """Any signed field changed, taken away or emptied: refused, in the first item as in the second."""
    good = item()
    bad = item(good["additionalData"]["hmacSignature"], **{field: change})
    gate = await adyen(tmp_path)
    for items in ([bad], [bad, good], [good, bad]):
        assert (await gate.judge(request(body(*items)))).reason is MISMATCH


@pytest.mark.parametrize(
    "amount", [{"value": 1, "currency": "EUR"}, {"value": 1999, "currency": "USD"}, {"value": 19.99, "currency": "EUR"}, {}]
)
async def test_the_amount_counts(amount: dict[str, Any], tmp_path: Path) -> None:
    """The amount is signed by value and currency."""
    bad = item(item()["additionalData"]["hmacSignature"], amount=amount)
    assert (await (await adyen(tmp_path)).judge(request(body(bad)))).reason is MISMATCH


async def test_what_is_not_covered(tmp_path: Path) -> None:
    """Nothing else is signed; the policy's check says so, and this shows it."""
    other = item(item()["additionalData"]["hmacSignature"], reason="another", operations=["REFUND"])
    assert (await (await adyen(tmp_path)).judge(request(body(other)))).reason is OK


async def test_colons_move_nothing_that_is_signed_alone(tmp_path: Path) -> None:
    """Adyen joins with ':' and escapes nothing, so that a reference with a colon reads in two ways."""
    one, other = item(merchantAccountCode="a:b", merchantReference="c"), item(merchantAccountCode="a", merchantReference="b:c")
    assert one["additionalData"] == other["additionalData"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (body(), MISSING),
        (body(item("")), MISSING),
        (body({}), MISSING),
        (b"{}", MISSING),
        (b'{"notificationItems":{}}', MISSING),
        (b"[]", MISSING),
        (b"no JSON", MISSING),
        (b"", MISSING),
        (body(item(), item("")), MISMATCH),
        (body(item(), "no object"), MISMATCH),
        (body(item("!!!")), MISMATCH),
        (body(item(pspReference=["a"])), MISMATCH),
        (body(*[item(pspReference=f"{number}") for number in range(1001)]), MALFORMED),
    ],
)
async def test_shapes(sent: bytes, reason: Reason, tmp_path: Path) -> None:
    """No item, no signature, one item without: each is refused, and none breaks the rule."""
    assert (await (await adyen(tmp_path)).judge(request(sent))).reason is reason


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize(
    ("found", "doubled"),
    [
        (b'"value": 1999', b'"value": 1, "value": 1999'),
        (b'"success": "true"', b'"success": "false", "success": "true"'),
        (b'"success": "true"', b'"succes\\u0073": "false", "success": "true"'),
        (b'"amount"', b'"amount": {"value": 1}, "amount"'),
        (b'"notificationItems"', b'"notificationItems": [], "notificationItems"'),
        (b'"notificationItems"', b'"notification\\u0049tems": [], "notificationItems"'),
        (b'"NotificationRequestItem"', b'"NotificationRequestItem" : {}, "NotificationRequestItem"'),
        (b'"NotificationRequestItem"', b'"NotificationRequest\\u0049tem": {}, "NotificationRequestItem"'),
        (b'"NotificationRequestItem"', b'"NotificationRequestItem": {"success": "false"}, "NotificationRequestItem"'),
    ],
)
async def test_doubled_names(found: bytes, doubled: bytes, tight: bool, tmp_path: Path) -> None:
    """A signed field that stands twice is refused: the bot may read the one that is not signed."""
    sent, found = body(item(), tight=tight), found.replace(b" ", b"") if tight else found
    assert sent.count(found) == 1
    assert (await (await adyen(tmp_path)).judge(request(sent.replace(found, doubled)))).reason is MALFORMED


@pytest.mark.parametrize("count", [1, 2])
async def test_a_second_item_beside_one_that_is_written_tight(count: int, tmp_path: Path) -> None:
    """An item that stands there as it is written anew hides none beside it, in front of it or behind it."""
    gate = await adyen(tmp_path)
    good = body(*[item()] * count, tight=True)
    forged = b'"NotificationRequestItem":' + json.dumps(item(success="false"), separators=(",", ":")).encode()
    begin, end = b'"notificationItems":[{', b"}]}"
    assert good.endswith(end)
    assert (await gate.judge(request(good))).reason is OK
    assert (await gate.judge(request(good.replace(begin, begin + forged + b",")))).reason is MALFORMED
    assert (await gate.judge(request(good.removesuffix(end) + b"," + forged + end))).reason is MALFORMED


async def test_deep_nesting(tmp_path: Path) -> None:
    """What nobody signed may be nested as deep as JSON may be here."""
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    sent = body(item(reason=deep), tight=True)
    assert (await (await adyen(tmp_path)).judge(request(sent))).reason is OK


async def test_words_that_only_look_doubled(tmp_path: Path) -> None:
    """Signed names among unsigned values, and escaped letters, refuse nothing."""
    gate = await adyen(tmp_path)
    odd = item(reason='"success" "success"', shopperReference={"success": 1, "value": 2})
    assert (await gate.judge(request(body(odd)))).reason is OK
    assert (await gate.judge(request(body(odd).replace(b"Shop", b"Sh\\u006fp")))).reason is OK


async def test_one_key_for_all(tmp_path: Path) -> None:
    """While keys change either one counts, for all items of a delivery together."""
    gate = await adyen(tmp_path)
    new = item(signed(item(""), NEXT))
    found = await gate.judge(request(body(new, new)))
    assert (found.reason, found.judgement.secret) == (OK, "next")
    assert (await gate.judge(request(body(item(), new)))).reason is MISMATCH


async def test_missing_may_pass(tmp_path: Path) -> None:
    """Where a missing signature is neutral, an item that is not signed among those that are is still refused."""
    gate = await adyen(tmp_path, rules={"signature": {"when_missing": "pass"}})
    assert (await gate.judge(request(body(item(""))))).reason is OK
    assert (await gate.judge(request(body(item(), item(""))))).reason is MISMATCH


async def test_a_delivery_is_known_by_what_is_signed(tmp_path: Path) -> None:
    """Who repeats a request with other unsigned bytes, or its items anew, brings nothing that was not delivered."""
    gate = await compiled(tmp_path, {"provider": "adyen", "secrets": [{"id": "s", "value": KEY}]})
    first, second = item(), item(pspReference="882")

    async def judged(sent: bytes) -> Reason:
        found = await gate.judge(request(sent))
        if found.reason is OK:
            await gate.gate.settle(found.permit.reserved, delivered=True)
        return found.reason

    assert await judged(body(first)) is OK
    for again in (body(first), body(first) + b" ", body({**first, "reason": "forged"}), body(first, first)):
        assert await judged(again) is Reason.REPLAY_DUPLICATE
    assert await judged(body(second, first)) is OK
    twice = body(first).replace(b'"additionalData"', b'"additionalData": {"a": 1}, "additionalData"')
    assert await judged(twice) not in {OK, Reason.REPLAY_DUPLICATE}
