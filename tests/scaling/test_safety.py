"""What a server or a keeper that fails in the middle leaves: nothing twice, nothing lost, and a true journal."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_capacity.emulator.kubernetes.api import Cluster
from pytest_capacity.errors import JournalError, KubeDBError
from pytest_capacity.scaling.kubedb.client import Unanswered
from tests.scaling.conftest import Killed, Lab, spec_of, volume_sizes

OPS = "mongodbopsrequests"


def test_a_field_that_the_server_loses_is_an_error(lab: Lab) -> None:
    """With other definitions than ours a request means nothing: it is taken back, and the message names the field."""
    kind = lab.served.cluster.kinds["ops.kubedb.com", OPS]
    section = kind.schema["properties"]["spec"]["properties"]["horizontalScaling"]["properties"]
    known = section.pop("replicas")
    try:
        with pytest.raises(KubeDBError, match=r"without spec\.horizontalScaling\.replicas, so it would not do"):
            lab.patch(replicas=5)
    finally:
        section["replicas"] = known
    assert lab.served.made(OPS) == []
    assert [entry.kind for entry in lab.events("ops-")] == ["ops-requested", "ops-refused"]
    assert lab.history() == ()


def test_a_lost_answer_makes_no_second_request(lab: Lab) -> None:
    """The request is found by the token that it bears."""
    lab.served.lose["CreateMongoDBOpsRequest"] = 1
    (request,) = lab.patch(replicas=5)
    (made,) = lab.served.made(OPS)
    assert (request.name, request.uid) == (made["metadata"]["name"], made["metadata"]["uid"])
    lab.run(5)
    assert lab.history()[0].outcome == "successful"


def test_a_server_that_fails_once_is_asked_again(lab: Lab) -> None:
    """A gateway's 503 says nothing of the call: nothing is found, so it is made again, once."""
    lab.served.fail["CreateMongoDBOpsRequest"] = (503, 1)
    lab.patch(replicas=5)
    assert len(lab.served.made(OPS)) == 1


def test_what_was_never_answered_is_found_out_by_the_reconciler(lab: Lab) -> None:
    """The test gets an error; what became of the call is in the journal once the server answers again."""
    lab.served.fail |= {"CreateMongoDBOpsRequest": (503, 2), "ListMongoDBOpsRequest": (503, 3)}
    with pytest.raises(Unanswered):
        lab.patch(replicas=5)
    assert [one.outcome for one in lab.history()] == [None]
    lab.run(20)
    assert [one.outcome for one in lab.history()] == ["lost"]
    assert lab.served.made(OPS) == []


def test_a_missing_kind_is_said_in_words(lab: Lab) -> None:
    """The text of a server that lacks the kind is no JSON, and the message says what to do."""
    lab.script(absent=["mongodb"])
    with pytest.raises(KubeDBError, match=r"404 page not found\. The cluster does not have this kind: install KubeDB"):
        lab.patch(replicas=5)


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_takes_one_request_at_a_time_gets_them_so(lab: Lab, status: int) -> None:
    """The second request is refused while the first is active: it waits in our queue, and is sent after that one."""
    lab.script(refuse_second=status)
    first, second = lab.patch(replicas=5, size="db.t3.medium")
    assert (first.sent, second.sent, second.label) == (
        True,
        False,
        "VerticalScaling of mongodb/default/orders (queued)",
    )
    lab.run(12)
    assert [one.outcome for one in lab.history()] == ["successful", "successful"]
    assert spec_of(lab.served, "mongodb")["replicas"] == 5
    assert "podTemplate" in spec_of(lab.served, "mongodb")


def test_the_second_is_not_sent_when_the_first_failed(lab: Lab) -> None:
    """What waits in our queue ends as not-sent, with the reason, and the target is FAILED."""
    lab.script(refuse_second=422, fates=[{"type": "HorizontalScaling", "message": "no room"}])
    lab.patch(replicas=5, size="db.t3.medium")
    lab.run(8)
    assert [one.outcome for one in lab.history()] == ["failed", "not-sent"]
    assert lab.scaling.status("mongodb/default/orders").status == "FAILED"
    assert len(lab.served.made(OPS)) == 1


