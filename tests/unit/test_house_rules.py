"""The house rules that a machine can check: budgets, docstrings, names, import cycles.

Each rule reads the source only. A failure names the place and the limit; split by meaning rather
than raise a limit.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aisle"

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PROTOCOL_METHODS_MAX = 8
POSITIONAL_PARAMETERS_MAX = 4  # beside self; the aim is 3
NAMES_NOBODY_HAS_FOUND_YET = ("util", "utils", "helper", "helpers", "common", "misc", "manager", "managers")

# Settings are read in one place; the command line is its user's.
ENVIRONMENT_READERS = ("aisle.node.", "aisle.cli.")

Function = ast.FunctionDef | ast.AsyncFunctionDef
T = TypeVar("T", bound=ast.AST)


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the package, parsed, by its dotted name."""
    return {_dotted(path): ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


def _dotted(path: Path) -> str:
    parts = ["aisle", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nodes(*kinds: type[T]) -> Iterator[tuple[str, T]]:
    """Every node of the given kinds with the name of its module."""
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield module, node


def test_no_module_is_longer_than_its_budget() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in SOURCE.rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_its_budget() -> None:
    def length(function: Function) -> int:
        return (function.end_lineno or function.lineno) - function.lineno + 1

    found = {
        f"{module}.{node.name}": length(node) for module, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in found.items() if lines > FUNCTION_LINES_MAX} == {}


def test_no_protocol_has_more_methods_than_its_budget() -> None:
    def is_protocol(node: ast.ClassDef) -> bool:
        # Not asyncio.Protocol, which is a class like others.
        return any(
            ast.unparse(base).partition("[")[0] in ("Protocol", "typing.Protocol") for base in node.bases
        )

    found = {
        f"{module}.{node.name}": sum(isinstance(item, Function) for item in node.body)
        for module, node in nodes(ast.ClassDef)
        if is_protocol(node)
    }
    assert {name: methods for name, methods in found.items() if methods > PROTOCOL_METHODS_MAX} == {}


def test_signatures_have_few_positional_parameters() -> None:
    def positional(function: Function) -> int:
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        return len(names) - (names[:1] in (["self"], ["cls"]))

    found = {
        f"{module}.{node.name}": positional(node)
        for module, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {name: many for name, many in found.items() if many > POSITIONAL_PARAMETERS_MAX} == {}


def test_everything_public_says_what_it_promises() -> None:
    def undocumented(owner: str, node: ast.Module | ast.ClassDef) -> Iterator[str]:
        if ast.get_docstring(node) is None:
            yield owner
        for item in node.body:
            if not isinstance(item, Function | ast.ClassDef) or item.name.startswith("_"):
                continue
            if isinstance(item, ast.ClassDef):
                yield from undocumented(f"{owner}.{item.name}", item)
            elif ast.get_docstring(item) is None and not _overrides_are_elsewhere(item):
                yield f"{owner}.{item.name}"

    found = [name for module, tree in modules().items() for name in undocumented(module, tree)]
    assert found == []


def _overrides_are_elsewhere(function: Function) -> bool:
    """Whether the promise stands with another definition: an overload, an override, a setter."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(name.endswith(("overload", "override", ".setter", ".deleter")) for name in decorators)


def test_names_say_what_a_thing_is() -> None:
    def is_empty_word(name: str) -> bool:
        return name.lower() in NAMES_NOBODY_HAS_FOUND_YET

    found = [module for module in modules() if is_empty_word(module.rpartition(".")[2])]
    found += [
        f"{module}.{node.name}"
        for module, node in nodes(ast.ClassDef)
        if node.name.endswith(("Manager", "Helper", "Helpers", "Util", "Utils"))
    ]
    assert found == []


def test_no_handler_catches_everything_silently() -> None:
    found = [f"{module}:{node.lineno}" for module, node in nodes(ast.ExceptHandler) if node.type is None]
    assert found == []


def test_nobody_waits_with_what_loses_a_cancellation() -> None:
    # Until Python 3.12, asyncio.wait_for returns the result and forgets a cancellation that arrives
    # together with it; `async with asyncio.timeout()` does not.
    found = [
        f"{module}:{node.lineno}"
        for module, node in nodes(ast.Attribute)
        if ast.unparse(node) == "asyncio.wait_for"
    ]
    assert found == []


def test_functions_are_typed() -> None:
    def untyped(function: Function) -> bool:
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        named = [argument for argument in arguments if argument.arg not in ("self", "cls")]
        return function.returns is None or any(argument.annotation is None for argument in named)

    found = [
        f"{module}.{node.name}"
        for module, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        if untyped(node)
    ]
    assert found == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: set(_imports(module, tree)) & set(modules()) for module, tree in modules().items()}
    assert [circle for circle in _circles(graph) if len(circle) > 1] == []


def _imports(module: str, tree: ast.Module) -> Iterator[str]:
    """The modules that importing `module` imports; imports inside functions happen later."""
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import, those in `if` and `try` too, but not under TYPE_CHECKING."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(node.orelse)
        elif isinstance(node, ast.If | ast.Try):
            for inner in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, inner, []))


def _circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in order:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], order[target])
        if low[module] == order[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            found.append(sorted(circle))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def test_a_circle_is_found_when_there_is_one() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"], ["d"]]


def test_only_the_outermost_layer_reads_the_environment() -> None:
    found = [
        f"{module}:{node.lineno}"
        for module, node in nodes(ast.Attribute)
        if ast.unparse(node) in ("os.environ", "os.getenv")
        and not f"{module}.".startswith(ENVIRONMENT_READERS)
    ]
    assert found == []


def test_unit_tests_do_not_sleep() -> None:
    def sleeps(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sleep")):
            return False
        return not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)

    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in sorted((ROOT / "tests" / "unit").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if sleeps(node)
    ]
    assert found == []


def test_check_runs_format_lint_types_layers_unit_contract() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    commands = [line.strip().removeprefix("$(BIN)/") for line in recipe.splitlines()[1:]]
    assert commands == [
        "ruff format --check src tests bench demo tools",
        "ruff check src tests bench demo tools",
        "mypy",
        "lint-imports --no-cache",
        "python -m pytest -n 3 --dist loadfile tests/unit tests/contract",
    ]
