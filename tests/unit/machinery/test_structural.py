"""Schemas of custom kinds: the shape they give, the values they want, and what they must be like themselves."""

from typing import Any

import pytest

from kybern.machinery.structural import definition, shape, unique, values
from kybern.machinery.structural.formats import fits
from kybern.machinery.structural.node import build

Raw = dict[str, Any]


def said(value: Any, schema: Raw) -> list[tuple[str, str]]:
    return [(cause.field, cause.message) for cause in values.validate(value, schema)]


def of(**properties: Any) -> Raw:
    return {"type": "object", "properties": properties}


def test_what_the_schema_does_not_know_goes() -> None:
    schema = build(
        of(
            kept={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"in": of()}},
            list={"type": "array", "items": of(a={"type": "string"})},
            map={"type": "object", "additionalProperties": {"type": "integer"}},
            inner={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {}},
        )
    )
    value = {
        "apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "stray": 1,
        "kept": {"any": 1, "in": {"no": 1}},
        "list": [{"a": "b"}, {"b": 1}],
        "map": {"x": 1},
        "inner": {"apiVersion": "v1", "kind": "I", "metadata": {}, "no": 1},
    }  # fmt: skip
    assert shape.prune(value, schema, root=True) == ["inner.no", "kept.in.no", "list[1].b", "stray"]
    assert value["kept"] == {"any": 1, "in": {}}
    assert value["inner"] == {"apiVersion": "v1", "kind": "I", "metadata": {}}


def test_nulls_stay_only_where_they_are_values_and_defaults_come_in_their_place() -> None:
    schema = build(
        of(
            plain={"type": "string"},
            nullable={"type": "string", "nullable": True, "default": "n"},
            default={"type": "string", "default": "d"},
            nested={"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 7}}},
        )
    )
    value: Raw = {"plain": None, "nullable": None, "default": None}
    shape.drop_nulls(value, schema)
    shape.fill(value, schema)
    assert value == {"nullable": None, "default": "d", "nested": {"x": 7}}
    assert schema.properties["nested"].default == {}


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "string"}, 5, 'Invalid value: "integer": a in body must be of type string: "integer"'),
        ({"type": "integer"}, 1.5, 'Invalid value: "number": a in body must be of type integer: "number"'),
        ({"type": "string"}, None, 'Invalid value: "null": a in body must be of type string: "null"'),
        ({"x-kubernetes-int-or-string": True}, True,
         'Invalid value: "boolean": a in body must be of type integer,string: "boolean"'),
        ({"type": "string", "minLength": 2}, "x", 'Invalid value: "x": a in body should be at least 2 chars long'),
        ({"type": "string", "maxLength": 2}, "xyz", "Too long: may not be more than 2 bytes"),
        ({"type": "string", "pattern": "^b"}, "a", "Invalid value: \"a\": a in body should match '^b'"),
        ({"type": "string", "format": "ipv4"}, "a", 'Invalid value: "a": a in body must be of type ipv4: "a"'),
        ({"type": "string", "enum": ["x", "y"]}, "z", 'Unsupported value: "z": supported values: "x", "y"'),
        ({"type": "integer", "minimum": 1}, 0, "Invalid value: 0: a in body should be greater than or equal to 1"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0,
         "Invalid value: 0: a in body should be greater than 0"),
        ({"type": "number", "multipleOf": 0.5}, 0.3, "Invalid value: 0.3: a in body should be a multiple of 0.5"),
        ({"type": "array", "minItems": 1}, [], "Invalid value: 0: a in body should have at least 1 items"),
        ({"type": "array", "maxItems": 1}, [1, 2], "Too many: 2: must have at most 1 items"),
        ({"type": "object", "minProperties": 1}, {}, "Invalid value: 0: a in body should have at least 1 properties"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_in_upstreams_words(schema: Raw, value: Any, message: str) -> None:
    assert said({"a": value}, of(a=schema)) == [("a", message)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 5.0), ({"type": "number"}, 5), ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "5%"), ({"type": "string", "format": "nobody-knows"}, "x"),
        ({"type": "number", "multipleOf": 0.1}, 0.3),
    ],
)  # fmt: skip
def test_a_right_value_is_not_complained_about(schema: Raw, value: Any) -> None:
    assert said({"a": value}, of(a=schema)) == []


def test_when_no_alternative_fits_the_closest_one_says_why() -> None:
    schema = {
        **of(p={"type": "string"}, q={"type": "string"}),
        "oneOf": [{"required": ["p"]}, {"required": ["q"]}],
    }
    assert said({}, schema) == [
        ("<nil>", 'Invalid value: "": "" must validate one and only one schema (oneOf). Found none valid'),
        ("p", "Required value"),
    ]
    both = '"" must validate one and only one schema (oneOf). Found 2 valid alternatives'
    assert said({"p": "", "q": ""}, schema) == [("<nil>", f'Invalid value: "": {both}')]
    assert said({"p": ""}, schema) == []


