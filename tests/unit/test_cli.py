"""`phalanx map`, run as a user runs it."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading

import pytest

START_METHODS = ["fork", "spawn", "forkserver"]
COMMAND = [sys.executable, "-m", "phalanx.cli"]
RUN_LIMIT_S = 50

FUNCTIONS = """
import dataclasses, os, sys, time

def double(text):
    return int(text) * 2

def same(value):
    return value

def chatty(text):
    print("a word from", text)
    os.write(1, b"a byte from " + text.encode())
    return text

def leave(text):
    raise SystemExit(text)

def die_at_3(text):
    if text == "3":
        os._exit(7)
    return text

def die_twice(path):
    with open(path, "a+") as file:
        file.write("x")
        file.seek(0)
        tries = file.read()
    if len(tries) < 3:
        os._exit(7)
    return tries

class Wordless(Exception):
    def __str__(self):
        raise self

def wordless(text):
    raise Wordless

def slow_at_0(text):
    if text.startswith("0"):
        time.sleep(1)
    return len(text)

def odd(text):
    return {"infinity": float("inf"), "a set": {1}, "a tuple as key": {(1, 2): 3}, "bytes": b"x"}[text]

def sleep(text):
    time.sleep(float(text))

async def later(text):
    pass

class Adder:
    @staticmethod
    def add_1(text):
        return int(text) + 1

number = 3
"""


@pytest.fixture
def functions(tmp_path):
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return str(path)


def phalanx(*arguments, text="", **options):
    """Ends only when every process that holds the pipes has ended: a child left behind shows as a time-out."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False, **options
    )


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def results(done):
    return [line["result"] for line in lines(done)]


# -- what it does ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_each_input_gives_one_line(functions, method, order):
    done = phalanx("map", f"{functions}:double", "--start-method", method, *order, *range(50))
    assert sorted(lines(done), key=lambda line: line["index"]) == [
        {"index": n, "input": str(n), "result": 2 * n} for n in range(50)
    ]
    assert order or results(done) == [2 * n for n in range(50)]
    assert done.returncode == 0


@pytest.mark.parametrize("method", START_METHODS)
def test_a_failing_input_is_one_line_and_the_others_go_on(functions, method):
    done = phalanx("map", f"{functions}:double", "--start-method", method, "1", "x", "3")
    first, second, third = lines(done)
    assert (first["result"], third["result"]) == (2, 6)
    assert (second["index"], second["input"]) == (1, "x")
    assert second["error"] == "ValueError: invalid literal for int() with base 10: 'x'"
    assert second["traceback"].startswith(
        f'Traceback (most recent call last):\n  File "{functions}", line 5, in double'
    )
    assert second["traceback"].endswith(second["error"] + "\n")
    assert done.returncode == 1


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_a_dead_worker_fails_one_input(functions, method, order):
    done = phalanx("map", f"{functions}:die_at_3", "--start-method", method, "--workers", 2, *order, *range(8))
    by_index = {line["index"]: line for line in lines(done)}
    assert [by_index[n].get("result") for n in range(8)] == ["0", "1", "2", None, "4", "5", "6", "7"]
    assert by_index[3]["input"] == "3"
    assert by_index[3]["error"].startswith("WorkerDied: worker ")
    assert by_index[3]["error"].endswith(f"ended with exit code 7 while it ran {functions}:die_at_3() of item 3")
    assert done.returncode == 1


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_an_input_that_takes_too_long_fails_alone(functions, method, order):
    arguments = ["--start-method", method, *order, "--timeout", "0.5", "--workers", 2, "0", "1000", "0.01", "0"]
    done = phalanx("map", f"{functions}:sleep", *arguments)
    by_index = {line["index"]: line for line in lines(done)}
    assert [by_index[n].get("result", "failed") for n in range(4)] == [None, "failed", None, None]
    assert by_index[1]["error"].startswith("TaskTimeout")
    assert done.returncode == 1


