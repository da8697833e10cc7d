"""Allow-lists only: nobody may say or hear everything, and subjects of the code are covered."""

import pytest

from droveway.contracts import client, permissions
from droveway.contracts.admission import admission_subject, standing_subject
from droveway.contracts.dispatch import dispatch_subject
from droveway.contracts.envelope import inbox, new_instance
from droveway.contracts.health import health_subject
from droveway.contracts.inference import INTERACTIVE, inference_subject
from droveway.contracts.limits import limits_subject, owner_subject
from droveway.contracts.permissions import USERS, User
from droveway.contracts.providers import providers_subject
from droveway.contracts.relay import control_subject
from droveway.contracts.reports import report_subject
from droveway.contracts.settlement import settlement_subject
from droveway.contracts.usage import usage_subject

BY_NAME = {user.name: user for user in USERS}
PATTERNS = [
    pytest.param(pattern, id=f"{user.name} {what} {pattern}")
    for user in USERS
    for what, patterns in (("publishes", user.publish), ("subscribes", user.subscribe))
    for pattern in patterns
]


def matches(pattern: str, subject: str) -> bool:
    """NATS's own rule: `*` is one token, `>` one or more at the end."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(given) > index
        if index >= len(given) or token not in ("*", given[index]):
            return False
    return len(wanted) == len(given)


def may(patterns: tuple[str, ...], subject: str) -> bool:
    """Whether a subject is allowed, be it only in a queue group."""
    return any(matches(pattern.partition(" ")[0], subject) for pattern in patterns)


def reply(service: str) -> str:
    return inbox(service, new_instance(service), "0a1b")


def control(service: str) -> str:
    return control_subject(new_instance(service))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_begins_with_two_tokens_of_ours(pattern: str) -> None:
    tokens = pattern.partition(" ")[0].split(".")
    assert tokens[0] in {"droveway", "_INBOX", "$JS", "$KV", "$SRV"}
    assert not set(tokens[1]) & set("*>")
    assert ">" not in tokens[:-1]
    if tokens[0] == "droveway":
        assert tokens[1] == "v1"
        assert tokens[2].isalpha()
        assert ">" not in tokens


def test_nobody_may_respond_wherever_a_message_says() -> None:
    assert User.__struct_fields__ == ("name", "publish", "subscribe")
    assert not hasattr(permissions, "allow_responses")


def test_names_are_unique_and_every_list_is_filled() -> None:
    assert len(BY_NAME) == len(USERS)
    assert all(user.publish and user.subscribe for user in USERS)


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
def test_a_user_hears_only_its_own_inboxes(user: User) -> None:
    inboxes = [pattern for pattern in user.subscribe if pattern.startswith("_INBOX")]
    assert inboxes == [f"_INBOX.{user.name}.>"]


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
def test_a_user_can_send_to_itself(user: User) -> None:
    assert may(user.publish, inbox(user.name, new_instance(user.name), "watchdog"))


SHARED = {
    client.request_subject("k1", "chat-completions"): "gateway",
    inference_subject(INTERACTIVE): "router",
    dispatch_subject("default"): "caller",
    report_subject(): "metrics",
}


@pytest.mark.parametrize(("subject", "service"), SHARED.items(), ids=SHARED.values())
def test_shared_work_is_heard_in_its_services_queue_group_only(subject: str, service: str) -> None:
    listeners = {
        (user.name, pattern.partition(" ")[2])
        for user in USERS
        for pattern in user.subscribe
        if may((pattern,), subject)
    }
    assert listeners == {(service, service)}


def test_nothing_but_shared_work_names_a_queue_group() -> None:
    named = [one for user in USERS for one in (*user.publish, *user.subscribe) if " " in one]
    assert len(named) == len(SHARED)


HEARD_BY_EACH_LIMITER = {
    "questions": ("router", admission_subject(0)),
    "settlements": ("caller", settlement_subject(0)),
    "what a router gives up": ("router", settlement_subject(0)),
    "operators' questions": ("operator", standing_subject(0)),
    "the log": ("limiter", limits_subject(0)),
    "its owner": ("limiter", owner_subject(0)),
    "rows": ("caller", usage_subject("acme")),
}


@pytest.mark.parametrize(
    ("sender", "subject"), HEARD_BY_EACH_LIMITER.values(), ids=HEARD_BY_EACH_LIMITER
)
def test_what_a_standby_must_know_is_heard_by_each_limiter_and_few_others(
    sender: str, subject: str
) -> None:
    assert may(BY_NAME[sender].publish, subject)
    listeners = {user.name for user in USERS if may(user.subscribe, subject)}
    waiting = {"router"} if subject == settlement_subject(0) else set()
    assert listeners - {"operator"} == {"limiter"} | waiting
    plain = [one for one in BY_NAME["limiter"].subscribe if may((one,), subject)]
    assert [one for one in plain if " " in one] == []


def test_operators_hear_rows_and_events_and_nothing_else_of_the_services() -> None:
    heard = {one for one in BY_NAME["operator"].subscribe if not one.startswith("_INBOX")}
    assert heard == {"droveway.v1.usage.*", "droveway.v1.events.*"}


def test_nobody_but_limiters_writes_the_limits_log() -> None:
    for subject in (limits_subject(0), owner_subject(0), "$KV.limits.0.head"):
        assert {user.name for user in USERS if may(user.publish, subject)} == {"limiter"}


HOPS = {
    "the door asks a router": ("gateway", inference_subject(INTERACTIVE), "router"),
    "the router answers the door": ("router", reply("gateway"), "gateway"),
    "the router asks the limiter": ("router", admission_subject(0), "limiter"),
    "the limiter answers the router": ("limiter", reply("router"), "router"),
    "the caller settles": ("caller", settlement_subject(0), "limiter"),
    "the door asks where a key stands": ("gateway", standing_subject(0), "limiter"),
    "the limiter answers the door": ("limiter", reply("gateway"), "gateway"),
    "the router dispatches": ("router", dispatch_subject("default"), "caller"),
    "the caller answers the router": ("caller", reply("router"), "router"),
    "the caller relays to the door": ("caller", reply("gateway"), "gateway"),
    "the door steers the caller": ("gateway", control("caller"), "caller"),
    "the door cancels at the router": ("gateway", control("router"), "router"),
    "the router steers the caller": ("router", control("caller"), "caller"),
    "the caller beats to the door": ("caller", control("gateway"), "gateway"),
    "the caller tells routers of its credentials": ("caller", health_subject("default"), "router"),
    "the caller tells callers of its credentials": ("caller", health_subject("default"), "caller"),
    "the door asks routers of providers": ("gateway", providers_subject(), "router"),
    "an operator has callers start anew": ("operator", providers_subject(), "caller"),
    "a router tells an operator of providers": ("router", reply("operator"), "operator"),
    "the door sends a body": ("gateway", reply("caller"), "caller"),
}


@pytest.mark.parametrize(("sender", "subject", "receiver"), HOPS.values(), ids=HOPS)
def test_a_hop_is_allowed_at_both_ends(sender: str, subject: str, receiver: str) -> None:
    assert may(BY_NAME[sender].publish, subject)
    assert may(BY_NAME[receiver].subscribe, subject)


FORBIDDEN = {
    "the limiter steers a door": ("limiter", control("gateway")),
    "the limiter writes rows": ("limiter", usage_subject("acme")),
    "the limiter changes a key": ("limiter", "$KV.access.key.k1"),
    "the limiter sets a price": ("limiter", "$KV.prices.openai"),
    "the limiter purges its log": ("limiter", "$JS.API.STREAM.PURGE.LIMITS"),
    "the router appends to the limits' log": ("router", limits_subject(0)),
    "the limiter dispatches": ("limiter", dispatch_subject("default")),
    "the router switches a provider off": ("router", "$KV.routing.provider.openai"),
    "the caller resets a provider": ("caller", providers_subject()),
    "the router benches a credential": ("router", health_subject("default")),
    "the door dispatches": ("gateway", dispatch_subject("default")),
    "the door decides": ("gateway", reply("router")),
    "the caller asks a router": ("caller", inference_subject(INTERACTIVE)),
    "the caller steers a caller": ("caller", control("caller")),
    "the caller purges the ledger": ("caller", "$JS.API.STREAM.PURGE.USAGE"),
    "metrics deletes the ledger": ("metrics", "$JS.API.STREAM.DELETE.USAGE"),
    "metrics acknowledges another's": ("metrics", "$JS.ACK.JOBS.worker.1.1.1.1.1"),
    "a door asks the system account": ("gateway", "$SYS.REQ.SERVER.PING"),
}


@pytest.mark.parametrize(("sender", "subject"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_compromised_service_cannot(sender: str, subject: str) -> None:
    assert not may(BY_NAME[sender].publish, subject)


def test_rows_are_written_by_whoever_did_the_work() -> None:
    writers = {user.name for user in USERS if may(user.publish, usage_subject("acme"))}
    assert writers == {"gateway", "caller", "router", "metrics"}, "or saw who did it die"
