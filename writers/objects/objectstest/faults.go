package objectstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/writers/objects"
)

// Faulty is a store whose steps can be made to go wrong.
type Faulty struct {
	Store objects.Store
	// Fail makes the n-th step, counted from 0, of what the store does from now on go wrong
	// once. A step is whatever the store asks of something that can fail: a system call, a
	// request, a key.
	Fail func(n int)
	// Failed tells whether it did, and lets everything succeed again.
	Failed func() bool
	// Certain says that a Put that fails leaves no object, as it can be where nothing is
	// lost on the way.
	Certain bool
}

// maxSteps ends a test whose fault never comes: more than any operation has.
const maxSteps = 500

// RunFaults fails every step of every operation in turn. Whatever fails, an object is there
// whole or not at all, a read gives what was put or an error, and a caller that tries again,
// as the writers do, succeeds.
func RunFaults(t *testing.T, newStore func(t *testing.T) Faulty) {
	t.Run("Put", func(t *testing.T) { testPutFaults(t, newStore(t)) })
	t.Run("Read", func(t *testing.T) { testReadFaults(t, newStore(t)) })
	t.Run("Delete", func(t *testing.T) { testDeleteFaults(t, newStore(t)) })
	t.Run("List", func(t *testing.T) { testListFaults(t, newStore(t)) })
}

// everyStep calls do with each step failing in turn, until one call has no step left to fail.
func everyStep(t *testing.T, f Faulty, do func(n int) (check func(failed bool))) {
	t.Helper()
	for n := range maxSteps {
		f.Fail(n)
		check := do(n)
		failed := f.Failed()
		check(failed)
		if !failed {
			if n == 0 {
				t.Error("no step failed: nothing was tested")
			}
			return
		}
	}
	t.Errorf("more than %d steps", maxSteps)
}

func testPutFaults(t *testing.T, f Faulty) {
	body := Bytes(150_000)
	orphans := 0
	everyStep(t, f, func(n int) func(bool) {
		// A folder of its own lets every Put make one.
		name := func(attempt int) string { return fmt.Sprintf("puts/%d/%d", n, attempt) }
		err := f.Store.Put(t.Context(), name(0), Owner, body)
		return func(failed bool) {
			if err != nil && !failed {
				t.Errorf("step %d did not fail, but Put did: %v", n, err)
			}
			if errors.Is(err, objects.ErrExists) {
				t.Errorf("step %d: %v for a name that is free", n, err)
			}
			got, readErr := objects.ReadAll(t.Context(), f.Store, name(0))
			switch {
			case readErr == nil && bytes.Equal(got, body):
			case err != nil && errors.Is(readErr, objects.ErrNotFound):
			default:
				t.Errorf("step %d: after Put's %v, read %d bytes, %v", n, err, len(got), readErr)
			}
			there := readErr == nil
			if err != nil && there && f.Certain {
				t.Errorf("step %d: Put failed and left the object: %v", n, err)
			}
			attempt := 0
			for tries := 0; err != nil; tries++ {
				if tries == 5 {
					t.Fatalf("step %d: cannot be put again: %v", n, err)
				}
				if err = f.Store.Put(t.Context(), name(attempt), Owner, body); errors.Is(err, objects.ErrExists) {
					if !there {
						t.Errorf("step %d: ErrExists of an object that was not there", n)
					}
					attempt++
					orphans++
				}
			}
			if got, err := objects.ReadAll(t.Context(), f.Store, name(attempt)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("step %d: after a second Put, read %d bytes, %v", n, len(got), err)
			}
		}
	})
	for info, err := range f.Store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if got, err := objects.ReadAll(t.Context(), f.Store, info.Name); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s is listed, but read %d bytes, %v", info.Name, len(got), err)
		}
	}
	t.Logf("%d objects were left that no caller knows", orphans)
}

func testReadFaults(t *testing.T, f Faulty) {
	body := Bytes(200_000)
	put(t, f.Store, "x", Owner, body)
	everyStep(t, f, func(n int) func(bool) {
		got, err := objects.ReadAll(t.Context(), f.Store, "x")
		return func(failed bool) {
			if err != nil && !failed {
				t.Errorf("step %d did not fail, but the read did: %v", n, err)
			}
			if err == nil && !bytes.Equal(got, body) {
				t.Errorf("step %d: wrong bytes", n)
			}
			if errors.Is(err, objects.ErrNotFound) {
				t.Errorf("step %d: %v for an object that is there", n, err)
			}
		}
	})
}

