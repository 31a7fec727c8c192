# Two commands are all that a newcomer needs: `make run` and `make test`.
# make run ARGS="--preset cartpole --headless" passes arguments on; EXTRAS="plot tensorboard" installs more.

ARGS ?= --preset breakout
EXTRAS ?=
PYTHON ?= python3
VENV := .venv
# Where it is set, as in many containers, each process would compile PyTorch's sources anew: three seconds.
unexport PYTHONDONTWRITEBYTECODE
# Python compiles the modules that it imports; the thousands of others need not be compiled.
INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# The first line of a preset names the extra that it needs.
PRESETS := $(wildcard $(ARGS:%=presets/%.toml))
NEEDED := $(sort $(EXTRAS) $(if $(PRESETS),$(shell sed -n '1s/.*ppo-tui\[\(.*\)\].*/\1/p' $(PRESETS))))
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: run wheel test test-portable test-slow test-faults check docs bench clean

run: $(STAMP) $(NEEDED:%=$(VENV)/.installed-extra-%)
	$(VENV)/bin/ppo-tui $(ARGS)

# dist/ppo_tui-VERSION-py3-none-any.whl, for `uv tool install`, `pipx install` and `pip install`.
wheel:
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

# Two processes, as most tests wait for something. A file's tests stay in one of them.
test: $(TEST_STAMP) check
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

# The same without what is Linux's alone: spawned workers, no /proc, prctl, memfd or SO_PEERCRED (tests/portable).
test-portable: $(TEST_STAMP)
	PPO_TUI_PORTABLE=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

# What trains to a score, kills a process at a hundred moments, or goes through all games.
test-slow: $(TEST_STAMP)
	$(VENV)/bin/python -m pytest -m "slow and not faults" $(PYTEST_ARGS)

# Every fault of the catalogue (docs/reliability.md), the long tests too: about ten minutes, then two of random faults.
test-faults: $(TEST_STAMP)
	$(VENV)/bin/python -m pytest -m "" $$($(VENV)/bin/python -m tests.faults.catalogue) $(PYTEST_ARGS)
	$(VENV)/bin/python -m tests.faults.chaos $(CHAOS_ARGS)

# Style and types.
check: $(TEST_STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright

# The pages of docs/ as a site: docs/_build/html/index.html.
docs: $(TEST_STAMP)
	$(VENV)/bin/python -m sphinx --fail-on-warning --quiet -b html docs docs/_build/html

# make bench BENCH_ARGS="training --rounds 3" measures less; docs/performance.md says what is measured.
bench: $(BENCH_STAMP)
	$(VENV)/bin/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist

# What training on the screen needs, and no more.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-extra-%: $(STAMP)
	$(INSTALL) -e ".[$*]"
	touch $@

# The tools of a developer, what is optional, and the programs that the tests compare with.
$(TEST_STAMP): $(STAMP)
	$(INSTALL) -e ".[dev,docs,box2d,tensorboard,plot,record,report,export,pixels,serve,sweep,wandb,mlflow,peers]"
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(INSTALL) -e ".[bench]"
	touch $@
