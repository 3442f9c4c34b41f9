package killtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build builds the worker and returns its path.
func build(t *testing.T, ctx context.Context) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "cardlake-worker")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/cardlake/cardlake/cmd/cardlake-worker").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// process is a program that is killed and started again.
type process struct {
	t          *testing.T
	name, path string
	args       []string
	env        []string  // beside this process's own
	cmd        *exec.Cmd // nil when it does not run
	before     int       // bytes of output when it was started
	output     output
}

// output collects what all runs wrote.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Len()
}

// isUp reports whether the process has said that it works.
func (p *process) isUp() bool {
	p.output.mu.Lock()
	defer p.output.mu.Unlock()
	return bytes.Contains(p.output.text.Bytes()[p.before:], []byte("worker starts"))
}

func (p *process) start() {
	p.t.Helper()
	p.before = p.output.len()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stderr = &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// signal stops the process for a while, or lets it go on.
func (p *process) signal(what syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(what); err != nil {
		p.t.Error(err)
	}
}

// kill sends SIGKILL and waits for the end. A process that ended before by itself is a fault.
func (p *process) kill() {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		p.t.Errorf("%s ended by itself: %v\n%s", p.name, p.cmd.ProcessState, p.log())
	}
	p.cmd = nil
}

// stopTimeout is how long a process may take to end in good order.
const stopTimeout = time.Minute

// stop ends the process in good order. One that does not end writes its stacks.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s: %v\n%s", p.name, err, p.log())
	}
	p.cmd = nil
}

// end kills what still runs.
func (p *process) end() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// log is the end of what the process wrote.
func (p *process) log() string {
	p.output.mu.Lock()
	defer p.output.mu.Unlock()
	text := p.output.text.Bytes()
	return string(text[max(0, len(text)-32<<10):])
}

// count is how often the process wrote the words.
func (p *process) count(words string) int {
	p.output.mu.Lock()
	defer p.output.mu.Unlock()
	return bytes.Count(p.output.text.Bytes(), []byte(words))
}