@pytest.mark.parametrize("method", START_METHODS)
def test_retries_after_a_death(functions, tmp_path, method):
    path = tmp_path / "tries"
    assert results(phalanx("map", f"{functions}:die_twice", "--start-method", method, "--retries", 2, path)) == ["xxx"]
    path.unlink()
    done = phalanx("map", f"{functions}:die_twice", "--start-method", method, "--retries", 1, path)
    assert lines(done)[0]["error"].startswith("WorkerDied")
    assert done.returncode == 1


def test_an_error_without_words(functions):
    (line,) = lines(phalanx("map", f"{functions}:wordless", "x"))
    assert line["error"] == "Wordless: <no text: its __str__ fails>"


def test_exit_in_a_function_is_its_failure(functions):
    done = phalanx("map", f"{functions}:leave", "a", "b")
    assert [line["error"] for line in lines(done)] == ["SystemExit: a", "SystemExit: b"]
    assert done.returncode == 1


@pytest.mark.parametrize("target", ["math:factorial", "functions:Adder.add_1", "functions.py:Adder.add_1"])
def test_target_forms(functions, target):
    done = phalanx("map", target, "--json", "3", cwd=os.path.dirname(functions))
    assert results(done) == [6 if target.startswith("math") else 4]


@pytest.mark.parametrize("method", START_METHODS)
def test_a_file_may_have_the_name_of_a_loaded_module(tmp_path, method):
    path = tmp_path / "json.py"
    path.write_text("def f(text): return __file__")
    assert results(phalanx("map", f"{path}:f", "--start-method", method, "x")) == [str(path)]


@pytest.mark.parametrize("method", START_METHODS)
def test_a_file_imports_its_neighbours(tmp_path, method):
    (tmp_path / "neighbour.py").write_text("answer = 42")
    (tmp_path / "main.py").write_text("def f(text):\n    import neighbour\n    return neighbour.answer")
    assert results(phalanx("map", tmp_path / "main.py:f", "--start-method", method, "x")) == [42]


def test_what_functions_print_goes_to_stderr(functions):
    done = phalanx("map", f"{functions}:chatty", "x")
    assert results(done) == ["x"]
    assert "a word from x" in done.stderr
    assert "a byte from x" in done.stderr


@pytest.mark.parametrize(
    ("name", "written"),
    [("infinity", "inf"), ("a set", "{1}"), ("a tuple as key", "{(1, 2): 3}"), ("bytes", "b'x'")],
)
def test_what_json_cannot_hold_is_written_as_repr(functions, name, written):
    assert results(phalanx("map", f"{functions}:odd", name)) == [written]


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_inputs_from_a_file_of_lines(functions, tmp_path):
    path = tmp_path / "inputs"
    path.write_bytes(b"one\r\n\n last")
    done = phalanx("map", f"{functions}:same", "--from", path)
    assert results(done) == ["one", "", " last"]


def test_inputs_from_stdin(functions):
    assert results(phalanx("map", f"{functions}:same", "--from", "-", text="a\nb\n")) == ["a", "b"]


def test_no_lines_are_no_error(functions):
    done = phalanx("map", f"{functions}:same", "--from", "-")
    assert (done.stdout, done.returncode) == ("", 0)


def test_bytes_that_are_no_text_pass_through(functions, tmp_path):
    path = tmp_path / "inputs"
    path.write_bytes(b"\xff\n")
    assert results(phalanx("map", f"{functions}:same", "--from", path)) == ["\udcff"]


