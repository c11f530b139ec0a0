# `make run` and `make test` need Python >= 3.11 and nothing else; both set up .venv from the pinned constraints first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# what `make run` runs, for instance RUN='--all --budget smoke'
RUN ?= --all
STAMP := $(VENV)/.installed

.PHONY: run test test-ray fuzz lint benchmark profile report publish screenshots docs clean board

# runs what is not done yet; the report goes to results/report and leaves the published one alone
run: $(STAMP)
	@$(BIN)/python -m bench run $(RUN); status=$$?; \
	$(BIN)/python -m bench report && exit $$status

# a process a core
test: $(STAMP)
	$(BIN)/python -m pytest -n logical --dist worksteal

# ten minutes of bad input: 20,000 cases of each kind, 164,000 in all
fuzz: $(STAMP)
	BENCH_FUZZ=20000 $(BIN)/python -m pytest tests/fuzz --hypothesis-show-statistics -o timeout=1200

# on three simulated nodes; installs Ray, which nothing else needs
test-ray: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray]'
	$(BIN)/python -m pytest tests/end_to_end/test_ray.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only

profile: $(STAMP)
	$(BIN)/python -m tests.benchmarks.profiling --to leaderboard/profile.md

report: $(STAMP)
	$(BIN)/python -m bench report

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# images and few-shot tasks, which `--all` leaves out as their cells take half a minute each
IMAGES := sprites,sprites-held-out,sprites-shape,shift-sprites,shift-sprites-stain,digits-shift

# the published board from nothing: every learner until it converges, or four times its usual training; images at their
# usual training. Hours; resumes
board: $(STAMP)
	@$(BIN)/python -m bench run --all --effort 1,4 --until-converged --out results/board; status=$$?; \
	$(BIN)/python -m bench run --datasets $(IMAGES) --out results/board || status=$$?; \
	$(BIN)/python -m bench report --out results/board --to leaderboard && exit $$status

# the published pages from the published records
publish: $(STAMP)
	$(BIN)/python -m bench report --out leaderboard/records.jsonl --to leaderboard

# needs chromium and its driver
screenshots: $(STAMP)
	$(BIN)/python -m tests.browser leaderboard/index.html

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) results site
