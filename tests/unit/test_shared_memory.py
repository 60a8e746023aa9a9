"""Named segments, lists in them, their manager; what they share with strangers and with the stdlib's."""

import errno
import inspect
import os
import pickle
import signal
import struct
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx._base import limits, list_layout, memory, segments
from phalanx.managers import SharedMemoryManager, SharedMemoryServer
from phalanx.shared_memory import ShareableList, SharedMemory

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NAME = f"phalanx-test-{os.getpid()}"


def no_unnamed_files(mode: int) -> int:
    raise OSError(errno.EOPNOTSUPP, "not here")


@pytest.fixture(params=["unnamed", "named", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three ways to a segment: a file that gets its name when it is ready, shm_open(3), open(2)."""
    if request.param != "unnamed":
        monkeypatch.setattr(segments, "create", no_unnamed_files)
    if request.param == "python":
        monkeypatch.setattr(segments, "_c_open", segments._open_file)
        monkeypatch.setattr(segments, "_c_unlink", segments._unlink_file)


@pytest.fixture
def segment() -> Iterator[SharedMemory]:
    segment = SharedMemory(create=True, size=100)
    yield segment
    segment.close()
    if os.path.exists(f"/dev/shm/{segment.name}"):
        segment.unlink()


@pytest.fixture
def make_list() -> Iterator[Any]:
    made: list[ShareableList[Any]] = []

    def make(values: Any = None, **options: Any) -> ShareableList[Any]:
        made.append(ShareableList(values, **options))
        return made[-1]

    yield make
    for shared_list in made:
        shared_list.shm.close()
        shared_list.shm.unlink()


# -- segments ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", [None, pytest.param(NAME, id="own name"), "naïve: with\nlines"])
def test_a_segment_is_found_by_its_name_until_it_is_unlinked(name: str | None) -> None:
    first = SharedMemory(name, create=True, size=100)
    first.buf[:5] = b"howdy"
    with SharedMemory(first.name) as second:
        assert bytes(second.buf[:5]) == b"howdy"
        assert second.size == first.size == len(first.buf) == 100
    with pytest.raises(FileExistsError):
        SharedMemory(first.name, create=True, size=1)
    first.unlink()
    with pytest.raises(FileNotFoundError):
        SharedMemory(first.name)
    assert bytes(first.buf[:5]) == b"howdy"
    first.close()


@pytest.mark.usefixtures("way")
def test_a_made_up_name_that_is_taken_gives_way_to_the_next(
    segment: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from phalanx import shared_memory

    names = iter([f"/{segment.name}", f"/{NAME}"])
    monkeypatch.setattr(shared_memory, "_make_filename", lambda: next(names))
    with SharedMemory(create=True, size=1) as other:
        assert other.name == NAME
        other.unlink()


def test_only_the_user_may_read_and_write(segment: SharedMemory) -> None:
    status = os.stat(f"/dev/shm/{segment.name}")
    assert segment.name.startswith("psm_")
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= 100, "the memory has not been reserved"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"create": True, "size": -1}, ValueError, "'size' must be a positive integer"),
        ({"create": True}, ValueError, "'size' must be a positive number different from zero"),
        ({"create": False}, ValueError, "'name' can only be None if create=True"),
        ({"create": True, "size": 1.5}, TypeError, "'size'"),
        ({"name": b"x"}, TypeError, "'name'"),
        ({"name": "a\0b"}, ValueError, "embedded null"),
        ({"name": "a/b"}, OSError, "Invalid argument"),
        ({"name": "", "create": True, "size": 1}, OSError, "Invalid argument"),
        ({"name": ".."}, OSError, "Invalid argument"),
        ({"name": "x" * 256, "create": True, "size": 1}, OSError, "Invalid argument"),
        ({"name": "x" * 1000, "create": True, "size": 1}, OSError, "Invalid argument"),
        pytest.param({"name": NAME}, FileNotFoundError, f"'/{NAME}'", id="no such name"),
    ],
)
@pytest.mark.usefixtures("way")
def test_what_cannot_be_is_refused(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        SharedMemory(**arguments)


def test_the_signature_is_the_newest_standard_librarys() -> None:
    track = inspect.signature(SharedMemory).parameters["track"]
    assert track.kind is track.KEYWORD_ONLY
    assert track.default == True  # noqa: E712
    assert repr(track.default) == "True"


def test_close_waits_for_no_view_and_can_be_repeated(segment: SharedMemory) -> None:
    view = segment.buf[10:20]
    with pytest.raises(BufferError):
        segment.close()
    view.release()
    segment.close()
    segment.close()
    assert segment.buf is None
    assert segment.size == 100
    assert repr(segment) == f"SharedMemory({segment.name!r}, size=100)"


def test_a_view_outlives_the_object(segment: SharedMemory) -> None:
    other = SharedMemory(segment.name)
    view = other.buf
    del other
    view[0] = 7
    assert segment.buf[0] == 7
    view.release()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_is_a_name(segment: SharedMemory, protocol: int) -> None:
    pickled = pickle.dumps(segment, protocol)
    with pickle.loads(pickled) as other:
        other.buf[0] = 9
        assert segment.buf[0] == 9
    segment.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)


@pytest.mark.usefixtures("way")
def test_a_full_mount_is_told_with_figures_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"12,345,678 bytes: only [0-9,]+ bytes of /dev/shm are free") as caught:
        SharedMemory(NAME, create=True, size=12_345_678)
    assert caught.value.errno == errno.ENOSPC
    assert not os.path.exists(f"/dev/shm/{NAME}")


@pytest.mark.usefixtures("way")
def test_more_than_the_memory_left_is_told_with_figures_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 20_000_000)
    with pytest.raises(MemoryError, match="20,000,001 bytes: only 20,000,000 bytes"):
        SharedMemory(NAME, create=True, size=20_000_001)
    assert not os.path.exists(f"/dev/shm/{NAME}")


@pytest.mark.usefixtures("way")
def test_a_segment_that_cannot_be_mapped_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    from phalanx import shared_memory

    def fail(fd: int, size: int) -> None:
        raise OSError(errno.ENOMEM, "no address space")

    monkeypatch.setattr(shared_memory, "_map_fd", fail)
    with pytest.raises(OSError, match="no address space"):
        SharedMemory(NAME, create=True, size=1)
    assert not os.path.exists(f"/dev/shm/{NAME}")


def test_a_file_system_that_cannot_reserve_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    with SharedMemory(create=True, size=5000) as segment:
        assert segment.size == 5000
        segment.unlink()


def test_a_system_without_the_mount_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(segments, "MOUNT", str(tmp_path / "none"))
    monkeypatch.setattr(segments, "_c_open", segments._open_file)
    with pytest.raises(FileNotFoundError, match="where named shared memory would be, is missing"):
        SharedMemory(create=True, size=1, track=False)


# -- how much memory is left -------------------------------------------------------------------------------------------


def test_cached_files_do_not_count_as_used(tmp_path: Path) -> None:
    files = {"max": "1000000", "current": "900000", "stat": "anon 1\ninactive_file 300000\nactive_file 5\n"}
    for name, text in files.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._left_v2(str(tmp_path)) == 400_005
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_v2(str(tmp_path)) is None


def test_the_machine_says_how_much_is_left() -> None:
    assert (memory.available_bytes() or 0) > limits.SEGMENT_UNCHECKED_BYTES


# -- between processes -------------------------------------------------------------------------------------------------


def write_into(target: SharedMemory | str, data: bytes) -> None:
    with SharedMemory(target) if isinstance(target, str) else target as segment:
        segment.buf[: len(data)] = data


def make_one(queue: Any) -> None:
    with SharedMemory(create=True, size=10) as segment:
        segment.buf[:4] = b"mine"
        queue.put(segment)


def double(queue: Any, answers: Any) -> None:
    shared_list = queue.get()
    shared_list[0] *= 2
    shared_list.shm.close()
    answers.put(None)


def test_a_child_attaches_by_object_and_by_name(context: Any, segment: SharedMemory) -> None:
    for target, data in ((segment, b"HELLO"), (segment.name, b"howdy")):
        child = context.Process(target=write_into, args=(target, data))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert bytes(segment.buf[:5]) == data


def test_what_a_child_has_made_outlives_the_child(context: Any) -> None:
    queue = context.Queue()
    child = context.Process(target=make_one, args=(queue,))
    child.start()
    child.join()
    with queue.get(timeout=30) as segment:
        assert bytes(segment.buf[:4]) == b"mine"
        segment.unlink()


def test_a_list_goes_through_a_queue(context: Any, make_list: Any) -> None:
    shared_list = make_list([21, "x"])
    queue, answers = context.Queue(), context.Queue()
    child = context.Process(target=double, args=(queue, answers))
    child.start()
    queue.put(shared_list)
    answers.get(timeout=30)
    child.join()
    assert list(shared_list) == [42, "x"]


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_programs_of_the_standard_library_share_lists_with_ours(make_list: Any) -> None:
    program = """
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import ShareableList
shared_list = ShareableList(name=sys.argv[1])
resource_tracker.unregister("/" + sys.argv[1], "shared_memory")
print(list(shared_list))
shared_list[0] = "written"
shared_list[2] = 2.5
shared_list.shm.close()
"""
    shared_list = make_list([b"end\0", "text", 1, None, True, "\0"])
    assert run(program, shared_list.shm.name).strip() == "[b'end', 'text', 1, None, True, '']"
    assert list(shared_list) == ["written", "text", 2.5, None, True, "\0"]


# -- lists -------------------------------------------------------------------------------------------------------------

VALUES = [
    0,
    -(2**63),
    2**63 - 1,
    1.5,
    True,
    False,
    None,
    "",
    "text",
    "é" * 7,
    "ends\0",
    "\0\0",
    b"",
    b"\0",
    b"12345678",
]


def test_a_list_keeps_what_it_is_given(make_list: Any) -> None:
    shared_list = make_list(VALUES)
    assert list(shared_list) == VALUES
    assert [type(value) for value in shared_list] == [type(value) for value in VALUES]
    assert len(shared_list) == len(VALUES)
    assert repr(shared_list) == f"ShareableList({VALUES}, name={shared_list.shm.name!r})"
    attached: ShareableList[Any] = ShareableList(name=shared_list.shm.name)
    assert list(attached) == VALUES
    attached.shm.close()


def test_formats_are_the_standard_librarys(make_list: Any) -> None:
    shared_list = make_list(["howdy", b"HoWdY", -273.154, 100, None, True, 42])
    assert shared_list.format == "8s8sdqxxxxxx?xxxxxxxx?q"
    shared_list[4] = "some"
    assert shared_list.format == "8s8sdq8sxxxxxxx?q"
    shared_list[0] = "nul\0"
    assert shared_list.format == "8s8sdq8sxxxxxxx?q"
    assert shared_list[0] == "nul\0"


def test_items_are_replaced_within_their_storage(make_list: Any) -> None:
    shared_list = make_list(["howdy", b"next", 1])
    shared_list[0] = "encodés"  # 8 bytes of UTF-8
    shared_list[-1] = "8 bytes."
    assert list(shared_list) == ["encodés", b"next", "8 bytes."]
    for value in ("encodées", b"123456789"):
        with pytest.raises(ValueError, match="exceeds available storage"):
            shared_list[0] = value
    assert list(shared_list) == ["encodés", b"next", "8 bytes."]


@pytest.mark.parametrize("value", [[], {1}, object, 1j, bytearray(b"x")])
def test_other_types_are_refused_as_by_the_standard_library(make_list: Any, value: Any) -> None:
    shared_list = make_list([1])
    for error in (KeyError, TypeError):
        with pytest.raises(error, match="cannot hold"):
            shared_list[0] = value
        with pytest.raises(error, match="cannot hold"):
            ShareableList([value])
    assert list(shared_list) == [1]


def test_numbers_and_texts_too_large_are_refused_and_leave_nothing() -> None:
    with pytest.raises(struct.error):
        ShareableList([2**63])
    with pytest.raises(ValueError, match="up to 9999991 bytes"):
        ShareableList(["x" * 10_000_000])
    with pytest.raises(UnicodeEncodeError):
        ShareableList(["\ud800"])


def test_positions_that_are_none(make_list: Any) -> None:
    shared_list = make_list([1, 2])
    for position in (2, -3, 100, -100):
        with pytest.raises(IndexError, match=r"^index out of range"):
            shared_list[position]
        with pytest.raises(IndexError, match=r"^assignment index out of range"):
            shared_list[position] = 1
    with pytest.raises(TypeError):
        shared_list[0:1]


def test_count_and_index(make_list: Any) -> None:
    shared_list = make_list([1, "a", 1, None])
    assert shared_list.count(1) == 2
    assert shared_list.count("b") == 0
    assert shared_list.index(None) == 3
    with pytest.raises(ValueError, match="'b' not in this container"):
        shared_list.index("b")


def test_an_empty_list(make_list: Any) -> None:
    for shared_list in (make_list(), make_list([]), make_list(iter(()))):
        assert len(shared_list) == 0
        assert shared_list.format == ""
        assert shared_list.count(None) == 0


def test_a_list_of_a_list_has_storage_of_its_own(make_list: Any) -> None:
    first = make_list([1, "encodés"])
    second = make_list(first, name=NAME)
    assert second.shm.name == NAME
    assert second.format == first.format
    second[0] = 2
    assert (first[0], second[0]) == (1, 2)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 64, struct.pack("qqq", 1, 0, 2**40), struct.pack("qqqq", 2, 8, 0, 8)]
)
def test_a_segment_without_a_list_is_refused(segment: SharedMemory, content: bytes) -> None:
    segment.buf[: len(content)] = content
    if content:
        with pytest.raises(ValueError, match="holds no ShareableList"):
            ShareableList(name=segment.name)
    else:
        assert len(ShareableList(name=segment.name)) == 0  # zeros are an empty list


def test_a_closed_list_says_so(make_list: Any) -> None:
    shared_list = make_list([1])
    shared_list.shm.close()
    for use in (lambda: shared_list[0], lambda: len(shared_list), lambda: shared_list.format):
        with pytest.raises(TypeError, match="closed"):
            use()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_lists_pickle_is_a_name(make_list: Any, protocol: int) -> None:
    shared_list = make_list(range(10))
    pickled = pickle.dumps(shared_list, protocol)
    assert len(pickled) == len(pickle.dumps(make_list(range(400)), protocol))
    other = pickle.loads(pickled)
    other[4] = "changed"
    assert shared_list[4] == "changed"
    other.shm.close()


def test_a_list_is_generic() -> None:
    alias: Any = ShareableList[int]
    assert isinstance(alias, types.GenericAlias)
    assert alias.__origin__ is ShareableList


storable = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.none(), st.text(), st.binary()
)


@given(st.lists(storable), st.lists(st.tuples(st.integers(0, 100), storable)))
def test_the_layout_is_a_list_of_fixed_storage(values: list[Any], changes: list[tuple[int, Any]]) -> None:
    layout = list_layout.Layout.for_values(values)
    buffer = memoryview(bytearray(layout.size_bytes))
    layout.write_all(buffer, values)
    for index, value in changes:
        if values:
            try:
                layout.write(buffer, index % len(values), value)
            except ValueError:
                continue
            values[index % len(values)] = value
    reader = list_layout.Layout.of_buffer(buffer)
    assert [reader.read(buffer, index) for index in range(reader.count)] == values


# -- the manager -------------------------------------------------------------------------------------------------------


def test_a_manager_removes_what_it_has_given_out(context: Any) -> None:
    with SharedMemoryManager(ctx=context) as manager:
        segment, shared_list = manager.SharedMemory(size=100), manager.ShareableList("howdy")
        names = [segment.name, shared_list.shm.name]
        assert list(ShareableList(name=names[1])) == list("howdy")
        assert segment.size == 100
    for name in names:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)
    segment.close()
    shared_list.shm.close()


def test_a_manager_that_does_not_run_gives_out_nothing() -> None:
    manager = SharedMemoryManager()
    with pytest.raises(ValueError, match="not been started"):
        manager.SharedMemory(size=9)
    with pytest.raises(ValueError, match="not been started"):
        manager.ShareableList([1])


def test_ctrl_c_does_not_reach_the_managers_process() -> None:
    with SharedMemoryManager() as manager:
        os.kill(manager._process.pid, signal.SIGINT)
        shared_list = manager.ShareableList(range(10))
        assert list(shared_list) == list(range(10))
        shared_list.shm.close()


def test_the_server_keeps_a_list() -> None:
    server = SharedMemoryServer({}, None, b"key", "pickle")
    try:
        names = []
        for _ in range(2):
            with SharedMemory(create=True, size=1) as segment:
                server.track_segment(None, segment.name)
                names.append(segment.name)
        assert server.list_segments(None) == names
        server.release_segment(None, names[0])
        assert server.list_segments(None) == names[1:]
        server.release_segment(None, names[0])
        server._remove_all()
        assert server.list_segments(None) == []
        assert not [name for name in names if os.path.exists(f"/dev/shm/{name}")]
    finally:
        server.listener.close()
