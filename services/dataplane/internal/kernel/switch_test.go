package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	tcx "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/fastpath"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// fastRoad is a road with our gateway, and its fast path, which is not attached yet.
func fastRoad(t *testing.T) (*road, *fastpath.FastPath) {
	t.Helper()
	r := ourRoad(t, "fast", 1, perNode, true, false)
	r.connect(t)
	var f *fastpath.FastPath
	r.gateway.Run(t, func() { f = openFast(t) })
	return r, f
}

func attach(t *testing.T, f *fastpath.FastPath) {
	t.Helper()
	if err := f.Attach("eth0", false); err != nil {
		t.Fatal(err)
	}
}

// TestPrivilegedFastPathSwitchedUnderTraffic: attaching, replacing and detaching the fast path lose no packet and no byte, in either direction.
func TestPrivilegedFastPathSwitchedUnderTraffic(t *testing.T) {
	r, f := fastRoad(t)
	echo := newEcho(t, r)
	transfers := make(chan error, 2)
	stop := make(chan struct{})
	for _, s := range []stream{r.up, r.down} {
		go func() { transfers <- s.transfer(stop) }()
	}
	replace := func() {
		// Another range of source ports makes another program.
		r.gateway.Sysctl(t, "net/ipv4/ip_local_port_range", "20000 30000")
		attach(t, f)
		r.gateway.Sysctl(t, "net/ipv4/ip_local_port_range", "32768 60999")
		attach(t, f)
	}
	for range 20 {
		echo.pings(t, 5)
		attach(t, f)
		echo.pings(t, 5)
		replace()
		echo.pings(t, 5)
		if err := f.Detach(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range 2 {
		if err := <-transfers; err != nil {
			t.Error(err)
		}
	}
	c, err := f.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if c.RxPackets == 0 || c.TxPackets == 0 {
		t.Errorf("the fast path was not taken: %+v", c)
	}
	echo.answered(t)
}

// transfer sends numbers until it is told to stop, and checks that they arrive.
func (s stream) transfer(stop <-chan struct{}) error {
	const words = 8 << 10
	sent := make(chan error, 1)
	var total atomic.Uint64
	go func() {
		buf, next := make([]byte, words*8), uint64(0)
		for {
			select {
			case <-stop:
				total.Store(next)
				sent <- s.sender.CloseWrite()
				return
			default:
			}
			for i := range words {
				binary.BigEndian.PutUint64(buf[i*8:], next)
				next++
			}
			if _, err := s.sender.Write(buf); err != nil {
				sent <- err
				return
			}
		}
	}()
	buf, want := make([]byte, words*8), uint64(0)
	for {
		_ = s.receiver.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err := io.ReadFull(s.receiver, buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for i := range words {
			if got := binary.BigEndian.Uint64(buf[i*8:]); got != want {
				return fmt.Errorf("received %d instead of %d", got, want)
			}
			want++
		}
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if want != total.Load() {
		return fmt.Errorf("of %d numbers %d arrived", total.Load(), want)
	}
	return nil
}

// echo answers UDP at the pod; the cloud asks.
type echo struct {
	asker   *net.UDPConn
	asked   int
	answers chan struct{}
}

func newEcho(t *testing.T, r *road) *echo {
	t.Helper()
	var answerer *net.UDPConn
	e := &echo{answers: make(chan struct{}, 10000)}
	err := r.node.Do(func() (err error) {
		answerer, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(roadPod), Port: 7100})
		return err
	})
	if err == nil {
		err = r.cloud.Do(func() (err error) {
			e.asker, err = net.DialUDP("udp4", nil, answerer.LocalAddr().(*net.UDPAddr))
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := answerer.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = answerer.WriteToUDPAddrPort(buf[:n], from)
		}
	})
	reading.Go(func() {
		buf := make([]byte, 1500)
		for {
			if _, err := e.asker.Read(buf); err != nil {
				return
			}
			e.answers <- struct{}{}
		}
	})
	t.Cleanup(func() {
		answerer.Close()
		e.asker.Close()
		reading.Wait()
	})
	return e
}

// pings asks n times, a millisecond apart.
func (e *echo) pings(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := e.asker.Write(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		e.asked++
		time.Sleep(time.Millisecond)
	}
}

// answered waits until all that was asked is answered.
func (e *echo) answered(t *testing.T) {
	t.Helper()
	for n := range e.asked {
		select {
		case <-e.answers:
		case <-time.After(20 * time.Second):
			t.Errorf("%d asked, %d answered", e.asked, n)
			return
		}
	}
	e.asked = 0
}

// TestPrivilegedFastPathFollows: it is attached again where the tunnel's device was made anew, where somebody has detached it, and where the
// NIC is another; and packets go the kernel's way meanwhile.
func TestPrivilegedFastPathFollows(t *testing.T) {
	r, f := fastRoad(t)
	e := newEcho(t, r)
	takes := func(when string, want bool) {
		t.Helper()
		before, err := f.Counters()
		if err != nil {
			t.Fatal(err)
		}
		e.pings(t, 3)
		e.answered(t)
		after, err := f.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if rx, tx := after.RxPackets-before.RxPackets, after.TxPackets-before.TxPackets; (rx == 3) != want || (tx == 3) != want {
			t.Errorf("%s: %d packets up and %d down took the fast path", when, rx, tx)
		}
	}
	takes("before", false)
	attach(t, f)
	takes("attached", true)
	attach(t, f)
	takes("attached twice", true)

	k := open(t, r.gateway)
	if failures := k.Apply([]plan.Op{plan.DeleteDevice{Name: device.Name}}); len(failures) > 0 {
		t.Fatal(failures)
	}
	converge(t, k, desired(vtep("z", roadNode, roadPods)))
	takes("with another device", false)
	attach(t, f)
	takes("attached to another device", true)

	r.gateway.Run(t, func() { detachAll(t, r.gateway.Link(t, "eth0").Attrs().Index) })
	takes("detached by somebody", false)
	attach(t, f)
	takes("attached again", true)

	if err := f.Attach("eth7", false); !errors.Is(err, unix.ENODEV) {
		t.Errorf("to an interface that is not there: %v", err)
	}
	takes("after a failure", true)
	f.Close()
	e.pings(t, 3)
	e.answered(t)
}

// detachAll detaches what is at the ingress of an interface in the calling thread's namespace, as `bpftool link detach` does.
func detachAll(t *testing.T, index int) {
	t.Helper()
	attached, err := tcx.QueryPrograms(tcx.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
	if err != nil || len(attached.Programs) == 0 {
		t.Fatalf("nothing is attached: %v", err)
	}
	for _, p := range attached.Programs {
		id, ok := p.LinkID()
		if !ok {
			t.Fatal("a program without a link")
		}
		l, err := tcx.NewFromID(id)
		if err == nil {
			err = l.Detach()
			l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
