"""The AuthenticationConfiguration: issuers of identity tokens, what their claims come to, and who may come as nobody.

Checked as upstream checks it (``apiserver/pkg/apis/apiserver/validation``), in its words. What a file names is kept as
``JWTSetting``; ``Issuer`` is the same, ready for use. Pure.
"""

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from kybern.apiserver.config_file import Setting, raw, read, require_none
from kybern.apiserver.identity import expressions
from kybern.apiserver.identity.expressions import CLAIMS, USER, Expression
from kybern.auth.oidc.keys import ALGORITHMS
from kybern.machinery import names
from kybern.machinery.causes import duplicate, invalid, required, too_many
from kybern.machinery.cel.source import CompileError
from kybern.machinery.errors import Cause

KIND = "AuthenticationConfiguration"
_MOST = 64  # issuers
_ANY = "MatchAny"
_RESERVED = ("k8s.io", "kubernetes.io")
_EMAIL = (
    "claims.email_verified must be used in claimMappings.username.expression or "
    "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in "
    "claimMappings.username.expression"
)


class IssuerSetting(Setting):
    url: str = ""
    discovery_url: str = msgspec.field(name="discoveryURL", default="")
    certificate_authority: str = ""
    audiences: tuple[str, ...] = ()
    audience_match_policy: str = ""
    egress_selector_type: str = ""


class ClaimRule(Setting):
    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class ClaimOrExpression(Setting):
    claim: str = ""
    expression: str = ""


class PrefixedClaim(Setting):
    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class ExtraMapping(Setting):
    key: str = ""
    value_expression: str = ""


class ClaimMappings(Setting):
    username: PrefixedClaim = PrefixedClaim()
    groups: PrefixedClaim = PrefixedClaim()
    uid: ClaimOrExpression = ClaimOrExpression()
    extra: tuple[ExtraMapping, ...] = ()


class UserRule(Setting):
    expression: str = ""
    message: str = ""


class JWTSetting(Setting):
    issuer: IssuerSetting = IssuerSetting()
    claim_validation_rules: tuple[ClaimRule, ...] = ()
    claim_mappings: ClaimMappings = ClaimMappings()
    user_validation_rules: tuple[UserRule, ...] = ()


class AnonymousCondition(Setting):
    path: str = ""


class AnonymousSetting(Setting):
    enabled: bool = False
    conditions: tuple[AnonymousCondition, ...] = ()


class File(Setting):
    kind: str = ""
    api_version: str = ""
    jwt: tuple[JWTSetting, ...] = ()
    anonymous: AnonymousSetting | None = None


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer, its expressions compiled. Expressions are None where a claim is named instead, or nothing."""

    setting: JWTSetting
    algorithms: tuple[str, ...]
    username: Expression | None
    groups: Expression | None
    uid: Expression | None
    extra: tuple[tuple[str, Expression], ...]
    claim_rules: tuple[Expression, ...]
    user_rules: tuple[Expression, ...]

    @property
    def url(self) -> str:
        return self.setting.issuer.url


def parse(content: bytes, disallowed: Sequence[str] = ()) -> File:
    """``disallowed``: issuers of this server's own tokens. Raises ``config_file.Invalid``."""
    file = read(content, KIND, File)
    check(file, disallowed)
    return file


def check(file: File, disallowed: Sequence[str] = ()) -> None:
    """Raises ``config_file.Invalid`` with everything that is wrong."""
    require_none(_causes(file, disallowed))


def issuer_of(setting: JWTSetting, algorithms: Sequence[str] = ALGORITHMS) -> Issuer:
    """Of a setting that was checked."""
    mappings = setting.claim_mappings
    return Issuer(
        setting,
        tuple(algorithms),
        _mapping(mappings.username.expression),
        _mapping(mappings.groups.expression),
        _mapping(mappings.uid.expression),
        tuple((one.key, expressions.mapping(one.value_expression)) for one in mappings.extra),
        tuple(
            expressions.condition(one.expression, CLAIMS, one.message)
            for one in setting.claim_validation_rules
            if one.expression
        ),
        tuple(
            expressions.condition(one.expression, USER, one.message) for one in setting.user_validation_rules
        ),
    )


def _mapping(source: str) -> Expression | None:
    return expressions.mapping(source) if source else None


