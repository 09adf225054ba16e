"""Freshness: both bounds to the millisecond, and no number that only looks like a time."""

from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Field
from proxy.rules.timestamp import parse
from proxy.verdict import Reason
from tests.pipeline.judging import NOW, compiled, request

OK, MISSING, MALFORMED = Reason.NONE, Reason.TIMESTAMP_MISSING, Reason.TIMESTAMP_MALFORMED
EXPIRED, FUTURE = Reason.TIMESTAMP_EXPIRED, Reason.TIMESTAMP_FUTURE


async def judged(folder: Path, rule: dict[str, Any], fields: list[Field], arrived: float, body: bytes = b"{}") -> Reason:
    """What a gate with this timestamp rule finds."""
    gate = await compiled(folder, {"insecure": True, "rules": {"timestamp": rule}})
    return (await gate.judge(request(body, fields, arrived=arrived))).reason


def stamp(offset: float, unit: str) -> bytes:
    """A timestamp so many seconds from NOW."""
    return b"%d" % (NOW + offset) if unit == "s" else b"%d" % ((NOW + offset) * 1000)


EDGES: list[tuple[str, float, float, Reason]] = [
    ("s", 0, 0, OK),
    ("s", -300, 0, OK),
    ("s", -300, 0.999, OK),
    ("s", -301, 0, EXPIRED),
    ("s", -301, 0.999, EXPIRED),
    ("s", 60, 0, OK),
    ("s", 61, 0, FUTURE),
    ("s", 61, 0.999, FUTURE),
    ("ms", -300, 0, OK),
    ("ms", -300.001, 0, EXPIRED),
    ("ms", -300, 0.25, EXPIRED),
    ("ms", 60, 0, OK),
    ("ms", 60.001, 0, FUTURE),
    ("ms", 60.25, 0.25, OK),
]


@pytest.mark.parametrize(("unit", "offset", "late", "reason"), EDGES)
async def test_edges(unit: str, offset: float, late: float, reason: Reason, tmp_path: Path) -> None:
    """Exactly the tolerance passes, one unit more does not; a stamp in whole seconds is measured against our whole second."""
    rule = {"header": "X-Time", "unit": unit, "tolerance": "300s", "future": "60s"}
    assert await judged(tmp_path, rule, [(b"x-time", stamp(offset, unit))], NOW + late) is reason


MALFORMEDS = [
    b"x", b"-1", b"+1767225600", b" 1767225600", b"1767225600 ", b"1767225600.0", b"1.7e9", b"0x69559640", b"1_767_225_600",
    b"17672256000000000", b"9" * 4000, "١٧٦٧٢٢٥٦٠٠".encode(), b"\xff", b"1767225600,1767225600", b"2026-01-01T00:00:00Z", b"nan",
    b"inf", b"1767225600\n", b"1767225600\0",
]  # fmt: skip


@pytest.mark.parametrize("value", MALFORMEDS)
@pytest.mark.parametrize("unit", ["s", "ms"])
async def test_malformed_numbers(unit: str, value: bytes, tmp_path: Path) -> None:
    """Only one to sixteen ASCII digits are a number of seconds or milliseconds."""
    assert await judged(tmp_path, {"header": "X-Time", "unit": unit}, [(b"X-Time", value)], NOW) is MALFORMED


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"1767225600000", FUTURE), (b"1767225", EXPIRED), (b"0", EXPIRED), (b"9999999999999999", FUTURE), (b"0001767225600", OK)],
)
async def test_wrong_units(value: bytes, reason: Reason, tmp_path: Path) -> None:
    """Milliseconds where seconds belong are far ahead, and the other way round long gone."""
    assert await judged(tmp_path, {"header": "X-Time"}, [(b"X-Time", value)], NOW) is reason


