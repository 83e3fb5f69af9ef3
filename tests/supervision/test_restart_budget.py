from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisors.restart_budget import RestartBudget, RestartLimit

limits = st.builds(RestartLimit, st.integers(0, 6), st.integers(1, 20).map(float))
gaps = st.lists(st.integers(0, 12).map(float), max_size=60)


def moments(gaps: list[float]) -> list[float]:
    now, times = 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
    return times


@given(limits, gaps)
def test_no_period_ever_holds_more_restarts_than_the_limit(limit: RestartLimit, gaps: list[float]) -> None:
    budget = RestartBudget(limit)
    granted = [now for now in moments(gaps) if budget.spend(now)]
    for end in granted:
        assert sum(end - limit.period_s <= at <= end for at in granted) <= limit.intensity


@given(limits, gaps)
def test_a_restart_is_refused_only_when_the_period_is_full(limit: RestartLimit, gaps: list[float]) -> None:
    budget = RestartBudget(limit)
    granted: list[float] = []
    for now in moments(gaps):
        counting = sum(now - at <= limit.period_s for at in granted)
        assert budget.spent(now) == counting
        assert budget.spend(now) is (counting < limit.intensity)
        if counting < limit.intensity:
            granted.append(now)


def test_a_restart_exactly_one_period_old_still_counts_as_in_otp() -> None:
    budget = RestartBudget(RestartLimit(1, 5.0))
    assert budget.spend(0.0)
    assert not budget.spend(5.0)
    assert budget.spend(5.1)
