package maintenance

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Partition is a tenant's day, or a day of a table that is not one of tenants.
type Partition struct {
	Tenant cardlake.Tenant
	Day    cardlake.Day
}

// Job is one merge: files of one partition that become one, or as few as Config.FileBytes
// allows.
type Job struct {
	Partition
	Files []cardlake.DataFile // in order of their first row's time
	// Final says that the day is over and quiet, and all of it is merged.
	Final bool
}

// Bytes is the size of the job's files.
func (j Job) Bytes() (n int64) {
	for _, f := range j.Files {
		n += f.Bytes
	}
	return n
}

// planner decides what is merged.
//
// While a day goes on, files are merged with others of their size class: the classes are
// powers of Width in rows, and a class that has Width files is merged together with all
// smaller ones into a file of the next class. A row is therefore written once when it
// arrives and then once for each class: log(rows of the day / rows of a window) to the base
// Width. A partition never keeps more than Width files of each class for long.
//
// Once a day is over and nothing was added to it for Settle, its files become one, or several
// full ones that do not overlap.
type planner struct {
	width     int
	fileBytes int64
	settle    time.Duration
	openBytes int64
}

// jobs returns what is worth merging now. Files whose sequence is beyond quiet were added
// less than settle ago.
func (p planner) jobs(files []cardlake.DataFile, quiet int64, now time.Time) []Job {
	partitions := map[Partition][]cardlake.DataFile{}
	for _, f := range files {
		at := Partition{f.Tenant, f.Day}
		partitions[at] = append(partitions[at], f)
	}
	var jobs []Job
	for at, files := range partitions {
		if len(files) < 2 {
			continue
		}
		slices.SortFunc(files, inOrder)
		isOver := !now.Before((at.Day + 1).Time().Add(p.settle)) &&
			!slices.ContainsFunc(files, func(f cardlake.DataFile) bool { return f.Sequence > quiet })
		chosen := files
		if isOver {
			chosen = p.unfinished(files)
		} else {
			chosen = p.crowded(files)
		}
		for _, some := range p.divide(chosen) {
			jobs = append(jobs, Job{Partition: at, Files: some, Final: isOver && len(some) == len(chosen)})
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int {
		return cmp.Or(strings.Compare(string(a.Tenant), string(b.Tenant)), cmp.Compare(a.Day, b.Day), inOrder(a.Files[0], b.Files[0]))
	})
	return jobs
}

// inOrder is the order of files by their rows; names make it total.
func inOrder(a, b cardlake.DataFile) int {
	return cmp.Or(cmp.Compare(a.MinTime, b.MinTime), cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.Name, b.Name))
}

// isFull reports whether a file is as large as files get, or nearly.
func (p planner) isFull(f cardlake.DataFile) bool { return f.Bytes >= p.fileBytes/2 }

// class is the size class of a file.
func (p planner) class(f cardlake.DataFile) int {
	return int(math.Log(float64(max(f.Rows, 1))) / math.Log(float64(p.width)) * (1 + 1e-12))
}

// crowded are the files of the largest class that has too many, and of all below it.
func (p planner) crowded(files []cardlake.DataFile) []cardlake.DataFile {
	counts := map[int]int{}
	for _, f := range files {
		if !p.isFull(f) {
			counts[p.class(f)]++
		}
	}
	most := -1
	for class, n := range counts {
		if n >= p.width {
			most = max(most, class)
		}
	}
	var chosen []cardlake.DataFile
	for _, f := range files {
		if !p.isFull(f) && p.class(f) <= most {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// unfinished are the files of a day that is over, without those that are full and by
// themselves.
func (p planner) unfinished(files []cardlake.DataFile) []cardlake.DataFile {
	var chosen []cardlake.DataFile
	reach := int64(math.MinInt64) // the last time of the files before
	for i, f := range files {
		isAlone := f.MinTime >= reach && (i+1 == len(files) || f.MaxTime <= files[i+1].MinTime)
		reach = max(reach, f.MaxTime)
		if !isAlone || !p.isFull(f) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// maxFiles bounds the files of one merge.
const maxFiles = 4096

// divide makes groups of files that can be open at the same time, of neighbours in time. A
// file by itself is not worth a merge.
func (p planner) divide(files []cardlake.DataFile) (groups [][]cardlake.DataFile) {
	from, open := 0, int64(0)
	end := func(to int) {
		if to-from > 1 {
			groups = append(groups, files[from:to:to])
		}
		from, open = to, 0
	}
	for i, f := range files {
		cost := openCost(f)
		if i-from >= 2 && (open+cost > p.openBytes || i-from == maxFiles) {
			end(i)
		}
		open += cost
	}
	end(len(files))
	return groups
}

// openCost is about the memory that an input takes while it is merged: what was read of it, at
// most a row group, and a page of each column.
func openCost(f cardlake.DataFile) int64 {
	const rowGroup, page, row = 48 << 20, 20 << 10, 400
	return min(f.Bytes, rowGroup) + min(f.Rows, page)*row
}
