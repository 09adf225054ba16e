"""What must hold for the store: a URL that can be read, passwords outside the policy, settings that fit the kind of store."""

from collections.abc import Iterator, Mapping
from pathlib import Path as Folder

from proxy.policy.document import Path
from proxy.policy.faults import Complaint
from proxy.policy.model import Policy
from proxy.policy.references import SecretSource
from proxy.policy.secrets import read_secret, weakness
from proxy.policy.store_settings import StoreSettings
from proxy.redis_url import Kind, RedisAccess, RedisUrl, is_redis, parse

_AT = ("store", "url")
_SENTINELS = ("sentinel_username", "sentinel_password")


def read_redis(
    written: Policy, ca_file: str | None, folder: Folder, environ: Mapping[str, str]
) -> tuple[RedisAccess | None, list[Complaint]]:
    """What opens the Redis of a policy, ``None`` where it has none, and what is wrong with its settings.

    ``written`` has its paths as they stand in the file, in ``folder``; ``ca_file`` is absolute.
    """
    store = written.store
    if not is_redis(store.url):
        usual = StoreSettings()
        named = [name for name, value in store if name != "url" and value != getattr(usual, name)]
        return None, [Complaint(("store", name), "is for redis:// stores", at_key=True) for name in named]
    try:
        url = parse(store.url)
    except ValueError as error:
        return None, [Complaint(_AT, str(error))]
    found = list(_complaints(store, url, inline=written.allow_inline_secrets))
    password = _read(store.password, ("store", "password"), folder, environ, found) or url.password
    sentinel = _read(store.sentinel_password, ("store", "sentinel_password"), folder, environ, found)
    access = RedisAccess(
        url._replace(username="", password=""),
        username=store.username or url.username,
        password=password,
        ca_file=ca_file,
        prefix=store.prefix,
        sentinel_username=store.sentinel_username or "",
        sentinel_password=sentinel,
    )
    if access.username and not password and not found:
        found.append(Complaint(_AT if url.username else ("store", "username"), "a user needs store.password too"))
    return access, found


def _complaints(store: StoreSettings, url: RedisUrl, *, inline: bool) -> Iterator[Complaint]:
    if url.password and not inline:
        message = "a password in the policy itself needs allow_inline_secrets: true at the top (demo and tests)"
        yield Complaint(_AT, f"{message}; say password: {{from_env: ...}} or {{from_file: ...}} beside it")
    for name, written in (("username", url.username), ("password", url.password)):
        if written and getattr(store, name) is not None:
            yield Complaint(("store", name), "stands in url too")
    if store.ca_file is not None and not url.tls:
        yield Complaint(("store", "ca_file"), "needs rediss://")
    for name in _SENTINELS:
        if getattr(store, name) is not None and url.kind is not Kind.SENTINEL:
            yield Complaint(("store", name), "needs redis+sentinel://")


def _read(source: SecretSource | None, at: Path, folder: Folder, environ: Mapping[str, str], found: list[Complaint]) -> str:
    if source is None:
        return ""
    try:
        value, _ = read_secret(source, folder, environ)
    except ValueError as error:
        found.append(Complaint(at, str(error)))
        return ""
    trouble = weakness(value)
    if trouble is not None and "repeated" not in trouble:  # how good it is, is the server's affair
        found.append(Complaint(at, f"the password {trouble}"))
    return value.decode("utf-8", "surrogateescape")
