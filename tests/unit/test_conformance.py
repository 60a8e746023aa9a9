"""The runner of CPython's tests: how it reads a test process's events, and what it says is owed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import suite, verdict
from tests.conformance.suite import Result, Session

ROOT = Path(__file__).parents[2]


def session(package="phalanx", **statuses):
    return Session(
        package, "fork", {f"WithProcessesTestLock.{name}": Result(s, f"why {s}") for name, s in statuses.items()}
    )


def test_owed_is_what_the_stdlib_passes_less_the_exemptions():
    seen = session(test_a="pass", test_b="fail", test_c="skip", test_d="pass", test_e="fail")
    stdlib = session(
        "multiprocessing", test_a="pass", test_b="pass", test_c="pass", test_d="skip", test_e="pass", test_f="pass"
    )
    record = verdict.judge(seen, stdlib, [verdict.Exemption("_TestLock.test_e", "internals")])
    assert (record["owed"], record["passed"]) == (4, 1)
    assert {name.partition(".")[2]: what["status"] for name, what in record["missing"].items()} == {
        "test_b": "fail",
        "test_c": "skip",
        "test_f": "not run",
    }
    assert record["exempt"] == {"WithProcessesTestLock.test_e": "fail"}


@pytest.mark.parametrize(
    ("line", "minor", "covered"), [("<3.13", 12, True), ("<3.13", 13, False), (">=3.13", 13, True), ("", 11, True)]
)
def test_exemption_bounds(line, minor, covered):
    rule = verdict.parse_exemption(f"_TestX.test_y {line} # a reason")
    assert rule.covers("WithManagerTestX.test_y", minor) is covered
    assert not rule.covers("WithManagerTestX.test_z", minor)


def test_exemption_needs_a_reason():
    with pytest.raises(ValueError, match="REASON"):
        verdict.parse_exemption("TestX.test_y")


def test_the_exemptions_are_well_formed_and_not_double():
    patterns = [rule.pattern for rule in verdict.exemptions()]
    assert len(patterns) == len(set(patterns)) > 10


def test_the_worst_of_several_outcomes_counts():
    reading = suite.Reading()
    for status in ("pass", "fail", "pass"):
        reading.on_result({"id": "C.t", "status": status, "detail": ""})
    assert reading.results["C.t"].status == "fail"


# A process of its own: whoever adopts orphans does so for good, and ends all children that it has.
ISOLATED = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from tests.conformance import isolation
isolation.adopt_orphans()
print(json.dumps(asdict(isolation.run([sys.executable, "-c", sys.argv[1]], {}, Path(sys.argv[2]), float(sys.argv[3])))))
"""


def isolated(program, folder, limit_s):
    command = [sys.executable, "-c", ISOLATED, program, str(folder), str(limit_s)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def test_nothing_of_a_command_survives(tmp_path):
    program = "import subprocess; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid)"
    outcome = isolated(program, tmp_path, 30)
    assert outcome["code"] == 0
    assert "sleep 60" in outcome["survivors"][0]
    assert not Path(f"/proc/{outcome['output'].strip()}").exists()


def test_a_command_that_hangs_prints_its_stacks(tmp_path):
    program = "import faulthandler, time; faulthandler.enable(); time.sleep(60)"
    outcome = isolated(program, tmp_path, 1)
    assert outcome["code"] is None
    assert "Current thread" in outcome["output"]
