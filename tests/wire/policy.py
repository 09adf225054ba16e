"""The policy that the raw requests of this folder meet: one guarded path, and some unguarded ones that only forward."""

_GUARDED = """\
    secrets: [{id: first, value: a-secret-of-thirty-two-bytes-0123}]
    rules:
      size: {max: 1MiB}
      signature: {scheme: token, header: X-Telegram-Bot-Api-Secret-Token}
"""

_PATHS = {"hook": "/w", "dots": "/x/../y", "percent": "/a%2fb%41", "slashes": "//x"}

POLICY = """\
version: 1
allow_inline_secrets: true
listen: {address: 127.0.0.1:0}
observe: {address: 127.0.0.1:0}
store: {url: "memory:"}
upstream: {url: "http://127.0.0.1:BOT", timeout: 5s}
routes:
  - {name: open, path: /open, query: pass, methods: [GET, HEAD, POST], insecure: true}
""" + "".join(f"  - name: {name}\n    path: {path}\n{_GUARDED}" for name, path in _PATHS.items())


def policy(bot: int) -> str:
    """The policy in front of a bot on this port."""
    return POLICY.replace("BOT", str(bot))
