"""Answers questions over a lake in S3 with PyIceberg, and with PyArrow alone.

Reads from standard input {"catalog": SQLAlchemy URL, "location": "bucket/prefix", "endpoint",
"region", "ca": file, "questions": {name: question}} and prints
{"pyiceberg": {name: answer}, "pyarrow": {name: answer}}; question_test.go says what those are.
The credentials come from the environment.
"""
import datetime
import decimal
import json
import sys

import pyarrow
import pyarrow.compute as pc
import pyarrow.dataset
from pyarrow.fs import S3FileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import And, AlwaysTrue, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.io.pyarrow import PyArrowFileIO

asked = json.load(sys.stdin)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
s3 = S3FileSystem(region=asked["region"], endpoint_override=asked["endpoint"], tls_ca_file_path=asked["ca"])


class FileIO(PyArrowFileIO):
    """PyIceberg's own, on a service whose certificate no public authority has signed."""

    def _initialize_s3_fs(self, netloc):
        return s3


def instant(micros):
    return EPOCH + datetime.timedelta(microseconds=micros)


def is_decimal(column):
    return pyarrow.types.is_decimal(column.type)


def plain(column):
    """The column, of a type that can be grouped, added and printed."""
    if pyarrow.types.is_timestamp(column.type):
        return column.cast(pyarrow.int64())
    if is_decimal(column):  # its sum may have more digits
        return column.cast(pyarrow.decimal128(38, column.type.scale))
    return column


def text(value):
    if value is None:
        return "none"
    if isinstance(value, decimal.Decimal):
        return f"{value:.4f}"
    return str(value)


def answer(table, q):
    columns = {name: plain(table[name]) for name in table.column_names}
    time = columns[q["time"]]
    assert not is_decimal(time)
    columns["day"] = pc.divide(time, 86_400_000_000)
    for name in q["true"] or []:
        columns[name] = columns[name].cast(pyarrow.int64())
    by = q["by"] or []
    aggregates = [([], "count_all")]
    for key, functions in (
        ("sum", ["sum"]), ("present", ["count"]), ("true", ["sum"]), ("distinct", ["count_distinct"]), ("range", ["min", "max"]),
    ):
        for name in q[key] or []:
            for function in functions:
                options = pc.CountOptions(mode="only_valid") if function.startswith("count") else None
                aggregates.append((name, function, options) if options else (name, function))
    out = pyarrow.table(columns).group_by(by).aggregate(aggregates)
    # In the order in which they were asked for, whatever aggregate puts first.
    names = by + ["count_all"] + [f"{a[0]}_{a[1]}" for a in aggregates[1:]]
    rows = out.select(names).to_pydict() if len(set(names)) == len(names) else None
    assert rows is not None, f"{names} are not distinct"
    return sorted([text(rows[name][i]) for name in names] for i in range(out.num_rows))


def rows_of(q):
    """What PyArrow finds by itself in the table's folder."""
    data = pyarrow.dataset.dataset(f"{asked['location']}/data/{q['table']}", filesystem=s3, format="parquet", partitioning=None)
    wanted = None
    if q.get("tenant"):
        wanted = pc.field("tenant") == q["tenant"]
    if q.get("end"):
        at = pc.field(q["time"])
        kind = pyarrow.timestamp("us", tz="UTC")
        begin, end = (pyarrow.scalar(q[k], pyarrow.int64()).cast(kind) for k in ("begin", "end"))
        within = (at >= begin) & (at < end)
        wanted = within if wanted is None else wanted & within
    return data.to_table(filter=wanted)


def scan(catalog, q):
    """What PyIceberg finds of the table's newest snapshot."""
    wanted = AlwaysTrue()
    if q.get("tenant"):
        wanted = EqualTo("tenant", q["tenant"])
    if q.get("end"):
        wanted = And(wanted, GreaterThanOrEqual(q["time"], instant(q["begin"]).isoformat()), LessThan(q["time"], instant(q["end"]).isoformat()))
    return catalog.load_table(("cards", q["table"])).scan(row_filter=wanted).to_arrow()


catalog = SqlCatalog(
    "cardlake", uri=asked["catalog"], init_catalog_tables="false", **{"py-io-impl": f"{__name__}.FileIO"},
)
print(json.dumps({
    "pyiceberg": {name: answer(scan(catalog, q), q) for name, q in asked["questions"].items()},
    "pyarrow": {name: answer(rows_of(q), q) for name, q in asked["questions"].items()},
}))
