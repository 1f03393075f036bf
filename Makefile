# make demo | test | test-full | coverage | bench | bench-full | notebooks | docs | dist | check-dist | lint | types | clean
#
# Everything runs in .venv, which the first target creates with the pinned versions of constraints.txt; later runs reuse it.
# Requires make, git and Python >= 3.11 with venv. To choose the interpreter: make test PYTHON=/path/to/python3

.DELETE_ON_ERROR:
.PHONY: demo test test-full coverage bench bench-full notebooks docs dist check-dist lint types clean
# Modules are parsed once, not again by each of the processes that tests and benchmarks start.
unexport PYTHONPATH PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
PACKAGING := pyproject.toml setup.py constraints.txt

# The first of these that runs, is new enough and can create environments. Version managers leave names that do not run.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$name -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null && { echo $$name; break; }; done)

demo: .venv/.installed-demo
	@$(BIN)/python -m pwlnet demo --out demo_output

# Kernels are compiled first, in two processes; the processes of the tests then find them in the cache.
COMPILE := @$(BIN)/python -m pwlnet compile
# The package that parses VNN-LIB files has no wheels: it is built beside other work, where there is a C compiler.
VNNLIB := { [ -e .venv/.tried-vnnlib ] || { $(PIP_INSTALL) vnnlib >/dev/null 2>&1 || \
	echo "vnnlib could not be built (it needs a C compiler): the tests of VNN-LIB files are skipped"; touch .venv/.tried-vnnlib; }; }
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
TEST ?=

# Quick level: about a twentieth of the random cases, no slow tests. TEST selects: make test TEST=tests/store
# Kernels need the packages of pwlnet itself only: they are compiled while those of the tests are installed.
test: .venv/.installed-base
	@{ $(MAKE) -s .venv/.installed-test && $(VNNLIB); } & \
		$(BIN)/python -m pwlnet compile; code=$$?; wait $$! || code=$$?; exit $$code
	$(PYTEST) $(TEST)

# All random cases and the slow tests; required for changes of kernels.
test-full: .venv/.installed-test
	$(COMPILE)
	PWLNET_TEST_LEVEL=full $(PYTEST) $(TEST)

# Lines of the kernels that tests run, with the kernels as Python (a few minutes; tests/counts.py tries fewer random cases).
# Less than 100 % is required because some lines of kernels/_jit.py run only when kernels are compiled.
coverage: .venv/.installed-test
	NUMBA_DISABLE_JIT=1 PWLNET_TEST_LEVEL=full $(BIN)/python -m pytest $(IN_PYTHON) \
		--cov=pwlnet/kernels --cov-report=term-missing --cov-fail-under=98

LINES := tests/partition/lines/test_partitions.py
IN_PYTHON := tests/kernels tests/test_evaluate.py tests/test_patterns.py tests/test_bad_input.py \
	tests/partition/lines/test_exact.py tests/partition/lines/test_single.py tests/partition/lines/test_wide.py \
	tests/partition/planes tests/analysis/test_queries.py tests/analysis/test_decision_regions.py \
	tests/bounds/test_preactivations.py tests/partition/regions tests/analysis/test_paths.py tests/analysis/test_floats.py \
	tests/smoothing/test_network_pass.py \
	tests/analysis/test_attribution.py::test_exact_attributions_equal_the_sum_over_segments \
	tests/analysis/test_attribution.py::test_first_ops_that_convolutions_read_give_the_sum_over_segments \
	tests/analysis/test_sampling_error.py::test_rules_give_the_weighted_sums_of_segments_on_random_and_degenerate_nets \
	tests/analysis/test_linearity.py::test_measures_equal_those_of_the_jacobians_of_all_segments \
	$(LINES)::test_cutting_a_degenerate_line_for_memory_changes_nothing \
	$(LINES)::test_reversing_the_line_mirrors_its_breakpoints \
	$(LINES)::test_scaling_a_neuron_and_unscaling_its_output_changes_nothing \
	$(LINES)::test_splitting_a_line_and_joining_its_parts_changes_nothing

