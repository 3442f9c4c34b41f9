package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The roles of the processes that this program starts as itself.
const (
	roleStream = "stream"
	roleWorker = "worker"
)

// process is this program in another role. It dies with the one that started it.
type process struct {
	args []string
	log  string // file that takes what it writes to its standard error
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	used time.Duration // processor time of its runs that have ended
}

// newProcess describes one; start starts it.
func newProcess(log string, args ...string) *process { return &process{args: args, log: log} }

func (p *process) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, p.args...)
	cmd.Stderr = log
	// A group of its own: an interrupt at the terminal is for the process that started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	return nil
}

// line reads one line that the process prints.
func (p *process) line() (string, error) {
	text, err := p.out.ReadString('\n')
	if err != nil {
		return "", p.fault(err)
	}
	return strings.TrimSpace(text), nil
}

// kill ends the process with SIGKILL. One that had ended by itself is an error.
func (p *process) kill() error {
	_ = p.cmd.Process.Kill() // fails only if it has ended, which Wait tells
	_ = p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return p.fault(fmt.Errorf("ended by itself: %v", p.cmd.ProcessState))
	}
	p.ended()
	return nil
}

// stop lets the process end in good order.
func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		return p.fault(err)
	}
	p.ended()
	return nil
}

func (p *process) ended() {
	p.used += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	p.cmd = nil
}

// end kills the process if it still runs.
func (p *process) end() {
	if p.cmd != nil {
		_ = p.kill()
		p.cmd = nil
	}
}

// fault adds the end of the process's log to err.
func (p *process) fault(err error) error {
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s: %w\n%s", filepath.Base(p.log), err, text[max(0, len(text)-2000):])
}

// cpu is the processor time of all its runs so far.
func (p *process) cpu() time.Duration {
	if p.cmd == nil {
		return p.used
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return p.used
	}
	// Fields 14 and 15, counted from the process's name in parentheses (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, text := range fields[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return p.used
		}
		ticks += n
	}
	return p.used + time.Duration(ticks)*time.Second/ticksPerSecond
}

// ticksPerSecond is the unit of /proc's times on Linux (USER_HZ).
const ticksPerSecond = 100

// ownCPU is the processor time of this process so far.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// freeAddress is one on the loopback that nobody listens at. Nobody connects from there
// either, as anybody may from a port of 127.0.0.1: a worker can have it again after a kill.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), errors.Join(l.Close())
}
