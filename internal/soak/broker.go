package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

const topic = "cardlake.transactions"

// broker is the embedded broker in a process of its own, so that its processor time and its
// memory are told from the worker's.
type broker struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

// serveBroker is that process: it prints its address and runs until its input ends.
func serveBroker(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("soak broker", flag.ContinueOnError)
	partitions := fs.Int("partitions", 8, "`number` of partitions")
	if err := fs.Parse(args); err != nil {
		return err
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(*partitions), topic))
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(stdout, c.ListenAddrs()[0])
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func startBroker(ctx context.Context, partitions int) (*broker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "broker", "-partitions", fmt.Sprint(partitions))
	cmd.Stderr = os.Stderr
	// An interrupt is for this process, which then ends the broker.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), cmd.Process.Kill())
	}
	return &broker{cmd: cmd, stdin: stdin, addr: strings.TrimSpace(addr)}, nil
}

func (b *broker) stop() error { return errors.Join(b.stdin.Close(), b.cmd.Wait()) }

// cpu is the broker's processor time so far.
func (b *broker) cpu() time.Duration {
	if b == nil {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// Fields 14 and 15, counted from the process's name in parentheses (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks [2]int64
	for i := range ticks {
		fmt.Sscan(fields[11+i], &ticks[i])
	}
	return time.Duration(ticks[0]+ticks[1]) * time.Second / ticksPerSecond
}

// ticksPerSecond is the unit of /proc's times on Linux (USER_HZ).
const ticksPerSecond = 100
