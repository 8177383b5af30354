"""What is shown of objects that are being written."""

from kybern.api.core_v1 import PersistentVolume
from kybern.api.meta_v1 import ObjectMeta
from kybern.scheduler.objects import Objects


def volume(version: str, uid: str = "u", **labels: str) -> PersistentVolume:
    return PersistentVolume(metadata=ObjectMeta(name="v", uid=uid, resource_version=version, labels=labels))


def shown(objects: Objects) -> PersistentVolume | None:
    return objects.get(PersistentVolume, "v")


OLD, GOING = volume("5"), volume("5", going="on")


def test_what_is_assumed_ends_with_the_next_word_of_the_server() -> None:
    objects = Objects()
    objects.set(OLD)
    objects.assume(GOING)
    objects.set(OLD)
    assert (shown(objects), objects.said(PersistentVolume, "v")) == (GOING, OLD)

    objects.set(volume("6"))

    assert shown(objects) == volume("6")


def test_what_is_held_is_shown_until_it_is_written_and_seen() -> None:
    objects = Objects()
    objects.set(OLD)
    objects.hold(GOING)
    objects.set(volume("6"))
    assert shown(objects) == GOING
    assert objects.said(PersistentVolume, "v") == volume("6")
    assert objects.is_held(GOING)

    written = volume("8", going="on")
    objects.written(written)
    objects.set(volume("7"))
    assert shown(objects) == written
    assert not objects.is_held(written)

    objects.set(volume("9"))
    assert shown(objects) == volume("9")


def test_what_the_watch_brought_before_the_answer_came_stays() -> None:
    objects = Objects()
    objects.set(OLD)
    objects.hold(GOING)
    objects.set(volume("9"))

    objects.written(volume("8", going="on"))

    assert shown(objects) == volume("9")


def test_what_is_held_and_given_back_is_what_the_server_said_last() -> None:
    objects = Objects()
    objects.set(OLD)
    objects.hold(GOING)
    objects.set(volume("6"))
    before = objects.version

    objects.restore(PersistentVolume, "v")

    assert shown(objects) == volume("6")
    assert objects.version > before
    objects.written(volume("8"))
    assert shown(objects) == volume("6"), "nothing is held any more"


def test_an_object_may_be_held_that_is_not_there_yet() -> None:
    objects = Objects()
    objects.hold(GOING)
    assert shown(objects) == GOING
    assert objects.said(PersistentVolume, "v") is None

    objects.restore(PersistentVolume, "v")
    assert shown(objects) is None

    objects.hold(GOING)
    objects.set(volume("6"))
    assert shown(objects) == GOING


def test_another_object_of_the_name_or_its_end_is_shown_at_once() -> None:
    objects = Objects()
    objects.set(OLD)
    objects.hold(GOING)
    objects.set(volume("6", uid="other"))
    assert shown(objects) == volume("6", uid="other")

    objects.hold(GOING)
    objects.remove(volume("7", uid="other"))
    assert shown(objects) is None
    objects.restore(PersistentVolume, "v")
    assert shown(objects) is None