def test_what_did_not_change_is_not_checked_again() -> None:
    schema = of(list={
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": of(k={"type": "string"}, v={"type": "integer", "maximum": 3}),
    })  # fmt: skip
    old = {"list": [{"k": "a", "v": 9}, {"k": "b", "v": 9}]}
    new = {"list": [{"k": "b", "v": 9}, {"k": "a", "v": 8}]}
    assert [cause.field for cause in values.validate(new, schema, old=old)] == ["list[1].v"]


def test_sets_and_maps_have_no_item_twice() -> None:
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port"],
        "items": of(),
    }
    found = unique.lists({"a": [{"port": 1}, {"port": 1, "x": 2}]}, build(of(a=keyed)))
    assert [(cause.field, cause.message) for cause in found] == [("a[1]", 'Duplicate value: {"port":1}')]


@pytest.mark.parametrize(
    ("schema", "field", "message"),
    [
        ({"type": "string", "default": 5}, "default",
         'Invalid value: "integer":  in body must be of type string: "integer"'),
        ({"type": "object", "default": {"x": 1}, "properties": {}}, "default",
         'Invalid value: {"x":1}: must not have unknown fields'),
        ({}, "type", "Required value: must not be empty for specified object fields"),
        ({"type": "array"}, "items", "Required value: must be specified"),
        ({"$ref": "#/x"}, "$ref", "Forbidden: $ref is not supported"),
        ({"type": "string", "anyOf": [{"type": "string"}]}, "anyOf[0].type", "Forbidden: must be empty to be structural"),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}, "items.type",
         'Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map'),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": False}, "x-kubernetes-preserve-unknown-fields",
         "Invalid value: false: must be true or undefined"),
        ({"type": "string", "pattern": "("}, "pattern",
         'Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: missing closing ): `(`'),
    ],
)  # fmt: skip
def test_a_bad_schema_is_refused(schema: Raw, field: str, message: str) -> None:
    found = definition.check(of(a=schema), "s")
    assert (f"s.properties[a].{field}", message) in [(cause.field, cause.message) for cause in found]


def test_keys_of_a_map_are_properties_of_its_items() -> None:
    schema = of(
        a={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": of(),
        },
        b={"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
    )
    found = [(cause.field, cause.message) for cause in definition.check(schema, "s")]
    wrong = 'Invalid value: ["k"]: entries must all be names of item properties'
    assert found == [
        ("s.properties[a].x-kubernetes-list-map-keys", wrong),
        ("s.properties[b].items", "Required value: must be specified"),
        ("s.properties[b].items", "Required value: must have a schema if x-kubernetes-list-type is map"),
    ]


def test_alternatives_may_only_speak_of_what_the_structure_has() -> None:
    found = definition.check(
        {**of(a={"type": "string"}), "allOf": [{"properties": {"b": {"minLength": 1}}}]}, "s"
    )
    assert [(cause.field, cause.message) for cause in found] == [
        ("s.properties[b]", "Required value: because it is defined in s.allOf[0].properties[b]")
    ]


def test_a_good_schema_is_not_complained_about() -> None:
    schema = of(
        metadata=of(name={"type": "string", "pattern": "^a"}),
        ios={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        any={"x-kubernetes-preserve-unknown-fields": True},
        nested={"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 1}}},
    )
    assert definition.check(schema, "s") == []
    assert list(definition.warnings(of(a={"type": "string", "format": "bogus"}))) == [
        'unrecognized format "bogus"'
    ]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("ipv6", "::1", "1.2.3.4"), ("cidr", "10.0.0.0/8", "10.0.0.1"), ("date-time", "2020-01-02T03:04:05Z", "2020"),
        ("date", "2020-01-02", "2020-1-2"), ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"), ("byte", "YQ==", "a"),
        ("hostname", "a.example", "-a"),
        ("email", "a@b.c", "a"), ("duration", "1h", "x"), ("mac", "01:23:45:67:89:ab", "01"),
        ("isbn10", "0321751043", "0321751041"), ("isbn13", "978-0321751041", "978-0321751042"), ("hexcolor", "#fff", "#ff"),
        ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"), ("uri", "http://a/b", "a b"),
    ],
)  # fmt: skip
def test_texts_fit_their_format(name: str, good: str, bad: str) -> None:
    assert fits(name, good)
    assert not fits(name, bad)
