"""The IP rule: which networks a client may come from. It proves nobody: addresses are shared and lists go stale."""

from typing import Final

from proxy.messages import Head
from proxy.networks import Address, NetworkSet
from proxy.policy.model import IpRule
from proxy.rules.base import answer_of
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict

_REMEMBERED: Final = 4096


class Ip:
    """``allow`` and ``deny`` are the policy's lists with presets spelled out; an empty ``allow`` admits everybody."""

    name: Final = RuleName.IP

    def __init__(self, settings: IpRule, allow: NetworkSet, deny: NetworkSet) -> None:
        self._allow = allow
        self._deny = deny
        self._denied = Fail(Reason.IP_DENIED, answer_of(settings))
        self._known: dict[str, Verdict] = {}

    def check(self, head: Head) -> Verdict:
        """Judges the client past trusted proxies, never a bare header."""
        verdict = self._known.get(head.client.text)
        if verdict is None:
            verdict = self._judge(head.client)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[head.client.text] = verdict
        return verdict

    def _judge(self, client: Address) -> Verdict:
        if self._deny and client in self._deny:
            return self._denied
        return PASS if not self._allow or client in self._allow else self._denied
