"""The project's jobs: `nox` runs those that must be green, `nox -s NAME` one of them."""

from __future__ import annotations

import os
import shutil
from itertools import chain
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
SHARED = ["-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal"]
"""How tests share the processors: one process more than there are, because some tests wait for a real clock."""
SHORT = ["-m", "not once and not long"]
"""Which tests run where others ran all of them: pyproject.toml says what the marks mean."""
ADMITTED = [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]
LOWEST = [requirement.replace(">=", "==") for requirement in ADMITTED]
KNOWN_HOLE = ("h11==0.14.0", "CVE-2025-43859")
"""A version that is known to be vulnerable, and the advisory: who does not find it knows no advisories."""
EVERY_PYTHON = [*nox.project.python_versions(PROJECT), "pypy3.11"]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every process of the tests would compile all of them again
nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "typing", "tests", "coverage", "examples", "plugins", "docs", "package"]
nox.options.error_on_missing_interpreters = False  # tests run on every Python at hand
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *groups: str) -> None:
    """Install the package as users get it, from a wheel, and dependency groups."""
    session.install(".", *(one for group in groups for one in nox.project.dependency_groups(PROJECT, group)))


@nox.session
def demo(session: nox.Session) -> None:
    """Show the library at work."""
    install(session)
    session.run("python", "-P", "-m", "trio_socket_task", "demo")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and habits."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("zizmor", "--quiet", "--offline", "--pedantic", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, and that the public API is typed to the last name."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "trio_socket_task")


def install_tests(session: nox.Session) -> None:
    """Install what the tests need, and the engine of JavaScript where it can be: its tests are skipped elsewhere."""
    install(session, "tests")
    session.install(*nox.project.dependency_groups(PROJECT, "engine"), success_codes=[0, 1], silent=True)


tested: list[object] = []
"""The Pythons on which this run of nox has run the tests."""


@nox.session(python=EVERY_PYTHON)
def tests(session: nox.Session) -> None:
    """Run the tests against the installed wheel: on the first Python all, on the others what may depend on Python."""
    install_tests(session)
    selected = session.posargs or (SHORT if tested else [])
    tested.append(session.python)
    session.run("pytest", *SHARED, *selected)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions of the dependencies that the package admits, but for the long ones."""
    session.install(".", *LOWEST, *nox.project.dependency_groups(PROJECT, "tests"))
    session.run("pytest", *SHARED, *(session.posargs or SHORT))


@nox.session
def strict(session: nox.Session) -> None:
    """Run tests with Python's own checks on, warnings from the first import on; then without docstrings and asserts."""
    install_tests(session)
    parts = session.posargs or [
        "tests/cli",
        "tests/session",
        "tests/miniprogram",
        "tests/testing",
        "tests/test_options.py",
    ]
    session.run("python", "-bb", "-X", "dev", "-W", "error", "-m", "pytest", *SHARED, *parts)
    silence = "ignore:assertions not in test modules"  # those of tests are there all the same
    parts = session.posargs or [
        "tests/session",
        "tests/test_init.py",
        "tests/test_mistakes.py",
        "tests/test_manager.py",
    ]
    session.run("python", "-OO", "-m", "pytest", "-W", silence, *SHARED, *parts)


