"""One workload on one module in this process, the better of a few repetitions, as one line of JSON on stdout.

usage: python -m benchmarks.once MODULE WORKLOAD START SCALE REPETITIONS
"""

import importlib
import json
import resource
import sys

from benchmarks.workloads import WORKLOADS


def cpu_s() -> float:
    """CPU seconds of this process and of all children that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    module, name, start, scale, repetitions = sys.argv[1:]
    workload = WORKLOADS[name]
    context = importlib.import_module(module).get_context(start)
    begun = cpu_s()
    values = [workload.measure(context, float(scale)) for _ in range(int(repetitions))]
    best = max(values) if workload.is_higher_better else min(values)
    print(json.dumps({"value": best, "cpu_s": (cpu_s() - begun) / int(repetitions)}))


if __name__ == "__main__":
    main()
