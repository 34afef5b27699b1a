"""A hoster that learns: gradient-boosted trees, cross-validated over stretches of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

FOLDS = 5
RESAMPLES = 500
Matrix: TypeAlias = "np.ndarray[Any, Any]"
Vector: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True)
class Verdict:
    """How well one kind is told from another.

    Attributes:
        auc: area under the curve, cross-validated; 0.5 is a guess.
        low, high: its 95 % interval, by resampling the groups.
        telling: features by how much the area shrinks without their information, most first.
        alone: by how far each one's own area is from a half, most first.
    """

    auc: float
    low: float
    high: float
    telling: list[tuple[str, float]]
    alone: list[tuple[str, float]]


def tell_apart(
    rows: Sequence[dict[str, float]],
    labels: Sequence[int],
    groups: Sequence[int],
    *,
    explain: bool = False,
    seed: int = 0,
) -> Verdict:
    """Train on all groups but a fifth and judge that fifth, five times.

    Sessions that were open at the same time are in one group, so that what they share cannot
    be learnt.

    Args:
        rows: features of each session, with the same names.
        labels: 1 for an audit.
        groups: which stretch of time it is from.
        explain: whether to find out which features tell the most; it takes its time.
        seed: of the folds, the trees and the resampling.
    """
    names = sorted(rows[0])
    values: Matrix = np.array([[row[name] for name in names] for row in rows])
    truth: Vector = np.array(labels)
    group: Vector = np.array(groups)
    dice = np.random.default_rng(seed)
    fold_of = dict(
        zip(dice.permutation(np.unique(group)), np.arange(len(set(groups))) % FOLDS, strict=True)
    )
    fold: Vector = np.array([fold_of[one] for one in groups])
    scores: Vector = np.zeros(len(rows))
    shrunk: Vector = np.zeros((FOLDS, len(names)))
    # There is too little work to share it among threads.
    with threadpool_limits(limits=1):
        for number in range(FOLDS):
            test = fold == number
            model = HistGradientBoostingClassifier(
                max_iter=150, learning_rate=0.05, min_samples_leaf=10, random_state=seed
            )
            model.fit(values[~test], truth[~test])
            scores[test] = model.predict_proba(values[test])[:, 1]
            whole = _area(truth[test], scores[test])
            for column in range(len(names) if explain else 0):
                changed = values[test].copy()
                changed[:, column] = dice.permutation(changed[:, column])
                again = model.predict_proba(changed)[:, 1]
                shrunk[number, column] = whole - _area(truth[test], again)
    telling = sorted(zip(names, shrunk.mean(axis=0), strict=True), key=lambda one: -one[1])
    single = [(name, _area(truth, values[:, column])) for column, name in enumerate(names)]
    low, high = _interval(truth, scores, group, dice)
    return Verdict(
        _area(truth, scores),
        low,
        high,
        [(name, float(by)) for name, by in telling],
        sorted(single, key=lambda one: -abs(one[1] - 0.5)),
    )


def _area(truth: Vector, scores: Vector) -> float:
    return float(roc_auc_score(truth, scores)) if len(set(truth)) == 2 else 0.5


def _interval(
    truth: Vector, scores: Vector, group: Vector, dice: np.random.Generator
) -> tuple[float, float]:
    """By drawing groups with replacement."""
    members = [np.flatnonzero(group == one) for one in np.unique(group)]
    areas = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate(
            [members[one] for one in dice.integers(len(members), size=len(members))]
        )
        areas.append(_area(truth[chosen], scores[chosen]))
    return float(np.quantile(areas, 0.025)), float(np.quantile(areas, 0.975))
