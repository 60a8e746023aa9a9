"""The sleepers' bit in every interleaving: models of the lock, the semaphore and the event of native/sync.

A step of a model is one atomic step of the C code, named as in native/sync/README.md. No slice ever ends here, so a
wake-up that goes astray leaves somebody asleep for ever, and is found. What a death leaves behind is for tests/chaos.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest


class State(NamedTuple):
    owner: int = 0  # of a lock: 0 free
    value: int = 0  # of a semaphore; of an event, how often it was set
    flag: bool = False  # of an event
    bit: bool = False  # somebody may sleep
    asleep: frozenset[int] = frozenset()
    places: tuple[tuple[str, int], ...] = ()  # of each process: its next step, and what it remembers
    rounds: tuple[int, ...] = ()  # what each has still to do


Step = Callable[[State, int], Iterator[State]]


def at(state: State, who: int, step: str, memory: int = 0) -> State:
    places = list(state.places)
    places[who] = (step, memory)
    return state._replace(places=tuple(places))


def done(state: State, who: int, first: str) -> State:
    """One round less: to the first step again, or finished."""
    rounds = list(state.rounds)
    rounds[who] -= 1
    return at(state._replace(rounds=tuple(rounds)), who, first if rounds[who] else "finished")


def sleep(state: State, who: int, memory: int) -> State:
    return at(state._replace(asleep=state.asleep | {who}), who, "asleep", memory)


def wake_one(state: State, woken_step: str) -> Iterator[State]:
    """The kernel wakes any one of those who sleep."""
    for sleeper in state.asleep:
        memory = state.places[sleeper][1]
        yield at(state._replace(asleep=state.asleep - {sleeper}), sleeper, woken_step, memory)
    if not state.asleep:
        yield state


def explore(first: State, steps: dict[str, Step], check: Callable[[State], None]) -> tuple[int, list[State]]:
    """Every state that can be reached: how many, and those from which nobody can go on."""
    seen, todo, ends = {first}, [first], []
    while todo:
        state = todo.pop()
        check(state)
        followers = [
            follower
            for who, (step, _) in enumerate(state.places)
            if step in steps
            for follower in steps[step](state, who)
        ]
        if not followers:
            ends.append(state)
        new = set(followers) - seen
        seen |= new
        todo += new
    return len(seen), ends


# -- Lock -------------------------------------------------------------------------------------------------------------


def claim(state: State, who: int, bit: bool) -> State:
    return at(state._replace(owner=who + 1, bit=bit), who, "release")


def lock_try(state: State, who: int) -> Iterator[State]:
    yield claim(state, who, False) if state.owner == 0 else at(state, who, "announce")


def lock_announce(state: State, who: int) -> Iterator[State]:
    """`memory` counts as the may_sleep of the C code: 1 once it has slept."""
    may_sleep = state.places[who][1]
    if state.owner == 0:
        yield claim(state, who, bool(may_sleep))
    else:
        yield at(state._replace(bit=True), who, "park", state.owner)


def lock_park(state: State, who: int) -> Iterator[State]:
    same = state.owner == state.places[who][1] and state.bit
    yield sleep(state, who, 1) if same else at(state, who, "announce", 1)


def lock_give_up(state: State, who: int) -> Iterator[State]:
    """Its time is over: the last look is as any, and it leaves with the lock or with the bit set."""
    yield at(state._replace(asleep=state.asleep - {who}), who, "last look", 1)


def lock_last_look(state: State, who: int) -> Iterator[State]:
    yield claim(state, who, True) if state.owner == 0 else done(state._replace(bit=True), who, "try")


def lock_release(state: State, who: int) -> Iterator[State]:
    free = state._replace(owner=0, bit=False)
    yield at(free, who, "wake") if state.bit else done(free, who, "try")


def lock_wake(state: State, who: int) -> Iterator[State]:
    for woken in wake_one(state, "announce"):
        yield done(woken, who, "try")


LOCK = {"try": lock_try, "announce": lock_announce, "park": lock_park, "release": lock_release, "wake": lock_wake}
LOCK_WITH_TIMEOUTS = LOCK | {"asleep": lock_give_up, "last look": lock_last_look}


def has_one_owner(state: State) -> None:
    holders = [who for who, (step, _) in enumerate(state.places) if step == "release"]
    assert holders in ([], [state.owner - 1])


@pytest.mark.parametrize("processes", [2, 3])
def test_lock_leaves_nobody_asleep(processes: int) -> None:
    first = State(places=(("try", 0),) * processes, rounds=(2,) * processes)
    count, ends = explore(first, LOCK, has_one_owner)
    assert count > 50
    for end in ends:
        assert all(step == "finished" for step, _ in end.places), end


def test_lock_with_timeouts_leaves_nobody_asleep() -> None:
    """Those without a timeout must get the lock, whatever those with one do: who may give up is not counted."""

    def patient(state: State, who: int) -> Iterator[State]:
        return lock_give_up(state, who) if who == 0 else iter(())

    first = State(places=(("try", 0),) * 3, rounds=(2, 1, 2))
    _, ends = explore(first, LOCK_WITH_TIMEOUTS | {"asleep": patient}, has_one_owner)
    for end in ends:
        assert all(step == "finished" for step, _ in end.places), end


# -- Semaphore --------------------------------------------------------------------------------------------------------


def semaphore_take(state: State, who: int) -> Iterator[State]:
    if state.value:
        yield done(state._replace(value=state.value - 1), who, "take")
    else:
        yield at(state, who, "announce")


def semaphore_announce(state: State, who: int) -> Iterator[State]:
    woken = state.places[who][1]
    if state.value:
        yield at(state, who, "take for all" if woken else "take")
    else:
        yield at(state._replace(bit=True), who, "park")


def semaphore_park(state: State, who: int) -> Iterator[State]:
    yield sleep(state, who, 1) if state.value == 0 and state.bit else at(state, who, "take for all")


def semaphore_take_for_all(state: State, who: int) -> Iterator[State]:
    if not state.value:
        yield at(state, who, "announce", 1)
        return
    taken = state._replace(value=state.value - 1, bit=True)
    yield at(taken, who, "chain") if taken.value else done(taken, who, "take")


def semaphore_chain(state: State, who: int) -> Iterator[State]:
    for woken in wake_one(state, "take for all"):
        yield done(woken, who, "take")


def semaphore_give(state: State, who: int) -> Iterator[State]:
    given = state._replace(value=state.value + 1, bit=False)
    yield at(given, who, "wake") if state.bit else done(given, who, "give")


def semaphore_wake(state: State, who: int) -> Iterator[State]:
    for woken in wake_one(state, "take for all"):
        yield done(woken, who, "give")


SEMAPHORE = {
    "take": semaphore_take,
    "announce": semaphore_announce,
    "park": semaphore_park,
    "take for all": semaphore_take_for_all,
    "chain": semaphore_chain,
    "give": semaphore_give,
    "wake": semaphore_wake,
}


@pytest.mark.parametrize(
    ("takes", "gives"), [((2, 2), (4,)), ((1, 1, 1), (3,)), ((2, 1), (2, 1)), ((1, 1, 1), (2, 1)), ((3, 1), (2,))]
)
def test_semaphore_leaves_nobody_asleep(takes: tuple[int, ...], gives: tuple[int, ...]) -> None:
    places = (("take", 0),) * len(takes) + (("give", 0),) * len(gives)
    count, ends = explore(State(places=places, rounds=takes + gives), SEMAPHORE, lambda state: None)
    assert count > 50
    for end in ends:
        left = sum(end.rounds)
        assert left == max(0, sum(takes) - sum(gives)), end
        assert end.value == max(0, sum(gives) - sum(takes)), end


def semaphore_give_up(state: State, who: int) -> Iterator[State]:
    yield at(state._replace(asleep=state.asleep - {who}), who, "last look", 1)


def semaphore_last_look(state: State, who: int) -> Iterator[State]:
    if state.value:
        yield from semaphore_take_for_all(state, who)
    else:
        yield done(state._replace(bit=True), who, "take")


@pytest.mark.parametrize(("takes", "gives"), [((1, 1, 1), (3,)), ((2, 1, 1), (2, 1)), ((2, 2), (1, 1))])
def test_semaphore_with_timeouts_leaves_nobody_asleep(takes: tuple[int, ...], gives: tuple[int, ...]) -> None:
    """Nobody sleeps beside a value, whatever one with a timeout does."""

    def patient(state: State, who: int) -> Iterator[State]:
        return semaphore_give_up(state, who) if who == 0 else iter(())

    places = (("take", 0),) * len(takes) + (("give", 0),) * len(gives)
    steps = SEMAPHORE | {"asleep": patient, "last look": semaphore_last_look}
    _, ends = explore(State(places=places, rounds=takes + gives), steps, lambda state: None)
    assert any(not end.asleep for end in ends)
    for end in ends:
        assert not (end.asleep and end.value), end


def test_the_chain_is_needed() -> None:
    """Without it the explorer finds somebody asleep beside a value: so it would find other such faults."""

    def no_chain(state: State, who: int) -> Iterator[State]:
        yield done(state, who, "take")

    first = State(places=(("take", 0), ("take", 0), ("give", 0)), rounds=(1, 1, 2))
    _, ends = explore(first, SEMAPHORE | {"chain": no_chain}, lambda state: None)
    assert any(end.asleep and end.value for end in ends)


def test_the_bit_of_the_woken_is_needed() -> None:
    """The same for a lock whose woken waiters claim it as if they were the only ones."""

    def forget(state: State, who: int) -> Iterator[State]:
        for follower in lock_announce(state, who):
            yield follower._replace(bit=False) if follower.owner == who + 1 else follower

    _, ends = explore(State(places=(("try", 0),) * 3, rounds=(2,) * 3), LOCK | {"announce": forget}, has_one_owner)
    assert any(end.asleep for end in ends)


# -- Event ------------------------------------------------------------------------------------------------------------


def event_mark(state: State, who: int) -> Iterator[State]:
    yield at(state, who, "look", state.value)


def has_happened(state: State, who: int) -> bool:
    return state.flag or state.value != state.places[who][1]


def event_look(state: State, who: int) -> Iterator[State]:
    if has_happened(state, who):
        yield done(state, who, "mark")
    else:
        yield at(state._replace(bit=True), who, "park", state.places[who][1])


def event_park(state: State, who: int) -> Iterator[State]:
    mark = state.places[who][1]
    yield at(state, who, "look", mark) if has_happened(state, who) or not state.bit else sleep(state, who, mark)


def event_set(state: State, who: int) -> Iterator[State]:
    if state.flag:
        yield at(state, who, "clear")
    else:
        now = state._replace(flag=True, bit=False, value=state.value + 1)
        yield at(now, who, "wake all" if state.bit else "clear")


def event_wake_all(state: State, who: int) -> Iterator[State]:
    for sleeper in state.asleep:
        state = at(state, sleeper, "look", state.places[sleeper][1])
    yield at(state._replace(asleep=frozenset()), who, "clear")


def event_clear(state: State, who: int) -> Iterator[State]:
    last = state.rounds[who] == 1  # it stays set in the end, so that every wait has to end
    yield done(state if last else state._replace(flag=False), who, "set")


EVENT = {
    "mark": event_mark,
    "look": event_look,
    "park": event_park,
    "set": event_set,
    "wake all": event_wake_all,
    "clear": event_clear,
}


@pytest.mark.parametrize("setters", [(2,), (3,), (2, 1)])
def test_event_leaves_nobody_asleep(setters: tuple[int, ...]) -> None:
    places = (("mark", 0),) * 2 + (("set", 0),) * len(setters)
    count, ends = explore(State(places=places, rounds=(2, 1, *setters)), EVENT, lambda state: None)
    assert count > 50
    for end in ends:
        if end.flag:
            assert all(step == "finished" for step, _ in end.places), end
