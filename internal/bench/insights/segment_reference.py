"""Clusters rows with scikit-learn 1.9.1's KMeans. Prints what the fit took, and the SSE.

Arguments: a file of little-endian float64, row after row; the columns; the clusters.
"""
import json
import resource
import sys
import time

import numpy
from sklearn.cluster import KMeans

rows = numpy.fromfile(sys.argv[1], dtype="<f8").reshape(-1, int(sys.argv[2]))
# Imports and thread pools are ready before the clock starts.
KMeans(2, n_init=1, random_state=0).fit(rows[:1000])
model = KMeans(int(sys.argv[3]), n_init=2, random_state=0)
wall, cpu = time.perf_counter_ns(), time.process_time_ns()
model.fit(rows)
print(json.dumps({
    "rows": len(rows),
    "cpu_ns": time.process_time_ns() - cpu,
    "wall_ns": time.perf_counter_ns() - wall,
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "sse": model.inertia_,
}))
