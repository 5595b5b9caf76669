"""The numbers of a proof in words, and all of it in Markdown."""

from weak2wise.proof.claim import EFFECT_SPREAD, POWER, Claim, HeldOutSet
from weak2wise.proof.result import Comparison, Proof
from weak2wise.statistics import Estimate


def described(held: HeldOutSet) -> str:
    """A set of held-out questions in words."""
    return f"{held.name}: {held.questions:,} questions, {held.samples:,} answers to each"


def detectable(claim: Claim) -> str:
    """The smallest effect that the claim can show, and what that assumes."""
    return (
        f"{100 * claim.detectable:.1f} points, found with probability {POWER:g}, if {100 * claim.solve_rate:.0f} % are "
        f"solved at first ({claim.solve_rate_from}), and training changes that by {100 * EFFECT_SPREAD:g} points more "
        "or less from question to question"
    )


def named(found: Comparison) -> str:
    """What is compared with what."""
    return f"{found.after} − {found.before}"


def interval(found: Estimate) -> str:
    """A share in percent, with its interval."""
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def signed(found: Estimate) -> str:
    """A difference of shares in percentage points, with its interval."""
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def percent(found: Estimate) -> str:
    """A share in percent."""
    return f"{100 * found.value:.1f} %"


def p_value(p: float) -> str:
    """A p-value; none is 0, and a smaller one than this says no more."""
    return "under 0.0001" if p < 0.0001 else f"{p:.2g}"


def _claimed(claim: Claim) -> str:
    return (
        f"Claimed beforehand ({claim.written[:10]}): {claim.statement}; pass@1, {claim.measure} extraction, "
        f"{'; '.join(map(described, claim.sets))}; training seeds {', '.join(map(str, claim.seeds))}. Detectable "
        f"effect: {detectable(claim)}."
    )


def markdown(proof: Proof) -> str:
    """The same in Markdown, without the charts: for a page of documentation."""
    parts = [
        f"# Does the data help? {proof.work_dir}",
        "",
        proof.verdict(),
        "",
        _claimed(proof.claim),
        "",
        *_grid(
            ["model", "questions", "pass@1 flexible, %", "pass@1 strict, %", "unfinished", "undecided", "mean tokens"],
            [
                [
                    o.name,
                    o.set,
                    interval(o.flexible),
                    interval(o.strict),
                    percent(o.unfinished),
                    percent(o.undecided),
                    f"{o.tokens.value:,.0f}",
                ]
                for o in proof.outcomes
            ],
        ),
        *_grid(
            ["comparison", "questions", "measure", "points", "p", "p, Holm", "detectable", "result"],
            [
                [
                    named(c) + (" (the claim)" if c.primary else ""),
                    c.set,
                    c.measure,
                    signed(c.difference),
                    p_value(c.difference.p),
                    "one test" if c.primary else p_value(c.corrected),
                    f"{100 * c.detectable:.1f}",
                    "found" if c.found else "underpowered" if c.underpowered else "not found",
                ]
                for c in proof.comparisons
            ],
        ),
        *_grid(
            ["trained model", "rows", "tokens", "too long", "last loss", "seconds"],
            [
                [
                    t.name,
                    f"{t.rows:,}",
                    f"{t.tokens:,}",
                    f"{t.too_long:,}",
                    f"{t.losses[-1][1]:.3f}" if t.losses else "–",
                    f"{t.seconds:,.0f}",
                ]
                for t in proof.training
            ],
        ),
    ]
    if proof.ones:
        parts += [f"Share of ones among {proof.ones[1]:,} mask bits: {100 * proof.ones[0]:.1f} %.", ""]
    parts += [f"- {text}." for text in proof.warnings]
    if proof.added:
        parts.append(f"- Not in the claim, added later: {', '.join(proof.added)}.")
    return "\n".join(parts).rstrip() + "\n\n" + "\n".join(_grid(["to repeat it", ""], _pairs(proof)))


def _pairs(proof: Proof) -> list[list[str]]:
    return [[key, f"`{value}`"] for key, value in proof.repeat.items()]


def _grid(head_: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table and an empty line; bars in cells are escaped."""
    cells = [head_, ["---"] * len(head_), *rows]
    return [*("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells), ""]
