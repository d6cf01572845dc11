package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/libs/apiservertest"
)

func TestRestartKeepsDataAndClients(t *testing.T) {
	server := apiservertest.Start(t)
	admin := clientset(t, server.Kubeconfig())
	// Read once: the same client, with the token of the first start, is used throughout.
	registry := dynamicClient(t, server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry))
	if err := create(t.Context(), dynamicClient(t, server.Kubeconfig()), ciliumResource("ciliumnodes"), ciliumObject("CiliumNode", "kept", map[string]any{})); err != nil {
		t.Fatal(err)
	}
	before, err := admin.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	for _, end := range []struct {
		what string
		do   func() error
	}{{"stop", server.Stop}, {"kill", server.Kill}} {
		if err := end.do(); err != nil {
			t.Fatalf("%s: %v", end.what, err)
		}
		if _, err := admin.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err == nil {
			t.Errorf("after %s the API server still answers", end.what)
		}
		if err := server.Start(); err != nil {
			t.Fatalf("start after %s: %v", end.what, err)
		}
		after, err := admin.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
		if err != nil {
			t.Fatalf("administrator after %s: %v", end.what, err)
		}
		if after.UID != before.UID {
			t.Errorf("after %s the namespace is another one", end.what)
		}
		if _, err := registry.Resource(ciliumResource("ciliumnodes")).Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
			t.Errorf("service after %s: %v", end.what, err)
		}
	}
}

func TestPauseAnswersNothing(t *testing.T) {
	server := apiservertest.Start(t)
	client := clientset(t, server.Kubeconfig())
	get := func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
		return err
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := get(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while paused: error %v, want a deadline exceeded", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := get(t.Context()); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Errorf("stop while paused: %v", err)
	}
}

// command is the program under test, with its output in the returned buffers.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(t.Context(), os.Getenv("CONTROLPLANE_BIN"), args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// rejected runs the program and checks that it ends with the code and one line.
func rejected(t *testing.T, code int, line string, args ...string) {
	t.Helper()
	cmd, stdout, stderr := command(t, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Errorf("%q ended with %v, want exit code %d", args, err, code)
	}
	if !strings.Contains(stderr.String(), line) || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("%q said %q, want one line with %q", args, stderr, line)
	}
	if stdout.Len() > 0 {
		t.Errorf("%q printed %q", args, stdout)
	}
}

func TestBadInputEndsAtOnce(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("kind: ConfigMap\nmetadata: {name: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rejected(t, 2, "--listen", "--dir="+dir, "--listen=nowhere")
	rejected(t, 1, "broken.yaml", "--dir="+filepath.Join(dir, "d"), "--manifests="+broken)
	rejected(t, 1, "missing", "--dir="+filepath.Join(dir, "d"), "--manifests="+filepath.Join(dir, "missing"))
}

func TestOnePerDirectory(t *testing.T) {
	rejected(t, 1, "another control plane runs over", "--dir="+shared.Get(t).Dir())
}

func TestUnknownServiceAccountIsReported(t *testing.T) {
	dir := t.TempDir()
	rejected(t, 1, "kube-system/nobody", "--dir="+dir, "--service-account-kubeconfig=kube-system/nobody="+filepath.Join(dir, "kubeconfig.nobody"))
}

func TestManifestsAreAppliedInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifests")
	if err := os.Mkdir(manifest, 0o700); err != nil {
		t.Fatal(err)
	}
	text := `
apiVersion: example.com/v1
kind: Thing
metadata: {name: one, namespace: made}
---
apiVersion: v1
kind: Namespace
metadata: {name: made}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object}}
`
	if err := os.WriteFile(filepath.Join(manifest, "things.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := apiservertest.StartWith(t, apiservertest.Options{Manifests: []string{manifest}, Dir: filepath.Join(dir, "d")})
	resource := ciliumResource("things")
	resource.Group, resource.Version = "example.com", "v1"
	if _, err := dynamicClient(t, server.Kubeconfig()).Resource(resource).Namespace("made").Get(t.Context(), "one", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// startReady starts the program with start, and returns when it says ready.
func startReady(t *testing.T, cmd *exec.Cmd, start func()) (server string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start()
	var line struct {
		Ready              bool
		Server, Kubeconfig string
	}
	if err := json.NewDecoder(out).Decode(&line); err != nil || !line.Ready {
		t.Fatalf("no ready line: %v; stderr: %s", err, cmd.Stderr)
	}
	if _, err := os.Stat(line.Kubeconfig); err != nil {
		t.Error(err)
	}
	return line.Server
}

func TestDiesWithParent(t *testing.T) {
	dir := t.TempDir()
	// The shell is the parent; it says its child's number once it runs.
	cmd := exec.Command("sh", "-c", `"$CONTROLPLANE_BIN" --dir="$0" --die-with-parent & echo $! >"$0/pid"; wait`, dir)
	cmd.Stderr = &bytes.Buffer{}
	startReady(t, cmd, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		cmd.Process.Kill() // it is gone unless the test failed
		cmd.Wait()
	})
	data, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(data), &pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d still lives", pid)
		}
		return nil
	})
}

func TestSystemNamespaceExists(t *testing.T) {
	client := clientset(t, shared.Get(t).Kubeconfig())
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "some"}}
	if _, err := client.CoreV1().Secrets("kube-system").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}
