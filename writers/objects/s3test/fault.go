package s3test

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// Kind is what goes wrong with a request.
type Kind int

const (
	// Error answers 500 InternalError; nothing was done.
	Error Kind = iota
	// SlowDown answers 503 SlowDown; nothing was done.
	SlowDown
	// Conflict answers 409 ConditionalRequestConflict; nothing was done.
	Conflict
	// Denied answers 403 AccessDenied; nothing was done.
	Denied
	// Reset breaks the connection; nothing was done.
	Reset
	// Stall gives no answer until the client goes; nothing was done.
	Stall
	// ErrorAfter does what was asked and answers 500 InternalError.
	ErrorAfter
	// ResetAfter does what was asked and breaks the connection.
	ResetAfter
	// StallAfter does what was asked and gives no answer until the client goes.
	StallAfter
	// TruncatedBody breaks the connection in the middle of the answer's body.
	TruncatedBody
	// SlowBody stops in the middle of the answer's body until the client goes.
	SlowBody
	// CorruptBody changes a bit in the answer's body.
	CorruptBody
	// CorruptUnchecked changes a bit in the answer's body and tells no checksum, as a service
	// or a gateway does that knows none.
	CorruptUnchecked
	// WrongKey does what was asked and answers that another KMS key was used.
	WrongKey
	// NoKey does what was asked and does not say that it was encrypted, as a service does
	// that ignores SSE-KMS.
	NoKey
)

func (k Kind) String() string {
	names := [...]string{"Error", "SlowDown", "Conflict", "Denied", "Reset", "Stall", "ErrorAfter", "ResetAfter", "StallAfter",
		"TruncatedBody", "SlowBody", "CorruptBody", "CorruptUnchecked", "WrongKey", "NoKey"}
	if k >= 0 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Fault says which requests go wrong and how.
type Fault struct {
	Operation string // the API's name (PutObject, …); empty means all
	Skip      int    // that many requests of the operation pass first
	Times     int    // that many then go wrong; default 1
	Kind      Kind
}

type fault struct {
	Fault
	happened int
}

// Inject makes requests go wrong from now on. Of several faults that a request meets the
// first injected is taken; all of them count it. happened tells how many requests it met.
func (s *Server) Inject(f Fault) (happened func() int) {
	f.Times = max(f.Times, 1)
	injected := &fault{Fault: f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, injected)
	return func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return injected.happened
	}
}

// Heal takes back all faults that have not happened.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// faultOf returns what goes wrong with the next request of the operation.
func (s *Server) faultOf(operation string) (kind Kind, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		switch {
		case f.Operation != "" && f.Operation != operation:
		case f.Skip > 0:
			f.Skip--
		case f.Times > 0:
			f.Times--
			f.happened++
			if !ok {
				kind, ok = f.Kind, true
			}
		}
	}
	return kind, ok
}

// before makes the faults that come before anything is done. done says that it answered.
func (k Kind) before(w http.ResponseWriter, r *http.Request) (a *answer, done bool) {
	switch k {
	case Error:
		return failure(http.StatusInternalServerError, "InternalError"), true
	case SlowDown:
		return failure(http.StatusServiceUnavailable, "SlowDown"), true
	case Conflict:
		return failure(http.StatusConflict, "ConditionalRequestConflict"), true
	case Denied:
		return failure(http.StatusForbidden, "AccessDenied"), true
	case Reset:
		reset(w)
		return nil, true
	case Stall:
		stall(w, r)
		return nil, true
	}
	return nil, false
}

// after makes the faults that come when all is done; it returns the answer to give, nil if
// there is none to give any more.
func (k Kind) after(w http.ResponseWriter, r *http.Request, a *answer) *answer {
	switch k {
	case ErrorAfter:
		return failure(http.StatusInternalServerError, "InternalError")
	case ResetAfter:
		reset(w)
		return nil
	case StallAfter:
		stall(w, r)
		return nil
	case TruncatedBody, SlowBody:
		a.begin(w)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		if k == SlowBody {
			stall(w, r)
		}
		panic(http.ErrAbortHandler)
	case CorruptBody, CorruptUnchecked:
		if k == CorruptUnchecked {
			a.header.Del("X-Amz-Checksum-Crc64nvme")
			a.header.Del("X-Amz-Checksum-Type")
		}
		if len(a.body) > 0 {
			a.body = append([]byte(nil), a.body...)
			a.body[len(a.body)/2] ^= 1
		}
	case WrongKey:
		a.header.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "arn:aws:kms:"+Region+":111122223333:key/another")
	case NoKey:
		for name := range a.header {
			if len(name) > 27 && name[:28] == "X-Amz-Server-Side-Encryption" {
				a.header.Del(name)
			}
		}
	}
	return a
}

// reset breaks the connection with a TCP reset instead of an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// stall waits for the client to go, at most half a minute.
func stall(_ http.ResponseWriter, r *http.Request) {
	t := time.NewTimer(30 * time.Second)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-t.C:
	}
	panic(http.ErrAbortHandler)
}
