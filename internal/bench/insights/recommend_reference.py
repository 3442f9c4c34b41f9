"""What queries/recommend is compared with: EASE in numpy, and item-kNN of the library implicit.

Needs numpy, scipy and implicit (0.7.2). Arguments: ease or knn, and the folder in which the
benchmark left the matrix: start.i32, the users' first entries and the end, and item.i32, the
items. Each method fits the matrix and ranks 10 new items for every user; prints, as JSON, the
processor and wall time of that in nanoseconds, and the peak of memory.
"""

import json
import os
import pathlib
import resource
import sys
import time
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import numpy
import scipy.sparse

K = 10
BATCH = 4096


def ease(x):
    """Steck 2019, as its appendix has it; scored in batches, for the scores of all users fill no memory."""
    gram = (x.T @ x).toarray().astype(numpy.float64)
    diagonal = numpy.diag_indices(gram.shape[0])
    gram[diagonal] += 500
    p = numpy.linalg.inv(gram)
    b = (p / -numpy.diag(p)).astype(numpy.float32)
    b[diagonal] = 0
    for first in range(0, x.shape[0], BATCH):
        rows = x[first:first + BATCH]
        scores = rows @ b
        scores[rows.nonzero()] = -numpy.inf
        best = numpy.argpartition(-scores, K, axis=1)[:, :K]
        order = numpy.argsort(-numpy.take_along_axis(scores, best, axis=1), axis=1)
        numpy.take_along_axis(best, order, axis=1)


def knn(x):
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=100)
    model.fit(x, show_progress=False)
    for first in range(0, x.shape[0], BATCH):
        users = numpy.arange(first, min(first + BATCH, x.shape[0]))
        model.recommend(users, x[users], N=K, filter_already_liked_items=True)


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    warnings.simplefilter("ignore")  # of implicit, on what it makes itself
    method = {"ease": ease, "knn": knn}[sys.argv[1]]
    folder = pathlib.Path(sys.argv[2])
    start = numpy.fromfile(folder / "start.i32", dtype="<i4")
    item = numpy.fromfile(folder / "item.i32", dtype="<i4")
    x = scipy.sparse.csr_matrix((numpy.ones(len(item), dtype=numpy.float32), item, start))
    cpu, wall = processor(), time.monotonic()
    method(x)
    json.dump({
        "rows": x.shape[0],
        "cpu_ns": int((processor() - cpu) * 1e9),
        "wall_ns": int((time.monotonic() - wall) * 1e9),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }, sys.stdout)


main()
