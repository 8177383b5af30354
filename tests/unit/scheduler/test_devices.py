"""Devices for claims: what a node sees of pools, what selectors say, and which devices a search finds."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kybern.api.core_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.resource_v1 import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    CapacityRequirements,
    CELDeviceSelector,
    Counter,
    CounterSet,
    Device,
    DeviceAttribute,
    DeviceCapacity,
    DeviceClaim,
    DeviceClaimConfiguration,
    DeviceClass,
    DeviceClassConfiguration,
    DeviceClassSpec,
    DeviceConstraint,
    DeviceCounterConsumption,
    DeviceRequest,
    DeviceSelector,
    DeviceSubRequest,
    DeviceTaint,
    DeviceToleration,
    ExactDeviceRequest,
    OpaqueDeviceConfiguration,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from kybern.machinery.struct import replace
from kybern.scheduler.devices.allocate import NotHere, Search, TooHard
from kybern.scheduler.devices.capacity import consumed
from kybern.scheduler.devices.pools import gather
from kybern.scheduler.devices.results import results
from kybern.scheduler.devices.selectors import Selectors, Unclear
from kybern.scheduler.devices.taken import Taken
from kybern.scheduler.devices.wishes import Unfulfillable
from tests.unit.scheduler.making import node

DRIVER = "gpu.example.com"
HERE = node("here")


def selector(expression: str) -> DeviceSelector:
    return DeviceSelector(cel=CELDeviceSelector(expression=expression))


GPU = DeviceClass(
    metadata=ObjectMeta(name="gpu"),
    spec=DeviceClassSpec(
        selectors=(selector(f'device.driver == "{DRIVER}"'),),
        config=(
            DeviceClassConfiguration(opaque=OpaqueDeviceConfiguration(driver=DRIVER, parameters={"a": 1})),
        ),
    ),
)


def device(name: str, **more: Any) -> Device:
    """Keywords that are no fields of a Device are attributes: numbers and texts."""
    fields = {key: more.pop(key) for key in list(more) if key in Device.__struct_fields__}
    attributes = {
        key: DeviceAttribute(int_=one) if isinstance(one, int) else DeviceAttribute(string=one)
        for key, one in more.items()
    }
    return Device(name=name, attributes=attributes, **fields)


def slice_of(
    *devices: Device, name: str = "s", pool: str = "p", generation: int = 1, of: int = 1, **spec: Any
) -> ResourceSlice:
    where = spec or {"node_name": "here"}
    found = ResourceSliceSpec(
        driver=DRIVER,
        pool=ResourcePool(name=pool, generation=generation, resource_slice_count=of),
        devices=devices,
        **where,
    )
    return ResourceSlice(metadata=ObjectMeta(name=name, resource_version="1"), spec=found)


def exactly(name: str = "r", count: int = 1, *expressions: str, **more: Any) -> DeviceRequest:
    selectors = tuple(map(selector, expressions))
    one = ExactDeviceRequest(
        device_class_name="gpu", allocation_mode="ExactCount", count=count, selectors=selectors, **more
    )
    return DeviceRequest(name=name, exactly=one)


def everything(name: str = "r") -> DeviceRequest:
    return DeviceRequest(
        name=name, exactly=ExactDeviceRequest(device_class_name="gpu", allocation_mode="All")
    )


def claim(
    *requests: DeviceRequest, name: str = "c", constraints: tuple[DeviceConstraint, ...] = (), **more: Any
) -> ResourceClaim:
    devices = DeviceClaim(requests=requests, constraints=constraints, **more)
    return ResourceClaim(
        metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"),
        spec=ResourceClaimSpec(devices=devices),
    )


def search(slices: Sequence[ResourceSlice], *claims: ResourceClaim, taken: Taken | None = None) -> Search:
    return Search(claims, HERE, gather(slices), taken or Taken(), {"gpu": GPU}.get, Selectors())


def found(
    slices: Sequence[ResourceSlice], *claims: ResourceClaim, taken: Taken | None = None
) -> list[str] | None:
    """The devices, in the order of wishes."""
    choices = search(slices, *claims, taken=taken).run()
    return None if choices is None else [one.offer.device.name for one in choices]


def taken_by(slices: Sequence[ResourceSlice], *claims: ResourceClaim, before: Taken | None = None) -> Taken:
    """What is taken once these claims have what they ask for."""
    choices = search(slices, *claims, taken=before).run()
    assert choices is not None
    all_taken = before or Taken()
    for one in results(claims, choices, HERE, lambda: "share"):
        all_taken.add(one)
    return all_taken


def hostname(operator: str) -> NodeSelector:
    one = NodeSelectorRequirement(key="kubernetes.io/hostname", operator=operator, values=("here",))
    return NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(one,)),))


def span(low: str, high: str = "", step: str = "", default: str = "2Gi") -> CapacityRequestPolicy:
    return CapacityRequestPolicy(
        default=default, valid_range=CapacityRequestPolicyRange(min=low, max=high, step=step)
    )


class TestPools:
    def test_the_first_free_device_is_taken(self) -> None:
        slices = [slice_of(device("a"), device("b"))]
        before = taken_by(slices, claim(exactly()))

        assert found(slices, claim(exactly())) == ["a"]
        assert found(slices, claim(exactly()), taken=before) == ["b"]
        assert found(slices, claim(exactly(count=2)), taken=before) is None

    def test_slices_of_an_older_generation_are_out_of_date(self) -> None:
        slices = [slice_of(device("old"), name="a"), slice_of(device("new"), name="b", generation=2)]

        assert found(slices, claim(exactly())) == ["new"]

    @pytest.mark.parametrize(
        ("where", "usable"),
        [
            ({"node_name": "here"}, True),
            ({"node_name": "there"}, False),
            ({"all_nodes": True}, True),
            ({"node_selector": hostname("In")}, True),
            ({"node_selector": hostname("NotIn")}, False),
            ({"per_device_node_selection": True}, False),
        ],
    )  # fmt: skip
    def test_a_node_sees_what_it_can_use(self, where: dict[str, Any], usable: bool) -> None:
        assert (found([slice_of(device("a"), **where)], claim(exactly())) is not None) is usable

    def test_devices_may_say_themselves_where_they_are(self) -> None:
        slices = [
            slice_of(
                device("far", node_name="there"),
                device("near", node_name="here"),
                per_device_node_selection=True,
            )
        ]

        assert found(slices, claim(exactly())) == ["near"]

    def test_all_devices_are_taken_or_none(self) -> None:
        slices = [slice_of(device("a"), device("b"))]

        assert found(slices, claim(everything())) == ["a", "b"]
        assert found(slices, claim(everything()), taken=taken_by(slices, claim(exactly()))) is None
        assert found([slice_of()], claim(everything())) is None

    def test_all_of_an_incomplete_pool_cannot_be_told(self) -> None:
        slices = [slice_of(device("a"), of=2)]

        assert found(slices, claim(exactly())) == ["a"]
        with pytest.raises(NotHere, match="resource pool is currently being updated"):
            found(slices, claim(everything()))

    def test_a_pool_with_a_device_twice_is_invalid(self) -> None:
        with pytest.raises(NotHere, match="invalid resource pools"):
            found([slice_of(device("a"), device("a"))], claim(exactly()))


class TestSelectors:
    ONE = device("a", model="big", memory=80, capacity={"mem": DeviceCapacity(value="80Gi")})

    @pytest.mark.parametrize(
        ("expression", "matches"),
        [
            (f'device.attributes["{DRIVER}"].model == "big"', True),
            (f'device.attributes["{DRIVER}"].memory > 100', False),
            (f'device.capacity["{DRIVER}"].mem.compareTo(quantity("40Gi")) >= 0', True),
            ('"model" in device.attributes["other.example.com"]', False),
            ('device.allowMultipleAllocations', False),
            (f'cel.bind(own, device.attributes["{DRIVER}"], own.memory > 50 && own.model == "big")', True),
        ],
    )  # fmt: skip
    def test_they_decide(self, expression: str, matches: bool) -> None:
        wanted = claim(exactly("r", 1, expression))

        assert (found([slice_of(self.ONE)], wanted) is not None) is matches

    def test_one_that_cannot_be_told_says_so(self) -> None:
        with pytest.raises(Unclear, match="no such key: nothing"):
            found([slice_of(self.ONE)], claim(exactly("r", 1, f'device.attributes["{DRIVER}"].nothing == 1')))

    def test_versions_are_compared_as_versions(self) -> None:
        one = Device(name="a", attributes={"v": DeviceAttribute(version="1.10.0")})
        newer = f'device.attributes["{DRIVER}"].v.isGreaterThan(semver("1.9.0"))'

        assert found([slice_of(one)], claim(exactly("r", 1, newer))) == ["a"]

    def test_a_changed_slice_is_asked_anew(self) -> None:
        selectors, wanted = Selectors(), claim(exactly("r", 1, f'device.attributes["{DRIVER}"].memory > 100'))
        small, big = slice_of(self.ONE), slice_of(device("a", memory=160))
        big = replace(big, metadata=replace(big.metadata, resource_version="2"))

        for offered, expected in ((small, None), (big, ["a"])):
            choices = Search([wanted], HERE, gather([offered]), Taken(), {"gpu": GPU}.get, selectors).run()
            chosen = None if choices is None else [one.offer.device.name for one in choices]
            assert chosen == expected


class TestWishes:
    SLICES = (
        slice_of(
            device("a", model="x", numa=0), device("b", model="y", numa=0), device("c", model="y", numa=1)
        ),
    )

    def test_a_missing_class_is_named(self) -> None:
        wanted = DeviceRequest(name="r", exactly=ExactDeviceRequest(device_class_name="none", count=1))

        with pytest.raises(Unfulfillable, match="request r: device class none does not exist"):
            found(self.SLICES, claim(wanted))

    def test_the_first_alternative_that_works_is_taken(self) -> None:
        def sub(name: str, model: str, count: int) -> DeviceSubRequest:
            return DeviceSubRequest(
                name=name, device_class_name="gpu", count=count, allocation_mode="ExactCount",
                selectors=(selector(f'device.attributes["{DRIVER}"].model == "{model}"'),),
            )  # fmt: skip

        wanted = claim(DeviceRequest(name="r", first_available=(sub("two", "x", 2), sub("one", "y", 1))))
        choices = search(self.SLICES, wanted).run()

        assert choices is not None
        assert [(one.wish.name, one.offer.device.name) for one in choices] == [("r/one", "b")]

    def test_what_has_to_match_makes_the_search_go_back(self) -> None:
        same = DeviceConstraint(match_attribute=f"{DRIVER}/model", requests=("r",))

        assert found(self.SLICES, claim(exactly("r", 2), constraints=(same,))) == ["b", "c"]
        assert found(self.SLICES, claim(exactly("r", 3), constraints=(same,))) is None

    def test_what_has_to_differ(self) -> None:
        apart = DeviceConstraint(distinct_attribute=f"{DRIVER}/numa")

        assert found(self.SLICES, claim(exactly("r", 2), constraints=(apart,))) == ["a", "c"]

    def test_a_constraint_binds_the_requests_that_it_names(self) -> None:
        same = DeviceConstraint(match_attribute=f"{DRIVER}/model", requests=("one", "two"))
        wanted = claim(exactly("other"), exactly("one"), exactly("two"), constraints=(same,))

        assert found(self.SLICES, wanted) == ["a", "b", "c"]

    def test_several_claims_do_not_share_a_device(self) -> None:
        assert found(self.SLICES, claim(exactly(count=2), name="1"), claim(exactly(), name="2")) == [
            "a",
            "b",
            "c",
        ]
        assert (
            found(self.SLICES, claim(exactly(count=2), name="1"), claim(exactly(count=2), name="2")) is None
        )

    def test_an_administrator_gets_what_others_have(self) -> None:
        everyone = taken_by(self.SLICES, claim(everything()))

        assert found(self.SLICES, claim(exactly(admin_access=True)), taken=everyone) == ["a"]

    def test_taints_keep_off_who_does_not_tolerate_them(self) -> None:
        taint = DeviceTaint(key="broken", effect="NoSchedule")
        slices = [
            slice_of(device("a", taints=(taint,)), device("b", taints=(replace(taint, effect="None"),)))
        ]
        tolerant = exactly(tolerations=(DeviceToleration(key="broken", operator="Exists"),))

        assert found(slices, claim(exactly())) == ["b"]
        assert found(slices, claim(tolerant)) == ["a"]

    def test_a_search_without_an_end_is_given_up(self) -> None:
        many = [slice_of(*(device(f"d{number}", numa=number) for number in range(30)))]
        same = DeviceConstraint(match_attribute=f"{DRIVER}/numa", requests=("z",))
        wanted = claim(exactly("r", 12), exactly("z", 2), constraints=(same,))

        with pytest.raises(TooHard, match="timed out trying to allocate devices"):
            found(many, wanted)


class TestShares:
    def parts(self, **amounts: int) -> tuple[DeviceCounterConsumption, ...]:
        counters = {name: Counter(value=str(amount)) for name, amount in amounts.items()}
        return (DeviceCounterConsumption(counter_set="chip", counters=counters),)

    def test_parts_of_one_chip_cost_what_it_has(self) -> None:
        chip = CounterSet(name="chip", counters={"slots": Counter(value="4")})
        devices = [device(f"d{n}", consumes_counters=self.parts(slots=n)) for n in (3, 2, 1)]
        slices = [
            slice_of(*devices, of=2),
            slice_of(name="t", of=2, node_name="here", shared_counters=(chip,)),
        ]

        assert found(slices, claim(exactly(count=2))) == ["d3", "d1"]
        assert found(slices, claim(exactly(count=3))) is None
        assert found(slices, claim(exactly()), taken=taken_by(slices, claim(exactly()))) == ["d1"]

    def shared(self, policy: CapacityRequestPolicy | None = None) -> Device:
        return device(
            "a",
            allow_multiple_allocations=True,
            capacity={"mem": DeviceCapacity(value="10Gi", request_policy=policy)},
        )

    def test_a_shared_device_is_given_until_it_is_used_up(self) -> None:
        policy = CapacityRequestPolicy(
            default="4Gi", valid_range=CapacityRequestPolicyRange(min="1Gi", step="1Gi")
        )
        slices, taken = [slice_of(self.shared(policy))], Taken()
        for _ in range(2):
            taken = taken_by(slices, claim(exactly()), before=taken)

        assert found(slices, claim(exactly()), taken=taken) is None
        little = exactly(capacity=CapacityRequirements(requests={"mem": "1500Mi"}))
        choices = search(slices, claim(little), taken=taken).run()
        assert choices is not None
        assert {name: str(one) for name, one in (choices[0].share or {}).items()} == {"mem": "2Gi"}

    @pytest.mark.parametrize(
        ("policy", "asked", "taken"),
        [
            (None, None, "10Gi"),
            (None, "1Gi", "10Gi"),
            (CapacityRequestPolicy(default="2Gi"), None, "2Gi"),
            (CapacityRequestPolicy(default="2Gi"), "3Gi", "3Gi"),
            (CapacityRequestPolicy(default="1Gi", valid_values=("1Gi", "4Gi")), "2Gi", "4Gi"),
            (CapacityRequestPolicy(default="1Gi", valid_values=("1Gi", "4Gi")), "5Gi", None),
            (span("2Gi"), "1Gi", "2Gi"),
            (span("2Gi", "4Gi"), "5Gi", None),
            (span("1Gi", step="3Gi"), "2Gi", "4Gi"),
        ],
    )  # fmt: skip
    def test_what_a_wish_takes(
        self, policy: CapacityRequestPolicy | None, asked: str | None, taken: str | None
    ) -> None:
        amounts = consumed(self.shared(policy), {"mem": asked} if asked else {}, DRIVER)

        assert (None if amounts is None else str(amounts["mem"])) == taken

    def test_one_s_own_device_has_to_have_as_much_as_is_asked(self) -> None:
        one = device("a", capacity={"mem": DeviceCapacity(value="10Gi")})

        assert consumed(one, {f"{DRIVER}/mem": "8Gi"}, DRIVER) is not None
        assert consumed(one, {"mem": "11Gi"}, DRIVER) is None
        assert consumed(one, {"cores": "1"}, DRIVER) is None


class TestResults:
    def test_they_say_what_was_chosen_and_where_it_can_be_used(self) -> None:
        own = OpaqueDeviceConfiguration(driver=DRIVER, parameters={"b": 2})
        tolerations = (DeviceToleration(operator="Exists"),)
        wanted = claim(
            exactly(tolerations=tolerations),
            config=(
                DeviceClaimConfiguration(requests=("r",), opaque=own),
                DeviceClaimConfiguration(requests=("other",), opaque=own),
            ),
        )
        choices = search([slice_of(device("a"))], wanted).run()
        assert choices is not None
        (one,) = results([wanted], choices, HERE, lambda: "never asked")

        assert one.devices is not None
        (result,) = one.devices.results
        assert (result.request, result.driver, result.pool, result.device) == ("r", DRIVER, "p", "a")
        assert (result.tolerations, result.share_id, result.admin_access) == (tolerations, "", None)
        assert [(part.source, part.requests) for part in one.devices.config] == [
            ("FromClass", ("r",)),
            ("FromClaim", ("r",)),
        ]
        assert one.node_selector is not None
        (field,) = one.node_selector.node_selector_terms[0].match_fields
        assert (field.key, field.values) == ("metadata.name", ("here",))

    def test_devices_of_all_nodes_bind_to_none(self) -> None:
        wanted = claim(exactly())
        choices = search([slice_of(device("a"), all_nodes=True)], wanted).run()
        assert choices is not None

        assert results([wanted], choices, HERE, str)[0].node_selector is None

    def test_what_an_allocated_claim_has_is_taken(self) -> None:
        slices, wanted = [slice_of(device("a"))], claim(exactly())
        choices = search(slices, wanted).run()
        assert choices is not None
        (one,) = results([wanted], choices, HERE, str)
        allocated = replace(wanted, status=ResourceClaimStatus(allocation=one))

        assert found(slices, wanted, taken=Taken.by([allocated])) is None
        assert found(slices, wanted, taken=Taken.by([wanted])) == ["a"]

    def test_devices_that_are_ready_come_before_those_that_have_to_be_made_so(self) -> None:
        later = replace(device("a"), binding_conditions=("Attached",), binding_failure_conditions=("Broken",))
        slices = [slice_of(later, name="s1", pool="a"), slice_of(device("b"), name="s2", pool="b")]

        assert found(slices, claim(exactly())) == ["b"]
        assert found(slices, claim(exactly("r", 2))) == ["b", "a"]

    def test_what_a_device_needs_before_binding_is_in_the_result(self) -> None:
        needs = replace(
            device("a"),
            binding_conditions=("Attached",),
            binding_failure_conditions=("Broken",),
            binds_to_node=True,
        )
        wanted = claim(exactly())
        choices = search([slice_of(needs, all_nodes=True)], wanted).run()
        assert choices is not None
        (one,) = results([wanted], choices, HERE, str)

        assert one.devices is not None
        (result,) = one.devices.results
        assert (result.binding_conditions, result.binding_failure_conditions) == (("Attached",), ("Broken",))
        assert one.node_selector is not None
        ((field,),) = [term.match_fields for term in one.node_selector.node_selector_terms]
        assert (field.key, field.values) == ("metadata.name", ("here",))


models = st.lists(st.sampled_from("xyz"), min_size=0, max_size=5)
wanted_models = st.lists(st.sampled_from("xyz*"), min_size=1, max_size=4)


@given(models, wanted_models, st.booleans())
def test_a_way_is_found_whenever_there_is_one(have: list[str], want: list[str], together: bool) -> None:
    """Against all ways of giving devices to requests."""
    slices = [slice_of(*(device(f"d{number}", model=model) for number, model in enumerate(have)))]
    requests = [
        exactly(
            f"r{number}", 1, *([] if model == "*" else [f'device.attributes["{DRIVER}"].model == "{model}"'])
        )
        for number, model in enumerate(want)
    ]
    same = (DeviceConstraint(match_attribute=f"{DRIVER}/model"),) if together else ()

    def works(given_models: tuple[str, ...]) -> bool:
        fits = all(wish in ("*", model) for wish, model in zip(want, given_models, strict=True))
        return fits and (not together or len(set(given_models)) == 1)

    possible = any(
        works(tuple(have[at] for at in order)) for order in permutations(range(len(have)), len(want))
    )
    chosen = found(slices, claim(*requests, constraints=same))

    assert (chosen is not None) is possible
    if chosen is not None:
        assert len(set(chosen)) == len(want)
        assert works(tuple(have[int(name[1:])] for name in chosen))
