"""`python -m phalanx`: programs that know nothing of phalanx."""

import subprocess
import sys

import pytest

START_METHODS = ["fork", "spawn", "forkserver"]
COMMAND = [sys.executable, "-m", "phalanx"]
RUN_LIMIT_S = 50

PROGRAM = """
import multiprocessing
import sys
from multiprocessing import Pool, Queue

def package(_):
    return multiprocessing.__name__

def put(queue):
    queue.put(multiprocessing.__name__)

def main():
    multiprocessing.set_start_method(sys.argv[1])
    with Pool(2) as pool:
        print(pool.map(package, range(4)))
    queue = Queue()
    process = multiprocessing.Process(target=put, args=(queue,))
    process.start()
    print(queue.get())
    process.join()

if __name__ == "__main__":
    main()
"""
OUTPUT = "['phalanx', 'phalanx', 'phalanx', 'phalanx']\nphalanx\n"


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False, **options
    )


@pytest.mark.parametrize("method", START_METHODS)
def test_a_script(tmp_path, method):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run(tmp_path / "program.py", method)
    assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 0)


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("name", ["package", "package.module"])
def test_a_module(tmp_path, method, name):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text("from package.module import main; main()")
    (tmp_path / "package" / "module.py").write_text(PROGRAM)
    done = run("-m", name, method, cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 0)


SURROUNDINGS = """
import sys
main = sys.modules["__main__"]
print(__name__, main.__dict__ is globals(), __file__)
print(sys.argv, sys.path[0])
print(__package__, __spec__ and __spec__.name)
"""


def test_a_script_sees_what_it_would_see_under_python(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(SURROUNDINGS)
    plain = subprocess.run([sys.executable, path, "a", "-b"], capture_output=True, text=True, check=True)
    assert run(path, "a", "-b").stdout == plain.stdout
    plain = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run("program.py", cwd=tmp_path).stdout == plain.stdout


def test_a_module_sees_what_it_would_see_under_python(tmp_path):
    (tmp_path / "module.py").write_text(SURROUNDINGS)
    command = [sys.executable, "-m", "module", "a", "-b"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run("-m", "module", "a", "-b", cwd=tmp_path).stdout == plain.stdout


@pytest.mark.parametrize(
    ("source", "status"), [("raise SystemExit(7)", 7), ("import sys; sys.exit('no')", 1), ("1/0", 1)]
)
def test_the_exit_status_is_the_programs(tmp_path, source, status):
    (tmp_path / "program.py").write_text(source)
    assert run(tmp_path / "program.py").returncode == status


@pytest.mark.parametrize("source", ["def f():\n    1 / 0\nf()\n", "def f(:\n", "raise SystemExit('no')"])
def test_an_error_looks_as_it_would_under_python(tmp_path, source):
    (tmp_path / "program.py").write_text(source)
    plain = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, check=False, cwd=tmp_path)
    done = run("program.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == (plain.stderr, plain.returncode)


def test_what_outlives_the_program_still_finds_its_names(tmp_path):
    (tmp_path / "program.py").write_text(
        "import atexit, pickle\n"
        "def last():\n"
        "    print(pickle.loads(pickle.dumps(last)) is last)\n"
        "atexit.register(last)\n"
    )
    assert run(tmp_path / "program.py").stdout == "True\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.py"], "cannot read 'nowhere.py': No such file or directory"),
        (["-m", "no_such_module"], "there is no module 'no_such_module'"),
        (["-m", "no_such_package.module"], "there is no module 'no_such_package.module'"),
        (["-m"], "'-m' names no program"),
        (["--bogus", "x.py"], "'--bogus x.py' names no program"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, sentence):
    done = run(*arguments)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert (done.stdout, done.returncode) == ("", 2)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help(arguments):
    done = run(*arguments)
    assert done.stdout.startswith("usage: python -m phalanx")
    assert (done.stderr, done.returncode) == ("", 0)
