package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Why packets are dropped.
const (
	reasonOuterSource      = "outer-source"      // no node that we know
	reasonVNI              = "vni"               // another tunnel's
	reasonInnerProtocol    = "inner-protocol"    // not IPv4
	reasonInnerSource      = "inner-source"      // not of that node's pod networks
	reasonInnerDestination = "inner-destination" // not of the VPC
	reasonMalformed        = "malformed"         // ends before the inner addresses
)

// Where things are, in bytes from the start of the outer UDP header: UDP 8, VXLAN 8 (RFC 7348, the VNI at 4), Ethernet 14, IPv4.
const (
	atDestinationPort  = 2
	atVNI              = 8 + 4
	atInnerEtherType   = 8 + 8 + 12
	atInnerSource      = 8 + 8 + 14 + 12
	atInnerDestination = 8 + 8 + 14 + 16
	// The outer source is at this distance from the start of the outer IPv4 header.
	atOuterSource = 12
)

// Registers: two 4-byte ones side by side, as a lookup of a pair wants them.
const (
	first  = unix.NFT_REG_1
	second = unix.NFT_REG32_00 + 1
)

// chain is a chain with its rules.
type chain struct {
	*nftables.Chain
	rules [][]expr.Any
}

// chains are all chains of the guard.
//
// The judging is done in the hook "input", where fragments have been put together: there every packet has its UDP header, and
// nothing but what goes through this hook comes to the tunnel's socket. A rule whose bytes a packet does not have does not match, so a
// packet that is too short ends at the last rule, which drops it.
//
// Connection tracking is told to leave the tunnel's packets alone in "prerouting" and "output", before it sees them.
func (g *guard) chains(t *nftables.Table, lengths plan.Lengths) []chain {
	toPort := join(
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: first}, equal([]byte{unix.IPPROTO_UDP})},
		transport(first, atDestinationPort, 2), []expr.Any{equal(bigEndian16(g.rules.Port))})
	untracked := [][]expr.Any{join(toPort, []expr.Any{&expr.Notrack{}})}
	return []chain{
		{baseChain(t, "untracked-in", nftables.ChainHookPrerouting), untracked},
		{baseChain(t, "untracked-out", nftables.ChainHookOutput), untracked},
		{&nftables.Chain{Table: t, Name: "destination"}, g.destinationRules()},
		{&nftables.Chain{Table: t, Name: "judge"}, g.judgeRules(lengths)},
		{baseChain(t, "guard", nftables.ChainHookInput), [][]expr.Any{join(toPort, verdict(expr.VerdictGoto, "judge"))}},
	}
}

func baseChain(t *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRaw, Policy: &accept}
}

// judgeRules lets packets that are as they should be go on with the first rule, or with the one for their pod network's prefix
// length. The others find out what is wrong.
func (g *guard) judgeRules(lengths plan.Lengths) [][]expr.Any {
	vni := []byte{byte(g.rules.VNI >> 16), byte(g.rules.VNI >> 8), byte(g.rules.VNI)}
	isVNI := func(op expr.CmpOp) []expr.Any {
		// Four aligned bytes are read quicker than three; the fourth is not compared.
		return append(transport(first, atVNI, 4), &expr.Cmp{Op: op, Register: first, Data: vni})
	}
	isIPv4 := func(op expr.CmpOp) []expr.Any {
		return append(transport(first, atInnerEtherType, 2), &expr.Cmp{Op: op, Register: first, Data: bigEndian16(unix.ETH_P_IP)})
	}
	outerSource := &expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: atOuterSource, Len: 4}
	var rules [][]expr.Any
	for _, n := range lengths.All() {
		rule := join(isVNI(expr.CmpOpEq), isIPv4(expr.CmpOpEq), []expr.Any{outerSource}, transport(second, atInnerSource, 4), masked(second, n),
			[]expr.Any{&expr.Lookup{SourceRegister: first, SetName: setSources + strconv.Itoa(n)}}, verdict(expr.VerdictGoto, "destination"))
		rules = append(rules, rule)
	}
	return append(rules,
		join([]expr.Any{outerSource, &expr.Lookup{SourceRegister: first, SetName: setOuters, Invert: true}}, drop(reasonOuterSource)),
		join(isVNI(expr.CmpOpNeq), drop(reasonVNI)),
		join(isIPv4(expr.CmpOpNeq), drop(reasonInnerProtocol)),
		join(transport(first, atInnerDestination, 4), drop(reasonInnerSource)),
		drop(reasonMalformed))
}

func (g *guard) destinationRules() [][]expr.Any {
	var rules [][]expr.Any
	for _, p := range g.rules.VPC {
		rules = append(rules, join(transport(first, atInnerDestination, 4), masked(first, p.Bits()),
			[]expr.Any{equal(p.Masked().Addr().AsSlice())}, verdict(expr.VerdictAccept, "")))
	}
	return append(rules, drop(reasonInnerDestination))
}

