"""Reads Python source without importing it: that of vLLM, from a wheel or an installed package, and our own.

It finds where a name is defined, which parameters it takes, and which type an attribute of it has. It knows as much of
Python as vLLM's declarations need: imports, classes with annotated fields, properties, methods and what they assign. A
type is given as an ``ast`` expression together with the module in which it is written.
"""

import ast
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from zipfile import Path as ZipPath

CONTAINERS = {"list", "tuple", "Sequence", "Iterable", "AsyncGenerator", "AsyncIterator", "Awaitable", "Coroutine"}
"""Their first parameter is what one gets out of them."""
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign | ast.Assign
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class Type(NamedTuple):
    """A type as it is written in ``module``."""

    module: str
    written: ast.expr


class Found(NamedTuple):
    """Where a name is defined; ``node`` is ``None`` for a module itself."""

    module: str
    node: Definition | None


class Parameters(NamedTuple):
    """The names of parameters, and how many may be given by place; ``None``: any."""

    named: set[str] | None
    placed: int | None


class Member(NamedTuple):
    """An attribute of a class: of which type it is, or the method that it is; ``None``: not said."""

    type: Type | None
    method: Found | None = None


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a module or class, those under ``if`` and ``try`` too."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If):
            found += _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            inner = [line for handler in node.handlers for line in handler.body]
            found += _statements([*node.body, *inner, *node.orelse])
    return found