@nox.session
def audit(session: nox.Session) -> None:
    """Look the lowest and the highest admitted versions up in the advisories of PyPI, which must be within reach."""
    session.install(*nox.project.dependency_groups(PROJECT, "audit"))
    requirements = Path(session.create_tmp()).resolve() / "requirements.txt"
    version, advisory = KNOWN_HOLE
    requirements.write_text(version, encoding="utf-8")
    found = session.run(
        *("pip-audit", "--format", "json", "--no-deps", "--disable-pip", "-r", str(requirements)),
        silent=True,
        success_codes=[0, 1],
    )
    if advisory not in str(found):
        session.error(f"NOTHING WAS AUDITED: no advisories are within reach, not even {advisory} of {version}")
    for versions in (LOWEST, ADMITTED):
        requirements.write_text("\n".join(versions), encoding="utf-8")
        session.run("pip-audit", "--strict", "-r", str(requirements))


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests, but for those that repeat what others do, and require every line and branch."""
    install_tests(session)
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *SHARED, *(session.posargs or SHORT))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def conformance(session: nox.Session) -> None:
    """Run the Autobahn suite against the client and compare with the table of expected results."""
    python2 = shutil.which("python2.7")
    if python2 is None:
        session.error("the Autobahn suite runs on Python 2.7 only, and there is no python2.7 on PATH")
    install(session, "conformance")
    suite = Path(session.create_tmp()).resolve() / "suite"
    if not (suite / "bin" / "wstest").exists():
        session.run("virtualenv", "--quiet", "--python", python2, str(suite))
        session.run(str(suite / "bin" / "pip"), "install", "--quiet", "autobahntestsuite==25.10.1", external=True)
    session.run("python", "tests/conformance/run.py", str(suite / "bin" / "python"), *session.posargs)


@nox.session(python="3.11")
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoder, for a short while unless told otherwise (atheris has wheels for some Pythons only)."""
    install(session, "fuzz")
    session.run(
        "python",
        "tests/fuzz/decoder.py",
        *(session.posargs or ["-atheris_runs=60000", "-verbosity=0", "-print_final_stats=1"]),
    )


@nox.session
def soak(session: nox.Session) -> None:
    """Run fifty sockets against a hostile server for 30 seconds, or as told, and ten thousand through the dialect."""
    install(session, "tests")
    session.run("python", "tests/bench/soak.py", *(session.posargs or ["--seconds", "30"]))
    session.run("pytest", "-q", "tests/miniprogram/test_task.py", "-k", "many_rounds", env={"ROUNDS": "2000"})


@nox.session
def campaign(session: nox.Session) -> None:
    """Meet random faults, by seed, and account for everything, in under two minutes; ``-- --seeds 10000`` for longer.

    It has four parts. ``--seeds N`` is the number of seeds of part a, and in proportion to it of the others:

    - a: resilient sockets under random faults, in virtual time; N seeds
    - b: a conversation cut at every byte of both directions, by FIN and RST, over TCP and TLS; 1.4 N, which is every
      cut there is from 10 000 on
    - c: tasks that race on sockets and their manager, in memory, over TCP and TLS; N / 2
    - d: the mini-program dialect with hostile calls, in virtual time; N / 5

    Two in five of the seeds of a and c have compression, with a server whose contexts must stay like the client's.

    ``--part a`` runs one part, of which ``--seeds`` is the number then. What is bad is shown with its seed;
    ``--part a --seed 17 --trace`` shows it again. ``--seconds`` stops it in time, ``--first`` begins with another seed.
    """
    install(session, "tests")
    arguments = session.posargs or ["--seeds", "400", "--seconds", "110"]
    session.run("python", "-P", "-m", "campaign", *arguments, env={"PYTHONPATH": "tests"})


@nox.session
def proxies(session: nox.Session) -> None:
    """Go through real proxies, ws and wss through each: those of PyPI, and of the machine where they are installed."""
    install(session, "proxies")
    session.run("python", "tests/real_proxies/run.py")