func join(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }

func transport(register, offset, length uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: first, Data: data} }

// masked leaves the first bits of an address in a register.
func masked(register uint32, bits int) []expr.Any {
	if bits == 32 {
		return nil
	}
	return []expr.Any{&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: net.CIDRMask(bits, 32), Xor: make([]byte, 4)}}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

func drop(reason string) []expr.Any {
	return join([]expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: reason}}, verdict(expr.VerdictDrop, ""))
}

// dump reads the guard, nil when there is none, and the clamp.
func (g *guard) dump() (found *plan.Guard, clamp plan.Clamp, err error) {
	if g.unusable == nil { // else making one will fail, and say why
		err = g.await(func() (err error) {
			if found, err = g.read(); err != nil {
				return err
			}
			clamp, err = g.readClamp()
			return err
		})
	}
	return found, clamp, err
}

// exists tells whether a table of ours is there. Without NET_ADMIN, or nftables, it is not: making a guard will fail and say so.
func (g *guard) exists(name string) (bool, error) {
	tables, err := g.conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("list the tables: %w", err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), nil
}

func (g *guard) read() (*plan.Guard, error) {
	there, err := g.exists(guardTable)
	if err != nil || !there {
		return nil, err
	}
	t := table()
	found := &plan.Guard{Sources: map[plan.Source]struct{}{}, Outers: map[netip.Addr]struct{}{}}
	sets, err := g.conn.GetSets(t)
	if err != nil {
		return nil, fmt.Errorf("list the sets: %w", err)
	}
	foreign := false
	for _, s := range sets {
		bits, isSources := setBits(s.Name)
		switch {
		case isSources && s.KeyType.Bytes == 8:
			found.Lengths |= 1 << bits
		case s.Name != setOuters || s.KeyType.Bytes != 4:
			foreign = true
			continue
		}
		s.Table = t
		if err := g.readElements(s, found); err != nil {
			return nil, err
		}
	}
	same, err := g.sameChains(t, g.chains(t, found.Lengths))
	found.Sound = same && !foreign
	return found, err
}

func (g *guard) readElements(s *nftables.Set, found *plan.Guard) error {
	elements, err := g.conn.GetSetElements(s)
	if err != nil {
		return fmt.Errorf("list set %s: %w", s.Name, err)
	}
	for _, e := range elements {
		source, ok := parseSource(s.Name, e.Key)
		switch {
		case !ok:
		case source.Inner.IsValid():
			found.Sources[source] = struct{}{}
		default:
			found.Outers[source.Outer] = struct{}{}
		}
	}
	return nil
}

// sameChains tells whether a table has these chains with their rules, and no others.
func (g *guard) sameChains(t *nftables.Table, want []chain) (bool, error) {
	all, err := g.conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("list the chains: %w", err)
	}
	have := map[string]*nftables.Chain{}
	for _, c := range all {
		if c.Table.Name == t.Name {
			have[c.Name] = c
		}
	}
	if len(have) != len(want) {
		return false, nil
	}
	for _, w := range want {
		if c := have[w.Name]; c == nil || !sameChain(c, w.Chain) {
			return false, nil
		}
		rules, err := g.conn.GetRules(t, w.Chain)
		if err != nil {
			return false, fmt.Errorf("list the rules of chain %s: %w", w.Name, err)
		}
		if !slices.EqualFunc(rules, w.rules, func(r *nftables.Rule, exprs []expr.Any) bool {
			return slices.EqualFunc(r.Exprs, readable(exprs), sameExpr)
		}) {
			return false, nil
		}
	}
	return true, nil
}

// readable leaves out what the library cannot read back: it passes over these in the kernel's answer.
func readable(exprs []expr.Any) []expr.Any {
	return slices.DeleteFunc(slices.Clone(exprs), func(e expr.Any) bool {
		switch e.(type) {
		case *expr.Rt, *expr.Byteorder:
			return true
		}
		return false
	})
}

func sameChain(a, b *nftables.Chain) bool {
	if a.Hooknum == nil || b.Hooknum == nil {
		return a.Hooknum == b.Hooknum
	}
	return *a.Hooknum == *b.Hooknum && a.Type == b.Type && a.Priority != nil && *a.Priority == *b.Priority && a.Policy != nil && *a.Policy == *b.Policy
}

// sameExpr compares what would be sent to the kernel.
func sameExpr(a, b expr.Any) bool {
	if l, ok := a.(*expr.Lookup); ok {
		l.SetID = 0
	}
	x, errX := expr.Marshal(unix.NFPROTO_IPV4, a)
	y, errY := expr.Marshal(unix.NFPROTO_IPV4, b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
