# Everything a person does with the project. Needs Python >= 3.11, make, git and gcc; the rest is installed into .venv.
# Programs are run as modules: the scripts in .venv/bin break where the project's path is long or holds a space.

PYTHON := .venv/bin/python
BEGAN := $(shell date +%s)
SHELL := /bin/sh

.PHONY: run demo test check bench clean constraints
.DEFAULT_GOAL := run

run: .venv/installed-run  ## learn, then serve the Dagster UI on loopback
	@$(PYTHON) -m learning_assets.cli dev --since $(BEGAN)

demo: .venv/installed-run  ## the same without serving
	@$(PYTHON) -m learning_assets.cli demo

test: .venv/installed-dev  ## all tests, on every core
	@$(PYTHON) -m pytest --numprocesses auto --dist worksteal

check: .venv/installed-dev  ## what CI runs before the tests
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m pyright
	@$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

bench: .venv/installed-dev  ## every figure that we claim
	@$(PYTHON) -m benchmarks

clean:  ## what can be made again; data in .learning stays
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis .tmp_dagster_home_*
	find learning_assets learning_assets_tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

constraints:  ## newest versions that fit pyproject.toml, into constraints.txt
	rm -rf build/newest
	$(find_python) && "$$python" -m venv build/newest
	build/newest/bin/python -m pip install --quiet '.[dev]'
	{ sed -n '/^#/p' constraints.txt; build/newest/bin/python -m pip freeze --exclude learning_assets \
	  | LC_ALL=C sort -f; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/newest

# A newer pyproject.toml or constraints.txt installs anew; an installation that was interrupted has not left its mark.
.venv/installed-run: pyproject.toml constraints.txt
	@$(call install,.)
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt
	@$(call install,.[dev])
	@touch .venv/installed-run $@

define find_python
python=; for name in python3 python3.13 python3.12 python3.11 python3.14 python; do \
  if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then python=$$name; break; fi; \
done; \
[ -n "$$python" ] || { echo 'No Python from 3.11 to 3.14 was found. Install one (Debian: apt-get install python3 python3-venv), or uv.' >&2; false; }
endef

define install
set -e; \
if command -v uv >/dev/null 2>&1; then \
  $(PYTHON) -c '' 2>/dev/null || { echo 'Making .venv with uv'; uv venv --quiet --clear --python '>=3.11,<3.15' .venv; }; \
  echo 'Installing $(1)'; uv pip install --quiet --python $(PYTHON) -c constraints.txt -e '$(1)'; \
else \
  $(PYTHON) -m pip --version >/dev/null 2>&1 || { \
    $(find_python); echo "Making .venv with $$("$$python" --version)"; \
    "$$python" -m venv .venv || { rm -rf .venv; \
      echo 'Python cannot make a virtual environment (Debian: apt-get install python3-venv).' >&2; exit 1; }; }; \
  echo 'Installing $(1): takes a few minutes the first time'; \
  $(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '$(1)'; \
fi
endef