@pytest.mark.parametrize("status", [0, 400, 422])
def test_one_object_for_both_falls_back_to_two(lab: Lab, status: int) -> None:
    """`combined: one` tries the seed's object; refused or accepted, both things are done in the end."""
    lab.settings(combined="one")
    lab.script(refuse_combined=status)
    requests = lab.patch(replicas=5, size="db.t3.medium")
    assert sorted(request.kind for request in requests) == ["HorizontalScaling", "VerticalScaling"]
    lab.run(9)
    assert [one.outcome for one in lab.history()] == ["successful", "successful"]
    assert spec_of(lab.served, "mongodb")["replicas"] == 5
    assert "podTemplate" in spec_of(lab.served, "mongodb")


def test_a_patch_that_no_volume_follows_names_the_other_mode(lab: Lab) -> None:
    """KubeDB's operator does not resize volumes by a change of the database; the error says what does."""
    lab.settings(storage_timeout_s=30.0)
    (request,) = lab.patch(storage_gb=50)
    lab.run(29)
    assert lab.history()[0].outcome is None
    lab.run(3)
    (ended,) = lab.history()
    assert ended.outcome == "failed"
    assert "storage_mode='ops-request'" in ended.reason
    assert volume_sizes(lab.served, "mongodb") == {"20Gi"}
    assert lab.scaling.status(request.target).status == "FAILED"


@pytest.mark.parametrize("meanwhile", [30, 100])
def test_a_patch_is_checked_again_after_a_race(lab: Lab, meanwhile: int) -> None:
    """Another change in between is a conflict: the database is read again, and so is whether it would shrink."""

    def overtake(cluster: Cluster) -> None:
        kind = cluster.kinds["kubedb.com", "mongodbs"]
        found = cluster.store.get(kind, "default", "orders")
        found["spec"]["storage"]["resources"]["requests"]["storage"] = f"{meanwhile}Gi"
        cluster.store.update(kind, "default", "orders", found)

    lab.served.before["PatchMongoDB"] = overtake
    if meanwhile > 50:
        with pytest.raises(KubeDBError, match="has 100Gi of storage by now; 50Gi is less"):
            lab.patch(storage_gb=50)
        assert lab.history() == ()
    else:
        lab.patch(storage_gb=50)
    size = spec_of(lab.served, "mongodb")["storage"]["resources"]["requests"]["storage"]
    assert size == f"{max(50, meanwhile)}Gi"


def patch_and_run(lab: Lab) -> None:
    lab.patch(replicas=5)
    lab.run(9)


#: Each event after which the keeper may die, for one patch with two requests.
STEPS = ("ops-requested", "ops-created", "ops-moved", "ops-ended")


@pytest.mark.parametrize("step", STEPS)
def test_another_keeper_goes_on_where_the_first_one_died(lab: Lab, step: str) -> None:
    """Whatever was written last: each request is made at most once, and the journal ends with what the server says."""
    lab.dies_after = step
    with pytest.raises(Killed):
        patch_and_run(lab)
    lab.dies_after = ""
    lab.reopen()
    lab.run(9)
    made = lab.served.made(OPS)
    assert len(made) == (0 if step == "ops-requested" else 1)
    (request,) = lab.history()
    assert request.outcome == ("lost" if step == "ops-requested" else "successful")
    assert lab.scaling.state.active() == ()


