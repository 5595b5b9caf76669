"""The desk for the hosts of one config."""

from weak2wise.config import Config
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.desk.desk import Desk
from weak2wise.llm.endpoint import endpoint_class
from weak2wise.llm.error_rate import Calls, ErrorRate
from weak2wise.llm.limits.limits import MOST_IN_FLIGHT
from weak2wise.run.host import limits_of


def desk_for(config: Config, *, spent: float = 0.0, hosts: int = 1) -> Desk:
    """A desk with a config's limits, cap and error rates.

    Args:
        config: as all hosts have it.
        spent: US dollars by all earlier starts.
        hosts: about how many there will be; so many requests may be in flight where no limit is configured.
    """
    roles = config.roles()
    classes = {name: endpoint_class(name, config.endpoints[name]) for name in dict.fromkeys(roles.values())}
    budget = CostBudget(config.engine.max_cost_usd)
    budget.pay(spent)
    by_kind: dict[str, ErrorRate] = {}
    rates: dict[str, tuple[ErrorRate, Calls]] = {}
    for role in roles:
        kind = role.partition("/")[0]
        rate = by_kind.setdefault(kind, ErrorRate(kind, config.engine.max_error_rate))
        rates[role] = rate, Calls(role)
        rate.count(rates[role][1])
    return Desk(limits_of(config, classes, MOST_IN_FLIGHT * hosts), budget, rates)
