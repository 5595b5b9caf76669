"""Follows what comes from vLLM through this project's modules: every use of it is looked up in vLLM's source.

A value is followed from where it is imported, or annotated with a vLLM type, through assignments, attributes, calls,
loops and ``except``. Where vLLM does not say what type something is, our source has to, or the use is reported.
"""

import ast
from typing import NamedTuple

from scripts.vllm_source import FUNCTION, Found, Source, Type

Value = Type | Found | None
LOST = "?"
"""The module of a type that vLLM does not say; the type's name is then what has it."""


class Difference(NamedTuple):
    """Something used that this vLLM does not have, or that could not be followed."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def is_vllm(found: Found) -> bool:
    """Whether a definition is vLLM's."""
    return found.module.partition(".")[0] == "vllm"


class Reader:
    """Follows the values that come from vLLM through one of our modules."""

    def __init__(self, source: Source, module: str) -> None:
        self.source = source
        self.module = module
        read = source.module(module)
        assert read is not None
        self.tree = read.tree
        self.differences: dict[tuple[int, str], Difference] = {}
        self.uses: set[str] = set()
        self._assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self._keep(target, node.value)

    def _keep(self, target: ast.expr, value: ast.expr) -> None:
        """Remember what a name or attribute is given, wherever in the module, for the keys of dictionaries."""
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            self._keep(target.value, ast.Dict([target.slice], [value]))
        elif isinstance(target, ast.Name | ast.Attribute):
            name = target.id if isinstance(target, ast.Name) else target.attr
            self._assigned.setdefault(name, []).append(value)

    def _differs(self, node: ast.AST, what: str) -> None:
        line = getattr(node, "lineno", 0)
        self.differences[line, what] = Difference(f"{self.module.replace('.', '/')}.py:{line}", what)

    def read(self) -> None:
        """Check the whole module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "vllm":
                assert node.module is not None
                for alias in node.names:
                    self.uses.add(f"{node.module}.{alias.name}")
                    if not self.source.find(node.module, alias.name):
                        self._differs(node, f"{node.module} has no {alias.name}")
        self._block(self.tree.body, {})

    def _block(self, body: list[ast.stmt], known: dict[str, Value]) -> None:
        for node in body:
            self._statement(node, known)

    def _statement(self, node: ast.stmt, known: dict[str, Value]) -> None:
        if isinstance(node, ast.ClassDef):
            self._block(node.body, {**known, "self": Type(self.module, ast.Name(node.name))})
        elif isinstance(node, FUNCTION):
            self._function(node, known)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            value = self._value(node.value, known) if node.value else None
            if isinstance(node, ast.AnnAssign) and self.source.class_of(Type(self.module, node.annotation)):
                value = Type(self.module, node.annotation)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._bind(target, value, known)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                self._bind(item.optional_vars, self._value(item.context_expr, known), known)
            self._block(node.body, known)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._bind(node.target, self._item(self._value(node.iter, known)), known)
            self._block([*node.body, *node.orelse], known)
        elif isinstance(node, ast.Try):
            self._block(node.body, known)
            for handler in node.handlers:
                caught = self._value(handler.type, known) if handler.type else None
                inner = {**known, handler.name: self._instance(caught)} if handler.name else known
                self._block(handler.body, inner)
            self._block([*node.orelse, *node.finalbody], known)
        elif isinstance(node, ast.If | ast.While):
            narrowed = dict(known)
            self._value(node.test, narrowed)
            self._block(node.body, narrowed)
            self._block(node.orelse, known)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._value(child, known)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, known: dict[str, Value]) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        inner = dict(known)
        for argument in arguments:
            if argument.annotation is not None:
                inner[argument.arg] = Type(self.module, argument.annotation)
            elif argument.arg != "self":
                inner.pop(argument.arg, None)
        self._block(node.body, inner)

    def _bind(self, target: ast.expr | None, value: Value, known: dict[str, Value]) -> None:
        if isinstance(target, ast.Name):
            known[target.id] = value
        elif isinstance(target, ast.Tuple):
            found = self.source.class_of(value) if isinstance(value, Type) else None
            body = found.node.body if found and isinstance(found.node, ast.ClassDef) else []
            fields = [line.annotation for line in body if isinstance(line, ast.AnnAssign)]
            for number, element in enumerate(target.elts):
                of = Type(found.module, fields[number]) if found and number < len(fields) else None
                self._bind(element, of or self._item(value), known)

    def _instance(self, value: Value) -> Value:
        """What calling or catching a class gives."""
        if isinstance(value, Found) and isinstance(value.node, ast.ClassDef):
            return Type(value.module, ast.Name(value.node.name))
        if isinstance(value, Found) and isinstance(value.node, FUNCTION) and value.node.returns:
            return Type(value.module, value.node.returns)
        return None

    def _item(self, value: Value) -> Value:
        return self.source.item(value) if isinstance(value, Type) else None

    def _value(self, node: ast.expr, known: dict[str, Value]) -> Value:
        """What an expression is, checking all in it."""
        match node:
            case ast.Name():
                return known[node.id] if node.id in known else self._named(self.source.find(self.module, node.id))
            case ast.Attribute():
                return self._attribute(node, self._value(node.value, known))
            case ast.Call():
                return self._call(node, known)
            case ast.Await():
                value = self._value(node.value, known)
                return self._item(value) or value
            case ast.Subscript():
                self._value(node.slice, known)
                return self._item(self._value(node.value, known))
            case ast.NamedExpr():
                value = self._value(node.value, known)
                self._bind(node.target, value, known)
                return value
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                inner = dict(known)
                for loop in node.generators:
                    self._bind(loop.target, self._item(self._value(loop.iter, inner)), inner)
                    for test in loop.ifs:
                        self._value(test, inner)
                for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                    self._value(part, inner)
                return None
            case ast.BoolOp():
                values = [self._value(part, known) for part in node.values]
                return next((value for value in values if value), None)
            case ast.IfExp():
                self._value(node.test, known)
                return self._value(node.body, known) or self._value(node.orelse, known)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._value(child, known)
                return None

    def _named(self, found: Found | None) -> Value:
        """What a module's name is: for a variable, its type."""
        if found and isinstance(found.node, ast.AnnAssign):
            return Type(found.module, found.node.annotation)
        if found and isinstance(found.node, ast.Assign):
            call = found.node.value
            function = call.func if isinstance(call, ast.Call) else None
            made = self.source.find(found.module, function.id) if isinstance(function, ast.Name) else None
            return self._instance(made)
        return found

    def _attribute(self, node: ast.Attribute, of: Value) -> Value:
        if isinstance(of, Type) and of.module == LOST and not node.attr.startswith("__"):
            self._differs(
                node, f"{node.attr} of {ast.unparse(of.written)}, whose type is not said: name it in our source"
            )
            return None
        if isinstance(of, Found) and of.node is None:
            found = self.source.find(of.module, node.attr)
            if is_vllm(of):
                self.uses.add(f"{of.module}.{node.attr}")
                if not found:
                    self._differs(node, f"{of.module} has no {node.attr}")
            return self._named(found)
        owner = self.source.class_of(of) if isinstance(of, Type) else of
        if not owner or not isinstance(owner.node, ast.ClassDef):
            return None
        member = self.source.member(owner, node.attr)
        if is_vllm(owner):
            self.uses.add(f"{owner.node.name}.{node.attr}")
            if member is None and node.attr not in dir(Exception):
                self._differs(node, f"{owner.node.name} has no attribute {node.attr}")
            if member and not member.type and not member.method:
                return Type(LOST, ast.Name(f"{owner.node.name}.{node.attr}"))
        return (member.method or member.type) if member else None

    def _call(self, node: ast.Call, known: dict[str, Value]) -> Value:
        values = [self._value(argument, known) for argument in node.args]
        for keyword in node.keywords:
            self._value(keyword.value, known)
        name = ast.unparse(node.func)
        first = node.args[0] if node.args else None
        if name == "isinstance" and isinstance(first, ast.Name):
            known[first.id] = self._instance(values[1])
        if name == "cast" and isinstance(first, ast.Constant | ast.Name):
            return Type(self.module, first)
        if name == "import_module" and isinstance(first, ast.Constant) and str(first.value).startswith("vllm"):
            module = str(first.value)
            self.uses.add(module)
            if not self.source.module(module):
                self._differs(node, f"there is no {module}")
            return Found(module, None)
        if name in {"aclosing", "next", "iter"}:
            return values[0] if name == "aclosing" else None
        called = self._value(node.func, known)
        if isinstance(called, Found):
            if is_vllm(called):
                self._check_arguments(node, called)
            return self._instance(called)
        return None

    def _check_arguments(self, node: ast.Call, called: Found) -> None:
        takes = self.source.takes(called)
        if takes is None:
            return
        said = getattr(called.node, "name", "")
        given = {
            key for keyword in node.keywords for key in ([keyword.arg] if keyword.arg else self._keys(keyword.value))
        }
        self.uses |= {f"{said}({key}=)" for key in given}
        for key in sorted(given - takes.named if takes.named is not None else ()):
            self._differs(node, f"{said} takes no {key}")
        if takes.placed is not None and len(node.args) > takes.placed:
            self._differs(node, f"{said} takes at most {takes.placed} arguments by place, and gets {len(node.args)}")

    def _keys(self, node: ast.expr, seen: frozenset[str] = frozenset()) -> set[str]:
        """The keys that a dictionary may have, as far as they are written in this module."""
        match node:
            case ast.Dict():
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
                return keys.union(
                    *(self._keys(v, seen) for k, v in zip(node.keys, node.values, strict=True) if k is None)
                )
            case ast.BinOp():
                return self._keys(node.left, seen) | self._keys(node.right, seen)
            case ast.IfExp():
                return self._keys(node.body, seen) | self._keys(node.orelse, seen)
            case ast.DictComp():
                over = node.generators[0].iter
                if isinstance(over, ast.Call) and isinstance(over.func, ast.Attribute) and over.func.attr == "items":
                    return self._keys(over.func.value, seen)
                return self._strings(over)
            case ast.Call(func=ast.Name()):
                found = self.source.find(self.module, node.func.id)  # type: ignore[attr-defined]
                inside = ast.walk(found.node) if found and isinstance(found.node, FUNCTION) else ()
                returned = [line.value for line in inside if isinstance(line, ast.Return) and line.value]
                return set().union(*(self._keys(value, seen) for value in returned))
            case ast.Name() | ast.Attribute():
                name = node.id if isinstance(node, ast.Name) else node.attr
                values = [] if name in seen else self._assigned.get(name, [])
                return set().union(*(self._keys(value, seen | {name}) for value in values))
        return set()

    def _strings(self, node: ast.expr) -> set[str]:
        """The strings of a tuple that is a constant of this module."""
        values = self._assigned.get(node.id, []) if isinstance(node, ast.Name) else [node]
        parts = (part for value in values if isinstance(value, ast.Tuple) for part in value.elts)
        return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
