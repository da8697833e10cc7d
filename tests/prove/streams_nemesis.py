"""What strikes the great run of streams: kills, resets, messages that are lost or repeated."""

from collections.abc import Iterator

from tests.prove.member import Member
from tests.prove.plant import Plant
from tests.support.history import History
from tests.support.nats_proxy import NatsProxy, Rule
from tests.support.nats_wire import is_control, is_frame
from tests.support.nemesis import Action, Nemesis, Outage

EVERY_S = 1.5
_DEAD_S = 0.2
_BROKER_DEAD_S = 0.1
_STRUCK_S = 1.5
_WEIGHTS = {"caller": 2.0, "router": 2.0, "gateway": 1.5}
_LOSS, _TWICE, _LATE_S, _LATE_P = 0.02, 0.1, 0.03, 0.1


def nemesis(it: Plant, proxy: NatsProxy, history: History) -> Nemesis:
    """Strikes by the run's seed, until its block is left."""
    rules = [proxy.rule(matches, "down") for matches in (is_frame, is_control)]
    actions = [
        *_kills(it),
        Outage(it.nats.kill, it.nats.start, _BROKER_DEAD_S, blocking=True).action("broker", 1.0),
        Action("reset", proxy.reset, 1.5),
        _on_messages(rules, "lost", 2.0, drop=_LOSS),
        _on_messages(rules, "twice", 2.0, duplicate=_TWICE),
        _on_messages(rules, "late", 2.0, delay_s=_LATE_S, delay_p=_LATE_P),
        _stall(it["caller"][0]).action("caller stands still", 1.0),
    ]
    return Nemesis(it.run.seed, actions, EVERY_S, history=history)


def _kills(it: Plant) -> Iterator[Action]:
    for service, weight in _WEIGHTS.items():
        for member in it[service]:
            outage = Outage(member.kill, member.restart, _DEAD_S)
            yield outage.action(member.name, weight / len(it[service]))


def _stall(member: Member) -> Outage:
    return Outage(member.pause, member.resume, _STRUCK_S)


def _on_messages(rules: list[Rule], name: str, weight: float, **faults: float) -> Action:
    """Lets the rules do something for a while."""

    def begin() -> None:
        for rule in rules:
            for field, value in faults.items():
                setattr(rule, field, value)

    def end() -> None:
        for rule in rules:
            rule.heal()

    return Outage(begin, end, _STRUCK_S).action(name, weight)
