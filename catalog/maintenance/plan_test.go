package maintenance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
)

func testPlanner() planner {
	return planner{width: 10, fileBytes: 512_000_000, settle: time.Hour, openBytes: 192 << 20}
}

// TestDayOfWindows simulates a tenant's day, a window of 30 s after another with the rows of
// the record day, and compaction every five minutes. It states what is written of each row
// and how many files there are, and bounds both.
func TestDayOfWindows(t *testing.T) {
	const windows, every, rowBytes, fileOverhead = 2880, 10, 60, 6000
	day := cardlake.Day(20_000)
	start := day.Time()
	for name, rows := range map[string]int{"135,000 rows a day": 47, "10 million rows a day": 3472} {
		t.Run(name, func(t *testing.T) {
			p, r := testPlanner(), rand.New(rand.NewPCG(1, 2))
			var live []cardlake.DataFile
			var ingested, rewritten, ingestedRows, rewrittenRows int64
			most, named := 0, 0
			compact := func(quiet int64, now time.Time) {
				for {
					jobs := p.jobs(slices.Clone(live), quiet, now)
					if len(jobs) == 0 {
						return
					}
					for _, j := range jobs {
						named++
						out := cardlake.DataFile{Name: fmt.Sprint("m", named), Day: day, MinTime: j.Files[0].MinTime, Bytes: fileOverhead}
						gone := map[string]bool{}
						for _, f := range j.Files {
							gone[f.Name] = true
							out.Rows += f.Rows
							out.MaxTime, out.Sequence = max(out.MaxTime, f.MaxTime), max(out.Sequence, f.Sequence)
						}
						live = slices.DeleteFunc(live, func(f cardlake.DataFile) bool { return gone[f.Name] })
						for most, left := p.fileBytes/rowBytes, out.Rows; left > 0; left -= most {
							some := out
							some.Name += fmt.Sprint("-", left)
							some.Rows = min(left, most)
							some.Bytes += some.Rows * rowBytes
							rewritten += some.Bytes
							rewrittenRows += some.Rows
							step := (out.MaxTime - out.MinTime) * most / out.Rows
							some.MinTime = out.MinTime + (out.Rows-left)*step/most
							some.MaxTime = min(out.MaxTime, some.MinTime+step-1)
							live = append(live, some)
						}
					}
				}
			}
			for w := range windows {
				at := start.Add(time.Duration(w) * 30 * time.Second)
				n := int64(rows/2 + r.IntN(rows+1))
				f := cardlake.DataFile{
					Name: fmt.Sprint("w", w), Day: day, Rows: n, Bytes: fileOverhead + n*rowBytes, Sequence: int64(w + 1),
					MinTime: at.UnixMicro(), MaxTime: at.Add(31 * time.Second).UnixMicro(),
				}
				live = append(live, f)
				ingested += f.Bytes
				ingestedRows += f.Rows
				if w%every == every-1 {
					compact(int64(w), at.Add(30*time.Second))
					most = max(most, len(live))
				}
			}
			compact(windows, start.Add(26*time.Hour))
			amplification := float64(rewritten) / float64(ingested)
			t.Logf("%d windows: %.2f bytes and %.2f rows are written by compaction for each ingested; at most %d files between passes, %d at the end",
				windows, amplification, float64(rewrittenRows)/float64(ingestedRows), most, len(live))
			if float64(rewrittenRows)/float64(ingestedRows) > 5.5 || most > 50 {
				t.Error("that is more than it should be")
			}
			full := int(ingestedRows*rowBytes/p.fileBytes) + 1
			if len(live) > full+full/2 {
				t.Errorf("%d files at the end, want about %d", len(live), full)
			}
		})
	}
}

func TestJobs(t *testing.T) {
	day := cardlake.Day(20_000)
	at := func(minute int) int64 { return day.Time().Add(time.Duration(minute) * time.Minute).UnixMicro() }
	f := func(name string, from, to int, rows, sequence int64) cardlake.DataFile {
		return cardlake.DataFile{Name: name, Tenant: "acme", Day: day, MinTime: at(from), MaxTime: at(to), Rows: rows, Bytes: rows * 60, Sequence: sequence}
	}
	some := func(n int, rows int64) (files []cardlake.DataFile) {
		for i := range n {
			files = append(files, f(fmt.Sprint("f", i), i, i+1, rows, 1))
		}
		return files
	}
	const full = 5 << 20
	over, during := (day + 1).Time().Add(time.Hour), day.Time().Add(time.Hour)
	for name, c := range map[string]struct {
		files []cardlake.DataFile
		now   time.Time
		quiet int64
		want  []int // files of each job
		final bool
	}{
		"few small files during the day":     {some(9, 50), during, 5, nil, false},
		"many small files during the day":    {some(10, 50), during, 5, []int{10}, false},
		"smaller ones go along":              {append(some(10, 500), f("x", 3, 4, 2, 1)), during, 5, []int{11}, false},
		"larger ones stay":                   {append(some(10, 50), f("x", 3, 4, 5000, 1)), during, 5, []int{10}, false},
		"full ones stay":                     {some(20, full), during, 5, nil, false},
		"the day is over":                    {some(2, 50), over, 5, []int{2}, true},
		"the day is over, one file":          {some(1, 50), over, 5, nil, false},
		"the day is over, a moment too soon": {some(2, 50), over.Add(-1), 5, nil, false},
		"the day is over, a file just came":  {append(some(2, 50), f("x", 9, 9, 5, 6)), over, 5, nil, false},
		"over, full ones by themselves":      {some(3, full), over, 5, nil, false},
		"over, full ones and a last one":     {append(some(3, full), f("x", 5, 6, 5, 1)), over, 5, nil, false},
		"over, full ones that overlap":       {[]cardlake.DataFile{f("a", 0, 10, full, 1), f("b", 5, 15, full, 1), f("c", 20, 30, full, 1)}, over, 5, []int{2}, true},
		"over, a late one in a full one":     {[]cardlake.DataFile{f("a", 0, 10, full, 1), f("b", 20, 30, full, 1), f("x", 5, 6, 5, 1)}, over, 5, []int{2}, true},
		"over, one that reaches over all":    {[]cardlake.DataFile{f("a", 0, 100, full, 1), f("b", 20, 30, full, 1), f("c", 40, 50, full, 1)}, over, 5, []int{3}, true},
		"more than can be open":              {some(30, 400<<10), over, 5, []int{6, 6, 6, 6, 6}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPlanner()
			jobs := p.jobs(c.files, c.quiet, c.now)
			var got []int
			for _, j := range jobs {
				got = append(got, len(j.Files))
				if j.Final != c.final {
					t.Errorf("final %v, want %v", j.Final, c.final)
				}
			}
			if name == "more than can be open" {
				for _, j := range jobs {
					open := int64(0)
					for _, f := range j.Files {
						open += openCost(f)
					}
					if open > p.openBytes || len(j.Files) < 2 {
						t.Errorf("a job of %d files takes %d bytes", len(j.Files), open)
					}
				}
				return
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("jobs of %v files, want %v", got, c.want)
			}
		})
	}
	t.Run("tenants and days apart", func(t *testing.T) {
		files := some(12, 50)
		for i := range files {
			files[i].Tenant = []cardlake.Tenant{"a", "b"}[i%2]
			files[i].Day += cardlake.Day(i / 2 % 2)
		}
		for _, j := range testPlanner().jobs(files, 5, over.Add(48*time.Hour)) {
			for _, f := range j.Files {
				if f.Tenant != j.Tenant || f.Day != j.Day {
					t.Errorf("%v in the job of %v", f, j.Partition)
				}
			}
		}
	})
}
