"""Managers: objects in one process, used from others through proxies."""

import array
import copy
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence, MutableSet
from typing import Any

import pytest

import phalanx
from phalanx import managers
from phalanx.connection import Client, Pipe
from phalanx.managers import BaseManager, BaseProxy, RemoteError, SyncManager, Token


@pytest.fixture
def manager() -> Iterator[SyncManager]:
    with SyncManager(ctx=phalanx.get_context("fork")) as started:
        yield started
    started.join()


# -- the types ---------------------------------------------------------------------------------------------------------


def test_a_dict(manager: SyncManager) -> None:
    d = manager.dict({"a": 1}, b=2)
    d["c"] = 3
    assert (d["a"], len(d), "b" in d, d.get("x"), d.get("x", 0)) == (1, 3, True, None, 0)
    assert (d.keys(), d.values(), d.items()) == (["a", "b", "c"], [1, 2, 3], [("a", 1), ("b", 2), ("c", 3)])
    assert list(d) == ["a", "b", "c"]
    assert list(reversed(list(d))) == ["c", "b", "a"]
    assert d | {"d": 4} == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert {"z": 0} | d == {"z": 0, "a": 1, "b": 2, "c": 3}
    same = d
    d |= {"a": 9}
    assert d is same
    assert (d.pop("a"), d.popitem(), d.setdefault("n", 5)) == (9, ("c", 3), 5)
    del d["n"]
    d.update(q=1)
    assert d.copy() == {"b": 2, "q": 1}
    assert d.fromkeys("ab") == {"a": None, "b": None}
    d.clear()
    assert str(d) == "{}"
    with pytest.raises(KeyError, match="missing"):
        d["missing"]


def test_a_list(manager: SyncManager) -> None:
    items = manager.list([3, 1])
    items.append(2)
    items.extend([5])
    items.insert(0, 4)
    assert items[:] == [4, 3, 1, 2, 5]
    items.sort()
    items.reverse()
    assert (items[0], items[-1], items.index(4), items.count(2), 3 in items, len(items)) == (5, 1, 1, 1, True, 5)
    assert (items + [0], items * 2, 2 * items) == ([5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1] * 2, [5, 4, 3, 2, 1] * 2)
    assert list(items) == list(reversed(list(reversed(items))))
    same = items
    items += [7]
    items *= 2
    assert items is same
    assert items.copy() == [5, 4, 3, 2, 1, 7] * 2
    items[1:] = [8]
    assert (items.pop(), items.copy()) == (8, [5])
    items.remove(5)
    del items[:]
    items.clear()
    assert str(items) == "[]"


def test_a_set(manager: SyncManager) -> None:
    s = manager.set({1, 2})
    s.add(3)
    assert (len(s), 3 in s, sorted(s), s.copy()) == (3, True, [1, 2, 3], {1, 2, 3})
    assert (s | {4}, s & {1}, s - {1}, s ^ {1, 4}) == ({1, 2, 3, 4}, {1}, {2, 3}, {2, 3, 4})
    assert ({4} | s, {1} & s, {1, 9} - s) == ({1, 2, 3, 4}, {1}, {9})
    same = s
    s |= {5}
    s &= {1, 5}
    s ^= {1}
    s -= {7}
    assert s is same
    assert s.copy() == {5}
    assert (s.union({1}), s.issubset({5, 6}), s.isdisjoint({5})) == ({1, 5}, True, False)
    s.discard(5)
    with pytest.raises(KeyError):
        s.pop()


def test_a_namespace(manager: SyncManager) -> None:
    n = manager.Namespace(x=1)
    n.y = 2
    n._mine = 3
    assert (n.x, n.y, n._mine, str(n)) == (1, 2, 3, "Namespace(x=1, y=2)")
    del n.x
    with pytest.raises(AttributeError):
        n.x  # noqa: B018


def test_value_and_array(manager: SyncManager) -> None:
    value = manager.Value("i", 3)
    value.value += 1
    assert (value.get(), value.value, str(value)) == (4, 4, "Value('i', 4)")
    value.set(9)
    assert value.value == 9
    numbers = manager.Array("i", [1, 2])
    numbers[0] = 7
    assert (numbers[0], len(numbers), list(numbers)) == (7, 2, [7, 2])
    assert numbers._getvalue() == array.array("i", [7, 2])


def test_queues(manager: SyncManager) -> None:
    for q in (manager.Queue(2), manager.JoinableQueue(2)):
        q.put(1)
        q.put(2)
        assert (q.full(), q.qsize(), q.get(), q.get_nowait(), q.empty()) == (True, 2, 1, 2, True)
        with pytest.raises(queue.Empty):
            q.get_nowait()
        q.task_done()
        q.task_done()
        q.join()


