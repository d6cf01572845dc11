package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hybridgateway/gateway/libs/boottime"
)

// event is what one gateway says of another.
type event struct {
	at     time.Duration
	change string
	by, of int
}

// cluster is a number of gateways of one system.
type cluster struct {
	world  *world
	system system
	// starved: the gateways run on one processor each, and have to share all of them with busy loops.
	starved bool
	dir     string
	options options
	running []*exec.Cmd
	hogs    []*exec.Cmd
	events  chan event
}

func newCluster(o options, s system, size int, starved bool) (*cluster, error) {
	c := &cluster{system: s, starved: starved, options: o, running: make([]*exec.Cmd, size), events: make(chan event, 4096)}
	var err error
	if c.dir, err = os.MkdirTemp("", "livenessbench-"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	err = os.WriteFile(c.keys(), []byte(base64.StdEncoding.EncodeToString(key[:])), 0o600)
	if err == nil {
		c.world, err = newWorld(size)
	}
	for i := range size {
		if err == nil {
			err = c.start(i)
		}
	}
	if starved && err == nil {
		err = c.starve()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) keys() string { return filepath.Join(c.dir, "keys") }

func (c *cluster) starve() error {
	for range numCPU() {
		hog := exec.Command("/proc/self/exe", "hog")
		hog.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := hog.Start(); err != nil {
			return fmt.Errorf("start a busy loop: %w", err)
		}
		c.hogs = append(c.hogs, hog)
	}
	return nil
}

func (c *cluster) start(i int) error {
	port := ":9820"
	if c.system.memberlist != "" {
		port = ""
	}
	var others []string
	for j := range c.running {
		if j != i {
			others = append(others, address(j).String()+port)
		}
	}
	args := []string{"-id", "gateway-" + strconv.Itoa(i), "-listen", address(i).String() + port, "-peers", strings.Join(others, ",")}
	var cmd *exec.Cmd
	if c.system.memberlist != "" {
		cmd = exec.Command("/proc/self/exe", append([]string{"member", "-preset", c.system.memberlist}, args...)...)
	} else {
		cmd = exec.Command(c.options.measure, append(args, "-keys", c.keys(), "-period", c.system.period.String(),
			"-multiplier", strconv.Itoa(c.system.multiplier), fmt.Sprintf("-realtime=%t", c.options.realtime))...)
	}
	cmd.Stderr = os.Stderr
	if c.starved {
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start gateway %d: %w", i, err)
	}
	if err := inside(c.world.places[i], cmd.Start); err != nil {
		return fmt.Errorf("start gateway %d: %w", i, err)
	}
	c.running[i] = cmd
	go c.listen(bufio.NewScanner(out), i)
	return nil
}

func (c *cluster) listen(lines *bufio.Scanner, by int) {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			continue
		}
		at, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			continue
		}
		for of := range c.running {
			if address(of).String() == f[2] {
				c.events <- event{at: time.Duration(at), change: f[1], by: by, of: of}
			}
		}
	}
}

// kill makes a gateway's node die, and says when.
func (c *cluster) kill(i int) (time.Duration, error) {
	at := boottime.Now()
	if err := c.world.setWire(i, false); err != nil {
		return 0, err
	}
	c.end(i)
	return at, nil
}

func (c *cluster) end(i int) {
	if cmd := c.running[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed
		c.running[i] = nil
	}
}

// revive starts the gateway of a node that died.
func (c *cluster) revive(i int) error { return errors.Join(c.world.setWire(i, true), c.start(i)) }

// await waits until seen has said yes.
func (c *cluster) await(ctx context.Context, limit time.Duration, what string, seen func(event) bool) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return fmt.Errorf("%s: did not happen within %s", what, limit)
		case e := <-c.events:
			if seen(e) {
				return nil
			}
		}
	}
}

// collect passes events to see for some time.
func (c *cluster) collect(ctx context.Context, d time.Duration, see func(event)) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case e := <-c.events:
			see(e)
		}
	}
}

func (c *cluster) close() {
	for i := range c.running {
		c.end(i)
	}
	for _, hog := range c.hogs {
		_ = hog.Process.Kill()
		_ = hog.Wait()
	}
	if c.world != nil {
		c.world.close()
	}
	_ = os.RemoveAll(c.dir)
}
