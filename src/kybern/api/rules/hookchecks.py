"""Webhooks and admission policies: which requests they are for, whom they ask, what they may answer.

Expressions are compiled here to tell what is wrong with them, and by the admission plugins that run them.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from kybern.api.rules import expressions, ports
from kybern.api.rules.causes import (
    all_invalid,
    duplicate,
    invalid,
    not_supported,
    one_of,
    required,
)
from kybern.api.rules.formats import dns1035, qualified_name, subdomain
from kybern.api.rules.labels import selector
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_VERSIONS = ("v1", "v1beta1")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
FAILURES = ("Fail", "Ignore")
MATCHES = ("Equivalent", "Exact")
_EFFECTS = ("None", "NoneOnDryRun")
_URL = "desired format: https://host[/path]"


def webhooks(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    """Of both kinds; only those that change requests have a policy of reinvocation."""
    names: set[str] = set()
    for i, hook in enumerate(new.get("webhooks") or ()):
        at = f"webhooks[{i}]"
        yield from _webhook(at, hook)
        yield from _calls(at, hook)
        if hook.get("reinvocationPolicy"):
            choices = ("IfNeeded", "Never")
            yield from one_of(f"{at}.reinvocationPolicy", hook["reinvocationPolicy"], choices)
        name = hook.get("name", "")
        if name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)


def _name(field: str, name: str) -> Iterator[Cause]:
    if not name:
        yield required(field)
        return
    yield from all_invalid(field, name, subdomain(name))
    if len(name.split(".")) < 3:
        yield invalid(field, name, "should be a domain with at least three segments separated by dots")


def _webhook(field: str, hook: Raw) -> Iterator[Cause]:
    yield from _name(f"{field}.name", hook.get("name", ""))
    for j, rule in enumerate(hook.get("rules") or ()):
        yield from rule_with_operations(f"{field}.rules[{j}]", rule)
    if hook.get("failurePolicy"):
        yield from one_of(f"{field}.failurePolicy", hook["failurePolicy"], FAILURES)
    if hook.get("matchPolicy"):
        yield from one_of(f"{field}.matchPolicy", hook["matchPolicy"], MATCHES)
    effects = hook.get("sideEffects")
    if effects is None:
        yield required(f"{field}.sideEffects", "must specify one of None, NoneOnDryRun")
    else:
        yield from one_of(f"{field}.sideEffects", effects, _EFFECTS)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        yield invalid(f"{field}.timeoutSeconds", seconds, text)
    for key in ("namespaceSelector", "objectSelector"):
        yield from selector(f"{field}.{key}", hook.get(key))


def _calls(field: str, hook: Raw) -> Iterator[Cause]:
    client = hook.get("clientConfig") or {}
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        yield required(f"{field}.clientConfig", "exactly one of url or service is required")
    elif url is not None:
        yield from webhook_url(f"{field}.clientConfig.url", url)
    elif service is not None:
        yield from webhook_service(f"{field}.clientConfig.service", service)
    yield from _reviews(f"{field}.admissionReviewVersions", hook.get("admissionReviewVersions") or [])
    yield from match_conditions(f"{field}.matchConditions", hook.get("matchConditions") or [])


def _reviews(field: str, versions: list[str]) -> Iterator[Cause]:
    if not versions:
        yield required(field, "must specify one of v1, v1beta1")
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            yield invalid(f"{field}[{i}]", version, "duplicate version")
    if not set(versions) & set(_VERSIONS):
        yield invalid(field, versions, "must include at least one of v1, v1beta1")


def webhook_url(field: str, url: str) -> Iterator[Cause]:
    """Where a webhook is called directly: over TLS, and nothing but host and path."""
    try:
        found = urlsplit(url)
    except ValueError as wrong:
        yield required(field, f"url must be a valid URL: {wrong}; {_URL}")
        return
    if found.scheme != "https":
        yield invalid(field, found.scheme, f"'https' is the only allowed URL scheme; {_URL}")
    if not found.hostname:
        yield invalid(field, found.netloc, f"host must be specified; {_URL}")
    if "@" in found.netloc:
        yield invalid(field, found.netloc.rpartition("@")[0], "user information is not permitted in the URL")
    if found.fragment:
        yield invalid(field, found.fragment, "fragments are not permitted in the URL")
    if found.query:
        yield invalid(field, found.query, "query parameters are not permitted in the URL")


def webhook_service(field: str, service: Raw) -> Iterator[Cause]:
    for key in ("name", "namespace"):
        if not service.get(key):
            yield required(f"{field}.{key}")
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        yield invalid(f"{field}.port", port, "port is not valid: must be between 1 and 65535, inclusive")
    path = service.get("path")
    if path:
        yield from _service_path(f"{field}.path", path)


def _service_path(field: str, path: str) -> Iterator[Cause]:
    if path == "/":
        return
    if not path.startswith("/"):
        yield invalid(field, path, "must start with a '/'")
    segments = path[1:].removesuffix("/").split("/")
    for i, segment in enumerate(segments):
        if not segment:
            yield invalid(field, path, f"segment[{i}] may not be empty")
        else:
            for text in subdomain(segment):
                yield invalid(field, path, f"segment[{i}]: {text}")


def _wildcards(field: str, found: list[str], what: str) -> Iterator[Cause]:
    if not found:
        yield required(field)
    elif len(found) > 1 and "*" in found:
        yield invalid(field, found, f"if '*' is present, must not specify other {what}")


def rule_with_operations(field: str, rule: Raw, operations: tuple[str, ...] = _OPERATIONS) -> Iterator[Cause]:
    found = rule.get("operations") or []
    yield from _wildcards(f"{field}.operations", found, "operations")
    for i, operation in enumerate(found):
        if operation not in operations:
            yield not_supported(f"{field}.operations[{i}]", operation, operations)
    yield from _wildcards(f"{field}.apiGroups", rule.get("apiGroups") or [], "API groups")
    yield from _wildcards(f"{field}.apiVersions", rule.get("apiVersions") or [], "API versions")
    yield from _resources(f"{field}.resources", rule.get("resources") or [])
    scope = rule.get("scope")
    if scope is not None:
        yield from one_of(f"{field}.scope", scope, _SCOPES)


def _resources(field: str, found: list[str]) -> Iterator[Cause]:
    if not found:
        yield required(field)
    for i, resource in enumerate(found):
        if not resource:
            yield required(f"{field}[{i}]")
    if len(found) > 1 and "*/*" in found:
        yield invalid(field, found, "if '*/*' is present, must not specify other resources")
    elif "*" in found and any("/" not in resource for resource in found if resource != "*"):
        text = "if '*' is present, must not specify other resources without subresources"
        yield invalid(field, found, text)


def match_conditions(field: str, found: list[Raw], *, params: bool = False) -> Iterator[Cause]:
    names: set[str] = set()
    scope = expressions.Scope(params)
    if len(found) > 64:
        yield Cause(field, "FieldValueTooMany", f"Too many: {len(found)}: must have at most 64 items")
    for i, condition in enumerate(found):
        at, name = f"{field}[{i}]", condition.get("name", "")
        if not condition.get("expression", "").strip():
            yield required(f"{at}.expression")
        text = condition.get("expression", "").strip()
        yield from expressions.problems(f"{at}.expression", text, scope, expressions.MUST_BE_TRUE)
        if not name:
            yield required(f"{at}.name")
        else:
            yield from all_invalid(f"{at}.name", name, qualified_name(name))
        if name and name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)


def api_service(new: Raw, _old: Raw | None) -> Iterator[Cause]:
    """A group and version, and who answers for it."""
    spec, name = new.get("spec") or {}, (new.get("metadata") or {}).get("name", "")
    group, version = spec.get("group", ""), spec.get("version", "")
    if name and name != f"{version}.{group}":
        yield invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{version}.{group}"')
    if not group and version != "v1":
        yield required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    if group:
        yield from all_invalid("spec.group", group, subdomain(group))
    yield from all_invalid("spec.version", version, dns1035(version))
    for key, limit in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
        value = spec.get(key, 0)
        if not 0 < value <= limit:
            yield invalid(f"spec.{key}", value, f"must be positive and less than {limit}")
    service = spec.get("service")
    if service is not None:
        yield from _served(spec, service)
    elif spec.get("insecureSkipTLSVerify"):
        yield invalid(
            "spec.insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify"
        )


def _served(spec: Raw, service: Raw) -> Iterator[Cause]:
    for key in ("namespace", "name"):
        if not service.get(key):
            yield required(f"spec.service.{key}")
    yield from ports.number("spec.service.port", service.get("port", 443))
    if spec.get("caBundle") and spec.get("insecureSkipTLSVerify"):
        text = "may not be true if caBundle is present"
        yield invalid("spec.insecureSkipTLSVerify", True, text)
