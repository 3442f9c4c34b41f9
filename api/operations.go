package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Operations tell how the lake is.
type Operations interface {
	// Health looks at every part. A part that can't be looked at says so in its Error, and hides
	// no other; an error is only of what leaves nothing to tell. Rows are read as the caller.
	Health(ctx context.Context, c grants.Caller) (Health, error)
}

// actionHealth is on record when somebody looks how the lake is.
const actionHealth = "health"

// healthTimeout bounds the look at all parts.
const healthTimeout = 30 * time.Second

// operationRoutes are for who keeps the lake running.
func (s *Server) operationRoutes() []route {
	return s.group("operations", s.deps.Operations != nil && s.deps.Access != nil, nil,
		route{method: "GET", path: "/v1/health", name: "health", doc: "Tells how the lake is, part by part, to who may maintain it.",
			more:    "A part that can't be looked at has an \"error\", and the others are told all the same.",
			answers: []answer{{status: 200, doc: "How every part is.", body: Health{}}}, problems: []kind{kindNotPermitted}, do: s.showHealth})
}

func (s *Server) showHealth(c *call) error {
	err := s.mustBe(c, grants.Maintain)
	if err := s.record(c, actionHealth, "lake", err); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), healthTimeout)
	defer cancel()
	h, err := s.deps.Operations.Health(ctx, c.caller)
	if err != nil {
		return gone(c.r.Context(), err)
	}
	if h.Engine.Running, h.Engine.MaxRunning = s.limits.busy(); h.Engine.Running == h.Engine.MaxRunning {
		h.Engine.Note(Attention, HealthNote{Code: "busy", Count: int64(h.Engine.Running), Text: "as many statements run as may: who asks for more waits, or is refused"})
	}
	h.Status = worst(h)
	writeJSON(c.w, http.StatusOK, "application/json", h)
	return nil
}

// busy is how many statements run, and how many may.
func (l *limits) busy() (running, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running, l.cfg.Queries
}

// Condition says how something is.
type Condition string

// The conditions, from the best to the worst.
const (
	Well      Condition = "ok"
	Unknown   Condition = "unknown"   // it can't be looked at, or nobody looks
	Attention Condition = "attention" // somebody should look soon
	Failing   Condition = "failing"   // something is lost, late or refused until somebody acts
)

// conditions in order.
var conditions = []Condition{Well, Unknown, Attention, Failing}

// Health is how the lake is. Counts are of all tenants; nothing in it is of a card.
type Health struct {
	At             time.Time            `json:"at" doc:"when the parts were looked at"`
	Status         Condition            `json:"status" doc:"the worst of the parts'"`
	Tables         HealthTables         `json:"tables" doc:"the tables of the lake"`
	Stream         HealthStream         `json:"stream" doc:"how far the lake is behind the stream"`
	Workers        HealthWorkers        `json:"workers" doc:"those that are asked for what is not committed yet"`
	Reconciliation HealthReconciliation `json:"reconciliation" doc:"whether the lake has what the processors counted"`
	Rejected       HealthRejected       `json:"rejected" doc:"records of the stream that could not be taken, of the last 24 hours"`
	Keys           HealthKeys           `json:"keys" doc:"the inventory of the lake's keyring; the keys of zone A are not its to see"`
	Jobs           HealthJobs           `json:"jobs" doc:"what makes insights"`
	Maintenance    HealthMaintenance    `json:"maintenance" doc:"what keeps the tables small"`
	Audit          HealthAudit          `json:"audit" doc:"whether the audit log holds together"`
	Engine         HealthEngine         `json:"engine" doc:"what answers statements"`
}

// HealthPart is what each part has.
type HealthPart struct {
	Status Condition    `json:"status" doc:"ok, unknown: it can't be looked at, or nobody looks; attention: somebody should look soon; failing: something is lost, late or refused until somebody acts"`
	Notes  []HealthNote `json:"notes,omitempty" doc:"what is not as it should be, and what to do"`
	Error  string       `json:"error,omitempty" doc:"why the part can't be looked at, or not wholly"`
}

// Fail says that the part can't be looked at, or not wholly.
func (p *HealthPart) Fail(err error) { p.Status, p.Error = worse(p.Status, Unknown), err.Error() }

// Note adds what is not as it should be.
func (p *HealthPart) Note(status Condition, n HealthNote) {
	p.Status = worse(p.Status, status)
	p.Notes = append(p.Notes, n)
}

func worse(a, b Condition) Condition {
	return conditions[max(slices.Index(conditions, a), slices.Index(conditions, b), 0)]
}

// HealthNote is something that is not as it should be.
type HealthNote struct {
	Code    string `json:"code" doc:"what it is: one of a fixed list, such as small_files"`
	Subject string `json:"subject,omitempty" doc:"of what: a table, a tenant, a job, a partition"`
	Count   int64  `json:"count,omitempty" doc:"how many"`
	Text    string `json:"text" doc:"what it is and what to do, in English"`
}