def test_synchronisation(manager: SyncManager) -> None:
    event = manager.Event()
    assert (event.is_set(), event.wait(0.001)) == (False, False)
    event.set()
    assert (event.wait(), event.is_set()) == (True, True)
    event.clear()
    for semaphore in (manager.Semaphore(1), manager.BoundedSemaphore(1)):
        assert semaphore.acquire()
        assert not semaphore.acquire(False)
        assert not semaphore.acquire(True, 0.001)
        semaphore.release()
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    condition = manager.Condition()
    with condition:
        assert not condition.wait(0.001)
        condition.notify()
        condition.notify_all()
        assert condition.wait_for(lambda: 7) == 7
        assert not condition.wait_for(lambda: 0, 0.001)
    barrier = manager.Barrier(1)
    assert (barrier.wait(), barrier.parties, barrier.n_waiting, barrier.broken) == (0, 1, 0, False)
    barrier.abort()
    assert barrier.broken
    barrier.reset()


def test_locks(manager: SyncManager) -> None:
    lock = manager.Lock()
    with lock:
        assert lock.locked()
        assert not lock.acquire(False)
        assert not lock.acquire(timeout=0.001)
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="non-negative"):
        lock.acquire(True, -5)
    rlock = manager.RLock()
    with rlock, rlock:
        assert rlock.locked()
        others: list[Any] = []
        thread = threading.Thread(target=lambda: others.append(rlock.acquire(False)))
        thread.start()
        thread.join()
        assert others == [False]
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        rlock.release()


def square(x: int) -> int:
    return x * x


@pytest.mark.leaves("arena")  # its workers are the server's, and may be a moment behind it
def test_a_pool(manager: SyncManager) -> None:
    with manager.Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
        assert pool.apply_async(square, (3,)).get(30) == 9
        assert list(pool.imap(square, range(3))) == [0, 1, 4]


# -- proxies -----------------------------------------------------------------------------------------------------------


def test_what_proxies_look_like(manager: SyncManager) -> None:
    d = manager.dict(a=1)
    assert repr(d).startswith("<DictProxy object, typeid 'dict' at 0x")
    assert str(d) == "{'a': 1}"
    assert copy.deepcopy(d) == {"a": 1}
    assert repr(managers.DictProxy[str, int]) == "phalanx.managers.DictProxy[str, int]"
    assert repr(Token("dict", "there", "7")) == "Token(typeid='dict', address='there', id='7')"


def test_proxies_nest_and_are_counted(manager: SyncManager) -> None:
    inner = manager.list([1])
    outer = manager.dict(inner=inner)
    assert manager._number_of_objects() == 2
    del inner
    assert manager._number_of_objects() == 1
    outer["inner"].append(2)
    assert outer["inner"][:] == [1, 2]
    ring = manager.list()
    ring.append(ring)
    assert ring[0][0][0]._id == ring._id
    del ring
    assert manager._number_of_objects() == 1
    assert "{'inner'" in manager._debug_info()


def test_errors_come_back_with_what_was_called(manager: SyncManager) -> None:
    n = manager.list([1])
    with pytest.raises(ValueError, match="not in list"):
        n.remove(7)
    with pytest.raises(RemoteError, match="is not in exposed"):
        n._callmethod("__class__")
    with pytest.raises(RemoteError, match="KeyError"):
        manager._create("nothing of that name")
    with pytest.raises(Exception, match="pickle"):
        n.append(threading.Lock())
    assert n[:] == [1]


def run_child(context: Any, target: Callable[..., None], *args: Any) -> None:
    child = context.Process(target=target, args=args)
    child.start()
    child.join()
    assert child.exitcode == 0


def fill(d: Any, items: Any, lock: Any) -> None:
    with lock:
        d[os.getpid()] = 1
        items += [os.getpid()]
    assert list(d) == [os.getpid()]


def test_proxies_in_a_child(context: Any) -> None:
    with context.Manager() as manager:
        d, items, lock = manager.dict(), manager.list(), manager.Lock()
        run_child(context, fill, d, items, lock)
        assert d.keys() == items[:]
        assert items[0] != os.getpid()
        assert manager._number_of_objects() == 3
    manager.join()


def test_proxies_travel_through_pipes_and_managers(manager: SyncManager) -> None:
    a, b = Pipe()
    with a, b:
        a.send(manager.list([1]))
        received = b.recv()
        received.append(2)
        assert received[:] == [1, 2]
    manager.Namespace().x = received


