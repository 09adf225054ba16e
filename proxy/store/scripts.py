"""What the server does in one step, in Lua: settle, renew and take over a reservation only where it is still the one meant.

Each script has one key, so that each runs on one node of a Cluster. All times are milliseconds of the server's own clock.
"""

import hashlib
from typing import Final


class Script:
    """A script; its calls are packed but for the arguments."""

    def __init__(self, source: str) -> None:
        body = source.strip().encode()
        self.load: Final[tuple[bytes, ...]] = (b"SCRIPT", b"LOAD", body)
        self._sha = hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()
        self._heads: dict[int, bytes] = {}

    def pack(self, key: bytes, *arguments: bytes) -> bytes:
        """The command that runs it; the server must have loaded it."""
        head = self._heads.get(len(arguments))
        if head is None:
            words = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n" % self._sha
            head = self._heads[len(arguments)] = b"*%d\r\n%b" % (4 + len(arguments), words)
        return b"%b$%d\r\n%b\r\n%b" % (
            head,
            len(key),
            key,
            b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in arguments]),
        )


CONFIRM = Script("""
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
"""(reservation, what remembers the delivery, its window): 1 when it is remembered. An emptied store learns it again."""

RELEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")
"""(reservation): 1 when it was still there."""

RENEW = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")
"""(reservation, lease and window): 1 when it was still there."""

TAKE_OVER = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local left = redis.call('PTTL', KEYS[1]) - tonumber(ARGV[2])
if left > 0 then return left end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 0
""")
"""(reservation, its window, ours, lease and window): 0 when it is ours now, what is left of its lease, or -1 when it is gone."""

RATE = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due = tonumber(redis.call('GET', KEYS[1]) or 0)
if due < now then due = now end
local most = now + tonumber(ARGV[1]) + tonumber(ARGV[2])
if due > most then due = most end
local wait = due - now - tonumber(ARGV[2])
if wait > 0 then return wait end
due = due + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
return 0
""")
"""(interval, slack), both in microseconds: 0 when it may pass, else the microseconds to wait.

What is further ahead than counting can bring it was counted by a slower rate, before a reload.
"""

LOADS: Final = tuple(script.load for script in (CONFIRM, RELEASE, RENEW, TAKE_OVER, RATE))
"""The commands that make the scripts known to a server."""