// HealthTables are the tables of the lake.
type HealthTables struct {
	HealthPart
	Tables []HealthTable `json:"tables" doc:"each table"`
}

// HealthTable is one table.
type HealthTable struct {
	Table       string     `json:"table" doc:"its full name"`
	Rows        int64      `json:"rows" doc:"its rows"`
	Files       int64      `json:"files" doc:"its files"`
	Bytes       int64      `json:"bytes" doc:"their bytes"`
	SmallFiles  int64      `json:"small_files" doc:"files that compaction would merge now"`
	Partitions  int64      `json:"partitions" doc:"tenants' days"`
	Snapshots   int64      `json:"snapshots" doc:"snapshots that are kept"`
	CommittedAt *time.Time `json:"committed_at,omitempty" doc:"when something was committed last"`
	OldestAt    *time.Time `json:"oldest_snapshot_at,omitempty" doc:"when the oldest snapshot that is kept was committed"`
	Error       string     `json:"error,omitempty" doc:"why the table can't be looked at"`
}

// HealthStream is how far the lake is behind the stream.
type HealthStream struct {
	HealthPart
	LagMS       *int64            `json:"lag_ms,omitempty" doc:"milliseconds since the newest event was decided that anybody can see"`
	DelayMS     *int64            `json:"delay_ms,omitempty" doc:"milliseconds from the decision of a partition's newest event until a worker read it, of the slowest partition that moves"`
	Uncommitted int64             `json:"uncommitted" doc:"events that workers hold in memory and no snapshot has"`
	Partitions  []HealthPartition `json:"partitions" doc:"each partition"`
}

// HealthPartition is one partition of the stream.
type HealthPartition struct {
	Stream     string     `json:"stream" doc:"the stream's name"`
	Partition  int32      `json:"partition" doc:"the partition's number"`
	Committed  int64      `json:"committed" doc:"number of the next event that the table lacks"`
	Seen       int64      `json:"seen" doc:"number of the next event that no worker has shown"`
	Covered    bool       `json:"covered" doc:"whether a worker shows what is not committed"`
	MovedAt    *time.Time `json:"moved_at,omitempty" doc:"when there was something new of it"`
	EventAt    *time.Time `json:"event_at,omitempty" doc:"when its newest event was decided"`
	IngestedAt *time.Time `json:"ingested_at,omitempty" doc:"when a worker read its newest event"`
}

// HealthWorkers are those that are asked for what is not committed yet.
type HealthWorkers struct {
	HealthPart
	AnsweredAt *time.Time `json:"answered_at,omitempty" doc:"the newest answer"`
	Events     int64      `json:"events" doc:"events that they showed since the server began"`
	Late       int64      `json:"late" doc:"requests that were too old to be shown live"`
	Ahead      int64      `json:"ahead" doc:"requests whose clock is ahead"`
	Skipped    int64      `json:"skipped" doc:"events that were committed without having been shown live"`
	Failed     int64      `json:"failed" doc:"questions without an answer"`
}

// HealthReconciliation is whether the lake has what the processors counted.
type HealthReconciliation struct {
	HealthPart
	At            *time.Time     `json:"at,omitempty" doc:"when it was compared"`
	Since         *time.Time     `json:"since,omitempty" doc:"the first minute that was"`
	CompleteUntil *time.Time     `json:"complete_until,omitempty" doc:"event time up to which every tenant is complete"`
	Tenants       []HealthTenant `json:"tenants" doc:"each tenant that has rows or totals since then"`
}

// HealthTenant counts a tenant's minutes.
type HealthTenant struct {
	Tenant        cardlake.Tenant `json:"tenant" doc:"the tenant"`
	Complete      int64           `json:"complete" doc:"minutes whose rows are as many as were counted, with the same sums"`
	Unconfirmed   int64           `json:"unconfirmed" doc:"minutes whose totals may still come"`
	Late          int64           `json:"late" doc:"minutes whose rows may still come"`
	Wrong         int64           `json:"wrong" doc:"minutes that have lost, gained or changed rows"`
	Gaps          int64           `json:"gaps" doc:"totals that are missing"`
	Rows          int64           `json:"rows" doc:"rows of the lake"`
	Counted       int64           `json:"counted" doc:"events that the processors counted"`
	CompleteUntil *time.Time      `json:"complete_until,omitempty" doc:"event time up to which the tenant is complete"`
}

// HealthRejected are the stream's records that could not be taken.
type HealthRejected struct {
	HealthPart
	Total   int64          `json:"total" doc:"all of them"`
	Reasons []HealthReason `json:"reasons" doc:"by reason"`
}

// HealthReason counts the records that were rejected for one reason.
type HealthReason struct {
	Reason   string    `json:"reason" doc:"why"`
	Count    int64     `json:"count" doc:"how many"`
	NewestAt time.Time `json:"newest_at" doc:"the newest of them"`
}

