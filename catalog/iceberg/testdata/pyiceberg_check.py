"""Reads a table of the SQL catalog with PyIceberg, tags its snapshot and prints what it saw.

Arguments: the catalog's SQLAlchemy URL, namespace and name of the table, and a tenant.
"""
import json
import sys

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo

url, namespace, name, tenant = sys.argv[1:]
catalog = SqlCatalog("cardlake", uri=url, init_catalog_tables="false")
table = catalog.load_table((namespace, name))
tasks = list(table.scan().plan_files())
print(json.dumps({
    "tables": [".".join(t) for t in catalog.list_tables(namespace)],
    "files": len(tasks),
    "rows": sum(t.file.record_count for t in tasks),
    "bytes": sum(t.file.file_size_in_bytes for t in tasks),
    "tenant_files": len(list(table.scan(row_filter=EqualTo("tenant", tenant)).plan_files())),
    "entries": table.inspect.entries().num_rows,
    "manifests": table.inspect.manifests().num_rows,
    "snapshot": table.current_snapshot().snapshot_id,
    "snapshots": len(table.snapshots()),
    "sequence": table.metadata.last_sequence_number,
    "statistics": sum(1 for t in tasks if t.file.lower_bounds and t.file.upper_bounds),
}))
with table.manage_snapshots() as change:
    change.create_tag(table.current_snapshot().snapshot_id, "seen-by-pyiceberg")
