"""From an address of the policy to a listening socket."""

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Final

from proxy.errors import StartError
from proxy.policy.endpoints import Endpoint

BACKLOG: Final = 2048


def bind(address: Endpoint, unix_mode: int = 0o660) -> socket.socket:
    """A listening socket, or a ``StartError`` that names the remedy. ``unix_mode`` says who may use a unix socket."""
    try:
        if address.path:
            return _bind_unix(Path(address.path), unix_mode)
        family, kind, proto, _, bound = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.host == "::" else 1)
        try:
            sock.bind(bound)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {_remedy(error, address)}") from None
    return sock


def _remedy(error: OSError, address: Endpoint) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there: end it or choose another address"
    why = (error.strerror or str(error)).lower()
    if address.path:
        return f"{why}: make {os.path.dirname(address.path)} a folder that this user may write to, or choose another address"
    return {
        errno.EADDRNOTAVAIL: "no interface of this machine has this address: use 0.0.0.0 or one of its own",
        errno.EACCES: "ports below 1024 need a privilege: choose a higher one or grant CAP_NET_BIND_SERVICE",
    }.get(error.errno or 0, f"{why}: choose another address")


def _bind_unix(path: Path, mode: int) -> socket.socket:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.exists() and not path.is_socket():
        # Somebody's: it is not ours to remove.
        raise StartError(f"cannot listen on unix:{path}: a file that is no socket has this name: move it away")
    sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            # What a dead process left behind; a live one would have answered.
            path.unlink(missing_ok=True)
        else:
            sock.close()
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    sock.bind(str(path))
    path.chmod(mode)
    sock.listen(BACKLOG)
    return sock
