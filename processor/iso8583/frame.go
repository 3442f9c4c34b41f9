package iso8583

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxFrame is the most bytes that a message may have behind its length header.
const MaxFrame = 4096

var (
	// ErrFrameSize says that a length header announces nothing, or more than MaxFrame. The
	// stream cannot be read further: where the next message begins is unknown.
	ErrFrameSize = errors.New("frame length is 0 or over the limit")
	// ErrFrameTruncated says that the stream ended inside a frame.
	ErrFrameTruncated = errors.New("stream ended inside a frame")
)

// ReadFrame reads one message behind a two-byte big-endian length into buf, which it grows
// as needed, and returns the message. It returns io.EOF when the stream ends between
// frames, ErrFrameSize, ErrFrameTruncated, or the reader's error.
func ReadFrame(r io.Reader, buf []byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, frameError(err)
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n == 0 || n > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrameSize, n)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		clear(buf) // it may hold track data
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, frameError(err)
	}
	return buf, nil
}

func frameError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrFrameTruncated
	}
	return err
}

// AppendFrame appends msg behind its length header. It returns ErrFrameSize for a message
// that ReadFrame would refuse.
func AppendFrame(dst, msg []byte) ([]byte, error) {
	if len(msg) == 0 || len(msg) > MaxFrame {
		return dst, fmt.Errorf("%w: %d bytes", ErrFrameSize, len(msg))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(msg)))
	return append(dst, msg...), nil
}

// WriteFrame writes msg behind its length header in one call of w.
func WriteFrame(w io.Writer, msg []byte) error {
	frame, err := AppendFrame(make([]byte, 0, len(msg)+2), msg)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}
