package api

import (
	"net/http"
	"strconv"
	"time"
)

// holdBack is how much of an answer waits before its status is out: what fails within it is
// an error with a status of its own.
const holdBack = 64 << 10

// stream writes an answer of unknown length. A client has so long for each write.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	trailer string // its name, or empty
	held    []byte
	started bool // the status is out
}

func newStream(w http.ResponseWriter, timeout time.Duration) *stream {
	return &stream{w: w, control: http.NewResponseController(w), timeout: timeout}
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	if !s.started && len(s.held)+len(p) <= holdBack {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	if !s.started {
		s.started = true
		if s.trailer != "" {
			s.w.Header().Set("Trailer", s.trailer)
		}
		if err := s.send(s.held); err != nil {
			return 0, err
		}
		s.held = nil
	}
	return len(p), s.send(p)
}

// send writes, within the client's time for it.
func (s *stream) send(p []byte) error {
	s.within(s.timeout)
	_, err := s.w.Write(p)
	_ = s.control.SetWriteDeadline(time.Time{}) // an HTTP/2 stream that only pauses would be reset by it
	return err
}

// within bounds what is written next, and what is flushed when the call ends.
func (s *stream) within(d time.Duration) {
	_ = s.control.SetWriteDeadline(time.Now().Add(d)) // a recorder has none
}

// end writes what was held back, and the trailer: as a header when nothing is out yet.
func (s *stream) end(trailer string) error {
	if s.trailer != "" {
		s.w.Header().Set(s.trailer, trailer)
	}
	if s.started {
		s.within(s.timeout)
		return nil
	}
	s.started = true
	s.w.Header().Set("Content-Length", strconv.Itoa(len(s.held)))
	err := s.send(s.held)
	s.within(s.timeout)
	return err
}
