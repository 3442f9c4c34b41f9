"""Reads files with PyArrow and compares them with each other and with the expected rows.

usage: verify.py REFERENCE.json FILE.parquet ...

Files that begin with PARE are read through PyArrow's key tools, and must not be readable
without them, with another key, or after a change.
"""

import base64
import datetime
import decimal
import json
import sys

import pyarrow
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption


class Service(encryption.KmsClient):
    """A key service that wraps nothing; XOR makes it one of other keys."""

    def __init__(self, xor):
        super().__init__()
        self.xor = xor

    def wrap_key(self, key, name):
        return base64.b64encode(key)

    def unwrap_key(self, wrapped, name):
        return bytes(b ^ self.xor for b in base64.b64decode(wrapped))


def read(name, xor=None):
    properties = None
    if xor is not None:
        factory = encryption.CryptoFactory(lambda config: Service(xor))
        properties = factory.file_decryption_properties(encryption.KmsConnectionConfig())
    with pq.ParquetFile(name, decryption_properties=properties) as f:
        return f.read()


def must_fail(what, name, xor=None):
    try:
        read(name, xor)
    except (OSError, ValueError):
        return
    sys.exit(f"read {what}")


def plain(value):
    """The value as the reference spells it."""
    if isinstance(value, decimal.Decimal):
        return int(value.scaleb(4))
    if isinstance(value, datetime.datetime):
        epoch = datetime.datetime(1970, 1, 1, tzinfo=value.tzinfo)
        return (value - epoch) // datetime.timedelta(microseconds=1)
    return value


def main(reference, names):
    with open(reference) as f:
        expected = {row["event_id"]: row for row in json.load(f)}
    first = None
    for name in names:
        with open(name, "rb") as f:
            content = bytearray(f.read())
        is_encrypted = content[:4] == b"PARE"
        table = read(name, 0 if is_encrypted else None)
        table.validate(full=True)
        if first is None:
            first = table
        elif not table.equals(first):
            sys.exit(f"{name} differs from the first file")
        if is_encrypted:
            must_fail("without a key", name)
            must_fail("with another key", name, 1)
            content[len(content) // 2] ^= 1
            with open(name, "wb") as f:
                f.write(content)
            must_fail("a file that was changed", name, 0)
        print(table.num_rows, "rows", "encrypted" if is_encrypted else "plain")
    found = 0
    for row in first.to_pylist():
        want = expected.get(row["event_id"])
        if want is None:
            continue
        found += 1
        if {k: plain(v) for k, v in row.items()} != want:
            sys.exit(f"a row differs: {row}, want {want}")
    if found != len(expected):
        sys.exit(f"{found} of {len(expected)} expected rows were found")
    print("pyarrow", pyarrow.__version__)


main(sys.argv[1], sys.argv[2:])