func testDeleteFaults(t *testing.T, f Faulty) {
	everyStep(t, f, func(n int) func(bool) {
		name := fmt.Sprintf("deletes/%d", n)
		// The fault waits for the deletion.
		f.Failed()
		put(t, f.Store, name, Owner, []byte("x"))
		f.Fail(n)
		err := f.Store.Delete(t.Context(), name)
		return func(failed bool) {
			if err != nil && !failed {
				t.Errorf("step %d did not fail, but Delete did: %v", n, err)
			}
			for tries := 0; err != nil && !errors.Is(err, objects.ErrNotFound); tries++ {
				if tries == 5 {
					t.Fatalf("step %d: cannot be deleted again: %v", n, err)
				}
				err = f.Store.Delete(t.Context(), name)
			}
			if _, err := f.Store.Open(t.Context(), name); !errors.Is(err, objects.ErrNotFound) {
				t.Errorf("step %d: deleted object: %v", n, err)
			}
		}
	})
}

func testListFaults(t *testing.T, f Faulty) {
	want := map[string]bool{"a/1": true, "a/2": true, "b": true}
	for name := range want {
		put(t, f.Store, name, Owner, []byte("x"))
	}
	everyStep(t, f, func(n int) func(bool) {
		got, failure := 0, error(nil)
		for info, err := range f.Store.List(t.Context(), "") {
			if err != nil {
				failure = err
			} else if got++; !want[info.Name] {
				t.Errorf("step %d: %s is listed", n, info.Name)
			}
		}
		return func(failed bool) {
			if failure == nil && got != len(want) {
				t.Errorf("step %d: %d objects are listed without an error, want %d", n, got, len(want))
			}
			if failure != nil && !failed {
				t.Errorf("step %d did not fail, but List did: %v", n, failure)
			}
		}
	})
}

// A put that is given up at any moment leaves the whole object or none.
func testCancelledMidway(t *testing.T, s objects.Store) {
	body := Bytes(2 << 20)
	for i := range 20 {
		name := fmt.Sprintf("midway/%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*100*time.Microsecond)
		err := s.Put(ctx, name, Owner, body)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put: %v", err)
		}
		got, readErr := objects.ReadAll(t.Context(), s, name)
		if !bytes.Equal(got, body) && (err == nil || !errors.Is(readErr, objects.ErrNotFound)) {
			t.Errorf("after Put's %v, read %d bytes, %v", err, len(got), readErr)
		}
	}
}

// Whoever reads an object while it is put gets all of it or ErrNotFound.
func testReadsDuringPut(t *testing.T, s objects.Store) {
	body := Bytes(300_000)
	for i := range 5 {
		name := fmt.Sprintf("put/%d", i)
		begun := make(chan struct{}, 4)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range cap(begun) {
			wg.Go(func() {
				for n := 0; ; n++ {
					got, err := objects.ReadAll(ctx, s, name)
					if n == 0 {
						begun <- struct{}{}
					}
					if errors.Is(err, objects.ErrNotFound) {
						continue
					}
					if ctx.Err() == nil && (err != nil || !bytes.Equal(got, body)) {
						t.Errorf("read %d bytes, %v", len(got), err)
					}
					return
				}
			})
		}
		for range cap(begun) {
			<-begun
		}
		if err := s.Put(t.Context(), name, Owner, body); err != nil {
			t.Errorf("Put: %v", err)
			cancel()
		}
		wg.Wait()
		cancel()
	}
}

// Whoever reads an object while it is deleted gets all of it or ErrNotFound.
func testReadsDuringDelete(t *testing.T, s objects.Store) {
	body := Bytes(300_000)
	for i := range 5 {
		name := fmt.Sprintf("deleted/%d", i)
		put(t, s, name, Owner, body)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					got, err := objects.ReadAll(t.Context(), s, name)
					if errors.Is(err, objects.ErrNotFound) {
						return
					}
					if err != nil || !bytes.Equal(got, body) {
						t.Errorf("read %d bytes, %v", len(got), err)
					}
				}
				t.Error("the deleted object can be read for ever")
			})
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}