def _causes(file: File, disallowed: Sequence[str]) -> Iterator[Cause]:
    if len(file.jwt) > _MOST:
        yield too_many("jwt", len(file.jwt), _MOST)
        return
    urls: set[str] = set()
    discoveries: set[str] = set()
    for number, one in enumerate(file.jwt):
        at = f"jwt[{number}]"
        yield from _issuer_causes(one.issuer, f"{at}.issuer", disallowed)
        yield from _claim_rules(one.claim_validation_rules, f"{at}.claimValidationRules")
        yield from _mappings(one, f"{at}.claimMappings")
        yield from _user_rules(one.user_validation_rules, f"{at}.userValidationRules")
        if one.issuer.url in urls:
            yield duplicate(f"{at}.issuer.url", one.issuer.url)
        if one.issuer.discovery_url in discoveries:
            yield duplicate(f"{at}.issuer.discoveryURL", one.issuer.discovery_url)
        urls.add(one.issuer.url)
        discoveries |= {one.issuer.discovery_url} - {""}
    anonymous = file.anonymous
    if anonymous is not None and not anonymous.enabled and anonymous.conditions:
        yield invalid(
            "anonymous.conditions",
            raw(anonymous.conditions),
            "enabled should be set to true when conditions are defined",
        )


def _issuer_causes(issuer: IssuerSetting, at: str, disallowed: Sequence[str]) -> Iterator[Cause]:
    if not issuer.url:
        yield required(f"{at}.url")
    else:
        yield from _url(issuer.url, f"{at}.url", disallowed)
    if discovery := issuer.discovery_url:
        if issuer.url and issuer.url.rstrip("/") == discovery.rstrip("/"):
            yield invalid(f"{at}.discoveryURL", discovery, "discoveryURL must be different from URL")
        yield from _url(discovery, f"{at}.discoveryURL", ())
    yield from _audiences(issuer, at)
    if issuer.certificate_authority and not _certificates(issuer.certificate_authority):
        yield invalid(
            f"{at}.certificateAuthority",
            "<omitted>",
            "data does not contain any valid RSA or ECDSA certificates",
        )
    if selector := issuer.egress_selector_type:
        known = selector in ("controlplane", "cluster")
        why = (
            f'oidc: egress lookup for "{selector}" is not configured'
            if known
            else "egress selector must be either controlplane or cluster"
        )
        yield invalid(f"{at}.egressSelectorType", selector, why)


def _url(text: str, at: str, disallowed: Sequence[str]) -> Iterator[Cause]:
    if text in disallowed:
        issuers = f"[{' '.join(sorted(disallowed))}]"
        yield invalid(at, text, f"URL must not overlap with disallowed issuers: {issuers}")
    try:
        found = urlsplit(text)
        _ = found.port
    except ValueError as problem:
        yield invalid(at, text, str(problem))
        return
    for wrong, why in (
        (found.scheme != "https", "URL scheme must be https"),
        ("@" in found.netloc, "URL must not contain a username or password"),
        (bool(found.query), "URL must not contain a query"),
        (bool(found.fragment), "URL must not contain a fragment"),
    ):
        if wrong:
            yield invalid(at, text, why)


def _audiences(issuer: IssuerSetting, at: str) -> Iterator[Cause]:
    place, policy = f"{at}.audiences", issuer.audience_match_policy
    if not issuer.audiences:
        yield required(place, f"at least one {place} is required")
        return
    known: set[str] = set()
    for number, audience in enumerate(issuer.audiences):
        if not audience:
            yield required(f"{place}[{number}]")
        if audience in known:
            yield duplicate(f"{place}[{number}]", audience)
        known.add(audience)
    if len(issuer.audiences) > 1 and policy != _ANY:
        why = "audienceMatchPolicy must be MatchAny for multiple audiences"
        yield invalid(f"{at}.audienceMatchPolicy", policy, why)
    if len(issuer.audiences) == 1 and policy not in ("", _ANY):
        why = "audienceMatchPolicy must be empty or MatchAny for single audience"
        yield invalid(f"{at}.audienceMatchPolicy", policy, why)


