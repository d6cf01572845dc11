package app

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	vnetns "github.com/vishvananda/netns"

	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// runExec becomes the command, inside the host's namespace. It returns only
// when that fails.
func runExec(c config.Config) error {
	names, err := netns.List(c.Prefix)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no lab is up: start one with make lab, or lab up")
	}
	args := c.Args
	if len(args) == 0 {
		args = []string{"/bin/sh"}
	}
	env := execEnv(os.Environ(), c)
	// A thread that is to become the whole process must be where that is to be.
	runtime.LockOSThread()
	ns, err := vnetns.GetFromName(c.Prefix + c.Host)
	if err != nil {
		for i, n := range names {
			names[i] = strings.TrimPrefix(n, c.Prefix)
		}
		return fmt.Errorf("no host %q in the lab; there are: %s", c.Host, strings.Join(names, " "))
	}
	path, err := lookPath(args[0], env)
	if err != nil {
		return err
	}
	if err := vnetns.Set(ns); err != nil {
		return fmt.Errorf("enter host %s: %w", c.Host, err)
	}
	if err := syscall.Exec(path, args, env); err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}

// execEnv is the caller's environment, with the programs on the path, and hgctl
// and kubectl set up. What the caller has set for those would lead out of the
// lab, and of two values of one name the first counts: the caller's go.
func execEnv(caller []string, c config.Config) []string {
	path := c.BinDir
	var env []string
	for _, kv := range caller {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH" && value != "":
			path += ":" + value
		case name == "PATH", name == "KUBECONFIG", strings.HasPrefix(name, "HGCTL_"):
		default:
			env = append(env, kv)
		}
	}
	env = append(env, "PATH="+path, "KUBECONFIG="+c.Dir+"/controlplane/kubeconfig")
	gw := c.Host
	if !strings.HasPrefix(gw, "gw") {
		gw = "gw1"
	}
	return append(env, lab.OperatorEnv(c.Dir, gw)...)
}

// lookPath finds a program on the path that the command will have.
func lookPath(name string, env []string) (string, error) {
	for _, kv := range env {
		if p, ok := strings.CutPrefix(kv, "PATH="); ok {
			os.Setenv("PATH", p)
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find program: %w", err)
	}
	return path, nil
}
