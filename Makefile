# Two commands are all that a newcomer needs: `make run` and `make test`.
# make run ARGS="--preset cartpole --headless" passes arguments on.

ARGS ?= --preset breakout
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: run test test-quick check clean

run: $(STAMP)
	$(VENV)/bin/ppo-tui $(ARGS)

test: $(STAMP) check
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

test-quick: $(STAMP)
	$(VENV)/bin/python -m pytest -m "not slow" $(PYTEST_ARGS)

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

clean:
	rm -rf $(VENV) build dist

# The exact pins keep pip from choosing a PyTorch build of several gigabytes.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,box2d,tensorboard]"
	touch $@
