package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/connrotation"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/processes"
)

// Binary is the control plane's program.
const Binary = "controlplane"

// The ServiceAccounts that services run with. Services other than these two
// have no token at all.
const (
	ElectionAccount     = "hybrid-gateway-election"
	VtepRegistryAccount = "hybrid-gateway-vtep-registry"
	accountNamespace    = "kube-system"
)

// stopGrace is how long the control plane may take to end.
const stopGrace = 20 * time.Second

// Config says where the control plane runs.
type Config struct {
	Host      *netns.Host
	Listen    netip.AddrPort
	Dir       string // for its data, keys and kubeconfigs; made if missing
	Log       string // file for what it prints; the API server's own logs are in Dir
	BinDir    string
	Manifests []string // files or directories, applied at the start
}

// Cluster is a control plane that can be stopped and started again.
type Cluster struct {
	Nodes   dynamic.Interface    // for custom resources
	Clients kubernetes.Interface // for everything else

	config      Config
	process     *processes.Process
	said        *lines
	rest        *rest.Config
	connections *connrotation.Dialer
}

// Start starts the control plane and returns when it serves.
func Start(ctx context.Context, c Config) (*Cluster, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the control plane's directory: %w", err)
	}
	cl := &Cluster{config: c, said: newLines()}
	args := []string{"--dir", c.Dir, "--listen", c.Listen.String()}
	for _, m := range c.Manifests {
		args = append(args, "--manifests", m)
	}
	for _, a := range []string{ElectionAccount, VtepRegistryAccount} {
		args = append(args, "--service-account-kubeconfig", accountNamespace+"/"+a+"="+cl.Kubeconfig(a))
	}
	cl.process = processes.New(processes.Spec{
		Name: "control plane", Host: c.Host, Path: filepath.Join(c.BinDir, Binary), Args: args,
		Env: []string{"PATH=/usr/bin:/bin"}, Log: c.Log, Stdout: cl.said,
	})
	if err := cl.Restart(ctx); err != nil {
		return nil, err
	}
	if err := cl.connect(); err != nil {
		return nil, errors.Join(err, cl.Kill())
	}
	return cl, nil
}

// Restart starts a control plane that was stopped, over the same data, and
// returns when it serves.
func (c *Cluster) Restart(ctx context.Context) error {
	c.said.reset()
	if err := c.process.Start(); err != nil {
		return err
	}
	if err := awaitReady(ctx, c.process, c.said); err != nil {
		return errors.Join(err, c.Kill())
	}
	return nil
}

// awaitReady waits until a process of Binary says that it serves.
func awaitReady(ctx context.Context, p *processes.Process, said *lines) error {
	select {
	case line := <-said.first:
		var status struct {
			Ready bool `json:"ready"`
		}
		if json.Unmarshal([]byte(line), &status) != nil || !status.Ready {
			return fmt.Errorf("the %s said %q instead of ready; its log is %s", p.Name(), line, p.Log())
		}
		return nil
	case <-p.Exited():
		return p.Failure()
	case <-ctx.Done():
		return fmt.Errorf("wait for the %s: %w; its log is %s", p.Name(), ctx.Err(), p.Log())
	}
}

// Stop ends the control plane in the normal way; its data stays.
func (c *Cluster) Stop() error { return c.process.Terminate(stopGrace) }

// Close kills the control plane and ends the administrator's connections.
func (c *Cluster) Close() error {
	err := c.Kill()
	if c.connections != nil {
		c.connections.CloseAll() // the idle and the others: their world ends
	}
	return err
}

// Kill ends the control plane at once.
func (c *Cluster) Kill() error { return c.process.Kill() }

// Failure tells how a control plane that should run has ended.
func (c *Cluster) Failure() error { return c.process.Failure() }

// Kubeconfig is the kubeconfig of one of the ServiceAccounts.
func (c *Cluster) Kubeconfig(account string) string {
	return filepath.Join(c.config.Dir, account+".kubeconfig")
}

// AdminKubeconfig is the administrator's. Its server is reachable from inside
// the world only.
func (c *Cluster) AdminKubeconfig() string { return filepath.Join(c.config.Dir, "kubeconfig") }

// REST is the administrator's client configuration, without a way into the world.
func (c *Cluster) REST() *rest.Config { return rest.CopyConfig(c.rest) }

func (c *Cluster) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.AdminKubeconfig())
	if err != nil {
		return fmt.Errorf("read the administrator's kubeconfig: %w", err)
	}
	cfg.QPS = -1 // one user, who does not need to be slowed down
	c.rest = cfg
	inside := rest.CopyConfig(cfg)
	c.connections = connrotation.NewDialer(c.config.Host.Dial)
	inside.Dial = c.connections.DialContext
	client, err := rest.HTTPClientFor(inside)
	if err != nil {
		return fmt.Errorf("make the administrator's client: %w", err)
	}
	if c.Clients, err = kubernetes.NewForConfigAndClient(inside, client); err != nil {
		return fmt.Errorf("make the administrator's client: %w", err)
	}
	if c.Nodes, err = dynamic.NewForConfigAndClient(inside, client); err != nil {
		return fmt.Errorf("make the administrator's client: %w", err)
	}
	return nil
}

// lines is a writer that gives the first line away. What follows is dropped.
type lines struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	done  bool
	first chan string // capacity 1
}

func newLines() *lines { return &lines{first: make(chan string, 1)} }

func (l *lines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
	l.done = false
	select {
	case <-l.first:
	default:
	}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return len(b), nil
	}
	l.buf.Write(b)
	if line, _, ok := strings.Cut(l.buf.String(), "\n"); ok {
		l.done = true
		l.first <- line
	}
	return len(b), nil
}