def _certificates(text: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _claim_rules(rules: Sequence[ClaimRule], at: str) -> Iterator[Cause]:
    claims: set[str] = set()
    sources: set[str] = set()
    for number, rule in enumerate(rules):
        place = f"{at}[{number}]"
        if rule.claim and rule.expression:
            yield invalid(place, rule.claim, "claim and expression can't both be set")
        elif rule.claim:
            if rule.message:
                yield invalid(f"{place}.message", rule.message, "may not be specified when claim is set")
            if rule.claim in claims:
                yield duplicate(f"{place}.claim", rule.claim)
            claims.add(rule.claim)
        elif rule.expression:
            if rule.required_value:
                why = "may not be specified when expression is set"
                yield invalid(f"{place}.requiredValue", rule.required_value, why)
            yield from _condition(rule.expression, CLAIMS, f"{place}.expression", sources)
        else:
            yield required(place, "claim or expression is required")


def _user_rules(rules: Sequence[UserRule], at: str) -> Iterator[Cause]:
    sources: set[str] = set()
    for number, rule in enumerate(rules):
        place = f"{at}[{number}].expression"
        if not rule.expression:
            yield required(place)
        else:
            yield from _condition(rule.expression, USER, place, sources)


def _condition(source: str, variable: str, at: str, known: set[str]) -> Iterator[Cause]:
    if source in known:
        yield duplicate(at, source)
        return
    known.add(source)
    try:
        expressions.condition(source, variable)
    except CompileError as problem:
        yield invalid(at, source, str(problem))


def _mappings(setting: JWTSetting, at: str) -> Iterator[Cause]:
    mappings = setting.claim_mappings
    yield from _prefixed(mappings.username, f"{at}.username", needed=True)
    yield from _prefixed(mappings.groups, f"{at}.groups", needed=False)
    if mappings.uid.claim and mappings.uid.expression:
        yield invalid(f"{at}.uid", "", "claim and expression can't both be set")
    elif mappings.uid.expression:
        yield from _mapping_causes(mappings.uid.expression, f"{at}.uid.expression")
    yield from _extra(mappings.extra, f"{at}.extra")
    sources = (
        mappings.username.expression,
        *(one.value_expression for one in mappings.extra),
        *(one.expression for one in setting.claim_validation_rules),
    )
    if _selects((mappings.username.expression,), "email") and not _selects(sources, "email_verified"):
        yield invalid(f"{at}.username.expression", mappings.username.expression, _EMAIL)


def _selects(sources: Sequence[str], claim: str) -> bool:
    """Whether one of the expressions uses a claim; those that do not compile use none."""
    for source in sources:
        try:
            if source and expressions.mapping(source).program.selects(CLAIMS, claim):
                return True
        except CompileError:
            continue
    return False


def _mapping_causes(source: str, at: str) -> Iterator[Cause]:
    try:
        expressions.mapping(source)
    except CompileError as problem:
        yield invalid(at, source, str(problem))


def _prefixed(one: PrefixedClaim, at: str, *, needed: bool) -> Iterator[Cause]:
    if one.expression and one.claim:
        yield invalid(at, "", "claim and expression can't both be set")
    elif one.expression:
        if one.prefix is not None:
            yield invalid(f"{at}.prefix", one.prefix, "may not be specified when expression is set")
        yield from _mapping_causes(one.expression, f"{at}.expression")
    elif one.claim:
        if one.prefix is None:
            why = (
                "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            )
            yield required(f"{at}.prefix", why)
    elif needed:
        yield required(at, "claim or expression is required")


def _extra(mappings: Sequence[ExtraMapping], at: str) -> Iterator[Cause]:
    known: set[str] = set()
    for number, one in enumerate(mappings):
        place = f"{at}[{number}]"
        yield from _key(one.key, f"{place}.key")
        if one.key in known:
            yield duplicate(f"{place}.key", one.key)
        elif not one.value_expression:
            yield required(f"{place}.valueExpression")
        else:
            yield from _mapping_causes(one.value_expression, f"{place}.valueExpression")
        known.add(one.key)


def _key(key: str, at: str) -> Iterator[Cause]:
    if not key:
        yield required(at)
    else:
        for problem in names.domain_path(key):
            yield invalid(at, key, problem)
    if key != key.lower():
        yield invalid(at, key, "must be lowercase")
    domain = key.partition("/")[0] if "/" in key else ""
    if any(domain == reserved or domain.endswith(f".{reserved}") for reserved in _RESERVED):
        why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
        yield invalid(at, key, why)
