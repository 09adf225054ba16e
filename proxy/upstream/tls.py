"""TLS towards the bot: verified against an authority, and against pinned keys where the policy has some."""

import asyncio
import base64
import hashlib
import ssl

from proxy.policy.model import UpstreamSettings
from proxy.rules.transport import spki


def upstream_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """TLS 1.2 or higher, the bot's name and chain checked; ``ca_file`` replaces the system's authorities."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def verify_pins(transport: asyncio.Transport, pins: tuple[str, ...]) -> None:
    """Close and raise ``ssl.SSLError`` when none of the pins (SHA-256 of the SPKI, RFC 7469) fits."""
    if not pins:
        return
    encrypted = transport.get_extra_info("ssl_object")
    found = base64.b64encode(hashlib.sha256(spki(encrypted.getpeercert(True))).digest()).decode()
    if f"sha256/{found}" not in pins:
        transport.abort()
        raise ssl.SSLError("the bot's key is none of the pinned ones")
