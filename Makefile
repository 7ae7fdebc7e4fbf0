# Two commands matter: `make sweep` (the main job) and `make test`. Each sets up its own environment.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# A variable of the user's shell must not keep bytecode from being written: Ray's start-up relies on fast imports.
unexport PYTHONDONTWRITEBYTECODE
export RAY_USAGE_STATS_ENABLED := 0

# The experiments that `make experiments` runs, and the page it writes.
QUICK := $(sort $(notdir $(basename $(wildcard conf/experiment/quick/*.yaml))))
PAGE  ?= stores/quick/report.html

.PHONY: sweep stores experiments findings examples test test-slow lint docs lock bench install clean

sweep: $(READY)
	$(BIN)/python -m sweeps experiment=quickstart

# The stores of these experiments; what is finished stays.
stores: $(READY)
	@set -- $(QUICK); i=0; for name; do i=$$((i + 1)); echo "experiment $$i of $$#: $$name"; \
	  $(BIN)/python -m sweeps experiment=quick/$$name report=null \
	  || { echo "stopped at $$name; once that is mended, make experiments goes on from there" >&2; exit 1; }; done

experiments: stores
	$(BIN)/python -m analysis.report $(QUICK:%=stores/quick/%.zarr) --output $(PAGE)

# What we found, from the full experiments. STORES=stores/quick goes by those of `make experiments`.
STORES ?= stores

findings: $(READY)
ifeq ($(STORES),stores)
	@set -- $(QUICK); i=0; for name; do i=$$((i + 1)); echo "experiment $$i of $$#: $$name"; \
	  $(BIN)/python -m sweeps experiment=$$name report=null target.verdict=true target.max_replicates=4096 \
	    target.max_seconds=900 \
	  || { echo "stopped at $$name; once that is mended, make findings goes on from there" >&2; exit 1; }; done
endif
	$(BIN)/python -m analysis.report.found $(QUICK:%=$(STORES)/%.zarr) --output docs/findings.md

# The pages of the documentation that are made from the quick experiments, which run where that is needed. Stores are
# measured once for both.
examples: PAGE := docs/examples/experiments.html
examples: stores
	$(BIN)/python -m analysis.report.found $(QUICK:%=stores/quick/%.zarr) --output docs/findings.md --page $(PAGE)
	sed -i.named 's/\(&#34;host&#34;: &#34;\)[^&]*/\1example/g' $(PAGE) && rm $(PAGE).named

# Two processes of one thread each. Each takes half of the tests in their order, so that files stay together and share what
# their fixtures make, and at its end half of what the other one has left.
test: lint docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow or not slow" --timeout 3600

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site of docs/, in build/site. A warning is an error, but not with `--quiet`, which counts none.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# What runs need is compiled here once, about a minute of work that cores share, so that the first of them starts at once.
$(READY): requirements/installer.lock requirements/environment.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "$(PYTHON) is not Python 3.11 to 3.13; name one that is: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes requirements/environment.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m sweeps.doctor --compile || echo "nothing is compiled yet; the first run does that"
	touch $@

install: $(READY)
	$(if $(EXTRA),$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --no-build-isolation --constraint requirements/environment.lock --editable ".[$(EXTRA)]")

lock: $(READY)
	echo uv | $(BIN)/uv pip compile $(LOCK) - -o requirements/installer.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra dev -o requirements/environment.lock
lock: LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info