def test_inputs_from_a_folder(functions, tmp_path):
    for name in ("b.txt", "a.txt", "deep/c.txt", "deep/not.md", "out/d.txt"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    tree = tmp_path / "tree"
    done = phalanx("map", f"{functions}:same", "--glob", f"{tree}/**/*.txt", "--exclude", "*/out/*")
    assert results(done) == [f"{tree}/a.txt", f"{tree}/b.txt", f"{tree}/deep/c.txt"]


def test_sources_add_up_and_options_may_stand_anywhere(functions):
    done = phalanx("map", "--workers", 1, f"{functions}:same", "x", "--from", "-", "y", text="z\n")
    assert results(done) == ["x", "y", "z"]


def test_inputs_with_a_dash_come_after_two(functions):
    assert results(phalanx("map", f"{functions}:double", "--", "-3")) == [-6]


def test_json_inputs(functions):
    done = phalanx("map", f"{functions}:same", "--json", "3", '{"a": [null]}', "[")
    assert [line.get("result") for line in lines(done)] == [3, {"a": [None]}, None]
    assert lines(done)[2]["error"].startswith("JSONDecodeError: ")
    assert done.returncode == 1


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_endless_stdin_and_a_reader_that_leaves(functions, method, order):
    command = [*COMMAND, "map", f"{functions}:same", "--from", "-", "--start-method", method, *order]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        feeder = threading.Thread(target=feed_for_ever, args=(process.stdin,))
        feeder.start()
        read = [json.loads(process.stdout.readline())["result"] for _ in range(1_000)]
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(RUN_LIMIT_S) == 141
        feeder.join()
    assert read == ["line"] * 1_000


def feed_for_ever(file):
    with contextlib.suppress(BrokenPipeError):
        while True:
            file.write(b"line\n" * 100)
    with contextlib.suppress(BrokenPipeError):
        file.close()


def test_a_result_does_not_wait_for_the_next_input(functions):
    command = [*COMMAND, "map", f"{functions}:same", "--from", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for text in (b"first", b"second"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["result"] == text.decode()
        process.stdin.close()
        assert process.wait(RUN_LIMIT_S) == 0


def test_memory_is_bounded_while_one_input_takes_long(functions):
    """100 MB of input arrive while the first result is awaited; what is read ahead is far less."""
    command = [*COMMAND, "map", f"{functions}:slow_at_0", "--from", "-", "--workers", "2", "--output", os.devnull]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process.stdin as file:
        for number in range(50_000):
            file.write(b"%d" % number + b"x" * 2_000 + b"\n")
        peak_kib = peak_of(process.pid)
    assert process.wait(RUN_LIMIT_S) == 0
    assert peak_kib < 80 * 1024


def peak_of(pid):
    """The most memory that a process has had since it began to run its program, in KiB; wait4 counts the fork's too."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


# -- output ------------------------------------------------------------------------------------------------------------


def test_output_to_a_file(functions, tmp_path):
    path = tmp_path / "lines.jsonl"
    done = phalanx("map", f"{functions}:double", "--output", path, "1", "2")
    assert done.stdout == ""
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()] == [2, 4]


def test_the_summary(functions):
    done = phalanx("map", f"{functions}:double", "--workers", 2, "1", "x", "3")
    rows = dict(line.split(maxsplit=1) for line in done.stderr.replace(" time", "-time").splitlines())
    assert (rows["items"], rows["failed"]) == ("3", "1")
    assert rows["wall-time"].endswith(" s")
    assert "of 2 workers" in rows["busy-time"]
    assert "speed-up" not in rows


@pytest.mark.parametrize("method", START_METHODS)
def test_compare_tells_the_speed_up(functions, method):
    done = phalanx("map", f"{functions}:double", "--compare", "--start-method", method, "1", "x", "3")
    assert len(lines(done)) == 3
    assert "speed-up" in done.stderr
    assert "one process needs" in done.stderr


def test_progress_is_silent_without_a_terminal(functions):
    assert "%|" not in phalanx("map", f"{functions}:double", "1").stderr
    assert "%|" in phalanx("map", f"{functions}:double", "1", "--progress").stderr


def test_progress_in_a_terminal(functions, tmp_path):
    shown = run_in_terminal("map", f"{functions}:double", "--output", tmp_path / "out", "1", "2")
    assert "2/2" in shown
    hidden = run_in_terminal("map", f"{functions}:double", "--output", tmp_path / "out", "1", "2", "--no-progress")
    assert "2/2" not in hidden


def run_in_terminal(*arguments):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert process.wait(RUN_LIMIT_S) == 0
    return shown.decode()


# -- wrong usage -------------------------------------------------------------------------------------------------------

WRONG = [
    ([], "no command"),
    (["bogus"], "invalid choice: 'bogus'"),
    (["map"], "no function was named"),
    (["map", "nothing", "x"], "'nothing' names no function"),
    (["map", "nowhere.py:f", "x"], "there is no file 'nowhere.py'"),
    (["map", "no_such_module:f", "x"], "No module named 'no_such_module'"),
    (["map", "{f}:missing", "x"], "has no function 'missing'"),
    (["map", "{f}:number", "x"], "'number' of '{f}' is no function but 'int'"),
    (["map", "{f}:later", "x"], "async"),
    (["map", "{f}:same"], "there are no inputs"),
    (["map", "{f}:same", "--from", "nowhere"], "cannot read 'nowhere': No such file"),
    (["map", "{f}:same", "--from", "/"], "cannot read '/': Is a directory"),
    (["map", "{f}:same", "--glob", "nowhere/*"], "no file matches 'nowhere/*'"),
    (["map", "{f}:same", "--output", "nowhere/out", "x"], "cannot write 'nowhere/out': No such file"),
    (["map", "{f}:same", "--workers", "0", "x"], "'0' is no number of workers"),
    (["map", "{f}:same", "--workers", "two", "x"], "'two' is no number of workers"),
    (["map", "{f}:same", "--timeout", "0", "x"], "'0' is no time"),
    (["map", "{f}:same", "--retries", "-1", "x"], "--retries"),
    (["map", "{f}:same", "--start-method", "teleport", "x"], "invalid choice: 'teleport'"),
    (["map", "{f}:same", "--no-such-option", "x"], "unrecognized arguments: --no-such-option"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=[text for _, text in WRONG])
def test_wrong_usage_is_one_sentence(functions, arguments, sentence):
    done = phalanx(*(argument.replace("{f}", functions) for argument in arguments))
    assert sentence.replace("{f}", functions) in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("phalanx")
    assert (done.stdout, done.returncode) == ("", 2)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax ({path}, line 1)"),
        ("\n1 / 0\n", "ZeroDivisionError: division by zero ({path}, line 2)"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' ({path}, line 1)"),
        ("raise SystemExit(5)\n", "SystemExit: 5 ({path}, line 1)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_sentence(tmp_path, source, sentence):
    path = tmp_path / "broken.py"
    path.write_text(source)
    done = phalanx("map", f"{path}:f", "x")
    assert done.stderr == f"phalanx map: cannot import {str(path)!r}: {sentence.format(path=path)}\n"
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", [["--help"], ["map", "--help"]])
def test_help(arguments):
    done = phalanx(*arguments)
    assert done.stdout.startswith("usage: phalanx")
    assert (done.stderr, done.returncode) == ("", 0)


def test_version():
    assert re.fullmatch(r"phalanx \d+\.\d+\.\d+\n", phalanx("--version").stdout)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


def terminal_like(command, **options):
    """In a process group of its own, as a shell's foreground job, where SIGINT has its default effect."""
    return subprocess.Popen(
        command,
        process_group=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        **options,
    )


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_ctrl_c_in_mid_run(functions, method, order):
    command = [*COMMAND, "map", f"{functions}:sleep", "--start-method", method, *order, "--workers", "2"]
    with terminal_like([*command, "0", *["1000"] * 4]) as process:
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=RUN_LIMIT_S)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert b"items      1\n" in errors


def test_ctrl_c_while_stdin_is_awaited(functions):
    command = [*COMMAND, "map", f"{functions}:same", "--from", "-"]
    with terminal_like(command, stdin=subprocess.PIPE) as process:
        process.stdin.write(b"first\n")
        process.stdin.flush()
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(RUN_LIMIT_S) == 130  # stdin is still open
        assert b"Traceback" not in process.stderr.read()
