package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// guardTable is the nftables table of family ip that is ours alone: whatever somebody else puts into it is removed.
const guardTable = "hybrid_gateway"

const (
	setOuters  = "nodes"
	setSources = "sources" // followed by the length of the inner prefixes in it
	// elementsPerMessage keeps a list of set elements below 64 KiB, what one netlink attribute holds.
	elementsPerMessage = 1000
	// guardBuffer holds the largest transaction: 100,000 sources are about 4 MB.
	guardBuffer = 8 << 20
)

// guardReasons are why the guard drops packets, as its counters are named.
func guardReasons() []string {
	return []string{reasonOuterSource, reasonVNI, reasonInnerProtocol, reasonInnerSource, reasonInnerDestination, reasonMalformed}
}

// guard is what the dataplane has in nftables: the packet guard, and the bound of the maximum segment size. Its methods are not safe for
// concurrent use.
type guard struct {
	rules  plan.GuardRules
	device string
	conn   *nftables.Conn
	raw    *netlink.Conn // beneath conn
	// unusable says why there is no connection. A kernel without nftables has no guard to read either.
	unusable error
}

func openGuard(rules plan.GuardRules, device string) *guard {
	g := &guard{rules: rules, device: device}
	options := func(c *netlink.Conn) error {
		g.raw = c
		// Not more than the system's limit without NET_ADMIN; then large transactions fail, and say so.
		_ = c.SetWriteBuffer(guardBuffer)
		return c.SetReadBuffer(guardBuffer)
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(options))
	if err != nil {
		g.unusable = fmt.Errorf("open a netlink socket for nftables: %w", err)
	}
	g.conn = conn
	return g
}

func (g *guard) close() {
	if g.unusable == nil {
		_ = g.conn.CloseLasting()
	}
}

// await bounds the wait for an answer. After an error what is left of the answers is thrown away, so that the next question does not
// get them.
func (g *guard) await(do func() error) error {
	if g.unusable != nil {
		return g.unusable
	}
	_ = g.raw.SetReadDeadline(time.Now().Add(replyTimeout))
	err := do()
	if err == nil {
		return nil
	}
	_ = g.raw.SetReadDeadline(time.Now().Add(time.Millisecond))
	for range dumpAttempts * elementsPerMessage {
		if _, drainErr := g.raw.Receive(); drainErr != nil && isTimeout(drainErr) {
			break
		}
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func (g *guard) apply(op plan.Op) error {
	err := g.await(func() error {
		switch o := op.(type) {
		case plan.SetGuard:
			return g.set(o)
		case plan.Admit:
			return g.admit(o.Sources)
		case plan.Expel:
			return g.expel(o)
		case plan.DeleteGuard:
			g.conn.AddTable(table())
			g.conn.DelTable(table())
			return g.conn.Flush()
		case plan.SetClamp:
			return g.setClamp()
		case plan.DeleteClamp:
			return g.deleteClamp()
		}
		return fmt.Errorf("operation %q is unknown", op)
	})
	return explainGuard(err)
}

func explainGuard(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the capability NET_ADMIN is missing: %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the kernel may lack nftables: load nf_tables and nft_ct on the node, or do without what needs it (--guard=off, --clamp-mss=off): %w", err)
	}
	return err
}

func table() *nftables.Table {
	return &nftables.Table{Name: guardTable, Family: nftables.TableFamilyIPv4}
}

// set makes the table anew in one transaction, with the counters where they were.
func (g *guard) set(o plan.SetGuard) error {
	counts, err := g.counts()
	if err != nil {
		return err
	}
	t := table()
	g.conn.AddTable(t)
	g.conn.DelTable(t)
	g.conn.AddTable(t)
	for _, reason := range guardReasons() {
		g.conn.AddObj(&nftables.CounterObj{Table: t, Name: reason, Packets: counts[reason].Packets, Bytes: counts[reason].Bytes})
	}
	if err := g.conn.AddSet(outersSet(t), nil); err != nil {
		return fmt.Errorf("describe set %s: %w", setOuters, err)
	}
	for _, n := range o.Lengths.All() {
		if err := g.conn.AddSet(sourcesSet(t, n), nil); err != nil {
			return fmt.Errorf("describe set %s%d: %w", setSources, n, err)
		}
	}
	g.addChains(t, g.chains(t, o.Lengths))
	return g.admit(o.Sources)
}

func (g *guard) addChains(t *nftables.Table, chains []chain) {
	for _, c := range chains { // all of them first, for rules jump
		g.conn.AddChain(c.Chain)
	}
	for _, c := range chains {
		for _, exprs := range c.rules {
			g.conn.AddRule(&nftables.Rule{Table: t, Chain: c.Chain, Exprs: exprs})
		}
	}
}

func outersSet(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: setOuters, KeyType: nftables.TypeIPAddr}
}

func sourcesSet(t *nftables.Table, bits int) *nftables.Set {
	return &nftables.Set{Table: t, Name: setSources + strconv.Itoa(bits), KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)}
}

// admit sends the transaction that has been begun, and adds sources in it.
func (g *guard) admit(sources []plan.Source) error {
	return g.elements(sources, outers(sources), g.conn.SetAddElements)
}

func (g *guard) expel(o plan.Expel) error {
	return g.elements(o.Sources, o.Outers, g.conn.SetDeleteElements)
}

