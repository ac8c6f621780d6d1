# Verbs for people and CI alike. Each creates the virtual environment it needs: `make demo` on a
# fresh clone is enough. VENV=DIR uses another environment, PYTHON=python3.12 another interpreter,
# JOBS=4 more test processes, ARGS='-k masking' goes to pytest or to the demo. TORCH=cpu takes the
# build of PyTorch without CUDA, a tenth of the download, from TORCH_INDEX.
VENV ?= .venv
PYTHON ?= python3
JOBS ?= 2
ARGS ?=
TORCH ?= cuda
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

bin := $(VENV)/bin
pip := $(bin)/python -m pip
stamp := $(VENV)/.stamp
stamp_demo := $(VENV)/.stamp-demo
stamp_docs := $(VENV)/.stamp-docs
sources := $(wildcard mae tools tests configs docs) setup.py

.DEFAULT_GOAL := help
.PHONY: help demo test faults check lint format type law docs tutorials clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(if $(wildcard $(stamp)),$(stamp),$(stamp_demo)) ## Pre-train, k-NN, fine-tune and from scratch on handwritten digits, with a report
	$(bin)/python tools/demo.py $(ARGS)

# Bytecode is kept: the processes that tests start need not compile the package anew.
test: $(stamp) ## The whole test suite
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(bin)/python -m pytest -n $(JOBS) $(ARGS)

faults: $(stamp) ## The fault harness: runs killed and damaged, about 45 minutes; ARGS='--short'
	$(bin)/python -m tests.faults --jobs $(JOBS) $(ARGS)

check: lint type law test ## Everything CI checks

lint: $(stamp) ## Style, without changing a file
	$(bin)/ruff check $(sources)
	$(bin)/ruff format --check $(sources)

format: $(stamp) ## Put the style right
	$(bin)/ruff check --fix-only --quiet $(sources)
	$(bin)/ruff format $(sources)

type: $(stamp) ## mypy, strict on mae/
	$(bin)/mypy

law: $(stamp) ## The import law
	$(bin)/lint-imports --no-logo --no-cache

docs: $(stamp_docs) ## The tables of the pages, and the site in build/docs
	$(bin)/python docs/zoo.py
	$(bin)/sphinx-build --fail-on-warning --keep-going --quiet -c docs -d build/doctrees . build/docs

tutorials: $(stamp_docs) ## Execute the tutorials anew and keep what they show, minutes; ARGS=pretrain
	OMP_NUM_THREADS=1 $(bin)/python docs/tutorials.py $(ARGS)

clean: ## Remove build leftovers and caches; .venv, data and work_dirs stay
	rm -rf build docs/api dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find mae tools tests configs -name __pycache__ -prune -exec rm -rf {} +

define environment
@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("error: $(PYTHON) is Python %d.%d, mae needs 3.10 or newer: make PYTHON=python3.x" % sys.version_info[:2])'
$(PYTHON) -m venv $(VENV)
$(if $(filter cpu,$(TORCH)),$(pip) install --no-deps --index-url $(TORCH_INDEX) torch torchvision)
endef

# mmengine and mmcv ask for opencv-python, which needs the system's libGL. It shares its folder
# with the headless build: it goes, and the headless files are laid anew.
define headless
$(pip) uninstall -y opencv-python
$(pip) install --force-reinstall --no-deps opencv-python-headless
endef

# Figures: docs/en/get_started.md.
$(stamp_demo): requirements/runtime.txt requirements/demo.txt setup.py
ifeq ($(TORCH),cpu)
	@echo 'Installs into $(VENV) first: about .45 GB to download, 1.6 GB on the disk.'
else
	@echo 'Installs into $(VENV) first: about 3.2 GB to download, 6.3 GB on the disk, most of it PyTorch with CUDA.'
	@echo 'Without an NVIDIA GPU `make demo TORCH=cpu` takes about .45 and 1.6 GB.'
endif
	$(environment)
	$(pip) install -r requirements/demo.txt -e .
	$(headless)
	@touch $@

$(stamp): requirements.txt requirements/runtime.txt requirements/tests.txt requirements/peers.txt requirements/judges.txt setup.py
	$(environment)
	$(pip) install -r requirements.txt -e .
	$(pip) install --no-deps -r requirements/peers.txt
	$(pip) install --no-deps --upgrade --target $(VENV)/judges -r requirements/judges.txt
	$(headless)
	@touch $@

$(stamp_docs): $(stamp) requirements/docs.txt
	$(pip) install -r requirements/docs.txt
	@touch $@
