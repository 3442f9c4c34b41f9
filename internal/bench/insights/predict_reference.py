"""Fits BG/NBD with lifetimes to the histories that BenchmarkReferenceLifetimes writes, and scores them.

usage: predict_reference.py HISTORIES.csv

HISTORIES.csv has the columns x, t_x and T. Prints, as JSON, the customers, the processor and wall
time in nanoseconds that fit and scores for 30, 60 and 90 days took, the peak of memory, the
parameters and the log-likelihood.
"""

import json
import resource
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
    x, t_x, t = rows["x"], rows["t_x"], rows["T"]
    cpu, clock = time.process_time_ns(), time.perf_counter_ns()
    m = BetaGeoFitter()
    m.fit(x, t_x, t)
    m.conditional_probability_alive(x, t_x, t)
    for horizon in (30, 60, 90):
        m.conditional_expected_number_of_purchases_up_to_time(horizon, x, t_x, t)
    cpu, clock = time.process_time_ns() - cpu, time.perf_counter_ns() - clock
    print(json.dumps({
        "rows": len(rows),
        "cpu_ns": cpu,
        "wall_ns": clock,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        "parameters": {k: round(float(v), 6) for k, v in m.params_.items()},
        "log_likelihood": round(log_likelihood(m, x.values, t_x.values, t.values), 3),
    }))


if __name__ == "__main__":
    main()
