"""What the metrics tell of each route of a policy besides its counts: its provider, its rules, its secrets' ids."""

from collections.abc import Iterable

from proxy.observe.metrics import RouteFacts, SecretFacts
from proxy.policy.reader import Loaded
from proxy.verdict import RuleName


def route_facts(loaded: Loaded) -> Iterable[RouteFacts]:
    """One for each route."""
    for route in loaded.policy.routes:
        rules = route.rules
        present = {
            RuleName.TRANSPORT: rules.transport,
            RuleName.IP: rules.ip,
            RuleName.RATE: route,  # whatever its rules: the budget of wrong credentials finds in its name
            RuleName.SIZE: rules.size,
            RuleName.CONTENT: rules.content,
            RuleName.SIGNATURE: rules.signature,
            RuleName.TIMESTAMP: rules.timestamp,
            RuleName.REPLAY: rules.replay,
            RuleName.SCHEMA: rules.json_schema,
        }
        secrets = tuple(SecretFacts(secret.id, secret.created) for secret in loaded.secrets.get(route.name, ()))
        yield RouteFacts(route.name, route.provider, tuple(name for name, rule in present.items() if rule is not None), secrets)
