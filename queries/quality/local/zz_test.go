package local
import ("testing";"database/sql";"github.com/duckdb/duckdb-go/v2")
func TestZZ(t *testing.T){
 c,_:=duckdb.NewConnector("",nil); db:=sql.OpenDB(c); db.SetMaxOpenConns(1)
 for _,s:=range append(append([]string{},sparkFunctions...), `CREATE MACRO "isnull"(a) AS (a IS NULL)`, `CREATE MACRO "isnotnull"(a) AS (a IS NOT NULL)`,"SELECT current_date()","SELECT current_timestamp()","SELECT date_sub(current_date, 3)","SELECT date_add('2026-01-01', 3)","SELECT date_sub('month', DATE '2026-01-01', DATE '2026-03-01')","SELECT datediff('2026-01-03','2026-01-01')","SELECT to_timestamp('2026-01-03 10:00:00')","SELECT add_months('2026-01-31',1)","SELECT isnull(1), isnotnull(2)","SELECT if(true,1,2)","SELECT 'a' RLIKE 'a'","SELECT cast('1' as string), cast('1' as int), cast(1 as long)","SELECT size([1])","SELECT unix_timestamp('2026-01-01')","SELECT instr('abc','b'), length('x'), upper('x'), concat_ws(',', 'a','b'), substring('abc',1,2), initcap('abc')","SELECT year(DATE '2026-01-01'), current_date", "SELECT 1 WHERE 'a' <=> 'a'", "SELECT 5 == 5","SELECT array_contains([1],1), percentile_approx(1,0.5)") {
  r,err:=db.Query(s); if err!=nil { t.Log(s, err); continue }
  for r.Next(){ n,_:=r.Columns(); v:=make([]any,len(n)); p:=make([]any,len(n)); for i:=range v {p[i]=&v[i]}; r.Scan(p...); t.Log(s,v)}
  r.Close()
 }
}
