"""What webhooks and admission policies share: rules of resources, match constraints, parameters."""

from kybern.machinery.kind import Raw


def default_rules(rules: list[Raw] | None) -> None:
    for rule in rules or ():
        if not rule.get("scope"):
            rule["scope"] = "*"


def default_match(match: Raw) -> None:
    """Which requests a policy is for: everything in every namespace, unless it says less."""
    if not match.get("matchPolicy"):
        match["matchPolicy"] = "Equivalent"
    for key in ("namespaceSelector", "objectSelector"):
        match.setdefault(key, {})
    for key in ("resourceRules", "excludeResourceRules"):
        default_rules(match.get(key))


def default_webhook(hook: Raw) -> None:
    for key, value in (("failurePolicy", "Fail"), ("matchPolicy", "Equivalent")):
        if not hook.get(key):
            hook[key] = value
    for key in ("namespaceSelector", "objectSelector"):
        hook.setdefault(key, {})
    if hook.get("timeoutSeconds") is None:
        hook["timeoutSeconds"] = 10
    default_rules(hook.get("rules"))
    default_port(hook.setdefault("clientConfig", {}).get("service"))


def default_port(service: Raw | None) -> None:
    """A service that the API server calls answers on 443, unless it says otherwise."""
    if service is not None and service.get("port") is None:
        service["port"] = 443


def default_policy(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    if not spec.get("failurePolicy"):
        spec["failurePolicy"] = "Fail"
    if spec.get("matchConstraints") is not None:
        default_match(spec["matchConstraints"])


def default_binding(raw: Raw) -> None:
    match = raw.setdefault("spec", {}).get("matchResources")
    if match is not None:
        default_match(match)
