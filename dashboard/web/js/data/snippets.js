// How programs connect, with this server's own addresses.

// origin is this server's address as the browser knows it.
export const origin = () => location.origin;

// flight is where drivers of Arrow Flight SQL connect. The server says where its door is; one that
// does not has it, if it has one, on the next port.
export function flight(me) {
	const told = me.doors?.flight;
	const secure = location.protocol === "https:";
	const address = told ?? `${location.hostname}:${(Number(location.port) || 8420) + 1}`;
	const [, scheme, host] = /^(?:grpc(?:\+(tls|tcp))?:\/\/)?(.+)$/.exec(address);
	const tls = scheme ? scheme === "tls" : secure;
	return { host, tls, url: `grpc+${tls ? "tls" : "tcp"}://${host}`, isTold: Boolean(told) };
}

const statement = "SELECT tenant, currency, count(*) AS events, sum(amount) AS total\n    FROM cards.transactions WHERE approved\n    GROUP BY ALL ORDER BY tenant";

// snippets are ways to connect: {id, title, language, code}.
export function snippets(me) {
	const f = flight(me);
	const jdbc = `jdbc:arrow-flight-sql://${f.host}/?useEncryption=${f.tls}`;
	return [
		{
			id: "adbc", packages: "pip install adbc-driver-flightsql pandas pyarrow", code: `import os

import adbc_driver_flightsql.dbapi as flightsql
import pandas as pd
from adbc_driver_flightsql import DatabaseOptions

lake = flightsql.connect(
    "${f.url}",
    db_kwargs={
        DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer " + os.environ["CARDLAKE_TOKEN"],${f.tls ? `
        DatabaseOptions.TLS_ROOT_CERTS.value: open(os.environ["CARDLAKE_CA"]).read(),` : ""}
    },
    autocommit=True,
)
print(pd.read_sql("""
    ${statement}""", lake))`,
		},
		{
			id: "http", packages: "pip install pandas pyarrow requests", code: `import io
import os

import pandas as pd
import requests

answer = requests.post(
    "${origin()}/v1/query",
    headers={"Authorization": "Bearer " + os.environ["CARDLAKE_TOKEN"], "Accept": "application/vnd.apache.parquet"},
    json={"sql": """
    ${statement}"""},
)
answer.raise_for_status()
print(pd.read_parquet(io.BytesIO(answer.content)))`,
		},
		{
			id: "curl", code: `curl -H "Authorization: Bearer $CARDLAKE_TOKEN" -H "Content-Type: application/json" \\
  -H "Accept: text/csv" -d '{"sql": "SELECT count(*) AS n FROM cards.transactions"}' \\
  ${origin()}/v1/query`,
		},
		{ id: "jdbc", packages: "org.apache.arrow:flight-sql-jdbc-driver:18.3.0", code: `${jdbc}\n\ntoken=${"<CARDLAKE_TOKEN>"}${f.tls ? "\ntlsRootCerts=ca.pem" : ""}` },
		{ id: "superset", packages: "pip install flightsql-dbapi", code: `datafusion+flightsql://${f.host}?token=<CARDLAKE_TOKEN>${f.tls ? "" : "&insecure=true"}` },
		{ id: "duckdb", packages: "pip install duckdb adbc-driver-flightsql pyarrow", code: `import duckdb

with lake.cursor() as cursor:  # lake as in Python
    cursor.execute("SELECT tenant, mcc, approved, amount FROM cards.transactions")
    rows = cursor.fetch_record_batch()  # batch after batch; it can be read once
    print(duckdb.sql("SELECT tenant, mcc, count(*) AS events FROM rows GROUP BY ALL ORDER BY ALL"))` },
	];
}
