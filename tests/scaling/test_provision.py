"""Databases of the run: made when asked for, Ready before a test has them, gone at the end, whatever happens."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_capacity.databases import Database
from pytest_capacity.errors import KubeDBError
from pytest_capacity.model import Receipt
from pytest_capacity.scaling.kubedb.provision import name_of
from tests.scaling.conftest import ENGINES, RUN, Killed, Lab, pods_of

CART = name_of("cart", f"{RUN}/")


def provision_and_release(lab: Lab) -> None:
    lab.scaling.database("cart")
    lab.scaling.release(lambda: False)


def ours(lab: Lab) -> list[str]:
    """The names of databases that are not ``orders``, of every engine, and of their volumes."""
    with lab.served.lock:
        held = lab.served.cluster.held()
    return [one["id"] for one in held if "orders" not in one["id"]]


@pytest.mark.parametrize("own", ENGINES)
def test_a_database_is_ready_when_a_test_gets_it_and_gone_at_the_end(lab: Lab, own: str) -> None:
    """Created with stamp and deadline, with its size and storage; the end leaves neither it nor its volumes."""
    cart = Database(key="cart", engine=own, version="8.0", replicas=3, size="db.t3.small", storage_gb=5)
    lab.request = replace(lab.request, databases={"cart": cart})
    lab.reopen()
    lab.script(provision_s=10.0)
    engine, namespace, name = lab.scaling.database("cart")
    assert (engine, namespace, name) == (own, "default", CART)
    made = [one for one in lab.served.made(ENGINES[own][1], "kubedb.com") if one["metadata"]["name"] == CART]
    (database,) = made
    labels = database["metadata"]["labels"]
    assert labels["pytest-capacity/run"] == RUN
    assert labels["pytest-capacity/project"] == "tests"
    assert int(labels["pytest-capacity/deadline"]) > lab.served.clock()
    assert database["status"]["phase"] == "Ready"
    assert database["spec"]["deletionPolicy"] == "WipeOut"
    assert len(pods_of(lab.served, own, CART)) == (9 if own == "redis" else 3)
    assert pods_of(lab.served, own, CART)[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2Gi"
    assert lab.scaling.database("cart")[2] == name
    assert [entry.kind for entry in lab.events("database-")] == [
        "database-requested",
        "database-created",
        "database-ready",
    ]
    assert len(lab.scaling.held) == 1
    left, unread = lab.scaling.release(lambda: False)
    assert (left, unread, ours(lab)) == ([], [], [])
    assert lab.events("database-")[-1].kind == "database-gone"
    assert lab.scaling.held == []


def test_nothing_is_made_before_a_test_asks(lab: Lab) -> None:
    """A configured database that no test uses costs no call, and the receipt says that nothing was asked for."""
    assert lab.scaling.release(lambda: False) == ([], [])
    assert lab.served.calls == []
    receipt = Receipt(run=RUN, asked=False)
    assert lab.scaling.receipt(receipt, [], []) == receipt


def test_one_that_does_not_become_ready_is_an_error_each_time_and_is_given_back(lab: Lab) -> None:
    """The message has the last phase and the command that looks at it; nothing is tried twice."""
    lab.script(never_ready=[CART])
    for _ in range(2):
        with pytest.raises(
            KubeDBError, match=f"not Ready after 600 s: Provisioning. Raise its ready_timeout; .*: kubectl .* {CART}"
        ):
            lab.scaling.database("cart")
    assert len(lab.events("database-requested")) == 1
    assert lab.scaling.release(lambda: False) == ([], [])
    assert ours(lab) == []


def test_what_is_not_the_runs_is_not_touched(lab: Lab) -> None:
    """A database of that name without our stamp stays as it is; so does every other one at the end."""
    store, kind = lab.served.cluster.store, lab.served.cluster.kinds["kubedb.com", "postgreses"]
    body = {"apiVersion": "kubedb.com/v1", "kind": "Postgres", "metadata": {"name": CART}, "spec": {"version": "16"}}
    with lab.served.lock:
        store.create(kind, "default", body)
    with pytest.raises(KubeDBError, match="exists and is not of this run, so it is not touched"):
        lab.scaling.database("cart")
    assert lab.scaling.release(lambda: False) == ([], [])
    assert [one["metadata"]["name"] for one in lab.served.made("postgreses", "kubedb.com")] == [CART]
    assert len(lab.served.made("mongodbs", "kubedb.com")) == 1


@pytest.mark.parametrize("operation", ["CreatePostgres", "DeletePostgres"])
def test_lost_answers_leave_nothing(lab: Lab, operation: str) -> None:
    """A create or delete whose answer is lost is made again; the name is the run's, so there is never a second one."""
    lab.served.lose[operation] = 1
    lab.scaling.database("cart")
    assert len(lab.served.made("postgreses", "kubedb.com")) == 1
    assert lab.scaling.release(lambda: False) == ([], [])
    assert ours(lab) == []


