package sim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ErrJournal marks a journal that cannot be read, or belongs to another population.
var ErrJournal = errors.New("journal")

// The journal is a sequence of frames: length of the payload (4 bytes, big-endian), CRC-32C
// of the payload (4 bytes), payload. A payload is a sequence of records:
//
//	'H' version seed tenants cards follows   begins the file; integers are uvarints
//	'S' first start rate speed               a segment of the timeline begins
//	'R' number                               messages below number may have been sent
//	'A' number, DE 39 (2 bytes)              the event of message number was answered
//
// 'S' and 'R' are written before the first message they allow is sent, so that after a
// SIGKILL every message that a processor may have seen is below the last 'R', and keeps the
// segment that was in force. 'A' may be lost: the event is then asked about again, under
// the same identifiers. A frame that the file's end cuts short is dropped.
type journal struct {
	f      *os.File
	buf    bytes.Buffer // records not yet written
	failed error        // first failure to write; all later writes fail with it
}

const (
	journalVersion = 1
	frameHead      = 8
	maxPayload     = 1 << 24
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is one record of the journal; which fields count depends on kind.
type record struct {
	kind    byte
	number  uint64
	segment Segment
	header  header
	code    [2]byte
}

type header struct {
	Config
	follows bool // the calendar follows the wall clock
}

// openJournal opens or creates the journal in dir, locks it against other processes, and
// gives its records to replay. A torn last frame is cut off.
func openJournal(dir string, replay func(record) error) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("open journal: %s is in use by another simulator: %w", f.Name(), err)
	}
	good, err := readJournal(bufio.NewReaderSize(f, 1<<16), replay)
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &journal{f: f}, nil
}

// readJournal replays whole frames and returns where the last of them ends.
func readJournal(r io.Reader, replay func(record) error) (good int64, err error) {
	data := make([]byte, 0, 1<<16)
	for {
		var head [frameHead]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return good, ignoreEnd(err)
		}
		size := binary.BigEndian.Uint32(head[:])
		if size == 0 || size > maxPayload {
			return good, tornOr(r, head[:], good)
		}
		if cap(data) < int(size) {
			data = make([]byte, 0, size)
		}
		data = data[:size]
		if _, err := io.ReadFull(r, data); err != nil {
			return good, ignoreEnd(err)
		}
		if crc32.Checksum(data, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
			return good, tornOr(r, nil, good)
		}
		for rest := data; len(rest) > 0; {
			var rec record
			if rec, rest, err = parseRecord(rest); err != nil {
				return good, fmt.Errorf("%w: at byte %d: %w", ErrJournal, good, err)
			}
			if err := replay(rec); err != nil {
				return good, err
			}
		}
		good += frameHead + int64(size)
	}
}

func ignoreEnd(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// tornOr returns nil if a frame that is wrong can be the remains of a last write: nothing
// follows it, or only the zeros that a file system leaves after a power failure. Otherwise
// the journal has been damaged.
func tornOr(r io.Reader, head []byte, at int64) error {
	rest, err := io.ReadAll(io.LimitReader(r, maxPayload))
	if err != nil {
		return err
	}
	if len(bytes.Trim(rest, "\x00")) == 0 && len(bytes.Trim(head, "\x00")) == 0 {
		return nil
	}
	return fmt.Errorf("%w: damaged at byte %d", ErrJournal, at)
}

var errRecord = errors.New("record is malformed")

func parseRecord(b []byte) (rec record, rest []byte, err error) {
	rec.kind, b = b[0], b[1:]
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err = errRecord
			return 0
		}
		b = b[n:]
		return v
	}
	switch rec.kind {
	case 'H':
		if v := next(); v != journalVersion && err == nil {
			return rec, nil, fmt.Errorf("version %d is not %d", v, journalVersion)
		}
		rec.header.Seed = next()
		rec.header.Tenants, rec.header.CardsTotal = int(next()), int(next())
		rec.header.follows = next() != 0
	case 'S':
		rec.segment.First = next()
		rec.segment.Start, rec.segment.Rate, rec.segment.Speed = int64(next()), int64(next()), int64(next())
		if err == nil && (rec.segment.Rate <= 0 || rec.segment.Speed <= 0) {
			err = errRecord
		}
	case 'R':
		rec.number = next()
	case 'A':
		rec.number = next()
		if len(b) < 2 {
			return rec, nil, errRecord
		}
		rec.code, b = [2]byte(b), b[2:]
	default:
		err = errRecord
	}
	return rec, b, err
}

// add buffers a record; flush writes it.
func (j *journal) add(rec record) {
	b := append(j.buf.AvailableBuffer(), rec.kind)
	switch rec.kind {
	case 'H':
		follows := uint64(0)
		if rec.header.follows {
			follows = 1
		}
		for _, v := range [...]uint64{journalVersion, rec.header.Seed, uint64(rec.header.Tenants), uint64(rec.header.CardsTotal), follows} {
			b = binary.AppendUvarint(b, v)
		}
	case 'S':
		for _, v := range [...]uint64{rec.segment.First, uint64(rec.segment.Start), uint64(rec.segment.Rate), uint64(rec.segment.Speed)} {
			b = binary.AppendUvarint(b, v)
		}
	case 'R':
		b = binary.AppendUvarint(b, rec.number)
	case 'A':
		b = append(binary.AppendUvarint(b, rec.number), rec.code[:]...)
	}
	j.buf.Write(b)
	if j.buf.Len() > maxPayload/2 {
		_ = j.flush() // kept in failed
	}
}

// flush writes what has been added, in one call. It does not sync: the data survives the
// process, not yet the machine.
func (j *journal) flush() error {
	if j.failed != nil || j.buf.Len() == 0 {
		return j.failed
	}
	frame := make([]byte, frameHead, frameHead+j.buf.Len())
	binary.BigEndian.PutUint32(frame, uint32(j.buf.Len()))
	binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(j.buf.Bytes(), castagnoli))
	if _, err := j.f.Write(append(frame, j.buf.Bytes()...)); err != nil {
		j.failed = fmt.Errorf("write journal: %w", err)
	}
	j.buf.Reset()
	return j.failed
}

// sync makes what flush wrote survive the machine. It may run while records are added.
func (j *journal) sync() error {
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	err := j.flush()
	if err == nil {
		err = j.sync()
	}
	if cerr := j.f.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close journal: %w", cerr)
	}
	return err
}