def _names(node: ast.stmt) -> list[str]:
    """What a statement defines."""
    if isinstance(node, (ast.ClassDef, *FUNCTION)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


class Module:
    """One module: what it defines, and from where it has its other names."""

    def __init__(self, name: str, text: str, *, package: bool) -> None:
        self.name = name
        self.tree = ast.parse(text)
        self.defined: dict[str, Definition] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        """By name: the module it comes from, and its name there (empty: it is that module)."""
        self.stars: list[str] = []
        parent = name if package else name.rpartition(".")[0]
        own = not name.startswith("vllm")  # which imports vLLM inside of functions
        for node in ast.walk(self.tree) if own else _statements(self.tree.body):
            if isinstance(node, ast.ImportFrom):
                up = parent.split(".")[: len(parent.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*up, *([node.module] if node.module else [])])
                self.stars += [source for alias in node.names if alias.name == "*"]
                self.imported |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                self.imported |= {alias.asname or alias.name.split(".")[0]: (alias.name, "") for alias in node.names}
        for node in _statements(self.tree.body):
            if isinstance(node, (ast.ClassDef, *FUNCTION, ast.AnnAssign, ast.Assign)):
                for defined in _names(node):
                    self.defined.setdefault(defined, node)


class Source:
    """The source of the packages whose folders, on disk or in a wheel, are ``roots``, by name."""

    def __init__(self, roots: Mapping[str, Path | ZipPath]) -> None:
        self._roots = roots
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """A module by its full name; ``None`` if there is none of that name."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module | None:
        package, *parts = name.split(".")
        root = self._roots.get(package)
        for path in ([*parts, "__init__.py"], [*parts[:-1], f"{parts[-1]}.py"] if parts else []):
            if root is not None and path and (file := root.joinpath("/".join(path))).is_file():
                return Module(name, file.read_text(encoding="utf-8"), package=path[-1] == "__init__.py")
        return None

    def find(self, module: str, name: str) -> Found | None:
        """Where ``name`` of ``module`` is defined; ``None`` if nowhere here."""
        read = self.module(module)
        if read is None:
            return None
        if name in read.defined:
            return Found(module, read.defined[name])
        if name in read.imported:
            source, there = read.imported[name]
            return self.find(source, there) if there else Found(source, None)
        if self.module(f"{module}.{name}"):
            return Found(f"{module}.{name}", None)
        return next((found for star in read.stars if (found := self.find(star, name))), None)

    def class_of(self, of: Type) -> Found | None:
        """The class that a type names: the first one of vLLM in a union, ``None`` if there is none."""
        node = of.written
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.class_of(Type(of.module, ast.parse(node.value, mode="eval").body))
        if isinstance(node, ast.BinOp):
            return self.class_of(Type(of.module, node.left)) or self.class_of(Type(of.module, node.right))
        if isinstance(node, ast.Subscript):
            return self.class_of(Type(of.module, node.value))
        found = self.find(of.module, node.id) if isinstance(node, ast.Name) else None
        if found and isinstance(found.node, ast.Assign):  # another name for it
            return self.class_of(Type(found.module, found.node.value))
        return found if found and isinstance(found.node, ast.ClassDef) else None

    def item(self, of: Type) -> Type | None:
        """The type of what is in a container."""
        node = of.written
        if isinstance(node, ast.BinOp):
            return self.item(Type(of.module, node.left)) or self.item(Type(of.module, node.right))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in CONTAINERS:
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return Type(of.module, inner)
        return None

    def lineage(self, found: Found) -> list[Found]:
        """A class and those it comes from, as far as they are vLLM's."""
        assert isinstance(found.node, ast.ClassDef)
        bases = (self.class_of(Type(found.module, base)) for base in found.node.bases)
        return [found, *(above for base in bases if base for above in self.lineage(base))]

    def member(self, found: Found, name: str) -> Member | None:
        """An attribute of a class; ``None`` if it has none of that name."""
        for above in self.lineage(found):
            assert isinstance(above.node, ast.ClassDef)
            for node in _statements(above.node.body):
                if name in _names(node):
                    return self._declared(above, node)
            for node in above.node.body:
                if isinstance(node, FUNCTION) and (member := self._assigned(above.module, node, name)):
                    return member
        return None

    def _declared(self, found: Found, node: ast.stmt) -> Member:
        if isinstance(node, FUNCTION):
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
            if decorators & {"property", "cached_property"}:
                return Member(Type(found.module, node.returns) if node.returns else None)
            return Member(None, Found(found.module, node))
        if isinstance(node, ast.AnnAssign):
            return Member(Type(found.module, node.annotation))
        assert isinstance(found.node, ast.ClassDef)
        return Member(Type(found.module, ast.Name(found.node.name)))  # one of an enum's

    def _assigned(self, module: str, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Member | None:
        """The attribute ``self.name`` that a method assigns."""
        for node in ast.walk(function):
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            if not any(
                isinstance(t, ast.Attribute) and t.attr == name and ast.unparse(t.value) == "self" for t in targets
            ):
                continue
            if isinstance(node, ast.AnnAssign):
                return Member(Type(module, node.annotation))
            assert isinstance(node, ast.Assign)
            return Member(self._value(module, function, node.value))
        return None

    def _value(self, module: str, function: ast.FunctionDef | ast.AsyncFunctionDef, value: ast.expr) -> Type | None:
        """The type of an expression in a method of vLLM's, as far as it is a parameter, its attribute, or a call."""
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        annotated = {argument.arg: argument.annotation for argument in arguments}
        if isinstance(value, ast.Name) and (annotation := annotated.get(value.id)):
            return Type(module, annotation)
        if isinstance(value, ast.Attribute) and (of := self._value(module, function, value.value)):
            found = self.class_of(of)
            member = self.member(found, value.attr) if found else None
            return member.type if member else None
        if isinstance(value, ast.Call) and (found := self._called(module, value.func)):
            if isinstance(found.node, FUNCTION):
                return Type(found.module, found.node.returns) if found.node.returns else None
            return Type(module, value.func)
        return None

    def _called(self, module: str, function: ast.expr) -> Found | None:
        """What an expression calls, if it is a function, a class or a class's method."""
        if isinstance(function, ast.Name):
            return self.find(module, function.id)
        owner = self.class_of(Type(module, function.value)) if isinstance(function, ast.Attribute) else None
        member = self.member(owner, function.attr) if owner and isinstance(function, ast.Attribute) else None
        return member.method if member else None

    def takes(self, found: Found) -> Parameters | None:
        """What a function, method or class takes; ``None`` if that cannot be said."""
        node = found.node
        if isinstance(node, FUNCTION):
            own = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args]]
            own = own[1:] if own[:1] in (["self"], ["cls"]) else own
            named = {*own, *(argument.arg for argument in node.args.kwonlyargs)}
            return Parameters(None if node.args.kwarg else named, None if node.args.vararg else len(own))
        if not isinstance(node, ast.ClassDef):
            return None
        member = self.member(found, "__init__")
        if member and member.method:
            return self.takes(member.method)
        lines = [line for above in self.lineage(found) for line in _statements(above.node.body)]  # type: ignore[union-attr]
        fields = {name for line in lines if isinstance(line, ast.AnnAssign) for name in _names(line)}
        return Parameters(fields, len(fields)) if fields else None

    @cached_property
    def variables(self) -> set[str]:
        """The environment variables that vLLM reads."""
        read = self.module("vllm.envs")
        node = read.defined.get("environment_variables") if read else None
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        keys = value.keys if isinstance(value, ast.Dict) else []
        return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
