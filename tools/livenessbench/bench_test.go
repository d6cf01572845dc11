package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// TestMain makes the test binary one of the benchmark's own processes when it is started as such.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "member" || os.Args[1] == "hog") {
		if run(context.Background(), os.Args[1:]) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
}

func TestPrivilegedBench(t *testing.T) {
	needRoot(t)
	measure := filepath.Join(t.TempDir(), "measure")
	out, err := exec.Command("go", "-C", "../../services/election", "build", "-o", measure, "./internal/peers/measure").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	before, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	o, err := parse([]string{"-measure", measure, "-systems", "20ms*15,memberlist-fast", "-sizes", "3", "-samples", "3", "-quiet", "200ms", "-trials", "1", "-losses", "5"})
	if err != nil {
		t.Fatal(err)
	}
	var tables strings.Builder
	if err := bench(context.Background(), o, &tables); err != nil {
		t.Fatalf("%v\n%s", err, tables.String())
	}
	for _, want := range []string{"| heartbeat 20ms × 15 | starved | 3 |", "| memberlist (fast) | as they are | 3 |", "of 2 |"} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("nothing of %q in:\n%s", want, tables.String())
		}
	}
	after, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if !before.Equal(after) {
		t.Error("the benchmark ended in another network namespace")
	}
}

// The loss must be what it is said to be, or the tables lie.
func TestPrivilegedLoss(t *testing.T) {
	needRoot(t)
	w, err := newWorld(2)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for deadline := time.Now().Add(30 * time.Second); echo(t, w, 1) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the wires do not carry anything")
		}
	}
	for _, percent := range []int{0, 20, 0, 100} {
		if err := w.setLoss(percent); err != nil {
			t.Fatal(err)
		}
		const sent = 2000
		lost := sent - echo(t, w, sent)
		if got := 100 * lost / sent; got < percent-5 || got > percent+5 {
			t.Errorf("%d of %d lost, want %d %%", lost, sent, percent)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, args := range [][]string{
		{"-parts", "all"}, {"-sizes", "1"}, {"-losses", "x"}, {"-systems", "fast"}, {"-systems", "memberlist-wan"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	o, err := parse(nil)
	if err != nil || len(o.systems) != 4 || o.systems[0].period != 18*time.Millisecond || o.systems[0].multiplier != 15 {
		t.Errorf("defaults are %+v, error %v", o, err)
	}
}

func TestQuantile(t *testing.T) {
	sorted := []time.Duration{1, 2, 3, 4}
	if quantile(sorted, 0.5) != 3 || quantile(sorted, 0.99) != 4 || quantile(sorted[:1], 0.5) != 1 {
		t.Error("a quantile is wrong")
	}
}