@pytest.mark.parametrize("step", ["database-requested", "database-created", "database-ready", "database-releasing"])
def test_another_keeper_gives_back_what_the_first_one_made(lab: Lab, step: str) -> None:
    """It finds it by the run's stamp, whatever was written last."""
    lab.dies_after = step
    with pytest.raises(Killed):
        provision_and_release(lab)
    lab.dies_after = ""
    lab.reopen()
    assert lab.scaling.release(lambda: False) == ([], [])
    assert ours(lab) == []
    assert lab.scaling.held == []


def test_a_kill_between_the_call_and_the_journal_leaves_nothing(lab: Lab) -> None:
    """The server has it, the journal knows only that it was about to be made: the listing finds it."""
    lab.served.fail |= {"CreatePostgres": (503, 1)}
    lab.dies_after = "database-requested"
    with pytest.raises(Killed):
        lab.scaling.database("cart")
    lab.dies_after = ""
    # What the dead keeper had sent arrives after all.
    lab.reopen().database("cart")
    lab.reopen()
    assert lab.scaling.release(lambda: False) == ([], [])
    assert ours(lab) == []


def test_what_cannot_be_deleted_is_in_the_receipt(lab: Lab) -> None:
    """Left things come with the server's words and the command by hand, and a kind that cannot be listed is unread."""
    lab.scaling.database("cart")
    store, kind = lab.served.cluster.store, lab.served.cluster.kinds["kubedb.com", "postgreses"]
    with lab.served.lock:
        found = store.get(kind, "default", CART)
        found["spec"]["deletionPolicy"] = "DoNotTerminate"
        store.update(kind, "default", CART, found)
    left, unread = lab.scaling.release(lambda: True)
    receipt = lab.scaling.receipt(Receipt(run=RUN), left, unread)
    assert not receipt.clean
    assert [held.kind for held in receipt.left] == ["database"]
    assert receipt.by_hand == (f"kubectl delete postgreses.kubedb.com {CART} --namespace default",)
    assert "can't be terminated" in receipt.troubles[0]
    lab.served.fail["ListPostgres"] = (503, 1)
    left, unread = lab.scaling.release(lambda: True)
    assert [part.kind for part in unread] == ["postgres databases in default"]


def test_a_database_of_the_run_is_scaled_like_any_other(lab: Lab) -> None:
    """And released while a scaling is under way: nothing is left, and the journal has an end for the request."""
    lab.script(step_s=1000.0)
    engine, namespace, name = lab.scaling.database("cart")
    lab.patch(engine=engine, name=name, namespace=namespace, replicas=5)
    lab.run(2)
    assert lab.history()[0].phase == "Progressing"
    lab.reopen()
    assert lab.scaling.release(lambda: False) == ([], [])
    assert ours(lab) == []
    assert lab.history()[0].outcome == "left"


def test_an_extended_run_moves_the_deadlines(lab: Lab) -> None:
    """The label says the new one."""
    lab.scaling.database("cart")
    lab.scaling.extend(1_800_000_000.0)
    (found,) = lab.served.made("postgreses", "kubedb.com")
    assert found["metadata"]["labels"]["pytest-capacity/deadline"] == "1800000000"