# Each benchmark once, in this environment: shows that all of them run, and rough times. Nothing is saved; CONTRIBUTING.md
# says how to compare two commits. asv stores a description of the machine once, in the home folder.
# bench takes the quick sizes, bench-full all of them. BENCH selects: make bench BENCH=Store. The fork server imports the
# benchmarks once; without it each of the processes, one per benchmark and parameter, would.
BENCH ?= .
ASV_SKIP_SLOW ?= 1
bench: export ASV_SKIP_SLOW := $(ASV_SKIP_SLOW)
bench: .venv/.installed-bench
	$(COMPILE)
	@[ -e "$$HOME/.asv-machine.json" ] || (cd asv_benchmarks && ../$(BIN)/asv machine --yes >/dev/null)
	cd asv_benchmarks && ../$(BIN)/asv run --quick --show-stderr --launch-method forkserver --bench '$(BENCH)' \
		--environment existing:../$(BIN)/python

bench-full:
	$(MAKE) bench ASV_SKIP_SLOW=0

notebooks: .venv/.installed-notebook
	@for notebook in notebooks/*.ipynb; do \
		[ -e "$$notebook" ] || { echo "no notebooks yet"; break; }; \
		echo "$$notebook"; $(BIN)/jupyter execute "$$notebook" || exit 1; done

# The site, in docs/_build/html: the examples of pages and docstrings run first, then the notebooks, whose output is kept until a
# file of pwlnet changes. Any warning is an error. Settings: docs/conf.py.
SITE := docs/_build/html
docs: .venv/.installed-docs .venv/.installed-test
	$(COMPILE)
	$(PYTEST) tests/test_docs.py
	$(BIN)/python -m sphinx -q -W --keep-going -n -j auto -d docs/_build/doctrees docs $(SITE)
	@echo "$$(find $(SITE) -name '*.html' | wc -l) pages: $(SITE)/index.html"

# The source distribution and the wheel, in dist/: the same bytes from the same commit. Their content is compared with the tracked files.
dist: .venv/.installed-dist
	$(BIN)/python .ci/dist

# The wheel in new environments, with the lowest and with the newest versions of everything: a smoke test (about three minutes
# each, mostly compiling). CHECK selects: make check-dist CHECK='lowest --extras onnx,plot,torch'
CHECK ?=
check-dist: dist .venv/.installed-release
	$(BIN)/python .ci/check-dist $(CHECK)

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The type hints of the package, and that type checkers accept and refuse what they should: tests/typing (a minute or two).
types: .venv/.installed-types
	$(BIN)/python -m mypy

# Keeps .venv; remove it by hand to start from nothing.
clean:
	rm -rf demo_output reproduce_output build dist ./*.egg-info .mypy_cache .pytest_cache .hypothesis .ruff_cache .coverage htmlcov coverage.xml
	rm -rf asv_benchmarks/env asv_benchmarks/results asv_benchmarks/html
	rm -rf docs/_build docs/_repository docs/notebooks docs/api/generated
	find pwlnet tests asv_benchmarks data -name __pycache__ -prune -exec rm -r {} +

# The demo needs few packages; tests, benchmarks, notebooks and the site add theirs to the same environment.
.venv/.installed-demo: EXTRAS := onnx,plot
.venv/.installed-test: EXTRAS := test
.venv/.installed-bench: EXTRAS := bench
.venv/.installed-types: EXTRAS := types
.venv/.installed-dist: EXTRAS := dist
.venv/.installed-release: EXTRAS := release
.venv/.installed-notebook: EXTRAS := notebook,onnx,torch
.venv/.installed-docs: EXTRAS := docs
# What pwlnet itself needs, without pwlnet.
DEPENDENCIES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")
.venv/.installed-base: $(PACKAGING) | .venv/bin/python
	@$(BIN)/python -c '$(DEPENDENCIES)' | $(PIP_INSTALL) -r /dev/stdin
	@touch $@

.venv/.installed-%: $(PACKAGING) | .venv/bin/python
	@echo "installing pwlnet[$(EXTRAS)] into .venv (a minute or more)"
	@$(PIP_INSTALL) -e '.[$(EXTRAS)]'
	@touch $@

.venv/bin/python:
	@$(if $(PYTHON),true,echo "no python3 >= 3.11 that can make a virtual environment was found; name one: make PYTHON=..." >&2; exit 1)
	@$(PYTHON) -m venv .venv
