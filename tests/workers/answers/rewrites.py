"""Answers, ways to write them that keep what they say, and ways that change it; all drawn from a seeded generator."""

import random
import re
from collections.abc import Callable, Iterator

UNITS = ("cm", "kg", "kPa", "MeV", "kJ", "mL", "nm", "GHz", "m/s", "kW", "mA", "pF", "MV", "Mg", "ms")
FRACTIONS = {r"\frac{1}{2}": "½", r"\frac{3}{4}": "¾", r"\frac{1}{3}": "⅓", r"\frac{2}{5}": "⅖"}
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def answer(rng: random.Random) -> str:
    """An answer of some kind that data sets hold."""
    n, m, k = rng.sample(range(2, 60), 3)
    x, y = rng.sample("abxyzpq", 2)
    big = rng.randrange(1000, 9_999_999)
    return rng.choice(
        (
            str(n),
            f"-{n}",
            f"{big:,}",
            f"{n}.{m}",
            rf"\frac{{{n}}}{{{n * m + 1}}}",
            rng.choice(list(FRACTIONS)),
            rf"{n}\frac{{{k}}}{{{n + k}}}",
            rf"{n}\%",
            rf"\${n}.{m}",
            rf"{n}\text{{ {rng.choice(UNITS)}}}",
            rf"{n}\text{{ {rng.choice(UNITS)}}}^2",
            f"({n}, {m})",
            f"({n}, -{m}, {k})",
            f"({big:,}, {n})",
            f"[{n}, {n + m})",
            rf"\{{{n}, {m}, {k}\}}",
            f"[{n}, {m}, {k}]",
            rf"\begin{{pmatrix}} {n} \\ {m} \end{{pmatrix}}",
            f"{n}{x} + {m}",
            f"{x}^{{{n % 9 + 2}}} - {m}{y}",
            rf"\frac{{{n}{x}}}{{{m}}}",
            rf"{n}\sqrt{{{m}}}",
            rf"\sqrt[3]{{{m}}}",
            rf"\log_{{2}}{{{m}}}",
            rf"\frac{{\sqrt{{{n}}}}}{{{m}}}",
            rf"{n}\pi",
            f"2^{{{n}}}",
            f"{x} = {n}",
            f"{y} = {n}{x} - {m}",
            rf"{n} \times 10^{{{m % 9 + 2}}}",
            f"{n} million",
            f"{x.upper()}{n}",
            f"{n}{x.upper()}",
            f"20{n + 10}-{n % 12 + 1:02}-{m % 28 + 1:02}",
            f"{n}-{m}",
            f"{n}-{m}-{k}",
            rf"{n} \times {m}",
            f"{n}:{m}",
            f"{n}_{{8}}",
            rf"{n}^\circ\text{{C}}",
            rf"{n}^\circ",
            f"({rng.choice('ABCDE')})",
            rng.choice((r"\text{even}", r"\text{Monday}", r"\text{yes}")),
            f"1e{n % 9 + 1}+{m}",
        )
    )


def kept(text: str, rng: random.Random) -> str:
    """The same answer in another dress."""
    rewrite: Callable[[str], str | None] = rng.choice(
        (
            lambda t: f"${t}$",
            lambda t: f" {t} ",
            lambda t: t if t.endswith(".") else f"{t}.",
            lambda t: rf"\({t}\)",
            lambda t: t.replace(r"\frac", r"\dfrac"),
            lambda t: t.replace("(", r"\left(").replace(")", r"\right)") if "[" not in t else t,
            lambda t: t.replace(r"\text{ ", r"\mathrm{~"),
            lambda t: t.replace(r"\text{ ", r"\,\text{"),
            lambda t: t.replace("-", "−") if re.search(r"\d-\d", t) is None else t,
            lambda t: FRACTIONS.get(t, t),
            lambda t: re.sub(r"(?<=\d),(?=\d{3})", "{,}", t),
            lambda t: re.sub(r"\\sqrt\{(\d+)\}", r"√\1", t),
            lambda t: re.sub(r"\\sqrt\{(\d+)\}", r"sqrt(\1)", t) if "frac" not in t else t,
            lambda t: re.sub(r"\\sqrt\[3\]\{(\d+)\}", r"∛\1", t),
            lambda t: re.sub(r"\\log_\{2\}\{(\d+)\}", r"\\log_2 \1", t),
            lambda t: re.sub(r"\\log_\{2\}\{(\d+)\}", r"\\log_2(\1)", t),
            lambda t: re.sub(r"(?<=[\da-z])\^\{(\d+)\}", lambda f: f[1].translate(SUPERSCRIPTS), t),
            lambda t: t.replace(r"\pi", "π"),
            lambda t: t.replace(r"\times", "×"),
            lambda t: t.replace("(", "（").replace(")", "）").replace(",", "，") if t.startswith("(") else t,
            lambda t: f"{t[0]}\u200b{t[1:]}" if t[0].isdigit() else t,
            lambda t: rf"\text{{{t[7:-1]}}}" if t.startswith(r"\text{ ") else t,
            lambda t: re.sub(r"^\((-?\d+), (-?\d+)\)$", r"(\1,\2)", t),
        )
    )
    return rewrite(text) or text