// HealthKeys is the inventory of the lake's keyring.
type HealthKeys struct {
	HealthPart
	Keys []HealthKey `json:"keys" doc:"the newest version of each key"`
}

// HealthKey is the newest version of one key.
type HealthKey struct {
	Tenant    cardlake.Tenant `json:"tenant,omitempty" doc:"whose it is; none: the lake's own"`
	Owner     string          `json:"owner" doc:"the storage id of whose it is"`
	Purpose   string          `json:"purpose" doc:"what it is for: object, audit"`
	Version   int             `json:"version" doc:"counted from 1"`
	State     string          `json:"state" doc:"active, retired, suspended, pending, destroyed or unknown"`
	CreatedAt time.Time       `json:"created_at" doc:"when it was made"`
	AgeDays   int             `json:"age_days" doc:"days since"`
	RotateBy  *time.Time      `json:"rotate_by,omitempty" doc:"end of the time in which it may protect new data"`
	Due       bool            `json:"due" doc:"whether it should have been rotated"`
	Custody   string          `json:"custody" doc:"who keeps it, and where"`
}

// HealthJobs are those that make insights.
type HealthJobs struct {
	HealthPart
	AliveAt *time.Time  `json:"schedule_alive_at,omitempty" doc:"the scheduler's last sign of life; none if there is none"`
	Jobs    []HealthJob `json:"jobs" doc:"each job that was ever published or is scheduled"`
}

// HealthJob is one job.
type HealthJob struct {
	Job         string     `json:"job" doc:"its name"`
	Tenants     int        `json:"tenants" doc:"tenants that have a published run"`
	PublishedAt *time.Time `json:"published_at,omitempty" doc:"the newest run"`
	OldestAt    *time.Time `json:"oldest_at,omitempty" doc:"the newest run of the tenant whose newest run is the oldest"`
	DueAt       *time.Time `json:"due_at,omitempty" doc:"when it is due next"`
	Failures    int        `json:"failures" doc:"failures in a row, of its schedule"`
	FailedAt    *time.Time `json:"failed_at,omitempty" doc:"the last failure"`
	Failure     string     `json:"failure,omitempty" doc:"why it failed"`
}

// HealthMaintenance is what keeps the tables small.
type HealthMaintenance struct {
	HealthPart
	Tasks []HealthTask `json:"tasks" doc:"each task"`
}

// HealthTask is one task of maintenance.
type HealthTask struct {
	Task   string     `json:"task" doc:"compact, expire, orphans, manifests or retention"`
	LastAt *time.Time `json:"last_at,omitempty" doc:"when it was done last, as far as the audit log goes back"`
	By     string     `json:"by,omitempty" doc:"who did it"`
	DueAt  *time.Time `json:"due_at,omitempty" doc:"when it should be done again at the latest"`
	Due    bool       `json:"due" doc:"whether that is past"`
}

// HealthAudit is whether the audit log holds together.
type HealthAudit struct {
	HealthPart
	Log        string     `json:"log,omitempty" doc:"its id"`
	Line       uint64     `json:"line" doc:"number of the last line that was verified"`
	LineAt     *time.Time `json:"line_at,omitempty" doc:"when it was written"`
	VerifiedAt *time.Time `json:"verified_at,omitempty" doc:"when it was verified"`
	Anchored   uint64     `json:"anchored" doc:"number of the line that the anchor keeps"`
	Segments   int        `json:"segments" doc:"segments that were verified"`
	Unsigned   uint64     `json:"unsigned" doc:"lines that no checkpoint covers yet"`
	Break      string     `json:"break,omitempty" doc:"where it does not hold together"`
}

// HealthEngine is what answers statements.
type HealthEngine struct {
	HealthPart
	Running     int   `json:"running" doc:"statements under way"`
	MaxRunning  int   `json:"max_running" doc:"how many may be"`
	CacheBytes  int64 `json:"cache_bytes,omitempty" doc:"decrypted columns that are kept"`
	CacheLimit  int64 `json:"cache_limit,omitempty" doc:"how many may be"`
	CacheHits   int64 `json:"cache_hits,omitempty" doc:"files that were found there"`
	CacheMisses int64 `json:"cache_misses,omitempty" doc:"files that were not"`
}

// worst is the worst condition of the parts.
func worst(h Health) Condition {
	status := Well
	for _, p := range []*HealthPart{
		&h.Tables.HealthPart, &h.Stream.HealthPart, &h.Workers.HealthPart, &h.Reconciliation.HealthPart, &h.Rejected.HealthPart,
		&h.Keys.HealthPart, &h.Jobs.HealthPart, &h.Maintenance.HealthPart, &h.Audit.HealthPart, &h.Engine.HealthPart,
	} {
		status = worse(status, p.Status)
	}
	return status
}
