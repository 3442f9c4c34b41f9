"""Fits BG/NBD with lifetimes to the histories that BenchmarkBGNBD writes, and scores them.

usage: predict_reference.py HISTORIES.csv [CUSTOMERS]

HISTORIES.csv has the columns x, t_x and T; at most the first CUSTOMERS of them are taken. Prints
one line of JSON: customers, the seconds of processor time and of the clock that fit and scores
for 30, 60 and 90 days took, the parameters and the log-likelihood.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import pandas  # noqa: E402
from lifetimes import BetaGeoFitter  # noqa: E402
from scipy.special import gammaln  # noqa: E402


def log_likelihood(m, x, t_x, t):
    import numpy

    r, alpha, a, b = (m.params_[k] for k in ("r", "alpha", "a", "b"))
    common = gammaln(r + x) - gammaln(r) + r * numpy.log(alpha)
    common += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    stays = -(r + x) * numpy.log(alpha + t)
    left = numpy.log(a) - numpy.log(numpy.maximum(b + x - 1, 1e-300)) - (r + x) * numpy.log(alpha + t_x)
    return float((common + numpy.where(x > 0, numpy.logaddexp(stays, left), stays)).sum())


def main():
    rows = pandas.read_csv(sys.argv[1])
    if len(sys.argv) > 2:
        rows = rows.head(int(sys.argv[2]))
    x, t_x, t = rows["x"], rows["t_x"], rows["T"]
    cpu, clock = time.process_time(), time.perf_counter()
    m = BetaGeoFitter()
    m.fit(x, t_x, t)
    m.conditional_probability_alive(x, t_x, t)
    for horizon in (30, 60, 90):
        m.conditional_expected_number_of_purchases_up_to_time(horizon, x, t_x, t)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    print(json.dumps({
        "customers": len(rows),
        "cpu_seconds": round(cpu, 3),
        "seconds": round(clock, 3),
        "parameters": {k: round(float(v), 6) for k, v in m.params_.items()},
        "log_likelihood": round(log_likelihood(m, x.values, t_x.values, t.values), 3),
    }))


if __name__ == "__main__":
    main()