def changed(text: str, rng: random.Random) -> str:
    """Another answer that looks much like it; the text itself where this change does not apply to it."""
    digits = [found.start() for found in re.finditer(r"\d", text)]
    at = rng.choice(digits) if digits else 0

    def bumped(t: str) -> str:
        return f"{t[:at]}{(int(t[at]) + 1) % 9 + 1}{t[at + 1 :]}" if digits else t

    def swapped(t: str) -> str:
        return re.sub(r"^(\D*)(\d+)(\D+?)(\d+)(.*)$", r"\1\4\3\2\5", t, count=1)

    rewrite: Callable[[str], str] = rng.choice(
        (
            bumped,
            bumped,
            lambda t: swapped(t) if not t.startswith((r"\{", "[")) else t,
            lambda t: (
                f"-{t}" if re.match(r"\d|\\frac|\\sqrt", t) and re.search(r"\d[-:]\d|[A-Z_=]|text", t) is None else t
            ),
            lambda t: re.sub(r"(?<=\\text\{ )[mMpP](?=[a-zA-Z])", lambda f: f[0].swapcase(), t),
            lambda t: re.sub(r"(?<=\\text\{ )k", "m", t),
            lambda t: re.sub(r"\^2$", "^3", t),
            lambda t: re.sub(r"^(\d+)([A-Z])$", r"\2\1", t),
            lambda t: re.sub(r"^([A-Z])(\d+)$", r"\2\1", t),
            lambda t: t.replace(r" \times ", ""),
            lambda t: re.sub(r"^(\d+) \\times (\d+)$", lambda f: str(int(f[1]) * int(f[2])), t),
            lambda t: re.sub(r"^(\d+)-(\d+)$", lambda f: str(int(f[1]) - int(f[2])), t),
            lambda t: t.replace("million", "billion"),
            lambda t: t.replace(r"\sqrt[3]", r"\sqrt"),
            lambda t: t.replace(r"\log_{2}", r"\log_{3}"),
            lambda t: t.replace("[", "(") if t.endswith(")") else t,
            lambda t: t.replace(r"\text{C}", r"\text{F}"),
            lambda t: re.sub(r"[ABCDE](?=\)$)", lambda f: chr((ord(f[0]) - 64) % 5 + 65), t) if len(t) == 3 else t,
            lambda t: t.replace(r"\text{even}", r"\text{odd}").replace("Monday", "Friday").replace("yes", "no"),
        )
    )
    return rewrite(text)


def same_text(one: str, other: str) -> bool:
    """Are they the same answer after all: swapping equal parts, or a product for a product."""
    return re.sub(r"\s", "", one) == re.sub(r"\s", "", other)


def drawn(seed: int, number: int) -> Iterator[tuple[str, str, str, str]]:
    """Answers, each with a second one like it or itself, a rewrite that keeps it, and one that changes it."""
    rng = random.Random(seed)
    for _ in range(number):
        text = answer(rng)
        other = text if rng.random() < 0.5 else changed(text, rng)
        yield text, other, kept(kept(text, rng), rng), changed(text, rng)