@pytest.mark.parametrize("fields", [[], [(b"X-Time", b"")], [(b"X-Time", b"1767225600")] * 2, [(b"X-Times", b"1767225600")]])
async def test_missing(fields: list[Field], tmp_path: Path) -> None:
    """Absent, empty and doubled are all no timestamp."""
    assert await judged(tmp_path, {"header": "X-Time"}, fields, NOW) is MISSING


RFC3339: list[tuple[bytes, float | None]] = [
    (b"2026-01-01T00:00:00Z", NOW),
    (b"2026-01-01t00:00:00z", NOW),
    (b"2026-01-01T01:00:00+01:00", NOW),
    (b"2025-12-31T16:30:00-07:30", NOW),
    (b"2026-01-01T00:00:00.5Z", NOW + 0.5),
    (b"2026-01-01T00:00:00.1234567Z", NOW + 0.1234567),
    (b"2026-01-01T00:00:00.12345678Z", NOW + 0.12345678),
    (b"2026-01-01T00:00:00.123456789Z", NOW + 0.123456789),
    (b"2026-01-01T00:00:00.999999999999Z", NOW + 1),
    (b"2024-02-29T00:00:00Z", 1709164800.0),
    (b"2026-02-29T00:00:00Z", None),
    (b"2026-01-01T24:00:00Z", None),
    (b"2026-01-01T00:60:00Z", None),
    (b"2026-13-01T00:00:00Z", None),
    (b"2026-01-01T00:00:00", None),
    (b"2026-01-01T00:00Z", None),
    (b"2026-01-01 00:00:00Z", None),
    (b"20260101T000000Z", None),
    (b"2026-W01-4T00:00:00Z", None),
    (b"2026-01-01T00:00:00.Z", None),
    (b"2026-01-01T00:00:00,5Z", None),
    (b"2026-01-01T00:00:00+0100", None),
    (b"2026-01-01T00:00:00+24:00", None),
    (b"2026-01-01T00:00:00+01", None),
    (b"0000-01-01T00:00:00Z", None),
    (b"0001-01-01T00:00:00+23:59", -62135683140.0),
    (b"9999-12-31T23:59:59-23:59", 253402387139.0),
    (b"+2026-01-01T00:00:00Z", None),
    (b"2026-01-01T00:00:00Z\n", None),
    ("٢٠٢٦-01-01T00:00:00Z".encode(), None),
    (b"1767225600", None),
    (b"\xff", None),
    (b"2026-01-01T00:00:00.1234567890123Z", None),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "moment"), RFC3339)
def test_rfc3339(raw: bytes, moment: float | None) -> None:
    """RFC 3339 with any zone and up to twelve fraction digits is read; all else, every other ISO 8601 form too, is not."""
    found = parse(raw, "rfc3339")
    assert found == (moment if moment is None else pytest.approx(moment, abs=1e-6))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"2025-12-31T23:55:00Z", OK),
        (b"2025-12-31T23:54:59.999Z", EXPIRED),
        (b"2026-01-01T00:05:00.000Z", OK),
        (b"2026-01-01T00:05:00.001Z", FUTURE),
    ],
)
async def test_rfc3339_edges(value: bytes, reason: Reason, tmp_path: Path) -> None:
    """Both bounds hold for written times as well."""
    assert await judged(tmp_path, {"header": "X-Time", "unit": "rfc3339"}, [(b"X-Time", value)], NOW) is reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"t":1767225600}', OK),
        (b'{"t":"1767225600"}', OK),
        (b'{"t":1767225600.0}', MISSING),
        (b'{"t":null}', MISSING),
        (b'{"t":true}', MALFORMED),
        (b'{"t":-5}', MALFORMED),
        (b"{", MISSING),
        (b'{"t":1}', EXPIRED),
    ],
)
async def test_in_the_body(body: bytes, reason: Reason, tmp_path: Path) -> None:
    """A timestamp in the body is read as a whole number or a string of digits."""
    assert await judged(tmp_path, {"source": "json:/t"}, [], NOW, body) is reason
