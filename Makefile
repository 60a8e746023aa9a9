# Every target sets up what it needs, in .venv, from python3 >= 3.11 (with headers and venv), gcc and make.
# Another interpreter: make test PYTHON=python3.13 (it gets a .venv-python3.13 of its own).

PYTHON ?= python3
START ?= all
ARGS ?=
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CC := gcc

SOURCES := pyproject.toml setup.py MANIFEST.in $(shell find src native -not -path 'native/tests*' \
    \( -name '*.py' -o -name '*.pyi' -o -name '*.[ch]' -o -name py.typed -o -type d -not -name __pycache__ -not -name '*.egg-info' \))

.DEFAULT_GOAL := help
.PHONY: help demo model test test-python test-native bench bench-docs conformance conformance-docs lint lint-python lint-c format wheel \
    package programs run-programs compat-docs clean
.DELETE_ON_ERROR:

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

# -- setting up ----------------------------------------------------------------------------------------------------------

$(VENV)/made: tools/check-machine
	@tools/check-machine $(PYTHON)
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade pip 'setuptools>=77'
	@touch $@

$(VENV)/have-%: pyproject.toml | $(VENV)/made
	@$(PIP) install --group $*
	@touch $@

# Installed, not run from the source tree: so it is compiled, and the tests see what users get. What an earlier build left is not shipped.
$(VENV)/package: $(SOURCES) | $(VENV)/made
	@echo "building phalanx"
	@find build/lib* build/bdist* -name '*.py*' -delete 2>/dev/null || true
	@$(PIP) install --no-build-isolation .
	@touch $@

package: $(VENV)/package  ## the package, installed into .venv

wheel: | $(VENV)/made  ## a wheel in dist/
	@rm -rf build/lib* build/bdist*
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .

# -- using ---------------------------------------------------------------------------------------------------------------

demo: $(VENV)/package  ## a real job: the complexity of the standard library, in parallel
	$(BIN)/python examples/stdlib_complexity.py $(ARGS)

test: test-native test-python  ## all tests

# Most tests wait for something: more of them at a time than there are CPUs.
test-python: $(VENV)/package $(VENV)/have-test
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),--numprocesses 3)

bench: $(VENV)/package $(VENV)/have-bench  ## phalanx beside the stdlib, in one run (ARGS='--only queue_int_1p --rounds 3')
	$(BIN)/python -m benchmarks $(ARGS)

bench-docs: | $(VENV)/made  ## docs/benchmarks.md from the recorded run
	$(BIN)/python -m benchmarks.report

conformance: $(VENV)/package  ## CPython's own tests over phalanx (PYTHON=python3.13 START=fork)
	$(BIN)/python -m tests.conformance --start $(START) $(ARGS)
	$(BIN)/python -m tests.conformance.report

conformance-docs: | $(VENV)/made  ## docs/conformance.md from the recorded runs
	$(BIN)/python -m tests.conformance.report

programs:  ## real programs from PyPI over phalanx: sphinx, black, joblib, scikit-learn, torch (in .venv-programs, 1.5 GB)
	@$(MAKE) --no-print-directory VENV=.venv-programs run-programs

run-programs: $(VENV)/package $(VENV)/have-programs
	$(BIN)/python -m pytest tests/programs $(ARGS)

compat-docs: | $(VENV)/made  ## docs/compat.md from the rows that name a test each
	$(BIN)/python tools/compat_docs.py

clean:  ## remove what make has made
	rm -rf .venv .venv-* build dist .cache src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# -- the C core alone: plain, and under the sanitizers ----------------------------------------------------------------------

NATIVE_FLAGS := -std=gnu17 -O2 -g -fPIC -fvisibility=hidden -pthread -Wall -Wextra -Wconversion -Werror -Inative
FLAGS_plain :=
FLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# An inlined memcpy would not be instrumented. Fences are between atomics here, so that thread sanitizer need not know them.
FLAGS_tsan := -fsanitize=thread -fno-builtin -Wno-tsan
CORE := $(shell find native -name '*.c' -not -path 'native/tests/*' -not -path 'native/bind/*')
DRIVERS := $(sort $(notdir $(basename $(wildcard native/tests/*.c))))
export ASAN_OPTIONS ?= abort_on_error=1
export UBSAN_OPTIONS ?= print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1
DRIVER_LIMIT_S := 120

define native_variant
build/native/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@$$(CC) $$(NATIVE_FLAGS) $$(FLAGS_$(1)) -MMD -MP -c $$< -o $$@

build/native/$(1)/bin/%: build/native/$(1)/native/tests/%.o $(CORE:%.c=build/native/$(1)/%.o)
	@mkdir -p $$(@D)
	@$$(CC) $$(FLAGS_$(1)) -pthread $$^ -o $$@

.PHONY: native-$(1)
native-$(1): $(DRIVERS:%=build/native/$(1)/bin/%)
	@for driver in $$^; do \
	    echo "$$$$driver"; \
	    timeout -k 5 $$(DRIVER_LIMIT_S) $$$$driver </dev/null || { echo "$$$$driver failed with $$$$?" >&2; exit 1; }; \
	done
endef
$(foreach variant,plain asan tsan,$(eval $(call native_variant,$(variant))))
-include $(shell find build/native -name '*.d' 2>/dev/null)
.SECONDARY:

test-native:  ## the C core's own tests, plain and under address, undefined and thread sanitizer
	@tools/check-machine $(PYTHON)
	@mkdir -p build/native
	@$(MAKE) --no-print-directory native-plain
	@for variant in asan:address,undefined tsan:thread; do \
	    if echo 'int main(void) { return 0; }' | $(CC) -x c -fsanitize=$${variant#*:} -o build/native/probe - 2>/dev/null; then \
	        $(MAKE) --no-print-directory native-$${variant%%:*} || exit 1; \
	    else \
	        echo "not run under $${variant#*:}: gcc has no such sanitizer here (Fedora: dnf install libasan libubsan libtsan)" >&2; \
	    fi; \
	done

model:  ## the models of the section lock and the channel (needs spin)
	native/model/check

# -- style -----------------------------------------------------------------------------------------------------------------

PYTHON_CODE := src tests benchmarks examples tools setup.py
C_CODE = $(shell find native -name '*.[ch]')
PYTHON_INCLUDE = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')

lint: lint-python lint-c  ## style, types, layers, and the stub against the C core

lint-python: $(VENV)/package $(VENV)/have-lint
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/python tools/check_sizes.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/stubtest phalanx._native --mypy-config-file pyproject.toml --concise \
	    --allowlist tools/stubtest-allowlist.txt --ignore-unused-allowlist

lint-c: $(VENV)/have-lint
	$(BIN)/clang-format --dry-run -Werror $(C_CODE)
	@mkdir -p build/lint
	@for source in $(filter %.c,$(C_CODE)); do \
	    $(CC) $(NATIVE_FLAGS) -I$(PYTHON_INCLUDE) -DPy_LIMITED_API=0x030B0000 -c $$source -o build/lint/object.o || exit 1; \
	done
	@if command -v cppcheck >/dev/null; then \
	    cppcheck --quiet --std=c17 --language=c --error-exitcode=1 --enable=warning,portability --inline-suppr -Inative native; \
	fi

format: $(VENV)/have-lint  ## bring the code into shape
	$(BIN)/ruff check --fix-only $(PYTHON_CODE)
	$(BIN)/ruff format $(PYTHON_CODE)
	$(BIN)/clang-format -i $(C_CODE)