def test_a_keeper_that_died_between_call_and_answer_finds_what_it_made(lab: Lab) -> None:
    """The intent is on disk and the object is there: the next keeper follows it to its end."""
    lab.dies_after = "ops-created"
    write = lab._write

    def dies_before(kind: str, subject: str, data: object) -> None:
        if kind == "ops-created" and lab.dies_after:
            raise Killed(kind)
        write(kind, subject, data)

    lab._write = dies_before  # type: ignore[method-assign]
    lab.reopen()
    with pytest.raises(Killed):
        lab.patch(replicas=5)
    lab.dies_after = ""
    lab.reopen()
    lab.run(5)
    (made,) = lab.served.made(OPS)
    (request,) = lab.history()
    assert (request.name, request.outcome) == (made["metadata"]["name"], "successful")


def test_the_end_of_the_run_says_how_each_request_stood(lab: Lab) -> None:
    """What is under way goes on in the cluster, what waits is not sent; nothing stays open in the journal."""
    lab.script(refuse_second=422, step_s=100.0)
    lab.patch(replicas=5, size="db.t3.medium")
    lab.run(1)
    assert lab.scaling.release(lambda: True) == ([], [])
    assert [one.outcome for one in lab.history()] == ["left", "not-sent"]
    assert lab.scaling.state.active() == ()
    with pytest.raises(KubeDBError, match="the run is ending"):
        lab.patch(replicas=4)


@pytest.mark.parametrize("step", ["ops-requested", "ops-created"])
@pytest.mark.parametrize("change", [{"replicas": 5, "size": "db.t3.medium"}, {"storage_gb": 50}])
def test_a_call_that_is_sent_again_makes_nothing_twice(lab: Lab, step: str, change: dict[str, object]) -> None:
    """A client sends what a keeper's death cut off to the next one, with the same key."""
    lab.script(patch_grows_volumes=True)
    lab.dies_after = step
    with pytest.raises(Killed):
        lab.patch(key="k", **change)
    lab.dies_after = ""
    lab.reopen()
    again = lab.patch(key="k", **change)
    assert lab.patch(key="k", **change) == again
    lab.run(9)
    assert [one.outcome for one in lab.history()] == ["successful"] * len(again)
    assert len(lab.served.made(OPS)) == (2 if "replicas" in change else 0)


def test_one_from_the_queue_that_is_not_answered_is_found_out(lab: Lab) -> None:
    """The second request is sent when the first is done; where its answer is lost for good, a look finds it."""
    lab.script(refuse_second=422)
    lab.patch(replicas=5, size="db.t3.medium")

    def fail_from_now_on(cluster: Cluster) -> None:
        lab.served.lose["CreateMongoDBOpsRequest"] = 2
        lab.served.fail["ListMongoDBOpsRequest"] = (503, 2)

    lab.run(3)
    lab.served.before["ListMongoDBOpsRequest"] = fail_from_now_on
    lab.run(20)
    assert [one.outcome for one in lab.history()] == ["successful", "successful"]
    assert "podTemplate" in spec_of(lab.served, "mongodb")


@pytest.mark.parametrize("ask", [lambda lab: lab.patch(replicas=5), lambda lab: lab.scaling.database("cart")])
def test_without_a_journal_nothing_is_made(lab: Lab, ask: Callable[[Lab], object]) -> None:
    """No create call before its intent is on disk."""
    lab.full = True
    with pytest.raises(JournalError):
        ask(lab)
    assert not any(operation.startswith("Create") for operation, _ in lab.served.calls)


def test_two_at_once_are_queued_one_behind_the_other(lab: Lab) -> None:
    """Changes that several workers ask for at the same time are all made, in one order, and all end."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: lab.patch(replicas=number), (4, 5, 6, 7)))
    lab.run(20)
    assert [one.outcome for one in lab.history()] == ["successful"] * 4
    ends = [one.finished or 0.0 for one in lab.history()]
    begins = [one.begun or 0.0 for one in lab.history()]
    assert all(end <= begin for end, begin in zip(ends[:-1], begins[1:], strict=True))
    assert spec_of(lab.served, "mongodb")["replicas"] == lab.history()[-1].wanted["replicas"]
