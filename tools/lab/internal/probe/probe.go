package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

const (
	// magic begins each packet, so that strays are not counted.
	magic uint32 = 0x68677770
	// packetSize is the payload in bytes: magic, run, sequence number.
	packetSize = 4 + 8 + 8
	// drainTime is for how long nothing must arrive until packets that are still
	// under way, when the sender has stopped, are given up. It is waited for in
	// drainSteps steps: a machine that stalls makes one of them longer, and does
	// not keep what has arrived from being read.
	drainTime  = time.Second
	drainSteps = 100
	// receiveBuffer keeps packets while the machine is too busy to read them,
	// in bytes.
	receiveBuffer = 4 << 20
)

// Config says what to probe.
type Config struct {
	Name     string // for people, for example "EC2 pod -> on-premises pod"
	From, To *netns.Host
	Source   netip.Addr // address of From
	Target   netip.Addr // address of To
	Interval time.Duration
}

// Probe is a probe that runs.
type Probe struct {
	config Config
	run    uint64
	send   *net.UDPConn
	recv   *net.UDPConn
	stop   context.CancelFunc
	sender sync.WaitGroup
	reader sync.WaitGroup

	mu      sync.Mutex
	record  *record
	arrived chan struct{} // gets a token when a packet arrived; capacity 1
}

// Start opens the sockets and begins to send. Stop must be called.
func Start(ctx context.Context, c Config) (*Probe, error) {
	recv, err := open(c.To, c.Target)
	if err != nil {
		return nil, fmt.Errorf("probe %s: open receiver: %w", c.Name, err)
	}
	send, err := open(c.From, c.Source)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("probe %s: open sender: %w", c.Name, err), recv.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	now := time.Now()
	p := &Probe{
		config: c, run: uint64(now.UnixNano()), send: send, recv: recv, stop: stop,
		record: newRecord(now), arrived: make(chan struct{}, 1),
	}
	p.reader.Go(p.read)
	p.sender.Go(func() { p.write(ctx) })
	return p, nil
}

func open(h *netns.Host, addr netip.Addr) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := h.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name(), err)
	}
	if err := c.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: set receive buffer: %w", h.Name(), err), c.Close())
	}
	return c, nil
}

func (p *Probe) write(ctx context.Context) {
	to := p.recv.LocalAddr().(*net.UDPAddr).AddrPort()
	tick := time.NewTicker(p.config.Interval)
	defer tick.Stop()
	packet := make([]byte, packetSize)
	binary.BigEndian.PutUint32(packet, magic)
	binary.BigEndian.PutUint64(packet[4:], p.run)
	for seq := uint64(0); ; seq++ {
		p.mu.Lock()
		p.record.sent = append(p.record.sent, time.Now())
		p.mu.Unlock()
		binary.BigEndian.PutUint64(packet[12:], seq)
		if _, err := p.send.WriteToUDPAddrPort(packet, to); err != nil {
			p.mu.Lock()
			p.record.refused++
			p.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Probe) read() {
	buf := make([]byte, 2048)
	for {
		n, from, err := p.recv.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != packetSize ||
			binary.BigEndian.Uint32(buf) != magic || binary.BigEndian.Uint64(buf[4:]) != p.run {
			continue // an ICMP error of an earlier packet, or a stray
		}
		p.mu.Lock()
		p.record.receive(arrival{seq: binary.BigEndian.Uint64(buf[12:]), at: time.Now(), from: from.Addr().Unmap()})
		p.mu.Unlock()
		select {
		case p.arrived <- struct{}{}:
		default:
		}
	}
}

// Counts gives the packets sent and received so far.
func (p *Probe) Counts() (sent, received int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.record.sent), len(p.record.got)
}

// LastArrival is when the last packet arrived; the probe's start before the
// first.
func (p *Probe) LastArrival() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record.last
}

// FirstArrival is when the first packet arrived; zero before.
func (p *Probe) FirstArrival() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record.first
}

// WaitReceived returns when n more packets than now have arrived.
func (p *Probe) WaitReceived(ctx context.Context, n int) error {
	_, start := p.Counts()
	for {
		if _, got := p.Counts(); got >= start+n {
			return nil
		}
		select {
		case <-p.arrived:
		case <-ctx.Done():
			return fmt.Errorf("probe %s: nothing arrives: %w", p.config.Name, ctx.Err())
		}
	}
}

// Stop ends the probe, waits for packets under way and sums up. It may be
// called once.
func (p *Probe) Stop() Result {
	p.stop()
	p.sender.Wait()
	until := time.Now()
	for quiet, before := 0, 0; quiet < drainSteps; quiet++ {
		sent, got := p.Counts()
		if got >= sent {
			break
		}
		if got > before {
			quiet, before = 0, got
		}
		time.Sleep(drainTime / drainSteps)
	}
	// Both are open sockets of ours: closing them can fail in no useful way.
	_ = p.recv.Close()
	_ = p.send.Close()
	p.reader.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record.result(p.config.Name, p.config.Interval, until)
}

// Pair is a probe in each direction.
type Pair struct{ There, Back *Probe }

// StartPair begins two probes, from one end to the other and back.
func StartPair(ctx context.Context, there, back Config) (*Pair, error) {
	a, err := Start(ctx, there)
	if err != nil {
		return nil, err
	}
	b, err := Start(ctx, back)
	if err != nil {
		a.Stop()
		return nil, err
	}
	return &Pair{There: a, Back: b}, nil
}

// WaitReceived waits until n more packets have arrived in each direction.
func (p *Pair) WaitReceived(ctx context.Context, n int) error {
	if err := p.There.WaitReceived(ctx, n); err != nil {
		return err
	}
	return p.Back.WaitReceived(ctx, n)
}

// Stop ends both probes.
func (p *Pair) Stop() (there, back Result) {
	var wg sync.WaitGroup
	wg.Go(func() { there = p.There.Stop() })
	back = p.Back.Stop()
	wg.Wait()
	return there, back
}
