"""What a fit is made of: shapes, slopes, priors and the search, each against another way to compute it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from auricle.errors import OptionError
from auricle.evaluation.statistics.psychometric import observer, search
from auricle.evaluation.statistics.psychometric.observer import Task
from auricle.evaluation.statistics.psychometric.priors import Beta, Priors
from auricle.evaluation.statistics.psychometric.shapes import shape_named
from tests.evaluation.statistics.observers import DURATIONS_MS, Listener

SHAPES = ["logistic", "gaussian", "weibull"]
AXIS = np.array([0.0, 0.2, 0.35, 0.5, 0.7, 1.0])


def observers(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.normal(0.5, 0.4, count), rng.normal(-0.7, 0.6, count), rng.normal(0, 1.5, (count, 2))])


class TestShapes:
    @pytest.mark.parametrize("name", SHAPES)
    def test_half_at_the_middle_and_one_width_from_5_to_95(self, name: str) -> None:
        shape = shape_named(name)
        assert shape.cdf(np.array(shape.middle)) == pytest.approx(0.5)
        low = shape.inverse(np.array(0.05))
        assert shape.cdf(low + shape.spread) == pytest.approx(0.95)

    @pytest.mark.parametrize("name", SHAPES)
    def test_slope_and_inverse(self, name: str) -> None:
        shape = shape_named(name)
        z = np.linspace(-4, 2, 50)
        np.testing.assert_allclose(shape.inverse(shape.cdf(z)), z, atol=1e-8)
        np.testing.assert_allclose(shape.slope(z), (shape.cdf(z + 1e-6) - shape.cdf(z - 1e-6)) / 2e-6, atol=1e-8)

    @pytest.mark.parametrize("name", SHAPES)
    def test_far_away_is_0_and_1_and_no_warning(self, name: str) -> None:
        shape = shape_named(name)
        with np.errstate(all="raise", under="ignore"):
            assert shape.cdf(np.array([-800.0, 800.0])) == pytest.approx([0, 1])
            assert shape.slope(np.array([-800.0, 800.0])) == pytest.approx([0, 0])

    @pytest.mark.parametrize("name", SHAPES)
    def test_curves_are_those_of_the_simulated_listeners(self, name: str) -> None:
        """So that a midpoint and a width mean here what they mean there."""
        listener = Listener(100.0, 0.8, 0.3, 0.05, name)
        task = Task(np.log10(np.array(DURATIONS_MS)), shape_named(name), Priors())
        share = 0.05 / 0.7
        theta = np.array([2.0, np.log(0.8), np.log(0.3 / 0.7), np.log(share / (1 - share))])
        np.testing.assert_allclose(
            observer.curve(task, theta, task.axis), listener.right(np.array(DURATIONS_MS)), atol=1e-12
        )

    def test_an_unknown_one(self) -> None:
        with pytest.raises(OptionError, match="shape is 'probit'; it must be 'logistic', 'gaussian' or 'weibull'"):
            shape_named("probit")


class TestObserver:
    @pytest.mark.parametrize("name", SHAPES)
    def test_slopes_are_those_of_the_curve(self, name: str) -> None:
        task, theta = Task(AXIS, shape_named(name), Priors()), observers(40)
        psi, by = observer.slopes(task, theta)
        np.testing.assert_allclose(psi, observer.curve(task, theta, AXIS))
        for place in range(4):
            move = 1e-6 * np.eye(4)[place]
            sides = [observer.curve(task, theta + way * move, AXIS) for way in (1, -1)]
            np.testing.assert_allclose(by[..., place], (sides[0] - sides[1]) / 2e-6, atol=1e-6)

    @pytest.mark.parametrize("name", SHAPES)
    def test_a_place_is_where_the_curve_has_the_level(self, name: str) -> None:
        task, theta = Task(AXIS, shape_named(name), Priors()), observers(40)
        low, high = observer.rates(theta)
        for level in (0.3, 0.75):
            places = observer.place_of(task, theta, level)
            reached = np.isfinite(places)
            assert 0 < reached.sum() < 40
            found = observer.curve(task, theta[reached], np.sort(places[reached]))
            at = np.argsort(np.argsort(places[reached]))
            np.testing.assert_allclose(found[np.arange(len(at)), at], level)
            assert (places[low > level] == -np.inf).all()
            assert (places[high < level] == np.inf).all()

    def test_likelihood_and_deviance_as_scipy(self) -> None:
        right, total, psi = np.array([3.0, 0, 10]), np.array([10.0, 4, 10]), np.array([0.4, 0.1, 0.9])
        model = stats.binom.logpmf(right, total, psi).sum()
        full = stats.binom.logpmf(right, total, right / total).sum()
        assert observer.deviance(psi, right, total) == pytest.approx(2 * (full - model), abs=1e-6)


class TestPriors:
    def test_densities_as_scipy(self) -> None:
        priors, theta = Priors(Beta(2, 3), Beta(1.5, 8)), observers(30)
        rates = 1 / (1 + np.exp(-theta[:, 2:]))
        expected = (
            stats.norm.logpdf(theta[:, 0], 0.5, 1)
            + stats.norm.logpdf(theta[:, 1], np.log(0.5), 1)
            + stats.beta.logpdf(rates[:, 0], 2, 3)
            + stats.beta.logpdf(rates[:, 1], 1.5, 8)
        )
        found = priors.log_density(theta)
        np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)

    def test_slope_and_curvature(self) -> None:
        priors, theta = Priors(Beta(2, 3), Beta(1.5, 8)), observers(30)
        for place in range(4):
            move = 1e-5 * np.eye(4)[place]
            up, down = priors.log_density(theta + move), priors.log_density(theta - move)
            np.testing.assert_allclose(priors.slope(theta)[:, place], (up - down) / 2e-5, atol=1e-6)
            bend = (priors.slope(theta + move) - priors.slope(theta - move))[:, place] / 2e-5
            np.testing.assert_allclose(priors.curvature(theta)[:, place], -bend, atol=1e-6)

    def test_what_they_say_of_the_width_and_of_lapses(self) -> None:
        """The figures in the docstring of priors.py."""
        low, high = np.exp(stats.norm.ppf([0.025, 0.975], np.log(0.5), 1))
        assert (1 / low, high) == pytest.approx((14, 3.5), rel=0.02)
        assert stats.beta.cdf(0.4, 1.2, 8) == pytest.approx(0.975, abs=0.005)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: Beta(1, 5), "a is 1; it must be above 1, so that the rate stays inside 0 to 1"),
            (lambda: Priors(guess=1.0), r"guess is 1\.0; it must be from 0 up to below 1, or a Beta prior"),
            (lambda: Priors(lapse=-0.1), r"lapse is -0\.1; it must be from 0 up to below 1"),
        ],
    )
    def test_what_is_no_rate(self, call: object, message: str) -> None:
        assert callable(call)
        with pytest.raises(OptionError, match=message):
            call()


class TestSearch:
    @pytest.mark.parametrize("name", SHAPES)
    @pytest.mark.parametrize("priors", [Priors(), Priors(guess=0.5), Priors(guess=0.0, lapse=0.0)])
    def test_scipy_finds_nothing_more_probable(self, name: str, priors: Priors) -> None:
        task = Task(AXIS, shape_named(name), priors)
        rng = np.random.default_rng(1)
        total = np.full((6, 6), 12.0)
        right = rng.binomial(12, np.clip(0.4 + 0.5 * AXIS + rng.normal(0, 0.15, (6, 6)), 0.05, 0.95)).astype(float)
        found, height = search.most_probable(task, right, total)
        free = list(task.free)
        for row in range(6):

            def loss(part: np.ndarray, row: int = row) -> float:
                theta = found[row].copy()
                theta[free] = part
                return -float(search.log_posterior(task, theta[None], right[row : row + 1], total[:1])[0])

            starts = rng.normal([0.5, -0.7, 0, -2], [0.5, 0.8, 1.5, 1], (25, 4))[:, free]
            best = min(
                float(optimize.minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000}).fun)
                for start in starts[: 25 if name == "logistic" else 8]
            )
            assert height[row] >= -best - 1e-4

    def test_a_data_set_is_fitted_alike_alone_and_among_others(self) -> None:
        task = Task(AXIS, shape_named("logistic"), Priors())
        rng = np.random.default_rng(2)
        right, total = rng.binomial(20, 0.2 + 0.7 * AXIS, (50, 6)).astype(float), np.full((50, 6), 20.0)
        together, _ = search.most_probable(task, right, total)
        for row in (0, 17, 49):
            alone, _ = search.most_probable(task, right[row : row + 1], total[:1])
            np.testing.assert_allclose(alone[0], together[row], atol=1e-3)
