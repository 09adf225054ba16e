"""The IP rule: which networks a client may come from. It proves nobody: addresses are shared and lists go stale."""

from typing import Final

from proxy.messages import Head
from proxy.networks import NetworkSet
from proxy.policy.model import IpRule
from proxy.rules.base import answer_of
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict


class Ip:
    """``allow`` and ``deny`` are the policy's lists with presets spelled out; an empty ``allow`` admits everybody."""

    name: Final = RuleName.IP

    def __init__(self, settings: IpRule, allow: NetworkSet, deny: NetworkSet) -> None:
        self._allow = allow
        self._deny = deny
        self._denied = Fail(Reason.IP_DENIED, answer_of(settings))

    def check(self, head: Head) -> Verdict:
        """Judges the client past trusted proxies, never a bare header."""
        if self._deny and head.client in self._deny:
            return self._denied
        return PASS if not self._allow or head.client in self._allow else self._denied
