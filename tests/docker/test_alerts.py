"""The alert rules fire when they should and not otherwise, by Prometheus's own tool, and Prometheus loads them.

``promtool`` comes with Debian's package ``prometheus``; ``scripts/setup.sh --extras dev`` takes it out of there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.engine_runs import ROOT

MONITORING = ROOT / "docker" / "monitoring"
PROMTOOL = shutil.which("promtool", path=os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent))))
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool (Debian's package prometheus has it; scripts/setup.sh --extras dev gets it)"
)


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PROMTOOL or "", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.slow
@needs_promtool
def test_every_rule_fires_when_it_should_and_not_otherwise() -> None:
    checked = promtool("check", "rules", MONITORING / "alerts.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", MONITORING / "alerts_test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize(
    ("rule", "spoiled"),
    [
        ("> 900 and", "> 9000 and"),
        ("weak2wise_ended == 0 and on (instance, run) max by (instance, run) (weak2wise_waiting) == 0", "up"),
        (" and on (instance, run) max by (instance, run) (weak2wise_waiting) == 0", ""),
        ('kind="outage"', 'kind="batch"'),
        ("> 0.05", "> 0.06"),
        ("> 10\n", "> 0\n"),
        (">= 0.8", ">= 0.7"),
        ("< 0.05", "< 0.01"),
        ("weak2wise_healthy == 0", "weak2wise_healthy == 1"),
    ],
)
def test_the_tests_of_the_rules_notice_a_spoiled_rule(tmp_path: Path, rule: str, spoiled: str) -> None:
    rules = (MONITORING / "alerts.yaml").read_text()
    assert rules.count(rule) == 1
    (tmp_path / "alerts.yaml").write_text(rules.replace(rule, spoiled))
    shutil.copy(MONITORING / "alerts_test.yaml", tmp_path)
    assert promtool("test", "rules", tmp_path / "alerts_test.yaml").returncode == 1


def test_every_rule_has_a_test() -> None:
    rules = {rule["alert"] for group in _yaml("alerts.yaml")["groups"] for rule in group["rules"]}
    fired = {
        case["alertname"]
        for test in _yaml("alerts_test.yaml")["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == rules


def test_prometheus_loads_the_rules(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    config = compose["services"]["prometheus"]["environment"]["PROMETHEUS_YML"]
    (inside,) = yaml.safe_load(config)["rule_files"]
    assert f"./monitoring/alerts.yaml:{inside}:ro" in compose["services"]["prometheus"]["volumes"]
    if PROMTOOL:
        shutil.copy(MONITORING / "alerts.yaml", tmp_path)
        (tmp_path / "prometheus.yml").write_text(re.sub(r"\$\{[^}]*\}", "word", config).replace(inside, "alerts.yaml"))
        checked = promtool("check", "config", tmp_path / "prometheus.yml")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "6 rules found" in checked.stdout


def test_the_dashboard_shows_the_runs_that_are_selected() -> None:
    dashboard = json.loads((MONITORING / "dashboards" / "weak2wise.json").read_text())
    (selector,) = dashboard["templating"]["list"]
    assert (selector["name"], selector["definition"]) == ("run", "label_values(weak2wise_info, run)")
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    for target in targets:
        metrics = re.findall(r'weak2wise_\w+(\{run=~"\$run"\})?', target["expr"])
        assert metrics
        assert all(metrics), target["expr"]
        assert "{{run}}" in target["legendFormat"], "two runs would look like one"


def _yaml(name: str) -> dict[str, list[dict[str, list[dict[str, str]]]]]:
    found: dict[str, list[dict[str, list[dict[str, str]]]]] = yaml.safe_load((MONITORING / name).read_text())
    return found
