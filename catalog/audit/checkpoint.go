package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"time"
)

// Checkpoint is a signature over the line before it, and by the chain over all lines before
// that.
type Checkpoint struct {
	Key       string `json:"key"`       // id of the public key: KeyID
	Signature string `json:"signature"` // Ed25519 (RFC 8032), in letters a to p
}

// SignedHead is a checkpoint outside its log: what an auditor keeps, and what holds any later
// state of the log to it. It is worth as much with the public key alone.
type SignedHead struct {
	Head
	Time time.Time `json:"time"` // UTC, to the microsecond
	Checkpoint
}

const checkpointDomain = "cardlake audit checkpoint\x00"

// ErrSignature says that a checkpoint's signature is not of the keys that are trusted.
var ErrSignature = errors.New("the checkpoint's signature is not genuine")

// Verify returns ErrSignature unless one of the keys made the signature.
func (s *SignedHead) Verify(public ...ed25519.PublicKey) error {
	signature, err := letters(s.Signature)
	if err != nil || len(signature) != ed25519.SignatureSize {
		return ErrSignature
	}
	for _, p := range public {
		if len(p) == ed25519.PublicKeySize && ed25519.Verify(p, s.statement(), signature) {
			return nil
		}
	}
	return ErrSignature
}

// statement is what is signed. Its parts are of fixed length but for the log, whose end is
// marked.
func (s *SignedHead) statement() []byte {
	out := append([]byte(checkpointDomain), s.Log...)
	out = append(out, 0)
	out = binary.BigEndian.AppendUint64(out, s.Seq)
	out = binary.BigEndian.AppendUint64(out, uint64(s.Time.UnixMicro()))
	return append(out, s.Hash...)
}

// SignedHead returns what the line signs; ok is false if it is no checkpoint. The log's id is
// in the first line of each segment.
func (e *Entry) SignedHead(log string) (s SignedHead, ok bool) {
	if e.Checkpoint == nil {
		return s, false
	}
	return SignedHead{Head{Log: log, Seq: e.Seq - 1, Hash: e.Prev}, e.Time, *e.Checkpoint}, true
}

// isDue reports whether an end of the chain is to be signed.
func (l *Log) isDue(at state, now time.Time) bool {
	return at.unsigned != 0 && now.Sub(time.Unix(at.unsigned, 0)) >= l.cfg.CheckpointAfter
}

// appendCheckpoint appends the line that signs the one before. The caller holds writing.
func (l *Log) appendCheckpoint(dst []byte, at state, now time.Time) ([]byte, state, error) {
	signed := l.cfg.Signer.sign(Head{Log: at.log, Seq: at.seq, Hash: at.hash}, now)
	dst, hash, err := appendLine(dst, &Entry{
		Seq: at.seq + 1, Time: now, Prev: at.hash, Checkpoint: &signed.Checkpoint,
		Record: Record{
			Actor: maskDigits(l.cfg.Actor), Action: ActionCheckpoint, Resource: "audit log " + at.log, Outcome: Allowed, Origin: l.cfg.Origin,
		},
	}, l.key)
	if err != nil {
		return dst, at, err
	}
	at.seq, at.hash, at.unsigned = at.seq+1, hash, 0
	return dst, at, nil
}

// armCheckpoint has the head signed when nothing is appended any more. The caller holds
// writing.
func (l *Log) armCheckpoint() {
	if l.cfg.Signer == nil || l.state.unsigned == 0 {
		return
	}
	l.arm(&l.signing, l.cfg.CheckpointAfter, func() {
		l.writing.Lock()
		defer l.writing.Unlock()
		if l.closed {
			return
		}
		if l.isDue(l.state, l.cfg.Now()) {
			if err := l.checkpoint(); err != nil {
				l.cfg.Log.Error("the audit log's head is not signed", "log", l.dir, "error", err)
			}
		} else {
			l.armCheckpoint() // another line brought one meanwhile, and younger lines follow it
		}
	})
}

// checkpoint signs the head, unless another process wrote behind it: that one signs, at the
// latest when it ends. The caller holds writing.
func (l *Log) checkpoint() error {
	if l.turn != nil {
		if err := l.turn.take(context.Background(), l.cfg.LockWait); err != nil {
			return err
		}
		defer l.leave()
		numbers, err := segmentsIn(l.dir)
		if err != nil || len(numbers) == 0 || numbers[len(numbers)-1] != l.number {
			return err
		}
	}
	if err := l.clean(); err != nil {
		return err
	}
	return l.endSegment()
}

// endSegment signs the last line of the segment, so that it can be verified alone. The caller
// holds writing and has the log's turn.
func (l *Log) endSegment() error {
	if l.cfg.Signer == nil {
		return nil
	}
	buf, next, err := l.appendCheckpoint(l.buf[:0], l.state, stamp(l.cfg.Now()))
	l.buf = buf
	if err != nil {
		return err
	}
	return l.flush(buf, next)
}