func (g *guard) elements(sources []plan.Source, outers []netip.Addr, change func(*nftables.Set, []nftables.SetElement) error) error {
	t := table()
	bySet := map[int][]nftables.SetElement{}
	for _, s := range sources {
		bySet[s.Inner.Bits()] = append(bySet[s.Inner.Bits()], nftables.SetElement{Key: sourceKey(s)})
	}
	addrs := make([]nftables.SetElement, 0, len(outers))
	for _, a := range outers {
		addrs = append(addrs, nftables.SetElement{Key: a.AsSlice()})
	}
	for bits, list := range bySet {
		if err := inPieces(sourcesSet(t, bits), list, change); err != nil {
			return err
		}
	}
	if err := inPieces(outersSet(t), addrs, change); err != nil {
		return err
	}
	return g.conn.Flush()
}

func inPieces(s *nftables.Set, list []nftables.SetElement, change func(*nftables.Set, []nftables.SetElement) error) error {
	for from := 0; from < len(list); from += elementsPerMessage {
		if err := change(s, list[from:min(from+elementsPerMessage, len(list))]); err != nil {
			return fmt.Errorf("describe elements of set %s: %w", s.Name, err)
		}
	}
	return nil
}

func outers(sources []plan.Source) []netip.Addr {
	seen := make(map[netip.Addr]bool, len(sources))
	var out []netip.Addr
	for _, s := range sources {
		if !seen[s.Outer] {
			seen[s.Outer] = true
			out = append(out, s.Outer)
		}
	}
	return out
}

func sourceKey(s plan.Source) []byte {
	return append(s.Outer.AsSlice(), s.Inner.Addr().AsSlice()...)
}

// parseSource reads a key of the set of that name; ok is false when it is none of ours.
func parseSource(set string, key []byte) (s plan.Source, ok bool) {
	if set == setOuters && len(key) == 4 {
		return plan.Source{Outer: addr(key)}, true
	}
	bits, ok := setBits(set)
	if !ok || len(key) != 8 {
		return s, false
	}
	return plan.Source{Outer: addr(key[:4]), Inner: netip.PrefixFrom(addr(key[4:]), bits)}, true
}

func setBits(name string) (bits int, ok bool) {
	digits, ok := strings.CutPrefix(name, setSources)
	bits, err := strconv.Atoi(digits)
	return bits, ok && err == nil && bits >= 0 && bits <= 32
}

// GuardDrops counts the packets that the guard has dropped, by reason; none when there is no guard.
func (k *Kernel) GuardDrops() (map[string]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	drops := map[string]uint64{}
	if k.guard.unusable != nil {
		return drops, nil
	}
	err := k.guard.await(func() error {
		counts, err := k.guard.counts()
		for reason, c := range counts {
			drops[reason] = c.Packets
		}
		return err
	})
	return drops, err
}

func (g *guard) counts() (map[string]*nftables.CounterObj, error) {
	counts := map[string]*nftables.CounterObj{}
	for _, reason := range guardReasons() {
		counts[reason] = &nftables.CounterObj{}
	}
	there, err := g.exists(guardTable)
	if err != nil || !there {
		return counts, err
	}
	objects, err := g.conn.GetObj(&nftables.CounterObj{Table: table()})
	if err != nil {
		return nil, fmt.Errorf("read the guard's counters: %w", err)
	}
	for _, o := range objects {
		if c, ok := o.(*nftables.CounterObj); ok && counts[c.Name] != nil {
			counts[c.Name] = c
		}
	}
	return counts, nil
}

// guardChanges translates a notification of nftables: none when it is about something else than the guard, and one for each element
// of a set.
func guardChanges(typ uint16, body []byte) []plan.Change {
	const header = 4 // struct nfgenmsg: family, version, resource
	if typ>>8 != unix.NFNL_SUBSYS_NFTABLES || len(body) < header || body[0] != unix.NFPROTO_IPV4 {
		return nil
	}
	gone := typ&0xff == unix.NFT_MSG_DELSETELEM
	isElements := gone || typ&0xff == unix.NFT_MSG_NEWSETELEM
	var of, set string
	var list []byte
	err := attrs(body[header:], func(typ uint16, v []byte) {
		switch typ {
		case 1: // the table's name, whatever the object is
			of = text(v)
		case unix.NFTA_SET_ELEM_LIST_SET:
			set = text(v)
		case unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			list = v
		}
	})
	if of != guardTable && of != clampTable && err == nil {
		return nil
	}
	if of == clampTable && err == nil {
		return []plan.Change{{Kind: plan.ChangeClamp}}
	}
	var changes []plan.Change
	if isElements && err == nil {
		err = eachKey(list, func(key []byte) {
			source, _ := parseSource(set, key)
			changes = append(changes, plan.Change{Kind: plan.ChangeGuard, Gone: gone, Source: source})
		})
	}
	if len(changes) == 0 || err != nil {
		changes = append(changes, plan.Change{Kind: plan.ChangeGuard, Gone: typ&0xff == unix.NFT_MSG_DELTABLE})
	}
	return changes
}

func eachKey(list []byte, each func(key []byte)) error {
	var inner error
	err := attrs(list, func(_ uint16, element []byte) {
		inner = errors.Join(inner, attrs(element, func(typ uint16, v []byte) {
			if typ == unix.NFTA_SET_ELEM_KEY {
				inner = errors.Join(inner, attrs(v, func(typ uint16, key []byte) {
					if typ == unix.NFTA_DATA_VALUE {
						each(key)
					}
				}))
			}
		}))
	})
	return errors.Join(err, inner)
}

func bigEndian16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
