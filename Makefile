# Every target installs into $(VENV) first, where that is not up to date.
#   make figures   run every notebook that is not up to date     PROFILE=ci|full|paper  clip=FILE  FORCE=1  CORES=2
#                  and the trainings they show, anew with FORCE=1; as jobs of a cluster with EXECUTOR=slurm
#   make trainings the trainings that a profile's table lists    PROFILE=paper  EXECUTOR=slurm
#   make test      lint, format, tests, notebook rules           CORES=2
#   make browser-test  what is seen, in a real chromium and a real JupyterLab     CORES=2
#   make torture   kills, full disks, 20,000 spoilt files, hostile ones: half an hour, some of it as root only
#   make cluster-test  a sweep as jobs of a Slurm that the test starts, as root: two minutes
#   make lab       open JupyterLab at the first notebook         LAB_OPTIONS=--allow-root
#   make verify    rebuild everything in a clean clone of the last commit, and compare every number and file  CORES=2
#   make site      write every notebook as a page that works offline, below build/site
#   make sweep     train what data/evidence/sweep.toml asks for and lacks: hours, and it may be stopped at any time
#   make bench     measure
#   make clean     remove what these leave behind, except committed files and downloaded data
#   make lock      resolve every dependency anew

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PROFILE ?= ci
CORES ?= 2
EXECUTOR ?=
clip ?=
FORCE ?=
LAB_OPTIONS ?=

# Values travel as they are, through the environment: neither make, a shell nor YAML reads them.
unexport clip PROFILE CORES FORCE
export GATESCOPE_CLIP := $(value clip)
export GATESCOPE_PROFILE := $(value PROFILE)
export GATESCOPE_CORES := $(value CORES)

# Names that a shell or make would read otherwise.
ODD := $(filter -%,$(value VENV)) $(foreach odd,$$ ` " ' \ ; & | < > ( ) { } [ ] * ? ! : %,$(findstring $(odd),$(value VENV)))
ifneq ($(words $(value VENV))$(strip $(ODD)),1)
  $(error VENV=$(value VENV) has a space or a sign in its name, which make cannot follow: take a folder without)
endif
ifneq ($(filter-out slurm,$(value EXECUTOR)),)
  $(error EXECUTOR=$(value EXECUTOR) must be slurm, or nothing)
endif
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TORCH := $(shell grep '^torch==' requirements.lock)
LEAST_TORCH := $(shell sed -n 's/.*"torch>=\([0-9.]*\)".*/\1/p' pyproject.toml)

RUN := --nolock --rerun-incomplete --rerun-triggers mtime \
  $(if $(EXECUTOR),--workflow-profile profiles/$(EXECUTOR),--cores "$$GATESCOPE_CORES")
READY := $(INSTALLED) $(if $(EXECUTOR),$(VENV)/$(EXECUTOR))

.PHONY: figures trainings test browser-test torture cluster-test lab verify site sweep bench clean lock

# What has changed is told by content (gatescope.atlas.freshness), never by date: a fresh clone has only new dates.
# A killed run may leave a lock and half-done marks; each rebuild takes its own lock, so neither need stop this one.
figures: $(READY)
	@if [ -n "$$GATESCOPE_CLIP" ] && [ ! -e "$$GATESCOPE_CLIP" ]; then \
	  echo "clip=$$GATESCOPE_CLIP does not exist; name a video file or a folder of frames" >&2; exit 2; fi
	@case "$$GATESCOPE_PROFILE" in (''|*[!a-z0-9_-]*) \
	  echo "PROFILE=$$GATESCOPE_PROFILE must be a name in profiles.toml" >&2; exit 2;; esac
	$(if $(value FORCE),rm -rf "build/runs/$$GATESCOPE_PROFILE" build/runs/*_"$$GATESCOPE_PROFILE")
	$(BIN)/snakemake --quiet rules progress host reason $(if $(value FORCE),--forceall) $(RUN)
	@$(if $(value clip),echo "Notebooks and figures now show your clip: do not commit them. 'make figures' puts them back.")

trainings: $(READY)
	$(BIN)/snakemake trainings $(RUN)

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses "$$GATESCOPE_CORES" --dist worksteal \
	  -m "not torture and not cluster and not browser"

# In two processes, one with JupyterLab and one with the site, which tests/browser/conftest.py keeps apart.
browser-test: $(INSTALLED)
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { echo "no chromium, chromium-browser or google-chrome on the path: apt-get install chromium" >&2; exit 2; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses "$$GATESCOPE_CORES" -m browser tests/browser

# One after another: what is measured is a process's memory and time.
torture: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m torture tests/torture

cluster-test: $(VENV)/slurm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster -rs tests/test_cluster.py

lab: $(INSTALLED)
	$(BIN)/jupyter trust notebooks/*.ipynb
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_OPTIONS)

verify: $(INSTALLED)
	$(BIN)/gatescope verify --cores "$$GATESCOPE_CORES"

site: $(INSTALLED)
	$(BIN)/gatescope site --out build/site

sweep: $(READY)
	$(BIN)/snakemake sweep $(RUN)

bench: $(INSTALLED)
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python "$$script"; done

clean:
	rm -rf .venv build .snakemake .pytest_cache .ruff_cache notebooks/figures data/cache lib/*.egg-info
	find lib tests -name __pycache__ -prune -exec rm -rf {} +

# An environment whose torch fits keeps it, of whatever build: nobody downloads another for a digit.
# What comes from PyPI is what it was when it was pinned, by its hash; torch's builds differ, and so have none here, nor
# has what only CUDA, macOS or Windows need besides.
$(INSTALLED): requirements.lock requirements.hashes pyproject.toml
	@echo "Installing into $(VENV): a few minutes and about 2 GB, the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@fits='from importlib.metadata import version; from pip._vendor.packaging.version import Version; \
	raise SystemExit(Version(version("torch")) < Version("$(LEAST_TORCH)"))'; \
	if $(BIN)/python -c "$$fits" 2> /dev/null; then grep -v '^torch=='; else cat; fi \
	  < requirements.lock > $(VENV)/wanted.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.hashes
	$(BIN)/python -m pip install --quiet -r $(VENV)/wanted.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# What an executor needs beside the lock: the extra of its name.
$(VENV)/slurm: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/wanted.txt --no-build-isolation --editable '.[slurm]'
	touch $@

lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet $(TORCH)
	build/lock/bin/pip install --quiet '.[dev]'
	(grep '^#' requirements.lock; build/lock/bin/pip freeze --all --exclude pip --exclude gatescope | sed 's/+cpu$$//') > build/lock/new
	build/lock/bin/pip install --quiet uv
	(grep '^#' requirements.hashes; grep -v '^torch==' build/lock/new | build/lock/bin/uv pip compile --quiet --no-deps \
	  --python build/lock/bin/python --generate-hashes --no-annotate --no-header -) > build/lock/hashes
	mv build/lock/new requirements.lock
	mv build/lock/hashes requirements.hashes
	build/lock/bin/python tests/licences.py > LICENCES.md
