"""Trains what others use on rows that queries/anomaly/boost's benchmarks and its test of public sets write, and prints one line of JSON.

    boost_reference.py MODEL TRAIN TEST     MODEL: forest | histgb | lightgbm

Files: int32 rows, int32 columns, float32 values row after row (NaN is missing), uint8 labels; little-endian.
Needs numpy, scikit-learn, lightgbm. Each is used as a user who knows the data would: forest is a well-tuned random forest of 300 trees,
the others have 100 trees of 31 leaves at a rate of 0.1, their defaults. One thread: the figures are CPU time.
"""

import json
import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def load(name):
    with open(name, "rb") as file:
        rows, columns = np.fromfile(file, "<i4", 2)
        values = np.fromfile(file, "<f4", rows * columns).reshape(rows, columns)
        return values, np.fromfile(file, "u1", rows)


def make(name):
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(300, min_samples_leaf=3, random_state=0)
    if name == "histgb":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    if name == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(random_state=0, n_jobs=1, verbose=-1)
    sys.exit(f"no model is named {name}")


def main():
    model = make(sys.argv[1])
    train, labels = load(sys.argv[2])
    test, truth = load(sys.argv[3])
    start = time.process_time()
    model.fit(train, labels)
    fitted = time.process_time()
    scores = model.predict_proba(test)[:, 1]
    done = time.process_time()
    print(json.dumps({
        "train_s": fitted - start,
        "predict_s": done - fitted,
        "precision": average_precision_score(truth, scores),
        "auc": roc_auc_score(truth, scores),
    }))


if __name__ == "__main__":
    main()
