# make demo | test | coverage | bench | notebooks | lint | clean
#
# Everything runs in .venv, which the first target makes with the pinned versions of constraints.txt; another run is quick.
# Needs make, git and a Python >= 3.11 with venv. A particular one: make test PYTHON=/path/to/python3

.DELETE_ON_ERROR:
.PHONY: demo test coverage bench notebooks lint clean
unexport PYTHONPATH

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
PACKAGING := pyproject.toml setup.py constraints.txt

# The first of these that runs, is new enough and can make environments. Version managers leave names that do not run.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$name -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null && { echo $$name; break; }; done)

demo: .venv/.installed-demo
	$(BIN)/python -m pwlnet demo --out demo_output

test: .venv/.installed-test
	$(BIN)/python -m pytest

# Lines of the kernels that tests run, with the kernels as Python (a few minutes): tests/counts.py tries fewer random cases.
# What only compiled kernels run, in kernels/_jit.py, is why not all of 100 % is asked for.
coverage: .venv/.installed-test
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest $(IN_PYTHON) --cov=pwlnet/kernels --cov-report=term-missing --cov-fail-under=98

LINES := tests/partition/lines/test_partitions.py
IN_PYTHON := tests/kernels tests/test_evaluate.py tests/test_patterns.py tests/test_bad_input.py \
	tests/partition/lines/test_exact.py tests/partition/lines/test_single.py tests/partition/lines/test_wide.py \
	tests/analysis/test_attribution.py::test_exact_attributions_equal_the_sum_over_segments \
	tests/analysis/test_attribution.py::test_first_ops_that_convolutions_read_give_the_sum_over_segments \
	tests/analysis/test_sampling_error.py::test_rules_give_the_weighted_sums_of_segments_on_random_and_degenerate_nets \
	tests/analysis/test_linearity.py::test_measures_equal_those_of_the_jacobians_of_all_segments \
	$(LINES)::test_cutting_a_degenerate_line_for_memory_changes_nothing \
	$(LINES)::test_reversing_the_line_mirrors_its_breakpoints \
	$(LINES)::test_scaling_a_neuron_and_unscaling_its_output_changes_nothing \
	$(LINES)::test_splitting_a_line_and_joining_its_parts_changes_nothing

# Each benchmark once, in this environment: shows that all run, and rough times. Nothing is kept; CONTRIBUTING.md tells how
# to compare two commits. asv wants to know the machine once, in the home folder. With the slow ones: make bench ASV_SKIP_SLOW=0
ASV_SKIP_SLOW ?= 1
bench: export ASV_SKIP_SLOW := $(ASV_SKIP_SLOW)
bench: .venv/.installed-bench
	@[ -e "$$HOME/.asv-machine.json" ] || (cd asv_benchmarks && ../$(BIN)/asv machine --yes >/dev/null)
	cd asv_benchmarks && ../$(BIN)/asv run --quick --show-stderr --environment existing:../$(BIN)/python

notebooks: .venv/.installed-notebook
	@for notebook in notebooks/*.ipynb; do \
		[ -e "$$notebook" ] || { echo "no notebooks yet"; break; }; \
		echo "$$notebook"; $(BIN)/jupyter execute "$$notebook" || exit 1; done

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# .venv stays: remove it by hand for a fresh one.
clean:
	rm -rf demo_output reproduce_output build dist ./*.egg-info .pytest_cache .hypothesis .ruff_cache .coverage htmlcov coverage.xml
	rm -rf asv_benchmarks/env asv_benchmarks/results asv_benchmarks/html
	find pwlnet tests asv_benchmarks data -name __pycache__ -prune -exec rm -r {} +

# The demo needs little; tests, benchmarks and notebooks add what they need to the same environment.
.venv/.installed-demo: EXTRAS := onnx,plot
.venv/.installed-test: EXTRAS := test
.venv/.installed-bench: EXTRAS := bench
.venv/.installed-notebook: EXTRAS := notebook,onnx,torch
.venv/.installed-%: $(PACKAGING) | .venv/bin/python
	@echo "installing pwlnet[$(EXTRAS)] into .venv"
	@$(PIP_INSTALL) -e '.[$(EXTRAS)]'
	@touch $@

.venv/bin/python:
	@$(if $(PYTHON),true,echo "no python3 >= 3.11 that can make a virtual environment was found; name one: make PYTHON=..." >&2; exit 1)
	@$(PYTHON) -m venv .venv
