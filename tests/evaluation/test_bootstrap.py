"""Intervals over questions and over their clusters, against literal loops and the truth."""

import itertools

import numpy as np
import pandas as pd
import pytest

from coldlens.evaluation.bootstrap import LEVEL, RESAMPLES, interval, interval_of_mean
from coldlens.evaluation.clusters import cluster_columns, clusters_of, with_clusters

SEED = 5
VALUES = np.random.default_rng(3).normal(size=20)
VALUES[4] = np.nan
TEMPLATES = ["long", "short", "short", "odd", "long"] * 4
TOPICS = ["cats", "dogs", "dogs", "birds"] * 5


def drawn(labels, factor=0):
    """Returns how often each label is drawn, in each resample."""
    names = sorted(set(labels))
    generator = np.random.default_rng(SEED + 7919 * (factor + 1))
    counts = generator.multinomial(len(names), [1 / len(names)] * len(names), size=RESAMPLES)
    return [dict(zip(names, row, strict=True)) for row in counts]


def ends(means):
    return tuple(np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))


def test_without_clusters_the_numbers_are_those_of_questions_drawn_one_by_one():
    known = VALUES[~np.isnan(VALUES)]
    generator = np.random.default_rng(SEED)
    counts = generator.multinomial(len(known), [1 / len(known)] * len(known), size=RESAMPLES)
    expected = ends([np.repeat(known, row).mean() for row in counts])
    assert interval(VALUES, seed=SEED) == pytest.approx(expected)
    assert interval(VALUES, [()] * 20, SEED) == interval(VALUES, [], SEED)
    assert interval(VALUES, None, SEED) == interval(VALUES, [()] * 20, SEED)
    assert interval(VALUES) == pytest.approx((-0.6398821493908723, 0.48560584023508724))
    means = interval_of_mean([VALUES, VALUES[:7]], seed=1)
    assert means == pytest.approx((-0.9537538610888745, 0.35698052160218197))


def test_one_factor_is_the_cluster_bootstrap():
    means = []
    for counts in drawn(TEMPLATES):
        asked = []
        for template, count in counts.items():
            for _ in range(count):
                asked += [
                    value
                    for value, of in zip(VALUES, TEMPLATES, strict=True)
                    if of == template and not np.isnan(value)
                ]
        means.append(np.mean(asked))
    clusters = [(template,) for template in TEMPLATES]
    assert interval(VALUES, clusters, SEED) == pytest.approx(ends(means))
    assert interval(VALUES, clusters, SEED) != pytest.approx(interval(VALUES, seed=SEED))


def test_crossed_factors_are_the_pigeonhole_bootstrap():
    means = []
    for templates, topics in zip(drawn(TEMPLATES), drawn(TOPICS, 1), strict=True):
        asked = []
        for value, template, topic in zip(VALUES, TEMPLATES, TOPICS, strict=True):
            if not np.isnan(value):
                asked += [value] * (templates[template] * topics[topic])
        means.append(np.mean(asked) if asked else np.nan)
    clusters = list(zip(TEMPLATES, TOPICS, strict=True))
    kept = [mean for mean in means if not np.isnan(mean)]
    assert interval(VALUES, clusters, SEED) == pytest.approx(ends(kept))


def test_a_resample_without_any_question_says_nothing():
    clusters = [("a", "x"), ("b", "y"), ("c", "z")]
    low, high = interval(np.array([1.0, 2.0, 3.0]), clusters)
    assert (low, high) == (1, 3)


def test_a_label_all_of_whose_values_are_nan_is_not_drawn():
    values, clusters = np.array([1.0, 1.0, 3.0, np.nan]), [("a",), ("a",), ("b",), ("c",)]
    assert interval(values, clusters, SEED) == interval(values[:3], clusters[:3], SEED)
    assert np.isnan(interval(np.array([np.nan]), [("a",)])).all()


def test_each_group_has_clusters_of_its_own():
    groups = [VALUES, np.array([1.0, 2.0])]
    clusters = [[(template,) for template in TEMPLATES], None]
    low, high = interval_of_mean(groups, clusters, SEED)
    generator = np.random.default_rng(SEED + 1)
    others = [np.repeat(groups[1], row).mean() for row in generator.multinomial(2, [0.5] * 2, 2000)]
    known = ~np.isnan(VALUES)
    means = []
    for counts, other in zip(drawn(TEMPLATES), others, strict=True):
        often = np.array([counts[template] for template in TEMPLATES])
        means.append((np.average(VALUES[known], weights=often[known]) + other) / 2)
    assert (low, high) == pytest.approx(ends(means))


def test_intervals_over_crossed_effects_cover_the_truth_and_those_over_questions_do_not():
    generator = np.random.default_rng(0)
    size, repeats, truth = 12, 200, 0.3
    clusters = [(f"a{i}", f"b{j}") for i, j in itertools.product(range(size), repeat=2)]
    covered = np.zeros(2)
    for _ in range(repeats):
        one, other = generator.normal(size=(2, size))
        values = truth + one[:, None] + other + 0.3 * generator.normal(size=(size, size))
        for place, labels in enumerate((clusters, None)):
            low, high = interval(values.ravel(), labels)
            covered[place] += low <= truth <= high
    crossed, alone = covered / repeats
    assert 0.85 <= crossed <= 0.99
    assert alone < 0.6


def test_columns_of_clusters():
    table = pd.DataFrame({"question": [1, 0], "p": [0.5, 0.25]})
    found = with_clusters(table, [("a", "1"), ("b", "2")])
    assert list(found) == ["question", "cluster_1", "cluster_2", "p"]
    assert cluster_columns(found) == ["cluster_1", "cluster_2"]
    assert clusters_of(found) == [("b", "2"), ("a", "1")]
    assert list(table) == ["question", "p"]
    plain = with_clusters(table, [(), ()])
    assert list(plain) == list(table)
    assert clusters_of(plain) == [(), ()]
    # Questions with two factors beside questions with none.
    both = pd.concat([found, plain.assign(cluster_of=1.0)], ignore_index=True)
    assert clusters_of(both[:2]) == clusters_of(found)
    assert clusters_of(both[2:]) == [(), ()]
