"""Runs the detectors that others use on rows that queries/anomaly's benchmarks write, and prints one line of JSON.

    anomaly_reference.py DETECTOR FILE [SAMPLE]     DETECTOR: forest | ecod | copod

The file: int64 rows, int64 columns, float64 values row after row, uint8 labels; little-endian. SAMPLE: rows a tree sees, 256.
Needs numpy, scikit-learn, pyod. One thread: the figures are CPU time. forest is scikit-learn's isolation forest of 100 trees; ecod and
copod are PyOD's, which score the rows they are fitted to, so there is nothing to tell apart and score_s is both.
"""

import json
import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def load(name):
    with open(name, "rb") as file:
        rows, columns = np.fromfile(file, "<i8", 2)
        values = np.fromfile(file, "<f8", rows * columns).reshape(rows, columns)
        return values, np.fromfile(file, "u1", rows)


def forest(rows, sample):
    from sklearn.ensemble import IsolationForest

    start = time.process_time()
    model = IsolationForest(n_estimators=100, max_samples=sample, random_state=0).fit(rows)
    fitted = time.process_time()
    scores = -model.score_samples(rows)
    return scores, fitted - start, time.process_time() - fitted


def tails(name, rows):
    if name == "ecod":
        from pyod.models.ecod import ECOD as Detector
    else:
        from pyod.models.copod import COPOD as Detector

    model = Detector()
    start = time.process_time()
    model.fit(rows)
    return model.decision_scores_, 0, time.process_time() - start


def main():
    name = sys.argv[1]
    rows, labels = load(sys.argv[2])
    if name == "forest":
        scores, fit, score = forest(rows, int(sys.argv[3]) if len(sys.argv) > 3 else 256)
    elif name in ("ecod", "copod"):
        scores, fit, score = tails(name, rows)
    else:
        sys.exit(f"no detector is named {name}")
    print(json.dumps({
        "fit_s": fit,
        "score_s": score,
        "rows_per_s": len(rows) / score,
        "auc": roc_auc_score(labels, scores),
        "precision": average_precision_score(labels, scores),
    }))


if __name__ == "__main__":
    main()
