package app

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestGoneReaderInterrupts(t *testing.T) {
	ctx, stop := interrupted()
	defer stop()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	out := output{w, stop}
	if _, err := io.WriteString(out, "x"); err != nil || ctx.Err() != nil {
		t.Fatalf("while there is a reader: %v, %v", err, ctx.Err())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "x"); !errors.Is(err, syscall.EPIPE) || ctx.Err() == nil {
		t.Errorf("without a reader: %v, %v, want EPIPE and the end", err, ctx.Err())
	}
}

// A gateway that dies leaves connections of the lab's behind. Writing to one raises
// SIGPIPE, as a closed output does.
func TestBrokenConnectionDoesNotInterrupt(t *testing.T) {
	ctx, stop := interrupted()
	defer stop()
	raised := make(chan os.Signal, 1)
	signal.Notify(raised, syscall.SIGPIPE)
	defer signal.Stop(raised)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	if err := unix.Close(pair[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(pair[0], []byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("write to the broken connection: %v", err)
	}
	select {
	case <-raised:
	case <-time.After(10 * time.Second):
		t.Fatal("no SIGPIPE: the test proves nothing")
	}
	select {
	case <-ctx.Done():
		t.Error("a broken connection ends the lab")
	case <-time.After(100 * time.Millisecond):
	}
}
