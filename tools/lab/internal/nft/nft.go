// Package nft writes the packet filters of the virtual world: a table of its
// own in a host's namespace, changed in atomic batches, with rules put together
// from small readable parts and with named counters that outlive the rules.
package nft

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// Table is one nftables table in a host's namespace.
type Table struct {
	host  *netns.Host
	table *nftables.Table
}

// NewTable names a table; the first Commit makes it.
func NewTable(h *netns.Host, family nftables.TableFamily, name string) *Table {
	return &Table{host: h, table: &nftables.Table{Name: name, Family: family}}
}

// Commit carries out what build asks for, all of it or nothing.
func (t *Table) Commit(build func(*Batch)) error {
	conn, err := t.host.Nftables()
	if err != nil {
		return err
	}
	b := &Batch{conn: conn, table: t.table}
	conn.AddTable(t.table)
	build(b)
	if b.err != nil {
		return fmt.Errorf("build nftables batch for %s: %w", t.host.Name(), b.err)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("commit nftables batch in %s: %w", t.host.Name(), err)
	}
	return nil
}

// Counters reads the packet counts of all counters of the table.
func (t *Table) Counters() (map[string]uint64, error) {
	conn, err := t.host.Nftables()
	if err != nil {
		return nil, err
	}
	objs, err := conn.GetNamedObjects(t.table)
	if err != nil {
		return nil, fmt.Errorf("read nftables counters of %s: %w", t.host.Name(), err)
	}
	counts := map[string]uint64{}
	for _, o := range objs {
		if n, ok := o.(*nftables.NamedObj); ok {
			if c, ok := n.Obj.(*expr.Counter); ok {
				counts[n.Name] = c.Packets
			}
		}
	}
	return counts, nil
}

// FlushAll removes every table of a namespace, whoever made it.
func FlushAll(h *netns.Host) error {
	conn, err := h.Nftables()
	if err != nil {
		return err
	}
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("flush nftables in %s: %w", h.Name(), err)
	}
	return nil
}

// Batch collects changes to one table.
type Batch struct {
	conn  *nftables.Conn
	table *nftables.Table
	err   error
}

// Hook is where a chain sees packets. Device is for netdev tables only.
type Hook struct {
	Hook     *nftables.ChainHook
	Priority nftables.ChainPriority
	Device   string
}

// Chain adds a filter chain; with a nil hook, one to jump to.
func (b *Batch) Chain(name string, h *Hook) *nftables.Chain {
	c := &nftables.Chain{Name: name, Table: b.table}
	if h != nil {
		c.Type, c.Hooknum, c.Priority, c.Device = nftables.ChainTypeFilter, h.Hook, &h.Priority, h.Device
	}
	return b.conn.AddChain(c)
}

// FlushChain removes all rules of a chain.
func (b *Batch) FlushChain(name string) {
	b.conn.FlushChain(&nftables.Chain{Name: name, Table: b.table})
}

// Counter adds a named counter, starting at zero.
func (b *Batch) Counter(name string) {
	b.conn.AddObj(&nftables.NamedObj{
		Table: b.table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{},
	})
}

// Rule appends a rule to a chain.
func (b *Batch) Rule(chain string, parts ...Part) {
	r := &nftables.Rule{Table: b.table, Chain: &nftables.Chain{Name: chain, Table: b.table}}
	for _, p := range parts {
		r.Exprs = append(r.Exprs, p...)
	}
	b.conn.AddRule(r)
}

// AddSet adds a set with its first elements. To learn about a set made in the
// same batch, rules need what it returns.
func (b *Batch) AddSet(s Set, elements ...nftables.SetElement) {
	b.note(b.conn.AddSet(s.in(b.table), elements))
}

// SetElements replaces all elements of a set.
func (b *Batch) SetElements(s Set, elements ...nftables.SetElement) {
	b.conn.FlushSet(s.in(b.table))
	b.Insert(s, elements...)
}

// Insert adds elements to a set.
func (b *Batch) Insert(s Set, elements ...nftables.SetElement) {
	if len(elements) > 0 {
		b.note(b.conn.SetAddElements(s.in(b.table), elements))
	}
}

// Remove removes elements from a set; each must be in it.
func (b *Batch) Remove(s Set, elements ...nftables.SetElement) {
	if len(elements) > 0 {
		b.note(b.conn.SetDeleteElements(s.in(b.table), elements))
	}
}

func (b *Batch) note(err error) {
	if b.err == nil {
		b.err = err
	}
}