def test_many_threads_use_one_proxy(manager: SyncManager) -> None:
    d, lock = manager.dict(n=0), manager.Lock()

    def count() -> None:
        for _ in range(50):
            with lock:
                d["n"] += 1

    threads = [threading.Thread(target=count) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert d["n"] == 250


def test_a_signal_handler_may_use_a_proxy_that_is_in_use(manager: SyncManager) -> None:
    d, event = manager.dict(), manager.Event()
    old = signal.signal(signal.SIGUSR1, lambda *_: (d.update(handled=True), event.set()))
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert event.wait(30)
        timer.join()
        assert d["handled"]
    finally:
        signal.signal(signal.SIGUSR1, old)


# -- own types ---------------------------------------------------------------------------------------------------------


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.number = start

    def up(self) -> int:
        self.number += 1
        return self.number

    def fail(self) -> None:
        raise LookupError("on purpose")

    def bad(self) -> Any:
        return threading.Lock()

    def _hidden(self) -> str:
        return "seen"

    def part(self) -> "Counter":
        return Counter(100)


class CounterProxy(BaseProxy):
    _exposed_ = ("up", "_hidden")

    def up_twice(self) -> Any:
        self._callmethod("up")
        return self._callmethod("up")


class Own(BaseManager):
    pass


Own.register("Counter", Counter)
Own.register("Special", Counter, proxytype=CounterProxy)
Own.register("Hidden", Counter, exposed=("_hidden",))
Own.register("Whole", Counter, method_to_typeid={"part": "Part"})
Own.register("Part", exposed=("up",), create_method=False)
Own.register("NoMethod", Counter, create_method=False)


def test_own_types() -> None:
    with Own() as own:  # type: ignore[var-annotated]
        counter = own.Counter(5)  # type: ignore[attr-defined]
        assert (counter.up(), hasattr(counter, "_hidden")) == (6, False)
        with pytest.raises(LookupError, match="on purpose") as caught:
            counter.fail()
        assert "in fail" in caught.value.__notes__[0]
        with pytest.raises(RemoteError, match="Unserializable message"):
            counter.bad()
        assert counter.up() == 7
        special = own.Special()  # type: ignore[attr-defined]
        assert (special.up_twice(), special._callmethod("_hidden")) == (2, "seen")
        assert own.Hidden()._hidden() == "seen"  # type: ignore[attr-defined]
        part = own.Whole().part()  # type: ignore[attr-defined]
        assert part.up() == 101
        assert not hasattr(own, "NoMethod")
    own.join()
    with pytest.raises(AssertionError):
        Own.register("x", Counter, method_to_typeid={1: "Counter"})  # type: ignore[dict-item]


# -- the life of a manager ---------------------------------------------------------------------------------------------


def test_states() -> None:
    manager = SyncManager()
    with pytest.raises(AssertionError, match="server not yet started"):
        manager.dict()
    assert not hasattr(manager, "shutdown")
    with pytest.raises(TypeError, match="initializer must be a callable"):
        manager.start(1)  # type: ignore[arg-type]
    manager.start()
    for again in (manager.start, manager.get_server):
        with pytest.raises(phalanx.ProcessError, match="Already started server"):
            again()
    manager.shutdown()
    manager.shutdown()
    assert manager._process.exitcode == 0
    with pytest.raises(phalanx.ProcessError, match="Manager has shut down"):
        manager.start()
    with pytest.raises(phalanx.ProcessError, match="Manager has shut down"):
        manager.__enter__()
    manager.join()


def set_up(shared: Any, what: str) -> None:
    if what == "raise":
        raise LookupError("set up on purpose")
    shared.append(what)


def test_the_initializer_runs_first_and_its_error_arrives(context: Any) -> None:
    with context.Manager() as outer:
        shared = outer.list()
        inner = SyncManager(ctx=context)
        inner.start(set_up, (shared, "ran"))
        inner.shutdown()
        assert shared[:] == ["ran"]
        failing = SyncManager(ctx=context)
        with pytest.raises(LookupError, match="set up on purpose"):
            failing.start(set_up, (shared, "raise"))
    for ended in (outer, inner, failing):
        ended.join()


def test_an_address_in_use_is_an_error_of_start() -> None:
    with SyncManager(("localhost", 0)) as manager, pytest.raises(OSError, match="in use"):
        SyncManager(manager.address).start()
    manager.join()


def test_a_remote_manager() -> None:
    class Remote(BaseManager):
        pass

    class Local(BaseManager):
        pass

    shared: queue.Queue[Any] = queue.Queue()
    Remote.register("get_queue", lambda: shared)
    Local.register("get_queue")
    with Remote(("localhost", 0), authkey=b"key", serializer="xmlrpclib", ctx=phalanx.get_context("fork")) as remote:
        local: Any = Local(remote.address, authkey=b"key", serializer="xmlrpclib")
        local.connect()
        local.get_queue().put(["hello", None, 2.5])
        other: Any = remote
        assert other.get_queue().get() == ["hello", None, 2.5]
        stranger = Local(remote.address, authkey=b"wrong", serializer="xmlrpclib")
        with pytest.raises(phalanx.AuthenticationError):
            stranger.connect()
    remote.join()


def test_serving_in_this_process() -> None:
    server = SyncManager(authkey=b"key").get_server()
    ended: list[Any] = []

    def serve() -> None:
        try:
            server.serve_forever()
        except SystemExit as end:
            ended.append(end.code)

    thread = threading.Thread(target=serve)
    thread.start()
    client = SyncManager(server.address, authkey=b"key")
    client.connect()
    assert client.list([1])[:] == [1]
    server.stop_event.set()
    thread.join()
    assert ended == [0]
    server.listener.close()


def test_a_silent_client_keeps_nobody_waiting(manager: SyncManager) -> None:
    with Client(manager.address):
        assert manager.list([1])[:] == [1]


def test_a_manager_that_is_gone_is_an_error(manager: SyncManager) -> None:
    d = manager.dict()
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join()
    with pytest.raises((OSError, EOFError)):
        d["a"] = 1
    with pytest.raises((OSError, EOFError)):
        d["a"] = 1


def leave_a_manager(conn: Any) -> None:
    manager = SyncManager()
    manager.start()
    conn.send(manager._process.pid)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_manager_ends_with_its_owner() -> None:
    context = phalanx.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    owner = context.Process(target=leave_a_manager, args=(writer,))
    owner.start()
    writer.close()
    with reader:
        server = os.pidfd_open(reader.recv())
    owner.join()
    assert phalanx.connection.wait([server], 30)
    os.close(server)


# -- deaths of clients -------------------------------------------------------------------------------------------------


def take(lock: Any, conn: Any) -> None:
    lock.acquire()
    conn.send("taken")
    time.sleep(60)


def want(lock: Any, conn: Any) -> None:
    conn.send("wanted")
    lock.acquire()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_holder_of_a_lock_dies(manager: SyncManager, kind: str) -> None:
    context = phalanx.get_context("fork")
    lock = getattr(manager, kind)()
    with (reader := Pipe(False))[0], reader[1]:
        holder = context.Process(target=take, args=(lock, reader[1]))
        holder.start()
        assert reader[0].recv() == "taken"
        assert not lock.acquire(False)
        holder.kill()
        for _ in range(2):
            with pytest.raises(phalanx.ProcessError, match="has died"):
                lock.acquire()
        lock.recover()
        assert lock.acquire()
        holder.join()


def test_a_thread_that_ends_with_a_lock_is_no_death(manager: SyncManager) -> None:
    lock = manager.Lock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    assert not lock.acquire(timeout=0.001)
    lock.release()
    assert lock.acquire()


def test_who_dies_waiting_for_a_lock_does_not_get_it(manager: SyncManager) -> None:
    context = phalanx.get_context("fork")
    lock = manager.Lock()
    reader, writer = Pipe(False)
    with lock, reader, writer:
        waiter = context.Process(target=want, args=(lock, writer))
        waiter.start()
        assert reader.recv() == "wanted"
        waiter.kill()
        waiter.join()
    assert lock.acquire()


def test_containers_are_the_abstract_ones(manager: SyncManager) -> None:
    for proxy, kind in (
        (manager.dict(), MutableMapping),
        (manager.list(), MutableSequence),
        (manager.set(), MutableSet),
    ):
        assert isinstance(proxy, kind)


def hold_references(proxy: Any, conn: Any) -> None:
    mine = copy.copy(proxy)
    conn.send(str(mine))
    time.sleep(60)


def test_the_references_of_a_killed_client_go_with_it(manager: SyncManager) -> None:
    context = phalanx.get_context("fork")
    proxy = manager.list([1])
    reader, writer = Pipe(False)
    with reader, writer:
        holder = context.Process(target=hold_references, args=(proxy, writer))
        holder.start()
        assert reader.recv() == "[1]"
        del proxy
        assert manager._number_of_objects() == 1
        holder.kill()
        holder.join()
        deadline = time.monotonic() + 30
        while manager._number_of_objects() and time.monotonic() < deadline:
            pass
    assert manager._number_of_objects() == 0