@nox.session
def libraries(session: nox.Session) -> None:
    """Run socket libraries of mini programs, as npm has them, against real servers; ``-- mqtt5`` runs one.

    Node and npm must be there, and npm's registry within reach.
    """
    session.install(".[javascript]")
    folder = Path(session.create_tmp()).resolve() / "libraries"
    folder.mkdir(exist_ok=True)
    shutil.copy("tests/libraries/package.json", folder)
    # Its scripts are not run, and no lock file holds addresses; the versions are in package.json.
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
    session.run("npm", "install", *quiet, "--prefix", str(folder), external=True)
    session.run("python", "tests/libraries/run.py", str(folder), *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Talk to Node's ws, from npm, with compression: every combination of parameters; it needs node and npm."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            session.error(f"there is no {tool} on PATH")
    install(session, "tests")
    folder = Path(session.create_tmp()).resolve()
    npm = ("npm", "install", "--silent", "--no-save", "--no-package-lock", "--no-audit", "--no-fund")
    session.run(*npm, "--prefix", str(folder), "ws@8", external=True)
    session.run("python", "-P", "tests/node_ws/run.py", str(folder / "node_modules"))


@nox.session
def mutants(session: nox.Session) -> None:
    """Change 400 places of the code, by seed, and require that tests notice; ``-- --sample 40 --seed 2`` for others.

    ``--only resilient`` takes the modules whose path has this in it, ``--jobs 1`` one mutant at a time.
    """
    install(session, "mutants")
    session.run("python", "tests/mutants/run.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the WebSocket clients against one another; ``-- --check`` fails where a goal is missed."""
    install(session, "bench")
    is_special = {"--only", "--keep-memory"} & set(session.posargs)
    output = () if is_special else ("--output", "docs/benchmarks/results.json")
    session.run("python", "tests/bench/speed/run.py", *output, *session.posargs)


@nox.session
def curves(session: nox.Session) -> None:
    """Measure what a message and a socket cost as there are more of them."""
    install(session, "bench")
    session.run("python", "tests/bench/speed/curves.py", "--output", "docs/benchmarks/curves.json")


@nox.session
def charts(session: nox.Session) -> None:
    """Draw the charts and write the tables of the documentation, from what `bench` and `curves` have measured."""
    install(session, "bench")
    session.run("python", "tests/bench/speed/charts.py", "docs/benchmarks")
    session.run("python", "tests/bench/herd.py", "docs/benchmarks/herd.svg")


@nox.session
def casts(session: nox.Session) -> None:
    """Record the command line at work, for the pictures of the documentation; it needs a pseudo-terminal."""
    install(session, "tests")
    session.run("python", "-P", "-m", "cli.casts", "docs/casts", env={"PYTHONPATH": "tests"})


@nox.session
def licences(session: nox.Session) -> None:
    """List the licences of what the package installs, extras included, as its metadata has them."""
    session.install(".", *ADMITTED, "pip-licenses")
    page = Path("docs/explanation/dependencies.md")
    table = session.run(
        *("pip-licenses", "--from", "mixed", "--format", "markdown", "--no-version"),
        *("--ignore-packages", PROJECT["project"]["name"]),
        silent=True,
    )
    before, mark, _ = page.read_text(encoding="utf-8").partition("<!-- nox -s licences -->\n")
    page.write_text(f"{before}{mark}{table}", encoding="utf-8")


@nox.session
def changelog(session: nox.Session) -> None:
    """Make the changelog of a version of the fragments: ``-- --version 0.2.0``."""
    session.install(*nox.project.dependency_groups(PROJECT, "changelog"))
    session.run("towncrier", "build", "--yes", *session.posargs)


@nox.session
def rivals(session: nox.Session) -> None:
    """Print what the WebSocket clients on Trio do against hostile peers."""
    install(session, "tests")
    session.run("python", "tests/bench/rivals.py")


@nox.session
def examples(session: nox.Session) -> None:
    """Run the tests of the example projects as a user's: the wheel, pytest and pytest-trio, and what each needs."""
    session.install(".", "pytest", "pytest-trio")
    session.chdir("docs/examples/chat_client")
    session.run("pytest")
    session.chdir("../mini_program_tests")
    session.install("trio-socket-task[javascript]")
    session.run("pytest")


@nox.session
def plugins(session: nox.Session) -> None:
    """Run tests on Trio, on asyncio and of anyio beside one another: each plugin runs its own tests and fixtures."""
    session.install(".", "pytest", "pytest-trio", "pytest-asyncio", "anyio")
    session.chdir("tests/plugins")
    session.run("pytest")
    session.run("pytest", "-o", "trio_mode=true", "trio_tests.py")
    session.run("pytest", "-o", "asyncio_mode=auto", "asyncio_tests.py")
    session.run("pytest", "-o", "anyio_mode=auto", "anyio_tests.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings as errors."""
    install(session, "docs")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, check them, and run the demo from each."""
    session.install(*nox.project.dependency_groups(PROJECT, "package"))
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    archives = sorted(str(path) for path in dist.iterdir())
    session.run("twine", "check", "--strict", *archives)
    for archive in archives:
        session.install("--force-reinstall", archive)
        session.run("python", "-P", "-m", "trio_socket_task", "demo", silent=True)
