"""On the way to a bot that knows one secret alone, whichever token matched is replaced by that one; all else stays as it came."""

from collections.abc import Awaitable
from typing import Protocol

from proxy.messages import Reply, Request
from proxy.pipeline.gate import Permit
from proxy.pipeline.schemes import head_rule
from proxy.policy.model import Route
from proxy.policy.reader import Loaded
from proxy.policy.secrets import Secret
from proxy.policy.signatures import TokenSignature
from proxy.policy.upstream_secrets import token_header
from proxy.rules.base import HeadRule
from proxy.verdict import Pass


class Forwarder(Protocol):
    """What sends a permitted request to a bot."""

    def forward(self, permit: Permit) -> Awaitable[Reply]:
        """Send it, and give the bot's reply."""


class Translation:
    """``proof`` is the route's token rule: it is asked again, because a permit of report mode proves nothing."""

    def __init__(self, onward: Forwarder, proof: HeadRule, header: str, prefix: str, known: Secret) -> None:
        self._onward = onward
        self._proof = proof
        self._header = header.encode()
        self._value = prefix.encode() + known.reveal()

    def forward(self, permit: Permit) -> Awaitable[Reply]:
        """SECURITY: the bot's secret is written where one of the route's own stood, and nowhere else."""
        request = permit.request
        head = request.head
        verdict = self._proof.check(head)
        if isinstance(verdict, Pass) and verdict.secret:
            pairs = zip(head.names, head.fields, strict=True)
            fields = tuple((field[0], self._value) if name == self._header else field for name, field in pairs)
            # What is kept of a head that recurs was made for its own fields.
            permit = permit._replace(request=Request(head._replace(fields=fields, kept=None), request.body, request.sender))
        return self._onward.forward(permit)


def translated(onward: Forwarder, route: Route, loaded: Loaded) -> Forwarder:
    """The way to a route's bot; where the bot knows a secret of its own, past what writes that one."""
    known, header, signature = loaded.upstream_secrets.get(route.name), token_header(route), route.rules.signature
    proof = head_rule(signature, loaded.secrets.get(route.name, ()))
    if known is None or header is None or proof is None or not isinstance(signature, TokenSignature):
        return onward
    return Translation(onward, proof, header, signature.prefix, known)
